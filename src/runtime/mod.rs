//! Our own small HSA runtime behind the C ABI of libhsa-runtime64; it drives the software GPU, in this process or as a PCIe function
//! ([`device`]).
//!
//! [`abi`] holds the C functions, thin over the safe modules beside it.

pub mod abi;
mod agents;
mod arena;
pub mod bed;
mod bell;
mod blocked_wait;
pub mod device;
mod error;
mod events;
mod executables;
mod futex;
pub mod loader;
mod log;
mod pages;
mod pools;
mod queues;
mod reporter;
mod signals;
mod state;
