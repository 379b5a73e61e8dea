//! The machine that a device lives in: a PCI tree as files, whichever door the device is reached through.
//!
//! A supervisor prepares a tree once and names it to its workers by [`SYSFS_ENV`], so that all of them, and the code that
//! switches the requester-enable bit, look at the same config space. Without the variable each process has a tree of its own,
//! with AtomicOps enabled.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::target::Target;
use crate::faults::BlockedHop;
use crate::model::founding::{self, FoundingError, GpuImage};
use crate::pci::dump::{self, DumpError, DumpedFunction};
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use crate::pci::{Bdf, CapabilityError, ConfigOffset, ConfigSpace, registers};

/// Environment variable that names the sysfs-shaped tree of the modelled machine for every process that has a device.
pub const SYSFS_ENV: &str = "AQLPROBE_MODEL_SYSFS";

/// A tree that is ready for a device to be powered up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedBed {
    /// Root of the sysfs-shaped tree.
    pub sysfs_root: PathBuf,
    /// The GPU in it.
    pub endpoint: Bdf,
}

/// Why there is no modelled machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The dump cannot be read.
    #[error("cannot read the dump: {0}")]
    Dump(#[from] DumpError),
    /// The dump holds no function at all.
    #[error("the dump holds no PCI function; it must be the output of `lspci -xxx` or `lspci -xxxx`")]
    EmptyDump,
    /// The function cannot be replayed, or the tree cannot be written.
    #[error(transparent)]
    Tree(#[from] FoundingError),
    /// The tree cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// The tree that the environment names has no GPU.
    #[error("{} has no AMD GPU under bus/pci/devices ({SYSFS_ENV} names it)", root.display())]
    NoGpu {
        /// The tree.
        root: PathBuf,
    },
    /// The GPU's config space names no place for AtomicOps to be enabled.
    #[error("the GPU's config space has no readable PCI Express capability: {0}")]
    Capability(#[from] CapabilityError),
    /// A file of the private tree.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Writes the tree of the founding machine into `dir`, or with `replay` the machine whose GPU an lspci dump shows; with `blocked` a
/// hop is in the way of AtomicOps.
///
/// # Errors
/// The dump cannot be read or holds no usable GPU, or the tree cannot be written.
pub fn prepare(dir: &Path, replay: Option<&str>, blocked: Option<BlockedHop>) -> Result<PreparedBed, MachineError> {
    let image = match replay {
        None => GpuImage::Founding,
        Some(text) => GpuImage::Replay(choose(dump::read(text)?).ok_or(MachineError::EmptyDump)?),
    };
    write(dir, image, blocked)
}

/// Writes the tree of a machine with the GPU that stands for `target` into `dir`, AtomicOp Requester Enable clear; with `blocked` a hop is in
/// the way of AtomicOps.
///
/// # Errors
/// The tree cannot be written.
pub fn prepare_target(dir: &Path, target: Target, blocked: Option<BlockedHop>) -> Result<PreparedBed, MachineError> {
    write(dir, GpuImage::from(target), blocked)
}

fn write(dir: &Path, image: GpuImage, blocked: Option<BlockedHop>) -> Result<PreparedBed, MachineError> {
    let endpoint = image.endpoint();
    founding::write_blocked_tree(dir, image, blocked)?;
    Ok(PreparedBed { sysfs_root: dir.to_owned(), endpoint })
}

/// The first AMD display controller of a dump; else its first function, which will be refused by name.
fn choose(functions: Vec<DumpedFunction>) -> Option<DumpedFunction> {
    const AMD: u16 = 0x1002;
    const DISPLAY_CONTROLLER: u8 = 0x03;
    let is_gpu = |function: &DumpedFunction| {
        let config = &function.config;
        config.u16(ConfigOffset(0)) == Some(AMD) && config.u8(ConfigOffset(0x0b)) == Some(DISPLAY_CONTROLLER)
    };
    let chosen = functions.iter().position(is_gpu).unwrap_or(0);
    functions.into_iter().nth(chosen)
}

/// The machine that this process's device lives in.
#[derive(Debug)]
pub struct Machine {
    /// Root of the sysfs-shaped tree.
    pub sysfs_root: PathBuf,
    /// The GPU in it.
    pub endpoint: Bdf,
    /// The GPU's PCI device ID.
    pub device_id: u16,
    /// Removes the tree if it is this process's own.
    private: Option<TempDir>,
}

impl Machine {
    /// Finds the tree that the environment names, else makes one for this GPU.
    ///
    /// # Errors
    /// The tree that is named has no GPU, or a tree cannot be made.
    pub fn open(target: Target) -> Result<Self, MachineError> {
        match env::var_os(SYSFS_ENV) {
            Some(root) => Self::existing(PathBuf::from(root)),
            None => Self::of_its_own(target),
        }
    }

    fn existing(root: PathBuf) -> Result<Self, MachineError> {
        let sysfs = SysfsRoot::new(&root);
        let endpoint = sysfs.amd_display_functions()?.first().copied().ok_or_else(|| MachineError::NoGpu { root: root.clone() })?;
        let (_, config) = read_config(&sysfs, &endpoint)?;
        Ok(Self { endpoint, device_id: device_id(&config), sysfs_root: root, private: None })
    }

    /// A machine that no other process knows, with AtomicOps enabled.
    ///
    /// # Errors
    /// Its tree cannot be made.
    pub fn of_its_own(target: Target) -> Result<Self, MachineError> {
        let directory = TempDir::with_prefix("aqlprobe-").map_err(|source| MachineError::File { path: env::temp_dir(), source })?;
        let PreparedBed { sysfs_root, endpoint } = prepare_target(directory.path(), target, None)?;
        let sysfs = SysfsRoot::new(&sysfs_root);
        let (path, config) = read_config(&sysfs, &endpoint)?;
        if let Some(capability) = config.pcie_capability()? {
            let at = usize::from(capability.offset.0 + registers::DEVCTL2.0);
            let mut bytes = config.bytes().to_vec();
            if let Some(low) = bytes.get_mut(at) {
                *low |= registers::REQUESTER_ENABLE.to_le_bytes()[0];
                std::fs::write(&path, bytes).map_err(|source| MachineError::File { path, source })?;
            }
        }
        Ok(Self { sysfs_root, endpoint, device_id: device_id(&config), private: Some(directory) })
    }

    /// Removes the files if they are this process's own. A device that has started keeps what it has mapped of them.
    pub fn clear_away(&self) {
        if let Some(directory) = &self.private {
            // What cannot be removed stays in the directory for temporary files.
            let _ = std::fs::remove_dir_all(directory.path());
        }
    }
}

fn read_config(sysfs: &SysfsRoot, bdf: &Bdf) -> Result<(PathBuf, ConfigSpace), MachineError> {
    let path = sysfs.config_file(bdf);
    match std::fs::read(&path) {
        Ok(bytes) => Ok((path, ConfigSpace::from_bytes(bytes))),
        Err(source) => Err(MachineError::File { path, source }),
    }
}

fn device_id(config: &ConfigSpace) -> u16 {
    config.u16(ConfigOffset(2)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester_enable(root: &Path, endpoint: &Bdf) -> bool {
        let (_, config) = read_config(&SysfsRoot::new(root), endpoint).unwrap();
        let capability = config.pcie_capability().unwrap().unwrap();
        let control = config.u16(ConfigOffset(capability.offset.0 + registers::DEVCTL2.0)).unwrap();
        control & registers::REQUESTER_ENABLE != 0
    }

    #[test]
    fn the_founding_machine_starts_with_atomicops_disabled() {
        let directory = TempDir::new().unwrap();
        let bed = prepare(directory.path(), None, None).unwrap();
        assert_eq!(bed.endpoint.to_string(), "0000:0b:00.0");
        assert!(!requester_enable(&bed.sysfs_root, &bed.endpoint));
        let machine = Machine::existing(bed.sysfs_root).unwrap();
        assert_eq!((machine.endpoint, machine.device_id), (bed.endpoint, 0x7300));
    }

    /// The text that `lspci -xxx` prints for one function.
    fn lspci(address: &str, description: &str, config: &[u8]) -> String {
        let rows = config.chunks(16).enumerate().map(|(row, bytes)| {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{row:x}0: {}\n", bytes.join(" "))
        });
        format!("{address} {description}\n{}\n", rows.collect::<String>())
    }

    #[test]
    fn a_replayed_gpu_is_where_and_what_the_dump_says() {
        let mut after_setpci = founding::FIJI_CONFIG;
        after_setpci[0x80] = 0x40;
        let mut audio = founding::FIJI_CONFIG;
        audio[0x0a] = 0x03;
        audio[0x0b] = 0x04;
        let dump =
            lspci("03:00.1", "Audio device: AMD", &audio) + &lspci("03:00.0", "VGA compatible controller: AMD", &after_setpci);
        let directory = TempDir::new().unwrap();
        let bed = prepare(directory.path(), Some(&dump), None).unwrap();
        assert_eq!(bed.endpoint.to_string(), "0000:03:00.0");
        assert!(requester_enable(&bed.sysfs_root, &bed.endpoint));
        let (_, config) = read_config(&SysfsRoot::new(&bed.sysfs_root), &bed.endpoint).unwrap();
        assert_eq!(config.bytes()[..256], after_setpci);
        let machine = Machine::existing(bed.sysfs_root).unwrap();
        assert_eq!((machine.endpoint, machine.device_id), (bed.endpoint, 0x7300));
    }

    #[test]
    fn a_dump_without_a_gpu_names_what_it_has() {
        let mut bridge = founding::FIJI_CONFIG;
        bridge[0x0b] = 0x06;
        let directory = TempDir::new().unwrap();
        let error = prepare(directory.path(), Some(&lspci("03:00.0", "PCI bridge: AMD", &bridge)), None).unwrap_err();
        assert!(error.to_string().contains("03:00.0"), "{error}");
    }

    #[test]
    fn a_process_of_its_own_has_atomicops_enabled_and_leaves_nothing_behind() {
        for (target, device_id) in [(Target::Gfx803, 0x7300), (Target::Gfx942, 0x74a1), (Target::Gfx1100, 0x744c)] {
            let machine = Machine::of_its_own(target).unwrap();
            let root = machine.sysfs_root.clone();
            assert!(requester_enable(&root, &machine.endpoint), "{target}");
            assert_eq!(machine.device_id, device_id);
            drop(machine);
            assert!(!root.exists());
        }
    }

    #[test]
    fn a_tree_without_a_gpu_is_named() {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir_all(directory.path().join("bus/pci/devices")).unwrap();
        let error = Machine::existing(directory.path().to_owned()).unwrap_err();
        assert!(error.to_string().contains(SYSFS_ENV), "{error}");
    }

    #[test]
    fn text_that_is_no_dump_is_refused() {
        let directory = TempDir::new().unwrap();
        assert!(prepare(directory.path(), Some(""), None).is_err());
        assert!(prepare(directory.path(), Some("root:x:0:0:root\n"), None).is_err());
    }
}
