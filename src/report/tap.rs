//! The Test Anything Protocol: version 13 for `prove` and its kin, and the kernel's dialect (Documentation/dev-tools/ktap.rst).
//!
//! A failure that was predicted is `not ok … # TODO`, or `ok … # XFAIL` in the kernel's dialect (`ksft_test_result_xfail` in
//! tools/testing/selftests/kselftest.h), where every `not ok` is a failure. A run without hardware is skipped as a whole: `1..0 # SKIP`.

use std::fmt::Write as _;
use std::io;

use super::checklist::{Check, Checklist, HardwareDemand, Ruling};
use super::document::Document;
use super::render::{Refusal, RenderError, Renderer};
use super::run::ExitCode;
use super::style::tame;

/// Which TAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TapDialect {
    /// `TAP version 13`, diagnostics as YAML.
    Tap13,
    /// `KTAP version 1`, diagnostics as comments.
    Ktap1,
}

pub(super) struct TapRenderer {
    pub demand: HardwareDemand,
    pub dialect: TapDialect,
}

impl Renderer for TapRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let list = Checklist::of(document, self.demand);
        let text = if list.verdict.ruling == Ruling::NoHardware { self.skipped(&list) } else { self.lines(&list) };
        Ok(out.write_all(text.as_bytes())?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let (version, reason) = (self.version(), self.description(&tame(&refusal.reason)));
        Some(match (refusal.exit_code, self.demand, self.dialect) {
            (ExitCode::NoHardware, HardwareDemand::Optional, _) => format!("{version}\n1..0 # SKIP {reason}\n"),
            (_, _, TapDialect::Tap13) => format!("{version}\nBail out! {reason}\n"),
            (_, _, TapDialect::Ktap1) => format!("{version}\n1..1\n# {reason}\nnot ok 1 aqlprobe {}\n", refusal.command.name()),
        })
    }
}

impl TapRenderer {
    const fn version(&self) -> &'static str {
        match self.dialect {
            TapDialect::Tap13 => "TAP version 13",
            TapDialect::Ktap1 => "KTAP version 1",
        }
    }

    /// Text in a test line. TAP escapes the sign that starts a directive; KTAP has no way to say it.
    fn description(&self, text: &str) -> String {
        match self.dialect {
            TapDialect::Tap13 => text.replace('\\', "\\\\").replace('#', "\\#"),
            TapDialect::Ktap1 => text.replace('#', "_"),
        }
    }

    fn skipped(&self, list: &Checklist) -> String {
        let mut text = format!("{}\n1..0 # SKIP {}\n", self.version(), self.description(&list.verdict.message));
        let _ = writeln!(text, "# {}", list.bed);
        for (title, check) in list.lines() {
            let _ = writeln!(text, "# {title}: {}: {}", check.name, check.message);
        }
        text
    }

    fn lines(&self, list: &Checklist) -> String {
        let mut text = format!("{}\n1..{}\n# {}\n", self.version(), list.lines().count(), list.bed);
        for (number, (title, check)) in (1..).zip(list.lines()) {
            if self.dialect == TapDialect::Ktap1 {
                comments(check, &mut text);
            }
            let ok = match (check.ruling, self.dialect) {
                (Ruling::FailedAsPredicted, TapDialect::Tap13) => "not ok",
                (ruling, _) if ruling.is_failure() => "not ok",
                _ => "ok",
            };
            let dash = if self.dialect == TapDialect::Tap13 { "- " } else { "" };
            let name = self.description(&format!("{title}: {}", check.name));
            let _ = writeln!(text, "{ok} {number} {dash}{name}{}", self.directive(check));
            if self.dialect == TapDialect::Tap13 {
                diagnostics(check, &mut text);
            }
        }
        text
    }

    fn directive(&self, check: &Check) -> String {
        let name = check.ruling.name();
        match (check.ruling, self.dialect) {
            (Ruling::FailedAsPredicted, TapDialect::Tap13) => format!(" # TODO {name}: {}", check.outcome),
            (Ruling::FailedAsPredicted, TapDialect::Ktap1) => format!(" # XFAIL {name}: {}", check.outcome),
            (ruling, _) if ruling.is_skip() => format!(" # SKIP {name}: {}", self.description(&check.message)),
            _ => String::new(),
        }
    }
}

/// A YAML block below a line that did not pass. The scalars are quoted; `tame` left no character that needs more than that.
fn diagnostics(check: &Check, text: &mut String) {
    if check.ruling == Ruling::Passed {
        return;
    }
    text.push_str("  ---\n");
    let mut entry = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label}: \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    };
    entry("outcome", &check.outcome);
    entry("message", &check.message);
    let mut labels = Vec::new();
    for (label, value) in check.more() {
        labels.push(label);
        // A mapping has each key once.
        let times = labels.iter().filter(|known| **known == label).count();
        let label = if times > 1 { format!("{label}_{times}") } else { label.to_owned() };
        // prove wants a key of several words in quotes.
        let key = if label.contains(' ') { format!("\"{label}\"") } else { label };
        entry(&key, value);
    }
    text.push_str("  ...\n");
}

fn comments(check: &Check, text: &mut String) {
    if check.ruling == Ruling::Passed {
        return;
    }
    let _ = writeln!(text, "# {}: {}", check.name, check.message);
    for (label, value) in check.more() {
        let _ = writeln!(text, "#   {label}: {value}");
    }
}
