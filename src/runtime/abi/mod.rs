//! The runtime's C functions under their HSA names; re-exported flat.
//!
//! Each is thin: it checks pointers and handles, calls the safe runtime, and turns the result into a status. No panic and no
//! error crosses into C. Contracts are those of HSA 1.2 and hsa_ext_amd.h; the comments here say only what is particular.
//!
//! # Safety
//! Every function is `unsafe` to call because C pointers are: a pointer must be null or valid for what the HSA specification
//! says is read from or written to it. Handles may hold anything; they are validated.
//!
//! Operations that return no status (on signals, and on the indices of queues) are called at any time but during the last
//! `hsa_shut_down`, which ends what they work on (HSA Runtime 1.2 §2.1, initialization and shut down).

mod agent;
mod executable;
mod memory;
mod out;
mod queue;
mod signal;
mod system;

pub use agent::*;
pub use executable::*;
pub use memory::*;
pub use queue::*;
pub use signal::*;
pub use system::*;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::error::RuntimeError;
use super::log;
use super::state::{self, Runtime};
use crate::hsa::sys::{HSA_STATUS_ERROR, HSA_STATUS_SUCCESS, hsa_status_t};

/// Runs a call and gives its status.
fn status(call: impl FnOnce() -> Result<(), RuntimeError>) -> hsa_status_t {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => HSA_STATUS_SUCCESS,
        Ok(Err(error)) => {
            log::note(|| error.to_string());
            error.status()
        }
        Err(_) => HSA_STATUS_ERROR,
    }
}

/// Runs a call that needs the runtime.
fn with_runtime(call: impl FnOnce(&Arc<Runtime>) -> Result<(), RuntimeError>) -> hsa_status_t {
    status(|| call(&state::current()?))
}

/// Runs a short operation that has no status; `otherwise` is what it gives for a bad handle or without a runtime.
///
/// # Safety
/// As the module says of operations without a status.
#[inline]
unsafe fn without_status<Value: Copy>(otherwise: Value, operation: impl FnOnce(&Runtime) -> Option<Value>) -> Value {
    // SAFETY: the caller's promise.
    panic::catch_unwind(AssertUnwindSafe(|| unsafe { state::with(operation) })).ok().flatten().unwrap_or(otherwise)
}
