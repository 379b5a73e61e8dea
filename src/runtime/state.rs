//! The one runtime of the process, counted by `hsa_init` and `hsa_shut_down`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
        })
    }

    /// The signal behind a handle, whoever made it.
    #[must_use]
    pub fn signal(&self, handle: u64) -> Option<SignalRef<'_>> {
        self.signals.get(handle).or_else(|| self.queues.signal(handle))
    }
}

#[derive(Default)]
struct Current {
    references: u32,
    runtime: Option<Arc<Runtime>>,
}

static CURRENT: RwLock<Current> = RwLock::new(Current { references: 0, runtime: None });

/// The runtime of [`CURRENT`] again, for operations that cost less than its lock.
///
/// Invariant: null, or the address of the `Runtime` that `CURRENT` holds. It becomes null before `CURRENT` lets go of it.
static SERVING: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

/// `hsa_init`.
///
/// # Errors
/// The device cannot be started, or the calls nest too deep.
pub fn initialize() -> Result<(), RuntimeError> {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    let references = current.references.checked_add(1).ok_or(RuntimeError::RefcountOverflow)?;
    if current.runtime.is_none() {
        let runtime = current.runtime.insert(Arc::new(Runtime::start()?));
        SERVING.store(Arc::as_ptr(runtime).cast_mut(), Ordering::Release);
    }
    current.references = references;
    Ok(())
}

/// `hsa_shut_down`.
///
/// # Errors
/// The runtime is not initialized.
pub fn shut_down() -> Result<(), RuntimeError> {
    let last = {
        let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
        current.references = current.references.checked_sub(1).ok_or(RuntimeError::NotInitialized)?;
        if current.references == 0 {
            SERVING.store(ptr::null_mut(), Ordering::Release);
            current.runtime.take()
        } else {
            None
        }
    };
    // Outside the lock: stopping the device takes a quantum, and a callback in progress may still call in.
    drop(last);
    Ok(())
}

/// The runtime, to keep while application code (a callback, a long wait) runs.
///
/// # Errors
/// The runtime is not initialized.
pub fn current() -> Result<Arc<Runtime>, RuntimeError> {
    CURRENT.read().unwrap_or_else(PoisonError::into_inner).runtime.clone().ok_or(RuntimeError::NotInitialized)
}

/// Runs a short operation on the runtime without counting a reference or taking a lock; `None` before `hsa_init` and after the last
/// `hsa_shut_down`.
///
/// # Safety
/// The last `hsa_shut_down` does not come during the call. A callback of the runtime's may call in at any time: the runtime ends with
/// its reporter first, which waits for the callback.
pub unsafe fn with<Value>(operation: impl FnOnce(&Runtime) -> Option<Value>) -> Option<Value> {
    // SAFETY: CURRENT holds what is not null (invariant), and goes on holding it (the caller's promise).
    operation(unsafe { SERVING.load(Ordering::Acquire).as_ref() }?)
}
