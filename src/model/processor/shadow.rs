//! Private copies of the packets in flight.
//!
//! A slot of the ring belongs to the producer again as soon as the read index has passed it, but a kernel may read its
//! dispatch packet until it ends. So the device copies the packet once and shows kernels the copy.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::address::GpuVa;
use crate::model::gpu::QueueId;
use crate::model::memory::{Home, HostPtr, MapError, Mapping, MemoryMap, Protection};

use super::packet::{PACKET_BYTES, RawPacket};

/// Kernel dispatches of one queue that may run at the same time.
pub(super) const SLOTS: usize = 8;

/// Above every address that a host process can have, so that it never meets one of the runtime's mappings.
const FIRST_VA: u64 = 1 << 48;
/// Distance between the copies of one queue and the next.
const QUEUE_STRIDE: u64 = 4096;

/// One copy's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// The copies of one queue, mapped read-only for its kernels while this value lives.
#[derive(Debug)]
pub(super) struct Shadow {
    memory: Arc<MemoryMap>,
    va: GpuVa,
    // An Arc and not a Box: the mapping points into it while this value is moved about.
    packets: Arc<[[AtomicU64; 8]; SLOTS]>,
    taken: [bool; SLOTS],
}

impl Shadow {
    pub(super) fn new(memory: Arc<MemoryMap>, queue: QueueId) -> Result<Self, MapError> {
        let packets: Arc<[[AtomicU64; 8]; SLOTS]> = Arc::default();
        let va = GpuVa(FIRST_VA + u64::from(queue.0) * QUEUE_STRIDE);
        let mapping = Mapping {
            va,
            length: SLOTS as u64 * PACKET_BYTES,
            host: HostPtr::new(NonNull::from(&*packets).cast()),
            home: Home::DeviceLocal,
            protection: Protection::ReadOnly,
        };
        // SAFETY: the packets are kept by this value, whose drop unmaps them before it lets go of them.
        unsafe { memory.map(mapping)? };
        Ok(Self { memory, va, packets, taken: [false; SLOTS] })
    }

    /// Keeps a packet until [`Self::release`]; `None` when every slot is taken.
    pub(super) fn keep(&mut self, packet: &RawPacket) -> Option<Slot> {
        let index = self.taken.iter().position(|taken| !taken)?;
        self.taken[index] = true;
        for (word, value) in self.packets[index].iter().zip(packet.0) {
            word.store(value, Ordering::Relaxed);
        }
        Some(Slot(index))
    }

    pub(super) fn release(&mut self, slot: Slot) {
        self.taken[slot.0] = false;
    }

    /// Where the device sees a kept packet.
    pub(super) fn address(&self, slot: Slot) -> GpuVa {
        self.va + slot.0 as u64 * PACKET_BYTES
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // It was mapped in `new` and nobody else knows the address, so it cannot fail.
        let _ = self.memory.unmap(self.va);
    }
}
