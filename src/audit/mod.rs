//! The path doctor: whether AtomicOps of a device reach host memory, who says so, what stands in the way, and what to do.
//!
//! An audit keeps four questions apart that are usually mixed up: whether the path can carry AtomicOps, whether the device may
//! send them now, whether KFD takes the GPU, and what follows where it takes one without them. The rules are those of
//! [`crate::pci::path`] and [`crate::kfd`]; nothing here adds one. What the input does not show is unknown in every answer.

mod answer;
mod capture;
mod device;
mod dmesg;
mod hop;
mod kfd;
mod links;
mod process;
mod silicon;
mod source;
mod switching;

pub use answer::Answer;
pub use capture::{Captured, capture};
pub use device::{AuditedDevice, Facts, Fix, GuestForecast, KernelAnswer, Origin, audit};
pub use dmesg::{FirmwareVerdict, Refusal, refusals};
pub use hop::{AuditedHop, Link, LinkState, links_from_sysfs};
pub use kfd::KfdAnswer;
pub use process::{KfdProcesses, kfd_processes};
pub use silicon::{Integration, Silicon, silicon};
pub use source::{Audit, AuditError, Context, Selection, Source, from_sysfs, from_text};
pub use switching::{Objection, Weight, objections};
