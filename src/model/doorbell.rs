//! Doorbells: how the host says that packets are there.
//!
//! A doorbell is a register that wakes the device, or, where there is no way to trap a store, a word of memory that the device
//! has to look at. Both say only how far to look, and both only ever move forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::GpuVa;
use super::gpu::QueueId;
use super::memory::{MapView, MemoryFault};
use super::wakeup::Wakeup;
use crate::aql::cache_line::fetch_for_writing;

/// What a doorbell holds before it is rung. Runtimes also store it to initialise one, so it says nothing.
const NOT_RUNG: u64 = u64::MAX;

/// Bytes of a doorbell in memory (Linux, `kfd_doorbell.c`: 64-bit doorbells from generation 9 on).
const DOORBELL_BYTES: u64 = 8;

/// A queue's doorbell register, on a cache line (two, because of the adjacent-line prefetcher) of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Doorbell {
    /// One past the highest index rung: packets below it may be looked for.
    published_end: AtomicU64,
    wakeup: Arc<Wakeup>,
}

impl Doorbell {
    pub(super) const fn new(read_index: u64, wakeup: Arc<Wakeup>) -> Self {
        Self { published_end: AtomicU64::new(read_index), wakeup }
    }

    /// An MMIO store of the index of the last published packet.
    ///
    /// The device keeps the highest index it was told, so producers may ring out of order. Ringing too far does no harm: a slot
    /// that is not published yet is waited for. The index `u64::MAX`, with which runtimes initialise doorbells, says nothing.
    #[inline]
    pub fn ring(&self, index: u64) {
        fetch_for_writing(&self.published_end);
        self.published_end.fetch_max(index.wrapping_add(1), Ordering::SeqCst);
        self.wakeup.wake();
    }

    #[inline]
    fn published_end(&self) -> u64 {
        self.published_end.load(Ordering::SeqCst)
    }
}

/// The page of doorbells in memory: one word per queue, in the order of queue ids. It may come and go while queues live.
#[derive(Debug, Default)]
pub struct DoorbellPage(AtomicU64);

impl DoorbellPage {
    /// Says where the page is.
    pub fn place(&self, at: GpuVa) {
        self.0.store(at.0, Ordering::Release);
    }

    /// Takes the page at this address away; another is left alone.
    pub fn remove(&self, at: GpuVa) {
        // Whether it was this one does not matter to the caller.
        let _ = self.0.compare_exchange(at.0, GpuVa::NULL.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn doorbell(&self, queue: QueueId) -> Option<GpuVa> {
        let page = GpuVa(self.0.load(Ordering::Acquire));
        (!page.is_null()).then(|| page + u64::from(queue.0) * DOORBELL_BYTES)
    }

    /// Marks a queue's doorbell as not rung, since it still holds what the last queue of that id was told. Without a page there is
    /// nothing to mark.
    pub(super) fn reset(&self, queue: QueueId, memory: &MapView<'_>) -> Result<(), MemoryFault> {
        self.doorbell(queue).map_or(Ok(()), |at| memory.store_u64(at, NOT_RUNG))
    }
}

/// What the number in a doorbell in memory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// The index of the last published packet (AQL queues).
    LastPacket,
    /// The byte offset behind the last published packet (SDMA queues).
    EndOfBytes,
}

impl Rung {
    const fn published_end(self, value: u64) -> u64 {
        match (self, value) {
            (_, NOT_RUNG) => 0,
            (Self::LastPacket, index) => index.wrapping_add(1),
            (Self::EndOfBytes, end) => end,
        }
    }
}

/// A doorbell in memory, as of the last look.
///
/// The host may make the page known before the device can reach it. So the doorbell is not looked at before the queue's write
/// index has moved: nobody can have written a packet before the queue's doorbell was there to be rung.
#[derive(Debug)]
pub(super) struct MemoryDoorbell {
    page: Arc<DoorbellPage>,
    queue: QueueId,
    rung: Rung,
    write_index: GpuVa,
    start: u64,
    in_use: bool,
    published_end: u64,
}

impl MemoryDoorbell {
    pub(super) const fn new(page: Arc<DoorbellPage>, queue: QueueId, rung: Rung, write_index: GpuVa, start: u64) -> Self {
        Self { page, queue, rung, write_index, start, in_use: false, published_end: start }
    }

    fn look(&mut self, memory: &MapView<'_>) {
        // A word that cannot be read says nothing; if the queue's own memory is gone, its next packet will tell.
        if !self.in_use {
            self.in_use = memory.load_acquire_u64(self.write_index).is_ok_and(|index| index != self.start);
        }
        if self.in_use
            && let Some(at) = self.page.doorbell(self.queue)
            && let Ok(value) = memory.load_acquire_u64(at)
        {
            self.published_end = self.published_end.max(self.rung.published_end(value));
        }
    }
}

/// A queue's doorbell, of either kind.
#[derive(Debug)]
pub(super) enum Bell {
    Register(Arc<Doorbell>),
    Memory(MemoryDoorbell),
}

impl Bell {
    /// How far the queue may look.
    #[inline]
    pub(super) fn published_end(&self) -> u64 {
        match self {
            Self::Register(doorbell) => doorbell.published_end(),
            Self::Memory(doorbell) => doorbell.published_end,
        }
    }

    /// Whether nobody wakes the device when it is rung.
    pub(super) const fn must_be_polled(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// Looks at a doorbell that must be polled.
    pub(super) fn look(&mut self, memory: &MapView<'_>) {
        match self {
            Self::Register(_) => {}
            Self::Memory(doorbell) => doorbell.look(memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};

    const PAGE: GpuVa = GpuVa(0x1000);
    const WRITE_INDEX: GpuVa = GpuVa(PAGE.0 + 1024);

    /// A page of doorbells with a write index in it, and a doorbell of queue 3.
    fn with_page(rung: Rung, work: impl FnOnce(&MapView<'_>, &DoorbellPage, &mut Bell)) {
        let words: [AtomicU64; 256] = std::array::from_fn(|_| AtomicU64::new(0));
        let memory = MemoryMap::new();
        let host = HostPtr::new(NonNull::from(&words).cast());
        let mapping = Mapping { va: PAGE, length: 2048, host, home: Home::Host, protection: Protection::ReadWrite };
        // SAFETY: the words outlive the map, which is dropped at the end of this function.
        unsafe { memory.map(mapping) }.unwrap();
        let page = Arc::new(DoorbellPage::default());
        let mut bell = Bell::Memory(MemoryDoorbell::new(Arc::clone(&page), QueueId(3), rung, WRITE_INDEX, 0));
        work(&memory.view(), &page, &mut bell);
    }

    #[test]
    fn a_memory_doorbell_says_nothing_before_it_is_rung_and_then_one_past_the_index() {
        with_page(Rung::LastPacket, |memory, page, bell| {
            page.place(PAGE);
            page.reset(QueueId(3), memory).unwrap();
            memory.store_u64(WRITE_INDEX, 1).unwrap();
            bell.look(memory);
            assert_eq!(bell.published_end(), 0);
            memory.store_u64(PAGE + 24, 0).unwrap();
            bell.look(memory);
            assert_eq!(bell.published_end(), 1);
        });
    }

    #[test]
    fn a_memory_doorbell_only_moves_forward() {
        with_page(Rung::EndOfBytes, |memory, page, bell| {
            page.place(PAGE);
            memory.store_u64(WRITE_INDEX, 64).unwrap();
            for (rung, end) in [(64, 64), (32, 64), (u64::MAX, 64), (96, 96)] {
                memory.store_u64(PAGE + 24, rung).unwrap();
                bell.look(memory);
                assert_eq!(bell.published_end(), end, "after {rung}");
            }
        });
    }

    #[test]
    fn a_memory_doorbell_is_not_looked_at_before_the_write_index_has_moved() {
        with_page(Rung::LastPacket, |memory, page, bell| {
            page.place(PAGE);
            memory.store_u64(PAGE + 24, 7).unwrap();
            bell.look(memory);
            assert_eq!(bell.published_end(), 0);
            memory.store_u64(WRITE_INDEX, 1).unwrap();
            bell.look(memory);
            assert_eq!(bell.published_end(), 8);
        });
    }

    #[test]
    fn without_its_page_a_memory_doorbell_is_silent() {
        with_page(Rung::LastPacket, |memory, page, bell| {
            memory.store_u64(WRITE_INDEX, 1).unwrap();
            memory.store_u64(PAGE + 24, 7).unwrap();
            bell.look(memory);
            page.place(PAGE);
            page.remove(PAGE);
            bell.look(memory);
            assert_eq!(bell.published_end(), 0);
            page.place(PAGE);
            page.remove(WRITE_INDEX);
            bell.look(memory);
            assert_eq!(bell.published_end(), 8);
        });
    }
}
