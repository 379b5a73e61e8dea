//! From what was seen to what it means: a decision table in three steps.
//!
//! 1. [`Expectation`]: what a dispatch should do in this run, from the device's prediction, the bit as it reads and the path.
//! 2. [`case`]: how an outcome stands against that; [`cause`]: what most likely made it so.
//! 3. [`device`] and [`verdict`]: what the runs of a device, and all devices, come to, with the exit code.
//!
//! Everything here is a pure function of values, tested row by row.

pub mod case;
pub mod cause;
pub mod device;
pub mod strict;
pub mod verdict;

use crate::report::{AtomicsMode, PathCapability, PathReport, Prediction, RequesterReadback};

/// What a device's dispatches should do in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Every completion arrives.
    Completes,
    /// Completion signals never fire, because the AtomicOps that decrement them do not reach host memory.
    LosesCompletions,
    /// AtomicOps do not reach host memory, and whether this device needs them is not known.
    EitherWay,
}

/// The prediction's names (`Prediction::without_atomics`).
pub const COMPLETION_LOST: &str = "completion-lost";
/// See [`COMPLETION_LOST`].
pub const COMPLETES: &str = "completes";
/// See [`COMPLETION_LOST`].
pub const UNKNOWN: &str = "unknown";

/// Whether a runtime may dispatch packets on its own account, beside those of the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPackets {
    /// It is ours, which has none.
    None,
    /// ROCr has, and any other library may.
    Possible,
}

/// What surrounds a run: everything about it that is known before its cases.
#[derive(Clone, Copy, Debug)]
pub struct RunFacts<'a> {
    /// The state of AtomicOps asked for.
    pub mode: AtomicsMode,
    /// The state there is.
    pub requester: &'a RequesterReadback,
    /// The way to host memory.
    pub path: Option<&'a PathReport>,
    /// What the device does without AtomicOps.
    pub prediction: &'a Prediction,
    /// What the runtime sends besides.
    pub own_packets: OwnPackets,
}

impl RunFacts<'_> {
    /// Whether the device may send AtomicOps, as far as its register could be read.
    #[must_use]
    pub const fn enabled(&self) -> Option<bool> {
        match self.requester {
            RequesterReadback::Holds { enabled } | RequesterReadback::DidNotStick { enabled } => Some(*enabled),
            RequesterReadback::Unknown { .. } => None,
        }
    }

    /// Whether a hop above the device stops AtomicOps.
    #[must_use]
    pub fn path_stops_atomics(&self) -> bool {
        self.path.is_some_and(|path| path.capability == PathCapability::Incapable)
    }

    /// Whether AtomicOps of the device are known not to reach host memory.
    #[must_use]
    pub fn atomics_stopped(&self) -> bool {
        self.enabled() == Some(false) || self.path_stops_atomics()
    }

    /// What to expect of the run. What cannot be read counts as being in order: a check that fails is then a finding, while a
    /// failure that was assumed would be excused.
    #[must_use]
    pub fn expectation(&self) -> Expectation {
        if !self.atomics_stopped() {
            return Expectation::Completes;
        }
        match self.prediction.without_atomics.as_str() {
            COMPLETION_LOST => Expectation::LosesCompletions,
            COMPLETES => Expectation::Completes,
            _ => Expectation::EitherWay,
        }
    }
}

#[cfg(test)]
pub mod fixtures {
    //! Values that the tables' tests are made of.
    #![allow(missing_docs, reason = "tests only")]

    use super::*;
    use crate::report::{Bit, CaseReport, Evidence, Outcome, RunReport, Standing};

    pub fn prediction(without_atomics: &str) -> Prediction {
        Prediction { without_atomics: without_atomics.to_owned(), reason: "a table".to_owned() }
    }

    pub fn path(capability: PathCapability) -> PathReport {
        let bad = capability == PathCapability::Incapable;
        PathReport {
            hops: Vec::new(),
            capability,
            requester: Bit::Set,
            first_bad_hop: bad.then(|| "0000:00:03.0".to_owned()),
            summary: "summary".to_owned(),
            causes: if bad { vec!["the root port completes no AtomicOps".to_owned()] } else { Vec::new() },
            fixes: if bad { vec!["move the card".to_owned()] } else { Vec::new() },
        }
    }

    pub fn holds(enabled: bool) -> RequesterReadback {
        RequesterReadback::Holds { enabled }
    }

    pub fn case(name: &str, outcome: Outcome, standing: Standing) -> CaseReport {
        CaseReport {
            name: name.to_owned(),
            outcome,
            standing,
            expected: None,
            duration_ms: 1,
            evidence: Evidence::default(),
            suspect: None,
            cause: (standing == Standing::Failed).then(|| format!("cause of {name}")),
        }
    }

    pub fn run(atomics: AtomicsMode, requester: RequesterReadback, cases: Vec<CaseReport>) -> RunReport {
        RunReport { atomics, requester, cases, rocr_aborts: 0, fabric: None }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{holds, path, prediction};
    use super::*;

    #[test]
    fn a_device_that_may_send_atomic_ops_on_a_capable_path_completes_whatever_was_predicted() {
        for without in [COMPLETION_LOST, COMPLETES, UNKNOWN] {
            for capability in [PathCapability::Capable, PathCapability::Unknown] {
                let (requester, path, prediction) = (holds(true), path(capability), prediction(without));
                let facts = RunFacts {
                    mode: AtomicsMode::On,
                    requester: &requester,
                    path: Some(&path),
                    prediction: &prediction,
                    own_packets: OwnPackets::None,
                };
                assert_eq!(facts.expectation(), Expectation::Completes);
            }
        }
    }

    #[test]
    fn without_atomic_ops_the_prediction_decides() {
        let rows = [
            (COMPLETION_LOST, Expectation::LosesCompletions),
            (COMPLETES, Expectation::Completes),
            (UNKNOWN, Expectation::EitherWay),
        ];
        for (without, wanted) in rows {
            let prediction = prediction(without);
            let clear = RunFacts {
                mode: AtomicsMode::Off,
                requester: &holds(false),
                path: Some(&path(PathCapability::Capable)),
                prediction: &prediction,
                own_packets: OwnPackets::None,
            };
            assert_eq!(clear.expectation(), wanted, "bit clear, {without}");
            let stopped = RunFacts {
                mode: AtomicsMode::On,
                requester: &holds(true),
                path: Some(&path(PathCapability::Incapable)),
                prediction: &prediction,
                own_packets: OwnPackets::None,
            };
            assert_eq!(stopped.expectation(), wanted, "path incapable, {without}");
        }
    }

    #[test]
    fn a_bit_that_does_not_stick_counts_as_it_reads() {
        let requester = RequesterReadback::DidNotStick { enabled: false };
        let prediction = prediction(COMPLETION_LOST);
        let facts = RunFacts {
            mode: AtomicsMode::On,
            requester: &requester,
            path: None,
            prediction: &prediction,
            own_packets: OwnPackets::None,
        };
        assert_eq!(facts.expectation(), Expectation::LosesCompletions);
    }

    #[test]
    fn an_unreadable_bit_excuses_nothing() {
        let requester = RequesterReadback::Unknown { reason: "not root".to_owned() };
        let prediction = prediction(COMPLETION_LOST);
        let facts = RunFacts {
            mode: AtomicsMode::AsFound,
            requester: &requester,
            path: None,
            prediction: &prediction,
            own_packets: OwnPackets::None,
        };
        assert_eq!(facts.expectation(), Expectation::Completes);
    }
}
