//! Producers: each makes one round trip after another, first to warm up, then to measure.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hsa::Runtime;
use crate::report::latency::LatencySettings;

use super::clock::Bracket;
use super::pace::{Schedule, wait_until};
use super::request::LatencyRequest;
use super::stop::Stop;
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
    /// It did not end.
    fn trip(&mut self) -> Result<Trip, Stop>;
}

/// What the producers of a measurement share.
#[derive(Debug, Default)]
pub struct Meeting {
    /// Producers that have warmed up.
    ready: AtomicU32,
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

    /// Waits until all are warm; false when one has given up.
    fn gather(&self, producers: u32) -> bool {
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < producers {
            if self.is_over() {
                return false;
            }
            std::thread::yield_now();
        }
        true
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
}

/// How far apart readings of both clocks are.
const BRACKETS_APART: Duration = Duration::from_millis(5);

impl Part<'_> {
    /// Warms up, waits for the others, measures.
    ///
    /// # Errors
    /// What ended it; the other producers then end too.
    pub fn run(&self, probe: &mut dyn Probe) -> Result<Yield, Stop> {
        let outcome = self
            .warm_up(probe)
            .and_then(|()| if self.meeting.gather(self.settings.producers) { self.measure(probe) } else { Ok(Yield::default()) });
        if outcome.is_err() {
            self.meeting.call_off();
        }
        outcome
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

    fn measure(&self, probe: &mut dyn Probe) -> Result<Yield, Stop> {
        const RESERVED_AT_FIRST: u64 = 65_536;
        let begin = Instant::now();
        let quota = self.quota();
        let end = self.settings.duration_ms.and_then(|duration| begin.checked_add(Duration::from_millis(duration)));
        let schedule = self.settings.rate_per_second.map(|rate| Schedule::new(begin, rate, self.producer, self.settings.producers));
        let mut made = Yield { trips: Vec::with_capacity(quota.min(RESERVED_AT_FIRST) as usize), ..Yield::default() };
        let mut next_bracket = begin;
        for index in 0..quota {
            if self.clock.is_some() && Instant::now() >= next_bracket {
                self.bracket(&mut made);
                next_bracket = Instant::now() + BRACKETS_APART;
            }
            probe.prepare()?;
            let due = schedule.and_then(|schedule| schedule.due(index));
            if self.meeting.is_over() || end.is_some_and(|end| due.unwrap_or_else(Instant::now) >= end) {
                break;
            }
            if let Some(due) = due {
                if Instant::now() > due {
                    made.late_starts += 1;
                }
                wait_until(due);
            }
            let mut trip = probe.trip()?;
            trip.due = due.unwrap_or(trip.start);
            made.trips.push(trip);
            self.meeting.alive.fetch_add(1, Ordering::Relaxed);
            self.meeting.measured.fetch_add(1, Ordering::Relaxed);
        }
        self.bracket(&mut made);
        Ok(made)
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
        Part { settings, producer, meeting, epoch: Instant::now(), clock: None }
    }

    /// At 1000 per second a stall of 100 ms delays the hundred round trips that were due meanwhile; each must count its own delay.
    /// Only lower bounds are asserted, which a busy machine cannot miss.
    #[test]
    fn a_stall_counts_for_every_round_trip_that_was_due_during_it_and_none_is_skipped() {
        let (settings, meeting) = (settings(150, Some(1000.0), 1), Meeting::default());
        let mut probe = Stalling { made: 0, stall_at: 10, stall: Duration::from_millis(100), fail_at: None };
        let made = part(&settings, &meeting, 0).run(&mut probe).unwrap();
        assert_eq!(made.trips.len(), 150);
        assert!(made.trips[10].nanoseconds() >= 100_000_000);
        // The one due 50 ms into the stall cannot have ended before the stall did.
        assert!(made.trips[60].nanoseconds() >= 49_000_000, "{}", made.trips[60].nanoseconds());
        assert!(made.late_starts >= 90, "{}", made.late_starts);
    }

    #[test]
    fn producers_share_the_round_trips_and_lose_none() {
        let settings = settings(10, None, 3);
        let meeting = Meeting::default();
        let quotas: Vec<u64> = (0..3).map(|producer| part(&settings, &meeting, producer).quota()).collect();
        assert_eq!(quotas, [4, 3, 3]);
    }

    #[test]
    fn a_producer_that_cannot_go_on_ends_the_others() {
        let settings = settings(1_000_000, Some(1000.0), 2);
        let meeting = Meeting::default();
        std::thread::scope(|scope| {
            let healthy = scope.spawn(|| {
                let mut probe = Stalling { made: 0, stall_at: u64::MAX, stall: Duration::ZERO, fail_at: None };
                part(&settings, &meeting, 0).run(&mut probe)
            });
            let mut probe = Stalling { made: 0, stall_at: u64::MAX, stall: Duration::ZERO, fail_at: Some(3) };
            assert!(part(&settings, &meeting, 1).run(&mut probe).is_err());
            assert!(healthy.join().unwrap().unwrap().trips.len() < 1_000_000);
        });
    }
}
