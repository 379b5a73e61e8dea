//! What the device has to say to its host without being asked: interrupts and diagnoses, and which customs the host expects.

use std::fmt;
use std::sync::Arc;

/// Receives the device's interrupts (MSI in hardware): the event id that a signal names (`amd_signal_t.event_id`).
pub trait InterruptSink: Send + Sync {
    /// An event fired. Called on the device's thread; must not block, and not wait for the device.
    ///
    /// Under [`EventProtocol::BeforeValue`] it is called in the middle of a turn, when memory cannot be unmapped.
    fn raise(&self, event_id: u32);

    /// A queue stopped; called before its inactive signal says so. Hardware would say no more than that signal does.
    fn diagnose(&self, fault: &dyn fmt::Display) {
        let _ = fault;
    }
}

/// When the host hears of a signal's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventProtocol {
    /// As under KFD: after the value has moved, the event id goes into the signal's mailbox and then the interrupt is raised. A signal
    /// without mailbox has no event.
    MailboxAfterValue,
    /// As in ROCr's model mode (`hsakmtmodel.c`): no signal has a mailbox, the event id alone says that there is an event. From the
    /// moment the value of a completion signal moves the host may destroy the event, and to set a destroyed one ends its process,
    /// so the event is set first.
    BeforeValue,
}

/// What becomes of a kernel that needs more private memory than its queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchProtocol {
    /// The host has none to give: the queue fails.
    Refused,
    /// The queue asks through its inactive signal, waits until the host has put that back to zero, and looks at its scratch
    /// fields again (ROCr, `AqlQueue::DynamicQueueEventsHandler`).
    Negotiated,
}

/// The customs of the host that drives the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostProtocol {
    /// When it hears of events.
    pub events: EventProtocol,
    /// Whether it gives scratch memory.
    pub scratch: ScratchProtocol,
}

impl HostProtocol {
    /// The embedded runtime's.
    pub const EMBEDDED: Self = Self { events: EventProtocol::MailboxAfterValue, scratch: ScratchProtocol::Refused };
    /// Those of AMD's runtime in model mode.
    pub const ROCR_MODEL_MODE: Self = Self { events: EventProtocol::BeforeValue, scratch: ScratchProtocol::Negotiated };
}

/// The device's end of the line to its host.
pub(super) struct HostLine {
    protocol: HostProtocol,
    sink: Arc<dyn InterruptSink>,
    /// Event ids of interrupts to raise when the turn is over.
    pending: Vec<u32>,
}

impl HostLine {
    pub(super) fn new(protocol: HostProtocol, sink: Arc<dyn InterruptSink>) -> Self {
        Self { protocol, sink, pending: Vec::new() }
    }

    pub(super) const fn protocol(&self) -> HostProtocol {
        self.protocol
    }

    pub(super) fn raise_now(&self, event_id: u32) {
        self.sink.raise(event_id);
    }

    pub(super) fn raise_after_turn(&mut self, event_id: u32) {
        self.pending.push(event_id);
    }

    /// Raises what waits for the end of the turn.
    pub(super) fn end_turn(&mut self) {
        for event in self.pending.drain(..) {
            self.sink.raise(event);
        }
    }

    pub(super) fn diagnose(&self, fault: &dyn fmt::Display) {
        self.sink.diagnose(fault);
    }
}

impl fmt::Debug for HostLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostLine").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}
