//! On the host: what will a guest see of this GPU?

use super::{Functions, QemuVersion};
use crate::pci::Hop;
use crate::pci::kernel::KernelVersion;
use crate::pci::path::PathVerdict;
use serde::Serialize;

/// Where QEMU puts the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// q35, behind a pcie-root-port, at its slot 0 function 0.
    RootPort,
    /// q35, on the root bus pcie.0.
    Pcie0,
    /// q35, behind a switch (x3130) that hangs on a root port.
    Switch,
    /// q35, behind a conventional PCI bridge, which is where Proxmox puts it without `pcie=1`.
    ConventionalBridge,
    /// i440fx.
    I440fx,
}

/// What is known of the virtual machine in planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanRequest {
    /// Version of QEMU; `None` leaves what hangs on it unknown.
    pub qemu: Option<QemuVersion>,
    /// Where the GPU goes.
    pub placement: Placement,
    /// Whether it goes alone.
    pub functions: Functions,
    /// The host's kernel; `None` leaves what hangs on it unknown.
    pub host_kernel: Option<KernelVersion>,
}

/// What the guest finds of the GPU's PCI Express capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityInGuest {
    /// The capability as the host sees it.
    AsOnHost,
    /// Its type rewritten to root complex integrated endpoint, link registers zero.
    AsIntegratedEndpoint,
    /// Its type rewritten from root complex integrated endpoint to endpoint.
    AsEndpoint,
    /// None: QEMU drops it, or the device has none.
    Missing,
    /// Not known, because the host's capability is not.
    Unknown,
}

/// A condition under which the guest's root port gets completers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// The GPU sits right behind an emulated root port.
    BehindRootPort,
    /// It does not carry the multifunction flag.
    SingleFunction,
    /// QEMU is 8.1 or later.
    QemuVersion,
    /// The host's vfio-pci reports completers: Linux 6.5 or later.
    HostKernelReports,
    /// The GPU has 32-bit and 64-bit completer bits of its own.
    OwnCompleters,
    /// The host's kernel finds the host's path capable.
    HostPath,
}

/// A condition and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which.
    pub kind: ConditionKind,
    /// Whether it holds; `None` when the input does not show it.
    pub holds: Option<bool>,
    /// In a sentence.
    pub sentence: String,
}

/// Whether the guest's kernel enables AtomicOps, for both forms of its rule; `None` where that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GuestKernels {
    /// With the rule of Linux 7.1 and the stable releases that took it.
    pub requiring_root_port: Option<bool>,
    /// With the rule before: what it accepts without a root port proves nothing.
    pub accepting_without_root_port: Option<bool>,
}

/// The forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuestPlan {
    /// The GPU's capability in the guest.
    pub guest_sees: CapabilityInGuest,
    /// Whether a root port in the guest completes 32-bit and 64-bit AtomicOps; `Some(false)` when there is no such port.
    pub root_port_completes: Option<bool>,
    /// Whether the guest's kernel enables AtomicOps.
    pub kernel_accepts: GuestKernels,
    /// What decides it, what fails first.
    pub reasons: Vec<Condition>,
    /// What to change, in sentences; empty when nothing is known to be in the way.
    pub advice: Vec<String>,
}

/// Forecasts what a guest sees of the GPU, which `host` shows as it is on the host, with the verdict on the host's path.
pub fn plan(host: &Hop, verdict: &PathVerdict, request: &PlanRequest) -> GuestPlan {
    let _ = (host, verdict, request);
    GuestPlan {
        guest_sees: CapabilityInGuest::Unknown,
        root_port_completes: None,
        kernel_accepts: GuestKernels { requiring_root_port: None, accepting_without_root_port: None },
        reasons: Vec::new(),
        advice: Vec::new(),
    }
}
