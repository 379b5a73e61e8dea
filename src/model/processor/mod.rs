//! The AQL packet processor: one queue's packets from ring to completion (HSA 1.2 §2.9).
//!
//! A queue runs in turns of the device thread. In a turn it takes published packets off its ring in order, gives each kernel in
//! flight one quantum, and completes what has finished. Decisions the specification leaves open:
//!
//! * A slot is free again (header INVALID, read index advanced) once its packet has been copied, before the kernel ends.
//! * The read index advances by a plain write, the completion signal by an AtomicOp: without AtomicOps packets are still consumed
//!   and kernels still write their output, but no completion arrives.
//! * A doorbell only says how far to look. A slot whose header is still INVALID is waited for, however far the doorbell is.
//! * A barrier bit holds its packet in the ring until all before it have completed; a barrier packet is taken off the ring and
//!   holds back what follows. Packets without either overlap, up to [`MAX_IN_FLIGHT`].
//! * A kernel that needs private memory has the queue's scratch memory for itself: it launches when nothing else of its queue is in
//!   flight, and nothing else launches before it ends.
//! * A packet of PM4 commands takes effect at once; all that the model has to do for the known ones is to forget decoded code.
//! * Fences of every scope are sequentially consistent: the model has no caches to flush.

mod barrier;
mod fault;
mod injection;
mod packet;
mod pm4;
mod scratch;
mod shadow;
mod signal;
mod ticket;

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use self::barrier::Condition;
use self::fault::Refusal;
use self::injection::{Fate, Hearing, LateCompletions};
use self::packet::{Header, INVALID_HEADER, KernelDispatch, PACKET_BYTES, Packet, RawPacket};
use self::scratch::{ScratchDesk, Supply};
use self::shadow::{Shadow, Slot};
use self::ticket::{Failure, Stamps, Ticket};
use super::address::GpuVa;
use super::bus::Bus;
use super::compute::{self, Dispatch, Engine, InstructionBudget, Launch, Scratch, Step};
use super::doorbell::Bell;
use super::gpu::{QueueDescriptor, QueueId};
use super::host::{HostLine, HostProtocol, InterruptSink, ScratchProtocol};
use super::memory::{Access, MapError, MapView, MemoryMap};
use super::net::{Caught, Watch};
use super::queue_error::QueueError;
use super::target::Target;

pub(super) use self::fault::FaultLog;
pub use self::fault::QueueFault;
pub(super) use self::signal::Event;
use crate::hsa::sys::amd_queue_t;

/// Kernel dispatches of one queue that may run at the same time.
pub const MAX_IN_FLIGHT: usize = shadow::SLOTS;

/// Wave instructions a kernel may execute before the next one's turn: on the order of a hundred microseconds.
const QUANTUM: InstructionBudget = InstructionBudget(16 * 1024);
/// Packets to take off the ring in one turn, so that a long row of barriers cannot keep other queues waiting.
const PACKETS_PER_TURN: usize = 16;

const READ_INDEX: u64 = offset_of!(amd_queue_t, read_dispatch_id) as u64;
const INACTIVE_SIGNAL: u64 = offset_of!(amd_queue_t, queue_inactive_signal) as u64;
const PROPERTIES: u64 = offset_of!(amd_queue_t, queue_properties) as u64;
/// `AMD_QUEUE_PROPERTIES_ENABLE_PROFILING`: the host wants to know when packets ran.
const PROPERTY_PROFILING: u32 = 1 << 3;

/// A kernel that runs.
#[derive(Debug)]
struct Flight {
    dispatch: Dispatch,
    slot: Slot,
    ticket: Ticket,
    /// The queue's scratch memory, if the kernel uses it.
    scratch: Option<Scratch>,
    /// What to run once more before the packet completes.
    again: Option<Box<Launch>>,
}

/// A barrier packet that waits, and with it everything behind it.
#[derive(Debug)]
struct Gate {
    condition: Condition,
    ticket: Ticket,
}

/// What the queues of a device use in turn.
#[derive(Debug)]
pub(super) struct Workbench {
    pub(super) target: Target,
    /// Runs kernels and keeps what finished ones leave behind.
    engine: Engine,
    pub(super) host: HostLine,
    watch: Option<Watch>,
    /// Set when the device is to fall off the bus.
    pub(super) gone: bool,
}

impl Workbench {
    /// The bench of a device with these shader cores, made on the thread that will use it.
    pub(super) fn new(target: Target, protocol: HostProtocol, sink: Arc<dyn InterruptSink>) -> Self {
        Self { target, engine: Engine::new(target), host: HostLine::new(protocol, sink), watch: Watch::this_thread(), gone: false }
    }

    /// What the net caught since the last call.
    pub(super) fn caught(&self) -> Option<Caught> {
        self.watch.as_ref().and_then(Watch::caught)
    }
}

/// What a turn achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// There is nothing to do until the doorbell rings.
    Idle,
    /// Something waits for memory to change: a barrier packet for its signals, the head of the ring for its header.
    Waiting,
    /// Kernels run, and none has finished.
    Running,
    /// A packet was launched or completed, or the queue stopped.
    Progressed,
}

/// One queue and what it has in flight.
#[derive(Debug)]
pub(super) struct QueueProcessor {
    id: QueueId,
    descriptor: QueueDescriptor,
    bell: Bell,
    faults: Arc<FaultLog>,
    shadow: Shadow,
    /// Index of the next packet to take off the ring.
    next: u64,
    flights: Vec<Flight>,
    gate: Option<Gate>,
    scratch: ScratchDesk,
    stopped: bool,
    hearing: Hearing,
    late: LateCompletions,
    /// A packet that the device will not take, nor any behind it.
    blocked: bool,
}

impl QueueProcessor {
    /// Takes a queue over at its present read index.
    pub(super) fn new(
        id: QueueId,
        descriptor: QueueDescriptor,
        read_index: u64,
        bell: Bell,
        memory: Arc<MemoryMap>,
        faults: Arc<FaultLog>,
    ) -> Result<Self, MapError> {
        let shadow = Shadow::new(memory, id)?;
        let flights = Vec::with_capacity(MAX_IN_FLIGHT);
        let scratch = ScratchDesk::new(descriptor.amd_queue);
        Ok(Self {
            id,
            descriptor,
            bell,
            faults,
            shadow,
            next: read_index,
            flights,
            gate: None,
            scratch,
            stopped: false,
            hearing: Hearing::default(),
            late: LateCompletions::default(),
            blocked: false,
        })
    }

    /// Makes the queue deaf to rings that say no more than the doorbell's last owner was told.
    pub(super) fn inherit_doorbell(&mut self, published_end: u64) {
        self.hearing.inherit(published_end);
    }

    pub(super) fn id(&self) -> QueueId {
        self.id
    }

    pub(super) const fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Looks at a doorbell that lies in memory.
    pub(super) fn look(&mut self, memory: &MapView<'_>) {
        self.bell.look(memory);
    }

    /// Whether a turn could do anything. Touches no shared memory.
    pub(super) fn has_work(&self) -> bool {
        let rung = !self.blocked && self.hearing.has_news(self.bell.published_end(), self.next);
        !self.stopped && (rung || self.gate.is_some() || !self.flights.is_empty() || !self.late.is_empty())
    }

    /// One turn.
    pub(super) fn turn(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Turn {
        if !self.has_work() {
            return Turn::Idle;
        }
        let outcome = self.launch(bus, bench).and_then(|launched| Ok(launched.max(self.execute(bus, bench)?)));
        let outcome = match self.late.is_empty() {
            true => outcome,
            false => outcome.and_then(|turn| Ok(turn.max(self.late.deliver(turn, bus, bench)?))),
        };
        let outcome = match bench.caught() {
            Some(caught) => outcome.and(Err(self.blame(caught))),
            None => outcome,
        };
        outcome.unwrap_or_else(|failure| {
            self.stop(bus, failure, bench);
            Turn::Progressed
        })
    }

    /// The net caught an access of this turn's outside a kernel's quantum.
    fn blame(&self, caught: Caught) -> Failure {
        Failure { packet_index: self.next.saturating_sub(1), kernel_object: None, refusal: caught.into() }
    }

    /// Takes packets off the ring until one must wait.
    fn launch(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Failure> {
        let mut turn = Turn::Waiting;
        for _ in 0..PACKETS_PER_TURN {
            if let Some(gate) = &mut self.gate {
                if !gate.condition.poll(&bus.memory).map_err(|fault| gate.ticket.failed(fault.into()))? {
                    break;
                }
                let ticket = gate.ticket;
                self.gate = None;
                self.complete(ticket, bus, bench)?;
                turn = Turn::Progressed;
            }
            let rung = self.hearing.published_end(self.bell.published_end(), bus.faults());
            if rung <= self.next || self.blocked || self.flights.len() == MAX_IN_FLIGHT {
                break;
            }
            let packet_index = self.next;
            let fetched = self.fetch(bus, bench).map_err(|refusal| Failure { packet_index, kernel_object: None, refusal })?;
            let Some((packet, fate)) = fetched else { break };
            turn = Turn::Progressed;
            self.enter(bus, packet_index, &packet, fate, bench)?;
        }
        Ok(turn)
    }

    /// Copies the packet at the head of the ring and frees its slot; `None` while it is not published or may not launch yet.
    fn fetch(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Option<(RawPacket, Fate)>, Refusal> {
        let slot = self.slot_of(self.next);
        // The producer wrote it last, and it will be marked as free.
        bus.memory.fetch_for_writing(slot);
        let header = Header(bus.memory.load_acquire_u32(slot)? as u16);
        if !header.is_published() || (header.waits_for_all_before() && !(self.flights.is_empty() && self.late.is_empty())) {
            return Ok(None);
        }
        let mut packet = RawPacket([0; 8]);
        bus.memory.window(slot, PACKET_BYTES, Access::Read)?.copy_to(&mut packet.0);
        if !self.has_scratch_for(&packet, bus, bench)? {
            return Ok(None);
        }
        let fate = bus.faults().map_or(Fate::Normal, |faults| Fate::of(&packet, faults));
        match fate {
            Fate::Ignored => {
                self.blocked = true;
                return Ok(None);
            }
            Fate::DeviceGone => {
                self.blocked = true;
                bench.gone = true;
                return Ok(None);
            }
            _ => {}
        }
        bus.memory.store_u16(slot, INVALID_HEADER)?;
        self.next += 1;
        // A plain write, but not before the slot is copied and marked: whoever sees the new index may fill the slot.
        if !bus.faults().is_some_and(injection::read_index_sticks) {
            bus.memory.store_release_u64(self.descriptor.amd_queue + READ_INDEX, self.next)?;
        }
        Ok(Some((packet, fate)))
    }

    /// Whether the packet may launch as far as private memory goes. It stays in the ring until then, because that is where the
    /// host looks for how much it needs.
    fn has_scratch_for(&mut self, packet: &RawPacket, bus: &Bus<'_>, bench: &Workbench) -> Result<bool, Refusal> {
        if self.flights.iter().any(|flight| flight.scratch.is_some()) {
            return Ok(false);
        }
        let (Some(needed), ScratchProtocol::Negotiated) = (packet.private_segment(), bench.host.protocol().scratch) else {
            return Ok(true);
        };
        if !self.flights.is_empty() {
            return Ok(false);
        }
        let wave = compute::wave_size(bench.target, needed.kernel_object, &bus.memory)?;
        Ok(self.scratch.settle(needed.bytes_per_work_item, wave, &bus.memory, &bench.host)? == Supply::Ready)
    }

    /// Starts the active phase of a packet.
    fn enter(
        &mut self,
        bus: &Bus<'_>,
        packet_index: u64,
        packet: &RawPacket,
        fate: Fate,
        bench: &mut Workbench,
    ) -> Result<(), Failure> {
        // The acquire fence of the packet (HSA 1.2 §2.9): the kernel sees what was there when the header was released.
        fence(Ordering::Acquire);
        let ticket = Ticket::new(packet_index, packet, self.stamps(bus, packet));
        match fate {
            Fate::Lost => return Ok(()),
            Fate::Skipped => return self.complete(ticket, bus, bench),
            Fate::Failed(error) => return Err(ticket.failed(Refusal::new(error, "an error that a fault plan asked for"))),
            _ => {}
        }
        let kernel = match packet.decode().map_err(|refusal| ticket.failed(refusal))? {
            Packet::Barrier(condition) => {
                self.gate = Some(Gate { condition, ticket });
                return Ok(());
            }
            Packet::Commands(buffer) => {
                pm4::execute(buffer, &bus.memory).map_err(|refusal| ticket.failed(refusal))?;
                // Housekeeping of the runtime's, without which it does not get as far as a packet of the application's.
                return ticket.complete(bus, None, &mut bench.host);
            }
            Packet::Dispatch(kernel) => kernel,
        };
        self.start(bus, ticket, packet, &kernel, fate, bench)
    }

    /// Whether the host wants to know when a packet of this queue ran.
    fn stamps(&self, bus: &Bus<'_>, packet: &RawPacket) -> Stamps {
        if packet.completion_signal().is_none() {
            return Stamps::Unwanted;
        }
        match bus.memory.load_u32(self.descriptor.amd_queue + PROPERTIES) {
            Ok(properties) if properties & PROPERTY_PROFILING != 0 => Stamps::Wanted,
            _ => Stamps::Unwanted,
        }
    }

    /// Completes a packet, or makes a note of it where the completion is to be late.
    fn complete(&mut self, ticket: Ticket, bus: &Bus<'_>, bench: &mut Workbench) -> Result<(), Failure> {
        match bus.faults() {
            Some(faults) if ticket.completion.is_some() && self.late.take(ticket, faults) => ticket.stamp(bus),
            faults => ticket.complete(bus, faults, &mut bench.host),
        }
    }

    fn start(
        &mut self,
        bus: &Bus<'_>,
        ticket: Ticket,
        packet: &RawPacket,
        kernel: &KernelDispatch,
        fate: Fate,
        bench: &mut Workbench,
    ) -> Result<(), Failure> {
        let scratch = match (kernel.private_segment_bytes, bench.host.protocol().scratch) {
            (0, _) | (_, ScratchProtocol::Refused) => None,
            (_, ScratchProtocol::Negotiated) => compute::wave_size(bench.target, kernel.kernel_object, &bus.memory)
                .and_then(|wave| self.scratch.of_queue(wave, &bus.memory))
                .map_err(|fault| ticket.failed(fault.into()))?,
        };
        let Some(slot) = self.shadow.keep(packet) else {
            let detail = "no room for a copy of the packet although fewer than the most are in flight";
            return Err(ticket.failed(Refusal::new(QueueError::InvalidPacket, detail)));
        };
        let launch = Launch {
            descriptor: kernel.kernel_object,
            dispatch_packet: self.shadow.address(slot),
            queue: self.descriptor.amd_queue,
            kernarg: kernel.kernarg,
            dispatch_id: ticket.packet_index,
            grid: kernel.grid,
            workgroup: kernel.workgroup,
            group_segment_bytes: kernel.group_segment_bytes,
            private_segment_bytes: kernel.private_segment_bytes,
            scratch,
        };
        let dispatch = bench.engine.launch(&launch, bus).map_err(|error| ticket.failed(error.into()))?;
        let again = (fate == Fate::Twice).then(|| Box::new(launch));
        self.flights.push(Flight { dispatch, slot, ticket, scratch, again });
        Ok(())
    }

    /// Gives every kernel in flight a quantum and completes those that end.
    fn execute(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Failure> {
        let mut turn = Turn::Idle;
        let mut index = 0;
        while let Some(flight) = self.flights.get_mut(index) {
            let step = flight.dispatch.run(bus, QUANTUM);
            if let Some(caught) = bench.caught() {
                return Err(flight.ticket.failed(caught.into()));
            }
            match step {
                Step::Yielded => {
                    turn = turn.max(Turn::Running);
                    index += 1;
                }
                Step::Finished if flight.again.is_some() => {
                    turn = Turn::Progressed;
                    let Some(launch) = flight.again.take() else { continue };
                    let dispatch = bench.engine.launch(&launch, bus).map_err(|error| flight.ticket.failed(error.into()))?;
                    bench.engine.recycle(std::mem::replace(&mut flight.dispatch, dispatch));
                }
                Step::Finished => {
                    // The host waits for the completion, and nobody for what is to be put away.
                    let ticket = flight.ticket;
                    let completed = self.complete(ticket, bus, bench);
                    let flight = self.flights.swap_remove(index);
                    self.shadow.release(flight.slot);
                    bench.engine.recycle(flight.dispatch);
                    completed?;
                    turn = Turn::Progressed;
                }
                Step::Failed(fault) => return Err(flight.ticket.failed(fault.into())),
            }
        }
        Ok(turn)
    }

    /// Stops the queue for good: whatever it has in flight is dropped, and the inactive signal says why.
    fn stop(&mut self, bus: &Bus<'_>, failure: Failure, bench: &mut Workbench) {
        self.stopped = true;
        self.gate = None;
        self.late = LateCompletions::default();
        for flight in self.flights.drain(..) {
            bench.engine.recycle(flight.dispatch);
        }
        let Failure { packet_index, kernel_object, refusal: Refusal { error, detail } } = failure;
        let fault = QueueFault { queue: self.id, packet_index, kernel_object, error, detail };
        // Before the signal, so that who wakes up on it finds it.
        bench.host.diagnose(&fault);
        self.faults.record(fault);
        let inactive = bus.memory.load_u64(self.descriptor.amd_queue + INACTIVE_SIGNAL).map(GpuVa);
        if let Ok(handle) = inactive
            && !handle.is_null()
            && signal::load_acquire(&bus.memory, handle) != Ok(scratch::DECLARED_DEAD)
        {
            // With the signal's own memory gone there is nobody left to tell but the fault log.
            let _ = signal::store(&bus.memory, handle, error.signal_value(), &mut bench.host);
        }
    }

    fn slot_of(&self, index: u64) -> GpuVa {
        let mask = u64::from(self.descriptor.packets.get()) - 1;
        self.descriptor.ring + (index & mask) * PACKET_BYTES
    }
}

#[cfg(test)]
mod tests;
