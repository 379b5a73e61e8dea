//! The device's times on the host's clock.
//!
//! A runtime gives dispatch times in ticks of its system clock (`hsa_amd_profiling_get_dispatch_time`), which can be read at any time
//! (`HSA_SYSTEM_INFO_TIMESTAMP`). Reading it between two readings of the host's clock brackets it: the tick was taken somewhere between
//! the two. Many brackets over the whole measurement give a line; how far a device time may be off is half the narrowest bracket, what
//! the brackets are off the line, and one tick. What the runtime itself is off when it translates the GPU's counter into its system clock
//! cannot be seen from here.

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
    report: ClockReport,
}

/// A line needs so long a base that the brackets' own width does not tilt it.
const SHORTEST_BASE_NS: f64 = 1e6;
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
        let (ns_per_tick, offset_ns) = line(&points, nominal).unwrap_or_else(|| (nominal, narrowest.middle()));
        let residual = points.iter().map(|(tick, host)| (host - (offset_ns + tick * ns_per_tick)).abs()).fold(0.0, f64::max);
        let report = ClockReport {
            ticks_per_second,
            error_bound_ns: width / 2.0 + residual + nominal,
            // A clock that runs fast needs fewer nanoseconds per tick.
            drift_ppb: (nominal / ns_per_tick - 1.0) * 1e9,
            points: u32::try_from(points.len()).unwrap_or(u32::MAX),
        };
        Some(Self { origin, offset_ns, ns_per_tick, report })
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

    /// Brackets every 5 ms whose tick lies anywhere inside, some of them interrupted.
    fn brackets(ppm: f64, places: &[(f64, bool)]) -> Vec<Bracket> {
        places
            .iter()
            .enumerate()
            .map(|(index, (place, interrupted))| {
                let width = if *interrupted { 40_000.0 } else { 80.0 };
                let before_ns = index as f64 * 5e6;
                Bracket { before_ns, device: device_ticks(before_ns + place * width, ppm), after_ns: before_ns + width }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_device_time_lies_within_the_error_bound_whatever_the_drift_and_wherever_the_tick_fell(
            ppm in -200.0..200.0_f64,
            places in prop::collection::vec((0.0..=1.0_f64, prop::bool::weighted(0.2)), 3..60),
        ) {
            prop_assume!(places.iter().any(|(_, interrupted)| !interrupted));
            let brackets = brackets(ppm, &places);
            let map = ClockMap::fit(&brackets, 100_000_000).unwrap();
            let good = brackets.iter().filter(|bracket| bracket.width() < 1_000.0);
            for at in good.map(|bracket| bracket.before_ns + 33.0) {
                let error = (map.host_ns(device_ticks(at, ppm)) - at).abs();
                // The rounding of the test's own ticks comes on top.
                prop_assert!(error <= map.report().error_bound_ns + 10.0, "{error} over {}", map.report().error_bound_ns);
            }
        }
    }

    #[test]
    fn a_clock_that_is_100_ppm_fast_is_said_to_be() {
        let map = ClockMap::fit(&brackets(100.0, &[(0.5, false); 200]), 100_000_000).unwrap();
        assert!((map.report().drift_ppb - 100_000.0).abs() < 100.0, "{:?}", map.report());
        assert_eq!(map.report().points, 200);
    }

    #[test]
    fn interrupted_readings_are_left_out_and_do_not_widen_the_bound() {
        let mut places = vec![(0.5, false); 20];
        places.extend([(0.0, true), (1.0, true)]);
        let map = ClockMap::fit(&brackets(0.0, &places), 100_000_000).unwrap();
        assert_eq!(map.report().points, 20);
        assert!(map.report().error_bound_ns < 100.0, "{:?}", map.report());
    }

    #[test]
    fn without_a_reading_there_is_no_map() {
        assert_eq!(ClockMap::fit(&[], 100_000_000), None);
    }
}
