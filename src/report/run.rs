//! One invocation: the bed, the devices, a run of the cases per state of AtomicOps, and the verdict.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::DocumentKind;
use super::evidence::{Evidence, FabricCounters};
use super::outcome::{Outcome, Standing};
use super::path::{KfdReport, PathReport};
use super::runtime::{AgentFacts, Doorbell, RuntimeFacts};
use super::suspect::Suspect;

/// Everything `aqlprobe verify` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`DocumentKind::Verify`].
    pub document: DocumentKind,
    /// Version of this layout; grows with every incompatible change. See [`Report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// What was tested on.
    pub bed: BedReport,
    /// Why no GPU could be tested, with what to do next, where the bed is a self-test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_gpu: Option<String>,
    /// Name of the machine that ran it; files of older versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The faults that the software GPU, its path or the worker was given on purpose, with the seed that repeats them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<String>,
    /// What the runtime said of itself; files of older versions lack it.
    #[serde(default)]
    pub runtime: RuntimeFacts,
    /// Seconds since the epoch, UTC.
    pub started_at: u64,
    /// How long the whole invocation took.
    pub duration_ms: u64,
    /// One entry per device tested.
    pub devices: Vec<DeviceReport>,
    /// The last word.
    pub verdict: Verdict,
}

impl Report {
    /// The layout that this version of the tool writes.
    pub const SCHEMA_VERSION: u32 = 1;
}

/// Name and version of the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    /// `aqlprobe`.
    pub name: Cow<'static, str>,
    /// Its package version.
    pub version: Cow<'static, str>,
}

impl Tool {
    /// This build.
    pub const THIS: Self = Self { name: Cow::Borrowed("aqlprobe"), version: Cow::Borrowed(env!("CARGO_PKG_VERSION")) };
}

/// Which test bed answered (docs/architecture.md, "Test beds").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BedKind {
    /// The system's runtime and a real GPU.
    Hardware,
    /// Our own runtime and the software GPU, because the user asked for it.
    Embedded,
    /// The same, because no GPU could be used: a self-test of the harness, never a pass.
    EmbeddedSelfTest,
    /// AMD's runtime and the software GPU, because the user asked for it.
    RocrModel,
    /// Our own runtime over vfio-pci on the software GPU's PCIe endpoint, inside a guest, because the user asked for it.
    Guest,
    /// A runtime library that the environment gives a device model instead of hardware, which nobody asked for: never a pass.
    UnaskedModel,
}

impl BedKind {
    /// As JSON and labels spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Embedded => "embedded",
            Self::EmbeddedSelfTest => "embedded-self-test",
            Self::RocrModel => "rocr-model",
            Self::Guest => "guest",
            Self::UnaskedModel => "unasked-model",
        }
    }

    /// Whether nobody asked for the model that answered, so that whatever it did is no pass.
    #[must_use]
    pub const fn is_stand_in(self) -> bool {
        matches!(self, Self::EmbeddedSelfTest | Self::UnaskedModel)
    }
}

/// The bed, in every report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BedReport {
    /// Which.
    pub kind: BedKind,
    /// The runtime library's path, or `embedded`.
    pub runtime: String,
    /// ROCr's version, for [`BedKind::RocrModel`]: its package's, else what it says itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rocr: Option<String>,
    /// Why no GPU was tested, for [`BedKind::EmbeddedSelfTest`] and [`BedKind::UnaskedModel`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file whose config bytes the device took, with `--replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

impl BedReport {
    /// ROCr and its version on the software GPU, in words.
    #[must_use]
    pub fn rocr_model(&self) -> String {
        let version = self.rocr.as_ref().map_or_else(|| " of unknown version".to_owned(), |version| format!(" {version}"));
        format!("ROCr{version} on the software GPU, not hardware")
    }

    /// What a fix is a fix of. On the reader's machine the address in a model's command may be that of another device, which it would write to.
    #[must_use]
    pub fn fix_label(&self) -> &'static str {
        if self.tested_hardware() {
            "fix"
        } else if self.replay.is_some() {
            "fix for the machine of the dump, not for this one"
        } else {
            "fix of the software GPU, no command for this machine"
        }
    }

    /// The same without the first word, where there is more.
    #[must_use]
    pub fn fix_caveat(&self) -> Option<&'static str> {
        self.fix_label().strip_prefix("fix ")
    }

    /// Whether a real GPU answered.
    #[must_use]
    pub fn tested_hardware(&self) -> bool {
        self.kind == BedKind::Hardware
    }
}

/// The state of AtomicOp Requester Enable that a run was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtomicsMode {
    /// Untouched.
    AsFound,
    /// Cleared before, restored after.
    Off,
    /// Set before, restored after.
    On,
}

impl AtomicsMode {
    /// As JSON and labels spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsFound => "as-found",
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

impl fmt::Display for AtomicsMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsFound => "as found",
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

/// What the device's config space said after the bit was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RequesterReadback {
    /// The bit holds the value that the run wants, by a read after the write (or without one, when as found).
    Holds {
        /// Whether AtomicOps were enabled during the run.
        enabled: bool,
    },
    /// The write did not stick: somebody above forbids it, which is a finding.
    DidNotStick {
        /// What reads back.
        enabled: bool,
    },
    /// Config space cannot be read or written here.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One GPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its position among the runtime's GPU agents.
    pub index: usize,
    /// PCI address, `0000:0b:00.0`; absent when the runtime does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bdf: Option<String>,
    /// Marketing or PCI name.
    pub name: String,
    /// Target, `gfx803`.
    pub gfx: String,
    /// What the runtime said of it; files of older versions lack it.
    #[serde(default)]
    pub agent: AgentFacts,
    /// What rings its queues, as far as a case looked at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doorbell: Option<Doorbell>,
    /// Its way to host memory, when the PCI address is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathReport>,
    /// What KFD makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kfd: Option<KfdReport>,
    /// What was predicted for AtomicOps off, before anything ran.
    pub prediction: Prediction,
    /// One entry per state of AtomicOps.
    pub runs: Vec<RunReport>,
    /// What this device's runs come to.
    pub diagnosis: Diagnosis,
}

impl DeviceReport {
    /// The run whose failures are the device's: with AtomicOps on if there is one, else as found, else off.
    #[must_use]
    pub fn deciding_run(&self) -> Option<&RunReport> {
        [AtomicsMode::On, AtomicsMode::AsFound, AtomicsMode::Off]
            .into_iter()
            .find_map(|mode| self.runs.iter().find(|run| run.atomics == mode))
    }
}

/// The expectation for the run without AtomicOps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// `completion-lost`, `completes` or `unknown`.
    pub without_atomics: String,
    /// From what: generation, firmware, path.
    pub reason: String,
}

/// All cases in one state of AtomicOps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// The state asked for.
    pub atomics: AtomicsMode,
    /// The state there was.
    pub requester: RequesterReadback,
    /// The cases, in order.
    pub cases: Vec<CaseReport>,
    /// How often ROCr aborted by a defect of its own model mode, whereupon the case was tried once more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rocr_aborts: u32,
    /// What the path did over the whole run, on beds that count it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric: Option<FabricCounters>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseReport {
    /// Its name, as `--case` matches it.
    pub name: String,
    /// What happened.
    pub outcome: Outcome,
    /// How that stands.
    pub standing: Standing,
    /// What was expected, in words, when it is not `completed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Wall time of the case.
    pub duration_ms: u64,
    /// What was seen.
    pub evidence: Evidence,
    /// The most likely cause in a word; absent when nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspect>,
    /// The most likely cause, in a sentence; absent when nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Verdict on one device or one invocation: a sentence, the cause and the exact fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// One sentence.
    pub summary: String,
    /// The most likely cause in a word, when a case failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspect>,
    /// Why, when something is wrong or was shown to matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do: a command or a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What this device alone would exit with.
    pub exit_code: ExitCode,
}

/// The last word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub word: VerdictWord,
    /// One sentence.
    pub sentence: String,
    /// The process's exit code.
    pub exit_code: ExitCode,
}

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VerdictWord {
    /// Every check passed.
    #[serde(rename = "PASS")]
    Pass,
    /// A check failed.
    #[serde(rename = "FAIL")]
    Fail,
    /// A signal never fired.
    #[serde(rename = "HANG")]
    Hang,
    /// Everything passed, and something is worse than it should be.
    #[serde(rename = "DEGRADED")]
    Degraded,
    /// Whatever passed, it was no hardware.
    #[serde(rename = "NO GPU TESTED")]
    NoGpuTested,
}

impl VerdictWord {
    /// Every verdict, in the order in which somebody on call wants to read them.
    pub const WORST_FIRST: [Self; 5] = [Self::Hang, Self::Fail, Self::Degraded, Self::NoGpuTested, Self::Pass];
}

impl fmt::Display for VerdictWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Hang => "HANG",
            Self::Degraded => "DEGRADED",
            Self::NoGpuTested => "NO GPU TESTED",
        })
    }
}

/// Exit codes are an interface (docs/architecture.md, "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum ExitCode {
    /// Every check passed.
    Pass,
    /// A check failed.
    CheckFailed,
    /// The command line or an input was wrong, or nothing was selected.
    Usage,
    /// A signal never fired.
    Hang,
    /// No hardware was tested.
    NoHardware,
    /// Everything passed, and something is worse than it should be (`--strict`).
    Degraded,
}

/// A number that is no exit code of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no exit code of aqlprobe: they go from 0 to 5")]
pub struct UnknownExitCode(pub u8);

impl TryFrom<u8> for ExitCode {
    type Error = UnknownExitCode;

    fn try_from(status: u8) -> Result<Self, UnknownExitCode> {
        [Self::Pass, Self::CheckFailed, Self::Usage, Self::Hang, Self::NoHardware, Self::Degraded]
            .into_iter()
            .find(|code| code.status() == status)
            .ok_or(UnknownExitCode(status))
    }
}

impl ExitCode {
    /// The process exit status.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::CheckFailed => 1,
            Self::Usage => 2,
            Self::Hang => 3,
            Self::NoHardware => 4,
            Self::Degraded => 5,
        }
    }
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code.status()
    }
}
