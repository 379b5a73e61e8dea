//! Queues and their indices; operations without a status give 0 for a pointer that is no queue.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::agents::Agent;
use super::super::error::RuntimeError;
use super::super::queues::{Caller, ErrorCallback, Profiling, QueueKind, RingSize};
use super::super::state::Runtime;
use super::agent::agent_of;
use super::out::{check, put};
use super::{with_runtime, without_status};
use crate::hsa::sys::*;

/// `hsa_queue_create`. The segment sizes are hints, and this device has no private memory to reserve.
///
/// # Safety
/// As the module says; the callback stays valid until the queue is destroyed.
pub unsafe extern "C" fn hsa_queue_create(
    agent: hsa_agent_t,
    size: u32,
    type_: hsa_queue_type32_t,
    callback: Option<unsafe extern "C" fn(status: hsa_status_t, source: *mut hsa_queue_t, data: *mut c_void)>,
    data: *mut c_void,
    _private_segment_size: u32,
    _group_segment_size: u32,
    queue: *mut *mut hsa_queue_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        let agent = agent_of(agent.handle)?;
        check(queue)?;
        let kind = match type_ {
            HSA_QUEUE_TYPE_MULTI => QueueKind::Multi,
            HSA_QUEUE_TYPE_SINGLE => QueueKind::Single,
            HSA_QUEUE_TYPE_COOPERATIVE => {
                return Err(RuntimeError::InvalidQueueCreation("the agent has no cooperative queues"));
            }
            _ => return Err(RuntimeError::InvalidArgument("no such queue type")),
        };
        let size = RingSize::for_request(size)?;
        if agent == Agent::Cpu {
            return Err(RuntimeError::InvalidQueueCreation("the host takes no packets"));
        }
        let callback = callback.map(|function| ErrorCallback { function, data: data.expose_provenance() });
        let address = runtime.queues.create(size, kind, callback)?;
        // SAFETY: the caller's promise on `queue`.
        unsafe { put(queue, ptr::with_exposed_provenance_mut(address as usize)) }
    })
}

/// `hsa_queue_destroy`. Returns when the device no longer touches the queue and no callback of it runs; packets that did not
/// start never will. A callback may destroy its own queue.
///
/// # Safety
/// Nobody uses the queue any more.
pub unsafe extern "C" fn hsa_queue_destroy(queue: *mut hsa_queue_t) -> hsa_status_t {
    with_runtime(|runtime| {
        check_queue(queue)?;
        let caller = if runtime.reporter.is_current_thread() { Caller::Callback } else { Caller::Application };
        runtime.queues.destroy(queue as u64, caller)
    })
}

/// `hsa_queue_inactivate`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_inactivate(queue: *mut hsa_queue_t) -> hsa_status_t {
    with_runtime(|runtime| {
        check_queue(queue)?;
        runtime.queues.inactivate(queue as u64)
    })
}

fn check_queue(queue: *mut hsa_queue_t) -> Result<(), RuntimeError> {
    if queue.is_null() { Err(RuntimeError::InvalidArgument("a null queue")) } else { Ok(()) }
}

/// # Safety
/// As the module says.
unsafe fn index(
    queue: *const hsa_queue_t,
    find: impl FnOnce(&Runtime, u64) -> Option<&AtomicU64>,
    operation: impl FnOnce(&AtomicU64) -> u64,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { without_status(0, |runtime| find(runtime, queue as u64).map(operation)) }
}

fn read_index(runtime: &Runtime, queue: u64) -> Option<&AtomicU64> {
    runtime.queues.read_index(queue)
}

fn write_index(runtime: &Runtime, queue: u64) -> Option<&AtomicU64> {
    runtime.queues.write_index(queue)
}

/// `hsa_queue_load_read_index_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_load_read_index_relaxed(queue: *const hsa_queue_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, read_index, |index| index.load(Ordering::Relaxed)) }
}

/// `hsa_queue_load_read_index_scacquire`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_load_read_index_scacquire(queue: *const hsa_queue_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, read_index, |index| index.load(Ordering::Acquire)) }
}

/// `hsa_queue_load_write_index_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_load_write_index_relaxed(queue: *const hsa_queue_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, write_index, |index| index.load(Ordering::Relaxed)) }
}

/// `hsa_queue_load_write_index_scacquire`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_load_write_index_scacquire(queue: *const hsa_queue_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, write_index, |index| index.load(Ordering::Acquire)) }
}

/// `hsa_queue_add_write_index_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_add_write_index_relaxed(queue: *const hsa_queue_t, value: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, write_index, |index| index.fetch_add(value, Ordering::Relaxed)) }
}

/// `hsa_queue_add_write_index_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_add_write_index_scacq_screl(queue: *const hsa_queue_t, value: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { index(queue, write_index, |index| index.fetch_add(value, Ordering::AcqRel)) }
}

/// `hsa_queue_cas_write_index_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_cas_write_index_relaxed(queue: *const hsa_queue_t, expected: u64, value: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        index(queue, write_index, |index| {
            index.compare_exchange(expected, value, Ordering::Relaxed, Ordering::Relaxed).unwrap_or_else(|seen| seen)
        })
    }
}

/// `hsa_queue_cas_write_index_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_cas_write_index_scacq_screl(queue: *const hsa_queue_t, expected: u64, value: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        index(queue, write_index, |index| {
            index.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|seen| seen)
        })
    }
}

/// `hsa_queue_store_write_index_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_store_write_index_relaxed(queue: *const hsa_queue_t, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        index(queue, write_index, |index| {
            index.store(value, Ordering::Relaxed);
            value
        });
    }
}

/// `hsa_queue_store_write_index_screlease`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_queue_store_write_index_screlease(queue: *const hsa_queue_t, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        index(queue, write_index, |index| {
            index.store(value, Ordering::Release);
            value
        });
    }
}

/// `hsa_amd_profiling_set_profiler_enabled`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_profiling_set_profiler_enabled(queue: *mut hsa_queue_t, enable: c_int) -> hsa_status_t {
    with_runtime(|runtime| {
        check_queue(queue)?;
        runtime.queues.set_profiling(queue as u64, if enable == 0 { Profiling::Off } else { Profiling::On })
    })
}

/// `hsa_amd_profiling_get_dispatch_time`: in ticks of `HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_profiling_get_dispatch_time(
    agent: hsa_agent_t,
    signal: hsa_signal_t,
    time: *mut hsa_amd_profiling_dispatch_time_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        if agent_of(agent.handle)? == Agent::Cpu {
            return Err(RuntimeError::InvalidAgent(agent.handle));
        }
        check(time)?;
        let stamped = runtime.signals.get(signal.handle).ok_or(RuntimeError::InvalidSignal(signal.handle))?;
        let (start, end) = stamped.dispatch_ticks();
        if end == 0 {
            return Err(RuntimeError::NoDispatchTime);
        }
        // SAFETY: the caller's promise on `time`.
        unsafe { put(time, hsa_amd_profiling_dispatch_time_t { start, end }) }
    })
}
