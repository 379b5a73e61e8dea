//! The worker process: does the device work, and may die of it.

use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;

use rustix::process::{Signal as ProcessSignal, getpid, getppid, kill_process, set_parent_process_death_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::{Fault, FaultPlan, Injector, Place};
use crate::hsa::{Agent, AgentKind, InitStack, Runtime, RuntimeChoice};

use super::catalogue;
use super::event::{AgentSummary, Gate, Pace, PlannedRuntime, WorkerEvent, WorkerPlan};
use super::facts;
use super::lab::Lab;

/// Exit status of a worker whose plan cannot be read.
const BAD_PLAN: u8 = 2;
/// Exit status of a worker that lost its supervisor.
const ORPHAN: u8 = 3;

/// A plan that names the supervisor it came from.
pub trait Plan: DeserializeOwned {
    /// The supervisor's process id.
    fn supervisor(&self) -> u32;
}

impl Plan for WorkerPlan {
    fn supervisor(&self) -> u32 {
        self.supervisor
    }
}

/// See [`super::worker_main`].
pub fn main(plan: &str) -> u8 {
    serve(plan, work)
}

/// Reads the plan, ties this process to its supervisor, and does `work`, whose events go to the supervisor. Returns the exit status.
pub fn serve<P: Plan, E: Serialize>(plan: &str, work: impl FnOnce(&P, &mut Events<E>) -> io::Result<()>) -> u8 {
    let plan: P = match serde_json::from_str(plan) {
        Ok(plan) => plan,
        Err(error) => {
            complain(&format!("the plan cannot be read: {error}"));
            return BAD_PLAN;
        }
    };
    // A name for `ps`; a worker without one works as well.
    let _ = rustix::thread::set_name(c"aqlprobe-worker");
    // The request can only fail for a signal that does not exist. The parent may have died before it was made.
    let _ = set_parent_process_death_signal(Some(ProcessSignal::KILL));
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().unsigned_abs() != plan.supervisor()) {
        return ORPHAN;
    }
    let mut events = match Events::take_stdout() {
        Ok(events) => events,
        Err(error) => {
            complain(&format!("stdout cannot be taken over: {error}"));
            return ORPHAN;
        }
    };
    match work(&plan, &mut events) {
        Ok(()) => 0,
        // Nobody listens any more.
        Err(_) => ORPHAN,
    }
}

/// On stderr; nobody is left to tell when that is gone.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "aqlprobe worker: {sentence}");
}

/// The event stream, on a descriptor of its own: whatever a library prints to stdout goes to stderr instead.
#[derive(Debug)]
pub struct Events<E> {
    pipe: File,
    kind: PhantomData<fn(&E)>,
}

impl<E: Serialize> Events<E> {
    fn take_stdout() -> io::Result<Self> {
        let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Self { pipe: File::from(own), kind: PhantomData })
    }

    /// Sends an event as one write, so that a death in between leaves no half line behind a whole one.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn send(&mut self, event: &E) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.pipe.write_all(&line)
    }

    /// Waits at the gate until the supervisor opens it, having said `loaded`. It is not waited for longer than the supervisor lives.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub fn pass(&mut self, gate: Gate, loaded: &E) -> io::Result<()> {
        if gate == Gate::AfterLoading {
            self.send(loaded)?;
            if io::stdin().read_line(&mut String::new())? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

fn work(plan: &WorkerPlan, events: &mut Events<WorkerEvent>) -> io::Result<()> {
    let (runtime, agents) = match open(&plan.runtime) {
        Ok(opened) => opened,
        Err(reason) => return events.send(&WorkerEvent::Refused { reason }),
    };
    events.send(&WorkerEvent::Ready {
        runtime: Box::new(facts::runtime(&runtime, &plan.runtime)),
        agents: agents.iter().enumerate().map(|(index, agent)| summary(index, agent)).collect(),
    })?;
    if !plan.cases.is_empty() {
        let lab = match agents.get(plan.agent) {
            Some(agent) => Lab::open(&runtime, agent).map_err(|error| error.to_string()),
            None => Err(format!("GPU number {} is gone; the runtime lists {}", plan.agent, agents.len())),
        };
        match lab {
            Ok(lab) => {
                events.pass(plan.gate, &WorkerEvent::Loaded)?;
                run_cases(plan, &lab, events)?;
            }
            Err(reason) => return events.send(&WorkerEvent::Refused { reason }),
        }
    }
    drop(agents);
    drop(runtime);
    events.send(&WorkerEvent::Done)
}

/// What the plan of this process's environment does to the process itself.
#[derive(Debug)]
pub struct WorkerFaults(Option<Injector>);

impl WorkerFaults {
    /// The plan's worker faults. What is no plan has been refused by the device already.
    #[must_use]
    pub fn of_environment() -> Self {
        Self(FaultPlan::of_environment().ok().flatten().and_then(|plan| Injector::new(&plan, Place::Worker)))
    }

    /// Counts opportunities that were another worker's.
    pub fn skip(&self, opportunities: usize) {
        let Some(faults) = &self.0 else { return };
        for _ in 0..opportunities {
            let _ = faults.strike(Some);
        }
    }

    /// Goes wrong, if this is the time for it.
    ///
    /// # Errors
    /// Nobody listens any more to a worker that floods.
    pub fn strike<E: Serialize>(&self, events: &mut Events<E>) -> io::Result<()> {
        match self.0.as_ref().and_then(|faults| faults.strike(Some)) {
            Some(Fault::WorkerAbort) => std::process::abort(),
            Some(Fault::WorkerSegfault) => loop {
                // The first may be spent on a handler that gives the default back and returns.
                let _ = kill_process(getpid(), ProcessSignal::SEGV);
            },
            Some(Fault::WorkerLoop) => loop {
                std::hint::spin_loop();
            },
            Some(Fault::WorkerFlood) => loop {
                events.pipe.write_all(FLOOD)?;
                io::stderr().write_all(FLOOD)?;
            },
            _ => Ok(()),
        }
    }
}

/// Lines that are no events, and one that never ends.
const FLOOD: &[u8] = b"flood\n{\"event\":\"flood\"}\n\0\xff flood without end";

/// Opens the runtime of a plan; its GPUs in its order.
///
/// # Errors
/// Why it cannot be opened, as a sentence.
pub fn open(planned: &PlannedRuntime) -> Result<(Runtime, Vec<Agent>), String> {
    let (choice, stack) = match planned {
        PlannedRuntime::Embedded => (RuntimeChoice::Embedded, InitStack::Callers),
        PlannedRuntime::Library(path) => (RuntimeChoice::Path(path.clone()), InitStack::Callers),
        PlannedRuntime::RocrModel(path) => (RuntimeChoice::Path(path.clone()), InitStack::Low),
    };
    let resolved = choice.resolve().map_err(|error| error.to_string())?;
    let runtime = Runtime::start_on(resolved.api, stack).map_err(|error| error.to_string())?;
    let agents = runtime.agents_of_kind(AgentKind::Gpu).map_err(|error| error.to_string())?;
    Ok((runtime, agents))
}

fn summary(index: usize, agent: &Agent) -> AgentSummary {
    AgentSummary {
        index,
        bdf: agent.pci().map(|address| address.to_string()),
        name: agent.product().unwrap_or(agent.name()).to_owned(),
        gfx: agent.name().to_owned(),
        facts: facts::agent(agent),
    }
}

fn run_cases(plan: &WorkerPlan, lab: &Lab, events: &mut Events<WorkerEvent>) -> io::Result<()> {
    let mut losses = 0;
    let faults = WorkerFaults::of_environment();
    faults.skip(plan.already);
    for name in &plan.cases {
        events.send(&WorkerEvent::CaseStarted { name: name.clone() })?;
        faults.strike(events)?;
        let Some(case) = catalogue::find(name) else { continue };
        let pace = adapted(plan.pace, losses);
        let observation = Box::new(lab.observe(case, pace, plan.fabric.as_deref()));
        losses += usize::from(observation.outcome.is_hang());
        events.send(&WorkerEvent::CaseFinished { name: name.clone(), observation })?;
    }
    Ok(())
}

/// A device that has lost completions which nothing predicted will lose more: later cases then need not wait out their timeout.
fn adapted(pace: Pace, losses: usize) -> Pace {
    match pace.quiet {
        None if losses >= Pace::LOSSES => Pace { quiet: Some(Pace::QUIET_AFTER_LOSSES), ..pace },
        _ => pace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::request::Milliseconds;

    #[test]
    fn a_device_that_keeps_losing_completions_is_not_waited_out_every_time() {
        let patient = Pace { timeout: Milliseconds(5_000), quiet: None };
        assert_eq!(adapted(patient, Pace::LOSSES - 1), patient);
        assert_eq!(adapted(patient, Pace::LOSSES).quiet, Some(Pace::QUIET_AFTER_LOSSES));
        let predicted = Pace { quiet: Some(Pace::QUIET), ..patient };
        assert_eq!(adapted(predicted, 9), predicted);
    }

    #[test]
    fn a_plan_that_cannot_be_read_is_refused_without_touching_a_device() {
        assert_eq!(main("{"), BAD_PLAN);
    }
}
