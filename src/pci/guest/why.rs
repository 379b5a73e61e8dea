//! In a guest: why has the emulated root port no completers?

#[cfg(test)]
mod tests;

use super::{Chipset, Functions, Hypervisor, Machine, MachineType, QemuVersion};
use crate::pci::{Completeness, Hierarchy, Hop, HopRole, PcieReading, PortType, registers as reg};
use serde::Serialize;
use std::fmt;

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

/// The reasons, those that are shown first, those ruled out last. Empty on bare metal, where nothing tells of a virtual
/// machine, and where the root port completes both widths.
///
/// `functions` is what the guest's slot of the GPU shows, see [`Functions`].
pub fn why(hierarchy: &Hierarchy, machine: &Machine, functions: Option<Functions>) -> Vec<Reason> {
    let machine = machine.clone().or_as_its_ports_say(hierarchy);
    let (Machine::Guest { hypervisor, machine_type, .. }, Some(gpu)) = (&machine, hierarchy.endpoint()) else {
        return Vec::new();
    };
    let place = Place::of(hierarchy);
    if place.root_port().is_some_and(|port| port.atomic_capabilities().all(BOTH_WIDTHS) == Some(true)) {
        return Vec::new();
    }
    let mut reasons = if *hypervisor == Hypervisor::Kvm {
        qemu_reasons(&place, gpu, *machine_type, functions)
    } else {
        vec![other_hypervisor(*hypervisor)]
    };
    reasons.push(host_path());
    reasons.sort_by_key(|reason| reason.standing);
    reasons
}

/// What amdgpu asks of a root port.
const BOTH_WIDTHS: u32 = reg::COMPLETER_32 | reg::COMPLETER_64;

/// What is right above the GPU.
enum Place<'a> {
    RootBus,
    RootPort(&'a Hop),
    SwitchPort(&'a Hop),
    ConventionalBridge(&'a Hop),
    Unknown,
}

impl<'a> Place<'a> {
    fn of(hierarchy: &'a Hierarchy) -> Self {
        let above = hierarchy.hops.split_last().and_then(|(_, above)| above.last());
        match (above, hierarchy.completeness) {
            (None, Completeness::Whole) => Self::RootBus,
            (None, Completeness::Partial) => Self::Unknown,
            (Some(hop), _) => match hop.role {
                HopRole::Pcie(PortType::RootPort) => Self::RootPort(hop),
                HopRole::Pcie(PortType::SwitchUpstream | PortType::SwitchDownstream) => Self::SwitchPort(hop),
                HopRole::Pcie(PortType::PcieToPci) | HopRole::ConventionalBridge => Self::ConventionalBridge(hop),
                _ => Self::Unknown,
            },
        }
    }

    fn root_port(&self) -> Option<&'a Hop> {
        match self {
            Self::RootPort(hop) => Some(hop),
            _ => None,
        }
    }

    /// Whether the GPU is on a root bus.
    fn on_root_bus(&self) -> Option<bool> {
        match self {
            Self::RootBus => Some(true),
            Self::Unknown => None,
            _ => Some(false),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootBus => formatter.write_str("The GPU is on a root bus"),
            Self::RootPort(hop) => write!(formatter, "The GPU is behind the root port {}", hop.bdf),
            Self::SwitchPort(hop) => write!(formatter, "The GPU is behind the switch port {}", hop.bdf),
            Self::ConventionalBridge(hop) => write!(formatter, "The GPU is behind the conventional bridge {}", hop.bdf),
            Self::Unknown => formatter.write_str("What is right above the GPU is not known"),
        }
    }
}

fn standing(applies: Option<bool>) -> Standing {
    match applies {
        Some(true) => Standing::Shown,
        Some(false) => Standing::RuledOut,
        None => Standing::Open,
    }
}

/// Three-valued "and".
fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn qemu_reasons(place: &Place<'_>, gpu: &Hop, machine_type: Option<MachineType>, functions: Option<Functions>) -> Vec<Reason> {
    let chipset = machine_type.map(|machine_type| machine_type.chipset);
    let reason = |kind, applies, evidence: String, change: &str| Reason {
        kind,
        standing: standing(applies),
        evidence,
        change: change.to_owned(),
    };
    let capability = match gpu.pcie {
        PcieReading::Present(capability) => format!("{place}, and shows itself as {}.", capability.port_type),
        PcieReading::Absent => format!("{place}, and has no PCI Express capability."),
        PcieReading::Unknown(_) => format!("{place}; its capabilities are not readable."),
    };
    let is_missing = match gpu.pcie {
        PcieReading::Absent => Some(true),
        PcieReading::Present(_) => Some(false),
        PcieReading::Unknown(_) => None,
    };
    let shows_type = |wanted: &[PortType]| match gpu.pcie {
        PcieReading::Unknown(_) => None,
        _ => Some(gpu.port_type().is_some_and(|port_type| wanted.contains(&port_type))),
    };
    let behind_port = "Put the GPU behind a pcie-root-port of its own, at slot 0, function 0 (Proxmox: pcie=1).";
    let mut reasons = vec![
        reason(
            ReasonKind::I440fx,
            match chipset {
                Some(Chipset::I440fx) => Some(true),
                Some(Chipset::Q35) => Some(false),
                // Of an endpoint on pcie.0 QEMU rewrites or drops the capability; only the i440fx leaves it as it is.
                None => match both(place.on_root_bus(), shows_type(&[PortType::Endpoint, PortType::LegacyEndpoint])) {
                    Some(false) if matches!(place, Place::ConventionalBridge(_)) => None,
                    applies => applies,
                },
            },
            match chipset {
                Some(Chipset::I440fx) => "The machine's DMI tables name the i440fx.".to_owned(),
                Some(Chipset::Q35) => "The machine's DMI tables name the q35.".to_owned(),
                None => capability.clone(),
            },
            "Use the q35 machine and put the GPU behind a pcie-root-port of its own.",
        ),
        reason(
            ReasonKind::LegacyEndpointOnRootBus,
            match chipset {
                Some(Chipset::I440fx) => Some(false),
                _ => both(place.on_root_bus(), is_missing),
            },
            capability.clone(),
            behind_port,
        ),
        reason(
            ReasonKind::EndpointOnRootBus,
            both(place.on_root_bus(), shows_type(&[PortType::IntegratedEndpoint])),
            capability,
            behind_port,
        ),
        reason(
            ReasonKind::BehindConventionalBridge,
            place_is(place, |place| matches!(place, Place::ConventionalBridge(_))),
            format!("{place}."),
            behind_port,
        ),
        reason(
            ReasonKind::BehindEmulatedSwitch,
            place_is(place, |place| matches!(place, Place::SwitchPort(_))),
            format!("{place}."),
            behind_port,
        ),
    ];
    if let Some(port) = place.root_port() {
        let version = match port.pcie {
            PcieReading::Present(capability) => capability.version,
            PcieReading::Absent | PcieReading::Unknown(_) => None,
        };
        reasons.push(reason(
            ReasonKind::PortCapabilityVersion,
            version.map(|version| version != 2),
            match version {
                Some(version) => format!("The PCI Express capability of {} is version {version}.", port.bdf),
                None => format!("The version of the PCI Express capability of {} is not known.", port.bdf),
            },
            "Use QEMU's pcie-root-port.",
        ));
    }
    if !matches!(place, Place::RootBus) {
        reasons.push(reason(
            ReasonKind::Multifunction,
            functions.map(|functions| functions == Functions::Multifunction),
            match functions {
                Some(Functions::Multifunction) => format!("The slot of {} shows several functions.", gpu.bdf),
                Some(Functions::Single) => format!("{} shows itself as a device with a single function.", gpu.bdf),
                None => format!("Whether {} carries the multifunction flag is not known.", gpu.bdf),
            },
            "On the host, pass the GPU's function 0 alone (Proxmox: 0000:BB:DD.0 instead of 0000:BB:DD, \"All Functions\" off; \
             QEMU and libvirt: no multifunction='on'); if audio is wanted, give it a root port of its own.",
        ));
        reasons.push(reason(
            ReasonKind::NotAtFunctionZero,
            Some((gpu.bdf.device, gpu.bdf.function) != (0, 0)),
            format!("The GPU is at slot {}, function {} of its bus.", gpu.bdf.device, gpu.bdf.function),
            "Put the GPU at slot 0, function 0 below its port.",
        ));
    }
    reasons.push(own_completers(gpu));
    reasons.push(old_qemu(machine_type.and_then(|machine_type| machine_type.version)));
    reasons.push(reason(
        ReasonKind::OldHostKernel,
        None,
        "The guest does not see the host's kernel.".to_owned(),
        "Run a host kernel of 6.5 or later.",
    ));
    reasons
}

fn place_is(place: &Place<'_>, is: impl Fn(&Place<'_>) -> bool) -> Option<bool> {
    match place {
        Place::Unknown => None,
        known => Some(is(known)),
    }
}

/// vfio passes Device Capabilities 2 through as the hardware has it, so that the guest sees the GPU's own bits, unless QEMU
/// dropped the whole capability.
fn own_completers(gpu: &Hop) -> Reason {
    let completes = match gpu.pcie {
        PcieReading::Present(_) => gpu.atomic_capabilities().all(BOTH_WIDTHS),
        PcieReading::Absent | PcieReading::Unknown(_) => None,
    };
    Reason {
        kind: ReasonKind::NoOwnCompleters,
        standing: standing(completes.map(|completes| !completes)),
        evidence: match completes {
            Some(true) => format!("{} has 32-bit and 64-bit completer bits of its own.", gpu.bdf),
            Some(false) => {
                format!("{} lacks completer bits of its own, and vfio reports only widths that the device completes.", gpu.bdf)
            }
            None => format!("The completer bits of {} are not readable here.", gpu.bdf),
        },
        change: "No QEMU setting helps such a GPU. The emulated port decides what the guest's driver enables, not what the \
                 hardware does: audit the path on the host, and enable the requester there."
            .to_owned(),
    }
}

fn old_qemu(at_least: Option<QemuVersion>) -> Reason {
    let new_enough = at_least.filter(|version| *version >= QemuVersion::GIVES_COMPLETERS);
    Reason {
        kind: ReasonKind::OldQemu,
        standing: standing(new_enough.map(|_| false)),
        evidence: match (new_enough, at_least) {
            (Some(version), _) => format!("The machine type is of QEMU {version}, so QEMU is at least that."),
            (None, Some(version)) => format!("The machine type is of QEMU {version}, but a later QEMU runs it too."),
            (None, None) => "The guest does not see the version of QEMU.".to_owned(),
        },
        change: "Run QEMU 8.1 or later on the host.".to_owned(),
    }
}

fn other_hypervisor(hypervisor: Hypervisor) -> Reason {
    let (standing, evidence) = match hypervisor {
        Hypervisor::Vmware | Hypervisor::HyperV => {
            (Standing::Shown, format!("This is a guest of {hypervisor}, which did not pass AtomicOps wherever that was reported."))
        }
        _ => (Standing::Open, format!("This is a guest of {hypervisor}; whether it passes AtomicOps is not known.")),
    };
    let change = "Run the guest with QEMU 8.1 or later, or the work on the host itself.".to_owned();
    Reason { kind: ReasonKind::OtherHypervisor, standing, evidence, change }
}

fn host_path() -> Reason {
    Reason {
        kind: ReasonKind::HostPath,
        standing: Standing::Open,
        evidence: "The guest does not see the host's path.".to_owned(),
        change: "Audit the path on the host.".to_owned(),
    }
}
