//! The supervisor: never touches the device itself, and so always lives to tell.

pub mod bed;
mod guest_bed;
pub mod interrupt;
mod kfd_answer;
mod lines;
pub mod no_gpu;
pub mod opening;
mod path;
pub mod process;
mod requester;
pub mod rocr_bed;
pub mod session;
pub mod survey;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::FaultPlan;
use crate::pci::Bdf;
use crate::pci::tree::FABRIC_COUNTERS_FILE;
use crate::report::{
    AtomicsMode, CaseReport, DeviceReport, DocumentKind, Doorbell, Evidence, FabricCounters, Outcome, PathReport, Prediction,
    Report, RequesterReadback, RunReport, Standing, Tool,
};

use super::Observer;
use super::catalogue::{self, CaseInfo};
use super::diagnose::cause::Cause;
use super::diagnose::device::DeviceFacts;
use super::diagnose::{Expectation, RunFacts, case, device, verdict};
use super::error::VerifyError;
use super::event::{AgentSummary, Observation, Pace, WorkerPlan};
use super::request::{Milliseconds, VerifyRequest};

use bed::{ReadyBed, Rules};
use interrupt::Interrupts;
use opening::Opened;
use process::{Launcher, Worker};
use requester::Requester;
use rocr_bed::Treatment;
use session::{Listener, Roster};
use survey::{Survey, Switch};

/// See [`super::run`].
pub fn run(request: &VerifyRequest, observer: &mut dyn Observer) -> Result<Report, VerifyError> {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let cases = catalogue::select(&request.cases)?;
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    if let Some(fault) = request.place.faults.as_ref().and_then(|plan| plan.idle(&names)) {
        return Err(VerifyError::IdleFault { fault: fault.to_string() });
    }
    let interrupts = Interrupts::catch();
    let Opened { bed, roster: Roster { runtime, agents, event_aborts }, opening_crash, no_gpu } =
        opening::open(&request.place, &interrupts)?;
    let chosen = opening::choose(request.place.device, &agents, &bed.report)?;
    let modes = opening::modes(request.place.atomics, &bed.report);
    observer.bed_ready(&bed.report);
    observer.planned(chosen.len() * modes.len() * cases.len());
    let mut bench = Bench { request, bed: &bed, interrupts: &interrupts, cases: &cases, observer, opening_crash, event_aborts };
    let devices = chosen.iter().map(|agent| bench.device(agent, modes)).collect::<Result<Vec<_>, _>>()?;
    let faults = request.place.faults.as_ref();
    let verdict = verdict::qualified(verdict::verdict(&bed.report, &devices), faults);
    Ok(Report {
        document: DocumentKind::Verify,
        schema_version: Report::SCHEMA_VERSION,
        tool: Tool::THIS,
        bed: bed.report.clone(),
        no_gpu: no_gpu.map(|explanation| explanation.to_string()),
        host: crate::verify::facts::host_name(),
        injected: faults.map(FaultPlan::to_string),
        runtime,
        started_at: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        duration_ms: milliseconds(clock.elapsed()),
        devices,
        verdict,
    })
}

/// Everything the runs of all devices share.
struct Bench<'a> {
    request: &'a VerifyRequest,
    bed: &'a ReadyBed,
    interrupts: &'a Interrupts,
    cases: &'a [&'static CaseInfo],
    observer: &'a mut dyn Observer,
    opening_crash: Option<String>,
    event_aborts: u32,
}

impl Bench<'_> {
    fn device(&mut self, agent: &AgentSummary, modes: &[AtomicsMode]) -> Result<DeviceReport, VerifyError> {
        let Survey { bdf, path, prediction, kfd } = Survey::of(self.bed, agent);
        let mut requester = Switch::open(self.bed, bdf, &agent.name, modes)?;
        let runs = modes.iter().map(|mode| {
            let readback = requester.enter(*mode, path.as_ref().map_err(String::as_str))?;
            self.run(agent, bdf, *mode, &readback, path.as_ref().ok(), &prediction, requester.bit())
        });
        let runs: Result<Vec<_>, _> = runs.collect();
        let (mut runs, left) = requester.conclude(runs, || self.bed.has_lost(bdf))?;
        if let Some(case) = runs.last_mut().and_then(|run| run.cases.last_mut()) {
            case.evidence.notes.extend(left);
        }
        let short_bdf = bdf.map(|bdf| bdf.short());
        let facts = DeviceFacts { short_bdf: short_bdf.as_deref(), path: path.as_ref().ok() };
        let diagnosis = device::diagnose(&facts, &runs);
        Ok(DeviceReport {
            index: agent.index,
            bdf: agent.bdf.clone(),
            name: agent.name.clone(),
            gfx: agent.gfx.clone(),
            agent: agent.facts.clone(),
            doorbell: doorbell(&runs),
            path: path.ok(),
            kfd: Some(kfd),
            prediction,
            runs,
            diagnosis,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "everything about a run that is known before its cases")]
    fn run(
        &mut self,
        agent: &AgentSummary,
        bdf: Option<Bdf>,
        mode: AtomicsMode,
        requester: &RequesterReadback,
        path: Option<&PathReport>,
        prediction: &Prediction,
        switch: Option<&mut Requester>,
    ) -> Result<RunReport, VerifyError> {
        let facts = RunFacts { mode, requester, path, prediction, own_packets: self.bed.own_packets() };
        let quiet = (facts.expectation() == Expectation::LosesCompletions).then_some(Pace::QUIET);
        let fabric_file = self
            .bed
            .counters
            .clone()
            .or_else(|| bdf.map(|bdf| self.bed.sysfs.device_dir(&bdf).join(FABRIC_COUNTERS_FILE)).filter(|file| file.exists()));
        let mut read_back = requester.clone();
        let mut gatekeeper = survey::gatekeeper(self.bed.rules, switch, mode, &mut read_back);
        let mut plan = WorkerPlan {
            supervisor: std::process::id(),
            runtime: self.bed.runtime.clone(),
            agent: agent.index,
            gate: survey::gate(self.bed.rules),
            already: 0,
            cases: self.cases.iter().map(|case| case.name.to_owned()).collect(),
            pace: Pace { timeout: self.request.place.timeout.unwrap_or(Milliseconds::DEFAULT_TIMEOUT), quiet },
            fabric: fabric_file,
        };
        let place = agent.bdf.as_ref().map(|bdf| format!(" at {bdf}")).unwrap_or_default();
        self.observer.run_started(&format!("{} ({}){place}", agent.name, agent.gfx), mode);
        let aborts = std::mem::take(&mut self.event_aborts);
        let counters = Counters::at(plan.fabric.clone());
        let mut recorder = Recorder { facts, bed: self.bed, bdf, counters, observer: self.observer, cases: Vec::new(), aborts };
        if let (Some(signal), false) = (self.opening_crash.take(), plan.cases.is_empty()) {
            recorder.opening_crash(&plan.cases.remove(0), &signal);
        }
        for (treatment, faults, cases) in groups(self.bed.rules, self.request.place.faults.as_ref(), &plan.cases) {
            let launcher = match treatment {
                Treatment::Untestable(reason) => {
                    cases.iter().for_each(|case| recorder.untestable(case, reason));
                    continue;
                }
                Treatment::Plain => self.bed.launcher.clone(),
                Treatment::WithInterrupts => rocr_bed::with_interrupts(&self.bed.launcher),
            };
            let launcher = Launcher { faults, ..launcher };
            let mut launch = |plan: &WorkerPlan| start(&launcher, plan);
            let plan = WorkerPlan { cases: cases.to_vec(), ..plan.clone() };
            session::run_cases(&plan, &mut launch, self.interrupts, &mut recorder, &mut *gatekeeper)?;
        }
        let (cases, rocr_aborts) = (recorder.cases, recorder.aborts);
        let fabric = total(&cases);
        drop(gatekeeper);
        Ok(RunReport { atomics: mode, requester: read_back, cases, rocr_aborts, fabric })
    }
}

fn start(launcher: &Launcher, plan: &WorkerPlan) -> Result<Box<dyn Worker>, VerifyError> {
    Ok(Box::new(launcher.launch(plan)?))
}

/// Cases that one worker can run, how, and what goes wrong in them.
type Group<'a> = (Treatment, Option<FaultPlan>, &'a [String]);

/// The cases in their order, neighbours that are treated alike together.
fn groups<'a>(rules: Rules, faults: Option<&FaultPlan>, cases: &'a [String]) -> Vec<Group<'a>> {
    let treatment = |case: &String| match rules {
        Rules::Plain | Rules::Guest => Treatment::Plain,
        Rules::RocrModel => rocr_bed::treatment(case),
    };
    let plan = |case: &String| faults.and_then(|plan| plan.for_case(case));
    let alike = cases.chunk_by(|one, next| treatment(one) == treatment(next) && plan(one) == plan(next));
    alike.filter_map(|group| group.first().map(|first| (treatment(first), plan(first), group))).collect()
}

/// Turns observations into reports as they come.
struct Recorder<'a, 'b> {
    facts: RunFacts<'a>,
    bed: &'a ReadyBed,
    /// The device.
    bdf: Option<Bdf>,
    counters: Counters,
    observer: &'b mut dyn Observer,
    cases: Vec<CaseReport>,
    aborts: u32,
}

impl Recorder<'_, '_> {
    /// The runtime died when it was first opened: that belongs to the first case, which needs it opened.
    fn opening_crash(&mut self, name: &str, signal: &str) {
        self.started(name);
        let note = "the worker died while it opened the runtime to list its GPUs; a second one got through".to_owned();
        let outcome = Outcome::WorkerCrashed { signal: signal.to_owned() };
        self.finished(
            name,
            Observation { outcome, duration_ms: 0, evidence: Evidence { notes: vec![note], ..Evidence::default() } },
        );
    }
}

impl Recorder<'_, '_> {
    fn untestable(&mut self, name: &str, reason: &str) {
        self.started(name);
        let outcome = Outcome::Untestable { reason: reason.to_owned() };
        self.finished(name, Observation { outcome, duration_ms: 0, evidence: Evidence::default() });
    }
}

impl Listener for Recorder<'_, '_> {
    fn launching(&mut self) {
        self.counters.forget();
    }

    fn repeated(&mut self, _name: &str) {
        self.aborts += 1;
    }

    fn started(&mut self, name: &str) {
        self.observer.case_started(name);
    }

    fn finished(&mut self, name: &str, observation: Observation) {
        let Observation { outcome, duration_ms, mut evidence } = observation;
        let counted = self.counters.since();
        if outcome == Outcome::RuntimeWedged {
            evidence.fabric = evidence.fabric.or(counted);
        }
        evidence.off_the_bus = outcome != Outcome::Completed && self.bed.has_lost(self.bdf);
        let without = catalogue::find(name).map_or(catalogue::WithoutAtomics::LosesCompletion, |case| case.without_atomics);
        let mut judged = case::judge(&self.facts, without, &outcome, &evidence);
        if self.bed.rules == Rules::RocrModel
            && judged.standing == Standing::Failed
            && let Some(reason) = rocr_bed::known(name, &outcome)
        {
            let cause = judged.cause.map(|cause| Cause { sentence: reason.to_owned(), ..cause });
            judged = case::Judgement { standing: Standing::Known, cause, ..judged };
        }
        let report = CaseReport {
            name: name.to_owned(),
            outcome,
            standing: judged.standing,
            expected: judged.expected,
            duration_ms,
            evidence,
            suspect: judged.cause.as_ref().map(|cause| cause.suspect),
            cause: judged.cause.map(|cause| cause.sentence),
        };
        self.observer.case_finished(&report);
        self.cases.push(report);
    }
}

/// What the path counts, where it does, since the last case of the same worker: of a case whose worker was killed nobody else can tell.
struct Counters {
    file: Option<PathBuf>,
    before: Option<FabricCounters>,
}

impl Counters {
    fn at(file: Option<PathBuf>) -> Self {
        Self { file, before: None }
    }

    /// A bed may start to count anew with every worker, so what was read before says nothing of what comes.
    fn forget(&mut self) {
        self.before = None;
    }

    fn sample(&self) -> Option<FabricCounters> {
        FabricCounters::from_file_bytes(&fs::read(self.file.as_deref()?).ok()?)
    }

    /// What was counted since it was asked last; `None` of a worker's first case.
    fn since(&mut self) -> Option<FabricCounters> {
        let now = self.sample();
        let before = std::mem::replace(&mut self.before, now);
        Some(now?.since(&before?))
    }
}

/// What the cases counted, together. The file itself does not tell: a bed may start to count anew with every worker.
fn total(cases: &[CaseReport]) -> Option<FabricCounters> {
    cases.iter().filter_map(|case| case.evidence.fabric).reduce(|sum, case| FabricCounters {
        performed: sum.performed + case.performed,
        requester_disabled: sum.requester_disabled + case.requester_disabled,
        bus_master_disabled: sum.bus_master_disabled + case.bus_master_disabled,
        unsupported_request: sum.unsupported_request + case.unsupported_request,
        routing_unsupported: sum.routing_unsupported + case.routing_unsupported,
        egress_blocked: sum.egress_blocked + case.egress_blocked,
        not_a_pcie_operation: sum.not_a_pcie_operation + case.not_a_pcie_operation,
    })
}

/// What rings the device's queues, as the first case that looked at one saw it.
fn doorbell(runs: &[RunReport]) -> Option<Doorbell> {
    runs.iter().flat_map(|run| &run.cases).find_map(|case| case.evidence.queue.as_ref()?.doorbell)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub mod fixtures {
    //! The founding machine's PCI tree, on disk.
    #![allow(missing_docs, clippy::unwrap_used, reason = "tests only")]

    use crate::pci::sysfs::SysfsRoot;
    use crate::pci::tree::{BridgeImage, BusNumbers, Completers, TreeBuilder};
    use crate::pci::{Bdf, dump};

    pub const FIJI: Bdf = Bdf { domain: 0, bus: 0x0b, device: 0, function: 0 };
    const ROOT_PORT: Bdf = Bdf { domain: 0, bus: 0, device: 3, function: 0 };

    /// The published Fiji, whose requester enable is clear, behind a root port with these completers.
    pub fn founding_tree(completers: Completers) -> (tempfile::TempDir, SysfsRoot) {
        let directory = tempfile::tempdir().unwrap();
        let fiji = dump::read(include_str!("../../../tests/data/lspci/01-fiji-before.txt")).unwrap().remove(0);
        let buses = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };
        TreeBuilder::new(directory.path())
            .root_port(ROOT_PORT, BridgeImage::root_port(buses).completers(completers).build())
            .endpoint(FIJI, fiji.config)
            .write()
            .unwrap();
        let root = SysfsRoot::new(directory.path());
        (directory, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_stay_in_order_and_those_that_a_runtime_cannot_carry_stand_apart() {
        let names: Vec<String> =
            ["nop", "invalid-packet", "queue-recycle", "wait-active", "wait-blocked"].map(str::to_owned).to_vec();
        let shape = |rules| groups(rules, None, &names).into_iter().map(|(_, _, group)| group.len()).collect::<Vec<_>>();
        assert_eq!(shape(Rules::Plain), [5]);
        assert_eq!(shape(Rules::RocrModel), [1, 1, 2, 1]);
        let treatments: Vec<_> = groups(Rules::RocrModel, None, &names).into_iter().map(|(treatment, _, _)| treatment).collect();
        assert!(matches!(treatments[1], Treatment::Untestable(_)));
        assert_eq!(treatments[3], Treatment::WithInterrupts);
        assert!(groups(Rules::RocrModel, None, &[]).is_empty());
    }

    #[test]
    fn cases_with_faults_of_their_own_get_workers_of_their_own() {
        let names: Vec<String> = ["nop", "vector-copy", "fence-none", "fence-agent"].map(str::to_owned).to_vec();
        let plan: FaultPlan = "signal-twice:case=fence-*,worker-abort:case=nop,seed=1".parse().unwrap();
        let groups = groups(Rules::Plain, Some(&plan), &names);
        let shape: Vec<_> = groups.iter().map(|(_, plan, group)| (plan.as_ref().map(FaultPlan::to_string), group.len())).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(shape, [(some("worker-abort,seed=1"), 1), (None, 1), (some("signal-twice,seed=1"), 2)]);
    }
}
