//! Vector unit: operations on integers and bits, lane by lane.

use super::rows::{Values, map1, map2, map3};
use super::scalar::sign_change;
use crate::model::isa::instruction::{VectorBinary, VectorTernary, VectorUnary};
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;

#[inline(always)]
pub(super) fn unary(wave: &mut Wave, op: VectorUnary, destination: VectorRegister, a: VectorSource) {
    use VectorUnary as Op;
    match op {
        Op::Move => map1(wave, destination, a, |a| a),
        Op::Not => map1(wave, destination, a, |a| !a),
        Op::Reverse => map1(wave, destination, a, u32::reverse_bits),
        Op::FindFirstOneHigh => map1(wave, destination, a, |a| if a == 0 { u32::MAX } else { a.leading_zeros() }),
        Op::FindFirstOneLow => map1(wave, destination, a, |a| if a == 0 { u32::MAX } else { a.trailing_zeros() }),
        Op::FindSignChangeHigh => map1(wave, destination, a, sign_change),
        Op::FloatFromSigned => map1(wave, destination, a, |a| (a.cast_signed() as f32).to_bits()),
        Op::FloatFromUnsigned => map1(wave, destination, a, |a| (a as f32).to_bits()),
        Op::SignExtend16 => map1(wave, destination, a, |a| i32::from(a as i16).cast_unsigned()),
        Op::ZeroExtend16 => map1(wave, destination, a, |a| a & 0xffff),
        Op::FloatFromByte(byte) => map1(wave, destination, a, |a| f32::from((a >> (8 * byte)) as u8).to_bits()),
    }
}

/// Sign-extended low 24 bits.
#[inline(always)]
const fn signed24(value: u32) -> i64 {
    ((value << 8).cast_signed() >> 8) as i64
}

/// Low 24 bits.
#[inline(always)]
const fn unsigned24(value: u32) -> u64 {
    (value & 0xff_ffff) as u64
}

/// A 16-bit operation; the upper half of the result is zero on this generation.
#[inline(always)]
fn half(a: u32, b: u32, operation: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(operation(a as u16, b as u16))
}

/// A 16-bit signed operation.
#[inline(always)]
fn signed_half(a: u32, b: u32, operation: impl Fn(i16, i16) -> i16) -> u32 {
    u32::from(operation(a as i16, b as i16).cast_unsigned())
}

#[inline(always)]
pub(super) fn binary(wave: &mut Wave, op: VectorBinary, destination: VectorRegister, a: VectorSource, b: VectorSource) {
    use VectorBinary as Op;
    macro_rules! lanes {
        (|$a:ident, $b:ident| $value:expr) => {
            map2(wave, destination, a, b, |$a: u32, $b: u32| $value)
        };
    }
    match op {
        Op::MultiplySigned24 => lanes!(|a, b| (signed24(a) * signed24(b)) as u32),
        Op::MultiplyHighSigned24 => lanes!(|a, b| ((signed24(a) * signed24(b)) >> 32) as u32),
        Op::MultiplyUnsigned24 => lanes!(|a, b| (unsigned24(a) * unsigned24(b)) as u32),
        Op::MultiplyHighUnsigned24 => lanes!(|a, b| ((unsigned24(a) * unsigned24(b)) >> 32) as u32),
        Op::MinSigned => lanes!(|a, b| a.cast_signed().min(b.cast_signed()).cast_unsigned()),
        Op::MaxSigned => lanes!(|a, b| a.cast_signed().max(b.cast_signed()).cast_unsigned()),
        Op::MinUnsigned => lanes!(|a, b| a.min(b)),
        Op::MaxUnsigned => lanes!(|a, b| a.max(b)),
        Op::ShiftRightReversed => lanes!(|a, b| b >> (a & 31)),
        Op::ShiftRightSignedReversed => lanes!(|a, b| (b.cast_signed() >> (a & 31)).cast_unsigned()),
        Op::ShiftLeftReversed => lanes!(|a, b| b << (a & 31)),
        Op::And => lanes!(|a, b| a & b),
        Op::Or => lanes!(|a, b| a | b),
        Op::Xor => lanes!(|a, b| a ^ b),
        Op::Add16 => lanes!(|a, b| half(a, b, u16::wrapping_add)),
        Op::Subtract16 => lanes!(|a, b| half(a, b, u16::wrapping_sub)),
        Op::SubtractReversed16 => lanes!(|a, b| half(b, a, u16::wrapping_sub)),
        Op::Multiply16 => lanes!(|a, b| half(a, b, u16::wrapping_mul)),
        Op::ShiftLeftReversed16 => lanes!(|a, b| half(a, b, |a, b| b << (a & 15))),
        Op::ShiftRightReversed16 => lanes!(|a, b| half(a, b, |a, b| b >> (a & 15))),
        Op::ShiftRightSignedReversed16 => lanes!(|a, b| signed_half(a, b, |a, b| b >> (a & 15))),
        Op::MaxUnsigned16 => lanes!(|a, b| half(a, b, u16::max)),
        Op::MaxSigned16 => lanes!(|a, b| signed_half(a, b, i16::max)),
        Op::MinUnsigned16 => lanes!(|a, b| half(a, b, u16::min)),
        Op::MinSigned16 => lanes!(|a, b| signed_half(a, b, i16::min)),
        Op::MultiplyLow => lanes!(|a, b| a.wrapping_mul(b)),
        Op::MultiplyHighUnsigned => lanes!(|a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Op::MultiplyHighSigned => {
            lanes!(|a, b| ((i64::from(a.cast_signed()) * i64::from(b.cast_signed())) >> 32) as u32);
        }
        Op::CountOnesAdd => lanes!(|a, b| a.count_ones().wrapping_add(b)),
        Op::Add => lanes!(|a, b| a.wrapping_add(b)),
        Op::Subtract => lanes!(|a, b| a.wrapping_sub(b)),
        Op::SubtractReversed => lanes!(|a, b| b.wrapping_sub(a)),
        Op::Xnor => lanes!(|a, b| !(a ^ b)),
        Op::BitFieldMask => lanes!(|a, b| ((1_u32 << (a & 31)) - 1) << (b & 31)),
        Op::PackUnsigned16 => lanes!(|a, b| a.min(0xffff) | b.min(0xffff) << 16),
        Op::PackSigned16 => lanes!(|a, b| saturated16(a) | saturated16(b) << 16),
    }
}

#[inline(always)]
fn saturated16(value: u32) -> u32 {
    value.cast_signed().clamp(i32::from(i16::MIN), i32::from(i16::MAX)).cast_unsigned() & 0xffff
}

#[inline(always)]
pub(super) fn ternary(wave: &mut Wave, op: VectorTernary, destination: VectorRegister, sources: [VectorSource; 3]) {
    use VectorTernary as Op;
    macro_rules! lanes {
        (|$a:ident, $b:ident, $c:ident| $value:expr) => {
            map3(wave, destination, sources, |$a: u32, $b: u32, $c: u32| $value)
        };
    }
    match op {
        Op::MultiplyAddSigned24 => lanes!(|a, b, c| ((signed24(a) * signed24(b)) as u32).wrapping_add(c)),
        Op::MultiplyAddUnsigned24 => lanes!(|a, b, c| ((unsigned24(a) * unsigned24(b)) as u32).wrapping_add(c)),
        Op::ExtractUnsigned => lanes!(|a, b, c| a >> (b & 31) & ((1 << (c & 31)) - 1)),
        Op::ExtractSigned => lanes!(|a, b, c| extract_signed(a, b & 31, c & 31)),
        Op::Insert => lanes!(|a, b, c| (a & b) | (!a & c)),
        Op::AlignBits => lanes!(|a, b, c| ((u64::from(a) << 32 | u64::from(b)) >> (c & 31)) as u32),
        Op::AlignBytes => lanes!(|a, b, c| ((u64::from(a) << 32 | u64::from(b)) >> (8 * (c & 3))) as u32),
        Op::MinSigned => lanes!(|a, b, c| a.cast_signed().min(b.cast_signed()).min(c.cast_signed()).cast_unsigned()),
        Op::MinUnsigned => lanes!(|a, b, c| a.min(b).min(c)),
        Op::MaxSigned => lanes!(|a, b, c| a.cast_signed().max(b.cast_signed()).max(c.cast_signed()).cast_unsigned()),
        Op::MaxUnsigned => lanes!(|a, b, c| a.max(b).max(c)),
        Op::MedianSigned => {
            lanes!(|a, b, c| median(a.cast_signed(), b.cast_signed(), c.cast_signed()).cast_unsigned());
        }
        Op::MedianUnsigned => lanes!(|a, b, c| median(a, b, c)),
        Op::SumAbsoluteDifference => lanes!(|a, b, c| a.abs_diff(b).wrapping_add(c)),
        // The sum of products wraps at 16 bits whatever the sign.
        Op::MultiplyAddUnsigned16 | Op::MultiplyAddSigned16 => {
            lanes!(|a, b, c| u32::from((a as u16).wrapping_mul(b as u16).wrapping_add(c as u16)));
        }
        Op::MultiplyAddUnsigned16To32 => lanes!(|a, b, c| (u32::from(a as u16) * u32::from(b as u16)).wrapping_add(c)),
        Op::MultiplyAddSigned16To32 => {
            lanes!(|a, b, c| (i32::from(a as i16) * i32::from(b as i16)).cast_unsigned().wrapping_add(c));
        }
        Op::XorAdd => lanes!(|a, b, c| (a ^ b).wrapping_add(c)),
        Op::ShiftLeftAdd => lanes!(|a, b, c| (a << (b & 31)).wrapping_add(c)),
        Op::AddShiftLeft => lanes!(|a, b, c| a.wrapping_add(b) << (c & 31)),
        Op::AddThree => lanes!(|a, b, c| a.wrapping_add(b).wrapping_add(c)),
        Op::ShiftLeftOr => lanes!(|a, b, c| a << (b & 31) | c),
        Op::AndOr => lanes!(|a, b, c| a & b | c),
        Op::OrThree => lanes!(|a, b, c| a | b | c),
        Op::XorThree => lanes!(|a, b, c| a ^ b ^ c),
        Op::MinOfMaxUnsigned => lanes!(|a, b, c| a.max(b).min(c)),
        Op::MaxOfMinUnsigned => lanes!(|a, b, c| a.min(b).max(c)),
        Op::MinOfMaxSigned => lanes!(|a, b, c| a.cast_signed().max(b.cast_signed()).min(c.cast_signed()).cast_unsigned()),
        Op::MaxOfMinSigned => lanes!(|a, b, c| a.cast_signed().min(b.cast_signed()).max(c.cast_signed()).cast_unsigned()),
        Op::Permute => lanes!(|a, b, c| permute(u64::from(a) << 32 | u64::from(b), c)),
    }
}

/// A 16-bit operation as generation 11 has it: the other half of the destination stays (RDNA3 "16-bit operations").
#[inline(never)]
pub(super) fn low_half_binary(wave: &mut Wave, op: VectorBinary, destination: VectorRegister, a: VectorSource, b: VectorSource) {
    let before = wave.vector(destination).0;
    binary(wave, op, destination, a, b);
    restore_upper_halves(wave, destination, &before);
}

/// A 16-bit operation as generation 11 has it.
#[inline(never)]
pub(super) fn low_half_ternary(wave: &mut Wave, op: VectorTernary, destination: VectorRegister, sources: [VectorSource; 3]) {
    let before = wave.vector(destination).0;
    ternary(wave, op, destination, sources);
    restore_upper_halves(wave, destination, &before);
}

fn restore_upper_halves(wave: &mut Wave, register: VectorRegister, before: &Values) {
    for (value, before) in wave.vector_mut(register).0.iter_mut().zip(before) {
        *value = *value & 0xffff | before & 0xffff_0000;
    }
}

/// The field of `width` bits at `offset`, sign-extended; a field that reaches past the top keeps the top's sign.
#[inline(always)]
const fn extract_signed(value: u32, offset: u32, width: u32) -> u32 {
    if width == 0 {
        return 0;
    }
    let shifted = value.cast_signed() >> offset;
    (shifted << (32 - width) >> (32 - width)).cast_unsigned()
}

#[inline(always)]
fn median<T: Ord + Copy>(a: T, b: T, c: T) -> T {
    a.min(b).max(a.max(b).min(c))
}

/// Each selector byte picks a byte of `bytes`, the sign of one (8 to 11: of bytes 1, 3, 5, 7), 0x00 (12) or 0xff.
#[inline(always)]
fn permute(bytes: u64, selectors: u32) -> u32 {
    u32::from_le_bytes(selectors.to_le_bytes().map(|selector| match selector {
        0..=7 => (bytes >> (8 * selector)) as u8,
        8..=11 => {
            let sign = bytes >> (16 * (selector - 8) + 15) & 1;
            if sign == 1 { 0xff } else { 0 }
        }
        12 => 0,
        13.. => 0xff,
    }))
}
