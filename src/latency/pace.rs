//! When round trips start and when they end.
//!
//! With a rate the start times are fixed in advance and a round trip counts from its own, started or not: a slow one then shows in those
//! behind it, as it would for whoever had to wait (no coordinated omission; Tene, "How NOT to Measure Latency").

use std::thread;
use std::time::{Duration, Instant};

/// The start times of one producer.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    first: Instant,
    step: Duration,
}

/// A sleep may end this much later than it was asked to; the rest is waited for awake.
const OVERSLEEP: Duration = Duration::from_micros(250);

impl Schedule {
    /// The start times of producer `producer` of `producers`, who take turns at `rate` per second from `begin` on.
    #[must_use]
    pub fn new(begin: Instant, rate: f64, producer: u32, producers: u32) -> Self {
        let apart = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let producers = producers.max(1);
        let first = begin.checked_add(apart.saturating_mul(producer)).unwrap_or(begin);
        Self { first, step: apart.saturating_mul(producers) }
    }

    /// When round trip `index` of this producer is due; `None` beyond what the clock can say.
    #[must_use]
    pub fn due(&self, index: u64) -> Option<Instant> {
        let nanoseconds = self.step.as_nanos().checked_mul(u128::from(index))?;
        self.first.checked_add(Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }

    /// How many round trips of this producer are due before `end`.
    #[must_use]
    pub fn due_before(&self, end: Instant) -> u64 {
        let span = end.saturating_duration_since(self.first).as_nanos();
        u64::try_from(span.div_ceil(self.step.as_nanos().max(1))).unwrap_or(u64::MAX)
    }
}

/// Waits until `due`, awake at the end; returns at once when it has passed.
pub fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > OVERSLEEP * 2 {
            thread::sleep(left - OVERSLEEP);
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_take_turns_and_together_keep_the_rate() {
        let begin = Instant::now();
        let mut due: Vec<Instant> = (0..3)
            .flat_map(|producer| {
                let schedule = Schedule::new(begin, 1000.0, producer, 3);
                (0..4).map(move |index| schedule.due(index).unwrap())
            })
            .collect();
        due.sort_unstable();
        let wanted: Vec<Instant> = (0..12).map(|index| begin + Duration::from_millis(index)).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn what_is_due_before_an_end_is_counted_without_the_one_due_at_it() {
        let begin = Instant::now();
        let schedule = Schedule::new(begin, 1000.0, 1, 2);
        // Due at 1, 3, 5 ms.
        let counts = [0, 1, 2, 3, 4, 6].map(|end| schedule.due_before(begin + Duration::from_millis(end)));
        assert_eq!(counts, [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn a_time_beyond_the_clock_is_never_due() {
        assert_eq!(Schedule::new(Instant::now(), 0.001, 0, 1).due(u64::MAX), None);
    }
}
