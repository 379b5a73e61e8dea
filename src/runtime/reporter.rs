//! The thread that tells applications that a queue failed.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use super::device::Device;
use super::error::RuntimeError;
use super::events::Events;
use super::log;
use super::queues::Queues;
use crate::hsa::sys;
use crate::model::queue_error::QueueError;

/// How long the thread sleeps at most; an interrupt wakes it at once.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The running thread.
pub struct Reporter {
    stop: Arc<AtomicBool>,
    events: Arc<Events>,
    thread: Option<JoinHandle<()>>,
    id: ThreadId,
}

impl Reporter {
    /// Starts it.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(events: Arc<Events>, queues: Arc<Queues>, device: Arc<dyn Device>) -> Result<Self, RuntimeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let body = {
            let (stop, events) = (stop.clone(), events.clone());
            move || run(&stop, &events, &queues, &*device)
        };
        let thread = thread::Builder::new()
            .name("aqlprobe-queue-errors".to_owned())
            .spawn(body)
            .map_err(|_| RuntimeError::OutOfResources("no thread for queue errors"))?;
        Ok(Self { stop, events, id: thread.thread().id(), thread: Some(thread) })
    }

    /// Whether this is the thread that runs callbacks.
    #[must_use]
    pub fn is_current_thread(&self) -> bool {
        thread::current().id() == self.id
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.events.queue_errors().ring();
        // A callback that shuts the runtime down runs on the thread itself, which ends right after it.
        if let Some(thread) = self.thread.take()
            && !self.is_current_thread()
        {
            // The thread catches what callbacks throw at it; a panic of its own must not stop the shutdown.
            let _ = thread.join();
        }
    }
}

fn run(stop: &AtomicBool, events: &Events, queues: &Arc<Queues>, device: &dyn Device) {
    while !stop.load(Ordering::SeqCst) {
        let mut reported = false;
        for (address, queue) in queues.all() {
            reported |= report(address, &queue, queues, device);
        }
        if !reported {
            let failed = || queues.all().iter().any(|(_, queue)| queues.has_unreported_failure(queue));
            events.queue_errors().sleep_unless(events.nap(LONGEST_SLEEP), || stop.load(Ordering::SeqCst) || failed());
        }
    }
}

/// Calls the queue's callback if it failed and nobody was told; whether it had failed so.
fn report(address: u64, queue: &Arc<super::queues::Queue>, queues: &Arc<Queues>, device: &dyn Device) -> bool {
    if !queues.has_unreported_failure(queue) {
        return false;
    }
    let value = queues.inactive_value(queue);
    // While the turn is held, a destroy on another thread waits, so the queue's memory outlives the callback.
    let _turn = queue.callback_turn();
    if !queues.holds(queue) || !queue.first_report() {
        return true;
    }
    let error = QueueError::from_signal_value(value);
    let status = error.map_or(sys::HSA_STATUS_ERROR, QueueError::status);
    log::note(|| match (error, device.last_fault()) {
        (Some(error), Some(fault)) => format!("queue {address:#x} stopped: {error}: {fault}"),
        (Some(error), None) => format!("queue {address:#x} stopped: {error}"),
        (None, _) => format!("queue {address:#x} stopped with the unknown code {value:#x}"),
    });
    if let Some(callback) = queue.callback() {
        let source = ptr::with_exposed_provenance_mut::<sys::hsa_queue_t>(address as usize);
        let data = ptr::with_exposed_provenance_mut::<c_void>(callback.data);
        // SAFETY: the application gave this function and this argument to hsa_queue_create for this call; the queue is alive, as
        // the turn is held and the registry holds it.
        unsafe { (callback.function)(status, source, data) };
    }
    true
}
