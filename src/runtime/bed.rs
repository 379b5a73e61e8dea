//! The embedded test bed: the PCI tree that the runtime's device lives in.

use std::path::{Path, PathBuf};

use crate::pci::Bdf;

/// Environment variable that names the sysfs-shaped tree of the modelled machine for every process that uses this runtime.
pub const SYSFS_ENV: &str = "AQLPROBE_MODEL_SYSFS";

/// A tree that is ready for a device to be powered up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedBed {
    /// Root of the sysfs-shaped tree.
    pub sysfs_root: PathBuf,
    /// The GPU in it.
    pub endpoint: Bdf,
}

/// Why the tree could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BedError {}

/// Writes the tree of the founding machine into `dir`, or with `replay` the machine of an lspci dump.
///
/// # Errors
/// The dump cannot be read or holds no usable GPU, or the tree cannot be written.
pub fn prepare(_dir: &Path, _replay: Option<&str>) -> Result<PreparedBed, BedError> {
    todo!()
}
