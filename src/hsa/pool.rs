//! Memory pools: where buffers come from.

use super::agent::{Agent, AgentKind};
use super::error::HsaError;
use super::runtime::{self, Plain, Runtime, failed};
use super::status::Status;
use super::sys::*;

/// Which segment of the HSA memory model a pool serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Buffers.
    Global,
    /// Constants that the host writes.
    ReadOnly,
    /// Scratch.
    Private,
    /// LDS.
    Group,
    /// Something newer.
    Other(u32),
}

/// When writes become visible to other agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// During the kernel, by atomics and fences; what signals and flags need.
    Fine,
    /// At kernel boundaries.
    Coarse,
}

/// What memory is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolUse {
    /// Kernel arguments.
    KernelArguments,
    /// Data that host and device touch at the same time.
    FineGrained,
    /// Data handed over at kernel boundaries; a GPU's own memory.
    CoarseGrained,
}

/// A pool of an agent.
#[derive(Clone, Debug)]
pub struct Pool {
    runtime: Runtime,
    handle: hsa_amd_memory_pool_t,
    agent: String,
    agent_kind: AgentKind,
    segment: Segment,
    grain: Option<Grain>,
    holds_kernel_arguments: bool,
    bytes: usize,
    granule_bytes: Option<usize>,
}

impl Pool {
    pub(super) fn query(agent: &Agent, handle: hsa_amd_memory_pool_t) -> Result<Self, HsaError> {
        let info = Query { runtime: agent.runtime(), handle };
        let segment = match info.required::<u32>(HSA_AMD_MEMORY_POOL_INFO_SEGMENT)? {
            HSA_AMD_SEGMENT_GLOBAL => Segment::Global,
            HSA_AMD_SEGMENT_READONLY => Segment::ReadOnly,
            HSA_AMD_SEGMENT_PRIVATE => Segment::Private,
            HSA_AMD_SEGMENT_GROUP => Segment::Group,
            other => Segment::Other(other),
        };
        // The flags are defined for the global segment only.
        let flags = if segment == Segment::Global { info.required::<u32>(HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS)? } else { 0 };
        let allocates = info.required::<u8>(HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED)? != 0;
        Ok(Self {
            runtime: agent.runtime().clone(),
            handle,
            agent: agent.name().to_owned(),
            agent_kind: agent.kind(),
            segment,
            grain: match flags {
                flags if flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED != 0 => Some(Grain::Fine),
                flags if flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED != 0 => Some(Grain::Coarse),
                _ => None,
            },
            holds_kernel_arguments: flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT != 0,
            bytes: info.required(HSA_AMD_MEMORY_POOL_INFO_SIZE)?,
            granule_bytes: allocates.then(|| info.required(HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_GRANULE)).transpose()?,
        })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn handle(&self) -> hsa_amd_memory_pool_t {
        self.handle
    }

    /// Name of the agent it belongs to.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Kind of the agent it belongs to.
    #[must_use]
    pub fn agent_kind(&self) -> AgentKind {
        self.agent_kind
    }

    /// Its segment.
    #[must_use]
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// Fine or coarse; `None` outside the global segment, and for the extended scope that gfx9.4 and ROCm 6 added, which no
    /// case asks for.
    #[must_use]
    pub fn grain(&self) -> Option<Grain> {
        self.grain
    }

    /// Whether kernel arguments may live here.
    #[must_use]
    pub fn holds_kernel_arguments(&self) -> bool {
        self.holds_kernel_arguments
    }

    /// Bytes in total.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Allocations are multiples of this many bytes; `None` when the pool allows no allocation.
    #[must_use]
    pub fn granule_bytes(&self) -> Option<usize> {
        self.granule_bytes
    }
}

impl PoolUse {
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Self::KernelArguments => "kernel arguments",
            Self::FineGrained => "fine-grained data",
            Self::CoarseGrained => "coarse-grained data",
        }
    }

    /// The first pool that serves; a fine-grained one without kernel arguments is preferred for data.
    pub(super) fn choose(self, pools: Vec<Pool>) -> Option<Pool> {
        pools
            .into_iter()
            .filter(|pool| pool.segment == Segment::Global && pool.granule_bytes.is_some())
            .filter(|pool| match self {
                Self::KernelArguments => pool.holds_kernel_arguments,
                Self::FineGrained => pool.grain == Some(Grain::Fine),
                Self::CoarseGrained => pool.grain == Some(Grain::Coarse),
            })
            .min_by_key(|pool| self != Self::KernelArguments && pool.holds_kernel_arguments)
    }
}

struct Query<'a> {
    runtime: &'a Runtime,
    handle: hsa_amd_memory_pool_t,
}

impl Query<'_> {
    fn required<T: Plain>(&self, attribute: hsa_amd_memory_pool_info_t) -> Result<T, HsaError> {
        // SAFETY: the handle is this runtime's; each attribute is asked for with the type hsa_ext_amd.h gives it (bool as u8).
        let value: Result<T, Status> =
            unsafe { runtime::query(|out| (self.runtime.functions().hsa_amd_memory_pool_get_info)(self.handle, attribute, out)) };
        value.map_err(|status| failed("hsa_amd_memory_pool_get_info", status))
    }
}
