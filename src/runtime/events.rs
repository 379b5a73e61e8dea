//! Events: how the device's interrupts, and the host's own signal updates, wake blocked waits.

use std::time::Duration;

use super::bell::Bell;
use crate::model::gpu::InterruptSink;

/// Event ids from here on belong to queues' inactive signals; below, to user signals. 0 means "no event".
pub const FIRST_QUEUE_EVENT: u32 = 0x8000_0000;

const BUCKETS: usize = 64;

/// How long a waiter sleeps between two looks at what no interrupt announces.
const POLL: Duration = Duration::from_micros(200);

/// Every event of the process.
#[derive(Debug)]
pub struct Events {
    /// The longest sleep that may be missed by nothing.
    longest_nap: Duration,
    user: [Bell; BUCKETS],
    queue_errors: Bell,
}

impl Events {
    /// No event has fired.
    #[must_use]
    pub fn new() -> Self {
        Self { longest_nap: Duration::MAX, user: std::array::from_fn(|_| Bell::default()), queue_errors: Bell::default() }
    }

    /// Events of a device that raises no interrupt: only the host rings them, so every sleep is short.
    #[must_use]
    pub fn without_interrupts() -> Self {
        Self { longest_nap: POLL, ..Self::new() }
    }

    /// How long a waiter may sleep that could sleep `at_most` if every change were announced.
    #[must_use]
    pub fn nap(&self, at_most: Duration) -> Duration {
        at_most.min(self.longest_nap)
    }

    /// The bell of a user signal's event. Signals that share one wake each other for nothing, which does no harm.
    #[must_use]
    pub const fn user(&self, event_id: u32) -> &Bell {
        &self.user[event_id as usize % BUCKETS]
    }

    /// The bell that rings when a queue fails.
    #[must_use]
    pub const fn queue_errors(&self) -> &Bell {
        &self.queue_errors
    }
}

impl InterruptSink for Events {
    fn raise(&self, event_id: u32) {
        match event_id {
            0 => {}
            FIRST_QUEUE_EVENT.. => self.queue_errors.ring(),
            _ => self.user(event_id).ring(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_sleeper_wakes_when_its_event_is_raised() {
        let events = Arc::new(Events::new());
        let done = Arc::new(AtomicBool::new(false));
        let (woken, woke) = mpsc::channel();
        let sleeper = {
            let (events, done) = (events.clone(), done.clone());
            thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    events.user(5).sleep_unless(LONG, || done.load(Ordering::SeqCst));
                }
                woken.send(()).unwrap();
            })
        };
        done.store(true, Ordering::SeqCst);
        events.raise(5);
        woke.recv_timeout(LONG).unwrap();
        sleeper.join().unwrap();
    }

    #[test]
    fn without_interrupts_a_waiter_looks_again_soon() {
        let rung_by_nobody = Events::without_interrupts();
        rung_by_nobody.user(5).sleep_unless(rung_by_nobody.nap(LONG), || false);
        assert_eq!(Events::new().nap(LONG), LONG);
    }

    #[test]
    fn a_queue_error_does_not_ring_a_user_event() {
        let events = Events::new();
        events.user.iter().chain([events.queue_errors()]).for_each(Bell::assume_a_sleeper);
        events.raise(FIRST_QUEUE_EVENT + 3);
        assert_eq!(events.queue_errors().wake_ups(), 1);
        events.raise(0);
        assert!(events.user.iter().all(|bell| bell.wake_ups() == 0));
        events.raise(3);
        assert_eq!(events.user(3).wake_ups(), 1);
    }
}
