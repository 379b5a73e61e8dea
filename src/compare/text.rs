//! A comparison for people, and for programs.

use std::io;

use comfy_table::{Cell, LineStyle, presets};

use crate::report::text::bed_line;
use crate::report::{TextStyle, Tone, columns, tame, time, write_indented};

use super::{Change, Comparison, Finding, Interval};

/// Writes the comparison as text. The first lines name the bed; the last is the verdict.
///
/// # Errors
/// Those of `out`.
pub fn write(comparison: &Comparison, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let (base, new) = (bed_line(&comparison.base.bed), bed_line(&comparison.new.bed));
    if base == new {
        writeln!(out, "{}", style.dress(Tone::Strong, base))?;
    } else {
        writeln!(out, "{}", style.dress(Tone::Strong, format!("Base: {base}")))?;
        writeln!(out, "{}", style.dress(Tone::Strong, format!("New:  {new}")))?;
    }
    for unlike in &comparison.allowed {
        writeln!(out, "{}: {}", style.dress(Tone::Expected, "Unlike, as allowed"), tame(&unlike.sentence))?;
    }
    for note in &comparison.notes {
        writeln!(out, "Differs: {}", tame(note))?;
    }
    if let Some(method) = &comparison.method {
        let bootstrap = method.bootstrap;
        writeln!(
            out,
            "Interval of {} % confidence, {}, {} replicates, seed {}; it must lie beyond {} % whole",
            bootstrap.confidence * 100.0,
            method.name,
            bootstrap.replicates,
            bootstrap.seed,
            method.threshold_percent.value()
        )?;
    }
    write_findings(comparison, style, out)?;
    writeln!(out)?;
    for warning in &comparison.warnings {
        writeln!(out, "{} of the {}", style.dress(Tone::Expected, "Warning"), tame(warning))?;
    }
    writeln!(out, "{}", verdict(comparison, style))
}

/// Writes the comparison as one JSON object (`results/comparison.schema.json`), with a newline at the end.
///
/// # Errors
/// Those of `out`.
pub fn write_json(comparison: &Comparison, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, comparison)?;
    out.write_all(b"\n")
}

/// The last word in one line.
#[must_use]
pub fn verdict(comparison: &Comparison, style: TextStyle) -> String {
    let change = comparison.verdict.change;
    let word = change.map_or_else(|| "not judged".to_owned(), |change| change.to_string()).to_uppercase();
    format!("{}: {}", style.dress(change.map_or(Tone::Expected, tone), word), comparison.verdict.sentence)
}

const fn tone(change: Change) -> Tone {
    match change {
        Change::Regressed => Tone::Bad,
        Change::Improved => Tone::Good,
        Change::Changed => Tone::Expected,
        Change::NoDifference => Tone::Quiet,
    }
}

/// A table per GPU, in the order of the findings.
fn write_findings(comparison: &Comparison, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut gpus: Vec<Option<&str>> = Vec::new();
    for gpu in comparison.findings.iter().map(gpu) {
        if !gpus.contains(&gpu) {
            gpus.push(gpu);
        }
    }
    for place in gpus {
        writeln!(out)?;
        writeln!(out, "{}", style.dress(Tone::Strong, place.map_or_else(|| "Verdict of the reports".to_owned(), tame)))?;
        let mut table = columns(style);
        table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('-').junction('-')));
        let figures = comparison.method.is_some();
        let heading: &[&str] = if figures {
            &["AtomicOps", "figure", "base", "new", "difference", "interval", ""]
        } else {
            &["AtomicOps", "case", "base", "new", ""]
        };
        table.set_header(heading);
        for finding in comparison.findings.iter().filter(|finding| gpu(finding) == place) {
            let mut cells = cells(finding, figures);
            let change = finding.change().map_or_else(|| "too few samples".to_owned(), |change| change.to_string());
            let tone = finding.change().map_or(Tone::Expected, tone);
            cells.push(style.dress(tone, change).to_string());
            table.add_row(cells.into_iter().map(Cell::new));
        }
        write_indented(table, out)?;
    }
    Ok(())
}

fn gpu(finding: &Finding) -> Option<&str> {
    match finding {
        Finding::Figure { spot, .. } | Finding::Measurement { spot, .. } | Finding::Case { spot, .. } => Some(&spot.gpu),
        Finding::Verdict { .. } => None,
    }
}

fn cells(finding: &Finding, figures: bool) -> Vec<String> {
    let mut cells = match finding {
        Finding::Figure { spot, figure, base_ns, new_ns, difference_percent, .. } => vec![
            spot.atomics.to_string(),
            figure.name().to_owned(),
            time(*base_ns as f64),
            time(*new_ns as f64),
            difference_percent.map_or_else(String::new, |interval| percent(interval.estimate)),
            difference_percent.map_or_else(String::new, range),
        ],
        Finding::Measurement { spot, base, new, .. } => {
            vec![spot.atomics.to_string(), "round trip".to_owned(), short(base), short(new)]
        }
        Finding::Case { spot, case, base, new, .. } => vec![spot.atomics.to_string(), tame(case), tame(base), tame(new)],
        Finding::Verdict { base, new, .. } => vec![String::new(), String::new(), base.clone(), new.clone()],
    };
    if figures {
        cells.resize(6, String::new());
    }
    cells
}

/// What there was without its reason, which is as long as a sentence: the reports have it.
fn short(result: &str) -> String {
    tame(result.split_once(':').map_or(result, |(word, _)| word))
}

pub(super) fn percent(value: f64) -> String {
    // Never "-0.0 %".
    format!("{:+.1} %", if value.abs() < 0.05 { 0.0 } else { value })
}

fn range(interval: Interval) -> String {
    match (interval.low, interval.high) {
        (Some(low), Some(high)) => format!("{} to {}", percent(low), percent(high)),
        (Some(low), None) => format!("{} or more", percent(low)),
        (None, Some(high)) => format!("{} or less", percent(high)),
        (None, None) => String::new(),
    }
}
