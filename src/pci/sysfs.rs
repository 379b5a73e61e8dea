//! Reads the PCI hierarchy as Linux lays it out in sysfs: `bus/pci/devices/BDF` is a link into
//! `devices/pci0000:00/0000:00:03.0/0000:0b:00.0`, where every bridge is the directory of what is below it.

use super::hierarchy::Completeness;
use super::{Bdf, ConfigSpace, Hierarchy, Hop};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

const AMD: u32 = 0x1002;
/// Base class of display controllers.
const DISPLAY_CONTROLLER: u32 = 0x03;
/// Base class and sub-class of processing accelerators, which AMD's Instinct cards are since MI200.
const PROCESSING_ACCELERATOR: u32 = 0x1200;

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
    /// The root has no PCI bus at all.
    #[error("{} has no PCI devices; is sysfs mounted there?", directory.display())]
    NoPciBus {
        /// The directory that should list the devices.
        directory: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
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
        self.devices_dir().join(bdf.to_string())
    }

    /// A device's config space as a file.
    pub fn config_file(&self, bdf: &Bdf) -> PathBuf {
        self.device_dir(bdf).join("config")
    }

    /// The path from the root complex down to a device. Registers that may not be read are unknown in the hops.
    ///
    /// # Errors
    /// [`SysfsError`] when the device is absent or its files cannot be read at all.
    pub fn hierarchy(&self, bdf: &Bdf) -> Result<Hierarchy, SysfsError> {
        let link = self.device_dir(bdf);
        let directory = fs::canonicalize(&link).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SysfsError::DeviceAbsent { bdf: *bdf, root: self.0.clone() },
            _ => SysfsError::Unreadable { path: link, source },
        })?;
        let mut hops = Vec::new();
        let mut completeness = Completeness::Partial;
        for directory in directory.ancestors() {
            let name = directory.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let Ok(bdf) = name.parse::<Bdf>() else {
                // The directory of a root bus: nothing PCI is above it.
                if name.starts_with("pci") {
                    completeness = Completeness::Whole;
                }
                break;
            };
            hops.push(read_hop(bdf, directory)?);
        }
        hops.reverse();
        Ok(Hierarchy { hops, completeness })
    }

    /// AMD's display controllers and processing accelerators, sorted.
    ///
    /// # Errors
    /// [`SysfsError`] when the directory of devices cannot be read.
    pub fn amd_display_functions(&self) -> Result<Vec<Bdf>, SysfsError> {
        let directory = self.devices_dir();
        let entries = fs::read_dir(&directory).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SysfsError::NoPciBus { directory: directory.clone() },
            _ => SysfsError::Unreadable { path: directory.clone(), source },
        })?;
        let mut found: Vec<Bdf> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .filter(|bdf| is_amd_display(&self.device_dir(bdf)))
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    fn devices_dir(&self) -> PathBuf {
        self.0.join("bus/pci/devices")
    }
}

fn read_hop(bdf: Bdf, directory: &Path) -> Result<Hop, SysfsError> {
    let path = directory.join("config");
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(ConfigSpace::EXTENDED_SIZE as u64).read_to_end(&mut bytes))
        .map_err(|source| SysfsError::Unreadable { path, source })?;
    let mut hop = Hop::read(bdf, &ConfigSpace::from_bytes(bytes));
    hop.physical_function = fs::read_link(directory.join("physfn"))
        .ok()
        .and_then(|target| target.file_name().and_then(|name| name.to_string_lossy().parse().ok()));
    Ok(hop)
}

/// A device that vanishes while we look is none.
fn is_amd_display(directory: &Path) -> bool {
    let attribute = |name: &str| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
    };
    let is_display = |class: u32| class >> 16 == DISPLAY_CONTROLLER || class >> 8 == PROCESSING_ACCELERATOR;
    attribute("vendor") == Some(AMD) && attribute("class").is_some_and(is_display)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::path::{self, Cause};
    use crate::pci::tree::{BridgeImage, BusNumbers};
    use std::os::unix::fs::symlink;

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    /// A device at a place below `devices`, as sysfs has it.
    fn add(root: &Path, directory: &str, vendor: &str, class: &str) {
        let directory = Path::new(directory);
        let links = root.join("bus/pci/devices");
        fs::create_dir_all(&links).unwrap();
        fs::create_dir_all(root.join(directory)).unwrap();
        fs::write(root.join(directory).join("vendor"), vendor).unwrap();
        fs::write(root.join(directory).join("class"), class).unwrap();
        let image = BridgeImage::root_port(BusNumbers { primary: 0, secondary: 1, subordinate: 1 }).build();
        fs::write(root.join(directory).join("config"), image.bytes()).unwrap();
        symlink(Path::new("../../..").join(directory), links.join(directory.file_name().unwrap())).unwrap();
    }

    #[test]
    fn display_controllers_and_accelerators_of_amd_are_found_in_order() {
        let root = tempfile::tempdir().unwrap();
        for (device, vendor, class) in [
            ("0000:0c:00.0", "0x1002\n", "0x120000\n"),
            ("0000:0b:00.0", "0x1002\n", "0x030000\n"),
            ("0000:0b:00.1", "0x1002\n", "0x040300\n"),
            ("0000:03:00.0", "0x8086\n", "0x030000\n"),
            ("0001:02:00.0", "0x1002\n", "0x038000\n"),
            ("0000:04:00.0", "garbage", ""),
        ] {
            add(root.path(), &format!("devices/pci0000:00/{device}"), vendor, class);
        }
        let found = SysfsRoot::new(root.path()).amd_display_functions().unwrap();
        assert_eq!(found, [bdf("0b:00.0"), bdf("0c:00.0"), bdf("0001:02:00.0")]);
    }

    #[test]
    fn the_path_ends_at_the_root_bus_also_where_that_hangs_below_another_device() {
        let root = tempfile::tempdir().unwrap();
        let below_vmd = "devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0";
        add(root.path(), below_vmd, "0x1002", "0x030000");
        let image = BridgeImage::root_port(BusNumbers { primary: 0xe0, secondary: 0xe1, subordinate: 0xe1 }).build();
        fs::write(root.path().join(below_vmd).parent().unwrap().join("config"), image.bytes()).unwrap();
        let hierarchy = SysfsRoot::new(root.path()).hierarchy(&bdf("10000:e1:00.0")).unwrap();
        let addresses: Vec<String> = hierarchy.hops.iter().map(|hop| hop.bdf.to_string()).collect();
        assert_eq!(addresses, ["10000:e0:06.0", "10000:e1:00.0"]);
        assert_eq!(hierarchy.completeness, Completeness::Whole);
    }

    #[test]
    fn a_virtual_function_knows_its_physical_function() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "devices/pci0000:00/0000:0b:00.0", "0x1002", "0x030000");
        add(root.path(), "devices/pci0000:00/0000:0b:02.0", "0x1002", "0x030000");
        symlink("../0000:0b:00.0", root.path().join("devices/pci0000:00/0000:0b:02.0/physfn")).unwrap();
        let hierarchy = SysfsRoot::new(root.path()).hierarchy(&bdf("0b:02.0")).unwrap();
        assert_eq!(hierarchy.hops[0].physical_function, Some(bdf("0b:00.0")));
        assert_eq!(path::judge(&hierarchy).findings[0].cause, Cause::VirtualFunction);
    }

    #[test]
    fn a_device_without_config_space_is_an_error_that_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "devices/pci0000:00/0000:0b:00.0", "0x1002", "0x030000");
        fs::remove_file(root.path().join("devices/pci0000:00/0000:0b:00.0/config")).unwrap();
        let error = SysfsRoot::new(root.path()).hierarchy(&bdf("0b:00.0")).unwrap_err();
        assert!(matches!(error, SysfsError::Unreadable { .. }) && error.to_string().contains("0000:0b:00.0/config"), "{error}");
    }
}
