//! `verify`: run the cases on a device with AtomicOps off and on, and say what that comes to.
//!
//! The device work happens in a *worker* process ([`worker_main`], the same binary) which streams `event::WorkerEvent`s to the
//! supervisor ([`run`]). The supervisor owns the device's AtomicOp Requester Enable bit, holds every case to a deadline, kills a
//! worker that wedges, and puts the bit back whatever happens. What was seen is then held against what was predicted
//! (`diagnose`); nothing in this room knows which bed it runs on except by name.

mod cases;
mod catalogue;
mod diagnose;
mod error;
mod event;
mod facts;
mod lab;
mod request;
mod restore;
pub mod supervision;
mod supervisor;
mod worker;

pub use catalogue::{CaseInfo, NoCaseMatches, WithoutAtomics, catalogue, select};
pub use error::{RestoreError, VerifyError};
pub use request::{
    AtomicsSelection, BadDeviceSelector, DeviceSelector, Milliseconds, PlaceRequest, RequestedRuntime, RocrModelRequest,
    VerifyRequest,
};
pub use restore::{Restored, restore_atomics};

use crate::report::{AtomicsMode, CaseReport, Report};

/// Somebody who watches a run: a progress bar, an event stream.
pub trait Observer {
    /// The whole invocation will come to this many cases, over all devices and states of AtomicOps.
    fn planned(&mut self, total_cases: usize);
    /// A run of the cases on `device` starts.
    fn run_started(&mut self, device: &str, mode: AtomicsMode);
    /// A case starts.
    fn case_started(&mut self, name: &str);
    /// A case ended.
    fn case_finished(&mut self, case: &CaseReport);
}

/// Runs the cases that `request` selects and says what they come to.
///
/// # Errors
/// Whatever keeps the question from being asked: [`VerifyError::exit_code`] says how the process should end. A device that fails
/// its cases is no error but a [`Report`].
pub fn run(request: &VerifyRequest, observer: &mut dyn Observer) -> Result<Report, VerifyError> {
    supervisor::run(request, observer)
}

/// The worker process: runs the cases of `plan` (the supervisor's JSON) and streams events on stdout. Returns the exit status.
#[must_use]
pub fn worker_main(plan: &str) -> u8 {
    worker::main(plan)
}
