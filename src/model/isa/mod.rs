//! Instruction set of the shader cores: decoding and execution of one wavefront of 32 or 64 work-items.
//!
//! * [`instruction`] is the decoded form, the same for every generation;
//! * [`decode`] turns instruction words into it: field layouts are shared, opcode numbers come from one table per generation
//!   ([`decode::gfx8`]);
//! * [`code`] remembers decoded straight-line blocks, decoding only what a wave reaches;
//! * [`wave`] is the state of a wavefront, [`lds`] that of a workgroup's local memory, [`private`] the place of a work-item's own;
//! * [`execute`] runs a wave until it has to wait, ends, fails, or has used its budget.
//!
//! Sources: "AMD Graphics Core Next Architecture, Generation 3: Reference Guide" for semantics, LLVM's AMDGPU assembler for
//! encodings. Not modelled, and so an illegal instruction: SDWA and DPP operands, image, buffer (other than the L1
//! invalidations, which have nothing to do here) and export instructions, transcendental functions, half and double precision.
//! On generation 8 FLAT reaches global memory only: the LDS and private apertures fault like any unmapped address. Single precision rounds to
//! nearest even and keeps denormals whatever the MODE register says.

pub mod code;
pub mod decode;
pub mod execute;
pub mod fault;
pub mod instruction;
pub mod lds;
pub mod operand;
pub mod private;
pub mod wave;

pub use fault::WaveFault;

/// Lanes of a vector register: work-items in a wavefront at most.
pub const LANES: usize = 64;
