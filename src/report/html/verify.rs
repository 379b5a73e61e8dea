//! What `aqlprobe verify` found.

use maud::{Markup, html};

use crate::report::alike::{Alike, alike};
use crate::report::evidence::Evidence;
use crate::report::outcome::Standing;
use crate::report::path::KfdAcceptance;
use crate::report::run::{BedReport, CaseReport, DeviceReport, Report, RequesterReadback, RunReport};
use crate::report::text::evidence_words;

use super::words::{foreign, foreign_lines, standing_mark};
use super::{chain, environment};

pub(super) fn body(report: &Report) -> Markup {
    html! {
        @if let Some(explanation) = &report.no_gpu { p { b { "No GPU can be tested. " } (foreign(explanation)) } }
        @for found in &report.devices { (device(found, &report.bed)) }
        (environment::runtime(&report.runtime, None))
    }
}

fn device(device: &DeviceReport, bed: &BedReport) -> Markup {
    html! {
        h2 { "GPU " (device.index) ": " (foreign(&device.name)) ", " (foreign(&device.gfx)) @if let Some(bdf) = &device.bdf { ", " (foreign(bdf)) } }
        p { (foreign(&device.diagnosis.summary)) }
        @if let Some(cause) = &device.diagnosis.cause { p { b { "Cause: " } (foreign(cause)) } }
        @if let Some(fix) = &device.diagnosis.fix { (fix_heading("Fix", bed)) pre { (foreign_lines(fix)) } }
        @if let Some(path) = &device.path { (chain::chain(path, device, bed)) }
        @if let Some(kfd) = &device.kfd {
            @let (class, words) = match kfd.acceptance {
                KfdAcceptance::Accepted => ("good", "✓ would accept this device"),
                KfdAcceptance::Refused => ("bad", "✗ would refuse this device"),
                KfdAcceptance::Unknown => ("warn", "? may or may not accept this device"),
            };
            p { b { "KFD " span class=(class) { (words) } } ". " (foreign(&kfd.reason)) }
        }
        p { b { "Predicted without AtomicOps: " (foreign(&device.prediction.without_atomics)) } ". " (foreign(&device.prediction.reason)) }
        (environment::agent(&device.agent, device.doorbell))
        h3 { "Cases" }
        @for run in &device.runs { (run_line(run)) }
        (matrix(&device.runs))
        @for run in &device.runs { (failures(run)) (evidence(run)) }
    }
}

/// Above commands: what they are for, and whether they are for this machine at all.
pub(super) fn fix_heading(what: &str, bed: &BedReport) -> Markup {
    html! { p { b { (what) } @if let Some(caveat) = bed.fix_caveat() { " " span.warn { "(" (caveat) ")" } } } }
}

fn run_line(run: &RunReport) -> Markup {
    let count = |standing: Standing| run.cases.iter().filter(|case| case.standing == standing).count();
    let counted: Vec<String> = [
        (Standing::Passed, "passed"),
        (Standing::AsPredicted, "failed as predicted"),
        (Standing::Failed, "failed"),
        (Standing::Skipped, "skipped"),
        (Standing::Known, "known of the runtime"),
    ]
    .into_iter()
    .filter(|(standing, _)| count(*standing) > 0)
    .map(|(standing, words)| format!("{} {words}", count(standing)))
    .collect();
    let requester = match &run.requester {
        RequesterReadback::Holds { enabled } => format!("requester enable reads {}", u8::from(*enabled)),
        RequesterReadback::DidNotStick { enabled } => {
            format!("the write did not stick: requester enable reads {}", u8::from(*enabled))
        }
        RequesterReadback::Unknown { reason } => format!("requester enable unknown: {reason}"),
    };
    html! {
        p {
            b { "AtomicOps " (run.atomics) } ": "
            @if counted.is_empty() { "no case ran" } @else { (counted.join(", ")) }
            "; " (foreign(&requester))
            @if let Some(fabric) = &run.fabric { ". " span.quiet { "AtomicOps to host memory: " (fabric) } }
        }
    }
}

/// Cases against states of AtomicOps.
fn matrix(runs: &[RunReport]) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for case in runs.iter().flat_map(|run| &run.cases) {
        if !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    }
    html! {
        @if !names.is_empty() {
            div.scroll { table.matrix {
                thead { tr { th { "case" } @for run in runs { th { "AtomicOps " (run.atomics) } } } }
                tbody {
                    @for name in names {
                        tr {
                            th scope="row" { (foreign(name)) }
                            @for run in runs { td { @if let Some(case) = run.cases.iter().find(|case| case.name == name) { (outcome(case)) } } }
                        }
                    }
                }
            } }
        }
    }
}

/// The outcome by word and shape.
fn outcome(case: &CaseReport) -> Markup {
    let (class, shape, word) = standing_mark(case.standing);
    html! { span class=(class) { (shape) " " (case.outcome.name()) @if !word.is_empty() { " (" (word) ")" } } }
}

/// Failed cases, those with the same outcome and cause together.
fn failures(run: &RunReport) -> Markup {
    let failed: Vec<&CaseReport> = run.cases.iter().filter(|case| case.standing == Standing::Failed).collect();
    html! {
        @if !failed.is_empty() {
            details open {
                summary.bad { "✗ " (failed.len()) " failed, AtomicOps " (run.atomics) }
                @for group in alike(failed.iter().copied()) { (told_together(&group)) }
            }
        }
    }
}

fn told_together(group: &Alike<'_>) -> Markup {
    if group.count() == 1 {
        return told(group.first);
    }
    let (class, shape, _) = standing_mark(group.first.standing);
    let names: Vec<&str> = group.cases().map(|case| case.name.as_str()).collect();
    let speaker = group.speaker();
    let seen = evidence_words(&speaker.evidence);
    html! {
        div.case {
            p { b { (names.len()) " cases " } span class=(class) { (shape) " " (foreign(&group.first.outcome.to_string())) } }
            // A name is what `--case` takes: it is not broken at its hyphens.
            p.mono { @for (position, name) in names.iter().enumerate() { @if position > 0 { ", " } span.whole { (foreign(name)) } } }
            (expected_and_cause(group.first))
            @if !seen.is_empty() { p { "Seen in " span.mono { (foreign(&speaker.name)) } ": " (foreign(&seen)) } }
            @for (note, of) in notes(group) {
                p { @if of.len() == names.len() { "Note: " } @else { "Note on " span.mono { (foreign(&of.join(", "))) } ": " } (foreign(note)) }
            }
            details {
                summary { "Evidence of each" }
                @for case in group.cases() { div.case { (heading(case)) (seen_in(case)) } }
            }
        }
    }
}

/// What was noted, with the cases that it was noted in.
fn notes<'a>(group: &Alike<'a>) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut noted: Vec<(&str, Vec<&str>)> = Vec::new();
    for case in group.cases() {
        for note in &case.evidence.notes {
            match noted.iter_mut().find(|(known, _)| known == note) {
                Some((_, names)) => names.push(&case.name),
                None => noted.push((note, vec![&case.name])),
            }
        }
    }
    noted
}

fn evidence(run: &RunReport) -> Markup {
    let others: Vec<&CaseReport> = run.cases.iter().filter(|case| case.standing != Standing::Failed).collect();
    html! {
        @if !others.is_empty() {
            details {
                summary { "Evidence of " (others.len()) @if others.len() == 1 { " case" } @else { " cases" } ", AtomicOps " (run.atomics) }
                @for case in others { (told(case)) }
            }
        }
    }
}

/// One case in full.
fn told(case: &CaseReport) -> Markup {
    html! {
        div.case {
            (heading(case))
            (expected_and_cause(case))
            (seen_in(case))
            @for note in &case.evidence.notes { p { "Note: " (foreign(note)) } }
        }
    }
}

fn heading(case: &CaseReport) -> Markup {
    let (class, shape, _) = standing_mark(case.standing);
    html! {
        p {
            b.mono { (foreign(&case.name)) } " " span class=(class) { (shape) " " (foreign(&case.outcome.to_string())) }
            span.quiet { ", " (case.duration_ms) " ms" }
        }
    }
}

fn expected_and_cause(case: &CaseReport) -> Markup {
    html! {
        @if let Some(expected) = &case.expected { p { "Predicted: " (foreign(expected)) } }
        @if let Some(cause) = &case.cause { p { "Cause: " (foreign(cause)) } }
    }
}

fn seen_in(case: &CaseReport) -> Markup {
    let seen = evidence_words(&case.evidence);
    html! {
        @if !seen.is_empty() { p { "Seen: " (foreign(&seen)) } }
        @if let Some(more) = details_of(&case.evidence) { p.quiet.mono { (foreign(&more)) } }
    }
}

/// What a bug report needs and a reader mostly does not.
fn details_of(evidence: &Evidence) -> Option<String> {
    let mut words = Vec::new();
    if let Some(queue) = &evidence.queue {
        words.push(format!("ring of {} packets, header 0x{:04x}", queue.packets, queue.header));
    }
    if let Some(signal) = &evidence.signal {
        words.push(format!("event {}, ticks {} to {}", signal.event_id, signal.start_ts, signal.end_ts));
        words.extend(signal.event_mailbox.as_ref().map(|mailbox| format!("mailbox {mailbox}")));
    }
    (!words.is_empty()).then(|| words.join("; "))
}
