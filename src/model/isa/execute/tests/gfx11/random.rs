//! What must hold for any code.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{DATA, Pause};
use super::{bench, wave32};
use crate::model::isa::LANES;
use crate::model::isa::private::PrivateMemory;
use crate::model::target::WaveSize;

/// Vector instructions that write v4 to v7 only: opcode words with room for sources.
fn arithmetic() -> impl Strategy<Value = Vec<u32>> {
    let source = prop_oneof![256..264_u32, 128..209_u32, 0..20_u32, 240..249_u32];
    let destination = 4..7_u32;
    let vop2 = (
        prop_oneof![Just(1_u32), 3..6_u32, 7..13_u32, 15..21_u32, 24..31_u32, 32..35_u32, 37..40_u32, Just(43)],
        destination.clone(),
        source.clone(),
        0..8_u32,
    )
        .prop_map(|(op, to, a, b)| vec![op << 25 | to << 17 | b << 9 | a]);
    let vop3 = (
        prop_oneof![
            522..524_u32,
            528..532_u32,
            534..536_u32,
            537..546_u32,
            576..578_u32,
            580..584_u32,
            597..603_u32,
            610..614_u32,
            771..774_u32,
            777..783_u32,
            797..801_u32,
            812..815_u32,
            824..827_u32,
            828..831_u32
        ],
        destination,
        [source.clone(), source.clone(), source.clone()],
    )
        .prop_map(|(op, to, [a, b, c])| vec![0xd400_0000 | op << 16 | to, a | b << 9 | c << 18]);
    // Both destinations are among v4 to v7.
    let dual = (
        prop_oneof![Just(0_u32), 3..12_u32],
        prop_oneof![Just(0_u32), 3..12_u32, 16..19_u32],
        [source.clone(), source],
        [0..8_u32, 0..8_u32],
        4..8_u32,
        2..4_u32,
    )
        .prop_map(|(x, y, [ax, ay], [bx, by], dx, dy)| {
            vec![0xc800_0000 | x << 22 | y << 17 | bx << 9 | ax, dx << 24 | dy << 17 | by << 9 | ay]
        });
    prop_oneof![vop2, vop3, dual]
}

proptest! {
    #[test]
    fn any_words_end_in_some_pause_within_the_budget(
        words in vec(any::<u32>(), 1..64),
        given in 0..500_u32,
        size in prop::sample::select(vec![WaveSize::Lanes32, WaveSize::Lanes64]),
    ) {
        let mut bench = bench(size);
        let mut budget = given;
        let pause = bench.pause(&words, &mut budget);
        prop_assert!(budget <= given);
        if pause == Pause::Preempted {
            prop_assert_eq!(budget, 0);
        }
    }

    #[test]
    fn words_of_any_one_encoding_end_in_some_pause(
        encoding in prop::sample::select(vec![0x8000_0000_u32, 0xb000_0000, 0xbe80_0000, 0xbf00_0000, 0xbf80_0000, 0xf400_0000,
            0, 0x7c00_0000, 0x7e00_0000, 0xd400_0000, 0xd500_0000, 0xd600_0000, 0xd700_0000, 0xd800_0000, 0xdc00_0000, 0xdc01_0000,
            0xdc02_0000, 0xc800_0000, 0xcc00_0000]),
        words in vec((0..0x0400_0000_u32, any::<u32>()), 1..32),
    ) {
        let mut bench = wave32();
        bench.wave.set_private_memory(PrivateMemory { base: DATA, bytes_per_lane: 16, lanes: 32 });
        let code: Vec<u32> = words.into_iter().flat_map(|(first, second)| [encoding | first, second]).collect();
        let mut budget = 200;
        bench.pause(&code, &mut budget);
    }

    #[test]
    fn inactive_lanes_keep_their_values_whatever_is_computed(program in vec(arithmetic(), 1..20), exec: u32, seed: u32) {
        let mut bench = wave32();
        let value = |number: u8, lane: usize| seed.wrapping_add(lane as u32).wrapping_mul(0x9e37_79b9 + 2 * u32::from(number));
        (0..8).for_each(|number| bench.set_v(number, |lane| value(number, lane)));
        bench.wave.set_exec(u64::from(exec));
        bench.run(&program.concat());
        for number in 0..9 {
            let row = bench.v(number);
            for lane in (0..LANES / 2).filter(|lane| exec >> lane & 1 == 0) {
                prop_assert_eq!(row[lane], if number < 8 { value(number, lane) } else { 0 }, "v{} lane {}", number, lane);
            }
        }
    }
}
