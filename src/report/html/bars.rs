//! The bars of a latency histogram.

use crate::report::latency::{Bucket, Distribution};

/// As many as a phone can show apart.
const MOST: f64 = 40.0;

/// Samples between two times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub from_ns: f64,
    pub to_ns: f64,
    pub count: u64,
}

/// From the samples themselves, where the report has them: its buckets are coarser than the spread of an ordinary measurement.
pub(super) fn bars(distribution: &Distribution, samples_ns: &[u64]) -> Vec<Bar> {
    if samples_ns.is_empty() { of_buckets(&distribution.buckets) } else { of_samples(samples_ns) }
}

/// Each over all that its bucket spans. Times are whole nanoseconds, so each one stands for half a nanosecond to both sides.
fn of_buckets(buckets: &[Bucket]) -> Vec<Bar> {
    let bar = |bucket: &Bucket| Bar {
        from_ns: bucket.from_ns as f64 - 0.5,
        to_ns: bucket.to_ns.max(bucket.from_ns) as f64 + 0.5,
        count: bucket.count,
    };
    buckets.iter().filter(|bucket| bucket.count > 0).map(bar).collect()
}

/// Bars side by side, of about the same width on a logarithmic axis. Each spans as many steps of the clock as it must so that none
/// is empty only because no time could fall into it.
fn of_samples(samples_ns: &[u64]) -> Vec<Bar> {
    let mut sorted = samples_ns.to_vec();
    sorted.sort_unstable();
    let (Some(&lowest), Some(&highest)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let step = Step::of(&sorted);
    let growth = width(&sorted).exp_m1();
    let half = step.nanoseconds as f64 / 2.0;
    let mut bars = Vec::new();
    let (mut from, mut counted) = (lowest, 0);
    loop {
        let steps = (from as f64 * growth / step.least() as f64).round().max(1.0) as u64;
        let to = from.saturating_add(step.least().saturating_mul(steps));
        let is_last = to > highest || to == u64::MAX;
        let below = if is_last { sorted.len() } else { sorted.partition_point(|sample| *sample < to) };
        bars.push(Bar { from_ns: from as f64 - half, to_ns: to as f64 - half, count: (below - counted) as u64 });
        if is_last {
            return bars;
        }
        (from, counted) = (to, below);
    }
}

/// Width of a bar as a difference of logarithms: by Freedman and Diaconis (1981), not wider than by Rice's rule, and with room for all.
fn width(sorted: &[u64]) -> f64 {
    let at = |rank: usize| sorted.get(rank).map_or(0.0, |sample| (*sample).max(1) as f64).ln();
    let count = sorted.len();
    let (range, root) = (at(count - 1) - at(0), (count as f64).cbrt());
    let quartiles = at(count * 3 / 4) - at(count / 4);
    let by_spread = if quartiles > 0.0 { 2.0 * quartiles / root } else { 0.0 };
    by_spread.min(range / (2.0 * root)).max(range / MOST)
}

/// What times differ by at least.
struct Step {
    nanoseconds: u64,
    /// Whether every time is a whole number of steps from the lowest: not so where a step is a fraction, as 125/3 ns.
    is_exact: bool,
}

impl Step {
    /// A clock coarser than a nanosecond shows in that most samples have an equal.
    fn of(sorted: &[u64]) -> Self {
        let gaps = || sorted.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0);
        let smallest = gaps().min().filter(|_| gaps().count() < sorted.len() / 2);
        let (nanoseconds, lowest) = (smallest.unwrap_or(1), sorted.first().copied().unwrap_or_default());
        Self { nanoseconds, is_exact: sorted.iter().all(|sample| (sample - lowest).is_multiple_of(nanoseconds)) }
    }

    /// The narrowest bar into which some time is sure to fall.
    fn least(&self) -> u64 {
        if self.is_exact { self.nanoseconds } else { self.nanoseconds.saturating_mul(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles of a triangular distribution around `middle`, which ends at `spread` of it to both sides.
    fn unimodal(middle: f64, spread: f64) -> Vec<u64> {
        let quantile = |share: f64| if share < 0.5 { (2.0 * share).sqrt() - 1.0 } else { 1.0 - (2.0 - 2.0 * share).sqrt() };
        (0..4000).map(|at| (middle * (1.0 + spread * quantile((f64::from(at) + 0.5) / 4000.0))) as u64).collect()
    }

    fn counted(bars: &[Bar]) -> u64 {
        bars.iter().map(|bar| bar.count).sum()
    }

    #[test]
    fn a_narrow_unimodal_set_has_no_empty_bar_between_its_first_and_last() {
        for spread in [0.005, 0.02, 0.08] {
            let bars = of_samples(&unimodal(6_500.0, spread));
            assert!(bars.len() >= 10, "{spread}: {} bars", bars.len());
            assert!(bars.iter().all(|bar| bar.count > 0), "{spread}: {bars:?}");
            assert!(bars.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
            assert_eq!(counted(&bars), 4000);
        }
    }

    /// A clock of 24 MHz: times are multiples of 125/3 ns, cut to whole nanoseconds.
    #[test]
    fn a_coarse_clock_leaves_no_gaps() {
        for ticks in [1, 3] {
            let samples: Vec<u64> = (0..4000).map(|at| (150 + at % 20 * ticks) * 125 / 3).collect();
            let bars = of_samples(&samples);
            assert!(bars.iter().all(|bar| bar.count > 0), "{bars:?}");
            assert_eq!(counted(&bars), 4000);
        }
    }

    #[test]
    fn a_gap_that_is_in_the_samples_stays_one() {
        let mut samples = unimodal(5_000.0, 0.05);
        samples.extend(unimodal(50_000.0, 0.05));
        let bars = of_samples(&samples);
        assert!(bars.iter().any(|bar| bar.count == 0 && bar.from_ns > 6_000.0 && bar.to_ns < 40_000.0));
        assert_eq!(counted(&bars), 8000);
    }

    #[test]
    fn equal_samples_are_one_bar_around_their_value() {
        assert_eq!(of_samples(&[8_000; 10]), [Bar { from_ns: 7_999.5, to_ns: 8_000.5, count: 10 }]);
        assert_eq!(of_samples(&[7]), [Bar { from_ns: 6.5, to_ns: 7.5, count: 1 }]);
    }

    #[test]
    fn the_ends_of_what_a_time_can_be_are_counted() {
        let bars = of_samples(&[0, 1, 1_000_000, u64::MAX]);
        assert_eq!(counted(&bars), 4);
        assert!(bars.len() < 200, "{} bars", bars.len());
    }

    #[test]
    fn without_samples_a_bar_spans_all_of_its_bucket() {
        let bucket = |from_ns, to_ns, count| Bucket { from_ns, to_ns, count };
        assert_eq!(
            of_buckets(&[bucket(6_144, 6_399, 3), bucket(6_400, 6_655, 5), bucket(6_656, 6_911, 0)]),
            [Bar { from_ns: 6_143.5, to_ns: 6_399.5, count: 3 }, Bar { from_ns: 6_399.5, to_ns: 6_655.5, count: 5 },]
        );
    }
}
