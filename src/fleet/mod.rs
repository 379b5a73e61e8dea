//! The reports of many nodes: gathered into one document, counted, and searched for the node that is not like the others.

mod odd;

use std::path::{Path, PathBuf};

use crate::report::fleet::{FleetEntry, FleetKind, FleetReport, FleetSummary, SavedReport, UnreadableFile, VerdictCount};
use crate::report::{Tool, VerdictWord};

/// Gathers the files' reports. A fleet's document among them is taken apart; a file that cannot be read is named in the result.
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
    FleetReport {
        document: FleetKind::Fleet,
        schema_version: FleetReport::SCHEMA_VERSION,
        tool: Tool::THIS,
        summary: summarise(&reports),
        reports,
        unreadable,
    }
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
