//! Generation 11, against AMD's "RDNA3 Instruction Set Architecture" reference guide.

mod memory;
mod random;

use super::{Bench, CODE, Pause};
use crate::model::address::GpuVa;
use crate::model::isa::WaveFault;
use crate::model::isa::operand::ScalarRegister;
use crate::model::target::{Target, WaveSize};

/// A wave with all its lanes active.
fn bench(size: WaveSize) -> Bench {
    let mut bench = Bench::of(Target::Gfx1100);
    let lanes = match size {
        WaveSize::Lanes32 => u64::from(u32::MAX),
        WaveSize::Lanes64 => u64::MAX,
    };
    bench.wave.reset(size, CODE, lanes, 0);
    bench
}

fn wave32() -> Bench {
    bench(WaveSize::Lanes32)
}

/// A value that differs from lane to lane in all bits.
fn mixed(lane: usize) -> u32 {
    (lane as u32 + 1).wrapping_mul(0x9e37_79b9)
}

fn mixed64(lane: usize) -> u64 {
    (lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn masks_of_a_wave_of_32_are_one_register_and_leave_the_next_alone() {
    let mut bench = wave32();
    bench.set_v64(0, mixed64);
    bench.set_v64(2, |lane| mixed64(31 - lane.min(31)));
    (3..8).for_each(|number| bench.set_s(number, 0x5555));
    bench.set_s(107, 0x7777);
    bench.run(&[
        0xd700_0204,
        0x0002_0500, // v_add_co_u32 v4, s2, v0, v2
        0xd520_6a05,
        0x000a_0701, // v_add_co_ci_u32_e64 v5, vcc_lo, v1, v3, s2
        0xd44c_0006,
        0x0002_0081, // v_cmp_gt_u32_e64 s6, 1, v0
        0x7e14_0288, // v_mov_b32 v10, 8
        0xd449_0004,
        0x0002_150a, // v_cmp_lt_u32_e64 s4, v10, v10
    ]);
    for lane in 0..32 {
        let (sum, carry) = mixed64(lane).overflowing_add(mixed64(31 - lane));
        assert_eq!((bench.v64(4, lane), bench.vcc() >> lane & 1), (sum, u64::from(carry)), "lane {lane}");
    }
    assert_eq!((bench.s(3), bench.s(4), bench.s(5), bench.s(7), bench.s(107)), (0x5555, 0, 0x5555, 0x5555, 0x7777));
}

#[test]
fn masks_of_a_wave_of_64_are_pairs() {
    let mut bench = bench(WaveSize::Lanes64);
    bench.set_v(0, |lane| lane as u32);
    bench.run(&[
        0xd44c_0002,
        0x0002_00a8, // v_cmp_gt_u32_e64 s[2:3], 40, v0
        0xd501_0001,
        0x0009_0c85, // v_cndmask_b32_e64 v1, 5, 6, s[2:3]
        0x7d92_00a3, // v_cmpx_lt_u32_e32 35, v0
        0x7e04_0289, // v_mov_b32 v2, 9
    ]);
    assert_eq!(bench.s64(2), (1 << 40) - 1);
    assert_eq!((bench.v(1)[39], bench.v(1)[40]), (6, 5));
    assert_eq!((bench.wave.exec(), bench.vcc()), (!0 << 36, 0), "v_cmpx leaves VCC alone");
    assert_eq!((bench.v(2)[35], bench.v(2)[36]), (0, 9));
}

#[test]
fn exec_and_vcc_of_a_wave_of_32_have_no_upper_half_whatever_is_written_there() {
    let mut bench = wave32();
    bench.set_v(0, |lane| lane as u32);
    bench.run(&[
        0xd459_006a,
        0x0001_1100, // v_cmp_lt_u64_e64 vcc_lo, v[0:1], 8
        0xbeeb_00c1, // s_mov_b32 vcc_hi, -1
        0xbefe_01c1, // s_mov_b64 exec, -1
        0x8bfe_6a7e, // s_and_b64 exec, exec, vcc
        0x7e04_0281, // v_mov_b32 v2, 1
        0xbefe_01ff,
        0xffff_ffff, // s_mov_b64 exec, 0xffffffff
        0xbeff_0081, // s_mov_b32 exec_hi, 1
        0xbefe_0080, // s_mov_b32 exec_lo, 0
        0xbfa6_0001, // s_cbranch_execnz 1
        0xb000_0011, // s_movk_i32 s0, 0x11
        0xbeea_0080, // s_mov_b32 vcc_lo, 0
        0xbfa4_0001, // s_cbranch_vccnz 1
        0xb001_0022, // s_movk_i32 s1, 0x22
    ]);
    assert_eq!(bench.v(2)[..32].iter().sum::<u32>(), 8);
    assert!(bench.v(2)[32..].iter().all(|value| *value == 0));
    assert_eq!((bench.s(0), bench.s(1)), (0x11, 0x22));
}

#[test]
fn saving_half_of_exec_leaves_the_other() {
    let mut bench = bench(WaveSize::Lanes64);
    bench.wave.set_exec(0xaaaa_bbbb_0000_ff0f);
    bench.set_s(0, 0x0000_00ff);
    bench.run(&[
        0xbe82_2c00, // s_and_not0_saveexec_b32 s2, s0
        0xbe83_007e, // s_mov_b32 s3, exec_lo
        0xbe84_2200, // s_or_saveexec_b32 s4, s0
        0xbe85_3600, // s_and_not1_wrexec_b32 s5, s0
    ]);
    assert_eq!([2, 3, 4, 5].map(|number| bench.s(number)), [0xff0f, 0xff00, 0xff00, 0]);
    assert_eq!(bench.wave.exec(), 0xaaaa_bbbb_0000_0000);
}

#[test]
fn exec_combines_as_its_operation_says_and_scc_says_whether_any_lane_is_left() {
    for (code, expected) in [
        (
            &[
                0xbe82_2000, // s_and_saveexec_b32 s2, s0
            ],
            0x0f & 0x3c_u32,
        ),
        (
            &[
                0xbe82_2400, // s_xor_saveexec_b32 s2, s0
            ],
            0x0f ^ 0x3c,
        ),
        (
            &[
                0xbe82_3000, // s_and_not1_saveexec_b32 s2, s0
            ],
            0x3c & !0x0f,
        ),
        (
            &[
                0xbe82_2c00, // s_and_not0_saveexec_b32 s2, s0
            ],
            !0x3c & 0x0f,
        ),
        (
            &[
                0xbe82_3200, // s_or_not1_saveexec_b32 s2, s0
            ],
            0x3c | !0x0f,
        ),
        (
            &[
                0xbe82_2e00, // s_or_not0_saveexec_b32 s2, s0
            ],
            !0x3c | 0x0f,
        ),
    ] {
        let mut bench = wave32();
        bench.wave.set_exec(0x0f);
        bench.set_s(0, 0x3c);
        bench.run(code);
        assert_eq!((bench.s(2), bench.wave.exec() as u32, bench.wave.scc), (0x0f, expected, expected != 0), "{code:08x?}");
    }
}

#[test]
fn null_reads_as_zero_and_forgets() {
    let mut bench = wave32();
    bench.set_s(0, u32::MAX);
    bench.wave.set_scalar_pair(ScalarRegister::EXEC, 0x5_0000_00ff);
    bench.set_v(0, |_| u32::MAX);
    bench.run(&[
        0xbefc_01c1, // s_mov_b64 null, -1
        0xbefc_0000, // s_mov_b32 null, s0
        0xbefd_00ff,
        0x0000_004d, // s_mov_b32 m0, 77
        0x8001_7c00, // s_add_u32 s1, s0, null
        0x8002_817d, // s_add_u32 s2, m0, 1
        0xd700_7c01,
        0x0002_0100, // v_add_co_u32 v1, null, v0, v0
        0xd520_7c02,
        0x01f2_0100, // v_add_co_ci_u32_e64 v2, null, v0, v0, null
    ]);
    assert_eq!((bench.s(1), bench.s(2)), (u32::MAX, 78));
    assert_eq!(bench.wave.scalar_pair(ScalarRegister::EXEC), 0x5_0000_00ff);
    assert_eq!((bench.v(1)[0], bench.v(2)[0]), (0xffff_fffe, 0xffff_fffe), "null as a mask is zero");
}

#[test]
fn scalar_additions_after_a_shift_carry_into_scc() {
    let mut bench = wave32();
    bench.set_s(0, 0x8000_0001);
    bench.set_s(1, 5);
    bench.set_s(2, 0xabcd_1234);
    bench.set_s(3, 0xffff_fffe);
    bench.run(&[
        0x870a_0100, // s_lshl1_add_u32 s10, s0, s1
        0x980b_8081, // s_cselect_b32 s11, 1, 0
        0x888c_0101, // s_lshl4_add_u32 s12, s1, s1
        0x980d_8081, // s_cselect_b32 s13, 1, 0
        0x968e_0302, // s_mul_hi_u32 s14, s2, s3
        0x970f_0302, // s_mul_hi_i32 s15, s2, s3
        0x9910_0302, // s_pack_ll_b32_b16 s16, s2, s3
        0x9991_0302, // s_pack_lh_b32_b16 s17, s2, s3
        0x9a12_0302, // s_pack_hh_b32_b16 s18, s2, s3
        0x9a93_0302, // s_pack_hl_b32_b16 s19, s2, s3
    ]);
    assert_eq!([10, 11, 12, 13].map(|n| bench.s(n)), [7, 1, 85, 0]);
    // -2 times a negative number is small and positive.
    let high = (u64::from(0xabcd_1234_u32) * u64::from(0xffff_fffe_u32)) >> 32;
    assert_eq!((u64::from(bench.s(14)), bench.s(15)), (high, 0));
    assert_eq!([16, 17, 18, 19].map(|n| bench.s(n)), [0xfffe_1234, 0xffff_1234, 0xffff_abcd, 0xfffe_abcd]);
}

#[test]
fn three_input_operations_are_what_their_names_say() {
    let (a, b, c) = (0x8765_4321_u32, 7_u32, 0xfff0_0f0f_u32);
    let mut bench = wave32();
    bench.set_v(0, |_| a);
    bench.set_v(1, |_| b);
    bench.set_v(2, |_| c);
    bench.run(&[
        0xd655_000a,
        0x040a_0300, // v_add3_u32 v10, v0, v1, v2
        0xd646_000b,
        0x040a_0300, // v_lshl_add_u32 v11, v0, v1, v2
        0xd647_000c,
        0x0406_0500, // v_add_lshl_u32 v12, v0, v2, v1
        0xd656_000d,
        0x040a_0300, // v_lshl_or_b32 v13, v0, v1, v2
        0xd657_000e,
        0x0406_0500, // v_and_or_b32 v14, v0, v2, v1
        0xd658_000f,
        0x040a_0300, // v_or3_b32 v15, v0, v1, v2
        0xd640_0010,
        0x040a_0300, // v_xor3_b32 v16, v0, v1, v2
        0xd645_0011,
        0x040a_0300, // v_xad_u32 v17, v0, v1, v2
        0xd659_0012,
        0x0406_0500, // v_mad_u32_u16 v18, v0, v2, v1
        0xd65a_0013,
        0x0406_0102, // v_mad_i32_i16 v19, v2, v0, v1
        0xd662_0014,
        0x040a_0300, // v_maxmin_u32 v20, v0, v1, v2
        0xd663_0015,
        0x040a_0300, // v_minmax_u32 v21, v0, v1, v2
        0xd664_0016,
        0x040a_0300, // v_maxmin_i32 v22, v0, v1, v2
        0xd665_0017,
        0x040a_0300, // v_minmax_i32 v23, v0, v1, v2
        0xd655_0018,
        0x040a_02ff,
        0x1234_5678, // v_add3_u32 v24, 0x12345678, v1, v2
        0x3c32_0500, // v_xnor_b32 v25, v0, v2
        0x4e34_0300, // v_subrev_nc_u32 v26, v0, v1
        0x7e36_d502, // v_cvt_i32_i16 v27, v2
    ]);
    let expected = [
        a.wrapping_add(b).wrapping_add(c),
        (a << b).wrapping_add(c),
        a.wrapping_add(c) << b,
        a << b | c,
        a & c | b,
        a | b | c,
        a ^ b ^ c,
        (a ^ b).wrapping_add(c),
        0x4321 * 0x0f0f + 7,
        0x0f0f * 0x4321 + 7,
        // The larger of the first two, but no more than the third; and the other way round. Signed, a and c are negative.
        a,
        c,
        c,
        a.max(c),
        0x1234_5678_u32.wrapping_add(b).wrapping_add(c),
        !(a ^ c),
        b.wrapping_sub(a),
        0x0f0f,
    ];
    for (number, expected) in (10..).zip(expected) {
        assert_eq!(bench.v(number)[..32], [expected; 32], "v{number}");
    }
}

#[test]
fn sixteen_bit_results_leave_the_upper_half_of_active_lanes() {
    let mut bench = wave32();
    bench.wave.set_exec(0xffff);
    bench.set_v(0, |_| 0x1111_fff0);
    bench.set_v(1, |_| 0x2222_0020);
    (4..8).for_each(|number| bench.set_v(number, |_| 0xaaaa_bbbb));
    bench.run(&[
        0xd703_0004,
        0x0002_0300, // v_add_nc_u16 v4, v0, v1
        0xd641_0005,
        0x020e_0300, // v_mad_u16 v5, v0, v1, 3
        0xd70a_0006,
        0x0002_0300, // v_max_i16 v6, v0, v1
        0xd738_0007,
        0x0002_0284, // v_lshlrev_b16 v7, 4, v1
    ]);
    for (number, low) in [(4, 0x10), (5, 0xfe03), (6, 0x20), (7, 0x200)] {
        assert_eq!((bench.v(number)[15], bench.v(number)[16]), (0xaaaa_0000 | low, 0xaaaa_bbbb), "v{number}");
    }
}

#[test]
fn the_halves_of_a_dual_instruction_do_not_see_each_other() {
    let mut bench = wave32();
    bench.set_v(0, mixed);
    bench.set_v(1, |lane| lane as u32);
    bench.run(&[
        0xca10_0101,
        0x0000_0100, // v_dual_mov_b32 v0, v1 :: v_dual_mov_b32 v1, v0
    ]);
    for lane in 0..32 {
        assert_eq!((bench.v(0)[lane], bench.v(1)[lane]), (lane as u32, mixed(lane)));
    }
}

#[test]
fn each_dual_operation_computes_in_active_lanes() {
    let mut bench = wave32();
    let float = |value: f32| value.to_bits();
    bench.set_v(0, |_| float(3.0));
    bench.set_v(1, |_| float(0.5));
    bench.set_v(2, |_| 6);
    bench.set_v(3, |_| 0xfc);
    bench.set_v(4, |_| float(10.0));
    bench.set_v(5, |_| float(20.0));
    bench.set_s(106, 0x5555_5555);
    bench.wave.set_exec(0x7fff_ffff);
    bench.run(&[
        0xc800_0300,
        0x0404_0101, // v_dual_fmac_f32 v4, v0, v1 :: v_dual_fmac_f32 v5, v1, v0
        0xc860_0300,
        0x0606_0702,
        0x4000_0000, // v_dual_fmaak_f32 v6, v0, v1, 0x40000000 :: v_dual_add_nc_u32 v7, v2, v3
        0xc8a2_0300,
        0x0808_0702,
        0x4000_0000, // v_dual_fmamk_f32 v8, v0, 0x40000000, v1 :: v_dual_lshlrev_b32 v9, v2, v3
        0xca64_0300,
        0x0a0a_0503, // v_dual_cndmask_b32 v10, v0, v1 :: v_dual_and_b32 v11, v3, v2
        0xc90a_0300,
        0x0c0c_0101, // v_dual_add_f32 v12, v0, v1 :: v_dual_sub_f32 v13, v1, v0
        0xc986_0300,
        0x0e0e_0101, // v_dual_subrev_f32 v14, v0, v1 :: v_dual_mul_f32 v15, v1, v0
        0xca96_0300,
        0x1010_0101, // v_dual_max_f32 v16, v0, v1 :: v_dual_min_f32 v17, v1, v0
        0xc9d0_0280,
        0x1212_00f4, // v_dual_mul_dx9_zero_f32 v18, 0, v1 :: v_dual_mov_b32 v19, 0x40000000
    ]);
    let floats = [(4, 11.5), (5, 21.5), (6, 3.5), (8, 6.5), (12, 3.5), (13, -2.5), (14, -2.5), (15, 1.5), (16, 3.0), (17, 0.5)];
    for (number, expected) in floats.map(|(number, value)| (number, float(value))).into_iter().chain([
        (7, 6 + 0xfc),
        (9, 0xfc << 6),
        (11, 4),
        (18, 0),
        (19, float(2.0)),
    ]) {
        assert_eq!(bench.v(number)[30], expected, "v{number}");
    }
    assert_eq!((bench.v(10)[0], bench.v(10)[1]), (float(0.5), float(3.0)), "VCC chooses");
    assert_eq!((bench.v(7)[31], bench.v(10)[31]), (0, 0), "the last lane is inactive");
}

#[test]
fn lane_numbers_wrap_at_the_size_of_the_wave() {
    let mut bench = wave32();
    bench.set_v(0, |lane| 100 + lane as u32);
    bench.set_s(2, 37);
    bench.run(&[
        0xd760_0003,
        0x0000_0500, // v_readlane_b32 s3, v0, s2
        0xd761_0001,
        0x0000_0402, // v_writelane_b32 v1, s2, s2
        0xd71f_0002,
        0x0001_00c1, // v_mbcnt_lo_u32_b32 v2, -1, 0
        0xd720_0002,
        0x0002_04c1, // v_mbcnt_hi_u32_b32 v2, -1, v2
    ]);
    assert_eq!((bench.s(3), bench.v(1)[5]), (105, 37));
    (0..32).for_each(|lane| assert_eq!(bench.v(2)[lane], lane as u32));
}

#[test]
fn swapped_registers_exchange_active_lanes() {
    let mut bench = wave32();
    bench.wave.set_exec(1);
    bench.set_v(0, |_| 1);
    bench.set_v(1, |_| 2);
    bench.run(&[
        0x7e00_cb01, // v_swap_b32 v0, v1
    ]);
    assert_eq!((bench.v(0)[0], bench.v(1)[0], bench.v(0)[1], bench.v(1)[1]), (2, 1, 1, 2));
}

#[test]
fn hardware_registers_say_where_the_wave_runs_and_how_late_it_is() {
    let mut bench = wave32();
    bench.wave.reset(WaveSize::Lanes32, CODE, 1, 0x0014_5600);
    bench.run(&[
        0xb880_4a57, // s_getreg_b32 s0, hwreg(HW_REG_HW_ID1, 9, 10)
        0xb881_981d, // s_getreg_b32 s1, hwreg(HW_REG_SHADER_CYCLES, 0, 20)
        0xbe82_4d83, // s_sendmsg_rtn_b64 s[2:3], sendmsg(MSG_RTN_GET_REALTIME)
        0xbe84_4d83, // s_sendmsg_rtn_b64 s[4:5], sendmsg(MSG_RTN_GET_REALTIME)
    ]);
    assert_eq!(bench.s(0), 0x0014_5600 >> 9 & 0x3ff);
    assert!(bench.s(1) < 1 << 20);
    assert!(bench.s64(2) != 0 && bench.s64(4) >= bench.s64(2), "the clock goes forward");
}

#[test]
fn branches_traps_barriers_and_sleep_work_under_their_numbers() {
    let code = &[
        0xbf85_0001, // s_clause 0x1
        0xbf87_0001, // s_delay_alu instid0(VALU_DEP_1)
        0xbf83_0001, // s_sleep 1
        0xbfbd_0000, // s_barrier
        0xbfa0_0001, // s_branch 1
        0xbf9f_0000, // s_code_end
        0xbf89_0007, // s_waitcnt vmcnt(0) lgkmcnt(0)
        0xbc7c_0000, // s_waitcnt_vscnt null, 0x0
        0xe0ac_0000,
        0x0000_0000, // buffer_gl0_inv
        0xbf90_0002, // s_trap 2
    ];
    let mut bench = wave32();
    assert_eq!(bench.pause(code, &mut 20), Pause::Asleep);
    assert_eq!(bench.go_on(code, &mut 20), Pause::AtBarrier);
    let pc = GpuVa(CODE.0 + 4 * (code.len() as u64 - 1));
    assert_eq!(bench.go_on(code, &mut 20), Pause::Failed(WaveFault::Trap { pc, id: 2 }));
}
