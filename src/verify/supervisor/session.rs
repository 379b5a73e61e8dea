//! Runs a list of cases to the end, with as many workers as that takes.

use std::time::{Duration, Instant};

use crate::report::{Evidence, Outcome, RuntimeFacts};
use crate::verify::error::{PutBack, VerifyError};
use crate::verify::event::{AgentSummary, Observation, PlannedRuntime, WorkerEvent, WorkerPlan};

use super::interrupt::Interrupts;
use super::process::{Ending, Message, Worker};
use super::rocr_bed;

/// Starts a worker on a plan.
pub type Launch<'a> = dyn FnMut(&WorkerPlan) -> Result<Box<dyn Worker>, VerifyError> + 'a;

/// Who hears of the progress of a session.
pub trait Listener {
    /// A worker is about to be started.
    fn launching(&mut self) {}
    /// A case starts.
    fn started(&mut self, name: &str);
    /// A case ended, one way or the other.
    fn finished(&mut self, name: &str, observation: Observation);
    /// The runtime aborted by a known defect of its own; the case is tried once more.
    fn repeated(&mut self, name: &str);
}

/// Who has the device's AtomicOps in hand while a worker opens the runtime ([`Gate::AfterLoading`]).
pub trait Gatekeeper {
    /// A worker is about to be started.
    fn opening(&mut self) -> Result<(), VerifyError>;
    /// Its kernels are loaded; the cases come next.
    fn loaded(&mut self) -> Result<(), VerifyError>;
}

/// Nothing changes between opening and running.
pub struct NoGate;

impl Gatekeeper for NoGate {
    fn opening(&mut self) -> Result<(), VerifyError> {
        Ok(())
    }

    fn loaded(&mut self) -> Result<(), VerifyError> {
        Ok(())
    }
}

/// How long a runtime may take to open.
pub const OPENING: Duration = Duration::from_secs(30);
/// How long it may take to close.
const CLOSING: Duration = Duration::from_secs(5);
/// How long the events and the interrupt flag go unlooked at.
const TICK: Duration = Duration::from_millis(25);
/// Workers in a row that may die before their runtime is open.
const STILLBORN: usize = 3;

/// Why a worker stopped before the end of its plan.
#[derive(Debug)]
enum Stop {
    Ended(Ending),
    Wedged(Ending),
    Flooded { bytes: u64, ending: Ending },
    Refused(String),
}

/// An open runtime: what it says of itself, and its GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The runtime.
    pub runtime: RuntimeFacts,
    /// Its GPUs.
    pub agents: Vec<AgentSummary>,
    /// How often it aborted by a known defect of its own before it answered.
    pub event_aborts: u32,
}

/// How often that is put up with.
const EVENT_ABORTS: u32 = 3;

/// Asks a worker which GPUs the runtime has.
///
/// # Errors
/// The runtime cannot be opened ([`VerifyError::Runtime`]), or the worker died ([`VerifyError::WorkerDied`]) or wedged ([`VerifyError::Worker`]).
pub fn enumerate(plan: &WorkerPlan, launch: &mut Launch<'_>, interrupts: &Interrupts) -> Result<Roster, VerifyError> {
    let mut event_aborts = 0;
    let mut worker = launch(plan)?;
    let mut deadline = Instant::now() + OPENING;
    loop {
        if let Some(signal) = interrupts.pending() {
            return Err(VerifyError::Interrupted { signal, put_back: PutBack::Nothing });
        }
        match worker.next(TICK) {
            Some(Message::Event(WorkerEvent::Ready { runtime, agents })) => {
                worker.end(CLOSING);
                return Ok(Roster { runtime: *runtime, agents, event_aborts });
            }
            Some(Message::Event(WorkerEvent::Refused { reason })) => {
                worker.end(CLOSING);
                return Err(VerifyError::Runtime(reason + &last_words(&*worker)));
            }
            Some(Message::Closed) => {
                let ending = worker.end(CLOSING);
                if event_aborts < EVENT_ABORTS && died_of_events(plan, &*worker) {
                    event_aborts += 1;
                    worker = launch(plan)?;
                    deadline = Instant::now() + OPENING;
                    continue;
                }
                return Err(VerifyError::WorkerDied { signal: name(&ending), last_words: last_words(&*worker) });
            }
            // Whatever else it says, it has to come to the point.
            Some(Message::Event(_) | Message::Garbage(_)) | None if Instant::now() > deadline => {
                worker.end(Duration::ZERO);
                let seconds = OPENING.as_secs();
                return Err(VerifyError::Worker(format!("the runtime did not open within {seconds} s and was killed")));
            }
            Some(Message::Event(_) | Message::Garbage(_)) | None => {}
        }
    }
}

/// Runs every case of `plan`; each ends in exactly one call of [`Listener::finished`], in order.
///
/// # Errors
/// The user's interrupt, or a worker that cannot even be started. Whatever happens to a worker is an observation, and so is what a
/// runtime says that [`enumerate`] has seen open.
pub fn run_cases(
    plan: &WorkerPlan,
    launch: &mut Launch<'_>,
    interrupts: &Interrupts,
    listener: &mut dyn Listener,
    gatekeeper: &mut dyn Gatekeeper,
) -> Result<(), VerifyError> {
    let mut remaining: &[String] = &plan.cases;
    let mut stillborn = 0;
    let mut repeated: Option<&String> = None;
    while let Some(next) = remaining.first() {
        gatekeeper.opening()?;
        listener.launching();
        let mut drive = Drive {
            plan,
            interrupts,
            listener,
            gatekeeper,
            cases: remaining,
            finished: 0,
            running: None,
            opened: false,
            loaded: false,
        };
        let mut worker =
            launch(&WorkerPlan { cases: remaining.to_vec(), already: plan.cases.len() - remaining.len(), ..plan.clone() })?;
        let stop = drive.follow(&mut *worker)?;
        let (finished, opened, running) = (drive.finished, drive.opened, drive.running.is_some());
        remaining = &remaining[finished..];
        if remaining.is_empty() {
            break;
        }
        let culprit = remaining.first().unwrap_or(next);
        if matches!(stop, Stop::Ended(_)) && repeated != Some(culprit) && died_of_events(plan, &*worker) {
            repeated = Some(culprit);
            listener.repeated(culprit);
            continue;
        }
        if !running {
            listener.started(culprit);
        }
        stillborn = if opened { 0 } else { stillborn + 1 };
        let mut notes: Vec<String> = worker.complaints();
        if !opened {
            notes.push("it happened while the runtime was being opened".to_owned());
        }
        let (mut flood_bytes, mut refused) = (None, false);
        let outcome = match stop {
            // It has been opened to list its GPUs, so that it no longer opens is something that happened to it.
            Stop::Refused(reason) => {
                refused = true;
                Outcome::RuntimeRefused { reason }
            }
            Stop::Wedged(ending) => {
                if ending == Ending::Unkillable {
                    notes.push("the process cannot be killed: it is stuck inside the kernel".to_owned());
                }
                Outcome::RuntimeWedged
            }
            Stop::Flooded { bytes, ending } => {
                flood_bytes = Some(bytes);
                Outcome::WorkerCrashed { signal: name(&ending) }
            }
            Stop::Ended(ending) => Outcome::WorkerCrashed { signal: name(&ending) },
        };
        listener.finished(
            culprit,
            Observation { outcome, duration_ms: 0, evidence: Evidence { notes, flood_bytes, ..Evidence::default() } },
        );
        remaining = &remaining[1..];
        if refused {
            return give_up(remaining, "the runtime could not be opened again", listener);
        }
        if stillborn == STILLBORN {
            return give_up(remaining, &format!("{STILLBORN} workers in a row died while opening the runtime"), listener);
        }
    }
    Ok(())
}

/// Whether the worker died of the defect that ROCr's model mode has in its events.
fn died_of_events(plan: &WorkerPlan, worker: &dyn Worker) -> bool {
    matches!(plan.runtime, PlannedRuntime::RocrModel(_)) && worker.complaints().iter().any(|line| rocr_bed::is_event_abort(line))
}

/// Ends every remaining case as not tried.
fn give_up(remaining: &[String], reason: &str, listener: &mut dyn Listener) -> Result<(), VerifyError> {
    for case in remaining {
        listener.started(case);
        let outcome = Outcome::Untestable { reason: reason.to_owned() };
        listener.finished(case, Observation { outcome, duration_ms: 0, evidence: Evidence::default() });
    }
    Ok(())
}

/// Whether an event brings the end of a plan nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Made,
    None,
}

/// One worker's life.
struct Drive<'a> {
    plan: &'a WorkerPlan,
    interrupts: &'a Interrupts,
    listener: &'a mut dyn Listener,
    gatekeeper: &'a mut dyn Gatekeeper,
    cases: &'a [String],
    finished: usize,
    running: Option<&'a str>,
    opened: bool,
    loaded: bool,
}

impl Drive<'_> {
    fn follow(&mut self, worker: &mut dyn Worker) -> Result<Stop, VerifyError> {
        let mut deadline = Instant::now() + OPENING;
        loop {
            if let Some(signal) = self.interrupts.pending() {
                worker.end(Duration::ZERO);
                return Err(VerifyError::Interrupted { signal, put_back: PutBack::Nothing });
            }
            let message = worker.next(TICK);
            if let Some(bytes) = worker.flood() {
                return Ok(Stop::Flooded { bytes, ending: worker.end(Duration::ZERO) });
            }
            match message {
                Some(Message::Event(event)) => {
                    if let WorkerEvent::Refused { reason } = event {
                        worker.end(CLOSING);
                        return Ok(Stop::Refused(reason));
                    }
                    if event == WorkerEvent::Loaded {
                        self.gatekeeper.loaded()?;
                        worker.proceed();
                    }
                    if self.take(event) == Progress::Made {
                        let allowed = if self.finished == self.cases.len() { CLOSING } else { self.plan.pace.watchdog() };
                        deadline = Instant::now() + allowed;
                    }
                }
                Some(Message::Closed) => return Ok(Stop::Ended(worker.end(CLOSING))),
                Some(Message::Garbage(_)) | None => {}
            }
            // Also while it talks: who says nothing to the point is not waited for.
            if Instant::now() > deadline {
                return Ok(Stop::Wedged(worker.end(Duration::ZERO)));
            }
        }
    }

    fn take(&mut self, event: WorkerEvent) -> Progress {
        let expected = self.cases.get(self.finished).map(String::as_str);
        match event {
            WorkerEvent::Ready { .. } if !self.opened => self.opened = true,
            WorkerEvent::Loaded if !self.loaded => self.loaded = true,
            WorkerEvent::CaseStarted { name } if expected == Some(&name) => {
                self.running = expected;
                self.listener.started(&name);
            }
            WorkerEvent::CaseFinished { name, observation } if self.running == Some(&name) => {
                self.running = None;
                self.finished += 1;
                self.listener.finished(&name, *observation);
            }
            // Out of turn: our own worker does not do that, and the watchdog ends one that does nothing else.
            WorkerEvent::Ready { .. }
            | WorkerEvent::CaseStarted { .. }
            | WorkerEvent::CaseFinished { .. }
            | WorkerEvent::Refused { .. }
            | WorkerEvent::Loaded
            | WorkerEvent::Done => return Progress::None,
        }
        Progress::Made
    }
}

/// How a worker ended, as the report names it.
fn name(ending: &Ending) -> String {
    match ending {
        Ending::Clean => "ended before its work was done".to_owned(),
        Ending::Crashed(name) => name.clone(),
        Ending::Unkillable => "stuck inside the kernel".to_owned(),
    }
}

fn last_words(worker: &dyn Worker) -> String {
    let complaints = worker.complaints();
    if complaints.is_empty() { String::new() } else { format!("; it said: {}", complaints.join(" | ")) }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
