//! The device's side of a signal: `amd_signal_t` (amd_hsa_signal.h), which a signal handle is the address of.

use std::mem::offset_of;
use std::sync::atomic::{Ordering, fence};

use crate::faults::{Fault, Injector};
use crate::hsa::sys::{AMD_SIGNAL_KIND_USER, amd_signal_t};
use crate::model::address::GpuVa;
use crate::model::bus::{Admission, Bus};
use crate::model::host::{EventProtocol, HostLine};
use crate::model::memory::{MapView, MemoryFault};

const VALUE: u64 = offset_of!(amd_signal_t, __bindgen_anon_1) as u64;
/// The kind of a signal whose value means something, first in the signal.
const KIND_USER: u64 = AMD_SIGNAL_KIND_USER as u64;
const EVENT_MAILBOX: u64 = offset_of!(amd_signal_t, event_mailbox_ptr) as u64;
const EVENT_ID: u64 = offset_of!(amd_signal_t, event_id) as u64;
const START: u64 = offset_of!(amd_signal_t, start_ts) as u64;
const END: u64 = offset_of!(amd_signal_t, end_ts) as u64;

/// Device clock readings around a packet's execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The interrupt a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Event {
    /// The mailbox tells the host which event it was.
    Posted { mailbox: GpuVa, id: u32 },
    /// There is no mailbox.
    Unposted { id: u32 },
}

impl Event {
    fn of(memory: &MapView<'_>, signal: GpuVa, protocol: EventProtocol) -> Result<Option<Self>, MemoryFault> {
        match protocol {
            EventProtocol::MailboxAfterValue => {
                let mailbox = GpuVa(memory.load_u64(signal + EVENT_MAILBOX)?);
                if mailbox.is_null() {
                    return Ok(None);
                }
                Ok(Some(Self::Posted { mailbox, id: memory.load_u32(signal + EVENT_ID)? }))
            }
            EventProtocol::BeforeValue => {
                let id = memory.load_u32(signal + EVENT_ID)?;
                Ok((id != 0).then_some(Self::Unposted { id }))
            }
        }
    }

    /// The event of the signal whose value lies at `value`, for engines that know the value's address only. They name no event of
    /// their own, so this matters only where the host has no other way to hear of it.
    pub(in crate::model) fn of_value(memory: &MapView<'_>, value: GpuVa, host: &HostLine) -> Option<Self> {
        let signal = GpuVa(value.0.checked_sub(VALUE)?);
        if host.protocol().events != EventProtocol::BeforeValue || memory.load_u64(signal).ok()? != KIND_USER {
            return None;
        }
        Self::of(memory, signal, EventProtocol::BeforeValue).ok().flatten()
    }

    /// To be called just before the value of a completion signal moves.
    pub(in crate::model) fn announce(self, host: &HostLine) {
        match self {
            Self::Posted { .. } => {}
            Self::Unposted { id } => host.raise_now(id),
        }
    }

    /// To be called just after the value of a completion signal has moved.
    fn confirm(self, memory: &MapView<'_>, host: &mut HostLine) {
        match self {
            Self::Posted { mailbox, id } => {
                // From the moment the value moved the host may tear the signal down, so a mailbox that is gone is no fault of the queue.
                let _ = memory.store_u64(mailbox, u64::from(id));
                host.raise_after_turn(id);
            }
            Self::Unposted { .. } => {}
        }
    }
}

/// The signal's value, ordered before everything the device does next.
pub(super) fn load_acquire(memory: &MapView<'_>, signal: GpuVa) -> Result<i64, MemoryFault> {
    memory.load_acquire_u64(signal + VALUE).map(|value| value as i64)
}

/// How a completion reaches its signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    decrement: i64,
    times: u32,
    raises_event: bool,
}

impl Delivery {
    /// Once, by one, with its event.
    pub(super) const RIGHT: Self = Self { decrement: 1, times: 1, raises_event: true };

    /// What these faults make of the next completion.
    pub(super) fn with(faults: Option<&Injector>) -> Self {
        faults.map_or(Self::RIGHT, Self::struck)
    }

    #[cold]
    fn struck(faults: &Injector) -> Self {
        let decrement = faults.strike(|fault| match fault {
            Fault::SignalDecrement(decrement) => Some(decrement.value()),
            _ => None,
        });
        let times = faults.strike(|fault| match fault {
            Fault::SignalDropped => Some(0),
            Fault::SignalTwice => Some(2),
            _ => None,
        });
        Self { decrement: decrement.unwrap_or(1), times: times.unwrap_or(1), raises_event: !faults.strikes(Fault::EventNotRaised) }
    }
}

/// Completes a packet: timestamps, where the queue is profiled, by plain writes, then the value goes down by one AtomicOp, and only if that arrives does the
/// signal's event fire.
pub(super) fn complete(
    bus: &Bus<'_>,
    signal: GpuVa,
    times: Option<Times>,
    delivery: Delivery,
    host: &mut HostLine,
) -> Result<(), MemoryFault> {
    // The host polls it meanwhile.
    bus.memory.fetch_for_writing(signal + VALUE);
    let event = Event::of(&bus.memory, signal, host.protocol().events)?.filter(|_| delivery.raises_event);
    if let Some(times) = times {
        stamp(bus, signal, times)?;
    }
    let addend = delivery.decrement.wrapping_neg().cast_unsigned();
    for _ in 0..delivery.times {
        let announce = || {
            if let Some(event) = event {
                event.announce(host);
            }
        };
        if bus.add_u64_announced(signal + VALUE, addend, announce)? == Admission::Performed
            && let Some(event) = event
        {
            event.confirm(&bus.memory, host);
        }
    }
    Ok(())
}

/// Writes when a packet ran.
pub(super) fn stamp(bus: &Bus<'_>, signal: GpuVa, times: Times) -> Result<(), MemoryFault> {
    bus.memory.store_u64(signal + START, times.start)?;
    bus.memory.store_u64(signal + END, times.end)
}

/// Tells the host something through a queue's inactive signal: a plain write, which needs no AtomicOps, and then the signal's
/// event. The host keeps such a signal until the queue is gone, so the event is never too late.
pub(super) fn store(memory: &MapView<'_>, signal: GpuVa, value: i64, host: &mut HostLine) -> Result<(), MemoryFault> {
    let event = tell(memory, signal, value, host)?;
    if let Some(event) = event {
        event.confirm(memory, host);
    }
    Ok(())
}

/// As [`store`], for a queue that goes on: without a mailbox to write.
pub(super) fn ask(memory: &MapView<'_>, signal: GpuVa, value: i64, host: &HostLine) -> Result<(), MemoryFault> {
    tell(memory, signal, value, host).map(|_| ())
}

fn tell(memory: &MapView<'_>, signal: GpuVa, value: i64, host: &HostLine) -> Result<Option<Event>, MemoryFault> {
    let event = Event::of(memory, signal, host.protocol().events)?;
    fence(Ordering::Release);
    memory.store_u64(signal + VALUE, value as u64)?;
    if let Some(event) = event {
        event.announce(host);
    }
    Ok(event)
}
