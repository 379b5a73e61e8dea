//! What a process needs in which AMD's unmodified runtime, ROCr, drives the software GPU: the machine that the runtime finds
//! ([`ModelMachine`]), the libraries that it is made of ([`RuntimeLibrary`], [`model_library`]), and the C library that it runs on
//! ([`Sysroot`]).
//!
//! ROCr has a *model mode* since ROCm 7: with `HSA_MODEL_TOPOLOGY` it takes KFD's topology from a directory, and with
//! `HSA_MODEL_LIB` it hands its queues to a library instead of the kernel (ROCr `libhsakmt/src/hsakmtmodel.c`).

mod library;
mod machine;
mod program;
mod sysroot;

pub use library::{LibraryError, RuntimeLibrary, model_library};
pub use machine::{MachineError, ModelMachine, ModelTarget, RequesterAtStart};
pub use program::{Opened, ProgramError, ProgramRun, Ran, run};
pub use sysroot::{Surroundings, Sysroot, SysrootError};
