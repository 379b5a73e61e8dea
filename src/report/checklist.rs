//! A report as a list of checks: what every format for CI shows, whichever command wrote the report.
//!
//! A format that knows only "passed, failed, skipped" must not turn a run green that the exit code turns red, nor show the software
//! GPU's pass as a pass of hardware. Both are decided here, once: every list ends with the check `verdict`, which fails exactly when
//! the exit code is a failure; what a stand-in for a missing GPU did is skipped, never passed.

use super::document::Document;
use super::latency::{LatencyReport, LatencyResult, LatencyRun, Measurement};
use super::outcome::{Outcome, Standing};
use super::run::{AtomicsMode, BedReport, CaseReport, DeviceReport, Diagnosis, ExitCode, Report, RunReport, VerdictWord};
use super::style::tame;
use super::text::{bed_line, evidence_words};

/// Whether a run that tested no hardware is a failure (`--require-device`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardwareDemand {
    /// It is a skip.
    #[default]
    Optional,
    /// It is a failure.
    Required,
}

impl HardwareDemand {
    /// What it makes of an exit code.
    pub(super) const fn applied(self, code: ExitCode) -> ExitCode {
        match (self, code) {
            (Self::Required, ExitCode::NoHardware) => ExitCode::CheckFailed,
            (Self::Required | Self::Optional, code) => code,
        }
    }
}

/// How a check counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It passed.
    Passed,
    /// It failed as it was predicted to, in a run that was made to show just that.
    FailedAsPredicted,
    /// It failed.
    Failed,
    /// It failed by taking its worker along.
    Broken,
    /// It could not be tried.
    Untestable,
    /// A known defect of the runtime, which says nothing of the device.
    KnownDefect,
    /// A model stood in for the GPU, so nothing was tested.
    NoHardware,
}

impl Ruling {
    /// As a type or label spells it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::FailedAsPredicted => "as-predicted",
            Self::Failed | Self::Broken => "failed",
            Self::Untestable => "untestable",
            Self::KnownDefect => "known-defect",
            Self::NoHardware => "no-hardware",
        }
    }

    pub(super) const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Broken)
    }

    pub(super) const fn is_skip(self) -> bool {
        matches!(self, Self::Untestable | Self::KnownDefect | Self::NoHardware)
    }
}

/// One check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub name: String,
    pub ruling: Ruling,
    /// In the vocabulary of outcomes, `completion-lost`.
    pub outcome: String,
    /// What happened and why, in one line.
    pub message: String,
    /// What else is known, labelled.
    pub details: Vec<(&'static str, String)>,
    pub duration_ms: Option<u64>,
}

impl Check {
    /// What is known besides the message, and not said by it.
    pub(super) fn more(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let details = self.details.iter().map(|(label, text)| (*label, text.as_str()));
        details.filter(|(_, text)| !self.message.contains(text))
    }
}

/// Checks of one device in one state of AtomicOps, or the verdict alone.
#[derive(Clone, Debug)]
pub(super) struct Suite {
    /// For people: `0000:0b:00.0 gfx803, AtomicOps off`.
    pub title: String,
    /// For dashboards, the same in every run on this machine: `aqlprobe.verify.hardware.0000:0b:00_0.atomics-off`.
    pub class: String,
    pub properties: Vec<(String, String)>,
    pub checks: Vec<Check>,
}

/// A whole report.
#[derive(Clone, Debug)]
pub(super) struct Checklist {
    /// `aqlprobe verify`.
    pub command: String,
    /// The line that names the bed, and the faults injected on it.
    pub bed: String,
    pub started_at: u64,
    pub duration_ms: u64,
    pub suites: Vec<Suite>,
    pub word: VerdictWord,
    pub exit_code: ExitCode,
    /// The last check: it fails exactly when the exit code is a failure.
    pub verdict: Check,
}

impl Checklist {
    pub(super) fn of(document: &Document, demand: HardwareDemand) -> Self {
        let (command, verdict) = (document.kind().name(), document.verdict());
        let (started_at, duration_ms, mut suites, diagnoses) = match document {
            Document::Verify(report) => (report.started_at, report.duration_ms, verify_suites(report), diagnoses(report)),
            Document::Latency(report) => (report.started_at, report.duration_ms, latency_suites(report), Vec::new()),
        };
        let untested = verdict.exit_code == ExitCode::NoHardware;
        let stand_in = document.bed().kind.is_stand_in();
        for check in suites.iter_mut().flat_map(|suite| &mut suite.checks) {
            if untested || (stand_in && !check.ruling.is_failure()) {
                check.ruling = Ruling::NoHardware;
                check.message = format!("no GPU was tested; on the model: {}", check.message);
            }
        }
        let ruling = match verdict.exit_code {
            ExitCode::Pass => Ruling::Passed,
            ExitCode::NoHardware if demand == HardwareDemand::Optional => Ruling::NoHardware,
            _ => Ruling::Failed,
        };
        let bed = document.bed();
        Self {
            command: format!("aqlprobe {command}"),
            bed: match document.injected() {
                Some(plan) => format!("{}; injected faults: {}", bed_line(bed), tame(plan)),
                None => bed_line(bed),
            },
            started_at,
            duration_ms,
            suites,
            word: verdict.word,
            exit_code: verdict.exit_code,
            verdict: Check {
                name: "verdict".to_owned(),
                ruling,
                outcome: verdict.word.to_string(),
                message: format!("{}: {}", verdict.word, tame(&verdict.sentence)),
                details: diagnosis_details(&diagnoses, bed),
                duration_ms: None,
            },
        }
    }

    /// The checks of all suites, then the verdict, each with its suite's title.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &Check)> {
        let checks = self.suites.iter().flat_map(|suite| suite.checks.iter().map(|check| (suite.title.as_str(), check)));
        checks.chain([(self.command.as_str(), &self.verdict)])
    }
}

fn diagnoses(report: &Report) -> Vec<Diagnosis> {
    let wrong = |device: &&DeviceReport| device.diagnosis.exit_code != ExitCode::Pass;
    report.devices.iter().filter(wrong).map(|device| device.diagnosis.clone()).collect()
}

fn diagnosis_details(diagnoses: &[Diagnosis], bed: &BedReport) -> Vec<(&'static str, String)> {
    let mut details = Vec::new();
    for diagnosis in diagnoses {
        details.push(("summary", tame(&diagnosis.summary)));
        details.extend(diagnosis.cause.as_ref().map(|cause| ("cause", tame(cause))));
        details.extend(diagnosis.fix.iter().flat_map(|fix| fix.lines()).map(|line| (bed.fix_label(), tame(line))));
    }
    details
}

/// Who was asked, and how it is told apart.
struct Subject<'a> {
    index: usize,
    bdf: Option<&'a str>,
    name: &'a str,
    gfx: &'a str,
}

impl Subject<'_> {
    fn suite(&self, command: &str, bed: &BedReport, mode: AtomicsMode, checks: Vec<Check>) -> Suite {
        let place = self.bdf.map_or_else(|| format!("GPU {}", self.index), tame);
        let class = [command, bed.kind.name(), &place].map(|part| part.replace(['.', ' '], "_")).join(".");
        let mut properties = vec![
            ("bed".to_owned(), bed.kind.name().to_owned()),
            ("hardware_tested".to_owned(), bed.tested_hardware().to_string()),
            ("runtime".to_owned(), tame(&bed.runtime)),
            ("device".to_owned(), self.index.to_string()),
            ("name".to_owned(), tame(self.name)),
            ("gfx".to_owned(), tame(self.gfx)),
            ("atomics".to_owned(), mode.name().to_owned()),
        ];
        properties.extend(self.bdf.map(|bdf| ("bdf".to_owned(), tame(bdf))));
        properties.extend(bed.rocr.as_ref().map(|version| ("rocr".to_owned(), tame(version))));
        Suite {
            title: format!("{place} {}, AtomicOps {mode}", tame(self.gfx)),
            class: format!("aqlprobe.{class}.atomics-{}", mode.name()),
            properties,
            checks,
        }
    }
}

fn verify_suites(report: &Report) -> Vec<Suite> {
    let mut suites = Vec::new();
    for device in &report.devices {
        let subject = Subject { index: device.index, bdf: device.bdf.as_deref(), name: &device.name, gfx: &device.gfx };
        for run in &device.runs {
            let deciding = device.deciding_run().is_some_and(|deciding| deciding.atomics == run.atomics);
            let checks = run.cases.iter().map(|case| case_check(case, deciding)).collect();
            suites.push(subject.suite("verify", &report.bed, run.atomics, checks));
            if let Some(suite) = suites.last_mut() {
                suite.properties.extend(run_properties(run));
            }
        }
    }
    suites
}

fn run_properties(run: &RunReport) -> Vec<(String, String)> {
    let mut properties = Vec::new();
    if let Some(fabric) = &run.fabric {
        properties.push(("atomic_ops_performed".to_owned(), fabric.performed.to_string()));
        properties.push(("atomic_ops_dropped".to_owned(), fabric.dropped().to_string()));
    }
    if run.rocr_aborts > 0 {
        properties.push(("rocr_aborts".to_owned(), run.rocr_aborts.to_string()));
    }
    properties
}

/// A failure that was predicted is one all the same where no other run decides: who waits for that signal hangs.
fn case_check(case: &CaseReport, deciding: bool) -> Check {
    let failed = match case.outcome {
        Outcome::WorkerCrashed { .. } | Outcome::RuntimeRefused { .. } | Outcome::RuntimeWedged => Ruling::Broken,
        _ => Ruling::Failed,
    };
    let ruling = match case.standing {
        Standing::Passed => Ruling::Passed,
        Standing::AsPredicted if deciding && case.outcome.is_hang() => failed,
        Standing::AsPredicted => Ruling::FailedAsPredicted,
        Standing::Failed => failed,
        Standing::Skipped => Ruling::Untestable,
        Standing::Known => Ruling::KnownDefect,
    };
    let outcome = tame(&case.outcome.to_string());
    let message = case.cause.as_ref().map_or_else(|| outcome.clone(), |cause| format!("{outcome}: {}", tame(cause)));
    let mut details = Vec::new();
    details.extend(case.expected.as_ref().map(|expected| ("predicted", tame(expected))));
    details.extend(case.cause.as_ref().map(|cause| ("cause", tame(cause))));
    details.extend(Some(("seen", evidence_words(&case.evidence))).filter(|(_, seen)| !seen.is_empty()));
    details.extend(case.evidence.notes.iter().map(|note| ("note", tame(note))));
    Check {
        name: tame(&case.name),
        ruling,
        outcome: case.outcome.name().to_owned(),
        message,
        details,
        duration_ms: Some(case.duration_ms),
    }
}

fn latency_suites(report: &LatencyReport) -> Vec<Suite> {
    let mut suites = Vec::new();
    for device in &report.devices {
        let subject = Subject { index: device.index, bdf: device.bdf.as_deref(), name: &device.name, gfx: &device.gfx };
        for (index, run) in device.runs.iter().enumerate() {
            // The last run decides: who waits for a signal that it lost hangs, predicted or not.
            let check = latency_check(report, run, index + 1 == device.runs.len());
            suites.push(subject.suite("latency", &report.bed, run.atomics, vec![check]));
            if let (Some(suite), LatencyResult::Measured(measured)) = (suites.last_mut(), &run.result) {
                suite.properties.extend(measurement_properties(measured));
            }
        }
    }
    suites
}

fn latency_check(report: &LatencyReport, run: &LatencyRun, deciding: bool) -> Check {
    let ruling = match run.standing {
        Standing::Passed => Ruling::Passed,
        Standing::AsPredicted if deciding => Ruling::Failed,
        Standing::AsPredicted => Ruling::FailedAsPredicted,
        Standing::Failed => Ruling::Failed,
        Standing::Skipped => Ruling::Untestable,
        Standing::Known => Ruling::KnownDefect,
    };
    let (outcome, message, details) = match &run.result {
        LatencyResult::Measured(measured) => {
            let times = &measured.round_trip;
            let message = format!(
                "round trip typically {} ns, 99 % {} ns, at most {} ns, of {} samples",
                times.typical_ns, times.p99_ns, times.max_ns, times.count
            );
            ("measured", message, measured.warnings.iter().map(|warning| ("warning", tame(warning))).collect())
        }
        LatencyResult::Hang { reason } => ("hang", format!("hang: {}", tame(reason)), Vec::new()),
        LatencyResult::NotMeasured { reason } => ("not-measured", format!("not measured: {}", tame(reason)), Vec::new()),
    };
    Check {
        name: format!("latency-{}", report.settings.mode.name()),
        ruling,
        outcome: outcome.to_owned(),
        message,
        details,
        duration_ms: None,
    }
}

fn measurement_properties(measured: &Measurement) -> Vec<(String, String)> {
    let times = &measured.round_trip;
    let mut properties: Vec<(String, String)> = [
        ("samples", times.count),
        ("round_trip_min_ns", times.min_ns),
        ("round_trip_typical_ns", times.typical_ns),
        ("round_trip_p99_ns", times.p99_ns),
        ("round_trip_p999_ns", times.p999_ns),
        ("round_trip_max_ns", times.max_ns),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .into();
    let flow = measured.throughput.map(|flow| ("packets_per_second".to_owned(), format!("{:.1}", flow.packets_per_second)));
    properties.extend(flow);
    properties
}
