//! The runtime inside this binary behind the same table. The only file of this room that names it.

use super::api::{Api, Functions, Origin, hsa_functions};
use crate::runtime::abi;

pub use crate::runtime::bed;
pub use crate::runtime::device::vfio;

macro_rules! embedded_table {
    (
        required { $($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)* }
        optional { $($extra:ident: fn($($extra_argument:ty),*) $(-> $extra_result:ty)?;)* }
    ) => {
        const FUNCTIONS: Functions = Functions { $($name: abi::$name,)* $($extra: Some(abi::$extra),)* };
    };
}

hsa_functions!(embedded_table);

impl Api {
    /// The embedded runtime, which drives the software GPU: the PCIe endpoint that [`vfio::DEVICE_ENV`] names, else the one of this
    /// process, in the tree that [`bed::SYSFS_ENV`] names.
    #[must_use]
    pub fn embedded() -> Self {
        Self::from_functions(FUNCTIONS, Origin::Embedded)
    }
}
