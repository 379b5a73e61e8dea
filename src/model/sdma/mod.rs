//! The copy engine: one SDMA queue's commands from ring to completion (ROCr, `sdma_registers.h` and `amd_blit_sdma.cpp`).
//!
//! Commands execute in order, each before the next one is looked at. A long copy is done in pieces, one or a few in each turn, so
//! that other queues have theirs. An SDMA queue has no inactive signal to say why it stopped: it stands still, and the diagnosis is
//! all there is.

mod command;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{Ordering, fence};

use self::command::{Command, Decoded, LONGEST, Poll, Undecodable, decode};
use super::address::GpuVa;
use super::bus::Bus;
use super::device::device_clock;
use super::doorbell::Bell;
use super::gpu::{GpuError, QueueId, SdmaDescriptor};
use super::memory::{Access, MapView, MemoryFault, Plain, Window};
use super::net::Caught;
use super::processor::{Event, Turn, Workbench};

/// Bytes to copy or fill in one turn.
const BYTES_PER_TURN: u64 = 256 * 1024;
/// Commands to execute in one turn, fillers not counted.
const COMMANDS_PER_TURN: usize = 64;
/// Dwords of fillers to pass over in one turn: the host fills the rest of a ring with them.
const FILLERS_PER_TURN: u64 = 64 * 1024;
/// Bytes to move between two looks at the map.
const PIECE: usize = 4096;

/// Why an SDMA queue stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Memory(MemoryFault),
    Caught(Caught),
    Undecodable(Undecodable),
    /// The doorbell says that more has been written than the ring can hold.
    Overrun {
        bytes: u64,
        ring_bytes: u32,
    },
}

impl From<MemoryFault> for Reason {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

impl From<Undecodable> for Reason {
    fn from(error: Undecodable) -> Self {
        Self::Undecodable(error)
    }
}

/// What stopped a queue, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SdmaFault {
    queue: QueueId,
    offset: u64,
    reason: Reason,
}

impl fmt::Display for SdmaFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SDMA queue {}, command at byte 0x{:x}: ", self.queue.0, self.offset)?;
        match &self.reason {
            Reason::Memory(fault) => fault.fmt(formatter),
            Reason::Caught(caught) => caught.fmt(formatter),
            Reason::Undecodable(error) => error.fmt(formatter),
            Reason::Overrun { bytes, ring_bytes } => {
                write!(formatter, "the doorbell says that {bytes} bytes are waiting, and the ring has {ring_bytes}")
            }
        }
    }
}

/// One SDMA queue.
#[derive(Debug)]
pub(super) struct SdmaProcessor {
    id: QueueId,
    descriptor: SdmaDescriptor,
    bell: Bell,
    /// Byte offset of the next command; it never wraps.
    next: u64,
    /// Bytes of the present copy or fill that are done.
    done: u64,
    stopped: bool,
}

/// How far a command got.
enum Progress {
    Finished,
    /// There is more to move than this turn allows.
    Unfinished,
    /// A poll whose condition does not hold yet.
    Waiting,
}

/// What is left of a turn.
struct Budget {
    bytes: u64,
    fillers: u64,
}

impl SdmaProcessor {
    /// Checks that the device can work with a queue, and reads where to start.
    pub(super) fn check(descriptor: &SdmaDescriptor, memory: &MapView<'_>) -> Result<u64, GpuError> {
        let bytes = descriptor.ring_bytes.get();
        if !bytes.is_power_of_two() || (bytes as usize) < LONGEST * 4 {
            return Err(GpuError::SdmaRingLength { bytes });
        }
        if !descriptor.ring.is_aligned_to(4) {
            return Err(GpuError::RingAlignment { ring: descriptor.ring });
        }
        memory.window(descriptor.ring, u64::from(bytes), Access::Read)?;
        memory.atomic_u64(descriptor.read_pointer)?;
        memory.load_acquire_u64(descriptor.write_pointer)?;
        Ok(memory.load_acquire_u64(descriptor.read_pointer)?)
    }

    pub(super) const fn new(id: QueueId, descriptor: SdmaDescriptor, start: u64, bell: Bell) -> Self {
        Self { id, descriptor, bell, next: start, done: 0, stopped: false }
    }

    pub(super) const fn id(&self) -> QueueId {
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
        !self.stopped && self.bell.published_end() > self.next
    }

    /// One turn.
    pub(super) fn turn(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Turn {
        if !self.has_work() {
            return Turn::Idle;
        }
        let outcome = self.execute(bus, bench);
        let outcome = match bench.caught() {
            Some(caught) => outcome.and(Err(Reason::Caught(caught))),
            None => outcome,
        };
        outcome.unwrap_or_else(|reason| {
            self.stopped = true;
            bench.host.diagnose(&SdmaFault { queue: self.id, offset: self.next, reason });
            Turn::Progressed
        })
    }

    fn execute(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Reason> {
        let mut turn = Turn::Waiting;
        let mut budget = Budget { bytes: BYTES_PER_TURN, fillers: FILLERS_PER_TURN };
        let mut commands = 0;
        while commands < COMMANDS_PER_TURN && self.has_work() {
            let Decoded { command, dwords } = self.fetch(bus, bench)?;
            if let Command::Filler = command {
                budget.fillers = match budget.fillers.checked_sub(u64::from(dwords)) {
                    Some(left) => left,
                    None => break,
                };
            } else {
                commands += 1;
                match self.perform(command, &mut budget, bus, bench)? {
                    Progress::Finished => {}
                    Progress::Unfinished => return Ok(Turn::Progressed),
                    Progress::Waiting => return Ok(turn),
                }
            }
            self.done = 0;
            self.next += u64::from(dwords) * 4;
            turn = Turn::Progressed;
            // A plain write, but after everything the command did.
            fence(Ordering::Release);
            bus.memory.store_u64(self.descriptor.read_pointer, self.next)?;
        }
        Ok(turn)
    }

    /// Reads the command at the head of the ring.
    fn fetch(&self, bus: &Bus<'_>, bench: &Workbench) -> Result<Decoded, Reason> {
        let waiting = self.bell.published_end() - self.next;
        let ring_bytes = self.descriptor.ring_bytes.get();
        if waiting > u64::from(ring_bytes) {
            return Err(Reason::Overrun { bytes: waiting, ring_bytes });
        }
        let available = (waiting / 4).min(LONGEST as u64) as usize;
        let mut words = [0; LONGEST];
        for (at, word) in words.iter_mut().enumerate().take(available) {
            let offset = (self.next + at as u64 * 4) & u64::from(ring_bytes - 1);
            *word = bus.memory.load_u32(self.descriptor.ring + offset)?;
        }
        Ok(decode(bench.target, &words[..available], waiting / 4)?)
    }

    fn perform(&mut self, command: Command, budget: &mut Budget, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Progress, Reason> {
        match command {
            Command::Filler | Command::FlushCaches => {}
            Command::Copy { source, destination, bytes } => {
                return self.in_pieces(bytes, budget, |done, wanted| copy(&bus.memory, source + done, destination + done, wanted));
            }
            Command::Fill { destination, value, bytes } => {
                return self.in_pieces(bytes, budget, |done, wanted| fill(&bus.memory, destination + done, value, wanted));
            }
            Command::Fence { at, value } => {
                fence(Ordering::SeqCst);
                bus.memory.store_u32(at, value)?;
            }
            Command::Trap { event } => {
                if event != 0 {
                    bench.host.raise_after_turn(event);
                }
            }
            Command::Poll(poll) => {
                if !self.holds(poll, &bus.memory)? {
                    return Ok(Progress::Waiting);
                }
            }
            Command::Add { at, addend } => {
                if let Some(caught) = bench.caught() {
                    return Err(Reason::Caught(caught));
                }
                fence(Ordering::SeqCst);
                let event = Event::of_value(&bus.memory, at, &bench.host);
                bus.add_u64_announced(at, addend, || {
                    if let Some(event) = event {
                        event.announce(&bench.host);
                    }
                })?;
            }
            Command::Timestamp { at } => bus.memory.store_u64(at, device_clock())?,
        }
        Ok(Progress::Finished)
    }

    fn holds(&self, poll: Poll, memory: &MapView<'_>) -> Result<bool, MemoryFault> {
        let value = memory.load_acquire_u32(poll.at)?;
        Ok(poll.comparison.holds(value & poll.mask, poll.reference))
    }

    /// Moves bytes until the command or the turn's allowance is through. `piece` is told what is done and what may be done, and says
    /// what it did, at least one byte.
    fn in_pieces(
        &mut self,
        bytes: u64,
        budget: &mut Budget,
        piece: impl Fn(u64, u64) -> Result<u64, MemoryFault>,
    ) -> Result<Progress, Reason> {
        while self.done < bytes {
            if budget.bytes == 0 {
                return Ok(Progress::Unfinished);
            }
            let moved = piece(self.done, (bytes - self.done).min(budget.bytes))?;
            self.done += moved;
            budget.bytes = budget.bytes.saturating_sub(moved);
        }
        Ok(Progress::Finished)
    }
}

/// What may be moved at a time from or to `va`: not past the end of its mapping. Where there is none, one byte, which will fault.
fn ahead(memory: &MapView<'_>, va: GpuVa) -> u64 {
    memory.bytes_ahead(va).max(1)
}

fn copy(memory: &MapView<'_>, source: GpuVa, destination: GpuVa, wanted: u64) -> Result<u64, MemoryFault> {
    let length = wanted.min(PIECE as u64).min(ahead(memory, source)).min(ahead(memory, destination));
    let (from, to) = (memory.window(source, length, Access::Read)?, memory.window(destination, length, Access::Write)?);
    // Memory moves word by word, so the words had better be large.
    if length.is_multiple_of(8) {
        carry::<u64>(from, to, &mut [0; PIECE / 8][..length as usize / 8]);
    } else {
        carry::<u8>(from, to, &mut [0; PIECE][..length as usize]);
    }
    Ok(length)
}

fn carry<Element: Plain>(from: Window<'_>, to: Window<'_>, piece: &mut [Element]) {
    from.copy_to(piece);
    to.copy_from(piece);
}

/// Fills with dwords; a mapping that ends in the middle of one faults.
fn fill(memory: &MapView<'_>, destination: GpuVa, value: u32, wanted: u64) -> Result<u64, MemoryFault> {
    // The whole is a multiple of four, so what is left is one too; a turn's allowance need not be.
    let length = (wanted.min(PIECE as u64).min(ahead(memory, destination)) & !3).max(4);
    let piece = [value; PIECE / 4];
    let dwords = (length / 4) as usize;
    memory.window(destination, length, Access::Write)?.copy_from(&piece[..dwords]);
    Ok(length)
}
