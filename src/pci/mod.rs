//! PCI: who is on the path between the GPU and host memory, what config space says there, and one bit that can be switched.
//!
//! Every fact comes from config space, read from sysfs ([`sysfs`]), from the hex rows of `lspci -xxx` ([`dump`]) or from any
//! other text of `lspci` ([`lspci`]). Bytes that
//! are not known (a reader without privileges gets 64 of them) stay unknown all the way into the verdict ([`path`]); they
//! are never taken for zeroes. [`tree`] writes the same layout as a directory, for devices that exist in software only.

mod bdf;
mod capability;
mod config;
pub mod device_lock;
pub mod driver;
pub mod dump;
pub mod guest;
mod hierarchy;
pub mod kernel;
pub mod lspci;
pub mod path;
pub mod private_tree;
mod process;
mod register;
pub mod registers;
pub mod requester;
pub mod sysfs;
pub mod tree;

pub use bdf::{Bdf, BdfError};
pub use capability::{CapabilityError, PcieCapability, PortType};
pub use config::{ConfigOffset, ConfigSpace};
pub use hierarchy::{Completeness, Hierarchy, Hop, HopRole, PcieReading};
pub use register::Register;
