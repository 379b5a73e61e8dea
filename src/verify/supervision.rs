//! What any command that does device work shares: the bed, the worker process with its watchdog, the AtomicOps bit that is put back
//! whatever happens, the user's interrupt. `latency` stands on it; `verify` uses the same parts.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::FaultPlan;
use crate::hsa::{Agent, Runtime};
use crate::pci::guest::{self, Machine};
use crate::report::{AtomicsMode, BedKind, BedReport, ExitCode, Outcome, RequesterReadback, RuntimeFacts, Verdict};

use super::diagnose::{RunFacts, verdict};
use super::facts;
use super::supervisor::bed::ReadyBed;
use super::supervisor::interrupt::Interrupts;
use super::supervisor::opening::{self, Opened};
use super::supervisor::process::{Ending, Message, Worker, WorkerProcess};
use super::supervisor::survey::{Survey, Switch, gate, gatekeeper};
use super::supervisor::{rocr_bed, session};
use super::worker;

pub use super::diagnose::Expectation;
pub use super::error::{PutBack, VerifyError};
pub use super::event::{AgentSummary, Gate, Pace, PlannedRuntime};
pub use super::facts::doorbell;
pub use super::lab::{overshot, select_code};
pub use super::request::{AtomicsSelection, DeviceSelector, Milliseconds, PlaceRequest, RequestedRuntime};
pub use super::worker::{Events, Plan, WorkerFaults, serve};

/// An open bed with the devices chosen on it. The user's interrupt ends whatever runs, and puts back what was changed.
#[derive(Debug)]
pub struct Supervision {
    bed: ReadyBed,
    interrupts: Interrupts,
    runtime: RuntimeFacts,
    no_gpu: Option<String>,
    devices: Vec<AgentSummary>,
    modes: &'static [AtomicsMode],
}

/// A run of one device in one state of AtomicOps, about to begin.
#[derive(Clone, Copy, Debug)]
pub struct RunStart<'a> {
    /// The device.
    pub device: &'a AgentSummary,
    /// The state asked for.
    pub mode: AtomicsMode,
    /// What its completions should do, known before anything runs.
    pub expectation: Expectation,
    /// From what that follows.
    pub reason: &'a str,
}

/// How the host's waits are to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleeping {
    /// They poll.
    Never,
    /// Until the device's interrupt, which the runtime is told to use.
    UntilInterrupt,
}

/// A worker's job: the hidden subcommand and its plan.
#[derive(Debug)]
pub struct Job<'a, P> {
    /// The subcommand.
    pub command: &'static str,
    /// What fault plans call it (`:case=`).
    pub case: &'static str,
    /// Its plan.
    pub plan: &'a P,
    /// Whether its waits sleep.
    pub sleeping: Sleeping,
    /// How long it may be silent.
    pub silence: Duration,
}

/// What an event means to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing but that the worker lives.
    Noted,
    /// The worker waits at its gate.
    AtGate,
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// By itself.
    Clean,
    /// It died; how, and its last words.
    Died {
        /// The signal's or exit status' name.
        signal: String,
        /// The end of its stderr.
        last_words: Vec<String>,
    },
    /// It was silent for longer than allowed and was killed.
    Wedged {
        /// The end of its stderr.
        last_words: Vec<String>,
    },
}

impl fmt::Display for WorkerEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last_words = match self {
            Self::Clean => return formatter.write_str("the worker ended by itself"),
            Self::Died { signal, last_words } => {
                write!(formatter, "the worker died ({signal})")?;
                last_words
            }
            Self::Wedged { last_words } => {
                formatter.write_str("a call of the runtime did not return, and the worker was killed")?;
                last_words
            }
        };
        if last_words.is_empty() { Ok(()) } else { write!(formatter, "; it said: {}", last_words.join(" | ")) }
    }
}

/// How often a death by ROCr's own event defect is put up with in one run.
const EVENT_ABORTS: u32 = 3;
const TICK: Duration = Duration::from_millis(25);
const CLOSING: Duration = Duration::from_secs(5);

impl Supervision {
    /// Opens the bed that `request` asks for, and chooses its devices.
    ///
    /// # Errors
    /// Whatever keeps device work from being done; [`VerifyError::exit_code`] says how the process should end.
    pub fn open(request: &PlaceRequest) -> Result<Self, VerifyError> {
        let interrupts = Interrupts::catch();
        let Opened { bed, roster, no_gpu, .. } = opening::open(request, &interrupts)?;
        let devices = opening::choose(request.device, &roster.agents, &bed.report)?.into_iter().cloned().collect();
        let modes = opening::modes(request.atomics, &bed.report);
        let no_gpu = no_gpu.map(|explanation| explanation.to_string());
        Ok(Self { bed, interrupts, runtime: roster.runtime, no_gpu, devices, modes })
    }

    /// The bed, as every report names it.
    #[must_use]
    pub fn bed(&self) -> &BedReport {
        &self.bed.report
    }

    /// What the runtime said of itself.
    #[must_use]
    pub fn runtime(&self) -> &RuntimeFacts {
        &self.runtime
    }

    /// What a worker opens.
    #[must_use]
    pub fn planned_runtime(&self) -> &PlannedRuntime {
        &self.bed.runtime
    }

    /// What a worker of this bed waits for before it works.
    #[must_use]
    pub fn gate(&self) -> Gate {
        gate(self.bed.rules)
    }

    /// Why the bed is a self-test, if it is one.
    #[must_use]
    pub fn no_gpu(&self) -> Option<&str> {
        self.no_gpu.as_deref()
    }

    /// The chosen devices.
    #[must_use]
    pub fn devices(&self) -> &[AgentSummary] {
        &self.devices
    }

    /// The states of AtomicOps to run in, in order; the last one decides.
    #[must_use]
    pub fn modes(&self) -> &'static [AtomicsMode] {
        self.modes
    }

    /// Does one run of `device` per state of AtomicOps, in order, and puts the bit back. `run` starts workers with the [`Stage`] it is
    /// given.
    ///
    /// # Errors
    /// The bit cannot be switched or put back, the user interrupted, or what `run` says.
    pub fn each_state<T>(
        &self,
        device: &AgentSummary,
        mut run: impl FnMut(RunStart<'_>, &mut Stage<'_>) -> Result<T, VerifyError>,
    ) -> Result<Vec<StateRun<T>>, VerifyError> {
        let survey = Survey::of(&self.bed, device);
        let mut switch = Switch::open(&self.bed, survey.bdf, &device.name, self.modes)?;
        let runs = self.states(device, &survey, &mut switch, &mut run);
        let (runs, _) = switch.conclude(runs, || self.bed.has_lost(survey.bdf))?;
        Ok(runs)
    }

    fn states<T>(
        &self,
        device: &AgentSummary,
        survey: &Survey,
        switch: &mut Switch,
        run: &mut dyn FnMut(RunStart<'_>, &mut Stage<'_>) -> Result<T, VerifyError>,
    ) -> Result<Vec<StateRun<T>>, VerifyError> {
        let path = survey.path.as_ref().map_err(String::as_str);
        let mut runs = Vec::new();
        for mode in self.modes {
            let mut requester = switch.enter(*mode, path)?;
            let facts = RunFacts {
                mode: *mode,
                requester: &requester,
                path: path.ok(),
                prediction: &survey.prediction,
                own_packets: self.bed.own_packets(),
            };
            let expectation = facts.expectation();
            let start = RunStart { device, mode: *mode, expectation, reason: &survey.prediction.reason };
            let mut stage = Stage { supervision: self, switch: &mut *switch, mode: *mode, requester: &mut requester };
            let outcome = run(start, &mut stage)?;
            let off_the_bus = self.bed.has_lost(survey.bdf);
            runs.push(StateRun { mode: *mode, expectation, requester, off_the_bus, outcome });
        }
        Ok(runs)
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct StateRun<T> {
    /// The state of AtomicOps asked for.
    pub mode: AtomicsMode,
    /// What its completions were expected to do.
    pub expectation: Expectation,
    /// The state there was.
    pub requester: RequesterReadback,
    /// Whether the device answered nothing any more afterwards.
    pub off_the_bus: bool,
    /// The run's own result.
    pub outcome: T,
}

/// Where a run's worker is started.
#[derive(Debug)]
pub struct Stage<'a> {
    supervision: &'a Supervision,
    switch: &'a mut Switch,
    mode: AtomicsMode,
    requester: &'a mut RequesterReadback,
}

impl Stage<'_> {
    /// Runs one worker to its end and hands every event to `hear`. A worker that dies of ROCr's known event defect is replaced by
    /// another, after `restart`.
    ///
    /// # Errors
    /// The worker cannot be started, or the user interrupted.
    pub fn perform<P: Serialize, E: DeserializeOwned + Send + 'static>(
        &mut self,
        job: &Job<'_, P>,
        mut hear: impl FnMut(E) -> Heard,
        mut restart: impl FnMut(),
    ) -> Result<WorkerEnd, VerifyError> {
        for _ in 0..EVENT_ABORTS {
            match self.once(job, &mut hear)? {
                WorkerEnd::Died { last_words, .. }
                    if matches!(self.supervision.bed.runtime, PlannedRuntime::RocrModel(_))
                        && last_words.iter().any(|line| rocr_bed::is_event_abort(line)) =>
                {
                    restart();
                }
                end => return Ok(end),
            }
        }
        self.once(job, &mut hear)
    }

    fn once<P: Serialize, E: DeserializeOwned + Send + 'static>(
        &mut self,
        job: &Job<'_, P>,
        hear: &mut impl FnMut(E) -> Heard,
    ) -> Result<WorkerEnd, VerifyError> {
        let bed = &self.supervision.bed;
        let launcher = bed.launcher.for_case(job.case);
        let launcher = match job.sleeping {
            Sleeping::UntilInterrupt => rocr_bed::with_interrupts(&launcher),
            Sleeping::Never => launcher,
        };
        let mut gatekeeper = gatekeeper(bed.rules, self.switch.bit(), self.mode, self.requester);
        gatekeeper.opening()?;
        let mut worker: WorkerProcess<E> = launcher.start(job.command, job.plan, gate(bed.rules))?;
        let mut deadline = Instant::now() + session::OPENING.max(job.silence);
        loop {
            if let Some(signal) = self.supervision.interrupts.pending() {
                worker.end(Duration::ZERO);
                return Err(VerifyError::Interrupted { signal, put_back: PutBack::Nothing });
            }
            match worker.next(TICK) {
                Some(Message::Event(event)) => {
                    if hear(event) == Heard::AtGate {
                        gatekeeper.loaded()?;
                        worker.proceed();
                    }
                    deadline = Instant::now() + job.silence;
                }
                Some(Message::Closed) => {
                    let end = worker.end(CLOSING);
                    return Ok(ended(end, worker.complaints()));
                }
                // Chatter is no sign that the work goes on.
                Some(Message::Garbage(_)) | None if Instant::now() > deadline => {
                    worker.end(Duration::ZERO);
                    return Ok(WorkerEnd::Wedged { last_words: worker.complaints() });
                }
                Some(Message::Garbage(_)) | None => {}
            }
        }
    }
}

fn ended(end: Ending, last_words: Vec<String>) -> WorkerEnd {
    match end {
        Ending::Clean => WorkerEnd::Clean,
        Ending::Crashed(signal) => WorkerEnd::Died { signal, last_words },
        Ending::Unkillable => WorkerEnd::Died { signal: "stuck inside the kernel".to_owned(), last_words },
    }
}

/// The last word on a bed, when everything measured on it comes to `code`, in the words that `verify` uses.
#[must_use]
pub fn verdict_on(bed: &BedReport, code: ExitCode, summary: &str) -> Verdict {
    verdict::on_bed(bed, code, summary)
}

/// A verdict in words that cannot be taken for one on a device, when faults were injected.
#[must_use]
pub fn qualified(verdict: Verdict, faults: Option<&FaultPlan>) -> Verdict {
    verdict::qualified(verdict, faults)
}

/// What is known of ROCr's own sleeping waits on its model: why a lost wake there is no news.
#[must_use]
pub fn known_wake_loss(bed: BedKind) -> Option<&'static str> {
    (bed == BedKind::RocrModel).then(|| rocr_bed::known("wait-blocked", &Outcome::WakeLost)).flatten()
}

/// Opens the runtime of a plan, in a worker; its GPUs in its order.
///
/// # Errors
/// Why it cannot be opened, as a sentence.
pub fn open_runtime(planned: &PlannedRuntime) -> Result<(Runtime, Vec<Agent>), String> {
    worker::open(planned)
}

/// What the runtime of this process says of itself.
#[must_use]
pub fn runtime_facts(runtime: &Runtime, planned: &PlannedRuntime) -> RuntimeFacts {
    facts::runtime(runtime, planned)
}

/// The hypervisor by name, when this machine is a guest of one.
#[must_use]
pub fn hypervisor() -> Option<String> {
    match guest::detect(Path::new("/")) {
        Machine::Guest { hypervisor, .. } => Some(hypervisor.to_string()),
        Machine::BareMetal | Machine::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::requester::journal_path;
    use crate::pci::tree::Completers;
    use crate::verify::supervisor::bed::Rules;
    use crate::verify::supervisor::fixtures::{FIJI, founding_tree};

    fn supervision(sysfs: crate::pci::sysfs::SysfsRoot) -> Supervision {
        let report = BedReport { kind: BedKind::Hardware, runtime: "x".to_owned(), rocr: None, reason: None, replay: None };
        let device = AgentSummary {
            index: 0,
            bdf: Some(FIJI.to_string()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            facts: Default::default(),
        };
        Supervision {
            bed: ReadyBed::on(report, PlannedRuntime::Embedded, sysfs, Rules::Plain),
            interrupts: Interrupts::raised(0),
            runtime: RuntimeFacts::default(),
            no_gpu: None,
            devices: vec![device],
            modes: &[AtomicsMode::On],
        }
    }

    fn interrupted() -> VerifyError {
        VerifyError::Interrupted { signal: "SIGINT", put_back: PutBack::Nothing }
    }

    #[test]
    fn an_interrupted_run_says_that_the_bit_is_back_once_it_is() {
        let (_tree, sysfs) = founding_tree(Completers::Both);
        let before = std::fs::read(sysfs.config_file(&FIJI)).unwrap();
        let supervision = supervision(sysfs.clone());
        let error = supervision.each_state(&supervision.devices()[0], |_, _| Err::<(), _>(interrupted())).unwrap_err();
        assert_eq!(error.to_string(), "interrupted by SIGINT; AtomicOps were put back");
        assert_eq!(std::fs::read(sysfs.config_file(&FIJI)).unwrap(), before);
    }

    #[test]
    fn an_interrupted_run_whose_bit_is_not_back_says_so_and_how_to_try_again() {
        let (_tree, sysfs) = founding_tree(Completers::Both);
        let (config, journal) = (sysfs.config_file(&FIJI), journal_path(&sysfs, &FIJI));
        let supervision = supervision(sysfs);
        let run = |_: RunStart<'_>, _: &mut Stage<'_>| {
            std::fs::write(&config, [0; 16]).unwrap();
            Err::<(), _>(interrupted())
        };
        let error = supervision.each_state(&supervision.devices()[0], run).unwrap_err();
        let text = error.to_string();
        let again = format!("`aqlprobe atomics restore --journal {}`", journal.display());
        assert!(text.starts_with("AtomicOps of 0000:0b:00.0 could not be put back") && text.contains(&again), "{text}");
        assert!(text.contains("interrupted by SIGINT") && !text.contains("were put back"), "{text}");
        assert_eq!(error.exit_code(), ExitCode::CheckFailed);
        assert!(journal.exists());
    }
}
