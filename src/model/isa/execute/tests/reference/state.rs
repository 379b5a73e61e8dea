//! What the reference sees of a wave, and what it says becomes of it.

use crate::model::isa::LANES;
use crate::model::isa::operand::{AccumulatorRegister, ScalarRegister, ScalarSource, VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;
use crate::model::target::WaveSize;

/// Registers of a wave.
#[derive(Clone)]
pub(super) struct State {
    scalar: Vec<u32>,
    vector: Vec<[u32; LANES]>,
    accumulators: Vec<[u32; LANES]>,
    pub scc: bool,
    pub lanes: usize,
}

/// What a lane of a register becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// Exactly this.
    Exact(u32),
    /// Some NaN: which one the guides leave to the hardware.
    NotANumber,
    /// Zero of either sign.
    Zero,
    /// A float at most one unit in the last place from this one.
    Near(u32),
}

/// What a lane of a pair of registers becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wide {
    Exact(u64),
    NotANumber,
    Zero,
}

/// What SCC becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flag {
    Exact(bool),
    /// The guides and measurements contradict each other.
    Either,
}

/// Everything that an instruction changes.
#[derive(Default)]
pub(super) struct Effects {
    pub vector: Vec<(VectorRegister, usize, Value)>,
    pub wide: Vec<(VectorRegister, usize, Wide)>,
    pub accumulator: Vec<(AccumulatorRegister, usize, u32)>,
    pub scalar: Vec<(ScalarRegister, u32)>,
    pub scc: Option<Flag>,
}

impl Effects {
    pub(super) fn pair(&mut self, register: ScalarRegister, value: u64) {
        self.scalar.push((register, (value % (1 << 32)) as u32));
        self.scalar.push((register.plus(1), (value / (1 << 32)) as u32));
    }

    /// A bit per lane: one register in a wave of 32.
    pub(super) fn mask(&mut self, state: &State, register: ScalarRegister, mask: u64) {
        if state.lanes == 32 {
            self.scalar.push((register, mask as u32));
        } else {
            self.pair(register, mask);
        }
    }
}

impl State {
    pub(super) fn of(wave: &Wave) -> Self {
        let scalar = (0..ScalarRegister::NAMED as u32).map(|n| ScalarRegister::new(n).map_or(0, |register| wave.scalar(register)));
        Self {
            scalar: scalar.collect(),
            vector: (0..=255).map(|row| wave.vector(VectorRegister(row)).0).collect(),
            accumulators: (0..=255).map(|row| wave.accumulator(AccumulatorRegister(row)).0).collect(),
            scc: wave.scc,
            lanes: match wave.size() {
                WaveSize::Lanes32 => 32,
                WaveSize::Lanes64 => 64,
            },
        }
    }

    /// A register; the null register of generation 11 is none that has a name, and reads as zero.
    pub(super) fn register(&self, register: ScalarRegister) -> u32 {
        self.scalar.get(register.index()).copied().unwrap_or(0)
    }

    pub(super) fn pair(&self, register: ScalarRegister) -> u64 {
        u64::from(self.register(register)) + (u64::from(self.register(register.plus(1))) << 32)
    }

    /// A bit per lane.
    pub(super) fn mask(&self, register: ScalarRegister) -> u64 {
        if self.lanes == 32 { u64::from(self.register(register)) } else { self.pair(register) }
    }

    pub(super) fn exec(&self) -> u64 {
        self.mask(ScalarRegister::EXEC)
    }

    /// The active lanes.
    pub(super) fn active(&self) -> impl Iterator<Item = usize> + use<> {
        let exec = self.exec();
        (0..self.lanes).filter(move |lane| exec >> lane & 1 == 1)
    }

    pub(super) fn scalar64(&self, source: ScalarSource) -> u64 {
        match source {
            ScalarSource::Register(register) => self.pair(register),
            ScalarSource::Constant(value) => value,
            ScalarSource::VccIsZero => u64::from(self.mask(ScalarRegister::VCC) == 0),
            ScalarSource::ExecIsZero => u64::from(self.exec() == 0),
            ScalarSource::Scc => u64::from(self.scc),
        }
    }

    pub(super) fn scalar32(&self, source: ScalarSource) -> u32 {
        self.scalar64(source) as u32
    }

    pub(super) fn row(&self, register: VectorRegister, lane: usize) -> u32 {
        self.vector[usize::from(register.0)][lane]
    }

    pub(super) fn accumulator(&self, register: AccumulatorRegister, lane: usize) -> u32 {
        self.accumulators[usize::from(register.0)][lane]
    }

    pub(super) fn lane(&self, source: VectorSource, lane: usize) -> u32 {
        match source {
            VectorSource::Vector(register) => self.row(register, lane),
            VectorSource::Scalar(source) => self.scalar32(source),
        }
    }

    pub(super) fn lane64(&self, source: VectorSource, lane: usize) -> u64 {
        match source {
            VectorSource::Vector(register) => {
                u64::from(self.row(register, lane)) + (u64::from(self.row(register.plus(1), lane)) << 32)
            }
            VectorSource::Scalar(source) => self.scalar64(source),
        }
    }

    /// What is to be expected afterwards.
    pub(super) fn with<'a>(&'a self, effects: &'a Effects) -> Expectation<'a> {
        Expectation { before: self, effects }
    }
}

/// A state and what an instruction changes of it.
pub(super) struct Expectation<'a> {
    before: &'a State,
    effects: &'a Effects,
}

impl Expectation<'_> {
    /// Compares everything: what is to change, and that nothing else did.
    pub(super) fn differs_from(&self, found: &State) -> Result<(), String> {
        let mut expected = self.before.clone();
        for &(register, lane, value) in &self.effects.vector {
            let (seen, before) = (found.row(register, lane), self.before.row(register, lane));
            if !value.admits(seen) {
                return Err(format!("v{} lane {lane} was {before:#x} and became {seen:#x}, not {value:x?}", register.0));
            }
            expected.vector[usize::from(register.0)][lane] = seen;
        }
        for &(register, lane, value) in &self.effects.wide {
            let seen = found.lane64(VectorSource::Vector(register), lane);
            if !value.admits(seen) {
                return Err(format!("v[{}:+1] lane {lane} became {seen:#x}, not {value:x?}", register.0));
            }
            for register in [register, register.plus(1)] {
                expected.vector[usize::from(register.0)][lane] = found.row(register, lane);
            }
        }
        for &(register, lane, value) in &self.effects.accumulator {
            expected.accumulators[usize::from(register.0)][lane] = value;
        }
        for &(register, value) in &self.effects.scalar {
            if let Some(word) = expected.scalar.get_mut(register.index()) {
                *word = value;
            }
        }
        match self.effects.scc {
            Some(Flag::Exact(flag)) => expected.scc = flag,
            Some(Flag::Either) => expected.scc = found.scc,
            None => {}
        }
        expected.equals(found)
    }
}

impl State {
    fn equals(&self, found: &Self) -> Result<(), String> {
        for (number, (expected, found)) in self.scalar.iter().zip(&found.scalar).enumerate() {
            if expected != found {
                return Err(format!("s{number} became {found:#x}, not {expected:#x}"));
            }
        }
        if self.scc != found.scc {
            return Err(format!("SCC became {}", found.scc));
        }
        for (file, expected, found) in [("v", &self.vector, &found.vector), ("a", &self.accumulators, &found.accumulators)] {
            for (number, (expected, found)) in expected.iter().zip(found).enumerate() {
                // Lanes that the wave does not have hold anything.
                if let Some(lane) = (0..self.lanes).find(|lane| expected[*lane] != found[*lane]) {
                    return Err(format!("{file}{number} lane {lane} became {:#x}, not {:#x}", found[lane], expected[lane]));
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn admits(self, seen: u32) -> bool {
        match self {
            Self::Exact(value) => seen == value,
            Self::NotANumber => f32::from_bits(seen).is_nan(),
            Self::Zero => seen << 1 == 0,
            Self::Near(value) => seen.abs_diff(value) <= 1,
        }
    }
}

impl Wide {
    fn admits(self, seen: u64) -> bool {
        match self {
            Self::Exact(value) => seen == value,
            Self::NotANumber => f64::from_bits(seen).is_nan(),
            Self::Zero => seen << 1 == 0,
        }
    }
}
