//! Virtual machines: are we in one, why has its emulated root port no completers, and what will a guest see of this GPU?
//!
//! The rules are those of QEMU's `vfio_pci_enable_rp_atomics` and `vfio_setup_pcie_cap` (hw/vfio/pci.c, 8.1 to 11.1) and of
//! Linux' vfio-pci. A QEMU root port completes nothing until vfio tells QEMU that the host's path does, and QEMU gives up
//! silently in seven situations; each of them is a condition here.

mod detect;
mod emulation;
mod plan;
mod qemu;
mod recipes;
mod why;

pub use detect::{Chipset, Hypervisor, Machine, MachineType, detect};
pub use emulation::locked_instructions_are_plain;
pub use plan::{CapabilityInGuest, Condition, ConditionKind, GuestKernels, GuestPlan, Placement, PlanRequest, plan};
pub use qemu::{QemuVersion, QemuVersionError};
pub use recipes::{Recipes, recipes};
pub use why::{Reason, ReasonKind, Standing, why};

use super::{Bdf, sysfs::SysfsRoot};
use serde::Serialize;

/// How many functions a device shows in its slot of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Functions {
    /// One, without the multifunction flag.
    Single,
    /// Several, or one with the multifunction flag.
    Multifunction,
}

impl Functions {
    /// From the Header Type register (config space 0x0e), whose bit 7 QEMU sets exactly for multifunction devices.
    pub fn from_header_type(header_type: u8) -> Self {
        let several = header_type & super::registers::HEADER_TYPE_MULTI_FUNCTION != 0;
        if several { Self::Multifunction } else { Self::Single }
    }

    /// From a list of functions, which may be incomplete: another function in the slot decides, its absence does not.
    pub fn among(listed: impl IntoIterator<Item = Bdf>, device: &Bdf) -> Option<Self> {
        let in_slot = |other: &Bdf| Bdf { function: device.function, ..*other } == *device && other.function != device.function;
        listed.into_iter().any(|other| in_slot(&other)).then_some(Self::Multifunction)
    }

    /// From the Header Type of a live device, which needs no privileges; `None` when it cannot be read.
    pub fn of_device(root: &SysfsRoot, device: &Bdf) -> Option<Self> {
        use std::io::Read;
        let mut header = [0_u8; super::ConfigSpace::HEADER_SIZE];
        std::fs::File::open(root.config_file(device)).and_then(|mut file| file.read_exact(&mut header)).ok()?;
        Some(Self::from_header_type(header[usize::from(super::registers::HEADER_TYPE.0)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    #[test]
    fn another_function_in_the_slot_decides_and_none_does_not() {
        let gpu = bdf("0b:00.0");
        assert_eq!(Functions::among(["00:01.0", "0b:00.0", "0b:00.1"].map(bdf), &gpu), Some(Functions::Multifunction));
        assert_eq!(Functions::among(["00:01.0", "0b:00.0", "0b:01.1", "0001:0b:00.1"].map(bdf), &gpu), None);
    }

    #[test]
    fn header_type_bit_7_is_the_multifunction_flag() {
        assert_eq!(Functions::from_header_type(0x80), Functions::Multifunction);
        assert_eq!(Functions::from_header_type(0x00), Functions::Single);
    }

    #[test]
    fn a_live_device_tells_by_its_first_64_bytes() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = SysfsRoot::new(root.path());
        let gpu = bdf("0b:00.0");
        assert_eq!(Functions::of_device(&sysfs, &gpu), None);
        std::fs::create_dir_all(sysfs.device_dir(&gpu)).unwrap();
        let mut header = [0_u8; 64];
        header[0x0e] = 0x80;
        std::fs::write(sysfs.config_file(&gpu), header).unwrap();
        assert_eq!(Functions::of_device(&sysfs, &gpu), Some(Functions::Multifunction));
    }
}
