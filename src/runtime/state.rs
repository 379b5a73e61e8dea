//! The one runtime of the process, counted by `hsa_init` and `hsa_shut_down`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::device::{self, Device, Opened};
use super::error::RuntimeError;
use super::executables::Executables;
use super::pages::AddressSpace;
use super::pools::Allocations;
use super::queues::Queues;
use super::reporter::Reporter;
use super::signals::{SignalRef, Signals};

/// Everything between the first `hsa_init` and the last `hsa_shut_down`.
///
/// The order of the fields is the order of their end: no callback, then no queue, then no memory, then no device. Each piece of
/// memory holds the device, so none can outlive the mapping it has there.
pub struct Runtime {
    /// Tells applications of failed queues.
    pub reporter: Reporter,
    /// Queues.
    pub queues: Arc<Queues>,
    /// Code.
    pub executables: Executables,
    /// Memory.
    pub allocations: Allocations,
    /// Signals.
    pub signals: Signals,
    /// The device.
    pub device: Arc<dyn Device>,
    /// Last of all, so that whoever has a [`Weak`] of it knows when everything has ended.
    life: Arc<()>,
}

impl Runtime {
    fn start() -> Result<Self, RuntimeError> {
        let Opened { device, events } = device::open()?;
        let space: Arc<dyn AddressSpace> = device.clone();
        let queues = Arc::new(Queues::new(device.clone())?);
        Ok(Self {
            reporter: Reporter::start(events.clone(), queues.clone(), device.clone())?,
            queues,
            executables: Executables::new(space.clone()),
            allocations: Allocations::new(space.clone()),
            signals: Signals::new(&space, device.signal_limit(), events)?,
            device,
            life: Arc::new(()),
        })
    }

    /// The signal behind a handle, whoever made it.
    #[must_use]
    pub fn signal(&self, handle: u64) -> Option<SignalRef<'_>> {
        self.signals.get(handle).or_else(|| self.queues.signal(handle))
    }
}

struct Current {
    references: u32,
    runtime: Option<Arc<Runtime>>,
    /// Alive while the runtime before this one is.
    before: Weak<()>,
}

/// Where the process finds its runtime.
struct Door {
    current: RwLock<Current>,
    /// The runtime of `current` again, for operations that cost less than its lock.
    ///
    /// Invariant: null, or the address of the `Runtime` that `current` holds. It becomes null before `current` lets go of it.
    serving: AtomicPtr<Runtime>,
}

static DOOR: Door = Door::new();

/// How long `hsa_init` waits for an earlier runtime to end: a device is nobody else's until then. Its end takes a quantum of the device
/// and a callback in progress.
const ENDING_PATIENCE: Duration = Duration::from_secs(10);

impl Door {
    const fn new() -> Self {
        let current = RwLock::new(Current { references: 0, runtime: None, before: Weak::new() });
        Self { current, serving: AtomicPtr::new(ptr::null_mut()) }
    }

    fn initialize(&self, patience: Duration) -> Result<(), RuntimeError> {
        const POLL: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + patience;
        while !self.enter()? {
            if Instant::now() >= deadline {
                return Err(RuntimeError::StillEnding);
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Counts one more, with a new runtime if there is none; `false` while an earlier one is at its end.
    fn enter(&self) -> Result<bool, RuntimeError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let references = current.references.checked_add(1).ok_or(RuntimeError::RefcountOverflow)?;
        if current.runtime.is_none() {
            if current.before.strong_count() != 0 {
                return Ok(false);
            }
            let runtime = current.runtime.insert(Arc::new(Runtime::start()?));
            self.serving.store(Arc::as_ptr(runtime).cast_mut(), Ordering::Release);
        }
        current.references = references;
        Ok(true)
    }

    fn shut_down(&self) -> Result<(), RuntimeError> {
        let last = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            current.references = current.references.checked_sub(1).ok_or(RuntimeError::NotInitialized)?;
            if current.references == 0 {
                self.serving.store(ptr::null_mut(), Ordering::Release);
                let last = current.runtime.take();
                current.before = last.as_ref().map(|runtime| Arc::downgrade(&runtime.life)).unwrap_or_default();
                last
            } else {
                None
            }
        };
        // Outside the lock: stopping the device takes a quantum, and a callback in progress may still call in.
        drop(last);
        Ok(())
    }

    fn current(&self) -> Result<Arc<Runtime>, RuntimeError> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).runtime.clone().ok_or(RuntimeError::NotInitialized)
    }
}

/// `hsa_init`. Waits for a runtime that another thread has just shut down.
///
/// # Errors
/// The device cannot be started, an earlier runtime does not come to its end, or the calls nest too deep.
pub fn initialize() -> Result<(), RuntimeError> {
    DOOR.initialize(ENDING_PATIENCE)
}

/// `hsa_shut_down`.
///
/// # Errors
/// The runtime is not initialized.
pub fn shut_down() -> Result<(), RuntimeError> {
    DOOR.shut_down()
}

/// The runtime, to keep while application code (a callback, a long wait) runs.
///
/// # Errors
/// The runtime is not initialized.
pub fn current() -> Result<Arc<Runtime>, RuntimeError> {
    DOOR.current()
}

/// Runs a short operation on the runtime without counting a reference or taking a lock; `None` before `hsa_init` and after the last
/// `hsa_shut_down`.
///
/// # Safety
/// The last `hsa_shut_down` does not come during the call. A callback of the runtime's may call in at any time: the runtime ends with
/// its reporter first, which waits for the callback.
pub unsafe fn with<Value>(operation: impl FnOnce(&Runtime) -> Option<Value>) -> Option<Value> {
    // SAFETY: `current` holds what is not null (invariant), and goes on holding it (the caller's promise).
    operation(unsafe { DOOR.serving.load(Ordering::Acquire).as_ref() }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsa_init_waits_until_the_runtime_before_has_ended() {
        let door = Door::new();
        door.initialize(Duration::ZERO).unwrap();
        // As a long wait on another thread keeps it.
        let kept = door.current().unwrap();
        let earlier = Arc::downgrade(&kept);
        door.shut_down().unwrap();
        assert!(matches!(door.initialize(Duration::from_millis(5)), Err(RuntimeError::StillEnding)));
        assert!(matches!(door.shut_down(), Err(RuntimeError::NotInitialized)), "a refused hsa_init does not count");
        thread::scope(|scope| {
            let next = scope.spawn(|| door.initialize(ENDING_PATIENCE));
            drop(kept);
            next.join().unwrap().unwrap();
        });
        assert!(earlier.upgrade().is_none());
        door.shut_down().unwrap();
    }
}
