//! Room for packets in a queue's memory (HSA 1.2 §2.8.3), which the device reads and marks while producers write.

use std::num::NonZeroU32;
use std::ptr::NonNull;

use super::cache_line::fetch_for_writing;
use super::header::PacketType;
use super::packet::PacketWords;
use super::sync::{AtomicU32, AtomicU64, BodyAccess, Ordering};

/// Bytes of one packet.
pub const PACKET_BYTES: usize = 64;

/// The first word of a slot that the packet processor waits at.
const INVALID_WORD: u32 = PacketType::Invalid as u32;

/// Room for one packet, written as atomics because the device reads it at the same time.
#[repr(C, align(64))]
pub struct Slot {
    /// Header and setup, by which a packet is published.
    pub(super) first: AtomicU32,
    second: AtomicU32,
    /// The rest, two words at a time: nobody looks at it while it is written.
    pub(super) pairs: [AtomicU64; 7],
    body: BodyAccess,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == PACKET_BYTES);

impl Slot {
    /// A slot that the packet processor will wait at.
    #[must_use]
    pub fn invalid() -> Self {
        Self {
            first: AtomicU32::new(INVALID_WORD),
            second: AtomicU32::new(0),
            pairs: std::array::from_fn(|_| AtomicU64::new(0)),
            body: BodyAccess::new(),
        }
    }

    #[inline(always)]
    pub(super) fn write_body(&self, words: &PacketWords) {
        self.body.write();
        self.second.store(words[1], Ordering::Relaxed);
        for (pair, slot) in self.pairs.iter().enumerate() {
            let (low, high) = (words[2 * pair + 2], words[2 * pair + 3]);
            slot.store(u64::from(low) | u64::from(high) << 32, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn publish(&self, first: u32) {
        self.first.store(first, Ordering::Release);
    }

    /// Takes the packet as a packet processor does: `None` while it is invalid, else its words, the slot made invalid again.
    /// The caller is the queue's one consumer and has not yet advanced the read index past this slot.
    #[must_use]
    pub fn consume(&self) -> Option<PacketWords> {
        let first = self.first.load(Ordering::Acquire);
        if PacketType::of_header(first as u16) == Ok(PacketType::Invalid) {
            return None;
        }
        self.body.read();
        let mut words = [0; 16];
        (words[0], words[1]) = (first, self.second.load(Ordering::Relaxed));
        for (pair, slot) in self.pairs.iter().enumerate() {
            let both = slot.load(Ordering::Relaxed);
            (words[2 * pair + 2], words[2 * pair + 3]) = (both as u32, (both >> 32) as u32);
        }
        self.first.store(INVALID_WORD, Ordering::Relaxed);
        Some(words)
    }
}

/// The packets of a queue in memory.
///
/// Invariant, promised to [`SlotMemory::new`]: the slots stay mapped for writing as long as this value lives, and this process
/// touches them only through atomics.
#[derive(Debug)]
pub struct SlotMemory {
    base: NonNull<Slot>,
    pub(super) packets: NonZeroU32,
}

// SAFETY: the slots are atomics that outlive the value (invariant), so any thread may use them.
unsafe impl Send for SlotMemory {}
// SAFETY: as above; all access goes through atomics.
unsafe impl Sync for SlotMemory {}

impl SlotMemory {
    /// Wraps the ring at `base`. Returns `None` unless `packets` is a power of two, as every AQL queue's size is.
    ///
    /// # Safety
    /// `base` points to `packets` consecutive slots that keep the invariant above.
    #[must_use]
    pub unsafe fn new(base: NonNull<Slot>, packets: u32) -> Option<Self> {
        let packets = NonZeroU32::new(packets).filter(|packets| packets.is_power_of_two())?;
        Some(Self { base, packets })
    }

    pub(super) fn slot(&self, index: u64) -> &Slot {
        let position = (index & u64::from(self.packets.get() - 1)) as usize;
        // SAFETY: position < packets, so the slot lies in the ring, which lives as long as self (invariant).
        unsafe { self.base.add(position).as_ref() }
    }

    /// Fetches the slot that is written next, while its producer has nothing better to do: the device wrote it last.
    #[inline(always)]
    pub(super) fn expect_writing(&self, index: u64) {
        fetch_for_writing(self.slot(index));
    }
}
