//! SCRATCH, and FLAT through its apertures.

use super::{Bench, DATA, Pause, SCRATCH, s_endpgm};
use crate::model::isa::private::PrivateMemory;
use crate::model::isa::{LANES, WaveFault};
use crate::model::memory::{Access, MemoryFault};
use crate::model::target::Target;

const LOCAL: u64 = 0x4000_0000_0000_0000;
const PRIVATE: u64 = 0x5000_0000_0000_0000;

fn bench() -> Bench {
    let mut bench = Bench::of(Target::Gfx942);
    bench.wave.set_private_memory(PrivateMemory { base: SCRATCH, bytes_per_lane: 64, lanes: LANES as u32 });
    bench
}

impl Bench {
    fn fault(&mut self, code: &[u32]) -> MemoryFault {
        let pause = self.pause(&[code, &[s_endpgm(self.target)]].concat(), &mut 100);
        let Pause::Failed(WaveFault::Memory { fault, .. }) = pause else { panic!("{pause:?}") };
        fault
    }
}

fn value(lane: usize) -> u32 {
    0x8182_8384_u32.wrapping_add(lane as u32 * 0x0101_0101)
}

#[test]
fn flat_scratch_says_where_private_memory_starts() {
    let mut bench = bench();
    bench.run(&[
        0xbe80_0066, // s_mov_b32 s0, flat_scratch_lo
    ]);
    assert_eq!(u64::from(bench.s(0)), SCRATCH.0 & 0xffff_ffff);
}

#[test]
fn each_lane_has_its_own_words_interleaved_with_those_of_the_others() {
    for exec in [u64::MAX, 0xf000_0000_0000_0001] {
        let mut bench = bench();
        bench.set_v(0, value);
        bench.set_v(1, |lane| lane as u32);
        bench.wave.set_exec(exec);
        bench.run(&[
            0xdc74_4008,
            0x007f_0000, // scratch_store_dwordx2 off, v[0:1], off offset:8
            0xdc54_4008,
            0x047f_0000, // scratch_load_dwordx2 v[4:5], off, off offset:8
        ]);
        for lane in 0..LANES {
            let expected = if exec >> lane & 1 == 1 { [value(lane), lane as u32] } else { [0, 0] };
            assert_eq!([2, 3].map(|word| bench.scratch[word * LANES + lane]), expected, "lane {lane}");
            assert_eq!([4, 5].map(|number| bench.v(number)[lane]), expected, "lane {lane}");
        }
    }
}

#[test]
fn offsets_of_lanes_wave_and_instruction_add_up() {
    let mut bench = bench();
    bench.set_v(0, value);
    // A word of its own in each lane.
    bench.set_v(2, |lane| 4 * (lane as u32 % 8));
    bench.set_s(0, 8);
    bench.run(&[
        0xdc70_6004,
        0x007f_0002, // scratch_store_dword v2, v0, off offset:4
        0xdc50_7ffc,
        0x0400_0002, // scratch_load_dword v4, v2, s0 offset:-4
    ]);
    for lane in 0..LANES {
        assert_eq!(bench.scratch[(lane % 8 + 1) * LANES + lane], value(lane), "lane {lane}");
        assert_eq!(bench.v(4)[lane], value(lane), "lane {lane}");
    }
}

#[test]
fn narrow_and_unaligned_accesses_stay_with_their_lane() {
    let mut bench = bench();
    bench.set_v(0, value);
    bench.set_v(8, |lane| value(lane) ^ 0xffff_ffff);
    bench.set_s(0, 4);
    bench.run(&[
        0xdc70_4000,
        0x007f_0000, // scratch_store_dword off, v0, off
        0xdc70_4004,
        0x007f_0800, // scratch_store_dword off, v8, off offset:4
        0xdc60_4001,
        0x0000_0000, // scratch_store_byte off, v0, s0 offset:1
        0xdc44_4001,
        0x0500_0000, // scratch_load_sbyte v5, off, s0 offset:1
        0xdc48_4003,
        0x067f_0000, // scratch_load_ushort v6, off, off offset:3
        0xdc50_4002,
        0x077f_0000, // scratch_load_dword v7, off, off offset:2
    ]);
    for lane in 0..LANES {
        let mut bytes = [value(lane).to_le_bytes(), (!value(lane)).to_le_bytes()].concat();
        bytes[5] = bytes[0];
        assert_eq!(bench.v(5)[lane], i32::from(bytes[5] as i8).cast_unsigned(), "lane {lane}");
        assert_eq!(bench.v(6)[lane], u32::from(bytes[3]) | u32::from(bytes[4]) << 8, "lane {lane}");
        assert_eq!(bench.v(7)[lane].to_le_bytes(), bytes[2..6], "lane {lane}");
    }
}

#[test]
fn what_lies_outside_the_work_items_bytes_is_a_memory_fault() {
    let fault = bench().fault(&[
        0xdc50_4040,
        0x047f_0000, // scratch_load_dword v4, off, off offset:64
    ]);
    assert_eq!((fault.va.0, fault.access), (PRIVATE + 64, Access::Read));
    let fault = bench().fault(&[
        0xdc70_5ffc,
        0x007f_0000, // scratch_store_dword off, v0, off offset:-4
    ]);
    assert_eq!((fault.va.0, fault.access), (PRIVATE + 0xffff_fffc, Access::Write));
    let without = Bench::of(Target::Gfx942).fault(&[
        0xdc50_4040,
        0x047f_0000, // scratch_load_dword v4, off, off offset:64
    ]);
    assert_eq!(without.access, Access::Read);
}

#[test]
fn flat_reaches_global_local_and_private_memory_lane_by_lane() {
    let mut bench = bench();
    bench.set_v64(0, |lane| match lane % 3 {
        0 => DATA.0 + 8 * lane as u64,
        // 256 bytes of LDS for the lanes 1, 4, 7 and so on.
        1 => LOCAL + 8 * (lane as u64 / 3),
        _ => PRIVATE + 16,
    });
    bench.set_v64(2, |lane| u64::from(value(lane)) << 32 | lane as u64);
    bench.run(&[
        0xdc74_0000,
        0x0000_0200, // flat_store_dwordx2 v[0:1], v[2:3]
        0xdc54_0000,
        0x0400_0000, // flat_load_dwordx2 v[4:5], v[0:1]
        0xdc68_0002,
        0x0000_0200, // flat_store_short v[0:1], v2 offset:2
        0xdc4c_0002,
        0x0600_0000, // flat_load_sshort v6, v[0:1] offset:2
    ]);
    for lane in 0..LANES {
        assert_eq!(bench.v64(4, lane), u64::from(value(lane)) << 32 | lane as u64, "lane {lane}");
        assert_eq!(bench.v(6)[lane], lane as u32, "lane {lane}");
        let low = lane as u32 | (lane as u32) << 16;
        match lane % 3 {
            0 => assert_eq!(bench.data[2 * lane..][..2], [low, value(lane)], "lane {lane}"),
            1 => assert_eq!(u32::from_le_bytes(bench.lds.read(8 * (lane as u32 / 3))), low, "lane {lane}"),
            _ => assert_eq!(bench.scratch[4 * LANES + lane], low, "lane {lane}"),
        }
    }
}

#[test]
fn flat_atomics_in_local_memory_take_the_new_value_first() {
    let mut bench = bench();
    bench.lds.write(0, 5_u32.to_le_bytes());
    bench.lds.write(8, 7_u64.to_le_bytes());
    bench.set_v64(0, |_| LOCAL);
    bench.set_v64(8, |_| LOCAL + 8);
    bench.set_v64(2, |_| 100 | 105 << 32);
    bench.wave.set_exec(1);
    bench.run(&[
        0xdd09_0000,
        0x0400_0200, // flat_atomic_add v4, v[0:1], v2 sc0
        0xdd05_0000,
        0x0500_0200, // flat_atomic_cmpswap v5, v[0:1], v[2:3] sc0
    ]);
    assert_eq!((bench.v(4)[0], bench.v(5)[0]), (5, 105));
    assert_eq!(u32::from_le_bytes(bench.lds.read(0)), 100, "105 was what it was compared with");
    bench.set_v64(2, |_| u64::MAX - 1);
    bench.set_v64(4, |_| 7);
    bench.set_v64(0, |_| LOCAL + 8);
    bench.run(&[
        0xdd85_0000,
        0x0600_0200, // flat_atomic_cmpswap_x2 v[6:7], v[0:1], v[2:5] sc0
    ]);
    assert_eq!((bench.v64(6, 0), u64::from_le_bytes(bench.lds.read(8))), (7, u64::MAX - 1));
}

#[test]
fn there_are_no_atomics_in_private_memory() {
    let mut bench = bench();
    bench.set_v64(0, |_| PRIVATE + 8);
    let fault = bench.fault(&[
        0xdd09_0000,
        0x0400_0200, // flat_atomic_add v4, v[0:1], v2 sc0
    ]);
    assert_eq!((fault.va.0, fault.access), (PRIVATE + 8, Access::Atomic));
}

#[test]
fn global_instructions_and_generation_8_know_no_apertures() {
    let mut bench = bench();
    bench.set_v64(0, |_| LOCAL);
    let fault = bench.fault(&[
        0xdc50_8000,
        0x047f_0000, // global_load_dword v4, v[0:1], off
    ]);
    assert_eq!(fault.va.0, LOCAL);
    let mut older = Bench::new();
    older.set_v64(0, |_| LOCAL);
    let fault = older.fault(&[
        0xdc50_0000,
        0x0400_0000, // flat_load_dword v4, v[0:1]
    ]);
    assert_eq!(fault.va.0, LOCAL);
}

#[test]
fn global_adds_scalar_base_lane_offset_and_signed_constant() {
    for stride in [4, 8] {
        let mut bench = bench();
        bench.data.iter_mut().enumerate().for_each(|(n, word)| *word = n as u32);
        bench.set_s64(0, DATA.0);
        bench.set_v(2, |lane| stride * lane as u32);
        bench.set_v(3, |lane| 0x1000 + lane as u32);
        bench.set_v64(0, |lane| DATA.0 + 8 + u64::from(stride) * lane as u64);
        bench.run(&[
            0xdc50_9ff8,
            0x047f_0000, // global_load_dword v4, v[0:1], off offset:-8
            0xdc70_8010,
            0x0000_0302, // global_store_dword v2, v3, s[0:1] offset:16
            0xdc50_8010,
            0x0500_0002, // global_load_dword v5, v2, s[0:1] offset:16
            0xdd09_8010,
            0x0600_0302, // global_atomic_add v6, v2, v3, s[0:1] offset:16 sc0
        ]);
        for lane in 0..LANES {
            let word = (stride as usize * lane) / 4;
            let stored = 0x1000 + lane as u32;
            assert_eq!([4, 5, 6].map(|number| bench.v(number)[lane]), [word as u32, stored, stored], "lane {lane}");
            assert_eq!(bench.data[word + 4], 2 * stored, "lane {lane}");
        }
    }
}
