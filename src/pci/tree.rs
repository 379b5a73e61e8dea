//! Writes a sysfs-shaped directory, so that a device that exists in software only is audited and switched by the same code
//! as a real one.

mod endpoint;
mod image;

use super::registers as reg;
use super::{Bdf, ConfigOffset, ConfigSpace};
pub use endpoint::{ClassCode, EndpointImage, LinkSpeed};
pub use image::{BridgeImage, BusNumbers, Completers, EgressBlocking, Routing};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the file in the endpoint's directory that holds what the software device's fabric did with its AtomicOps.
pub const FABRIC_COUNTERS_FILE: &str = "aqlprobe_fabric";
/// Size of that file: seven little-endian 64-bit counters (performed, requester disabled, bus master disabled, unsupported
/// request, routing unsupported, egress blocked, not a PCIe operation).
pub const FABRIC_COUNTERS_SIZE: usize = 7 * 8;

/// Builds the path from a root port down to one endpoint. The functions are added from the top to the bottom.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    root: PathBuf,
    chain: Vec<(Bdf, ConfigSpace)>,
}

/// Why a tree cannot be written.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The chain has no function.
    #[error("a PCI tree needs at least one function")]
    Empty,
    /// Less than a header of a function is known.
    #[error("{bdf} has only {known} bytes of config space, its header needs 64")]
    NoHeader {
        /// The function.
        bdf: Bdf,
        /// Number of bytes given.
        known: usize,
    },
    /// A function is not where the bridge above it leads.
    #[error("{below} cannot be below the bridge {bridge}, which leads to bus {secondary:02x} and on to {subordinate:02x}")]
    BusNumbers {
        /// The bridge.
        bridge: Bdf,
        /// The function added below it.
        below: Bdf,
        /// The bridge's secondary bus.
        secondary: u8,
        /// The bridge's subordinate bus.
        subordinate: u8,
    },
    /// Something was added below a function that is no bridge, or a bridge is not on the bus its own registers name.
    #[error("{bdf} has no bridge header for bus {bus:02x}, so nothing can be below it", bus = bdf.bus)]
    NotABridge {
        /// The function.
        bdf: Bdf,
    },
    /// A directory, file or link cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The directory, file or link.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl TreeBuilder {
    /// Starts a tree in a directory, which [`TreeBuilder::write`] creates.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), chain: Vec::new() }
    }

    /// Adds the root port.
    pub fn root_port(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Adds a port of a switch below what was added last.
    pub fn switch_port(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Adds the endpoint below what was added last.
    pub fn endpoint(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Writes the directories and files. Config space is padded with zeroes to 256 bytes, or to 4096 where more than 256 are
    /// given.
    ///
    /// # Errors
    /// [`TreeError`] when the chain contradicts itself or something cannot be written.
    pub fn write(self) -> Result<(), TreeError> {
        self.check()?;
        let links = self.root.join("bus/pci/devices");
        create_dir(&links)?;
        let (top, _) = self.chain.first().ok_or(TreeError::Empty)?;
        let mut below_root = PathBuf::from("devices").join(format!("pci{:04x}:{:02x}", top.domain, top.bus));
        for (bdf, config) in &self.chain {
            below_root.push(bdf.to_string());
            let directory = self.root.join(&below_root);
            create_dir(&directory)?;
            write_function(&directory, config)?;
            let link = links.join(bdf.to_string());
            symlink(Path::new("../../..").join(&below_root), &link).map_err(|source| TreeError::Write { path: link, source })?;
        }
        write_file(self.root.join(below_root).join(FABRIC_COUNTERS_FILE), &[0; FABRIC_COUNTERS_SIZE])
    }

    fn below(mut self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.chain.push((bdf, config));
        self
    }

    fn check(&self) -> Result<(), TreeError> {
        for (bdf, config) in &self.chain {
            if config.known() < ConfigSpace::HEADER_SIZE {
                return Err(TreeError::NoHeader { bdf: *bdf, known: config.known() });
            }
        }
        self.chain.windows(2).try_for_each(|pair| check_link(&pair[0], &pair[1]))
    }
}

fn check_link((bridge, config): &(Bdf, ConfigSpace), (below, _): &(Bdf, ConfigSpace)) -> Result<(), TreeError> {
    let number = |at: ConfigOffset| config.u8(at).unwrap_or(0);
    let (secondary, subordinate) = (number(reg::SECONDARY_BUS), number(reg::SUBORDINATE_BUS));
    if config.header_layout() != Some(reg::LAYOUT_BRIDGE) || number(reg::PRIMARY_BUS) != bridge.bus {
        return Err(TreeError::NotABridge { bdf: *bridge });
    }
    if below.domain != bridge.domain || below.bus != secondary || subordinate < secondary || secondary <= bridge.bus {
        return Err(TreeError::BusNumbers { bridge: *bridge, below: *below, secondary, subordinate });
    }
    Ok(())
}

fn write_function(directory: &Path, config: &ConfigSpace) -> Result<(), TreeError> {
    let size =
        if config.known() > ConfigSpace::CONVENTIONAL_SIZE { ConfigSpace::EXTENDED_SIZE } else { ConfigSpace::CONVENTIONAL_SIZE };
    let mut bytes = config.bytes().to_vec();
    bytes.resize(size, 0);
    let word = |at| config.u16(at).unwrap_or(0);
    let class = config.bytes().get(usize::from(reg::CLASS_CODE.0)..).unwrap_or(&[]);
    let class = class.iter().take(3).rev().fold(0_u32, |class, byte| class << 8 | u32::from(*byte));
    write_file(directory.join("config"), &bytes)?;
    write_file(directory.join("vendor"), format!("0x{:04x}\n", word(reg::VENDOR_ID)).as_bytes())?;
    write_file(directory.join("device"), format!("0x{:04x}\n", word(reg::DEVICE_ID)).as_bytes())?;
    write_file(directory.join("class"), format!("0x{class:06x}\n").as_bytes())?;
    write_file(directory.join("revision"), format!("0x{:02x}\n", config.u8(reg::REVISION_ID).unwrap_or(0)).as_bytes())
}

fn create_dir(path: &Path) -> Result<(), TreeError> {
    fs::create_dir_all(path).map_err(|source| TreeError::Write { path: path.to_owned(), source })
}

fn write_file(path: PathBuf, bytes: &[u8]) -> Result<(), TreeError> {
    fs::write(&path, bytes).map_err(|source| TreeError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::path::{self, Delivery};
    use crate::pci::sysfs::{SysfsError, SysfsRoot};
    use crate::pci::{Completeness, HopRole, PortType, dump};

    const FIJI_AFTER: &str = include_str!("../../tests/data/lspci/02-fiji-after.txt");
    const FIJI_4K: &str = include_str!("../../tests/data/lspci/03-fiji-xxxx.txt");

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    fn buses(primary: u8, secondary: u8, subordinate: u8) -> BusNumbers {
        BusNumbers { primary, secondary, subordinate }
    }

    fn fiji(text: &str) -> ConfigSpace {
        dump::read(text).unwrap().remove(0).config
    }

    fn behind_root_port(root: &Path, secondary: u8) -> TreeBuilder {
        TreeBuilder::new(root)
            .root_port(bdf("00:03.0"), BridgeImage::root_port(buses(0, secondary, 0x0b)).build())
            .endpoint(bdf("0b:00.0"), fiji(FIJI_AFTER))
    }

    #[test]
    fn a_written_tree_is_read_back_by_the_reader_of_sysfs() {
        let directory = tempfile::tempdir().unwrap();
        behind_root_port(directory.path(), 0x0b).write().unwrap();
        let root = SysfsRoot::new(directory.path());
        assert_eq!(root.amd_display_functions().unwrap(), [bdf("0b:00.0")]);
        let hierarchy = root.hierarchy(&bdf("0b:00.0")).unwrap();
        let roles: Vec<HopRole> = hierarchy.hops.iter().map(|hop| hop.role).collect();
        assert_eq!(roles, [HopRole::Pcie(PortType::RootPort), HopRole::Pcie(PortType::LegacyEndpoint)]);
        assert_eq!(hierarchy.completeness, Completeness::Whole);
        assert_eq!(path::judge(&hierarchy).delivery, Delivery::Delivered);
        assert!(hierarchy.hops[1].name.contains("Fiji"), "{}", hierarchy.hops[1].name);
    }

    #[test]
    fn switches_stand_between_root_port_and_endpoint() {
        let directory = tempfile::tempdir().unwrap();
        TreeBuilder::new(directory.path())
            .root_port(bdf("00:03.0"), BridgeImage::root_port(buses(0, 1, 3)).build())
            .switch_port(bdf("01:00.0"), BridgeImage::switch_upstream(buses(1, 2, 3)).build())
            .switch_port(bdf("02:08.0"), BridgeImage::switch_downstream(buses(2, 3, 3)).routing(Routing::Unsupported).build())
            .endpoint(bdf("03:00.0"), fiji(FIJI_AFTER))
            .write()
            .unwrap();
        let hierarchy = SysfsRoot::new(directory.path()).hierarchy(&bdf("03:00.0")).unwrap();
        let addresses: Vec<String> = hierarchy.hops.iter().map(|hop| hop.bdf.short()).collect();
        assert_eq!(addresses, ["00:03.0", "01:00.0", "02:08.0", "03:00.0"]);
        assert_eq!(path::judge(&hierarchy).first_bad_hop(), Some(bdf("02:08.0")));
    }

    #[test]
    fn files_are_those_of_sysfs() {
        let directory = tempfile::tempdir().unwrap();
        behind_root_port(directory.path(), 0x0b).write().unwrap();
        let device = SysfsRoot::new(directory.path()).device_dir(&bdf("0b:00.0"));
        let text = |name: &str| fs::read_to_string(device.join(name)).unwrap();
        assert_eq!(
            [text("vendor"), text("device"), text("class"), text("revision")],
            ["0x1002\n", "0x7300\n", "0x030000\n", "0xc1\n"]
        );
        assert_eq!(fs::read(device.join("config")).unwrap(), fiji(FIJI_AFTER).bytes());
        assert_eq!(fs::read(device.join(FABRIC_COUNTERS_FILE)).unwrap(), [0; 56]);
        assert!(fs::read_link(&device).unwrap().is_relative());
    }

    #[test]
    fn config_space_has_4096_bytes_only_where_more_than_256_are_given() {
        let directory = tempfile::tempdir().unwrap();
        let cut = ConfigSpace::from_bytes(fiji(FIJI_4K).bytes()[..0x170].to_vec());
        TreeBuilder::new(directory.path()).endpoint(bdf("09:00.0"), cut).write().unwrap();
        let config = fs::read(SysfsRoot::new(directory.path()).config_file(&bdf("09:00.0"))).unwrap();
        assert_eq!((config.len(), &config[0x170..]), (4096, &[0; 4096 - 0x170][..]));
    }

    #[test]
    fn a_chain_that_contradicts_its_bus_numbers_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert!(matches!(behind_root_port(root, 0x0a).write(), Err(TreeError::BusNumbers { secondary: 0x0a, .. })));
        let upside_down =
            TreeBuilder::new(root).endpoint(bdf("0b:00.0"), fiji(FIJI_AFTER)).endpoint(bdf("0c:00.0"), fiji(FIJI_AFTER));
        assert!(matches!(upside_down.write(), Err(TreeError::NotABridge { .. })));
        assert!(matches!(TreeBuilder::new(root).write(), Err(TreeError::Empty)));
        let nothing = TreeBuilder::new(root).endpoint(bdf("0b:00.0"), ConfigSpace::from_bytes(Vec::new()));
        assert!(matches!(nothing.write(), Err(TreeError::NoHeader { known: 0, .. })));
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        behind_root_port(directory.path(), 0x0b).write().unwrap();
        let error = SysfsRoot::new(directory.path()).hierarchy(&bdf("0c:00.0")).unwrap_err();
        assert!(matches!(error, SysfsError::DeviceAbsent { .. }) && error.to_string().contains("0000:0c:00.0"));
        let no_bus = SysfsRoot::new(directory.path().join("nowhere")).amd_display_functions();
        assert!(matches!(no_bus, Err(SysfsError::NoPciBus { .. })));
    }

    #[test]
    fn a_reader_without_privileges_is_told_to_run_as_root() {
        let directory = tempfile::tempdir().unwrap();
        behind_root_port(directory.path(), 0x0b).write().unwrap();
        let root = SysfsRoot::new(directory.path());
        for address in ["00:03.0", "0b:00.0"] {
            let file = root.config_file(&bdf(address));
            fs::write(&file, &fs::read(&file).unwrap()[..64]).unwrap();
        }
        let verdict = path::judge(&root.hierarchy(&bdf("0b:00.0")).unwrap());
        assert_eq!(verdict.delivery, Delivery::Unknown);
        assert!(verdict.findings.iter().all(|finding| finding.fix.advice == "Run as root."));
    }

    #[test]
    fn built_images_say_what_they_were_asked_to_say() {
        let upstream = BridgeImage::switch_upstream(buses(1, 2, 3)).egress(EgressBlocking::Blocked).build();
        let capability = upstream.pcie_capability().unwrap().unwrap();
        assert_eq!((capability.port_type, capability.version), (PortType::SwitchUpstream, Some(2)));
        assert_eq!(upstream.u32(capability.devcap2().unwrap()), Some(0x40));
        assert_eq!(upstream.u16(capability.devctl2().unwrap()), Some(0x80));
        let root_port = BridgeImage::root_port(buses(0, 0x0b, 0x0b)).build();
        let capability = root_port.pcie_capability().unwrap().unwrap();
        assert_eq!(root_port.u32(capability.devcap2().unwrap()), Some(0x180));
        assert_eq!(root_port.bytes()[0x18..0x1b], [0, 0x0b, 0x0b]);
    }
}
