//! One case: its standing and its most likely cause.

use crate::report::{AtomicsMode, Evidence, FabricCounters, Outcome, Standing};

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
    pub cause: Option<String>,
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
        Standing::AsPredicted | Standing::Failed => Some(cause(facts, outcome, evidence)),
    };
    Judgement { standing, expected, cause }
}

/// The most likely cause of an outcome, in one sentence.
#[must_use]
pub fn cause(facts: &RunFacts<'_>, outcome: &Outcome, evidence: &Evidence) -> String {
    match outcome {
        Outcome::Completed => match facts.expectation() {
            Expectation::LosesCompletions => {
                "it completed although AtomicOps do not reach host memory: the prediction for this device or the reading of its \
                 registers is wrong"
                    .to_owned()
            }
            Expectation::Completes | Expectation::EitherWay => "nothing is wrong".to_owned(),
        },
        Outcome::CompletedLate { after_ms } => {
            format!("the completion took {after_ms} ms: the device is slow, shared or busy; a longer --timeout accepts it")
        }
        Outcome::PacketNotFetched => not_fetched(facts, evidence),
        Outcome::NoEffect => {
            "the packet was consumed but the kernel left no trace: its code object, its arguments or the memory it writes are not \
             what the device sees; the kernel log may name a fault"
                .to_owned()
        }
        Outcome::CompletionLost => lost(facts, evidence),
        Outcome::FalseCompletion => {
            "the signal fired before the output was there: the release fence at the end of the kernel did not write back, or the \
             dispatch was completed without being run"
                .to_owned()
        }
        Outcome::WakeLost => {
            "the value arrived but the blocked wait was not woken: the interrupt (MSI, event mailbox) does not get through; \
             HSA_ENABLE_INTERRUPT=0 makes the runtime poll instead"
                .to_owned()
        }
        Outcome::WrongValue { detail } => match stopped_by(evidence.fabric.as_ref()) {
            Some(reason) => format!("{detail}; {reason}"),
            None if facts.atomics_stopped() => format!("{detail}: AtomicOps of the device do not reach host memory"),
            None => format!("{detail}: an update was lost or done twice, so the operation was not atomic between device and host"),
        },
        Outcome::FiredTwice { value } => {
            format!("the signal ended at {value}: one packet decremented it more than once, as when a packet is processed twice")
        }
        Outcome::QueueError { status } => format!("the queue stopped with {status}, which this case does not provoke"),
        Outcome::RuntimeWedged => {
            "a call into the runtime did not return before its deadline, and the process had to be killed: the runtime or the \
             kernel driver waits for the device without a bound"
                .to_owned()
        }
        Outcome::WorkerCrashed { signal } => {
            format!(
                "the worker process died ({signal}) while it ran this case: the runtime or the driver brought it down, or somebody killed it"
            )
        }
        Outcome::Untestable { reason } => reason.clone(),
    }
}

fn not_fetched(facts: &RunFacts<'_>, evidence: &Evidence) -> String {
    let counted = evidence.fabric.is_some_and(|fabric| fabric.bus_master_disabled > 0);
    let read = facts.path.and_then(|path| path.hops.last()).and_then(|device| device.bus_master);
    if counted || read == Some(crate::report::Bit::Clear) {
        return "Bus Master Enable is clear in the device: it may not read host memory, so it cannot fetch packets".to_owned();
    }
    "the device never took the packet: the doorbell write does not arrive, or the queue is not mapped to a hardware queue"
        .to_owned()
}

/// Why a completion signal keeps its value although everything else happened. What was counted outweighs what was read, and what
/// was read outweighs what is likely.
fn lost(facts: &RunFacts<'_>, evidence: &Evidence) -> String {
    const SO: &str = "so the decrement of the completion signal, an AtomicOp, does not arrive while plain stores do";
    if let Some(reason) = stopped_by(evidence.fabric.as_ref()) {
        return format!("{reason}, {SO}");
    }
    if facts.enabled() == Some(false) {
        return format!("AtomicOp Requester Enable (Device Control 2 bit 6) is clear in the device, {SO}");
    }
    if facts.path_stops_atomics() {
        let cause = facts.path.and_then(|path| path.causes.first()).map_or("a hop of the path stops AtomicOps", String::as_str);
        return format!("{}, {SO}", cause.trim_end_matches('.'));
    }
    match facts.enabled() {
        None => format!(
            "most likely AtomicOps do not reach host memory, {SO}; the registers that decide it cannot be read here, so run this as \
             root"
        ),
        Some(_) => "AtomicOps are enabled and the registers of the path let them through, yet the decrement of the completion signal \
                    did not arrive: suspect what the registers do not show (a hypervisor between device and memory, an IOMMU fault in \
                    the kernel log, firmware)"
            .to_owned(),
    }
}

/// What the bed counted as the reason for dropped AtomicOps.
fn stopped_by(fabric: Option<&FabricCounters>) -> Option<String> {
    let fabric = fabric?;
    let reasons = [
        (fabric.requester_disabled, "AtomicOp Requester Enable (Device Control 2 bit 6) is clear in the device"),
        (fabric.bus_master_disabled, "Bus Master Enable is clear in the device"),
        (fabric.unsupported_request, "the root port does not complete AtomicOps of this width"),
        (fabric.routing_unsupported, "a switch port on the path does not route AtomicOps"),
        (fabric.egress_blocked, "a switch port on the path blocks AtomicOps on egress"),
    ];
    let (dropped, reason) = reasons.into_iter().filter(|(count, _)| *count > 0).max_by_key(|(count, _)| *count)?;
    let plural = if dropped == 1 { "" } else { "s" };
    Some(format!("{reason} ({dropped} AtomicOp{plural} counted as dropped)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PathCapability, PathReport, Prediction, RequesterReadback};
    use crate::verify::diagnose::fixtures::{holds, path, prediction};
    use crate::verify::diagnose::{COMPLETES, COMPLETION_LOST, UNKNOWN};

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
            RunFacts { mode, requester: &self.requester, path: Some(&self.path), prediction: &self.prediction }
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

    #[test]
    fn the_cause_of_a_lost_completion_is_what_was_counted_then_what_was_read_then_what_is_likely() {
        let bench = Bench::new(true, COMPLETION_LOST);
        let counted = Evidence {
            fabric: Some(FabricCounters { egress_blocked: 3, performed: 9, ..FabricCounters::default() }),
            ..Evidence::default()
        };
        let of = |bench: &Bench, evidence: &Evidence| cause(&bench.facts(AtomicsMode::AsFound), &Outcome::CompletionLost, evidence);
        assert!(of(&bench, &counted).starts_with("a switch port on the path blocks AtomicOps on egress (3 AtomicOps counted"));
        let clear = Bench::new(false, COMPLETION_LOST);
        assert!(of(&clear, &Evidence::default()).starts_with("AtomicOp Requester Enable (Device Control 2 bit 6) is clear"));
        let stopped = Bench { path: path(PathCapability::Incapable), ..Bench::new(true, COMPLETION_LOST) };
        assert!(of(&stopped, &Evidence::default()).starts_with("the root port completes no AtomicOps, so"));
        let hidden = RequesterReadback::Unknown { reason: "not root".to_owned() };
        let unknown = Bench { requester: hidden, ..Bench::new(true, COMPLETION_LOST) };
        assert!(of(&unknown, &Evidence::default()).contains("as root"));
        assert!(of(&bench, &Evidence::default()).contains("hypervisor"));
    }

    #[test]
    fn a_packet_not_fetched_blames_bus_master_only_on_evidence() {
        let bench = Bench::new(true, COMPLETION_LOST);
        let facts = bench.facts(AtomicsMode::AsFound);
        let counted = Evidence {
            fabric: Some(FabricCounters { bus_master_disabled: 1, ..FabricCounters::default() }),
            ..Evidence::default()
        };
        assert!(cause(&facts, &Outcome::PacketNotFetched, &counted).contains("Bus Master Enable is clear"));
        assert!(!cause(&facts, &Outcome::PacketNotFetched, &Evidence::default()).contains("Bus Master"));
    }
}
