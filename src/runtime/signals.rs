//! Signals: `amd_signal_t` in memory that the device shares, and waiting on them.

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::arena::{Arena, Slot};
use super::blocked_wait::blocked_wait;
pub use super::blocked_wait::{Condition, MAX_WAIT};
use super::error::RuntimeError;
use super::events::{Events, FIRST_QUEUE_EVENT};
use super::pages::{AddressSpace, DeviceMemory, Pages};
use crate::hsa::sys;
use crate::model::memory::Home;

/// Signals that can exist at once on any device: each has an event id of its own.
const MOST_SIGNALS: usize = FIRST_QUEUE_EVENT as usize - 1;

/// Polls of an active wait between two looks at the clock.
const POLLS_PER_CLOCK_READ: u32 = 64;
/// An active wait lets other threads run once after this time (the device may be one of them, on the same processor), and again each time
/// that it has become twice as long: a call into the kernel takes a microsecond and empties caches, so more of them would show in what is waited for.
const COURTEOUS_AFTER: Duration = Duration::from_micros(20);
/// And no less often than this.
const COURTEOUS_EVERY: Duration = Duration::from_millis(1);

const KIND: usize = offset_of!(sys::amd_signal_s, kind);
const VALUE: usize = offset_of!(sys::amd_signal_s, __bindgen_anon_1);
const MAILBOX: usize = offset_of!(sys::amd_signal_s, event_mailbox_ptr);
const EVENT_ID: usize = offset_of!(sys::amd_signal_s, event_id);
const START: usize = offset_of!(sys::amd_signal_s, start_ts);
const END: usize = offset_of!(sys::amd_signal_s, end_ts);
const QUEUE: usize = offset_of!(sys::amd_signal_s, __bindgen_anon_2);

/// What a signal's completion does besides changing its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// The device writes the mailbox and interrupts, so that a blocked wait can sleep.
    Interrupt,
    /// Nothing: waits poll (`HSA_AMD_SIGNAL_AMD_GPU_ONLY`, or no host consumer).
    None,
}

impl Condition {
    /// Reads the C enumeration.
    #[must_use]
    pub const fn from_raw(raw: sys::hsa_signal_condition_t) -> Option<Self> {
        Some(match raw {
            sys::HSA_SIGNAL_CONDITION_EQ => Self::Equal,
            sys::HSA_SIGNAL_CONDITION_NE => Self::NotEqual,
            sys::HSA_SIGNAL_CONDITION_LT => Self::Less,
            sys::HSA_SIGNAL_CONDITION_GTE => Self::AtLeast,
            _ => return None,
        })
    }
}

/// `hsa_wait_state_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitState {
    /// Sleep.
    Blocked,
    /// Poll.
    Active,
}

/// One `amd_signal_t`, wherever it lies.
#[derive(Clone, Copy)]
pub struct SignalRef<'pages> {
    pages: &'pages Pages,
    offset: usize,
}

impl<'pages> SignalRef<'pages> {
    /// The signal at an offset of `pages`.
    #[must_use]
    pub const fn new(pages: &'pages Pages, offset: usize) -> Self {
        Self { pages, offset }
    }

    /// Writes every field.
    pub fn initialize(self, kind: sys::amd_signal_kind_t, value: i64, mailbox: u64, event_id: u32, queue: u64) {
        self.pages.write(self.offset, &[0; size_of::<sys::amd_signal_s>()]);
        self.value().store(value, Ordering::Relaxed);
        self.pages.atomic_u64(self.offset + MAILBOX).store(mailbox, Ordering::Relaxed);
        self.pages.atomic_u32(self.offset + EVENT_ID).store(event_id, Ordering::Relaxed);
        self.pages.atomic_u64(self.offset + QUEUE).store(queue, Ordering::Relaxed);
        self.pages.atomic_i64(self.offset + KIND).store(i64::from(kind), Ordering::Release);
    }

    /// The value.
    #[must_use]
    pub fn value(self) -> &'pages AtomicI64 {
        self.pages.atomic_i64(self.offset + VALUE)
    }

    /// The event that announces changes; 0 for none.
    #[must_use]
    pub fn event_id(self) -> u32 {
        self.pages.atomic_u32(self.offset + EVENT_ID).load(Ordering::Relaxed)
    }

    /// When the packet that completed this signal started and ended, in device ticks; 0 when the device has not said.
    #[must_use]
    pub fn dispatch_ticks(self) -> (u64, u64) {
        let load = |field: usize| AtomicU64::load(self.pages.atomic_u64(self.offset + field), Ordering::Acquire);
        (load(START), load(END))
    }

    /// Makes the signal one that no handle should reach.
    fn invalidate(self) {
        self.pages.atomic_i64(self.offset + KIND).store(i64::from(sys::AMD_SIGNAL_KIND_INVALID), Ordering::Release);
    }
}

/// The signals that callers created.
pub struct Signals {
    arena: Arena,
    mailboxes: DeviceMemory,
    events: Arc<Events>,
}

impl Signals {
    /// No signal yet, and at most `limit` at once.
    ///
    /// # Errors
    /// Memory cannot be had.
    pub fn new(space: &Arc<dyn AddressSpace>, limit: usize, events: Arc<Events>) -> Result<Self, RuntimeError> {
        let limit = limit.min(MOST_SIGNALS);
        Ok(Self {
            arena: Arena::new(space.clone(), size_of::<sys::amd_signal_s>(), limit)?,
            mailboxes: DeviceMemory::reachable(space.clone(), limit * size_of::<u64>(), Home::Host)?,
            events,
        })
    }

    /// Creates a signal and returns its handle: the address of its `amd_signal_t`.
    ///
    /// # Errors
    /// There are too many.
    pub fn create(&self, initial: i64, notification: Notification) -> Result<u64, RuntimeError> {
        let slot = self.arena.claim().ok_or(RuntimeError::OutOfResources("every signal is in use"))?;
        let mailbox = slot.0 * size_of::<u64>();
        self.mailboxes.pages().atomic_u64(mailbox).store(0, Ordering::Relaxed);
        let (mailbox, event_id) = match notification {
            Notification::Interrupt => (self.mailboxes.pages().address() + mailbox as u64, event_id(slot)),
            Notification::None => (0, 0),
        };
        self.at(slot).initialize(sys::AMD_SIGNAL_KIND_USER, initial, mailbox, event_id, 0);
        self.arena.publish(slot);
        Ok(self.arena.address(slot))
    }

    /// Destroys a signal.
    ///
    /// # Errors
    /// The handle is none that [`Self::create`] returned, or was destroyed before.
    pub fn destroy(&self, handle: u64) -> Result<(), RuntimeError> {
        let invalid = RuntimeError::InvalidSignal(handle);
        let Some((slot, 0)) = self.arena.find(handle) else { return Err(invalid) };
        self.at(slot).invalidate();
        if self.arena.release(slot) { Ok(()) } else { Err(invalid) }
    }

    /// The signal behind a handle.
    #[must_use]
    pub fn get(&self, handle: u64) -> Option<SignalRef<'_>> {
        match self.arena.find(handle) {
            Some((slot, 0)) => Some(self.at(slot)),
            _ => None,
        }
    }

    const fn at(&self, slot: Slot) -> SignalRef<'_> {
        SignalRef::new(self.arena.pages(), self.arena.offset(slot))
    }

    /// Wakes blocked waits after the host changed a value.
    pub fn announce(&self, signal: SignalRef<'_>) {
        let event_id = signal.event_id();
        if event_id != 0 {
            self.events.user(event_id).ring();
        }
    }

    /// Waits until the condition holds or the time is up, and returns the last value seen. Acquires.
    #[must_use]
    pub fn wait(&self, signal: SignalRef<'_>, condition: Condition, compare: i64, timeout: Duration, state: WaitState) -> i64 {
        let load = || signal.value().load(Ordering::SeqCst);
        let timeout = timeout.min(MAX_WAIT);
        let event_id = signal.event_id();
        if state == WaitState::Blocked && event_id != 0 {
            let bell = self.events.user(event_id);
            return blocked_wait(bell, |left| self.events.nap(left), timeout, condition, compare, load);
        }
        let start = Instant::now();
        let mut polls: u32 = 0;
        let mut courtesy = COURTEOUS_AFTER;
        loop {
            let value = load();
            if condition.holds(value, compare) {
                return value;
            }
            polls = polls.wrapping_add(1);
            if polls.is_multiple_of(POLLS_PER_CLOCK_READ) {
                let elapsed = start.elapsed();
                if elapsed >= timeout {
                    return load();
                }
                if elapsed > courtesy {
                    thread::yield_now();
                    courtesy = elapsed + elapsed.min(COURTEOUS_EVERY);
                }
            }
            std::hint::spin_loop();
        }
    }
}

/// The event of a user signal.
fn event_id(slot: Slot) -> u32 {
    u32::try_from(slot.0 + 1).expect("MOST_SIGNALS is below FIRST_QUEUE_EVENT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::GpuVa;
    use crate::model::gpu::InterruptSink;
    use crate::model::memory::MemoryMap;

    struct Rig {
        map: Arc<MemoryMap>,
        events: Arc<Events>,
        signals: Signals,
    }

    fn rig() -> Rig {
        let map = Arc::new(MemoryMap::new());
        let events = Arc::new(Events::new());
        let space: Arc<dyn AddressSpace> = map.clone();
        Rig { signals: Signals::new(&space, 16, events.clone()).unwrap(), map, events }
    }

    #[test]
    fn the_device_finds_kind_value_and_event_where_the_header_says() {
        let rig = rig();
        let handle = rig.signals.create(-5, Notification::Interrupt).unwrap();
        assert_eq!(handle % 64, 0);
        let view = rig.map.view();
        let at = |offset: u64| GpuVa(handle) + offset;
        assert_eq!(view.load_u64(at(0)), Ok(1), "AMD_SIGNAL_KIND_USER");
        assert_eq!(view.load_u64(at(8)), Ok(-5_i64 as u64));
        let mailbox = view.load_u64(at(16)).unwrap();
        assert_ne!(view.load_u32(at(24)).unwrap(), 0);
        assert_eq!(view.load_u64(GpuVa(mailbox)), Ok(0));
    }

    #[test]
    fn a_polled_signal_names_no_event() {
        let rig = rig();
        let handle = rig.signals.create(0, Notification::None).unwrap();
        let view = rig.map.view();
        assert_eq!(view.load_u64(GpuVa(handle + 16)), Ok(0));
        assert_eq!(view.load_u32(GpuVa(handle + 24)), Ok(0));
    }

    #[test]
    fn a_destroyed_or_foreign_handle_is_refused() {
        let rig = rig();
        let handle = rig.signals.create(0, Notification::Interrupt).unwrap();
        assert!(rig.signals.get(handle + 8).is_none());
        assert!(rig.signals.get(0).is_none());
        rig.signals.destroy(handle).unwrap();
        assert!(rig.signals.get(handle).is_none());
        assert!(matches!(rig.signals.destroy(handle), Err(RuntimeError::InvalidSignal(_))));
    }

    #[test]
    fn every_condition_compares_signed() {
        for (condition, holds) in
            [(Condition::Equal, false), (Condition::NotEqual, true), (Condition::Less, true), (Condition::AtLeast, false)]
        {
            assert_eq!(condition.holds(-1, 0), holds, "{condition:?}");
        }
        assert!(Condition::AtLeast.holds(3, 3) && Condition::Equal.holds(3, 3) && !Condition::Less.holds(3, 3));
    }

    #[test]
    fn a_wait_ends_at_its_deadline_with_the_value_it_saw() {
        let rig = rig();
        for notification in [Notification::Interrupt, Notification::None] {
            let handle = rig.signals.create(7, notification).unwrap();
            let signal = rig.signals.get(handle).unwrap();
            for state in [WaitState::Blocked, WaitState::Active] {
                assert_eq!(rig.signals.wait(signal, Condition::Equal, 0, Duration::from_millis(1), state), 7);
            }
        }
    }

    #[test]
    fn an_interrupt_wakes_a_blocked_wait() {
        let rig = rig();
        let handle = rig.signals.create(1, Notification::Interrupt).unwrap();
        let signal = rig.signals.get(handle).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| rig.signals.wait(signal, Condition::Less, 1, MAX_WAIT, WaitState::Blocked));
            signal.value().store(0, Ordering::SeqCst);
            rig.events.raise(signal.event_id());
            assert_eq!(waiter.join().unwrap(), 0);
        });
    }
}
