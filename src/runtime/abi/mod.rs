//! The runtime's C functions, one module per kind of object; re-exported flat under their HSA names.
#![allow(clippy::missing_safety_doc)]

use crate::hsa::sys::*;

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_init() -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_shut_down() -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_status_string(_status: hsa_status_t, _status_string: *mut *const ::core::ffi::c_char) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_system_get_info(_attribute: hsa_system_info_t, _value: *mut ::core::ffi::c_void) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_iterate_agents(
    _callback: ::core::option::Option<unsafe extern "C" fn(_agent: hsa_agent_t, _data: *mut ::core::ffi::c_void) -> hsa_status_t>,
    _data: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_agent_get_info(
    _agent: hsa_agent_t,
    _attribute: hsa_agent_info_t,
    _value: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_agent_iterate_isas(
    _agent: hsa_agent_t,
    _callback: ::core::option::Option<unsafe extern "C" fn(_isa: hsa_isa_t, _data: *mut ::core::ffi::c_void) -> hsa_status_t>,
    _data: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_isa_get_info_alt(
    _isa: hsa_isa_t,
    _attribute: hsa_isa_info_t,
    _value: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_create(
    _agent: hsa_agent_t,
    _size: u32,
    _type_: hsa_queue_type32_t,
    _callback: ::core::option::Option<
        unsafe extern "C" fn(_status: hsa_status_t, _source: *mut hsa_queue_t, _data: *mut ::core::ffi::c_void),
    >,
    _data: *mut ::core::ffi::c_void,
    _private_segment_size: u32,
    _group_segment_size: u32,
    _queue: *mut *mut hsa_queue_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_destroy(_queue: *mut hsa_queue_t) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_inactivate(_queue: *mut hsa_queue_t) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_load_read_index_relaxed(_queue: *const hsa_queue_t) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_load_read_index_scacquire(_queue: *const hsa_queue_t) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_load_write_index_relaxed(_queue: *const hsa_queue_t) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_load_write_index_scacquire(_queue: *const hsa_queue_t) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_add_write_index_relaxed(_queue: *const hsa_queue_t, _value: u64) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_add_write_index_scacq_screl(_queue: *const hsa_queue_t, _value: u64) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_cas_write_index_relaxed(_queue: *const hsa_queue_t, _expected: u64, _value: u64) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_cas_write_index_scacq_screl(_queue: *const hsa_queue_t, _expected: u64, _value: u64) -> u64 {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_store_write_index_relaxed(_queue: *const hsa_queue_t, _value: u64) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_queue_store_write_index_screlease(_queue: *const hsa_queue_t, _value: u64) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_create(
    _initial_value: hsa_signal_value_t,
    _num_consumers: u32,
    _consumers: *const hsa_agent_t,
    _signal: *mut hsa_signal_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_destroy(_signal: hsa_signal_t) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_load_relaxed(_signal: hsa_signal_t) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_load_scacquire(_signal: hsa_signal_t) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_store_relaxed(_signal: hsa_signal_t, _value: hsa_signal_value_t) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_store_screlease(_signal: hsa_signal_t, _value: hsa_signal_value_t) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_add_scacq_screl(_signal: hsa_signal_t, _value: hsa_signal_value_t) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_subtract_scacq_screl(_signal: hsa_signal_t, _value: hsa_signal_value_t) {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_exchange_scacq_screl(_signal: hsa_signal_t, _value: hsa_signal_value_t) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_cas_scacq_screl(
    _signal: hsa_signal_t,
    _expected: hsa_signal_value_t,
    _value: hsa_signal_value_t,
) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_wait_relaxed(
    _signal: hsa_signal_t,
    _condition: hsa_signal_condition_t,
    _compare_value: hsa_signal_value_t,
    _timeout_hint: u64,
    _wait_state_hint: hsa_wait_state_t,
) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_signal_wait_scacquire(
    _signal: hsa_signal_t,
    _condition: hsa_signal_condition_t,
    _compare_value: hsa_signal_value_t,
    _timeout_hint: u64,
    _wait_state_hint: hsa_wait_state_t,
) -> hsa_signal_value_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_code_object_reader_create_from_memory(
    _code_object: *const ::core::ffi::c_void,
    _size: usize,
    _code_object_reader: *mut hsa_code_object_reader_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_code_object_reader_destroy(_code_object_reader: hsa_code_object_reader_t) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_create_alt(
    _profile: hsa_profile_t,
    _default_float_rounding_mode: hsa_default_float_rounding_mode_t,
    _options: *const ::core::ffi::c_char,
    _executable: *mut hsa_executable_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_destroy(_executable: hsa_executable_t) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_load_agent_code_object(
    _executable: hsa_executable_t,
    _agent: hsa_agent_t,
    _code_object_reader: hsa_code_object_reader_t,
    _options: *const ::core::ffi::c_char,
    _loaded_code_object: *mut hsa_loaded_code_object_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_freeze(
    _executable: hsa_executable_t,
    _options: *const ::core::ffi::c_char,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_get_symbol_by_name(
    _executable: hsa_executable_t,
    _symbol_name: *const ::core::ffi::c_char,
    _agent: *const hsa_agent_t,
    _symbol: *mut hsa_executable_symbol_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_executable_symbol_get_info(
    _executable_symbol: hsa_executable_symbol_t,
    _attribute: hsa_executable_symbol_info_t,
    _value: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_memory_copy(
    _dst: *mut ::core::ffi::c_void,
    _src: *const ::core::ffi::c_void,
    _size: usize,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_agent_iterate_memory_pools(
    _agent: hsa_agent_t,
    _callback: ::core::option::Option<
        unsafe extern "C" fn(_memory_pool: hsa_amd_memory_pool_t, _data: *mut ::core::ffi::c_void) -> hsa_status_t,
    >,
    _data: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_memory_pool_get_info(
    _memory_pool: hsa_amd_memory_pool_t,
    _attribute: hsa_amd_memory_pool_info_t,
    _value: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_memory_pool_allocate(
    _memory_pool: hsa_amd_memory_pool_t,
    _size: usize,
    _flags: u32,
    _ptr: *mut *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_memory_pool_free(_ptr: *mut ::core::ffi::c_void) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_agents_allow_access(
    _num_agents: u32,
    _agents: *const hsa_agent_t,
    _flags: *const u32,
    _ptr: *const ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_agent_memory_pool_get_info(
    _agent: hsa_agent_t,
    _memory_pool: hsa_amd_memory_pool_t,
    _attribute: hsa_amd_agent_memory_pool_info_t,
    _value: *mut ::core::ffi::c_void,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_profiling_set_profiler_enabled(
    _queue: *mut hsa_queue_t,
    _enable: ::core::ffi::c_int,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_profiling_get_dispatch_time(
    _agent: hsa_agent_t,
    _signal: hsa_signal_t,
    _time: *mut hsa_amd_profiling_dispatch_time_t,
) -> hsa_status_t {
    todo!()
}

/// See HSA 1.2 under this name.
pub unsafe extern "C" fn hsa_amd_signal_create(
    _initial_value: hsa_signal_value_t,
    _num_consumers: u32,
    _consumers: *const hsa_agent_t,
    _attributes: u64,
    _signal: *mut hsa_signal_t,
) -> hsa_status_t {
    todo!()
}
