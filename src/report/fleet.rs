//! The reports of a fleet's nodes in one document (`aqlprobe merge`), and what they come to.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::{Document, DocumentError, read_text};
use super::run::{AtomicsMode, BedKind, Tool, VerdictWord};

/// The first key of a fleet's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FleetKind {
    /// `aqlprobe merge`.
    Fleet,
}

/// Everything `aqlprobe merge` gathered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetReport {
    /// [`FleetKind::Fleet`].
    pub document: FleetKind,
    /// Version of this layout; grows with every incompatible change.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// What the reports come to.
    pub summary: FleetSummary,
    /// One entry per file that was read, in the order they were named.
    pub reports: Vec<FleetEntry>,
    /// One entry per file that was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableFile>,
}

impl FleetReport {
    /// The layout that this version of the tool writes.
    pub const SCHEMA_VERSION: u32 = 1;
}

/// One node's report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetEntry {
    /// The machine's name as its report has it, else the file's name without its ending.
    pub node: String,
    /// The file, as it was named.
    pub file: String,
    /// The report, whole.
    pub report: Document,
}

/// A file that is no report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableFile {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What the reports of a fleet come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSummary {
    /// Nodes by name.
    pub nodes: usize,
    /// Reports in which a real GPU answered.
    pub on_hardware: usize,
    /// Reports of software GPUs, which say nothing of the fleet's hardware.
    pub on_models: usize,
    /// Reports by their verdict; verdicts that nobody has are left out.
    pub verdicts: Vec<VerdictCount>,
    /// Devices that differ from most of their kind.
    pub odd: Vec<OddOne>,
    /// What was not compared or left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How many reports have a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    /// The verdict.
    pub word: VerdictWord,
    /// Reports that have it.
    pub reports: usize,
}

/// A device that differs from most of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddOne {
    /// Its node.
    pub node: String,
    /// Its position among the runtime's GPU agents.
    pub device: usize,
    /// What differs.
    pub differs_in: OddTrait,
    /// The bed on which it is compared with others.
    pub bed: BedKind,
    /// The state of AtomicOps, for what was measured in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomics: Option<AtomicsMode>,
    /// What it has.
    pub here: String,
    /// What most have.
    pub most: String,
    /// How many devices it was compared with, itself among them.
    pub among: usize,
}

/// What may differ between devices of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OddTrait {
    /// The PCIe path of its AtomicOps.
    Path,
    /// Firmware of the compute or DMA engines.
    Firmware,
    /// The HSA runtime.
    Runtime,
    /// Kernel and kernel driver.
    Driver,
    /// The verdict on it.
    Verdict,
    /// The median round trip.
    Median,
}

impl fmt::Display for OddTrait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Path => "path",
            Self::Firmware => "firmware",
            Self::Runtime => "runtime",
            Self::Driver => "driver",
            Self::Verdict => "verdict",
            Self::Median => "median round trip",
        })
    }
}

/// Any JSON file that this program writes reports to.
#[derive(Clone, Debug)]
pub enum SavedReport {
    /// One report.
    Single(Document),
    /// A fleet's.
    Fleet(Box<FleetReport>),
}

impl SavedReport {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no report, or has another version's layout.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        Self::parse(&read_text(path)?, path)
    }

    /// Reads a file's text; `path` is for the error.
    ///
    /// # Errors
    /// As [`SavedReport::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, DocumentError> {
        let no_report = |reason: String| DocumentError::NoReport { path: path.to_owned(), reason };
        match serde_json::from_str::<Head>(text) {
            Ok(Head { document: FleetKind::Fleet, schema_version: FleetReport::SCHEMA_VERSION }) => {
                serde_json::from_str(text).map(Self::Fleet).map_err(|error| no_report(error.to_string()))
            }
            Ok(Head { schema_version: found, .. }) => {
                let known = FleetReport::SCHEMA_VERSION;
                Err(no_report(format!("it has layout {found} of a fleet's document; this version reads layout {known}")))
            }
            Err(_) => Document::parse(text, path).map(Self::Single),
        }
    }
}

/// What is looked at before the rest is believed.
#[derive(Deserialize)]
struct Head {
    document: FleetKind,
    schema_version: u32,
}
