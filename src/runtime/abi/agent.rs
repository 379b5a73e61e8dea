//! Agents, instruction sets, pools' attributes.

use std::ffi::c_void;

use super::super::agents::{self, Agent, ISA_HANDLE};
use super::super::error::RuntimeError;
use super::super::pools::Pool;
use super::super::state;
use super::out::put_info;
use super::with_runtime;
use crate::hsa::sys::*;

/// The agent behind a handle.
pub(super) fn agent_of(handle: u64) -> Result<Agent, RuntimeError> {
    Agent::from_handle(handle).ok_or(RuntimeError::InvalidAgent(handle))
}

pub(super) fn pool_of(handle: u64) -> Result<Pool, RuntimeError> {
    Pool::from_handle(handle).ok_or(RuntimeError::InvalidPool(handle))
}

/// Calls back for each item until a callback says something else than success, which is then the result.
fn iterate<Item>(
    items: impl Fn() -> Result<Vec<Item>, RuntimeError>,
    mut callback: Option<impl FnMut(Item) -> hsa_status_t>,
) -> hsa_status_t {
    let mut found = Vec::new();
    let prepared = super::status(|| {
        state::current()?;
        if callback.is_none() {
            return Err(RuntimeError::InvalidArgument("a null callback"));
        }
        found = items()?;
        Ok(())
    });
    if prepared != HSA_STATUS_SUCCESS {
        return prepared;
    }
    let Some(callback) = &mut callback else { return HSA_STATUS_ERROR_INVALID_ARGUMENT };
    found.into_iter().map(callback).find(|status| *status != HSA_STATUS_SUCCESS).unwrap_or(HSA_STATUS_SUCCESS)
}

/// `hsa_iterate_agents`: the host first.
///
/// # Safety
/// As the module says; the callback is a valid function.
pub unsafe extern "C" fn hsa_iterate_agents(
    callback: Option<unsafe extern "C" fn(agent: hsa_agent_t, data: *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    // SAFETY: the caller's promise on the callback and on its data.
    let callback = callback.map(|callback| move |agent: Agent| unsafe { callback(hsa_agent_t { handle: agent.handle() }, data) });
    iterate(|| Ok(Agent::ALL.to_vec()), callback)
}

/// `hsa_agent_get_info`, with AMD's attributes.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_agent_get_info(agent: hsa_agent_t, attribute: hsa_agent_info_t, value: *mut c_void) -> hsa_status_t {
    with_runtime(|runtime| {
        let info = agents::agent_info(agent_of(agent.handle)?, runtime.device.identity(), attribute);
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, info) }
    })
}

/// `hsa_agent_iterate_isas`.
///
/// # Safety
/// As the module says; the callback is a valid function.
pub unsafe extern "C" fn hsa_agent_iterate_isas(
    agent: hsa_agent_t,
    callback: Option<unsafe extern "C" fn(isa: hsa_isa_t, data: *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    // SAFETY: the caller's promise on the callback and on its data.
    let callback = callback.map(|callback| move |handle: u64| unsafe { callback(hsa_isa_t { handle }, data) });
    let isas = || match agent_of(agent.handle)? {
        Agent::Cpu => Ok(Vec::new()),
        Agent::Gpu => Ok(vec![ISA_HANDLE]),
    };
    iterate(isas, callback)
}

/// `hsa_isa_get_info_alt`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_isa_get_info_alt(isa: hsa_isa_t, attribute: hsa_isa_info_t, value: *mut c_void) -> hsa_status_t {
    with_runtime(|_| {
        if isa.handle != ISA_HANDLE {
            return Err(RuntimeError::InvalidIsa(isa.handle));
        }
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, agents::isa_info(attribute)) }
    })
}

/// `hsa_amd_agent_iterate_memory_pools`.
///
/// # Safety
/// As the module says; the callback is a valid function.
pub unsafe extern "C" fn hsa_amd_agent_iterate_memory_pools(
    agent: hsa_agent_t,
    callback: Option<unsafe extern "C" fn(memory_pool: hsa_amd_memory_pool_t, data: *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    let callback = callback.map(|callback| {
        // SAFETY: the caller's promise on the callback and on its data.
        move |pool: Pool| unsafe { callback(hsa_amd_memory_pool_t { handle: pool.handle() }, data) }
    });
    let pools = || {
        let owner = agent_of(agent.handle)?;
        Ok(Pool::ALL.into_iter().filter(|pool| pool.owner() == owner).collect())
    };
    iterate(pools, callback)
}

/// `hsa_amd_memory_pool_get_info`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_memory_pool_get_info(
    memory_pool: hsa_amd_memory_pool_t,
    attribute: hsa_amd_memory_pool_info_t,
    value: *mut c_void,
) -> hsa_status_t {
    with_runtime(|runtime| {
        let pool = pool_of(memory_pool.handle)?;
        let info = pool.info(attribute, runtime.allocations.capacity(pool));
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, info) }
    })
}

/// `hsa_amd_agent_memory_pool_get_info`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_agent_memory_pool_get_info(
    agent: hsa_agent_t,
    memory_pool: hsa_amd_memory_pool_t,
    attribute: hsa_amd_agent_memory_pool_info_t,
    value: *mut c_void,
) -> hsa_status_t {
    with_runtime(|_| {
        let agent = agent_of(agent.handle)?;
        let info = pool_of(memory_pool.handle)?.info_for(agent, attribute);
        // SAFETY: the caller's promise on `value`.
        unsafe { put_info(value, info) }
    })
}
