//! What instructions do, apart from their operands.

use crate::model::bus::RmwOp;
use crate::model::isa::operand::{ScalarRegister, VectorRegister, VectorSource};

/// Two-input bitwise operations; the scalar unit has each in 32 and 64 bits.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bitwise {
    And,
    Or,
    Xor,
    AndNot,
    OrNot,
    Nand,
    Nor,
    Xnor,
    /// The first is complemented.
    NotAnd,
    /// The first is complemented.
    NotOr,
}

/// One-source scalar operations (SOP1), without those that write EXEC or the program counter.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarUnary {
    Move32,
    Move64,
    ConditionalMove32,
    ConditionalMove64,
    Not32,
    Not64,
    WholeQuad32,
    WholeQuad64,
    Reverse32,
    Reverse64,
    CountZeros32,
    CountZeros64,
    CountOnes32,
    CountOnes64,
    FindFirstZero32,
    FindFirstZero64,
    FindFirstOne32,
    FindFirstOne64,
    FindLastOne32,
    FindLastOne64,
    FindSignChange32,
    FindSignChange64,
    SignExtend8,
    SignExtend16,
    ClearBit32,
    ClearBit64,
    SetBit32,
    SetBit64,
    QuadMask32,
    QuadMask64,
    Absolute,
}

/// Two-source scalar operations (SOP2).
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarBinary {
    AddUnsigned,
    SubtractUnsigned,
    AddSigned,
    SubtractSigned,
    AddCarry,
    SubtractBorrow,
    MinSigned,
    MinUnsigned,
    MaxSigned,
    MaxUnsigned,
    Select32,
    Select64,
    Bitwise32(Bitwise),
    Bitwise64(Bitwise),
    ShiftLeft32,
    ShiftLeft64,
    ShiftRight32,
    ShiftRight64,
    ShiftRightSigned32,
    ShiftRightSigned64,
    BitFieldMask32,
    BitFieldMask64,
    Multiply,
    MultiplyHighUnsigned,
    MultiplyHighSigned,
    /// The first, shifted by this many bits, plus the second.
    ShiftLeftAdd(u8),
    /// Half of the first below half of the second.
    Pack(WordHalf, WordHalf),
    ExtractUnsigned32,
    ExtractSigned32,
    ExtractUnsigned64,
    ExtractSigned64,
    AbsoluteDifference,
}

/// Relations between two integers or floats.
#[allow(missing_docs, reason = "the relation is the name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Never,
    Less,
    Equal,
    LessOrEqual,
    Greater,
    NotEqual,
    GreaterOrEqual,
    Always,
}

/// What a scalar compare asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarTest {
    /// A relation of two signed 32-bit values.
    Signed(Relation),
    /// A relation of two unsigned 32-bit values.
    Unsigned(Relation),
    /// A relation of two 64-bit values.
    Unsigned64(Relation),
    /// Whether bit `b` of the 32-bit `a` is one.
    BitIsOne32,
    /// Whether bit `b` of the 32-bit `a` is zero.
    BitIsZero32,
    /// Whether bit `b` of the 64-bit `a` is one.
    BitIsOne64,
    /// Whether bit `b` of the 64-bit `a` is zero.
    BitIsZero64,
}

/// Scalar operations on a register and a 16-bit constant (SOPK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarImmediate {
    /// Sign-extended constant to the register.
    Move,
    /// The same if SCC is set.
    ConditionalMove,
    /// Compares the register with the constant.
    Compare(ScalarTest),
    /// Adds; SCC is signed overflow.
    Add,
    /// Multiplies.
    Multiply,
}

/// What makes a branch jump.
#[allow(missing_docs, reason = "the condition is the name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    SccClear,
    SccSet,
    VccZero,
    VccNotZero,
    ExecZero,
    ExecNotZero,
}

/// Where a scalar load reads, relative to its base: the sum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalarOffset {
    /// Bytes.
    pub bytes: i32,
    /// Bytes in a register, not negative.
    pub register: Option<ScalarRegister>,
}

/// One-source vector operations on 32-bit values.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorUnary {
    Move,
    Not,
    Reverse,
    FindFirstOneHigh,
    FindFirstOneLow,
    FindSignChangeHigh,
    FloatFromSigned,
    FloatFromUnsigned,
    FloatFromByte(u8),
    SignExtend16,
    ZeroExtend16,
}

/// One-source vector operations on single precision.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatUnary {
    ToUnsigned,
    ToSigned,
    ToSignedNearest,
    ToSignedFloor,
    Fraction,
    Truncate,
    Ceiling,
    RoundEven,
    Floor,
}

/// Two-source vector operations on integers and bits.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorBinary {
    MultiplySigned24,
    MultiplyHighSigned24,
    MultiplyUnsigned24,
    MultiplyHighUnsigned24,
    MinSigned,
    MaxSigned,
    MinUnsigned,
    MaxUnsigned,
    ShiftRightReversed,
    ShiftRightSignedReversed,
    ShiftLeftReversed,
    And,
    Or,
    Xor,
    Add16,
    Subtract16,
    SubtractReversed16,
    Multiply16,
    ShiftLeftReversed16,
    ShiftRightReversed16,
    ShiftRightSignedReversed16,
    MaxUnsigned16,
    MaxSigned16,
    MinUnsigned16,
    MinSigned16,
    MultiplyLow,
    MultiplyHighUnsigned,
    MultiplyHighSigned,
    CountOnesAdd,
    Add,
    Subtract,
    SubtractReversed,
    Xnor,
    BitFieldMask,
    PackUnsigned16,
    PackSigned16,
}

/// Vector additions and subtractions with carry.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryOp {
    Add,
    Subtract,
    SubtractReversed,
    AddCarry,
    SubtractBorrow,
    SubtractBorrowReversed,
}

/// Two-source vector operations on single precision.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatBinary {
    Add,
    Subtract,
    SubtractReversed,
    Multiply,
    MultiplyLegacy,
    Min,
    Max,
}

/// Three-source vector operations on integers and bits.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorTernary {
    MultiplyAddSigned24,
    MultiplyAddUnsigned24,
    ExtractUnsigned,
    ExtractSigned,
    Insert,
    AlignBits,
    AlignBytes,
    MinSigned,
    MinUnsigned,
    MaxSigned,
    MaxUnsigned,
    MedianSigned,
    MedianUnsigned,
    SumAbsoluteDifference,
    MultiplyAddUnsigned16,
    MultiplyAddSigned16,
    MultiplyAddUnsigned16To32,
    MultiplyAddSigned16To32,
    Permute,
    XorAdd,
    ShiftLeftAdd,
    AddShiftLeft,
    AddThree,
    ShiftLeftOr,
    AndOr,
    OrThree,
    XorThree,
    MinOfMaxUnsigned,
    MaxOfMinUnsigned,
    MinOfMaxSigned,
    MaxOfMinSigned,
}

/// Three-source vector operations on single precision.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatTernary {
    MultiplyAdd,
    FusedMultiplyAdd,
    Min,
    Max,
    Median,
}

/// 64-bit vector shifts; the amount comes first.
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift64 {
    Left,
    Right,
    RightSigned,
}

/// What a vector compare asks about each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorTest {
    /// 16-bit signed.
    Signed16(Relation),
    /// 16-bit unsigned.
    Unsigned16(Relation),
    /// 32-bit signed.
    Signed32(Relation),
    /// 32-bit unsigned.
    Unsigned32(Relation),
    /// 64-bit signed.
    Signed64(Relation),
    /// 64-bit unsigned.
    Unsigned64(Relation),
    /// Single precision: one of the sixteen predicates (GCN3 "V_CMP opcodes"), by number.
    Float32(FloatPredicate),
}

/// A floating-point predicate: true for any of the outcomes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatPredicate {
    /// When a < b.
    pub less: bool,
    /// When a == b.
    pub equal: bool,
    /// When a > b.
    pub greater: bool,
    /// When either is not a number.
    pub unordered: bool,
}

/// What a compare does besides writing its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareEffect {
    /// Nothing.
    MaskOnly,
    /// EXEC becomes the mask (`v_cmpx`).
    AlsoExec,
}

/// Source and result modifiers of a floating-point VOP3 instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloatModifiers {
    /// Bit `n`: source `n` loses its sign, before negation.
    pub absolute: u8,
    /// Bit `n`: source `n` is negated.
    pub negate: u8,
    /// 0 none, 1 times two, 2 times four, 3 half.
    pub output_scale: u8,
    /// The result is limited to 0..=1.
    pub clamp: bool,
}

/// Whether an atomic gives the old value back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldValue {
    /// To the destination register.
    Returned,
    /// Thrown away.
    Discarded,
}

/// Whether a load may come from a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence {
    /// Ordinary data.
    Cached,
    /// `glc`: what compilers use for atomic loads; each lane's value is read in one piece.
    Global,
}

/// Size and extension of a narrow or wide element in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 8 bits, zero-extended.
    Unsigned8,
    /// 8 bits, sign-extended.
    Signed8,
    /// 16 bits, zero-extended.
    Unsigned16,
    /// 16 bits, sign-extended.
    Signed16,
    /// This many 32-bit words, one to four.
    Words(u8),
}

/// Atomic operations of LDS: those of memory and three more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdsAtomic {
    /// As in memory; compare-and-swap takes the compare value first.
    Rmw(RmwOp),
    /// `data - old`.
    SubtractReversed,
    /// `(old & !data0) | data1`.
    MaskedOr,
}

/// Half of a 32-bit word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordHalf {
    /// Bits 15:0.
    Low,
    /// Bits 31:16.
    High,
}

/// A register that describes the hardware or the wave (`s_getreg_b32`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardwareRegister {
    /// Where the wave runs: HW_ID, or HW_ID1 of generation 11.
    Identity,
    /// The low bits of a clock: SHADER_CYCLES.
    Cycles,
    /// Any other: reads as zero.
    Other,
}

/// Consecutive bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitField {
    /// The lowest.
    pub offset: u8,
    /// How many.
    pub bits: u8,
}

/// What one half of a dual instruction does with its two sources, the destination as an addend, and the literal (VOPD).
#[allow(missing_docs, reason = "named as in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DualOp {
    /// The destination is the addend.
    FusedMultiplyAccumulate,
    /// `a * b + literal`
    FusedAddLiteral,
    /// `a * literal + b`
    FusedMultiplyByLiteral,
    Float(FloatBinary),
    Move,
    /// `b` where VCC is set, else `a`.
    Select,
    Add,
    ShiftLeftReversed,
    And,
}

/// One half of a dual instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "operands are named as in the instruction set: destination, a, b")]
pub struct DualHalf {
    pub op: DualOp,
    pub destination: VectorRegister,
    pub a: VectorSource,
    pub b: VectorRegister,
}

/// Lane exchanges through the LDS unit, which touch no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneExchange {
    /// Every lane sends to the lane that its address plus this offset names.
    Push(u16),
    /// Every lane reads the lane that its address plus this offset names.
    Pull(u16),
    /// As the first, among 32 lanes.
    PushWithin32(u16),
    /// As the second, among 32 lanes.
    PullWithin32(u16),
    /// The pattern in the offset field.
    Swizzle(u16),
}

/// Two addresses of one LDS instruction, in bytes after the address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LdsPair {
    /// Of the first element.
    pub first: u32,
    /// Of the second element.
    pub second: u32,
}

/// Which half of the wave a lane count looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskHalf {
    /// Lanes 0 to 31.
    Low,
    /// Lanes 32 to 63.
    High,
}

/// How an operand is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signedness {
    /// Two's complement.
    Signed,
    /// Magnitude.
    Unsigned,
}

impl CarryOp {
    /// Whether a mask of carries goes in.
    #[must_use]
    pub const fn reads_carry(self) -> bool {
        matches!(self, Self::AddCarry | Self::SubtractBorrow | Self::SubtractBorrowReversed)
    }
}
