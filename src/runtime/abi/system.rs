//! Initialization, status strings, system attributes.

use std::ffi::{CStr, c_char, c_void};

use super::super::agents;
use super::super::signals::MAX_WAIT;
use super::super::state;
use super::out::{put, put_info};
use super::{status, with_runtime};
use crate::hsa::sys::*;

/// `hsa_init`: the first call powers the software GPU up, or opens it.
///
/// # Safety
/// None beyond the module's.
pub unsafe extern "C" fn hsa_init() -> hsa_status_t {
    status(state::initialize)
}

/// `hsa_shut_down`: the last call powers it down; every object that is left ends with it.
///
/// # Safety
/// Nothing that the runtime handed out is used afterwards.
pub unsafe extern "C" fn hsa_shut_down() -> hsa_status_t {
    status(state::shut_down)
}

/// `hsa_status_string`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_status_string(code: hsa_status_t, status_string: *mut *const c_char) -> hsa_status_t {
    status(|| {
        let text = describe(code).ok_or(super::super::error::RuntimeError::InvalidArgument("no such status"))?;
        // SAFETY: the caller's promise on `status_string`.
        unsafe { put(status_string, text.as_ptr()) }
    })
}

/// `hsa_system_get_info`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_system_get_info(attribute: hsa_system_info_t, value: *mut c_void) -> hsa_status_t {
    with_runtime(|runtime| {
        let info = agents::system_info(attribute, runtime.device.timestamp(), super::signal::ticks(MAX_WAIT));
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, info) }
    })
}

fn describe(code: hsa_status_t) -> Option<&'static CStr> {
    Some(match code {
        HSA_STATUS_SUCCESS => c"HSA_STATUS_SUCCESS: done",
        HSA_STATUS_INFO_BREAK => c"HSA_STATUS_INFO_BREAK: a callback ended the iteration",
        HSA_STATUS_ERROR => c"HSA_STATUS_ERROR: unspecified error",
        HSA_STATUS_ERROR_INVALID_ARGUMENT => c"HSA_STATUS_ERROR_INVALID_ARGUMENT: an argument is not allowed",
        HSA_STATUS_ERROR_INVALID_QUEUE_CREATION => c"HSA_STATUS_ERROR_INVALID_QUEUE_CREATION: the agent has no such queue",
        HSA_STATUS_ERROR_INVALID_ALLOCATION => c"HSA_STATUS_ERROR_INVALID_ALLOCATION: the allocation is not possible",
        HSA_STATUS_ERROR_INVALID_AGENT => c"HSA_STATUS_ERROR_INVALID_AGENT: no such agent",
        HSA_STATUS_ERROR_INVALID_REGION => c"HSA_STATUS_ERROR_INVALID_REGION: no such region",
        HSA_STATUS_ERROR_INVALID_SIGNAL => c"HSA_STATUS_ERROR_INVALID_SIGNAL: no such signal",
        HSA_STATUS_ERROR_INVALID_QUEUE => c"HSA_STATUS_ERROR_INVALID_QUEUE: no such queue",
        HSA_STATUS_ERROR_OUT_OF_RESOURCES => {
            c"HSA_STATUS_ERROR_OUT_OF_RESOURCES: the runtime or the device has no more of what is needed"
        }
        HSA_STATUS_ERROR_INVALID_PACKET_FORMAT => c"HSA_STATUS_ERROR_INVALID_PACKET_FORMAT: the AQL packet is malformed",
        HSA_STATUS_ERROR_RESOURCE_FREE => c"HSA_STATUS_ERROR_RESOURCE_FREE: a resource could not be released",
        HSA_STATUS_ERROR_NOT_INITIALIZED => c"HSA_STATUS_ERROR_NOT_INITIALIZED: hsa_init has not been called",
        HSA_STATUS_ERROR_REFCOUNT_OVERFLOW => c"HSA_STATUS_ERROR_REFCOUNT_OVERFLOW: too many nested hsa_init",
        HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS => {
            c"HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS: arguments or packet fields do not fit each other or the agent"
        }
        HSA_STATUS_ERROR_INVALID_INDEX => c"HSA_STATUS_ERROR_INVALID_INDEX: an index is out of range",
        HSA_STATUS_ERROR_INVALID_ISA => c"HSA_STATUS_ERROR_INVALID_ISA: no such instruction set architecture",
        HSA_STATUS_ERROR_INVALID_ISA_NAME => c"HSA_STATUS_ERROR_INVALID_ISA_NAME: no such instruction set name",
        HSA_STATUS_ERROR_INVALID_CODE_OBJECT => c"HSA_STATUS_ERROR_INVALID_CODE_OBJECT: the code object cannot be used",
        HSA_STATUS_ERROR_INVALID_EXECUTABLE => c"HSA_STATUS_ERROR_INVALID_EXECUTABLE: no such executable",
        HSA_STATUS_ERROR_FROZEN_EXECUTABLE => c"HSA_STATUS_ERROR_FROZEN_EXECUTABLE: the executable is frozen",
        HSA_STATUS_ERROR_INVALID_SYMBOL_NAME => c"HSA_STATUS_ERROR_INVALID_SYMBOL_NAME: no symbol has this name",
        HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED => c"HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED: the name is taken",
        HSA_STATUS_ERROR_VARIABLE_UNDEFINED => c"HSA_STATUS_ERROR_VARIABLE_UNDEFINED: a variable has no definition",
        HSA_STATUS_ERROR_EXCEPTION => c"HSA_STATUS_ERROR_EXCEPTION: a kernel raised an exception or trapped",
        HSA_STATUS_ERROR_INVALID_CODE_SYMBOL => c"HSA_STATUS_ERROR_INVALID_CODE_SYMBOL: no such code object symbol",
        HSA_STATUS_ERROR_INVALID_EXECUTABLE_SYMBOL => c"HSA_STATUS_ERROR_INVALID_EXECUTABLE_SYMBOL: no such symbol",
        HSA_STATUS_ERROR_INVALID_FILE => c"HSA_STATUS_ERROR_INVALID_FILE: no such file",
        HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER => c"HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER: no such code object reader",
        HSA_STATUS_ERROR_INVALID_CACHE => c"HSA_STATUS_ERROR_INVALID_CACHE: no such cache",
        HSA_STATUS_ERROR_INVALID_WAVEFRONT => c"HSA_STATUS_ERROR_INVALID_WAVEFRONT: no such wavefront",
        HSA_STATUS_ERROR_INVALID_SIGNAL_GROUP => c"HSA_STATUS_ERROR_INVALID_SIGNAL_GROUP: no such signal group",
        HSA_STATUS_ERROR_INVALID_RUNTIME_STATE => c"HSA_STATUS_ERROR_INVALID_RUNTIME_STATE: the runtime is in no state for this",
        HSA_STATUS_ERROR_FATAL => c"HSA_STATUS_ERROR_FATAL: the queue cannot continue",
        // AMD's additions (hsa_ext_amd.h).
        40 => c"HSA_STATUS_ERROR_INVALID_MEMORY_POOL: no such memory pool",
        41 => c"HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION: a kernel or packet named memory that the device cannot reach",
        42 => c"HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION: a kernel met a word that is no instruction of this processor",
        43 => c"HSA_STATUS_ERROR_MEMORY_FAULT: a kernel touched memory that it may not",
        _ => return None,
    })
}
