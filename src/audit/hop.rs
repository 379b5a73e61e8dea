//! One function of the path with the bits that count for its role (PCIe 6.15, 7.5.3.15-16).

use super::answer::Answer;
use crate::pci::lspci;
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, Hop, HopRole, PcieReading, PortType, registers as reg};
use serde::Serialize;
use std::fmt;
use std::fs;

/// A hop as an audit shows it. A bit that does not exist for the hop's role is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditedHop {
    /// Its address.
    pub bdf: Bdf,
    /// Vendor and device ID, `1002:7300`.
    pub id: Option<String>,
    /// What it is.
    pub role: HopRole,
    /// Vendor and device in words.
    pub name: String,
    /// Version of its PCI Express capability.
    pub capability_version: Option<u8>,
    /// AtomicOp Routing Supported; of switch ports.
    pub routing: Option<Answer>,
    /// Completes 32-bit AtomicOps. Of a root port: those to host memory; of an endpoint: those sent to it.
    pub completer_32: Option<Answer>,
    /// Completes 64-bit AtomicOps.
    pub completer_64: Option<Answer>,
    /// Completes 128-bit compare-and-swap.
    pub completer_128: Option<Answer>,
    /// AtomicOp Requester Enable; of endpoints.
    pub requester_enable: Option<Answer>,
    /// AtomicOp Egress Blocking; of switch ports.
    pub egress_blocked: Option<Answer>,
    /// Bus Master.
    pub bus_master: Answer,
    /// Its link, where the source shows it.
    pub link: Option<Link>,
    /// Why something about it is unknown.
    pub note: Option<String>,
}

/// A link as it runs and as the port could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What was trained.
    pub now: Option<LinkState>,
    /// The port's most.
    pub capable: Option<LinkState>,
}

/// Speed and width of a link, as far as they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinkState {
    /// Millions of transfers per second and lane.
    pub megatransfers_per_second: Option<u32>,
    /// Number of lanes.
    pub lanes: Option<u8>,
}

impl fmt::Display for LinkState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.megatransfers_per_second.map(|rate| (rate / 1000, rate % 1000 / 100)) {
            Some((whole, 0)) => write!(formatter, "{whole} GT/s")?,
            Some((whole, tenths)) => write!(formatter, "{whole}.{tenths} GT/s")?,
            None => formatter.write_str("?")?,
        }
        match self.lanes {
            Some(lanes) => write!(formatter, " x{lanes}"),
            None => formatter.write_str(" x?"),
        }
    }
}

impl From<lspci::Link> for Link {
    fn from(link: lspci::Link) -> Self {
        Self { now: link.now.map(LinkState::from), capable: link.capable.map(LinkState::from) }
    }
}

impl From<lspci::LinkState> for LinkState {
    fn from(state: lspci::LinkState) -> Self {
        let megatransfers_per_second = state.tenths_of_gt_per_s.map(|tenths| u32::from(tenths) * 100);
        Self { megatransfers_per_second, lanes: state.lanes }
    }
}

impl AuditedHop {
    pub(super) fn of(hop: &Hop, link: Option<Link>) -> Self {
        let capability = match hop.pcie {
            PcieReading::Present(capability) => Some(capability),
            PcieReading::Absent | PcieReading::Unknown(_) => None,
        };
        let port_type = hop.port_type();
        let is_switch = matches!(port_type, Some(PortType::SwitchUpstream | PortType::SwitchDownstream));
        let is_endpoint = matches!(port_type, Some(PortType::Endpoint | PortType::LegacyEndpoint | PortType::IntegratedEndpoint));
        let completes = is_endpoint || port_type == Some(PortType::RootPort);
        let capable = |wanted: bool, bit: u32| wanted.then(|| Answer::from(hop.atomic_capabilities().all(bit)));
        let control = |wanted: bool, bit: u16| wanted.then(|| Answer::from(hop.atomic_control().all(bit.into())));
        Self {
            bdf: hop.bdf,
            id: hop.vendor_id.zip(hop.device_id).map(|(vendor, device)| format!("{vendor:04x}:{device:04x}")),
            role: hop.role,
            name: hop.name.clone(),
            capability_version: capability.and_then(|capability| capability.version),
            routing: capable(is_switch, reg::ATOMIC_ROUTING),
            completer_32: capable(completes, reg::COMPLETER_32),
            completer_64: capable(completes, reg::COMPLETER_64),
            completer_128: capable(completes, reg::COMPLETER_128),
            requester_enable: control(is_endpoint, reg::REQUESTER_ENABLE),
            egress_blocked: control(is_switch, reg::EGRESS_BLOCK),
            bus_master: hop.command.all(reg::COMMAND_BUS_MASTER.into()).into(),
            link,
            note: hop.unknown_because.clone(),
        }
    }
}

/// The links of the hops, in their order, as Linux shows them beside config space; `None` where it shows none.
pub fn links_from_sysfs(root: &SysfsRoot, hops: &[Hop]) -> Vec<Option<Link>> {
    hops.iter().map(|hop| link(root, &hop.bdf)).collect()
}

fn link(root: &SysfsRoot, bdf: &Bdf) -> Option<Link> {
    let attribute = |name: &str| fs::read_to_string(root.device_dir(bdf).join(name)).ok();
    let state = |speed: &str, width: &str| {
        let megatransfers_per_second = attribute(speed).and_then(|text| megatransfers(&text));
        // A link that is down, or none, has the width 0 (or 255 where the device does not answer).
        let lanes = attribute(width).and_then(|text| text.trim().parse().ok()).filter(|lanes| !matches!(lanes, 0 | 255));
        lanes.map(|lanes| LinkState { megatransfers_per_second, lanes: Some(lanes) })
    };
    let (now, capable) = (state("current_link_speed", "current_link_width"), state("max_link_speed", "max_link_width"));
    (now.is_some() || capable.is_some()).then_some(Link { now, capable })
}

/// `8.0 GT/s PCIe` (older kernels: `8 GT/s`) in millions of transfers.
fn megatransfers(text: &str) -> Option<u32> {
    let (number, _) = text.split_once("GT/s")?;
    let (whole, tenths) = number.trim().split_once('.').unwrap_or((number.trim(), "0"));
    let tenths: u32 = tenths.get(..1)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(tenths * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_speeds_are_read_in_both_spellings_of_the_kernel() {
        let speeds = ["8.0 GT/s PCIe\n", "8 GT/s\n", "2.5 GT/s PCIe", "Unknown speed", ""].map(megatransfers);
        assert_eq!(speeds, [Some(8000), Some(8000), Some(2500), None, None]);
        let link = LinkState { megatransfers_per_second: Some(2500), lanes: Some(1) };
        assert_eq!(link.to_string(), "2.5 GT/s x1");
    }
}
