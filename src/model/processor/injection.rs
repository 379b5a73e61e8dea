//! What a fault plan makes of packets, doorbells and completions (docs/faults.md). Nothing here is asked without a plan.

use std::collections::VecDeque;

use super::packet::RawPacket;
use super::signal::Times;
use super::{Failure, Ticket, Turn, Workbench};
use crate::faults::{Fault, Injector, QueueErrorKind};
use crate::model::bus::Bus;
use crate::model::device::device_clock;
use crate::model::queue_error::QueueError;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is taken, executed and completed.
    Normal,
    /// It stays where it is, and everything behind it.
    Ignored,
    /// The device falls off the bus before it takes it.
    DeviceGone,
    /// It is taken, and that was all.
    Lost,
    /// It is taken and completed.
    Skipped,
    /// Its kernel runs twice.
    Twice,
    /// Its queue stops.
    Failed(QueueError),
}

impl Fate {
    /// The fate of the next packet. The runtime's own vendor packets have none.
    #[cold]
    pub(super) fn of(packet: &RawPacket, faults: &Injector) -> Self {
        if packet.is_vendor_specific() {
            return Self::Normal;
        }
        let is_kernel = packet.kernel_object().is_some();
        let fate = faults.strike(|fault| match fault {
            Fault::DeviceGone => Some(Self::DeviceGone),
            Fault::PacketIgnored => Some(Self::Ignored),
            Fault::PacketLost => Some(Self::Lost),
            Fault::PacketSkipped if is_kernel => Some(Self::Skipped),
            Fault::PacketTwice if is_kernel => Some(Self::Twice),
            Fault::QueueError(kind) => Some(Self::Failed(match kind {
                QueueErrorKind::MemoryViolation => QueueError::MemoryViolation,
                QueueErrorKind::IllegalInstruction => QueueError::IllegalInstruction,
                QueueErrorKind::InvalidPacket => QueueError::InvalidPacket,
                QueueErrorKind::Trap => QueueError::Trap,
            })),
            _ => None,
        });
        fate.unwrap_or(Self::Normal)
    }
}

/// Whether the read index stays where it is although a packet was taken.
#[cold]
pub(super) fn read_index_sticks(faults: &Injector) -> bool {
    faults.strikes(Fault::ReadIndexStuck)
}

/// What a queue makes of its doorbell. Rings between two looks are one.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// How far the doorbell had been rung at the last look.
    looked: u64,
    /// How far the queue believes that it was rung.
    believed: u64,
    /// What the doorbell's last owner was told.
    stale: u64,
}

impl Hearing {
    pub(super) fn inherit(&mut self, published_end: u64) {
        self.stale = published_end;
    }

    /// Whether a look may find a packet at `next`.
    pub(super) const fn has_news(&self, rung: u64, next: u64) -> bool {
        rung > next && (rung > self.looked || self.believed > next)
    }

    /// How far to look for packets.
    pub(super) fn published_end(&mut self, rung: u64, faults: Option<&Injector>) -> u64 {
        match faults {
            None => rung,
            Some(faults) => self.struck(rung, faults),
        }
    }

    #[cold]
    fn struck(&mut self, rung: u64, faults: &Injector) -> u64 {
        if rung > self.looked {
            self.looked = rung;
            if !faults.strikes(Fault::DoorbellLost) && rung > self.stale {
                self.believed = rung;
            }
        }
        self.believed
    }
}

/// Ticks of the device clock that are waited out on the spot: more than a nap of the device's thread takes.
const SPIN_TICKS: u64 = 200_000;

#[derive(Debug)]
struct LateCompletion {
    ticket: Ticket,
    times: Option<Times>,
    due: u64,
}

/// Packets that have ended and whose signals do not know yet, by when they will.
#[derive(Debug, Default)]
pub(super) struct LateCompletions(VecDeque<LateCompletion>);

impl LateCompletions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the completion of a packet that ends now, if it is to be late.
    #[cold]
    pub(super) fn take(&mut self, ticket: Ticket, faults: &Injector) -> bool {
        let delay = faults.strike(|fault| match fault {
            Fault::SignalLate(delay) => Some(delay.nanoseconds()),
            _ => None,
        });
        let Some(delay) = delay else { return false };
        let times = ticket.times();
        let due = device_clock().saturating_add(delay);
        let at = self.0.partition_point(|other| other.due <= due);
        self.0.insert(at, LateCompletion { ticket, times, due });
        true
    }

    /// Delivers what is due. When nothing else happens in this turn and the next is due soon, waits for it by spinning, so that it is
    /// late by as much as was asked for and not by a sleep more.
    pub(super) fn deliver(&mut self, turn: Turn, bus: &Bus<'_>, bench: &mut Workbench) -> Result<Turn, Failure> {
        let mut delivered = Turn::Waiting;
        while let Some(next) = self.0.front() {
            let mut now = device_clock();
            if next.due > now && (turn == Turn::Progressed || next.due - now > SPIN_TICKS) {
                break;
            }
            while now < next.due {
                std::hint::spin_loop();
                now = device_clock();
            }
            let Some(LateCompletion { ticket, times, .. }) = self.0.pop_front() else { break };
            ticket.signal(bus, bus.faults(), times, &mut bench.host)?;
            delivered = Turn::Progressed;
        }
        Ok(delivered)
    }
}
