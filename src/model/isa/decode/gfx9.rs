//! Opcode numbers of generation 9 as CDNA 3 has them: gfx940 to gfx942, of which this device is gfx942.
//!
//! What is not named here is as on generation 8. Numbers are those of LLVM's assembler.

use super::{Opcodes, Sop1, Sopk, Vop1, Vop2, Vop3, gfx8};
use crate::model::isa::instruction::{
    Bitwise, Double, FloatBinary, FloatUnary, Instruction, ScalarBinary, VectorBinary, VectorTernary, WordHalf,
};
use crate::model::isa::operand::{Numbering, OperandSize};

/// The tables.
pub static OPCODES: Opcodes = Opcodes { numbering: Numbering::Gfx9, sop1, sop2, sopk, vop1, vop2, vop3, buffer, ..gfx8::OPCODES };

fn sop1(opcode: u32) -> Option<Sop1> {
    Some(match opcode {
        51 => Sop1::SaveExec(Bitwise::NotAnd, OperandSize::Bits64),
        52 => Sop1::SaveExec(Bitwise::NotOr, OperandSize::Bits64),
        53 => Sop1::WriteExec(Bitwise::NotAnd, OperandSize::Bits64),
        54 => Sop1::WriteExec(Bitwise::AndNot, OperandSize::Bits64),
        _ => return (gfx8::OPCODES.sop1)(opcode),
    })
}

fn sop2(opcode: u32) -> Option<ScalarBinary> {
    Some(match opcode {
        44 => ScalarBinary::MultiplyHighUnsigned,
        45 => ScalarBinary::MultiplyHighSigned,
        46..=49 => ScalarBinary::ShiftLeftAdd((opcode - 45) as u8),
        50 => ScalarBinary::Pack(WordHalf::Low, WordHalf::Low),
        51 => ScalarBinary::Pack(WordHalf::Low, WordHalf::High),
        52 => ScalarBinary::Pack(WordHalf::High, WordHalf::High),
        _ => return (gfx8::OPCODES.sop2)(opcode),
    })
}

fn sopk(opcode: u32) -> Option<Sopk> {
    match opcode {
        21 => Some(Sopk::Call),
        _ => (gfx8::OPCODES.sopk)(opcode),
    }
}

fn vop1(opcode: u32) -> Option<Vop1> {
    Some(match opcode {
        // v_rcp_f32 and v_rcp_iflag_f32, which differ in exceptions only.
        34 | 35 => Vop1::Float(FloatUnary::Reciprocal),
        36 => Vop1::Float(FloatUnary::ReciprocalSquareRoot),
        39 => Vop1::Float(FloatUnary::SquareRoot),
        56 => Vop1::Move64,
        81 => Vop1::Swap,
        82 => Vop1::AccumulatorMove,
        _ => return (gfx8::OPCODES.vop1)(opcode),
    })
}

fn vop2(opcode: u32) -> Option<Vop2> {
    Some(match opcode {
        4 => Vop2::FusedMultiplyAccumulate64,
        // v_mac_f32 is no more.
        22 => return None,
        23 => Vop2::FusedMultiplyByLiteral,
        24 => Vop2::FusedAddLiteral,
        // Without carry; what generation 8 calls v_add_u32 is v_add_co_u32 now.
        52 => Vop2::Binary(VectorBinary::Add),
        53 => Vop2::Binary(VectorBinary::Subtract),
        54 => Vop2::Binary(VectorBinary::SubtractReversed),
        59 => Vop2::FusedMultiplyAccumulate,
        61 => Vop2::Binary(VectorBinary::Xnor),
        _ => return (gfx8::OPCODES.vop2)(opcode),
    })
}

fn vop3(opcode: u32) -> Option<Vop3> {
    use VectorTernary as Op;
    Some(Vop3::Ternary(match opcode {
        256..=319 => return vop2(opcode - 256).map(Vop3::Short2),
        // v_accvgpr_mov_b32 has no long form.
        402 => return None,
        320..=447 => return vop1(opcode - 320).map(Vop3::Short1),
        // v_mad_f32 is no more.
        449 => return None,
        460 => return Some(Vop3::Double(Double::FusedMultiplyAdd)),
        497 => Op::MultiplyAddUnsigned16To32,
        498 => Op::MultiplyAddSigned16To32,
        499 => Op::XorAdd,
        509 => Op::ShiftLeftAdd,
        510 => Op::AddShiftLeft,
        511 => Op::AddThree,
        512 => Op::ShiftLeftOr,
        513 => Op::AndOr,
        514 => Op::OrThree,
        // These keep the upper half of the destination, the ones that are called legacy now do not.
        516 => return Some(Vop3::LowHalfTernary(Op::MultiplyAddUnsigned16)),
        517 => return Some(Vop3::LowHalfTernary(Op::MultiplyAddSigned16)),
        520 => return Some(Vop3::ShiftLeftAdd64),
        640 => return Some(Vop3::Double(Double::Add)),
        641 => return Some(Vop3::Double(Double::Multiply)),
        642 => return Some(Vop3::Double(Double::Min)),
        643 => return Some(Vop3::Double(Double::Max)),
        // v_mul_legacy_f32, which has no short form any more.
        673 => return Some(Vop3::Short2(Vop2::Float(FloatBinary::MultiplyLegacy))),
        668 => return Some(Vop3::Binary(VectorBinary::Add)),
        669 => return Some(Vop3::Binary(VectorBinary::Subtract)),
        _ => return (gfx8::OPCODES.vop3)(opcode),
    }))
}

fn buffer(opcode: u32) -> Option<Instruction> {
    match opcode {
        // buffer_wbl2 and buffer_inv.
        40 | 41 => Some(Instruction::Order),
        _ => (gfx8::OPCODES.buffer)(opcode),
    }
}
