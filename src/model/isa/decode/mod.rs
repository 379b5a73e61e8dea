//! From instruction words to [`Instruction`]: encodings by their leading bits, fields by family, opcodes by generation.

mod flat;
pub mod gfx11;
pub mod gfx8;
pub mod gfx9;
mod lds;
mod rdna3;
mod scalar;
mod vector;

#[cfg(test)]
mod tests;

use super::instruction::{
    Bitwise, CarryOp, CompareEffect, Condition, Element, FloatBinary, FloatTernary, FloatUnary, HardwareRegister, Instruction,
    LdsAtomic, OldValue, ScalarBinary, ScalarImmediate, ScalarTest, ScalarUnary, Shift64, Signedness, VectorBinary, VectorTernary,
    VectorTest, VectorUnary,
};
use super::operand::{LITERAL, Numbering, OperandSize, ScalarSource};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::target::Target;

/// Opcode numbers of one generation. Each function gives what a number means, or `None` if this device does not execute it.
#[derive(Clone, Copy, Debug)]
pub struct Opcodes {
    pub(crate) numbering: Numbering,
    pub(crate) hardware_register: fn(u16) -> HardwareRegister,
    pub(crate) sop1: fn(u32) -> Option<Sop1>,
    pub(crate) sop2: fn(u32) -> Option<ScalarBinary>,
    pub(crate) sopc: fn(u32) -> Option<ScalarTest>,
    pub(crate) sopk: fn(u32) -> Option<Sopk>,
    pub(crate) sopp: fn(u32) -> Option<Sopp>,
    pub(crate) smem: fn(u32) -> Option<Smem>,
    pub(crate) vop1: fn(u32) -> Option<Vop1>,
    pub(crate) vop2: fn(u32) -> Option<Vop2>,
    pub(crate) vopc: fn(u32) -> Option<(VectorTest, CompareEffect)>,
    pub(crate) vop3: fn(u32) -> Option<Vop3>,
    pub(crate) lds: fn(u32) -> Option<Lds>,
    pub(crate) flat: fn(u32) -> Option<Flat>,
    pub(crate) buffer: fn(u32) -> Option<Instruction>,
}

/// SOP1 operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sop1 {
    Unary(ScalarUnary),
    SaveExec(Bitwise, OperandSize),
    WriteExec(Bitwise, OperandSize),
    /// Asks something outside the wave; the source is the question.
    SendMessageForAnswer,
    GetProgramCounter,
    SetProgramCounter,
    SwapProgramCounter,
}

/// SOPK operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sopk {
    Immediate(ScalarImmediate),
    GetHardwareRegister,
    SetHardwareRegister,
    /// With a literal.
    SetHardwareRegisterLiteral,
    WaitForStores,
    Wait,
}

/// SOPP operations by meaning of their constant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sopp {
    Fixed(Instruction),
    Branch(Condition),
    WaitCount,
    Halt,
    Trap,
}

/// SMEM operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Smem {
    Load { words: u8 },
    CacheOperation,
    Clock,
}

/// VOP1 operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vop1 {
    Nothing,
    Unary(VectorUnary),
    Float(FloatUnary),
    ReadFirstLane,
    Swap,
}

/// VOP2 operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vop2 {
    Select,
    Binary(VectorBinary),
    Float(FloatBinary),
    Carry(CarryOp),
    /// The destination is the addend.
    MultiplyAccumulate,
    /// `a * literal + b`
    MultiplyByLiteral,
    /// `a * b + literal`
    AddLiteral,
    /// The destination is the addend.
    FusedMultiplyAccumulate,
    /// `a * literal + b`
    FusedMultiplyByLiteral,
    /// `a * b + literal`
    FusedAddLiteral,
}

/// VOP3 operations that have no shorter form, by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vop3 {
    Compare(VectorTest, CompareEffect),
    Short2(Vop2),
    Short1(Vop1),
    Binary(VectorBinary),
    Ternary(VectorTernary),
    LowHalfBinary(VectorBinary),
    LowHalfTernary(VectorTernary),
    Float(FloatTernary),
    Shift64(Shift64),
    MultiplyAdd64(Signedness),
    ReadLane,
    WriteLane,
    MaskedCount(super::instruction::MaskHalf),
}

/// LDS operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lds {
    Load(Element),
    Store(Element),
    /// Offsets count elements, or blocks of 64 elements.
    LoadPair(OperandWidth, PairStride),
    StorePair(OperandWidth, PairStride),
    Atomic(LdsAtomic, OperandWidth, OldValue),
    Push,
    Pull,
    Swizzle,
    PushWithin32,
    PullWithin32,
}

/// Unit of the two offsets of a paired LDS access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PairStride {
    Element,
    SixtyFourElements,
}

/// FLAT operations by operand shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flat {
    Load(Element),
    Store(Element),
    Atomic(RmwOp, OperandWidth),
}

/// An instruction and how much of the code it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What to do.
    pub instruction: Instruction,
    /// Size in 32-bit words.
    pub words: u8,
}

/// The words at the program counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    first: u32,
    second: Option<u32>,
    numbering: Numbering,
}

impl Words {
    /// Bits `low..low + count` of the first word.
    const fn bits(self, low: u32, count: u32) -> u32 {
        self.first >> low & ((1 << count) - 1)
    }

    /// The source with this 8-bit number; a literal is the second word.
    fn scalar_source(self, number: u32, size: OperandSize) -> Option<ScalarSource> {
        ScalarSource::decode(self.numbering, number, size, self.second)
    }
}

/// The second word of an instruction whose encoding always has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second(u32);

impl Second {
    const fn bits(self, low: u32, count: u32) -> u32 {
        self.0 >> low & ((1 << count) - 1)
    }
}

/// Instruction sizes without and with a literal.
const fn size_with_literal(source: u32) -> u8 {
    if source == LITERAL { 2 } else { 1 }
}

/// Words of the longest instruction.
pub const LONGEST: usize = 3;

/// Decodes the instruction that `code` starts with: up to [`LONGEST`] words, fewer where no more can be fetched.
///
/// `None` is an illegal instruction: no operation of this target, an operand that it does not have, or a missing word.
#[must_use]
pub fn decode(target: Target, code: &[u32]) -> Option<Decoded> {
    match target {
        Target::Gfx803 => gcn(&gfx8::OPCODES, code),
        Target::Gfx1100 => rdna3::decode(&gfx11::OPCODES, code),
        Target::Gfx942 => gcn(&gfx9::OPCODES, code),
    }
}

/// The decoder of an encoding of one word and perhaps a literal, if this is one: their prefixes are the same in every generation.
///
/// The encodings are prefix codes; the longest prefixes come first (GCN3 §13, "Microcode Formats").
fn short_encoding(first: u32) -> Option<fn(&Opcodes, Words) -> Option<Decoded>> {
    match first >> 23 {
        0b1_0111_1111 => return Some(scalar::sopp),
        0b1_0111_1110 => return Some(scalar::sopc),
        0b1_0111_1101 => return Some(scalar::sop1),
        _ => {}
    }
    match first >> 28 {
        0b1011 => Some(scalar::sopk),
        0b1000..=0b1010 => Some(scalar::sop2),
        0b0000..=0b0111 => Some(match first >> 25 {
            0b011_1111 => vector::vop1,
            0b011_1110 => vector::vopc,
            _ => vector::vop2,
        }),
        _ => None,
    }
}

/// The encodings of generations 8 and 9.
fn gcn(opcodes: &Opcodes, code: &[u32]) -> Option<Decoded> {
    let words = Words { first: *code.first()?, second: code.get(1).copied(), numbering: opcodes.numbering };
    let Words { first, second, .. } = words;
    if let Some(decode) = short_encoding(first) {
        return decode(opcodes, words);
    }
    let second = Second(second?);
    let instruction = match first >> 26 {
        0b11_0000 => scalar::smem(opcodes, words, second),
        0b11_0100 => vector::vop3(opcodes, words, second),
        0b11_0110 => lds::lds(opcodes, words, second),
        0b11_0111 => flat::flat(opcodes, words, second),
        0b11_1000 => (opcodes.buffer)(words.bits(18, 7)),
        _ => None,
    }?;
    Some(Decoded { instruction, words: 2 })
}
