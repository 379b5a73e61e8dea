//! VOP1, VOP2, VOPC and VOP3.

use super::{Decoded, Opcodes, Second, Vop1, Vop2, Vop3, Words, size_with_literal};
use crate::model::isa::instruction::{CompareEffect, Double, FloatModifiers, FloatTernary, Instruction, VectorTest};
use crate::model::isa::operand::{
    AccumulatorRegister, Numbering, OperandSize, ScalarRegister, ScalarSource, VectorRegister, VectorSource,
};

/// The operands that an encoding provides, for the shapes that VOP1, VOP2, VOPC and VOP3 share.
pub(super) struct Operands {
    pub destination: u32,
    pub carry_out: ScalarRegister,
    pub sources: [u32; 3],
    pub literal: Option<u32>,
    pub numbering: Numbering,
    pub modifiers: FloatModifiers,
}

impl Operands {
    fn register(&self) -> VectorRegister {
        VectorRegister(self.destination as u8)
    }

    fn scalar_register(&self) -> Option<ScalarRegister> {
        self.numbering.destination(self.destination)
    }

    fn source(&self, which: usize, size: OperandSize) -> Option<VectorSource> {
        VectorSource::decode(self.numbering, self.sources[which], size, self.literal)
    }

    fn word(&self, which: usize) -> Option<VectorSource> {
        self.source(which, OperandSize::Bits32)
    }

    fn scalar(&self, which: usize) -> Option<ScalarSource> {
        ScalarSource::decode(self.numbering, self.sources[which], OperandSize::Bits32, self.literal)
    }

    fn mask(&self, which: usize) -> Option<ScalarRegister> {
        self.numbering.register(self.sources[which])
    }

    pub(super) fn compare(&self, test: VectorTest, effect: CompareEffect, destination: ScalarRegister) -> Option<Instruction> {
        let size = match test {
            VectorTest::Signed64(_) | VectorTest::Unsigned64(_) => OperandSize::Bits64,
            _ => OperandSize::Bits32,
        };
        if let VectorTest::Float32(predicate) = test
            && self.without_modifiers().is_none()
        {
            let (a, b, modifiers) = (self.word(0)?, self.word(1)?, self.source_modifiers()?);
            return Some(Instruction::FloatCompare { predicate, effect, destination, a, b, modifiers });
        }
        self.without_modifiers()?;
        Some(Instruction::VectorCompare { test, effect, destination, a: self.source(0, size)?, b: self.source(1, size)? })
    }

    pub(super) fn one_source(&self, op: Vop1) -> Option<Instruction> {
        if !matches!(op, Vop1::Float(_)) {
            self.without_modifiers()?;
        }
        Some(match op {
            Vop1::Nothing => Instruction::Nothing,
            Vop1::Unary(op) => Instruction::VectorUnary { op, destination: self.register(), a: self.word(0)? },
            Vop1::Float(op) => {
                Instruction::FloatUnary { op, destination: self.register(), a: self.word(0)?, modifiers: self.modifiers }
            }
            Vop1::Move64 => Instruction::Move64 { destination: self.register(), a: self.source(0, OperandSize::Bits64)? },
            Vop1::AccumulatorMove => match self.word(0)? {
                VectorSource::Vector(VectorRegister(a)) => Instruction::AccumulatorMove {
                    destination: AccumulatorRegister(self.destination as u8),
                    a: AccumulatorRegister(a),
                },
                VectorSource::Scalar(_) => return None,
            },
            Vop1::Swap => match self.word(0)? {
                VectorSource::Vector(b) => Instruction::SwapRegisters { a: self.register(), b },
                VectorSource::Scalar(_) => return None,
            },
            Vop1::ReadFirstLane => Instruction::ReadFirstLane { destination: self.scalar_register()?, a: self.word(0)? },
        })
    }

    pub(super) fn two_sources(&self, op: Vop2) -> Option<Instruction> {
        if let Vop2::FusedMultiplyAccumulate64 = op {
            let addend = VectorSource::Vector(self.register());
            return self.double(Double::FusedMultiplyAdd, addend);
        }
        if let Vop2::Select = op
            && self.without_modifiers().is_none()
        {
            let (a, b, mask, modifiers) = (self.word(0)?, self.word(1)?, self.mask(2)?, self.source_modifiers()?);
            return Some(Instruction::SelectFloat { destination: self.register(), a, b, mask, modifiers });
        }
        if !matches!(op, Vop2::Float(_) | Vop2::MultiplyAccumulate | Vop2::FusedMultiplyAccumulate) {
            self.without_modifiers()?;
        }
        let (destination, modifiers) = (self.register(), self.modifiers);
        let (a, b) = (self.word(0)?, self.word(1)?);
        let ternary = |op, a, b, c| Instruction::FloatTernary { op, destination, a, b, c, modifiers };
        let multiply_add = |a, b, c| ternary(FloatTernary::MultiplyAdd, a, b, c);
        let fused = |a, b, c| ternary(FloatTernary::FusedMultiplyAdd, a, b, c);
        Some(match op {
            Vop2::Select => Instruction::Select { destination, a, b, mask: self.mask(2)? },
            Vop2::Binary(op) => Instruction::VectorBinary { op, destination, a, b },
            Vop2::Float(op) => Instruction::FloatBinary { op, destination, a, b, modifiers },
            Vop2::Carry(op) => {
                let carry_in = if op.reads_carry() { self.mask(2)? } else { ScalarRegister::VCC };
                Instruction::Carry { op, destination, carry_out: self.carry_out, a, b, carry_in }
            }
            Vop2::MultiplyAccumulate => multiply_add(a, b, VectorSource::Vector(destination)),
            Vop2::MultiplyByLiteral => multiply_add(a, self.literal_source()?, b),
            Vop2::AddLiteral => multiply_add(a, b, self.literal_source()?),
            Vop2::FusedMultiplyAccumulate => fused(a, b, VectorSource::Vector(destination)),
            Vop2::FusedMultiplyByLiteral => fused(a, self.literal_source()?, b),
            Vop2::FusedAddLiteral => fused(a, b, self.literal_source()?),
            Vop2::FusedMultiplyAccumulate64 => return None,
        })
    }

    fn double(&self, op: Double, c: VectorSource) -> Option<Instruction> {
        let (a, b) = (self.source(0, OperandSize::Bits64)?, self.source(1, OperandSize::Bits64)?);
        Some(Instruction::Double { op, destination: self.register(), a, b, c, modifiers: self.modifiers })
    }

    pub(super) fn three_sources(&self, op: Vop3) -> Option<Instruction> {
        if !matches!(op, Vop3::Float(_) | Vop3::Double(_) | Vop3::Compare(..) | Vop3::Short1(_) | Vop3::Short2(_)) {
            self.without_modifiers()?;
        }
        let (destination, carry_out) = (self.register(), self.carry_out);
        let word = |which| self.word(which);
        Some(match op {
            Vop3::Compare(test, effect) => return self.compare(test, effect, self.scalar_register()?),
            Vop3::Short2(op) => return self.two_sources(op),
            Vop3::Short1(op) => return self.one_source(op),
            Vop3::Binary(op) => Instruction::VectorBinary { op, destination, a: word(0)?, b: word(1)? },
            Vop3::Ternary(op) => Instruction::VectorTernary { op, destination, a: word(0)?, b: word(1)?, c: word(2)? },
            Vop3::LowHalfBinary(op) => Instruction::LowHalfBinary { op, destination, a: word(0)?, b: word(1)? },
            Vop3::LowHalfTernary(op) => Instruction::LowHalfTernary { op, destination, a: word(0)?, b: word(1)?, c: word(2)? },
            Vop3::Float(op) => {
                let modifiers = self.modifiers;
                Instruction::FloatTernary { op, destination, a: word(0)?, b: word(1)?, c: word(2)?, modifiers }
            }
            Vop3::Shift64(op) => {
                Instruction::Shift64 { op, destination, amount: word(0)?, value: self.source(1, OperandSize::Bits64)? }
            }
            Vop3::MultiplyAdd64(signedness) => Instruction::MultiplyAdd64 {
                signedness,
                destination,
                carry_out,
                a: word(0)?,
                b: word(1)?,
                c: self.source(2, OperandSize::Bits64)?,
            },
            Vop3::ShiftLeftAdd64 => Instruction::ShiftLeftAdd64 {
                destination,
                value: self.source(0, OperandSize::Bits64)?,
                amount: word(1)?,
                addend: self.source(2, OperandSize::Bits64)?,
            },
            Vop3::Double(Double::FusedMultiplyAdd) => {
                return self.double(Double::FusedMultiplyAdd, self.source(2, OperandSize::Bits64)?);
            }
            // These have two sources; the third is not looked at.
            Vop3::Double(op) => return self.double(op, VectorSource::Scalar(ScalarSource::Constant(0))),
            Vop3::ReadLane => Instruction::ReadLane { destination: self.scalar_register()?, a: word(0)?, lane: self.scalar(1)? },
            Vop3::WriteLane => Instruction::WriteLane { destination, value: self.scalar(0)?, lane: self.scalar(1)? },
            Vop3::MaskedCount(half) => Instruction::MaskedCount { half, destination, a: word(0)?, b: word(1)? },
        })
    }

    fn literal_source(&self) -> Option<VectorSource> {
        Some(VectorSource::Scalar(ScalarSource::Constant(u64::from(self.literal?))))
    }

    /// The modifiers, if they only concern sources.
    fn source_modifiers(&self) -> Option<FloatModifiers> {
        (self.modifiers.output_scale == 0 && !self.modifiers.clamp).then_some(self.modifiers)
    }

    fn without_modifiers(&self) -> Option<()> {
        (self.modifiers == FloatModifiers::default()).then_some(())
    }
}

/// In the short encodings masks are implicit: VCC.
pub(super) const VCC: u32 = ScalarRegister::VCC.index() as u32;

pub(super) fn short(words: Words, destination: u32, second_source: u32) -> Operands {
    Operands {
        destination,
        carry_out: ScalarRegister::VCC,
        sources: [words.bits(0, 9), second_source, VCC],
        literal: words.second,
        numbering: words.numbering,
        modifiers: FloatModifiers::default(),
    }
}

/// Source numbers of vector registers start here.
pub(super) const VECTOR: u32 = 256;

pub(super) fn vop1(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let op = (opcodes.vop1)(words.bits(9, 8))?;
    let instruction = short(words, words.bits(17, 8), 0).one_source(op)?;
    Some(Decoded { instruction, words: size_with_literal(words.bits(0, 9)) })
}

pub(super) fn vop2(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let op = (opcodes.vop2)(words.bits(25, 6))?;
    let instruction = short(words, words.bits(17, 8), VECTOR + words.bits(9, 8)).two_sources(op)?;
    let words = match op {
        Vop2::MultiplyByLiteral | Vop2::AddLiteral | Vop2::FusedMultiplyByLiteral | Vop2::FusedAddLiteral => 2,
        _ => size_with_literal(words.bits(0, 9)),
    };
    Some(Decoded { instruction, words })
}

pub(super) fn vopc(opcodes: &Opcodes, words: Words) -> Option<Decoded> {
    let (test, effect) = (opcodes.vopc)(words.bits(17, 8))?;
    let instruction = short(words, VCC, VECTOR + words.bits(9, 8)).compare(test, effect, ScalarRegister::VCC)?;
    Some(Decoded { instruction, words: size_with_literal(words.bits(0, 9)) })
}

/// Source and result modifiers, which are where they are in VOP3 of every generation; the absolute-value bits may be taken.
pub(super) const fn float_modifiers(words: Words, second: Second, absolute: u8) -> FloatModifiers {
    FloatModifiers {
        absolute,
        negate: second.bits(29, 3) as u8,
        output_scale: second.bits(27, 2) as u8,
        clamp: words.bits(15, 1) == 1,
    }
}

pub(super) fn vop3(opcodes: &Opcodes, words: Words, second: Second) -> Option<Instruction> {
    let op = (opcodes.vop3)(words.bits(16, 10))?;
    let has_scalar_destination = matches!(op, Vop3::Short2(Vop2::Carry(_)) | Vop3::MultiplyAdd64(_));
    // The carry destination takes the place of the absolute-value bits.
    let (carry_out, absolute) = if has_scalar_destination {
        (ScalarRegister::new(words.bits(8, 7))?, 0)
    } else {
        (ScalarRegister::VCC, words.bits(8, 3) as u8)
    };
    let operands = Operands {
        destination: words.bits(0, 8),
        carry_out,
        sources: [second.bits(0, 9), second.bits(9, 9), second.bits(18, 9)],
        // VOP3 has no room for one on this generation.
        literal: None,
        numbering: words.numbering,
        modifiers: float_modifiers(words, second, absolute),
    };
    match op {
        // These have no place for their literal here.
        Vop3::Short2(Vop2::MultiplyByLiteral | Vop2::AddLiteral | Vop2::FusedMultiplyByLiteral | Vop2::FusedAddLiteral) => None,
        op => operands.three_sources(op),
    }
}
