//! What to verify.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::faults::FaultPlan;
use crate::hsa::RuntimeChoice;
use crate::pci::Bdf;
use crate::rocr::ModelTarget;

/// Everything an invocation of `verify` is asked for.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// Where.
    pub place: PlaceRequest,
    /// Glob patterns of case names; empty: all.
    pub cases: Vec<String>,
}

/// Where device work is to be done: what every command that does some is asked for.
#[derive(Clone, Debug)]
pub struct PlaceRequest {
    /// Which HSA runtime to open.
    pub runtime: RequestedRuntime,
    /// Which of its GPUs.
    pub device: DeviceSelector,
    /// In which states of AtomicOps; `None`: both on the software GPU, as found on hardware and with a replayed dump.
    pub atomics: Option<AtomicsSelection>,
    /// How long a completion may take; `None`: [`Milliseconds::DEFAULT_TIMEOUT`].
    pub timeout: Option<Milliseconds>,
    /// An `lspci -xxx` text whose GPU the embedded device takes its config space from.
    pub replay: Option<PathBuf>,
    /// Where sysfs is; `None`: the bed's own.
    pub sysfs_root: Option<PathBuf>,
    /// What is to go wrong on purpose.
    pub faults: Option<FaultPlan>,
}

/// The runtime and, where that is the software GPU's to be, the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedRuntime {
    /// A runtime with the device that it has.
    Choice(RuntimeChoice),
    /// AMD's own runtime with the software GPU as its device.
    RocrModel(RocrModelRequest),
    /// Our runtime over vfio-pci with the software GPU's PCIe endpoint as its device.
    Guest,
}

impl fmt::Display for RequestedRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(choice) => choice.fmt(formatter),
            Self::RocrModel(_) => formatter.write_str("rocr-model"),
            Self::Guest => formatter.write_str("guest"),
        }
    }
}

/// Which ROCr drives which software GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RocrModelRequest {
    /// The runtime library; `None`: the sysroot's, or else the system's.
    pub library: Option<PathBuf>,
    /// A directory with a C library of its own, in which the library can be loaded.
    pub sysroot: Option<PathBuf>,
    /// What the GPU is.
    pub target: ModelTarget,
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Milliseconds(pub u64);

impl Milliseconds {
    /// How long a completion may take when nothing else is asked for.
    pub const DEFAULT_TIMEOUT: Self = Self(5_000);

    /// The same span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ms", self.0)
    }
}

/// One or all of the runtime's GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceSelector {
    /// The runtime's first GPU.
    #[default]
    First,
    /// The GPU at this PCI address.
    Bdf(Bdf),
    /// The GPU at this position among the runtime's GPU agents, from 0.
    Index(usize),
    /// Every GPU.
    All,
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => formatter.write_str("the first GPU"),
            Self::Bdf(bdf) => write!(formatter, "the GPU at {bdf}"),
            Self::Index(index) => write!(formatter, "GPU number {index}"),
            Self::All => formatter.write_str("all GPUs"),
        }
    }
}

/// A device selector that is neither `all`, nor a number, nor a PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no device: write a PCI address such as 0000:0b:00.0 or 0b:00.0, a number from 0, or `all`")]
pub struct BadDeviceSelector(pub String);

impl FromStr for DeviceSelector {
    type Err = BadDeviceSelector;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Index).map_err(|_| BadDeviceSelector(text.to_owned()));
        }
        text.parse().map(Self::Bdf).map_err(|_| BadDeviceSelector(text.to_owned()))
    }
}

/// The states of AtomicOp Requester Enable to run the cases in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicsSelection {
    /// Leave the bit alone.
    AsFound,
    /// Set, restored afterwards.
    On,
    /// Cleared, restored afterwards.
    Off,
    /// A run with the bit cleared, then one with it set.
    Both,
}
