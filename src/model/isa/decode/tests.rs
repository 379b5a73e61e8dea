//! Encodings, against LLVM's assembler: words are what it makes of the text beside them.

use super::gfx8::OPCODES;
use super::{Decoded, decode};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::instruction::*;
use crate::model::isa::operand::{ScalarRegister, ScalarSource, VectorRegister, VectorSource};

fn decoded(words: &[u32]) -> Option<Decoded> {
    decode(&OPCODES, words[0], words.get(1).copied())
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
        Instruction::SaveExec { op: Bitwise::AndNot, destination: s(2), a: ScalarSource::Register(ScalarRegister::VCC) }
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
        Instruction::GetHardwareRegister { destination: s(4), field: 6 << 11 | 8 << 6 | 4 }
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
        Instruction::ScalarLoad { destination: s(8), base: s(6), offset: ScalarOffset::Bytes(0xa_bcde), words: 4 }
    );
    assert_eq!(
        instruction(&[
            0xc000_1a81,
            0x0000_0004, // s_load_dword vcc_lo, s[2:3], s4
        ]),
        Instruction::ScalarLoad { destination: ScalarRegister::VCC, base: s(2), offset: ScalarOffset::Register(s(4)), words: 1 }
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
        Instruction::FlatLoad { element: Element::Words(2), coherence: Coherence::Global, destination: v(2), address: v(0) }
    );
    assert_eq!(
        instruction(&[
            0xdc60_0000,
            0x0000_0904, // flat_store_byte v[4:5], v9
        ]),
        Instruction::FlatStore { element: Element::Unsigned8, address: v(4), data: v(9) }
    );
    let atomic = |op, width, old, destination| Instruction::FlatAtomic { op, width, old, destination, address: v(4), data: v(6) };
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

#[test]
fn what_this_device_lacks_is_illegal() {
    for (text, words) in ILLEGAL {
        assert_eq!(decoded(words), None, "{text}");
    }
}

const ILLEGAL: &[(&str, &[u32])] = &[
    ("v_mov_b32_dpp v0, v1 row_shl:1", &[0x7e00_02fa, 0xff01_0101]),
    ("v_mov_b32_sdwa v0, v1", &[0x7e00_02f9, 0x0006_1601]),
    ("v_mov_b32 v0, src_lds_direct", &[0x7e00_02fe]),
    ("v_rcp_f32 v0, v1", &[0x7e00_4501]),
    ("v_add_f16 v0, v1, v2", &[0x3e00_0501]),
    ("v_add_f64 v[0:1], v[2:3], v[4:5]", &[0xd280_0000, 0x0002_0902]),
    ("v_interp_p1_f32 v0, v1, attr0.x", &[0xd400_0001]),
    ("image_load v0, v0, s[0:7] dmask:0x1 unorm", &[0xf000_1100, 0x0000_0000]),
    ("exp mrt0 v0, v0, v0, v0", &[0xc400_000f, 0x0000_0000]),
    ("s_set_gpr_idx_off", &[0xbf9c_0000]),
    ("s_cbranch_join s0", &[0xbe80_2e00]),
    ("s_store_dword s0, s[2:3], 0x0", &[0xc042_0001, 0x0000_0000]),
    ("s_buffer_load_dword s0, s[4:7], 0x0", &[0xc022_0002, 0x0000_0000]),
    ("s_sethalt 1", &[0xbf8d_0001]),
    ("v_cvt_f64_i32 v[0:1], v2", &[0x7e00_0902]),
    ("ds_add_f32 v0, v1", &[0xd82a_0000, 0x0000_0100]),
    ("s_setvskip s0, s1", &[0xbf10_0100]),
];

/// Every integer instruction of the families that this device has in full, and of AMD's tests and our own kernels.
const LEGAL: &[(&str, &[u32])] = &[
    ("s_mov_b32 s0, s1", &[0xbe80_0001]),
    ("s_mov_b64 s[0:1], s[2:3]", &[0xbe80_0102]),
    ("s_cmov_b32 s0, s1", &[0xbe80_0201]),
    ("s_cmov_b64 s[0:1], s[2:3]", &[0xbe80_0302]),
    ("s_not_b32 s0, s1", &[0xbe80_0401]),
    ("s_not_b64 s[0:1], s[2:3]", &[0xbe80_0502]),
    ("s_wqm_b32 s0, s1", &[0xbe80_0601]),
    ("s_wqm_b64 s[0:1], s[2:3]", &[0xbe80_0702]),
    ("s_brev_b32 s0, s1", &[0xbe80_0801]),
    ("s_brev_b64 s[0:1], s[2:3]", &[0xbe80_0902]),
    ("s_bcnt0_i32_b32 s0, s1", &[0xbe80_0a01]),
    ("s_bcnt0_i32_b64 s0, s[2:3]", &[0xbe80_0b02]),
    ("s_bcnt1_i32_b32 s0, s1", &[0xbe80_0c01]),
    ("s_bcnt1_i32_b64 s0, s[2:3]", &[0xbe80_0d02]),
    ("s_ff0_i32_b32 s0, s1", &[0xbe80_0e01]),
    ("s_ff0_i32_b64 s0, s[2:3]", &[0xbe80_0f02]),
    ("s_ff1_i32_b32 s0, s1", &[0xbe80_1001]),
    ("s_ff1_i32_b64 s0, s[2:3]", &[0xbe80_1102]),
    ("s_flbit_i32_b32 s0, s1", &[0xbe80_1201]),
    ("s_flbit_i32_b64 s0, s[2:3]", &[0xbe80_1302]),
    ("s_flbit_i32 s0, s1", &[0xbe80_1401]),
    ("s_flbit_i32_i64 s0, s[2:3]", &[0xbe80_1502]),
    ("s_sext_i32_i8 s0, s1", &[0xbe80_1601]),
    ("s_sext_i32_i16 s0, s1", &[0xbe80_1701]),
    ("s_bitset0_b32 s0, s1", &[0xbe80_1801]),
    ("s_bitset0_b64 s[0:1], s2", &[0xbe80_1902]),
    ("s_bitset1_b32 s0, s1", &[0xbe80_1a01]),
    ("s_bitset1_b64 s[0:1], s2", &[0xbe80_1b02]),
    ("s_getpc_b64 s[0:1]", &[0xbe80_1c00]),
    ("s_setpc_b64 s[0:1]", &[0xbe80_1d00]),
    ("s_swappc_b64 s[0:1], s[2:3]", &[0xbe80_1e02]),
    ("s_and_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2002]),
    ("s_or_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2102]),
    ("s_xor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2202]),
    ("s_orn2_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2402]),
    ("s_nand_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2502]),
    ("s_nor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2602]),
    ("s_xnor_saveexec_b64 s[0:1], s[2:3]", &[0xbe80_2702]),
    ("s_quadmask_b32 s0, s1", &[0xbe80_2801]),
    ("s_quadmask_b64 s[0:1], s[2:3]", &[0xbe80_2902]),
    ("s_abs_i32 s0, s1", &[0xbe80_3001]),
    ("s_min_u32 s0, s1, s2", &[0x8380_0201]),
    ("s_cselect_b64 s[0:1], s[2:3], s[4:5]", &[0x8580_0402]),
    ("s_xnor_b32 s0, s1, s2", &[0x8d00_0201]),
    ("s_nor_b64 s[0:1], s[2:3], s[4:5]", &[0x8c80_0402]),
    ("s_lshl_b64 s[0:1], s[2:3], s4", &[0x8e80_0402]),
    ("s_bfe_i64 s[0:1], s[2:3], s4", &[0x9400_0402]),
    ("s_absdiff_i32 s0, s1, s2", &[0x9500_0201]),
    ("s_cmp_lg_u64 s[0:1], s[2:3]", &[0xbf13_0200]),
    ("s_bitcmp1_b64 s[0:1], s2", &[0xbf0f_0200]),
    ("s_mulk_i32 s0, 5", &[0xb780_0005]),
    ("s_nop 3", &[0xbf80_0003]),
    ("s_endpgm", &[0xbf81_0000]),
    ("s_sleep 1", &[0xbf8e_0001]),
    ("s_barrier", &[0xbf8a_0000]),
    ("s_setprio 1", &[0xbf8f_0001]),
    ("s_sendmsg sendmsg(MSG_INTERRUPT)", &[0xbf90_0001]),
    ("s_icache_inv", &[0xbf93_0000]),
    ("s_sethalt 0", &[0xbf8d_0000]),
    ("s_load_dwordx16 s[0:15], s[20:21], 0x0", &[0xc012_000a, 0x0000_0000]),
    ("s_memrealtime s[0:1]", &[0xc094_0000, 0x0000_0000]),
    ("s_dcache_inv_vol", &[0xc088_0000, 0x0000_0000]),
    ("v_nop", &[0x7e00_0000]),
    ("v_cvt_f32_i32 v0, v1", &[0x7e00_0b01]),
    ("v_cvt_flr_i32_f32 v0, v1", &[0x7e00_1b01]),
    ("v_cvt_f32_ubyte3 v0, v1", &[0x7e00_2901]),
    ("v_rndne_f32 v0, v1", &[0x7e00_3d01]),
    ("v_ffbh_i32 v0, v1", &[0x7e00_5f01]),
    ("v_mul_hi_u32_u24 v0, v1, v2", &[0x1200_0501]),
    ("v_mac_f32 v0, v1, v2", &[0x2c00_0501]),
    ("v_madmk_f32 v0, v1, 0x11213141, v2", &[0x2e00_0501, 0x1121_3141]),
    ("v_min_i16 v0, v1, v2", &[0x6400_0501]),
    ("v_lshlrev_b16 v0, v1, v2", &[0x5400_0501]),
    ("v_cmp_t_u64 vcc, v[0:1], v[2:3]", &[0x7dde_0500]),
    ("v_cmp_f_i16 vcc, v0, v1", &[0x7d40_0300]),
    ("v_cmpx_tru_f32 vcc, v0, v1", &[0x7cbe_0300]),
    ("v_mad_i32_i24 v0, v1, v2, v3", &[0xd1c2_0000, 0x040e_0501]),
    ("v_med3_f32 v0, v1, v2, v3", &[0xd1d6_0000, 0x040e_0501]),
    ("v_mad_i16 v0, v1, v2, v3", &[0xd1ec_0000, 0x040e_0501]),
    ("v_mul_hi_i32 v0, v1, v2", &[0xd287_0000, 0x0002_0501]),
    ("v_cvt_pk_u16_u32 v0, v1, v2", &[0xd297_0000, 0x0002_0501]),
    ("v_cvt_pk_i16_i32 v0, v1, v2", &[0xd298_0000, 0x0002_0501]),
    ("v_not_b32_e64 v0, v1", &[0xd16b_0000, 0x0000_0101]),
    ("v_lshlrev_b32_e64 v0, 1, s1", &[0xd112_0000, 0x0000_0281]),
    ("v_sub_u32_e64 v0, s[0:1], v1, v2", &[0xd11a_0000, 0x0002_0501]),
    ("ds_add_u32 v0, v1", &[0xd800_0000, 0x0000_0100]),
    ("ds_sub_rtn_u64 v[0:1], v2, v[4:5]", &[0xd8c2_0000, 0x0000_0402]),
    ("ds_inc_u32 v0, v1", &[0xd806_0000, 0x0000_0100]),
    ("ds_dec_rtn_u32 v0, v1, v2", &[0xd848_0000, 0x0000_0201]),
    ("ds_min_i64 v0, v[2:3]", &[0xd88a_0000, 0x0000_0200]),
    ("ds_max_rtn_u64 v[0:1], v2, v[4:5]", &[0xd8d0_0000, 0x0000_0402]),
    ("ds_mskor_rtn_b64 v[0:1], v2, v[4:5], v[6:7]", &[0xd8d8_0000, 0x0006_0402]),
    ("ds_write_b16 v0, v1", &[0xd83e_0000, 0x0000_0100]),
    ("ds_write_b128 v0, v[4:7]", &[0xd9be_0000, 0x0000_0400]),
    ("ds_read_b96 v[4:6], v0", &[0xd9fc_0000, 0x0400_0000]),
    ("ds_read_u16 v0, v1", &[0xd878_0000, 0x0000_0001]),
    ("ds_wrxchg_rtn_b64 v[0:1], v2, v[4:5]", &[0xd8da_0000, 0x0000_0402]),
    ("ds_bpermute_b32 v0, v1, v2", &[0xd87e_0000, 0x0000_0201]),
    ("flat_load_sshort v0, v[2:3]", &[0xdc4c_0000, 0x0000_0002]),
    ("flat_load_dwordx3 v[0:2], v[4:5]", &[0xdc58_0000, 0x0000_0004]),
    ("flat_store_short v[0:1], v2", &[0xdc68_0000, 0x0000_0200]),
    ("flat_store_dwordx3 v[0:1], v[4:6]", &[0xdc78_0000, 0x0000_0400]),
    ("flat_atomic_inc v[0:1], v2", &[0xdd2c_0000, 0x0000_0200]),
    ("flat_atomic_dec_x2 v[4:5], v[0:1], v[2:3] glc", &[0xddb1_0000, 0x0400_0200]),
    ("buffer_wbinvl1", &[0xe0f8_0000, 0x0000_0000]),
];

#[test]
fn what_compilers_use_is_legal_and_as_long_as_the_assembler_makes_it() {
    for (text, words) in LEGAL {
        let decoded = decoded(words).unwrap_or_else(|| panic!("{text} is illegal"));
        assert_eq!(usize::from(decoded.words), words.len(), "{text}");
    }
}

#[test]
fn a_missing_second_word_is_illegal() {
    for (text, words) in LEGAL.iter().filter(|(_, words)| words.len() == 2) {
        assert_eq!(decoded(&words[..1]), None, "{text}");
    }
}
