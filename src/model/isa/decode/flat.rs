//! FLAT.

use super::{Flat, Opcodes, Second, Words};
use crate::model::isa::instruction::{Coherence, Instruction, OldValue};
use crate::model::isa::operand::{GlobalAddress, VectorRegister};

pub(super) fn flat(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    // Bits 15:0 are an offset and a segment on later generations, and bit 23 of the second word asks for residency information.
    if words.bits(0, 16) != 0 || second.bits(23, 1) != 0 {
        return None;
    }
    let register = |low| VectorRegister(second.bits(low, 8) as u8);
    let (data, destination) = (register(8), register(24));
    let address = GlobalAddress::in_lanes(register(0));
    let globally_coherent = words.bits(16, 1) == 1;
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
