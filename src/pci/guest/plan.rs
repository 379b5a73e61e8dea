//! On the host: what will a guest see of this GPU?

mod hierarchy;
#[cfg(test)]
mod tests;

use super::{Functions, QemuVersion};
use crate::pci::kernel::{self, Kernel, KernelVersion};
use crate::pci::path::{self, PathVerdict};
use crate::pci::{Hop, PcieReading, registers as reg};
use serde::Serialize;
use std::fmt;

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

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RootPort => "behind a pcie-root-port",
            Self::Pcie0 => "on the root bus pcie.0",
            Self::Switch => "behind an emulated switch",
            Self::ConventionalBridge => "behind a conventional PCI bridge",
            Self::I440fx => "into an i440fx machine, which has no root ports",
        })
    }
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

impl fmt::Display for CapabilityInGuest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsOnHost => "its PCI Express capability as on the host",
            Self::AsIntegratedEndpoint => "itself as a root complex integrated endpoint",
            Self::AsEndpoint => "itself as an endpoint",
            Self::Missing => "no PCI Express capability",
            Self::Unknown => "a PCI Express capability that is not known here",
        })
    }
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

impl fmt::Display for GuestPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |enables: Option<bool>| match enables {
            Some(true) => "enables",
            Some(false) => "refuses",
            None => "may or may not enable",
        };
        let kernels = self.kernel_accepts;
        let newer = verb(kernels.requiring_root_port);
        write!(formatter, "In the guest the GPU shows {}; ", self.guest_sees)?;
        write!(formatter, "a kernel that asks for a root port (7.1 and later) {newer} its AtomicOps")?;
        if kernels.accepting_without_root_port != kernels.requiring_root_port {
            let older = match kernels.accepting_without_root_port {
                Some(true) => "enables them blindly, which proves nothing",
                other => verb(other),
            };
            write!(formatter, "; one from before {older}")?;
        }
        formatter.write_str(".")
    }
}

/// Forecasts what a guest sees of the GPU, which `host` shows as it is on the host, with the verdict on the host's path.
pub fn plan(host: &Hop, verdict: &PathVerdict, request: &PlanRequest) -> GuestPlan {
    let mut reasons = conditions(host, verdict, request);
    let root_port_completes = if reasons.iter().any(|condition| condition.holds == Some(false)) {
        Some(false)
    } else if reasons.iter().all(|condition| condition.holds == Some(true)) {
        Some(true)
    } else {
        None
    };
    let guest_sees = hierarchy::capability_in_guest(host, request.placement);
    let guest = hierarchy::guest_hierarchy(host, guest_sees, request.placement, root_port_completes);
    let guest_verdict = path::judge(&guest);
    let asked = |kernel| guest.endpoint().and_then(|gpu| kernel::answer(gpu, &guest_verdict, kernel));
    let kernel_accepts = GuestKernels {
        requiring_root_port: asked(Kernel::RequiringRootPort),
        accepting_without_root_port: asked(Kernel::AcceptingWithoutRootPort),
    };
    reasons.sort_by_key(|condition| match condition.holds {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    });
    let mut advice: Vec<String> =
        reasons.iter().filter_map(|condition| advice(condition, host, request)).map(str::to_owned).collect();
    if kernel_accepts.accepting_without_root_port == Some(true) && kernel_accepts.requiring_root_port == Some(false) {
        advice.push(
            "A guest kernel from before 7.1 sets Requester Enable here without testing anything, and the write reaches the \
             hardware: whether AtomicOps then arrive is decided by the host's path."
                .to_owned(),
        );
    }
    advice.dedup();
    GuestPlan { guest_sees, root_port_completes, kernel_accepts, reasons, advice }
}

fn conditions(host: &Hop, verdict: &PathVerdict, request: &PlanRequest) -> Vec<Condition> {
    let condition = |kind, holds, sentence: String| Condition { kind, holds, sentence };
    let placement = request.placement;
    let host_path = host_path(host, verdict, request);
    let own = own_completers(host);
    let qemu = request.qemu.map(|version| version >= QemuVersion::GIVES_COMPLETERS);
    let reports = request.host_kernel.as_ref().and_then(KernelVersion::vfio_reports_atomic_completers);
    vec![
        condition(
            ConditionKind::BehindRootPort,
            Some(placement == Placement::RootPort),
            match placement {
                Placement::RootPort => "The GPU goes behind a pcie-root-port of its own, at function 0.".to_owned(),
                _ => format!("QEMU gives completers only to the root port right above the GPU; here it goes {placement}."),
            },
        ),
        condition(
            ConditionKind::SingleFunction,
            Some(request.functions == Functions::Single),
            match request.functions {
                Functions::Single => "The GPU goes alone, without the multifunction flag.".to_owned(),
                Functions::Multifunction => {
                    "QEMU gives no completers to a root port whose device carries the multifunction flag.".to_owned()
                }
            },
        ),
        condition(
            ConditionKind::QemuVersion,
            qemu,
            match (request.qemu, qemu) {
                (Some(version), Some(true)) => format!("QEMU {version} gives its root ports the completers that vfio reports."),
                (Some(version), _) => format!("QEMU {version} never gives its root ports completers; 8.1 was the first."),
                (None, _) => "The version of QEMU is not known; it must be 8.1 or later.".to_owned(),
            },
        ),
        condition(
            ConditionKind::HostKernelReports,
            reports,
            match (&request.host_kernel, reports) {
                (Some(version), Some(true)) => format!("vfio-pci of Linux {version} reports completers."),
                (Some(version), Some(false)) => format!("vfio-pci of Linux {version} reports no completers; 6.5 was the first."),
                (Some(version), None) => {
                    format!(
                        "Linux {version} is a vendor's build: whether its vfio-pci reports completers, as 6.5 does, is not known."
                    )
                }
                (None, _) => {
                    "The host's kernel is not known; it must be 6.5 or later for vfio-pci to report completers.".to_owned()
                }
            },
        ),
        condition(
            ConditionKind::OwnCompleters,
            own,
            match own {
                Some(true) => format!("{} has 32-bit and 64-bit completer bits of its own.", host.bdf),
                Some(false) => format!(
                    "{} lacks completer bits of its own, and vfio reports a width only for a device that completes it itself.",
                    host.bdf
                ),
                None => format!("Whether {} has completer bits of its own is not known.", host.bdf),
            },
        ),
        condition(
            ConditionKind::HostPath,
            host_path,
            match (host_path, verdict.first_finding()) {
                (Some(true), _) => "The host's kernel finds the path capable.".to_owned(),
                (Some(false), Some(finding)) => format!("The host's kernel refuses the path. {}", finding.sentence),
                (Some(false), None) => "The host's kernel refuses the path.".to_owned(),
                (None, _) => "Whether the host's kernel finds the path capable is not known.".to_owned(),
            },
        ),
    ]
}

/// Of a virtual function vfio tells the physical function's answer, which this hop does not show.
fn own_completers(host: &Hop) -> Option<bool> {
    match (host.physical_function, host.pcie) {
        (Some(_), _) => None,
        (None, PcieReading::Unknown(_)) => None,
        (None, _) => host.atomic_capabilities().all(reg::COMPLETER_32 | reg::COMPLETER_64),
    }
}

fn host_path(host: &Hop, verdict: &PathVerdict, request: &PlanRequest) -> Option<bool> {
    if host.physical_function.is_some() {
        return None;
    }
    let kernel = request.host_kernel.as_ref().map_or(Kernel::Unknown, Kernel::Version);
    kernel::answer(host, verdict, kernel)
}

fn advice(condition: &Condition, host: &Hop, request: &PlanRequest) -> Option<&'static str> {
    let failed = match condition.holds {
        Some(true) => return None,
        Some(false) => true,
        None => false,
    };
    Some(match (condition.kind, failed) {
        (ConditionKind::BehindRootPort, _) => match request.placement {
            Placement::I440fx => "Use the q35 machine and put the GPU behind a pcie-root-port of its own.",
            Placement::ConventionalBridge => {
                "Put the GPU behind a pcie-root-port of its own (Proxmox: pcie=1, with the q35 machine)."
            }
            _ => "Put the GPU behind a pcie-root-port of its own, at slot 0, function 0.",
        },
        (ConditionKind::SingleFunction, _) => {
            "Pass the GPU's function 0 alone (Proxmox: 0000:BB:DD.0 instead of 0000:BB:DD, \"All Functions\" off); if audio is \
             wanted, give it a root port of its own."
        }
        (ConditionKind::QemuVersion, true) => "Update QEMU to 8.1 or later.",
        (ConditionKind::QemuVersion, false) => "Name the version of QEMU.",
        (ConditionKind::HostKernelReports, true) => "Update the host's kernel to 6.5 or later.",
        (ConditionKind::HostKernelReports, false) => "Name the host's kernel, best 6.5 or later.",
        (ConditionKind::OwnCompleters | ConditionKind::HostPath, false) if host.physical_function.is_some() => {
            "Audit the physical function: vfio tells its answer for the virtual one."
        }
        (ConditionKind::OwnCompleters, true) => {
            "No QEMU setting helps this GPU. The emulated port decides what the guest's driver enables, not what the hardware \
             does: audit the path on the host, and enable the requester there."
        }
        (ConditionKind::OwnCompleters, false) => "Read the GPU's config space as root.",
        (ConditionKind::HostPath, true) => "Repair the host's path first: no guest gets AtomicOps that the host cannot carry.",
        (ConditionKind::HostPath, false) => "Audit the whole path on the host as root, and name its kernel.",
    })
}
