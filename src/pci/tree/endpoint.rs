//! Config-space images of endpoints.

use super::image::Image;
use crate::pci::registers as reg;
use crate::pci::{ConfigOffset, ConfigSpace, PortType};

/// Where AMD's GPUs since generation 9 have the PCI Express capability (`lspci` of an MI300X: `Capabilities: [64]`).
const PCIE_CAPABILITY_AT: u16 = 0x64;
/// Power management stands before it and MSI behind it.
const POWER_MANAGEMENT_AT: u16 = 0x50;
const MSI_AT: u16 = 0xa0;

/// Capability IDs (PCI Code and ID Assignment).
const POWER_MANAGEMENT_ID: u8 = 0x01;
const MSI_ID: u8 = 0x05;

/// Subsystem vendor and device ID (PCI 3.0 §6.2.4).
const SUBSYSTEM: ConfigOffset = ConfigOffset(0x2c);
/// Power Management Capabilities, version 3 (PCI PM 1.2 §3.2.3).
const POWER_MANAGEMENT_VERSION: u16 = 0x0003;
/// MSI Message Control: 64-bit addresses (PCI 3.0 §6.8.1.3).
const MSI_64_BIT: u16 = 0x0080;
/// Device Capabilities: payload of 256 bytes, 8-bit tags, role-based errors (PCIe 7.5.3.3).
const DEVICE_CAPABILITIES: u32 = 0x0000_8021;
/// Link Capabilities and Status: sixteen lanes (PCIe 7.5.3.6).
const SIXTEEN_LANES: u16 = 0x0100;
/// Device Capabilities 2: timeout ranges A to D and their disabling, 10-bit tags, extended formats with one end-to-end prefix
/// (PCIe 7.5.3.15), as both GPUs that are modelled here report.
const DEVICE_CAPABILITIES_2: u32 = 0x0073_001f;

/// Registers of the PCI Express capability that only an image needs (PCIe 7.5.3).
const DEVICE_CAPABILITIES_AT: u16 = 0x04;
const LINK_CAPABILITIES_AT: u16 = 0x0c;
const LINK_STATUS_AT: u16 = 0x12;
const LINK_CAPABILITIES_2_AT: u16 = 0x2c;
const LINK_CONTROL_2_AT: u16 = 0x30;

/// The fastest rate that a link can run at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSpeed {
    /// 16 GT/s, generation 4.
    Gt16,
    /// 32 GT/s, generation 5.
    Gt32,
}

impl LinkSpeed {
    /// The encoding of the link registers: the bit of Link Capabilities 2 (PCIe 7.5.3.6).
    const fn encoding(self) -> u8 {
        match self {
            Self::Gt16 => 4,
            Self::Gt32 => 5,
        }
    }
}

/// What an endpoint says it is: base class, sub-class, programming interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCode(pub u8, pub u8, pub u8);

impl ClassCode {
    /// A VGA compatible controller.
    pub const VGA: Self = Self(0x03, 0x00, 0x00);
    /// A processing accelerator.
    pub const PROCESSING_ACCELERATOR: Self = Self(0x12, 0x00, 0x00);
}

/// An endpoint in the making: bus master, AtomicOp Requester Enable clear, 32-bit and 64-bit AtomicOps completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointImage {
    /// Vendor and device ID.
    pub id: (u16, u16),
    /// Revision ID.
    pub revision: u8,
    /// What it is.
    pub class: ClassCode,
    /// [`PortType::Endpoint`] or [`PortType::LegacyEndpoint`].
    pub port_type: PortType,
    /// Its link.
    pub link: LinkSpeed,
}

impl EndpointImage {
    /// The 256 bytes of config space.
    pub fn build(self) -> ConfigSpace {
        let mut image = Image::new();
        let (vendor, device) = self.id;
        image.u16(reg::VENDOR_ID, vendor);
        image.u16(reg::DEVICE_ID, device);
        // Memory space and bus master, as the driver of a working GPU leaves them.
        image.u16(reg::COMMAND, 0x0002 | reg::COMMAND_BUS_MASTER);
        image.u16(reg::STATUS, reg::STATUS_CAPABILITIES_LIST);
        image.bytes(reg::REVISION_ID, &[self.revision]);
        image.bytes(reg::CLASS_CODE, &[self.class.2, self.class.1, self.class.0]);
        image.u16(SUBSYSTEM, vendor);
        image.u16(ConfigOffset(SUBSYSTEM.0 + 2), device);
        image.bytes(reg::CAPABILITIES_POINTER, &[POWER_MANAGEMENT_AT as u8]);
        image.capability(ConfigOffset(POWER_MANAGEMENT_AT), POWER_MANAGEMENT_ID, Some(ConfigOffset(PCIE_CAPABILITY_AT)));
        image.u16(ConfigOffset(POWER_MANAGEMENT_AT + 2), POWER_MANAGEMENT_VERSION);
        image.capability(ConfigOffset(PCIE_CAPABILITY_AT), reg::PCIE_CAP_ID, Some(ConfigOffset(MSI_AT)));
        self.pcie(&mut image);
        image.capability(ConfigOffset(MSI_AT), MSI_ID, None);
        image.u16(ConfigOffset(MSI_AT + 2), MSI_64_BIT);
        image.finish()
    }

    fn pcie(self, image: &mut Image) {
        let at = ConfigOffset(PCIE_CAPABILITY_AT);
        let below = |register: u16| ConfigOffset(PCIE_CAPABILITY_AT + register);
        let speed = u16::from(self.link.encoding());
        let slower_too = (1_u32 << (speed + 1)) - 2;
        image.u16(at + reg::PCIE_CAPABILITIES, u16::from(self.port_type.bits()) << 4 | 2);
        image.u32(below(DEVICE_CAPABILITIES_AT), DEVICE_CAPABILITIES);
        image.u32(below(LINK_CAPABILITIES_AT), u32::from(SIXTEEN_LANES | speed));
        image.u16(below(LINK_STATUS_AT), SIXTEEN_LANES | speed);
        image.u32(at + reg::DEVCAP2, DEVICE_CAPABILITIES_2 | reg::COMPLETER_32 | reg::COMPLETER_64);
        image.u32(below(LINK_CAPABILITIES_2_AT), slower_too);
        image.u16(below(LINK_CONTROL_2_AT), speed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCELERATOR: EndpointImage = EndpointImage {
        id: (0x1002, 0x74a1),
        revision: 0,
        class: ClassCode::PROCESSING_ACCELERATOR,
        port_type: PortType::Endpoint,
        link: LinkSpeed::Gt32,
    };

    #[test]
    fn the_capability_is_found_by_walking_and_requester_enable_is_clear() {
        let config = ACCELERATOR.build();
        let capability = config.pcie_capability().unwrap().unwrap();
        assert_eq!((capability.offset, capability.version), (ConfigOffset(0x64), Some(2)));
        assert_eq!(capability.port_type, PortType::Endpoint);
        assert_eq!(config.u16(capability.devctl2().unwrap()), Some(0));
        assert_eq!(config.u16(reg::COMMAND).unwrap() & reg::COMMAND_BUS_MASTER, reg::COMMAND_BUS_MASTER);
        assert_eq!(config.bytes()[0x09..0x0c], [0x00, 0x00, 0x12]);
    }

    /// `lspci -vvv` of an MI300X: DevCap2 "Range ABCD, TimeoutDis+ NROPrPrP- LTR-, 10BitTagComp+ 10BitTagReq+, ExtFmt+
    /// EETLPPrefix+, MaxEETLPPrefixes 1, AtomicOpsCap: 32bit+ 64bit+ 128bitCAS-"; LnkCap2 "2.5-32GT/s".
    #[test]
    fn its_second_registers_are_those_that_an_mi300x_reports() {
        let config = ACCELERATOR.build();
        assert_eq!(config.u32(ConfigOffset(0x64 + 0x24)), Some(0x0073_019f));
        assert_eq!(config.u32(ConfigOffset(0x64 + 0x2c)), Some(0x3e));
        assert_eq!(config.u16(ConfigOffset(0x64 + 0x12)), Some(0x105));
    }
}
