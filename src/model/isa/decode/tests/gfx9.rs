//! Encodings of generation 9 where they differ from generation 8 (`llvm-mc -mcpu=gfx942`).

use super::{constant, decode, instruction_of, s, scalar, v, vector};
use crate::model::isa::instruction::*;
use crate::model::isa::operand::{AccumulatorRegister, OperandSize, ScalarRegister, ScalarSource, VectorSource};
use crate::model::target::Target;

fn instruction(words: &[u32]) -> Instruction {
    instruction_of(Target::Gfx942, words)
}

#[test]
fn scalar_instructions_that_are_new() {
    let size = OperandSize::Bits64;
    assert_eq!(
        instruction(&[
            0xbe82_336a, // s_andn1_saveexec_b64 s[2:3], vcc
        ]),
        Instruction::SaveExec { op: Bitwise::NotAnd, size, destination: s(2), a: ScalarSource::Register(ScalarRegister::VCC) }
    );
    assert_eq!(
        instruction(&[
            0xbe82_3604, // s_andn2_wrexec_b64 s[2:3], s[4:5]
        ]),
        Instruction::WriteExec { op: Bitwise::AndNot, size, destination: s(2), a: ScalarSource::Register(s(4)) }
    );
    assert_eq!(
        instruction(&[
            0xba9e_0100, // s_call_b64 s[30:31], 256
        ]),
        Instruction::Call { destination: s(30), words: 256 }
    );
    let binary =
        |op| Instruction::ScalarBinary { op, destination: s(0), a: ScalarSource::Register(s(1)), b: ScalarSource::Register(s(2)) };
    assert_eq!(
        instruction(&[
            0x9600_0201, // s_mul_hi_u32 s0, s1, s2
        ]),
        binary(ScalarBinary::MultiplyHighUnsigned)
    );
    assert_eq!(
        instruction(&[
            0x9800_0201, // s_lshl3_add_u32 s0, s1, s2
        ]),
        binary(ScalarBinary::ShiftLeftAdd(3))
    );
    assert_eq!(
        instruction(&[
            0x9980_0201, // s_pack_lh_b32_b16 s0, s1, s2
        ]),
        binary(ScalarBinary::Pack(WordHalf::Low, WordHalf::High))
    );
    assert_eq!(
        instruction(&[
            0xb880_1a04, // s_getreg_b32 s0, hwreg(HW_REG_HW_ID, 8, 4)
        ]),
        Instruction::GetHardwareRegister {
            destination: s(0),
            register: HardwareRegister::Identity,
            field: BitField { offset: 8, bits: 4 }
        }
    );
    let move64 = |value| Instruction::ScalarUnary { op: ScalarUnary::Move64, destination: s(0), a: constant(value) };
    assert_eq!(
        instruction(&[
            0xbe80_01ed, // s_mov_b64 s[0:1], src_private_base
        ]),
        move64(0x5000_0000_0000_0000)
    );
    assert_eq!(
        instruction(&[
            0xbe80_01eb, // s_mov_b64 s[0:1], src_shared_base
        ]),
        move64(0x4000_0000_0000_0000)
    );
}

#[test]
fn additions_without_carry_stand_beside_those_with() {
    let binary = |op, a| Instruction::VectorBinary { op, destination: v(1), a, b: vector(4) };
    assert_eq!(
        instruction(&[
            0x6802_0902, // v_add_u32 v1, v2, v4
        ]),
        binary(VectorBinary::Add, vector(2))
    );
    assert_eq!(
        instruction(&[
            0x6c02_0802, // v_subrev_u32 v1, s2, v4
        ]),
        binary(VectorBinary::SubtractReversed, scalar(2))
    );
    assert_eq!(
        instruction(&[
            0xd29c_0001,
            0x0002_0902, // v_add_i32 v1, v2, v4
        ]),
        binary(VectorBinary::Add, vector(2))
    );
    let carry = |op, carry_out| Instruction::Carry {
        op,
        destination: v(1),
        carry_out,
        a: vector(2),
        b: vector(4),
        carry_in: ScalarRegister::VCC,
    };
    assert_eq!(
        instruction(&[
            0x3202_0902, // v_add_co_u32 v1, vcc, v2, v4
        ]),
        carry(CarryOp::Add, ScalarRegister::VCC)
    );
    assert_eq!(
        instruction(&[
            0xd119_0201,
            0x0002_0902, // v_add_co_u32_e64 v1, s[2:3], v2, v4
        ]),
        carry(CarryOp::Add, s(2))
    );
    assert_eq!(
        instruction(&[
            0x3802_0902, // v_addc_co_u32 v1, vcc, v2, v4, vcc
        ]),
        carry(CarryOp::AddCarry, ScalarRegister::VCC)
    );
}

#[test]
fn multiply_accumulate_is_fused() {
    let fused = |b, c| Instruction::FloatTernary {
        op: FloatTernary::FusedMultiplyAdd,
        destination: v(1),
        a: vector(2),
        b,
        c,
        modifiers: FloatModifiers::default(),
    };
    let literal = VectorSource::Scalar(constant(0x1121_3141));
    assert_eq!(
        instruction(&[
            0x7602_0902, // v_fmac_f32 v1, v2, v4
        ]),
        fused(vector(4), vector(1))
    );
    assert_eq!(
        instruction(&[
            0x2e02_0902,
            0x1121_3141, // v_fmamk_f32 v1, v2, 0x11213141, v4
        ]),
        fused(literal, vector(4))
    );
    assert_eq!(
        instruction(&[
            0x3002_0902,
            0x1121_3141, // v_fmaak_f32 v1, v2, v4, 0x11213141
        ]),
        fused(vector(4), literal)
    );
}

#[test]
fn vop3_has_new_integer_operations_of_three_sources() {
    let expect = |words: &[u32], op, [a, b, c]: [VectorSource; 3]| {
        assert_eq!(instruction(words), Instruction::VectorTernary { op, destination: v(1), a, b, c });
    };
    let small = |value| VectorSource::Scalar(constant(value));
    let vectors = [vector(2), vector(3), vector(4)];
    // v_lshl_add_u32 v1, v2, 3, s4
    expect(&[0xd1fd_0001, 0x0011_0702], VectorTernary::ShiftLeftAdd, [vector(2), small(3), scalar(4)]);
    // v_add_lshl_u32 v1, v2, v3, 2
    expect(&[0xd1fe_0001, 0x020a_0702], VectorTernary::AddShiftLeft, [vector(2), vector(3), small(2)]);
    // v_lshl_or_b32 v1, v2, 8, v3
    expect(&[0xd200_0001, 0x040d_1102], VectorTernary::ShiftLeftOr, [vector(2), small(8), vector(3)]);
    // v_and_or_b32 v1, v2, v3, v4
    expect(&[0xd201_0001, 0x0412_0702], VectorTernary::AndOr, vectors);
    // v_or3_b32 v1, v2, v3, v4
    expect(&[0xd202_0001, 0x0412_0702], VectorTernary::OrThree, vectors);
    // v_add3_u32 v1, v2, v3, v4
    expect(&[0xd1ff_0001, 0x0412_0702], VectorTernary::AddThree, vectors);
    // v_xad_u32 v1, v2, v3, v4
    expect(&[0xd1f3_0001, 0x0412_0702], VectorTernary::XorAdd, vectors);
    // v_mad_u32_u16 v1, v2, v3, v4
    expect(&[0xd1f1_0001, 0x0412_0702], VectorTernary::MultiplyAddUnsigned16To32, vectors);
    // v_mad_legacy_u16 v1, v2, v3, v4
    expect(&[0xd1eb_0001, 0x0412_0702], VectorTernary::MultiplyAddUnsigned16, vectors);
    assert_eq!(
        instruction(&[
            0xd204_0001,
            0x0412_0702, // v_mad_u16 v1, v2, v3, v4
        ]),
        Instruction::LowHalfTernary {
            op: VectorTernary::MultiplyAddUnsigned16,
            destination: v(1),
            a: vector(2),
            b: vector(3),
            c: vector(4)
        }
    );
}

#[test]
fn vector_operands_may_have_64_bits() {
    let move64 = |a| Instruction::Move64 { destination: v(0), a };
    assert_eq!(
        instruction(&[
            0x7e00_7102, // v_mov_b64 v[0:1], v[2:3]
        ]),
        move64(vector(2))
    );
    assert_eq!(
        instruction(&[
            0x7e00_70ff,
            0x1234_5678, // v_mov_b64 v[0:1], 0x12345678
        ]),
        move64(VectorSource::Scalar(constant(0x1234_5678)))
    );
    assert_eq!(
        instruction(&[
            0xd208_0000,
            0x0011_0502, // v_lshl_add_u64 v[0:1], v[2:3], 2, s[4:5]
        ]),
        Instruction::ShiftLeftAdd64 {
            destination: v(0),
            value: vector(2),
            amount: VectorSource::Scalar(constant(2)),
            addend: scalar(4)
        }
    );
    let double = |op, c, modifiers| Instruction::Double { op, destination: v(0), a: vector(2), b: vector(4), c, modifiers };
    assert_eq!(
        instruction(&[
            0xd1cc_8200,
            0x23ca_0902, // v_fma_f64 v[0:1], -v[2:3], |v[4:5]|, 1.0 clamp
        ]),
        double(
            Double::FusedMultiplyAdd,
            VectorSource::Scalar(constant(1.0_f64.to_bits())),
            FloatModifiers { absolute: 0b10, negate: 0b01, output_scale: 0, clamp: true }
        )
    );
    assert_eq!(
        instruction(&[
            0x0800_0902, // v_fmac_f64 v[0:1], v[2:3], v[4:5]
        ]),
        double(Double::FusedMultiplyAdd, vector(0), FloatModifiers::default())
    );
}

#[test]
fn packed_operations_choose_words_and_signs_for_each_half() {
    let packed = |op, b, c, choice| Instruction::Packed { op, destination: v(0), a: vector(2), b, c, choice };
    let none = VectorSource::Scalar(constant(0));
    assert_eq!(
        instruction(&[
            0xd3b0_5100,
            // v_pk_fma_f32 v[0:1], v[2:3], s[4:5], v[6:7] op_sel:[0,1,0] op_sel_hi:[1,0,1] neg_lo:[0,0,1] neg_hi:[1,0,0]
            0x8c18_0902,
        ]),
        packed(
            Packed::FusedMultiplyAdd,
            scalar(4),
            vector(6),
            PackedChoice { high_for_low: 0b010, high_for_high: 0b101, negate_low: 0b100, negate_high: 0b001 }
        )
    );
    assert_eq!(
        instruction(&[
            0xd3b3_4800,
            0x1802_0902, // v_pk_mov_b32 v[0:1], v[2:3], v[4:5] op_sel:[1,0]
        ]),
        packed(Packed::Move, vector(4), none, PackedChoice { high_for_low: 0b01, ..PackedChoice::default() })
    );
    assert_eq!(
        instruction(&[
            0xd3b1_4000,
            0x0801_e902, // v_pk_mul_f32 v[0:1], v[2:3], 2.0 op_sel_hi:[1,0]
        ]),
        packed(
            Packed::Multiply,
            VectorSource::Scalar(constant(0x4000_0000)),
            none,
            PackedChoice { high_for_high: 0b01, ..PackedChoice::default() }
        )
    );
    assert_eq!(
        decode(
            Target::Gfx942,
            &[
                0xd3b1_4000,
                0x1801_e902, // v_pk_mul_f32 v[0:1], v[2:3], 2.0
            ]
        ),
        None,
        "a constant has no high word to choose"
    );
}

#[test]
fn accumulators_are_moved_to_and_from() {
    assert_eq!(
        instruction(&[
            0xd3d8_4003,
            0x1800_01c8, // v_accvgpr_read_b32 v3, a200
        ]),
        Instruction::AccumulatorRead { destination: v(3), a: AccumulatorRegister(200) }
    );
    assert_eq!(
        instruction(&[
            0xd3d9_4007,
            0x1800_0004, // v_accvgpr_write_b32 a7, s4
        ]),
        Instruction::AccumulatorWrite { destination: AccumulatorRegister(7), a: scalar(4) }
    );
    assert_eq!(
        instruction(&[
            0x7e02_a502, // v_accvgpr_mov_b32 a1, a2
        ]),
        Instruction::AccumulatorMove { destination: AccumulatorRegister(1), a: AccumulatorRegister(2) }
    );
}

#[test]
fn what_this_device_lacks_is_illegal() {
    for (text, words) in [
        ("v_mac_f32 v0, v1, v2 (generation 8)", &[0x2c00_0501_u32][..]),
        ("v_mad_f32 v0, v1, v2, v3 (generation 8)", &[0xd1c1_0000, 0x040e_0501]),
        ("v_mac_f32_e64 v0, v1, v2 (generation 8)", &[0xd116_0000, 0x0002_0501]),
        ("v_mfma_f32_4x4x1_16b_f32 a[0:3], v0, v1, a[0:3]", &[0xd3c2_8000, 0x0402_0300]),
        ("v_mov_b32_sdwa v0, v1 src0_sel:BYTE_1", &[0x7e00_02f9, 0x0001_0601]),
        ("v_mov_b32_dpp v0, v1 row_shl:1", &[0x7e00_02fa, 0xff01_0101]),
        ("s_store_dword s0, s[2:3], 0x0", &[0xc042_0001, 0]),
        ("s_scratch_load_dword s0, s[2:3], 0x0", &[0xc016_0001, 0]),
        ("global_load_dword a4, v[0:1], off", &[0xdc50_8000, 0x04ff_0000]),
        ("global_load_lds_dword v[2:3], off", &[0xdca8_8000, 0x007f_0002]),
        ("global_atomic_add_f32 v[2:3], v4, off", &[0xdd34_8000, 0x007f_0402]),
        ("global_load_short_d16 v4, v[2:3], off", &[0xdc90_8000, 0x047f_0002]),
        ("flat_atomic_add_f64 v[2:3], v[4:5]", &[0xdd3c_0000, 0x0000_0402]),
        ("v_pk_add_u16 v0, v1, v2", &[0xd38a_4000, 0x1802_0501]),
        ("v_exp_f32 v0, v1", &[0x7e00_4101]),
        ("v_div_fixup_f32 v0, v1, v2, v3", &[0xd1de_0000, 0x040e_0501]),
        ("v_add_u32_e64 v0, v1, v2 clamp", &[0xd134_8000, 0x0002_0501]),
        ("ds_read_u8_d16 v0, v1", &[0xd8ac_0000, 0x0000_0001]),
        ("a FLAT segment that does not exist", &[0xdc50_c000, 0x047f_0000]),
        ("an atomic in scratch memory", &[0xdd08_4000, 0x007f_0400]),
    ] {
        assert_eq!(decode(Target::Gfx942, words), None, "{text}");
    }
}
