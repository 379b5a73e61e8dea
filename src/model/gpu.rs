//! The in-process door: a software GPU that a runtime maps memory into and creates queues on.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use super::address::GpuVa;
use super::memory::MemoryMap;
use super::processor::QueueFault;

/// Which modelled PCI function this GPU is.
#[derive(Clone, Debug)]
pub struct GpuConfig {
    /// Root of the sysfs-shaped tree that holds the config space of the device and of every hop above it.
    pub sysfs_root: PathBuf,
    /// The device's address, as its directory under `bus/pci/devices` is called.
    pub endpoint: String,
}

/// Receives the device's interrupts (MSI in hardware): the event id that a signal names (`amd_signal_t.event_id`).
pub trait InterruptSink: Send + Sync {
    /// An event fired. Called on the device's thread; must not block.
    fn raise(&self, event_id: u32);
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

/// The device.
#[derive(Debug)]
pub struct Gpu {}

/// A queue's doorbell register.
#[derive(Debug)]
pub struct Doorbell {}

impl Doorbell {
    /// An MMIO store of the index of the last published packet.
    pub fn ring(&self, _index: u64) {
        todo!()
    }
}

/// Names a queue on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(pub u32);

/// Why the device refused.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {}

impl Gpu {
    /// Powers the device up: maps its config space and starts its thread.
    ///
    /// # Errors
    /// The tree is missing or malformed.
    pub fn start(_config: &GpuConfig, _interrupts: Arc<dyn InterruptSink>) -> Result<Self, GpuError> {
        todo!()
    }

    /// The device's address space, for the runtime to map and unmap.
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        todo!()
    }

    /// Starts processing a queue.
    ///
    /// # Errors
    /// The descriptor's memory is not mapped, or there are too many queues.
    pub fn create_queue(&self, _descriptor: QueueDescriptor) -> Result<(QueueId, Arc<Doorbell>), GpuError> {
        todo!()
    }

    /// Stops a queue; returns when no wave of it runs and its memory is no longer touched.
    pub fn destroy_queue(&self, _queue: QueueId) {
        todo!()
    }

    /// What stopped the queue that failed last: the code in its inactive signal says which kind, this says why and where.
    #[must_use]
    pub fn last_fault(&self) -> Option<QueueFault> {
        todo!()
    }

    /// The device clock that signal timestamps are in, in ticks of [`Self::TIMESTAMP_HZ`].
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        todo!()
    }

    /// Ticks per second of the device clock.
    pub const TIMESTAMP_HZ: u64 = 1_000_000_000;
}
