//! Which driver a function has, and lending one to vfio-pci (Linux, Documentation/ABI/testing/sysfs-bus-pci, `driver_override`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Bdf;
use super::sysfs::SysfsRoot;

const VFIO_PCI: &str = "vfio-pci";

/// Why a function cannot be lent to vfio-pci.
#[derive(Debug, Error)]
pub enum DriverError {
    /// vfio-pci is not there.
    #[error("the kernel has no vfio-pci driver ({} is missing); load it with `modprobe vfio-pci`", directory.display())]
    NoVfioPci {
        /// Where it would be.
        directory: PathBuf,
    },
    /// Another driver has the function, and taking it away may take a display or a disk away.
    #[error(
        "{bdf} belongs to the driver {driver}; unbind it first if nothing uses it: \
         echo {bdf} > /sys/bus/pci/devices/{bdf}/driver/unbind"
    )]
    Taken {
        /// The function.
        bdf: Bdf,
        /// Its driver.
        driver: String,
    },
    /// A file of sysfs cannot be written.
    #[error("cannot write {}: {source}; is this root?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel did not bind the function.
    #[error("the kernel did not bind {bdf} to vfio-pci; dmesg says why (an IOMMU is needed: intel_iommu=on or amd_iommu=on)")]
    NotBound {
        /// The function.
        bdf: Bdf,
    },
}

/// The driver that a function is bound to.
pub fn driver_of(root: &SysfsRoot, bdf: &Bdf) -> Option<String> {
    let target = fs::read_link(root.device_dir(bdf).join("driver")).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// A function in the hands of vfio-pci. If it had no driver before, it has none again when this is dropped.
#[derive(Debug)]
pub struct VfioLease {
    root: SysfsRoot,
    bdf: Bdf,
    origin: Origin,
}

/// How the function was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With vfio-pci.
    WasBound,
    /// Without a driver.
    BoundByUs,
}

impl VfioLease {
    /// Makes sure that vfio-pci has the function. Only one without a driver is bound: a driver's device is never taken away.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn take(root: &SysfsRoot, bdf: Bdf) -> Result<Self, DriverError> {
        let lease = |origin| Self { root: root.clone(), bdf, origin };
        match driver_of(root, &bdf) {
            Some(driver) if driver == VFIO_PCI => return Ok(lease(Origin::WasBound)),
            Some(driver) => return Err(DriverError::Taken { bdf, driver }),
            None => {}
        }
        let directory = driver_directory(root);
        if !directory.is_dir() {
            return Err(DriverError::NoVfioPci { directory });
        }
        write(&root.device_dir(&bdf).join("driver_override"), VFIO_PCI)?;
        // From here on there is something to put back.
        let lease = lease(Origin::BoundByUs);
        write(&root.path().join("bus/pci/drivers_probe"), &bdf.to_string())?;
        match driver_of(root, &bdf) {
            Some(driver) if driver == VFIO_PCI => Ok(lease),
            _ => Err(DriverError::NotBound { bdf }),
        }
    }

    /// How the function was found.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for VfioLease {
    fn drop(&mut self) {
        if self.origin == Origin::BoundByUs {
            // Nobody can be told here; a function that stays with vfio-pci harms nobody.
            let _ = write(&driver_directory(&self.root).join("unbind"), &self.bdf.to_string());
            let _ = write(&self.root.device_dir(&self.bdf).join("driver_override"), "");
        }
    }
}

fn driver_directory(root: &SysfsRoot) -> PathBuf {
    root.path().join("bus/pci/drivers").join(VFIO_PCI)
}

/// The kernel takes the line when it ends; an empty one clears.
fn write(path: &Path, text: &str) -> Result<(), DriverError> {
    fs::write(path, format!("{text}\n")).map_err(|source| DriverError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const GPU: Bdf = Bdf { domain: 0, bus: 1, device: 0, function: 0 };

    fn machine(driver: Option<&str>, drivers: &[&str]) -> (tempfile::TempDir, SysfsRoot) {
        let directory = tempfile::tempdir().unwrap();
        let root = SysfsRoot::new(directory.path());
        fs::create_dir_all(root.device_dir(&GPU)).unwrap();
        for driver in drivers {
            fs::create_dir_all(directory.path().join("bus/pci/drivers").join(driver)).unwrap();
        }
        if let Some(driver) = driver {
            symlink(format!("../../../../bus/pci/drivers/{driver}"), root.device_dir(&GPU).join("driver")).unwrap();
        }
        (directory, root)
    }

    fn text(root: &SysfsRoot, file: &str) -> Option<String> {
        fs::read_to_string(root.path().join(file)).ok()
    }

    #[test]
    fn a_function_of_vfio_pci_is_left_as_it_is() {
        let (_directory, root) = machine(Some("vfio-pci"), &["vfio-pci"]);
        assert_eq!(VfioLease::take(&root, GPU).unwrap().origin(), Origin::WasBound);
        assert_eq!(text(&root, "bus/pci/drivers/vfio-pci/unbind"), None);
        assert_eq!(text(&root, "bus/pci/devices/0000:01:00.0/driver_override"), None);
    }

    #[test]
    fn another_drivers_function_is_never_taken_away() {
        let (_directory, root) = machine(Some("amdgpu"), &["amdgpu", "vfio-pci"]);
        let error = VfioLease::take(&root, GPU).unwrap_err();
        assert!(error.to_string().contains("amdgpu") && error.to_string().contains("0000:01:00.0"), "{error}");
        assert_eq!(text(&root, "bus/pci/devices/0000:01:00.0/driver_override"), None);
    }

    #[test]
    fn without_vfio_pci_nothing_is_written() {
        let (_directory, root) = machine(None, &[]);
        assert!(matches!(VfioLease::take(&root, GPU), Err(DriverError::NoVfioPci { .. })));
        assert_eq!(text(&root, "bus/pci/devices/0000:01:00.0/driver_override"), None);
    }

    #[test]
    fn a_function_that_the_kernel_does_not_bind_is_given_back() {
        let (_directory, root) = machine(None, &["vfio-pci"]);
        assert!(matches!(VfioLease::take(&root, GPU), Err(DriverError::NotBound { .. })));
        assert_eq!(text(&root, "bus/pci/drivers_probe").as_deref(), Some("0000:01:00.0\n"));
        assert_eq!(text(&root, "bus/pci/drivers/vfio-pci/unbind").as_deref(), Some("0000:01:00.0\n"));
        assert_eq!(text(&root, "bus/pci/devices/0000:01:00.0/driver_override").as_deref(), Some("\n"));
    }
}
