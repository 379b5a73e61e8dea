//! The device's side of a signal: `amd_signal_t` (amd_hsa_signal.h), which a signal handle is the address of.

use std::mem::offset_of;
use std::sync::atomic::{Ordering, fence};

use crate::hsa::sys::amd_signal_t;
use crate::model::address::GpuVa;
use crate::model::bus::{Admission, Bus};
use crate::model::memory::{MapView, MemoryFault};

const VALUE: u64 = offset_of!(amd_signal_t, __bindgen_anon_1) as u64;
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

/// The interrupt a signal asks for: an event id, and the mailbox that tells the host which one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    mailbox: GpuVa,
    id: u32,
}

impl Event {
    fn of(memory: &MapView<'_>, signal: GpuVa) -> Result<Option<Self>, MemoryFault> {
        let mailbox = GpuVa(memory.load_u64(signal + EVENT_MAILBOX)?);
        if mailbox.is_null() {
            return Ok(None);
        }
        Ok(Some(Self { mailbox, id: memory.load_u32(signal + EVENT_ID)? }))
    }

    fn fire(self, memory: &MapView<'_>, interrupts: &mut Vec<u32>) {
        // From the moment the value moved the host may tear the signal down, so a mailbox that is gone is no fault of the queue.
        let _ = memory.store_u64(self.mailbox, u64::from(self.id));
        interrupts.push(self.id);
    }
}

/// The signal's value, ordered before everything the device does next.
pub(super) fn load_acquire(memory: &MapView<'_>, signal: GpuVa) -> Result<i64, MemoryFault> {
    memory.load_acquire_u64(signal + VALUE).map(|value| value as i64)
}

/// Completes a packet: timestamps by plain writes, then the value goes down by one AtomicOp, and only when that arrived does the
/// signal's event fire.
pub(super) fn complete(bus: &Bus<'_>, signal: GpuVa, times: Times, interrupts: &mut Vec<u32>) -> Result<(), MemoryFault> {
    let event = Event::of(&bus.memory, signal)?;
    bus.memory.store_u64(signal + START, times.start)?;
    bus.memory.store_u64(signal + END, times.end)?;
    let minus_one = u64::MAX;
    if bus.add_u64(signal + VALUE, minus_one)? == Admission::Performed
        && let Some(event) = event
    {
        event.fire(&bus.memory, interrupts);
    }
    Ok(())
}

/// Stores a value by a plain write, which needs no AtomicOps, and fires the signal's event.
pub(super) fn store(memory: &MapView<'_>, signal: GpuVa, value: i64, interrupts: &mut Vec<u32>) -> Result<(), MemoryFault> {
    let event = Event::of(memory, signal)?;
    fence(Ordering::Release);
    memory.store_u64(signal + VALUE, value as u64)?;
    if let Some(event) = event {
        event.fire(memory, interrupts);
    }
    Ok(())
}
