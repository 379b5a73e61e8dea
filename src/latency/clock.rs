//! The device's times on the host's clock.
//!
//! A runtime gives dispatch times in ticks of its system clock (`hsa_amd_profiling_get_dispatch_time`), which can be read at any time
//! (`HSA_SYSTEM_INFO_TIMESTAMP`). Reading it between two readings of the host's clock brackets it: the tick was taken somewhere between
//! the two. Many brackets over the whole measurement give a line. At a bracket the line may be off by half the bracket and what the
//! bracket's middle is off the line; between two brackets, if both clocks run evenly, by no more than at the worse of them. So the bound is
//! the largest of these sums, and one tick. Where a measurement reaches beyond the brackets, that is said ([`ClockMap::doubts`]). What the
//! runtime itself is off when it translates the GPU's counter into its system clock cannot be seen from here.

use std::time::Instant;

use crate::hsa::{HsaError, Runtime, Ticks};
use crate::report::latency::ClockReport;

/// A reading of the device's clock between two of the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    /// Host's clock before, in nanoseconds since the measurement's epoch.
    pub before_ns: f64,
    /// The device's clock.
    pub device: Ticks,
    /// Host's clock after.
    pub after_ns: f64,
}

/// Readings of which the narrowest is kept.
const TRIES: usize = 4;

impl Bracket {
    /// Reads both clocks a few times and keeps the narrowest reading.
    ///
    /// # Errors
    /// The runtime does not say its time.
    pub fn take(runtime: &Runtime, epoch: Instant) -> Result<Self, HsaError> {
        let mut best: Option<Self> = None;
        for _ in 0..TRIES {
            let before = Instant::now();
            let device = runtime.timestamp()?;
            let after = Instant::now();
            let bracket = Self { before_ns: since(epoch, before), device, after_ns: since(epoch, after) };
            if best.is_none_or(|best| bracket.width() < best.width()) {
                best = Some(bracket);
            }
        }
        best.ok_or(HsaError::NotProvided { function: "hsa_system_get_info" })
    }

    fn width(&self) -> f64 {
        self.after_ns - self.before_ns
    }

    fn middle(&self) -> f64 {
        (self.before_ns + self.after_ns) / 2.0
    }
}

/// Nanoseconds from `epoch` to `at`, negative before it.
#[must_use]
pub fn since(epoch: Instant, at: Instant) -> f64 {
    match at.checked_duration_since(epoch) {
        Some(after) => after.as_nanos() as f64,
        None => -(epoch.saturating_duration_since(at).as_nanos() as f64),
    }
}

/// The line from device ticks to host nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockMap {
    origin: Ticks,
    offset_ns: f64,
    ns_per_tick: f64,
    slope: Slope,
    /// From the first to the last bracket that counts, in nanoseconds since the measurement's epoch.
    reach_ns: (f64, f64),
    report: ClockReport,
}

/// Where the pace of the device's clock comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slope {
    /// The brackets.
    Measured,
    /// What the runtime says it is.
    Nominal,
}

/// A line needs so long a base that the brackets' own width does not tilt it.
const SHORTEST_BASE_NS: f64 = 1e6;
/// How long a measurement may be for the nominal pace: clocks are 100 ppm off each other, which makes a microsecond in this time.
const LONGEST_NOMINAL_NS: f64 = 1e7;
/// Brackets wider than this many times the narrowest were interrupted.
const INTERRUPTED: f64 = 2.0;

impl ClockMap {
    /// Lays a line through the brackets; `None` without any, or with a clock of 0 Hz.
    #[must_use]
    pub fn fit(brackets: &[Bracket], ticks_per_second: u64) -> Option<Self> {
        let narrowest = brackets.iter().min_by(|one, other| one.width().total_cmp(&other.width()))?;
        let nominal = if ticks_per_second == 0 { return None } else { 1e9 / ticks_per_second as f64 };
        let width = narrowest.width();
        let good: Vec<&Bracket> = brackets.iter().filter(|bracket| bracket.width() <= width * INTERRUPTED + nominal).collect();
        let origin = narrowest.device;
        let points: Vec<(f64, f64)> =
            good.iter().map(|bracket| (ticks_between(origin, bracket.device), bracket.middle())).collect();
        let (slope, ns_per_tick, offset_ns) = match line(&points, nominal) {
            Some((ns_per_tick, offset_ns)) => (Slope::Measured, ns_per_tick, offset_ns),
            None => (Slope::Nominal, nominal, narrowest.middle()),
        };
        let off = |bracket: &Bracket| {
            let on_line = offset_ns + ticks_between(origin, bracket.device) * ns_per_tick;
            (bracket.middle() - on_line).abs() + bracket.width() / 2.0
        };
        let worst = good.iter().map(|bracket| off(bracket)).fold(0.0, f64::max);
        let reach_ns = good
            .iter()
            .map(|bracket| bracket.middle())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), at| (at.min(first), at.max(last)));
        let report = ClockReport {
            ticks_per_second,
            error_bound_ns: worst + nominal,
            // A clock that runs fast needs fewer nanoseconds per tick.
            drift_ppb: (nominal / ns_per_tick - 1.0) * 1e9,
            points: u32::try_from(points.len()).unwrap_or(u32::MAX),
        };
        Some(Self { origin, offset_ns, ns_per_tick, slope, reach_ns, report })
    }

    /// Why the error bound may not hold for device times between these two host times, in nanoseconds since the measurement's epoch; a
    /// sentence each.
    #[must_use]
    pub fn doubts(&self, first_ns: f64, last_ns: f64) -> Vec<String> {
        let mut doubts = Vec::new();
        let points = self.report.points;
        let beyond = (self.reach_ns.0 - first_ns).max(0.0) + (last_ns - self.reach_ns.1).max(0.0);
        // What a clock that is 100 ppm off does beyond the last reading is less than its tick in most measurements, and then no news.
        if self.slope == Slope::Measured && beyond * 1e-4 > self.report.error_bound_ns {
            doubts.push(format!(
                "{:.1} ms of the round trips lie outside the {points} readings of both clocks that were not interrupted: there \
                 device times may be off by more than the error bound",
                beyond / 1e6
            ));
        }
        if self.slope == Slope::Nominal && last_ns - first_ns > LONGEST_NOMINAL_NS {
            doubts.push(format!(
                "only {points} of the readings of both clocks were not interrupted, too few to see how the clocks drift: the device's is \
                 taken at its nominal pace, and its times may be off by more than the error bound"
            ));
        }
        doubts
    }

    /// A device time in nanoseconds since the measurement's epoch.
    #[must_use]
    pub fn host_ns(&self, device: Ticks) -> f64 {
        self.offset_ns + ticks_between(self.origin, device) * self.ns_per_tick
    }

    /// What the report says of it.
    #[must_use]
    pub fn report(&self) -> ClockReport {
        self.report
    }
}

fn ticks_between(origin: Ticks, other: Ticks) -> f64 {
    if other >= origin { (other.0 - origin.0) as f64 } else { -((origin.0 - other.0) as f64) }
}

/// Slope and offset by least squares; `None` where the points lie too close together.
fn line(points: &[(f64, f64)], nominal: f64) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let (mean_tick, mean_host) =
        (points.iter().map(|point| point.0).sum::<f64>() / count, points.iter().map(|point| point.1).sum::<f64>() / count);
    let spread = |extreme: fn(f64, f64) -> f64, start| points.iter().map(|point| point.0).fold(start, extreme);
    if (spread(f64::max, f64::MIN) - spread(f64::min, f64::MAX)) * nominal < SHORTEST_BASE_NS {
        return None;
    }
    let covariance: f64 = points.iter().map(|(tick, host)| (tick - mean_tick) * (host - mean_host)).sum();
    let variance: f64 = points.iter().map(|(tick, _)| (tick - mean_tick).powi(2)).sum();
    let slope = covariance / variance;
    (slope.is_finite() && slope > 0.0).then_some((slope, mean_host - slope * mean_tick))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A device clock at 100 MHz that is `ppm` fast and started long before the host's epoch.
    fn device_ticks(host_ns: f64, ppm: f64) -> Ticks {
        Ticks(7_000_000_000_000 + (host_ns * (1.0 + ppm / 1e6) / 10.0).round() as u64)
    }

    /// The width of a bracket that was interrupted.
    const INTERRUPTION: f64 = 40_000.0;

    /// Brackets every 5 ms, of the given widths, whose tick lies at the given share of it.
    fn brackets(ppm: f64, places: &[(f64, f64)]) -> Vec<Bracket> {
        places
            .iter()
            .enumerate()
            .map(|(index, (place, width))| {
                let before_ns = index as f64 * 5e6;
                Bracket { before_ns, device: device_ticks(before_ns + place * width, ppm), after_ns: before_ns + width }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_device_time_lies_within_the_error_bound_whatever_the_drift_and_wherever_the_tick_fell(
            ppm in -200.0..200.0_f64,
            places in prop::collection::vec((0.0..=1.0_f64, prop_oneof![4 => 40.0..80.0_f64, 1 => Just(INTERRUPTION)]), 3..60),
        ) {
            prop_assume!(places.iter().any(|(_, width)| *width < INTERRUPTION));
            let brackets = brackets(ppm, &places);
            let map = ClockMap::fit(&brackets, 100_000_000).unwrap();
            let good = brackets.iter().filter(|bracket| bracket.width() < 1_000.0);
            for at in good.map(|bracket| bracket.before_ns + 33.0) {
                let error = (map.host_ns(device_ticks(at, ppm)) - at).abs();
                // The device's clock counts whole ticks of 10 ns, which the bound has in it.
                prop_assert!(error <= map.report().error_bound_ns + 0.1, "{error} over {}", map.report().error_bound_ns);
            }
        }
    }

    #[test]
    fn a_clock_that_is_100_ppm_fast_is_said_to_be() {
        let map = ClockMap::fit(&brackets(100.0, &[(0.5, 80.0); 200]), 100_000_000).unwrap();
        assert!((map.report().drift_ppb - 100_000.0).abs() < 100.0, "{:?}", map.report());
        assert_eq!(map.report().points, 200);
    }

    #[test]
    fn interrupted_readings_are_left_out_and_do_not_widen_the_bound() {
        let mut places = vec![(0.5, 80.0); 20];
        places.extend([(0.0, INTERRUPTION), (1.0, INTERRUPTION)]);
        let map = ClockMap::fit(&brackets(0.0, &places), 100_000_000).unwrap();
        assert_eq!(map.report().points, 20);
        assert!(map.report().error_bound_ns < 100.0, "{:?}", map.report());
    }

    /// Three readings without a residual, of 40, 80 and 40 ns: where the wide one was taken, its half is what the line may be off.
    #[test]
    fn the_bound_is_that_of_the_widest_reading_that_counts_and_not_of_the_narrowest() {
        let map = ClockMap::fit(&brackets(0.0, &[(0.5, 40.0), (0.5, 80.0), (0.5, 40.0)]), 100_000_000).unwrap();
        // Half of 80, one tick of 10, and what least squares makes of the ticks' own rounding.
        assert!((50.0..60.0).contains(&map.report().error_bound_ns), "{:?}", map.report());
    }

    #[test]
    fn round_trips_beyond_the_readings_that_count_are_doubted() {
        let last = (0.5, INTERRUPTION);
        let map = ClockMap::fit(&brackets(0.0, &[(0.5, 80.0), (0.5, 80.0), (0.5, 80.0), last, last]), 100_000_000).unwrap();
        assert_eq!(map.doubts(0.0, 10e6), Vec::<String>::new());
        let doubts = map.doubts(0.0, 20e6);
        assert!(doubts.len() == 1 && doubts[0].contains("outside the 3 readings"), "{doubts:?}");
    }

    #[test]
    fn a_long_measurement_at_the_nominal_pace_is_doubted_and_a_short_one_is_not() {
        let map = ClockMap::fit(&brackets(0.0, &[(0.5, 80.0), (0.5, INTERRUPTION), (0.5, 80.0)]), 100_000_000).unwrap();
        assert_eq!(map.doubts(0.0, 5e6), Vec::<String>::new());
        let doubts = map.doubts(0.0, 50e6);
        assert!(doubts.len() == 1 && doubts[0].contains("nominal pace"), "{doubts:?}");
    }

    #[test]
    fn without_a_reading_there_is_no_map() {
        assert_eq!(ClockMap::fit(&[], 100_000_000), None);
    }
}
