//! Instruction set of the shader cores: decoding and execution of one wavefront of 32 or 64 work-items.
//!
//! * [`instruction`] is the decoded form, the same for every generation;
//! * [`decode`] turns instruction words into it: field layouts are shared, opcode numbers come from one table per generation
//!   ([`decode::gfx8`], [`decode::gfx9`], [`decode::gfx11`]);
//! * [`code`] remembers decoded straight-line blocks, decoding only what a wave reaches;
//! * [`wave`] is the state of a wavefront, [`lds`] that of a workgroup's local memory, [`private`] the place of a work-item's own;
//! * [`execute`] runs a wave until it has to wait, ends, fails, or has used its budget.
//!
//! Sources: "AMD Graphics Core Next Architecture, Generation 3: Reference Guide" and, where a generation differs, the guides of
//! CDNA 3 and RDNA 3 for semantics; LLVM's AMDGPU assembler for encodings. Not modelled, and so an illegal instruction: SDWA and
//! DPP operands, image, buffer (other than cache maintenance, which has nothing to do here) and export instructions, matrix
//! instructions, floating-point atomics, half precision, transcendental functions and the steps of a division but for reciprocals
//! and roots on generation 9; of double precision there are the five operations of [`instruction::Double`], on generation 9.
//! On generation 8 FLAT reaches global memory only: the LDS and private apertures fault like any unmapped address. Floating point
//! rounds to nearest even and keeps denormals whatever the MODE register says.
//! Dual instructions are executed in waves of either size, although hardware has them in waves of 32 only.

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
