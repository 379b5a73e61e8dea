//! Opcode numbers of GCN generation 3: gfx801 to gfx810, of which this device is gfx803.

use super::{Flat, Lds, Opcodes, PairStride, Smem, Sop1, Sopk, Sopp, Vop1, Vop2, Vop3};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::instruction::{
    Bitwise, CarryOp, CompareEffect, Condition, Element, FloatBinary, FloatPredicate, FloatTernary, FloatUnary, HardwareRegister,
    Instruction, LdsAtomic, MaskHalf, OldValue, Relation, ScalarBinary, ScalarImmediate, ScalarTest, ScalarUnary, Shift64,
    Signedness, VectorBinary, VectorTernary, VectorTest, VectorUnary,
};
use crate::model::isa::operand::{Numbering, OperandSize};

/// The tables.
pub static OPCODES: Opcodes = Opcodes {
    numbering: Numbering::Gfx8,
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
        4 => HardwareRegister::Identity,
        _ => HardwareRegister::Other,
    }
}

fn sop1(opcode: u32) -> Option<Sop1> {
    use ScalarUnary as Op;
    Some(Sop1::Unary(match opcode {
        0 => Op::Move32,
        1 => Op::Move64,
        2 => Op::ConditionalMove32,
        3 => Op::ConditionalMove64,
        4 => Op::Not32,
        5 => Op::Not64,
        6 => Op::WholeQuad32,
        7 => Op::WholeQuad64,
        8 => Op::Reverse32,
        9 => Op::Reverse64,
        10 => Op::CountZeros32,
        11 => Op::CountZeros64,
        12 => Op::CountOnes32,
        13 => Op::CountOnes64,
        14 => Op::FindFirstZero32,
        15 => Op::FindFirstZero64,
        16 => Op::FindFirstOne32,
        17 => Op::FindFirstOne64,
        18 => Op::FindLastOne32,
        19 => Op::FindLastOne64,
        20 => Op::FindSignChange32,
        21 => Op::FindSignChange64,
        22 => Op::SignExtend8,
        23 => Op::SignExtend16,
        24 => Op::ClearBit32,
        25 => Op::ClearBit64,
        26 => Op::SetBit32,
        27 => Op::SetBit64,
        28 => return Some(Sop1::GetProgramCounter),
        29 => return Some(Sop1::SetProgramCounter),
        30 => return Some(Sop1::SwapProgramCounter),
        32 => return Some(Sop1::SaveExec(Bitwise::And, OperandSize::Bits64)),
        33 => return Some(Sop1::SaveExec(Bitwise::Or, OperandSize::Bits64)),
        34 => return Some(Sop1::SaveExec(Bitwise::Xor, OperandSize::Bits64)),
        35 => return Some(Sop1::SaveExec(Bitwise::AndNot, OperandSize::Bits64)),
        36 => return Some(Sop1::SaveExec(Bitwise::OrNot, OperandSize::Bits64)),
        37 => return Some(Sop1::SaveExec(Bitwise::Nand, OperandSize::Bits64)),
        38 => return Some(Sop1::SaveExec(Bitwise::Nor, OperandSize::Bits64)),
        39 => return Some(Sop1::SaveExec(Bitwise::Xnor, OperandSize::Bits64)),
        40 => Op::QuadMask32,
        41 => Op::QuadMask64,
        48 => Op::Absolute,
        _ => return None,
    }))
}

fn sop2(opcode: u32) -> Option<ScalarBinary> {
    use ScalarBinary as Op;
    const PAIRS: [Bitwise; 8] =
        [Bitwise::And, Bitwise::Or, Bitwise::Xor, Bitwise::AndNot, Bitwise::OrNot, Bitwise::Nand, Bitwise::Nor, Bitwise::Xnor];
    Some(match opcode {
        0 => Op::AddUnsigned,
        1 => Op::SubtractUnsigned,
        2 => Op::AddSigned,
        3 => Op::SubtractSigned,
        4 => Op::AddCarry,
        5 => Op::SubtractBorrow,
        6 => Op::MinSigned,
        7 => Op::MinUnsigned,
        8 => Op::MaxSigned,
        9 => Op::MaxUnsigned,
        10 => Op::Select32,
        11 => Op::Select64,
        12..=27 => {
            let op = PAIRS[(opcode as usize - 12) / 2];
            if opcode.is_multiple_of(2) { Op::Bitwise32(op) } else { Op::Bitwise64(op) }
        }
        28 => Op::ShiftLeft32,
        29 => Op::ShiftLeft64,
        30 => Op::ShiftRight32,
        31 => Op::ShiftRight64,
        32 => Op::ShiftRightSigned32,
        33 => Op::ShiftRightSigned64,
        34 => Op::BitFieldMask32,
        35 => Op::BitFieldMask64,
        36 => Op::Multiply,
        37 => Op::ExtractUnsigned32,
        38 => Op::ExtractSigned32,
        39 => Op::ExtractUnsigned64,
        40 => Op::ExtractSigned64,
        42 => Op::AbsoluteDifference,
        _ => return None,
    })
}

/// The six scalar relations, in the order of their opcodes.
const SCALAR_RELATIONS: [Relation; 6] =
    [Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::GreaterOrEqual, Relation::Less, Relation::LessOrEqual];

pub(super) fn sopc(opcode: u32) -> Option<ScalarTest> {
    Some(match opcode {
        0..=5 => ScalarTest::Signed(SCALAR_RELATIONS[opcode as usize]),
        6..=11 => ScalarTest::Unsigned(SCALAR_RELATIONS[opcode as usize - 6]),
        12 => ScalarTest::BitIsZero32,
        13 => ScalarTest::BitIsOne32,
        14 => ScalarTest::BitIsZero64,
        15 => ScalarTest::BitIsOne64,
        18 => ScalarTest::Unsigned64(Relation::Equal),
        19 => ScalarTest::Unsigned64(Relation::NotEqual),
        _ => return None,
    })
}

fn sopk(opcode: u32) -> Option<Sopk> {
    Some(match opcode {
        0 => Sopk::Immediate(ScalarImmediate::Move),
        1 => Sopk::Immediate(ScalarImmediate::ConditionalMove),
        2..=7 => Sopk::Immediate(ScalarImmediate::Compare(ScalarTest::Signed(SCALAR_RELATIONS[opcode as usize - 2]))),
        8..=13 => Sopk::Immediate(ScalarImmediate::Compare(ScalarTest::Unsigned(SCALAR_RELATIONS[opcode as usize - 8]))),
        14 => Sopk::Immediate(ScalarImmediate::Add),
        15 => Sopk::Immediate(ScalarImmediate::Multiply),
        17 => Sopk::GetHardwareRegister,
        18 => Sopk::SetHardwareRegister,
        20 => Sopk::SetHardwareRegisterLiteral,
        _ => return None,
    })
}

fn sopp(opcode: u32) -> Option<Sopp> {
    Some(match opcode {
        // s_nop, s_wakeup, s_setprio, s_sendmsg, s_icache_inv, s_incperflevel, s_decperflevel, s_ttracedata.
        0 | 3 | 15 | 16 | 19..=22 => Sopp::Fixed(Instruction::Nothing),
        // Branches on the state of a debugger: there is none.
        23..=26 => Sopp::Fixed(Instruction::Nothing),
        1 | 27 => Sopp::Fixed(Instruction::EndProgram),
        2 => Sopp::Branch(Condition::Always),
        4 => Sopp::Branch(Condition::SccClear),
        5 => Sopp::Branch(Condition::SccSet),
        6 => Sopp::Branch(Condition::VccZero),
        7 => Sopp::Branch(Condition::VccNotZero),
        8 => Sopp::Branch(Condition::ExecZero),
        9 => Sopp::Branch(Condition::ExecNotZero),
        10 => Sopp::Fixed(Instruction::Barrier),
        12 => Sopp::WaitCount,
        13 => Sopp::Halt,
        14 => Sopp::Fixed(Instruction::Sleep),
        18 => Sopp::Trap,
        _ => return None,
    })
}

fn smem(opcode: u32) -> Option<Smem> {
    Some(match opcode {
        0..=4 => Smem::Load { words: 1 << opcode },
        32..=35 => Smem::CacheOperation,
        36 | 37 => Smem::Clock,
        _ => return None,
    })
}

fn vop1(opcode: u32) -> Option<Vop1> {
    Some(match opcode {
        0 | 53 => Vop1::Nothing,
        1 => Vop1::Unary(VectorUnary::Move),
        2 => Vop1::ReadFirstLane,
        5 => Vop1::Unary(VectorUnary::FloatFromSigned),
        6 => Vop1::Unary(VectorUnary::FloatFromUnsigned),
        7 => Vop1::Float(FloatUnary::ToUnsigned),
        8 => Vop1::Float(FloatUnary::ToSigned),
        12 => Vop1::Float(FloatUnary::ToSignedNearest),
        13 => Vop1::Float(FloatUnary::ToSignedFloor),
        17..=20 => Vop1::Unary(VectorUnary::FloatFromByte((opcode - 17) as u8)),
        27 => Vop1::Float(FloatUnary::Fraction),
        28 => Vop1::Float(FloatUnary::Truncate),
        29 => Vop1::Float(FloatUnary::Ceiling),
        30 => Vop1::Float(FloatUnary::RoundEven),
        31 => Vop1::Float(FloatUnary::Floor),
        43 => Vop1::Unary(VectorUnary::Not),
        44 => Vop1::Unary(VectorUnary::Reverse),
        45 => Vop1::Unary(VectorUnary::FindFirstOneHigh),
        46 => Vop1::Unary(VectorUnary::FindFirstOneLow),
        47 => Vop1::Unary(VectorUnary::FindSignChangeHigh),
        _ => return None,
    })
}

fn vop2(opcode: u32) -> Option<Vop2> {
    use VectorBinary as Op;
    Some(Vop2::Binary(match opcode {
        0 => return Some(Vop2::Select),
        1 => return Some(Vop2::Float(FloatBinary::Add)),
        2 => return Some(Vop2::Float(FloatBinary::Subtract)),
        3 => return Some(Vop2::Float(FloatBinary::SubtractReversed)),
        4 => return Some(Vop2::Float(FloatBinary::MultiplyLegacy)),
        5 => return Some(Vop2::Float(FloatBinary::Multiply)),
        6 => Op::MultiplySigned24,
        7 => Op::MultiplyHighSigned24,
        8 => Op::MultiplyUnsigned24,
        9 => Op::MultiplyHighUnsigned24,
        10 => return Some(Vop2::Float(FloatBinary::Min)),
        11 => return Some(Vop2::Float(FloatBinary::Max)),
        12 => Op::MinSigned,
        13 => Op::MaxSigned,
        14 => Op::MinUnsigned,
        15 => Op::MaxUnsigned,
        16 => Op::ShiftRightReversed,
        17 => Op::ShiftRightSignedReversed,
        18 => Op::ShiftLeftReversed,
        19 => Op::And,
        20 => Op::Or,
        21 => Op::Xor,
        22 => return Some(Vop2::MultiplyAccumulate),
        23 => return Some(Vop2::MultiplyByLiteral),
        24 => return Some(Vop2::AddLiteral),
        25 => return Some(Vop2::Carry(CarryOp::Add)),
        26 => return Some(Vop2::Carry(CarryOp::Subtract)),
        27 => return Some(Vop2::Carry(CarryOp::SubtractReversed)),
        28 => return Some(Vop2::Carry(CarryOp::AddCarry)),
        29 => return Some(Vop2::Carry(CarryOp::SubtractBorrow)),
        30 => return Some(Vop2::Carry(CarryOp::SubtractBorrowReversed)),
        38 => Op::Add16,
        39 => Op::Subtract16,
        40 => Op::SubtractReversed16,
        41 => Op::Multiply16,
        42 => Op::ShiftLeftReversed16,
        43 => Op::ShiftRightReversed16,
        44 => Op::ShiftRightSignedReversed16,
        47 => Op::MaxUnsigned16,
        48 => Op::MaxSigned16,
        49 => Op::MinUnsigned16,
        50 => Op::MinSigned16,
        _ => return None,
    }))
}

/// The eight integer relations, in the order of their opcodes.
const RELATIONS: [Relation; 8] = [
    Relation::Never,
    Relation::Less,
    Relation::Equal,
    Relation::LessOrEqual,
    Relation::Greater,
    Relation::NotEqual,
    Relation::GreaterOrEqual,
    Relation::Always,
];

pub(super) fn vopc(opcode: u32) -> Option<(VectorTest, CompareEffect)> {
    let effect = if opcode & 0x10 == 0 { CompareEffect::MaskOnly } else { CompareEffect::AlsoExec };
    let relation = RELATIONS[opcode as usize % 8];
    let unsigned = opcode & 8 != 0;
    let test = match (opcode & 0xe0, unsigned) {
        (0x40, _) => VectorTest::Float32(FloatPredicate {
            less: opcode & 1 != 0,
            equal: opcode & 2 != 0,
            greater: opcode & 4 != 0,
            unordered: opcode & 8 != 0,
        }),
        (0xa0, false) => VectorTest::Signed16(relation),
        (0xa0, true) => VectorTest::Unsigned16(relation),
        (0xc0, false) => VectorTest::Signed32(relation),
        (0xc0, true) => VectorTest::Unsigned32(relation),
        (0xe0, false) => VectorTest::Signed64(relation),
        (0xe0, true) => VectorTest::Unsigned64(relation),
        _ => return None,
    };
    Some((test, effect))
}

fn vop3(opcode: u32) -> Option<Vop3> {
    use VectorTernary as Op;
    Some(Vop3::Ternary(match opcode {
        0..=255 => return vopc(opcode).map(|(test, effect)| Vop3::Compare(test, effect)),
        256..=319 => return vop2(opcode - 256).map(Vop3::Short2),
        320..=447 => return vop1(opcode - 320).map(Vop3::Short1),
        449 => return Some(Vop3::Float(FloatTernary::MultiplyAdd)),
        450 => Op::MultiplyAddSigned24,
        451 => Op::MultiplyAddUnsigned24,
        456 => Op::ExtractUnsigned,
        457 => Op::ExtractSigned,
        458 => Op::Insert,
        459 => return Some(Vop3::Float(FloatTernary::FusedMultiplyAdd)),
        462 => Op::AlignBits,
        463 => Op::AlignBytes,
        464 => return Some(Vop3::Float(FloatTernary::Min)),
        465 => Op::MinSigned,
        466 => Op::MinUnsigned,
        467 => return Some(Vop3::Float(FloatTernary::Max)),
        468 => Op::MaxSigned,
        469 => Op::MaxUnsigned,
        470 => return Some(Vop3::Float(FloatTernary::Median)),
        471 => Op::MedianSigned,
        472 => Op::MedianUnsigned,
        476 => Op::SumAbsoluteDifference,
        488 => return Some(Vop3::MultiplyAdd64(Signedness::Unsigned)),
        489 => return Some(Vop3::MultiplyAdd64(Signedness::Signed)),
        491 => Op::MultiplyAddUnsigned16,
        492 => Op::MultiplyAddSigned16,
        493 => Op::Permute,
        645 => return Some(Vop3::Binary(VectorBinary::MultiplyLow)),
        646 => return Some(Vop3::Binary(VectorBinary::MultiplyHighUnsigned)),
        647 => return Some(Vop3::Binary(VectorBinary::MultiplyHighSigned)),
        649 => return Some(Vop3::ReadLane),
        650 => return Some(Vop3::WriteLane),
        651 => return Some(Vop3::Binary(VectorBinary::CountOnesAdd)),
        652 => return Some(Vop3::MaskedCount(MaskHalf::Low)),
        653 => return Some(Vop3::MaskedCount(MaskHalf::High)),
        655 => return Some(Vop3::Shift64(Shift64::Left)),
        656 => return Some(Vop3::Shift64(Shift64::Right)),
        657 => return Some(Vop3::Shift64(Shift64::RightSigned)),
        659 => return Some(Vop3::Binary(VectorBinary::BitFieldMask)),
        663 => return Some(Vop3::Binary(VectorBinary::PackUnsigned16)),
        664 => return Some(Vop3::Binary(VectorBinary::PackSigned16)),
        _ => return None,
    }))
}

pub(super) fn lds(opcode: u32) -> Option<Lds> {
    let width = if opcode & 0x40 == 0 { OperandWidth::Bits32 } else { OperandWidth::Bits64 };
    let old = if opcode & 0x20 == 0 { OldValue::Discarded } else { OldValue::Returned };
    let atomic = |op| Some(Lds::Atomic(op, width, old));
    let rmw = |op| Some(Lds::Atomic(LdsAtomic::Rmw(op), width, old));
    Some(match opcode {
        13 => Lds::Store(Element::Words(1)),
        14 | 78 => Lds::StorePair(width, PairStride::Element),
        15 | 79 => Lds::StorePair(width, PairStride::SixtyFourElements),
        30 => Lds::Store(Element::Unsigned8),
        31 => Lds::Store(Element::Unsigned16),
        45 | 109 => return rmw(RmwOp::Swap),
        54 => Lds::Load(Element::Words(1)),
        55 | 119 => Lds::LoadPair(width, PairStride::Element),
        56 | 120 => Lds::LoadPair(width, PairStride::SixtyFourElements),
        57 => Lds::Load(Element::Signed8),
        58 => Lds::Load(Element::Unsigned8),
        59 => Lds::Load(Element::Signed16),
        60 => Lds::Load(Element::Unsigned16),
        61 => Lds::Swizzle,
        62 => Lds::Push,
        63 => Lds::Pull,
        77 => Lds::Store(Element::Words(2)),
        118 => Lds::Load(Element::Words(2)),
        222 => Lds::Store(Element::Words(3)),
        223 => Lds::Store(Element::Words(4)),
        254 => Lds::Load(Element::Words(3)),
        255 => Lds::Load(Element::Words(4)),
        // The four groups of atomics: 32 and 64 bits, without and with the old value.
        0..=127 => match opcode & 0x1f {
            0 => return rmw(RmwOp::Add),
            1 => return rmw(RmwOp::Sub),
            2 => return atomic(LdsAtomic::SubtractReversed),
            3 => return rmw(RmwOp::WrapInc),
            4 => return rmw(RmwOp::WrapDec),
            5 => return rmw(RmwOp::SignedMin),
            6 => return rmw(RmwOp::SignedMax),
            7 => return rmw(RmwOp::UnsignedMin),
            8 => return rmw(RmwOp::UnsignedMax),
            9 => return rmw(RmwOp::And),
            10 => return rmw(RmwOp::Or),
            11 => return rmw(RmwOp::Xor),
            12 => return atomic(LdsAtomic::MaskedOr),
            16 => return rmw(RmwOp::CompareSwap),
            _ => return None,
        },
        _ => return None,
    })
}

fn flat(opcode: u32) -> Option<Flat> {
    let width = if opcode & 0x20 == 0 { OperandWidth::Bits32 } else { OperandWidth::Bits64 };
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
        26 => return Some(Flat::Store(Element::Unsigned16)),
        28 => return Some(Flat::Store(Element::Words(1))),
        29 => return Some(Flat::Store(Element::Words(2))),
        30 => return Some(Flat::Store(Element::Words(3))),
        31 => return Some(Flat::Store(Element::Words(4))),
        64 | 96 => RmwOp::Swap,
        65 | 97 => RmwOp::CompareSwap,
        66 | 98 => RmwOp::Add,
        67 | 99 => RmwOp::Sub,
        68 | 100 => RmwOp::SignedMin,
        69 | 101 => RmwOp::UnsignedMin,
        70 | 102 => RmwOp::SignedMax,
        71 | 103 => RmwOp::UnsignedMax,
        72 | 104 => RmwOp::And,
        73 | 105 => RmwOp::Or,
        74 | 106 => RmwOp::Xor,
        75 | 107 => RmwOp::WrapInc,
        76 | 108 => RmwOp::WrapDec,
        _ => return None,
    };
    Some(Flat::Atomic(op, width))
}

fn buffer(opcode: u32) -> Option<Instruction> {
    // buffer_wbinvl1 and buffer_wbinvl1_vol.
    matches!(opcode, 62 | 63).then_some(Instruction::Order)
}
