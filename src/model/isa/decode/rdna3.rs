//! Encodings of generation 11 that differ from those of generations 8 and 9: SMEM, VOPC's destination, VOP3 with literals, VOPD,
//! DS and FLAT (RDNA3 "Microcode Formats").

use super::vector::{Operands, VCC, VECTOR, short};
use super::{Decoded, Flat, Opcodes, Second, Smem, Vop2, Vop3, Words, lds, short_encoding, size_with_literal};
use crate::model::bus::RmwOp;
use crate::model::isa::instruction::{
    Coherence, DualHalf, DualOp, FloatBinary, Instruction, LaneExchange, LdsAtomic, OldValue, ScalarOffset,
};
use crate::model::isa::operand::{
    AddressBase, GlobalAddress, LITERAL, OperandSize, ScalarRegister, ScratchAddress, Segment, VectorRegister, VectorSource,
};

/// Operand number of `null`, which stands for "no register".
const NULL: u32 = 124;

/// Compares from this opcode on write EXEC, and only EXEC.
const COMPARE_TO_EXEC: u32 = 0x80;

pub(super) fn decode(opcodes: &Opcodes, code: &[u32]) -> Option<Decoded> {
    let words = Words { first: *code.first()?, second: code.get(1).copied(), numbering: opcodes.numbering };
    if words.first >> 25 == 0b011_1110 {
        return vopc(opcodes, words);
    }
    if let Some(decode) = short_encoding(words.first) {
        return decode(opcodes, words);
    }
    let (second, third) = (Second(words.second?), code.get(2).copied());
    let instruction = match words.first >> 26 {
        0b11_0010 => return dual(words, second, third),
        0b11_0101 => return vop3(opcodes, words, second, third),
        0b11_0110 => local(opcodes, words, second),
        0b11_0111 => flat(opcodes, words, second),
        0b11_1000 => (opcodes.buffer)(words.bits(18, 8)),
        0b11_1101 => smem(opcodes, words, second),
        _ => None,
    }?;
    Some(Decoded { instruction, words: 2 })
}

/// Where a compare puts its mask, unless an operand says so.
const fn compare_destination(opcode: u32) -> ScalarRegister {
    if opcode & COMPARE_TO_EXEC == 0 { ScalarRegister::VCC } else { ScalarRegister::EXEC }
}

fn vopc(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let opcode = words.bits(17, 8);
    let (test, effect) = (opcodes.vopc)(opcode)?;
    let operands = short(words, VCC, VECTOR + words.bits(9, 8));
    let instruction = operands.compare(test, effect, compare_destination(opcode))?;
    Some(Decoded { instruction, words: size_with_literal(words.bits(0, 9)) })
}

fn vop3(opcodes: &Opcodes, words: Words, second: Second, third: Option<u32>) -> Option<Decoded> {
    let opcode = words.bits(16, 10);
    let op = (opcodes.vop3)(opcode)?;
    // Selects upper halves of 16-bit operands, which nothing here does.
    let operand_select = words.bits(11, 4);
    let has_scalar_destination = matches!(op, Vop3::Short2(Vop2::Carry(_)) | Vop3::MultiplyAdd64(_));
    // The carry destination takes the place of these and of the absolute-value bits.
    let (carry_out, absolute) = if has_scalar_destination {
        (words.numbering.destination(words.bits(8, 7))?, 0)
    } else if operand_select == 0 {
        (ScalarRegister::VCC, words.bits(8, 3) as u8)
    } else {
        return None;
    };
    let sources = [second.bits(0, 9), second.bits(9, 9), second.bits(18, 9)];
    let has_literal = sources.contains(&LITERAL);
    let operands = Operands {
        destination: words.bits(0, 8),
        carry_out,
        sources,
        literal: if has_literal { Some(third?) } else { None },
        numbering: words.numbering,
        modifiers: super::vector::float_modifiers(words, second, absolute),
    };
    let instruction = match op {
        Vop3::Compare(test, effect) if opcode & COMPARE_TO_EXEC != 0 => operands.compare(test, effect, ScalarRegister::EXEC),
        op => operands.three_sources(op),
    }?;
    Some(Decoded { instruction, words: if has_literal { 3 } else { 2 } })
}

/// One operation of a dual instruction. Only the second half has room for the last three.
fn dual_op(opcode: u32) -> Option<DualOp> {
    Some(match opcode {
        0 => DualOp::FusedMultiplyAccumulate,
        1 => DualOp::FusedAddLiteral,
        2 => DualOp::FusedMultiplyByLiteral,
        3 => DualOp::Float(FloatBinary::Multiply),
        4 => DualOp::Float(FloatBinary::Add),
        5 => DualOp::Float(FloatBinary::Subtract),
        6 => DualOp::Float(FloatBinary::SubtractReversed),
        7 => DualOp::Float(FloatBinary::MultiplyLegacy),
        8 => DualOp::Move,
        9 => DualOp::Select,
        10 => DualOp::Float(FloatBinary::Max),
        11 => DualOp::Float(FloatBinary::Min),
        16 => DualOp::Add,
        17 => DualOp::ShiftLeftReversed,
        18 => DualOp::And,
        _ => return None,
    })
}

fn dual(words: Words, second: Second, third: Option<u32>) -> Option<Decoded> {
    let ops = [dual_op(words.bits(22, 4))?, dual_op(words.bits(17, 5))?];
    let sources = [words.bits(0, 9), second.bits(0, 9)];
    let has_literal =
        sources.contains(&LITERAL) || ops.iter().any(|op| matches!(op, DualOp::FusedAddLiteral | DualOp::FusedMultiplyByLiteral));
    let literal = if has_literal { Some(third?) } else { None };
    // One destination is even and the other odd: the second's lowest bit is not stored.
    let first_destination = second.bits(24, 8);
    let second_destination = second.bits(17, 7) << 1 | (!first_destination & 1);
    let half = |which: usize, destination: u32, b: u32| {
        let a = VectorSource::decode(words.numbering, sources[which], OperandSize::Bits32, literal)?;
        Some(DualHalf { op: ops[which], destination: VectorRegister(destination as u8), a, b: VectorRegister(b as u8) })
    };
    let instruction = Instruction::Dual {
        x: half(0, first_destination, words.bits(9, 8))?,
        y: half(1, second_destination, second.bits(9, 8))?,
        literal: literal.unwrap_or_default(),
    };
    Some(Decoded { instruction, words: if has_literal { 3 } else { 2 } })
}

/// A number of `bits` bits in two's complement.
const fn signed(value: u32, bits: u32) -> i32 {
    (value << (32 - bits)).cast_signed() >> (32 - bits)
}

fn smem(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let Smem::Load { words: count } = (opcodes.smem)(words.bits(18, 8))? else {
        return Some(Instruction::Nothing);
    };
    let register = match second.bits(25, 7) {
        NULL => None,
        number => Some(words.numbering.register(number)?),
    };
    Some(Instruction::ScalarLoad {
        destination: words.numbering.destination(words.bits(6, 7))?,
        base: words.numbering.register(words.bits(0, 6) << 1)?,
        offset: ScalarOffset { bytes: signed(second.bits(0, 21), 21), register },
        words: count,
    })
}

fn local(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let global_data_share = words.bits(17, 1) == 1;
    if global_data_share {
        return None;
    }
    match lds::operation((opcodes.lds)(words.bits(18, 8))?, words, second) {
        // Of all generations only here the new value stands before the value to compare with (RDNA3 "DS_CMPSTORE_B32").
        Instruction::LdsAtomic { op: op @ LdsAtomic::Rmw(RmwOp::CompareSwap), width, old, destination, address, data, offset } => {
            let [new, compare] = data;
            Some(Instruction::LdsAtomic { op, width, old, destination, address, data: [compare, new], offset })
        }
        // Rotations and butterflies among 32 lanes.
        Instruction::LaneExchange { op: LaneExchange::Swizzle(0xc000..), .. } => None,
        instruction => Some(instruction),
    }
}

fn flat(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let register = |low| VectorRegister(second.bits(low, 8) as u8);
    let (data, destination) = (register(8), register(24));
    if words.bits(16, 2) == SCRATCH {
        let address = scratch_address(words, second)?;
        return Some(match (opcodes.flat)(words.bits(18, 7))? {
            Flat::Load(element) => Instruction::ScratchLoad { element, destination, address },
            Flat::Store(element) => Instruction::ScratchStore { element, address, data },
            Flat::Atomic(..) => return None,
        });
    }
    let address = address(words, second)?;
    let globally_coherent = words.bits(14, 1) == 1;
    Some(match (opcodes.flat)(words.bits(18, 7))? {
        Flat::Load(element) => {
            let coherence = if globally_coherent { Coherence::Global } else { Coherence::Cached };
            Instruction::FlatLoad { element, coherence, destination, address }
        }
        Flat::Store(element) => Instruction::FlatStore { element, address, data },
        Flat::Atomic(op, width) => {
            let old = if globally_coherent { OldValue::Returned } else { OldValue::Discarded };
            Instruction::FlatAtomic { op, width, old, destination, address, data }
        }
    })
}

/// Segments of the FLAT encoding (bits 17:16).
const FLAT: u32 = 0b00;
const SCRATCH: u32 = 0b01;
const GLOBAL: u32 = 0b10;

/// Either register may be missing: SVE says whether the lanes' register counts.
fn scratch_address(words: Words, second: Second) -> Option<ScratchAddress> {
    let has_lanes = second.bits(23, 1) == 1;
    let wave = match second.bits(16, 7) {
        NULL => None,
        number => Some(words.numbering.register(number)?),
    };
    let lanes = has_lanes.then_some(VectorRegister(second.bits(0, 8) as u8));
    Some(ScratchAddress { lanes, wave, offset: signed(words.bits(0, 13), 13) })
}

fn address(words: Words, second: Second) -> Option<GlobalAddress> {
    let offset = signed(words.bits(0, 13), 13);
    let (lanes, scalar) = (VectorRegister(second.bits(0, 8) as u8), second.bits(16, 7));
    Some(match words.bits(16, 2) {
        // FLAT adds no scalar register, and its offset is not negative.
        FLAT if scalar == NULL && offset >= 0 => GlobalAddress { base: AddressBase::Lanes(lanes), offset, segment: Segment::Flat },
        GLOBAL => {
            let base = match scalar {
                NULL => AddressBase::Lanes(lanes),
                number => AddressBase::ScalarAndLanes(words.numbering.register(number)?, lanes),
            };
            GlobalAddress { base, offset, segment: Segment::Global }
        }
        _ => return None,
    })
}
