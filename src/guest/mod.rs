//! A real Linux in QEMU, with the software GPU as its PCI Express endpoint: what boots it, what runs in it, and what both sides saw.
//!
//! On the host, [`run`] starts two processes, `aqlprobe endpoint` and QEMU, and hands the guest an initramfs that consists of this very
//! program, the libraries it is linked to, the kernel's vfio modules and a [`Workload`]. In the guest, [`init`] is the first process:
//! it prepares the machine, runs the workload's steps and writes [`Answer`]s, one JSON object a line, to the second serial port. The
//! two halves share nothing else, and the host believes nothing that the guest sends to be well-formed.
//!
//! [`passthrough`] is the other use of a guest: the line that gives a real GPU to one.

mod answer;
mod assets;
mod boot;
mod cpio;
pub mod init;
mod initramfs;
mod options;
pub mod passthrough;
mod processes;
mod qemu;
mod report;
mod run;
mod text;

pub use answer::{Answer, PciFunction, Step, Workload};
pub use assets::{Assets, AssetsError, Kernel};
pub use boot::BootError;
pub use options::{
    Accelerator, BusMaster, EndpointCompleter, Hops, RequesterEnable, RootPortCompleters, Seconds, Switch, UnknownValue,
};
pub use report::{GuestReport, GuestView, HostView, StepReport, Verdict};
pub use run::{GuestError, GuestRequest, Program, run};
pub use text::write as write_text;
