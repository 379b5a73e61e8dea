//! The in-process door: a software GPU that a runtime maps memory into and creates queues on.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use super::address::GpuVa;
use super::device::{self, Device};
use super::fabric::{FabricCounters, PathError, PciPath, Requests};
use super::host::HostProtocol;
use super::memory::{MapError, MemoryFault, MemoryMap};
use super::processor::QueueFault;
use super::target::Target;
use crate::faults::{BlockedHop, Fault, FaultPlan};
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, BdfError};

pub use super::doorbell::{Doorbell, DoorbellPage};
pub use super::host::InterruptSink;

/// Which modelled PCI function this GPU is.
#[derive(Clone, Debug)]
pub struct GpuConfig {
    /// What its shader cores are.
    pub target: Target,
    /// Root of the sysfs-shaped tree that holds the config space of the device and of every hop above it.
    pub sysfs_root: PathBuf,
    /// The device's address, as its directory under `bus/pci/devices` is called.
    pub endpoint: String,
    /// How its host wants to be dealt with.
    pub host: HostProtocol,
    /// What it is to do wrong.
    pub faults: Option<FaultPlan>,
}

/// Where a queue's structures lie.
#[derive(Clone, Copy, Debug)]
pub struct QueueDescriptor {
    /// The `amd_queue_t`: read and write index, inactive signal.
    pub amd_queue: GpuVa,
    /// The packet ring.
    pub ring: GpuVa,
    /// Packets in the ring, a power of two.
    pub packets: NonZeroU32,
}

/// Where an SDMA queue's structures lie.
#[derive(Clone, Copy, Debug)]
pub struct SdmaDescriptor {
    /// The command ring.
    pub ring: GpuVa,
    /// Bytes in the ring, a power of two.
    pub ring_bytes: NonZeroU32,
    /// Where the device says how far it has read, in bytes.
    pub read_pointer: GpuVa,
    /// Where the host says how far it has written, in bytes.
    pub write_pointer: GpuVa,
}

/// Names a queue on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(pub u32);

/// Why the device refused.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The configured endpoint is no PCI address.
    #[error(transparent)]
    Endpoint(#[from] BdfError),
    /// The path to host memory cannot be set up.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The system has no thread left for the device.
    #[error("cannot start the device's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// An SDMA ring whose length is no power of two, or too short for a packet.
    #[error("an SDMA ring of {bytes} bytes; it must be a power of two and hold a packet")]
    SdmaRingLength {
        /// The length asked for.
        bytes: u32,
    },
    /// A ring whose length is no power of two.
    #[error("a ring of {packets} packets; it must be a power of two")]
    RingLength {
        /// The length asked for.
        packets: u32,
    },
    /// A ring that is not aligned to its packets.
    #[error("a ring at {ring}; it must be aligned to 64 bytes")]
    RingAlignment {
        /// The address asked for.
        ring: GpuVa,
    },
    /// The device cannot reach the ring or the `amd_queue_t`.
    #[error("the queue's memory is not mapped for the device: {0}")]
    QueueMemory(#[from] MemoryFault),
    /// The copies of the queue's packets cannot be mapped.
    #[error("no place in the device's address space for the queue's packets in flight: {0}")]
    Shadow(#[from] MapError),
    /// Every queue slot is taken.
    #[error("the device has {limit} queues, and all are in use; destroy one first")]
    TooManyQueues {
        /// Queues the device has.
        limit: u32,
    },
}

/// The device: dropping it powers it down.
pub struct Gpu {
    device: Device,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gpu").field("path", self.device.path()).finish_non_exhaustive()
    }
}

impl Gpu {
    /// Ticks per second of the device clock.
    pub const TIMESTAMP_HZ: u64 = 1_000_000_000;

    /// Queues the device has, as many as AMD's runtime has doorbells for in a process.
    pub const MAX_QUEUES: u32 = 128;

    /// Powers the device up: maps its config space and starts its thread.
    ///
    /// # Errors
    /// The tree is missing or malformed.
    pub fn start(config: &GpuConfig, interrupts: Arc<dyn InterruptSink>) -> Result<Self, GpuError> {
        let endpoint: Bdf = config.endpoint.parse()?;
        let path = PciPath::open(&SysfsRoot::new(&config.sysfs_root), &endpoint)?;
        Self::over(config.target, path, config.host, config.faults.as_ref(), interrupts)
    }

    pub(super) fn over(
        target: Target,
        path: PciPath,
        host: HostProtocol,
        faults: Option<&FaultPlan>,
        interrupts: Arc<dyn InterruptSink>,
    ) -> Result<Self, GpuError> {
        let mute =
            |plan: &FaultPlan| plan.faults().iter().any(|planned| planned.fault == Fault::AtomicsBlocked(BlockedHop::Endpoint));
        let path = path.requesting(if faults.is_some_and(mute) { Requests::Never } else { Requests::AsEnabled });
        Ok(Self { device: Device::start(target, path, host, faults, interrupts).map_err(GpuError::Thread)? })
    }

    /// Whether the device has fallen off the bus ([`Fault::DeviceGone`]).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.device.is_gone()
    }

    /// The device's address space, for the runtime to map and unmap.
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        self.device.memory()
    }

    /// Starts processing a queue, at the read index that its `amd_queue_t` holds.
    ///
    /// # Errors
    /// The ring is malformed, its memory or the `amd_queue_t` is not mapped for writing, or there are too many queues.
    pub fn create_queue(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Arc<Doorbell>), GpuError> {
        self.device.attach(descriptor)
    }

    /// As [`Self::create_queue`], for a host that rings by a store to memory. The queue's doorbell is the word of its id in the page,
    /// and is marked as not rung.
    ///
    /// # Errors
    /// As [`Self::create_queue`].
    pub fn create_polled_queue(&self, descriptor: QueueDescriptor, page: &Arc<DoorbellPage>) -> Result<QueueId, GpuError> {
        self.device.attach_polled(descriptor, page)
    }

    /// Starts a queue of the copy engine, at the read pointer that its memory holds. Its doorbell holds byte offsets.
    ///
    /// # Errors
    /// The ring is malformed, its memory is not mapped, or there are too many queues.
    pub fn create_sdma_queue(&self, descriptor: SdmaDescriptor, page: &Arc<DoorbellPage>) -> Result<QueueId, GpuError> {
        self.device.attach_sdma(descriptor, page)
    }

    /// Stops everything for good, as if the power went; returns when the device touches nothing any more, or after ten seconds. For the
    /// end of a process that cannot drop its devices.
    pub fn power_off(&self) {
        self.device.power_off();
    }

    /// Stops a queue; returns when no wave of it runs and its memory is no longer touched.
    ///
    /// It waits for the turns that run, about a millisecond for a queue full of kernels, and never longer than ten seconds; not at
    /// all when the device's thread has died. A queue that is not there is no error.
    pub fn destroy_queue(&self, queue: QueueId) {
        self.device.detach(queue);
    }

    /// What stopped the queue that failed last: the code in its inactive signal says which kind, this says why and where.
    #[must_use]
    pub fn last_fault(&self) -> Option<QueueFault> {
        self.device.last_fault()
    }

    /// Queues that stopped with an error since the device was powered up.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.device.fault_count()
    }

    /// What became of the device's AtomicOps to host memory so far.
    #[must_use]
    pub fn fabric_counters(&self) -> FabricCounters {
        self.device.path().counters()
    }

    /// The device clock that signal timestamps are in, in ticks of [`Self::TIMESTAMP_HZ`]: CLOCK_MONOTONIC.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        device::device_clock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::founding::{self, GpuImage};

    struct Nobody;

    impl InterruptSink for Nobody {
        fn raise(&self, _event_id: u32) {}
    }

    fn start(tree: &std::path::Path, endpoint: &str) -> Result<Gpu, GpuError> {
        Gpu::start(
            &GpuConfig {
                target: Target::Gfx803,
                sysfs_root: tree.to_owned(),
                endpoint: endpoint.to_owned(),
                host: HostProtocol::EMBEDDED,
                faults: None,
            },
            Arc::new(Nobody),
        )
    }

    #[test]
    fn the_device_starts_on_its_tree_and_nowhere_else() {
        let tree = tempfile::tempdir().unwrap();
        assert!(matches!(start(tree.path(), "0b:00.0"), Err(GpuError::Path(_))));
        founding::write_tree(tree.path(), GpuImage::Founding).unwrap();
        assert!(matches!(start(tree.path(), "eleven"), Err(GpuError::Endpoint(_))));
        assert!(matches!(start(tree.path(), "0c:00.0"), Err(GpuError::Path(_))));
        let gpu = start(tree.path(), "0000:0b:00.0").unwrap();
        assert_eq!(gpu.fabric_counters(), FabricCounters::default());
    }

    #[test]
    fn the_device_clock_never_goes_back() {
        let tree = tempfile::tempdir().unwrap();
        founding::write_tree(tree.path(), GpuImage::Founding).unwrap();
        let gpu = start(tree.path(), "0b:00.0").unwrap();
        let readings: Vec<u64> = (0..1000).map(|_| gpu.timestamp()).collect();
        assert!(readings.is_sorted());
    }
}
