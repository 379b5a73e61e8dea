//! Signals: 64-bit values that host and devices count down, and wait for.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::error::{HsaError, check};
use super::runtime::{Runtime, Ticks};
use super::sys::*;
use super::wait::{Condition, Deadline, WaitMode, WaitOutcome, wait_until};

/// A signal, destroyed on drop.
#[derive(Debug)]
pub struct Signal {
    runtime: Runtime,
    handle: hsa_signal_t,
}

/// What a signal is underneath (`amd_signal_kind_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// Not a live signal.
    Invalid,
    /// A value in memory.
    User,
    /// A doorbell register that takes 64-bit packet indices (GFX9 and later).
    Doorbell,
    /// A doorbell register of older GPUs.
    LegacyDoorbell,
    /// A kind that `amd_hsa_signal.h` does not list.
    Other(i64),
}

/// What the fields of an `amd_signal_t` held at one moment. Evidence: the device and the runtime write them at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSnapshot {
    /// What the signal is.
    pub kind: SignalKind,
    /// The value; `None` for a doorbell, whose field is a register address.
    pub value: Option<i64>,
    /// Where the device announces the event of a blocked wait; 0 when the signal has none.
    pub event_mailbox_ptr: u64,
    /// What it writes there.
    pub event_id: u32,
    /// When the packet began, in the device's clock.
    pub start_ts: u64,
    /// When it ended, in the device's clock.
    pub end_ts: u64,
}

impl From<amd_signal_kind64_t> for SignalKind {
    fn from(kind: amd_signal_kind64_t) -> Self {
        match i32::try_from(kind) {
            Ok(AMD_SIGNAL_KIND_INVALID) => Self::Invalid,
            Ok(AMD_SIGNAL_KIND_USER) => Self::User,
            Ok(AMD_SIGNAL_KIND_DOORBELL) => Self::Doorbell,
            Ok(AMD_SIGNAL_KIND_LEGACY_DOORBELL) => Self::LegacyDoorbell,
            _ => Self::Other(kind),
        }
    }
}

impl Signal {
    /// Creates a signal that any agent may wait for.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn create(runtime: &Runtime, initial: i64) -> Result<Self, HsaError> {
        let mut handle = hsa_signal_t { handle: 0 };
        // SAFETY: no consumers are listed, so the list may be NULL; `handle` receives the signal.
        check("hsa_signal_create", unsafe {
            (runtime.functions().hsa_signal_create)(initial, 0, std::ptr::null(), &raw mut handle)
        })?;
        if handle.handle == 0 {
            return Err(HsaError::Defective { call: "hsa_signal_create", problem: "the signal handle is 0".to_owned() });
        }
        Ok(Self { runtime: runtime.clone(), handle })
    }

    /// What packets and kernels name it by.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.handle.handle
    }

    pub(super) fn hsa_handle(&self) -> hsa_signal_t {
        self.handle
    }

    /// Address of the value, for kernels that update the signal themselves (`amd_signal_t.value`); `None` when it is no value in
    /// memory.
    #[must_use]
    pub fn value_address(&self) -> Option<u64> {
        (self.snapshot()?.kind == SignalKind::User)
            .then(|| self.handle() + std::mem::offset_of!(amd_signal_t, __bindgen_anon_1) as u64)
    }

    /// Loads the value, relaxed.
    #[must_use]
    pub fn load_relaxed(&self) -> i64 {
        // SAFETY: the signal lives until drop.
        unsafe { (self.runtime.functions().hsa_signal_load_relaxed)(self.handle) }
    }

    /// Loads the value with acquire ordering.
    #[must_use]
    pub fn load(&self) -> i64 {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_load_scacquire)(self.handle) }
    }

    /// Stores a value, relaxed.
    pub fn store_relaxed(&self, value: i64) {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_store_relaxed)(self.handle, value) }
    }

    /// Stores a value with release ordering.
    pub fn store(&self, value: i64) {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_store_screlease)(self.handle, value) }
    }

    /// Adds, with acquire and release ordering.
    pub fn add(&self, amount: i64) {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_add_scacq_screl)(self.handle, amount) }
    }

    /// Subtracts, with acquire and release ordering.
    pub fn subtract(&self, amount: i64) {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_subtract_scacq_screl)(self.handle, amount) }
    }

    /// Stores a value and returns the old one, with acquire and release ordering.
    pub fn exchange(&self, value: i64) -> i64 {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_exchange_scacq_screl)(self.handle, value) }
    }

    /// Stores `value` if the signal holds `expected`; returns what it held. Acquire and release ordering.
    pub fn compare_exchange(&self, expected: i64, value: i64) -> i64 {
        // SAFETY: as in `load_relaxed`.
        unsafe { (self.runtime.functions().hsa_signal_cas_scacq_screl)(self.handle, expected, value) }
    }

    /// Waits until the value meets `condition` or `deadline` has passed, with acquire ordering.
    ///
    /// The runtime gets all the time that is left as its timeout, so that a blocked wait really blocks. It may come back early;
    /// then this waits on.
    #[must_use]
    pub fn wait(&self, condition: Condition, deadline: Deadline, mode: WaitMode) -> WaitOutcome {
        let (hsa_condition, compare) = condition.to_hsa();
        wait_until(
            condition,
            deadline,
            || self.load(),
            |remaining| {
                let timeout = self.runtime.timeout_hint(remaining);
                // SAFETY: as in `load_relaxed`; the timeout is finite.
                unsafe {
                    (self.runtime.functions().hsa_signal_wait_scacquire)(
                        self.handle,
                        hsa_condition,
                        compare,
                        timeout.0,
                        mode.to_hsa(),
                    )
                }
            },
        )
    }

    /// The fields behind the handle. `None` when the handle is not the address of an `amd_signal_t`.
    #[must_use]
    pub fn snapshot(&self) -> Option<SignalSnapshot> {
        // SAFETY: the signal lives until drop.
        unsafe { snapshot(self.handle) }
    }

    /// Start and end of the last packet that completed this signal, as the device stamped them; not yet in the system's clock.
    #[must_use]
    pub fn raw_timestamps(&self) -> Option<(Ticks, Ticks)> {
        self.snapshot().map(|fields| (Ticks(fields.start_ts), Ticks(fields.end_ts)))
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        // SAFETY: created by this runtime and destroyed once. A packet that still names it was the caller's to wait for; the
        // runtime keeps a signal's memory pooled, so a late decrement hits memory it owns.
        unsafe { (self.runtime.functions().hsa_signal_destroy)(self.handle) };
    }
}

/// Reads the `amd_signal_t` behind a handle, field by field.
///
/// # Safety
/// The signal is alive, and of a runtime with AMD's extensions, whose handles are the addresses of their `amd_signal_t`.
pub(super) unsafe fn snapshot(handle: hsa_signal_t) -> Option<SignalSnapshot> {
    let signal = handle.handle as usize as *mut amd_signal_t;
    if signal.is_null() || !signal.is_aligned() {
        return None;
    }
    // SAFETY: the caller's promise; the fields are read as atomics because device and runtime write them.
    unsafe {
        let wide = |field: *mut u64| AtomicU64::from_ptr(field).load(Ordering::Relaxed);
        let kind = SignalKind::from(wide((&raw mut (*signal).kind).cast()).cast_signed());
        let value = || AtomicI64::from_ptr((&raw mut (*signal).__bindgen_anon_1).cast::<i64>()).load(Ordering::Relaxed);
        Some(SignalSnapshot {
            kind,
            value: (kind == SignalKind::User).then(value),
            event_mailbox_ptr: wide(&raw mut (*signal).event_mailbox_ptr),
            event_id: AtomicU32::from_ptr(&raw mut (*signal).event_id).load(Ordering::Relaxed),
            start_ts: wide(&raw mut (*signal).start_ts),
            end_ts: wide(&raw mut (*signal).end_ts),
        })
    }
}

/// The word of an `amd_signal_t` that is a register's address in a doorbell and the value in any other signal.
///
/// # Safety
/// As [`snapshot`].
pub(super) unsafe fn doorbell_word(handle: hsa_signal_t) -> Option<u64> {
    let signal = handle.handle as usize as *mut amd_signal_t;
    if signal.is_null() || !signal.is_aligned() {
        return None;
    }
    // SAFETY: the caller's promise; read as an atomic because the device may write it.
    Some(unsafe { AtomicU64::from_ptr((&raw mut (*signal).__bindgen_anon_1).cast()).load(Ordering::Relaxed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_amd_hsa_signal_h() {
        let kinds: Vec<SignalKind> = [0, 1, -1, -2, 7, i64::MAX].into_iter().map(SignalKind::from).collect();
        assert_eq!(
            kinds,
            [
                SignalKind::Invalid,
                SignalKind::User,
                SignalKind::Doorbell,
                SignalKind::LegacyDoorbell,
                SignalKind::Other(7),
                SignalKind::Other(i64::MAX)
            ]
        );
    }

    #[test]
    fn a_null_or_misaligned_handle_is_no_amd_signal() {
        for handle in [0, 65] {
            // SAFETY: refused before anything is read.
            assert_eq!(unsafe { snapshot(hsa_signal_t { handle }) }, None);
        }
    }
}
