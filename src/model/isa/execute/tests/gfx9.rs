//! What generation 9 adds to the scalar and vector units (CDNA 3 instruction set reference).

use super::{Bench, CODE, DATA};
use crate::model::isa::LANES;
use crate::model::isa::execute::Pause;
use crate::model::target::Target;

fn bench() -> Bench {
    Bench::of(Target::Gfx942)
}

fn operand(lane: usize) -> u32 {
    (lane as u32).wrapping_mul(0x9e37_79b9) ^ 0x8000_0001
}

#[test]
fn additions_without_carry_leave_vcc_alone() {
    let mut bench = bench();
    bench.set_v(0, operand);
    bench.set_v(1, |lane| operand(lane + 64));
    bench.set_s64(106, 0x1234_5678_9abc_def0);
    bench.run(&[
        0x6808_0300, // v_add_u32 v4, v0, v1
        0x6a0a_0300, // v_sub_u32 v5, v0, v1
        0x6c0c_0300, // v_subrev_u32 v6, v0, v1
        0x7a0e_0300, // v_xnor_b32 v7, v0, v1
    ]);
    assert_eq!(bench.vcc(), 0x1234_5678_9abc_def0);
    for lane in 0..LANES {
        let (a, b) = (operand(lane), operand(lane + 64));
        let expected = [a.wrapping_add(b), a.wrapping_sub(b), b.wrapping_sub(a), !(a ^ b)];
        assert_eq!([4, 5, 6, 7].map(|number| bench.v(number)[lane]), expected, "lane {lane}");
    }
}

#[test]
fn pairs_are_moved_and_addresses_computed_in_64_bits() {
    let value = |lane: usize| u64::from(operand(lane)) << 29 | 0xffff_fff0;
    let base = |lane: usize| u64::MAX - 5 * lane as u64;
    for exec in [u64::MAX, 0x8000_0000_0000_0001] {
        let mut bench = bench();
        bench.set_v64(0, value);
        bench.set_v64(2, base);
        bench.wave.set_exec(exec);
        bench.run(&[
            0xd208_0004,
            0x0409_0700, // v_lshl_add_u64 v[4:5], v[0:1], 3, v[2:3]
            0x7e0c_70c1, // v_mov_b64 v[6:7], -1
            0x7e10_7100, // v_mov_b64 v[8:9], v[0:1]
        ]);
        for lane in 0..LANES {
            let expected = match exec >> lane & 1 {
                1 => [(value(lane) << 3).wrapping_add(base(lane)), u64::MAX, value(lane)],
                _ => [0; 3],
            };
            assert_eq!([4, 6, 8].map(|number| bench.v64(number, lane)), expected, "lane {lane}");
        }
    }
}

#[test]
fn accumulators_keep_what_active_lanes_write() {
    let mut bench = bench();
    bench.set_v(0, operand);
    bench.set_v(4, |_| 1);
    bench.wave.set_exec(0xffff_0000_ffff_0000);
    bench.run(&[
        0xd3d9_4009,
        0x1800_0100, // v_accvgpr_write_b32 a9, v0
        0xbefe_01c1, // s_mov_b64 exec, -1
        0x7ffe_a509, // v_accvgpr_mov_b32 a255, a9
        0xd3d8_4004,
        0x1800_01ff, // v_accvgpr_read_b32 v4, a255
        0xd3d8_4005,
        0x1800_0108, // v_accvgpr_read_b32 v5, a8
    ]);
    for lane in 0..LANES {
        let written = lane / 16 % 2 == 1;
        assert_eq!(bench.v(4)[lane], if written { operand(lane) } else { 0 }, "lane {lane}");
        assert_eq!(bench.v(5)[lane], 0, "a8 was never written");
    }
}

#[test]
fn double_precision_is_ieee() {
    let (a, b, c) = (1.0 + f64::EPSILON, 3.5_f64, -3.5_f64);
    let mut bench = bench();
    for (number, value) in [(0, a), (2, b), (4, c)] {
        bench.set_v64(number, |_| value.to_bits());
    }
    bench.run(&[
        0xd1cc_0008,
        0x0412_0500, // v_fma_f64 v[8:9], v[0:1], v[2:3], v[4:5]
        0xd280_000a,
        0x4002_0500, // v_add_f64 v[10:11], v[0:1], -v[2:3]
        0xd281_010c,
        0x0002_0500, // v_mul_f64 v[12:13], |v[0:1]|, v[2:3]
        0xd282_000e,
        0x0002_0500, // v_min_f64 v[14:15], v[0:1], v[2:3]
        0xd283_0010,
        0x0002_0500, // v_max_f64 v[16:17], v[0:1], v[2:3]
        0x0808_0500, // v_fmac_f64 v[4:5], v[0:1], v[2:3]
    ]);
    // Fused: (1 + e) * 3.5 - 3.5 is 3.5 e, exactly.
    let fused = 3.5 * f64::EPSILON;
    let found = [8, 10, 12, 14, 16, 4].map(|number| f64::from_bits(bench.v64(number, 63)));
    assert_eq!(found, [fused, a - b, a * b, a, b, fused]);
}

#[test]
fn packed_operations_work_on_both_words() {
    let pair = |low: f32, high: f32| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32;
    let mut bench = bench();
    for (number, value) in [(0, pair(2.0, 3.0)), (2, pair(5.0, 7.0)), (4, pair(100.0, 200.0))] {
        bench.set_v64(number, |_| value);
    }
    bench.run(&[
        0xd3b0_4008,
        0x1c12_0500, // v_pk_fma_f32 v[8:9], v[0:1], v[2:3], v[4:5]
        0xd3b2_480a,
        0x1002_0500, // v_pk_add_f32 v[10:11], v[0:1], v[2:3] op_sel:[1,0] op_sel_hi:[0,1]
        0xd3b1_420c,
        0x3802_0500, // v_pk_mul_f32 v[12:13], v[0:1], v[2:3] neg_lo:[1,0] neg_hi:[0,1]
        0xd3b3_480e,
        0x1802_0500, // v_pk_mov_b32 v[14:15], v[0:1], v[2:3] op_sel:[1,0]
    ]);
    let expected = [pair(110.0, 221.0), pair(8.0, 9.0), pair(-10.0, -21.0), pair(3.0, 5.0)];
    assert_eq!([8, 10, 12, 14].map(|number| bench.v64(number, 5)), expected);
}

#[test]
fn selected_and_compared_floats_may_change_their_signs() {
    for target in [Target::Gfx803, Target::Gfx942] {
        let mut bench = Bench::of(target);
        bench.set_v(5, |lane| (lane as f32 - 3.0).to_bits());
        bench.set_v(6, |lane| (2.0 - lane as f32).to_bits());
        bench.set_s64(2, 0xffff_ffff_0000_0000);
        bench.run(&[
            0xd100_0204,
            0x200a_0d05, // v_cndmask_b32_e64 v4, -v5, |v6|, s[2:3]
            0xd041_0106,
            0x4002_0d05, // v_cmp_lt_f32_e64 s[6:7], |v5|, -v6
        ]);
        for lane in 0..LANES {
            let (a, b) = (lane as f32 - 3.0, 2.0 - lane as f32);
            let expected = if lane < 32 { -a } else { b.abs() };
            assert_eq!(bench.v(4)[lane], expected.to_bits(), "lane {lane} of {target}");
            assert_eq!(bench.s64(6) >> lane & 1 == 1, a.abs() < -b, "lane {lane} of {target}");
        }
    }
}

#[test]
fn reciprocals_and_roots_of_exact_cases_are_exact() {
    let mut bench = bench();
    bench.set_v(0, |_| 16.0_f32.to_bits());
    bench.run(&[
        0x7e08_4700, // v_rcp_iflag_f32 v4, v0
        0x7e0a_4f00, // v_sqrt_f32 v5, v0
        0x7e0c_4900, // v_rsq_f32 v6, v0
    ]);
    assert_eq!([4, 5, 6].map(|number| f32::from_bits(bench.v(number)[9])), [0.0625, 4.0, 0.25]);
}

#[test]
fn s_call_keeps_the_address_behind_it() {
    let mut bench = bench();
    bench.run(&[
        0xba9e_0002, // s_call_b64 s[30:31], 2
        0xbe80_0081, // s_mov_b32 s0, 1
        0xbf82_0001, // s_branch 1
        0xbe9e_1d1e, // s_setpc_b64 s[30:31]
    ]);
    assert_eq!((bench.s64(30), bench.s(0)), (CODE.0 + 4, 1));
}

#[test]
fn exec_is_combined_with_complements() {
    let mut bench = bench();
    bench.wave.set_exec(0b1100);
    bench.set_s64(2, 0b1010);
    bench.run(&[
        0xbe80_3302, // s_andn1_saveexec_b64 s[0:1], s[2:3]
    ]);
    assert_eq!((bench.wave.exec(), bench.s64(0)), (0b0100, 0b1100), "exec & !s[2:3], and what it was");
    bench.run(&[
        0xbe80_3602, // s_andn2_wrexec_b64 s[0:1], s[2:3]
    ]);
    assert_eq!((bench.wave.exec(), bench.s64(0)), (0b1010, 0b1010), "s[2:3] & !exec, twice");
}

#[test]
fn scalar_loads_go_backward_and_add_a_register() {
    let mut bench = bench();
    bench.data.iter_mut().enumerate().for_each(|(n, word)| *word = n as u32);
    bench.set_s64(2, DATA.0 + 0x100);
    bench.set_s(6, 0x40);
    bench.run(&[
        0xc002_0101,
        0x001f_fff8, // s_load_dword s4, s[2:3], -0x8
        0xc002_4141,
        0x0c00_0004, // s_load_dword s5, s[2:3], s6 offset:0x4
    ]);
    assert_eq!((bench.s(4), bench.s(5)), ((0x100 - 8) / 4, (0x100 + 0x40 + 4) / 4));
}

#[test]
fn words_of_any_encoding_end_in_some_pause() {
    // The upper six bits name the encoding; the rest comes from a fixed sequence.
    let mut state = 0x1234_5678_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.rotate_left(16)
    };
    for encoding in 0..64_u32 {
        for _ in 0..200 {
            let code: Vec<u32> = (0..24).map(|n| if n % 3 == 0 { encoding << 26 | random() >> 6 } else { random() }).collect();
            let mut budget = 100;
            let pause = bench().pause(&code, &mut budget);
            assert!(budget == 0 || pause != Pause::Preempted, "{code:08x?}");
        }
    }
}
