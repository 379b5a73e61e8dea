//! Producers: each makes one round trip after another, first to warm up, then to measure.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hsa::Runtime;
use crate::report::latency::{LatencySettings, TimerReport};

use super::clock::Bracket;
use super::host;
use super::pace::{Schedule, wait_until};
use super::request::LatencyRequest;
use super::stop::Stop;
use super::timer;
use super::trip::Trip;

/// Something that makes round trips.
pub trait Probe {
    /// Gets everything ready that is not part of a round trip.
    ///
    /// # Errors
    /// The device does not get ready.
    fn prepare(&mut self) -> Result<(), Stop>;

    /// One round trip.
    ///
    /// # Errors
    /// It did not end, or not as it must.
    fn trip(&mut self) -> Result<Trip, Stop>;

    /// Looks once more at what the last round trip left behind.
    ///
    /// # Errors
    /// Something of it came late that must not have come.
    fn finish(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

/// What the producers of a measurement share.
#[derive(Debug, Default)]
pub struct Meeting {
    /// Producers that are ready to measure.
    ready: AtomicU32,
    /// When all were, and the measurement began.
    begin: OnceLock<Instant>,
    /// One of them cannot go on.
    over: AtomicBool,
    /// Round trips of any kind, a sign of life.
    pub alive: AtomicU64,
    /// Round trips that count.
    pub measured: AtomicU64,
}

impl Meeting {
    /// Whether a producer has given up, so that the others need not go on.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn call_off(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Waits until all are ready; when the measurement begins, which is the same time for all. `None` when one has given up.
    fn gather(&self, producers: u32) -> Option<Instant> {
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < producers {
            if self.is_over() {
                return None;
            }
            std::thread::yield_now();
        }
        Some(*self.begin.get_or_init(Instant::now))
    }
}

/// What a producer measured.
#[derive(Debug, Default)]
pub struct Yield {
    /// Its round trips, in order.
    pub trips: Vec<Trip>,
    /// Readings of both clocks.
    pub brackets: Vec<Bracket>,
    /// Round trips that started after they were due, because the one before had not ended.
    pub late_starts: u64,
    /// Round trips that were due and were not started before the measurement had to end.
    pub not_started: u64,
    /// What the host's clock costs on this thread, if it was asked.
    pub timer: Option<TimerReport>,
}

/// One producer's part.
#[derive(Debug)]
pub struct Part<'a> {
    /// What was asked for.
    pub settings: &'a LatencySettings,
    /// Its number, from 0.
    pub producer: u32,
    /// What it shares.
    pub meeting: &'a Meeting,
    /// Zero of the brackets' host times.
    pub epoch: Instant,
    /// Whose clock it reads beside the host's; none of it where another producer does.
    pub clock: Option<&'a Runtime>,
    /// How long a round trip may take.
    pub patience: Duration,
}

/// How far apart readings of both clocks are.
const BRACKETS_APART: Duration = Duration::from_millis(5);

impl Part<'_> {
    /// Keeps this thread where it belongs, warms up, waits for the others, measures.
    ///
    /// # Errors
    /// What ended it; the other producers then end too.
    pub fn run(&self, probe: &mut dyn Probe) -> Result<Yield, Stop> {
        let outcome = self.settle().and_then(|timer| {
            self.warm_up(probe)?;
            let mut made = Yield { timer, ..Yield::default() };
            self.measure(probe, &mut made)?;
            probe.finish()?;
            Ok(made)
        });
        if outcome.is_err() {
            self.meeting.call_off();
        }
        outcome
    }

    /// Goes to the processor to measure on, and asks there what the clock costs.
    fn settle(&self) -> Result<Option<TimerReport>, Stop> {
        if let Some(cpu) = self.settings.pinned_cpu {
            host::pin(cpu).map_err(|error| Stop::Failed(error.to_string()))?;
        }
        Ok((self.producer == 0).then(timer::measure))
    }

    fn warm_up(&self, probe: &mut dyn Probe) -> Result<(), Stop> {
        let end = Instant::now() + Duration::from_millis(self.settings.warmup_ms);
        while Instant::now() < end && !self.meeting.is_over() {
            probe.prepare()?;
            probe.trip()?;
            self.meeting.alive.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many round trips are this producer's.
    fn quota(&self) -> u64 {
        let whole = self.settings.samples.unwrap_or(LatencyRequest::MOST_SAMPLES);
        let (producers, producer) = (u64::from(self.settings.producers.max(1)), u64::from(self.producer));
        whole / producers + u64::from(producer < whole % producers)
    }

    /// Room for the round trips that are sure to be made; a measurement by time asks for more as it goes.
    fn sure(&self, quota: u64) -> usize {
        const BY_TIME: u64 = 65_536;
        let sure = if self.settings.samples.is_some() { quota.min(LatencyRequest::MOST_SAMPLES) } else { quota.min(BY_TIME) };
        usize::try_from(sure).unwrap_or(0)
    }

    fn measure(&self, probe: &mut dyn Probe, made: &mut Yield) -> Result<(), Stop> {
        let quota = self.quota();
        made.trips.reserve_exact(self.sure(quota));
        // All that the first round trip needs is done before the measurement begins: it must not be late for it.
        self.bracket(made);
        let mut next_bracket = Instant::now() + BRACKETS_APART;
        probe.prepare()?;
        let Some(begin) = self.meeting.gather(self.settings.producers) else { return Ok(()) };
        let end = self.settings.duration_ms.and_then(|duration| begin.checked_add(Duration::from_millis(duration)));
        let schedule = self.settings.rate_per_second.map(|rate| Schedule::new(begin, rate, self.producer, self.settings.producers));
        let mut before: Option<Instant> = None;
        for index in 0..quota {
            if before.is_some() {
                if self.clock.is_some() && Instant::now() >= next_bracket {
                    self.bracket(made);
                    next_bracket = Instant::now() + BRACKETS_APART;
                }
                probe.prepare()?;
            }
            let due = schedule.and_then(|schedule| schedule.due(index));
            let now = Instant::now();
            // By its own pace one round trip is made in any time; by a rate, those that are due in it.
            let is_beyond = |end| due.map_or(before.is_some() && now >= end, |due| due >= end);
            if self.meeting.is_over() || end.is_some_and(is_beyond) {
                break;
            }
            if let Some(due) = due {
                if let (Some(schedule), Some(end)) = (schedule, end)
                    && now.saturating_duration_since(end) >= self.patience
                {
                    made.not_started = schedule.due_before(end).saturating_sub(index);
                    break;
                }
                made.late_starts += u64::from(before.is_some_and(|before| before > due));
                wait_until(due);
            }
            let mut trip = probe.trip()?;
            trip.due = due.unwrap_or(trip.start);
            before = Some(trip.seen);
            made.trips.push(trip);
            self.meeting.alive.fetch_add(1, Ordering::Relaxed);
            self.meeting.measured.fetch_add(1, Ordering::Relaxed);
        }
        self.bracket(made);
        Ok(())
    }

    fn bracket(&self, made: &mut Yield) {
        // A runtime that does not say its time leaves the stages without the device's.
        let bracket = self.clock.and_then(|runtime| Bracket::take(runtime, self.epoch).ok());
        made.brackets.extend(bracket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latency::{LatencyFence, LatencyMode, LatencyWait};

    /// A device that answers at once, except where it stalls.
    struct Stalling {
        made: u64,
        stall_at: u64,
        stall: Duration,
        fail_at: Option<u64>,
    }

    impl Stalling {
        const NEVER: Self = Self { made: 0, stall_at: u64::MAX, stall: Duration::ZERO, fail_at: None };
    }

    impl Probe for Stalling {
        fn prepare(&mut self) -> Result<(), Stop> {
            Ok(())
        }

        fn trip(&mut self) -> Result<Trip, Stop> {
            let start = Instant::now();
            if self.fail_at == Some(self.made) {
                return Err(Stop::Lost("its signal stayed 1".to_owned()));
            }
            if self.made == self.stall_at {
                std::thread::sleep(self.stall);
            }
            self.made += 1;
            Ok(Trip { due: start, start, steps: None, seen: Instant::now() })
        }
    }

    /// A device that is always done before the next round trip is due, which takes its time to get ready for the first.
    struct Idle {
        since: Instant,
        slow_to_get_ready: Duration,
    }

    impl Probe for Idle {
        fn prepare(&mut self) -> Result<(), Stop> {
            std::thread::sleep(std::mem::take(&mut self.slow_to_get_ready));
            Ok(())
        }

        fn trip(&mut self) -> Result<Trip, Stop> {
            Ok(Trip { due: self.since, start: Instant::now(), steps: None, seen: self.since })
        }
    }

    /// Nothing comes before the next round trip is due: its late answers are in the last.
    struct Afterthought(Stalling);

    impl Probe for Afterthought {
        fn prepare(&mut self) -> Result<(), Stop> {
            self.0.prepare()
        }

        fn trip(&mut self) -> Result<Trip, Stop> {
            self.0.trip()
        }

        fn finish(&mut self) -> Result<(), Stop> {
            Err(Stop::Failed("fired-twice".to_owned()))
        }
    }

    fn settings(samples: u64, rate: Option<f64>, producers: u32) -> LatencySettings {
        LatencySettings {
            mode: LatencyMode::Dispatch,
            wait: LatencyWait::Active,
            fence: LatencyFence::System,
            batch: 1,
            queues: 1,
            producers,
            rate_per_second: rate,
            samples: Some(samples),
            duration_ms: None,
            warmup_ms: 0,
            pinned_cpu: None,
            injected: None,
        }
    }

    fn part<'a>(settings: &'a LatencySettings, meeting: &'a Meeting, producer: u32) -> Part<'a> {
        Part { settings, producer, meeting, epoch: Instant::now(), clock: None, patience: Duration::from_millis(20) }
    }

    /// At 1000 per second a stall of 100 ms delays the hundred round trips that were due meanwhile; each must count its own delay.
    /// Only lower bounds are asserted, which a busy machine cannot miss.
    #[test]
    fn a_stall_counts_for_every_round_trip_that_was_due_during_it_and_none_is_skipped() {
        let (settings, meeting) = (settings(150, Some(1000.0), 1), Meeting::default());
        let mut probe = Stalling { stall_at: 10, stall: Duration::from_millis(100), ..Stalling::NEVER };
        let made = part(&settings, &meeting, 0).run(&mut probe).unwrap();
        assert_eq!(made.trips.len(), 150);
        assert!(made.trips[10].nanoseconds() >= 100_000_000);
        // The one due 50 ms into the stall cannot have ended before the stall did.
        assert!(made.trips[60].nanoseconds() >= 49_000_000, "{}", made.trips[60].nanoseconds());
        assert!(made.late_starts >= 90, "{}", made.late_starts);
    }

    #[test]
    fn round_trips_behind_an_idle_device_are_never_late_however_long_it_took_to_get_ready() {
        let (settings, meeting) = (settings(20, Some(10_000.0), 1), Meeting::default());
        let slow_to_get_ready = Duration::from_millis(5);
        let since = Instant::now();
        let made = part(&settings, &meeting, 0).run(&mut Idle { since, slow_to_get_ready }).unwrap();
        assert_eq!((made.trips.len(), made.late_starts), (20, 0));
        assert!(made.trips[0].due >= since + slow_to_get_ready, "the first one is due when all is ready");
    }

    #[test]
    fn producers_take_their_turns_from_one_beginning() {
        let (settings, meeting) = (settings(6, Some(1000.0), 3), Meeting::default());
        let mut due: Vec<Instant> = std::thread::scope(|scope| {
            let producers: Vec<_> = (0..3)
                .map(|producer| {
                    let part = part(&settings, &meeting, producer);
                    let slow_to_get_ready = Duration::from_millis(u64::from(producer));
                    scope.spawn(move || part.run(&mut Idle { since: Instant::now(), slow_to_get_ready }).unwrap().trips)
                })
                .collect();
            producers.into_iter().flat_map(|producer| producer.join().unwrap()).map(|trip| trip.due).collect()
        });
        due.sort_unstable();
        let apart: Vec<Duration> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(apart, [Duration::from_millis(1); 5]);
    }

    #[test]
    fn the_shortest_measurement_makes_a_round_trip() {
        let mut settings = settings(0, None, 1);
        (settings.samples, settings.duration_ms) = (None, Some(0));
        let made = part(&settings, &Meeting::default(), 0).run(&mut Stalling { ..Stalling::NEVER }).unwrap();
        assert_eq!(made.trips.len(), 1);
    }

    /// A stall of 100 ms in a measurement of 50 ms: of its 50 round trips all but the first are due during it, and the patience of 20 ms
    /// is over before another could be started.
    #[test]
    fn an_overloaded_measurement_by_time_ends_a_round_trips_patience_after_its_time_and_counts_what_was_not_started() {
        let mut settings = settings(0, Some(1000.0), 1);
        (settings.samples, settings.duration_ms) = (None, Some(50));
        let mut probe = Stalling { stall_at: 0, stall: Duration::from_millis(100), ..Stalling::NEVER };
        let made = part(&settings, &Meeting::default(), 0).run(&mut probe).unwrap();
        assert!(made.trips.len() <= 1, "{}", made.trips.len());
        assert_eq!(made.trips.len() as u64 + made.not_started, 50);
    }

    #[test]
    fn what_comes_after_the_last_round_trip_ends_the_measurement() {
        let settings = settings(3, None, 1);
        let stop = part(&settings, &Meeting::default(), 0).run(&mut Afterthought(Stalling::NEVER)).unwrap_err();
        assert_eq!(stop, Stop::Failed("fired-twice".to_owned()));
    }

    #[test]
    fn producers_share_the_round_trips_and_lose_none() {
        let settings = settings(10, None, 3);
        let meeting = Meeting::default();
        let quotas: Vec<u64> = (0..3).map(|producer| part(&settings, &meeting, producer).quota()).collect();
        assert_eq!(quotas, [4, 3, 3]);
    }

    /// At ten a second the other one has hours of work left.
    #[test]
    fn a_producer_that_cannot_go_on_ends_the_others() {
        let settings = settings(1_000_000, Some(10.0), 2);
        let meeting = Meeting::default();
        std::thread::scope(|scope| {
            let healthy = scope.spawn(|| part(&settings, &meeting, 0).run(&mut Stalling { ..Stalling::NEVER }));
            let mut probe = Stalling { fail_at: Some(1), ..Stalling::NEVER };
            assert!(part(&settings, &meeting, 1).run(&mut probe).is_err());
            let trips = healthy.join().unwrap().unwrap().trips.len();
            assert!(trips < 1_000, "it made {trips} round trips, which take 200 s, and was not ended");
        });
    }
}
