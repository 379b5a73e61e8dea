//! The reports of many nodes: gathered into one document, counted, and searched for the node that is not like the others.

mod newest;
mod odd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::report::fleet::{FleetEntry, FleetKind, FleetReport, FleetSummary, SavedReport, UnreadableFile, VerdictCount};
use crate::report::{DocumentKind, Tool, VerdictWord};

/// Gathers the files' reports. A fleet's document among them is taken apart; a file that cannot be read is named in the result. A report that
/// comes twice is taken once.
#[must_use]
pub fn gather(files: &[PathBuf]) -> FleetReport {
    let (mut reports, mut unreadable) = (Vec::new(), Vec::new());
    for path in files {
        let file = path.display().to_string();
        match SavedReport::read(path) {
            Ok(SavedReport::Single(report)) => {
                let node = report.host().map_or_else(|| stem(path), str::to_owned);
                reports.push(FleetEntry { node, file, report });
            }
            Ok(SavedReport::Fleet(fleet)) => {
                reports.extend(fleet.reports);
                unreadable.extend(fleet.unreadable);
            }
            Err(error) => unreadable.push(UnreadableFile { file, reason: error.to_string() }),
        }
    }
    let (reports, mut notes) = once_each(reports);
    let mut summary = summarise(&reports);
    notes.append(&mut summary.notes);
    summary.notes = notes;
    FleetReport {
        document: FleetKind::Fleet,
        schema_version: FleetReport::SCHEMA_VERSION,
        tool: Tool::THIS,
        summary,
        reports,
        unreadable,
    }
}

/// The reports without those that another entry of the same node holds already (a file named twice, or again beside the document that it was
/// merged into), and what was left out.
fn once_each(reports: Vec<FleetEntry>) -> (Vec<FleetEntry>, Vec<String>) {
    let (mut kept, mut notes): (Vec<FleetEntry>, Vec<String>) = (Vec::new(), Vec::new());
    // Only reports of the same second can be the same, so that few are held against each other.
    let mut known: BTreeMap<(String, DocumentKind, u64), Vec<usize>> = BTreeMap::new();
    for entry in reports {
        let alike = known.entry((entry.node.clone(), entry.report.kind(), entry.report.started_at())).or_default();
        let same = |at: &&usize| serde_json::to_value(&kept[**at].report).ok() == serde_json::to_value(&entry.report).ok();
        match alike.iter().find(same) {
            Some(at) => {
                let first = &kept[*at].file;
                notes.push(format!("{}: {} is the same report as {first}, and counts once", entry.node, entry.file));
            }
            None => {
                alike.push(kept.len());
                kept.push(entry);
            }
        }
    }
    (kept, notes)
}

/// The file's name without its ending: what a job that writes a file per node names it by.
fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn summarise(reports: &[FleetEntry]) -> FleetSummary {
    let mut nodes: Vec<&str> = reports.iter().map(|entry| entry.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let on_hardware = reports.iter().filter(|entry| entry.report.bed().tested_hardware()).count();
    let words = [VerdictWord::Hang, VerdictWord::Fail, VerdictWord::Degraded, VerdictWord::NoGpuTested, VerdictWord::Pass];
    let verdicts = words
        .into_iter()
        .map(|word| VerdictCount { word, reports: reports.iter().filter(|entry| entry.report.verdict().word == word).count() })
        .filter(|count| count.reports > 0)
        .collect();
    let (odd, notes) = odd::find(reports);
    FleetSummary { nodes: nodes.len(), on_hardware, on_models: reports.len() - on_hardware, verdicts, odd, notes }
}
