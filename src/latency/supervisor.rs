//! From a request to a report: a worker per device and state of AtomicOps.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::faults::FaultPlan;
use crate::report::latency::{
    self, LatencyDevice, LatencyReport, LatencyResult, LatencyRun, LatencySettings, LatencyWait, Measurement, TimerReport,
};
use crate::report::{BedKind, DocumentKind, Doorbell, Tool};
use crate::verify::supervision::{
    self, AgentSummary, Expectation, Heard, Job, Milliseconds, Pace, RunStart, Sleeping, Stage, Supervision, VerifyError, WorkerEnd,
};

use super::event::{LatencyEvent, LatencyPlan};
use super::judgement::Failing;
use super::request::LatencyRequest;
use super::stop::Stop;
use super::{Observer, atomics_effect, host, judgement, timer};

/// See [`super::run`].
pub fn run(request: &LatencyRequest, observer: &mut dyn Observer) -> Result<LatencyReport, VerifyError> {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let faults = applying(request.place.faults.as_ref())?;
    let host = host::describe(request.pin);
    let supervision = Supervision::open(&request.place)?;
    let warmup = match supervision.bed().kind {
        BedKind::Hardware => LatencyRequest::WARMUP_HARDWARE,
        _ => LatencyRequest::WARMUP_MODEL,
    };
    observer.bed_ready(supervision.bed());
    let settings = LatencySettings { injected: faults.as_ref().map(ToString::to_string), ..request.settings(warmup) };
    let mut bench = Bench { request, supervision: &supervision, settings: &settings, observer, timer: None };
    let devices = supervision.devices().iter().map(|device| bench.device(device)).collect::<Result<Vec<_>, _>>()?;
    let timer = bench.timer.unwrap_or_else(timer::measure);
    Ok(LatencyReport {
        document: DocumentKind::Latency,
        schema_version: LatencyReport::SCHEMA_VERSION,
        tool: Tool::THIS,
        bed: supervision.bed().clone(),
        no_gpu: supervision.no_gpu().map(str::to_owned),
        runtime: supervision.runtime().clone(),
        host,
        started_at: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        duration_ms: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        timer,
        verdict: supervision::qualified(judgement::verdict(supervision.bed(), &devices), faults.as_ref()),
        settings,
        devices,
    })
}

/// What fault plans call a latency measurement (`:case=`).
const CASE: &str = "latency";

/// The faults of a plan that are for this command.
fn applying(plan: Option<&FaultPlan>) -> Result<Option<FaultPlan>, VerifyError> {
    let none = |plan: &FaultPlan| VerifyError::NothingToInject { plan: plan.to_string(), case: CASE };
    plan.map(|plan| plan.for_case(CASE).ok_or_else(|| none(plan))).transpose()
}

struct Bench<'a> {
    request: &'a LatencyRequest,
    supervision: &'a Supervision,
    settings: &'a LatencySettings,
    observer: &'a mut dyn Observer,
    timer: Option<TimerReport>,
}

/// What a worker has said so far.
#[derive(Debug, Default)]
struct Said {
    samples: Vec<u64>,
    stage_samples: HashMap<latency::Stage, Vec<i64>>,
    measurement: Option<Box<Measurement>>,
    stop: Option<Stop>,
    refused: Option<String>,
}

impl Bench<'_> {
    fn device(&mut self, device: &AgentSummary) -> Result<LatencyDevice, VerifyError> {
        let mut doorbell = None;
        let supervision = self.supervision;
        let runs = supervision.each_state(device, |start, stage| self.measure(&start, stage, &mut doorbell))?;
        let runs: Vec<LatencyRun> = runs
            .into_iter()
            .map(|run| {
                let expected = judgement::expected(self.settings.mode, run.expectation);
                let (result, failing) = if run.off_the_bus { gone(run.outcome) } else { run.outcome };
                let standing = judgement::standing(expected, &result, failing);
                LatencyRun { atomics: run.mode, requester: run.requester, standing, result }
            })
            .collect();
        Ok(LatencyDevice {
            index: device.index,
            bdf: device.bdf.clone(),
            name: device.name.clone(),
            gfx: device.gfx.clone(),
            agent: device.facts.clone(),
            doorbell,
            atomics_effect: atomics_effect::of(&runs),
            runs,
        })
    }

    /// One run; how it failed, if it did.
    fn measure(
        &mut self,
        start: &RunStart<'_>,
        stage: &mut Stage<'_>,
        doorbell: &mut Option<Doorbell>,
    ) -> Result<(LatencyResult, Failing), VerifyError> {
        let loses = judgement::expected(self.settings.mode, start.expectation) == Expectation::LosesCompletions;
        let plan = LatencyPlan {
            supervisor: std::process::id(),
            runtime: self.supervision.planned_runtime().clone(),
            agent: start.device.index,
            gate: self.supervision.gate(),
            settings: self.settings.clone(),
            patience: self.request.place.timeout.unwrap_or(Milliseconds::DEFAULT_TIMEOUT),
            quiet: loses.then_some(Pace::QUIET),
        };
        let sleeping = match self.settings.wait {
            LatencyWait::Active => Sleeping::Never,
            LatencyWait::Blocked => Sleeping::UntilInterrupt,
        };
        let job = Job { command: "latency-worker", case: CASE, plan: &plan, sleeping, silence: plan.silence() };
        let place = start.device.bdf.as_ref().map(|bdf| format!(" at {bdf}")).unwrap_or_default();
        self.observer.run_started(&format!("{} ({}){place}", start.device.name, start.device.gfx), start.mode);
        let said = std::cell::RefCell::new(Said::default());
        let end = stage.perform(
            &job,
            |event| {
                let mut said = said.borrow_mut();
                match event {
                    LatencyEvent::Loaded => return Heard::AtGate,
                    LatencyEvent::Progress { share } => self.observer.progressed(share),
                    LatencyEvent::Samples { samples_ns } => said.samples.extend(samples_ns),
                    LatencyEvent::StageSamples { stage, samples_ns } => {
                        said.stage_samples.entry(stage).or_default().extend(samples_ns);
                    }
                    LatencyEvent::Measured { doorbell: found, timer, measurement } => {
                        *doorbell = Some(found);
                        self.timer = Some(timer);
                        said.measurement = Some(measurement);
                    }
                    LatencyEvent::Stopped { stop } => said.stop = Some(stop),
                    LatencyEvent::Refused { reason } => said.refused = Some(reason),
                    LatencyEvent::Done => {}
                }
                Heard::Noted
            },
            || *said.borrow_mut() = Said::default(),
        )?;
        self.observer.run_finished();
        Ok(self.result(said.into_inner(), &end, loses.then_some(start.reason)))
    }

    fn result(&self, mut said: Said, end: &WorkerEnd, predicted: Option<&str>) -> (LatencyResult, Failing) {
        let bed = self.supervision.bed().kind;
        if let Some(mut measurement) = said.measurement {
            measurement.samples_ns = said.samples;
            for stage in &mut measurement.stages {
                stage.samples_ns = said.stage_samples.remove(&stage.stage).unwrap_or_default();
            }
            measurement.warnings.extend(judgement::plausibility(bed, self.settings, &measurement));
            return (LatencyResult::Measured(measurement), Failing::Otherwise);
        }
        if let Some(reason) = said.refused {
            return (LatencyResult::NotMeasured { reason }, Failing::Otherwise);
        }
        match (said.stop, end) {
            (Some(Stop::Lost(what)), _) => {
                let predicted = predicted.map(|reason| format!("; as predicted: {reason}")).unwrap_or_default();
                (LatencyResult::Hang { reason: format!("{what}{predicted}") }, Failing::CompletionLost)
            }
            (Some(Stop::Stalled(reason)), _) => (LatencyResult::Hang { reason }, Failing::Otherwise),
            (Some(Stop::WakeLost(what)), _) => match supervision::known_wake_loss(bed) {
                Some(known) => (LatencyResult::NotMeasured { reason: format!("{what}: {known}") }, Failing::Known),
                None => (LatencyResult::Hang { reason: format!("wake-lost: {what}") }, Failing::Otherwise),
            },
            (Some(Stop::Failed(reason)), _) => (LatencyResult::NotMeasured { reason }, Failing::Otherwise),
            (None, WorkerEnd::Wedged { .. }) => {
                (LatencyResult::Hang { reason: format!("runtime-wedged: {end}") }, Failing::Otherwise)
            }
            (None, WorkerEnd::Clean | WorkerEnd::Died { .. }) => {
                (LatencyResult::NotMeasured { reason: end.to_string() }, Failing::Otherwise)
            }
        }
    }
}

/// What failed on a device that answers nothing any more: neither lost completions nor a known defect.
fn gone((result, failing): (LatencyResult, Failing)) -> (LatencyResult, Failing) {
    const GONE: &str = "the device has fallen off the bus: its config space reads all ones";
    match result {
        LatencyResult::Measured(_) => (result, failing),
        LatencyResult::Hang { reason } => (LatencyResult::Hang { reason: format!("{reason}; {GONE}") }, Failing::Otherwise),
        LatencyResult::NotMeasured { reason } => {
            (LatencyResult::NotMeasured { reason: format!("{reason}; {GONE}") }, Failing::Otherwise)
        }
    }
}
