//! Doorbells in a BAR: eight bytes per queue, the index of the last published packet.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::mapping::BarMapping;
use crate::model::endpoint_registers::DOORBELL_STRIDE;

/// The doorbell of one queue.
pub struct MappedDoorbell {
    bar: Arc<BarMapping>,
    offset: u64,
    /// One past the highest index rung.
    published_end: AtomicU64,
}

impl fmt::Debug for MappedDoorbell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MappedDoorbell").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl MappedDoorbell {
    /// The doorbell of queue `id`; `None` if the BAR has none for it.
    #[must_use]
    pub fn new(bar: Arc<BarMapping>, id: u32) -> Option<Self> {
        let offset = u64::from(id) * DOORBELL_STRIDE;
        bar.word(offset)?;
        Some(Self { bar, offset, published_end: AtomicU64::new(0) })
    }

    /// Stores the index, if it is the highest yet: the device reads a level, not a stream of stores, so a producer that is late must
    /// not hide one that was faster.
    ///
    /// Plain stores only, since a locked operation on a BAR is no posted write: who finds after its store that a higher index
    /// has come stores that one, so the highest is there in the end.
    #[inline]
    pub fn ring(&self, index: u64) {
        let end = index.wrapping_add(1);
        if self.published_end.fetch_max(end, Ordering::SeqCst) >= end {
            return;
        }
        let Some(word) = self.bar.word(self.offset) else { return };
        loop {
            let highest = self.published_end.load(Ordering::SeqCst);
            word.store(highest.wrapping_sub(1), Ordering::Release);
            fence(Ordering::SeqCst);
            if self.published_end.load(Ordering::SeqCst) == highest {
                return;
            }
        }
    }
}

/// A page of doorbells in memory, for tests.
#[cfg(test)]
pub struct TestBar(Arc<BarMapping>);

#[cfg(test)]
#[allow(missing_docs, clippy::unwrap_used, reason = "tests only")]
impl TestBar {
    pub fn never_rung() -> Self {
        use super::mapping::Placement;
        use crate::model::endpoint_registers::{DOORBELL_BYTES, NEVER_RUNG};
        let file = tempfile::tempfile().unwrap();
        file.set_len(DOORBELL_BYTES).unwrap();
        let bar = BarMapping::new(&file, 0, DOORBELL_BYTES as usize, Placement::Anywhere).unwrap();
        for at in (0..DOORBELL_BYTES).step_by(8) {
            bar.word(at).unwrap().store(NEVER_RUNG, Ordering::Relaxed);
        }
        Self(Arc::new(bar))
    }

    pub fn doorbell(&self, id: u32) -> MappedDoorbell {
        MappedDoorbell::new(self.0.clone(), id).unwrap()
    }

    pub fn word(&self, id: u64) -> u64 {
        self.0.word(id * DOORBELL_STRIDE).unwrap().load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::model::endpoint_registers::NEVER_RUNG;

    #[test]
    fn the_highest_index_stays_whoever_rings_last() {
        let bar = TestBar::never_rung();
        let doorbell = bar.doorbell(3);
        doorbell.ring(NEVER_RUNG);
        assert_eq!(bar.word(3), NEVER_RUNG, "all ones say nothing");
        doorbell.ring(0);
        assert_eq!(bar.word(3), 0);
        doorbell.ring(5);
        doorbell.ring(4);
        assert_eq!(bar.word(3), 5);
        assert!(MappedDoorbell::new(bar.0, 512).is_none(), "beyond the page");
    }

    #[test]
    fn producers_that_race_leave_the_highest_index() {
        let bar = TestBar::never_rung();
        let doorbell = bar.doorbell(3);
        thread::scope(|scope| {
            for first in 0..4 {
                let doorbell = &doorbell;
                scope.spawn(move || (first..4000).step_by(4).for_each(|index| doorbell.ring(index)));
            }
        });
        assert_eq!(bar.word(3), 3999);
    }
}
