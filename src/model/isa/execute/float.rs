//! Vector unit: single precision, rounding to nearest even and keeping denormals.

use super::rows::{Values, bits_of, combine, map1, map2, map3, read};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{FloatBinary, FloatModifiers, FloatPredicate, FloatTernary, FloatUnary};
use crate::model::isa::operand::{ScalarRegister, VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;

impl FloatModifiers {
    #[inline(always)]
    fn input(self, source: u8, bits: u32) -> f32 {
        f32::from_bits(self.signed(source, bits))
    }

    /// The bits of a source with the sign that it is to have.
    #[inline(always)]
    fn signed(self, source: u8, bits: u32) -> u32 {
        let absolute = u32::from(self.absolute >> source & 1) << 31;
        let negate = u32::from(self.negate >> source & 1) << 31;
        (bits & !absolute) ^ negate
    }

    #[inline(always)]
    #[allow(clippy::manual_clamp, reason = "`clamp` would keep NaN")]
    fn output(self, value: f32) -> u32 {
        let scaled = match self.output_scale {
            1 => value * 2.0,
            2 => value * 4.0,
            3 => value * 0.5,
            _ => value,
        };
        // Clamping makes NaN zero (DX10_CLAMP, which the HSA ABI always sets).
        let limited = if self.clamp { scaled.max(0.0).min(1.0) } else { scaled };
        limited.to_bits()
    }
}

#[inline(always)]
pub(super) fn unary(wave: &mut Wave, op: FloatUnary, destination: VectorRegister, a: VectorSource, modifiers: FloatModifiers) {
    use FloatUnary as Op;
    let input = |bits| modifiers.input(0, bits);
    match op {
        // Rust's casts saturate and turn NaN into zero, as the device does.
        Op::ToUnsigned => map1(wave, destination, a, |a| input(a) as u32),
        Op::ToSigned => map1(wave, destination, a, |a| (input(a) as i32).cast_unsigned()),
        Op::ToSignedNearest => map1(wave, destination, a, |a| ((input(a) + 0.5).floor() as i32).cast_unsigned()),
        Op::ToSignedFloor => map1(wave, destination, a, |a| (input(a).floor() as i32).cast_unsigned()),
        Op::Fraction => map1(wave, destination, a, |a| modifiers.output(input(a) - input(a).floor())),
        Op::Truncate => map1(wave, destination, a, |a| modifiers.output(input(a).trunc())),
        Op::Ceiling => map1(wave, destination, a, |a| modifiers.output(input(a).ceil())),
        Op::RoundEven => map1(wave, destination, a, |a| modifiers.output(input(a).round_ties_even())),
        // The device is off by one unit in the last place at most; this is the rounded result.
        Op::Reciprocal => map1(wave, destination, a, |a| modifiers.output(1.0 / input(a))),
        Op::ReciprocalSquareRoot => map1(wave, destination, a, |a| modifiers.output(1.0 / input(a).sqrt())),
        Op::SquareRoot => map1(wave, destination, a, |a| modifiers.output(input(a).sqrt())),
        Op::Floor => map1(wave, destination, a, |a| modifiers.output(input(a).floor())),
    }
}

#[inline(always)]
pub(super) fn binary(
    wave: &mut Wave,
    op: FloatBinary,
    destination: VectorRegister,
    [a, b]: [VectorSource; 2],
    modifiers: FloatModifiers,
) {
    use FloatBinary as Op;
    // One loop per operation, so that none of them branches.
    macro_rules! lanes {
        ($op:expr) => {
            map2(wave, destination, a, b, |a, b| modifiers.output(apply($op, modifiers.input(0, a), modifiers.input(1, b))))
        };
    }
    match op {
        Op::Add => lanes!(Op::Add),
        Op::Subtract => lanes!(Op::Subtract),
        Op::SubtractReversed => lanes!(Op::SubtractReversed),
        Op::Multiply => lanes!(Op::Multiply),
        Op::MultiplyLegacy => lanes!(Op::MultiplyLegacy),
        Op::Min => lanes!(Op::Min),
        Op::Max => lanes!(Op::Max),
    }
}

/// The results of an operation without modifiers, in every lane.
pub(super) fn combined(wave: &Wave, op: FloatBinary, a: VectorSource, b: VectorSource) -> Values {
    combine(wave, a, b, |a, b| apply(op, f32::from_bits(a), f32::from_bits(b)).to_bits())
}

/// Minimum and maximum as MODE.IEEE has them, which the HSA ABI sets: a signalling NaN becomes a quiet one, a quiet one gives way,
/// and zero of a negative sign is the lesser (RDNA3 "V_MIN_F32"). Rust's own leave signalling NaN and zeros open.
macro_rules! extremes {
    ($minimum:ident, $maximum:ident, $float:ty, $quiet:expr) => {
        #[inline(always)]
        pub(super) fn $minimum(a: $float, b: $float) -> $float {
            let signalling = |value: $float| value.is_nan() && value.to_bits() & $quiet == 0;
            if signalling(a) || signalling(b) {
                <$float>::NAN
            } else if a == b {
                // The same but for the signs of zeros.
                <$float>::from_bits(a.to_bits() | b.to_bits())
            } else if a < b || b.is_nan() {
                a
            } else {
                b
            }
        }

        #[inline(always)]
        pub(super) fn $maximum(a: $float, b: $float) -> $float {
            -$minimum(-a, -b)
        }
    };
}

extremes!(minimum, maximum, f32, 1 << 22);
extremes!(minimum64, maximum64, f64, 1 << 51);

/// A median of NaN is the minimum (RDNA3 "V_MED3_F32").
#[inline(always)]
fn median(a: f32, b: f32, c: f32) -> f32 {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return minimum(minimum(a, b), c);
    }
    // In the order of the pseudo code: which of two zeros of unlike sign is the greatest decides which one comes out.
    let greatest = maximum(maximum(a, b), c);
    if greatest == a {
        maximum(b, c)
    } else if greatest == b {
        maximum(a, c)
    } else {
        maximum(a, b)
    }
}

#[inline(always)]
fn apply(op: FloatBinary, a: f32, b: f32) -> f32 {
    use FloatBinary as Op;
    match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::SubtractReversed => b - a,
        Op::Multiply => a * b,
        // Zero times anything is zero.
        Op::MultiplyLegacy if a == 0.0 || b == 0.0 => 0.0,
        Op::MultiplyLegacy => a * b,
        Op::Min => minimum(a, b),
        Op::Max => maximum(a, b),
    }
}

#[inline(always)]
pub(super) fn ternary(
    wave: &mut Wave,
    op: FloatTernary,
    destination: VectorRegister,
    sources: [VectorSource; 3],
    modifiers: FloatModifiers,
) {
    use FloatTernary as Op;
    macro_rules! lanes {
        (|$a:ident, $b:ident, $c:ident| $value:expr) => {
            map3(wave, destination, sources, |a, b, c| {
                let ($a, $b, $c) = (modifiers.input(0, a), modifiers.input(1, b), modifiers.input(2, c));
                modifiers.output($value)
            })
        };
    }
    match op {
        // Not fused: the product is rounded.
        Op::MultiplyAdd => lanes!(|a, b, c| a * b + c),
        Op::FusedMultiplyAdd => lanes!(|a, b, c| a.mul_add(b, c)),
        Op::Min => lanes!(|a, b, c| minimum(minimum(a, b), c)),
        Op::Max => lanes!(|a, b, c| maximum(maximum(a, b), c)),
        Op::Median => lanes!(|a, b, c| median(a, b, c)),
    }
}

/// `b` where the mask is set, else `a`, with the signs that the modifiers give them.
#[inline(never)]
pub(super) fn select(
    wave: &mut Wave,
    destination: VectorRegister,
    [a, b]: [VectorSource; 2],
    mask: ScalarRegister,
    modifiers: FloatModifiers,
) {
    let (a, b, chosen) = (read(wave, a), read(wave, b), bits_of(wave.mask(mask)));
    let mut values = [0; LANES];
    for lane in 0..LANES {
        values[lane] = if chosen[lane] == 0 { modifiers.signed(0, a[lane]) } else { modifiers.signed(1, b[lane]) };
    }
    wave.write_active(destination, &values);
}

/// 1 in the lanes of which the predicate holds, with the signs that the modifiers give the sources.
#[inline(never)]
pub(super) fn compared(wave: &Wave, predicate: FloatPredicate, [a, b]: [VectorSource; 2], modifiers: FloatModifiers) -> Values {
    combine(wave, a, b, |a, b| u32::from(predicate.holds(modifiers.signed(0, a), modifiers.signed(1, b))))
}
