//! A fleet's reports: the verdicts of all nodes, the odd ones, then each report.

use maud::{Markup, html};

use crate::report::document::DocumentKind;
use crate::report::fleet::{FleetEntry, FleetReport, OddTrait};
use crate::report::fleet_text::{bed_word, gpus, kind_word, medians, summary};
use crate::report::run::VerdictWord;

use super::words::{foreign, verdict_mark};
use super::{bed_cell, verdict_words};

pub(super) fn section(fleet: &FleetReport, file: &str, anchor: &str) -> Markup {
    // Verdicts are counted worst first.
    let worst = fleet.summary.verdicts.first().map_or(("warn", "○"), |count| verdict_mark(count.word));
    let worst = if worst.0 == "good" && !fleet.unreadable.is_empty() { ("warn", "▲") } else { worst };
    let entries = worst_first(fleet);
    html! {
        div class={ "verdict " (worst.0) } {
            p.word { (worst.1) " Fleet of " (fleet.summary.nodes) @if fleet.summary.nodes == 1 { " node" } @else { " nodes" } }
            p.bed {
                @if fleet.summary.on_hardware > 0 { (reports(fleet.summary.on_hardware)) " on hardware" }
                @if fleet.summary.on_hardware > 0 && fleet.summary.on_models > 0 { ", " }
                @if fleet.summary.on_models > 0 { (reports(fleet.summary.on_models)) " on a software GPU, which is not hardware" }
            }
            p { (foreign(&summary(fleet))) }
        }
        p.quiet { "fleet, " (foreign(file)) }
        div.scroll { table.stack {
            thead { tr { th { "node" } th { "verdict" } th { "bed" } th { "report" } th { "GPUs" } th.number { "median" } } }
            tbody {
                @for (position, entry) in &entries {
                    tr {
                        th scope="row" { a href=(format!("#{anchor}-{position}")) { (foreign(&entry.node)) } }
                        td { (verdict_words(&entry.report)) @if is_odd(entry, fleet) { span.warn { " ▲ odd" } } }
                        td { (bed_cell(&entry.report)) }
                        td { (kind_word(entry.report.kind())) }
                        td { (gpus(&entry.report)) }
                        @let medians = medians(&entry.report);
                        td.number { @if !medians.is_empty() { span.label { "median " } (medians) } }
                    }
                }
            }
        } }
        @if !fleet.summary.odd.is_empty() {
            h2 { "Not like the others" }
            @for odd in &fleet.summary.odd {
                div.case {
                    p { b.warn { "▲ " (foreign(&odd.node)) ", GPU " (odd.device) ": " (odd.differs_in) } @if let Some(mode) = odd.atomics { " (AtomicOps " (mode) ")" } span.quiet { ", " (bed_word(odd.bed)) } }
                    p { "Here: " (foreign(&odd.here)) }
                    p { "Most of " (odd.among) ": " (foreign(&odd.most)) }
                }
            }
        }
        @for note in &fleet.summary.notes { p.quiet { (foreign(note)) } }
        @if !fleet.unreadable.is_empty() {
            h2 { "Not read" }
            ul.plain { @for file in &fleet.unreadable { li { (foreign(&file.reason)) } } }
        }
        h2 { "Reports" }
        @for (position, entry) in &entries {
            @let inner = format!("{anchor}-{position}");
            details {
                summary { (foreign(&entry.node)) ", " (kind_word(entry.report.kind())) ": " (verdict_words(&entry.report)) }
                // A browser opens what a link leads into; what it leads to, it leaves closed.
                div id=(inner) { (super::single(&entry.report, &entry.file, &inner)) }
            }
        }
    }
}

/// Every report with its position in the file: the worst verdicts first, of equal ones the odd first, else as the file has them.
fn worst_first(fleet: &FleetReport) -> Vec<(usize, &FleetEntry)> {
    let mut entries: Vec<(usize, &FleetEntry)> = fleet.reports.iter().enumerate().collect();
    entries.sort_by_key(|(_, entry)| {
        let word = entry.report.verdict().word;
        (VerdictWord::WORST_FIRST.iter().position(|known| *known == word), !is_odd(entry, fleet))
    });
    entries
}

/// A median is odd in a report that has one; whatever else is odd is so in every report of the node.
fn is_odd(entry: &FleetEntry, fleet: &FleetReport) -> bool {
    let concerns = |what: OddTrait| what != OddTrait::Median || entry.report.kind() == DocumentKind::Latency;
    fleet.summary.odd.iter().any(|odd| odd.node == entry.node && odd.bed == entry.report.bed().kind && concerns(odd.differs_in))
}

fn reports(count: usize) -> String {
    format!("{count} {}", if count == 1 { "report" } else { "reports" })
}
