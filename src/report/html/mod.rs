//! Saved reports as one page that needs nothing but itself: no script, no font, no picture from elsewhere.
//!
//! The templates escape whatever they are given, and a content security policy forbids what could be loaded all the same: a hostile string in
//! a report stays a string. What a colour says, a word and a shape say too.

mod axis;
mod bars;
mod chain;
#[cfg(test)]
mod contrast;
mod environment;
mod fleet;
mod histogram;
mod latency;
mod stages;
mod verify;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::Document;
use super::fleet::SavedReport;
use super::fleet_text::{bed_word, kind_word, summary};
use super::run::Tool;
use super::text::bed_line;

use words::{foreign, utc, verdict_mark};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded, nothing runs; the page's own style is all there is.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A report and the file that it came from.
#[derive(Clone, Debug)]
pub struct HtmlSource {
    /// The file, as it was named.
    pub file: String,
    /// What it holds.
    pub report: SavedReport,
}

/// The page of these reports.
#[must_use]
pub fn page(sources: &[HtmlSource]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { (title(sources)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.page {
                    h1 { "aqlprobe: does AQL dispatch complete?" }
                    @if let [only] = sources { p { (foreign(&only.file)) } }
                }
                main {
                    @if sources.len() > 1 { (contents(sources)) }
                    @for (position, source) in sources.iter().enumerate() {
                        section.report id=(anchor(position)) { (saved(source, position)) }
                    }
                }
                footer { p { "Written by " (Tool::THIS.name) " " (Tool::THIS.version) ". Marks: ✓ as it must, ◇ as predicted, ✗ failed, – skipped, ~ known." } }
            }
        }
    }
    .into_string()
}

fn anchor(position: usize) -> String {
    format!("report-{position}")
}

fn title(sources: &[HtmlSource]) -> String {
    match sources {
        [HtmlSource { report: SavedReport::Single(report), .. }] => {
            format!("{}: aqlprobe {}", report.verdict().word, kind_word(report.kind()))
        }
        [HtmlSource { report: SavedReport::Fleet(fleet), .. }] => format!("{} nodes: aqlprobe fleet", fleet.summary.nodes),
        _ => format!("{} reports: aqlprobe", sources.len()),
    }
}

/// Verdicts first, where there are several.
fn contents(sources: &[HtmlSource]) -> Markup {
    html! {
        section.report {
            h2 { "Verdicts" }
            div.scroll { table.stack {
                thead { tr { th { "report" } th { "verdict" } th { "bed" } } }
                tbody {
                    @for (position, source) in sources.iter().enumerate() {
                        tr {
                            th scope="row" { a href={ "#" (anchor(position)) } { (foreign(&source.file)) } }
                            @match &source.report {
                                SavedReport::Single(report) => {
                                    td { (verdict_words(report)) }
                                    td { (bed_cell(report)) }
                                }
                                SavedReport::Fleet(fleet) => { td { (foreign(&summary(fleet))) } td { "fleet" } }
                            }
                        }
                    }
                }
            } }
        }
    }
}

/// Shape and word of a report's verdict.
fn verdict_words(report: &Document) -> Markup {
    let word = report.verdict().word;
    let (class, shape) = verdict_mark(word);
    html! { b class={ "verdict-word " (class) } { (shape) " " (word) } }
}

/// The bed as a table has it, with a word on faults injected on purpose.
fn bed_cell(report: &Document) -> Markup {
    html! { (bed_word(report.bed().kind)) @if report.injected().is_some() { span.warn { " ▲ faults injected" } } }
}

fn saved(source: &HtmlSource, position: usize) -> Markup {
    match &source.report {
        SavedReport::Single(report) => single(report, &source.file, &anchor(position)),
        SavedReport::Fleet(report) => fleet::section(report, &source.file, &anchor(position)),
    }
}

/// A report; `anchor` keeps what it names apart from other reports on the page.
fn single(report: &Document, file: &str, anchor: &str) -> Markup {
    let (class, shape) = verdict_mark(report.verdict().word);
    let (tool, started_at) = match report {
        Document::Verify(report) => (&report.tool, report.started_at),
        Document::Latency(report) => (&report.tool, report.started_at),
    };
    html! {
        div class={ "verdict " (class) } {
            p.word { (shape) " " (report.verdict().word) }
            p.bed { (foreign(&bed_line(report.bed()))) }
            @if let Some(plan) = report.injected() { p { b { "▲ Faults injected on purpose: " } code { (foreign(plan)) } } }
            p { (foreign(&report.verdict().sentence)) }
        }
        p.quiet {
            (kind_word(report.kind())) " of "
            @if let Some(host) = report.host() { (foreign(host)) ", " }
            @if let Some(date) = utc(started_at) { (date) ", " }
            (foreign(&tool.name)) " " (foreign(&tool.version)) ", " (foreign(file))
        }
        @match report {
            Document::Verify(report) => { (verify::body(report)) }
            Document::Latency(report) => { (latency::body(report, anchor)) }
        }
    }
}
