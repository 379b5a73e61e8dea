//! The chain of functions between the root complex and a device.

use super::bdf::Bdf;
use super::capability::{CapabilityError, PcieCapability, PortType};
use super::config::ConfigSpace;
use super::dump::DumpedFunction;
use super::register::Register;
use super::registers as reg;
use serde::{Serialize, Serializer};
use std::fmt;

/// What a hop of the path is, as far as config space tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopRole {
    /// A function with a PCI Express capability.
    Pcie(PortType),
    /// A bridge without a PCI Express capability.
    ConventionalBridge,
    /// A function without a PCI Express capability that is no bridge.
    ConventionalFunction,
    /// A bridge whose capabilities are unknown.
    UnknownBridge,
    /// A function whose capabilities are unknown.
    UnknownFunction,
}

impl fmt::Display for HopRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcie(port_type) => port_type.fmt(formatter),
            Self::ConventionalBridge => formatter.write_str("conventional PCI bridge"),
            Self::ConventionalFunction => formatter.write_str("conventional PCI function"),
            Self::UnknownBridge => formatter.write_str("bridge"),
            Self::UnknownFunction => formatter.write_str("function"),
        }
    }
}

impl Serialize for HopRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a function's PCI Express capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcieReading {
    /// The function has it.
    Present(PcieCapability),
    /// The function is known to have none.
    Absent,
    /// Not known, and why.
    Unknown(CapabilityError),
}

impl Serialize for PcieReading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Present(capability) => serializer.serialize_some(capability),
            Self::Absent | Self::Unknown(_) => serializer.serialize_none(),
        }
    }
}

/// A function on the path with the registers that decide about AtomicOps. A register that does not exist in this version of the
/// capability is unknown here; [`Hop::atomic_capabilities`] and [`Hop::atomic_control`] say what the rule makes of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Its address.
    pub bdf: Bdf,
    /// What it is.
    pub role: HopRole,
    /// Vendor and device in words, from the PCI ID list; their numbers when the list does not have them.
    pub name: String,
    /// Vendor ID.
    pub vendor_id: Option<u16>,
    /// Device ID.
    pub device_id: Option<u16>,
    /// The physical function, when this is an SR-IOV virtual function.
    pub physical_function: Option<Bdf>,
    /// The PCI Express capability. Serialized as the capability, or as null: `role` and `unknown_because` tell the rest.
    pub pcie: PcieReading,
    /// Command register.
    pub command: Register,
    /// Device Status.
    pub device_status: Register,
    /// Device Capabilities 2.
    pub device_capabilities_2: Register,
    /// Device Control 2.
    pub device_control_2: Register,
    /// Uncorrectable Error Status of Advanced Error Reporting.
    pub uncorrectable_error_status: Register,
    /// Why registers are unknown, in a sentence; `None` when the capability was read.
    pub unknown_because: Option<String>,
}

impl Hop {
    /// Reads a hop's registers from its config space.
    pub fn read(bdf: Bdf, config: &ConfigSpace) -> Self {
        let answers = config.u32(reg::VENDOR_ID) != Some(u32::MAX);
        let header = |value: Option<u16>| value.filter(|_| answers);
        let (vendor_id, device_id) = (header(config.u16(reg::VENDOR_ID)), header(config.u16(reg::DEVICE_ID)));
        let pcie = match config.pcie_capability() {
            Ok(Some(capability)) => PcieReading::Present(capability),
            Ok(None) => PcieReading::Absent,
            Err(error) => PcieReading::Unknown(error),
        };
        let mut hop = Self {
            bdf,
            role: role(pcie, config.header_layout().filter(|_| answers)),
            name: name(vendor_id, device_id),
            vendor_id,
            device_id,
            physical_function: None,
            pcie,
            command: Register::read(header(config.u16(reg::COMMAND))),
            device_status: Register::UNKNOWN,
            device_capabilities_2: Register::UNKNOWN,
            device_control_2: Register::UNKNOWN,
            uncorrectable_error_status: Register::UNKNOWN,
            unknown_because: None,
        };
        match pcie {
            PcieReading::Present(capability) => {
                hop.device_status = Register::read(config.u16(capability.offset + reg::DEVSTA));
                hop.device_capabilities_2 = Register::read(capability.devcap2().and_then(|at| config.u32(at)));
                hop.device_control_2 = Register::read(capability.devctl2().and_then(|at| config.u16(at)));
                let aer = config.advanced_error_reporting().ok().flatten();
                hop.uncorrectable_error_status = Register::read(aer.and_then(|at| config.u32(at + reg::AER_UNCORRECTABLE_STATUS)));
            }
            PcieReading::Absent => {}
            PcieReading::Unknown(error) => hop.unknown_because = Some(error.to_string()),
        }
        hop
    }

    /// The port type, when the capability was read.
    pub fn port_type(&self) -> Option<PortType> {
        match self.pcie {
            PcieReading::Present(capability) => Some(capability.port_type),
            PcieReading::Absent | PcieReading::Unknown(_) => None,
        }
    }

    /// Device Capabilities 2 as the rule for AtomicOps takes it: a function without the register (no capability, or version 1)
    /// has none of its bits, which is how Linux reads it too.
    pub fn atomic_capabilities(&self) -> Register {
        if self.lacks_second_registers() { Register::whole(0) } else { self.device_capabilities_2 }
    }

    /// Device Control 2 as the rule for AtomicOps takes it; see [`Hop::atomic_capabilities`].
    pub fn atomic_control(&self) -> Register {
        if self.lacks_second_registers() { Register::whole(0) } else { self.device_control_2 }
    }

    /// Whether Device Capabilities 2 and Device Control 2 are known not to exist.
    fn lacks_second_registers(&self) -> bool {
        match self.pcie {
            PcieReading::Present(capability) => capability.version.is_some_and(|version| version < 2),
            PcieReading::Absent => true,
            PcieReading::Unknown(_) => false,
        }
    }
}

/// The path from the root complex down to a device: what sits right below the host bridge first, the device last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hierarchy {
    /// The hops in order.
    pub hops: Vec<Hop>,
    /// Whether there may be more above the first hop.
    pub completeness: Completeness,
}

/// How far up a path is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The first hop is on a root bus: there is nothing above it.
    Whole,
    /// There may be bridges above the first hop, as in a dump of the device alone.
    Partial,
}

impl Hierarchy {
    /// Puts the path to a device together from the functions of a dump: the bridge above a bus is the one that has it as its
    /// secondary bus. `None` when the device is not among them.
    pub fn from_dump(functions: &[DumpedFunction], device: &Bdf) -> Option<Self> {
        let mut below = functions.iter().find(|function| function.bdf == *device)?;
        let mut hops = vec![Hop::read(below.bdf, &below.config)];
        while let Some(bridge) = functions.iter().find(|bridge| is_above(bridge, below)) {
            hops.push(Hop::read(bridge.bdf, &bridge.config));
            below = bridge;
        }
        hops.reverse();
        let has_root_port = hops.iter().any(|hop| hop.port_type() == Some(PortType::RootPort));
        Some(Self { hops, completeness: if has_root_port { Completeness::Whole } else { Completeness::Partial } })
    }

    /// The device at the end of the path; `None` when there are no hops at all.
    pub fn endpoint(&self) -> Option<&Hop> {
        self.hops.last()
    }
}

/// Bus numbers grow downwards, which also keeps a contradictory dump from leading round in circles.
fn is_above(bridge: &DumpedFunction, below: &DumpedFunction) -> bool {
    bridge.config.header_layout() == Some(reg::LAYOUT_BRIDGE)
        && bridge.bdf.domain == below.bdf.domain
        && bridge.bdf.bus < below.bdf.bus
        && bridge.config.u8(reg::SECONDARY_BUS) == Some(below.bdf.bus)
}

pub(super) fn role(pcie: PcieReading, layout: Option<u8>) -> HopRole {
    let is_bridge = layout.is_some_and(|layout| layout != 0);
    match (pcie, is_bridge) {
        (PcieReading::Present(capability), _) => HopRole::Pcie(capability.port_type),
        (PcieReading::Absent, true) => HopRole::ConventionalBridge,
        (PcieReading::Absent, false) => HopRole::ConventionalFunction,
        (PcieReading::Unknown(_), true) => HopRole::UnknownBridge,
        (PcieReading::Unknown(_), false) => HopRole::UnknownFunction,
    }
}

pub(super) fn name(vendor_id: Option<u16>, device_id: Option<u16>) -> String {
    let (Some(vendor_id), Some(device_id)) = (vendor_id, device_id) else { return "unidentified device".to_owned() };
    match pci_ids::Device::from_vid_pid(vendor_id, device_id) {
        Some(device) => format!("{} {}", device.vendor().name(), device.name()),
        None => match pci_ids::Vendors::iter().find(|vendor| vendor.id() == vendor_id) {
            Some(vendor) => format!("{} device {device_id:04x}", vendor.name()),
            None => format!("device {vendor_id:04x}:{device_id:04x}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::dump;

    const FIJI_AFTER: &str = include_str!("../../tests/data/lspci/02-fiji-after.txt");
    const NAVI: &str = include_str!("../../tests/data/lspci/08-navi10-xxxx.txt");

    fn hop(text: &str, known: usize) -> Hop {
        let function = dump::read(text).unwrap().remove(0);
        Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..known].to_vec()))
    }

    #[test]
    fn registers_and_name_come_from_config_space() {
        let fiji = hop(FIJI_AFTER, 256);
        assert_eq!((fiji.vendor_id, fiji.device_id, fiji.command), (Some(0x1002), Some(0x7300), Register::whole(0x0507)));
        assert_eq!((fiji.device_capabilities_2, fiji.device_control_2), (Register::whole(0x0070_0000), Register::whole(0x0040)));
        assert_eq!(fiji.uncorrectable_error_status, Register::UNKNOWN);
        assert!(fiji.name.contains("Fiji"));
        assert_eq!(hop(NAVI, 0x170).uncorrectable_error_status, Register::whole(0));
    }

    #[test]
    fn a_register_past_the_known_bytes_is_unknown_and_the_ones_before_it_are_not() {
        let fiji = hop(FIJI_AFTER, 0x80);
        let (capabilities, control) = (Register::whole(0x0070_0000), Register::UNKNOWN);
        assert_eq!((fiji.device_capabilities_2, fiji.device_control_2), (capabilities, control));
        assert_eq!((fiji.atomic_capabilities(), fiji.atomic_control()), (capabilities, control));
    }

    #[test]
    fn unknown_is_null_in_json() {
        let json = serde_json::to_value(hop(FIJI_AFTER, 64)).unwrap();
        assert_eq!((&json["bdf"], &json["role"]), (&"0000:0b:00.0".into(), &"function".into()));
        assert!(json["pcie"].is_null() && json["device_control_2"].is_null() && json["unknown_because"].is_string());
        let json = serde_json::to_value(hop(FIJI_AFTER, 256)).unwrap();
        assert_eq!((&json["role"], &json["pcie"]["offset"]), (&"legacy endpoint".into(), &0x58.into()));
    }
}
