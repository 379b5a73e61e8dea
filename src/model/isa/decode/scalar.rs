//! SOP1, SOP2, SOPC, SOPK, SOPP and SMEM.

use super::{Decoded, Opcodes, Second, Smem, Sop1, Sopk, Sopp, Words, size_with_literal};
use crate::model::isa::instruction::{BitField, Instruction, ScalarBinary, ScalarOffset, ScalarTest, ScalarUnary};
use crate::model::isa::operand::{LITERAL, Numbering, OperandSize, ScalarRegister};

impl ScalarUnary {
    const fn source_size(self) -> OperandSize {
        match self {
            Self::Move64
            | Self::ConditionalMove64
            | Self::Not64
            | Self::WholeQuad64
            | Self::Reverse64
            | Self::CountZeros64
            | Self::CountOnes64
            | Self::FindFirstZero64
            | Self::FindFirstOne64
            | Self::FindLastOne64
            | Self::FindSignChange64
            | Self::QuadMask64 => OperandSize::Bits64,
            _ => OperandSize::Bits32,
        }
    }
}

impl ScalarBinary {
    const fn source_sizes(self) -> (OperandSize, OperandSize) {
        match self {
            Self::Select64 | Self::Bitwise64(_) => (OperandSize::Bits64, OperandSize::Bits64),
            Self::ShiftLeft64 | Self::ShiftRight64 | Self::ShiftRightSigned64 | Self::ExtractUnsigned64 | Self::ExtractSigned64 => {
                (OperandSize::Bits64, OperandSize::Bits32)
            }
            _ => (OperandSize::Bits32, OperandSize::Bits32),
        }
    }
}

impl ScalarTest {
    const fn source_sizes(self) -> (OperandSize, OperandSize) {
        match self {
            Self::Unsigned64(_) => (OperandSize::Bits64, OperandSize::Bits64),
            Self::BitIsOne64 | Self::BitIsZero64 => (OperandSize::Bits64, OperandSize::Bits32),
            _ => (OperandSize::Bits32, OperandSize::Bits32),
        }
    }
}

/// Size of an instruction with two 8-bit sources, either of which may be the literal.
const fn size_of_two(a: u32, b: u32) -> u8 {
    if a == LITERAL || b == LITERAL { 2 } else { 1 }
}

/// `MSG_RTN_GET_REALTIME` (LLVM AMDGPUUsage, `s_sendmsg_rtn`).
const MESSAGE_GET_REALTIME: u32 = 131;

pub(super) fn sop1(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let number = words.bits(0, 8);
    let destination = || words.numbering.destination(words.bits(16, 7));
    let source = |size| words.scalar_source(number, size);
    let instruction = match (opcodes.sop1)(words.bits(8, 8))? {
        Sop1::Unary(op) => Instruction::ScalarUnary { op, destination: destination()?, a: source(op.source_size())? },
        Sop1::SaveExec(op, size) => Instruction::SaveExec { op, size, destination: destination()?, a: source(size)? },
        Sop1::WriteExec(op, size) => Instruction::WriteExec { op, size, destination: destination()?, a: source(size)? },
        // The source is a number, not a register. Only the time is known here.
        Sop1::SendMessageForAnswer if number == MESSAGE_GET_REALTIME => Instruction::ReadClock { destination: destination()? },
        Sop1::SendMessageForAnswer => return None,
        Sop1::GetProgramCounter => return Some(one_word(Instruction::GetProgramCounter { destination: destination()? })),
        Sop1::SetProgramCounter => Instruction::SetProgramCounter { source: source(OperandSize::Bits64)? },
        Sop1::SwapProgramCounter => {
            Instruction::SwapProgramCounter { destination: destination()?, source: source(OperandSize::Bits64)? }
        }
    };
    Some(Decoded { instruction, words: size_with_literal(number) })
}

pub(super) fn sop2(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let op = (opcodes.sop2)(words.bits(23, 7))?;
    let (a, b) = (words.bits(0, 8), words.bits(8, 8));
    let (a_size, b_size) = op.source_sizes();
    let instruction = Instruction::ScalarBinary {
        op,
        destination: words.numbering.destination(words.bits(16, 7))?,
        a: words.scalar_source(a, a_size)?,
        b: words.scalar_source(b, b_size)?,
    };
    Some(Decoded { instruction, words: size_of_two(a, b) })
}

pub(super) fn sopc(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let test = (opcodes.sopc)(words.bits(16, 7))?;
    let (a, b) = (words.bits(0, 8), words.bits(8, 8));
    let (a_size, b_size) = test.source_sizes();
    let instruction = Instruction::ScalarCompare { test, a: words.scalar_source(a, a_size)?, b: words.scalar_source(b, b_size)? };
    Some(Decoded { instruction, words: size_of_two(a, b) })
}

/// Number of the MODE register: rounding and denormals, which this device does not model, so that writing it is harmless.
const HARDWARE_REGISTER_MODE: u16 = 1;

pub(super) fn sopk(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let value = words.bits(0, 16) as u16;
    let register = || words.numbering.destination(words.bits(16, 7));
    let set = |words| (value & 0x3f == HARDWARE_REGISTER_MODE).then_some(Decoded { instruction: Instruction::Nothing, words });
    match (opcodes.sopk)(words.bits(23, 5))? {
        Sopk::Immediate(op) => {
            Some(one_word(Instruction::ScalarImmediate { op, register: register()?, value: value.cast_signed() }))
        }
        Sopk::GetHardwareRegister => Some(one_word(Instruction::GetHardwareRegister {
            destination: register()?,
            register: (opcodes.hardware_register)(value & 0x3f),
            field: BitField { offset: (value >> 6 & 0x1f) as u8, bits: (value >> 11) as u8 + 1 },
        })),
        Sopk::WaitForStores if value == 0 => Some(one_word(Instruction::WaitForStores)),
        Sopk::WaitForStores | Sopk::Wait => Some(one_word(Instruction::Order)),
        Sopk::SetHardwareRegister => set(1),
        Sopk::SetHardwareRegisterLiteral => words.second.and_then(|_| set(2)),
    }
}

pub(super) fn sopp(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let value = words.bits(0, 16) as u16;
    Some(one_word(match (opcodes.sopp)(words.bits(16, 7))? {
        Sopp::Fixed(instruction) => instruction,
        Sopp::Branch(condition) => Instruction::Branch { condition, words: value.cast_signed() },
        // vmcnt, the low four bits, counts loads and stores that are under way.
        Sopp::WaitCount if value & 0xf == 0 => Instruction::WaitForStores,
        Sopp::WaitCount => Instruction::Order,
        Sopp::Halt if value & 1 == 0 => Instruction::Nothing,
        // Only a debugger could let it go on.
        Sopp::Halt => return None,
        Sopp::Trap => Instruction::Trap { id: value as u8 },
    }))
}

pub(super) fn smem(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let destination = || ScalarRegister::new(words.bits(6, 7));
    Some(match (opcodes.smem)(words.bits(18, 8))? {
        Smem::CacheOperation => Instruction::Nothing,
        Smem::Clock => Instruction::ReadClock { destination: destination()? },
        Smem::Load { words: count } => Instruction::ScalarLoad {
            destination: destination()?,
            base: ScalarRegister::new(words.bits(0, 6) << 1)?,
            offset: match words.numbering {
                Numbering::Gfx8 => offset_gfx8(words, second)?,
                Numbering::Gfx9 => offset_gfx9(words, second)?,
                // SMEM of generation 11 has another layout altogether.
                Numbering::Gfx11 => return None,
            },
            words: count,
        },
    })
}

/// IMM says whether the field is a constant or the number of a register (GCN3 "SMEM").
fn offset_gfx8(words: Words, second: Second) -> Option<ScalarOffset> {
    Some(match words.bits(17, 1) {
        1 => ScalarOffset { bytes: second.bits(0, 20).cast_signed(), register: None },
        _ => ScalarOffset { bytes: 0, register: Some(ScalarRegister::new(second.bits(0, 7))?) },
    })
}

/// A signed constant, and with SOFFSET_EN a register beside it (CDNA3 "SMEM").
fn offset_gfx9(words: Words, second: Second) -> Option<ScalarOffset> {
    let (soffset_enable, immediate) = (words.bits(14, 1) == 1, words.bits(17, 1) == 1);
    let bytes = (second.bits(0, 21) << 11).cast_signed() >> 11;
    let register = |low| ScalarRegister::new(second.bits(low, 7));
    Some(match (immediate, soffset_enable) {
        (true, false) => ScalarOffset { bytes, register: None },
        (true, true) => ScalarOffset { bytes, register: Some(register(25)?) },
        (false, true) => ScalarOffset { bytes: 0, register: Some(register(25)?) },
        (false, false) => ScalarOffset { bytes: 0, register: Some(register(0)?) },
    })
}

const fn one_word(instruction: Instruction) -> Decoded {
    Decoded { instruction, words: 1 }
}
