//! SMEM, GLOBAL, SCRATCH and DS.

use super::super::{CODE, DATA, Pause};
use super::{bench, mixed, wave32};
use crate::model::isa::WaveFault;
use crate::model::isa::private::PrivateMemory;
use crate::model::target::WaveSize;

#[test]
fn scalar_loads_add_base_register_and_signed_constant() {
    let mut bench = wave32();
    bench.data = (0..1024).collect();
    bench.set_s64(2, DATA.0 + 64);
    bench.set_s(6, 32);
    bench.run(&[
        0xf400_0201,
        0xf81f_fff0, // s_load_b32 s8, s[2:3], -0x10
        0xf404_0281,
        0x0c00_0008, // s_load_b64 s[10:11], s[2:3], s6 offset:0x8
        0xf400_0241,
        0x0c1f_fff8, // s_load_b32 s9, s[2:3], s6 offset:-0x8
        0xf408_0301,
        0xf800_0000, // s_load_b128 s[12:15], s[2:3], null
    ]);
    assert_eq!((bench.s(8), bench.s64(10), bench.s(9)), (12, 27 << 32 | 26, 22));
    assert_eq!([12, 13, 14, 15].map(|n| bench.s(n)), [16, 17, 18, 19]);
}

#[test]
fn a_full_wave_of_32_loads_and_stores_its_own_lanes_only() {
    for exec in [u32::MAX, 0x7fff_fffe] {
        let mut bench = wave32();
        bench.data = (0..1024).collect();
        bench.wave.set_exec(u64::from(exec));
        bench.set_s64(4, DATA.0);
        bench.set_v(0, |lane| 4 * lane as u32);
        bench.set_v(1, |lane| 16 * lane as u32);
        bench.set_v64(2, |lane| DATA.0 + 2048 + 8 * lane as u64);
        bench.set_v(8, |_| 5);
        bench.set_v(9, |_| 6);
        bench.run(&[
            0xdc52_0010,
            0x0404_0000, // global_load_b32 v4, v0, s[4:5] offset:16
            0xdc5e_0000,
            0x0c04_0001, // global_load_b128 v[12:15], v1, s[4:5]
            0xdc6e_0000,
            0x007c_0802, // global_store_b64 v[2:3], v[8:9], off
            0xdc6a_0400,
            0x0004_0800, // global_store_b32 v0, v8, s[4:5] offset:1024
        ]);
        for lane in 0..64 {
            let active = lane < 32 && exec >> lane & 1 == 1;
            let value = |number: u8| bench.v(number)[lane];
            let lane = lane as u32;
            if active {
                assert_eq!((value(4), value(12), value(15)), (lane + 4, 4 * lane, 4 * lane + 3), "lane {lane}");
            } else if lane < 32 {
                assert_eq!((value(4), value(12)), (0, 0), "lane {lane}");
            }
            let stored =
                (bench.data[512 + 2 * lane as usize], bench.data[513 + 2 * lane as usize], bench.data[256 + lane as usize]);
            let before = (512 + 2 * lane, 513 + 2 * lane, 256 + lane);
            assert_eq!(stored, if active { (5, 6, 5) } else { before }, "lane {lane} with EXEC {exec:#x}");
        }
    }
}

#[test]
fn an_lds_compare_and_store_takes_the_new_value_first() {
    let mut bench = wave32();
    bench.wave.set_exec(1);
    bench.set_v(0, |_| 8);
    bench.set_v(1, |_| 70);
    bench.set_v(2, |_| 7);
    bench.run(&[
        0xd834_0000,
        0x0000_0200, // ds_store_b32 v0, v2
        0xd8c0_0000,
        0x0302_0100, // ds_cmpstore_rtn_b32 v3, v0, v1, v2
        0xd8d8_0000,
        0x0400_0000, // ds_load_b32 v4, v0
        0xd8c0_0000,
        0x0502_0200, // ds_cmpstore_rtn_b32 v5, v0, v2, v2
        0xd8d8_0000,
        0x0600_0000, // ds_load_b32 v6, v0
    ]);
    assert_eq!([3, 4, 5, 6].map(|number| bench.v(number)[0]), [7, 70, 70, 70]);
}

#[test]
fn lanes_exchange_within_their_half_of_a_wave() {
    for size in [WaveSize::Lanes32, WaveSize::Lanes64] {
        let mut bench = bench(size);
        bench.set_v(0, |lane| 4 * (31 - lane as u32 % 32));
        bench.set_v(1, |lane| 100 + lane as u32);
        bench.run(&[
            0xdacc_0000,
            0x0200_0100, // ds_bpermute_b32 v2, v0, v1
            0xdac8_0000,
            0x0300_0100, // ds_permute_b32 v3, v0, v1
            0xd8d4_401f,
            0x0400_0001, // ds_swizzle_b32 v4, v1 offset:swizzle(SWAP,16)
        ]);
        for lane in 0..size.lanes() {
            let mirrored = 100 + (lane as u32 & !31) + (31 - lane as u32 % 32);
            assert_eq!((bench.v(2)[lane], bench.v(3)[lane], bench.v(4)[lane]), (mirrored, mirrored, 100 + (lane as u32 ^ 16)));
        }
    }
}

#[test]
fn private_memory_belongs_to_each_lane_of_a_wave_of_32() {
    let mut bench = wave32();
    bench.wave.set_private_memory(PrivateMemory { base: DATA, bytes_per_lane: 64, lanes: 32 });
    bench.set_s(32, 16);
    bench.set_v(0, mixed);
    bench.set_v(1, |lane| 4 * (lane as u32 % 4));
    bench.run(&[
        0xdc69_0004,
        0x0020_0000, // scratch_store_b32 off, v0, s32 offset:4
        0xdc61_0020,
        0x00fc_0001, // scratch_store_b8 v1, v0, off offset:32
        0xdc51_0014,
        0x027c_0000, // scratch_load_b32 v2, off, off offset:20
        0xdc41_0020,
        0x03fc_0001, // scratch_load_u8 v3, v1, off offset:32
    ]);
    for lane in 0..32 {
        assert_eq!((bench.v(2)[lane], bench.v(3)[lane]), (mixed(lane), mixed(lane) & 0xff), "lane {lane}");
        assert_eq!(bench.data[5 * 32 + lane], mixed(lane), "words of all lanes lie together");
    }
    let outside = bench.pause(
        &[
            0xdc51_0040,
            0x027c_0000, // scratch_load_b32 v2, off, off offset:64
        ],
        &mut 10,
    );
    assert!(matches!(outside, Pause::Failed(WaveFault::Memory { pc: CODE, .. })), "{outside:?}");
}
