//! From the pci room's reading and judgement of a path to what the report carries.

use crate::pci::path::{Cause, EnableBit, PathCapability as Judged, PathVerdict};
use crate::pci::{Hierarchy, Hop, HopRole as Read, PortType, registers};

use super::path::{Bit, HopReport, HopRole, PathCapability, PathReport};

impl PathReport {
    /// The path as it was read, and what `verdict` says of it.
    #[must_use]
    pub fn of(hierarchy: &Hierarchy, verdict: &PathVerdict) -> Self {
        let capability = match verdict.path {
            Judged::Capable => PathCapability::Capable,
            Judged::Incapable => PathCapability::Incapable,
            Judged::Unknown => PathCapability::Unknown,
        };
        let stopper = verdict.findings.iter().find(|finding| stops_the_path(finding.cause));
        Self {
            hops: hierarchy.hops.iter().map(HopReport::of).collect(),
            capability,
            requester: bit(verdict.requester),
            first_bad_hop: stopper.filter(|_| capability == PathCapability::Incapable).map(|finding| finding.bdf.to_string()),
            summary: summary(capability, verdict, stopper.map(|finding| finding.bdf.short())),
            causes: verdict.findings.iter().map(|finding| finding.sentence.clone()).collect(),
            fixes: verdict
                .findings
                .iter()
                .map(|finding| finding.fix.command.clone().unwrap_or_else(|| finding.fix.advice.clone()))
                .collect(),
        }
    }
}

/// Whether the cause lies in the way itself, not in a bit of the device that a command can set.
const fn stops_the_path(cause: Cause) -> bool {
    !matches!(cause, Cause::RequesterDisabled | Cause::BusMasterDisabled | Cause::Unreadable)
}

fn summary(capability: PathCapability, verdict: &PathVerdict, stopper: Option<String>) -> String {
    match capability {
        PathCapability::Incapable => {
            stopper.map_or_else(|| "AtomicOps cannot pass.".to_owned(), |bdf| format!("AtomicOps stop at {bdf}."))
        }
        PathCapability::Unknown => "Whether AtomicOps pass cannot be told from what could be read.".to_owned(),
        PathCapability::Capable => match (verdict.requester, verdict.bus_master) {
            (_, EnableBit::Disabled) => "AtomicOps can pass, but the device may send no request at all.".to_owned(),
            (EnableBit::Disabled, _) => "AtomicOps can pass, but the device may not send them.".to_owned(),
            (EnableBit::Enabled, EnableBit::Enabled) => "AtomicOps can pass and the device may send them.".to_owned(),
            _ => "AtomicOps can pass; whether the device may send them could not be read.".to_owned(),
        },
    }
}

const fn bit(judged: EnableBit) -> Bit {
    match judged {
        EnableBit::Enabled => Bit::Set,
        EnableBit::Disabled => Bit::Clear,
        EnableBit::Unknown => Bit::Unknown,
    }
}

impl HopReport {
    /// A hop with the bits that decide in its role.
    fn of(hop: &Hop) -> Self {
        let capability = |mask: u32| Some(Bit::of(hop.atomic_capabilities().map(|bits| bits & mask != 0)));
        let control = |mask: u16| Some(Bit::of(hop.atomic_control().map(|bits| bits & mask != 0)));
        let role = role(hop.role);
        let completes = role == HopRole::RootPort || hop.role == Read::UnknownBridge;
        let routes = matches!(role, HopRole::SwitchUpstream | HopRole::SwitchDownstream) || hop.role == Read::UnknownBridge;
        let requests = matches!(
            hop.role,
            Read::Pcie(PortType::Endpoint | PortType::LegacyEndpoint | PortType::IntegratedEndpoint)
                | Read::ConventionalFunction
                | Read::UnknownFunction
        );
        Self {
            bdf: hop.bdf.to_string(),
            role,
            name: hop.name.clone(),
            id: hop.vendor_id.zip(hop.device_id).map(|(vendor, device)| format!("{vendor:04x}:{device:04x}")),
            routing: capability(registers::ATOMIC_ROUTING).filter(|_| routes),
            completer_32: capability(registers::COMPLETER_32).filter(|_| completes),
            completer_64: capability(registers::COMPLETER_64).filter(|_| completes),
            egress_blocked: control(registers::EGRESS_BLOCK).filter(|_| routes),
            requester_enable: control(registers::REQUESTER_ENABLE).filter(|_| requests),
            bus_master: Some(Bit::of(hop.command.map(|bits| bits & registers::COMMAND_BUS_MASTER != 0))).filter(|_| requests),
            note: hop.unknown_because.clone(),
        }
    }
}

const fn role(read: Read) -> HopRole {
    match read {
        Read::Pcie(PortType::RootPort) => HopRole::RootPort,
        Read::Pcie(PortType::SwitchUpstream) => HopRole::SwitchUpstream,
        Read::Pcie(PortType::SwitchDownstream) => HopRole::SwitchDownstream,
        Read::Pcie(PortType::Endpoint | PortType::LegacyEndpoint) | Read::UnknownFunction => HopRole::Endpoint,
        Read::Pcie(_) | Read::ConventionalBridge | Read::ConventionalFunction | Read::UnknownBridge => HopRole::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::path::{Finding, Fix};
    use crate::pci::{Bdf, Completeness, ConfigSpace};

    const GPU: Bdf = Bdf { domain: 0, bus: 0x0b, device: 0, function: 0 };
    const PORT: Bdf = Bdf { domain: 0, bus: 0, device: 3, function: 0 };

    /// Config space of 256 bytes with a version 2 PCI Express capability of the given port type at 0x58.
    fn config(ids: u32, layout: u8, port_type: u8, devcap2: u16, devctl2: u16) -> ConfigSpace {
        let mut bytes = vec![0; 256];
        bytes[0..4].copy_from_slice(&ids.to_le_bytes());
        bytes[0x04] = 0x07;
        bytes[0x06] = 0x10;
        bytes[0x0e] = layout;
        bytes[0x34] = 0x58;
        bytes[0x58] = 0x10;
        bytes[0x5a] = port_type << 4 | 2;
        bytes[0x58 + 0x24..0x58 + 0x26].copy_from_slice(&devcap2.to_le_bytes());
        bytes[0x58 + 0x28..0x58 + 0x2a].copy_from_slice(&devctl2.to_le_bytes());
        ConfigSpace::from_bytes(bytes)
    }

    fn hierarchy() -> Hierarchy {
        let port = Hop::read(PORT, &config(0x6f08_8086, 1, 4, 0x0180, 0));
        let gpu = Hop::read(GPU, &config(0x7300_1002, 0, 1, 0, 0));
        Hierarchy { hops: vec![port, gpu], completeness: Completeness::Whole }
    }

    fn verdict(path: Judged, requester: EnableBit, findings: Vec<Finding>) -> PathVerdict {
        PathVerdict { path, requester, bus_master: EnableBit::Enabled, findings }
    }

    fn finding(bdf: Bdf, cause: Cause, command: Option<&str>) -> Finding {
        let fix = Fix { command: command.map(str::to_owned), advice: "advice".to_owned() };
        Finding { bdf, cause, sentence: "sentence".to_owned(), fix }
    }

    #[test]
    fn a_root_port_shows_its_completers_and_an_endpoint_its_enables() {
        let report = PathReport::of(&hierarchy(), &verdict(Judged::Capable, EnableBit::Disabled, Vec::new()));
        let [port, gpu] = report.hops.as_slice() else { panic!("two hops") };
        assert_eq!((port.role, port.id.as_deref()), (HopRole::RootPort, Some("8086:6f08")));
        assert_eq!((port.completer_32, port.completer_64), (Some(Bit::Set), Some(Bit::Set)));
        assert_eq!((port.routing, port.requester_enable, port.bus_master), (None, None, None));
        assert_eq!((gpu.role, gpu.bdf.as_str()), (HopRole::Endpoint, "0000:0b:00.0"));
        assert_eq!((gpu.requester_enable, gpu.bus_master, gpu.completer_32), (Some(Bit::Clear), Some(Bit::Set), None));
    }

    #[test]
    fn a_switch_port_shows_routing_and_egress_blocking() {
        let hop = Hop::read(PORT, &config(0x8796_10b5, 1, 5, 0x0040, 0x0080));
        let report = HopReport::of(&hop);
        assert_eq!(report.role, HopRole::SwitchUpstream);
        assert_eq!((report.routing, report.egress_blocked), (Some(Bit::Set), Some(Bit::Set)));
        assert_eq!((report.completer_32, report.requester_enable), (None, None));
    }

    #[test]
    fn the_sixty_four_bytes_of_an_unprivileged_reader_leave_the_bits_unknown() {
        let mut bytes = config(0x7300_1002, 0, 1, 0, 0x40).bytes().to_vec();
        bytes.truncate(64);
        let report = HopReport::of(&Hop::read(GPU, &ConfigSpace::from_bytes(bytes)));
        assert_eq!(report.role, HopRole::Endpoint);
        assert_eq!(report.requester_enable, Some(Bit::Unknown));
        assert_eq!(report.bus_master, Some(Bit::Set), "the command register lies within the first 64 bytes");
        assert!(report.note.is_some(), "why it is unknown is said");
    }

    #[test]
    fn a_clear_requester_enable_is_no_bad_hop_but_is_told_with_its_command() {
        let command = "setpci -s 0b:00.0 CAP_EXP+28.w=40:40";
        let findings = vec![finding(GPU, Cause::RequesterDisabled, Some(command))];
        let report = PathReport::of(&hierarchy(), &verdict(Judged::Capable, EnableBit::Disabled, findings));
        assert_eq!((report.capability, report.requester, report.first_bad_hop), (PathCapability::Capable, Bit::Clear, None));
        assert_eq!(report.fixes, [command]);
        assert_eq!(report.summary, "AtomicOps can pass, but the device may not send them.");
    }

    #[test]
    fn an_incapable_path_names_the_hop_that_stops_and_falls_back_to_advice() {
        let findings =
            vec![finding(GPU, Cause::RequesterDisabled, Some("setpci")), finding(PORT, Cause::RootPortDoesNotComplete, None)];
        let report = PathReport::of(&hierarchy(), &verdict(Judged::Incapable, EnableBit::Disabled, findings));
        assert_eq!(report.first_bad_hop.as_deref(), Some("0000:00:03.0"));
        assert_eq!(report.summary, "AtomicOps stop at 00:03.0.");
        assert_eq!(report.fixes, ["setpci", "advice"]);
    }
}
