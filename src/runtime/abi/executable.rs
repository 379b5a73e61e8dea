//! Code object readers, executables, symbols. Options are ignored, as AMD's runtime does.

use std::ffi::{c_char, c_void};

use super::super::agents::Agent;
use super::super::error::RuntimeError;
use super::agent::agent_of;
use super::out::{check, put, put_info, text};
use super::with_runtime;
use crate::hsa::sys::*;

/// `hsa_code_object_reader_create_from_memory`. The file is copied.
///
/// # Safety
/// As the module says: `code_object` is readable for `size` bytes.
pub unsafe extern "C" fn hsa_code_object_reader_create_from_memory(
    code_object: *const c_void,
    size: usize,
    code_object_reader: *mut hsa_code_object_reader_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        check(code_object_reader)?;
        if code_object.is_null() || size == 0 || isize::try_from(size).is_err() {
            return Err(RuntimeError::InvalidArgument("no code object"));
        }
        // SAFETY: not null, so the caller promises `size` readable bytes that nobody changes meanwhile; size fits an isize.
        let file = unsafe { std::slice::from_raw_parts(code_object.cast::<u8>(), size) };
        let handle = runtime.executables.create_reader(file);
        // SAFETY: the caller's promise on `code_object_reader`.
        unsafe { put(code_object_reader, hsa_code_object_reader_t { handle }) }
    })
}

/// `hsa_code_object_reader_destroy`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_code_object_reader_destroy(code_object_reader: hsa_code_object_reader_t) -> hsa_status_t {
    with_runtime(|runtime| runtime.executables.destroy_reader(code_object_reader.handle))
}

/// `hsa_executable_create_alt`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_executable_create_alt(
    profile: hsa_profile_t,
    default_float_rounding_mode: hsa_default_float_rounding_mode_t,
    _options: *const c_char,
    executable: *mut hsa_executable_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        check(executable)?;
        if profile > HSA_PROFILE_FULL || default_float_rounding_mode > HSA_DEFAULT_FLOAT_ROUNDING_MODE_NEAR {
            return Err(RuntimeError::InvalidArgument("no such profile or rounding mode"));
        }
        let handle = runtime.executables.create();
        // SAFETY: the caller's promise on `executable`.
        unsafe { put(executable, hsa_executable_t { handle }) }
    })
}

/// `hsa_executable_destroy`.
///
/// # Safety
/// No kernel of it runs any more.
pub unsafe extern "C" fn hsa_executable_destroy(executable: hsa_executable_t) -> hsa_status_t {
    with_runtime(|runtime| runtime.executables.destroy(executable.handle))
}

/// `hsa_executable_load_agent_code_object`. `loaded_code_object` may be null.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_executable_load_agent_code_object(
    executable: hsa_executable_t,
    agent: hsa_agent_t,
    code_object_reader: hsa_code_object_reader_t,
    _options: *const c_char,
    loaded_code_object: *mut hsa_loaded_code_object_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        if agent_of(agent.handle)? == Agent::Cpu {
            return Err(RuntimeError::InvalidAgent(agent.handle));
        }
        let handle = runtime.executables.load(executable.handle, code_object_reader.handle)?;
        if loaded_code_object.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's promise on `loaded_code_object`.
        unsafe { put(loaded_code_object, hsa_loaded_code_object_t { handle }) }
    })
}

/// `hsa_executable_freeze`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_executable_freeze(executable: hsa_executable_t, _options: *const c_char) -> hsa_status_t {
    with_runtime(|runtime| runtime.executables.freeze(executable.handle))
}

/// `hsa_executable_get_symbol_by_name`. Kernels are found by the name of their descriptor (`NAME.kd`).
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_executable_get_symbol_by_name(
    executable: hsa_executable_t,
    symbol_name: *const c_char,
    agent: *const hsa_agent_t,
    symbol: *mut hsa_executable_symbol_t,
) -> hsa_status_t {
    with_runtime(|runtime| {
        check(symbol)?;
        // SAFETY: the caller's promise on `symbol_name`.
        let name = unsafe { text(symbol_name) }?;
        if !agent.is_null() {
            // SAFETY: not null, so the caller promises that it is readable.
            agent_of(unsafe { agent.read_unaligned() }.handle)?;
        }
        let handle = runtime.executables.symbol(executable.handle, name)?;
        // SAFETY: the caller's promise on `symbol`.
        unsafe { put(symbol, hsa_executable_symbol_t { handle }) }
    })
}

/// `hsa_executable_symbol_get_info`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_executable_symbol_get_info(
    executable_symbol: hsa_executable_symbol_t,
    attribute: hsa_executable_symbol_info_t,
    value: *mut c_void,
) -> hsa_status_t {
    with_runtime(|runtime| {
        let info = runtime.executables.symbol_info(executable_symbol.handle, attribute)?;
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, info) }
    })
}
