//! May AtomicOps of a device reach host memory, and if not, which hop is in the way and what to do about it?
//!
//! The rule is that of Linux' `pci_enable_atomic_ops_to_root` (drivers/pci/pci.c, 7.1), which amdgpu asks for 32-bit and
//! 64-bit completers, with one more value: what cannot be read is unknown. Irrelevant for the way to host memory, and not
//! looked at: the device's own completer bits, the root port's routing, egress blocking of downstream ports (PCIe 6.15).

mod advice;
#[cfg(test)]
mod tests;

use super::hierarchy::{Completeness, Hierarchy, Hop, PcieReading};
use super::registers as reg;
use super::{Bdf, PortType};
use serde::Serialize;
use std::fmt;

/// What amdgpu asks of the root port.
const NEEDED_COMPLETERS: u32 = reg::COMPLETER_32 | reg::COMPLETER_64;

/// Whether the path carries AtomicOps from the device to host memory, as the capabilities of its hops say.
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

/// Whether the device's AtomicOps reach host memory as things stand: path, Requester Enable and Bus Master together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// They do.
    Delivered,
    /// They do not.
    Lost,
    /// Not all that decides it is known.
    Unknown,
}

/// What stands against AtomicOps at one hop, or keeps us from knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The hop.
    pub bdf: Bdf,
    /// What is wrong there.
    pub cause: Cause,
    /// The cause in one sentence.
    pub sentence: String,
    /// What to do.
    pub fix: Fix,
}

/// What can stand against AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The device is an SR-IOV virtual function; its physical function's bit governs (PCIe 7.5.3.16).
    VirtualFunction,
    /// The device has no PCI Express capability.
    NotPcie,
    /// The device is neither endpoint nor legacy endpoint.
    NotAnEndpoint,
    /// No root port above the device.
    NoRootPort,
    /// The root port does not complete both 32-bit and 64-bit AtomicOps.
    RootPortDoesNotComplete,
    /// The same, where the root port is one that QEMU emulates.
    EmulatedRootPortDoesNotComplete,
    /// A switch port does not route AtomicOps.
    NotRouted,
    /// A switch's upstream port blocks AtomicOps.
    EgressBlocked,
    /// The device's PCI Express capability is too old to have Requester Enable.
    NoRequesterRegister,
    /// Requester Enable is clear in the device.
    RequesterDisabled,
    /// Bus Master is clear in the device.
    BusMasterDisabled,
    /// The registers of the hop are not known.
    Unreadable,
    /// The hops between this one and the root port are not known.
    HopsMissing,
}

impl Cause {
    /// Whether the cause leaves the question open instead of answering it.
    fn leaves_open(self) -> bool {
        matches!(self, Self::Unreadable | Self::HopsMissing)
    }
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// A command that repairs it, to be run as root, when there is one.
    pub command: Option<String>,
    /// Advice in a sentence.
    pub advice: String,
}

/// An error that a hop has recorded in its Advanced Error Reporting status since it was last cleared: evidence, no cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorTrace {
    /// The hop.
    pub bdf: Bdf,
    /// What it has recorded.
    pub kind: ErrorTraceKind,
}

/// A recorded error that bears on AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorTraceKind {
    /// AtomicOp Egress Blocked (bit 24).
    AtomicEgressBlocked,
    /// Unsupported Request (bit 20): how a completer refuses an AtomicOp, but other requests as well.
    UnsupportedRequest,
}

/// The judgement on a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathVerdict {
    /// The device; `None` for a hierarchy without hops.
    pub endpoint: Option<Bdf>,
    /// Whether its AtomicOps reach host memory as things stand.
    pub delivery: Delivery,
    /// Whether the path carries AtomicOps.
    pub path: PathCapability,
    /// AtomicOp Requester Enable of the device.
    pub requester: EnableBit,
    /// Bus Master of the device.
    pub bus_master: EnableBit,
    /// What stands against it, the path before the enable bits, in the order in which the kernel's rule looks.
    pub findings: Vec<Finding>,
    /// What the hops have recorded.
    pub traces: Vec<ErrorTrace>,
}

impl PathVerdict {
    /// What to repair first: the first finding that is certain, else the first that leaves the question open.
    pub fn first_finding(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| !finding.cause.leaves_open()).or(self.findings.first())
    }

    /// Where it is.
    pub fn first_bad_hop(&self) -> Option<Bdf> {
        self.first_finding().map(|finding| finding.bdf)
    }
}

impl fmt::Display for PathVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(endpoint) = self.endpoint else { return formatter.write_str("There is no device to judge.") };
        match self.delivery {
            Delivery::Delivered => write!(formatter, "AtomicOps of {endpoint} reach host memory.")?,
            Delivery::Lost => write!(formatter, "AtomicOps of {endpoint} do not reach host memory.")?,
            Delivery::Unknown => write!(formatter, "Whether AtomicOps of {endpoint} reach host memory is not known.")?,
        }
        let Some(finding) = self.first_finding() else { return Ok(()) };
        write!(formatter, " {} {}", finding.sentence, finding.fix.advice)?;
        match &finding.fix.command {
            Some(command) => write!(formatter, " Command: {command}"),
            None => Ok(()),
        }
    }
}

/// Judges a path.
pub fn judge(hierarchy: &Hierarchy) -> PathVerdict {
    let Some(endpoint) = hierarchy.endpoint() else {
        return PathVerdict {
            endpoint: None,
            delivery: Delivery::Unknown,
            path: PathCapability::Unknown,
            requester: EnableBit::Unknown,
            bus_master: EnableBit::Unknown,
            findings: Vec::new(),
            traces: Vec::new(),
        };
    };
    let mut faults: Vec<(&Hop, Cause)> = Vec::new();
    device(endpoint, &mut faults);
    bridges(hierarchy, endpoint, &mut faults);
    let path = if faults.iter().any(|(_, cause)| !cause.leaves_open()) {
        PathCapability::Incapable
    } else if faults.is_empty() {
        PathCapability::Capable
    } else {
        PathCapability::Unknown
    };
    let requester = requester(endpoint, &mut faults);
    let bus_master = bus_master(endpoint, &mut faults);
    PathVerdict {
        endpoint: Some(endpoint.bdf),
        delivery: delivery(path, requester, bus_master),
        path,
        requester,
        bus_master,
        findings: faults.into_iter().map(|(hop, cause)| advice::finding(hop, cause, path)).collect(),
        traces: hierarchy.hops.iter().flat_map(traces).collect(),
    }
}

fn delivery(path: PathCapability, requester: EnableBit, bus_master: EnableBit) -> Delivery {
    match (path, requester, bus_master) {
        (PathCapability::Incapable, ..) | (_, EnableBit::Disabled, _) | (.., EnableBit::Disabled) => Delivery::Lost,
        (PathCapability::Capable, EnableBit::Enabled, EnableBit::Enabled) => Delivery::Delivered,
        _ => Delivery::Unknown,
    }
}

fn device<'a>(endpoint: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) {
    if endpoint.physical_function.is_some() {
        faults.push((endpoint, Cause::VirtualFunction));
    }
    match endpoint.pcie {
        PcieReading::Absent => faults.push((endpoint, Cause::NotPcie)),
        PcieReading::Unknown(_) => faults.push((endpoint, Cause::Unreadable)),
        PcieReading::Present(capability) => match capability.port_type {
            PortType::Endpoint | PortType::LegacyEndpoint => {}
            _ => faults.push((endpoint, Cause::NotAnEndpoint)),
        },
    }
}

fn bridges<'a>(hierarchy: &'a Hierarchy, endpoint: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) {
    let above = &hierarchy.hops[..hierarchy.hops.len() - 1];
    // The kernel takes the nearest root port; some machines show root ports below switches.
    let root = above.iter().rposition(|hop| hop.port_type() == Some(PortType::RootPort));
    let between = match root {
        Some(at) => {
            root_port(&above[at], faults);
            &above[at + 1..]
        }
        None => {
            let may_hold_it = above.iter().any(|hop| matches!(hop.pcie, PcieReading::Unknown(_)));
            match hierarchy.completeness {
                Completeness::Partial => faults.push((above.first().unwrap_or(endpoint), Cause::HopsMissing)),
                Completeness::Whole if may_hold_it => {}
                Completeness::Whole => faults.push((endpoint, Cause::NoRootPort)),
            }
            above
        }
    };
    for hop in between.iter().rev() {
        bridge(hop, faults);
    }
}

fn root_port<'a>(root: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) {
    match root.atomic_capabilities().all(NEEDED_COMPLETERS) {
        None => faults.push((root, Cause::Unreadable)),
        Some(true) => {}
        Some(false) if advice::is_emulated_by_qemu(root) => faults.push((root, Cause::EmulatedRootPortDoesNotComplete)),
        Some(false) => faults.push((root, Cause::RootPortDoesNotComplete)),
    }
}

/// Bridges that are no switch ports are passed over, as the kernel does.
fn bridge<'a>(hop: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) {
    if matches!(hop.pcie, PcieReading::Unknown(_)) {
        faults.push((hop, Cause::Unreadable));
        return;
    }
    let faces_root = match hop.port_type() {
        Some(PortType::SwitchUpstream) => true,
        Some(PortType::SwitchDownstream) => false,
        _ => return,
    };
    let blocks = if faces_root { hop.atomic_control().all(reg::EGRESS_BLOCK.into()) } else { Some(false) };
    let routes = hop.atomic_capabilities().all(reg::ATOMIC_ROUTING);
    if blocks == Some(true) {
        faults.push((hop, Cause::EgressBlocked));
    }
    if routes == Some(false) {
        faults.push((hop, Cause::NotRouted));
    }
    if blocks.is_none() || routes.is_none() {
        faults.push((hop, Cause::Unreadable));
    }
}

fn requester<'a>(endpoint: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) -> EnableBit {
    if endpoint.physical_function.is_some() {
        return EnableBit::Unknown;
    }
    match (endpoint.pcie, endpoint.atomic_control().all(reg::REQUESTER_ENABLE.into())) {
        (_, Some(true)) => EnableBit::Enabled,
        (PcieReading::Absent, _) => EnableBit::Disabled,
        (PcieReading::Present(capability), _) if capability.devctl2().is_none() => {
            faults.push((endpoint, Cause::NoRequesterRegister));
            EnableBit::Disabled
        }
        (_, Some(false)) => {
            faults.push((endpoint, Cause::RequesterDisabled));
            EnableBit::Disabled
        }
        (PcieReading::Present(_), None) => {
            faults.push((endpoint, Cause::Unreadable));
            EnableBit::Unknown
        }
        (PcieReading::Unknown(_), None) => EnableBit::Unknown,
    }
}

fn bus_master<'a>(endpoint: &'a Hop, faults: &mut Vec<(&'a Hop, Cause)>) -> EnableBit {
    match endpoint.command.all(reg::COMMAND_BUS_MASTER.into()) {
        None => EnableBit::Unknown,
        Some(true) => EnableBit::Enabled,
        Some(false) => {
            faults.push((endpoint, Cause::BusMasterDisabled));
            EnableBit::Disabled
        }
    }
}

fn traces(hop: &Hop) -> Vec<ErrorTrace> {
    let recorded =
        |bit: u32, kind| (hop.uncorrectable_error_status.all(bit) == Some(true)).then_some(ErrorTrace { bdf: hop.bdf, kind });
    [
        recorded(reg::AER_ATOMIC_EGRESS_BLOCKED, ErrorTraceKind::AtomicEgressBlocked),
        recorded(reg::AER_UNSUPPORTED_REQUEST, ErrorTraceKind::UnsupportedRequest),
    ]
    .into_iter()
    .flatten()
    .collect()
}
