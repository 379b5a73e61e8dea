//! May AtomicOps of a device reach host memory? The rule of Linux' `pci_enable_atomic_ops_to_root`, and what to do.

use super::{Bdf, Hierarchy};
use serde::Serialize;

/// Whether the path carries AtomicOps from the device to host memory, as the ports' capabilities say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathCapability {
    /// Every hop supports it.
    Capable,
    /// A hop does not.
    Incapable,
    /// Not all hops are known, and none of the known ones rules it out.
    Unknown,
}

/// A bit of the device that must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnableBit {
    /// Set.
    Enabled,
    /// Clear.
    Disabled,
    /// Not readable.
    Unknown,
}

/// What stands against AtomicOps at one hop, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The hop.
    pub bdf: Bdf,
    /// What is wrong there.
    pub cause: Cause,
    /// The cause in one sentence.
    pub sentence: String,
    /// What to do: a command, or advice.
    pub fix: Fix,
}

/// What can stand against AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The device is an SR-IOV virtual function.
    VirtualFunction,
    /// The device has no PCI Express capability.
    NotPcie,
    /// The device is neither endpoint nor legacy endpoint.
    NotAnEndpoint,
    /// No root port above the device.
    NoRootPort,
    /// The root port does not complete both 32-bit and 64-bit AtomicOps.
    RootPortDoesNotComplete,
    /// As above, and the root port is one that QEMU emulates.
    EmulatedRootPortDoesNotComplete,
    /// A switch port does not route AtomicOps.
    NotRouted,
    /// A switch's upstream port blocks AtomicOps.
    EgressBlocked,
    /// Requester Enable is clear in the device.
    RequesterDisabled,
    /// Bus Master is clear in the device.
    BusMasterDisabled,
    /// The registers of the hop are not known.
    Unreadable,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// A command that repairs it, to be run as root, when one can.
    pub command: Option<String>,
    /// Advice in a sentence.
    pub advice: String,
}

/// The judgement on a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathVerdict {
    /// Whether the path carries AtomicOps.
    pub path: PathCapability,
    /// AtomicOp Requester Enable of the device.
    pub requester: EnableBit,
    /// Bus Master of the device.
    pub bus_master: EnableBit,
    /// What stands against it, in the order of the kernel's rule: the first is the one to repair first.
    pub findings: Vec<Finding>,
}

/// Judges a path.
pub fn judge(_hierarchy: &Hierarchy) -> PathVerdict {
    PathVerdict {
        path: PathCapability::Unknown,
        requester: EnableBit::Unknown,
        bus_master: EnableBit::Unknown,
        findings: Vec::new(),
    }
}
