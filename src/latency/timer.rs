//! What the host's clock costs and resolves: every stage contains one reading of it.

use std::time::{Duration, Instant};

use crate::report::latency::TimerReport;

const READINGS: usize = 20_000;

/// Measures the clock that all stamps are taken with.
#[must_use]
pub fn measure() -> TimerReport {
    let mut stamps = Vec::with_capacity(READINGS);
    for _ in 0..READINGS {
        stamps.push(Instant::now());
    }
    describe(&stamps.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>())
}

/// `steps` are the differences of readings in a row. A clock coarser than its own cost shows equal readings, so the cost is the mean of
/// the middle half, which neither a coarse tick nor an interruption moves far.
fn describe(steps: &[Duration]) -> TimerReport {
    let mut sorted: Vec<Duration> = steps.to_vec();
    sorted.sort_unstable();
    let middle = &sorted[sorted.len() / 4..(sorted.len() * 3).div_ceil(4)];
    let total: Duration = middle.iter().sum();
    let overhead_ns = if middle.is_empty() { 0.0 } else { total.as_nanos() as f64 / middle.len() as f64 };
    let resolution_ns = sorted.iter().find(|step| !step.is_zero()).map_or(0.0, |step| step.as_nanos() as f64);
    TimerReport { clock: "CLOCK_MONOTONIC".to_owned(), overhead_ns, resolution_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_does_not_count_as_the_clocks_cost() {
        let mut steps = vec![Duration::from_nanos(20); 99];
        steps.push(Duration::from_millis(3));
        let timer = describe(&steps);
        assert_eq!((timer.overhead_ns, timer.resolution_ns), (20.0, 20.0));
    }

    #[test]
    fn a_clock_coarser_than_its_cost_is_described_by_its_tick_and_its_mean() {
        let steps: Vec<_> = (0..100).map(|step| Duration::from_nanos(if step % 2 == 0 { 0 } else { 100 })).collect();
        let timer = describe(&steps);
        assert_eq!((timer.overhead_ns, timer.resolution_ns), (50.0, 100.0));
    }
}
