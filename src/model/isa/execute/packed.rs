//! Vector unit: one operation on both words of register pairs (VOP3P of CDNA 3).

use super::rows::{Values, read_wide};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{Packed, PackedChoice};
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;

/// Where one word of the result comes from: for each source, whether from its high word and whether negated.
#[derive(Clone, Copy)]
struct Choice {
    high: u8,
    negate: u8,
}

#[inline(never)]
pub(super) fn execute(wave: &mut Wave, op: Packed, destination: VectorRegister, sources: [VectorSource; 3], choice: PackedChoice) {
    let sources = sources.map(|source| read_wide(wave, source));
    let low = Choice { high: choice.high_for_low, negate: choice.negate_low };
    let high = Choice { high: choice.high_for_high, negate: choice.negate_high };
    let values = match op {
        // Each word has a source of its own, and both are chosen by `op_sel`.
        Packed::Move => [taken(&sources, low, 0), taken(&sources, low, 1)],
        _ => [low, high].map(|choice| computed(op, [0, 1, 2].map(|source| taken(&sources, choice, source)))),
    };
    wave.write_active(destination, &values[0]);
    wave.write_active(destination.plus(1), &values[1]);
}

fn taken(sources: &[(Values, Values); 3], choice: Choice, source: usize) -> Values {
    let (low, high) = &sources[source];
    let row = if choice.high >> source & 1 == 1 { high } else { low };
    let negate = u32::from(choice.negate >> source & 1) << 31;
    row.map(|bits| bits ^ negate)
}

fn computed(op: Packed, sources: [Values; 3]) -> Values {
    let mut values = [0; LANES];
    for lane in 0..LANES {
        let [a, b, c] = sources.each_ref().map(|row| f32::from_bits(row[lane]));
        let value = match op {
            Packed::FusedMultiplyAdd => a.mul_add(b, c),
            Packed::Multiply => a * b,
            Packed::Add => a + b,
            Packed::Move => a,
        };
        values[lane] = value.to_bits();
    }
    values
}
