//! KFD's topology in sysfs (`class/kfd/kfd/topology`), as far as it bears on AtomicOps. Readable without privileges.

use super::gfx::GfxTarget;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Link flag: KFD has set the flags itself (`include/uapi/linux/kfd_sysfs.h`).
const LINK_OVERRIDE: u64 = 1 << 0;
/// Link flag: no 32-bit AtomicOps.
const LINK_NO_ATOMICS_32: u64 = 1 << 2;
/// Link flag: no 64-bit AtomicOps.
const LINK_NO_ATOMICS_64: u64 = 1 << 3;

/// A node: a CPU, a GPU, or both in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its number.
    pub index: u32,
    /// Its GPU target; `None` for a node without GPU.
    pub target: Option<GfxTarget>,
    /// PCI address of its GPU as sysfs writes it (`0000:0b:00.0`); `None` for a node without GPU.
    pub pci_address: Option<String>,
    /// Version of the MEC firmware, where KFD tells it.
    pub mec_firmware: Option<u32>,
    /// Links from this node to others.
    pub links: Vec<Link>,
}

/// A link between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Number of the node it leads to.
    pub to: u32,
    /// What it is made of.
    pub kind: LinkKind,
    /// Which AtomicOps the node may send along it.
    pub atomics: LinkAtomics,
}

/// What a link is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// PCI Express.
    Pcie,
    /// AMD's XGMI.
    Xgmi,
    /// Another type, by KFD's number.
    Other(u64),
}

/// Which AtomicOps a link takes. On a GPU's link to a CPU over PCIe this is whether the kernel has enabled AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkAtomics {
    /// 32-bit and 64-bit ones.
    Both,
    /// 32-bit ones only.
    Only32,
    /// 64-bit ones only.
    Only64,
    /// None.
    Neither,
    /// KFD has not set the flags of this link.
    NotSaid,
}

impl LinkAtomics {
    /// The link's `flags` in KFD's encoding.
    #[must_use]
    pub const fn flags(self) -> u64 {
        match self {
            Self::NotSaid => 0,
            Self::Both => LINK_OVERRIDE,
            Self::Only32 => LINK_OVERRIDE | LINK_NO_ATOMICS_64,
            Self::Only64 => LINK_OVERRIDE | LINK_NO_ATOMICS_32,
            Self::Neither => LINK_OVERRIDE | LINK_NO_ATOMICS_32 | LINK_NO_ATOMICS_64,
        }
    }
}

/// Why the topology cannot be read.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// There is no KFD.
    #[error("{} does not exist: the kernel's compute driver (amdgpu with CONFIG_HSA_AMD) is not loaded", directory.display())]
    NoKfd {
        /// The directory that should hold the nodes.
        directory: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads the nodes below a sysfs root, in the order of their numbers.
///
/// # Errors
/// [`TopologyError`]
pub fn topology(sysfs_root: &Path) -> Result<Vec<Node>, TopologyError> {
    let directory = sysfs_root.join("class/kfd/kfd/topology/nodes");
    match numbered(&directory) {
        Ok(nodes) => nodes.into_iter().map(|(index, path)| node(index, &path)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TopologyError::NoKfd { directory }),
        Err(source) => Err(TopologyError::Unreadable { path: directory, source }),
    }
}

fn node(index: u32, directory: &Path) -> Result<Node, TopologyError> {
    let properties = properties(&directory.join("properties"))?;
    let number = |name: &str| properties.get(name).copied();
    let target = number("gfx_target_version").and_then(|version| GfxTarget::from_kfd_version(version.try_into().ok()?));
    let location = number("location_id").zip(number("domain").or(Some(0))).filter(|_| target.is_some());
    let mut links = Vec::new();
    // An absent directory is a node without links of that sort.
    for kind in ["io_links", "p2p_links"] {
        for (_, path) in numbered(&directory.join(kind)).unwrap_or_default() {
            links.extend(link(&self::properties(&path.join("properties"))?));
        }
    }
    Ok(Node {
        index,
        target,
        pci_address: location.map(|(location, domain)| pci_address(domain, location)),
        mec_firmware: number("fw_version").filter(|_| target.is_some()).and_then(|version| version.try_into().ok()),
        links,
    })
}

fn link(properties: &BTreeMap<String, u64>) -> Option<Link> {
    let kind = match *properties.get("type")? {
        2 => LinkKind::Pcie,
        11 => LinkKind::Xgmi,
        other => LinkKind::Other(other),
    };
    let flags = *properties.get("flags")?;
    let atomics = match (flags & LINK_OVERRIDE != 0, flags & LINK_NO_ATOMICS_32 == 0, flags & LINK_NO_ATOMICS_64 == 0) {
        (false, ..) => LinkAtomics::NotSaid,
        (_, true, true) => LinkAtomics::Both,
        (_, true, false) => LinkAtomics::Only32,
        (_, false, true) => LinkAtomics::Only64,
        (_, false, false) => LinkAtomics::Neither,
    };
    Some(Link { to: u32::try_from(*properties.get("node_to")?).ok()?, kind, atomics })
}

/// KFD's location is the bus, device and function in 16 bits.
fn pci_address(domain: u64, location: u64) -> String {
    format!("{domain:04x}:{:02x}:{:02x}.{:x}", location >> 8 & 0xff, location >> 3 & 0x1f, location & 7)
}

fn numbered(directory: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Lines of a name and a decimal number; lines that are not are passed over.
fn properties(path: &Path) -> Result<BTreeMap<String, u64>, TopologyError> {
    let text = fs::read_to_string(path).map_err(|source| TopologyError::Unreadable { path: path.to_owned(), source })?;
    let pair = |line: &str| {
        let (name, value) = line.trim().split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join("class/kfd/kfd/topology/nodes").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn with_gpu_link(flags: &str) -> Node {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "0/properties", "cpu_cores_count 8\nsimd_count 0\ngfx_target_version 0\nlocation_id 0\ndomain 0\n");
        let gpu = "simd_count 256\ngfx_target_version 80003\nlocation_id 2816\ndomain 1\nfw_version 730\n";
        write(root.path(), "1/properties", gpu);
        write(root.path(), "1/io_links/0/properties", &format!("type 2\nnode_from 1\nnode_to 0\nflags {flags}\n"));
        let mut nodes = topology(root.path()).unwrap();
        assert_eq!((nodes.len(), nodes[0].target, nodes[0].pci_address.as_deref()), (2, None, None));
        nodes.remove(1)
    }

    #[test]
    fn a_gpu_node_gives_target_address_and_firmware() {
        let gpu = with_gpu_link("1");
        assert_eq!(gpu.target.unwrap().to_string(), "gfx803");
        assert_eq!(gpu.pci_address.as_deref(), Some("0001:0b:00.0"));
        assert_eq!(gpu.mec_firmware, Some(730));
    }

    #[test]
    fn link_flags_2_and_3_say_no_atomics_where_flag_0_says_they_are_set() {
        for (flags, atomics) in [
            ("1", LinkAtomics::Both),
            ("13", LinkAtomics::Neither),
            ("9", LinkAtomics::Only32),
            ("5", LinkAtomics::Only64),
            ("12", LinkAtomics::NotSaid),
            ("2147483649", LinkAtomics::Both),
        ] {
            assert_eq!(with_gpu_link(flags).links, [Link { to: 0, kind: LinkKind::Pcie, atomics }], "flags {flags}");
        }
    }

    #[test]
    fn a_machine_without_kfd_is_said_so() {
        let root = tempfile::tempdir().unwrap();
        let error = topology(root.path()).unwrap_err();
        assert!(matches!(error, TopologyError::NoKfd { .. }) && error.to_string().contains("amdgpu"));
    }
}
