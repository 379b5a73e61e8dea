//! A report's file, read back.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::latency::LatencyReport;
use super::run::{BedReport, Report, Verdict};

/// Which command wrote a report: the first key of its JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// `aqlprobe verify`.
    Verify,
    /// `aqlprobe latency`.
    Latency,
}

impl DocumentKind {
    /// As JSON and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Latency => "latency",
        }
    }
}

/// A report of either kind.
#[derive(Clone, Debug)]
pub enum Document {
    /// What `aqlprobe verify` found.
    Verify(Box<Report>),
    /// What `aqlprobe latency` measured.
    Latency(Box<LatencyReport>),
}

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JSON, or no report of this program.
    #[error("{} is no report of `aqlprobe verify` or `aqlprobe latency --format json`: {reason}", path.display())]
    NoReport {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// It has a layout that this version does not read.
    #[error("{} has layout {found} of a {kind:?} report; this version reads layout {known}", path.display())]
    OtherLayout {
        /// The file.
        path: PathBuf,
        /// Which report.
        kind: DocumentKind,
        /// Its layout.
        found: u32,
        /// Ours.
        known: u32,
    },
}

/// What is looked at before the rest is believed.
#[derive(Deserialize)]
struct Head {
    document: DocumentKind,
    schema_version: u32,
}

impl Document {
    /// Which command wrote it.
    #[must_use]
    pub const fn kind(&self) -> DocumentKind {
        match self {
            Self::Verify(_) => DocumentKind::Verify,
            Self::Latency(_) => DocumentKind::Latency,
        }
    }

    /// What it was made on.
    #[must_use]
    pub fn bed(&self) -> &BedReport {
        match self {
            Self::Verify(report) => &report.bed,
            Self::Latency(report) => &report.bed,
        }
    }

    /// The last word.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        match self {
            Self::Verify(report) => &report.verdict,
            Self::Latency(report) => &report.verdict,
        }
    }

    /// Reads a report's file.
    ///
    /// # Errors
    /// It cannot be read, is no report, or has another version's layout.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        let text = fs::read_to_string(path).map_err(|source| DocumentError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a report's text; `path` is for the error.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, DocumentError> {
        let no_report = |error: serde_json::Error| DocumentError::NoReport { path: path.to_owned(), reason: error.to_string() };
        let head: Head = serde_json::from_str(text).map_err(no_report)?;
        let known = match head.document {
            DocumentKind::Verify => Report::SCHEMA_VERSION,
            DocumentKind::Latency => LatencyReport::SCHEMA_VERSION,
        };
        if head.schema_version != known {
            let (kind, found) = (head.document, head.schema_version);
            return Err(DocumentError::OtherLayout { path: path.to_owned(), kind, found, known });
        }
        Ok(match head.document {
            DocumentKind::Verify => Self::Verify(serde_json::from_str(text).map_err(no_report)?),
            DocumentKind::Latency => Self::Latency(serde_json::from_str(text).map_err(no_report)?),
        })
    }
}
