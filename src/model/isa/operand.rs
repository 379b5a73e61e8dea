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
    /// Registers that operands can name.
    pub const NAMED: usize = 128;
    /// Where results go that nobody wants (`null` of generation 11): nothing reads from here on, as far as the widest result goes.
    pub const DISCARD: Self = Self(128);
    /// Two registers that are always zero (`null` of generation 11 as a mask): nothing writes them.
    pub const ZERO: Self = Self(160);
    /// Registers in the file, those that no operand can name included.
    pub const COUNT: usize = 256;
    /// Where the wave's private memory starts, on targets whose hardware sets it ("architected flat scratch").
    pub const FLAT_SCRATCH: Self = Self(102);
    const RESERVED: u8 = 125;
    const UPPER_HALF: u8 = 0x80;

    /// The register with this number, if there is one.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::NAMED as u32 && number != Self::RESERVED as u32 { Some(Self(number as u8)) } else { None }
    }

    /// The `n`-th register after this one; the named registers wrap around, and so do the others.
    #[must_use]
    #[inline(always)]
    pub const fn plus(self, n: u8) -> Self {
        Self((self.0.wrapping_add(n) & !Self::UPPER_HALF) | (self.0 & Self::UPPER_HALF))
    }

    /// Position in the file, below [`Self::COUNT`].
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
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

/// A register of the accumulation file of CDNA: 256 more, which only moves reach here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccumulatorRegister(pub u8);

/// Where the lanes of a FLAT or GLOBAL instruction find their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAddress {
    /// What is added up.
    pub base: AddressBase,
    /// A constant of the instruction, added to every lane's address.
    pub offset: i32,
    /// What the sum may name.
    pub segment: Segment,
}

/// What the addresses of a FLAT or GLOBAL instruction may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Global memory only.
    Global,
    /// Global memory, and through the apertures local and private memory.
    Flat,
}

/// Where the lanes of a SCRATCH instruction find their addresses: the sum of all that is there, as an offset into the private
/// memory of each lane's work-item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScratchAddress {
    /// An offset per lane.
    pub lanes: Option<VectorRegister>,
    /// An offset for the whole wave.
    pub wave: Option<ScalarRegister>,
    /// A constant of the instruction.
    pub offset: i32,
}

/// Upper halves of the addresses at which FLAT instructions reach local and private memory.
///
/// On hardware they are in SH_MEM_BASES, which the driver sets; here they are what AMD's runtime tells its host code in model
/// mode. Each aperture is 4 GiB.
pub mod aperture {
    /// Local memory of the workgroup.
    pub const LOCAL: u32 = 0x4000_0000;
    /// Private memory of the work-item.
    pub const PRIVATE: u32 = 0x5000_0000;
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
    /// The address in a pair of vector registers, as it is, of global memory.
    #[must_use]
    pub const fn in_lanes(register: VectorRegister) -> Self {
        Self { base: AddressBase::Lanes(register), offset: 0, segment: Segment::Global }
    }
}

/// What the numbers of scalar registers and sources mean, where generations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// GCN generation 3 (GCN3 §5.2).
    Gfx8,
    /// Vega and CDNA: sources 235 to 238 are the apertures of FLAT instructions (CDNA3 §4.6, "Operands").
    Gfx9,
    /// RDNA 3: 124 is null, which reads as zero and forgets what is written, and 125 is M0; VCCZ and EXECZ are no sources any more
    /// (RDNA3 "Scalar Operands").
    Gfx11,
}

impl Numbering {
    const GFX11_NULL: u32 = 124;
    const GFX11_M0: u32 = 125;

    /// Decodes the number of a scalar register that is written.
    #[must_use]
    pub const fn destination(self, number: u32) -> Option<ScalarRegister> {
        match (self, number) {
            (Self::Gfx11, Self::GFX11_NULL) => Some(ScalarRegister::DISCARD),
            (Self::Gfx11, Self::GFX11_M0) => Some(ScalarRegister::M0),
            _ => ScalarRegister::new(number),
        }
    }

    /// Decodes the number of a scalar register that is read where no constant can stand: a mask, a base or an offset.
    #[must_use]
    pub const fn register(self, number: u32) -> Option<ScalarRegister> {
        match (self, number) {
            (Self::Gfx11, Self::GFX11_NULL) => Some(ScalarRegister::ZERO),
            _ => self.destination(number),
        }
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

/// Base and limit of the local aperture and of the private one, from source number 235 on. A 32-bit operand is the lower half.
const APERTURE_SOURCES: [u64; 4] = [
    (aperture::LOCAL as u64) << 32,
    (aperture::LOCAL as u64) << 32 | 0xffff_ffff,
    (aperture::PRIVATE as u64) << 32,
    (aperture::PRIVATE as u64) << 32 | 0xffff_ffff,
];

/// Number of the source operand that stands for the word after the instruction.
pub const LITERAL: u32 = 255;

impl ScalarSource {
    /// Decodes the 8-bit source number; `literal` is the word after the instruction.
    ///
    /// SDWA (249), DPP (250), LDS direct (254) and reserved numbers give `None`. A literal in a 64-bit operand is zero-extended.
    #[must_use]
    pub fn decode(numbering: Numbering, number: u32, size: OperandSize, literal: Option<u32>) -> Option<Self> {
        Some(match number {
            Numbering::GFX11_NULL if numbering == Numbering::Gfx11 => Self::Constant(0),
            Numbering::GFX11_M0 if numbering == Numbering::Gfx11 => Self::Register(ScalarRegister::M0),
            251 | 252 if numbering == Numbering::Gfx11 => return None,
            0..=127 => Self::Register(ScalarRegister::new(number)?),
            128..=192 => Self::Constant(u64::from(number - 128)),
            193..=208 => Self::Constant((192 - i64::from(number)) as u64),
            235..=238 if numbering != Numbering::Gfx8 => Self::Constant(APERTURE_SOURCES[(number - 235) as usize]),
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
    pub fn decode(numbering: Numbering, number: u32, size: OperandSize, literal: Option<u32>) -> Option<Self> {
        match number {
            256..=511 => Some(Self::Vector(VectorRegister((number - 256) as u8))),
            _ => ScalarSource::decode(numbering, number, size, literal).map(Self::Scalar),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_constants_extend_to_the_size_of_the_operand() {
        let constant = |number, size| ScalarSource::decode(Numbering::Gfx8, number, size, None);
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
    fn apertures_are_sources_from_generation_9_on() {
        for (number, value) in [
            (235, 0x4000_0000_0000_0000),
            (236, 0x4000_0000_ffff_ffff),
            (237, 0x5000_0000_0000_0000),
            (238, 0x5000_0000_ffff_ffff_u64),
        ] {
            let decode = |numbering| ScalarSource::decode(numbering, number, OperandSize::Bits64, None);
            assert_eq!(decode(Numbering::Gfx9), Some(ScalarSource::Constant(value)));
            assert_eq!(decode(Numbering::Gfx8), None);
        }
    }

    #[test]
    fn reserved_and_unsupported_source_numbers_are_refused() {
        for number in [125, 209, 239, 249, 250, 254] {
            assert_eq!(ScalarSource::decode(Numbering::Gfx8, number, OperandSize::Bits32, Some(0)), None, "source {number}");
        }
        assert_eq!(ScalarSource::decode(Numbering::Gfx8, LITERAL, OperandSize::Bits32, None), None, "the literal is missing");
    }

    #[test]
    fn generation_11_has_a_null_register_and_m0_behind_it() {
        let source = |number| ScalarSource::decode(Numbering::Gfx11, number, OperandSize::Bits64, None);
        assert_eq!(source(124), Some(ScalarSource::Constant(0)));
        assert_eq!(source(125), Some(ScalarSource::Register(ScalarRegister::M0)));
        assert_eq!([251, 252].map(source), [None, None], "VCCZ and EXECZ");
        assert_eq!(Numbering::Gfx11.destination(125), Some(ScalarRegister::M0));
        assert_eq!(Numbering::Gfx11.register(124), Some(ScalarRegister::ZERO));
        assert_eq!(Numbering::Gfx8.destination(125), None);
    }

    #[test]
    fn what_goes_to_null_reaches_no_register_that_is_read() {
        // The widest result is sixteen registers.
        let reached: Vec<_> = (0..16).map(|n| ScalarRegister::DISCARD.plus(n).index()).collect();
        assert!(reached.iter().all(|index| *index >= ScalarRegister::NAMED));
        assert!(!reached.contains(&ScalarRegister::ZERO.index()) && !reached.contains(&ScalarRegister::ZERO.plus(1).index()));
    }
}
