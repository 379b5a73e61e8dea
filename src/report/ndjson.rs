//! One JSON object per line and event, written as things happen: a reader sees the case that hangs while it hangs.
//!
//! The first line names the bed, the last is the verdict (or the error that took its place). The objects' inner values are those of
//! the JSON report.

use std::io;

use serde::Serialize;

use super::document::{Document, DocumentKind};
use super::latency::{LatencyRun, LatencySettings};
use super::render::{Refusal, RenderError, Renderer};
use super::run::{AtomicsMode, BedReport, CaseReport, ExitCode, Tool, Verdict};

/// Version of the lines' layout; grows with every incompatible change.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    Started { schema_version: u32, document: DocumentKind, tool: Tool, bed: &'a BedReport, hardware_tested: bool },
    Planned { cases: usize },
    RunStarted { device: &'a str, atomics: AtomicsMode },
    CaseStarted { device: &'a str, atomics: AtomicsMode, name: &'a str },
    CaseFinished { device: &'a str, atomics: AtomicsMode, case: &'a CaseReport },
    Measured { device: &'a str, settings: &'a LatencySettings, run: &'a LatencyRun },
    Verdict { bed: &'a BedReport, hardware_tested: bool, duration_ms: u64, verdict: &'a Verdict },
    Error { document: DocumentKind, reason: &'a str, exit_code: ExitCode },
}

/// Writes events to `out`, each at once. A failure to write is kept for [`EventStream::finish`], so that a reader who goes away does
/// not stop the run.
pub struct EventStream<W> {
    out: W,
    failure: Option<io::Error>,
    device: String,
    atomics: AtomicsMode,
}

impl<W: io::Write> EventStream<W> {
    /// A stream that has said nothing yet.
    pub fn new(out: W) -> Self {
        Self { out, failure: None, device: String::new(), atomics: AtomicsMode::AsFound }
    }

    /// The bed is there.
    pub fn started(&mut self, document: DocumentKind, bed: &BedReport) {
        let hardware_tested = bed.tested_hardware();
        self.line(&Event::Started { schema_version: SCHEMA_VERSION, document, tool: Tool::THIS, bed, hardware_tested });
    }

    /// So many cases will come, over all devices and states of AtomicOps.
    pub fn planned(&mut self, cases: usize) {
        self.line(&Event::Planned { cases });
    }

    /// The cases of `device` in this state of AtomicOps follow.
    pub fn run_started(&mut self, device: &str, atomics: AtomicsMode) {
        (self.device, self.atomics) = (device.to_owned(), atomics);
        self.line(&Event::RunStarted { device, atomics });
    }

    /// A case starts.
    pub fn case_started(&mut self, name: &str) {
        let device = std::mem::take(&mut self.device);
        self.line(&Event::CaseStarted { device: &device, atomics: self.atomics, name });
        self.device = device;
    }

    /// A case ended.
    pub fn case_finished(&mut self, case: &CaseReport) {
        let device = std::mem::take(&mut self.device);
        self.line(&Event::CaseFinished { device: &device, atomics: self.atomics, case });
        self.device = device;
    }

    /// What was measured, all at once, and the last word.
    pub fn conclude(&mut self, document: &Document) {
        if let Document::Latency(report) = document {
            for device in &report.devices {
                let label = label(&device.name, &device.gfx, device.bdf.as_deref());
                device.runs.iter().for_each(|run| self.line(&Event::Measured { device: &label, settings: &report.settings, run }));
            }
        }
        self.verdict(document);
    }

    fn verdict(&mut self, document: &Document) {
        let duration_ms = match document {
            Document::Verify(report) => report.duration_ms,
            Document::Latency(report) => report.duration_ms,
        };
        let (bed, verdict) = (document.bed(), document.verdict());
        self.line(&Event::Verdict { bed, hardware_tested: bed.tested_hardware(), duration_ms, verdict });
    }

    /// There will be no verdict.
    pub fn error(&mut self, refusal: &Refusal) {
        self.line(&Event::Error { document: refusal.command, reason: &refusal.reason, exit_code: refusal.exit_code });
    }

    /// Everything, after the fact.
    pub fn replay(&mut self, document: &Document) {
        self.started(document.kind(), document.bed());
        if let Document::Verify(report) = document {
            self.planned(report.devices.iter().flat_map(|device| &device.runs).map(|run| run.cases.len()).sum());
            for device in &report.devices {
                let label = label(&device.name, &device.gfx, device.bdf.as_deref());
                for run in &device.runs {
                    self.run_started(&label, run.atomics);
                    run.cases.iter().for_each(|case| self.case_finished(case));
                }
            }
        }
        self.conclude(document);
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(self) -> io::Result<()> {
        self.failure.map_or(Ok(()), Err)
    }

    fn line(&mut self, event: &Event<'_>) {
        if self.failure.is_some() {
            return;
        }
        let written = serde_json::to_vec(event).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.out.write_all(&line)?;
            self.out.flush()
        });
        self.failure = written.err();
    }
}

/// A device as a run's events name it.
fn label(name: &str, gfx: &str, bdf: Option<&str>) -> String {
    let place = bdf.map(|bdf| format!(" at {bdf}")).unwrap_or_default();
    format!("{name} ({gfx}){place}")
}

pub(super) struct NdjsonRenderer;

impl Renderer for NdjsonRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let mut stream = EventStream::new(out);
        stream.replay(document);
        Ok(stream.finish()?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let mut line = Vec::new();
        EventStream::new(&mut line).error(refusal);
        String::from_utf8(line).ok()
    }
}
