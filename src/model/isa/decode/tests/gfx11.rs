//! What generation 11 has and generation 8 has not. Words are LLVM's for the text beside them.

use super::*;
use crate::model::isa::operand::{AddressBase, ScratchAddress, Segment};

fn decoded11(words: &[u32]) -> Instruction {
    let decoded = decode(Target::Gfx1100, words).unwrap_or_else(|| panic!("illegal: {words:08x?}"));
    assert_eq!(usize::from(decoded.words), words.len(), "{words:08x?}");
    decoded.instruction
}

#[test]
fn exec_comes_in_halves_and_with_its_complement() {
    let (s0, s1) = (s(0), ScalarSource::Register(s(1)));
    let save = |op| Instruction::SaveExec { op, size: OperandSize::Bits32, destination: s0, a: s1 };
    assert_eq!(decoded11(&[0xbe80_2001]), save(Bitwise::And), "s_and_saveexec_b32 s0, s1");
    assert_eq!(decoded11(&[0xbe80_2c01]), save(Bitwise::NotAnd), "s_and_not0_saveexec_b32 s0, s1");
    let a = ScalarSource::Register(s(2));
    assert_eq!(
        decoded11(&[0xbe80_2f02]), // s_or_not0_saveexec_b64 s[0:1], s[2:3]
        Instruction::SaveExec { op: Bitwise::NotOr, size: OperandSize::Bits64, destination: s0, a }
    );
    assert_eq!(
        decoded11(&[0xbe80_3401]), // s_and_not0_wrexec_b32 s0, s1
        Instruction::WriteExec { op: Bitwise::NotAnd, size: OperandSize::Bits32, destination: s0, a: s1 }
    );
    assert_eq!(
        decoded11(&[0xbe80_3702]), // s_and_not1_wrexec_b64 s[0:1], s[2:3]
        Instruction::WriteExec { op: Bitwise::AndNot, size: OperandSize::Bits64, destination: s0, a }
    );
}

#[test]
fn scalar_operations_shift_and_add_multiply_high_and_pack() {
    for (text, words, op) in [
        ("s_lshl1_add_u32 s0, s1, s2", &[0x8700_0201][..], ScalarBinary::ShiftLeftAdd(1)),
        ("s_lshl4_add_u32 s0, s1, s2", &[0x8880_0201], ScalarBinary::ShiftLeftAdd(4)),
        ("s_mul_hi_u32 s0, s1, s2", &[0x9680_0201], ScalarBinary::MultiplyHighUnsigned),
        ("s_mul_hi_i32 s0, s1, s2", &[0x9700_0201], ScalarBinary::MultiplyHighSigned),
        ("s_pack_ll_b32_b16 s0, s1, s2", &[0x9900_0201], ScalarBinary::Pack(WordHalf::Low, WordHalf::Low)),
        ("s_pack_lh_b32_b16 s0, s1, s2", &[0x9980_0201], ScalarBinary::Pack(WordHalf::Low, WordHalf::High)),
        ("s_pack_hh_b32_b16 s0, s1, s2", &[0x9a00_0201], ScalarBinary::Pack(WordHalf::High, WordHalf::High)),
        ("s_pack_hl_b32_b16 s0, s1, s2", &[0x9a80_0201], ScalarBinary::Pack(WordHalf::High, WordHalf::Low)),
    ] {
        let (a, b) = (ScalarSource::Register(s(1)), ScalarSource::Register(s(2)));
        assert_eq!(decoded11(words), Instruction::ScalarBinary { op, destination: s(0), a, b }, "{text}");
    }
}

#[test]
fn null_is_number_124_and_m0_is_125() {
    assert_eq!(
        decoded11(&[0xbefc_007d]), // s_mov_b32 null, m0
        Instruction::ScalarUnary {
            op: ScalarUnary::Move32,
            destination: ScalarRegister::DISCARD,
            a: ScalarSource::Register(ScalarRegister::M0)
        }
    );
    let (a, b, vcc) = (scalar(1), vector(1), ScalarRegister::VCC);
    assert_eq!(
        decoded11(&[0xd520_7c01, 0x01aa_0201]), // v_add_co_ci_u32_e64 v1, null, s1, v1, vcc_lo
        Instruction::Carry { op: CarryOp::AddCarry, destination: v(1), carry_out: ScalarRegister::DISCARD, a, b, carry_in: vcc }
    );
    assert_eq!(
        decoded11(&[0xd6fe_7c04, 0x040a_0300]), // v_mad_u64_u32 v[4:5], null, v0, v1, v[2:3]
        Instruction::MultiplyAdd64 {
            signedness: Signedness::Unsigned,
            destination: v(4),
            carry_out: ScalarRegister::DISCARD,
            a: vector(0),
            b: vector(1),
            c: vector(2)
        }
    );
}

#[test]
fn scalar_loads_add_a_register_and_a_signed_constant() {
    let load = |words, destination, offset| Instruction::ScalarLoad { destination: s(destination), base: s(2), offset, words };
    assert_eq!(
        decoded11(&[0xf404_0101, 0x0c00_0010]), // s_load_b64 s[4:5], s[2:3], s6 offset:0x10
        load(2, 4, ScalarOffset { bytes: 16, register: Some(s(6)) })
    );
    assert_eq!(
        decoded11(&[0xf400_0101, 0xf81f_fff0]), // s_load_b32 s4, s[2:3], -0x10
        load(1, 4, ScalarOffset { bytes: -16, register: None })
    );
}

#[test]
fn hardware_registers_have_other_numbers_and_stores_a_counter_of_their_own() {
    assert_eq!(
        decoded11(&[0xb880_981d]), // s_getreg_b32 s0, hwreg(HW_REG_SHADER_CYCLES, 0, 20)
        Instruction::GetHardwareRegister {
            destination: s(0),
            register: HardwareRegister::Cycles,
            field: BitField { offset: 0, bits: 20 }
        }
    );
    assert_eq!(decoded11(&[0xbc7c_0003]), Instruction::Order, "s_waitcnt_vscnt null, 0x3");
}

#[test]
fn integer_operations_take_two_sources() {
    for (text, words, op) in [
        ("v_xnor_b32 v0, v1, v2", &[0x3c00_0501][..], VectorBinary::Xnor),
        ("v_add_nc_u32 v0, v1, v2", &[0x4a00_0501], VectorBinary::Add),
        ("v_sub_nc_u32 v0, v1, v2", &[0x4c00_0501], VectorBinary::Subtract),
        ("v_subrev_nc_u32 v0, v1, v2", &[0x4e00_0501], VectorBinary::SubtractReversed),
        ("v_add_nc_i32 v0, v1, v2", &[0xd726_0000, 0x0002_0501], VectorBinary::Add),
        ("v_sub_nc_i32 v0, v1, v2", &[0xd725_0000, 0x0002_0501], VectorBinary::Subtract),
    ] {
        assert_eq!(decoded11(words), Instruction::VectorBinary { op, destination: v(0), a: vector(1), b: vector(2) }, "{text}");
    }
    let unary = |op| Instruction::VectorUnary { op, destination: v(0), a: vector(1) };
    assert_eq!(decoded11(&[0x7e00_d501]), unary(VectorUnary::SignExtend16), "v_cvt_i32_i16 v0, v1");
    assert_eq!(decoded11(&[0x7e00_d701]), unary(VectorUnary::ZeroExtend16), "v_cvt_u32_u16 v0, v1");
    assert_eq!(decoded11(&[0x7e00_cb01]), Instruction::SwapRegisters { a: v(0), b: v(1) }, "v_swap_b32 v0, v1");
}

#[test]
fn sixteen_bit_operations_leave_the_other_half() {
    for (text, words, op) in [
        ("v_add_nc_u16 v0, v1, v2", &[0xd703_0000, 0x0002_0501][..], VectorBinary::Add16),
        ("v_sub_nc_u16 v0, v1, v2", &[0xd704_0000, 0x0002_0501], VectorBinary::Subtract16),
        ("v_mul_lo_u16 v0, v1, v2", &[0xd705_0000, 0x0002_0501], VectorBinary::Multiply16),
        ("v_max_u16 v0, v1, v2", &[0xd709_0000, 0x0002_0501], VectorBinary::MaxUnsigned16),
        ("v_max_i16 v0, v1, v2", &[0xd70a_0000, 0x0002_0501], VectorBinary::MaxSigned16),
        ("v_min_u16 v0, v1, v2", &[0xd70b_0000, 0x0002_0501], VectorBinary::MinUnsigned16),
        ("v_min_i16 v0, v1, v2", &[0xd70c_0000, 0x0002_0501], VectorBinary::MinSigned16),
        ("v_lshlrev_b16 v0, v1, v2", &[0xd738_0000, 0x0002_0501], VectorBinary::ShiftLeftReversed16),
        ("v_lshrrev_b16 v0, v1, v2", &[0xd739_0000, 0x0002_0501], VectorBinary::ShiftRightReversed16),
        ("v_ashrrev_i16 v0, v1, v2", &[0xd73a_0000, 0x0002_0501], VectorBinary::ShiftRightSignedReversed16),
        ("v_and_b16 v0, v1, v2", &[0xd762_0000, 0x0002_0501], VectorBinary::And),
        ("v_or_b16 v0, v1, v2", &[0xd763_0000, 0x0002_0501], VectorBinary::Or),
        ("v_xor_b16 v0, v1, v2", &[0xd764_0000, 0x0002_0501], VectorBinary::Xor),
    ] {
        assert_eq!(decoded11(words), Instruction::LowHalfBinary { op, destination: v(0), a: vector(1), b: vector(2) }, "{text}");
    }
    let ternary = |op| Instruction::LowHalfTernary { op, destination: v(0), a: vector(1), b: vector(2), c: vector(3) };
    assert_eq!(decoded11(&[0xd641_0000, 0x040e_0501]), ternary(VectorTernary::MultiplyAddUnsigned16), "v_mad_u16 v0, v1, v2, v3");
    assert_eq!(decoded11(&[0xd653_0000, 0x040e_0501]), ternary(VectorTernary::MultiplyAddSigned16), "v_mad_i16 v0, v1, v2, v3");
}

#[test]
fn integer_operations_take_three_sources_one_of_them_a_literal() {
    for (text, words, op) in [
        ("v_xor3_b32 v0, v1, v2, v3", &[0xd640_0000, 0x040e_0501][..], VectorTernary::XorThree),
        ("v_xad_u32 v0, v1, v2, v3", &[0xd645_0000, 0x040e_0501], VectorTernary::XorAdd),
        ("v_lshl_add_u32 v0, v1, v2, v3", &[0xd646_0000, 0x040e_0501], VectorTernary::ShiftLeftAdd),
        ("v_add_lshl_u32 v0, v1, v2, v3", &[0xd647_0000, 0x040e_0501], VectorTernary::AddShiftLeft),
        ("v_add3_u32 v0, v1, v2, v3", &[0xd655_0000, 0x040e_0501], VectorTernary::AddThree),
        ("v_lshl_or_b32 v0, v1, v2, v3", &[0xd656_0000, 0x040e_0501], VectorTernary::ShiftLeftOr),
        ("v_and_or_b32 v0, v1, v2, v3", &[0xd657_0000, 0x040e_0501], VectorTernary::AndOr),
        ("v_or3_b32 v0, v1, v2, v3", &[0xd658_0000, 0x040e_0501], VectorTernary::OrThree),
        ("v_mad_u32_u16 v0, v1, v2, v3", &[0xd659_0000, 0x040e_0501], VectorTernary::MultiplyAddUnsigned16To32),
        ("v_mad_i32_i16 v0, v1, v2, v3", &[0xd65a_0000, 0x040e_0501], VectorTernary::MultiplyAddSigned16To32),
        ("v_maxmin_u32 v0, v1, v2, v3", &[0xd662_0000, 0x040e_0501], VectorTernary::MinOfMaxUnsigned),
        ("v_minmax_u32 v0, v1, v2, v3", &[0xd663_0000, 0x040e_0501], VectorTernary::MaxOfMinUnsigned),
        ("v_maxmin_i32 v0, v1, v2, v3", &[0xd664_0000, 0x040e_0501], VectorTernary::MinOfMaxSigned),
        ("v_minmax_i32 v0, v1, v2, v3", &[0xd665_0000, 0x040e_0501], VectorTernary::MaxOfMinSigned),
    ] {
        let ternary = Instruction::VectorTernary { op, destination: v(0), a: vector(1), b: vector(2), c: vector(3) };
        assert_eq!(decoded11(words), ternary, "{text}");
    }
    assert_eq!(
        decoded11(&[0xd655_0000, 0x040a_02ff, 0x1234_5678]), // v_add3_u32 v0, 0x12345678, v1, v2
        Instruction::VectorTernary {
            op: VectorTernary::AddThree,
            destination: v(0),
            a: VectorSource::Scalar(constant(0x1234_5678)),
            b: vector(1),
            c: vector(2)
        }
    );
}

#[test]
fn fused_multiplications_take_the_destination_or_a_literal() {
    let fused = |a, b, c| Instruction::FloatTernary {
        op: FloatTernary::FusedMultiplyAdd,
        destination: v(0),
        a,
        b,
        c,
        modifiers: FloatModifiers::default(),
    };
    let pi = VectorSource::Scalar(constant(u64::from(std::f32::consts::PI.to_bits())));
    let [v0, v1, v2] = [0, 1, 2].map(vector);
    assert_eq!(decoded11(&[0x5600_0501]), fused(v1, v2, v0), "v_fmac_f32 v0, v1, v2");
    assert_eq!(decoded11(&[0x5800_0501, 0x4049_0fdb]), fused(v1, pi, v2), "v_fmamk_f32 v0, v1, 0x40490fdb, v2");
    assert_eq!(decoded11(&[0x5a00_0501, 0x4049_0fdb]), fused(v1, v2, pi), "v_fmaak_f32 v0, v1, v2, 0x40490fdb");
}

#[test]
fn compares_that_write_exec_write_nothing_else() {
    let compare = |relation, a, b| Instruction::VectorCompare {
        test: VectorTest::Unsigned32(relation),
        effect: CompareEffect::MaskOnly,
        destination: ScalarRegister::EXEC,
        a,
        b,
    };
    assert_eq!(decoded11(&[0x7d98_0501]), compare(Relation::Greater, vector(1), vector(2)), "v_cmpx_gt_u32 v1, v2");
    assert_eq!(
        decoded11(&[0xd4ce_007e, 0x0002_0005]), // v_cmpx_ge_u32_e64 s5, v0
        compare(Relation::GreaterOrEqual, scalar(5), vector(0))
    );
}

#[test]
fn lanes_exchange_among_32() {
    let exchange = |op| Instruction::LaneExchange { op, destination: v(3), address: v(0), data: v(1) };
    assert_eq!(decoded11(&[0xdac8_0000, 0x0300_0100]), exchange(LaneExchange::PushWithin32(0)), "ds_permute_b32 v3, v0, v1");
    assert_eq!(decoded11(&[0xdacc_0000, 0x0300_0100]), exchange(LaneExchange::PullWithin32(0)), "ds_bpermute_b32 v3, v0, v1");
}

#[test]
fn flat_global_and_scratch_differ_in_what_they_add_and_reach() {
    let load = |base, offset, segment| Instruction::FlatLoad {
        element: Element::Words(1),
        coherence: Coherence::Cached,
        destination: v(1),
        address: GlobalAddress { base, offset, segment },
    };
    assert_eq!(
        decoded11(&[0xdc50_0010, 0x017c_0002]), // flat_load_b32 v1, v[2:3] offset:16
        load(AddressBase::Lanes(v(2)), 16, Segment::Flat)
    );
    assert_eq!(
        decoded11(&[0xdc52_1ff0, 0x0104_0002]), // global_load_b32 v1, v2, s[4:5] offset:-16
        load(AddressBase::ScalarAndLanes(s(4), v(2)), -16, Segment::Global)
    );
    assert_eq!(
        decoded11(&[0xdc51_0010, 0x0120_0000]), // scratch_load_b32 v1, off, s32 offset:16
        Instruction::ScratchLoad {
            element: Element::Words(1),
            destination: v(1),
            address: ScratchAddress { lanes: None, wave: Some(s(32)), offset: 16 }
        }
    );
    assert_eq!(
        decoded11(&[0xdc55_1ffc, 0x04fc_0002]), // scratch_load_b64 v[4:5], v2, off offset:-4
        Instruction::ScratchLoad {
            element: Element::Words(2),
            destination: v(4),
            address: ScratchAddress { lanes: Some(v(2)), wave: None, offset: -4 }
        }
    );
    assert_eq!(
        decoded11(&[0xdc61_0000, 0x00a0_0102]), // scratch_store_b8 v2, v1, s32
        Instruction::ScratchStore {
            element: Element::Unsigned8,
            data: v(1),
            address: ScratchAddress { lanes: Some(v(2)), wave: Some(s(32)), offset: 0 }
        }
    );
    assert_eq!(
        decoded11(&[0xdc75_0010, 0x007c_0400]), // scratch_store_b128 off, v[4:7], off offset:16
        Instruction::ScratchStore {
            element: Element::Words(4),
            data: v(4),
            address: ScratchAddress { lanes: None, wave: None, offset: 16 }
        }
    );
}

#[test]
fn dual_instructions_hold_two_operations_of_different_parity() {
    let half = |op, destination, a, b| DualHalf { op, destination: v(destination), a, b: v(b) };
    let zero = VectorSource::Scalar(constant(0));
    let dual = |x, y, literal| Instruction::Dual { x, y, literal };
    assert_eq!(
        decoded11(&[0xca10_0080, 0x0102_0004]), // v_dual_mov_b32 v1, 0 :: v_dual_mov_b32 v2, s4
        dual(half(DualOp::Move, 1, zero, 0), half(DualOp::Move, 2, scalar(4), 0), 0)
    );
    assert_eq!(
        decoded11(&[0xca24_0080, 0x0302_3eff, 0x0000_03ff]), // v_dual_mov_b32 v3, 0 :: v_dual_and_b32 v2, 0x3ff, v31
        dual(half(DualOp::Move, 3, zero, 0), half(DualOp::And, 2, VectorSource::Scalar(constant(0x3ff)), 31), 0x3ff)
    );
    assert_eq!(
        decoded11(&[0xc860_0d02, 0x0404_0f03, 0x3f80_0001]), // v_dual_fmaak_f32 v4, v2, v6, 0x3f800001 :: v_dual_add_nc_u32 v5, v3, v7
        dual(half(DualOp::FusedAddLiteral, 4, vector(2), 6), half(DualOp::Add, 5, vector(3), 7), 0x3f80_0001)
    );
    assert_eq!(
        decoded11(&[0xca62_0d02, 0x0406_1283]), // v_dual_cndmask_b32 v4, v2, v6 :: v_dual_lshlrev_b32 v7, 3, v9
        dual(half(DualOp::Select, 4, vector(2), 6), half(DualOp::ShiftLeftReversed, 7, VectorSource::Scalar(constant(3)), 9), 0)
    );
    assert_eq!(
        decoded11(&[0xc888_0d02, 0x0406_1303, 0x3f80_0001]), // v_dual_fmamk_f32 v4, v2, 0x3f800001, v6 :: v_dual_add_f32 v7, v3, v9
        dual(
            half(DualOp::FusedMultiplyByLiteral, 4, vector(2), 6),
            half(DualOp::Float(FloatBinary::Add), 7, vector(3), 9),
            0x3f80_0001
        )
    );
    for (words, x, y) in [
        // v_dual_fmac_f32 v4, v2, v6 :: v_dual_mul_f32 v7, v3, v9
        (&[0xc806_0d02, 0x0406_1303], DualOp::FusedMultiplyAccumulate, DualOp::Float(FloatBinary::Multiply)),
        // v_dual_sub_f32 v4, v2, v6 :: v_dual_subrev_f32 v7, v3, v9
        (&[0xc94c_0d02, 0x0406_1303], DualOp::Float(FloatBinary::Subtract), DualOp::Float(FloatBinary::SubtractReversed)),
        // v_dual_mul_dx9_zero_f32 v4, v2, v6 :: v_dual_max_f32 v7, v3, v9
        (&[0xc9d4_0d02, 0x0406_1303], DualOp::Float(FloatBinary::MultiplyLegacy), DualOp::Float(FloatBinary::Max)),
    ] {
        assert_eq!(decoded11(words), dual(half(x, 4, vector(2), 6), half(y, 7, vector(3), 9), 0));
    }
    assert_eq!(
        decoded11(&[0xcad0_0d02, 0x0406_0103]), // v_dual_min_f32 v4, v2, v6 :: v_dual_mov_b32 v7, v3
        dual(half(DualOp::Float(FloatBinary::Min), 4, vector(2), 6), half(DualOp::Move, 7, vector(3), 0), 0)
    );
}

#[test]
fn what_this_device_lacks_is_illegal() {
    for (text, words) in ILLEGAL {
        assert_eq!(decode(Target::Gfx1100, words), None, "{text}");
    }
}

const ILLEGAL: &[(&str, &[u32])] = &[
    ("s_code_end", &[0xbf9f_0000]),
    ("s_setkill 1", &[0xbf81_0001]),
    ("s_sethalt 5", &[0xbf82_0005]),
    ("s_sendmsg_rtn_b32 s0, sendmsg(MSG_RTN_GET_DOORBELL)", &[0xbe80_4c80]),
    ("s_movrels_b32 s0, s1", &[0xbe80_4001]),
    ("s_bitreplicate_b64_b32 s[0:1], s2", &[0xbe80_1402]),
    ("s_setreg_b32 hwreg(HW_REG_TRAPSTS), s0", &[0xb900_f803]),
    ("s_buffer_load_b32 s4, s[4:7], 0x0", &[0xf420_0102, 0xf800_0000]),
    ("v_rcp_f32 v0, v1", &[0x7e00_5501]),
    ("v_exp_f32 v0, v1", &[0x7e00_4b01]),
    ("v_cvt_f64_i32 v[0:1], v2", &[0x7e00_0902]),
    ("v_add_f64 v[4:5], v[0:1], v[2:3]", &[0xd727_0004, 0x0002_0500]),
    ("v_add_f16 v0, v1, v2", &[0x6400_0501]),
    ("v_cmp_lt_f64 vcc_lo, v[0:1], v[2:3]", &[0x7c42_0500]),
    ("v_cmp_class_f32 vcc_lo, v1, v2", &[0x7cfc_0501]),
    ("v_mov_b32_dpp v0, v1 quad_perm:[0,1,2,3] row_mask:0xf bank_mask:0xf", &[0x7e00_02fa, 0xff00_e401]),
    ("v_mov_b32_dpp v0, v1 dpp8:[7,6,5,4,3,2,1,0]", &[0x7e00_02e9, 0x0539_7701]),
    ("v_permlanex16_b32 v0, v1, s0, s1", &[0xd65c_0000, 0x0004_0101]),
    ("v_pk_add_u16 v4, v0, v2", &[0xcc0a_4004, 0x1802_0500]),
    ("v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]", &[0xcc40_4000, 0x1c02_2108]),
    ("v_add_nc_u16 v0, v1, v2 op_sel:[1,0,0]", &[0xd703_0800, 0x0002_0501]),
    ("v_add_nc_u32_e64 v0, v1, v2 clamp", &[0xd525_8000, 0x0002_0501]),
    ("v_dual_dot2acc_f32_f16 v4, v2, v6 :: v_dual_mov_b32 v7, v3", &[0xcb10_0d02, 0x0406_0103]),
    ("ds_add_f32 v0, v1", &[0xd854_0000, 0x0000_0100]),
    ("ds_add_u32 v0, v1 gds", &[0xd802_0000, 0x0000_0100]),
    ("ds_swizzle_b32 v3, v0 offset:0xc000", &[0xd8d4_c000, 0x0300_0000]),
    ("global_load_addtid_b32 v3, off", &[0xdca2_0000, 0x037c_0000]),
    ("global_atomic_add_f32 v[2:3], v0, off", &[0xdd5a_0000, 0x007c_0002]),
    ("buffer_load_b32 v0, off, s[4:7], 0", &[0xe050_0000, 0x8001_0000]),
    ("image_load v0, v[0:1], s[0:7] dmask:0x1 dim:SQ_RSRC_IMG_2D", &[0xf000_0104, 0x0000_0000]),
    ("exp mrt0 v0, v0, v0, v0", &[0xf800_000f, 0x0000_0000]),
    ("v_interp_p10_f32 v0, v1, v2, v3", &[0xcd00_0000, 0x040e_0501]),
    ("lds_direct_load v0", &[0xce10_0000]),
];
