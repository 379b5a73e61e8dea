//! Every operation of the scalar and vector units against a plain reference, on random operands and masks of active lanes.
//!
//! The reference ([`effects::of`]) is written from the pseudo code of AMD's instruction set guides, one lane at a time: integers
//! by arithmetic on `i64` and `u64`, bits one by one, floats by LLVM's software floating point. It shares the decoded form of an
//! instruction with the interpreter, and nothing else. Its matches have no default arm, so an operation without a reference does
//! not compile; the walk takes every opcode number of every encoding and target, so none is left out.

mod doubles;
mod effects;
mod floats;
mod integers;
mod random;
mod scalars;
mod state;
mod words;

use std::collections::BTreeSet;
use std::ptr::NonNull;

use proptest::prelude::*;

use self::random::Random;
use self::state::State;
use self::words::Encoding;
use super::{CODE, Path, s_endpgm};
use crate::model::bus::{Admission, Bus};
use crate::model::isa::code::CodeCache;
use crate::model::isa::decode::decode;
use crate::model::isa::execute::{Pause, run};
use crate::model::isa::instruction::Instruction;
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::{ScalarRegister, VectorRegister};
use crate::model::isa::wave::Wave;
use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use crate::model::target::{Target, WaveSize};

/// Vector registers that operands name.
const ROWS: u8 = 16;

/// One instruction of a walk.
struct Sample {
    words: Vec<u32>,
    instruction: Instruction,
}

/// An instruction with this opcode and random operands that the reference knows, or why there is none.
enum Choice {
    Sample(Sample),
    /// It moves data, jumps or waits: other tests are about it.
    NotArithmetic,
    /// No such opcode.
    Unknown,
}

/// Operands that suit an opcode are found by trying: most have few that are illegal.
const ATTEMPTS: usize = 5000;

fn choose(target: Target, encoding: Encoding, opcode: u32, state: &State, random: &mut Random) -> Choice {
    if !words::exists(target, encoding, opcode) {
        return Choice::Unknown;
    }
    for _ in 0..ATTEMPTS {
        let words = words::assemble(target, encoding, opcode, random);
        let Some(decoded) = decode(target, &words) else { continue };
        if effects::of(&decoded.instruction, state).is_some() {
            return Choice::Sample(Sample {
                words: words[..usize::from(decoded.words)].to_vec(),
                instruction: decoded.instruction,
            });
        }
        if effects::is_elsewhere(&decoded.instruction) {
            return Choice::NotArithmetic;
        }
    }
    panic!("{target}: no operands for {encoding:?} {opcode}: {:?}", words::assemble(target, encoding, opcode, random));
}

/// One of every operation that a target has.
fn samples(target: Target, state: &State, random: &mut Random) -> Vec<Sample> {
    let mut samples = Vec::new();
    for encoding in Encoding::ALL {
        for opcode in 0..encoding.opcodes() {
            if let Choice::Sample(sample) = choose(target, encoding, opcode, state, random) {
                samples.push(sample);
            }
        }
    }
    samples
}

fn a_mask(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => u64::MAX,
        1 => 0,
        2 => 1 << random.below(64),
        3 => u64::from(u32::MAX) << random.below(33),
        _ => random.next(),
    }
}

/// Executes one of every operation, each between random registers, and holds what became of the wave against the reference.
fn walk(target: Target, size: WaveSize, seed: u64) {
    let mut random = Random(seed);
    let mut wave = Wave::new();
    wave.reset(size, CODE, u64::MAX, 0);
    (0..ROWS).for_each(|row| wave.vector_mut(VectorRegister(row)).0 = std::array::from_fn(|_| random.value()));
    let samples = samples(target, &State::of(&wave), &mut random);
    let mut code: Vec<u32> = Vec::new();
    let mut places = Vec::new();
    for sample in &samples {
        places.push(4 * code.len() as u64);
        code.extend(&sample.words);
        code.push(s_endpgm(target));
    }
    let memory = MemoryMap::new();
    let host = HostPtr::new(NonNull::new(code.as_mut_ptr().cast()).unwrap());
    let mapping = Mapping { va: CODE, length: 4 * code.len() as u64, host, home: Home::Host, protection: Protection::ReadExecute };
    // SAFETY: the code lives, unmoved, until the end of this function, and so does the map.
    unsafe { memory.map(mapping) }.unwrap();
    let path = Path(Admission::Performed);
    let bus = Bus::new(memory.view(), &path);
    let mut cache = CodeCache::new(target);
    cache.revalidate(&bus.memory);
    let mut lds = Lds::default();

    for (sample, place) in samples.iter().zip(places) {
        for _ in 0..4 {
            let row = VectorRegister(random.below(u64::from(ROWS)) as u8);
            wave.vector_mut(row).0 = std::array::from_fn(|_| random.value());
        }
        for number in (0..32).chain([106, 107]) {
            wave.set_scalar(ScalarRegister::new(number).unwrap(), random.value());
        }
        wave.set_exec(a_mask(&mut random));
        wave.scc = random.below(2) == 1;
        wave.pc = CODE + place;
        let before = State::of(&wave);
        let pause = run(&mut wave, &mut lds, &mut cache, &bus, &mut 1);
        assert_eq!(pause, Pause::Preempted, "{target} {:x?} {:?}", sample.words, sample.instruction);
        let expected = effects::of(&sample.instruction, &before).expect("chosen because it has a reference");
        if let Err(difference) = before.with(&expected).differs_from(&State::of(&wave)) {
            panic!("{target} {size:?} {:x?} {:?}\nEXEC {:#x}: {difference}", sample.words, sample.instruction, before.exec());
        }
    }
}

/// Every walk executes each of some four hundred operations, so a few find much; PROPTEST_CASES asks for more. A failing one names its
/// seed.
fn walks() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(12), max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(walks())]

    #[test]
    fn every_operation_of_gfx803_does_what_its_pseudo_code_says(seed: u64) {
        walk(Target::Gfx803, WaveSize::Lanes64, seed);
    }

    #[test]
    fn every_operation_of_gfx942_does_what_its_pseudo_code_says(seed: u64) {
        walk(Target::Gfx942, WaveSize::Lanes64, seed);
    }

    #[test]
    fn every_operation_of_gfx1100_does_what_its_pseudo_code_says_in_waves_of_32(seed: u64) {
        walk(Target::Gfx1100, WaveSize::Lanes32, seed);
    }

    #[test]
    fn every_operation_of_gfx1100_does_what_its_pseudo_code_says_in_waves_of_64(seed: u64) {
        walk(Target::Gfx1100, WaveSize::Lanes64, seed);
    }
}

/// The names of the instruction forms that a walk executes: what is before the first brace of their debug form.
fn forms(target: Target) -> BTreeSet<String> {
    let state = State::of(&Wave::new());
    let name = |sample: &Sample| format!("{:?}", sample.instruction).split([' ', '{']).next().unwrap_or_default().to_owned();
    samples(target, &state, &mut Random(1)).iter().map(name).collect()
}

#[test]
fn a_walk_reaches_every_form_of_arithmetic_that_a_target_has() {
    let common =
        ["Carry", "FloatBinary", "FloatTernary", "FloatUnary", "MaskedCount", "MultiplyAdd64", "ReadFirstLane", "ReadLane"]
            .into_iter()
            .chain(["SaveExec", "ScalarBinary", "ScalarCompare", "ScalarImmediate", "ScalarUnary", "Shift64", "VectorBinary"])
            .chain(["VectorCompare", "VectorTernary", "VectorUnary", "WriteLane"]);
    for (target, own) in [
        (Target::Gfx803, &["Select"][..]),
        (Target::Gfx942, &["AccumulatorMove", "AccumulatorRead", "AccumulatorWrite", "Double", "LowHalfTernary", "Move64"]),
        (Target::Gfx942, &["Packed", "ShiftLeftAdd64", "SwapRegisters", "WriteExec"]),
        (Target::Gfx1100, &["Dual", "LowHalfBinary", "LowHalfTernary", "WriteExec"]),
    ] {
        let reached = forms(target);
        let missing: Vec<_> = common.clone().chain(own.iter().copied()).filter(|form| !reached.contains(*form)).collect();
        assert!(missing.is_empty(), "{target} never executes {missing:?}");
    }
}
