//! The round trip of packets: reserve, write, publish, ring, wait.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aql::{
    BARRIER_DEPENDENCIES, BarrierAnd, BarrierBit, Dimensions, FenceScope, Header, KernelDispatch, Packet, PacketType, PacketWords,
    RawPacket, Reservation, ReserveError,
};
use crate::hsa::{Agent, Buffer, Condition, Deadline, Executable, Queue, QueuePointer, Signal, WaitMode};
use crate::kernels::Kernel;
use crate::report::latency::{LatencyFence, LatencyMode, LatencySettings, LatencyWait};

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
enum Lane {
    /// Nobody: slots are taken without asking others.
    Alone(Box<Queue>),
    /// Other producers.
    Shared(Arc<Queue>),
}

impl Lane {
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

/// What a batch took the host, and the last of its packets.
#[derive(Clone, Copy, Debug)]
struct Published {
    index: u64,
    reserved: Instant,
    write: Duration,
    publish: Duration,
    rung: Instant,
}

/// Publishes batches on one or more queues in turn, and waits for each.
#[derive(Debug)]
pub struct Submission {
    // The queues go first: what their packets name must outlive them.
    lanes: Vec<Lane>,
    signal: Signal,
    /// A packet that announces nothing, and the last of a batch.
    silent: RawPacket,
    last: RawPacket,
    batch: NonZeroU32,
    wait: WaitMode,
    patience: Patience,
    agent: Agent,
    stamping: Stamping,
    turn: usize,
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
        let signal = Signal::create(material.agent.runtime(), 1)?;
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
        Ok(Self {
            silent: RawPacket(packet(header, 0)?),
            last: RawPacket(packet(last, signal.handle())?),
            lanes: queues.into_iter().map(Lane::of).collect(),
            signal,
            batch,
            wait: wait_mode(settings.wait),
            patience: material.patience,
            agent: material.agent.clone(),
            stamping: material.stamping,
            turn: 0,
            _arguments: Arc::clone(&material.arguments),
            _code: material.code.clone(),
        })
    }
}

impl Probe for Submission {
    fn prepare(&mut self) -> Result<(), Stop> {
        self.signal.store_relaxed(1);
        self.turn = (self.turn + 1) % self.lanes.len().max(1);
        Ok(())
    }

    fn trip(&mut self) -> Result<Trip, Stop> {
        let (batch, silent, last) = (self.batch, &self.silent, &self.last);
        let lane = &mut self.lanes[self.turn];
        let start = Instant::now();
        let published = loop {
            match lane.reserve(batch, |reservation| publish(reservation, silent, last)) {
                Ok(published) => break published,
                Err(error @ ReserveError::LargerThanRing { .. }) => return Err(Stop::Failed(error.to_string())),
                Err(error @ ReserveError::Full { .. }) => {
                    if start.elapsed() > self.patience.whole {
                        return Err(Stop::Stalled(format!("packet-not-fetched: {error}")));
                    }
                    std::thread::yield_now();
                }
            }
        };
        let Published { index, reserved, write, publish, rung } = published;
        let awaited = Awaited { signal: &self.signal, queue: lane.queue(), index, since: rung };
        let seen = awaited.wait(self.wait, self.patience)?;
        let device = match self.stamping {
            Stamping::On => self.agent.dispatch_time(&self.signal).ok().filter(|time| time.start.0 != 0 && time.end >= time.start),
            Stamping::Off => None,
        };
        Ok(Trip { due: start, start, steps: Some(Steps { reserved, write, publish, rung, device }), seen })
    }
}

/// Fills reserved slots and rings, with the time at each step.
fn publish(mut reservation: Reservation<'_, QueuePointer>, silent: &RawPacket, last: &RawPacket) -> Published {
    let reserved = Instant::now();
    let index = reservation.indices().end - 1;
    let (mut write, mut publish, mut step) = (Duration::ZERO, Duration::ZERO, reserved);
    while reservation.remaining() > 0 {
        let packet = if reservation.remaining() == 1 { last } else { silent };
        let mut written = step;
        reservation.write_and(packet, || written = Instant::now());
        let published = Instant::now();
        write += written.saturating_duration_since(step);
        publish += published.saturating_duration_since(written);
        step = published;
    }
    reservation.ring();
    Published { index, reserved, write, publish, rung: Instant::now() }
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
        let outcome = self.signal.wait(fired, Deadline::after(first), mode);
        let seen = Instant::now();
        if outcome.is_satisfied() {
            let waited = seen.saturating_duration_since(self.since);
            return if mode == WaitMode::Blocked && waited > first * 9 / 10 {
                Err(Stop::WakeLost(format!(
                    "the signal's value had arrived, and the host that slept for it was not woken within {} ms",
                    first.as_millis()
                )))
            } else {
                Ok(seen)
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
