//! The HSA runtime as the harness sees it: a table of C functions, and safe wrappers over it.
//!
//! ```text
//! RuntimeChoice::resolve -> Api -> Runtime -> Agent -> Queue, Signal, Buffer, Executable
//! ```
//!
//! Everything above [`Api`] is the same code on every runtime. The wrappers own what they create (RAII), keep the runtime
//! initialised as long as they live, and turn every status code into a named error that says what to check.
//!
//! Memory that a device may write is reached through atomics only ([`Buffer`]); a device reaches no other memory of this
//! process, because the runtime maps only its own allocations into the device's page tables.

mod agent;
mod api;
mod choice;
mod doorbell;
pub mod embedded;
mod error;
mod executable;
mod facts;
#[cfg(test)]
mod fake;
mod identity;
mod kfd_access;
mod library;
mod low_stack;
mod memory;
mod pool;
mod profiling;
mod queue;
mod runtime;
mod signal;
mod status;
pub mod sys;
#[cfg(test)]
mod tests;
mod wait;

/// Variable that decides whether ROCr waits by interrupts (its default) or by polling (`0`).
pub const INTERRUPT_VARIABLE: &str = "HSA_ENABLE_INTERRUPT";
/// Variable by which ROCr takes its devices from a directory and its GPU from a library.
pub const MODEL_VARIABLE: &str = "HSA_MODEL_TOPOLOGY";

pub use agent::{Agent, AgentKind, PciAddress};
pub use api::{Api, Functions, Origin};
pub use choice::{Bed, ChoiceError, Resolved, RuntimeChoice, UnknownRuntime};
pub use doorbell::{DoorbellKind, DoorbellRegister, NoDoorbellRegister};
pub use error::HsaError;
pub use executable::{Executable, Kernel};
pub use facts::{InterfaceVersion, RuntimeFacts};
pub use identity::{LibraryIdentity, RocmRelease};
pub use kfd_access::KfdAccess;
pub use library::{DEFAULT_LIBRARY, LoadError};
pub use memory::{Buffer, DeviceBuffer};
pub use pool::{Grain, Pool, PoolUse, Segment};
pub use profiling::{DispatchTime, Profiling};
pub use queue::{Queue, QueueErrors, QueueKind, QueuePointer};
pub use runtime::{InitStack, Runtime, Ticks};
pub use signal::{Signal, SignalKind, SignalSnapshot};
pub use status::Status;
pub use wait::{Condition, Deadline, WaitMode, WaitOutcome};
