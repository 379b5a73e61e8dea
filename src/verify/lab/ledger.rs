//! What a case has asked of the device, packet by packet: how many AtomicOps are due, and who waits behind whom.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use crate::aql::{BarrierBit, Header, PacketWords};
use crate::hsa::{Queue, Signal};

/// The accounts of one case.
#[derive(Debug, Default)]
pub struct Ledger {
    queues: RefCell<Vec<Account>>,
    signals: Vec<Countdown>,
    packets: Vec<Entry>,
    /// AtomicOps that are no packet's decrement; `None` once nobody can say how many.
    others: Others,
    due: Cell<Option<u64>>,
}

/// AtomicOps of kernels.
#[derive(Clone, Copy, Debug)]
struct Others(Option<u64>);

impl Default for Others {
    fn default() -> Self {
        Self(Some(0))
    }
}

#[derive(Debug)]
struct Account {
    id: u64,
    queue: Weak<Queue>,
    stamped: bool,
}

/// A signal and what it held when it was made.
#[derive(Debug)]
struct Countdown {
    signal: Arc<Signal>,
    initial: i64,
    end_ts: u64,
}

/// A published packet.
#[derive(Clone, Copy, Debug)]
struct Entry {
    queue: u64,
    index: u64,
    /// Handle of its completion signal, 0 for none.
    signal: u64,
    barrier: bool,
}

impl Entry {
    fn read(queue: u64, index: u64, words: &PacketWords) -> Self {
        Self {
            queue,
            index,
            signal: u64::from(words[14]) | u64::from(words[15]) << 32,
            barrier: Header::try_from(words[0] as u16).is_ok_and(|header| header.barrier == BarrierBit::Set),
        }
    }
}

impl Ledger {
    /// A queue of the case; whether its packets are stamped.
    pub fn open(&self, queue: &Arc<Queue>, stamped: bool) {
        self.queues.borrow_mut().push(Account { id: queue.id(), queue: Arc::downgrade(queue), stamped });
    }

    /// A signal of the case.
    pub fn count_from(&mut self, signal: &Arc<Signal>, initial: i64) {
        let end_ts = signal.snapshot().map_or(0, |fields| fields.end_ts);
        self.signals.push(Countdown { signal: Arc::clone(signal), initial, end_ts });
    }

    /// A packet was published.
    pub fn submitted(&mut self, queue: &Queue, index: u64, words: &PacketWords) {
        self.packets.push(Entry::read(queue.id(), index, words));
    }

    /// A kernel has AtomicOps of its own.
    pub fn asks(&mut self, count: Option<u64>) {
        self.others = Others(self.others.0.zip(count).map(|(asked, count)| asked + count));
    }

    /// AtomicOps that the device was asked for, where that is a number.
    pub fn asked(&self) -> Option<u64> {
        let decrements = self.packets.iter().filter(|packet| packet.signal != 0).count() as u64;
        self.others.0.map(|others| others + decrements)
    }

    /// Notes how many of them were due by now: packets that the device has not taken have not asked for theirs, on whatever queue they
    /// are. Only as long as the queues live.
    pub fn settle(&self) {
        let left = self.packets.iter().filter(|packet| packet.signal != 0 && !self.is_taken(packet)).count() as u64;
        self.due.set(self.asked().map(|asked| asked - left));
    }

    /// What [`Self::settle`] noted last.
    pub fn due(&self) -> Option<u64> {
        self.due.get()
    }

    /// Whether every packet of the case was taken.
    pub fn all_taken(&self) -> bool {
        self.packets.iter().all(|packet| self.is_taken(packet))
    }

    /// Whether the device stamps the packets of this queue.
    pub fn is_stamped(&self, queue: &Queue) -> bool {
        self.queues.borrow().iter().any(|account| account.id == queue.id() && account.stamped)
    }

    /// Whether the stamps of this signal show that its packet ran: they are one packet's alone, and were written.
    pub fn stamps_tell(&self, signal: &Signal) -> bool {
        let packets = self.packets.iter().filter(|packet| packet.signal == signal.handle()).count();
        let written = |known: &Countdown| known.signal.snapshot().is_some_and(|fields| fields.end_ts != known.end_ts);
        packets <= 1 && self.signals.iter().any(|known| known.signal.handle() == signal.handle() && written(known))
    }

    /// The packet at the head of the ring, if its barrier bit holds it behind one that was taken and has not completed: the index of
    /// the one that waits.
    pub fn held(&self, queue: &Queue) -> Option<u64> {
        let head = queue.read_index();
        let here = |packet: &&Entry| packet.queue == queue.id();
        let waits = self.packets.iter().filter(here).any(|packet| packet.index == head && packet.barrier);
        let behind = self.packets.iter().filter(here).any(|packet| packet.index < head && self.is_outstanding(packet.signal));
        (waits && behind).then_some(head)
    }

    /// Whether a signal has not gone down for every packet that was taken.
    fn is_outstanding(&self, handle: u64) -> bool {
        let taken = self.packets.iter().filter(|packet| packet.signal == handle && self.is_taken(packet)).count() as i64;
        let known = self.signals.iter().find(|known| known.signal.handle() == handle);
        known.is_some_and(|known| known.initial.saturating_sub(known.signal.load()) < taken)
    }

    /// A queue that is gone has been waited for.
    fn is_taken(&self, packet: &Entry) -> bool {
        let queues = self.queues.borrow();
        let queue = queues.iter().find(|account| account.id == packet.queue).and_then(|account| account.queue.upgrade());
        queue.is_none_or(|queue| packet.index < queue.read_index())
    }
}
