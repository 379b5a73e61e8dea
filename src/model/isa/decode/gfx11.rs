//! Opcode numbers of generation 11 (RDNA3): gfx1100 to gfx1103, of which this device is gfx1100.

use super::{Flat, Lds, Opcodes, Smem, Sop1, Sopk, Sopp, Vop1, Vop2, Vop3, gfx8};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::instruction::{
    Bitwise, CarryOp, CompareEffect, Condition, Element, FloatBinary, FloatTernary, FloatUnary, HardwareRegister, Instruction,
    MaskHalf, ScalarBinary, ScalarImmediate, ScalarTest, ScalarUnary, Shift64, Signedness, VectorBinary, VectorTernary, VectorTest,
    VectorUnary, WordHalf,
};
use crate::model::isa::operand::{Numbering, OperandSize};

/// The tables.
pub static OPCODES: Opcodes = Opcodes {
    numbering: Numbering::Gfx11,
    hardware_register,
    sop1,
    sop2,
    sopc,
    sopk,
    sopp,
    smem,
    vop1,
    vop2,
    vopc,
    vop3,
    lds,
    flat,
    buffer,
};

const fn hardware_register(id: u16) -> HardwareRegister {
    match id {
        23 => HardwareRegister::Identity,
        29 => HardwareRegister::Cycles,
        _ => HardwareRegister::Other,
    }
}

/// Pairs of opcodes: 32 bits, then 64.
const fn size_of_pair(opcode: u32) -> OperandSize {
    if opcode.is_multiple_of(2) { OperandSize::Bits32 } else { OperandSize::Bits64 }
}

fn sop1(opcode: u32) -> Option<Sop1> {
    use ScalarUnary as Op;
    /// Save EXEC, in pairs of opcodes from 32 on.
    const SAVE: [Bitwise; 10] = [
        Bitwise::And,
        Bitwise::Or,
        Bitwise::Xor,
        Bitwise::Nand,
        Bitwise::Nor,
        Bitwise::Xnor,
        Bitwise::NotAnd,
        Bitwise::NotOr,
        Bitwise::AndNot,
        Bitwise::OrNot,
    ];
    Some(Sop1::Unary(match opcode {
        0 => Op::Move32,
        1 => Op::Move64,
        2 => Op::ConditionalMove32,
        3 => Op::ConditionalMove64,
        4 => Op::Reverse32,
        5 => Op::Reverse64,
        8 => Op::FindFirstOne32,
        9 => Op::FindFirstOne64,
        10 => Op::FindLastOne32,
        11 => Op::FindLastOne64,
        12 => Op::FindSignChange32,
        13 => Op::FindSignChange64,
        14 => Op::SignExtend8,
        15 => Op::SignExtend16,
        16 => Op::ClearBit32,
        17 => Op::ClearBit64,
        18 => Op::SetBit32,
        19 => Op::SetBit64,
        21 => Op::Absolute,
        22 => Op::CountZeros32,
        23 => Op::CountZeros64,
        24 => Op::CountOnes32,
        25 => Op::CountOnes64,
        26 => Op::QuadMask32,
        27 => Op::QuadMask64,
        28 => Op::WholeQuad32,
        29 => Op::WholeQuad64,
        30 => Op::Not32,
        31 => Op::Not64,
        32..=51 => return Some(Sop1::SaveExec(SAVE[(opcode as usize - 32) / 2], size_of_pair(opcode))),
        52 | 53 => return Some(Sop1::WriteExec(Bitwise::NotAnd, size_of_pair(opcode))),
        54 | 55 => return Some(Sop1::WriteExec(Bitwise::AndNot, size_of_pair(opcode))),
        71 => return Some(Sop1::GetProgramCounter),
        72 => return Some(Sop1::SetProgramCounter),
        73 => return Some(Sop1::SwapProgramCounter),
        // The form with a 64-bit answer.
        77 => return Some(Sop1::SendMessageForAnswer),
        _ => return None,
    }))
}

fn sop2(opcode: u32) -> Option<ScalarBinary> {
    use ScalarBinary as Op;
    const PAIRS: [Bitwise; 8] =
        [Bitwise::And, Bitwise::Or, Bitwise::Xor, Bitwise::Nand, Bitwise::Nor, Bitwise::Xnor, Bitwise::AndNot, Bitwise::OrNot];
    Some(match opcode {
        0 => Op::AddUnsigned,
        1 => Op::SubtractUnsigned,
        2 => Op::AddSigned,
        3 => Op::SubtractSigned,
        4 => Op::AddCarry,
        5 => Op::SubtractBorrow,
        6 => Op::AbsoluteDifference,
        8 => Op::ShiftLeft32,
        9 => Op::ShiftLeft64,
        10 => Op::ShiftRight32,
        11 => Op::ShiftRight64,
        12 => Op::ShiftRightSigned32,
        13 => Op::ShiftRightSigned64,
        14..=17 => Op::ShiftLeftAdd((opcode - 13) as u8),
        18 => Op::MinSigned,
        19 => Op::MinUnsigned,
        20 => Op::MaxSigned,
        21 => Op::MaxUnsigned,
        22..=37 => {
            let op = PAIRS[(opcode as usize - 22) / 2];
            match size_of_pair(opcode) {
                OperandSize::Bits32 => Op::Bitwise32(op),
                OperandSize::Bits64 => Op::Bitwise64(op),
            }
        }
        38 => Op::ExtractUnsigned32,
        39 => Op::ExtractSigned32,
        40 => Op::ExtractUnsigned64,
        41 => Op::ExtractSigned64,
        42 => Op::BitFieldMask32,
        43 => Op::BitFieldMask64,
        44 => Op::Multiply,
        45 => Op::MultiplyHighUnsigned,
        46 => Op::MultiplyHighSigned,
        48 => Op::Select32,
        49 => Op::Select64,
        50 => Op::Pack(WordHalf::Low, WordHalf::Low),
        51 => Op::Pack(WordHalf::Low, WordHalf::High),
        52 => Op::Pack(WordHalf::High, WordHalf::High),
        53 => Op::Pack(WordHalf::High, WordHalf::Low),
        _ => return None,
    })
}

fn sopc(opcode: u32) -> Option<ScalarTest> {
    match opcode {
        0..=15 => gfx8::sopc(opcode),
        16 | 17 => gfx8::sopc(opcode + 2),
        _ => None,
    }
}

fn sopk(opcode: u32) -> Option<Sopk> {
    Some(match opcode {
        0 => Sopk::Immediate(ScalarImmediate::Move),
        2 => Sopk::Immediate(ScalarImmediate::ConditionalMove),
        3..=14 => Sopk::Immediate(ScalarImmediate::Compare(gfx8::sopc(opcode - 3)?)),
        15 => Sopk::Immediate(ScalarImmediate::Add),
        16 => Sopk::Immediate(ScalarImmediate::Multiply),
        17 => Sopk::GetHardwareRegister,
        18 => Sopk::SetHardwareRegister,
        19 => Sopk::SetHardwareRegisterLiteral,
        24 => Sopk::WaitForStores,
        25..=27 => Sopk::Wait,
        _ => return None,
    })
}

fn sopp(opcode: u32) -> Option<Sopp> {
    Some(match opcode {
        // s_nop, s_set_inst_prefetch_distance, s_clause, s_delay_alu, s_wait_event, s_round_mode, s_denorm_mode, s_wakeup,
        // s_setprio, s_sendmsg (VGPRs are given back, and there is no host that waits for an interrupt of a wave), s_incperflevel,
        // s_decperflevel, s_ttracedata, s_ttracedata_imm, s_icache_inv.
        0 | 4 | 5 | 7 | 11 | 17 | 18 | 52..=54 | 56..=60 => Sopp::Fixed(Instruction::Nothing),
        // Branches on the state of a debugger: there is none.
        39..=42 => Sopp::Fixed(Instruction::Nothing),
        2 => Sopp::Halt,
        3 => Sopp::Fixed(Instruction::Sleep),
        // s_waitcnt_depctr and s_waitcnt, which count no stores, and s_wait_idle.
        8 | 9 => Sopp::Fixed(Instruction::Order),
        10 => Sopp::Fixed(Instruction::WaitForStores),
        16 => Sopp::Trap,
        32 => Sopp::Branch(Condition::Always),
        33 => Sopp::Branch(Condition::SccClear),
        34 => Sopp::Branch(Condition::SccSet),
        35 => Sopp::Branch(Condition::VccZero),
        36 => Sopp::Branch(Condition::VccNotZero),
        37 => Sopp::Branch(Condition::ExecZero),
        38 => Sopp::Branch(Condition::ExecNotZero),
        48 | 49 => Sopp::Fixed(Instruction::EndProgram),
        61 => Sopp::Fixed(Instruction::Barrier),
        _ => return None,
    })
}

fn smem(opcode: u32) -> Option<Smem> {
    Some(match opcode {
        0..=4 => Smem::Load { words: 1 << opcode },
        32 | 33 => Smem::CacheOperation,
        _ => return None,
    })
}

fn vop1(opcode: u32) -> Option<Vop1> {
    Some(match opcode {
        // v_nop and v_pipeflush.
        0 | 27 => Vop1::Nothing,
        1 => Vop1::Unary(VectorUnary::Move),
        2 => Vop1::ReadFirstLane,
        5 => Vop1::Unary(VectorUnary::FloatFromSigned),
        6 => Vop1::Unary(VectorUnary::FloatFromUnsigned),
        7 => Vop1::Float(FloatUnary::ToUnsigned),
        8 => Vop1::Float(FloatUnary::ToSigned),
        12 => Vop1::Float(FloatUnary::ToSignedNearest),
        13 => Vop1::Float(FloatUnary::ToSignedFloor),
        17..=20 => Vop1::Unary(VectorUnary::FloatFromByte((opcode - 17) as u8)),
        32 => Vop1::Float(FloatUnary::Fraction),
        33 => Vop1::Float(FloatUnary::Truncate),
        34 => Vop1::Float(FloatUnary::Ceiling),
        35 => Vop1::Float(FloatUnary::RoundEven),
        36 => Vop1::Float(FloatUnary::Floor),
        55 => Vop1::Unary(VectorUnary::Not),
        56 => Vop1::Unary(VectorUnary::Reverse),
        57 => Vop1::Unary(VectorUnary::FindFirstOneHigh),
        58 => Vop1::Unary(VectorUnary::FindFirstOneLow),
        59 => Vop1::Unary(VectorUnary::FindSignChangeHigh),
        101 => Vop1::Swap,
        106 => Vop1::Unary(VectorUnary::SignExtend16),
        107 => Vop1::Unary(VectorUnary::ZeroExtend16),
        _ => return None,
    })
}

fn vop2(opcode: u32) -> Option<Vop2> {
    use VectorBinary as Op;
    Some(Vop2::Binary(match opcode {
        1 => return Some(Vop2::Select),
        3 => return Some(Vop2::Float(FloatBinary::Add)),
        4 => return Some(Vop2::Float(FloatBinary::Subtract)),
        5 => return Some(Vop2::Float(FloatBinary::SubtractReversed)),
        7 => return Some(Vop2::Float(FloatBinary::MultiplyLegacy)),
        8 => return Some(Vop2::Float(FloatBinary::Multiply)),
        9 => Op::MultiplySigned24,
        10 => Op::MultiplyHighSigned24,
        11 => Op::MultiplyUnsigned24,
        12 => Op::MultiplyHighUnsigned24,
        15 => return Some(Vop2::Float(FloatBinary::Min)),
        16 => return Some(Vop2::Float(FloatBinary::Max)),
        17 => Op::MinSigned,
        18 => Op::MaxSigned,
        19 => Op::MinUnsigned,
        20 => Op::MaxUnsigned,
        24 => Op::ShiftLeftReversed,
        25 => Op::ShiftRightReversed,
        26 => Op::ShiftRightSignedReversed,
        27 => Op::And,
        28 => Op::Or,
        29 => Op::Xor,
        30 => Op::Xnor,
        32 => return Some(Vop2::Carry(CarryOp::AddCarry)),
        33 => return Some(Vop2::Carry(CarryOp::SubtractBorrow)),
        34 => return Some(Vop2::Carry(CarryOp::SubtractBorrowReversed)),
        37 => Op::Add,
        38 => Op::Subtract,
        39 => Op::SubtractReversed,
        43 => return Some(Vop2::FusedMultiplyAccumulate),
        44 => return Some(Vop2::FusedMultiplyByLiteral),
        45 => return Some(Vop2::FusedAddLiteral),
        _ => return None,
    }))
}

/// The upper half of the opcodes writes EXEC instead of a mask; otherwise it is like the lower half.
fn vopc(opcode: u32) -> Option<(VectorTest, CompareEffect)> {
    let like_gfx8 = match opcode & 0x7f {
        // The sixteen float predicates and the eight integer relations have kept their order.
        within @ 0x10..=0x1f => 0x40 | (within & 0xf),
        within @ (0x31..=0x36 | 0x39..=0x3e) => 0xa0 | (within & 0xf),
        within @ 0x40..=0x4f => 0xc0 | (within & 0xf),
        within @ 0x50..=0x5f => 0xe0 | (within & 0xf),
        _ => return None,
    };
    gfx8::vopc(like_gfx8)
}

fn vop3(opcode: u32) -> Option<Vop3> {
    match opcode {
        0..=255 => vopc(opcode).map(|(test, effect)| Vop3::Compare(test, effect)),
        // These have no place for their literal here.
        300 | 301 => None,
        256..=383 => vop2(opcode - 256).map(Vop3::Short2),
        384..=511 => vop1(opcode - 384).filter(|op| !matches!(op, Vop1::Swap)).map(Vop3::Short1),
        512..=767 => vop3_ternary(opcode),
        _ => vop3_binary(opcode),
    }
}

fn vop3_ternary(opcode: u32) -> Option<Vop3> {
    use VectorTernary as Op;
    Some(Vop3::Ternary(match opcode {
        522 => Op::MultiplyAddSigned24,
        523 => Op::MultiplyAddUnsigned24,
        528 => Op::ExtractUnsigned,
        529 => Op::ExtractSigned,
        530 => Op::Insert,
        531 => return Some(Vop3::Float(FloatTernary::FusedMultiplyAdd)),
        534 => Op::AlignBits,
        535 => Op::AlignBytes,
        537 => return Some(Vop3::Float(FloatTernary::Min)),
        538 => Op::MinSigned,
        539 => Op::MinUnsigned,
        540 => return Some(Vop3::Float(FloatTernary::Max)),
        541 => Op::MaxSigned,
        542 => Op::MaxUnsigned,
        543 => return Some(Vop3::Float(FloatTernary::Median)),
        544 => Op::MedianSigned,
        545 => Op::MedianUnsigned,
        549 => Op::SumAbsoluteDifference,
        576 => Op::XorThree,
        577 => return Some(Vop3::LowHalfTernary(Op::MultiplyAddUnsigned16)),
        580 => Op::Permute,
        581 => Op::XorAdd,
        582 => Op::ShiftLeftAdd,
        583 => Op::AddShiftLeft,
        595 => return Some(Vop3::LowHalfTernary(Op::MultiplyAddSigned16)),
        597 => Op::AddThree,
        598 => Op::ShiftLeftOr,
        599 => Op::AndOr,
        600 => Op::OrThree,
        601 => Op::MultiplyAddUnsigned16To32,
        602 => Op::MultiplyAddSigned16To32,
        610 => Op::MinOfMaxUnsigned,
        611 => Op::MaxOfMinUnsigned,
        612 => Op::MinOfMaxSigned,
        613 => Op::MaxOfMinSigned,
        766 => return Some(Vop3::MultiplyAdd64(Signedness::Unsigned)),
        767 => return Some(Vop3::MultiplyAdd64(Signedness::Signed)),
        _ => return None,
    }))
}

fn vop3_binary(opcode: u32) -> Option<Vop3> {
    use VectorBinary as Op;
    Some(match opcode {
        768 => Vop3::Short2(Vop2::Carry(CarryOp::Add)),
        769 => Vop3::Short2(Vop2::Carry(CarryOp::Subtract)),
        770 => Vop3::Short2(Vop2::Carry(CarryOp::SubtractReversed)),
        771 | 781 => Vop3::LowHalfBinary(Op::Add16),
        772 | 782 => Vop3::LowHalfBinary(Op::Subtract16),
        773 => Vop3::LowHalfBinary(Op::Multiply16),
        777 => Vop3::LowHalfBinary(Op::MaxUnsigned16),
        778 => Vop3::LowHalfBinary(Op::MaxSigned16),
        779 => Vop3::LowHalfBinary(Op::MinUnsigned16),
        780 => Vop3::LowHalfBinary(Op::MinSigned16),
        797 => Vop3::Binary(Op::BitFieldMask),
        798 => Vop3::Binary(Op::CountOnesAdd),
        799 => Vop3::MaskedCount(MaskHalf::Low),
        800 => Vop3::MaskedCount(MaskHalf::High),
        803 => Vop3::Binary(Op::PackUnsigned16),
        804 => Vop3::Binary(Op::PackSigned16),
        // Signed, which makes a difference for the clamp bit only.
        805 => Vop3::Binary(Op::Subtract),
        806 => Vop3::Binary(Op::Add),
        812 => Vop3::Binary(Op::MultiplyLow),
        813 => Vop3::Binary(Op::MultiplyHighUnsigned),
        814 => Vop3::Binary(Op::MultiplyHighSigned),
        824 => Vop3::LowHalfBinary(Op::ShiftLeftReversed16),
        825 => Vop3::LowHalfBinary(Op::ShiftRightReversed16),
        826 => Vop3::LowHalfBinary(Op::ShiftRightSignedReversed16),
        828 => Vop3::Shift64(Shift64::Left),
        829 => Vop3::Shift64(Shift64::Right),
        830 => Vop3::Shift64(Shift64::RightSigned),
        864 => Vop3::ReadLane,
        865 => Vop3::WriteLane,
        866 => Vop3::LowHalfBinary(Op::And),
        867 => Vop3::LowHalfBinary(Op::Or),
        868 => Vop3::LowHalfBinary(Op::Xor),
        _ => return None,
    })
}

fn lds(opcode: u32) -> Option<Lds> {
    match opcode {
        53 => Some(Lds::Swizzle),
        61..=63 => None,
        178 => Some(Lds::PushWithin32),
        179 => Some(Lds::PullWithin32),
        _ => gfx8::lds(opcode),
    }
}

fn flat(opcode: u32) -> Option<Flat> {
    let width = if opcode < 65 { OperandWidth::Bits32 } else { OperandWidth::Bits64 };
    let op = match opcode {
        16 => return Some(Flat::Load(Element::Unsigned8)),
        17 => return Some(Flat::Load(Element::Signed8)),
        18 => return Some(Flat::Load(Element::Unsigned16)),
        19 => return Some(Flat::Load(Element::Signed16)),
        20 => return Some(Flat::Load(Element::Words(1))),
        21 => return Some(Flat::Load(Element::Words(2))),
        22 => return Some(Flat::Load(Element::Words(3))),
        23 => return Some(Flat::Load(Element::Words(4))),
        24 => return Some(Flat::Store(Element::Unsigned8)),
        25 => return Some(Flat::Store(Element::Unsigned16)),
        26 => return Some(Flat::Store(Element::Words(1))),
        27 => return Some(Flat::Store(Element::Words(2))),
        28 => return Some(Flat::Store(Element::Words(3))),
        29 => return Some(Flat::Store(Element::Words(4))),
        51 | 65 => RmwOp::Swap,
        52 | 66 => RmwOp::CompareSwap,
        53 | 67 => RmwOp::Add,
        54 | 68 => RmwOp::Sub,
        56 | 69 => RmwOp::SignedMin,
        57 | 70 => RmwOp::UnsignedMin,
        58 | 71 => RmwOp::SignedMax,
        59 | 72 => RmwOp::UnsignedMax,
        60 | 73 => RmwOp::And,
        61 | 74 => RmwOp::Or,
        62 | 75 => RmwOp::Xor,
        63 | 76 => RmwOp::WrapInc,
        64 | 77 => RmwOp::WrapDec,
        _ => return None,
    };
    Some(Flat::Atomic(op, width))
}

fn buffer(opcode: u32) -> Option<Instruction> {
    // buffer_gl0_inv and buffer_gl1_inv.
    matches!(opcode, 43 | 44).then_some(Instruction::Order)
}
