//! A fleet's reports for people, and for programs.

use std::io;

use comfy_table::{Cell, LineStyle, presets};
use serde::Serialize;
use serde_json::Serializer;

use super::compact_numbers::CompactNumbers;
use super::document::{Document, DocumentKind};
use super::fleet::FleetReport;
use super::latency::LatencyResult;
use super::outcome::Standing;
use super::run::{BedKind, VerdictWord};
use super::style::{TextStyle, Tone, microseconds, tame};
use super::table::{columns, write_indented};

/// Writes the fleet's reports as a table, what is odd, and what could not be read. The last line is the summary.
///
/// # Errors
/// Those of `out`.
pub fn write(fleet: &FleetReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut table = columns(style);
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('-').junction('-')));
    table.set_header(["node", "bed", "report", "GPUs", "median", "verdict", ""]);
    for entry in &fleet.reports {
        let verdict = entry.report.verdict();
        let word = style.dress(tone(verdict.word), verdict.word).to_string();
        let row = [
            tame(&entry.node),
            bed_word(entry.report.bed().kind).to_owned(),
            kind_word(entry.report.kind()).to_owned(),
            gpus(&entry.report),
            medians(&entry.report),
            word,
            tame(&verdict.sentence),
        ];
        table.add_row(row.map(Cell::new));
    }
    if !fleet.reports.is_empty() {
        write_indented(table, out)?;
        writeln!(out)?;
    }
    for odd in &fleet.summary.odd {
        let of = odd.atomics.map(|mode| format!(" (AtomicOps {mode})")).unwrap_or_default();
        let who = format!("{}, GPU {}", tame(&odd.node), odd.device);
        writeln!(out, "{}: {who}: {}{of}: {}", style.dress(Tone::Expected, "Odd"), odd.differs_in, tame(&odd.here))?;
        writeln!(out, "  most of {} have: {}", odd.among, tame(&odd.most))?;
    }
    for note in &fleet.summary.notes {
        writeln!(out, "Note: {}", tame(note))?;
    }
    for file in &fleet.unreadable {
        writeln!(out, "{}: {}", style.dress(Tone::Bad, "Not read"), tame(&file.reason))?;
    }
    writeln!(out, "{}", summary(fleet))
}

/// The fleet in one line.
#[must_use]
pub fn summary(fleet: &FleetReport) -> String {
    let counted = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let verdicts: Vec<String> = fleet.summary.verdicts.iter().map(|count| format!("{} {}", count.reports, count.word)).collect();
    let mut parts = vec![format!(
        "{} of {}: {}",
        counted(fleet.reports.len(), "report", "reports"),
        counted(fleet.summary.nodes, "node", "nodes"),
        if verdicts.is_empty() { "nothing".to_owned() } else { verdicts.join(", ") }
    )];
    if fleet.summary.on_models > 0 {
        parts.push(format!("{} of a software GPU, not hardware", fleet.summary.on_models));
    }
    if !fleet.summary.odd.is_empty() {
        parts.push(counted(fleet.summary.odd.len(), "oddity", "oddities"));
    }
    if !fleet.unreadable.is_empty() {
        parts.push(counted(fleet.unreadable.len(), "file not read", "files not read"));
    }
    parts.join("; ")
}

/// Writes the fleet as one JSON object (`results/fleet.schema.json`), with a newline at the end.
///
/// # Errors
/// Those of `out`.
pub fn write_json(fleet: &FleetReport, out: &mut impl io::Write) -> io::Result<()> {
    fleet.serialize(&mut Serializer::with_formatter(&mut *out, CompactNumbers::default()))?;
    out.write_all(b"\n")
}

/// The bed in a word or two, as tables have it.
pub(super) const fn bed_word(bed: BedKind) -> &'static str {
    match bed {
        BedKind::Hardware => "hardware",
        BedKind::Embedded => "embedded",
        BedKind::EmbeddedSelfTest => "self-test",
        BedKind::RocrModel => "rocr-model",
        BedKind::Guest => "guest",
        BedKind::UnaskedModel => "device model",
    }
}

pub(super) const fn kind_word(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Verify => "verify",
        DocumentKind::Latency => "latency",
    }
}

pub(super) fn gpus(report: &Document) -> String {
    let targets: Vec<&str> = match report {
        Document::Verify(report) => report.devices.iter().map(|device| device.gfx.as_str()).collect(),
        Document::Latency(report) => report.devices.iter().map(|device| device.gfx.as_str()).collect(),
    };
    tame(&targets.join(", "))
}

/// The median round trips, device by device and run by run.
pub(super) fn medians(report: &Document) -> String {
    let Document::Latency(report) = report else { return String::new() };
    let shown: Vec<String> = report
        .devices
        .iter()
        .flat_map(|device| &device.runs)
        .map(|run| match &run.result {
            LatencyResult::Measured(measurement) => microseconds(measurement.round_trip.typical_ns as f64),
            LatencyResult::Hang { .. } if run.standing == Standing::AsPredicted => "hang as predicted".to_owned(),
            LatencyResult::Hang { .. } => "hang".to_owned(),
            LatencyResult::NotMeasured { .. } => "not measured".to_owned(),
        })
        .collect();
    shown.join(", ")
}

const fn tone(word: VerdictWord) -> Tone {
    match word {
        VerdictWord::Pass => Tone::Good,
        VerdictWord::NoGpuTested | VerdictWord::Degraded => Tone::Expected,
        VerdictWord::Fail | VerdictWord::Hang => Tone::Bad,
    }
}
