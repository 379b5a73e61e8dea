//! Encodings of memory instructions of generation 9 (`llvm-mc -mcpu=gfx942`).

use super::{instruction_of, s, v};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::instruction::*;
use crate::model::isa::operand::{AddressBase, GlobalAddress, ScratchAddress, Segment, VectorRegister};
use crate::model::target::Target;

fn instruction(words: &[u32]) -> Instruction {
    instruction_of(Target::Gfx942, words)
}

#[test]
fn scalar_loads_have_a_signed_constant_and_a_register_beside_it() {
    let load = |destination, bytes, register, words| Instruction::ScalarLoad {
        destination: s(destination),
        base: s(2),
        offset: ScalarOffset { bytes, register },
        words,
    };
    assert_eq!(
        instruction(&[
            0xc002_0001,
            0x001f_fffc, // s_load_dword s0, s[2:3], -0x4
        ]),
        load(0, -4, None, 1)
    );
    assert_eq!(
        instruction(&[
            0xc006_4001,
            0x0800_0010, // s_load_dwordx2 s[0:1], s[2:3], s4 offset:0x10
        ]),
        load(0, 0x10, Some(s(4)), 2)
    );
    assert_eq!(
        instruction(&[
            0xc008_0101,
            0x0000_0009, // s_load_dwordx4 s[4:7], s[2:3], s9
        ]),
        load(4, 0, Some(s(9)), 4)
    );
    assert_eq!(
        instruction(&[
            0xc00e_0201,
            0x000f_ffff, // s_load_dwordx8 s[8:15], s[2:3], 0xfffff
        ]),
        load(8, 0xf_ffff, None, 8)
    );
}

const fn in_lanes(register: u8, offset: i32, segment: Segment) -> GlobalAddress {
    GlobalAddress { base: AddressBase::Lanes(VectorRegister(register)), offset, segment }
}

#[test]
fn flat_has_an_offset_and_cache_bits_and_sc0_asks_for_the_old_value() {
    let load = |element, coherence, offset| Instruction::FlatLoad {
        element,
        coherence,
        destination: v(4),
        address: in_lanes(0, offset, Segment::Flat),
    };
    assert_eq!(
        instruction(&[
            0xdc50_0fff,
            0x0400_0000, // flat_load_dword v4, v[0:1] offset:4095
        ]),
        load(Element::Words(1), Coherence::Cached, 4095)
    );
    assert_eq!(
        instruction(&[
            0xdc55_0000,
            0x0400_0000, // flat_load_dwordx2 v[4:5], v[0:1] sc0
        ]),
        load(Element::Words(2), Coherence::Global, 0)
    );
    assert_eq!(
        instruction(&[
            0xde50_0000,
            0x0400_0000, // flat_load_dword v4, v[0:1] sc1
        ]),
        load(Element::Words(1), Coherence::Global, 0)
    );
    assert_eq!(
        instruction(&[
            0xde71_0008,
            0x0000_0400, // flat_store_dword v[0:1], v4 offset:8 sc0 sc1
        ]),
        Instruction::FlatStore { element: Element::Words(1), address: in_lanes(0, 8, Segment::Flat), data: v(4) }
    );
    let atomic = |op, width, old, destination| Instruction::FlatAtomic {
        op,
        width,
        old,
        destination,
        address: in_lanes(2, 0, Segment::Flat),
        data: v(4),
    };
    assert_eq!(
        instruction(&[
            0xdd09_0000,
            0x0100_0402, // flat_atomic_add v1, v[2:3], v4 sc0
        ]),
        atomic(RmwOp::Add, OperandWidth::Bits32, OldValue::Returned, v(1))
    );
    assert_eq!(
        instruction(&[
            0xdf84_0000,
            0x0000_0402, // flat_atomic_cmpswap_x2 v[2:3], v[4:7] sc1
        ]),
        atomic(RmwOp::CompareSwap, OperandWidth::Bits64, OldValue::Discarded, v(0))
    );
}

#[test]
fn global_has_a_signed_offset_and_may_have_a_scalar_base() {
    assert_eq!(
        instruction(&[
            0xdc50_9000,
            0x047f_0000, // global_load_dword v4, v[0:1], off offset:-4096
        ]),
        Instruction::FlatLoad {
            element: Element::Words(1),
            coherence: Coherence::Cached,
            destination: v(4),
            address: in_lanes(0, -4096, Segment::Global)
        }
    );
    let with_base = |offset| GlobalAddress { base: AddressBase::ScalarAndLanes(s(6), v(2)), offset, segment: Segment::Global };
    assert_eq!(
        instruction(&[
            0xdc5e_8fff,
            0x0406_0002, // global_load_dwordx4 v[4:7], v2, s[6:7] offset:4095 nt
        ]),
        Instruction::FlatLoad {
            element: Element::Words(4),
            coherence: Coherence::Cached,
            destination: v(4),
            address: with_base(4095)
        }
    );
    assert_eq!(
        instruction(&[
            0xdc68_8000,
            0x0006_0302, // global_store_short v2, v3, s[6:7]
        ]),
        Instruction::FlatStore { element: Element::Unsigned16, address: with_base(0), data: v(3) }
    );
    assert_eq!(
        instruction(&[
            0xdd81_8000,
            0x0006_0402, // global_atomic_swap_x2 v[0:1], v2, v[4:5], s[6:7] sc0
        ]),
        Instruction::FlatAtomic {
            op: RmwOp::Swap,
            width: OperandWidth::Bits64,
            old: OldValue::Returned,
            destination: v(0),
            address: with_base(0),
            data: v(4)
        }
    );
}

#[test]
fn scratch_adds_up_a_register_of_each_file_and_a_constant() {
    let load = |element, lanes, wave, offset| Instruction::ScratchLoad {
        element,
        destination: v(4),
        address: ScratchAddress { lanes, wave, offset },
    };
    assert_eq!(
        instruction(&[
            0xdc50_4010,
            0x047f_0000, // scratch_load_dword v4, off, off offset:16
        ]),
        load(Element::Words(1), None, None, 16)
    );
    assert_eq!(
        instruction(&[
            0xdc40_6010,
            0x047f_0001, // scratch_load_ubyte v4, v1, off offset:16
        ]),
        load(Element::Unsigned8, Some(v(1)), None, 16)
    );
    assert_eq!(
        instruction(&[
            0xdc54_5ff0,
            0x0405_0000, // scratch_load_dwordx2 v[4:5], off, s5 offset:-16
        ]),
        load(Element::Words(2), None, Some(s(5)), -16)
    );
    assert_eq!(
        instruction(&[
            0xdc50_6000,
            0x0405_0001, // scratch_load_dword v4, v1, s5
        ]),
        load(Element::Words(1), Some(v(1)), Some(s(5)), 0)
    );
    assert_eq!(
        instruction(&[
            0xdc7c_4010,
            0x0020_0400, // scratch_store_dwordx4 off, v[4:7], s32 offset:16
        ]),
        Instruction::ScratchStore {
            element: Element::Words(4),
            address: ScratchAddress { lanes: None, wave: Some(s(32)), offset: 16 },
            data: v(4)
        }
    );
}

#[test]
fn cache_maintenance_orders() {
    // buffer_wbl2 sc0 sc1, buffer_inv sc1, s_waitcnt vmcnt(0)
    assert_eq!(instruction(&[0xe0a0_c000, 0]), Instruction::Order);
    assert_eq!(instruction(&[0xe0a4_8000, 0]), Instruction::Order);
    assert_eq!(instruction(&[0xbf8c_0f70]), Instruction::WaitForStores);
}
