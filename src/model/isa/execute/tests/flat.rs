//! FLAT.

use super::{Bench, DATA, DATA_WORDS, Path};
use crate::model::address::GpuVa;
use crate::model::bus::Admission;
use crate::model::isa::execute::Pause;
use crate::model::isa::{LANES, WaveFault};
use crate::model::memory::{Access, FaultReason};

impl Bench {
    /// `v[number:number+1]` = `DATA + offset(lane)`.
    fn point(&mut self, number: u8, offset: impl Fn(usize) -> u64) {
        self.set_v64(number, |lane| DATA.0 + offset(lane));
    }

    fn count_up(&mut self) {
        self.data.iter_mut().enumerate().for_each(|(n, word)| *word = 0x8000_0000 + n as u32);
    }
}

#[test]
fn rows_are_loaded_alike_contiguous_or_scattered_or_partly() {
    for stride in [1, 2, 4] {
        for (exec, scatter) in [(u64::MAX, 0), (u64::MAX, 1), (0xffff_0000_ffff_0001, 0)] {
            let mut bench = Bench::new();
            bench.count_up();
            // Scattered: neighbours change places.
            let word = |lane: usize| stride * (lane ^ scatter);
            bench.point(0, |lane| 4 * word(lane) as u64);
            bench.wave.set_exec(exec);
            let code: &[u32] = match stride {
                1 => &[
                    0xdc50_0000,
                    0x0400_0000, // flat_load_dword v4, v[0:1]
                ],
                2 => &[
                    0xdc54_0000,
                    0x0400_0000, // flat_load_dwordx2 v[4:5], v[0:1]
                ],
                _ => &[
                    0xdc5c_0000,
                    0x0400_0000, // flat_load_dwordx4 v[4:7], v[0:1]
                ],
            };
            bench.run(code);
            for lane in 0..LANES {
                for n in 0..stride {
                    let active = exec >> lane & 1 == 1;
                    let expected = if active { 0x8000_0000 + (word(lane) + n) as u32 } else { 0 };
                    assert_eq!(bench.v(4 + n as u8)[lane], expected, "stride {stride} exec {exec:#x} lane {lane}");
                }
            }
        }
    }
}

/// The lower halves of the addresses wrap around and nobody carried: later lanes are 4 GiB below where they would go on.
#[test]
fn lanes_whose_lower_halves_wrap_without_a_carry_are_no_row() {
    for exec in [u64::MAX, u64::MAX >> 1] {
        let mut bench = Bench::new();
        bench.set_v(0, |lane| 0xffff_ff80_u32.wrapping_add(4 * lane as u32));
        bench.set_v(1, |_| 2);
        bench.wave.set_exec(exec);
        let load = [0xdc50_0000, 0x0400_0000]; // flat_load_dword v4, v[0:1]
        let Pause::Failed(WaveFault::Memory { fault, .. }) = bench.pause(&load, &mut 10) else { panic!("nothing is there") };
        assert_eq!(fault.va, GpuVa(0x2_0000_0000), "the first lane behind the wrap");
    }
}

#[test]
fn rows_are_stored_alike_contiguous_or_scattered_or_partly() {
    for stride in [1, 2, 4] {
        for (exec, scatter) in [(u64::MAX, 0), (u64::MAX, 1), (0xffff_0000_ffff_0001, 0)] {
            let mut bench = Bench::new();
            let word = |lane: usize| stride * (lane ^ scatter);
            bench.point(0, |lane| 4 * word(lane) as u64);
            (0..4).for_each(|n| bench.set_v(4 + n, |lane| (lane as u32) << 8 | u32::from(n) | 0x10));
            bench.wave.set_exec(exec);
            let code: &[u32] = match stride {
                1 => &[
                    0xdc70_0000,
                    0x0000_0400, // flat_store_dword v[0:1], v4
                ],
                2 => &[
                    0xdc74_0000,
                    0x0000_0400, // flat_store_dwordx2 v[0:1], v[4:5]
                ],
                _ => &[
                    0xdc7c_0000,
                    0x0000_0400, // flat_store_dwordx4 v[0:1], v[4:7]
                ],
            };
            bench.run(code);
            let mut expected = vec![0; DATA_WORDS];
            for lane in (0..LANES).filter(|lane| exec >> lane & 1 == 1) {
                (0..stride).for_each(|n| expected[word(lane) + n] = (lane as u32) << 8 | n as u32 | 0x10);
            }
            assert!(bench.data == expected, "stride {stride} exec {exec:#x} scatter {scatter}");
        }
    }
}

#[test]
fn three_words_and_coherent_loads_go_lane_by_lane() {
    let mut bench = Bench::new();
    bench.count_up();
    bench.point(0, |lane| 12 * lane as u64);
    bench.run(&[
        0xdc58_0000,
        0x0400_0000, // flat_load_dwordx3 v[4:6], v[0:1]
        0xdc51_0000,
        0x0800_0000, // flat_load_dword v8, v[0:1] glc
        0xdc55_0000,
        0x0000_0000, // flat_load_dwordx2 v[0:1], v[0:1] glc
    ]);
    for lane in 0..LANES {
        let word = |n| 0x8000_0000 + 3 * lane as u32 + n;
        assert_eq!([4, 5, 6, 8, 0, 1].map(|number| bench.v(number)[lane]), [word(0), word(1), word(2), word(0), word(0), word(1)]);
    }
}

#[test]
fn narrow_elements_are_extended_and_stored_alone() {
    let mut bench = Bench::new();
    bench.data.fill(0x8182_f3f4);
    bench.point(0, |lane| 8 * lane as u64 + 1);
    bench.point(2, |lane| 8 * lane as u64 + 2);
    bench.set_v(4, |lane| 0xffff_ff00 | lane as u32);
    bench.run(&[
        0xdc40_0000,
        0x0800_0000, // flat_load_ubyte v8, v[0:1]
        0xdc44_0000,
        0x0900_0000, // flat_load_sbyte v9, v[0:1]
        0xdc48_0000,
        0x0a00_0002, // flat_load_ushort v10, v[2:3]
        0xdc4c_0000,
        0x0b00_0002, // flat_load_sshort v11, v[2:3]
        0xdc60_0000,
        0x0000_0400, // flat_store_byte v[0:1], v4
        0xdc68_0000,
        0x0000_0402, // flat_store_short v[2:3], v4
    ]);
    assert_eq!([8, 9, 10, 11].map(|number| bench.v(number)[5]), [0xf3, 0xffff_fff3, 0x8182, 0xffff_8182]);
    assert_eq!(bench.data[10], 0xff05_05f4);
    assert_eq!(bench.data[11], 0x8182_f3f4);
}

#[test]
fn a_fault_names_the_first_lane_outside() {
    let end = 4 * DATA_WORDS as u64;
    let cases: [(&[u32], Access); 3] = [
        (
            &[
                0xbf80_0000, // s_nop 0
                0xdc50_0000,
                0x0400_0000, // flat_load_dword v4, v[0:1]
            ],
            Access::Read,
        ),
        (
            &[
                0xbf80_0000, // s_nop 0
                0xdc70_0000,
                0x0000_0400, // flat_store_dword v[0:1], v4
            ],
            Access::Write,
        ),
        (
            &[
                0xbf80_0000, // s_nop 0
                0xdd08_0000,
                0x0000_0400, // flat_atomic_add v[0:1], v4
            ],
            Access::Atomic,
        ),
    ];
    for (code, access) in cases {
        let mut bench = Bench::new();
        // Contiguous, but lanes 60 and up lie behind the mapping.
        bench.point(0, |lane| end - 240 + 4 * lane as u64);
        let pause = bench.pause(code, &mut 10);
        let Pause::Failed(WaveFault::Memory { pc, fault }) = pause else { panic!("{pause:?}") };
        assert_eq!(pc, super::CODE + 4);
        assert_eq!((fault.va, fault.access, fault.reason), (DATA + end, access, FaultReason::Unmapped));
    }
}

#[test]
fn inactive_lanes_touch_nothing() {
    let mut bench = Bench::new();
    bench.wave.set_exec(0);
    bench.set_v64(0, |_| 0xdead_0000_0000);
    bench.run(&[
        0xdc50_0000,
        0x0400_0000, // flat_load_dword v4, v[0:1]
        0xdc70_0000,
        0x0000_0400, // flat_store_dword v[0:1], v4
        0xdd89_0000,
        0x0200_0400, // flat_atomic_add_x2 v[2:3], v[0:1], v[4:5] glc
    ]);
}

#[test]
fn lanes_that_add_to_one_cell_each_see_another_value() {
    let mut bench = Bench::new();
    bench.point(0, |_| 64);
    bench.set_v(2, |_| 3);
    bench.run(&[
        0xdd09_0000,
        0x0400_0200, // flat_atomic_add v4, v[0:1], v2 glc
        0xdd0c_0000,
        0x0000_0200, // flat_atomic_sub v[0:1], v2
    ]);
    assert_eq!(bench.data[16], 0);
    let mut seen = bench.v(4);
    seen.sort_unstable();
    assert_eq!(seen, std::array::from_fn::<u32, LANES, _>(|n| 3 * n as u32));
}

#[test]
fn every_32_bit_atomic_writes_what_the_manual_says() {
    let cases: [(&[u32], u32, u32); 13] = [
        (
            &[
                0xdd01_0000,
                0x0400_0200, // flat_atomic_swap v4, v[0:1], v2 glc
            ],
            9,
            5,
        ),
        (
            &[
                0xdd05_0000,
                0x0400_0200, // flat_atomic_cmpswap v4, v[0:1], v[2:3] glc
            ],
            9,
            5,
        ),
        (
            &[
                0xdd09_0000,
                0x0400_0200, // flat_atomic_add v4, v[0:1], v2 glc
            ],
            9,
            14,
        ),
        (
            &[
                0xdd0d_0000,
                0x0400_0200, // flat_atomic_sub v4, v[0:1], v2 glc
            ],
            9,
            4,
        ),
        (
            &[
                0xdd11_0000,
                0x0400_0200, // flat_atomic_smin v4, v[0:1], v2 glc
            ],
            -9_i32 as u32,
            -9_i32 as u32,
        ),
        (
            &[
                0xdd15_0000,
                0x0400_0200, // flat_atomic_umin v4, v[0:1], v2 glc
            ],
            -9_i32 as u32,
            5,
        ),
        (
            &[
                0xdd19_0000,
                0x0400_0200, // flat_atomic_smax v4, v[0:1], v2 glc
            ],
            -9_i32 as u32,
            5,
        ),
        (
            &[
                0xdd1d_0000,
                0x0400_0200, // flat_atomic_umax v4, v[0:1], v2 glc
            ],
            -9_i32 as u32,
            -9_i32 as u32,
        ),
        (
            &[
                0xdd21_0000,
                0x0400_0200, // flat_atomic_and v4, v[0:1], v2 glc
            ],
            12,
            4,
        ),
        (
            &[
                0xdd25_0000,
                0x0400_0200, // flat_atomic_or v4, v[0:1], v2 glc
            ],
            12,
            13,
        ),
        (
            &[
                0xdd29_0000,
                0x0400_0200, // flat_atomic_xor v4, v[0:1], v2 glc
            ],
            12,
            9,
        ),
        (
            &[
                0xdd2d_0000,
                0x0400_0200, // flat_atomic_inc v4, v[0:1], v2 glc
            ],
            5,
            0,
        ),
        (
            &[
                0xdd31_0000,
                0x0400_0200, // flat_atomic_dec v4, v[0:1], v2 glc
            ],
            6,
            5,
        ),
    ];
    for (code, before, after) in cases {
        let mut bench = Bench::new();
        bench.wave.set_exec(1);
        bench.point(0, |_| 4);
        bench.set_v(2, |_| 5);
        bench.set_v(3, |_| 9); // what compare-and-swap compares with
        bench.data[1] = before;
        bench.run(code);
        assert_eq!((bench.data[1], bench.v(4)[0]), (after, before), "{code:08x?}");
    }
}

#[test]
fn every_64_bit_atomic_writes_what_the_manual_says() {
    let (five, nine, minus) = (0x5_0000_0000_u64, 0x9_0000_0000_u64, -9_i64 as u64);
    let cases: [(&[u32], u64, u64); 13] = [
        (
            &[
                0xdd81_0000,
                0x0600_0200, // flat_atomic_swap_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            five,
        ),
        (
            &[
                0xdd85_0000,
                0x0600_0200, // flat_atomic_cmpswap_x2 v[6:7], v[0:1], v[2:5] glc
            ],
            nine,
            five,
        ),
        (
            &[
                0xdd89_0000,
                0x0600_0200, // flat_atomic_add_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            five + nine,
        ),
        (
            &[
                0xdd8d_0000,
                0x0600_0200, // flat_atomic_sub_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            nine - five,
        ),
        (
            &[
                0xdd91_0000,
                0x0600_0200, // flat_atomic_smin_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            minus,
            minus,
        ),
        (
            &[
                0xdd95_0000,
                0x0600_0200, // flat_atomic_umin_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            minus,
            five,
        ),
        (
            &[
                0xdd99_0000,
                0x0600_0200, // flat_atomic_smax_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            minus,
            five,
        ),
        (
            &[
                0xdd9d_0000,
                0x0600_0200, // flat_atomic_umax_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            minus,
            minus,
        ),
        (
            &[
                0xdda1_0000,
                0x0600_0200, // flat_atomic_and_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            nine & five,
        ),
        (
            &[
                0xdda5_0000,
                0x0600_0200, // flat_atomic_or_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            nine | five,
        ),
        (
            &[
                0xdda9_0000,
                0x0600_0200, // flat_atomic_xor_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            nine,
            nine ^ five,
        ),
        (
            &[
                0xddad_0000,
                0x0600_0200, // flat_atomic_inc_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            7,
            8,
        ),
        (
            &[
                0xddb1_0000,
                0x0600_0200, // flat_atomic_dec_x2 v[6:7], v[0:1], v[2:3] glc
            ],
            0,
            five,
        ),
    ];
    for (code, before, after) in cases {
        let mut bench = Bench::new();
        bench.wave.set_exec(1);
        bench.point(0, |_| 8);
        bench.set_v64(2, |_| five);
        bench.set_v64(4, |_| nine);
        (bench.data[2], bench.data[3]) = (before as u32, (before >> 32) as u32);
        bench.run(code);
        let now = u64::from(bench.data[2]) | u64::from(bench.data[3]) << 32;
        assert_eq!((now, bench.v64(6, 0)), (after, before), "{code:08x?}");
    }
}

#[test]
fn a_dropped_atomic_changes_nothing_and_returns_all_ones() {
    let mut bench = Bench::new();
    bench.path = Path(Admission::Dropped);
    bench.point(0, |_| 0);
    bench.set_v64(2, |_| 1);
    bench.run(&[
        0xdd09_0000,
        0x0400_0200, // flat_atomic_add v4, v[0:1], v2 glc
        0xdd89_0000,
        0x0600_0200, // flat_atomic_add_x2 v[6:7], v[0:1], v[2:3] glc
        0xdc70_0000,
        0x0000_0200, // flat_store_dword v[0:1], v2
    ]);
    assert_eq!((bench.data[0], bench.data[1]), (1, 0), "a plain store arrives all the same");
    assert_eq!((bench.v(4)[9], bench.v64(6, 9)), (u32::MAX, u64::MAX));
}

#[test]
fn a_misaligned_atomic_is_a_memory_fault() {
    let mut bench = Bench::new();
    bench.point(0, |_| 2);
    let pause = bench.pause(
        &[
            0xdd08_0000,
            0x0000_0200, // flat_atomic_add v[0:1], v2
        ],
        &mut 10,
    );
    let Pause::Failed(WaveFault::Memory { fault, .. }) = pause else { panic!("{pause:?}") };
    assert_eq!((fault.va, fault.reason), (GpuVa(DATA.0 + 2), FaultReason::Misaligned));
}
