//! Operations on floats of one lane, by LLVM's software floating point, rounding to nearest even.
//!
//! Minimum, maximum and median follow the pseudo code of the guides with MODE.IEEE set, as the HSA ABI has it.

use rustc_apfloat::ieee::Single;
use rustc_apfloat::{Float, Round};

use super::state::Value;
use crate::model::isa::instruction::{FloatBinary, FloatModifiers, FloatPredicate, FloatTernary, FloatUnary, Packed};

pub(super) fn single(bits: u32) -> Single {
    Single::from_bits(bits.into())
}

/// The bits of source `n` with the sign that it is to have: first without one, then negated.
pub(super) fn signed_source(modifiers: FloatModifiers, n: u32, bits: u32) -> u32 {
    let has = |mask: u8| mask / (1 << n) % 2 == 1;
    let magnitude = bits % (1 << 31);
    let mut negative = bits >= 1 << 31;
    if has(modifiers.absolute) {
        negative = false;
    }
    if has(modifiers.negate) {
        negative = !negative;
    }
    if negative { magnitude + (1 << 31) } else { magnitude }
}

fn source(modifiers: FloatModifiers, n: u32, bits: u32) -> Single {
    single(signed_source(modifiers, n, bits))
}

/// The result multiplied and clamped as the modifiers say.
pub(super) fn modified<F: Float>(modifiers: FloatModifiers, result: F) -> F {
    let number = |value| F::from_i128(value).value;
    let half = (number(1) / number(2)).value;
    let factor = [number(1), number(2), number(4), half][usize::from(modifiers.output_scale)];
    let scaled = if modifiers.output_scale == 0 { result } else { (result * factor).value };
    if !modifiers.clamp {
        scaled
    } else if scaled.is_nan() || (scaled < number(0)) {
        number(0)
    } else if scaled > number(1) {
        number(1)
    } else {
        scaled
    }
}

pub(super) fn value_of(result: Single) -> Value {
    if result.is_nan() { Value::NotANumber } else { Value::Exact(result.to_bits() as u32) }
}

fn output(modifiers: FloatModifiers, result: Single) -> Value {
    let result = modified(modifiers, result);
    // The guides do not say which zero a clamped one is.
    if modifiers.clamp && result.is_zero() { Value::Zero } else { value_of(result) }
}

/// Hardware is one unit in the last place off at most.
fn approximate(modifiers: FloatModifiers, result: Single) -> Value {
    match output(modifiers, result) {
        Value::Exact(bits) if !result.is_zero() && result.is_finite() => Value::Near(bits),
        value => value,
    }
}

fn integral(value: Single, round: Round) -> Single {
    value.round_to_integral(round).value
}

/// A float that is an integer, saturated to a range that holds zero; NaN is zero.
fn saturated(value: Single, least: f64, most: f64) -> u32 {
    let exact = f64::from(f32::from_bits(value.to_bits() as u32));
    if exact.is_nan() { 0 } else { (exact.max(least).min(most) as i64 % (1 << 32)) as u32 }
}

fn to_signed(value: Single) -> u32 {
    saturated(value, f64::from(i32::MIN), f64::from(i32::MAX))
}

pub(super) fn unary(op: FloatUnary, a: u32, modifiers: FloatModifiers) -> Value {
    let value = source(modifiers, 0, a);
    let exactly = |result| output(modifiers, result);
    // Double precision is more than twice as precise, so that rounding its result once more gives the right one.
    let double = f64::from(f32::from_bits(value.to_bits() as u32));
    let rounded = |double: f64| single((double as f32).to_bits());
    let one = Single::from_i128(1).value;
    match op {
        FloatUnary::ToUnsigned => Value::Exact(saturated(integral(value, Round::TowardZero), 0.0, f64::from(u32::MAX))),
        FloatUnary::ToSigned => Value::Exact(to_signed(integral(value, Round::TowardZero))),
        FloatUnary::ToSignedNearest => {
            let half = (one / Single::from_i128(2).value).value;
            Value::Exact(to_signed(integral((value + half).value, Round::TowardNegative)))
        }
        FloatUnary::ToSignedFloor => Value::Exact(to_signed(integral(value, Round::TowardNegative))),
        FloatUnary::Fraction => exactly((value - integral(value, Round::TowardNegative)).value),
        FloatUnary::Truncate => exactly(integral(value, Round::TowardZero)),
        FloatUnary::Ceiling => exactly(integral(value, Round::TowardPositive)),
        FloatUnary::RoundEven => exactly(integral(value, Round::NearestTiesToEven)),
        FloatUnary::Floor => exactly(integral(value, Round::TowardNegative)),
        FloatUnary::Reciprocal => approximate(modifiers, (one / value).value),
        FloatUnary::ReciprocalSquareRoot => approximate(modifiers, rounded(1.0 / double.sqrt())),
        FloatUnary::SquareRoot => approximate(modifiers, rounded(double.sqrt())),
    }
}

/// `V_MIN_F32` and `V_MIN_F64`.
pub(super) fn minimum<F: Float>(a: F, b: F) -> F {
    match special(a, b) {
        Some(result) => result,
        None if a.is_zero() && b.is_zero() => {
            if a.is_negative() {
                a
            } else {
                b
            }
        }
        None => {
            if a < b {
                a
            } else {
                b
            }
        }
    }
}

/// `V_MAX_F32` and `V_MAX_F64`.
pub(super) fn maximum<F: Float>(a: F, b: F) -> F {
    match special(a, b) {
        Some(result) => result,
        None if a.is_zero() && b.is_zero() => {
            if a.is_negative() {
                b
            } else {
                a
            }
        }
        None => {
            if a >= b {
                a
            } else {
                b
            }
        }
    }
}

/// A signalling NaN becomes a quiet one; a quiet one gives way to the other operand.
fn special<F: Float>(a: F, b: F) -> Option<F> {
    if a.is_signaling() || b.is_signaling() {
        Some(F::qnan(None))
    } else if a.is_nan() {
        Some(b)
    } else if b.is_nan() {
        Some(a)
    } else {
        None
    }
}

pub(super) fn binary(op: FloatBinary, a: u32, b: u32, modifiers: FloatModifiers) -> Value {
    let (a, b) = (source(modifiers, 0, a), source(modifiers, 1, b));
    output(modifiers, combined(op, a, b))
}

fn combined(op: FloatBinary, a: Single, b: Single) -> Single {
    match op {
        FloatBinary::Add => (a + b).value,
        FloatBinary::Subtract => (a - b).value,
        FloatBinary::SubtractReversed => (b - a).value,
        FloatBinary::Multiply => (a * b).value,
        // "DX9 rules: zero times anything is zero."
        FloatBinary::MultiplyLegacy if a.is_zero() || b.is_zero() => Single::from_i128(0).value,
        FloatBinary::MultiplyLegacy => (a * b).value,
        FloatBinary::Min => minimum(a, b),
        FloatBinary::Max => maximum(a, b),
    }
}

pub(super) fn ternary(op: FloatTernary, sources: [u32; 3], modifiers: FloatModifiers) -> Value {
    let [a, b, c] = [0, 1, 2].map(|n| source(modifiers, n, sources[n as usize]));
    output(
        modifiers,
        match op {
            FloatTernary::MultiplyAdd => ((a * b).value + c).value,
            FloatTernary::FusedMultiplyAdd => a.mul_add(b, c).value,
            FloatTernary::Min => minimum(minimum(a, b), c),
            FloatTernary::Max => maximum(maximum(a, b), c),
            FloatTernary::Median => median(a, b, c),
        },
    )
}

/// `V_MED3_F32`
fn median(a: Single, b: Single, c: Single) -> Single {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return minimum(minimum(a, b), c);
    }
    let greatest = maximum(maximum(a, b), c);
    if greatest == a {
        maximum(b, c)
    } else if greatest == b {
        maximum(a, c)
    } else {
        maximum(a, b)
    }
}

/// `a * b + c`, rounded once.
pub(super) fn fused(a: u32, b: u32, c: u32) -> Value {
    value_of(single(a).mul_add(single(b), single(c)).value)
}

/// One of the two results of a packed operation that computes.
pub(super) fn packed(op: Packed, [a, b, c]: [u32; 3]) -> Value {
    match op {
        Packed::FusedMultiplyAdd => fused(a, b, c),
        Packed::Multiply => value_of((single(a) * single(b)).value),
        Packed::Add => value_of((single(a) + single(b)).value),
        Packed::Move => Value::Exact(a),
    }
}

/// Whether one of the outcomes that the predicate names is the case.
pub(super) fn holds(predicate: FloatPredicate, a: u32, b: u32) -> bool {
    let (a, b) = (single(a), single(b));
    let unordered = a.is_nan() || b.is_nan();
    predicate.unordered && unordered || predicate.less && a < b || predicate.equal && a == b || predicate.greater && a > b
}
