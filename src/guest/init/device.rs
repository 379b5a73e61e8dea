//! The device under test as the guest's kernel shows it.

use std::fs;
use std::path::Path;

use crate::guest::answer::PciFunction;
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, ConfigSpace, registers as reg};

/// The functions from the root port down to the first device with these ids.
///
/// # Errors
/// A sentence, when there is no such device or sysfs does not show it.
pub(super) fn functions(vendor: u16, device: u16) -> Result<Vec<PciFunction>, String> {
    let root = SysfsRoot::default();
    let found = find(&root, vendor, device).ok_or_else(|| format!("the guest has no PCI device {vendor:04x}:{device:04x}"))?;
    // .../pci0000:00/0000:00:01.0/0000:01:00.0: every component that is an address is a function on the way.
    let path =
        fs::canonicalize(root.device_dir(&found)).map_err(|error| format!("sysfs does not say where {found} is: {error}"))?;
    Ok(chain(&path).iter().filter_map(|bdf| function(&root, bdf)).collect())
}

pub(super) fn find(root: &SysfsRoot, vendor: u16, device: u16) -> Option<Bdf> {
    let mut addresses: Vec<Bdf> = fs::read_dir(root.path().join("bus/pci/devices"))
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.into_iter().find(|bdf| config(root, bdf).is_some_and(|config| ids(&config) == Some((vendor, device))))
}

fn chain(path: &Path) -> Vec<Bdf> {
    path.components().filter_map(|component| component.as_os_str().to_str()?.parse().ok()).collect()
}

fn config(root: &SysfsRoot, bdf: &Bdf) -> Option<ConfigSpace> {
    fs::read(root.config_file(bdf)).ok().map(ConfigSpace::from_bytes)
}

fn ids(config: &ConfigSpace) -> Option<(u16, u16)> {
    Some((config.u16(reg::VENDOR_ID)?, config.u16(reg::DEVICE_ID)?))
}

fn function(root: &SysfsRoot, bdf: &Bdf) -> Option<PciFunction> {
    let config = config(root, bdf)?;
    let (vendor, device) = ids(&config)?;
    let capability = config.pcie_capability().ok().flatten()?;
    Some(PciFunction {
        bdf: bdf.to_string(),
        id: format!("{vendor:04x}:{device:04x}"),
        devcap2: capability.devcap2().and_then(|at| config.u32(at)).unwrap_or_default(),
        devctl2: capability.devctl2().and_then(|at| config.u16(at)).unwrap_or_default(),
        multifunction: config.u8(reg::HEADER_TYPE).unwrap_or_default() & reg::HEADER_TYPE_MULTI_FUNCTION != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_down_is_the_addresses_in_the_devices_path() {
        let path = Path::new("/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0");
        let names: Vec<String> = chain(path).iter().map(Bdf::to_string).collect();
        assert_eq!(names, ["0000:00:01.0", "0000:01:00.0", "0000:02:00.0"]);
    }
}
