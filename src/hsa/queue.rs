//! User-mode queues.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::agent::Agent;
use super::api::provided;
use super::doorbell::{self, DoorbellKind, DoorbellRegister, NoDoorbellRegister};
use super::error::{HsaError, check};
use super::runtime::Runtime;
use super::signal::{doorbell_word, snapshot};
use super::status::Status;
use super::sys::*;
use crate::aql::{QueuePort, Ring, Slot, SlotMemory};

/// How many producers a queue has (`hsa_queue_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// One thread publishes at a time.
    Single,
    /// Any thread publishes.
    Multi,
}

/// The errors that the runtime's callback reported for a queue.
#[derive(Debug, Default)]
pub struct QueueErrors {
    /// The first status; 0, which is success and never reported, means none yet.
    first: AtomicU32,
    count: AtomicU64,
}

impl QueueErrors {
    fn record(&self, status: hsa_status_t) {
        // Only the first one names the cause; what follows is mostly its echo.
        let _ = self.first.compare_exchange(0, status, Ordering::AcqRel, Ordering::Acquire);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The first error, if there was one.
    #[must_use]
    pub fn first(&self) -> Option<Status> {
        let code = self.first.load(Ordering::Acquire);
        (code != 0).then(|| Status::from(code))
    }

    /// How many were reported.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

/// Indices and doorbell of a queue, through the runtime's functions. Owns the queue: dropping it destroys the queue.
pub struct QueuePointer {
    runtime: Runtime,
    queue: NonNull<hsa_queue_t>,
    doorbell: hsa_signal_t,
    errors: Arc<QueueErrors>,
}

// SAFETY: the runtime's queue functions may be called from any thread (HSA 1.2 §2.8); the pointer is used for nothing else.
unsafe impl Send for QueuePointer {}
// SAFETY: as above.
unsafe impl Sync for QueuePointer {}

impl QueuePort for QueuePointer {
    fn load_read_index(&self) -> u64 {
        // SAFETY: the queue lives as long as self.
        unsafe { (self.runtime.functions().hsa_queue_load_read_index_scacquire)(self.queue.as_ptr()) }
    }

    fn load_write_index(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (self.runtime.functions().hsa_queue_load_write_index_relaxed)(self.queue.as_ptr()) }
    }

    fn cas_write_index(&self, expected: u64, desired: u64) -> u64 {
        // SAFETY: as above.
        unsafe { (self.runtime.functions().hsa_queue_cas_write_index_scacq_screl)(self.queue.as_ptr(), expected, desired) }
    }

    fn store_write_index(&self, index: u64) {
        // SAFETY: as above.
        unsafe { (self.runtime.functions().hsa_queue_store_write_index_screlease)(self.queue.as_ptr(), index) }
    }

    fn ring_doorbell(&self, index: u64) {
        // SAFETY: as above; the doorbell lives as long as its queue. Indices stay below 2^63 for longer than any machine runs.
        unsafe { (self.runtime.functions().hsa_signal_store_screlease)(self.doorbell, index as i64) }
    }
}

impl Drop for QueuePointer {
    fn drop(&mut self) {
        // SAFETY: created by this runtime and destroyed once; reservations borrow the ring that owns this, so none is left.
        let status = unsafe { (self.runtime.functions().hsa_queue_destroy)(self.queue.as_ptr()) };
        if Status::from(status) == Status::Success {
            // SAFETY: the queue is gone and its callback with it: the count that `create` handed out is given back. A queue that
            // would not go keeps it for ever, as its callback may still come.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(&self.errors)) };
        }
    }
}

impl fmt::Debug for QueuePointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("QueuePointer").field(&self.queue).finish()
    }
}

/// A queue of an agent, destroyed on drop.
///
/// Destroying waits for the runtime, which may never return from it on a device that hangs; do it where a watchdog sees it.
#[derive(Debug)]
pub struct Queue {
    ring: Ring<QueuePointer>,
    errors: Arc<QueueErrors>,
    id: u64,
}

unsafe extern "C" fn record_error(status: hsa_status_t, _queue: *mut hsa_queue_t, data: *mut c_void) {
    // SAFETY: `data` is the QueueErrors that `create` handed out; it is released only after the queue is destroyed.
    let errors = unsafe { &*data.cast::<QueueErrors>() };
    errors.record(status);
}

impl Queue {
    /// Creates a queue of `packets` packets, a power of two within [`Agent::queue_packets`].
    ///
    /// # Errors
    /// The runtime refused, or handed out a ring that breaks HSA 1.2 §2.8.
    pub fn create(agent: &Agent, packets: u32, kind: QueueKind) -> Result<Self, HsaError> {
        const UNKNOWN_SEGMENT_SIZE: u32 = u32::MAX;
        let runtime = agent.runtime().clone();
        let kind = match kind {
            QueueKind::Single => HSA_QUEUE_TYPE_SINGLE,
            QueueKind::Multi => HSA_QUEUE_TYPE_MULTI,
        };
        let errors = Arc::new(QueueErrors::default());
        let data = Arc::into_raw(Arc::clone(&errors)).cast_mut();
        let mut queue: *mut hsa_queue_t = std::ptr::null_mut();
        // SAFETY: the agent is this runtime's; the callback's data lives until the queue is destroyed; `queue` receives it.
        let status = unsafe {
            (runtime.functions().hsa_queue_create)(
                agent.handle(),
                packets,
                kind,
                Some(record_error),
                data.cast(),
                UNKNOWN_SEGMENT_SIZE,
                UNKNOWN_SEGMENT_SIZE,
                &raw mut queue,
            )
        };
        if let Err(error) = check("hsa_queue_create", status) {
            // SAFETY: no queue, hence no callback: the count taken by `into_raw` is given back.
            drop(unsafe { Arc::from_raw(data) });
            return Err(error);
        }
        let defective = |problem: String| HsaError::Defective { call: "hsa_queue_create", problem };
        let queue = NonNull::new(queue).ok_or_else(|| defective("the queue is NULL".to_owned()))?;
        // SAFETY: a queue that was just created; these fields do not change while it lives.
        let hsa_queue_t { base_address, doorbell_signal, size, id, .. } = unsafe { *queue.as_ptr() };
        let port = QueuePointer { runtime, queue, doorbell: doorbell_signal, errors: Arc::clone(&errors) };
        let slots = NonNull::new(base_address.cast::<Slot>())
            .filter(|slots| slots.is_aligned())
            // SAFETY: the ring holds `size` packets until the port is dropped, which the ring below owns beside its slots; only
            // atomics of this process touch it.
            .and_then(|slots| unsafe { SlotMemory::new(slots, size) })
            .ok_or_else(|| defective(format!("its ring is {size} packets at {base_address:p}")))?;
        Ok(Self { ring: Ring::new(slots, port), errors, id })
    }

    /// The producer's end.
    #[must_use]
    pub fn ring(&self) -> &Ring<QueuePointer> {
        &self.ring
    }

    /// The producer's end, for somebody who shares it with nobody ([`Ring::sole_producer`]).
    #[must_use]
    pub fn ring_mut(&mut self) -> &mut Ring<QueuePointer> {
        &mut self.ring
    }

    /// What the error callback has reported.
    #[must_use]
    pub fn errors(&self) -> &QueueErrors {
        &self.errors
    }

    /// The runtime's number for the queue, unique in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Index of the oldest packet not yet consumed.
    #[must_use]
    pub fn read_index(&self) -> u64 {
        self.ring.port().load_read_index()
    }

    /// Index of the next packet to reserve.
    #[must_use]
    pub fn write_index(&self) -> u64 {
        self.ring.port().load_write_index()
    }

    /// What the doorbell is: a register, or a value that a software device watches.
    #[must_use]
    pub fn doorbell_kind(&self) -> DoorbellKind {
        // SAFETY: the doorbell lives as long as its queue.
        unsafe { snapshot(self.ring.port().doorbell) }.map(|fields| fields.kind).into()
    }

    /// The register that a store may go to straight, past `hsa_signal_store_screlease`.
    ///
    /// # Errors
    /// The doorbell is of a kind that has no such register.
    pub fn doorbell_register(&self) -> Result<DoorbellRegister<'_>, NoDoorbellRegister> {
        // SAFETY: the doorbell lives as long as its queue.
        let word = unsafe { doorbell_word(self.ring.port().doorbell) }.unwrap_or(0);
        doorbell::register(self.doorbell_kind(), word)
    }

    /// Stops the queue: packets not yet started never run.
    ///
    /// # Errors
    /// The runtime lacks the function or refused.
    pub fn inactivate(&self) -> Result<(), HsaError> {
        let port = self.ring.port();
        let inactivate = provided(port.runtime.functions().hsa_queue_inactivate, "hsa_queue_inactivate")?;
        // SAFETY: the queue lives until drop.
        check("hsa_queue_inactivate", unsafe { inactivate(port.queue.as_ptr()) })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.ring.port().runtime
    }

    pub(super) fn pointer(&self) -> NonNull<hsa_queue_t> {
        self.ring.port().queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept_and_all_are_counted() {
        let errors = QueueErrors::default();
        assert_eq!((errors.first(), errors.count()), (None, 0));
        errors.record(Status::MemoryFault.code());
        errors.record(Status::Exception.code());
        assert_eq!((errors.first(), errors.count()), (Some(Status::MemoryFault), 2));
    }
}
