//! Signals. Handles are addresses of `amd_signal_t`; operations without a status ignore a handle that is none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::agents::Agent;
use super::super::device::TIMESTAMP_HZ;
use super::super::error::RuntimeError;
use super::super::signals::{Condition, Notification, SignalRef, WaitState};
use super::super::state::{self, Runtime};
use super::agent::agent_of;
use super::out::{array, check, put};
use super::{with_runtime, without_status};
use crate::hsa::sys::*;

/// What loads and waits give for a handle that is no signal: no completion signal ever holds it.
const NO_VALUE: hsa_signal_value_t = hsa_signal_value_t::MIN;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A duration in ticks of the system timestamp.
pub(super) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() * u128::from(TIMESTAMP_HZ) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

/// A duration from ticks of the system timestamp.
fn duration(ticks: u64) -> Duration {
    let nanos = u128::from(ticks) * NANOS_PER_SECOND / u128::from(TIMESTAMP_HZ);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// `hsa_signal_create`. A signal that only the device consumes raises no interrupt.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_create(
    initial_value: hsa_signal_value_t,
    num_consumers: u32,
    consumers: *const hsa_agent_t,
    signal: *mut hsa_signal_t,
) -> hsa_status_t {
    // SAFETY: the same promises.
    unsafe { hsa_amd_signal_create(initial_value, num_consumers, consumers, 0, signal) }
}

/// `hsa_amd_signal_create`. Signals for other processes are not supported.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_signal_create(
    initial_value: hsa_signal_value_t,
    num_consumers: u32,
    consumers: *const hsa_agent_t,
    attributes: u64,
    signal: *mut hsa_signal_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        check(signal)?;
        if attributes & !u64::from(HSA_AMD_SIGNAL_AMD_GPU_ONLY) != 0 {
            return Err(RuntimeError::InvalidArgument("a signal attribute that does not exist here"));
        }
        // SAFETY: the caller's promise on `consumers`.
        let consumers = unsafe { array(consumers, num_consumers) }?;
        let consumers = consumers.into_iter().map(|agent| agent_of(agent.handle)).collect::<Result<Vec<_>, _>>()?;
        let host_consumes = consumers.is_empty() || consumers.contains(&Agent::Cpu);
        let notification = if host_consumes && attributes == 0 { Notification::Interrupt } else { Notification::None };
        let handle = runtime.signals.create(initial_value, notification)?;
        // SAFETY: the caller's promise on `signal`.
        unsafe { put(signal, hsa_signal_t { handle }) }
    })
}

/// `hsa_signal_destroy`.
///
/// # Safety
/// Nobody uses the signal any more.
pub unsafe extern "C" fn hsa_signal_destroy(signal: hsa_signal_t) -> hsa_status_t {
    with_runtime(|runtime| match signal.handle {
        0 => Err(RuntimeError::InvalidArgument("the null signal")),
        handle => runtime.signals.destroy(handle),
    })
}

/// # Safety
/// As the module says.
unsafe fn load(signal: hsa_signal_t, order: Ordering) -> hsa_signal_value_t {
    // SAFETY: the caller's promise.
    unsafe { without_status(NO_VALUE, |runtime| runtime.signal(signal.handle).map(|signal| signal.value().load(order))) }
}

/// `hsa_signal_load_relaxed`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_load_relaxed(signal: hsa_signal_t) -> hsa_signal_value_t {
    // SAFETY: the caller's promise.
    unsafe { load(signal, Ordering::Relaxed) }
}

/// `hsa_signal_load_scacquire`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_load_scacquire(signal: hsa_signal_t) -> hsa_signal_value_t {
    // SAFETY: the caller's promise.
    unsafe { load(signal, Ordering::SeqCst) }
}

/// Changes a user signal and wakes who waits for it.
fn update(
    runtime: &Runtime,
    signal: hsa_signal_t,
    change: impl FnOnce(SignalRef<'_>) -> hsa_signal_value_t,
) -> Option<hsa_signal_value_t> {
    let signal = runtime.signals.get(signal.handle)?;
    let old = change(signal);
    runtime.signals.announce(signal);
    Some(old)
}

/// # Safety
/// As the module says.
unsafe fn store(signal: hsa_signal_t, value: hsa_signal_value_t, order: Ordering) {
    let operation = |runtime: &Runtime| {
        // The doorbell itself orders the packets before it: its store is sequentially consistent.
        if runtime.queues.ring(signal.handle, value as u64) {
            return Some(());
        }
        update(runtime, signal, |signal| {
            signal.value().store(value, order);
            value
        })
        .map(|_| ())
    };
    // SAFETY: the caller's promise.
    unsafe { without_status((), operation) }
}

/// `hsa_signal_store_relaxed`; on a queue's doorbell signal it rings the doorbell.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_store_relaxed(signal: hsa_signal_t, value: hsa_signal_value_t) {
    // SAFETY: the caller's promise.
    unsafe { store(signal, value, Ordering::Relaxed) }
}

/// `hsa_signal_store_screlease`; on a queue's doorbell signal it rings the doorbell.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_store_screlease(signal: hsa_signal_t, value: hsa_signal_value_t) {
    // SAFETY: the caller's promise.
    unsafe { store(signal, value, Ordering::SeqCst) }
}

/// `hsa_signal_add_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_add_scacq_screl(signal: hsa_signal_t, value: hsa_signal_value_t) {
    // SAFETY: the caller's promise.
    unsafe { without_status(0, |runtime| update(runtime, signal, |signal| signal.value().fetch_add(value, Ordering::SeqCst))) };
}

/// `hsa_signal_subtract_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_subtract_scacq_screl(signal: hsa_signal_t, value: hsa_signal_value_t) {
    // SAFETY: the caller's promise.
    unsafe { without_status(0, |runtime| update(runtime, signal, |signal| signal.value().fetch_sub(value, Ordering::SeqCst))) };
}

/// `hsa_signal_exchange_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_exchange_scacq_screl(signal: hsa_signal_t, value: hsa_signal_value_t) -> hsa_signal_value_t {
    // SAFETY: the caller's promise.
    unsafe { without_status(NO_VALUE, |runtime| update(runtime, signal, |signal| signal.value().swap(value, Ordering::SeqCst))) }
}

/// `hsa_signal_cas_scacq_screl`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_cas_scacq_screl(
    signal: hsa_signal_t,
    expected: hsa_signal_value_t,
    value: hsa_signal_value_t,
) -> hsa_signal_value_t {
    let exchange = |signal: SignalRef<'_>| {
        let swapped = signal.value().compare_exchange(expected, value, Ordering::SeqCst, Ordering::SeqCst);
        swapped.unwrap_or_else(|seen| seen)
    };
    // SAFETY: the caller's promise.
    unsafe { without_status(NO_VALUE, |runtime| update(runtime, signal, exchange)) }
}

fn wait(
    signal: hsa_signal_t,
    condition: hsa_signal_condition_t,
    compare_value: hsa_signal_value_t,
    timeout_hint: u64,
    wait_state_hint: hsa_wait_state_t,
) -> hsa_signal_value_t {
    // A wait can be long, and must not keep hsa_shut_down of another thread from the lock.
    let Ok(runtime) = state::current() else { return NO_VALUE };
    let (Some(signal), Some(condition)) = (runtime.signal(signal.handle), Condition::from_raw(condition)) else {
        return NO_VALUE;
    };
    let state = if wait_state_hint == HSA_WAIT_STATE_ACTIVE { WaitState::Active } else { WaitState::Blocked };
    runtime.signals.wait(signal, condition, compare_value, duration(timeout_hint), state)
}

/// `hsa_signal_wait_relaxed`. Returns at the latest after `HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_wait_relaxed(
    signal: hsa_signal_t,
    condition: hsa_signal_condition_t,
    compare_value: hsa_signal_value_t,
    timeout_hint: u64,
    wait_state_hint: hsa_wait_state_t,
) -> hsa_signal_value_t {
    wait(signal, condition, compare_value, timeout_hint, wait_state_hint)
}

/// `hsa_signal_wait_scacquire`. Returns at the latest after `HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_signal_wait_scacquire(
    signal: hsa_signal_t,
    condition: hsa_signal_condition_t,
    compare_value: hsa_signal_value_t,
    timeout_hint: u64,
    wait_state_hint: hsa_wait_state_t,
) -> hsa_signal_value_t {
    wait(signal, condition, compare_value, timeout_hint, wait_state_hint)
}
