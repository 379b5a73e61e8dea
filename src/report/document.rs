//! A report's file, read back.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::latency::LatencyReport;
use super::run::{BedReport, Report, Verdict};

/// Which command wrote a report: the first key of its JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Document {
    /// What `aqlprobe verify` found.
    Verify(Box<Report>),
    /// What `aqlprobe latency` measured.
    Latency(Box<LatencyReport>),
}

impl From<Report> for Document {
    fn from(report: Report) -> Self {
        Self::Verify(Box::new(report))
    }
}

impl From<LatencyReport> for Document {
    fn from(report: LatencyReport) -> Self {
        Self::Latency(Box::new(report))
    }
}

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
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
    /// Reads a report's file.
    ///
    /// # Errors
    /// It cannot be read, is no report, or has another version's layout.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        let text = read_text(path)?;
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

    /// When the run began, in seconds since the epoch, UTC.
    #[must_use]
    pub const fn started_at(&self) -> u64 {
        match self {
            Self::Verify(report) => report.started_at,
            Self::Latency(report) => report.started_at,
        }
    }

    /// Which command wrote it.
    #[must_use]
    pub const fn kind(&self) -> DocumentKind {
        match self {
            Self::Verify(_) => DocumentKind::Verify,
            Self::Latency(_) => DocumentKind::Latency,
        }
    }

    /// What it was run on.
    #[must_use]
    pub const fn bed(&self) -> &BedReport {
        match self {
            Self::Verify(report) => &report.bed,
            Self::Latency(report) => &report.bed,
        }
    }

    /// Name of the machine that wrote it, where it says.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Verify(report) => report.host.as_deref(),
            Self::Latency(report) => report.host.name.as_deref(),
        }
    }

    /// The faults that were injected on purpose, as a plan with its seed.
    #[must_use]
    pub fn injected(&self) -> Option<&str> {
        match self {
            Self::Verify(report) => report.injected.as_deref(),
            Self::Latency(report) => report.settings.injected.as_deref(),
        }
    }

    /// Its last word.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        match self {
            Self::Verify(report) => &report.verdict,
            Self::Latency(report) => &report.verdict,
        }
    }
}

/// A report inside another document, by its first key.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::parse(&value.to_string(), Path::new("a report in it")).map_err(de::Error::custom)
    }
}

/// More than any report has; what is longer is refused instead of read.
const BYTES_AT_MOST: u64 = 1 << 30;

/// The whole text of a report's file.
pub(super) fn read_text(path: &Path) -> Result<String, DocumentError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_AT_MOST + 1).read_to_string(&mut text));
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 GiB");
    read.and_then(|length| if length as u64 > BYTES_AT_MOST { Err(too_long()) } else { Ok(text) })
        .map_err(|reason| DocumentError::Unreadable { path: path.to_owned(), reason })
}
