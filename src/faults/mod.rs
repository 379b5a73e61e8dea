//! Fault plans: what the software GPU, its PCIe path or the worker is to do wrong on purpose, so that every diagnosis can be provoked.
//!
//! A plan is text: items separated by commas, or one per line in a file (`#` starts a comment).
//!
//! ```text
//! signal-late=50us
//! atomic-lost=0.01,seed=7
//! signal-dropped:every=3:after=10
//! worker-abort:case=nop
//! ```
//!
//! This room knows the words and when a fault strikes; what striking means is the business of who is struck: the model for its device and
//! its fabric, the supervisor and worker of `verify` for processes. docs/faults.md lists the faults.

mod fault;
mod plan;
mod trigger;
mod value;

pub use fault::{CATALOGUE, Fault, FaultInfo, Place, list};
pub use plan::{FaultPlan, INJECT_ENV, PlanError, PlannedFault};
pub use trigger::{Injector, Seed, Strikes};
pub use value::{BlockedHop, Decrement, Delay, Probability, QueueErrorKind, ValueError};

#[cfg(test)]
mod tests;
