//! Instruction words from an opcode number and random operands.

use super::random::Random;
use crate::model::isa::decode::{Opcodes, Sop1, gfx8, gfx9, gfx11};
use crate::model::target::Target;

/// Encodings of the scalar and vector units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Sop1,
    Sop2,
    Sopc,
    Sopk,
    Vop1,
    Vop2,
    Vopc,
    Vop3,
    Vop3p,
    Vopd,
}

impl Encoding {
    pub(super) const ALL: [Self; 10] =
        [Self::Sop1, Self::Sop2, Self::Sopc, Self::Sopk, Self::Vop1, Self::Vop2, Self::Vopc, Self::Vop3, Self::Vop3p, Self::Vopd];

    /// How many opcode numbers fit. Those of VOPD are pairs: four bits and five.
    pub(super) const fn opcodes(self) -> u32 {
        match self {
            Self::Sop1 | Self::Vop1 | Self::Vopc => 256,
            Self::Sop2 | Self::Sopc | Self::Vop3p => 128,
            Self::Sopk => 32,
            Self::Vop2 => 64,
            Self::Vop3 => 1024,
            Self::Vopd => 512,
        }
    }
}

const fn opcodes(target: Target) -> &'static Opcodes {
    match target {
        Target::Gfx803 => &gfx8::OPCODES,
        Target::Gfx942 => &gfx9::OPCODES,
        Target::Gfx1100 => &gfx11::OPCODES,
    }
}

/// Whether the target's tables have this opcode.
pub(super) fn exists(target: Target, encoding: Encoding, opcode: u32) -> bool {
    let tables = opcodes(target);
    match encoding {
        // A message is sent, not computed.
        Encoding::Sop1 => !matches!((tables.sop1)(opcode), None | Some(Sop1::SendMessageForAnswer)),
        Encoding::Sop2 => (tables.sop2)(opcode).is_some(),
        Encoding::Sopc => (tables.sopc)(opcode).is_some(),
        Encoding::Sopk => (tables.sopk)(opcode).is_some(),
        Encoding::Vop1 => (tables.vop1)(opcode).is_some(),
        // The space of VOP1 and VOPC.
        Encoding::Vop2 => opcode < 62 && (tables.vop2)(opcode).is_some(),
        Encoding::Vopc => (tables.vopc)(opcode).is_some(),
        Encoding::Vop3 => {
            // These have no place for their literal in the long form: there is no such instruction.
            let literal = matches!((target, opcode), (Target::Gfx803 | Target::Gfx942, 279 | 280) | (Target::Gfx1100, 300 | 301));
            !literal && (tables.vop3)(opcode).is_some()
        }
        // CDNA 3: v_pk_fma_f32, v_pk_mul_f32, v_pk_add_f32, v_pk_mov_b32, v_accvgpr_read, v_accvgpr_write.
        Encoding::Vop3p => target == Target::Gfx942 && matches!(opcode, 48..=51 | 88 | 89),
        // RDNA 3, table of VOPD opcodes, without the dot products; the first half has no integers.
        Encoding::Vopd => target == Target::Gfx1100 && opcode / 32 <= 11 && matches!(opcode % 32, 0..=11 | 16..=18),
    }
}

/// The 8-bit number of a source: a register, a constant, or a literal.
fn scalar_source(target: Target, random: &mut Random) -> u32 {
    match random.below(8) {
        0..=3 => 2 * random.below(16) as u32,
        4 => random.pick(&[106, 126, 253, 255]),
        5 => 128 + random.below(81) as u32,
        6 => 240 + random.below(9) as u32,
        _ if target == Target::Gfx1100 => random.pick(&[124, 125]),
        _ => random.pick(&[251, 252, 124]),
    }
}

/// The 9-bit number of a source: vector registers too.
fn vector_source(target: Target, random: &mut Random) -> u32 {
    if random.below(4) == 0 { scalar_source(target, random) } else { 256 + 2 * random.below(8) as u32 }
}

fn scalar_destination(random: &mut Random) -> u32 {
    if random.below(6) == 0 { random.pick(&[106, 126]) } else { 2 * random.below(16) as u32 }
}

/// A vector register, or the same number as a scalar one: even, because that may be the first of a pair.
fn destination(random: &mut Random) -> u32 {
    2 * random.below(8) as u32
}

/// The instruction and a literal behind it, which it may have no use for.
pub(super) fn assemble(target: Target, encoding: Encoding, opcode: u32, random: &mut Random) -> Vec<u32> {
    let literal = random.value();
    let (a, b) = (scalar_source(target, random), scalar_source(target, random));
    let (to, vector_to) = (scalar_destination(random), destination(random));
    let (source, register) = (vector_source(target, random), destination(random));
    match encoding {
        Encoding::Sop1 => vec![0b1_0111_1101 << 23 | to << 16 | opcode << 8 | a, literal],
        Encoding::Sop2 => vec![0b10 << 30 | opcode << 23 | to << 16 | b << 8 | a, literal],
        Encoding::Sopc => vec![0b1_0111_1110 << 23 | opcode << 16 | b << 8 | a, literal],
        Encoding::Sopk => vec![0b1011 << 28 | opcode << 23 | to << 16 | literal & 0xffff, literal],
        Encoding::Vop1 => vec![0b011_1111 << 25 | vector_to << 17 | opcode << 9 | source, literal],
        Encoding::Vop2 => vec![opcode << 25 | vector_to << 17 | register << 9 | source, literal],
        Encoding::Vopc => vec![0b011_1110 << 25 | opcode << 17 | register << 9 | source, literal],
        Encoding::Vop3 => vop3(target, opcode, random, literal),
        Encoding::Vop3p => vop3p(target, opcode, random),
        Encoding::Vopd => {
            let (x, y) = (opcode / 32, opcode % 32);
            let (other, other_register) = (vector_source(target, random), destination(random));
            let first = 0b11_0010 << 26 | x << 22 | y << 17 | register << 9 | source;
            vec![first, vector_to << 24 | (destination(random) / 2) << 17 | other_register << 9 | other, literal]
        }
    }
}

fn vop3(target: Target, opcode: u32, random: &mut Random, literal: u32) -> Vec<u32> {
    let prefix = if target == Target::Gfx1100 { 0b11_0101 } else { 0b11_0100 };
    let sources = [(); 3].map(|()| vector_source(target, random));
    // Most instructions have no modifiers, and some have a second destination in their place.
    let (clamp, low, high) = match random.below(4) {
        0 => (random.below(2) as u32, random.below(8) as u32, random.below(32) as u32),
        1 => (0, random.below(8) as u32, (random.below(8) as u32) << 2),
        2 => (0, 2 * random.below(16) as u32, 0),
        _ => (0, 0, 0),
    };
    vec![
        prefix << 26 | opcode << 16 | clamp << 15 | low << 8 | destination(random),
        sources[0] | sources[1] << 9 | sources[2] << 18 | high << 27,
        literal,
    ]
}

fn vop3p(target: Target, opcode: u32, random: &mut Random) -> Vec<u32> {
    let sources = [(); 3].map(|()| vector_source(target, random));
    let [select, select_high, negate, negate_high] = [(); 4].map(|()| random.below(8) as u32);
    vec![
        0b1_1010_0111 << 23 | opcode << 16 | (select_high >> 2) << 14 | select << 11 | negate_high << 8 | destination(random),
        sources[0] | sources[1] << 9 | sources[2] << 18 | (select_high & 3) << 27 | negate << 29,
    ]
}
