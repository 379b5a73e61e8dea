//! One line and a status for a custom plugin of Kubernetes' node-problem-detector (docs/custom_plugin_monitor.md there): 0 no
//! problem, 1 a problem, 2 unknown.
//!
//! A node's condition is about the node's hardware, so a model, whoever asked for it, leaves it unknown.

use std::io;

use super::checklist::HardwareDemand;
use super::document::Document;
use super::render::{Refusal, RenderError, Renderer};
use super::run::ExitCode;
use super::style::tame;

/// What the detector cuts a plugin's output to unless it is configured otherwise (`max_output_length`), in bytes.
const MAX_OUTPUT_LENGTH: usize = 80;

/// What a plugin says with its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// The node is as it should be.
    Ok,
    /// It is not.
    Problem,
    /// It cannot be told.
    Unknown,
}

impl NodeStatus {
    /// The process exit status.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Problem => 1,
            Self::Unknown => 2,
        }
    }

    /// What a report says of the node.
    #[must_use]
    pub fn of(document: &Document, demand: HardwareDemand) -> Self {
        match (document.bed().tested_hardware(), demand, document.verdict().exit_code) {
            (true, _, ExitCode::Pass) => Self::Ok,
            (true, _, ExitCode::CheckFailed | ExitCode::Hang | ExitCode::Degraded) => Self::Problem,
            (false, HardwareDemand::Required, _) => Self::Problem,
            _ => Self::Unknown,
        }
    }

    /// What it says of the node that there is no report.
    #[must_use]
    pub const fn without_report(refusal: &Refusal, demand: HardwareDemand) -> Self {
        match (refusal.exit_code, demand) {
            (ExitCode::NoHardware, HardwareDemand::Required) => Self::Problem,
            _ => Self::Unknown,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Problem => "PROBLEM",
            Self::Unknown => "UNKNOWN",
        }
    }
}

pub(super) struct NpdRenderer {
    pub demand: HardwareDemand,
}

impl Renderer for NpdRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let (bed, verdict) = (document.bed().kind.name(), document.verdict());
        // The bed comes before the sentence: what is cut off must not be what says that this was no hardware.
        let status = NodeStatus::of(document, self.demand).word();
        Ok(out.write_all(line(&format!("{status} [{bed}] {}: {}", verdict.word, verdict.sentence)).as_bytes())?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let status = NodeStatus::without_report(refusal, self.demand).word();
        Some(line(&format!("{status} [no report] {}", refusal.reason)))
    }
}

/// At most [`MAX_OUTPUT_LENGTH`] bytes of printable ASCII, the line feed among them: the detector cuts bytes, not characters.
fn line(text: &str) -> String {
    let mut line: String = tame(text)
        .chars()
        .map(|character| if character.is_ascii() { character } else { '?' })
        .take(MAX_OUTPUT_LENGTH - 1)
        .collect();
    line.push('\n');
    line
}
