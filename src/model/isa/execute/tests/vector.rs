//! VOP1, VOP2, VOPC and VOP3.

use super::Bench;
use crate::model::isa::LANES;

/// A value that differs from lane to lane in all bits.
fn mixed(lane: usize) -> u32 {
    (lane as u32 + 1).wrapping_mul(0x9e37_79b9)
}

fn mixed64(lane: usize) -> u64 {
    (lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn a_64_bit_addition_carries_through_vcc_lane_by_lane() {
    let mut bench = Bench::new();
    bench.set_v64(0, mixed64);
    bench.set_v64(2, |lane| mixed64(63 - lane));
    bench.run(&[
        0x3208_0500, // v_add_u32 v4, vcc, v0, v2
        0x380a_0701, // v_addc_u32 v5, vcc, v1, v3, vcc
    ]);
    for lane in 0..LANES {
        let (sum, carry) = mixed64(lane).overflowing_add(mixed64(63 - lane));
        assert_eq!((bench.v64(4, lane), bench.vcc() >> lane & 1), (sum, u64::from(carry)), "lane {lane}");
    }
}

#[test]
fn a_64_bit_subtraction_borrows_through_any_register_pair() {
    let mut bench = Bench::new();
    bench.set_v64(0, mixed64);
    bench.set_v64(2, |lane| mixed64(63 - lane));
    bench.run(&[
        0xd11a_0204,
        0x0002_0500, // v_sub_u32 v4, s[2:3], v0, v2
        0xd11d_0405,
        0x000a_0701, // v_subb_u32 v5, s[4:5], v1, v3, s[2:3]
        0x360c_0500, // v_subrev_u32 v6, vcc, v0, v2
        0x3c0e_0701, // v_subbrev_u32 v7, vcc, v1, v3, vcc
    ]);
    for lane in 0..LANES {
        let (difference, borrow) = mixed64(lane).overflowing_sub(mixed64(63 - lane));
        assert_eq!((bench.v64(4, lane), bench.s64(4) >> lane & 1), (difference, u64::from(borrow)), "lane {lane}");
        let (difference, borrow) = mixed64(63 - lane).overflowing_sub(mixed64(lane));
        assert_eq!((bench.v64(6, lane), bench.vcc() >> lane & 1), (difference, u64::from(borrow)), "reversed, lane {lane}");
    }
}

#[test]
fn carries_of_inactive_lanes_are_zero_and_their_results_stay() {
    let mut bench = Bench::new();
    bench.wave.set_exec(0xffff_0000_0000_00f0);
    bench.set_v(0, |_| u32::MAX);
    bench.set_v(1, |_| 5);
    bench.run(&[
        0x3202_0100, // v_add_u32 v1, vcc, v0, v0
    ]);
    assert_eq!(bench.vcc(), 0xffff_0000_0000_00f0);
    for lane in 0..LANES {
        assert_eq!(bench.v(1)[lane], if bench.vcc() >> lane & 1 == 1 { 0xffff_fffe } else { 5 }, "lane {lane}");
    }
}

#[test]
fn compares_write_a_mask_of_active_lanes_to_vcc_or_a_pair() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| lane as u32);
    bench.set_v(1, |lane| -(lane as i32) as u32);
    bench.wave.set_exec(!1);
    bench.run(&[
        0x7d98_008a, // v_cmp_gt_u32 vcc, 10, v0
        0xd0c1_0002,
        0x0002_0101, // v_cmp_lt_i32 s[2:3], v1, v0
        0xd0c9_0004,
        0x0002_0101, // v_cmp_lt_u32 s[4:5], v1, v0
        0xd0cd_0006,
        0x0002_0100, // v_cmp_ne_u32 s[6:7], v0, v0
        0xd0c7_0008,
        0x0002_0100, // v_cmp_t_i32 s[8:9], v0, v0
    ]);
    assert_eq!(bench.vcc(), 0x3fe);
    assert_eq!(bench.s64(2), !1);
    assert_eq!(bench.s64(4), 0);
    assert_eq!((bench.s64(6), bench.s64(8)), (0, !1));
}

#[test]
fn wide_and_narrow_compares_look_at_their_own_bits() {
    let mut bench = Bench::new();
    bench.set_v64(0, |lane| if lane < 32 { 1 << 63 } else { 7 });
    bench.set_v(2, |_| 0xabcd_ffff);
    bench.set_v(3, |_| 0x1234_0001);
    bench.run(&[
        0xd0e1_0002,
        0x0001_0100, // v_cmp_lt_i64 s[2:3], v[0:1], 0
        0x7dd4_0087, // v_cmp_eq_u64 vcc, 7, v[0:1]
        0xd0a1_0004,
        0x0002_0702, // v_cmp_lt_i16 s[4:5], v2, v3
        0xd0a9_0006,
        0x0002_0702, // v_cmp_lt_u16 s[6:7], v2, v3
        0xd0ed_0008,
        0x0002_0080, // v_cmp_ne_u64 s[8:9], 0, v[0:1]
    ]);
    assert_eq!((bench.s64(2), bench.vcc()), (0xffff_ffff, 0xffff_ffff_0000_0000));
    assert_eq!((bench.s64(4), bench.s64(6), bench.s64(8)), (u64::MAX, 0, u64::MAX));
}

#[test]
fn cmpx_narrows_exec() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| lane as u32);
    bench.run(&[
        0x7db8_0088, // v_cmpx_gt_u32 vcc, 8, v0
        0x7e02_0283, // v_mov_b32 v1, 3
    ]);
    assert_eq!((bench.vcc(), bench.wave.exec()), (0xff, 0xff));
    assert_eq!((bench.v(1)[7], bench.v(1)[8]), (3, 0));
}

#[test]
fn float_compares_are_unordered_with_nan() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| if lane % 2 == 0 { f32::NAN.to_bits() } else { (lane as f32).to_bits() });
    bench.set_v(1, |_| 9.0_f32.to_bits());
    bench.run(&[
        0xd041_0002,
        0x0002_0300, // v_cmp_lt_f32 s[2:3], v0, v1
        0xd04e_0004,
        0x0002_0300, // v_cmp_nlt_f32 s[4:5], v0, v1
        0xd048_0006,
        0x0002_0300, // v_cmp_u_f32 s[6:7], v0, v1
        0xd042_0008,
        0x0002_0300, // v_cmp_eq_f32 s[8:9], v0, v1
        0xd04d_000a,
        0x0002_0300, // v_cmp_neq_f32 s[10:11], v0, v1
    ]);
    assert_eq!(bench.s64(2), 0xaa);
    assert_eq!(bench.s64(4), !0xaa);
    assert_eq!(bench.s64(6), 0x5555_5555_5555_5555);
    assert_eq!(bench.s64(8), 1 << 9);
    assert_eq!(bench.s64(10), !(1 << 9));
}

#[test]
fn cndmask_takes_the_second_source_where_the_mask_is_set() {
    let mut bench = Bench::new();
    bench.set_s64(106, 0xf0);
    bench.set_s64(2, 0x0f);
    bench.set_v(1, |_| 22);
    bench.run(&[
        0x0004_028b, // v_cndmask_b32 v2, 11, v1, vcc
        0xd100_0003,
        0x0009_0280, // v_cndmask_b32 v3, 0, 1, s[2:3]
    ]);
    assert_eq!([0, 4, 8].map(|lane| bench.v(2)[lane]), [11, 22, 11]);
    assert_eq!([0, 4].map(|lane| bench.v(3)[lane]), [1, 0]);
}

#[test]
fn shifts_take_the_amount_first() {
    let mut bench = Bench::new();
    bench.set_v64(0, mixed64);
    bench.set_v(2, |lane| 3 * lane as u32);
    bench.run(&[
        0x2408_0102, // v_lshlrev_b32 v4, v2, v0
        0x200a_0102, // v_lshrrev_b32 v5, v2, v0
        0x220c_0102, // v_ashrrev_i32 v6, v2, v0
        0xd28f_0008,
        0x0002_0102, // v_lshlrev_b64 v[8:9], v2, v[0:1]
        0xd290_000a,
        0x0002_0102, // v_lshrrev_b64 v[10:11], v2, v[0:1]
        0xd291_000c,
        0x0002_0102, // v_ashrrev_i64 v[12:13], v2, v[0:1]
        0xd28f_0000,
        0x0002_0082, // v_lshlrev_b64 v[0:1], 2, v[0:1]
    ]);
    for lane in 0..LANES {
        let (value, narrow, wide) = (mixed64(lane), 3 * lane as u32 % 32, 3 * lane as u32 % 64);
        let word = value as u32;
        assert_eq!([4, 5, 6].map(|n| bench.v(n)[lane]), [word << narrow, word >> narrow, (word as i32 >> narrow) as u32]);
        assert_eq!([8, 10].map(|n| bench.v64(n, lane)), [value << wide, value >> wide]);
        assert_eq!(bench.v64(12, lane), (value as i64 >> wide) as u64);
        assert_eq!(bench.v64(0, lane), value << 2, "source and destination overlap");
    }
}

#[test]
fn products_have_a_low_and_a_high_half() {
    let mut bench = Bench::new();
    bench.set_v(0, mixed);
    bench.set_v(1, |lane| mixed(lane + 64));
    bench.run(&[
        0xd285_0002,
        0x0002_0300, // v_mul_lo_u32 v2, v0, v1
        0xd286_0003,
        0x0002_0300, // v_mul_hi_u32 v3, v0, v1
        0xd287_0004,
        0x0002_0300, // v_mul_hi_i32 v4, v0, v1
        0x100a_0300, // v_mul_u32_u24 v5, v0, v1
        0x120c_0300, // v_mul_hi_u32_u24 v6, v0, v1
        0x0c0e_0300, // v_mul_i32_i24 v7, v0, v1
        0xd1c3_0008,
        0x0406_0300, // v_mad_u32_u24 v8, v0, v1, v1
    ]);
    for lane in 0..LANES {
        let (a, b) = (mixed(lane), mixed(lane + 64));
        let product = u64::from(a) * u64::from(b);
        assert_eq!([2, 3].map(|n| bench.v(n)[lane]), [product as u32, (product >> 32) as u32]);
        assert_eq!(bench.v(4)[lane], ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
        let product = u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff);
        assert_eq!([5, 6].map(|n| bench.v(n)[lane]), [product as u32, (product >> 32) as u32]);
        let signed = |x: u32| i64::from(((x & 0xff_ffff) ^ 0x80_0000) as i32 - 0x80_0000);
        assert_eq!(bench.v(7)[lane], (signed(a) * signed(b)) as u32);
        assert_eq!(bench.v(8)[lane], (product as u32).wrapping_add(b));
    }
}

#[test]
fn mad_64_adds_a_wide_addend_to_a_full_product() {
    let mut bench = Bench::new();
    bench.set_v(0, mixed);
    bench.set_v(1, |lane| mixed(lane + 64));
    bench.set_v64(2, |lane| !mixed64(lane));
    bench.run(&[
        0xd1e8_0204,
        0x040a_0300, // v_mad_u64_u32 v[4:5], s[2:3], v0, v1, v[2:3]
        0xd1e9_6a06,
        0x040a_0300, // v_mad_i64_i32 v[6:7], vcc, v0, v1, v[2:3]
        0xd1e8_0408,
        0x0201_8300, // v_mad_u64_u32 v[8:9], s[4:5], v0, -1, 0
    ]);
    for lane in 0..LANES {
        let (a, b, c) = (mixed(lane), mixed(lane + 64), !mixed64(lane));
        let (sum, carry) = (u64::from(a) * u64::from(b)).overflowing_add(c);
        assert_eq!((bench.v64(4, lane), bench.s64(2) >> lane & 1), (sum, u64::from(carry)));
        assert_eq!(bench.v64(6, lane), (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64) as u64);
        assert_eq!(bench.v64(8, lane), u64::from(a) * 0xffff_ffff);
    }
}

#[test]
fn three_source_bit_operations_follow_the_manual() {
    let mut bench = Bench::new();
    bench.set_v(0, |_| 0x1234_5678);
    bench.set_v(1, |_| 0x9abc_def0);
    bench.run(&[
        0xd1c8_0002,
        0x0221_0901, // v_bfe_u32 v2, v1, 4, 8
        0xd1c9_0003,
        0x0221_0901, // v_bfe_i32 v3, v1, 4, 8
        0xd1c9_0004,
        0x0221_3901, // v_bfe_i32 v4, v1, 28, 8
        0xd1ca_0005,
        0x023e_0300, // v_bfi_b32 v5, v0, v1, 15
        0xd1ce_0006,
        0x0222_0300, // v_alignbit_b32 v6, v0, v1, 8
        0xd1cf_0007,
        0x020e_0300, // v_alignbyte_b32 v7, v0, v1, 3
        0xd1d1_0008,
        0x020e_0300, // v_min3_i32 v8, v0, v1, 3
        0xd1d5_0009,
        0x020e_0300, // v_max3_u32 v9, v0, v1, 3
        0xd1d8_000a,
        0x020e_0300, // v_med3_u32 v10, v0, v1, 3
        0xd1dc_000b,
        0x0206_0300, // v_sad_u32 v11, v0, v1, 1
        0x7e1a_02ff,
        0x030c_0d09, // v_mov_b32 v13, 0x030c0d09
        0xd1ed_000c,
        0x0436_0300, // v_perm_b32 v12, v0, v1, v13
        0xd293_000e,
        0x0001_1084, // v_bfm_b32 v14, 4, 8
    ]);
    let at = |number| bench.v(number)[17];
    assert_eq!([2, 3, 4].map(at), [0xef, 0xffff_ffef, 0xffff_fff9]);
    assert_eq!(at(5), (0x1234_5678 & 0x9abc_def0) | (!0x1234_5678 & 15));
    assert_eq!([6, 7].map(at), [0x789a_bcde, 0x3456_789a]);
    assert_eq!([8, 9, 10].map(at), [0x9abc_def0, 0x9abc_def0, 0x1234_5678]);
    assert_eq!(at(11), 0x9abc_def0 - 0x1234_5678 + 1);
    // From the top: byte 3 of v1, constant 0, constant 0xff, the sign of byte 3 of v1.
    assert_eq!(at(12), 0x9a00_ffff);
    assert_eq!(at(14), 0xf00);
}

#[test]
fn sixteen_bit_results_have_a_zero_upper_half() {
    let mut bench = Bench::new();
    bench.set_v(0, |_| 0xaaaa_fffe);
    bench.set_v(1, |_| 0xbbbb_0003);
    bench.run(&[
        0x4c04_0300, // v_add_u16 v2, v0, v1
        0x4e06_0300, // v_sub_u16 v3, v0, v1
        0x5208_0300, // v_mul_lo_u16 v4, v0, v1
        0x540a_0101, // v_lshlrev_b16 v5, v1, v0
        0x580c_0101, // v_ashrrev_i16 v6, v1, v0
        0x600e_0300, // v_max_i16 v7, v0, v1
        0x6210_0300, // v_min_u16 v8, v0, v1
        0xd1eb_0009,
        0x0406_0300, // v_mad_u16 v9, v0, v1, v1
    ]);
    let results = [2, 3, 4, 5, 6, 7, 8, 9].map(|number| bench.v(number)[40]);
    assert_eq!(results, [1, 0xfffb, 0xfffa, 0xfff0, 0xffff, 3, 3, 0xfffd]);
}

#[test]
fn lanes_are_counted_below_each_lane() {
    let mut bench = Bench::new();
    bench.set_s64(2, 0xf0f0_f0f0_0000_ffff);
    bench.run(&[
        0xd28c_0000,
        0x0001_0002, // v_mbcnt_lo_u32_b32 v0, s2, 0
        0xd28d_0000,
        0x0002_0003, // v_mbcnt_hi_u32_b32 v0, s3, v0
        0x7e04_0203, // v_mov_b32 v2, s3
        0xd28b_0001,
        0x0001_0302, // v_bcnt_u32_b32 v1, v2, 1
    ]);
    for lane in 0..LANES {
        let below = (1_u64 << lane) - 1;
        assert_eq!(bench.v(0)[lane], (0xf0f0_f0f0_0000_ffff & below).count_ones(), "lane {lane}");
    }
    assert_eq!(bench.v(1)[0], 17);
}

#[test]
fn single_lanes_are_read_and_written() {
    let mut bench = Bench::new();
    bench.set_v(0, mixed);
    bench.wave.set_exec(0xff00);
    bench.set_s(5, 64 + 20);
    bench.run(&[
        0x7e00_0500, // v_readfirstlane_b32 s0, v0
        0xd289_0001,
        0x0001_7f00, // v_readlane_b32 s1, v0, 63
        0xd289_0002,
        0x0000_0b00, // v_readlane_b32 s2, v0, s5
        0xd28a_0001,
        0x0001_0687, // v_writelane_b32 v1, 7, 3
        0xbefe_0180, // s_mov_b64 exec, 0
        0x7e06_0500, // v_readfirstlane_b32 s3, v0
    ]);
    assert_eq!([0, 1, 2, 3].map(|n| bench.s(n)), [mixed(8), mixed(63), mixed(20), mixed(0)]);
    assert_eq!((bench.v(1)[3], bench.v(1)[2]), (7, 0), "writelane ignores EXEC");
}

#[test]
fn one_source_operations_follow_the_manual() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| [0, 1, 0x8000_0000, 0xffff_ffff, 0x0000_ff00][lane % 5]);
    bench.run(&[
        0x7e02_5700, // v_not_b32 v1, v0
        0x7e04_5900, // v_bfrev_b32 v2, v0
        0x7e06_5b00, // v_ffbh_u32 v3, v0
        0x7e08_5d00, // v_ffbl_b32 v4, v0
        0x7e0a_5f00, // v_ffbh_i32 v5, v0
        0x7e0c_0d00, // v_cvt_f32_u32 v6, v0
        0x7e0e_0b00, // v_cvt_f32_i32 v7, v0
        0x7e10_2500, // v_cvt_f32_ubyte1 v8, v0
        0x2a12_00c1, // v_xor_b32 v9, -1, v0
    ]);
    let row = |number: u8| [0, 1, 2, 3, 4].map(|lane| bench.v(number)[lane]);
    let none = u32::MAX;
    assert_eq!(row(1), [none, 0xffff_fffe, 0x7fff_ffff, 0, 0xffff_00ff]);
    assert_eq!(row(2), [0, 0x8000_0000, 1, none, 0x00ff_0000]);
    assert_eq!(row(3), [none, 31, 0, 0, 16]);
    assert_eq!(row(4), [none, 0, 31, 0, 8]);
    assert_eq!(row(5), [none, 31, 1, none, 16]);
    assert_eq!(row(6).map(f32::from_bits), [0.0, 1.0, 2_147_483_648.0, 4_294_967_296.0, 65280.0]);
    assert_eq!(row(7).map(f32::from_bits), [0.0, 1.0, -2_147_483_648.0, -1.0, 65280.0]);
    assert_eq!(row(8).map(f32::from_bits), [0.0, 0.0, 0.0, 255.0, 255.0]);
    assert_eq!(row(9), row(1));
}

#[test]
fn single_precision_takes_modifiers() {
    let mut bench = Bench::new();
    bench.set_v(0, |_| (-1.5_f32).to_bits());
    bench.set_v(1, |_| 4.0_f32.to_bits());
    bench.set_v(20, |_| 10.0_f32.to_bits());
    bench.run(&[
        0x0204_0300, // v_add_f32 v2, v0, v1
        0xd102_0103,
        0x4002_0300, // v_sub_f32 v3, |v0|, -v1
        0xd105_0004,
        0x0802_0300, // v_mul_f32 v4, v0, v1 mul:2
        0xd1c1_8005,
        0x03ca_0300, // v_mad_f32 v5, v0, v1, 1.0 clamp
        0xd1cb_0006,
        0x23ca_0300, // v_fma_f32 v6, -v0, v1, 1.0
        0x2c28_0300, // v_mac_f32 v20, v0, v1
        0x3010_0300,
        0x4120_0000, // v_madak_f32 v8, v0, v1, 0x41200000
        0x2e12_0300,
        0x4120_0000, // v_madmk_f32 v9, v0, 0x41200000, v1
        0x1414_0300, // v_min_f32 v10, v0, v1
        0x1616_0300, // v_max_f32 v11, v0, v1
        0x7e18_1100, // v_cvt_i32_f32 v12, v0
        0x7e1a_0f00, // v_cvt_u32_f32 v13, v0
        0x7e1c_3f00, // v_floor_f32 v14, v0
        0x7e1e_3d00, // v_rndne_f32 v15, v0
        0x0620_0300, // v_subrev_f32 v16, v0, v1
        0x7e22_3700, // v_fract_f32 v17, v0
        0x7e24_3900, // v_trunc_f32 v18, v0
    ]);
    let at = |number| f32::from_bits(bench.v(number)[33]);
    assert_eq!([2, 3, 4, 5, 6].map(at), [2.5, 5.5, -12.0, 0.0, 7.0]);
    assert_eq!([20, 8, 9, 10, 11].map(at), [4.0, 4.0, -11.0, -1.5, 4.0]);
    assert_eq!((bench.v(12)[33], bench.v(13)[33]), (-1_i32 as u32, 0));
    assert_eq!([14, 15, 16, 17, 18].map(at), [-2.0, -2.0, 5.5, 0.5, -1.0]);
}

#[test]
fn results_are_the_same_with_all_lanes_active_and_in_two_halves() {
    let code = &[
        0x3208_0300, // v_add_u32 v4, vcc, v0, v1
        0x380a_0101, // v_addc_u32 v5, vcc, v1, v0, vcc
        0x000c_0300, // v_cndmask_b32 v6, v0, v1, vcc
        0xd286_0007,
        0x0002_0300, // v_mul_hi_u32 v7, v0, v1
        0xd28f_0008,
        0x0002_0100, // v_lshlrev_b64 v[8:9], v0, v[0:1]
        0x7d92_0300, // v_cmp_lt_u32 vcc, v0, v1
    ];
    let run = |exec| {
        let mut bench = Bench::new();
        bench.set_v(0, mixed);
        bench.set_v(1, |lane| mixed(lane + 64));
        bench.wave.set_exec(exec);
        bench.run(code);
        bench
    };
    let (whole, low, high) = (run(u64::MAX), run(0xffff_ffff), run(0xffff_ffff_0000_0000));
    for number in 4..10 {
        assert_eq!(whole.v(number)[..32], low.v(number)[..32], "v{number}");
        assert_eq!(whole.v(number)[32..], high.v(number)[32..], "v{number}");
    }
    assert_eq!(whole.vcc(), low.vcc() | high.vcc());
}
