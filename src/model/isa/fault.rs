//! Why a wave cannot go on.

use crate::model::address::GpuVa;
use crate::model::memory::MemoryFault;

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
