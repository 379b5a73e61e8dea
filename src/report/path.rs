//! The PCIe path as the report carries it: values of its own, so that the JSON layout changes only when the schema does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The way of the device's AtomicOps to host memory, hop by hop, and what the registers on it come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// Root port first, the device last.
    pub hops: Vec<HopReport>,
    /// Whether every hop above the device lets AtomicOps through to host memory.
    pub capability: PathCapability,
    /// AtomicOp Requester Enable of the device when the path was read, before any run.
    pub requester: Bit,
    /// Address of the first hop that stops AtomicOps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad_hop: Option<String>,
    /// The verdict on the path in one sentence.
    pub summary: String,
    /// What is wrong, a sentence per cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about it: commands or settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
}

/// One function on the path. A bit that means nothing in this role is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopReport {
    /// `0000:0b:00.0`.
    pub bdf: String,
    /// What it is on the path.
    pub role: HopRole,
    /// Name by its IDs.
    pub name: String,
    /// Vendor and device ID, `1002:7300`; absent when they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// AtomicOp Routing Supported (DevCap2 bit 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<Bit>,
    /// 32-bit AtomicOp Completer Supported (DevCap2 bit 7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completer_32: Option<Bit>,
    /// 64-bit AtomicOp Completer Supported (DevCap2 bit 8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completer_64: Option<Bit>,
    /// AtomicOp Egress Blocking (DevCtl2 bit 7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_blocked: Option<Bit>,
    /// AtomicOp Requester Enable (DevCtl2 bit 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester_enable: Option<Bit>,
    /// Bus Master Enable (Command bit 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus_master: Option<Bit>,
    /// Why something about this hop is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A register bit as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bit {
    /// Reads 1.
    Set,
    /// Reads 0.
    Clear,
    /// Not readable here.
    Unknown,
}

impl Bit {
    /// The bit of a register that may be unknown.
    #[must_use]
    pub fn of(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::Set,
            Some(false) => Self::Clear,
            None => Self::Unknown,
        }
    }
}

/// As `lspci -vv` prints a flag: `+`, `-`, and `?` for what could not be read.
impl fmt::Display for Bit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Set => "+",
            Self::Clear => "-",
            Self::Unknown => "?",
        })
    }
}

/// What a function is on the way to host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopRole {
    /// Completes the AtomicOps on host memory.
    RootPort,
    /// Switch port towards the root; routes.
    SwitchUpstream,
    /// Switch port towards the device; routes.
    SwitchDownstream,
    /// The GPU; requests.
    Endpoint,
    /// Anything else; no AtomicOp path is known through it.
    Other,
}

impl fmt::Display for HopRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RootPort => "root port",
            Self::SwitchUpstream => "switch upstream port",
            Self::SwitchDownstream => "switch downstream port",
            Self::Endpoint => "endpoint",
            Self::Other => "other",
        })
    }
}

/// Whether AtomicOps of the device can reach host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathCapability {
    /// Every hop lets them through.
    Capable,
    /// A hop stops them.
    Incapable,
    /// A register that decides could not be read.
    Unknown,
}

/// What the amdgpu kernel driver's compute part does with this device on this path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KfdReport {
    /// Whether KFD would enumerate it.
    pub acceptance: KfdAcceptance,
    /// From what: generation, firmware, path.
    pub reason: String,
}

/// KFD's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KfdAcceptance {
    /// It becomes a KFD node.
    Accepted,
    /// It is left out.
    Refused,
    /// It depends on what could not be read.
    Unknown,
}
