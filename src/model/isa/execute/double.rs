//! Vector unit: double precision, rounding to nearest even and keeping denormals.

use super::float::{maximum64, minimum64};
use super::rows::{read_wide, wide};
use super::vector::write_wide;
use crate::model::isa::instruction::{Double, FloatModifiers};
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;

impl FloatModifiers {
    fn double_input(self, source: u8, bits: u64) -> f64 {
        let absolute = u64::from(self.absolute >> source & 1) << 63;
        let negate = u64::from(self.negate >> source & 1) << 63;
        f64::from_bits((bits & !absolute) ^ negate)
    }

    #[allow(clippy::manual_clamp, reason = "`clamp` would keep NaN")]
    fn double_output(self, value: f64) -> u64 {
        let scaled = match self.output_scale {
            1 => value * 2.0,
            2 => value * 4.0,
            3 => value * 0.5,
            _ => value,
        };
        let limited = if self.clamp { scaled.max(0.0).min(1.0) } else { scaled };
        limited.to_bits()
    }
}

#[inline(never)]
pub(super) fn execute(
    wave: &mut Wave,
    op: Double,
    destination: VectorRegister,
    sources: [VectorSource; 3],
    modifiers: FloatModifiers,
) {
    let rows = sources.map(|source| read_wide(wave, source));
    write_wide(wave, destination, |lane| {
        let input = |source: u8| {
            let (low, high) = &rows[usize::from(source)];
            modifiers.double_input(source, wide(low[lane], high[lane]))
        };
        let (a, b) = (input(0), input(1));
        modifiers.double_output(match op {
            Double::Add => a + b,
            Double::Multiply => a * b,
            Double::Min => minimum64(a, b),
            Double::Max => maximum64(a, b),
            Double::FusedMultiplyAdd => a.mul_add(b, input(2)),
        })
    });
}
