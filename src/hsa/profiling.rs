//! When a dispatch ran, as the device saw it.

use super::agent::Agent;
use super::api::provided;
use super::error::{HsaError, check};
use super::queue::Queue;
use super::runtime::Ticks;
use super::signal::Signal;
use super::sys::hsa_amd_profiling_dispatch_time_t;

/// Whether a queue stamps its dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profiling {
    /// Start and end are kept in the completion signal.
    On,
    /// They are not.
    Off,
}

/// Start and end of a dispatch in the system's clock ([`super::Runtime::duration`] converts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchTime {
    /// When the packet was taken up.
    pub start: Ticks,
    /// When it had completed.
    pub end: Ticks,
}

impl Queue {
    /// Turns stamping on or off for packets published from now on.
    ///
    /// # Errors
    /// The runtime lacks the function or refused.
    pub fn set_profiling(&self, profiling: Profiling) -> Result<(), HsaError> {
        const CALL: &str = "hsa_amd_profiling_set_profiler_enabled";
        let set = provided(self.runtime().functions().hsa_amd_profiling_set_profiler_enabled, CALL)?;
        // SAFETY: the queue lives until drop.
        check(CALL, unsafe { set(self.pointer().as_ptr(), i32::from(profiling == Profiling::On)) })
    }
}

impl Agent {
    /// When the dispatch that completed `signal` ran on this agent. Its queue must have [`Profiling::On`].
    ///
    /// # Errors
    /// The runtime lacks the function or refused.
    pub fn dispatch_time(&self, signal: &Signal) -> Result<DispatchTime, HsaError> {
        const CALL: &str = "hsa_amd_profiling_get_dispatch_time";
        let get = provided(self.runtime().functions().hsa_amd_profiling_get_dispatch_time, CALL)?;
        let mut time = hsa_amd_profiling_dispatch_time_t { start: 0, end: 0 };
        // SAFETY: agent and signal are live; `time` receives the result.
        check(CALL, unsafe { get(self.handle(), signal.hsa_handle(), &raw mut time) })?;
        Ok(DispatchTime { start: Ticks(time.start), end: Ticks(time.end) })
    }
}
