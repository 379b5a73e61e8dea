//! The doorbell page, and the thread that looks at it.
//!
//! The page is mapped straight into the guest, so that ringing costs it no exit; nothing tells the device that it was written. So a
//! thread looks, without pause for a while after a doorbell moved, then at growing distance, and not at all without queues. It hands what
//! it sees to the doorbells of the packet processor, which only ever move forward.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::pages::SharedMemory;
use crate::model::endpoint_registers::{DOORBELL_BYTES, DOORBELL_STRIDE, NEVER_RUNG};
use crate::model::gpu::{Doorbell, Gpu, QueueId};

const _: () = assert!(Gpu::MAX_QUEUES as u64 * DOORBELL_STRIDE <= DOORBELL_BYTES);

/// How long the thread looks without pause after a doorbell moved, because the next ring often follows at once.
const SPIN: Duration = Duration::from_micros(200);
/// How long after that it looks often.
const AWAKE: Duration = Duration::from_millis(100);
/// Distance between looks while awake.
const NEAR: Duration = Duration::from_micros(20);
/// Distance between looks later on: what the first ring after a long silence may have to wait.
const FAR: Duration = Duration::from_micros(500);
/// The longest sleep without queues; a new queue ends it.
const DOZE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Live {
    doorbell: Arc<Doorbell>,
    last_seen: u64,
}

#[derive(Debug)]
struct Shared {
    page: SharedMemory,
    live: Mutex<BTreeMap<u32, Live>>,
    powered: AtomicBool,
}

/// What a look found.
enum Look {
    NoQueues,
    Still,
    Moved,
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, BTreeMap<u32, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silence(&self, queue: u32) {
        if let Some(word) = self.page.word(queue as usize) {
            word.store(NEVER_RUNG, Ordering::SeqCst);
        }
    }

    fn look(&self) -> Look {
        let mut live = self.live();
        let mut found = if live.is_empty() { Look::NoQueues } else { Look::Still };
        for (queue, bell) in live.iter_mut() {
            let Some(word) = self.page.word(*queue as usize) else { continue };
            let index = word.load(Ordering::Acquire);
            if index != bell.last_seen {
                bell.last_seen = index;
                bell.doorbell.ring(index);
                found = Look::Moved;
            }
        }
        found
    }

    fn run(&self) {
        let mut last_moved = Instant::now();
        while self.powered.load(Ordering::SeqCst) {
            let found = self.look();
            if matches!(found, Look::Moved) {
                last_moved = Instant::now();
            }
            let still_for = last_moved.elapsed();
            match found {
                Look::NoQueues => thread::park_timeout(DOZE),
                _ if still_for < SPIN => thread::yield_now(),
                _ if still_for < AWAKE => thread::park_timeout(NEAR),
                _ => thread::park_timeout(FAR),
            }
        }
    }
}

/// The page and its thread, which ends with this value.
#[derive(Debug)]
pub(super) struct Doorbells {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Doorbells {
    pub(super) fn new() -> io::Result<Self> {
        let page = SharedMemory::new("aqlprobe-doorbells", DOORBELL_BYTES)?;
        let shared = Arc::new(Shared { page, live: Mutex::default(), powered: AtomicBool::new(true) });
        let watcher = Arc::clone(&shared);
        let thread = thread::Builder::new().name("doorbells".to_owned()).spawn(move || watcher.run())?;
        let doorbells = Self { shared, thread: Some(thread) };
        doorbells.reset();
        Ok(doorbells)
    }

    /// The page.
    pub(super) fn page(&self) -> &SharedMemory {
        &self.shared.page
    }

    /// Starts listening for a queue. What its word held before says nothing.
    pub(super) fn attach(&self, queue: QueueId, doorbell: Arc<Doorbell>) {
        self.shared.silence(queue.0);
        self.shared.live().insert(queue.0, Live { doorbell, last_seen: NEVER_RUNG });
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Stops listening for a queue; `false` when there is none of that id.
    pub(super) fn detach(&self, queue: QueueId) -> bool {
        self.shared.live().remove(&queue.0).is_some()
    }

    /// Stops listening, and marks every doorbell as not rung.
    pub(super) fn reset(&self) {
        self.shared.live().clear();
        for queue in 0..(DOORBELL_BYTES / DOORBELL_STRIDE) as u32 {
            self.shared.silence(queue);
        }
    }
}

impl Drop for Doorbells {
    fn drop(&mut self) {
        self.shared.powered.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has been reported by itself; there is nothing to add.
            let _ = thread.join();
        }
    }
}
