//! VOP3P of CDNA 3, as far as it works on 32-bit words: packed single precision, and moves between the register files.

use super::{Second, Words};
use crate::model::isa::instruction::{Instruction, Packed, PackedChoice};
use crate::model::isa::operand::{AccumulatorRegister, OperandSize, ScalarSource, VectorRegister, VectorSource};

/// The first nine bits of the encoding.
pub(super) const PREFIX: u32 = 0b1_1010_0111;

pub(super) fn vop3p(words: Words, second: Second) -> Option<Instruction> {
    let source = |which: u32| VectorSource::decode(words.numbering, second.bits(9 * which, 9), OperandSize::Bits32, None);
    let destination = words.bits(0, 8) as u8;
    let op = match words.bits(16, 7) {
        48 => Packed::FusedMultiplyAdd,
        49 => Packed::Multiply,
        50 => Packed::Add,
        51 => Packed::Move,
        88 => {
            let VectorSource::Vector(VectorRegister(a)) = source(0)? else { return None };
            return Some(Instruction::AccumulatorRead { destination: VectorRegister(destination), a: AccumulatorRegister(a) });
        }
        89 => return Some(Instruction::AccumulatorWrite { destination: AccumulatorRegister(destination), a: source(0)? }),
        _ => return None,
    };
    let clamp = words.bits(15, 1) == 1;
    if clamp {
        return None;
    }
    let choice = PackedChoice {
        high_for_low: words.bits(11, 3) as u8,
        high_for_high: (second.bits(27, 2) | words.bits(14, 1) << 2) as u8,
        negate_low: second.bits(29, 3) as u8,
        negate_high: words.bits(8, 3) as u8,
    };
    let sources = match op {
        Packed::FusedMultiplyAdd => 0b111,
        _ => 0b011,
    };
    let of_sources = |bits: u8| bits & sources;
    let choice = PackedChoice {
        high_for_low: of_sources(choice.high_for_low),
        // A move takes its words where `op_sel` says.
        high_for_high: if op == Packed::Move { 0 } else { of_sources(choice.high_for_high) },
        negate_low: of_sources(choice.negate_low),
        negate_high: of_sources(choice.negate_high),
    };
    let operand = |which: u32| {
        if sources >> which & 1 == 0 {
            return Some(VectorSource::Scalar(ScalarSource::Constant(0)));
        }
        match source(which)? {
            // A constant has one word only.
            VectorSource::Scalar(ScalarSource::Constant(_)) if (choice.high_for_low | choice.high_for_high) >> which & 1 == 1 => {
                None
            }
            source => Some(source),
        }
    };
    Some(Instruction::Packed {
        op,
        destination: VectorRegister(destination),
        a: operand(0)?,
        b: operand(1)?,
        c: operand(2)?,
        choice,
    })
}
