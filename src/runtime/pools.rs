//! Memory pools and what is allocated from them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::agents::{Agent, Info};
use super::error::RuntimeError;
use super::pages::{AddressSpace, DeviceMemory, PAGE_BYTES};
use crate::hsa::sys;
use crate::model::memory::Home;

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// System memory, coherent while kernels run; also holds kernel arguments.
    HostFine,
    /// System memory, coherent at kernel boundaries.
    HostCoarse,
    /// The device's own memory.
    DeviceLocal,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 3] = [Self::HostFine, Self::HostCoarse, Self::DeviceLocal];

    /// The C handle.
    #[must_use]
    pub const fn handle(self) -> u64 {
        match self {
            Self::HostFine => 0x0f01,
            Self::HostCoarse => 0x0f02,
            Self::DeviceLocal => 0x0f03,
        }
    }

    /// The pool behind a C handle.
    #[must_use]
    pub fn from_handle(handle: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|pool| pool.handle() == handle)
    }

    /// Whose pool it is.
    #[must_use]
    pub const fn owner(self) -> Agent {
        match self {
            Self::HostFine | Self::HostCoarse => Agent::Cpu,
            Self::DeviceLocal => Agent::Gpu,
        }
    }

    /// On which side of the link its memory lies.
    #[must_use]
    pub const fn home(self) -> Home {
        match self {
            Self::HostFine | Self::HostCoarse => Home::Host,
            Self::DeviceLocal => Home::DeviceLocal,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::HostFine => sys::HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED | sys::HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT,
            Self::HostCoarse | Self::DeviceLocal => sys::HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED,
        }
    }

    /// `hsa_amd_memory_pool_get_info`; `capacity` is [`Allocations::capacity`].
    #[must_use]
    pub fn info(self, attribute: u32, capacity: usize) -> Option<Info> {
        Some(match attribute {
            sys::HSA_AMD_MEMORY_POOL_INFO_SEGMENT => Info::U32(sys::HSA_AMD_SEGMENT_GLOBAL),
            sys::HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS => Info::U32(self.flags()),
            sys::HSA_AMD_MEMORY_POOL_INFO_SIZE | sys::HSA_AMD_MEMORY_POOL_INFO_ALLOC_MAX_SIZE => Info::size(capacity),
            sys::HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED => Info::flag(true),
            sys::HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_GRANULE | sys::HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALIGNMENT => {
                Info::size(PAGE_BYTES)
            }
            sys::HSA_AMD_MEMORY_POOL_INFO_ACCESSIBLE_BY_ALL => Info::flag(false),
            _ => return None,
        })
    }

    /// `hsa_amd_agent_memory_pool_get_info`. As on hardware without a large BAR, the host never reaches device memory, and the
    /// device reaches system memory only where it was allowed to.
    #[must_use]
    pub fn info_for(self, agent: Agent, attribute: u32) -> Option<Info> {
        Some(match attribute {
            sys::HSA_AMD_AGENT_MEMORY_POOL_INFO_ACCESS => Info::U32(match (agent, self.owner()) {
                (Agent::Cpu, Agent::Gpu) => sys::HSA_AMD_MEMORY_POOL_ACCESS_NEVER_ALLOWED,
                (Agent::Gpu, Agent::Cpu) => sys::HSA_AMD_MEMORY_POOL_ACCESS_DISALLOWED_BY_DEFAULT,
                _ => sys::HSA_AMD_MEMORY_POOL_ACCESS_ALLOWED_BY_DEFAULT,
            }),
            sys::HSA_AMD_AGENT_MEMORY_POOL_INFO_NUM_LINK_HOPS => Info::U32((agent != self.owner()).into()),
            _ => return None,
        })
    }
}

struct Allocation {
    pool: Pool,
    memory: DeviceMemory,
}

/// What is allocated.
pub struct Allocations {
    space: Arc<dyn AddressSpace>,
    by_address: Mutex<BTreeMap<u64, Allocation>>,
}

impl Allocations {
    /// Nothing yet.
    #[must_use]
    pub fn new(space: Arc<dyn AddressSpace>) -> Self {
        Self { space, by_address: Mutex::default() }
    }

    /// Bytes that a pool can give.
    #[must_use]
    pub fn capacity(&self, pool: Pool) -> usize {
        self.space.capacity(pool.home())
    }

    /// Allocates zeroed, page-aligned memory and returns its address.
    ///
    /// # Errors
    /// More than the pool has, or than is left of it.
    pub fn allocate(&self, pool: Pool, bytes: usize) -> Result<u64, RuntimeError> {
        if bytes == 0 {
            return Err(RuntimeError::InvalidArgument("an allocation of no bytes"));
        }
        let capacity = self.capacity(pool);
        if bytes > capacity {
            return Err(RuntimeError::InvalidAllocation { bytes });
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let used: usize = by_address.values().filter(|other| other.pool == pool).map(|other| other.memory.pages().length()).sum();
        if bytes > capacity - used {
            return Err(RuntimeError::OutOfResources("the memory pool is exhausted"));
        }
        let memory = match pool.owner() {
            Agent::Gpu => DeviceMemory::reachable(self.space.clone(), bytes, pool.home())?,
            Agent::Cpu => DeviceMemory::unreachable(self.space.clone(), bytes, pool.home())?,
        };
        let address = memory.pages().address();
        by_address.insert(address, Allocation { pool, memory });
        Ok(address)
    }

    /// Frees what [`Self::allocate`] returned.
    ///
    /// # Errors
    /// Nothing is allocated there.
    pub fn free(&self, address: u64) -> Result<(), RuntimeError> {
        let removed = self.by_address.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        removed.map(drop).ok_or(RuntimeError::InvalidArgument("nothing is allocated at this address"))
    }

    /// `hsa_amd_agents_allow_access`: exactly the listed agents, besides the owner, reach the allocation that holds `address`.
    ///
    /// # Errors
    /// No allocation holds the address, or an agent is listed that can never reach it.
    pub fn allow_access(&self, address: u64, agents: &[Agent]) -> Result<(), RuntimeError> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let allocation = by_address
            .range(..=address)
            .next_back()
            .filter(|(start, allocation)| address - *start < allocation.memory.pages().length() as u64)
            .map(|(_, allocation)| allocation)
            .ok_or(RuntimeError::InvalidArgument("nothing is allocated at this address"))?;
        match allocation.pool.owner() {
            Agent::Gpu if agents.contains(&Agent::Cpu) => {
                Err(RuntimeError::InvalidArgument("the host can never reach device memory; copy it"))
            }
            Agent::Gpu => Ok(()),
            Agent::Cpu => {
                match (agents.contains(&Agent::Gpu), allocation.memory.is_mapped()) {
                    (true, false) => allocation.memory.map_all().map_err(super::pages::PagesError::from)?,
                    (false, true) => allocation.memory.unmap_all(),
                    (true, true) | (false, false) => {}
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::GpuVa;
    use crate::model::memory::MemoryMap;

    fn rig() -> (Arc<MemoryMap>, Allocations) {
        let map = Arc::new(MemoryMap::new());
        (map.clone(), Allocations::new(map))
    }

    #[test]
    fn the_device_reaches_host_memory_only_where_it_was_allowed() {
        let (map, allocations) = rig();
        let address = allocations.allocate(Pool::HostFine, 100).unwrap();
        let reads = || map.view().load_u8(GpuVa(address)).is_ok();
        assert!(!reads());
        allocations.allow_access(address + 50, &[Agent::Gpu]).unwrap();
        assert!(reads());
        allocations.allow_access(address, &[Agent::Cpu]).unwrap();
        assert!(!reads());
        allocations.allow_access(address, &[Agent::Cpu, Agent::Gpu]).unwrap();
        allocations.allow_access(address, &[Agent::Cpu, Agent::Gpu]).unwrap();
        assert!(reads());
        allocations.free(address).unwrap();
        assert!(!reads());
    }

    #[test]
    fn device_memory_is_the_devices_at_once_and_never_the_hosts() {
        let (map, allocations) = rig();
        let address = allocations.allocate(Pool::DeviceLocal, 8).unwrap();
        assert!(map.view().load_u64(GpuVa(address)).is_ok());
        assert!(allocations.allow_access(address, &[Agent::Cpu]).is_err());
        assert!(allocations.allow_access(address, &[Agent::Gpu]).is_ok());
    }

    #[test]
    fn a_pool_has_an_end() {
        let (_, allocations) = rig();
        assert!(matches!(allocations.allocate(Pool::HostFine, 0), Err(RuntimeError::InvalidArgument(_))));
        assert!(matches!(allocations.allocate(Pool::HostFine, usize::MAX), Err(RuntimeError::InvalidAllocation { .. })));
        let whole = allocations.capacity(Pool::HostCoarse);
        let half = allocations.allocate(Pool::HostCoarse, whole / 2 + 1).unwrap();
        assert!(matches!(allocations.allocate(Pool::HostCoarse, whole / 2), Err(RuntimeError::OutOfResources(_))));
        assert!(allocations.allocate(Pool::HostFine, whole / 2).is_ok(), "another pool");
        allocations.free(half).unwrap();
        assert!(allocations.allocate(Pool::HostCoarse, whole).is_ok());
    }

    #[test]
    fn only_an_allocation_can_be_freed_and_only_once() {
        let (_, allocations) = rig();
        let address = allocations.allocate(Pool::HostFine, 1).unwrap();
        assert!(allocations.free(address + 1).is_err());
        allocations.free(address).unwrap();
        assert!(allocations.free(address).is_err());
    }
}
