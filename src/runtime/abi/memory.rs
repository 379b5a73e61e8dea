//! Allocation, access, copies.

use std::ffi::c_void;
use std::ptr;

use super::super::error::RuntimeError;
use super::agent::{agent_of, pool_of};
use super::out::{array, check, put};
use super::with_runtime;
use crate::hsa::sys::*;

/// `hsa_amd_memory_pool_allocate`. No flag is known (they concern executable and contiguous memory).
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_memory_pool_allocate(
    memory_pool: hsa_amd_memory_pool_t,
    size: usize,
    _flags: u32,
    ptr: *mut *mut c_void,
) -> hsa_status_t {
    with_runtime(|runtime| {
        check(ptr)?;
        let address = runtime.allocations.allocate(pool_of(memory_pool.handle)?, size)?;
        // SAFETY: the caller's promise on `ptr`.
        unsafe { put(ptr, ptr::with_exposed_provenance_mut(address as usize)) }
    })
}

/// `hsa_amd_memory_pool_free`. Freeing null does nothing.
///
/// # Safety
/// Nobody uses the memory any more.
pub unsafe extern "C" fn hsa_amd_memory_pool_free(ptr: *mut c_void) -> hsa_status_t {
    with_runtime(|runtime| if ptr.is_null() { Ok(()) } else { runtime.allocations.free(ptr as u64) })
}

/// `hsa_amd_agents_allow_access`.
///
/// # Safety
/// As the module says.
pub unsafe extern "C" fn hsa_amd_agents_allow_access(
    num_agents: u32,
    agents: *const hsa_agent_t,
    flags: *const u32,
    ptr: *const c_void,
) -> hsa_status_t {
    with_runtime(|runtime| {
        if num_agents == 0 || !flags.is_null() {
            return Err(RuntimeError::InvalidArgument("no agents, or flags, which are reserved"));
        }
        // SAFETY: the caller's promise on `agents`.
        let handles = unsafe { array(agents, num_agents) }?;
        let agents = handles.into_iter().map(|agent| agent_of(agent.handle)).collect::<Result<Vec<_>, _>>()?;
        runtime.allocations.allow_access(ptr as u64, &agents)
    })
}

/// `hsa_memory_copy`: also into and out of device memory, which this process holds. The ranges may overlap.
///
/// # Safety
/// `src` is readable and `dst` writable for `size` bytes.
pub unsafe extern "C" fn hsa_memory_copy(dst: *mut c_void, src: *const c_void, size: usize) -> hsa_status_t {
    with_runtime(|_| {
        if dst.is_null() || src.is_null() {
            return Err(RuntimeError::InvalidArgument("a null pointer to copy from or to"));
        }
        // SAFETY: the caller's promise on both ranges. What the device writes meanwhile may be torn, as with any DMA.
        unsafe { ptr::copy(src.cast::<u8>(), dst.cast::<u8>(), size) };
        Ok(())
    })
}
