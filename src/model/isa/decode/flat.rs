//! FLAT, GLOBAL and SCRATCH.

use super::{Flat, Opcodes, Second, Words};
use crate::model::isa::instruction::{Coherence, Instruction, OldValue};
use crate::model::isa::operand::{AddressBase, GlobalAddress, Numbering, ScalarRegister, ScratchAddress, Segment, VectorRegister};

/// What the shapes of FLAT instructions share.
struct Operands {
    address: GlobalAddress,
    data: VectorRegister,
    destination: VectorRegister,
    coherence: Coherence,
    old: OldValue,
}

impl Operands {
    fn instruction(self, op: Flat) -> Instruction {
        let Self { address, data, destination, coherence, old } = self;
        match op {
            Flat::Load(element) => Instruction::FlatLoad { element, coherence, destination, address },
            Flat::Store(element) => Instruction::FlatStore { element, address, data },
            Flat::Atomic(op, width) => Instruction::FlatAtomic { op, width, old, destination, address, data },
        }
    }
}

pub(super) fn flat(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let op = (opcodes.flat)(words.bits(18, 7))?;
    // Bit 23 of the second word asks for residency information, and later for accumulation registers.
    if second.bits(23, 1) != 0 {
        return None;
    }
    match words.numbering {
        Numbering::Gfx8 => generation_8(op, words, second),
        Numbering::Gfx9 => generation_9(op, words, second),
        // FLAT of generation 11 has another layout.
        Numbering::Gfx11 => None,
    }
}

fn generation_8(op: Flat, words: Words, second: Second) -> Option<Instruction> {
    let offset_and_segment = words.bits(0, 16);
    if offset_and_segment != 0 {
        return None;
    }
    let globally_coherent = words.bits(16, 1) == 1;
    let (coherence, old) =
        if globally_coherent { (Coherence::Global, OldValue::Returned) } else { (Coherence::Cached, OldValue::Discarded) };
    let address = GlobalAddress::in_lanes(register(second, 0));
    Some(Operands { address, data: register(second, 8), destination: register(second, 24), coherence, old }.instruction(op))
}

fn register(second: Second, low: u32) -> VectorRegister {
    VectorRegister(second.bits(low, 8) as u8)
}

/// The scalar register that stands for none.
const OFF: u32 = 0x7f;

/// CDNA 3 "FLAT": an offset, a segment, and SC0, SC1 and NT for caches. SC0 of an atomic asks for the old value; of a load, SC0 and
/// SC1 say how far it must be coherent.
fn generation_9(op: Flat, words: Words, second: Second) -> Option<Instruction> {
    let (data, destination) = (register(second, 8), register(second, 24));
    let (sc0, sc1) = (words.bits(16, 1) == 1, words.bits(25, 1) == 1);
    let offset = (words.bits(0, 13) << 19).cast_signed() >> 19;
    let scalar = match second.bits(16, 7) {
        OFF => None,
        number => Some(ScalarRegister::new(number)?),
    };
    let lanes = register(second, 0);
    let in_scratch_with_lanes = words.bits(13, 1) == 1;
    let address = match words.bits(14, 2) {
        // Its offset is not negative.
        0 if offset >= 0 && !in_scratch_with_lanes => {
            GlobalAddress { base: AddressBase::Lanes(lanes), offset, segment: Segment::Flat }
        }
        1 => {
            let address = ScratchAddress { lanes: in_scratch_with_lanes.then_some(lanes), wave: scalar, offset };
            return match op {
                Flat::Load(element) => Some(Instruction::ScratchLoad { element, destination, address }),
                Flat::Store(element) => Some(Instruction::ScratchStore { element, address, data }),
                Flat::Atomic(..) => None,
            };
        }
        2 if !in_scratch_with_lanes => {
            let base = scalar.map_or(AddressBase::Lanes(lanes), |base| AddressBase::ScalarAndLanes(base, lanes));
            GlobalAddress { base, offset, segment: Segment::Global }
        }
        _ => return None,
    };
    let coherence = if sc0 || sc1 { Coherence::Global } else { Coherence::Cached };
    let old = if sc0 { OldValue::Returned } else { OldValue::Discarded };
    Some(Operands { address, data, destination, coherence, old }.instruction(op))
}
