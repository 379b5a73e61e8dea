//! DS.

use super::Bench;
use crate::model::isa::LANES;

#[test]
fn lds_holds_what_lanes_write_and_offsets_count_bytes_or_elements() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| 4 * (lane as u32 % 32));
    bench.set_v(1, |lane| 60 + lane as u32);
    bench.wave.set_exec(0xffff_ffff);
    bench.run(&[
        0xd81a_0080,
        0x0000_0100, // ds_write_b32 v0, v1 offset:128
        0xd86c_0080,
        0x0200_0000, // ds_read_b32 v2, v0 offset:128
        0xd86e_2120,
        0x0400_0000, // ds_read2_b32 v[4:5], v0 offset0:32 offset1:33
        0xd874_0080,
        0x0600_0000, // ds_read_u8 v6, v0 offset:128
        0xd83c_0081,
        0x0000_0100, // ds_write_b8 v0, v1 offset:129
        0xd876_0080,
        0x0700_0000, // ds_read_i16 v7, v0 offset:128
        0xd8ec_0080,
        0x0800_0000, // ds_read_b64 v[8:9], v0 offset:128
    ]);
    for lane in 0..31 {
        assert_eq!([2, 4, 5, 6].map(|n| bench.v(n)[lane]), [60, 60, 61, 60].map(|base| base + lane as u32));
        assert_eq!(bench.v(7)[lane], (60 + lane as u32) * 0x101, "lane {lane}");
    }
    assert_eq!((bench.v(8)[2], bench.v(9)[2]), (62 * 0x101, 63 * 0x101));
    assert_eq!(bench.v(2)[40], 0, "inactive");
}

#[test]
fn paired_lds_accesses_in_blocks_of_64_elements() {
    let mut bench = Bench::new();
    bench.wave.set_exec(0b11);
    bench.lds.reset(2048);
    bench.set_v(0, |lane| 8 * lane as u32);
    bench.set_v64(2, |lane| 0x1_0000_0001 * (lane as u64 + 1));
    bench.set_v64(4, |lane| 0x5_0000_0005 * (lane as u64 + 1));
    bench.run(&[
        0xd89e_0200,
        0x0004_0200, // ds_write2st64_b64 v0, v[2:3], v[4:5] offset0:0 offset1:2
        0xd8ec_0400,
        0x0600_0000, // ds_read_b64 v[6:7], v0 offset:1024
        0xd8f0_0002,
        0x0800_0000, // ds_read2st64_b64 v[8:11], v0 offset0:2 offset1:0
        0xd81c_0802,
        0x0004_0200, // ds_write2_b32 v0, v2, v4 offset0:2 offset1:8
        0xd86c_0020,
        0x0c00_0000, // ds_read_b32 v12, v0 offset:32
    ]);
    assert_eq!([6, 8, 10].map(|n| bench.v64(n, 1)), [0xa_0000_000a, 0xa_0000_000a, 0x2_0000_0002]);
    assert_eq!(bench.v(12)[1], 10);
}

#[test]
fn lds_atomics_give_the_old_value_and_compare_with_the_first_operand() {
    let mut bench = Bench::new();
    bench.set_v(0, |_| 16);
    bench.set_v(1, |_| 1);
    bench.run(&[
        0xd840_0000,
        0x0200_0100, // ds_add_rtn_u32 v2, v0, v1
        0xd800_0000,
        0x0000_0100, // ds_add_u32 v0, v1
    ]);
    assert_eq!((bench.v(2)[0], bench.v(2)[63]), (0, 63));
    bench.wave.set_exec(1);
    bench.set_v(3, |_| 128);
    bench.set_v(4, |_| 7);
    bench.run(&[
        0xd860_0000,
        0x0504_0300, // ds_cmpst_rtn_b32 v5, v0, v3, v4
        0xd86c_0000,
        0x0600_0000, // ds_read_b32 v6, v0
        0xd804_0000,
        0x0000_0300, // ds_rsub_u32 v0, v3
        0xd86c_0000,
        0x0700_0000, // ds_read_b32 v7, v0
        0xd818_0000,
        0x0004_0100, // ds_mskor_b32 v0, v1, v4
        0xd86c_0000,
        0x0800_0000, // ds_read_b32 v8, v0
        0xd85a_0000,
        0x0900_0100, // ds_wrxchg_rtn_b32 v9, v0, v1
        0xd810_0000,
        0x0000_0300, // ds_max_u32 v0, v3
        0xd84a_0000,
        0x0a00_0400, // ds_min_rtn_i32 v10, v0, v4
        0xd880_0000,
        0x0000_0300, // ds_add_u64 v0, v[3:4]
        0xd8ec_0000,
        0x0c00_0000, // ds_read_b64 v[12:13], v0
    ]);
    assert_eq!([5, 6, 7, 8, 9, 10].map(|n| bench.v(n)[0]), [128, 7, 121, 127, 127, 128]);
    assert_eq!(bench.v64(12, 0), 7 << 32 | (128 + 7));
}

#[test]
fn lds_outside_the_allocation_reads_zero_and_takes_no_writes() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| if lane == 0 { 252 } else { 256 + 4 * lane as u32 });
    bench.set_v(1, |_| 77);
    bench.run(&[
        0xd81a_0000,
        0x0000_0100, // ds_write_b32 v0, v1
        0xd86c_0000,
        0x0200_0000, // ds_read_b32 v2, v0
        0xd840_0000,
        0x0300_0100, // ds_add_rtn_u32 v3, v0, v1
    ]);
    assert_eq!((bench.v(2)[0], bench.v(2)[1]), (77, 0));
    assert_eq!((bench.v(3)[0], bench.v(3)[1]), (77, 0));
}

#[test]
fn lanes_exchange_values_without_memory() {
    let mut bench = Bench::new();
    bench.set_v(0, |lane| 4 * (63 - lane as u32));
    bench.set_v(1, |lane| 100 + lane as u32);
    bench.run(&[
        0xd87e_0000,
        0x0200_0100, // ds_bpermute_b32 v2, v0, v1
        0xd87c_0000,
        0x0300_0100, // ds_permute_b32 v3, v0, v1
        0xd87a_801b,
        0x0400_0001, // ds_swizzle_b32 v4, v1 offset:swizzle(QUAD_PERM,3,2,1,0)
        0xd87a_401f,
        0x0500_0001, // ds_swizzle_b32 v5, v1 offset:swizzle(SWAP,16)
    ]);
    for lane in 0..LANES as u32 {
        let row = [2, 3, 4, 5].map(|n| bench.v(n)[lane as usize] - 100);
        assert_eq!(row, [63 - lane, 63 - lane, lane ^ 3, lane ^ 16], "lane {lane}");
    }
}
