//! The table of C functions that stands for a runtime, from one list.

use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::os::unix::Library;

use super::error::HsaError;
use super::library::{self, LoadError};
use super::sys::{self, *};

/// Hands the list of functions to `$receiver`: those every runtime has, then those an older or smaller one may lack.
macro_rules! hsa_functions {
    ($receiver:ident) => {
        $receiver! {
            required {
                hsa_init: fn() -> hsa_status_t;
                hsa_shut_down: fn() -> hsa_status_t;
                hsa_status_string: fn(hsa_status_t, *mut *const c_char) -> hsa_status_t;
                hsa_system_get_info: fn(hsa_system_info_t, *mut c_void) -> hsa_status_t;
                hsa_iterate_agents: fn(Option<unsafe extern "C" fn(hsa_agent_t, *mut c_void) -> hsa_status_t>, *mut c_void) -> hsa_status_t;
                hsa_agent_get_info: fn(hsa_agent_t, hsa_agent_info_t, *mut c_void) -> hsa_status_t;
                hsa_agent_iterate_isas: fn(hsa_agent_t, Option<unsafe extern "C" fn(hsa_isa_t, *mut c_void) -> hsa_status_t>, *mut c_void) -> hsa_status_t;
                hsa_isa_get_info_alt: fn(hsa_isa_t, hsa_isa_info_t, *mut c_void) -> hsa_status_t;
                hsa_queue_create: fn(hsa_agent_t, u32, hsa_queue_type32_t, Option<unsafe extern "C" fn(hsa_status_t, *mut hsa_queue_t, *mut c_void)>, *mut c_void, u32, u32, *mut *mut hsa_queue_t) -> hsa_status_t;
                hsa_queue_destroy: fn(*mut hsa_queue_t) -> hsa_status_t;
                hsa_queue_load_read_index_relaxed: fn(*const hsa_queue_t) -> u64;
                hsa_queue_load_read_index_scacquire: fn(*const hsa_queue_t) -> u64;
                hsa_queue_load_write_index_relaxed: fn(*const hsa_queue_t) -> u64;
                hsa_queue_load_write_index_scacquire: fn(*const hsa_queue_t) -> u64;
                hsa_queue_add_write_index_relaxed: fn(*const hsa_queue_t, u64) -> u64;
                hsa_queue_add_write_index_scacq_screl: fn(*const hsa_queue_t, u64) -> u64;
                hsa_queue_cas_write_index_relaxed: fn(*const hsa_queue_t, u64, u64) -> u64;
                hsa_queue_cas_write_index_scacq_screl: fn(*const hsa_queue_t, u64, u64) -> u64;
                hsa_queue_store_write_index_relaxed: fn(*const hsa_queue_t, u64);
                hsa_queue_store_write_index_screlease: fn(*const hsa_queue_t, u64);
                hsa_signal_create: fn(hsa_signal_value_t, u32, *const hsa_agent_t, *mut hsa_signal_t) -> hsa_status_t;
                hsa_signal_destroy: fn(hsa_signal_t) -> hsa_status_t;
                hsa_signal_load_relaxed: fn(hsa_signal_t) -> hsa_signal_value_t;
                hsa_signal_load_scacquire: fn(hsa_signal_t) -> hsa_signal_value_t;
                hsa_signal_store_relaxed: fn(hsa_signal_t, hsa_signal_value_t);
                hsa_signal_store_screlease: fn(hsa_signal_t, hsa_signal_value_t);
                hsa_signal_add_scacq_screl: fn(hsa_signal_t, hsa_signal_value_t);
                hsa_signal_subtract_scacq_screl: fn(hsa_signal_t, hsa_signal_value_t);
                hsa_signal_exchange_scacq_screl: fn(hsa_signal_t, hsa_signal_value_t) -> hsa_signal_value_t;
                hsa_signal_cas_scacq_screl: fn(hsa_signal_t, hsa_signal_value_t, hsa_signal_value_t) -> hsa_signal_value_t;
                hsa_signal_wait_relaxed: fn(hsa_signal_t, hsa_signal_condition_t, hsa_signal_value_t, u64, hsa_wait_state_t) -> hsa_signal_value_t;
                hsa_signal_wait_scacquire: fn(hsa_signal_t, hsa_signal_condition_t, hsa_signal_value_t, u64, hsa_wait_state_t) -> hsa_signal_value_t;
                hsa_code_object_reader_create_from_memory: fn(*const c_void, usize, *mut hsa_code_object_reader_t) -> hsa_status_t;
                hsa_code_object_reader_destroy: fn(hsa_code_object_reader_t) -> hsa_status_t;
                hsa_executable_create_alt: fn(hsa_profile_t, hsa_default_float_rounding_mode_t, *const c_char, *mut hsa_executable_t) -> hsa_status_t;
                hsa_executable_destroy: fn(hsa_executable_t) -> hsa_status_t;
                hsa_executable_load_agent_code_object: fn(hsa_executable_t, hsa_agent_t, hsa_code_object_reader_t, *const c_char, *mut hsa_loaded_code_object_t) -> hsa_status_t;
                hsa_executable_freeze: fn(hsa_executable_t, *const c_char) -> hsa_status_t;
                hsa_executable_get_symbol_by_name: fn(hsa_executable_t, *const c_char, *const hsa_agent_t, *mut hsa_executable_symbol_t) -> hsa_status_t;
                hsa_executable_symbol_get_info: fn(hsa_executable_symbol_t, hsa_executable_symbol_info_t, *mut c_void) -> hsa_status_t;
                hsa_memory_copy: fn(*mut c_void, *const c_void, usize) -> hsa_status_t;
                hsa_amd_agent_iterate_memory_pools: fn(hsa_agent_t, Option<unsafe extern "C" fn(hsa_amd_memory_pool_t, *mut c_void) -> hsa_status_t>, *mut c_void) -> hsa_status_t;
                hsa_amd_memory_pool_get_info: fn(hsa_amd_memory_pool_t, hsa_amd_memory_pool_info_t, *mut c_void) -> hsa_status_t;
                hsa_amd_memory_pool_allocate: fn(hsa_amd_memory_pool_t, usize, u32, *mut *mut c_void) -> hsa_status_t;
                hsa_amd_memory_pool_free: fn(*mut c_void) -> hsa_status_t;
                hsa_amd_agents_allow_access: fn(u32, *const hsa_agent_t, *const u32, *const c_void) -> hsa_status_t;
                hsa_amd_agent_memory_pool_get_info: fn(hsa_agent_t, hsa_amd_memory_pool_t, hsa_amd_agent_memory_pool_info_t, *mut c_void) -> hsa_status_t;
            }
            optional {
                hsa_queue_inactivate: fn(*mut hsa_queue_t) -> hsa_status_t;
                hsa_amd_profiling_set_profiler_enabled: fn(*mut hsa_queue_t, c_int) -> hsa_status_t;
                hsa_amd_profiling_get_dispatch_time: fn(hsa_agent_t, hsa_signal_t, *mut hsa_amd_profiling_dispatch_time_t) -> hsa_status_t;
                hsa_amd_signal_create: fn(hsa_signal_value_t, u32, *const hsa_agent_t, u64, *mut hsa_signal_t) -> hsa_status_t;
            }
        }
    };
}
pub(super) use hsa_functions;

macro_rules! function_table {
    (
        required { $($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)* }
        optional { $($extra:ident: fn($($extra_argument:ty),*) $(-> $extra_result:ty)?;)* }
    ) => {
        /// The C functions of a runtime. Raw: the wrappers of this room are the way to use them.
        #[derive(Clone, Copy)]
        pub struct Functions {
            $(
                #[doc = concat!("`", stringify!($name), "` of hsa.h or hsa_ext_amd.h.")]
                pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,
            )*
            $(
                #[doc = concat!("`", stringify!($extra), "` of hsa.h or hsa_ext_amd.h, if the runtime has it.")]
                pub $extra: Option<unsafe extern "C" fn($($extra_argument),*) $(-> $extra_result)?>,
            )*
        }

        // The list above and the headers agree on every signature; type-checked only, nothing is linked.
        $(const _: unsafe extern "C" fn($($argument),*) $(-> $result)? = sys::$name;)*
        $(const _: unsafe extern "C" fn($($extra_argument),*) $(-> $extra_result)? = sys::$extra;)*

        impl Functions {
            #[cfg(test)]
            const NAMES: &'static [&'static str] = &[$(stringify!($name),)* $(stringify!($extra),)*];

            /// A table whose every required function ends the test that calls it, and which lacks the optional ones.
            #[cfg(test)]
            pub(super) const UNEXPECTED: Self = Self {
                $($name: {
                    unsafe extern "C" fn unexpected($(_: $argument),*) $(-> $result)? {
                        unreachable!(concat!("the test did not expect ", stringify!($name)))
                    }
                    unexpected
                },)*
                $($extra: None,)*
            };

            /// The optional functions that this runtime lacks.
            pub(super) fn missing(&self) -> Vec<&'static str> {
                [$((stringify!($extra), self.$extra.is_some()),)*]
                    .into_iter()
                    .filter_map(|(name, provided)| (!provided).then_some(name))
                    .collect()
            }

            /// Resolves every name in `library`, or names the first that is missing.
            ///
            /// # Safety
            /// What `library` exports under these names has these signatures, and it is never unloaded.
            unsafe fn resolve(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    // SAFETY: the caller's promise; the copied pointer stays valid because the library stays loaded.
                    $($name: *unsafe { library.get(stringify!($name)) }.map_err(|_| stringify!($name))?,)*
                    // SAFETY: as above.
                    $($extra: unsafe { library.get(stringify!($extra)) }.ok().map(|symbol| *symbol),)*
                })
            }
        }
    };
}

hsa_functions!(function_table);

/// Where a table's functions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A shared library, by the name or path it was opened with.
    Library(PathBuf),
    /// The runtime inside this binary.
    Embedded,
}

/// A runtime: its functions and where they come from. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Table>);

struct Table {
    functions: Functions,
    origin: Origin,
}

impl Api {
    /// Opens a runtime library: a path, or a bare name that the dynamic linker and `/opt/rocm/lib` are searched for.
    ///
    /// The library stays loaded until the process ends: a runtime has threads of its own, which unloading would pull the code
    /// from under.
    ///
    /// # Errors
    /// [`LoadError`], one variant per thing that can be wrong with the file.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let (library, opened) = library::open(path)?;
        // SAFETY: the user names this file as an HSA runtime, and the names are HSA's own, so their signatures are hsa.h's; the
        // library is leaked below, on success and on failure alike.
        let functions = unsafe { Functions::resolve(&library) };
        std::mem::forget(library);
        let functions = functions.map_err(|symbol| LoadError::SymbolMissing { path: opened.clone(), symbol })?;
        Ok(Self::from_functions(functions, Origin::Library(opened)))
    }

    pub(super) fn from_functions(functions: Functions, origin: Origin) -> Self {
        Self(Arc::new(Table { functions, origin }))
    }

    /// The raw table.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.0.functions
    }

    /// Where the functions come from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }
}

/// An optional function, or the error that names it.
pub(super) fn provided<F>(function: Option<F>, name: &'static str) -> Result<F, HsaError> {
    function.ok_or(HsaError::NotProvided { function: name })
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Api").field(self.origin()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_holds_exactly_the_functions_that_bindgen_was_asked_for() {
        let listed: BTreeSet<&str> = include_str!("sys/functions.txt").lines().filter(|line| !line.is_empty()).collect();
        let table: BTreeSet<&str> = Functions::NAMES.iter().copied().collect();
        assert_eq!(table, listed);
        assert_eq!(Functions::NAMES.len(), listed.len());
    }
}
