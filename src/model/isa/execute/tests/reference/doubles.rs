//! Operations on double precision of one lane.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::Double as Number;

use super::floats::{maximum, minimum, modified};
use super::state::Wide;
use crate::model::isa::instruction::{Double, FloatModifiers};

fn source(modifiers: FloatModifiers, n: u32, bits: u64) -> Number {
    let has = |mask: u8| mask / (1 << n) % 2 == 1;
    let mut value = Number::from_bits(bits.into());
    if has(modifiers.absolute) && value.is_negative() {
        value = -value;
    }
    if has(modifiers.negate) { -value } else { value }
}

pub(super) fn compute(op: Double, sources: [u64; 3], modifiers: FloatModifiers) -> Wide {
    let [a, b, c] = [0, 1, 2].map(|n| source(modifiers, n, sources[n as usize]));
    let result = match op {
        Double::Add => (a + b).value,
        Double::Multiply => (a * b).value,
        Double::Min => minimum(a, b),
        Double::Max => maximum(a, b),
        Double::FusedMultiplyAdd => a.mul_add(b, c).value,
    };
    let result = modified(modifiers, result);
    match result {
        _ if result.is_nan() => Wide::NotANumber,
        _ if modifiers.clamp && result.is_zero() => Wide::Zero,
        _ => Wide::Exact(result.to_bits() as u64),
    }
}
