//! `latency`: how long a round trip through a queue takes, and where the time goes.
//!
//! A worker process ([`worker_main`]) measures: [`probe`](self) makes one round trip after another, each stamped on the host between its
//! steps and by the device in its own clock, which `clock` lays on the host's. Every sample is kept; `statistics` and `stages` reduce
//! them, and nothing is trimmed. The supervisor ([`run`]) is the one of `verify` (`verify::supervision`): it owns the AtomicOps bit, holds
//! the worker to its deadlines, and turns what it says into a [`LatencyReport`]. docs/latency.md says how to read that.

mod atomics_effect;
mod clock;
mod event;
mod host;
mod judgement;
mod noise;
mod pace;
mod probe;
mod request;
mod resident;
mod stages;
mod statistics;
mod stop;
mod submission;
mod supervisor;
mod timer;
mod trip;
mod worker;

pub use judgement::strictly;
pub use request::{LatencyRequest, LatencyRequestError, Length, PerSecond};

use crate::report::latency::LatencyReport;
use crate::report::{AtomicsMode, BedReport};
use crate::verify::supervision::VerifyError;

/// Somebody who watches a measurement.
pub trait Observer {
    /// The bed is there, and nothing was measured yet.
    fn bed_ready(&mut self, bed: &BedReport);
    /// A measurement starts: on which device, in which state of AtomicOps.
    fn run_started(&mut self, device: &str, mode: AtomicsMode);
    /// This share of it is done, 0 to 1.
    fn progressed(&mut self, share: f64);
    /// It ended.
    fn run_finished(&mut self);
}

/// Measures what `request` asks for.
///
/// # Errors
/// Whatever keeps anything from being measured. A device that loses completions is no error but a [`LatencyReport`].
pub fn run(request: &LatencyRequest, observer: &mut dyn Observer) -> Result<LatencyReport, VerifyError> {
    supervisor::run(request, observer)
}

/// The worker process: measures what `plan` (the supervisor's JSON) says and streams events on stdout. Returns the exit status.
#[must_use]
pub fn worker_main(plan: &str) -> u8 {
    worker::main(plan)
}
