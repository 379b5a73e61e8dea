//! Where the time of a round trip goes.

use std::time::{Duration, Instant};

use crate::report::latency::{Stage, StageReport};

use super::clock::{ClockMap, since};
use super::statistics::{mean, rank};
use super::trip::{Steps, Trip};

/// The stages of trips that published packets; empty for others. Their means add up to the mean round trip, because each ends where the
/// next begins.
#[must_use]
pub fn split(trips: &[Trip], epoch: Instant, clock: Option<&ClockMap>, paced: Paced) -> Vec<StageReport> {
    let Some(steps) = trips.iter().map(|trip| trip.steps.map(|steps| (trip, steps))).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let clock = clock.filter(|_| steps.iter().all(|(_, steps)| steps.device.is_some()));
    let mut columns: Vec<(Stage, Vec<f64>)> = Vec::new();
    let mut add = |stage, value: &dyn Fn(&Trip, &Steps) -> f64| {
        columns.push((stage, steps.iter().map(|(trip, steps)| value(trip, steps)).collect()));
    };
    if paced == Paced::ByRate {
        add(Stage::Behind, &|trip, _| between(trip.due, trip.start));
    }
    add(Stage::Reserve, &|trip, steps| between(trip.start, steps.reserved));
    add(Stage::Write, &|_, steps| nanoseconds(steps.write));
    add(Stage::Publish, &|_, steps| nanoseconds(steps.publish));
    add(Stage::Doorbell, &|_, steps| between(steps.reserved + steps.write + steps.publish, steps.rung));
    match clock {
        Some(clock) => {
            let at =
                |steps: &Steps| steps.device.map_or((0.0, 0.0), |device| (clock.host_ns(device.start), clock.host_ns(device.end)));
            add(Stage::DeviceStart, &|_, steps| at(steps).0 - since(epoch, steps.rung));
            add(Stage::DeviceEnd, &|_, steps| at(steps).1 - at(steps).0);
            add(Stage::HostSees, &|trip, steps| since(epoch, trip.seen) - at(steps).1);
        }
        None => add(Stage::Wait, &|trip, steps| between(steps.rung, trip.seen)),
    }
    columns.into_iter().filter_map(|(stage, values)| report(stage, values)).collect()
}

/// Whether trips have a due time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    /// Each starts when the one before has ended.
    ByItself,
    /// Each is due at its own time.
    ByRate,
}

fn report(stage: Stage, mut values: Vec<f64>) -> Option<StageReport> {
    let mean_ns = mean(values.iter().copied(), values.len());
    values.sort_unstable_by(f64::total_cmp);
    (!values.is_empty()).then(|| StageReport { stage, median_ns: rank(&values, 0.5), p99_ns: rank(&values, 0.99), mean_ns })
}

fn between(from: Instant, to: Instant) -> f64 {
    nanoseconds(to.saturating_duration_since(from))
}

fn nanoseconds(span: Duration) -> f64 {
    span.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsa::{DispatchTime, Ticks};
    use crate::latency::clock::Bracket;
    use proptest::prelude::*;

    /// Stamps that follow each other by the given nanoseconds; the device's clock counts the host's nanoseconds from 1000 on.
    fn trip(epoch: Instant, at_ns: u64, spans: [u32; 8], device: bool) -> Trip {
        let step = |index: usize| Duration::from_nanos(spans[..=index].iter().map(|span| u64::from(*span)).sum());
        let base = epoch + Duration::from_nanos(at_ns);
        let ticks = |index| Ticks(1_000 + at_ns + step(index).as_nanos() as u64);
        Trip {
            due: base,
            start: base + step(0),
            steps: Some(Steps {
                reserved: base + step(1),
                write: Duration::from_nanos(spans[2].into()),
                publish: Duration::from_nanos(spans[3].into()),
                rung: base + step(4),
                device: device.then(|| DispatchTime { start: ticks(5), end: ticks(6) }),
            }),
            seen: base + step(7),
        }
    }

    fn clock() -> ClockMap {
        let bracket = |at: u64| Bracket { before_ns: at as f64, device: Ticks(1_000 + at), after_ns: at as f64 };
        ClockMap::fit(&(0..5).map(|point| bracket(point * 1_000_000)).collect::<Vec<_>>(), 1_000_000_000).unwrap()
    }

    proptest! {
        #[test]
        fn the_means_of_the_stages_add_up_to_the_mean_round_trip(
            rows in prop::collection::vec(prop::array::uniform8(0_u32..100_000), 1..50),
            device in prop::bool::ANY,
        ) {
            let epoch = Instant::now();
            let trips: Vec<Trip> =
                rows.iter().enumerate().map(|(index, spans)| trip(epoch, index as u64 * 1_000_000, *spans, device)).collect();
            let stages = split(&trips, epoch, Some(&clock()), Paced::ByRate);
            prop_assert_eq!(stages.len(), if device { 8 } else { 6 });
            let sum: f64 = stages.iter().map(|stage| stage.mean_ns).sum();
            let whole = trips.iter().map(|trip| trip.nanoseconds() as f64).sum::<f64>() / trips.len() as f64;
            prop_assert!((sum - whole).abs() < 0.01 + whole * 1e-9, "{sum} is not {whole}");
        }
    }

    #[test]
    fn each_stage_is_the_time_between_its_stamps() {
        let epoch = Instant::now();
        let spans = [10, 20, 30, 40, 50, 60, 70, 80];
        let stages = split(&[trip(epoch, 0, spans, true)], epoch, Some(&clock()), Paced::ByRate);
        let times: Vec<(Stage, f64)> = stages.iter().map(|stage| (stage.stage, stage.mean_ns.round())).collect();
        let wanted = [
            (Stage::Behind, 10.0),
            (Stage::Reserve, 20.0),
            (Stage::Write, 30.0),
            (Stage::Publish, 40.0),
            (Stage::Doorbell, 50.0),
            (Stage::DeviceStart, 60.0),
            (Stage::DeviceEnd, 70.0),
            (Stage::HostSees, 80.0),
        ];
        assert_eq!(times, wanted);
    }

    #[test]
    fn a_device_without_times_leaves_one_wait_from_doorbell_to_signal() {
        let epoch = Instant::now();
        let stages = split(&[trip(epoch, 0, [0, 1, 1, 1, 1, 5, 5, 5], false)], epoch, Some(&clock()), Paced::ByItself);
        let last = stages.last().unwrap();
        assert_eq!((last.stage, last.mean_ns), (Stage::Wait, 15.0));
        assert!(stages.iter().all(|stage| stage.stage != Stage::Behind));
    }

    #[test]
    fn a_mode_without_packets_has_no_stages() {
        let epoch = Instant::now();
        let trip = Trip { due: epoch, start: epoch, steps: None, seen: epoch };
        assert_eq!(split(&[trip], epoch, None, Paced::ByItself), []);
    }
}
