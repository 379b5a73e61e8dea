//! The PCIe path from the device to host memory, decided on live config space.
//!
//! Each AtomicOp of the device asks [`PciPath`], which looks at the bits as they are at that moment: someone may switch them while
//! kernels run. The rule is the PCI Express Base Specification's (6.15 and 7.5.3.15-16): the requester must be enabled and bus
//! master, every switch port on the way must route AtomicOps, no upstream port may block them at its egress, and the root
//! port must complete the operand's width. Plain reads and writes need none of that.

use std::path::{Path, PathBuf};

use super::bus::{Admission, Fabric, OperandWidth, RmwOp};
use super::live_config::{LiveConfig, LiveCounters, LiveFileError};
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use crate::pci::tree::FABRIC_COUNTERS_FILE;
use crate::pci::{Bdf, CapabilityError, ConfigOffset, ConfigSpace, PcieCapability, PortType, registers as reg};
use std::os::unix::fs::FileExt;

/// Why an AtomicOp to host memory was dropped, in the order in which it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// PCIe has FetchAdd, Swap and CAS only (6.15.2).
    NotAPcieOperation,
    /// The endpoint's Command register lacks Bus Master Enable.
    BusMasterDisabled,
    /// The endpoint's Device Control 2 lacks AtomicOp Requester Enable.
    RequesterDisabled,
    /// A switch port does not route AtomicOps, or a bridge of another kind stands in the way.
    RoutingUnsupported,
    /// A switch's upstream port blocks AtomicOps that leave through it.
    EgressBlocked,
    /// The root port does not complete this width, or there is no root port to complete anything.
    UnsupportedRequest,
}

impl DropReason {
    const fn counter(self) -> usize {
        match self {
            Self::RequesterDisabled => 1,
            Self::BusMasterDisabled => 2,
            Self::UnsupportedRequest => 3,
            Self::RoutingUnsupported => 4,
            Self::EgressBlocked => 5,
            Self::NotAPcieOperation => 6,
        }
    }
}

const PERFORMED: usize = 0;
const COUNTERS: usize = 7;

/// How many AtomicOps to host memory were performed, and how many dropped for which reason, since the device started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FabricCounters {
    /// Performed by the root complex.
    pub performed: u64,
    /// Dropped: [`DropReason::RequesterDisabled`].
    pub requester_disabled: u64,
    /// Dropped: [`DropReason::BusMasterDisabled`].
    pub bus_master_disabled: u64,
    /// Dropped: [`DropReason::UnsupportedRequest`].
    pub unsupported_request: u64,
    /// Dropped: [`DropReason::RoutingUnsupported`].
    pub routing_unsupported: u64,
    /// Dropped: [`DropReason::EgressBlocked`].
    pub egress_blocked: u64,
    /// Dropped: [`DropReason::NotAPcieOperation`].
    pub not_a_pcie_operation: u64,
}

impl FabricCounters {
    /// From the counters in the order of their file, which is that of the fields.
    #[must_use]
    pub const fn from_file_order(counters: [u64; COUNTERS]) -> Self {
        let [
            performed,
            requester_disabled,
            bus_master_disabled,
            unsupported_request,
            routing_unsupported,
            egress_blocked,
            not_a_pcie_operation,
        ] = counters;
        Self {
            performed,
            requester_disabled,
            bus_master_disabled,
            unsupported_request,
            routing_unsupported,
            egress_blocked,
            not_a_pcie_operation,
        }
    }

    /// The counters in the order of their file.
    #[must_use]
    pub const fn in_file_order(&self) -> [u64; COUNTERS] {
        [
            self.performed,
            self.requester_disabled,
            self.bus_master_disabled,
            self.unsupported_request,
            self.routing_unsupported,
            self.egress_blocked,
            self.not_a_pcie_operation,
        ]
    }
}

/// Why the path cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The tree does not hold the device.
    #[error(transparent)]
    Tree(#[from] SysfsError),
    /// A config space or the counters cannot be mapped.
    #[error(transparent)]
    File(#[from] LiveFileError),
    /// A config space cannot be read for its capabilities.
    #[error("cannot read {}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A capability list is broken.
    #[error("config space in {}: {source}", path.display())]
    Capability {
        /// The file.
        path: PathBuf,
        /// What is wrong with the list.
        #[source]
        source: CapabilityError,
    },
}

/// One function's live config space and where in it the registers are that decide.
#[derive(Debug)]
struct Function {
    config: LiveConfig,
    capability: Option<PcieCapability>,
}

impl Function {
    fn open(path: &Path) -> Result<Self, PathError> {
        let bytes = std::fs::read(path).map_err(|source| PathError::Config { path: path.to_owned(), source })?;
        let capability = ConfigSpace::from_bytes(bytes)
            .pcie_capability()
            .map_err(|source| PathError::Capability { path: path.to_owned(), source })?;
        Ok(Self { config: LiveConfig::open(path)?, capability })
    }

    fn port_type(&self) -> Option<PortType> {
        self.capability.map(|capability| capability.port_type)
    }

    /// Whether a bit of the first two bytes of a register is set; never for a register that the function does not have.
    #[inline]
    fn bit(&self, register: Option<ConfigOffset>, mask: u32) -> bool {
        let Some(ConfigOffset(at)) = register else { return false };
        let value = [self.config.byte(ConfigOffset(at)), self.config.byte(ConfigOffset(at.saturating_add(1)))];
        u32::from(u16::from_le_bytes(value)) & mask != 0
    }

    #[inline]
    fn can(&self, device_capabilities_2: u32) -> bool {
        self.bit(self.capability.and_then(|capability| capability.devcap2()), device_capabilities_2)
    }

    #[inline]
    fn is_told_to(&self, device_control_2: u16) -> bool {
        self.bit(self.capability.and_then(|capability| capability.devctl2()), u32::from(device_control_2))
    }
}

/// The device's way to host memory.
#[derive(Debug)]
pub struct PciPath {
    endpoint: Function,
    /// What lies between the endpoint and the root port, the endpoint's neighbour first.
    bridges: Vec<Function>,
    /// `None` where the device sits on the root bus: then no completer can be found by PCIe means, and AtomicOps end in
    /// Unsupported Request.
    root_port: Option<Function>,
    counters: LiveCounters<COUNTERS>,
    requests: Requests,
    endpoint_file: PathBuf,
}

/// Whether the endpoint minds its own AtomicOp Requester Enable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// As the bit says.
    AsEnabled,
    /// It sends none, whatever the bit says: a broken device.
    Never,
}

impl PciPath {
    /// Maps the config space of a device and of every function above it in a sysfs-shaped tree, and creates the counters' file.
    ///
    /// # Errors
    /// The tree lacks the device, a file cannot be mapped, or a capability list is broken.
    pub fn open(root: &SysfsRoot, endpoint: &Bdf) -> Result<Self, PathError> {
        let hierarchy = root.hierarchy(endpoint)?;
        let above: Vec<PathBuf> =
            hierarchy.hops.iter().rev().filter(|hop| hop.bdf != *endpoint).map(|hop| root.config_file(&hop.bdf)).collect();
        Self::from_files(&root.config_file(endpoint), &above, &root.device_dir(endpoint).join(FABRIC_COUNTERS_FILE))
    }

    /// `above`: the endpoint's neighbour first.
    pub(super) fn from_files(endpoint: &Path, above: &[PathBuf], counters: &Path) -> Result<Self, PathError> {
        let endpoint_file = endpoint.to_owned();
        let endpoint = Function::open(endpoint)?;
        let mut bridges = Vec::new();
        let mut root_port = None;
        for path in above {
            let function = Function::open(path)?;
            if function.port_type() == Some(PortType::RootPort) {
                root_port = Some(function);
                break;
            }
            bridges.push(function);
        }
        let counters = LiveCounters::create(counters)?;
        Ok(Self { endpoint, bridges, root_port, counters, requests: Requests::AsEnabled, endpoint_file })
    }

    /// The same path from an endpoint of these habits.
    #[must_use]
    pub(super) fn requesting(self, requests: Requests) -> Self {
        Self { requests, ..self }
    }

    /// Makes the endpoint's config space read as what is not there does (PCIe 2.3.2: a configuration read that nobody answers).
    pub(super) fn lose_endpoint(&self) -> std::io::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(&self.endpoint_file)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
        file.write_all_at(&vec![0xff; length], 0)
    }

    /// Whether the device may send any request at all, and so fetch packets (PCIe 7.5.1.1.3).
    #[must_use]
    #[inline]
    pub fn bus_master(&self) -> bool {
        self.endpoint.bit(Some(reg::COMMAND), u32::from(reg::COMMAND_BUS_MASTER))
    }

    /// What the counters say now.
    #[must_use]
    pub fn counters(&self) -> FabricCounters {
        FabricCounters::from_file_order(self.counters.read())
    }

    #[inline]
    fn judge(&self, op: RmwOp, width: OperandWidth) -> Result<(), DropReason> {
        // A subtraction leaves the device as FetchAdd of the negated operand.
        if !matches!(op, RmwOp::Add | RmwOp::Sub | RmwOp::Swap | RmwOp::CompareSwap) {
            return Err(DropReason::NotAPcieOperation);
        }
        if !self.bus_master() {
            return Err(DropReason::BusMasterDisabled);
        }
        if self.requests == Requests::Never || !self.endpoint.is_told_to(reg::REQUESTER_ENABLE) {
            return Err(DropReason::RequesterDisabled);
        }
        for bridge in &self.bridges {
            let is_switch_port = matches!(bridge.port_type(), Some(PortType::SwitchUpstream | PortType::SwitchDownstream));
            if !is_switch_port || !bridge.can(reg::ATOMIC_ROUTING) {
                return Err(DropReason::RoutingUnsupported);
            }
            // Traffic towards the root leaves a switch through its upstream port, so only that one's egress counts.
            if bridge.port_type() == Some(PortType::SwitchUpstream) && bridge.is_told_to(reg::EGRESS_BLOCK) {
                return Err(DropReason::EgressBlocked);
            }
        }
        let completer = match width {
            OperandWidth::Bits32 => reg::COMPLETER_32,
            OperandWidth::Bits64 => reg::COMPLETER_64,
        };
        let completes = self.root_port.as_ref().is_some_and(|root_port| root_port.can(completer));
        if completes { Ok(()) } else { Err(DropReason::UnsupportedRequest) }
    }
}

impl Fabric for PciPath {
    #[inline]
    fn admit(&self, op: RmwOp, width: OperandWidth) -> Admission {
        match self.judge(op, width) {
            Ok(()) => {
                self.counters.increment(PERFORMED);
                Admission::Performed
            }
            Err(reason) => {
                self.counters.increment(reason.counter());
                Admission::Dropped
            }
        }
    }
}

#[cfg(test)]
#[path = "fabric_tests.rs"]
mod tests;
