//! When a fault strikes: the same plan strikes at the same opportunities every time.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use super::fault::{Fault, Place};
use super::plan::{FaultPlan, PlannedFault};

/// What the random choices of a plan follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// One that nobody chose, short enough to be typed.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomState::new().build_hasher().finish() & 0xffff_ffff)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a counter through a mixing function, so every state is as good as every other.
const fn mix(state: u64) -> u64 {
    let mut word = state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One fault of a plan, and how often it could have struck.
#[derive(Debug)]
struct Trigger {
    planned: PlannedFault,
    opportunities: Cell<u64>,
    stream: u64,
}

impl Trigger {
    /// Counts an opportunity, and says whether the fault strikes.
    fn pull(&self) -> bool {
        let count = self.opportunities.get() + 1;
        self.opportunities.set(count);
        let Some(beyond) = count.checked_sub(self.planned.after).filter(|beyond| *beyond > 0) else { return false };
        if !beyond.is_multiple_of(self.planned.every.get()) {
            return false;
        }
        // 53 random bits: a uniform number in [0, 1).
        let number = (mix(self.stream.wrapping_add(count.wrapping_mul(GOLDEN))) >> 11) as f64 / (1_u64 << 53) as f64;
        number < self.planned.probability.value()
    }
}

/// The faults of a plan that strike in one place, as they are at work.
///
/// It belongs to one thread, which asks it at each opportunity. The choices depend on the plan, its seed and the order of the
/// opportunities of each fault; not on those of other faults.
#[derive(Debug)]
pub struct Injector {
    triggers: Vec<Trigger>,
}

/// How often a fault could have struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strikes {
    /// Which.
    pub fault: Fault,
    /// Opportunities so far.
    pub opportunities: u64,
}

impl Injector {
    /// The faults of `plan` that strike here; `None` when there are none, so that who is not struck need not ask.
    #[must_use]
    pub fn new(plan: &FaultPlan, place: Place) -> Option<Self> {
        let trigger = |(position, planned): (usize, &PlannedFault)| Trigger {
            planned: planned.clone(),
            opportunities: Cell::new(0),
            stream: mix(plan.seed().0 ^ mix(position as u64 + 1)),
        };
        let triggers: Vec<_> =
            plan.faults().iter().enumerate().filter(|(_, planned)| planned.fault.place() == place).map(trigger).collect();
        (!triggers.is_empty()).then_some(Self { triggers })
    }

    /// Counts an opportunity of every fault that `wanted` picks, and gives what it picked of the first that strikes.
    pub fn strike<Picked>(&self, wanted: impl Fn(Fault) -> Option<Picked>) -> Option<Picked> {
        let mut struck = None;
        for trigger in &self.triggers {
            if let Some(picked) = wanted(trigger.planned.fault)
                && trigger.pull()
                && struck.is_none()
            {
                struck = Some(picked);
            }
        }
        struck
    }

    /// Counts an opportunity of this fault, and says whether it strikes.
    #[must_use]
    pub fn strikes(&self, fault: Fault) -> bool {
        self.strike(|known| (known == fault).then_some(())).is_some()
    }

    /// Whether the plan has this fault at all. Counts nothing.
    #[must_use]
    pub fn has(&self, wanted: impl Fn(Fault) -> bool) -> bool {
        self.triggers.iter().any(|trigger| wanted(trigger.planned.fault))
    }

    /// What could have struck so far.
    #[must_use]
    pub fn counts(&self) -> Vec<Strikes> {
        let count = |trigger: &Trigger| Strikes { fault: trigger.planned.fault, opportunities: trigger.opportunities.get() };
        self.triggers.iter().map(count).collect()
    }
}
