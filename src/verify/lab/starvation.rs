//! Time that a thread lost to others: it was ready to run and had no processor.

use std::fs;
use std::time::Duration;

/// The calling thread's lost time, from here on.
#[derive(Debug)]
pub struct Starvation {
    before: Duration,
}

impl Starvation {
    /// Starts to count.
    #[must_use]
    pub fn begin() -> Self {
        Self { before: lost() }
    }

    /// What the thread that began has lost since; zero where the kernel does not count it.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        lost().saturating_sub(self.before)
    }
}

/// Of the calling thread since it exists (Linux, Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat").
fn lost() -> Duration {
    fs::read_to_string("/proc/thread-self/schedstat").map_or(Duration::ZERO, |text| run_delay(&text))
}

/// The second of its three numbers: nanoseconds spent waiting on a run queue.
fn run_delay(schedstat: &str) -> Duration {
    schedstat.split_whitespace().nth(1).and_then(|field| field.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_the_run_queue_is_the_second_number() {
        assert_eq!(run_delay("2452340 332316 17\n"), Duration::from_nanos(332_316));
        assert_eq!(run_delay("0 0\n"), Duration::ZERO);
        assert_eq!(run_delay("no statistics"), Duration::ZERO);
        assert_eq!(run_delay(""), Duration::ZERO);
    }

    #[test]
    fn no_more_is_lost_than_has_passed() {
        let start = std::time::Instant::now();
        let starvation = Starvation::begin();
        std::thread::sleep(Duration::from_millis(20));
        let lost = starvation.elapsed();
        assert!(lost <= start.elapsed(), "{lost:?}");
    }
}
