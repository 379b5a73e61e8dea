//! Dispatch execution: workgroups and wavefronts of one kernel launch, run in quanta.
//!
//! The packet processor builds a [`Launch`] from an AQL packet and the kernel descriptor and calls [`Dispatch::run`] until it
//! has finished. It knows nothing of instructions; this module knows nothing of packets.
//!
//! All waves of a workgroup are resident together, and several workgroups at a time, in slots. Waves take turns: one that sleeps,
//! reaches a barrier or uses up its quantum makes room for the next, so waves that wait for each other make progress. A slot
//! whose workgroup ends takes the next one at once, while its registers are still in the cache.

mod descriptor;
mod dispatch;
mod geometry;
mod scratch;
mod workgroup;

#[cfg(test)]
mod tests;

use super::address::GpuVa;
use super::memory::MemoryFault;

pub use super::isa::WaveFault;
pub use dispatch::{Dispatch, Engine};

/// Work-items in a workgroup at most (`HSA_AGENT_INFO_WORKGROUP_MAX_SIZE` of this device).
pub const WORKGROUP_ITEMS_MAX: u64 = 1024;

/// LDS bytes that a workgroup can have.
pub const GROUP_SEGMENT_BYTES_MAX: u32 = 64 * 1024;

/// Everything the packet processor hands to the shader engines for one kernel dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Address of the 64-byte kernel descriptor (the packet's `kernel_object`; LLVM AMDGPUUsage, "Kernel Descriptor").
    pub descriptor: GpuVa,
    /// Address of the packet, for kernels that read their dispatch packet.
    pub dispatch_packet: GpuVa,
    /// Address of the `amd_queue_t`, for kernels that read it.
    pub queue: GpuVa,
    /// Kernel arguments.
    pub kernarg: GpuVa,
    /// The packet's index in its queue.
    pub dispatch_id: u64,
    /// Grid size in work-items.
    pub grid: [u32; 3],
    /// Workgroup size in work-items.
    pub workgroup: [u16; 3],
    /// LDS bytes per workgroup, static and dynamic (the packet's `group_segment_size`).
    pub group_segment_bytes: u32,
    /// Private bytes per work-item (the packet's `private_segment_size`).
    pub private_segment_bytes: u32,
    /// The queue's scratch memory, if its host gave it any.
    pub scratch: Option<Scratch>,
}

/// Scratch memory of a queue, as its `amd_queue_t` describes it (amd_hsa_queue.h): waves in flight each have a part of it, which
/// holds the private segments of their work-items.
///
/// How many waves it serves at a time is `bytes / (bytes_per_work_item * lanes)`; the waves of one queue must share it, so a
/// launch that uses it must not overlap with another of the same queue. The packet processor sees to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Where it lies (`scratch_backing_memory_location`).
    pub base: GpuVa,
    /// All of it.
    pub bytes: u64,
    /// Private bytes that each work-item of a wave of the launch's size can have.
    pub bytes_per_work_item: u32,
}

/// Why a launch cannot start at all; the packet processor turns it into a queue error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The kernel descriptor cannot be read.
    #[error("kernel descriptor: {0}")]
    Descriptor(MemoryFault),
    /// Kernel arguments that are to come in registers cannot be read.
    #[error("kernel arguments: {0}")]
    KernelArguments(MemoryFault),
    /// The kernel needs more private memory per work-item than its queue has.
    #[error("the kernel needs {needed} bytes of private memory per work-item, and its queue has {available}")]
    Scratch {
        /// Bytes per work-item.
        needed: u32,
        /// Bytes per work-item that the scratch memory has for the waves of one workgroup.
        available: u32,
    },
    /// The kernel needs more LDS than a workgroup can have.
    #[error("the kernel needs {needed} bytes of LDS, and a workgroup has {available}")]
    GroupSegment {
        /// Bytes asked for.
        needed: u32,
        /// Bytes there are.
        available: u32,
    },
    /// The workgroup is too large.
    #[error("a workgroup of {items} work-items, and the device takes {available}")]
    Workgroup {
        /// Work-items asked for.
        items: u64,
        /// Work-items a workgroup can have.
        available: u64,
    },
}

/// How far a quantum got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The budget ran out, or every resident wave waits (`s_sleep`, `s_barrier`): call again, after others had their turn.
    Yielded,
    /// All waves have ended.
    Finished,
    /// A wave failed; the dispatch is over.
    Failed(WaveFault),
}

/// Wave instructions to execute before yielding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionBudget(pub u32);
