//! The door for AMD's runtime: `HSA_MODEL_LIB`, interface 0.4 (ROCr, `libhsakmt/include/hsakmt/hsakmtmodeliface.h`).
//!
//! In model mode the runtime's lowest layer, libhsakmt, does without a kernel driver. It takes what the machine has from the
//! directory `HSA_MODEL_TOPOLOGY`, and loads this library for the GPU in it. Everything above, queues and packets and kernels, is the
//! runtime's own code for hardware.
//!
//! * `abi` is the table of functions, and the only place that trusts the runtime's pointers.
//! * `machine` finds out which GPU to be, and where its config space is.
//! * `model` is the device behind the table: memory as it is registered, queues as they come and go.
//! * `exit` ends the device with the process, since the runtime never destroys it.
//!
//! What goes wrong is said on stderr, in lines that start with `PREFIX`.

mod abi;
mod exit;
mod machine;
mod model;

use std::fmt;
use std::io::Write;

/// How every line on stderr begins.
pub const PREFIX: &str = "aqlprobe model: ";

/// Says something on stderr, in one line. With stderr closed it is lost; there is nobody else to tell.
fn say(what: &dyn fmt::Display) {
    let line = format!("{PREFIX}{what}").replace('\n', " ") + "\n";
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
