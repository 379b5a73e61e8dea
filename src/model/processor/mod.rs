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
//! * Fences of every scope are sequentially consistent: the model has no caches to flush.

mod barrier;
mod packet;
mod shadow;
mod signal;

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use self::barrier::Condition;
use self::packet::{Header, INVALID_HEADER, PACKET_BYTES, Packet, RawPacket};
use self::shadow::{Shadow, Slot};
use self::signal::Times;
use super::address::GpuVa;
use super::bus::Bus;
use super::compute::{Dispatch, Engine, InstructionBudget, Launch, LaunchError, Step, WaveFault};
use super::device::device_clock;
use super::gpu::{Doorbell, QueueDescriptor, QueueId};
use super::memory::{Access, MapError, MemoryFault, MemoryMap};
use super::queue_error::QueueError;
use super::target::Target;
use crate::hsa::sys::amd_queue_t;

/// Kernel dispatches of one queue that may run at the same time.
pub const MAX_IN_FLIGHT: usize = shadow::SLOTS;

/// Wave instructions a kernel may execute before the next one's turn: on the order of a hundred microseconds.
const QUANTUM: InstructionBudget = InstructionBudget(16 * 1024);
/// Packets to take off the ring in one turn, so that a long row of barriers cannot keep other queues waiting.
const PACKETS_PER_TURN: usize = 16;

const READ_INDEX: u64 = offset_of!(amd_queue_t, read_dispatch_id) as u64;
const INACTIVE_SIGNAL: u64 = offset_of!(amd_queue_t, queue_inactive_signal) as u64;

/// Why the packet processor stopped a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue {}, packet {packet_index}{}: {error}: {detail}", .queue.0, of_kernel(*.kernel_object))]
pub struct QueueFault {
    /// The queue that stopped.
    pub queue: QueueId,
    /// Index of the packet that failed.
    pub packet_index: u64,
    /// The kernel descriptor's address, when the packet was a kernel dispatch.
    pub kernel_object: Option<GpuVa>,
    /// The code stored into the queue's inactive signal.
    pub error: QueueError,
    /// What exactly happened: for a wave the address and words of the instruction.
    pub detail: String,
}

fn of_kernel(kernel_object: Option<GpuVa>) -> String {
    kernel_object.map_or_else(String::new, |object| format!(", kernel object {object}"))
}

/// Remembers the fault of the queue that failed last, and how many there were.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    last: Mutex<Option<QueueFault>>,
    count: AtomicU64,
}

impl FaultLog {
    pub(super) fn last(&self) -> Option<QueueFault> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn record(&self, fault: QueueFault) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Why a packet cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    error: QueueError,
    detail: String,
}

impl Refusal {
    fn new(error: QueueError, detail: impl Into<String>) -> Self {
        Self { error, detail: detail.into() }
    }
}

impl From<MemoryFault> for Refusal {
    fn from(fault: MemoryFault) -> Self {
        Self::new(QueueError::MemoryViolation, format!("packet processor: {fault}"))
    }
}

impl From<LaunchError> for Refusal {
    fn from(error: LaunchError) -> Self {
        let code = match &error {
            LaunchError::Descriptor(_) => QueueError::InvalidCode,
            LaunchError::KernelArguments(_) => QueueError::MemoryViolation,
            LaunchError::Scratch { .. } => QueueError::InsufficientScratch,
            LaunchError::GroupSegment { .. } => QueueError::InvalidGroupSegment,
            LaunchError::Workgroup { .. } => QueueError::WorkgroupTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<WaveFault> for Refusal {
    fn from(fault: WaveFault) -> Self {
        let code = match &fault {
            WaveFault::IllegalInstruction { .. } => QueueError::IllegalInstruction,
            WaveFault::Memory { .. } => QueueError::MemoryViolation,
            WaveFault::Trap { .. } => QueueError::Trap,
        };
        Self::new(code, fault.to_string())
    }
}

/// A packet between launch and completion.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    packet_index: u64,
    kernel_object: Option<GpuVa>,
    completion: Option<GpuVa>,
    start: u64,
}

impl Ticket {
    fn new(packet_index: u64, packet: &RawPacket) -> Self {
        let completion = packet.completion_signal();
        // Nobody could read the time of a packet that has no signal.
        let start = completion.map_or(0, |_| device_clock());
        Self { packet_index, kernel_object: packet.kernel_object(), completion, start }
    }

    fn complete(&self, bus: &Bus<'_>, interrupts: &mut Vec<u32>) -> Result<(), Failure> {
        fence(Ordering::SeqCst);
        let Some(handle) = self.completion else { return Ok(()) };
        let times = Times { start: self.start, end: device_clock() };
        signal::complete(bus, handle, times, interrupts).map_err(|fault| self.failed(fault.into()))
    }

    fn failed(&self, refusal: Refusal) -> Failure {
        Failure { packet_index: self.packet_index, kernel_object: self.kernel_object, refusal }
    }
}

#[derive(Debug)]
struct Failure {
    packet_index: u64,
    kernel_object: Option<GpuVa>,
    refusal: Refusal,
}

/// A kernel that runs.
#[derive(Debug)]
struct Flight {
    dispatch: Dispatch,
    slot: Slot,
    ticket: Ticket,
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
    /// Runs kernels and keeps what finished ones leave behind.
    pub(super) engine: Engine,
    /// Event ids of interrupts to raise when the turn is over.
    pub(super) interrupts: Vec<u32>,
}

impl Workbench {
    /// The bench of a device with these shader cores.
    pub(super) const fn new(target: Target) -> Self {
        Self { engine: Engine::new(target), interrupts: Vec::new() }
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
    doorbell: Arc<Doorbell>,
    faults: Arc<FaultLog>,
    shadow: Shadow,
    /// Index of the next packet to take off the ring.
    next: u64,
    flights: Vec<Flight>,
    gate: Option<Gate>,
    stopped: bool,
}

impl QueueProcessor {
    /// Takes a queue over at its present read index.
    pub(super) fn new(
        id: QueueId,
        descriptor: QueueDescriptor,
        read_index: u64,
        doorbell: Arc<Doorbell>,
        memory: Arc<MemoryMap>,
        faults: Arc<FaultLog>,
    ) -> Result<Self, MapError> {
        let shadow = Shadow::new(memory, id)?;
        let flights = Vec::with_capacity(MAX_IN_FLIGHT);
        Ok(Self { id, descriptor, doorbell, faults, shadow, next: read_index, flights, gate: None, stopped: false })
    }

    pub(super) fn id(&self) -> QueueId {
        self.id
    }

    /// Whether a turn could do anything. Touches no shared memory but the doorbell.
    pub(super) fn has_work(&self) -> bool {
        !self.stopped && (self.doorbell.published_end() > self.next || self.gate.is_some() || !self.flights.is_empty())
    }

    /// One turn.
    pub(super) fn turn(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Turn {
        if !self.has_work() {
            return Turn::Idle;
        }
        let outcome = self.launch(bus, bench).and_then(|launched| Ok(launched.max(self.execute(bus, bench)?)));
        outcome.unwrap_or_else(|failure| {
            self.stop(bus, failure, bench);
            Turn::Progressed
        })
    }

    /// Takes packets off the ring until one must wait.
    fn launch(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Failure> {
        let mut turn = Turn::Waiting;
        for _ in 0..PACKETS_PER_TURN {
            if let Some(gate) = &mut self.gate {
                if !gate.condition.poll(&bus.memory).map_err(|fault| gate.ticket.failed(fault.into()))? {
                    break;
                }
                gate.ticket.complete(bus, &mut bench.interrupts)?;
                self.gate = None;
                turn = Turn::Progressed;
            }
            if self.doorbell.published_end() <= self.next || self.flights.len() == MAX_IN_FLIGHT {
                break;
            }
            let packet_index = self.next;
            let fetched = self.fetch(bus).map_err(|fault| Failure { packet_index, kernel_object: None, refusal: fault.into() })?;
            let Some(packet) = fetched else { break };
            turn = Turn::Progressed;
            self.enter(bus, packet_index, &packet, &mut bench.engine)?;
        }
        Ok(turn)
    }

    /// Copies the packet at the head of the ring and frees its slot; `None` while it is not published or may not launch yet.
    fn fetch(&mut self, bus: &Bus<'_>) -> Result<Option<RawPacket>, MemoryFault> {
        let slot = self.slot_of(self.next);
        let header = Header(bus.memory.load_acquire_u32(slot)? as u16);
        if !header.is_published() || (header.waits_for_all_before() && !self.flights.is_empty()) {
            return Ok(None);
        }
        let mut packet = RawPacket([0; 8]);
        bus.memory.window(slot, PACKET_BYTES, Access::Read)?.copy_to(&mut packet.0);
        bus.memory.store_u16(slot, INVALID_HEADER)?;
        self.next += 1;
        // A plain write, but not before the slot is copied and marked: whoever sees the new index may fill the slot.
        fence(Ordering::Release);
        bus.memory.store_u64(self.descriptor.amd_queue + READ_INDEX, self.next)?;
        Ok(Some(packet))
    }

    /// Starts the active phase of a packet.
    fn enter(&mut self, bus: &Bus<'_>, packet_index: u64, packet: &RawPacket, engine: &mut Engine) -> Result<(), Failure> {
        fence(Ordering::SeqCst);
        let ticket = Ticket::new(packet_index, packet);
        let kernel = match packet.decode().map_err(|refusal| ticket.failed(refusal))? {
            Packet::Barrier(condition) => {
                self.gate = Some(Gate { condition, ticket });
                return Ok(());
            }
            Packet::Dispatch(kernel) => kernel,
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
            dispatch_id: packet_index,
            grid: kernel.grid,
            workgroup: kernel.workgroup,
            group_segment_bytes: kernel.group_segment_bytes,
            private_segment_bytes: kernel.private_segment_bytes,
            scratch: None,
        };
        let dispatch = engine.launch(&launch, bus).map_err(|error| ticket.failed(error.into()))?;
        self.flights.push(Flight { dispatch, slot, ticket });
        Ok(())
    }

    /// Gives every kernel in flight a quantum and completes those that end.
    fn execute(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Failure> {
        let mut turn = Turn::Idle;
        let mut index = 0;
        while let Some(flight) = self.flights.get_mut(index) {
            match flight.dispatch.run(bus, QUANTUM) {
                Step::Yielded => {
                    turn = turn.max(Turn::Running);
                    index += 1;
                }
                Step::Finished => {
                    let flight = self.flights.swap_remove(index);
                    self.shadow.release(flight.slot);
                    // The host waits for the completion, and nobody for the engine.
                    let completed = flight.ticket.complete(bus, &mut bench.interrupts);
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
        for flight in self.flights.drain(..) {
            bench.engine.recycle(flight.dispatch);
        }
        let Failure { packet_index, kernel_object, refusal: Refusal { error, detail } } = failure;
        // Before the signal, so that who wakes up on it finds it.
        self.faults.record(QueueFault { queue: self.id, packet_index, kernel_object, error, detail });
        let inactive = bus.memory.load_u64(self.descriptor.amd_queue + INACTIVE_SIGNAL).map(GpuVa);
        if let Ok(handle) = inactive
            && !handle.is_null()
        {
            // With the signal's own memory gone there is nobody left to tell but the fault log.
            let _ = signal::store(&bus.memory, handle, error.signal_value(), &mut bench.interrupts);
        }
    }

    fn slot_of(&self, index: u64) -> GpuVa {
        let mask = u64::from(self.descriptor.packets.get()) - 1;
        self.descriptor.ring + (index & mask) * PACKET_BYTES
    }
}

#[cfg(test)]
mod tests;
