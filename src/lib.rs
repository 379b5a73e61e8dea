//! `aqlprobe` answers one question about an AMD GPU, on bare metal or inside a KVM/VFIO guest: does AQL dispatch complete,
//! and if not, exactly why?
//!
//! The rooms and the arrows between them are described in `docs/architecture.md` and enforced by `tests/architecture.rs`.
#![deny(missing_docs)]

pub mod aql;
pub mod audit;
pub mod bootstrap;
pub mod compare;
pub mod faults;
pub mod fleet;
pub mod guest;
pub mod hsa;
pub mod kernels;
pub mod kfd;
pub mod latency;
pub mod model;
pub mod pci;
pub mod report;
pub mod rocr;
pub mod runtime;
pub mod verify;
