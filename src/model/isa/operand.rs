//! Operands: registers and the constants that an instruction can name in their place.

/// A 32-bit register of the scalar file, special registers included (GCN3 §5.2, "Scalar ALU Operands").
///
/// 64-bit operands are this register and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScalarRegister(u8);

impl ScalarRegister {
    /// Low half of the vector condition code.
    pub const VCC: Self = Self(106);
    /// The memory descriptor register.
    pub const M0: Self = Self(124);
    /// Low half of the mask of active lanes.
    pub const EXEC: Self = Self(126);
    /// Registers in the file.
    pub const COUNT: usize = 128;
    const RESERVED: u8 = 125;

    /// The register with this number, if there is one.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::COUNT as u32 && number != Self::RESERVED as u32 { Some(Self(number as u8)) } else { None }
    }

    /// The `n`-th register after this one; the file wraps around.
    #[must_use]
    #[inline(always)]
    pub const fn plus(self, n: u8) -> Self {
        Self(self.0.wrapping_add(n) % Self::COUNT as u8)
    }

    /// Position in the file, below [`Self::COUNT`].
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 % Self::COUNT as u8) as usize
    }
}

/// A register of the vector file: one 32-bit value per lane. 64-bit operands are this register and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorRegister(pub u8);

impl VectorRegister {
    /// The `n`-th register after this one; the file wraps around.
    #[must_use]
    #[inline(always)]
    pub const fn plus(self, n: u8) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

/// Where the lanes of a global memory instruction find their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAddress {
    /// What is added up.
    pub base: AddressBase,
    /// A constant of the instruction, added to every lane's address.
    pub offset: i32,
}

/// The registers of a [`GlobalAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressBase {
    /// A 64-bit address per lane: this register and the next.
    Lanes(VectorRegister),
    /// A 64-bit address for the whole wave, and an unsigned 32-bit offset per lane.
    ScalarAndLanes(ScalarRegister, VectorRegister),
}

impl GlobalAddress {
    /// The address in a pair of vector registers, as it is.
    #[must_use]
    pub const fn flat(register: VectorRegister) -> Self {
        Self { base: AddressBase::Lanes(register), offset: 0 }
    }
}

/// How many bits of a source operand an instruction uses; decides what a constant becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandSize {
    /// One register.
    Bits32,
    /// Two registers.
    Bits64,
}

/// A source with one value for the whole wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarSource {
    /// A register, or two.
    Register(ScalarRegister),
    /// An inline constant or a literal, extended as the operand's size demands.
    Constant(u64),
    /// 1 if VCC is zero.
    VccIsZero,
    /// 1 if EXEC is zero.
    ExecIsZero,
    /// The scalar condition code.
    Scc,
}

/// A source of a vector instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorSource {
    /// A value per lane.
    Vector(VectorRegister),
    /// The same value in every lane.
    Scalar(ScalarSource),
}

/// Single-precision inline constants from number 240 on, and their double-precision bits for 64-bit operands.
const FLOATS: [(f32, u64); 9] = [
    (0.5, 0x3fe0_0000_0000_0000),
    (-0.5, 0xbfe0_0000_0000_0000),
    (1.0, 0x3ff0_0000_0000_0000),
    (-1.0, 0xbff0_0000_0000_0000),
    (2.0, 0x4000_0000_0000_0000),
    (-2.0, 0xc000_0000_0000_0000),
    (4.0, 0x4010_0000_0000_0000),
    (-4.0, 0xc010_0000_0000_0000),
    (std::f32::consts::FRAC_1_PI * 0.5, 0x3fc4_5f30_6dc9_c882),
];

/// Number of the source operand that stands for the word after the instruction.
pub const LITERAL: u32 = 255;

impl ScalarSource {
    /// Decodes the 8-bit source number; `literal` is the word after the instruction.
    ///
    /// SDWA (249), DPP (250), LDS direct (254) and reserved numbers give `None`. A literal in a 64-bit operand is zero-extended.
    #[must_use]
    pub fn decode(number: u32, size: OperandSize, literal: Option<u32>) -> Option<Self> {
        Some(match number {
            0..=127 => Self::Register(ScalarRegister::new(number)?),
            128..=192 => Self::Constant(u64::from(number - 128)),
            193..=208 => Self::Constant((192 - i64::from(number)) as u64),
            240..=248 => {
                let (single, double) = FLOATS[(number - 240) as usize];
                Self::Constant(match size {
                    OperandSize::Bits32 => u64::from(single.to_bits()),
                    OperandSize::Bits64 => double,
                })
            }
            251 => Self::VccIsZero,
            252 => Self::ExecIsZero,
            253 => Self::Scc,
            LITERAL => Self::Constant(u64::from(literal?)),
            _ => return None,
        })
    }
}

impl VectorSource {
    /// Decodes the 9-bit source number: the upper half names vector registers.
    #[must_use]
    pub fn decode(number: u32, size: OperandSize, literal: Option<u32>) -> Option<Self> {
        match number {
            256..=511 => Some(Self::Vector(VectorRegister((number - 256) as u8))),
            _ => ScalarSource::decode(number, size, literal).map(Self::Scalar),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_constants_extend_to_the_size_of_the_operand() {
        let constant = |number, size| ScalarSource::decode(number, size, None);
        assert_eq!(constant(128, OperandSize::Bits32), Some(ScalarSource::Constant(0)));
        assert_eq!(constant(192, OperandSize::Bits32), Some(ScalarSource::Constant(64)));
        assert_eq!(constant(193, OperandSize::Bits64), Some(ScalarSource::Constant(u64::MAX)));
        assert_eq!(constant(208, OperandSize::Bits64), Some(ScalarSource::Constant(-16_i64 as u64)));
        assert_eq!(constant(242, OperandSize::Bits32), Some(ScalarSource::Constant(0x3f80_0000)));
        assert_eq!(constant(242, OperandSize::Bits64), Some(ScalarSource::Constant(1.0_f64.to_bits())));
        // The manual gives the bits of 1/(2*pi) as 0x3e22f983.
        assert_eq!(constant(248, OperandSize::Bits32), Some(ScalarSource::Constant(0x3e22_f983)));
    }

    #[test]
    fn reserved_and_unsupported_source_numbers_are_refused() {
        for number in [125, 209, 239, 249, 250, 254] {
            assert_eq!(ScalarSource::decode(number, OperandSize::Bits32, Some(0)), None, "source {number}");
        }
        assert_eq!(ScalarSource::decode(LITERAL, OperandSize::Bits32, None), None, "the literal is missing");
    }
}
