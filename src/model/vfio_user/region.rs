//! Regions of a vfio PCI device: what the client reads, writes and maps (Linux, `include/uapi/linux/vfio.h`).

use std::fmt;

use crate::model::endpoint_registers::{DOORBELL_BYTES, REGISTER_BYTES, VRAM_BYTES};
use crate::pci::ConfigSpace;

/// Regions that a vfio PCI device has (`VFIO_PCI_NUM_REGIONS`), most of them empty here.
pub(super) const REGIONS: u32 = 9;

/// A region that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// BAR0/1: the device's memory.
    Vram,
    /// BAR2/3: the doorbells.
    Doorbells,
    /// BAR5: the registers.
    Registers,
    /// Config space.
    Config,
}

impl Region {
    /// Every region.
    pub const ALL: [Self; 4] = [Self::Vram, Self::Doorbells, Self::Registers, Self::Config];

    /// Its number (`VFIO_PCI_BAR0_REGION_INDEX` and so on).
    #[must_use]
    pub const fn index(self) -> u32 {
        match self {
            Self::Vram => 0,
            Self::Doorbells => 2,
            Self::Registers => 5,
            Self::Config => 7,
        }
    }

    /// The region of this number; `None` for those that are empty or do not exist.
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|region| region.index() == index)
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Vram => VRAM_BYTES,
            Self::Doorbells => DOORBELL_BYTES,
            Self::Registers => REGISTER_BYTES,
            Self::Config => ConfigSpace::EXTENDED_SIZE as u64,
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vram => "BAR0 (memory)",
            Self::Doorbells => "BAR2 (doorbells)",
            Self::Registers => "BAR5 (registers)",
            Self::Config => "config space",
        })
    }
}
