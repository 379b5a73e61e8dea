//! One case: its standing and its most likely cause.

use crate::report::{AtomicsMode, Evidence, Outcome, Standing};

use super::cause::{Cause, cause};
use super::{Expectation, RunFacts};
use crate::verify::catalogue::WithoutAtomics;

/// How an outcome stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Against what was expected.
    pub standing: Standing,
    /// What was expected, in words, when it is not `completed`.
    pub expected: Option<String>,
    /// The most likely cause, when something is wrong.
    pub cause: Option<Cause>,
}

/// Holds the outcome of a case against what its run is expected to do.
///
/// | run expected to | case needs AtomicOps | outcome | mode off | as found, on |
/// |---|---|---|---|---|
/// | complete | either | completed | passed | passed |
/// | complete | either | anything else | failed | failed |
/// | lose completions | yes | completion-lost | as predicted | failed |
/// | lose completions | yes | completed | failed (contradiction) | passed |
/// | lose completions | no | completed | passed | passed |
/// | either way | yes | completed | passed | passed |
/// | either way | yes | completion-lost | as predicted | failed |
/// | not lose completions, AtomicOps stopped | for its kernel's updates | completion-lost, wrong-value | as predicted | failed |
/// | any | any | untestable | skipped | skipped |
/// | any | any | anything else | failed | failed |
#[must_use]
pub fn judge(facts: &RunFacts<'_>, without: WithoutAtomics, outcome: &Outcome, evidence: &Evidence) -> Judgement {
    let expectation = match without {
        WithoutAtomics::LosesCompletion | WithoutAtomics::LosesUpdates => facts.expectation(),
        WithoutAtomics::Completes => Expectation::Completes,
    };
    let loses_updates = without == WithoutAtomics::LosesUpdates
        && facts.atomics_stopped()
        && expectation != Expectation::LosesCompletions
        && matches!(outcome, Outcome::CompletionLost | Outcome::WrongValue { .. });
    let standing = match (expectation, outcome) {
        (_, Outcome::Untestable { .. }) => Standing::Skipped,
        (Expectation::LosesCompletions, Outcome::Completed) if facts.mode == AtomicsMode::Off => Standing::Failed,
        (_, Outcome::Completed) => Standing::Passed,
        (Expectation::LosesCompletions | Expectation::EitherWay, Outcome::CompletionLost) if facts.mode == AtomicsMode::Off => {
            Standing::AsPredicted
        }
        _ if loses_updates && facts.mode == AtomicsMode::Off => Standing::AsPredicted,
        _ => Standing::Failed,
    };
    let expected = match expectation {
        _ if loses_updates => Some("updates of the kernel may be lost: AtomicOps do not reach host memory".to_owned()),
        Expectation::Completes => None,
        Expectation::LosesCompletions => Some("completion-lost: AtomicOps do not reach host memory".to_owned()),
        Expectation::EitherWay => Some("completed or completion-lost: whether this device needs AtomicOps is not known".to_owned()),
    };
    let cause = match standing {
        Standing::Passed | Standing::Skipped | Standing::Known => None,
        Standing::AsPredicted | Standing::Failed => cause(facts, outcome, evidence),
    };
    Judgement { standing, expected, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PathCapability, PathReport, Prediction, RequesterReadback};
    use crate::verify::diagnose::fixtures::{holds, path, prediction};
    use crate::verify::diagnose::{COMPLETES, COMPLETION_LOST, OwnPackets, UNKNOWN};

    struct Bench {
        requester: RequesterReadback,
        path: PathReport,
        prediction: Prediction,
    }

    impl Bench {
        fn new(enabled: bool, without: &str) -> Self {
            Self { requester: holds(enabled), path: path(PathCapability::Capable), prediction: prediction(without) }
        }

        fn facts(&self, mode: AtomicsMode) -> RunFacts<'_> {
            RunFacts {
                mode,
                requester: &self.requester,
                path: Some(&self.path),
                prediction: &self.prediction,
                own_packets: OwnPackets::None,
            }
        }

        fn standing(&self, mode: AtomicsMode, without: WithoutAtomics, outcome: &Outcome) -> Standing {
            judge(&self.facts(mode), without, outcome, &Evidence::default()).standing
        }
    }

    fn bad_outcomes() -> Vec<Outcome> {
        vec![
            Outcome::CompletedLate { after_ms: 1 },
            Outcome::PacketNotFetched,
            Outcome::NoEffect,
            Outcome::FalseCompletion,
            Outcome::WakeLost,
            Outcome::WrongValue { detail: "x".to_owned() },
            Outcome::FiredTwice { value: -1 },
            Outcome::QueueError { status: "x".to_owned() },
            Outcome::RuntimeWedged,
            Outcome::WorkerCrashed { signal: "SIGKILL".to_owned() },
        ]
    }

    use WithoutAtomics::{Completes, LosesCompletion, LosesUpdates};

    #[test]
    fn with_atomic_ops_only_completed_passes() {
        let bench = Bench::new(true, COMPLETION_LOST);
        for mode in [AtomicsMode::On, AtomicsMode::AsFound] {
            assert_eq!(bench.standing(mode, LosesCompletion, &Outcome::Completed), Standing::Passed);
            assert_eq!(bench.standing(mode, LosesCompletion, &Outcome::CompletionLost), Standing::Failed);
            for outcome in bad_outcomes() {
                assert_eq!(bench.standing(mode, LosesCompletion, &outcome), Standing::Failed, "{outcome}");
            }
        }
    }

    #[test]
    fn with_atomic_ops_off_a_predicted_loss_is_as_predicted_and_a_completion_contradicts() {
        let bench = Bench::new(false, COMPLETION_LOST);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::CompletionLost), Standing::AsPredicted);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::Completed), Standing::Failed);
        for outcome in bad_outcomes() {
            assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &outcome), Standing::Failed, "{outcome}");
        }
    }

    #[test]
    fn a_case_that_needs_no_atomic_ops_must_complete_without_them() {
        let bench = Bench::new(false, COMPLETION_LOST);
        assert_eq!(bench.standing(AtomicsMode::Off, Completes, &Outcome::Completed), Standing::Passed);
        assert_eq!(bench.standing(AtomicsMode::Off, Completes, &Outcome::CompletionLost), Standing::Failed);
    }

    #[test]
    fn a_device_found_without_atomic_ops_fails_even_though_that_was_predicted() {
        let bench = Bench::new(false, COMPLETION_LOST);
        assert_eq!(bench.standing(AtomicsMode::AsFound, LosesCompletion, &Outcome::CompletionLost), Standing::Failed);
        assert_eq!(bench.standing(AtomicsMode::AsFound, LosesCompletion, &Outcome::Completed), Standing::Passed);
    }

    #[test]
    fn a_device_predicted_to_work_without_atomic_ops_must() {
        let bench = Bench::new(false, COMPLETES);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::Completed), Standing::Passed);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::CompletionLost), Standing::Failed);
    }

    #[test]
    fn an_unknown_prediction_accepts_both_legal_outcomes_and_no_other() {
        let bench = Bench::new(false, UNKNOWN);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::Completed), Standing::Passed);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::CompletionLost), Standing::AsPredicted);
        assert_eq!(bench.standing(AtomicsMode::Off, LosesCompletion, &Outcome::NoEffect), Standing::Failed);
    }

    #[test]
    fn a_device_that_completes_without_atomic_ops_may_lose_its_kernels_updates_and_nothing_else() {
        let lost = Outcome::WrongValue { detail: "4 of 8 updates lost".to_owned() };
        for prediction in [COMPLETES, UNKNOWN] {
            let off = Bench::new(false, prediction);
            assert_eq!(off.standing(AtomicsMode::Off, LosesUpdates, &lost), Standing::AsPredicted);
            assert_eq!(off.standing(AtomicsMode::Off, LosesUpdates, &Outcome::Completed), Standing::Passed);
            assert_eq!(off.standing(AtomicsMode::Off, LosesUpdates, &Outcome::NoEffect), Standing::Failed);
            assert_eq!(off.standing(AtomicsMode::Off, LosesCompletion, &lost), Standing::Failed);
            assert_eq!(off.standing(AtomicsMode::AsFound, LosesUpdates, &lost), Standing::Failed);
            assert_eq!(Bench::new(true, prediction).standing(AtomicsMode::On, LosesUpdates, &lost), Standing::Failed);
        }
        let fiji = Bench::new(false, COMPLETION_LOST);
        assert_eq!(fiji.standing(AtomicsMode::Off, LosesUpdates, &lost), Standing::Failed);
        assert_eq!(fiji.standing(AtomicsMode::Off, LosesUpdates, &Outcome::CompletionLost), Standing::AsPredicted);
    }

    #[test]
    fn what_was_not_tried_is_skipped_and_never_passed() {
        for mode in [AtomicsMode::On, AtomicsMode::Off, AtomicsMode::AsFound] {
            let outcome = Outcome::Untestable { reason: "no kernels".to_owned() };
            assert_eq!(Bench::new(true, COMPLETION_LOST).standing(mode, LosesCompletion, &outcome), Standing::Skipped);
        }
    }
}
