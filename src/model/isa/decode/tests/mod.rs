//! Encodings, against LLVM's assembler: words are what it makes of the text beside them.

mod legality;

use super::{Decoded, decode};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::instruction::*;
use crate::model::isa::operand::{GlobalAddress, OperandSize, ScalarRegister, ScalarSource, VectorRegister, VectorSource};
use crate::model::target::Target;

fn decoded(words: &[u32]) -> Option<Decoded> {
    decode(Target::Gfx803, words)
}

fn instruction(words: &[u32]) -> Instruction {
    let decoded = decoded(words).unwrap();
    assert_eq!(usize::from(decoded.words), words.len(), "{words:08x?}");
    decoded.instruction
}

fn s(number: u32) -> ScalarRegister {
    ScalarRegister::new(number).unwrap()
}

const fn v(number: u8) -> VectorRegister {
    VectorRegister(number)
}

const fn vector(number: u8) -> VectorSource {
    VectorSource::Vector(v(number))
}

fn scalar(number: u32) -> VectorSource {
    VectorSource::Scalar(ScalarSource::Register(s(number)))
}

const fn constant(value: u64) -> ScalarSource {
    ScalarSource::Constant(value)
}

#[test]
fn sop1_has_a_destination_and_one_source() {
    assert_eq!(
        instruction(&[
            0xbe86_017e, // s_mov_b64 s[6:7], exec
        ]),
        Instruction::ScalarUnary { op: ScalarUnary::Move64, destination: s(6), a: ScalarSource::Register(ScalarRegister::EXEC) }
    );
    assert_eq!(
        instruction(&[
            0xbefc_00ff,
            0x1234_5678, // s_mov_b32 m0, 0x12345678
        ]),
        Instruction::ScalarUnary { op: ScalarUnary::Move32, destination: ScalarRegister::M0, a: constant(0x1234_5678) }
    );
    assert_eq!(
        instruction(&[
            0xbe82_236a, // s_andn2_saveexec_b64 s[2:3], vcc
        ]),
        Instruction::SaveExec {
            op: Bitwise::AndNot,
            size: OperandSize::Bits64,
            destination: s(2),
            a: ScalarSource::Register(ScalarRegister::VCC)
        }
    );
    assert_eq!(
        instruction(&[
            0xbe80_1c00, // s_getpc_b64 s[0:1]
        ]),
        Instruction::GetProgramCounter { destination: s(0) }
    );
}

#[test]
fn sop2_takes_a_literal_on_either_side() {
    let add = |a, b| Instruction::ScalarBinary { op: ScalarBinary::AddUnsigned, destination: s(9), a, b };
    assert_eq!(
        instruction(&[
            0x8009_0b0a, // s_add_u32 s9, s10, s11
        ]),
        add(ScalarSource::Register(s(10)), ScalarSource::Register(s(11)))
    );
    assert_eq!(
        instruction(&[
            0x8009_0bff,
            0xffff_eec8, // s_add_u32 s9, 0xffffeec8, s11
        ]),
        add(constant(0xffff_eec8), ScalarSource::Register(s(11)))
    );
    assert_eq!(
        instruction(&[
            0x8009_ff0b,
            0xffff_eec8, // s_add_u32 s9, s11, 0xffffeec8
        ]),
        add(ScalarSource::Register(s(11)), constant(0xffff_eec8))
    );
    assert_eq!(
        instruction(&[
            0x8009_c10b, // s_add_u32 s9, s11, -1
        ]),
        add(ScalarSource::Register(s(11)), constant(u64::MAX))
    );
}

#[test]
fn sopc_sopk_and_sopp_have_no_destination_a_constant_and_neither() {
    assert_eq!(
        instruction(&[
            0xbf03_c001, // s_cmp_ge_i32 s1, 64
        ]),
        Instruction::ScalarCompare {
            test: ScalarTest::Signed(Relation::GreaterOrEqual),
            a: ScalarSource::Register(s(1)),
            b: constant(64)
        }
    );
    assert_eq!(
        instruction(&[
            0xb605_fff0, // s_cmpk_lt_u32 s5, 0xfff0
        ]),
        Instruction::ScalarImmediate {
            op: ScalarImmediate::Compare(ScalarTest::Unsigned(Relation::Less)),
            register: s(5),
            value: -16
        }
    );
    assert_eq!(
        instruction(&[
            0xb884_3204, // s_getreg_b32 s4, hwreg(HW_REG_HW_ID, 8, 7)
        ]),
        Instruction::GetHardwareRegister {
            destination: s(4),
            register: HardwareRegister::Identity,
            field: BitField { offset: 8, bits: 7 }
        }
    );
    assert_eq!(
        instruction(&[
            0xbf89_fff9, // s_cbranch_execnz -7
        ]),
        Instruction::Branch { condition: Condition::ExecNotZero, words: -7 }
    );
    assert_eq!(
        instruction(&[
            0xbf8c_0f70, // s_waitcnt vmcnt(0)
        ]),
        Instruction::WaitForStores
    );
    assert_eq!(
        instruction(&[
            0xbf8c_007f, // s_waitcnt lgkmcnt(0)
        ]),
        Instruction::Order
    );
    assert_eq!(
        instruction(&[
            0xbf92_0002, // s_trap 2
        ]),
        Instruction::Trap { id: 2 }
    );
    assert_eq!(
        instruction(&[
            0xba00_f801,
            0x0000_1234, // s_setreg_imm32_b32 hwreg(HW_REG_MODE), 0x1234
        ]),
        Instruction::Nothing
    );
    assert_eq!(
        decoded(&[
            0xb900_f803, // s_setreg_b32 hwreg(HW_REG_TRAPSTS), s0
        ]),
        None,
        "only MODE may be written"
    );
}

#[test]
fn smem_has_a_pair_as_base_and_a_constant_or_a_register_as_offset() {
    assert_eq!(
        instruction(&[
            0xc00a_0203,
            0x000a_bcde, // s_load_dwordx4 s[8:11], s[6:7], 0xabcde
        ]),
        Instruction::ScalarLoad {
            destination: s(8),
            base: s(6),
            offset: ScalarOffset { bytes: 0xa_bcde, register: None },
            words: 4
        }
    );
    assert_eq!(
        instruction(&[
            0xc000_1a81,
            0x0000_0004, // s_load_dword vcc_lo, s[2:3], s4
        ]),
        Instruction::ScalarLoad {
            destination: ScalarRegister::VCC,
            base: s(2),
            offset: ScalarOffset { bytes: 0, register: Some(s(4)) },
            words: 1
        }
    );
    assert_eq!(
        instruction(&[
            0xc090_0080,
            0x0000_0000, // s_memtime s[2:3]
        ]),
        Instruction::ReadClock { destination: s(2) }
    );
    assert_eq!(
        instruction(&[
            0xc084_0000,
            0x0000_0000, // s_dcache_wb
        ]),
        Instruction::Nothing
    );
}

#[test]
fn vop1_and_vop2_name_one_source_of_any_kind() {
    assert_eq!(
        instruction(&[
            0x7f90_03ff, // v_mov_b32 v200, v255
        ]),
        Instruction::VectorUnary { op: VectorUnary::Move, destination: v(200), a: vector(255) }
    );
    assert_eq!(
        instruction(&[
            0x7e0e_0503, // v_readfirstlane_b32 s7, v3
        ]),
        Instruction::ReadFirstLane { destination: s(7), a: vector(3) }
    );
    assert_eq!(
        instruction(&[
            0x2606_02ff,
            0xff00_ff00, // v_and_b32 v3, 0xff00ff00, v1
        ]),
        Instruction::VectorBinary {
            op: VectorBinary::And,
            destination: v(3),
            a: VectorSource::Scalar(constant(0xff00_ff00)),
            b: vector(1)
        }
    );
    let carry =
        |op, carry_out, carry_in| Instruction::Carry { op, destination: v(1), carry_out, a: vector(2), b: vector(4), carry_in };
    let vcc = ScalarRegister::VCC;
    assert_eq!(
        instruction(&[
            0x3202_0902, // v_add_u32 v1, vcc, v2, v4
        ]),
        carry(CarryOp::Add, vcc, vcc)
    );
    assert_eq!(
        instruction(&[
            0x3a02_0902, // v_subb_u32 v1, vcc, v2, v4, vcc
        ]),
        carry(CarryOp::SubtractBorrow, vcc, vcc)
    );
    assert_eq!(
        instruction(&[
            0xd11c_0601,
            0x0022_0902, // v_addc_u32 v1, s[6:7], v2, v4, s[8:9]
        ]),
        carry(CarryOp::AddCarry, s(6), s(8))
    );
    assert_eq!(
        instruction(&[
            0x3000_0501,
            0x1121_3141, // v_madak_f32 v0, v1, v2, 0x11213141
        ]),
        Instruction::FloatTernary {
            op: FloatTernary::MultiplyAdd,
            destination: v(0),
            a: vector(1),
            b: vector(2),
            c: VectorSource::Scalar(constant(0x1121_3141)),
            modifiers: FloatModifiers::default()
        }
    );
}

#[test]
fn vopc_writes_vcc_and_its_long_form_any_pair() {
    let compare = |test, effect, destination| Instruction::VectorCompare { test, effect, destination, a: scalar(3), b: vector(9) };
    assert_eq!(
        instruction(&[
            0x7d9c_1203, // v_cmp_ge_u32 vcc, s3, v9
        ]),
        compare(VectorTest::Unsigned32(Relation::GreaterOrEqual), CompareEffect::MaskOnly, ScalarRegister::VCC)
    );
    assert_eq!(
        instruction(&[
            0xd0d5_0004,
            0x0002_1203, // v_cmpx_ne_i32 s[4:5], s3, v9
        ]),
        compare(VectorTest::Signed32(Relation::NotEqual), CompareEffect::AlsoExec, s(4))
    );
    let predicate = FloatPredicate { less: true, equal: false, greater: false, unordered: true };
    assert_eq!(
        instruction(&[
            0x7c92_1203, // v_cmp_nge_f32 vcc, s3, v9
        ]),
        compare(VectorTest::Float32(predicate), CompareEffect::MaskOnly, ScalarRegister::VCC)
    );
}

#[test]
fn vop3_has_three_sources_and_modifiers() {
    assert_eq!(
        instruction(&[
            0xd1c1_8200,
            0x2bca_0501, // v_mad_f32 v0, -v1, |v2|, 1.0 clamp mul:2
        ]),
        Instruction::FloatTernary {
            op: FloatTernary::MultiplyAdd,
            destination: v(0),
            a: vector(1),
            b: vector(2),
            c: VectorSource::Scalar(constant(0x3f80_0000)),
            modifiers: FloatModifiers { absolute: 0b10, negate: 0b01, output_scale: 1, clamp: true }
        }
    );
    assert_eq!(
        instruction(&[
            0xd1e8_0604,
            0x0420_0702, // v_mad_u64_u32 v[4:5], s[6:7], v2, s3, v[8:9]
        ]),
        Instruction::MultiplyAdd64 {
            signedness: Signedness::Unsigned,
            destination: v(4),
            carry_out: s(6),
            a: vector(2),
            b: scalar(3),
            c: vector(8)
        }
    );
    assert_eq!(
        instruction(&[
            0xd28a_0003,
            0x0001_0a02, // v_writelane_b32 v3, s2, 5
        ]),
        Instruction::WriteLane { destination: v(3), value: ScalarSource::Register(s(2)), lane: constant(5) }
    );
    assert_eq!(
        decoded(&[
            0xd119_ea00,
            0x0002_0501, // v_add_u32 v0, vcc, v1, v2 clamp
        ]),
        None,
        "saturating integer addition is not modelled"
    );
}

#[test]
fn ds_counts_offsets_in_bytes_or_in_elements() {
    assert_eq!(
        instruction(&[
            0xd86c_fffc,
            0x0600_0002, // ds_read_b32 v6, v2 offset:65532
        ]),
        Instruction::LdsLoad { element: Element::Words(1), destination: v(6), address: v(2), offset: 65532 }
    );
    assert_eq!(
        instruction(&[
            0xd81c_ff01,
            0x0002_0100, // ds_write2_b32 v0, v1, v2 offset0:1 offset1:255
        ]),
        Instruction::LdsStorePair {
            width: OperandWidth::Bits32,
            address: v(0),
            first: v(1),
            second: v(2),
            offsets: LdsPair { first: 4, second: 1020 }
        }
    );
    assert_eq!(
        instruction(&[
            0xd8f0_0201,
            0x0000_0009, // ds_read2st64_b64 v[0:3], v9 offset0:1 offset1:2
        ]),
        Instruction::LdsLoadPair {
            width: OperandWidth::Bits64,
            destination: v(0),
            address: v(9),
            offsets: LdsPair { first: 512, second: 1024 }
        }
    );
    assert_eq!(
        instruction(&[
            0xd8e0_0008,
            0x0804_0201, // ds_cmpst_rtn_b64 v[8:9], v1, v[2:3], v[4:5] offset:8
        ]),
        Instruction::LdsAtomic {
            op: LdsAtomic::Rmw(RmwOp::CompareSwap),
            width: OperandWidth::Bits64,
            old: OldValue::Returned,
            destination: v(8),
            address: v(1),
            data: [v(2), v(4)],
            offset: 8
        }
    );
    assert_eq!(
        decoded(&[
            0xd801_0000,
            0x0000_0201, // ds_add_u32 v1, v2 gds
        ]),
        None,
        "there is no global data share"
    );
}

#[test]
fn flat_has_an_address_pair_and_glc_asks_for_the_old_value() {
    assert_eq!(
        instruction(&[
            0xdc55_0000,
            0x0200_0000, // flat_load_dwordx2 v[2:3], v[0:1] glc
        ]),
        Instruction::FlatLoad {
            element: Element::Words(2),
            coherence: Coherence::Global,
            destination: v(2),
            address: GlobalAddress::in_lanes(v(0))
        }
    );
    assert_eq!(
        instruction(&[
            0xdc60_0000,
            0x0000_0904, // flat_store_byte v[4:5], v9
        ]),
        Instruction::FlatStore { element: Element::Unsigned8, address: GlobalAddress::in_lanes(v(4)), data: v(9) }
    );
    let atomic = |op, width, old, destination| Instruction::FlatAtomic {
        op,
        width,
        old,
        destination,
        address: GlobalAddress::in_lanes(v(4)),
        data: v(6),
    };
    assert_eq!(
        instruction(&[
            0xdd05_0000,
            0x0100_0604, // flat_atomic_cmpswap v1, v[4:5], v[6:7] glc
        ]),
        atomic(RmwOp::CompareSwap, OperandWidth::Bits32, OldValue::Returned, v(1))
    );
    assert_eq!(
        instruction(&[
            0xdd98_0000,
            0x0000_0604, // flat_atomic_smax_x2 v[4:5], v[6:7]
        ]),
        atomic(RmwOp::SignedMax, OperandWidth::Bits64, OldValue::Discarded, v(0))
    );
}

#[test]
fn an_l1_invalidation_orders_and_other_buffer_instructions_are_illegal() {
    assert_eq!(
        instruction(&[
            0xe0fc_0000,
            0x0000_0000, // buffer_wbinvl1_vol
        ]),
        Instruction::Order
    );
    assert_eq!(
        decoded(&[
            0xe050_0000,
            0x8000_0000, // buffer_load_dword v0, off, s[0:3], 0
        ]),
        None
    );
}
