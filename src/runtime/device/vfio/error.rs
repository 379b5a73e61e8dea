//! Why the function behind vfio-pci cannot be driven.

use std::io;
use std::path::PathBuf;

use crate::model::endpoint_registers::{Register, Status, VERSION};
use crate::pci::{Bdf, BdfError, CapabilityError};

/// Why the device cannot be opened, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// An environment variable that has no such value.
    #[error("{variable}={value:?} means nothing; it can be {allowed}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it can hold.
        allowed: &'static str,
    },
    /// The address is none.
    #[error(transparent)]
    Address(#[from] BdfError),
    /// The kernel has put the function into no group.
    #[error(
        "{bdf} is in no IOMMU group ({}: {source}); vfio-pci needs an IOMMU: boot with intel_iommu=on or amd_iommu=on, in a guest \
         also give QEMU `-device intel-iommu,caching-mode=on`",
        link.display()
    )]
    NoIommuGroup {
        /// The function.
        bdf: Bdf,
        /// The link that is missing.
        link: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of VFIO cannot be opened.
    #[error("cannot open {}: {source}; is vfio-pci loaded and bound to the function, and is this root?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A step of setting VFIO up.
    #[error("VFIO cannot {step}: {source}{}", hint(step))]
    Setup {
        /// Which.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel speaks another VFIO.
    #[error("this kernel's VFIO has no type 1 (version 2) IOMMU; is vfio_iommu_type1 loaded?")]
    NoType1,
    /// Another function of the group has another driver.
    #[error("IOMMU group {group} is not viable: every function in it must be bound to vfio-pci or to no driver")]
    GroupNotViable {
        /// The group.
        group: String,
    },
    /// A region is not as it must be.
    #[error("region {index} of the function has {size} bytes (flags {flags:#x}); {wanted}")]
    Region {
        /// Its index: the BAR's number.
        index: u32,
        /// Bytes.
        size: u64,
        /// `VFIO_REGION_INFO_FLAG_*`.
        flags: u32,
        /// What it should be.
        wanted: &'static str,
    },
    /// A BAR cannot be mapped.
    #[error("cannot map BAR{index} at {address}: {source}")]
    Map {
        /// Its number.
        index: u32,
        /// Where to.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The addresses for shared memory cannot be had.
    #[error("cannot reserve {bytes} bytes of addresses at {address:#x} for memory shared with the device: {source}")]
    Reserve {
        /// Where.
        address: u64,
        /// How many.
        bytes: usize,
        /// What the system says.
        source: io::Error,
    },
    /// Config space cannot be read or written through the device.
    #[error("cannot access config space through VFIO: {0}")]
    Config(#[source] io::Error),
    /// Config space has no readable PCI Express capability.
    #[error("no PCI Express capability can be found in config space: {0}")]
    Capability(#[from] CapabilityError),
    /// A register does not answer.
    #[error("the device's register {register:?} does not answer: {source}")]
    Register {
        /// Which.
        register: Register,
        /// What the system says.
        source: io::Error,
    },
    /// Another kind of device.
    #[error(
        "the function is not aqlprobe's endpoint: its BAR5 begins with {magic:#018x}. A real GPU cannot be driven over vfio-pci by this \
         runtime; bind it to amdgpu and use `--runtime system`"
    )]
    NotTheEndpoint {
        /// What stands in place of the magic number.
        magic: u64,
    },
    /// A layout of registers that this build does not know.
    #[error("the endpoint's registers have version {version}, and this build knows {VERSION}; use the same build on both sides")]
    Version {
        /// The device's.
        version: u64,
    },
    /// Shader cores that this runtime has no agent for.
    #[error("the endpoint's shader cores are gfx_target_version {target}; this runtime drives 80003 (gfx803)")]
    Target {
        /// The device's.
        target: u64,
    },
    /// The device refused a command.
    #[error("the device refuses {what}: {status}")]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// Why.
        status: Status,
    },
    /// The device gave an answer that this build does not know.
    #[error("the device refuses {what} with the unknown status {number:#x}")]
    UnknownStatus {
        /// What it was asked.
        what: &'static str,
        /// The status.
        number: u64,
    },
    /// A queue id that the device cannot have.
    #[error("the device says that the new queue is number {id}, which is beyond its own limit")]
    QueueId {
        /// The id.
        id: u64,
    },
}

/// Says what to do where the kernel's answer does not.
fn hint(step: &str) -> &'static str {
    match step {
        SET_IOMMU => {
            "; without interrupt remapping the kernel wants \
             /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts to be 1"
        }
        SET_CONTAINER => "; another process may be using the group",
        _ => "",
    }
}

/// The step that fails where interrupts are not remapped.
pub const SET_IOMMU: &str = "set up the IOMMU";
/// The step that fails while another process holds the group.
pub const SET_CONTAINER: &str = "take the group";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_that_fail_in_practice_say_what_to_do() {
        let refused = |step| VfioError::Setup { step, source: io::ErrorKind::PermissionDenied.into() }.to_string();
        assert!(refused(SET_IOMMU).contains("allow_unsafe_interrupts"));
        assert!(refused(SET_CONTAINER).contains("another process"));
        assert!(!refused("open the device").contains(';'));
    }
}
