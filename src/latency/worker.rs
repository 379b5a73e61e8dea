//! The measuring process: opens the runtime, makes the round trips, sends what they come to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::hsa::{Agent, Buffer, Executable, PoolUse, Profiling, Queue, QueueKind, Runtime};
use crate::kernels::Kernel;
use crate::report::Doorbell;
use crate::report::latency::{LatencySettings, Measurement, Throughput};
use crate::verify::supervision::{self, Events, WorkerFaults};

use super::clock::{Bracket, ClockMap};
use super::event::{CHUNK, LatencyEvent, LatencyPlan};
use super::noise::{self, Watch};
use super::probe::{Meeting, Part, Probe, Yield};
use super::request::LatencyRequest;
use super::resident::Resident;
use super::stages::{self, Paced};
use super::statistics;
use super::stop::Stop;
use super::submission::{Material, Patience, Stamping, Submission};
use super::timer;
use super::trip::Trip;

/// See [`super::worker_main`].
pub fn main(plan: &str) -> u8 {
    supervision::serve(plan, work)
}

type Stream = Events<LatencyEvent>;

fn work(plan: &LatencyPlan, events: &mut Stream) -> io::Result<()> {
    let (runtime, agents) = match supervision::open_runtime(&plan.runtime) {
        Ok(opened) => opened,
        Err(reason) => return events.send(&LatencyEvent::Refused { reason }),
    };
    let Some(agent) = agents.get(plan.agent) else {
        let reason = format!("GPU number {} is gone; the runtime lists {}", plan.agent, agents.len());
        return events.send(&LatencyEvent::Refused { reason });
    };
    let code = match load(agent) {
        Ok(code) => code,
        Err(reason) => return events.send(&LatencyEvent::Refused { reason }),
    };
    events.pass(plan.gate, &LatencyEvent::Loaded)?;
    events.send(&LatencyEvent::Progress { share: 0.0 })?;
    WorkerFaults::of_environment().strike(events)?;
    match measure(plan, &runtime, agent, &code, events)? {
        Ok(()) => {}
        Err(stop) => events.send(&LatencyEvent::Stopped { stop })?,
    }
    drop(code);
    drop(agents);
    drop(runtime);
    events.send(&LatencyEvent::Done)
}

fn load(agent: &Agent) -> Result<Executable, String> {
    let code = supervision::select_code(agent)?;
    Executable::load(agent, code.bytes).map_err(|error| format!("the kernels for {} cannot be loaded: {error}", code.target))
}

/// The probes, one per producer, and what rings their queues.
fn probes(
    plan: &LatencyPlan,
    runtime: &Runtime,
    agent: &Agent,
    code: &Executable,
) -> Result<(Vec<Box<dyn Probe + Send>>, Doorbell), Stop> {
    let settings = &plan.settings;
    let patience = Patience { whole: plan.patience.duration(), quiet: plan.quiet.map(|quiet| quiet.duration()) };
    if !settings.mode.publishes() {
        let resident = Resident::new(runtime, agent, code, settings, patience)?;
        let doorbell = supervision::doorbell(resident.queue().doorbell_kind());
        return Ok((vec![Box::new(resident)], doorbell));
    }
    let (queues, stamping) = queues(agent, settings)?;
    let doorbell = queues.first().map_or(Doorbell::Unknown, |queue| supervision::doorbell(queue.doorbell_kind()));
    let bytes = code.kernel(Kernel::Nop.name())?.kernarg_bytes.max(64) as usize;
    let arguments = Buffer::allocate(&runtime.host_pool(PoolUse::KernelArguments)?, bytes, &[agent])?;
    arguments.fill_u64(0);
    let material = Material { agent: agent.clone(), code: code.clone(), arguments: Arc::new(arguments), patience, stamping };
    let shares: Vec<_> =
        (0..settings.producers as usize).map(|producer| own_queues(&queues, producer, settings.producers as usize)).collect();
    // From here on a queue of one producer is held by that one only.
    drop(queues);
    let probes = shares
        .into_iter()
        .map(|own| Submission::new(&material, settings, own).map(|probe| Box::new(probe) as Box<dyn Probe + Send>))
        .collect::<Result<_, _>>()?;
    Ok((probes, doorbell))
}

/// The queues of a producer: shared where there are fewer queues than producers, several of its own where there are more.
fn own_queues<T: Clone>(queues: &[T], producer: usize, producers: usize) -> Vec<T> {
    if queues.len() <= producers {
        queues.get(producer % queues.len().max(1)).cloned().into_iter().collect()
    } else {
        queues.iter().skip(producer).step_by(producers).cloned().collect()
    }
}

fn queues(agent: &Agent, settings: &LatencySettings) -> Result<(Vec<Arc<Queue>>, Stamping), Stop> {
    const FEWEST: u32 = 64;
    let wanted = settings.batch.saturating_mul(settings.producers).saturating_mul(2).clamp(FEWEST, 1 << 20).next_power_of_two();
    let packets = agent.queue_packets().map_or(wanted, |sizes| wanted.clamp(*sizes.start(), *sizes.end()));
    let kind = if settings.producers > 1 { QueueKind::Multi } else { QueueKind::Single };
    let queues = (0..settings.queues)
        .map(|_| Queue::create(agent, packets, kind).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Stop::Failed(format!("{} queues of {packets} packets: {error}", settings.queues)))?;
    // A runtime that stamps nothing leaves the stages to the host's clock.
    let stamps = queues.iter().all(|queue| queue.set_profiling(Profiling::On).is_ok());
    Ok((queues, if stamps { Stamping::On } else { Stamping::Off }))
}

fn measure(
    plan: &LatencyPlan,
    runtime: &Runtime,
    agent: &Agent,
    code: &Executable,
    events: &mut Stream,
) -> io::Result<Result<(), Stop>> {
    let settings = &plan.settings;
    let (mut probes, doorbell) = match probes(plan, runtime, agent, code) {
        Ok(made) => made,
        Err(stop) => return Ok(Err(stop)),
    };
    let watch = Watch::begin(settings.pinned_cpu);
    let (meeting, epoch) = (Meeting::default(), Instant::now());
    let yields = make_round_trips(&mut probes, plan, &meeting, epoch, runtime, events)?;
    let of_machine = watch.end();
    // Whatever a queue still does ends here, before the memory that its packets name goes.
    drop(probes);
    let yields = match yields.into_iter().collect::<Result<Vec<Yield>, Stop>>() {
        Ok(yields) => yields,
        Err(stop) => return Ok(Err(stop)),
    };
    let timer = yields.iter().find_map(|made| made.timer.clone()).unwrap_or_else(timer::measure);
    let Some((mut measurement, samples)) = reduce(yields, settings, epoch, runtime.timestamp_hz()) else {
        return Ok(Err(Stop::Failed("not one round trip was made: the measurement was too short".to_owned())));
    };
    let of_samples = noise::of_samples(&measurement, settings);
    measurement.warnings.extend(of_samples);
    measurement.warnings.extend(of_machine);
    for chunk in samples.chunks(CHUNK) {
        events.send(&LatencyEvent::Samples { samples_ns: chunk.to_vec() })?;
    }
    for stage in &mut measurement.stages {
        for chunk in std::mem::take(&mut stage.samples_ns).chunks(CHUNK) {
            events.send(&LatencyEvent::StageSamples { stage: stage.stage, samples_ns: chunk.to_vec() })?;
        }
    }
    events.send(&LatencyEvent::Measured { doorbell, timer, measurement: Box::new(measurement) })?;
    Ok(Ok(()))
}

fn make_round_trips(
    probes: &mut [Box<dyn Probe + Send>],
    plan: &LatencyPlan,
    meeting: &Meeting,
    epoch: Instant,
    runtime: &Runtime,
    events: &mut Stream,
) -> io::Result<Vec<Result<Yield, Stop>>> {
    const LOOK: Duration = Duration::from_millis(200);
    let (settings, patience) = (&plan.settings, plan.patience.duration());
    let listener = thread::current();
    thread::scope(|scope| {
        let producers: Vec<_> = probes
            .iter_mut()
            .zip(0_u32..)
            .map(|(probe, producer)| {
                let clock = (producer == 0).then_some(runtime);
                let part = Part { settings, producer, meeting, epoch, clock, patience };
                let listener = listener.clone();
                scope.spawn(move || {
                    let made = part.run(&mut **probe);
                    listener.unpark();
                    made
                })
            })
            .collect();
        let begin = Instant::now();
        let mut alive = 0;
        while producers.iter().any(|producer| !producer.is_finished()) {
            thread::park_timeout(LOOK);
            let now = meeting.alive.load(Ordering::Relaxed);
            if now != alive {
                alive = now;
                events.send(&LatencyEvent::Progress { share: share(settings, meeting, begin) })?;
            }
        }
        let lost = || Err(Stop::Failed("a measuring thread panicked".to_owned()));
        Ok(producers.into_iter().map(|producer| producer.join().unwrap_or_else(|_| lost())).collect())
    })
}

fn share(settings: &LatencySettings, meeting: &Meeting, begin: Instant) -> f64 {
    let measured = meeting.measured.load(Ordering::Relaxed);
    let share = match (settings.samples, settings.duration_ms) {
        _ if measured == 0 => 0.0,
        (Some(samples), _) => measured as f64 / samples.max(1) as f64,
        (None, Some(duration)) => {
            let elapsed = begin.elapsed().as_millis() as f64 - settings.warmup_ms as f64;
            elapsed / duration.max(1) as f64
        }
        (None, None) => measured as f64 / LatencyRequest::DEFAULT_SAMPLES as f64,
    };
    share.clamp(0.0, 1.0)
}

/// A batch on each queue of the producer.
fn packets_per_round_trip(settings: &LatencySettings, producer: usize) -> u64 {
    let queues: Vec<u32> = (0..settings.queues).collect();
    own_queues(&queues, producer, settings.producers as usize).len() as u64 * u64::from(settings.batch)
}

/// What the producers made, as numbers, and the raw samples in the order of their start; `None` without any.
fn reduce(yields: Vec<Yield>, settings: &LatencySettings, epoch: Instant, hz: u64) -> Option<(Measurement, Vec<u64>)> {
    let late_starts = yields.iter().map(|part| part.late_starts).sum();
    let not_started = yields.iter().map(|part| part.not_started).sum();
    let mut trips: Vec<Trip> = Vec::new();
    let mut brackets: Vec<Bracket> = Vec::new();
    let mut packets = 0;
    for (part, producer) in yields.into_iter().zip(0..) {
        packets += part.trips.len() as u64 * packets_per_round_trip(settings, producer);
        trips.extend(part.trips);
        brackets.extend(part.brackets);
    }
    trips.sort_by_key(|trip| trip.start);
    let samples: Vec<u64> = trips.iter().map(Trip::nanoseconds).collect();
    let round_trip = statistics::distribution(&samples)?;
    let paced = if settings.rate_per_second.is_some() { Paced::ByRate } else { Paced::ByItself };
    let map = ClockMap::fit(&brackets, hz);
    let split = stages::split(&trips, epoch, map.as_ref(), paced);
    let elapsed = trips.iter().map(|trip| trip.seen).max()?.saturating_duration_since(trips.first()?.start);
    let measurement = Measurement {
        round_trip,
        stages: split.stages,
        clock: split.clock,
        // A resident kernel is let settle before each round trip: packets per second would say how long that takes.
        throughput: settings.mode.publishes().then(|| Throughput {
            packets,
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            packets_per_second: packets as f64 / elapsed.as_secs_f64().max(1e-9),
        }),
        late_starts: settings.rate_per_second.map(|_| late_starts),
        not_started: settings.rate_per_second.map(|_| not_started),
        outliers: statistics::outliers(&samples),
        warnings: split.warnings,
        samples_ns: Vec::new(),
    };
    Some((measurement, samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shared_by_more_producers_and_divided_among_fewer() {
        let own =
            |queues: &[u32], producers| (0..producers).map(|producer| own_queues(queues, producer, producers)).collect::<Vec<_>>();
        assert_eq!(own(&[7], 3), [[7], [7], [7]]);
        assert_eq!(own(&[1, 2, 3], 2), [vec![1, 3], vec![2]]);
        assert_eq!(own(&[1, 2], 2), [[1], [2]]);
    }
}
