//! Walking the capability lists of config space, bounded and never past what is known.

use super::config::{ConfigOffset, ConfigSpace};
use super::registers as reg;
use serde::{Serialize, Serializer};
use std::fmt;
use thiserror::Error;

/// A list of four-byte-aligned capabilities between 0x40 and 0xff cannot be longer.
const CAPABILITIES_AT_MOST: usize = (ConfigSpace::CONVENTIONAL_SIZE - ConfigSpace::HEADER_SIZE) / 4;
/// An extended capability has at least two 32-bit words.
const EXTENDED_CAPABILITIES_AT_MOST: usize = (ConfigSpace::EXTENDED_SIZE - ConfigSpace::CONVENTIONAL_SIZE) / 8;

/// What a PCI Express function is (PCIe 7.5.3.2, Device/Port Type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortType {
    /// PCI Express endpoint.
    Endpoint,
    /// Legacy PCI Express endpoint: an endpoint that may use I/O space. Most graphics cards.
    LegacyEndpoint,
    /// Root port of a root complex.
    RootPort,
    /// Port of a switch that faces the root.
    SwitchUpstream,
    /// Port of a switch that faces a device.
    SwitchDownstream,
    /// Bridge from PCI Express to conventional PCI.
    PcieToPci,
    /// Bridge from conventional PCI to PCI Express.
    PciToPcie,
    /// Root complex integrated endpoint.
    IntegratedEndpoint,
    /// Root complex event collector.
    EventCollector,
    /// A value the specification reserves.
    Reserved(u8),
}

impl PortType {
    /// From the four bits of the PCI Express Capabilities register.
    pub const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Endpoint,
            1 => Self::LegacyEndpoint,
            4 => Self::RootPort,
            5 => Self::SwitchUpstream,
            6 => Self::SwitchDownstream,
            7 => Self::PcieToPci,
            8 => Self::PciToPcie,
            9 => Self::IntegratedEndpoint,
            10 => Self::EventCollector,
            other => Self::Reserved(other),
        }
    }

    /// The four bits of the PCI Express Capabilities register.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Endpoint => 0,
            Self::LegacyEndpoint => 1,
            Self::RootPort => 4,
            Self::SwitchUpstream => 5,
            Self::SwitchDownstream => 6,
            Self::PcieToPci => 7,
            Self::PciToPcie => 8,
            Self::IntegratedEndpoint => 9,
            Self::EventCollector => 10,
            Self::Reserved(bits) => bits,
        }
    }
}

impl fmt::Display for PortType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Endpoint => "endpoint",
            Self::LegacyEndpoint => "legacy endpoint",
            Self::RootPort => "root port",
            Self::SwitchUpstream => "switch upstream port",
            Self::SwitchDownstream => "switch downstream port",
            Self::PcieToPci => "PCIe to PCI bridge",
            Self::PciToPcie => "PCI to PCIe bridge",
            Self::IntegratedEndpoint => "root complex integrated endpoint",
            Self::EventCollector => "root complex event collector",
            Self::Reserved(bits) => return write!(formatter, "reserved port type {bits}"),
        })
    }
}

impl Serialize for PortType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The PCI Express capability of a function: where it is and what it says of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PcieCapability {
    /// Where the capability starts.
    pub offset: ConfigOffset,
    /// Capability version, where known. Version 1 is shorter: it has neither Device Capabilities 2 nor Device Control 2.
    pub version: Option<u8>,
    /// What the function is.
    pub port_type: PortType,
}

impl PcieCapability {
    /// Whether the capability may be as long as version 2 made it.
    fn has_second_registers(&self) -> bool {
        self.version.is_none_or(|version| version >= 2)
    }

    /// Where Device Capabilities 2 is; `None` when the capability's version does not have it.
    pub fn devcap2(&self) -> Option<ConfigOffset> {
        self.has_second_registers().then(|| self.offset + reg::DEVCAP2)
    }

    /// Where Device Control 2 is; `None` when the capability's version does not have it.
    pub fn devctl2(&self) -> Option<ConfigOffset> {
        self.has_second_registers().then(|| self.offset + reg::DEVCTL2)
    }
}

/// Why a walk along a capability list ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CapabilityError {
    /// The walk led past the bytes that are known: the capability may exist, we do not see it.
    #[error(
        "config space is known only up to {known:#x} and the list goes on at {needed}; run as root (a dump: take it with `lspci -xxx` as root)"
    )]
    BeyondKnown {
        /// First offset that would have been needed.
        needed: ConfigOffset,
        /// Number of bytes known.
        known: usize,
    },
    /// A pointer of the list leads into the header.
    #[error("the capability list is malformed: the pointer at {at} leads to {pointer}, where no capability can be")]
    PointerIntoHeader {
        /// Where the pointer stands.
        at: ConfigOffset,
        /// What it says.
        pointer: ConfigOffset,
    },
    /// The list comes back to a capability it has passed.
    #[error("the capability list is malformed: it loops back to {0}")]
    Loop(ConfigOffset),
    /// Config space reads as all ones, which is how an absent or sleeping function answers.
    #[error("config space reads all ones: the device is powered down (D3cold) or has fallen off the bus")]
    NoAnswer,
    /// The function was read from a text that does not show its capabilities.
    #[error("the text does not show its PCI Express capability; take it with `lspci -vvv` or `lspci -xxx` as root")]
    NotInText,
}

impl ConfigSpace {
    /// Finds the PCI Express capability by walking the list from 0x34 (PCI 3.0 §6.7).
    ///
    /// `Ok(None)`: the whole list is known and has none.
    ///
    /// # Errors
    /// [`CapabilityError`] when the list is malformed or leads past the known bytes.
    pub fn pcie_capability(&self) -> Result<Option<PcieCapability>, CapabilityError> {
        let Some(offset) = self.capability(reg::PCIE_CAP_ID)? else { return Ok(None) };
        let flags = self.known_u16(offset + reg::PCIE_CAPABILITIES)?;
        let port_type = PortType::from_bits((flags >> 4 & 0xf) as u8);
        Ok(Some(PcieCapability { offset, version: Some((flags & 0xf) as u8), port_type }))
    }

    /// Finds Advanced Error Reporting by walking the extended list from 0x100 (PCIe 7.6).
    ///
    /// # Errors
    /// [`CapabilityError`] when the list is malformed or leads past the known bytes, as it does for 256 bytes.
    pub fn advanced_error_reporting(&self) -> Result<Option<ConfigOffset>, CapabilityError> {
        self.extended_capability(reg::AER_CAP_ID)
    }

    /// The header's layout: 0 for a function, 1 for a bridge; `None` when unknown.
    pub fn header_layout(&self) -> Option<u8> {
        self.u8(reg::HEADER_TYPE).map(|header| header & reg::HEADER_TYPE_LAYOUT)
    }

    fn capability(&self, wanted: u8) -> Result<Option<ConfigOffset>, CapabilityError> {
        if self.u32(reg::VENDOR_ID) == Some(u32::MAX) {
            return Err(CapabilityError::NoAnswer);
        }
        if self.known_u16(reg::STATUS)? & reg::STATUS_CAPABILITIES_LIST == 0 {
            return Ok(None);
        }
        let mut pointer_at = match self.known_u8(reg::HEADER_TYPE)? & reg::HEADER_TYPE_LAYOUT {
            reg::LAYOUT_CARDBUS => reg::CARDBUS_CAPABILITIES_POINTER,
            _ => reg::CAPABILITIES_POINTER,
        };
        let mut last = None;
        for _ in 0..=CAPABILITIES_AT_MOST {
            let pointer = ConfigOffset(u16::from(self.known_u8(pointer_at)? & !3));
            if pointer.0 == 0 {
                return Ok(None);
            }
            if usize::from(pointer.0) < ConfigSpace::HEADER_SIZE {
                return Err(CapabilityError::PointerIntoHeader { at: pointer_at, pointer });
            }
            if self.known_u8(pointer)? == wanted {
                return Ok(Some(pointer));
            }
            pointer_at = ConfigOffset(pointer.0 + 1);
            last = Some(pointer);
        }
        Err(CapabilityError::Loop(last.unwrap_or(pointer_at)))
    }

    fn extended_capability(&self, wanted: u16) -> Result<Option<ConfigOffset>, CapabilityError> {
        let mut at = reg::EXTENDED_CAPABILITIES;
        for _ in 0..=EXTENDED_CAPABILITIES_AT_MOST {
            let header = self.u32(at).ok_or(self.beyond(at))?;
            // A function without extended capabilities answers the first header with zeroes or, behind some bridges, ones.
            if header == 0 || header == u32::MAX {
                return Ok(None);
            }
            if (header & 0xffff) as u16 == wanted {
                return Ok(Some(at));
            }
            let next = ConfigOffset((header >> 20 & 0xffc) as u16);
            if next.0 == 0 {
                return Ok(None);
            }
            if next < reg::EXTENDED_CAPABILITIES {
                return Err(CapabilityError::PointerIntoHeader { at, pointer: next });
            }
            at = next;
        }
        Err(CapabilityError::Loop(at))
    }

    fn known_u8(&self, at: ConfigOffset) -> Result<u8, CapabilityError> {
        self.u8(at).ok_or(self.beyond(at))
    }

    fn known_u16(&self, at: ConfigOffset) -> Result<u16, CapabilityError> {
        self.u16(at).ok_or(self.beyond(at))
    }

    fn beyond(&self, needed: ConfigOffset) -> CapabilityError {
        CapabilityError::BeyondKnown { needed, known: self.known() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header with a capability list that starts at `first`.
    fn with_list(first: u8, capabilities: &[(u8, [u8; 4])]) -> ConfigSpace {
        let mut bytes = vec![0; 256];
        bytes[0..4].copy_from_slice(&[0x02, 0x10, 0x00, 0x73]);
        bytes[0x06] = 0x10;
        bytes[0x34] = first;
        for (at, capability) in capabilities {
            bytes[usize::from(*at)..usize::from(*at) + 4].copy_from_slice(capability);
        }
        ConfigSpace::from_bytes(bytes)
    }

    fn cut(config: &ConfigSpace, known: usize) -> ConfigSpace {
        ConfigSpace::from_bytes(config.bytes()[..known].to_vec())
    }

    #[test]
    fn the_capability_is_found_by_walking_with_the_low_two_bits_of_pointers_ignored() {
        let config = with_list(0x4b, &[(0x48, [0x09, 0x52, 0, 0]), (0x50, [0x01, 0x58, 0, 0]), (0x58, [0x10, 0, 0x12, 0])]);
        let expected = PcieCapability { offset: ConfigOffset(0x58), version: Some(2), port_type: PortType::LegacyEndpoint };
        assert_eq!(config.pcie_capability(), Ok(Some(expected)));
    }

    #[test]
    fn a_list_without_it_says_absent() {
        assert_eq!(with_list(0x48, &[(0x48, [0x09, 0, 0, 0])]).pcie_capability(), Ok(None));
    }

    #[test]
    fn a_status_without_the_list_bit_says_absent_whatever_the_pointer_holds() {
        let mut bytes = with_list(0x58, &[(0x58, [0x10, 0, 0x12, 0])]).bytes().to_vec();
        bytes[0x06] = 0;
        assert_eq!(ConfigSpace::from_bytes(bytes).pcie_capability(), Ok(None));
    }

    #[test]
    fn sixty_four_bytes_leave_the_capability_unknown_not_absent() {
        let config = cut(&with_list(0x48, &[(0x48, [0x09, 0, 0, 0])]), 64);
        assert_eq!(config.pcie_capability(), Err(CapabilityError::BeyondKnown { needed: ConfigOffset(0x48), known: 64 }));
    }

    #[test]
    fn a_pointer_into_the_header_is_malformed() {
        let config = with_list(0x48, &[(0x48, [0x09, 0x3c, 0, 0])]);
        let expected = CapabilityError::PointerIntoHeader { at: ConfigOffset(0x49), pointer: ConfigOffset(0x3c) };
        assert_eq!(config.pcie_capability(), Err(expected));
    }

    #[test]
    fn a_loop_is_malformed() {
        let config = with_list(0x48, &[(0x48, [0x09, 0x50, 0, 0]), (0x50, [0x01, 0x48, 0, 0])]);
        assert!(matches!(config.pcie_capability(), Err(CapabilityError::Loop(_))));
    }

    #[test]
    fn all_ones_is_no_answer() {
        assert_eq!(ConfigSpace::from_bytes(vec![0xff; 256]).pcie_capability(), Err(CapabilityError::NoAnswer));
    }

    #[test]
    fn version_1_has_no_second_control_register() {
        let config = with_list(0x58, &[(0x58, [0x10, 0, 0x11, 0])]);
        let capability = config.pcie_capability().unwrap().unwrap();
        assert_eq!((capability.version, capability.devcap2(), capability.devctl2()), (Some(1), None, None));
    }

    #[test]
    fn aer_needs_extended_config_space() {
        let config = with_list(0, &[]);
        let expected = CapabilityError::BeyondKnown { needed: ConfigOffset(0x100), known: 256 };
        assert_eq!(config.advanced_error_reporting(), Err(expected));
    }

    #[test]
    fn an_extended_list_that_loops_is_malformed() {
        let mut bytes = vec![0; 4096];
        bytes[0x100..0x104].copy_from_slice(&[0x0b, 0x00, 0x01, 0x10]);
        assert!(matches!(ConfigSpace::from_bytes(bytes).advanced_error_reporting(), Err(CapabilityError::Loop(_))));
    }

    #[test]
    fn port_types_keep_their_four_bits() {
        for bits in 0..16 {
            assert_eq!(PortType::from_bits(bits).bits(), bits);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_walk(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let config = ConfigSpace::from_bytes(bytes);
            let _ = config.pcie_capability();
            let _ = config.advanced_error_reporting();
        }
    }
}
