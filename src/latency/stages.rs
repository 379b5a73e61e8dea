//! Where the time of a round trip goes.

use std::time::{Duration, Instant};

use crate::hsa::DispatchTime;
use crate::report::latency::{ClockReport, Stage, StageReport};

use super::clock::{ClockMap, since};
use super::statistics::{mean, rank};
use super::trip::{Steps, Trip};

/// Where the time of trips went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// The stages of trips that published packets; empty for others. Their means add up to the mean round trip, because each ends where
    /// the next begins.
    pub stages: Vec<StageReport>,
    /// The clock that the device's stages were measured with, where there are any.
    pub clock: Option<ClockReport>,
    /// Why there are none although the device gave times, or why these are doubtful, a sentence each.
    pub warnings: Vec<String>,
}

/// Splits trips into stages; `clock` lays the device's times on the host's clock.
#[must_use]
pub fn split(trips: &[Trip], epoch: Instant, clock: Option<&ClockMap>, paced: Paced) -> Split {
    let Some(steps) = trips.iter().map(|trip| trip.steps.map(|steps| (trip, steps))).collect::<Option<Vec<_>>>() else {
        return Split::default();
    };
    let device = device_times(&steps, epoch, clock);
    let mut columns: Vec<(Stage, Vec<f64>)> = Vec::new();
    let mut add = |stage, value: &dyn Fn(&Trip, &Steps) -> f64| {
        columns.push((stage, steps.iter().map(|(trip, steps)| value(trip, steps)).collect()));
    };
    if paced == Paced::ByRate {
        add(Stage::Behind, &|trip, _| between(trip.due, trip.start));
    }
    add(Stage::Reserve, &|_, steps| nanoseconds(steps.reserve));
    add(Stage::Write, &|_, steps| nanoseconds(steps.write));
    add(Stage::Publish, &|_, steps| nanoseconds(steps.publish));
    add(Stage::Doorbell, &|_, steps| nanoseconds(steps.doorbell));
    match &device {
        Ok(placed) => {
            let rung = |steps: &Steps| since(epoch, steps.rung);
            let spans = [Stage::DeviceStart, Stage::DeviceEnd, Stage::HostSees].into_iter().zip([
                placed.iter().zip(&steps).map(|(at, (_, steps))| at.start_ns - rung(steps)).collect::<Vec<_>>(),
                placed.iter().map(|at| at.end_ns - at.start_ns).collect(),
                placed.iter().zip(&steps).map(|(at, (trip, _))| since(epoch, trip.seen) - at.end_ns).collect(),
            ]);
            columns.extend(spans);
        }
        Err(_) => add(Stage::Wait, &|trip, steps| between(steps.rung, trip.seen)),
    }
    let stages = columns.into_iter().filter_map(|(stage, values)| report(stage, values)).collect();
    match (device, clock) {
        (Ok(_), Some(clock)) => {
            let (first, last) = (trips.iter().map(|trip| trip.start).min(), trips.iter().map(|trip| trip.seen).max());
            let doubts = first.zip(last).map(|(first, last)| clock.doubts(since(epoch, first), since(epoch, last)));
            Split { stages, clock: Some(clock.report()), warnings: doubts.unwrap_or_default() }
        }
        (Ok(_), None) => Split { stages, ..Split::default() },
        (Err(why), _) => Split { stages, clock: None, warnings: why.into_iter().collect() },
    }
}

/// Where a device time lies on the host's clock, in nanoseconds since the measurement's epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed {
    start_ns: f64,
    end_ns: f64,
}

/// The device's times on the host's clock, of all trips or of none: a mean over some of them would not add up with those of the other
/// stages. Without them, why, if that is worth a warning: a device that stamps nothing at all is not.
fn device_times(steps: &[(&Trip, Steps)], epoch: Instant, clock: Option<&ClockMap>) -> Result<Vec<Placed>, Option<String>> {
    const CONSEQUENCE: &str = "so the time from doorbell to signal stands undivided";
    let (whole, stamped) = (steps.len(), steps.iter().filter(|(_, steps)| steps.device.is_some()).count());
    if stamped == 0 {
        return Err(None);
    }
    let Some(clock) = clock else {
        return Err(Some(format!(
            "the runtime does not say its time, by which device times are laid on the host's clock, {CONSEQUENCE}"
        )));
    };
    if stamped < whole {
        return Err(Some(format!("{} of {whole} round trips came without device times, {CONSEQUENCE}", whole - stamped)));
    }
    let bound = clock.report().error_bound_ns;
    let place = |trip: &Trip, device: DispatchTime| {
        let placed = Placed { start_ns: clock.host_ns(device.start), end_ns: clock.host_ns(device.end) };
        let earliest = since(epoch, trip.start) - bound;
        let latest = since(epoch, trip.seen) + bound;
        (device.start <= device.end && earliest <= placed.start_ns && placed.end_ns <= latest).then_some(placed)
    };
    let placed: Vec<Placed> =
        steps.iter().filter_map(|(trip, steps)| steps.device.and_then(|device| place(trip, device))).collect();
    match whole - placed.len() {
        0 => Ok(placed),
        outside => Err(Some(format!("{outside} of {whole} device times lie outside their own round trip, {CONSEQUENCE}"))),
    }
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
    let samples_ns = values.iter().map(|value| value.round() as i64).collect();
    values.sort_unstable_by(f64::total_cmp);
    let non_empty = !values.is_empty();
    non_empty.then(|| StageReport { stage, median_ns: rank(&values, 0.5), p99_ns: rank(&values, 0.99), mean_ns, samples_ns })
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
                reserve: Duration::from_nanos(spans[1].into()),
                write: Duration::from_nanos(spans[2].into()),
                publish: Duration::from_nanos(spans[3].into()),
                doorbell: Duration::from_nanos(spans[4].into()),
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
            let stages = split(&trips, epoch, Some(&clock()), Paced::ByRate).stages;
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
        let stages = split(&[trip(epoch, 0, spans, true)], epoch, Some(&clock()), Paced::ByRate).stages;
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
    fn a_stage_keeps_its_samples_in_the_order_of_the_round_trips() {
        let epoch = Instant::now();
        let trips = [trip(epoch, 0, [0, 9, 1, 1, 1, 5, 5, 5], true), trip(epoch, 1_000_000, [0, 3, 1, 1, 1, 5, 5, 5], true)];
        let stages = split(&trips, epoch, Some(&clock()), Paced::ByItself).stages;
        assert_eq!((stages[0].stage, &stages[0].samples_ns), (Stage::Reserve, &vec![9, 3]));
        assert!(stages.iter().all(|stage| stage.samples_ns.len() == 2));
    }

    #[test]
    fn a_device_without_times_leaves_one_wait_from_doorbell_to_signal() {
        let epoch = Instant::now();
        let split = split(&[trip(epoch, 0, [0, 1, 1, 1, 1, 5, 5, 5], false)], epoch, Some(&clock()), Paced::ByItself);
        let last = split.stages.last().unwrap();
        assert_eq!((last.stage, last.mean_ns, &split.warnings), (Stage::Wait, 15.0, &Vec::new()));
        assert!(split.stages.iter().all(|stage| stage.stage != Stage::Behind));
    }

    #[test]
    fn a_mode_without_packets_has_no_stages() {
        let epoch = Instant::now();
        let trip = Trip { due: epoch, start: epoch, steps: None, seen: epoch };
        assert_eq!(split(&[trip], epoch, None, Paced::ByItself), Split::default());
    }

    /// Four trips whose device times are good, but for the given ones; the one stage and the one warning that remain.
    fn undivided(spoil: impl Fn(usize, &mut Option<DispatchTime>)) -> String {
        let epoch = Instant::now();
        let mut trips: Vec<Trip> = (0..4).map(|index| trip(epoch, index * 1_000_000, [1_000; 8], true)).collect();
        for (index, trip) in trips.iter_mut().enumerate() {
            spoil(index, &mut trip.steps.as_mut().unwrap().device);
        }
        let mut split = split(&trips, epoch, Some(&clock()), Paced::ByItself);
        let last = split.stages.last().unwrap();
        assert_eq!((last.stage, last.mean_ns, split.clock, split.warnings.len()), (Stage::Wait, 3_000.0, None, 1), "{split:?}");
        split.warnings.remove(0)
    }

    /// ROCr's model mode gives 2^63 for both stamps of every dispatch.
    #[test]
    fn device_times_outside_their_round_trip_are_not_used_and_their_number_is_said() {
        let never = DispatchTime { start: Ticks(1 << 63), end: Ticks(1 << 63) };
        let all = undivided(|_, device| *device = Some(never));
        assert!(all.starts_with("4 of 4 device times lie outside their own round trip"), "{all}");
        let one = undivided(|index, device| {
            if index == 2 {
                *device = Some(never);
            }
        });
        assert!(one.starts_with("1 of 4 device times"), "{one}");
        let backwards = undivided(|_, device| {
            let DispatchTime { start, end } = device.unwrap();
            *device = Some(DispatchTime { start: end, end: start });
        });
        assert!(backwards.starts_with("4 of 4 device times"), "{backwards}");
    }

    #[test]
    fn a_device_time_may_be_off_by_the_clocks_error_bound_and_not_by_more() {
        // Half of brackets of 100 ns and a tick of one: the clock is good to 51 ns. The round trip starts at tick 2000.
        let epoch = Instant::now();
        let brackets = [0, 1, 2, 3].map(|point: u64| {
            let at = point * 1_000_000;
            Bracket { before_ns: at as f64 - 50.0, device: Ticks(1_000 + at), after_ns: at as f64 + 50.0 }
        });
        let clock = ClockMap::fit(&brackets, 1_000_000_000).unwrap();
        let starting = |tick: u64| {
            let mut trip = trip(epoch, 0, [1_000; 8], true);
            trip.steps.as_mut().unwrap().device = Some(DispatchTime { start: Ticks(tick), end: Ticks(3_000) });
            split(&[trip], epoch, Some(&clock), Paced::ByItself).clock.is_some()
        };
        assert_eq!([starting(2_000), starting(1_960), starting(1_940)], [true, true, false]);
    }

    #[test]
    fn a_round_trip_without_device_times_among_others_is_said() {
        let missing = undivided(|index, device| {
            if index == 0 {
                *device = None;
            }
        });
        assert!(missing.starts_with("1 of 4 round trips came without device times"), "{missing}");
    }

    #[test]
    fn device_times_without_a_clock_to_lay_them_on_are_said_to_be_lost() {
        let epoch = Instant::now();
        let split = split(&[trip(epoch, 0, [5; 8], true)], epoch, None, Paced::ByItself);
        assert_eq!((split.stages.last().unwrap().stage, split.warnings.len()), (Stage::Wait, 1));
    }
}
