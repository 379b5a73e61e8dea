//! GitHub Actions: workflow commands that become annotations, and a Markdown table for the job's summary.
//!
//! GitHub shows ten annotations of a level per step, so the verdict comes first and failures with the same cause share one.

use std::fmt::Write as _;
use std::io;

use super::checklist::{Check, Checklist, HardwareDemand, Ruling};
use super::document::Document;
use super::render::{Refusal, RenderError, Renderer};
use super::run::ExitCode;
use super::style::tame;

/// Annotations of a level that a step may show.
const SHOWN: usize = 10;
/// Names that a line may list.
const LISTED: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Notice,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

pub(super) struct GithubRenderer {
    pub demand: HardwareDemand,
}

impl Renderer for GithubRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let list = Checklist::of(document, self.demand);
        let level = match list.verdict.ruling {
            Ruling::Passed => Level::Notice,
            ruling if ruling.is_failure() => Level::Error,
            _ => Level::Warning,
        };
        let title = format!("{} on {}", list.command, document.bed().kind.name());
        let mut message = format!("{}\n{}", list.verdict.message, list.bed);
        for (label, text) in list.verdict.more() {
            let _ = write!(message, "\n{label}: {text}");
        }
        let mut text = annotation(level, &title, &message);
        for group in groups(&list).iter().take(SHOWN - 1) {
            text.push_str(&annotation(Level::Error, &format!("{title}: {}", group.title), &group.message()));
        }
        Ok(out.write_all(text.as_bytes())?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let level = match refusal.exit_code {
            ExitCode::NoHardware if self.demand == HardwareDemand::Optional => Level::Warning,
            _ => Level::Error,
        };
        Some(annotation(level, &format!("aqlprobe {}", refusal.command.name()), &tame_lines(&refusal.reason)))
    }
}

/// Failures of one suite with the same message.
struct Group<'a> {
    title: &'a str,
    checks: Vec<&'a Check>,
}

impl Group<'_> {
    fn message(&self) -> String {
        let (names, first) = (names(&self.checks), self.checks.first());
        first.map_or_else(String::new, |first| {
            let head = format!("{names}: {}", first.message);
            first.more().fold(head, |message, (label, text)| format!("{message}\n{label}: {text}"))
        })
    }
}

fn names(checks: &[&Check]) -> String {
    let mut names = checks.iter().take(LISTED).map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    if checks.len() > LISTED {
        let _ = write!(names, " and {} more", checks.len() - LISTED);
    }
    names
}

fn groups(list: &Checklist) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for suite in &list.suites {
        for check in suite.checks.iter().filter(|check| check.ruling.is_failure()) {
            let alike = |group: &&mut Group<'_>| {
                group.title == suite.title && group.checks.first().is_some_and(|first| first.message == check.message)
            };
            match groups.iter_mut().find(alike) {
                Some(group) => group.checks.push(check),
                None => groups.push(Group { title: &suite.title, checks: vec![check] }),
            }
        }
    }
    groups
}

/// `::error title=…::message`, on one line whatever is in it.
fn annotation(level: Level, title: &str, message: &str) -> String {
    format!("::{} title={}::{}\n", level.word(), property(title), data(message))
}

/// Control characters but the line feed have no business in a log.
fn tame_lines(text: &str) -> String {
    text.lines().map(tame).collect::<Vec<_>>().join("\n")
}

/// Escaped as a command's message (actions/toolkit, `escapeData`).
fn data(text: &str) -> String {
    tame_lines(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escaped as a command's property (actions/toolkit, `escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Markdown to append to the file that `GITHUB_STEP_SUMMARY` names.
#[must_use]
pub fn summary(document: &Document, demand: HardwareDemand) -> String {
    let list = Checklist::of(document, demand);
    let mut text =
        format!("### {}: {}\n\n{}\n\n{}\n", cell(&list.command), list.word, cell(&list.verdict.message), cell(&list.bed));
    for (label, value) in list.verdict.more() {
        let _ = writeln!(text, "\n{label}: {}", cell(value));
    }
    if !list.suites.is_empty() {
        text.push_str("\n| device and state | passed | failed as predicted | failed | skipped | known defects | no hardware |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|--:|\n");
    }
    for suite in &list.suites {
        let count = |wanted: &[Ruling]| suite.checks.iter().filter(|check| wanted.contains(&check.ruling)).count();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell(&suite.title),
            count(&[Ruling::Passed]),
            count(&[Ruling::FailedAsPredicted]),
            count(&[Ruling::Failed, Ruling::Broken]),
            count(&[Ruling::Untestable]),
            count(&[Ruling::KnownDefect]),
            count(&[Ruling::NoHardware])
        );
    }
    let measured = |check: &&Check| check.outcome == "measured";
    for check in list.suites.iter().flat_map(|suite| &suite.checks).filter(measured) {
        let _ = writeln!(text, "\n{}: {}", cell(&check.name), cell(&check.message));
    }
    let failed = groups(&list);
    if !failed.is_empty() {
        text.push_str("\n| failed | in | what happened |\n|---|---|---|\n");
    }
    for group in &failed {
        let message = group.checks.first().map_or_else(String::new, |check| cell(&check.message));
        let _ = writeln!(text, "| {} | {} | {message} |", cell(&names(&group.checks)), cell(group.title));
    }
    text.push('\n');
    text
}

/// The same where there is no report.
#[must_use]
pub fn refusal_summary(refusal: &Refusal) -> String {
    format!("### aqlprobe {}: no report\n\n{}\n\n", refusal.command.name(), cell(&refusal.reason))
}

/// Text that must stay text in a Markdown table.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in tame(text).chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '@' | '!' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe
}
