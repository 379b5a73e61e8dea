//! The forms of a report, behind one door.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::checklist::HardwareDemand;
use super::document::{Document, DocumentKind};
use super::github::GithubRenderer;
use super::junit::JunitRenderer;
use super::ndjson::NdjsonRenderer;
use super::npd::NpdRenderer;
use super::prometheus::PrometheusRenderer;
use super::run::ExitCode;
use super::style::TextStyle;
use super::tap::{TapDialect, TapRenderer};
use super::{json, latency_text, text};

/// A form of a report (docs/ci.md says who reads which).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// For people.
    Text,
    /// One object, by a schema in `results/`.
    Json,
    /// One object per event and line, written as things happen.
    Ndjson,
    /// JUnit XML.
    Junit,
    /// Test Anything Protocol 13.
    Tap,
    /// The kernel's dialect of it, KTAP 1.
    Ktap,
    /// GitHub's workflow commands.
    Github,
    /// Text exposition format, for node_exporter's textfile collector.
    Prometheus,
    /// One line for a custom plugin of node-problem-detector.
    Npd,
}

/// What a renderer needs to know besides the report.
#[derive(Clone, Copy, Debug)]
pub struct RenderContext {
    /// How text is dressed.
    pub style: TextStyle,
    /// Whether a run without hardware is a failure.
    pub demand: HardwareDemand,
}

impl RenderContext {
    /// For files, and runs that need no hardware.
    pub const PLAIN: Self = Self { style: TextStyle::PLAIN, demand: HardwareDemand::Optional };
}

impl ReportKind {
    /// Every form.
    pub const ALL: [Self; 9] =
        [Self::Text, Self::Json, Self::Ndjson, Self::Junit, Self::Tap, Self::Ktap, Self::Github, Self::Prometheus, Self::Npd];

    /// As the command line spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Junit => "junit",
            Self::Tap => "tap",
            Self::Ktap => "ktap",
            Self::Github => "github",
            Self::Prometheus => "prometheus",
            Self::Npd => "npd",
        }
    }

    /// Who writes it.
    #[must_use]
    pub fn renderer(self, context: RenderContext) -> Box<dyn Renderer> {
        let demand = context.demand;
        match self {
            Self::Text => Box::new(TextRenderer { style: context.style }),
            Self::Json => Box::new(JsonRenderer),
            Self::Ndjson => Box::new(NdjsonRenderer),
            Self::Junit => Box::new(JunitRenderer { demand }),
            Self::Tap => Box::new(TapRenderer { demand, dialect: TapDialect::Tap13 }),
            Self::Ktap => Box::new(TapRenderer { demand, dialect: TapDialect::Ktap1 }),
            Self::Github => Box::new(GithubRenderer { demand }),
            Self::Prometheus => Box::new(PrometheusRenderer { demand }),
            Self::Npd => Box::new(NpdRenderer { demand }),
        }
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that names no form of a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no form of a report: use one of {}", ReportKind::ALL.map(ReportKind::name).join(", "))]
pub struct UnknownReportKind {
    /// The word.
    pub word: String,
}

impl FromStr for ReportKind {
    type Err = UnknownReportKind;

    fn from_str(text: &str) -> Result<Self, UnknownReportKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownReportKind { word: text.to_owned() })
    }
}

/// Why there is no report: the command ended before it could ask its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The command.
    pub command: DocumentKind,
    /// What kept it, and what to do.
    pub reason: String,
    /// How it ends.
    pub exit_code: ExitCode,
}

/// Why a report could not be put into a form.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The place it goes to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// XML.
    #[error("cannot write the report as XML: {0}")]
    Xml(#[from] quick_junit::SerializeError),
}

/// One form of a report.
pub trait Renderer {
    /// Writes the whole report.
    ///
    /// # Errors
    /// Those of `out`, and what cannot be said in this form.
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError>;

    /// What to write where there is no report. `None`: nothing, so that a file from before stays as it was and its reader is not
    /// given half a report.
    fn refusal(&self, refusal: &Refusal) -> Option<String>;
}

struct TextRenderer {
    style: TextStyle,
}

impl Renderer for TextRenderer {
    fn report(&self, document: &Document, mut out: &mut dyn io::Write) -> Result<(), RenderError> {
        match document {
            Document::Verify(report) => text::write(report, self.style, &mut out)?,
            Document::Latency(report) => latency_text::write(report, self.style, &mut out)?,
        }
        Ok(())
    }

    fn refusal(&self, _refusal: &Refusal) -> Option<String> {
        None
    }
}

struct JsonRenderer;

impl Renderer for JsonRenderer {
    fn report(&self, document: &Document, mut out: &mut dyn io::Write) -> Result<(), RenderError> {
        json::write_document(document, &mut out)?;
        Ok(())
    }

    fn refusal(&self, _refusal: &Refusal) -> Option<String> {
        None
    }
}
