//! Instruction set: decoding and execution of one wavefront.
