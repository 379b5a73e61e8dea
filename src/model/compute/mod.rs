//! Dispatch execution: workgroups and wavefronts of one kernel launch, run in quanta.
//!
//! The packet processor builds a [`Launch`] from an AQL packet and the kernel descriptor and calls [`Dispatch::run`] until it
//! has finished. It knows nothing of instructions; this module knows nothing of packets.

use super::address::GpuVa;
use super::bus::Bus;
use super::memory::MemoryFault;

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
}

/// Why a wave stopped the whole dispatch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaveFault {
    /// A word sequence that this device does not execute.
    #[error("illegal instruction at {pc}: {words:08x?}")]
    IllegalInstruction {
        /// Address of the instruction.
        pc: GpuVa,
        /// Its first words.
        words: Vec<u32>,
    },
    /// A load, store, atomic or instruction fetch that memory refused.
    #[error("{fault} (instruction at {pc})")]
    Memory {
        /// Address of the instruction.
        pc: GpuVa,
        /// What memory said.
        fault: MemoryFault,
    },
    /// `s_trap`, which a kernel executes for `llvm.trap` and `llvm.debugtrap`.
    #[error("s_trap {id} at {pc}")]
    Trap {
        /// Address of the instruction.
        pc: GpuVa,
        /// Trap number; 2 is `llvm.trap`.
        id: u8,
    },
}

/// Why a launch cannot start at all; the packet processor turns it into a queue error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The kernel descriptor cannot be read.
    #[error("kernel descriptor: {0}")]
    Descriptor(MemoryFault),
    /// The kernel needs more private memory per work-item than its queue has.
    #[error("the kernel needs {needed} bytes of private memory per work-item, and this device has none")]
    Scratch {
        /// Bytes per work-item.
        needed: u32,
    },
    /// The kernel needs more LDS than a workgroup can have.
    #[error("the kernel needs {needed} bytes of LDS, and a workgroup has {available}")]
    GroupSegment {
        /// Bytes asked for.
        needed: u32,
        /// Bytes there are.
        available: u32,
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

/// A kernel launch in progress.
#[derive(Debug)]
pub struct Dispatch {}

impl Dispatch {
    /// Reads the descriptor and prepares the first workgroups.
    ///
    /// # Errors
    /// The launch cannot start.
    pub fn new(_launch: &Launch, _bus: &Bus<'_>) -> Result<Self, LaunchError> {
        todo!()
    }

    /// Executes up to `budget` wave instructions.
    pub fn run(&mut self, _bus: &Bus<'_>, _budget: InstructionBudget) -> Step {
        todo!()
    }
}
