//! Where the device's thread runs: not on the processor of the thread that rings its doorbells, while there is another.
//!
//! A GPU takes no processor from its host. A scheduler that wakes the device on the ringing thread's processor leaves the two there for
//! tenths of a second, because each is always too recently used to be moved: every round trip then holds the whole time for which the device
//! looks for the next packet.

use std::time::{Duration, Instant};

use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The shortest distance between two moves. On a machine whose processors are all busy a move only costs.
const MOVE_AT_MOST_EVERY: Duration = Duration::from_millis(10);

/// A processor, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Processor(pub(super) usize);

impl Processor {
    /// The one that runs the calling thread at this moment.
    pub(super) fn here() -> Self {
        Self(sched_getcpu())
    }
}

/// When the thread was last moved.
#[derive(Debug, Default)]
pub(super) struct Placement {
    moved: Option<Instant>,
}

impl Placement {
    /// Moves the calling thread to another processor if it runs on that of the thread that woke it, and lets the scheduler place it as
    /// before from there on. Without leave to run elsewhere it stays.
    pub(super) fn keep_off(&mut self, waker: Processor) {
        if waker == Processor::here() && self.moved.is_none_or(|moved| moved.elapsed() >= MOVE_AT_MOST_EVERY) {
            self.moved = Some(Instant::now());
            leave(waker);
        }
    }
}

/// Leaves a processor, if the calling thread is allowed another one. What the kernel refuses (a sandbox's filter) leaves it where it is.
fn leave(processor: Processor) {
    // The kernel refuses a set that is too small for its highest processor, so from here on every processor fits.
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut elsewhere = allowed;
    elsewhere.unset(processor.0);
    if elsewhere.count() > 0 && sched_setaffinity(None, &elsewhere).is_ok() {
        // Back to what was allowed, which the kernel has just granted.
        let _ = sched_setaffinity(None, &allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_leaves_its_wakers_processor_where_it_may_and_keeps_what_it_is_allowed() {
        let allowed = sched_getaffinity(None).unwrap();
        // The scheduler may bring the thread back at any time, so one move that is seen is what can be asked for.
        let moves = |_: usize| {
            let waker = Processor::here();
            Placement::default().keep_off(waker);
            Processor::here() != waker
        };
        assert_eq!((0..1000).any(moves), allowed.count() > 1);
        assert_eq!(sched_getaffinity(None).unwrap(), allowed);
    }

    #[test]
    fn a_thread_that_was_just_moved_stays() {
        let mut placement = Placement::default();
        // The scheduler may move the thread between the question where it is and the move.
        while placement.moved.is_none() {
            placement.keep_off(Processor::here());
        }
        let moved = placement.moved;
        placement.keep_off(Processor::here());
        assert!(moved.is_some_and(|moved| moved.elapsed() >= MOVE_AT_MOST_EVERY) || placement.moved == moved);
    }
}
