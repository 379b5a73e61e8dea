//! SOP1, SOP2, SOPC, SOPK, SOPP and SMEM.

use super::{Bench, CODE, DATA, Pause, s_endpgm};
use crate::model::isa::WaveFault;
use crate::model::target::Target;

#[test]
fn a_64_bit_addition_carries_through_scc() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0xffff_ffff_ffff_ffff);
    bench.set_s64(2, 1);
    bench.run(&[
        0x8004_0200, // s_add_u32 s4, s0, s2
        0x8205_0301, // s_addc_u32 s5, s1, s3
        0x8506_968b, // s_cselect_b32 s6, 11, 22
    ]);
    assert_eq!(bench.s64(4), 0);
    assert_eq!(bench.s(6), 11, "the carry out of bit 63 is in SCC");
}

#[test]
fn a_64_bit_subtraction_borrows_through_scc() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0x1_0000_0000);
    bench.set_s64(2, 1);
    bench.run(&[
        0x8084_0200, // s_sub_u32 s4, s0, s2
        0x8285_0301, // s_subb_u32 s5, s1, s3
        0x8506_968b, // s_cselect_b32 s6, 11, 22
    ]);
    assert_eq!(bench.s64(4), 0xffff_ffff);
    assert_eq!(bench.s(6), 22);
    bench.run(&[
        0x8084_0002, // s_sub_u32 s4, s2, s0
        0x8285_0103, // s_subb_u32 s5, s3, s1
        0x8287_c180, // s_subb_u32 s7, 0, -1
        0x8506_968b, // s_cselect_b32 s6, 11, 22
    ]);
    assert_eq!(bench.s64(4), 0xffff_ffff_0000_0001);
    assert_eq!((bench.s(7), bench.s(6)), (0, 11), "0 - 0xffffffff - borrow");
}

#[test]
fn signed_additions_report_overflow_not_carry() {
    let mut bench = Bench::new();
    bench.set_s(0, 0x7fff_ffff);
    bench.run(&[
        0x8101_8100, // s_add_i32 s1, s0, 1
        0x8502_8081, // s_cselect_b32 s2, 1, 0
        0x8103_c1c1, // s_add_i32 s3, -1, -1
        0x8504_8081, // s_cselect_b32 s4, 1, 0
        0xb700_7fff, // s_addk_i32 s0, 0x7fff
        0x8505_8081, // s_cselect_b32 s5, 1, 0
    ]);
    assert_eq!((bench.s(1), bench.s(2)), (0x8000_0000, 1));
    assert_eq!((bench.s(3), bench.s(4)), (-2_i32 as u32, 0));
    assert_eq!((bench.s(0), bench.s(5)), (0x8000_7ffe, 1));
}

#[test]
fn minimum_and_maximum_set_scc_when_the_first_source_is_chosen() {
    let mut bench = Bench::new();
    bench.run(&[
        0x8300_83c5, // s_min_i32 s0, -5, 3
        0x8501_8081, // s_cselect_b32 s1, 1, 0
        0x8382_83c5, // s_min_u32 s2, -5, 3
        0x8503_8081, // s_cselect_b32 s3, 1, 0
        0x8404_83c5, // s_max_i32 s4, -5, 3
        0x8505_8081, // s_cselect_b32 s5, 1, 0
        0x8486_83c5, // s_max_u32 s6, -5, 3
        0x8507_8081, // s_cselect_b32 s7, 1, 0
    ]);
    assert_eq!([bench.s(0), bench.s(1)], [-5_i32 as u32, 1]);
    assert_eq!([bench.s(2), bench.s(3)], [3, 0]);
    assert_eq!([bench.s(4), bench.s(5)], [3, 0]);
    assert_eq!([bench.s(6), bench.s(7)], [-5_i32 as u32, 1]);
}

#[test]
fn bitwise_operations_set_scc_when_the_result_is_not_zero() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0xff00_ff00_f0f0_f0f0);
    bench.set_s64(2, 0x0ff0_0ff0_cccc_cccc);
    bench.run(&[
        0x8684_0200, // s_and_b64 s[4:5], s[0:1], s[2:3]
        0x8786_0200, // s_or_b64 s[6:7], s[0:1], s[2:3]
        0x8888_0200, // s_xor_b64 s[8:9], s[0:1], s[2:3]
        0x898a_0200, // s_andn2_b64 s[10:11], s[0:1], s[2:3]
        0x8a8c_0200, // s_orn2_b64 s[12:13], s[0:1], s[2:3]
        0x8b8e_0200, // s_nand_b64 s[14:15], s[0:1], s[2:3]
        0x8c90_0200, // s_nor_b64 s[16:17], s[0:1], s[2:3]
        0x8d92_0200, // s_xnor_b64 s[18:19], s[0:1], s[2:3]
        0x8514_8081, // s_cselect_b32 s20, 1, 0
        0x8915_0000, // s_andn2_b32 s21, s0, s0
        0x8516_8081, // s_cselect_b32 s22, 1, 0
        0xbe98_0500, // s_not_b64 s[24:25], s[0:1]
    ]);
    assert_eq!(bench.s64(4), 0x0f00_0f00_c0c0_c0c0);
    assert_eq!(bench.s64(6), 0xfff0_fff0_fcfc_fcfc);
    assert_eq!(bench.s64(8), 0xf0f0_f0f0_3c3c_3c3c);
    assert_eq!(bench.s64(10), 0xf000_f000_3030_3030);
    assert_eq!(bench.s64(12), 0xff0f_ff0f_f3f3_f3f3);
    assert_eq!(bench.s64(14), 0xf0ff_f0ff_3f3f_3f3f);
    assert_eq!(bench.s64(16), 0x000f_000f_0303_0303);
    assert_eq!(bench.s64(18), 0x0f0f_0f0f_c3c3_c3c3);
    assert_eq!((bench.s(20), bench.s(22)), (1, 0));
    assert_eq!(bench.s64(24), 0x00ff_00ff_0f0f_0f0f);
}

#[test]
fn shifts_use_the_low_bits_of_the_amount() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0x8000_0000_0000_0001);
    bench.set_s(2, 0xffff_ffe4); // 4 for 32-bit shifts, 36 for 64-bit shifts
    bench.run(&[
        0x8e04_0200, // s_lshl_b32 s4, s0, s2
        0x8f05_0201, // s_lshr_b32 s5, s1, s2
        0x9006_0201, // s_ashr_i32 s6, s1, s2
        0x8e88_0200, // s_lshl_b64 s[8:9], s[0:1], s2
        0x8f8a_0200, // s_lshr_b64 s[10:11], s[0:1], s2
        0x908c_0200, // s_ashr_i64 s[12:13], s[0:1], s2
    ]);
    assert_eq!([bench.s(4), bench.s(5), bench.s(6)], [0x10, 0x0800_0000, 0xf800_0000]);
    assert_eq!(bench.s64(8), 0x10_0000_0000);
    assert_eq!(bench.s64(10), 0x0800_0000);
    assert_eq!(bench.s64(12), 0xffff_ffff_f800_0000);
}

#[test]
fn bit_fields_are_masked_extracted_and_extended() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0x1234_5678_9abc_def0);
    bench.set_s(2, 8 << 16 | 4); // eight bits at bit 4
    bench.set_s(3, 40 << 16 | 20);
    bench.run(&[
        0x9284_0200, // s_bfe_u32 s4, s0, s2
        0x9305_0200, // s_bfe_i32 s5, s0, s2
        0x9386_0300, // s_bfe_u64 s[6:7], s[0:1], s3
        0x9408_0200, // s_bfe_i64 s[8:9], s[0:1], s2
        0x910a_8385, // s_bfm_b32 s10, 5, 3
        0x918c_84a8, // s_bfm_b64 s[12:13], 40, 4
        0x928e_ff00,
        0x0008_0000, // s_bfe_u32 s14, s0, 0x80000
        0x928f_8400, // s_bfe_u32 s15, s0, 4
    ]);
    assert_eq!(bench.s(4), 0xef);
    assert_eq!(bench.s(5), 0xffff_ffef);
    assert_eq!(bench.s64(6), 0x23_4567_89ab);
    assert_eq!(bench.s64(8), 0xffff_ffff_ffff_ffef);
    assert_eq!(bench.s(10), 0b1111_1000);
    assert_eq!(bench.s64(12), 0xfff_ffff_fff0);
    assert_eq!(bench.s(14), 0xf0);
    assert_eq!(bench.s(15), 0, "a field of no bits");
}

#[test]
fn multiplication_and_absolute_values_wrap() {
    let mut bench = Bench::new();
    bench.set_s(0, 0x8000_0001);
    bench.run(&[
        0x9201_8300, // s_mul_i32 s1, s0, 3
        0xbe82_3000, // s_abs_i32 s2, s0
        0x9503_8a83, // s_absdiff_i32 s3, 3, 10
        0xb780_fffe, // s_mulk_i32 s0, -2
    ]);
    assert_eq!([bench.s(1), bench.s(2), bench.s(3), bench.s(0)], [0x8000_0003, 0x7fff_ffff, 7, 0xffff_fffe]);
}

#[test]
fn bits_are_counted_and_found() {
    let mut bench = Bench::new();
    bench.set_s64(0, 0x0000_00f0_0000_0000);
    bench.run(&[
        0xbe84_0d00, // s_bcnt1_i32_b64 s4, s[0:1]
        0xbe85_0a01, // s_bcnt0_i32_b32 s5, s1
        0xbe86_1100, // s_ff1_i32_b64 s6, s[0:1]
        0xbe87_1000, // s_ff1_i32_b32 s7, s0
        0xbe88_0ec1, // s_ff0_i32_b32 s8, -1
        0xbe89_1300, // s_flbit_i32_b64 s9, s[0:1]
        0xbe8a_1201, // s_flbit_i32_b32 s10, s1
        0xbe8b_14c2, // s_flbit_i32 s11, -2
        0xbe8c_1480, // s_flbit_i32 s12, 0
        0xbe8d_0801, // s_brev_b32 s13, s1
        0xbe8e_1601, // s_sext_i32_i8 s14, s1
        0xbe8f_17ff,
        0x0000_fff0, // s_sext_i32_i16 s15, 0xfff0
    ]);
    assert_eq!([bench.s(4), bench.s(5), bench.s(6), bench.s(7)], [4, 28, 36, u32::MAX]);
    assert_eq!([bench.s(8), bench.s(9), bench.s(10), bench.s(11), bench.s(12)], [u32::MAX, 24, 24, 31, u32::MAX]);
    assert_eq!([bench.s(13), bench.s(14), bench.s(15)], [0x0f00_0000, 0xffff_fff0, 0xffff_fff0]);
}

#[test]
fn single_bits_are_set_cleared_and_tested() {
    let mut bench = Bench::new();
    bench.run(&[
        0xbe80_1ba8, // s_bitset1_b64 s[0:1], 40
        0xbe82_1a83, // s_bitset1_b32 s2, 3
        0xbe82_1a84, // s_bitset1_b32 s2, 4
        0xbe82_1883, // s_bitset0_b32 s2, 3
        0xbf0f_a800, // s_bitcmp1_b64 s[0:1], 40
        0x8503_8081, // s_cselect_b32 s3, 1, 0
        0xbf0c_8402, // s_bitcmp0_b32 s2, 4
        0x8504_8081, // s_cselect_b32 s4, 1, 0
        0xbe86_0700, // s_wqm_b64 s[6:7], s[0:1]
        0xbe88_2906, // s_quadmask_b64 s[8:9], s[6:7]
    ]);
    assert_eq!((bench.s64(0), bench.s(2), bench.s(3), bench.s(4)), (1 << 40, 0x10, 1, 0));
    assert_eq!((bench.s64(6), bench.s64(8)), (0xf << 40, 1 << 10));
}

#[test]
fn compares_tell_signed_from_unsigned() {
    let mut bench = Bench::new();
    bench.set_s(0, 0xffff_8000);
    bench.run(&[
        0xbf04_81c1, // s_cmp_lt_i32 -1, 1
        0x8501_8081, // s_cselect_b32 s1, 1, 0
        0xbf0a_81c1, // s_cmp_lt_u32 -1, 1
        0x8502_8081, // s_cselect_b32 s2, 1, 0
        0xb100_8000, // s_cmpk_eq_i32 s0, 0x8000
        0x8503_8081, // s_cselect_b32 s3, 1, 0
        0xb400_8000, // s_cmpk_eq_u32 s0, 0x8000
        0x8504_8081, // s_cselect_b32 s4, 1, 0
        0xbf13_800a, // s_cmp_lg_u64 s[10:11], 0
        0x8505_8081, // s_cselect_b32 s5, 1, 0
    ]);
    assert_eq!([1, 2, 3, 4, 5].map(|number| bench.s(number)), [1, 0, 1, 0, 0]);
}

#[test]
fn conditional_moves_follow_scc() {
    let mut bench = Bench::new();
    bench.run(&[
        0xbf06_0000, // s_cmp_eq_u32 s0, s0
        0xbe81_0285, // s_cmov_b32 s1, 5
        0xb082_fffa, // s_cmovk_i32 s2, -6
        0xbf07_0000, // s_cmp_lg_u32 s0, s0
        0xbe84_03c1, // s_cmov_b64 s[4:5], -1
        0xb086_0001, // s_cmovk_i32 s6, 1
    ]);
    assert_eq!((bench.s(1), bench.s(2), bench.s64(4), bench.s(6)), (5, -6_i32 as u32, 0, 0));
}

#[test]
fn saveexec_keeps_the_old_mask_and_tells_whether_any_lane_is_left() {
    let mut bench = Bench::new();
    bench.wave.set_exec(0xff00);
    bench.set_s64(0, 0x0ff0);
    bench.run(&[
        0xbe82_2000, // s_and_saveexec_b64 s[2:3], s[0:1]
        0x8508_8081, // s_cselect_b32 s8, 1, 0
        0xbe84_017e, // s_mov_b64 s[4:5], exec
        0xbe86_2102, // s_or_saveexec_b64 s[6:7], s[2:3]
        0xbe8a_017e, // s_mov_b64 s[10:11], exec
        0xbe8c_2380, // s_andn2_saveexec_b64 s[12:13], 0
        0x8509_8081, // s_cselect_b32 s9, 1, 0
    ]);
    assert_eq!((bench.s64(2), bench.s64(4), bench.s(8)), (0xff00, 0x0f00, 1));
    assert_eq!((bench.s64(6), bench.s64(10)), (0x0f00, 0xff00));
    assert_eq!((bench.s64(12), bench.wave.exec(), bench.s(9)), (0xff00, 0, 0));
}

#[test]
fn every_branch_follows_its_own_condition() {
    // Each taken branch skips the addition behind it.
    let mut bench = Bench::new();
    bench.set_s64(106, 0);
    bench.run(&[
        0xbf06_0000, // s_cmp_eq_u32 s0, s0
        0xbf85_0001, // s_cbranch_scc1 1
        0x8001_8101, // s_add_u32 s1, s1, 1
        0xbf07_0000, // s_cmp_lg_u32 s0, s0
        0xbf84_0001, // s_cbranch_scc0 1
        0x8001_8201, // s_add_u32 s1, s1, 2
        0xbf86_0001, // s_cbranch_vccz 1
        0x8001_8401, // s_add_u32 s1, s1, 4
        0xbf89_0001, // s_cbranch_execnz 1
        0x8001_8801, // s_add_u32 s1, s1, 8
        0xbf82_0001, // s_branch 1
        0x8001_9001, // s_add_u32 s1, s1, 16
        0xbf87_0001, // s_cbranch_vccnz 1
        0x8002_8102, // s_add_u32 s2, s2, 1
        0xbf88_0001, // s_cbranch_execz 1
        0x8002_8202, // s_add_u32 s2, s2, 2
    ]);
    assert_eq!((bench.s(1), bench.s(2)), (0, 3));
}

#[test]
fn loops_branch_backwards() {
    let mut bench = Bench::new();
    bench.run(&[
        0xb000_000a, // s_movk_i32 s0, 10
        0x8001_0001, // s_add_u32 s1, s1, s0
        0x8080_8100, // s_sub_u32 s0, s0, 1
        0xbf07_8000, // s_cmp_lg_u32 s0, 0
        0xbf85_fffc, // s_cbranch_scc1 -4
    ]);
    assert_eq!(bench.s(1), 55);
}

#[test]
fn the_program_counter_can_be_read_set_and_swapped() {
    let mut bench = Bench::new();
    bench.run(&[
        0xbe80_1c00, // s_getpc_b64 s[0:1]
        0x8002_9000, // s_add_u32 s2, s0, 16
        0xbe83_0001, // s_mov_b32 s3, s1
        0xbe80_1d02, // s_setpc_b64 s[2:3]
        0xbe84_0089, // s_mov_b32 s4, 9
        0x8002_8802, // s_add_u32 s2, s2, 8
        0xbe86_1e02, // s_swappc_b64 s[6:7], s[2:3]
        0xbf80_0000, // s_nop 0
    ]);
    assert_eq!(bench.s64(0), CODE.0 + 4);
    assert_eq!(bench.s64(6), CODE.0 + 28);
    assert_eq!(bench.s(4), 0, "jumped over");
}

#[test]
fn special_sources_read_as_numbers() {
    let mut bench = Bench::new();
    bench.wave.set_exec(0);
    bench.run(&[
        0xbf06_0000, // s_cmp_eq_u32 s0, s0
        0xbe81_00fd, // s_mov_b32 s1, src_scc
        0xbe82_00fb, // s_mov_b32 s2, src_vccz
        0xbe83_00fc, // s_mov_b32 s3, src_execz
        0xbe84_00f2, // s_mov_b32 s4, 1.0
        0xbe85_00ff,
        0x1234_5678, // s_mov_b32 s5, 0x12345678
        0xbe86_01c3, // s_mov_b64 s[6:7], -3
    ]);
    assert_eq!([1, 2, 3, 4, 5].map(|number| bench.s(number)), [1, 1, 1, 0x3f80_0000, 0x1234_5678]);
    assert_eq!(bench.s64(6), -3_i64 as u64);
}

#[test]
fn scalar_loads_add_their_offset_and_align_down_to_words() {
    let mut bench = Bench::new();
    bench.data.iter_mut().enumerate().for_each(|(n, word)| *word = 100 + n as u32);
    bench.set_s64(0, DATA.0 + 2);
    bench.set_s(2, 12);
    bench.run(&[
        0xc002_0100,
        0x0000_0008, // s_load_dword s4, s[0:1], 0x8
        0xc004_0180,
        0x0000_0002, // s_load_dwordx2 s[6:7], s[0:1], s2
        0xc00a_0200,
        0x0000_0000, // s_load_dwordx4 s[8:11], s[0:1], 0x0
        0xc00e_0300,
        0x0000_0010, // s_load_dwordx8 s[12:19], s[0:1], 0x10
        0xc012_0500,
        0x0000_0040, // s_load_dwordx16 s[20:35], s[0:1], 0x40
        0xc006_1a80,
        0x0000_0000, // s_load_dwordx2 vcc, s[0:1], 0x0
    ]);
    assert_eq!(bench.s(4), 102);
    assert_eq!([6, 7].map(|number| bench.s(number)), [103, 104]);
    assert_eq!([8, 11].map(|number| bench.s(number)), [100, 103]);
    assert_eq!([12, 19].map(|number| bench.s(number)), [104, 111]);
    assert_eq!([20, 35].map(|number| bench.s(number)), [116, 131]);
    assert_eq!(bench.vcc(), 101 << 32 | 100);
}

#[test]
fn the_hardware_id_is_read_by_field_and_the_clock_moves_forward() {
    let mut bench = Bench::new();
    bench.wave.hardware_id = 0x0000_2a35;
    bench.run(&[
        0xb880_3204, // s_getreg_b32 s0, hwreg(HW_REG_HW_ID, 8, 7)
        0xb881_f804, // s_getreg_b32 s1, hwreg(HW_REG_HW_ID)
        0xc090_0080,
        0x0000_0000, // s_memtime s[2:3]
        0xc094_0100,
        0x0000_0000, // s_memrealtime s[4:5]
    ]);
    assert_eq!((bench.s(0), bench.s(1)), (0x2a, 0x2a35));
    assert!(bench.s64(2) != 0 && bench.s64(4) >= bench.s64(2));
}

/// GCN3 "S_NOP".
#[test]
fn idle_instructions_are_passed_however_many_there_are() {
    const S_NOP: u32 = 0xbf80_0000;
    const S_MOVK_I32_S0_7: u32 = 0xb000_0007;
    for count in [1, 600, 5000, 40_000] {
        let mut code = vec![S_NOP; count];
        code.extend([S_MOVK_I32_S0_7, S_NOP, s_endpgm(Target::Gfx803)]);
        let mut bench = Bench::new();
        assert_eq!(bench.pause(&code, &mut 100_000), Pause::Ended, "{count} of them");
        assert_eq!(bench.s(0), 7);
    }
}

#[test]
fn a_fault_behind_idle_instructions_names_its_own_address() {
    let mut bench = Bench::new();
    let pause = bench.pause(&[0xbf80_0000, 0xbf80_0000, 0xffff_ffff], &mut 10);
    assert!(matches!(pause, Pause::Failed(WaveFault::IllegalInstruction { pc, .. }) if pc == CODE + 8), "{pause:?}");
}
