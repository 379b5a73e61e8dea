//! What the supervisor and the worker say to each other: a plan on the command line, one JSON event per line back.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::{AgentFacts, Evidence, Outcome, RuntimeFacts};

use super::request::Milliseconds;

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// The supervisor's process id: a worker that finds itself orphaned ends.
    pub supervisor: u32,
    /// The runtime to open.
    pub runtime: PlannedRuntime,
    /// Position of the GPU among the runtime's GPU agents.
    pub agent: usize,
    /// How many cases of the same row earlier workers have had: what is counted by cases goes on from there.
    pub already: usize,
    /// Names of the cases, in order. None: only say which GPUs there are.
    pub cases: Vec<String>,
    /// How long to wait.
    pub pace: Pace,
    /// A file of AtomicOp counters to sample around each case.
    pub fabric: Option<PathBuf>,
    /// Whether the cases may start as soon as the kernels are loaded.
    pub gate: Gate,
}

/// What stands between a loaded worker and its first case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Nothing.
    Open,
    /// The worker says `WorkerEvent::Loaded` and waits for a line on its stdin. ROCr waits without a bound for packets of its own
    /// when it loads code, so AtomicOps may be taken away only afterwards.
    AfterLoading,
}

/// The runtime a worker opens: decided once, by the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedRuntime {
    /// The one inside this binary.
    Embedded,
    /// A shared library.
    Library(PathBuf),
    /// ROCr by its path, with the software GPU that the environment names as its device.
    RocrModel(PathBuf),
}

/// How long a case waits for what it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// A completion must have arrived by then, counted from the start of the case.
    pub timeout: Milliseconds,
    /// When a lost completion is predicted: how long everything else must have been done before it counts as lost.
    pub quiet: Option<Milliseconds>,
}

impl Pace {
    /// After the timeout, how much longer to look for a completion that is only late.
    pub const LATE_WINDOW: Duration = Duration::from_millis(1_000);
    /// The quiet period where a lost completion is predicted. It starts when everything but the signal has happened, so it only
    /// has to outlast the device's last step and a busy host.
    pub const QUIET: Milliseconds = Milliseconds(75);
    /// The quiet period once this many completions were lost that nothing predicted.
    pub const QUIET_AFTER_LOSSES: Milliseconds = Milliseconds(500);
    /// See [`Self::QUIET_AFTER_LOSSES`].
    pub const LOSSES: usize = 2;
    /// How much longer than its own last deadline a case may take before its worker counts as wedged.
    pub const WATCHDOG_MARGIN: Duration = Duration::from_millis(3_000);

    /// When the supervisor kills a worker that still runs the same case.
    #[must_use]
    pub fn watchdog(self) -> Duration {
        self.timeout.duration().saturating_add(Self::LATE_WINDOW).saturating_add(Self::WATCHDOG_MARGIN)
    }
}

/// A GPU as the runtime describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Position among the GPU agents.
    pub index: usize,
    /// PCI address, `0000:0b:00.0`, when the runtime says.
    pub bdf: Option<String>,
    /// Marketing name, else the agent's name.
    pub name: String,
    /// Target, `gfx803`.
    pub gfx: String,
    /// What else the runtime says of it.
    pub facts: AgentFacts,
}

/// One line of a worker's stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum WorkerEvent {
    /// The runtime is open.
    Ready {
        /// What it says of itself.
        runtime: Box<RuntimeFacts>,
        /// Its GPUs.
        agents: Vec<AgentSummary>,
    },
    /// The runtime cannot be opened or has no such GPU; nothing follows.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// The kernels are loaded, and the worker waits at its [`Gate`].
    Loaded,
    /// A case starts.
    CaseStarted {
        /// Which.
        name: String,
    },
    /// A case ended.
    CaseFinished {
        /// Which.
        name: String,
        /// What was seen.
        observation: Box<Observation>,
    },
    /// The runtime was closed; nothing follows.
    Done,
}

/// What a worker saw in one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What happened.
    pub outcome: Outcome,
    /// Wall time.
    pub duration_ms: u64,
    /// What was seen.
    pub evidence: Evidence,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{OutputEvidence, SignalEvidence};

    fn observation(outcome: Outcome) -> Observation {
        let evidence = Evidence {
            signal: Some(SignalEvidence {
                before: 1,
                after: 1,
                expected: 0,
                event_id: 7,
                event_mailbox: Some("0x7f0000001000".to_owned()),
                start_ts: u64::MAX,
                end_ts: 0,
            }),
            output: Some(OutputEvidence { elements: 256, right: 255, untouched: 1, ..OutputEvidence::default() }),
            notes: vec!["a line\nwith a break".to_owned()],
            ..Evidence::default()
        };
        Observation { outcome, duration_ms: 12, evidence }
    }

    #[test]
    fn every_event_survives_the_pipe_on_one_line() {
        let outcomes = [
            Outcome::Completed,
            Outcome::CompletedLate { after_ms: 5_300 },
            Outcome::CompletionLost,
            Outcome::WrongValue { detail: "wanted 1, found 2".to_owned() },
            Outcome::FiredTwice { value: -1 },
            Outcome::QueueError { status: "HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION".to_owned() },
            Outcome::Untestable { reason: "no kernels".to_owned() },
        ];
        let finished = outcomes
            .map(|outcome| WorkerEvent::CaseFinished { name: "nop".to_owned(), observation: Box::new(observation(outcome)) });
        let agent = AgentSummary {
            index: 0,
            bdf: Some("0000:0b:00.0".to_owned()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            facts: AgentFacts::default(),
        };
        let others = [
            WorkerEvent::Ready { runtime: Box::default(), agents: vec![agent] },
            WorkerEvent::Refused { reason: "no /dev/kfd".to_owned() },
            WorkerEvent::Loaded,
            WorkerEvent::CaseStarted { name: "nop".to_owned() },
            WorkerEvent::Done,
        ];
        for event in finished.into_iter().chain(others) {
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'), "an event must be one line: {line}");
            assert_eq!(serde_json::from_str::<WorkerEvent>(&line).unwrap(), event);
        }
    }

    #[test]
    fn the_plan_survives_the_command_line() {
        let plan = WorkerPlan {
            supervisor: 42,
            runtime: PlannedRuntime::Library("/opt/rocm/lib/libhsa-runtime64.so.1".into()),
            agent: 1,
            already: 0,
            cases: vec!["nop".to_owned(), "vector-copy".to_owned()],
            pace: Pace { timeout: Milliseconds(5_000), quiet: Some(Pace::QUIET) },
            fabric: None,
            gate: Gate::AfterLoading,
        };
        assert_eq!(serde_json::from_str::<WorkerPlan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn the_watchdog_outlasts_every_wait_of_a_case_and_never_overflows() {
        let pace = |timeout| Pace { timeout: Milliseconds(timeout), quiet: None };
        assert!(pace(5_000).watchdog() > Duration::from_millis(5_000) + Pace::LATE_WINDOW);
        assert!(pace(u64::MAX).watchdog() >= Duration::from_millis(u64::MAX));
    }
}
