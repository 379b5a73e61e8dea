//! A packet that the device does not take: what makes it take it says what was wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd, QueuePort};
use crate::hsa::{Queue, QueueKind};
use crate::report::{Outcome, Remedy, SecondLook};
use crate::verify::event::Pace;

use super::{BRIEFLY, Context, PATIENCE, Stop, poll, system_header};

/// A packet without effect.
fn empty() -> BarrierAnd {
    BarrierAnd::new(system_header(), [0; BARRIER_DEPENDENCIES], 0)
}

impl Context<'_> {
    /// What it means that the device does not take a packet: that it waits for one before it, or that it was not heard of.
    pub fn not_taken(&mut self, queue: &Queue, index: u64) -> Stop {
        let taken = poll(self.deadline() + Pace::LATE_WINDOW, || queue.read_index() > index);
        if let Some(head) = self.ledger.held(queue).filter(|_| !taken) {
            self.note(format!("packet {head} is held by its barrier bit behind one whose completion has not arrived"));
            self.record_queue(queue);
            return Stop(Outcome::CompletionLost);
        }
        self.prod(queue, index);
        Stop(Outcome::PacketNotFetched)
    }

    /// A look at a packet that the device does not take, after its doorbell was rung again, and after it was rung further.
    ///
    /// The doorbell holds the highest index that was published, so ringing it again changes nothing on a device that heard it. A
    /// device that compares it with a value of an earlier queue may only hear one that is higher, which packets without effect
    /// make legal.
    pub fn prod(&mut self, queue: &Queue, index: u64) {
        /// How long the next value of the doorbell is given, which tells a ring that was lost from one that was not believed.
        const NEXT: Duration = Duration::from_millis(100);
        /// How long each further value is given.
        const STEP: Duration = Duration::from_millis(4);
        let taken = || queue.read_index() > index;
        if poll(self.deadline() + Pace::LATE_WINDOW, taken) {
            self.evidence.second_look = Some(SecondLook { after: Remedy::Waiting, taken: true, output: None });
            self.record_queue(queue);
            return;
        }
        queue.ring().port().ring_doorbell(queue.write_index().saturating_sub(1));
        let heard_unchanged = poll(Instant::now() + PATIENCE, taken);
        let mut look = SecondLook { after: Remedy::RingingAgain, taken: heard_unchanged, output: None };
        // The next value alone is a ring that was heard, where a device only hears values that it has not seen. A full ring ends it.
        let (mut after, mut span) = (Remedy::RingingAgain, NEXT);
        while !look.taken && queue.ring().submit(&empty()).is_ok() {
            look = SecondLook { after, taken: poll(Instant::now() + span, taken), output: None };
            (after, span) = (Remedy::RingingFurther, STEP);
        }
        // A value that an earlier queue left is passed by the next one where that queue was told no more than this one, and by none that
        // this ring has room for where it was told much more.
        let further = look.taken && look.after == Remedy::RingingFurther;
        if !heard_unchanged && !further && self.recycled_doorbells_are_stale() {
            look.after = Remedy::RecyclingQueue;
        }
        self.evidence.second_look = Some(look);
        self.record_queue(queue);
    }

    /// Whether a queue that is created on the slot of another hears nothing up to exactly the value that the other was told: a doorbell
    /// that loses single rings does not do that.
    fn recycled_doorbells_are_stale(&self) -> bool {
        /// More than all cases together tell a doorbell.
        const PACKETS: u32 = 4_096;
        /// How many packets are published between two looks.
        const STRIDE: u64 = 64;
        const STEP: Duration = Duration::from_millis(8);
        /// Rings that are far enough apart for the device to see each.
        const APART: u64 = 6;
        const LONG: Duration = Duration::from_millis(1_000);
        let packets = self.agent().queue_packets().map_or(PACKETS, |sizes| PACKETS.clamp(*sizes.start(), *sizes.end()));
        let open = || self.queue(packets, QueueKind::Single).ok();
        let publish = |queue: &Queue, count: u64| (0..count).all(|_| queue.ring().submit(&empty()).is_ok());
        let all_taken = |queue: &Queue| queue.read_index() >= queue.write_index();
        let Some(first): Option<Arc<Queue>> = open() else { return false };
        // Its own slot may hold a value as well, so it is told more until it has heard.
        let heard = (0..u64::from(packets) / STRIDE - 1)
            .any(|_| publish(&first, STRIDE) && poll(Instant::now() + STEP, || first.read_index() > 0));
        if !heard || !poll(Instant::now() + LONG, || all_taken(&first)) {
            return false;
        }
        let told = first.write_index();
        drop(first);
        let Some(second) = open() else { return false };
        let unheard = |count| publish(&second, count) && !poll(Instant::now() + BRIEFLY, || second.read_index() > 0);
        let deaf = (0..APART).all(|_| unheard(1)) && unheard(told - APART);
        deaf && publish(&second, 1) && poll(Instant::now() + LONG, || all_taken(&second))
    }
}
