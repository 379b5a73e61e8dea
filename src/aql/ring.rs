//! The producer side of a user-mode queue (HSA 1.2 §2.8.3): reserve slots, write bodies, publish, ring.
//!
//! What holds for every packet, checked by loom in `ring_loom.rs`:
//!
//! * A slot is written only after the read index has passed its previous packet, and by the one producer that reserved it.
//! * Its body is complete before its first word, whose release store is what publishes it; nothing reads it back afterwards.
//! * Every publication is followed by a doorbell store whose value is at least its index, and doorbell values never fall.

use std::num::NonZeroU32;

use super::packet::Packet;
use super::reservation::{Reservation, Rung};
use super::slot::SlotMemory;
use super::sync::{AtomicU64, Mutex, Ordering};

/// The queue's indices and doorbell, wherever they live.
pub trait QueuePort {
    /// Index of the oldest packet not yet consumed, with acquire ordering.
    fn load_read_index(&self) -> u64;
    /// Index of the next packet to reserve.
    fn load_write_index(&self) -> u64;
    /// Moves the write index from `expected` to `desired`; returns what it found there.
    fn cas_write_index(&self, expected: u64, desired: u64) -> u64;
    /// Moves the write index to `index`, with release ordering. For a producer that is the only one.
    fn store_write_index(&self, index: u64);
    /// Tells the device that packets up to and including `index` are published, with release ordering.
    fn ring_doorbell(&self, index: u64);
}

/// Why no slot was reserved. No index has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// The device has not consumed enough packets yet; try again when the read index has moved.
    #[error(
        "the queue is full: {requested} packets requested, {free} of {capacity} free (read index {read_index}, write index {write_index})"
    )]
    Full {
        /// Packets asked for.
        requested: u32,
        /// Packets that would fit now.
        free: u32,
        /// Packets in the ring.
        capacity: u32,
        /// Read index at that time.
        read_index: u64,
        /// Write index at that time.
        write_index: u64,
    },
    /// The request can never fit.
    #[error("{requested} packets can never fit a queue of {capacity}; reserve fewer or create a larger queue")]
    LargerThanRing {
        /// Packets asked for.
        requested: u32,
        /// Packets in the ring.
        capacity: u32,
    },
}

/// The producer's end of a queue; any number of threads may share it.
#[derive(Debug)]
pub struct Ring<P> {
    slots: SlotMemory,
    port: P,
    /// A read index that was seen: packets below it have been consumed. The true one is not asked while this leaves room, because the
    /// device writes it for every packet and its line would go back and forth.
    seen_consumed: AtomicU64,
    /// One past the highest index the doorbell has been rung with.
    rung: Mutex<u64>,
}

impl<P: QueuePort> Ring<P> {
    /// Joins a ring with its indices. The ring must be the only producer of this queue.
    pub fn new(slots: SlotMemory, port: P) -> Self {
        Self { slots, port, seen_consumed: AtomicU64::new(0), rung: Mutex::new(0) }
    }

    /// Packets in the ring.
    pub fn capacity(&self) -> NonZeroU32 {
        self.slots.packets
    }

    /// The queue's indices and doorbell.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// Reserves `packets` consecutive slots, or none.
    ///
    /// # Errors
    /// [`ReserveError`]; never waits.
    pub fn reserve(&self, packets: NonZeroU32) -> Result<Reservation<'_, P>, ReserveError> {
        let requested = packets.get();
        let mut write_index = self.port.load_write_index();
        loop {
            self.check_room(write_index, requested)?;
            let found = self.port.cas_write_index(write_index, write_index + u64::from(requested));
            if found == write_index {
                return Ok(Reservation::new(&self.slots, &self.port, Rung::Shared(&self.rung), write_index, requested));
            }
            write_index = found;
        }
    }

    #[inline(always)]
    fn check_room(&self, write_index: u64, requested: u32) -> Result<(), ReserveError> {
        // What another producer saw consumed happened before it stored what it saw.
        let used = write_index.saturating_sub(self.seen_consumed.load(Ordering::Acquire));
        if used.saturating_add(u64::from(requested)) <= u64::from(self.slots.packets.get()) {
            return Ok(());
        }
        self.look_for_room(write_index, requested)
    }

    #[inline(never)]
    fn look_for_room(&self, write_index: u64, requested: u32) -> Result<(), ReserveError> {
        let capacity = self.slots.packets.get();
        if requested > capacity {
            return Err(ReserveError::LargerThanRing { requested, capacity });
        }
        let read_index = self.port.load_read_index();
        // A read index beyond our older view of the write index says that the view is old, and the CAS will tell; or that the device has
        // lost its way, which must not be remembered as room.
        self.seen_consumed.store(read_index.min(write_index), Ordering::Release);
        let used = write_index.saturating_sub(read_index);
        if used + u64::from(requested) > u64::from(capacity) {
            let free = u64::from(capacity).saturating_sub(used) as u32;
            return Err(ReserveError::Full { requested, free, capacity, read_index, write_index });
        }
        Ok(())
    }

    /// The producer's end for somebody who shares it with nobody, as a queue of one producer has it (`HSA_QUEUE_TYPE_SINGLE`).
    pub fn sole_producer(&mut self) -> SoleProducer<'_, P> {
        SoleProducer { ring: self }
    }

    /// Publishes one packet and rings the doorbell; returns the packet's index.
    ///
    /// # Errors
    /// [`ReserveError::Full`]; never waits.
    pub fn submit(&self, packet: &impl Packet) -> Result<u64, ReserveError> {
        let mut reservation = self.reserve(NonZeroU32::MIN)?;
        let index = reservation.indices().start;
        reservation.write(packet);
        reservation.ring();
        Ok(index)
    }
}

/// The only producer of a queue: nothing has to be reserved against others, and no doorbell can be overtaken.
#[derive(Debug)]
pub struct SoleProducer<'ring, P> {
    ring: &'ring mut Ring<P>,
}

impl<P: QueuePort> SoleProducer<'_, P> {
    /// Reserves `packets` consecutive slots, or none.
    ///
    /// # Errors
    /// [`ReserveError`]; never waits.
    #[inline]
    pub fn reserve(&mut self, packets: NonZeroU32) -> Result<Reservation<'_, P>, ReserveError> {
        let first = self.ring.port.load_write_index();
        self.ring.check_room(first, packets.get())?;
        let Ring { slots, port, rung, .. } = &mut *self.ring;
        port.store_write_index(first + u64::from(packets.get()));
        let rung = rung.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(Reservation::new(slots, port, Rung::Alone(rung), first, packets.get()))
    }

    /// Publishes one packet and rings the doorbell; returns the packet's index. What a reservation of one slot does, in half its time: there
    /// is nothing to hand back when nothing comes between.
    ///
    /// # Errors
    /// [`ReserveError::Full`]; never waits.
    #[inline]
    pub fn submit(&mut self, packet: &impl Packet) -> Result<u64, ReserveError> {
        let index = self.ring.port.load_write_index();
        self.ring.check_room(index, 1)?;
        // Before the slot is taken: a packet that cannot be made must not leave it invalid.
        let words = packet.to_words();
        self.ring.port.store_write_index(index + 1);
        let slot = self.ring.slots.slot(index);
        slot.write_body(&words);
        slot.publish(words[0]);
        *self.ring.rung.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()) = index + 1;
        self.ring.port.ring_doorbell(index);
        self.ring.slots.expect_writing(index + 1);
        Ok(index)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::aql::{Header, PacketType, PacketWords, RawPacket, Slot};
    use std::sync::atomic::AtomicU64;

    #[derive(Default)]
    struct MemoryPort {
        read: AtomicU64,
        write: AtomicU64,
        doorbell: std::sync::Mutex<Vec<u64>>,
    }

    impl QueuePort for MemoryPort {
        fn load_read_index(&self) -> u64 {
            self.read.load(Ordering::Acquire)
        }
        fn load_write_index(&self) -> u64 {
            self.write.load(Ordering::Relaxed)
        }
        fn cas_write_index(&self, expected: u64, desired: u64) -> u64 {
            self.write.compare_exchange(expected, desired, Ordering::AcqRel, Ordering::Relaxed).unwrap_or_else(|found| found)
        }
        fn store_write_index(&self, index: u64) {
            self.write.store(index, Ordering::Release);
        }
        fn ring_doorbell(&self, index: u64) {
            self.doorbell.lock().unwrap().push(index);
        }
    }

    fn ring(packets: u32) -> (Ring<MemoryPort>, &'static [Slot]) {
        let slots: &'static [Slot] = Box::leak((0..packets).map(|_| Slot::invalid()).collect());
        // SAFETY: the slots are leaked, hence mapped for ever, and only atomics touch them.
        let memory = unsafe { SlotMemory::new(NonNull::from(slots).cast(), packets) };
        (Ring::new(memory.unwrap(), MemoryPort::default()), slots)
    }

    fn header(slot: &Slot) -> u16 {
        slot.first.load(Ordering::Relaxed) as u16
    }

    fn packet(tag: u32) -> RawPacket {
        let mut words = [tag; 16];
        words[0] = u32::from(Header::new(PacketType::KernelDispatch).to_bits());
        RawPacket(words)
    }

    fn count(packets: u32) -> NonZeroU32 {
        NonZeroU32::new(packets).unwrap()
    }

    #[test]
    fn a_published_packet_stands_whole_in_its_slot_and_the_doorbell_names_it() {
        let (ring, slots) = ring(4);
        assert_eq!(ring.submit(&packet(7)), Ok(0));
        assert_eq!([header(&slots[0]), header(&slots[1])], [2, 1]);
        assert_eq!(slots[0].consume(), Some(packet(7).0));
        assert_eq!(slots[0].consume(), None);
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [0]);
    }

    #[test]
    fn a_full_ring_refuses_and_moves_no_index() {
        let (ring, _) = ring(2);
        ring.submit(&packet(0)).unwrap();
        ring.submit(&packet(1)).unwrap();
        let full = ReserveError::Full { requested: 1, free: 0, capacity: 2, read_index: 0, write_index: 2 };
        assert_eq!(ring.submit(&packet(2)), Err(full));
        assert_eq!(ring.port().write.load(Ordering::Relaxed), 2);
        ring.port().read.store(1, Ordering::Release);
        assert_eq!(ring.submit(&packet(2)), Ok(2));
    }

    #[test]
    fn the_read_index_is_asked_for_only_when_what_was_seen_of_it_leaves_no_room() {
        let (ring, _) = ring(2);
        ring.port().read.store(0, Ordering::Release);
        ring.submit(&packet(0)).unwrap();
        ring.port().read.store(1, Ordering::Release);
        ring.submit(&packet(1)).unwrap();
        assert_eq!(ring.seen_consumed.load(Ordering::Relaxed), 0);
        ring.submit(&packet(2)).unwrap();
        assert_eq!(ring.seen_consumed.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_sole_producer_publishes_as_the_others_do_and_hands_the_ring_back() {
        let (mut ring, slots) = ring(2);
        let mut sole = ring.sole_producer();
        assert_eq!([sole.submit(&packet(7)), sole.submit(&packet(8))], [Ok(0), Ok(1)]);
        assert!(matches!(sole.submit(&packet(9)), Err(ReserveError::Full { free: 0, .. })));
        assert_eq!(slots[1].consume(), Some(packet(8).0));
        ring.port().read.store(2, Ordering::Release);
        assert_eq!(ring.submit(&packet(9)), Ok(2));
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn a_sole_producers_batch_takes_slots_as_the_others_do() {
        let (mut ring, slots) = ring(4);
        let mut sole = ring.sole_producer();
        let mut batch = sole.reserve(count(3)).unwrap();
        assert_eq!((batch.indices(), batch.write(&packet(1)), batch.write(&packet(2))), (0..3, Some(0), Some(1)));
        batch.ring();
        assert_eq!(
            PacketType::of_header(slots[2].consume().unwrap()[0] as u16),
            Ok(PacketType::BarrierAnd),
            "what was not written"
        );
        assert!(matches!(sole.reserve(count(2)).map(drop), Err(ReserveError::Full { free: 1, .. })));
        assert_eq!(sole.submit(&packet(3)), Ok(3));
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [2, 3]);
    }

    #[test]
    fn a_batch_larger_than_what_is_free_takes_nothing() {
        let (ring, _) = ring(4);
        ring.submit(&packet(0)).unwrap();
        assert!(matches!(ring.reserve(count(4)).map(drop), Err(ReserveError::Full { free: 3, .. })));
        assert!(matches!(ring.reserve(count(5)).map(drop), Err(ReserveError::LargerThanRing { capacity: 4, .. })));
        assert_eq!(ring.port().write.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_batch_that_is_filled_has_no_header_before_all_its_bodies_stand() {
        let (ring, slots) = ring(4);
        let mut batch = ring.reserve(count(3)).unwrap();
        batch.write(&packet(1));
        batch.fill_and(&packet(2), &packet(3), || {
            let headers = [0, 1, 2].map(|index: usize| header(&slots[index]));
            assert_eq!(headers, [2, 1, 1], "only what was written before is published");
        });
        assert_eq!((batch.remaining(), batch.write(&packet(4))), (0, None));
        batch.ring();
        assert_eq!([0, 1, 2].map(|index: usize| slots[index].consume()), [1, 2, 3].map(|tag| Some(packet(tag).0)));
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [2]);
    }

    #[test]
    fn a_batch_rings_once_with_its_last_index() {
        let (ring, slots) = ring(4);
        let mut batch = ring.reserve(count(3)).unwrap();
        assert_eq!([batch.write(&packet(0)), batch.write(&packet(1)), batch.write(&packet(2))], [Some(0), Some(1), Some(2)]);
        assert_eq!(batch.write(&packet(3)), None);
        batch.ring();
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [2]);
        assert_eq!(slots[2].consume(), Some(packet(2).0));
    }

    #[test]
    fn between_body_and_header_the_packet_stands_unpublished() {
        let (ring, slots) = ring(4);
        let mut reservation = ring.reserve(count(1)).unwrap();
        let mut header = None;
        let index = reservation.write_and(&packet(7), || {
            assert_eq!(slots[0].pairs[6].load(Ordering::Relaxed), 7 << 32 | 7);
            header = Some(slots[0].first.load(Ordering::Relaxed) as u16);
        });
        assert_eq!((index, PacketType::of_header(header.unwrap())), (Some(0), Ok(PacketType::Invalid)));
        assert_eq!(slots[0].first.load(Ordering::Relaxed) as u16, 2);
    }

    #[test]
    fn an_abandoned_reservation_leaves_no_invalid_slot_behind() {
        let (ring, slots) = ring(4);
        let mut batch = ring.reserve(count(3)).unwrap();
        batch.write(&packet(0));
        drop(batch);
        for slot in &slots[1..3] {
            assert_eq!(PacketType::of_header(slot.consume().unwrap()[0] as u16), Ok(PacketType::BarrierAnd));
        }
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [2]);
    }

    #[test]
    fn doorbell_values_never_fall_when_a_later_reservation_rings_first() {
        let (ring, _) = ring(4);
        let first = ring.reserve(count(1)).unwrap();
        let second = ring.reserve(count(1)).unwrap();
        second.ring();
        first.ring();
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [1, 1]);
    }

    #[test]
    fn slots_are_used_again_in_order_after_wrapping_around() {
        let (ring, slots) = ring(2);
        for index in 0..100_u64 {
            assert_eq!(ring.submit(&packet(index as u32)), Ok(index));
            assert_eq!(slots[(index % 2) as usize].consume(), Some(packet(index as u32).0));
            ring.port().read.store(index + 1, Ordering::Release);
        }
    }

    /// A device that says once that it has consumed more than was published must not get live packets overwritten for ever after.
    #[test]
    fn a_read_index_beyond_the_write_index_is_no_room_for_later() {
        let (ring, _) = ring(2);
        assert_eq!([ring.submit(&packet(0)), ring.submit(&packet(1))], [Ok(0), Ok(1)]);
        ring.port().read.store(1 << 40, Ordering::Release);
        assert_eq!(ring.submit(&packet(2)), Ok(2), "what the device says now has to be believed");
        ring.port().read.store(1, Ordering::Release);
        // Room for as much as had been published then, and for no more.
        assert_eq!(ring.submit(&packet(3)), Ok(3));
        for _ in 0..10 {
            assert!(matches!(ring.submit(&packet(4)), Err(ReserveError::Full { read_index: 1, write_index: 4, .. })));
        }
    }

    #[test]
    fn a_packet_that_cannot_be_made_leaves_no_invalid_slot_behind() {
        struct Unmakeable;
        impl Packet for Unmakeable {
            fn to_words(&self) -> PacketWords {
                panic!("there is no such packet");
            }
        }
        let (mut ring, slots) = ring(2);
        let attempt = std::panic::AssertUnwindSafe(|| ring.submit(&Unmakeable));
        assert!(std::panic::catch_unwind(attempt).is_err());
        assert_eq!(header(&slots[0]), Header::new(PacketType::BarrierAnd).to_bits(), "its slot was taken, and is empty");
        assert_eq!(*ring.port().doorbell.lock().unwrap(), [0]);
        let attempt = std::panic::AssertUnwindSafe(|| ring.sole_producer().submit(&Unmakeable));
        assert!(std::panic::catch_unwind(attempt).is_err());
        assert_eq!(ring.port().load_write_index(), 1, "no slot was taken");
    }

    #[test]
    fn a_size_that_is_no_power_of_two_is_no_ring() {
        let mut slot = Slot::invalid();
        for packets in [0, 3, 6] {
            // SAFETY: refused before any slot is touched.
            assert!(unsafe { SlotMemory::new(NonNull::from(&mut slot), packets) }.is_none());
        }
    }
}
