//! What of a machine's sysfs an audit needs, so that it can be taken along and audited elsewhere.

use super::source::Selection;
use crate::pci::Bdf;
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of a function that an audit reads. What a machine does not have, or does not let this user read, is left out.
const ATTRIBUTES: [&str; 10] = [
    "config",
    "vendor",
    "device",
    "class",
    "revision",
    "current_link_speed",
    "current_link_width",
    "max_link_speed",
    "max_link_width",
    "fw_version/mec_fw_version",
];
/// Links of a function of which an audit reads where they lead.
const LINKS: [&str; 2] = ["driver", "physfn"];

/// One entry of a captured tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// A file with its bytes.
    File(Vec<u8>),
    /// A symbolic link with its target.
    Link(PathBuf),
}

/// The entries of a captured tree, by their path below the root: everything that an audit of these devices reads and nothing
/// that names the machine or its user.
///
/// # Errors
/// [`SysfsError`] when a device is absent or its path cannot be read.
pub fn capture(root: &SysfsRoot, selection: Selection) -> Result<BTreeMap<PathBuf, Captured>, SysfsError> {
    let devices = match selection {
        Selection::Accelerators => root.amd_display_functions()?,
        Selection::Device(bdf) => vec![bdf],
    };
    let mut entries = BTreeMap::new();
    for device in devices {
        for hop in root.hierarchy(&device)?.hops {
            function(root, &hop.bdf, &mut entries)?;
        }
    }
    kfd(root.path(), Path::new("class/kfd/kfd/topology/nodes"), &mut entries);
    Ok(entries)
}

fn function(root: &SysfsRoot, bdf: &Bdf, entries: &mut BTreeMap<PathBuf, Captured>) -> Result<(), SysfsError> {
    let link = root.device_dir(bdf);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| SysfsError::Unreadable { path, source }
    };
    let directory = fs::canonicalize(&link).map_err(unreadable(&link))?;
    let top = fs::canonicalize(root.path()).map_err(unreadable(root.path()))?;
    // A link that leads out of the root is no sysfs; the function then stays out.
    let Ok(below) = directory.strip_prefix(&top) else { return Ok(()) };
    for name in ATTRIBUTES {
        if let Ok(bytes) = fs::read(directory.join(name)) {
            entries.insert(below.join(name), Captured::File(bytes));
        }
    }
    for name in LINKS {
        if let Ok(target) = fs::read_link(directory.join(name)) {
            entries.insert(below.join(name), Captured::Link(target));
        }
    }
    entries.insert(Path::new("bus/pci/devices").join(bdf.to_string()), Captured::Link(Path::new("../../..").join(below)));
    Ok(())
}

/// Nodes, and their links: `properties` and `gpu_id`, three levels deep.
fn kfd(root: &Path, below: &Path, entries: &mut BTreeMap<PathBuf, Captured>) {
    let listed = |directory: &Path| fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
    for node in listed(below) {
        let node = below.join(node.file_name());
        let mut directories = vec![node.clone()];
        for kind in ["io_links", "p2p_links"] {
            let kind = node.join(kind);
            directories.extend(listed(&kind).map(|link| kind.join(link.file_name())));
        }
        for file in directories.iter().flat_map(|directory| [directory.join("properties"), directory.join("gpu_id")]) {
            if let Ok(bytes) = fs::read(root.join(&file)) {
                entries.insert(file, Captured::File(bytes));
            }
        }
    }
}
