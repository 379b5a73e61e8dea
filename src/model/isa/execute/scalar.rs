//! Scalar unit: SOP1, SOP2, SOPC, SOPK and scalar loads.

use super::Stop;
use crate::model::address::GpuVa;
use crate::model::bus::Bus;
use crate::model::isa::instruction::{
    BitField, Bitwise, HardwareRegister, Relation, ScalarBinary, ScalarImmediate, ScalarOffset, ScalarTest, ScalarUnary, WordHalf,
};
use crate::model::isa::operand::{OperandSize, ScalarRegister, ScalarSource};
use crate::model::isa::wave::Wave;
use crate::model::memory::Access;

/// A result and whether it sets SCC when it is not zero.
#[derive(Clone, Copy)]
enum Outcome {
    Word(u32),
    WordWithScc(u32),
    /// SCC says something else: carry, overflow, or which operand was chosen.
    Flagged(u32, bool),
    Pair(u64),
    PairWithScc(u64),
}

#[inline(always)]
fn commit(wave: &mut Wave, destination: ScalarRegister, outcome: Outcome) {
    match outcome {
        Outcome::Word(value) => wave.set_scalar(destination, value),
        Outcome::WordWithScc(value) => {
            wave.set_scalar(destination, value);
            wave.scc = value != 0;
        }
        Outcome::Flagged(value, flag) => {
            wave.set_scalar(destination, value);
            wave.scc = flag;
        }
        Outcome::Pair(value) => wave.set_scalar_pair(destination, value),
        Outcome::PairWithScc(value) => {
            wave.set_scalar_pair(destination, value);
            wave.scc = value != 0;
        }
    }
}

#[inline(always)]
pub(super) fn unary(wave: &mut Wave, op: ScalarUnary, destination: ScalarRegister, a: ScalarSource) {
    use Outcome::{Pair, PairWithScc, Word, WordWithScc};
    use ScalarUnary as Op;
    let word = wave.word(a);
    let pair = wave.double_word(a);
    let outcome = match op {
        Op::Move32 => Word(word),
        Op::Move64 => Pair(pair),
        Op::ConditionalMove32 if wave.scc => Word(word),
        Op::ConditionalMove64 if wave.scc => Pair(pair),
        Op::ConditionalMove32 | Op::ConditionalMove64 => return,
        Op::Not32 => WordWithScc(!word),
        Op::Not64 => PairWithScc(!pair),
        Op::WholeQuad32 => WordWithScc(quads_spread(quads_with_any(u64::from(word))) as u32),
        Op::WholeQuad64 => PairWithScc(quads_spread(quads_with_any(pair))),
        Op::Reverse32 => Word(word.reverse_bits()),
        Op::Reverse64 => Pair(pair.reverse_bits()),
        Op::CountZeros32 => WordWithScc(word.count_zeros()),
        Op::CountZeros64 => WordWithScc(pair.count_zeros()),
        Op::CountOnes32 => WordWithScc(word.count_ones()),
        Op::CountOnes64 => WordWithScc(pair.count_ones()),
        Op::FindFirstZero32 => Word(position(word.trailing_ones(), 32)),
        Op::FindFirstZero64 => Word(position(pair.trailing_ones(), 64)),
        Op::FindFirstOne32 => Word(position(word.trailing_zeros(), 32)),
        Op::FindFirstOne64 => Word(position(pair.trailing_zeros(), 64)),
        Op::FindLastOne32 => Word(position(word.leading_zeros(), 32)),
        Op::FindLastOne64 => Word(position(pair.leading_zeros(), 64)),
        Op::FindSignChange32 => Word(sign_change(word)),
        Op::FindSignChange64 => {
            let sign = (pair.cast_signed() >> 63).cast_unsigned();
            Word(position((pair ^ sign).leading_zeros(), 64))
        }
        Op::SignExtend8 => Word(i32::from(word as i8).cast_unsigned()),
        Op::SignExtend16 => Word(i32::from(word as i16).cast_unsigned()),
        Op::ClearBit32 => Word(wave.scalar(destination) & !(1 << (word & 31))),
        Op::ClearBit64 => Pair(wave.scalar_pair(destination) & !(1 << (word & 63))),
        Op::SetBit32 => Word(wave.scalar(destination) | 1 << (word & 31)),
        Op::SetBit64 => Pair(wave.scalar_pair(destination) | 1 << (word & 63)),
        Op::QuadMask32 => WordWithScc(quads_with_any(u64::from(word)) as u32),
        Op::QuadMask64 => PairWithScc(quads_with_any(pair)),
        Op::Absolute => WordWithScc(word.cast_signed().unsigned_abs()),
    };
    commit(wave, destination, outcome);
}

/// A bit number, or -1 if there is no such bit.
#[inline(always)]
const fn position(found: u32, bits: u32) -> u32 {
    if found == bits { u32::MAX } else { found }
}

/// Bits from the top to the first that differs from the sign, or -1.
#[inline(always)]
pub(super) const fn sign_change(value: u32) -> u32 {
    let sign = (value.cast_signed() >> 31).cast_unsigned();
    position((value ^ sign).leading_zeros(), 32)
}

/// Bit `n` of the result: whether any of bits `4n..4n + 4` is set.
fn quads_with_any(mask: u64) -> u64 {
    (0..16).filter(|quad| mask >> (4 * quad) & 0xf != 0).fold(0, |quads, quad| quads | 1 << quad)
}

/// Four bits for every bit.
fn quads_spread(quads: u64) -> u64 {
    (0..16).filter(|quad| quads >> quad & 1 == 1).fold(0, |mask, quad| mask | 0xf << (4 * quad))
}

#[inline(always)]
pub(super) fn bitwise(op: Bitwise, a: u64, b: u64) -> u64 {
    match op {
        Bitwise::And => a & b,
        Bitwise::Or => a | b,
        Bitwise::Xor => a ^ b,
        Bitwise::AndNot => a & !b,
        Bitwise::OrNot => a | !b,
        Bitwise::Nand => !(a & b),
        Bitwise::Nor => !(a | b),
        Bitwise::Xnor => !(a ^ b),
        Bitwise::NotAnd => !a & b,
        Bitwise::NotOr => !a | b,
    }
}

#[inline(always)]
pub(super) fn save_exec(wave: &mut Wave, op: Bitwise, size: OperandSize, destination: ScalarRegister, a: ScalarSource) {
    match size {
        OperandSize::Bits64 => {
            let (a, exec) = (wave.double_word(a), wave.exec());
            let lanes = bitwise(op, a, exec);
            wave.set_scalar_pair(destination, exec);
            wave.set_exec(lanes);
            wave.scc = lanes != 0;
        }
        OperandSize::Bits32 => {
            let (a, exec) = (wave.word(a), wave.scalar(ScalarRegister::EXEC));
            let lanes = bitwise(op, u64::from(a), u64::from(exec)) as u32;
            wave.set_scalar(destination, exec);
            wave.set_scalar(ScalarRegister::EXEC, lanes);
            wave.scc = lanes != 0;
        }
    }
}

/// As [`save_exec`], but the destination gets what EXEC becomes.
#[inline(never)]
pub(super) fn write_exec(wave: &mut Wave, op: Bitwise, size: OperandSize, destination: ScalarRegister, a: ScalarSource) {
    save_exec(wave, op, size, ScalarRegister::DISCARD, a);
    match size {
        OperandSize::Bits64 => wave.set_scalar_pair(destination, wave.exec()),
        OperandSize::Bits32 => wave.set_scalar(destination, wave.scalar(ScalarRegister::EXEC)),
    }
}

#[inline(always)]
pub(super) fn binary(wave: &mut Wave, op: ScalarBinary, destination: ScalarRegister, a: ScalarSource, b: ScalarSource) {
    use Outcome::{Flagged, Pair, PairWithScc, Word, WordWithScc};
    use ScalarBinary as Op;
    let (x, y) = (wave.word(a), wave.word(b));
    let (signed_x, signed_y) = (x.cast_signed(), y.cast_signed());
    let pair = |source| wave.double_word(source);
    let flagged = |(value, flag)| Flagged(value, flag);
    let flagged_signed = |(value, flag): (i32, bool)| Flagged(value.cast_unsigned(), flag);
    let carry = wave.scc;
    let outcome = match op {
        Op::AddUnsigned => flagged(x.overflowing_add(y)),
        Op::SubtractUnsigned => flagged(x.overflowing_sub(y)),
        Op::AddSigned => flagged_signed(signed_x.overflowing_add(signed_y)),
        Op::SubtractSigned => flagged_signed(signed_x.overflowing_sub(signed_y)),
        Op::AddCarry => {
            let sum = u64::from(x) + u64::from(y) + u64::from(carry);
            Flagged(sum as u32, sum >> 32 != 0)
        }
        Op::SubtractBorrow => {
            let subtrahend = u64::from(y) + u64::from(carry);
            Flagged(x.wrapping_sub(subtrahend as u32), u64::from(x) < subtrahend)
        }
        Op::MinSigned => Flagged(signed_x.min(signed_y).cast_unsigned(), signed_x < signed_y),
        Op::MinUnsigned => Flagged(x.min(y), x < y),
        Op::MaxSigned => Flagged(signed_x.max(signed_y).cast_unsigned(), signed_x > signed_y),
        Op::MaxUnsigned => Flagged(x.max(y), x > y),
        Op::Select32 => Word(if wave.scc { x } else { y }),
        Op::Select64 => Pair(if wave.scc { pair(a) } else { pair(b) }),
        Op::Bitwise32(op) => WordWithScc(bitwise(op, u64::from(x), u64::from(y)) as u32),
        Op::Bitwise64(op) => PairWithScc(bitwise(op, pair(a), pair(b))),
        Op::ShiftLeft32 => WordWithScc(x << (y & 31)),
        Op::ShiftLeft64 => PairWithScc(pair(a) << (y & 63)),
        Op::ShiftRight32 => WordWithScc(x >> (y & 31)),
        Op::ShiftRight64 => PairWithScc(pair(a) >> (y & 63)),
        Op::ShiftRightSigned32 => WordWithScc((signed_x >> (y & 31)).cast_unsigned()),
        Op::ShiftRightSigned64 => PairWithScc((pair(a).cast_signed() >> (y & 63)).cast_unsigned()),
        Op::BitFieldMask32 => Word(((1 << (x & 31)) - 1) << (y & 31)),
        Op::BitFieldMask64 => Pair(((1 << (x & 63)) - 1) << (y & 63)),
        Op::Multiply => Word(x.wrapping_mul(y)),
        Op::MultiplyHighUnsigned => Word(((u64::from(x) * u64::from(y)) >> 32) as u32),
        Op::MultiplyHighSigned => Word(((i64::from(signed_x) * i64::from(signed_y)) >> 32).cast_unsigned() as u32),
        Op::ShiftLeftAdd(bits) => {
            // SCC is whether the exact sum needs more than 32 bits (RDNA3 "S_LSHL1_ADD_U32").
            let sum = (u64::from(x) << bits) + u64::from(y);
            Flagged(sum as u32, sum >> 32 != 0)
        }
        Op::Pack(first, second) => Word(half(first, x) | half(second, y) << 16),
        Op::ExtractUnsigned32 => WordWithScc(extract_unsigned(u64::from(x), y & 31, y >> 16 & 0x7f) as u32),
        Op::ExtractSigned32 => {
            let field = extract_signed(i64::from(signed_x), y & 31, y >> 16 & 0x7f);
            WordWithScc(field.cast_unsigned() as u32)
        }
        Op::ExtractUnsigned64 => PairWithScc(extract_unsigned(pair(a), y & 63, y >> 16 & 0x7f)),
        Op::ExtractSigned64 => PairWithScc(extract_signed(pair(a).cast_signed(), y & 63, y >> 16 & 0x7f).cast_unsigned()),
        Op::AbsoluteDifference => WordWithScc(signed_x.wrapping_sub(signed_y).wrapping_abs().cast_unsigned()),
    };
    commit(wave, destination, outcome);
}

#[inline(always)]
const fn half(which: WordHalf, word: u32) -> u32 {
    match which {
        WordHalf::Low => word & 0xffff,
        WordHalf::High => word >> 16,
    }
}

#[inline(always)]
const fn extract_unsigned(value: u64, offset: u32, width: u32) -> u64 {
    let shifted = value >> offset;
    if width >= 64 { shifted } else { shifted & ((1 << width) - 1) }
}

#[inline(always)]
const fn extract_signed(value: i64, offset: u32, width: u32) -> i64 {
    let shifted = value >> offset;
    match width {
        0 => 0,
        1..=63 => shifted << (64 - width) >> (64 - width),
        _ => shifted,
    }
}

#[inline(always)]
pub(super) fn related<T: Ord + Copy>(relation: Relation, a: T, b: T) -> bool {
    match relation {
        Relation::Never => false,
        Relation::Less => a < b,
        Relation::Equal => a == b,
        Relation::LessOrEqual => a <= b,
        Relation::Greater => a > b,
        Relation::NotEqual => a != b,
        Relation::GreaterOrEqual => a >= b,
        Relation::Always => true,
    }
}

#[inline(always)]
pub(super) fn test(wave: &Wave, test: ScalarTest, a: ScalarSource, b: ScalarSource) -> bool {
    match test {
        ScalarTest::Unsigned64(relation) => related(relation, wave.double_word(a), wave.double_word(b)),
        ScalarTest::BitIsZero64 => wave.double_word(a) >> (wave.word(b) & 63) & 1 == 0,
        ScalarTest::BitIsOne64 => wave.double_word(a) >> (wave.word(b) & 63) & 1 == 1,
        _ => test_words(test, wave.word(a), wave.word(b)),
    }
}

#[inline(always)]
fn test_words(test: ScalarTest, a: u32, b: u32) -> bool {
    match test {
        ScalarTest::Signed(relation) => related(relation, a.cast_signed(), b.cast_signed()),
        ScalarTest::Unsigned(relation) => related(relation, a, b),
        ScalarTest::Unsigned64(relation) => related(relation, u64::from(a), u64::from(b)),
        ScalarTest::BitIsZero32 | ScalarTest::BitIsZero64 => a >> (b & 31) & 1 == 0,
        ScalarTest::BitIsOne32 | ScalarTest::BitIsOne64 => a >> (b & 31) & 1 == 1,
    }
}

#[inline(always)]
pub(super) fn immediate(wave: &mut Wave, op: ScalarImmediate, register: ScalarRegister, value: i16) {
    let extended = i32::from(value);
    let old = wave.scalar(register);
    match op {
        ScalarImmediate::Move => wave.set_scalar(register, extended.cast_unsigned()),
        ScalarImmediate::ConditionalMove if wave.scc => wave.set_scalar(register, extended.cast_unsigned()),
        ScalarImmediate::ConditionalMove => {}
        ScalarImmediate::Compare(test @ ScalarTest::Unsigned(_)) => {
            wave.scc = test_words(test, old, u32::from(value.cast_unsigned()));
        }
        ScalarImmediate::Compare(test) => wave.scc = test_words(test, old, extended.cast_unsigned()),
        ScalarImmediate::Add => {
            let (sum, overflow) = old.cast_signed().overflowing_add(extended);
            wave.set_scalar(register, sum.cast_unsigned());
            wave.scc = overflow;
        }
        ScalarImmediate::Multiply => wave.set_scalar(register, old.wrapping_mul(extended.cast_unsigned())),
    }
}

/// SHADER_CYCLES counts this far (RDNA3 "SHADER_CYCLES").
const CYCLES_MASK: u32 = (1 << 20) - 1;

#[inline(always)]
pub(super) fn get_hardware_register(
    wave: &mut Wave,
    destination: ScalarRegister,
    register: HardwareRegister,
    BitField { offset, bits }: BitField,
) {
    let value = match register {
        HardwareRegister::Identity => wave.hardware_id,
        HardwareRegister::Cycles => super::clock::now() as u32 & CYCLES_MASK,
        HardwareRegister::Other => 0,
    };
    wave.set_scalar(destination, extract_unsigned(u64::from(value), u32::from(offset), u32::from(bits)) as u32);
}

#[inline(always)]
pub(super) fn load(
    wave: &mut Wave,
    bus: &Bus<'_>,
    destination: ScalarRegister,
    base: ScalarRegister,
    offset: ScalarOffset,
    words: u8,
) -> Result<(), Stop> {
    let in_register = offset.register.map_or(0, |register| u64::from(wave.scalar(register)));
    // The two lowest bits of a scalar address do not exist.
    let whole = |part: u64| part & !3;
    let offset = whole(in_register).wrapping_add(whole(i64::from(offset.bytes).cast_unsigned()));
    let address = GpuVa(whole(wave.scalar_pair(base)).wrapping_add(offset));
    match words {
        1 => load_words::<1>(wave, bus, destination, address),
        2 => load_words::<2>(wave, bus, destination, address),
        4 => load_words::<4>(wave, bus, destination, address),
        8 => load_words::<8>(wave, bus, destination, address),
        _ => load_words::<16>(wave, bus, destination, address),
    }
}

#[inline(always)]
fn load_words<const COUNT: usize>(wave: &mut Wave, bus: &Bus<'_>, destination: ScalarRegister, address: GpuVa) -> Result<(), Stop> {
    let mut values = [0_u32; COUNT];
    bus.memory.window(address, 4 * COUNT as u64, Access::Read)?.copy_to(&mut values);
    for (n, value) in values.into_iter().enumerate() {
        wave.set_scalar(destination.plus(n as u8), value);
    }
    Ok(())
}
