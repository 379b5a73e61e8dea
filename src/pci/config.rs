//! The bytes of a function's config space, as far as they are known.

use super::registers::CapabilityRegister;
use serde::Serialize;
use std::fmt;
use std::ops::Add;

/// Byte offset from the start of config space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ConfigOffset(pub u16);

impl Add<CapabilityRegister> for ConfigOffset {
    type Output = ConfigOffset;

    fn add(self, register: CapabilityRegister) -> ConfigOffset {
        ConfigOffset(self.0.saturating_add(register.0))
    }
}

impl fmt::Display for ConfigOffset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#04x}", self.0)
    }
}

/// Config space from offset 0 up to where it is known: 64 bytes for a reader without privileges, 256 for conventional PCI
/// and `lspci -xxx`, 4096 for PCI Express and `lspci -xxxx`, any prefix for a dump that was cut.
///
/// Registers are little-endian (PCI 3.0 §6.1). Reading past the known bytes gives `None`, which means unknown, not zero.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigSpace(Vec<u8>);

impl ConfigSpace {
    /// Size of the config space of a PCI Express function, in bytes (PCIe 7.2).
    pub const EXTENDED_SIZE: usize = 4096;
    /// Size of the config space of a conventional PCI function, in bytes (PCI 3.0 §6.1).
    pub const CONVENTIONAL_SIZE: usize = 256;
    /// Size of the header, and of what Linux shows to a reader without privileges, in bytes.
    pub const HEADER_SIZE: usize = 64;

    /// Takes the bytes from offset 0 on. Bytes past 4096 are not config space and are let go.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(Self::EXTENDED_SIZE);
        Self(bytes)
    }

    /// Number of bytes known, counted from offset 0.
    pub fn known(&self) -> usize {
        self.0.len()
    }

    /// The known bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The byte at `at`, if known.
    pub fn u8(&self, at: ConfigOffset) -> Option<u8> {
        self.0.get(usize::from(at.0)).copied()
    }

    /// The 16-bit register at `at`, if both bytes are known.
    pub fn u16(&self, at: ConfigOffset) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// The 32-bit register at `at`, if all four bytes are known.
    pub fn u32(&self, at: ConfigOffset) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn array<const SIZE: usize>(&self, at: ConfigOffset) -> Option<[u8; SIZE]> {
        let start = usize::from(at.0);
        self.0.get(start..start + SIZE)?.try_into().ok()
    }
}

impl fmt::Debug for ConfigSpace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConfigSpace({} bytes known)", self.known())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_little_endian() {
        let config = ConfigSpace::from_bytes(vec![0x02, 0x10, 0x00, 0x73]);
        assert_eq!(config.u8(ConfigOffset(1)), Some(0x10));
        assert_eq!(config.u16(ConfigOffset(0)), Some(0x1002));
        assert_eq!(config.u32(ConfigOffset(0)), Some(0x7300_1002));
    }

    #[test]
    fn a_register_that_is_partly_past_the_known_bytes_is_unknown() {
        let config = ConfigSpace::from_bytes(vec![0xff; 64]);
        assert_eq!(config.u8(ConfigOffset(63)), Some(0xff));
        assert_eq!(config.u8(ConfigOffset(64)), None);
        assert_eq!(config.u16(ConfigOffset(63)), None);
        assert_eq!(config.u32(ConfigOffset(61)), None);
        assert_eq!(config.u32(ConfigOffset(u16::MAX)), None);
    }

    #[test]
    fn bytes_past_extended_config_space_are_let_go() {
        assert_eq!(ConfigSpace::from_bytes(vec![0; 5000]).known(), 4096);
    }
}
