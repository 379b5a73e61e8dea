//! The embedded test bed: the machine that the runtime's device lives in, as supervisors prepare it.

pub use crate::model::machine::{MachineError as BedError, PreparedBed, SYSFS_ENV, prepare, prepare_target};
pub use crate::model::target::Target;
