//! The machines that the software GPU lives in: the Fiji of the founding experiment, the GPUs that it is under AMD's runtime,
//! or one out of a dump, each behind a completing root port.

use std::path::Path;

use crate::faults::BlockedHop;
use crate::model::target::Target;
use crate::pci::dump::DumpedFunction;
use crate::pci::tree::{
    BridgeImage, BusNumbers, ClassCode, Completers, EgressBlocking, EndpointImage, LinkSpeed, Routing, TreeBuilder, TreeError,
};
use crate::pci::{Bdf, CapabilityError, ConfigOffset, ConfigSpace, PortType, registers as reg};

/// Where the founding device sits.
pub const ENDPOINT: Bdf = Bdf { domain: 0, bus: 0x0b, device: 0, function: 0 };

/// The founding device's config space before AtomicOps were enabled: Fiji (1002:7300) in a KVM host, as published in the
/// ROCm/amdgpu issue tracker (issue 26, 2017). Device Control 2 is at 0x80 and all zero.
pub const FIJI_CONFIG: [u8; 256] = {
    let mut config = [0; 256];
    let rows: [(usize, [u8; 16]); 10] = [
        (0x00, [0x02, 0x10, 0x00, 0x73, 0x07, 0x05, 0x10, 0x00, 0xc1, 0x00, 0x00, 0x03, 0x10, 0x00, 0x80, 0x00]),
        (0x10, [0x0c, 0x00, 0x00, 0xe0, 0xff, 0x2f, 0x00, 0x00, 0x0c, 0x00, 0x00, 0xf0, 0xff, 0x2f, 0x00, 0x00]),
        (0x20, [0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0xc7, 0x00, 0x00, 0x00, 0x00, 0x02, 0x10, 0x35, 0x0b]),
        (0x30, [0x00, 0x00, 0xfe, 0xff, 0x48, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0b, 0x01, 0x00, 0x00]),
        (0x40, [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, 0x50, 0x08, 0x00, 0x02, 0x10, 0x35, 0x0b]),
        (0x50, [0x01, 0x58, 0x03, 0xf6, 0x08, 0x00, 0x00, 0x00, 0x10, 0xa0, 0x12, 0x00, 0xa1, 0x8f, 0x00, 0x00]),
        (0x60, [0x2c, 0x28, 0x00, 0x00, 0x03, 0x0d, 0x40, 0x08, 0x00, 0x00, 0x01, 0x11, 0x00, 0x00, 0x00, 0x00]),
        (0x70, [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x70, 0x00]),
        (0x80, [0x00, 0x00, 0x00, 0x00, 0x0e, 0x00, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00]),
        (0xa0, [0x05, 0x00, 0x81, 0x00, 0x98, 0x03, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]),
    ];
    let mut row = 0;
    while row < rows.len() {
        let (start, bytes) = &rows[row];
        let mut column = 0;
        while column < bytes.len() {
            config[*start + column] = bytes[column];
            column += 1;
        }
        row += 1;
    }
    config
};

/// An Instinct MI300X (`lspci` of one: a processing accelerator, PCI Express endpoint, 32 GT/s).
const MI300X: EndpointImage = EndpointImage {
    id: (AMD, 0x74a1),
    revision: 0x00,
    class: ClassCode::PROCESSING_ACCELERATOR,
    port_type: PortType::Endpoint,
    link: LinkSpeed::Gt32,
};

/// A Radeon RX 7900 XTX (a VGA controller, legacy endpoint, 16 GT/s).
const NAVI_31: EndpointImage = EndpointImage {
    id: (AMD, 0x744c),
    revision: 0xc8,
    class: ClassCode::VGA,
    port_type: PortType::LegacyEndpoint,
    link: LinkSpeed::Gt16,
};

const AMD: u16 = 0x1002;
const DISPLAY_CONTROLLER: u8 = 0x03;
const PROCESSING_ACCELERATOR: u8 = 0x12;
/// The base class is the last of the three bytes of the class code.
const BASE_CLASS: ConfigOffset = ConfigOffset(reg::CLASS_CODE.0 + 2);

/// What the modelled function looks like in config space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuImage {
    /// The founding Fiji, at [`ENDPOINT`].
    Founding,
    /// An Instinct MI300X, at [`ENDPOINT`], AtomicOp Requester Enable clear.
    Mi300x,
    /// A Radeon RX 7900 XTX, at [`ENDPOINT`], AtomicOp Requester Enable clear.
    Navi31,
    /// A function out of a dump, at the dump's own address.
    Replay(DumpedFunction),
}

impl GpuImage {
    /// Where the device will be.
    #[must_use]
    pub fn endpoint(&self) -> Bdf {
        match self {
            Self::Founding | Self::Mi300x | Self::Navi31 => ENDPOINT,
            Self::Replay(dumped) => dumped.bdf,
        }
    }
}

impl From<Target> for GpuImage {
    /// The GPU that stands for a target.
    fn from(target: Target) -> Self {
        match target {
            Target::Gfx803 => Self::Founding,
            Target::Gfx942 => Self::Mi300x,
            Target::Gfx1100 => Self::Navi31,
        }
    }
}

/// Why a dumped function cannot be replayed, or the tree not be written.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// Not one of AMD's GPUs.
    #[error("{bdf} is not an AMD GPU: vendor {}, base class {}", hex(*vendor), hex(*base_class))]
    NotAnAmdGpu {
        /// The dumped function.
        bdf: Bdf,
        /// Its vendor ID; `None` when the dump does not have it.
        vendor: Option<u16>,
        /// Its base class; `None` when the dump does not have it.
        base_class: Option<u16>,
    },
    /// On bus 0 there is no root port above it to complete AtomicOps.
    #[error("{0} is on the root bus: a function there has no root port above it; replay a dump of a GPU behind one")]
    OnRootBus(Bdf),
    /// The PCI Express capability cannot be found in the dump.
    #[error("{bdf}: its PCI Express capability cannot be read from the dump: {source}")]
    Capability {
        /// The dumped function.
        bdf: Bdf,
        /// Why not.
        #[source]
        source: CapabilityError,
    },
    /// The function has none.
    #[error("{0} has no PCI Express capability, so it cannot send AtomicOps at all (a GPU behind a conventional PCI bridge?)")]
    NoCapability(Bdf),
    /// Not an endpoint.
    #[error("{bdf} is a {port_type}, not an endpoint")]
    NotAnEndpoint {
        /// The dumped function.
        bdf: Bdf,
        /// What it is.
        port_type: PortType,
    },
    /// The register with AtomicOp Requester Enable is not in the dump.
    #[error("{bdf}: the dump has {known} bytes and stops before Device Control 2; make it as root with `lspci -xxx`")]
    TooShort {
        /// The dumped function.
        bdf: Bdf,
        /// Bytes in the dump.
        known: usize,
    },
    /// A version 1 capability, which has no Device Control 2.
    #[error("{0} has a version 1 PCI Express capability, which has no AtomicOp Requester Enable")]
    VersionOne(Bdf),
    /// A switch is asked for, and the buses above the endpoint are too few.
    #[error("{0} is too close to the root bus for a switch above it")]
    NoRoomForSwitch(Bdf),
    /// The files cannot be written.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

fn hex(value: Option<u16>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("0x{value:04x}"))
}

/// Writes the sysfs-shaped tree that the device lives in: the function behind a root port that completes 32-bit and 64-bit
/// AtomicOps.
///
/// # Errors
/// The dumped function cannot stand behind a root port as a GPU, or a file cannot be written.
pub fn write_tree(dir: &Path, gpu: GpuImage) -> Result<(), FoundingError> {
    write_blocked_tree(dir, gpu, None)
}

/// As [`write_tree`], with a hop in the way of AtomicOps. Where it is a port of a switch, there is a switch.
///
/// # Errors
/// As [`write_tree`], and when the bus numbers leave no room for a switch.
pub fn write_blocked_tree(dir: &Path, gpu: GpuImage, blocked: Option<BlockedHop>) -> Result<(), FoundingError> {
    let endpoint = gpu.endpoint();
    let config = match gpu {
        GpuImage::Founding => ConfigSpace::from_bytes(FIJI_CONFIG.to_vec()),
        GpuImage::Mi300x => MI300X.build(),
        GpuImage::Navi31 => NAVI_31.build(),
        GpuImage::Replay(dumped) => {
            check(&dumped)?;
            dumped.config
        }
    };
    let root_port = Bdf { domain: endpoint.domain, bus: 0, device: 3, function: 0 };
    let completers = match blocked {
        Some(BlockedHop::RootPort) => Completers::Neither,
        Some(BlockedHop::RootPort64) => Completers::Only32,
        _ => Completers::Both,
    };
    let buses = |primary, secondary| BusNumbers { primary, secondary, subordinate: endpoint.bus };
    let tree = TreeBuilder::new(dir);
    let tree = match blocked.and_then(SwitchFlaws::of) {
        None => {
            let port = BridgeImage::root_port(buses(root_port.bus, endpoint.bus)).completers(completers).build();
            tree.root_port(root_port, port)
        }
        Some(flaws) => {
            // The switch's two buses lie between the root bus and the endpoint's.
            let upstream_bus = endpoint.bus.checked_sub(2).filter(|bus| *bus > root_port.bus);
            let upstream_bus = upstream_bus.ok_or(FoundingError::NoRoomForSwitch(endpoint))?;
            let at = |bus| Bdf { domain: endpoint.domain, bus, device: 0, function: 0 };
            let port = BridgeImage::root_port(buses(root_port.bus, upstream_bus)).completers(completers).build();
            let upstream = BridgeImage::switch_upstream(buses(upstream_bus, upstream_bus + 1));
            let downstream = BridgeImage::switch_downstream(buses(upstream_bus + 1, endpoint.bus));
            tree.root_port(root_port, port)
                .switch_port(at(upstream_bus), upstream.routing(flaws.upstream).egress(flaws.egress).build())
                .switch_port(at(upstream_bus + 1), downstream.routing(flaws.downstream).build())
        }
    };
    tree.endpoint(endpoint, config).write()?;
    Ok(())
}

/// What is wrong with a switch.
#[derive(Clone, Copy)]
struct SwitchFlaws {
    upstream: Routing,
    downstream: Routing,
    egress: EgressBlocking,
}

impl SwitchFlaws {
    /// The switch that has this flaw; `None` where it is none of a switch's.
    const fn of(blocked: BlockedHop) -> Option<Self> {
        let sound = Self { upstream: Routing::Supported, downstream: Routing::Supported, egress: EgressBlocking::Open };
        match blocked {
            BlockedHop::SwitchDownstreamRouting => Some(Self { downstream: Routing::Unsupported, ..sound }),
            BlockedHop::SwitchUpstreamRouting => Some(Self { upstream: Routing::Unsupported, ..sound }),
            BlockedHop::SwitchUpstreamEgress => Some(Self { egress: EgressBlocking::Blocked, ..sound }),
            BlockedHop::Endpoint | BlockedHop::RootPort | BlockedHop::RootPort64 => None,
        }
    }
}

fn check(dumped: &DumpedFunction) -> Result<(), FoundingError> {
    let (bdf, config) = (dumped.bdf, &dumped.config);
    let vendor = config.u16(reg::VENDOR_ID);
    let base_class = config.u8(BASE_CLASS);
    if vendor != Some(AMD) || !matches!(base_class, Some(DISPLAY_CONTROLLER | PROCESSING_ACCELERATOR)) {
        return Err(FoundingError::NotAnAmdGpu { bdf, vendor, base_class: base_class.map(u16::from) });
    }
    if bdf.bus == 0 {
        return Err(FoundingError::OnRootBus(bdf));
    }
    let capability = config
        .pcie_capability()
        .map_err(|source| FoundingError::Capability { bdf, source })?
        .ok_or(FoundingError::NoCapability(bdf))?;
    let port_type = capability.port_type;
    if !matches!(port_type, PortType::Endpoint | PortType::LegacyEndpoint) {
        return Err(FoundingError::NotAnEndpoint { bdf, port_type });
    }
    let device_control_2 = capability.devctl2().ok_or(FoundingError::VersionOne(bdf))?;
    if config.u16(device_control_2).is_none() {
        return Err(FoundingError::TooShort { bdf, known: config.known() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bus::{Admission, Fabric, OperandWidth, RmwOp};
    use crate::model::fabric::PciPath;
    use crate::pci::dump;
    use crate::pci::sysfs::SysfsRoot;

    fn fiji() -> ConfigSpace {
        ConfigSpace::from_bytes(FIJI_CONFIG.to_vec())
    }

    fn dumped(bdf: &str, change: impl FnOnce(&mut Vec<u8>)) -> GpuImage {
        let mut bytes = FIJI_CONFIG.to_vec();
        change(&mut bytes);
        let config = ConfigSpace::from_bytes(bytes);
        GpuImage::Replay(DumpedFunction { bdf: bdf.parse().unwrap(), description: String::new(), config, repairs: Vec::new() })
    }

    #[test]
    fn the_founding_function_is_a_legacy_endpoint_whose_requester_enable_is_clear() {
        let config = fiji();
        assert_eq!((config.u16(reg::VENDOR_ID), config.u16(reg::DEVICE_ID)), (Some(0x1002), Some(0x7300)));
        let capability = config.pcie_capability().unwrap().unwrap();
        assert_eq!(
            (capability.offset, capability.version, capability.port_type),
            (ConfigOffset(0x58), Some(2), PortType::LegacyEndpoint)
        );
        assert_eq!(config.u32(capability.offset + reg::DEVCAP2), Some(0x0070_0000));
        assert_eq!(capability.devctl2(), Some(ConfigOffset(0x80)));
        assert_eq!(config.u16(ConfigOffset(0x80)), Some(0));
    }

    #[test]
    fn only_a_gpu_endpoint_behind_a_bus_can_be_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |image| write_tree(folder.path(), image).unwrap_err();
        assert!(matches!(refused(dumped("00:02.0", |_| {})), FoundingError::OnRootBus(_)));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes[0] = 0x86)), FoundingError::NotAnAmdGpu { .. }));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes[0x0b] = 0x04)), FoundingError::NotAnAmdGpu { .. }));
        assert!(matches!(refused(dumped("0b:00.0", Vec::clear)), FoundingError::NotAnAmdGpu { vendor: None, .. }));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes.truncate(64))), FoundingError::Capability { .. }));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes.truncate(0x80))), FoundingError::TooShort { known: 0x80, .. }));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes[0x5a] = 0x11)), FoundingError::VersionOne(_)));
        assert!(matches!(refused(dumped("0b:00.0", |bytes| bytes[0x06] = 0)), FoundingError::NoCapability(_)));
        let switch = refused(dumped("0b:00.0", |bytes| bytes[0x5a] = 0x52));
        assert!(matches!(switch, FoundingError::NotAnEndpoint { port_type: PortType::SwitchUpstream, .. }));
    }

    #[test]
    fn the_founding_tree_drops_atomic_ops_until_setpci_enables_the_requester() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path(), GpuImage::Founding).unwrap();
        let root = SysfsRoot::new(folder.path());
        assert_eq!(std::fs::read(root.config_file(&ENDPOINT)).unwrap(), FIJI_CONFIG);
        let path = PciPath::open(&root, &ENDPOINT).unwrap();
        assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Dropped);
        drop(path);
        let mut enabled = FIJI_CONFIG;
        enabled[0x80] = 0x40;
        std::fs::write(root.config_file(&ENDPOINT), enabled).unwrap();
        let path = PciPath::open(&root, &ENDPOINT).unwrap();
        for width in [OperandWidth::Bits32, OperandWidth::Bits64] {
            assert_eq!(path.admit(RmwOp::Add, width), Admission::Performed);
        }
        assert!(root.device_dir(&ENDPOINT).join(crate::pci::tree::FABRIC_COUNTERS_FILE).is_file());
    }

    #[test]
    fn each_target_presents_itself_as_the_gpu_it_models_and_is_found_as_amds() {
        for (target, device_id, class) in [(Target::Gfx942, 0x74a1, 0x12), (Target::Gfx1100, 0x744c, 0x03)] {
            let folder = tempfile::tempdir().unwrap();
            write_tree(folder.path(), GpuImage::from(target)).unwrap();
            let root = SysfsRoot::new(folder.path());
            assert_eq!(root.amd_display_functions().unwrap(), [ENDPOINT]);
            let bytes = std::fs::read(root.config_file(&ENDPOINT)).unwrap();
            let config = ConfigSpace::from_bytes(bytes.clone());
            assert_eq!((config.u16(reg::DEVICE_ID), config.u8(BASE_CLASS)), (Some(device_id), Some(class)));
            let path = PciPath::open(&root, &ENDPOINT).unwrap();
            assert!(path.bus_master());
            assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Dropped, "{target}");
            drop(path);
            let mut enabled = bytes;
            enabled[0x64 + 0x28] |= 0x40;
            std::fs::write(root.config_file(&ENDPOINT), enabled).unwrap();
            let path = PciPath::open(&root, &ENDPOINT).unwrap();
            assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Performed, "{target}");
        }
    }

    #[test]
    fn a_blocked_hop_is_in_config_space_and_stops_atomic_ops_for_its_own_reason() {
        use crate::model::fabric::FabricCounters;
        let counted = |blocked, width| {
            let folder = tempfile::tempdir().unwrap();
            write_blocked_tree(folder.path(), dumped("0b:00.0", |bytes| bytes[0x80] = 0x40), Some(blocked)).unwrap();
            let path = PciPath::open(&SysfsRoot::new(folder.path()), &ENDPOINT).unwrap();
            let _ = path.admit(RmwOp::Add, width);
            path.counters()
        };
        let none = FabricCounters::default();
        let routing = FabricCounters { routing_unsupported: 1, ..none };
        let unsupported = FabricCounters { unsupported_request: 1, ..none };
        for (blocked, counters) in [
            (BlockedHop::SwitchDownstreamRouting, routing),
            (BlockedHop::SwitchUpstreamRouting, routing),
            (BlockedHop::SwitchUpstreamEgress, FabricCounters { egress_blocked: 1, ..none }),
            (BlockedHop::RootPort, unsupported),
            (BlockedHop::RootPort64, unsupported),
        ] {
            assert_eq!(counted(blocked, OperandWidth::Bits64), counters, "{blocked}");
        }
        let performed = FabricCounters { performed: 1, ..none };
        assert_eq!(counted(BlockedHop::RootPort64, OperandWidth::Bits32), performed);
        let folder = tempfile::tempdir().unwrap();
        let close = write_blocked_tree(folder.path(), dumped("02:00.0", |_| ()), Some(BlockedHop::SwitchUpstreamEgress));
        assert!(matches!(close, Err(FoundingError::NoRoomForSwitch(_))));
    }

    #[test]
    fn a_replayed_function_keeps_its_address_and_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let image = dumped("0002:43:00.0", |bytes| bytes[0x80] = 0x40);
        let endpoint = image.endpoint();
        write_tree(folder.path(), image).unwrap();
        let root = SysfsRoot::new(folder.path());
        let hierarchy = root.hierarchy(&endpoint).unwrap();
        let hops: Vec<String> = hierarchy.hops.iter().map(|hop| hop.bdf.to_string()).collect();
        assert_eq!(hops, ["0002:00:03.0", "0002:43:00.0"]);
        let path = PciPath::open(&root, &endpoint).unwrap();
        assert_eq!(path.admit(RmwOp::Swap, OperandWidth::Bits32), Admission::Performed);
    }

    #[test]
    fn dumps_of_real_gpus_replay_with_the_requester_enable_they_were_taken_with() {
        for (text, address, admission) in [
            (include_str!("../../tests/data/lspci/01-fiji-before.txt"), "0000:0b:00.0", Admission::Dropped),
            (include_str!("../../tests/data/lspci/02-fiji-after.txt"), "0000:0b:00.0", Admission::Performed),
            (include_str!("../../tests/data/lspci/03-fiji-xxxx.txt"), "0000:09:00.0", Admission::Performed),
            (include_str!("../../tests/data/lspci/08-navi10-xxxx.txt"), "0000:28:00.0", Admission::Performed),
        ] {
            let [function] = dump::read(text).unwrap().try_into().unwrap();
            let image = GpuImage::Replay(function);
            let endpoint = image.endpoint();
            assert_eq!(endpoint.to_string(), address);
            let folder = tempfile::tempdir().unwrap();
            write_tree(folder.path(), image).unwrap();
            let path = PciPath::open(&SysfsRoot::new(folder.path()), &endpoint).unwrap();
            assert!(path.bus_master(), "{address}");
            assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), admission, "{address}");
        }
    }

    #[test]
    fn the_founding_bytes_are_those_of_the_published_dump() {
        let [published] = dump::read(include_str!("../../tests/data/lspci/01-fiji-before.txt")).unwrap().try_into().unwrap();
        assert_eq!((published.bdf, published.config.bytes()), (ENDPOINT, FIJI_CONFIG.as_slice()));
    }
}
