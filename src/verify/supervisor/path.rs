//! The PCIe path of a device in the report's words.

use crate::pci::path::{Delivery, EnableBit, PathCapability, PathVerdict};
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, Hierarchy, Hop, HopRole, PcieReading, PortType, path, registers};
use crate::report::{self, Bit, HopReport, PathReport, RequesterReadback};

/// Reads and judges the path of the device at `bdf`.
///
/// # Errors
/// Why sysfs does not say, as a sentence: the run goes on without.
pub fn read(root: &SysfsRoot, bdf: &Bdf) -> Result<PathReport, String> {
    let hierarchy = root.hierarchy(bdf).map_err(|error| error.to_string())?;
    Ok(describe(&hierarchy, &path::judge(&hierarchy)))
}

fn describe(hierarchy: &Hierarchy, verdict: &PathVerdict) -> PathReport {
    let capability = match verdict.path {
        PathCapability::Capable => report::PathCapability::Capable,
        PathCapability::Incapable => report::PathCapability::Incapable,
        PathCapability::Unknown => report::PathCapability::Unknown,
    };
    let fixes =
        verdict.findings.iter().map(|finding| finding.fix.command.clone().unwrap_or_else(|| finding.fix.advice.clone())).collect();
    PathReport {
        hops: hierarchy
            .hops
            .iter()
            .enumerate()
            .map(|(position, hop)| self::hop(hop, position + 1 == hierarchy.hops.len()))
            .collect(),
        capability,
        requester: bit(verdict.requester),
        first_bad_hop: verdict.first_bad_hop().map(|bdf| bdf.to_string()),
        summary: summary(verdict),
        causes: verdict.findings.iter().map(|finding| finding.sentence.clone()).collect(),
        fixes,
    }
}

/// The verdict alone: causes and fixes stand beside it.
fn summary(verdict: &PathVerdict) -> String {
    let device = verdict.endpoint.map_or_else(|| "the device".to_owned(), |bdf| bdf.to_string());
    match (verdict.delivery, verdict.path) {
        (Delivery::Delivered, _) => format!("AtomicOps of {device} reach host memory"),
        (Delivery::Lost, PathCapability::Capable) => {
            format!("AtomicOps of {device} do not leave it, though the path would carry them")
        }
        (Delivery::Lost, _) => format!("AtomicOps of {device} do not reach host memory"),
        (Delivery::Unknown, _) => format!("whether AtomicOps of {device} reach host memory cannot be read here"),
    }
}

const fn bit(state: EnableBit) -> Bit {
    match state {
        EnableBit::Enabled => Bit::Set,
        EnableBit::Disabled => Bit::Clear,
        EnableBit::Unknown => Bit::Unknown,
    }
}

/// The bits that count for a hop in its role; see `HopReport`.
fn hop(hop: &Hop, is_device: bool) -> HopReport {
    let role = match hop.role {
        HopRole::Pcie(PortType::RootPort) => report::HopRole::RootPort,
        HopRole::Pcie(PortType::SwitchUpstream) => report::HopRole::SwitchUpstream,
        HopRole::Pcie(PortType::SwitchDownstream) => report::HopRole::SwitchDownstream,
        _ if is_device => report::HopRole::Endpoint,
        _ => report::HopRole::Other,
    };
    let capable = |mask: u32| Some(Bit::of(hop.atomic_capabilities().all(mask)));
    let control = |mask: u16| Some(Bit::of(hop.atomic_control().all(mask.into())));
    let is_root = role == report::HopRole::RootPort;
    let is_switch = matches!(role, report::HopRole::SwitchUpstream | report::HopRole::SwitchDownstream);
    let id = hop.vendor_id.zip(hop.device_id).map(|(vendor, device)| format!("{vendor:04x}:{device:04x}"));
    let note = match hop.pcie {
        PcieReading::Absent => Some("no PCI Express capability".to_owned()),
        PcieReading::Present(_) | PcieReading::Unknown(_) => hop.unknown_because.clone(),
    };
    HopReport {
        bdf: hop.bdf.to_string(),
        role,
        name: hop.name.clone(),
        id,
        routing: if is_switch { capable(registers::ATOMIC_ROUTING) } else { None },
        completer_32: if is_root { capable(registers::COMPLETER_32) } else { None },
        completer_64: if is_root { capable(registers::COMPLETER_64) } else { None },
        egress_blocked: if is_switch { control(registers::EGRESS_BLOCK) } else { None },
        requester_enable: if is_device { control(registers::REQUESTER_ENABLE) } else { None },
        bus_master: is_device.then(|| Bit::of(hop.command.all(registers::COMMAND_BUS_MASTER.into()))),
        note,
    }
}

/// The state of the bit as the path was found, for a run that leaves it alone.
#[must_use]
pub fn as_found(path: Result<&PathReport, &str>) -> RequesterReadback {
    match path {
        Ok(path) => match path.requester {
            Bit::Set => RequesterReadback::Holds { enabled: true },
            Bit::Clear => RequesterReadback::Holds { enabled: false },
            Bit::Unknown => RequesterReadback::Unknown {
                reason: path
                    .hops
                    .last()
                    .and_then(|device| device.note.clone())
                    .unwrap_or_else(|| "Device Control 2 cannot be read".to_owned()),
            },
        },
        Err(reason) => RequesterReadback::Unknown { reason: reason.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::tree::Completers;
    use crate::verify::supervisor::fixtures::{FIJI, founding_tree};

    #[test]
    fn the_founding_path_is_capable_and_its_device_may_not_send() {
        let (_tree, root) = founding_tree(Completers::Both);
        let path = read(&root, &FIJI).unwrap();
        assert_eq!((path.capability, path.requester), (report::PathCapability::Capable, Bit::Clear));
        assert_eq!(path.first_bad_hop.as_deref(), Some("0000:0b:00.0"));
        assert_eq!(path.fixes, ["setpci -s 0b:00.0 CAP_EXP+28.w=40:40"]);
        let [root_port, device] = path.hops.as_slice() else { panic!("two hops, not {:?}", path.hops) };
        assert_eq!(
            (root_port.role, root_port.completer_32, root_port.completer_64),
            (report::HopRole::RootPort, Some(Bit::Set), Some(Bit::Set))
        );
        assert_eq!((root_port.requester_enable, root_port.bus_master), (None, None));
        assert_eq!(
            (device.role, device.requester_enable, device.bus_master),
            (report::HopRole::Endpoint, Some(Bit::Clear), Some(Bit::Set))
        );
        assert_eq!(as_found(Ok(&path)), RequesterReadback::Holds { enabled: false });
    }

    #[test]
    fn a_root_port_without_completers_is_the_first_bad_hop() {
        let (_tree, root) = founding_tree(Completers::Neither);
        let path = read(&root, &FIJI).unwrap();
        assert_eq!(path.capability, report::PathCapability::Incapable);
        assert_eq!(path.first_bad_hop.as_deref(), Some("0000:00:03.0"));
        assert!(path.summary.contains("do not reach host memory"), "{}", path.summary);
    }

    #[test]
    fn a_device_that_is_not_there_leaves_the_bit_unknown() {
        let (_tree, root) = founding_tree(Completers::Both);
        let reason = read(&root, &Bdf { bus: 0x0c, ..FIJI }).unwrap_err();
        assert!(matches!(as_found(Err(&reason)), RequesterReadback::Unknown { reason } if reason.contains("0000:0c:00.0")));
    }
}
