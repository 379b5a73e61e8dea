//! Prometheus' text exposition format, for the textfile collector of node_exporter: one file per run, replaced as a whole.
//!
//! Every series but `aqlprobe_up` carries the label `bed`, so that no rule can take a model's result for a GPU's by accident.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use super::checklist::HardwareDemand;
use super::document::Document;
use super::latency::{LatencyReport, LatencyResult, LatencySettings, Measurement};
use super::outcome::Standing;
use super::render::{Refusal, RenderError, Renderer};
use super::run::{AtomicsMode, BedReport, ExitCode, Report, Tool, VerdictWord};
use super::style::tame;

pub(super) struct PrometheusRenderer {
    pub demand: HardwareDemand,
}

impl Renderer for PrometheusRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let mut page = Page::default();
        common(document, self.demand, &mut page);
        match document {
            Document::Verify(report) => verify(report, &mut page),
            Document::Latency(report) => latency(report, &mut page),
        }
        Ok(out.write_all(page.text.as_bytes())?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let mut page = Page::default();
        let command = Labels::default().with("command", refusal.command.name());
        page.gauge("aqlprobe_up", UP, [(command, 0.0)]);
        Some(page.text)
    }
}

const UP: &str = "Whether the last run of aqlprobe came to a verdict.";
const WORDS: [VerdictWord; 5] =
    [VerdictWord::Pass, VerdictWord::Fail, VerdictWord::Hang, VerdictWord::Degraded, VerdictWord::NoGpuTested];

/// `{a="b",c="d"}` in the making. Names are ours, values are anybody's.
#[derive(Clone, Debug, Default)]
struct Labels(String);

impl Labels {
    fn with(&self, name: &str, value: &str) -> Self {
        let value = tame(value).replace('\\', "\\\\").replace('"', "\\\"");
        let comma = if self.0.is_empty() { "" } else { "," };
        Self(format!("{}{comma}{name}=\"{value}\"", self.0))
    }

    /// What was measured; figures of other settings must not fall into the same series.
    fn with_settings(&self, settings: &LatencySettings) -> Self {
        self.with("mode", settings.mode.name())
            .with("wait", settings.wait.name())
            .with("fence", settings.fence.name())
            .with("batch", &settings.batch.to_string())
            .with("queues", &settings.queues.to_string())
            .with("producers", &settings.producers.to_string())
            .with("rate", &settings.rate_per_second.map(|rate| rate.to_string()).unwrap_or_default())
            .with("injected", settings.injected.as_deref().unwrap_or_default())
    }
}

/// The text so far.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A metric with its series; nothing where it has none. Of two series with the same labels the first stays: the format forbids
    /// the second.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (&'static str, Labels, f64)>) {
        let mut seen = BTreeSet::new();
        for (suffix, Labels(labels), value) in samples {
            if seen.is_empty() {
                let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            if seen.insert((suffix, labels.clone())) {
                let _ = writeln!(self.text, "{name}{suffix}{{{labels}}} {value}");
            }
        }
    }

    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, f64)>) {
        self.metric(name, "gauge", help, samples.into_iter().map(|(labels, value)| ("", labels, value)));
    }
}

fn of_bed(document: &Document) -> Labels {
    Labels::default().with("command", document.kind().name()).with("bed", document.bed().kind.name())
}

fn device_labels(bed: &BedReport, index: usize, bdf: Option<&str>, name: &str, gfx: &str) -> Labels {
    Labels::default()
        .with("bed", bed.kind.name())
        .with("device", &index.to_string())
        .with("bdf", bdf.unwrap_or_default())
        .with("name", name)
        .with("gfx", gfx)
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

/// Counts and milliseconds are far below what an f64 holds exactly.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const fn number(value: u64) -> f64 {
    value as f64
}

fn seconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e9
}

fn common(document: &Document, demand: HardwareDemand, page: &mut Page) {
    let (labels, verdict, bed) = (of_bed(document), document.verdict(), document.bed());
    let (started_at, duration_ms) = match document {
        Document::Verify(report) => (report.started_at, report.duration_ms),
        Document::Latency(report) => (report.started_at, report.duration_ms),
    };
    // The series of a refusal has no bed; it must be the same series.
    page.gauge("aqlprobe_up", UP, [(Labels::default().with("command", document.kind().name()), 1.0)]);
    let info = labels.with("version", &Tool::THIS.version).with("runtime", &bed.runtime);
    let info = info.with("injected", document.injected().unwrap_or_default());
    page.gauge("aqlprobe_info", "What made this report.", [(info, 1.0)]);
    let tested = "Whether a real GPU was tested; 0: whatever passed, it was a model.";
    page.gauge("aqlprobe_hardware_tested", tested, [(labels.clone(), flag(bed.tested_hardware()))]);
    let started = "When the last run started, in seconds since the epoch.";
    page.gauge("aqlprobe_last_run_timestamp_seconds", started, [(labels.clone(), number(started_at))]);
    page.gauge("aqlprobe_run_duration_seconds", "How long it took.", [(labels.clone(), number(duration_ms) / 1e3)]);
    let words = WORDS.map(|word| (labels.with("verdict", &word.to_string()), flag(word == verdict.word)));
    page.gauge("aqlprobe_verdict", "1 for the verdict of the last run, 0 for the others.", words);
    let code = number(u64::from(demand.applied(verdict.exit_code).status()));
    page.gauge("aqlprobe_exit_status", "Exit code of the last run: 0 is a pass.", [(labels, code)]);
}

fn verify(report: &Report, page: &mut Page) {
    let bed = &report.bed;
    let devices = || {
        report
            .devices
            .iter()
            .map(|device| (device, device_labels(bed, device.index, device.bdf.as_deref(), &device.name, &device.gfx)))
    };
    let completes = devices().map(|(device, labels)| (labels, flag(device.diagnosis.exit_code == ExitCode::Pass)));
    page.gauge("aqlprobe_dispatch_completes", "Whether AQL dispatch completes on this device of this bed.", completes);
    let runs = || {
        devices().flat_map(|(device, labels)| device.runs.iter().map(move |run| (run, labels.with("atomics", run.atomics.name()))))
    };
    let counts = runs().flat_map(|(run, labels)| {
        Standing::ALL.map(|standing| {
            let count = run.cases.iter().filter(|case| case.standing == standing).count();
            (labels.with("standing", standing.name()), number(count as u64))
        })
    });
    page.gauge("aqlprobe_cases", "Cases by how they stand against what was expected.", counts);
    let cases = || runs().flat_map(|(run, labels)| run.cases.iter().map(move |case| (case, labels.with("case", &case.name))));
    let outcomes =
        cases().map(|(case, labels)| (labels.with("outcome", case.outcome.name()).with("standing", case.standing.name()), 1.0));
    page.gauge("aqlprobe_case_outcome", "1 for what happened to a case.", outcomes);
    let durations = cases().map(|(case, labels)| (labels, number(case.duration_ms) / 1e3));
    page.gauge("aqlprobe_case_duration_seconds", "Wall time of a case.", durations);
    let fabric = runs().filter_map(|(run, labels)| Some((run.fabric?, labels)));
    let fates = fabric.flat_map(|(fabric, labels)| {
        [("performed", fabric.performed), ("dropped", fabric.dropped())]
            .map(|(fate, count)| (labels.with("fate", fate), number(count)))
    });
    page.gauge("aqlprobe_atomic_ops", "AtomicOps of the device to host memory, on beds that count them.", fates);
}

fn latency(report: &LatencyReport, page: &mut Page) {
    let runs: Vec<(AtomicsMode, &LatencyResult, Labels)> = report
        .devices
        .iter()
        .flat_map(|device| {
            let labels = device_labels(&report.bed, device.index, device.bdf.as_deref(), &device.name, &device.gfx);
            device.runs.iter().map(move |run| (run.atomics, &run.result, labels.clone()))
        })
        .map(|(mode, result, labels)| (mode, result, labels.with("atomics", mode.name()).with_settings(&report.settings)))
        .collect();
    let hangs = runs.iter().map(|(_, result, labels)| (labels.clone(), flag(matches!(result, LatencyResult::Hang { .. }))));
    page.gauge("aqlprobe_latency_hang", "Whether a measured completion never came.", hangs);
    let measured: Vec<(&Measurement, &Labels)> = runs
        .iter()
        .filter_map(|(_, result, labels)| match result {
            LatencyResult::Measured(measured) => Some((&**measured, labels)),
            LatencyResult::Hang { .. } | LatencyResult::NotMeasured { .. } => None,
        })
        .collect();
    let round_trips = measured.iter().flat_map(|(measured, labels)| {
        let times = &measured.round_trip;
        let quantile = |quantile: &str, nanoseconds: u64| ("", labels.with("quantile", quantile), seconds(number(nanoseconds)));
        [
            quantile("0", times.min_ns),
            quantile("0.5", times.typical_ns),
            quantile("0.99", times.p99_ns),
            quantile("0.999", times.p999_ns),
            quantile("1", times.max_ns),
            ("_sum", (*labels).clone(), seconds(times.mean_ns * number(times.count))),
            ("_count", (*labels).clone(), number(times.count)),
        ]
    });
    page.metric(
        "aqlprobe_round_trip_seconds",
        "summary",
        "Round trip, from before its packet is written until the host has seen its end.",
        round_trips,
    );
    let stages = measured.iter().flat_map(|(measured, labels)| {
        measured.stages.iter().map(|stage| (labels.with("stage", stage.stage.name()), seconds(stage.median_ns)))
    });
    page.gauge("aqlprobe_stage_median_seconds", "Median of a stage of the round trip.", stages);
    let rates = measured.iter().filter_map(|(measured, labels)| Some(((*labels).clone(), measured.throughput?.packets_per_second)));
    page.gauge("aqlprobe_packets_per_second", "Packets completed per second over the measurement.", rates);
}
