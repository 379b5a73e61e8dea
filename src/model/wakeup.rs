//! The sleep of the device's thread, and what ends it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use super::placement::Processor;

/// Ends the device thread's sleep.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
    /// The processor from which the thread was woken since it last looked, plus one; 0 where nobody has woken it.
    waker: AtomicUsize,
}

impl Wakeup {
    /// To be called after the news has been stored: either the thread sees the news before it sleeps, or we see it asleep.
    #[inline]
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake_sleeper();
        }
    }

    #[cold]
    fn wake_sleeper(&self) {
        if let Some(thread) = self.thread.get() {
            self.waker.store(Processor::here().0 + 1, Ordering::Relaxed);
            thread.unpark();
        }
    }

    /// Says which thread it is that sleeps. The first word counts.
    pub(super) fn set_sleeper(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Sleeps unless there is news. Where somebody ended the sleep, their processor.
    pub(super) fn sleep(&self, limit: Duration, has_news: impl FnOnce() -> bool) -> Option<Processor> {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_news() {
            thread::park_timeout(limit);
        }
        self.asleep.store(false, Ordering::SeqCst);
        self.waker.swap(0, Ordering::Relaxed).checked_sub(1).map(Processor)
    }
}
