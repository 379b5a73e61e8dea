//! Opcode numbers of generation 9 as CDNA 3 has them: gfx940 to gfx942, of which this device is gfx942.
//!
//! What is not named here is as on generation 8.

use super::{Opcodes, gfx8};
use crate::model::isa::operand::Numbering;

/// The tables.
pub static OPCODES: Opcodes = Opcodes { numbering: Numbering::Gfx9, ..gfx8::OPCODES };
