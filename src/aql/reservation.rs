//! The slots of a ring between their reservation and the doorbell. What holds for every packet stands in `ring.rs`.

use std::ops::Range;

use super::header::{Header, PacketType};
use super::packet::{BARRIER_DEPENDENCIES, BarrierAnd, Packet};
use super::ring::QueuePort;
use super::slot::SlotMemory;
use super::sync::Mutex;

/// Slots that belong to one producer until they are published.
///
/// Dropping it publishes barrier packets without dependencies into the slots not written and rings the doorbell, because a
/// slot left invalid would stop the queue for good.
#[must_use = "dropping a reservation fills it with empty barrier packets"]
pub struct Reservation<'ring, P: QueuePort> {
    slots: &'ring SlotMemory,
    port: &'ring P,
    rung: Rung<'ring>,
    first: u64,
    next: u64,
    end: u64,
}

/// One past the highest index that the doorbell has been rung with.
pub(super) enum Rung<'ring> {
    /// By any of several producers.
    Shared(&'ring Mutex<u64>),
    /// By the only one.
    Alone(&'ring mut u64),
}

impl<'ring, P: QueuePort> Reservation<'ring, P> {
    #[inline(always)]
    pub(super) fn new(slots: &'ring SlotMemory, port: &'ring P, rung: Rung<'ring>, first: u64, packets: u32) -> Self {
        Self { slots, port, rung, first, next: first, end: first + u64::from(packets) }
    }

    /// Packet indices reserved.
    pub fn indices(&self) -> Range<u64> {
        self.first..self.end
    }

    /// Slots not yet written.
    pub fn remaining(&self) -> u64 {
        self.end - self.next
    }

    /// Publishes `packet` in the next slot and returns its index; `None` when every slot is used.
    ///
    /// The device may start it before the doorbell is rung.
    #[inline]
    pub fn write(&mut self, packet: &impl Packet) -> Option<u64> {
        self.write_and(packet, || ())
    }

    /// The same with `between` called when the body stands and the header does not: who measures takes the time there.
    #[inline]
    pub fn write_and(&mut self, packet: &impl Packet, between: impl FnOnce()) -> Option<u64> {
        let index = self.next;
        if index == self.end {
            return None;
        }
        let words = packet.to_words();
        let slot = self.slots.slot(index);
        slot.write_body(&words);
        between();
        slot.publish(words[0]);
        self.next += 1;
        Some(index)
    }

    /// Publishes `last` in the last slot and `others` in those before it that are left. All bodies are written first, then `between` is
    /// called, then the headers are stored in the order of the slots: who measures takes two times for a batch of any size.
    pub fn fill_and(&mut self, others: &impl Packet, last: &impl Packet, between: impl FnOnce()) {
        let (others, last) = (others.to_words(), last.to_words());
        let words = |index: u64| if index + 1 == self.end { &last } else { &others };
        let slot = |index| self.slots.slot(index);
        (self.next..self.end).for_each(|index| slot(index).write_body(words(index)));
        between();
        (self.next..self.end).for_each(|index| slot(index).publish(words(index)[0]));
        self.next = self.end;
    }

    /// Rings the doorbell once for everything written.
    #[inline]
    pub fn ring(self) {
        drop(self);
    }
}

impl<P: QueuePort> Drop for Reservation<'_, P> {
    #[inline]
    fn drop(&mut self) {
        let empty = BarrierAnd::new(Header::new(PacketType::BarrierAnd), [0; BARRIER_DEPENDENCIES], 0);
        while self.write(&empty).is_some() {}
        match &mut self.rung {
            // A producer that was overtaken rings again with the higher value: its packet may be the one the device waits at, and
            // a device that went idle there looks again only when its doorbell is written.
            Rung::Shared(rung) => {
                let mut rung = rung.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                *rung = self.end.max(*rung);
                self.port.ring_doorbell(*rung - 1);
            }
            Rung::Alone(rung) => {
                **rung = self.end;
                self.port.ring_doorbell(self.end - 1);
            }
        }
        self.slots.expect_writing(self.end);
    }
}
