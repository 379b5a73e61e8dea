//! What memory instructions do, apart from their operands.

use crate::model::bus::RmwOp;

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
