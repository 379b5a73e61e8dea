//! What must hold for any code.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Bench, Pause};
use crate::model::isa::LANES;
use crate::model::isa::operand::VectorRegister;

/// Vector instructions that write v4 to v7 only: opcode words with room for sources.
fn arithmetic() -> impl Strategy<Value = Vec<u32>> {
    let source = prop_oneof![256..264_u32, 128..209_u32, 0..20_u32, 240..249_u32];
    let register = 0..8_u32;
    let destination = 4..7_u32;
    let vop2 = (
        prop_oneof![Just(0_u32), 1..22_u32, 25..31_u32, 38..45_u32, 47..51_u32],
        destination.clone(),
        source.clone(),
        register.clone(),
    )
        .prop_map(|(op, to, a, b)| vec![op << 25 | to << 17 | b << 9 | a]);
    let vop1 =
        (prop_oneof![Just(1_u32), 5..9_u32, 12..14_u32, 17..21_u32, 27..32_u32, 43..48_u32], destination.clone(), source.clone())
            .prop_map(|(op, to, a)| vec![0x7e00_0000 | to << 17 | op << 9 | a]);
    let vopc = (0xa0..=0xff_u32, source.clone(), register)
        // Without the forms that write EXEC.
        .prop_map(|(op, a, b)| vec![0x7c00_0000 | (op & !0x10) << 17 | b << 9 | a]);
    let vop3 = (
        prop_oneof![450..452_u32, 456..459_u32, 462..464_u32, 645..648_u32, 651..654_u32, 655..658_u32, 491..494_u32],
        destination,
        [source.clone(), source.clone(), source],
    )
        .prop_map(|(op, to, [a, b, c])| vec![0xd000_0000 | op << 16 | to, a | b << 9 | c << 18]);
    prop_oneof![vop2, vop1, vopc, vop3]
}

proptest! {
    #[test]
    fn any_words_end_in_some_pause_within_the_budget(words in vec(any::<u32>(), 1..64), given in 0..500_u32) {
        let mut bench = Bench::new();
        let mut budget = given;
        let pause = bench.pause(&words, &mut budget);
        prop_assert!(budget <= given);
        if pause == Pause::Preempted {
            prop_assert_eq!(budget, 0);
        }
    }

    #[test]
    fn words_of_any_one_encoding_end_in_some_pause(
        encoding in prop::sample::select(vec![0x8000_0000_u32, 0xb000_0000, 0xbe80_0000, 0xbf00_0000, 0xbf80_0000, 0xc000_0000,
            0, 0x7c00_0000, 0x7e00_0000, 0xd000_0000, 0xd100_0000, 0xd200_0000, 0xd800_0000, 0xdc00_0000]),
        words in vec((0..0x0400_0000_u32, any::<u32>()), 1..32),
    ) {
        let mut bench = Bench::new();
        let code: Vec<u32> = words.into_iter().flat_map(|(first, second)| [encoding | first, second]).collect();
        let mut budget = 200;
        bench.pause(&code, &mut budget);
    }

    #[test]
    fn inactive_lanes_keep_their_values_whatever_is_computed(
        program in vec(arithmetic(), 1..20),
        exec: u64,
        seed: u32,
    ) {
        let mut bench = Bench::new();
        let value = |number: u32, lane: usize| seed.wrapping_add(lane as u32).wrapping_mul(0x9e37_79b9 + 2 * number);
        for number in 0..8 {
            bench.set_v(number, |lane| value(u32::from(number), lane));
        }
        bench.wave.set_exec(exec);
        bench.run(&program.concat());
        for number in 0..=255_u8 {
            let row = bench.wave.vector(VectorRegister(number)).0;
            for lane in (0..LANES).filter(|lane| exec >> lane & 1 == 0) {
                let before = if number < 8 { value(u32::from(number), lane) } else { 0 };
                prop_assert_eq!(row[lane], before, "v{} lane {}", number, lane);
            }
        }
    }
}
