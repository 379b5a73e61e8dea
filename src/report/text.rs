//! The report for people.
//!
//! The first line names the bed; the last is the verdict, or, where no GPU was tested, says so and why. Nothing is decided here.

use std::io;

use super::alike::{FOUNDING_CASE, alike};
use super::document::Document;
use super::evidence::Evidence;
use super::outcome::Standing;
use super::path::PathReport;
use super::run::{BedKind, BedReport, CaseReport, DeviceReport, Diagnosis, ExitCode, Report, RequesterReadback, RunReport};
use super::runtime_text::{agent_words, write_runtime};
use super::style::{TextStyle, Tone, tame, thousands};
use super::table::{mode_heading, tone, write_cases, write_hops};

/// Writes the whole report.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "{}", style.dress(Tone::Strong, first_line(report)))?;
    if let Some(explanation) = &report.no_gpu {
        writeln!(out, "No GPU can be tested: {}", tame(explanation))?;
    }
    write_runtime(&report.runtime, out)?;
    for device in &report.devices {
        writeln!(out)?;
        write_device(device, style, out)?;
        write_diagnosis(&device.diagnosis, report, style, out)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", verdict_line(report, style))?;
    if let Some(line) = untested_line(report) {
        writeln!(out, "{}", style.dress(Tone::Expected, line))?;
    }
    Ok(())
}

/// The verdict in one line, without colour: for a log beside a report that went to a file.
#[must_use]
pub fn verdict(report: &Report) -> String {
    let verdict = verdict_line(report, TextStyle::PLAIN);
    untested_line(report).map_or_else(|| verdict.clone(), |untested| format!("{verdict}\n{untested}"))
}

/// The same for a report of either kind.
#[must_use]
pub fn verdict_of(document: &Document) -> String {
    match document {
        Document::Verify(report) => verdict(report),
        Document::Latency(report) => format!("{}: {}", report.verdict.word, tame(&report.verdict.sentence)),
    }
}

fn first_line(report: &Report) -> String {
    let bed = bed_line(&report.bed);
    report.injected.as_ref().map_or_else(|| bed.clone(), |plan| format!("{bed}; injected faults: {}", tame(plan)))
}

/// The bed in one line: the first of every report.
pub(crate) fn bed_line(bed: &BedReport) -> String {
    let runtime = tame(&bed.runtime);
    let reason = || bed.reason.as_deref().map_or_else(|| "no usable GPU was found".to_owned(), tame);
    let mut line = match bed.kind {
        BedKind::Hardware => format!("Test bed: hardware, through {runtime}"),
        BedKind::Embedded => "Test bed: embedded, a software GPU and not hardware".to_owned(),
        BedKind::EmbeddedSelfTest => format!("Test bed: embedded, a self-test on a software GPU; no GPU was tested: {}", reason()),
        BedKind::RocrModel => format!("Test bed: {}; runtime {runtime}", tame(&bed.rocr_model())),
        BedKind::Guest => format!("Test bed: guest, our runtime on the software PCIe endpoint and not hardware; runtime {runtime}"),
        BedKind::UnaskedModel => format!("Test bed: a device model through {runtime}; no GPU was tested: {}", reason()),
    };
    if let Some(replay) = &bed.replay {
        line.push_str(&format!("; config space replayed from {}", tame(replay)));
    }
    line
}

/// What a self-test must end with, where the verdict does not say all of it.
fn untested_line(report: &Report) -> Option<String> {
    let reason = report.bed.reason.as_deref().unwrap_or("no usable GPU was found");
    let sentence = &report.verdict.sentence;
    let said = sentence.contains("no GPU was tested") && sentence.contains(reason);
    let what = match report.bed.kind {
        BedKind::EmbeddedSelfTest => "This was a self-test",
        BedKind::UnaskedModel => "This was a device model",
        BedKind::Hardware | BedKind::Embedded | BedKind::RocrModel | BedKind::Guest => return None,
    };
    (!said).then(|| format!("{what}; no GPU was tested: {}", tame(reason)))
}

fn verdict_line(report: &Report, style: TextStyle) -> String {
    let verdict = &report.verdict;
    let tone = match verdict.exit_code {
        ExitCode::Pass => Tone::Good,
        ExitCode::NoHardware | ExitCode::Degraded => Tone::Expected,
        ExitCode::CheckFailed | ExitCode::Usage | ExitCode::Hang => Tone::Bad,
    };
    format!("{}: {}", style.dress(tone, verdict.word), tame(&verdict.sentence))
}

fn write_device(device: &DeviceReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let heading = format!("GPU {}: {}, {}", device.index, tame(&device.name), tame(&device.gfx));
    let heading = device.bdf.as_ref().map_or_else(|| heading.clone(), |bdf| format!("{heading}, {}", tame(bdf)));
    writeln!(out, "{}", style.dress(Tone::Strong, heading))?;
    let described = agent_words(&device.agent, device.doorbell);
    if !described.is_empty() {
        writeln!(out, "As the runtime describes it: {described}")?;
    }
    if let Some(path) = &device.path {
        write_path(path, style, out)?;
    }
    if let Some(kfd) = &device.kfd {
        let answer = match kfd.acceptance {
            super::KfdAcceptance::Accepted => "would accept this device",
            super::KfdAcceptance::Refused => "would refuse this device",
            super::KfdAcceptance::Unknown => "may or may not accept this device",
        };
        writeln!(out, "KFD {answer}: {}", tame(&kfd.reason))?;
    }
    writeln!(
        out,
        "Prediction without AtomicOps: {}: {}",
        tame(&device.prediction.without_atomics),
        tame(&device.prediction.reason)
    )?;
    writeln!(out)?;
    write_cases(&device.runs, style, out)?;
    writeln!(out)?;
    for run in &device.runs {
        write_run_summary(run, style, out)?;
    }
    write_founding_evidence(&device.runs, out)?;
    device.runs.iter().try_for_each(|run| write_observations(run, out))?;
    device.runs.iter().try_for_each(|run| write_failures(run, style, out))
}

fn write_path(path: &PathReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "Path of its AtomicOps as found, host end first:")?;
    write_hops(&path.hops, style, out)?;
    writeln!(out, "  {}", tame(&path.summary))?;
    for cause in path.causes.iter().filter(|cause| !path.summary.contains(cause.as_str())) {
        writeln!(out, "  {}", tame(cause))?;
    }
    Ok(())
}

fn write_run_summary(run: &RunReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut parts = Vec::new();
    for (standing, words) in [
        (Standing::Passed, "passed"),
        (Standing::AsPredicted, "failed as predicted"),
        (Standing::Failed, "failed"),
        (Standing::Skipped, "skipped"),
        (Standing::Known, "known of the runtime"),
    ] {
        let count = run.cases.iter().filter(|case| case.standing == standing).count();
        if count > 0 {
            parts.push(style.dress(tone(standing), format!("{count} {words}")).to_string());
        }
    }
    let requester = match &run.requester {
        RequesterReadback::Holds { enabled } => format!("requester enable reads {}", u8::from(*enabled)),
        RequesterReadback::DidNotStick { enabled } => {
            style.dress(Tone::Bad, format!("the write did not stick: requester enable reads {}", u8::from(*enabled))).to_string()
        }
        RequesterReadback::Unknown { reason } => format!("requester enable unknown: {}", tame(reason)),
    };
    let counts = match run.cases.len() {
        0 => "no case ran".to_owned(),
        1 => format!("{} of 1 case", parts.join(", ")),
        cases => format!("{} of {cases} cases", parts.join(", ")),
    };
    writeln!(out, "{}: {counts}; {requester}", mode_heading(run.atomics))?;
    match run.rocr_aborts {
        0 => {}
        1 => writeln!(out, "  ROCr aborted once by the defect of its model mode's events; the case was repeated")?,
        times => writeln!(out, "  ROCr aborted {times} times by the defect of its model mode's events; the cases were repeated")?,
    }
    if let Some(fabric) = &run.fabric {
        writeln!(out, "  the device's AtomicOps to host memory: {fabric}")?;
    }
    Ok(())
}

/// What was seen in the founding case, or in the first that did not complete where that one was not selected.
fn write_founding_evidence(runs: &[RunReport], out: &mut impl io::Write) -> io::Result<()> {
    for run in runs {
        let founding = run.cases.iter().find(|case| case.name == FOUNDING_CASE);
        let shown = founding.or_else(|| run.cases.iter().find(|case| case.standing == Standing::AsPredicted));
        let Some(case) = shown.filter(|case| !is_trouble(case)) else { continue };
        let seen = evidence_words(&case.evidence);
        if !seen.is_empty() {
            let outcome = tame(&case.outcome.to_string());
            writeln!(out, "{}, {}: {outcome}", tame(&case.name), mode_heading(run.atomics))?;
            writeln!(out, "  {seen}")?;
        }
    }
    Ok(())
}

/// Whether the reader has to act on the case, so that it is told in full.
fn is_trouble(case: &CaseReport) -> bool {
    matches!(case.standing, Standing::Failed)
}

/// Failed, skipped and known cases, those with the same outcome and cause together.
fn write_failures(run: &RunReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let told = |case: &&CaseReport| is_trouble(case) || matches!(case.standing, Standing::Skipped | Standing::Known);
    for group in alike(run.cases.iter().filter(told)) {
        let first = group.first;
        let names = group.cases().map(|case| tame(&case.name)).collect::<Vec<_>>().join(", ");
        writeln!(out)?;
        writeln!(out, "{}: {names}: {}", mode_heading(run.atomics), outcome_words(first, style))?;
        if let Some(expected) = &first.expected {
            writeln!(out, "  Predicted: {}", tame(expected))?;
        }
        if let Some(cause) = &first.cause {
            writeln!(out, "  Cause: {}", tame(cause))?;
        }
        let speaker = group.speaker();
        let seen = evidence_words(&speaker.evidence);
        if !seen.is_empty() {
            writeln!(out, "  Seen in {}: {seen}", tame(&speaker.name))?;
        }
        for case in group.cases() {
            for note in &case.evidence.notes {
                writeln!(out, "  Note on {}: {}", tame(&case.name), tame(note))?;
            }
        }
    }
    Ok(())
}

fn outcome_words(case: &CaseReport, style: TextStyle) -> String {
    style.dress(tone(case.standing), tame(&case.outcome.to_string())).to_string()
}

/// What was noted in the other cases: counts of lost updates, operations without effect. Cases with the same note together.
fn write_observations(run: &RunReport, out: &mut impl io::Write) -> io::Result<()> {
    let mut noted: Vec<(&str, Vec<&str>)> = Vec::new();
    let others = |case: &&CaseReport| matches!(case.standing, Standing::Passed | Standing::AsPredicted);
    for case in run.cases.iter().filter(others) {
        for note in &case.evidence.notes {
            match noted.iter_mut().find(|(known, _)| known == note) {
                Some((_, names)) => names.push(&case.name),
                None => noted.push((note, vec![&case.name])),
            }
        }
    }
    if !noted.is_empty() {
        writeln!(out, "Observed, {}:", mode_heading(run.atomics))?;
    }
    noted.iter().try_for_each(|(note, names)| writeln!(out, "  {}: {}", tame(&names.join(", ")), tame(note)))
}

/// The summary is left out where the verdict repeats it, as it does for a single device.
fn write_diagnosis(diagnosis: &Diagnosis, report: &Report, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut lines = Vec::new();
    if !report.verdict.sentence.contains(&diagnosis.summary) {
        lines.push(tame(&diagnosis.summary));
    }
    if let Some(cause) = &diagnosis.cause {
        lines.push(format!("Cause: {}", tame(cause)));
    }
    if let Some(fix) = &diagnosis.fix {
        lines.push(format!("{}:", report.bed.fix_label().replacen("fix", "Fix", 1)));
        lines.extend(fix.lines().map(|line| format!("  {}", style.dress(Tone::Strong, tame(line)))));
    }
    if !lines.is_empty() {
        writeln!(out)?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// What was seen, in one line.
pub(super) fn evidence_words(evidence: &Evidence) -> String {
    let mut words = Vec::new();
    if let Some(output) = &evidence.output {
        let mut seen = format!("output right {}/{}", thousands(output.right), thousands(output.elements));
        for (count, what) in [(output.untouched, "untouched"), (output.wrong, "wrong")] {
            if count > 0 {
                seen.push_str(&format!(", {} {what}", thousands(count)));
            }
        }
        words.push(seen);
    }
    if let Some(signal) = &evidence.signal {
        words.push(format!("signal {} → {} (fires at {})", signal.before, signal.after, signal.expected));
    }
    if let Some(queue) = &evidence.queue {
        words.push(format!("packets taken {}/{}", thousands(queue.read_index), thousands(queue.write_index)));
        if let Some(error) = &queue.error {
            words.push(format!("queue error {}", tame(error)));
        }
    }
    if let Some(fabric) = &evidence.fabric {
        words.push(format!("AtomicOps {fabric}"));
    }
    words.join("; ")
}
