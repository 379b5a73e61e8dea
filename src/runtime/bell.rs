//! What wakes blocked waits. Names nothing but [`super::futex`], so that loom builds it by itself.

use std::time::Duration;

use super::futex::{AtomicU32, Futex, Ordering, fence};

/// A futex word that counts wake-ups, and how many threads sleep on it.
///
/// A sleeper registers, notes the count, checks its condition, and sleeps only while the count is unchanged. Whoever makes the
/// condition true does so before [`Self::ring`]. The registration and the fence before the look for sleepers are sequentially
/// consistent, so either the sleeper sees the condition or the ringer sees the sleeper. Where nobody sleeps nothing is written: the
/// line stays with both cores.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Bell {
    rung: Futex,
    sleepers: AtomicU32,
}

impl Bell {
    /// Wakes every sleeper.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            self.rung.increment();
            self.rung.wake_all();
        }
    }

    /// Sleeps until the bell rings or `timeout` has passed, unless `done` already holds; may also wake for no reason.
    pub fn sleep_unless(&self, timeout: Duration, done: impl FnOnce() -> bool) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let rung = self.rung.load();
        if !done() {
            self.rung.sleep_while(rung, timeout);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// From now on as if somebody slept.
    #[cfg(all(test, not(loom)))]
    pub(super) fn assume_a_sleeper(&self) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
    }

    /// How often it had somebody to wake.
    #[cfg(all(test, not(loom)))]
    pub(super) fn wake_ups(&self) -> u32 {
        self.rung.load()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_sleep_when_the_condition_already_holds() {
        Bell::default().sleep_unless(Duration::from_secs(60), || true);
    }
}
