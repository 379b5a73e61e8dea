//! The round trip of packets: on each queue reserve, write, publish and ring, then wait for all.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aql::{
    BARRIER_DEPENDENCIES, BarrierAnd, BarrierBit, Dimensions, FenceScope, Header, KernelDispatch, Packet, PacketType, PacketWords,
    RawPacket, Reservation, ReserveError,
};
use crate::hsa::{Agent, Buffer, Condition, Deadline, DispatchTime, Executable, Queue, QueuePointer, Signal, WaitMode};
use crate::kernels::Kernel;
use crate::report::latency::{LatencyFence, LatencyMode, LatencySettings, LatencyWait};
use crate::verify::supervision;

use super::probe::Probe;
use super::stop::Stop;
use super::trip::{Steps, Trip};

/// How long a completion is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it counts as lost.
    pub whole: Duration,
    /// Where a lost completion is predicted: until it counts as lost once its packet was taken.
    pub quiet: Option<Duration>,
}

/// Whether the device stamps what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// Start and end of each dispatch are kept.
    On,
    /// They are not, or only of kernels.
    Off,
}

/// A queue, and whom its producer shares it with.
#[derive(Debug)]
enum Hold {
    /// Nobody: slots are taken without asking others.
    Alone(Box<Queue>),
    /// Other producers.
    Shared(Arc<Queue>),
}

impl Hold {
    /// Of a queue that this producer holds; alone, if nobody else does.
    fn of(queue: Arc<Queue>) -> Self {
        Arc::try_unwrap(queue).map_or_else(Self::Shared, |queue| Self::Alone(Box::new(queue)))
    }

    fn queue(&self) -> &Queue {
        match self {
            Self::Alone(queue) => queue,
            Self::Shared(queue) => queue,
        }
    }

    /// Calls `publish` with reserved slots, or says why there are none.
    fn reserve<Value>(
        &mut self,
        packets: NonZeroU32,
        publish: impl FnOnce(Reservation<'_, QueuePointer>) -> Value,
    ) -> Result<Value, ReserveError> {
        match self {
            Self::Alone(queue) => Ok(publish(queue.ring_mut().sole_producer().reserve(packets)?)),
            Self::Shared(queue) => Ok(publish(queue.ring().reserve(packets)?)),
        }
    }
}

/// A queue with the signal that its batches fire.
#[derive(Debug)]
struct Lane {
    hold: Hold,
    signal: Signal,
    /// The last packet of a batch, which fires the signal.
    last: RawPacket,
    /// What the signal holds while nothing is on its way.
    rests_at: i64,
    /// The last packet whose completion was seen.
    ran: Option<u64>,
}

impl Lane {
    /// Readies the signal for a batch; what went wrong with the one before may show only now.
    fn rearm(&mut self) -> Result<(), Stop> {
        self.look()?;
        self.signal.store_relaxed(ARMED);
        self.rests_at = ARMED;
        Ok(())
    }

    /// Whether the signal holds what it must between two batches.
    fn look(&self) -> Result<(), Stop> {
        match self.signal.load() {
            value if value == self.rests_at => Ok(()),
            value => Err(Stop::Failed(miscounted(self.ran, FIRED + (value - self.rests_at)))),
        }
    }

    /// A batch was seen to complete: the signal must have gone down by exactly 1.
    fn completed(&mut self, index: u64) -> Result<(), Stop> {
        (self.rests_at, self.ran) = (FIRED, Some(index));
        self.look()
    }

    /// Publishes a batch and rings.
    fn publish(&mut self, batch: NonZeroU32, silent: &RawPacket, patience: Patience) -> Result<Published, Stop> {
        let last = &self.last;
        let mut first_try = None;
        loop {
            match self.hold.reserve(batch, |reservation| publish(reservation, silent, last)) {
                Ok(published) => return Ok(published),
                Err(error @ ReserveError::LargerThanRing { .. }) => return Err(Stop::Failed(error.to_string())),
                Err(error @ ReserveError::Full { read_index, .. }) => {
                    if first_try.get_or_insert_with(Instant::now).elapsed() > patience.whole {
                        return Err(stuck(self.ran, read_index, &error));
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// What a ring means that stays full: packets are not taken, or are and the read index does not say so.
fn stuck(ran: Option<u64>, read_index: u64, full: &ReserveError) -> Stop {
    match ran.filter(|ran| read_index <= *ran) {
        Some(ran) => Stop::Failed(format!("wrong-value: the read index is {read_index} although packet {ran} ran")),
        None => Stop::Stalled(format!("packet-not-fetched: {full}")),
    }
}

/// What a completion signal holds while its packet is on the way.
pub const ARMED: i64 = 1;
/// What it holds once the packet has completed.
pub const FIRED: i64 = 0;

/// What it means that a signal has come to `value` between two packets, of which the last that completed was `ran`.
pub fn miscounted(ran: Option<u64>, value: i64) -> String {
    match ran {
        Some(ran) if value < FIRED => {
            let name = supervision::overshot(ARMED, FIRED, value).name();
            format!("{name}: the signal of packet {ran} went from {ARMED} to {value}, and had to stop at {FIRED}")
        }
        Some(ran) => format!("wrong-value: the signal of packet {ran} fired and then went up to {value}"),
        None => "wrong-value: a completion signal changed before a packet with it was published".to_owned(),
    }
}

/// The times of a batch: each step begins where the one before ends.
#[derive(Clone, Copy, Debug)]
struct Published {
    /// The last packet.
    index: u64,
    /// Its slots were taken.
    reserved: Instant,
    /// All bodies stood.
    written: Instant,
    /// All headers stood.
    published: Instant,
    /// The doorbell call had returned.
    rung: Instant,
}

/// Publishes a batch on each of its queues, and waits for all.
#[derive(Debug)]
pub struct Submission {
    // The queues go first: what their packets name must outlive them.
    lanes: Vec<Lane>,
    /// A packet that announces nothing.
    silent: RawPacket,
    batch: NonZeroU32,
    wait: WaitMode,
    patience: Patience,
    agent: Agent,
    stamping: Stamping,
    /// Of the round trip under way, one for each queue.
    published: Vec<Published>,
    _arguments: Arc<Buffer>,
    _code: Executable,
}

/// What all producers of a measurement publish.
#[derive(Debug)]
pub struct Material {
    /// The device.
    pub agent: Agent,
    /// Its kernels.
    pub code: Executable,
    /// Room for the arguments of a kernel that has none.
    pub arguments: Arc<Buffer>,
    /// How long to wait.
    pub patience: Patience,
    /// Whether the queues stamp.
    pub stamping: Stamping,
}

/// Fences of a packet.
#[must_use]
pub const fn scope(fence: LatencyFence) -> FenceScope {
    match fence {
        LatencyFence::None => FenceScope::None,
        LatencyFence::Agent => FenceScope::Agent,
        LatencyFence::System => FenceScope::System,
    }
}

/// How the runtime is to wait.
#[must_use]
pub const fn wait_mode(wait: LatencyWait) -> WaitMode {
    match wait {
        LatencyWait::Active => WaitMode::Active,
        LatencyWait::Blocked => WaitMode::Blocked,
    }
}

impl Submission {
    /// Ready to publish on `queues`.
    ///
    /// # Errors
    /// The kernel or the signal cannot be had.
    pub fn new(material: &Material, settings: &LatencySettings, queues: Vec<Arc<Queue>>) -> Result<Self, Stop> {
        let header = Header::new(PacketType::KernelDispatch).fences(scope(settings.fence));
        let batch = NonZeroU32::new(settings.batch).unwrap_or(NonZeroU32::MIN);
        // The last packet of a batch waits for the others: without the bit its signal would say nothing of them.
        let last = if batch.get() > 1 { header.barrier(BarrierBit::Set) } else { header };
        let packet = |header: Header, completion: u64| -> Result<PacketWords, Stop> {
            if settings.mode == LatencyMode::Barrier {
                let header = Header { packet_type: PacketType::BarrierAnd, ..header };
                return Ok(BarrierAnd::new(header, [0; BARRIER_DEPENDENCIES], completion).to_words());
            }
            let kernel = material.code.kernel(Kernel::Nop.name())?;
            let workgroup = Kernel::Nop.workgroup();
            let mut packet =
                KernelDispatch::new(header, Dimensions::One, [u32::from(workgroup[0]), 1, 1], workgroup, kernel.object);
            packet.kernarg_address = material.arguments.address();
            packet.group_segment_bytes = kernel.group_bytes;
            packet.private_segment_bytes = kernel.private_bytes;
            packet.completion_signal = completion;
            Ok(packet.to_words())
        };
        let lane = |queue| -> Result<Lane, Stop> {
            let signal = Signal::create(material.agent.runtime(), ARMED)?;
            let last = RawPacket(packet(last, signal.handle())?);
            Ok(Lane { hold: Hold::of(queue), signal, last, rests_at: ARMED, ran: None })
        };
        let lanes = queues.into_iter().map(lane).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            silent: RawPacket(packet(header, 0)?),
            published: Vec::with_capacity(lanes.len()),
            lanes,
            batch,
            wait: wait_mode(settings.wait),
            patience: material.patience,
            agent: material.agent.clone(),
            stamping: material.stamping,
            _arguments: Arc::clone(&material.arguments),
            _code: material.code.clone(),
        })
    }

    /// When the device says that the batches ran: the first start and the last end. `None` if one queue's are not known.
    fn device_times(&self) -> Option<DispatchTime> {
        if self.stamping == Stamping::Off {
            return None;
        }
        let mut all: Option<DispatchTime> = None;
        for lane in &self.lanes {
            let time = self.agent.dispatch_time(&lane.signal).ok().filter(|time| time.start.0 != 0)?;
            if time.end < time.start {
                // Nonsense, and whoever uses it must see that.
                return Some(time);
            }
            all = Some(all.map_or(time, |all| DispatchTime { start: all.start.min(time.start), end: all.end.max(time.end) }));
        }
        all
    }
}

impl Probe for Submission {
    fn prepare(&mut self) -> Result<(), Stop> {
        self.published.clear();
        self.lanes.iter_mut().try_for_each(Lane::rearm)
    }

    fn trip(&mut self) -> Result<Trip, Stop> {
        let start = Instant::now();
        for lane in &mut self.lanes {
            self.published.push(lane.publish(self.batch, &self.silent, self.patience)?);
        }
        let mut seen = start;
        for (lane, published) in self.lanes.iter().zip(&self.published) {
            let Published { index, rung, .. } = *published;
            let awaited = Awaited { signal: &lane.signal, queue: lane.hold.queue(), index, since: rung };
            seen = awaited.wait(self.wait, self.patience)?;
        }
        for (lane, published) in self.lanes.iter_mut().zip(&self.published) {
            lane.completed(published.index)?;
        }
        Ok(Trip { due: start, start, steps: steps(start, &self.published, self.device_times()), seen })
    }

    fn finish(&mut self) -> Result<(), Stop> {
        std::thread::sleep(AFTERMATH);
        self.lanes.iter().try_for_each(Lane::look)
    }
}

/// After the last round trip: a decrement too many may come late.
pub const AFTERMATH: Duration = Duration::from_millis(2);

/// The steps of batches that were published one after the other; `None` for none.
fn steps(start: Instant, published: &[Published], device: Option<DispatchTime>) -> Option<Steps> {
    let rung = published.last()?.rung;
    let mut steps =
        Steps { reserve: Duration::ZERO, write: Duration::ZERO, publish: Duration::ZERO, doorbell: Duration::ZERO, rung, device };
    let mut from = start;
    for batch in published {
        steps.reserve += batch.reserved.saturating_duration_since(from);
        steps.write += batch.written.saturating_duration_since(batch.reserved);
        steps.publish += batch.published.saturating_duration_since(batch.written);
        steps.doorbell += batch.rung.saturating_duration_since(batch.published);
        from = batch.rung;
    }
    Some(steps)
}

/// Fills reserved slots and rings, with the time at each step.
fn publish(mut reservation: Reservation<'_, QueuePointer>, silent: &RawPacket, last: &RawPacket) -> Published {
    let reserved = Instant::now();
    let index = reservation.indices().end - 1;
    let mut written = reserved;
    reservation.fill_and(silent, last, || written = Instant::now());
    let published = Instant::now();
    reservation.ring();
    Published { index, reserved, written, published, rung: Instant::now() }
}

/// A completion on its way.
#[derive(Clone, Copy, Debug)]
pub struct Awaited<'a> {
    /// It fires at 0.
    pub signal: &'a Signal,
    /// Where its packet is.
    pub queue: &'a Queue,
    /// Which.
    pub index: u64,
    /// When it was set going.
    pub since: Instant,
}

impl Awaited<'_> {
    /// Waits for the completion; when the host had seen it.
    ///
    /// # Errors
    /// It did not come in time, or the queue stopped.
    pub fn wait(&self, mode: WaitMode, patience: Patience) -> Result<Instant, Stop> {
        const SLICE: Duration = Duration::from_millis(50);
        let fired = Condition::Less(1);
        // The usual case is one wait. A sleeping one gets all the time there is, so that it really sleeps.
        let first = match mode {
            WaitMode::Active => patience.quiet.unwrap_or(patience.whole).min(Duration::from_millis(250)),
            WaitMode::Blocked => patience.quiet.unwrap_or(patience.whole),
        };
        let deadline = Deadline::after(first);
        let outcome = self.signal.wait(fired, deadline, mode);
        let seen = Instant::now();
        if outcome.is_satisfied() {
            return match woken_by(mode, deadline.has_passed()) {
                Waker::Completion => Ok(seen),
                Waker::Deadline => Err(Stop::WakeLost(format!(
                    "the signal's value had arrived, and the host that slept for it was not woken within {} ms",
                    first.as_millis()
                ))),
            };
        }
        loop {
            if let Some(status) = self.queue.errors().first() {
                return Err(Stop::Failed(format!("the queue reported {status}")));
            }
            let taken = self.queue.read_index() > self.index;
            let waited = self.since.elapsed();
            if waited >= patience.whole || (taken && patience.quiet.is_some_and(|quiet| waited >= quiet)) {
                return Err(self.loss(waited));
            }
            if self.signal.wait(fired, Deadline::after(SLICE), mode).is_satisfied() {
                return Ok(Instant::now());
            }
        }
    }

    fn loss(&self, waited: Duration) -> Stop {
        let (read, index, value) = (self.queue.read_index(), self.index, self.signal.load());
        let milliseconds = waited.as_millis();
        if value != ARMED {
            return Stop::Stalled(format!(
                "wrong-value: after {milliseconds} ms the signal of packet {index} holds {value} where it had to go from {ARMED} to {FIRED}"
            ));
        }
        if read > index {
            Stop::Lost(format!(
                "completion-lost: packet {index} was taken (read index {read}), and after {milliseconds} ms its signal still holds {value}"
            ))
        } else {
            Stop::Stalled(format!(
                "packet-not-fetched: after {milliseconds} ms the read index is {read} and has not passed packet {index}"
            ))
        }
    }
}

/// What ended a wait whose condition was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waker {
    /// The completion, by the interrupt or by polling.
    Completion,
    /// The deadline: nobody woke the host, and it found the value when it looked by itself.
    Deadline,
}

/// A wait that polls is never woken. One that sleeps has missed its wake if it slept until its deadline, and not before.
fn woken_by(mode: WaitMode, deadline_has_passed: bool) -> Waker {
    if mode == WaitMode::Blocked && deadline_has_passed { Waker::Deadline } else { Waker::Completion }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_lost_only_where_the_host_slept_until_its_deadline() {
        assert_eq!(woken_by(WaitMode::Blocked, true), Waker::Deadline);
        assert_eq!(woken_by(WaitMode::Blocked, false), Waker::Completion);
        assert_eq!(woken_by(WaitMode::Active, true), Waker::Completion);
    }

    /// From DESIGN's vocabulary: fired-twice for one decrement more, wrong-value for any other number.
    #[test]
    fn a_signal_that_went_down_by_another_number_than_one_is_named() {
        assert!(miscounted(Some(7), -1).starts_with("fired-twice: the signal of packet 7 went from 1 to -1"));
        for value in [-2, 1, 4] {
            assert!(miscounted(Some(7), value).starts_with("wrong-value: "), "{value}");
        }
        assert!(miscounted(None, -1).starts_with("wrong-value: "));
    }

    #[test]
    fn a_ring_that_stays_full_behind_packets_that_ran_has_a_wrong_read_index() {
        let full = ReserveError::Full { requested: 1, free: 0, capacity: 64, read_index: 5, write_index: 69 };
        assert_eq!(stuck(Some(5), 5, &full), Stop::Failed("wrong-value: the read index is 5 although packet 5 ran".to_owned()));
        for ran in [None, Some(4)] {
            assert!(matches!(stuck(ran, 5, &full), Stop::Stalled(why) if why.starts_with("packet-not-fetched: the queue is full")));
        }
    }

    #[test]
    fn the_steps_of_several_queues_fill_the_time_from_start_to_the_last_doorbell() {
        let start = Instant::now();
        let at = |nanoseconds| start + Duration::from_nanos(nanoseconds);
        let batch = |[reserved, written, published, rung]: [u64; 4]| Published {
            index: 0,
            reserved: at(reserved),
            written: at(written),
            published: at(published),
            rung: at(rung),
        };
        let steps = steps(start, &[batch([1, 3, 6, 10]), batch([15, 21, 28, 36])], None).unwrap();
        let times = [steps.reserve, steps.write, steps.publish, steps.doorbell].map(|time| time.as_nanos());
        assert_eq!((times, steps.rung), ([6, 8, 10, 12], at(36)));
    }
}
