//! The hierarchy a guest will see, so that the rule for real paths can judge it.

use super::{CapabilityInGuest, Placement};
use crate::pci::{Bdf, Completeness, Hierarchy, Hop, HopRole, PcieCapability, PcieReading, PortType, Register, registers as reg};
use crate::pci::{ConfigOffset, ConfigSpace};

/// Vendor of QEMU's own devices (Red Hat).
const RED_HAT: u16 = 0x1b36;
const PCIE_ROOT_PORT: u16 = 0x000c;
/// Texas Instruments, whose XIO3130 QEMU's x3130-upstream and xio3130-downstream imitate.
const TEXAS_INSTRUMENTS: u16 = 0x104c;
const XIO3130_UPSTREAM: u16 = 0x8232;
const XIO3130_DOWNSTREAM: u16 = 0x8233;
/// Where these devices have their capability is of no consequence here.
const CAPABILITY_AT: ConfigOffset = ConfigOffset(0x54);

/// QEMU's `vfio_setup_pcie_cap`, by bus and type.
pub(super) fn capability_in_guest(host: &Hop, placement: Placement) -> CapabilityInGuest {
    let port_type = match host.pcie {
        _ if placement == Placement::ConventionalBridge => return CapabilityInGuest::Missing,
        PcieReading::Absent => return CapabilityInGuest::Missing,
        PcieReading::Unknown(_) => return CapabilityInGuest::Unknown,
        PcieReading::Present(capability) => capability.port_type,
    };
    match (placement, port_type) {
        (Placement::RootPort | Placement::Switch, PortType::IntegratedEndpoint) => CapabilityInGuest::AsEndpoint,
        (Placement::Pcie0, PortType::Endpoint) => CapabilityInGuest::AsIntegratedEndpoint,
        (Placement::Pcie0, PortType::LegacyEndpoint) => CapabilityInGuest::Missing,
        (_, PortType::Endpoint | PortType::LegacyEndpoint | PortType::IntegratedEndpoint) => CapabilityInGuest::AsOnHost,
        // vfio passes endpoints only.
        _ => CapabilityInGuest::Unknown,
    }
}

pub(super) fn guest_hierarchy(
    host: &Hop,
    sees: CapabilityInGuest,
    placement: Placement,
    root_port_completes: Option<bool>,
) -> Hierarchy {
    let root_port = |completers| port(1, 0, (RED_HAT, PCIE_ROOT_PORT), PortType::RootPort, completers);
    let gpu = gpu(host, sees);
    let switch_port = |bus, device_id, port_type| port(0, bus, (TEXAS_INSTRUMENTS, device_id), port_type, Register::whole(0));
    let hops = match placement {
        Placement::RootPort => vec![root_port(completers(root_port_completes)), gpu],
        Placement::Switch => vec![
            root_port(Register::whole(0)),
            switch_port(1, XIO3130_UPSTREAM, PortType::SwitchUpstream),
            switch_port(2, XIO3130_DOWNSTREAM, PortType::SwitchDownstream),
            gpu,
        ],
        Placement::ConventionalBridge => {
            let bridge = port(1, 0, (RED_HAT, 0x0001), PortType::PciToPcie, Register::whole(0));
            vec![Hop { role: HopRole::ConventionalBridge, pcie: PcieReading::Absent, ..bridge }, gpu]
        }
        Placement::Pcie0 | Placement::I440fx => vec![gpu],
    };
    Hierarchy { hops, completeness: Completeness::Whole }
}

fn completers(completes: Option<bool>) -> Register {
    let both = reg::COMPLETER_32 | reg::COMPLETER_64;
    match completes {
        Some(true) => Register::whole(both),
        Some(false) => Register::whole(0),
        None => Register::UNKNOWN,
    }
}

fn port(device: u8, bus: u8, (vendor_id, device_id): (u16, u16), port_type: PortType, capabilities: Register) -> Hop {
    let blank = Hop::read(Bdf { domain: 0, bus, device, function: 0 }, &ConfigSpace::from_bytes(Vec::new()));
    Hop {
        role: HopRole::Pcie(port_type),
        vendor_id: Some(vendor_id),
        device_id: Some(device_id),
        pcie: PcieReading::Present(PcieCapability { offset: CAPABILITY_AT, version: Some(2), port_type }),
        device_capabilities_2: capabilities,
        device_control_2: Register::whole(0),
        unknown_because: None,
        ..blank
    }
}

/// A virtual function is a function like any other to the guest.
fn gpu(host: &Hop, sees: CapabilityInGuest) -> Hop {
    let gpu = Hop { physical_function: None, ..host.clone() };
    let rewritten = |port_type| match host.pcie {
        PcieReading::Present(capability) => PcieReading::Present(PcieCapability { port_type, ..capability }),
        other => other,
    };
    match sees {
        CapabilityInGuest::AsOnHost | CapabilityInGuest::Unknown => gpu,
        CapabilityInGuest::AsIntegratedEndpoint => Hop { pcie: rewritten(PortType::IntegratedEndpoint), ..gpu },
        CapabilityInGuest::AsEndpoint => Hop { pcie: rewritten(PortType::Endpoint), ..gpu },
        CapabilityInGuest::Missing => Hop { pcie: PcieReading::Absent, ..gpu },
    }
}
