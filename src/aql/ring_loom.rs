//! The ring against a model consumer, under every interleaving that loom finds with a bounded number of preemptions.
//!
//! Two consumers, because a device may do either: one polls the slots and never looks at the doorbell, so that only the ring's
//! own stores order anything; the other sleeps until its doorbell is written.

use std::num::NonZeroU32;
use std::ptr::NonNull;

use loom::model::Builder;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::header::{Header, PacketType};
use super::packet::{PacketWords, RawPacket};
use super::ring::{QueuePort, Ring};
use super::slot::{Slot, SlotMemory};

/// The doorbell register: its value, and how often it was written.
#[derive(Default)]
struct Doorbell {
    value: u64,
    writes: u64,
}

/// What device and producers share.
struct Shared {
    slots: Box<[Slot]>,
    read_index: AtomicU64,
    write_index: AtomicU64,
    doorbell: Mutex<Doorbell>,
    written: Condvar,
    wiring: Wiring,
}

impl Shared {
    fn slot(&self, index: u64) -> &Slot {
        &self.slots[index as usize % self.slots.len()]
    }
}

/// Whether the device hears its doorbell. Unheard, it must not order anything either.
#[derive(Clone, Copy, PartialEq)]
enum Wiring {
    Connected,
    Unheard,
}

struct Port(Arc<Shared>);

impl QueuePort for Port {
    fn load_read_index(&self) -> u64 {
        self.0.read_index.load(Ordering::Acquire)
    }
    fn load_write_index(&self) -> u64 {
        self.0.write_index.load(Ordering::Relaxed)
    }
    fn cas_write_index(&self, expected: u64, desired: u64) -> u64 {
        self.0.write_index.compare_exchange(expected, desired, Ordering::AcqRel, Ordering::Relaxed).unwrap_or_else(|found| found)
    }
    fn store_write_index(&self, index: u64) {
        self.0.write_index.store(index, Ordering::Release);
    }
    fn ring_doorbell(&self, index: u64) {
        if self.0.wiring == Wiring::Unheard {
            return;
        }
        let mut doorbell = self.0.doorbell.lock().unwrap();
        assert!(index >= doorbell.value, "the doorbell fell from {} to {index}", doorbell.value);
        *doorbell = Doorbell { value: index, writes: doorbell.writes + 1 };
        self.0.written.notify_one();
    }
}

fn queue(packets: u32, wiring: Wiring) -> (Arc<Shared>, Arc<Ring<Port>>) {
    let shared = Arc::new(Shared {
        slots: (0..packets).map(|_| Slot::invalid()).collect(),
        read_index: AtomicU64::new(0),
        write_index: AtomicU64::new(0),
        doorbell: Mutex::new(Doorbell::default()),
        written: Condvar::new(),
        wiring,
    });
    // SAFETY: the port inside the ring keeps the slots alive as long as the ring; only atomics touch them.
    let memory = unsafe { SlotMemory::new(NonNull::from(&*shared.slots).cast(), packets) }.unwrap();
    let ring = Arc::new(Ring::new(memory, Port(Arc::clone(&shared))));
    (shared, ring)
}

/// A packet whose every word but the header is its producer's mark.
fn marked(mark: u32) -> RawPacket {
    let mut words = [mark; 16];
    words[0] = u32::from(Header::new(PacketType::KernelDispatch).to_bits());
    RawPacket(words)
}

/// The mark of a whole packet.
fn mark_of(words: &PacketWords) -> u32 {
    assert!(words[1..].iter().all(|word| *word == words[1]), "torn packet {words:x?}");
    words[1]
}

fn submit(ring: &Ring<Port>, mark: u32) {
    while ring.submit(&marked(mark)).is_err() {
        thread::yield_now();
    }
}

/// The mark of packet `index`, if it is published.
fn take(shared: &Shared, index: u64) -> Option<u32> {
    let words = shared.slot(index).consume()?;
    shared.read_index.store(index + 1, Ordering::Release);
    Some(mark_of(&words))
}

/// A device that polls the slots.
fn poll(shared: &Shared, packets: u64) -> Vec<u32> {
    (0..packets)
        .map(|index| {
            loop {
                match take(shared, index) {
                    Some(mark) => break mark,
                    None => thread::yield_now(),
                }
            }
        })
        .collect()
}

/// A device that looks at its queue only when the doorbell is written, and no further than its value.
fn serve(shared: &Shared, packets: u64) -> Vec<u32> {
    let mut marks = Vec::new();
    let mut seen = 0;
    while (marks.len() as u64) < packets {
        let end = {
            let mut doorbell = shared.doorbell.lock().unwrap();
            while doorbell.writes == seen {
                doorbell = shared.written.wait(doorbell).unwrap();
            }
            seen = doorbell.writes;
            doorbell.value + 1
        };
        while (marks.len() as u64) < end {
            let Some(mark) = take(shared, marks.len() as u64) else { break };
            marks.push(mark);
        }
    }
    marks
}

/// Runs `scenario` under loom. Any deadlock (a packet nobody will look at) fails it, too.
fn explore(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(scenario);
}

#[test]
fn one_producer_wraps_the_ring_before_a_polling_device_without_tearing_or_reusing_a_slot_early() {
    explore(3, || {
        let (shared, ring) = queue(2, Wiring::Unheard);
        let producer = thread::spawn(move || (1..=3).for_each(|mark| submit(&ring, mark)));
        assert_eq!(poll(&shared, 3), [1, 2, 3]);
        producer.join().unwrap();
    });
}

#[test]
fn a_sole_producer_wraps_the_ring_before_a_polling_device_without_tearing_or_reusing_a_slot_early() {
    explore(3, || {
        let (shared, ring) = queue(2, Wiring::Unheard);
        let mut ring = Arc::try_unwrap(ring).ok().unwrap();
        let producer = thread::spawn(move || {
            let mut sole = ring.sole_producer();
            for mark in 1..=3 {
                while sole.submit(&marked(mark)).is_err() {
                    thread::yield_now();
                }
            }
        });
        assert_eq!(poll(&shared, 3), [1, 2, 3]);
        producer.join().unwrap();
    });
}

#[test]
fn one_producer_wakes_a_sleeping_device_for_every_packet() {
    explore(3, || {
        let (shared, ring) = queue(2, Wiring::Connected);
        let producer = thread::spawn(move || (1..=3).for_each(|mark| submit(&ring, mark)));
        assert_eq!(serve(&shared, 3), [1, 2, 3]);
        producer.join().unwrap();
    });
}

/// Nobody waits here, so that loom can follow three threads: a full ring is given up, an empty slot is passed over.
#[test]
fn two_producers_take_turns_at_the_only_slot_of_a_polling_device() {
    // Three preemptions: one producer remembers what it saw consumed, and another takes the slot on the strength of that.
    explore(3, || {
        let (shared, ring) = queue(1, Wiring::Unheard);
        let other = Arc::clone(&ring);
        let attempt = |ring: &Ring<Port>, marks: &[u32]| -> Vec<u32> {
            marks.iter().copied().filter(|mark| ring.submit(&marked(*mark)).is_ok()).collect()
        };
        let producers = [thread::spawn(move || attempt(&ring, &[1, 3])), thread::spawn(move || attempt(&other, &[2]))];
        let mut taken = Vec::new();
        (0..2).for_each(|_| taken.extend(take(&shared, taken.len() as u64)));
        let mut published: Vec<u32> = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        while let Some(mark) = take(&shared, taken.len() as u64) {
            taken.push(mark);
        }
        taken.sort_unstable();
        published.sort_unstable();
        assert_eq!(taken, published);
    });
}

#[test]
fn two_producers_never_lower_the_doorbell_nor_leave_a_packet_that_nobody_looks_at() {
    explore(3, || {
        let (shared, ring) = queue(2, Wiring::Connected);
        let other = Arc::clone(&ring);
        let producers = [thread::spawn(move || submit(&ring, 1)), thread::spawn(move || submit(&other, 2))];
        let mut marks = serve(&shared, 2);
        marks.sort_unstable();
        assert_eq!(marks, [1, 2]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn a_batch_beside_a_single_packet_keeps_its_slots_together() {
    explore(2, || {
        let (shared, ring) = queue(2, Wiring::Connected);
        let other = Arc::clone(&ring);
        let single = thread::spawn(move || submit(&other, 9));
        let batch = thread::spawn(move || {
            let mut reservation = loop {
                match ring.reserve(NonZeroU32::new(2).unwrap()) {
                    Ok(reservation) => break reservation,
                    Err(_) => thread::yield_now(),
                }
            };
            reservation.write(&marked(1));
            reservation.write(&marked(2));
            reservation.ring();
        });
        let marks = serve(&shared, 3);
        assert!(marks == [1, 2, 9] || marks == [9, 1, 2], "{marks:?}");
        single.join().unwrap();
        batch.join().unwrap();
    });
}
