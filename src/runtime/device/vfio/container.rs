//! A VFIO container with one group in it: the IOMMU's map of what the device reaches.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::error::{SET_CONTAINER, SET_IOMMU, VfioError};
use super::ioctl;
use crate::pci::Bdf;
use crate::pci::sysfs::SysfsRoot;

/// What lets the device reach memory of this process at its own addresses.
pub trait Iommu: Send + Sync {
    /// Pins memory and lets the device read and write it.
    ///
    /// # Errors
    /// The kernel refuses.
    ///
    /// # Safety
    /// As of [`ioctl::map_dma`]: memory that the device may change is no memory for references.
    unsafe fn map(&self, address: u64, bytes: u64) -> io::Result<()>;

    /// Takes whole mappings away again.
    ///
    /// # Errors
    /// The kernel refuses.
    fn unmap(&self, address: u64, bytes: u64) -> io::Result<()>;
}

/// The container. What it mapped ends with it.
pub struct Container {
    container: OwnedFd,
    group: OwnedFd,
}

impl Container {
    /// Takes the group of a function.
    ///
    /// # Errors
    /// There is no IOMMU, the group is not viable or taken, or the kernel's VFIO is another one.
    pub fn open(bdf: &Bdf) -> Result<Self, VfioError> {
        let link = SysfsRoot::default().device_dir(bdf).join("iommu_group");
        let target = fs::read_link(&link).map_err(|source| VfioError::NoIommuGroup { bdf: *bdf, link, source })?;
        let group_name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let setup = |step| move |source| VfioError::Setup { step, source };
        let container = open(Path::new("/dev/vfio/vfio"))?;
        let version = ioctl::api_version(container.as_fd()).map_err(setup("say its version"))?;
        let type1 = ioctl::has_extension(container.as_fd(), ioctl::TYPE1V2_IOMMU).map_err(setup("list its IOMMUs"))?;
        if version != ioctl::API_VERSION || !type1 {
            return Err(VfioError::NoType1);
        }
        let group = open(&Path::new("/dev/vfio").join(&group_name))?;
        if !ioctl::group_is_viable(group.as_fd()).map_err(setup("say whether the group is viable"))? {
            return Err(VfioError::GroupNotViable { group: group_name });
        }
        ioctl::set_container(group.as_fd(), container.as_fd()).map_err(setup(SET_CONTAINER))?;
        ioctl::set_iommu(container.as_fd(), ioctl::TYPE1V2_IOMMU).map_err(setup(SET_IOMMU))?;
        Ok(Self { container, group })
    }

    /// Opens the function.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn device(&self, bdf: &Bdf) -> Result<OwnedFd, VfioError> {
        ioctl::device(self.group.as_fd(), &bdf.to_string()).map_err(|source| VfioError::Setup { step: "open the device", source })
    }
}

fn open(path: &Path) -> Result<OwnedFd, VfioError> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| VfioError::Open { path: path.to_owned(), source: error.into() })
}

impl Iommu for Container {
    unsafe fn map(&self, address: u64, bytes: u64) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { ioctl::map_dma(&self.container, address, bytes) }
    }

    fn unmap(&self, address: u64, bytes: u64) -> io::Result<()> {
        ioctl::unmap_dma(&self.container, address, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_is_not_there_has_no_group_and_the_refusal_says_what_an_iommu_needs() {
        let error = Container::open(&"ffff:fe:1f.7".parse().unwrap()).err().unwrap().to_string();
        assert!(error.contains("ffff:fe:1f.7") && error.contains("intel_iommu=on"), "{error}");
    }
}
