//! A word to sleep on: Linux's futex, or under loom a model of it.

use std::time::Duration;

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicU32, Ordering, fence};

/// A 32-bit word, and who sleeps until it changes.
#[derive(Debug, Default)]
pub(super) struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    sleepers: model::Sleepers,
}

impl Futex {
    pub(super) fn load(&self) -> u32 {
        self.word.load(Ordering::SeqCst)
    }

    pub(super) fn increment(&self) {
        self.word.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(not(loom))]
impl Futex {
    /// Wakes every sleeper.
    pub(super) fn wake_all(&self) {
        // The only error would be a bad address, and a reference is none.
        let _ = rustix::thread::futex::wake(&self.word, rustix::thread::futex::Flags::PRIVATE, u32::MAX >> 1);
    }

    /// Sleeps while the word is `expected`, for `timeout` at most. Whatever ended the sleep (a wake, a changed word, a signal, the
    /// timeout), the caller looks again.
    pub(super) fn sleep_while(&self, expected: u32, timeout: Duration) {
        let timeout = rustix::time::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let _ = rustix::thread::futex::wait(&self.word, rustix::thread::futex::Flags::PRIVATE, expected, Some(&timeout));
    }
}

/// `futex(2)`: comparing the word and going to sleep are one step for whoever wakes.
#[cfg(loom)]
mod model {
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(super) struct Sleepers {
        pub queue: Mutex<()>,
        pub woken: Condvar,
    }

    impl Default for Sleepers {
        fn default() -> Self {
            Self { queue: Mutex::new(()), woken: Condvar::new() }
        }
    }
}

#[cfg(loom)]
impl Futex {
    pub(super) fn wake_all(&self) {
        let _queue = self.sleepers.queue.lock().unwrap();
        self.sleepers.woken.notify_all();
    }

    /// Without a timeout: a wake-up that is lost is a deadlock, which loom reports.
    pub(super) fn sleep_while(&self, expected: u32, _timeout: Duration) {
        let queue = self.sleepers.queue.lock().unwrap();
        // The kernel's barriers around its own lock make it see the latest value, as a read-modify-write does here.
        if self.word.fetch_add(0, Ordering::SeqCst) == expected {
            drop(self.sleepers.woken.wait(queue).unwrap());
        }
    }
}
