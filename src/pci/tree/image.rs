//! Config-space images of bridges.

use crate::pci::registers as reg;
use crate::pci::{ConfigOffset, ConfigSpace, PortType};

/// Where the PCI Express capability of a built image stands, as on Intel's root ports.
const PCIE_CAPABILITY_AT: u16 = 0x90;

/// The bus numbers of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusNumbers {
    /// The bus the bridge is on.
    pub primary: u8,
    /// The bus right below it.
    pub secondary: u8,
    /// The highest bus below it.
    pub subordinate: u8,
}

/// Which AtomicOps to host memory a root port completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completers {
    /// None.
    Neither,
    /// 32-bit ones only.
    Only32,
    /// 64-bit ones only.
    Only64,
    /// 32-bit and 64-bit ones.
    Both,
}

/// Whether a port routes AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// It does.
    Supported,
    /// It does not.
    Unsupported,
}

/// Whether a port blocks AtomicOps that would leave through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressBlocking {
    /// It blocks them.
    Blocked,
    /// It lets them pass.
    Open,
}

/// A root port or switch port in the making. It starts out as one that carries AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeImage {
    vendor_id: u16,
    device_id: u16,
    port_type: PortType,
    buses: BusNumbers,
    capabilities_2: u32,
    control_2: u16,
}

impl BridgeImage {
    /// A root port with the identity of Intel's Xeon E5 v4 one (8086:6f08), which completes 32-bit and 64-bit AtomicOps and
    /// routes none between root ports.
    pub fn root_port(buses: BusNumbers) -> Self {
        Self::new((0x8086, 0x6f08), PortType::RootPort, buses).completers(Completers::Both)
    }

    /// The upstream port of a switch with the identity of PLX's PEX 8796, routing AtomicOps.
    pub fn switch_upstream(buses: BusNumbers) -> Self {
        Self::new((0x10b5, 0x8796), PortType::SwitchUpstream, buses).routing(Routing::Supported)
    }

    /// A downstream port of the same switch, routing AtomicOps.
    pub fn switch_downstream(buses: BusNumbers) -> Self {
        Self::new((0x10b5, 0x8796), PortType::SwitchDownstream, buses).routing(Routing::Supported)
    }

    /// With another vendor and device ID.
    pub fn identity(self, vendor_id: u16, device_id: u16) -> Self {
        Self { vendor_id, device_id, ..self }
    }

    /// With these completers.
    pub fn completers(self, completers: Completers) -> Self {
        let bits = match completers {
            Completers::Neither => 0,
            Completers::Only32 => reg::COMPLETER_32,
            Completers::Only64 => reg::COMPLETER_64,
            Completers::Both => reg::COMPLETER_32 | reg::COMPLETER_64,
        };
        Self { capabilities_2: self.capabilities_2 & !(reg::COMPLETER_32 | reg::COMPLETER_64) | bits, ..self }
    }

    /// With or without routing.
    pub fn routing(self, routing: Routing) -> Self {
        let bit = match routing {
            Routing::Supported => reg::ATOMIC_ROUTING,
            Routing::Unsupported => 0,
        };
        Self { capabilities_2: self.capabilities_2 & !reg::ATOMIC_ROUTING | bit, ..self }
    }

    /// With or without egress blocking.
    pub fn egress(self, egress: EgressBlocking) -> Self {
        let bit = match egress {
            EgressBlocking::Blocked => reg::EGRESS_BLOCK,
            EgressBlocking::Open => 0,
        };
        Self { control_2: self.control_2 & !reg::EGRESS_BLOCK | bit, ..self }
    }

    /// The 256 bytes of config space.
    pub fn build(self) -> ConfigSpace {
        let mut image = Image::new();
        let capability = ConfigOffset(PCIE_CAPABILITY_AT);
        image.u16(reg::VENDOR_ID, self.vendor_id);
        image.u16(reg::DEVICE_ID, self.device_id);
        // I/O space, memory space and bus master: a bridge forwards requests upstream only as bus master.
        image.u16(reg::COMMAND, 0x0003 | reg::COMMAND_BUS_MASTER);
        image.u16(reg::STATUS, reg::STATUS_CAPABILITIES_LIST);
        image.bytes(reg::CLASS_CODE, &[0x00, 0x04, 0x06]);
        image.bytes(reg::HEADER_TYPE, &[reg::LAYOUT_BRIDGE]);
        image.bytes(reg::PRIMARY_BUS, &[self.buses.primary, self.buses.secondary, self.buses.subordinate]);
        image.bytes(reg::CAPABILITIES_POINTER, &[PCIE_CAPABILITY_AT as u8]);
        image.capability(capability, reg::PCIE_CAP_ID, None);
        image.u16(capability + reg::PCIE_CAPABILITIES, u16::from(self.port_type.bits()) << 4 | 2);
        image.u32(capability + reg::DEVCAP2, self.capabilities_2);
        image.u16(capability + reg::DEVCTL2, self.control_2);
        image.finish()
    }

    fn new((vendor_id, device_id): (u16, u16), port_type: PortType, buses: BusNumbers) -> Self {
        Self { vendor_id, device_id, port_type, buses, capabilities_2: 0, control_2: 0 }
    }
}

/// 256 bytes being filled in.
pub(super) struct Image(Vec<u8>);

impl Image {
    pub(super) fn new() -> Self {
        Self(vec![0; ConfigSpace::CONVENTIONAL_SIZE])
    }

    pub(super) fn bytes(&mut self, at: ConfigOffset, bytes: &[u8]) {
        let start = usize::from(at.0);
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn u16(&mut self, at: ConfigOffset, value: u16) {
        self.bytes(at, &value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, at: ConfigOffset, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }

    /// The two bytes that every capability starts with: its ID and where the next one is.
    pub(super) fn capability(&mut self, at: ConfigOffset, id: u8, next: Option<ConfigOffset>) {
        self.bytes(at, &[id, next.map_or(0, |next| next.0 as u8)]);
    }

    pub(super) fn finish(self) -> ConfigSpace {
        ConfigSpace::from_bytes(self.0)
    }
}
