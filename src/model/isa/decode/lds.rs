//! DS.

use super::{Lds, Opcodes, PairStride, Second, Words};
use crate::model::bus::OperandWidth;
use crate::model::isa::instruction::{Instruction, LaneExchange, LdsPair};
use crate::model::isa::operand::VectorRegister;

pub(super) fn lds(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let global_data_share = words.bits(16, 1) == 1;
    if global_data_share {
        return None;
    }
    Some(operation((opcodes.lds)(words.bits(17, 8))?, words, second))
}

/// The operands stand at the same places in every generation.
pub(super) fn operation(op: Lds, words: Words, second: Second) -> Instruction {
    let register = |low| VectorRegister(second.bits(low, 8) as u8);
    let (address, data, destination) = (register(0), [register(8), register(16)], register(24));
    let offset = words.bits(0, 16) as u16;
    let offsets = |width: OperandWidth, stride: PairStride| {
        let element = match width {
            OperandWidth::Bits32 => 4,
            OperandWidth::Bits64 => 8,
        };
        let unit = match stride {
            PairStride::Element => element,
            PairStride::SixtyFourElements => 64 * element,
        };
        LdsPair { first: words.bits(0, 8) * unit, second: words.bits(8, 8) * unit }
    };
    match op {
        Lds::Load(element) => Instruction::LdsLoad { element, destination, address, offset },
        Lds::Store(element) => Instruction::LdsStore { element, address, data: data[0], offset },
        Lds::LoadPair(width, stride) => Instruction::LdsLoadPair { width, destination, address, offsets: offsets(width, stride) },
        Lds::StorePair(width, stride) => {
            Instruction::LdsStorePair { width, address, first: data[0], second: data[1], offsets: offsets(width, stride) }
        }
        Lds::Atomic(op, width, old) => Instruction::LdsAtomic { op, width, old, destination, address, data, offset },
        Lds::Push => Instruction::LaneExchange { op: LaneExchange::Push(offset), destination, address, data: data[0] },
        Lds::Pull => Instruction::LaneExchange { op: LaneExchange::Pull(offset), destination, address, data: data[0] },
        Lds::PushWithin32 => {
            Instruction::LaneExchange { op: LaneExchange::PushWithin32(offset), destination, address, data: data[0] }
        }
        Lds::PullWithin32 => {
            Instruction::LaneExchange { op: LaneExchange::PullWithin32(offset), destination, address, data: data[0] }
        }
        // The value to exchange stands where the others have their address.
        Lds::Swizzle => Instruction::LaneExchange { op: LaneExchange::Swizzle(offset), destination, address, data: address },
    }
}
