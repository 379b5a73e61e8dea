//! Lane-wise application of an operation to rows.
//!
//! Everything here is inlined into its caller so that it is compiled with the caller's vector width.

use crate::model::isa::LANES;
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::{Row, Wave};

/// One value per lane, ready to compute with.
pub(super) type Values = [u32; LANES];

/// A source of values: a row, or one value for all lanes. Telling them apart before the loop saves filling a row.
trait Lanes: Copy {
    fn lane(&self, lane: usize) -> u32;
}

impl Lanes for &Row {
    #[inline(always)]
    fn lane(&self, lane: usize) -> u32 {
        self.0[lane]
    }
}

impl Lanes for u32 {
    #[inline(always)]
    fn lane(&self, _lane: usize) -> u32 {
        *self
    }
}

#[inline(always)]
fn apply2(a: impl Lanes, b: impl Lanes, operation: impl Fn(u32, u32) -> u32) -> Values {
    let mut values = [0; LANES];
    for (lane, value) in values.iter_mut().enumerate() {
        *value = operation(a.lane(lane), b.lane(lane));
    }
    values
}

/// `destination = operation(a)` in the active lanes.
#[inline(always)]
pub(super) fn map1(wave: &mut Wave, destination: VectorRegister, a: VectorSource, operation: impl Fn(u32) -> u32) {
    let values = match a {
        VectorSource::Vector(a) => apply2(wave.vector(a), 0, |a, _| operation(a)),
        VectorSource::Scalar(a) => [operation(wave.word(a)); LANES],
    };
    wave.write_active(destination, &values);
}

/// `destination = operation(a, b)` in the active lanes.
#[inline(always)]
pub(super) fn map2(
    wave: &mut Wave,
    destination: VectorRegister,
    a: VectorSource,
    b: VectorSource,
    operation: impl Fn(u32, u32) -> u32,
) {
    let values = combine(wave, a, b, operation);
    wave.write_active(destination, &values);
}

/// `operation(a, b)` in every lane.
#[inline(always)]
pub(super) fn combine(wave: &Wave, a: VectorSource, b: VectorSource, operation: impl Fn(u32, u32) -> u32) -> Values {
    match (a, b) {
        (VectorSource::Vector(a), VectorSource::Vector(b)) => apply2(wave.vector(a), wave.vector(b), operation),
        (VectorSource::Scalar(a), VectorSource::Vector(b)) => apply2(wave.word(a), wave.vector(b), operation),
        (VectorSource::Vector(a), VectorSource::Scalar(b)) => apply2(wave.vector(a), wave.word(b), operation),
        (VectorSource::Scalar(a), VectorSource::Scalar(b)) => [operation(wave.word(a), wave.word(b)); LANES],
    }
}

/// `destination = operation(a, b, c)` in the active lanes.
#[inline(always)]
pub(super) fn map3(
    wave: &mut Wave,
    destination: VectorRegister,
    sources: [VectorSource; 3],
    operation: impl Fn(u32, u32, u32) -> u32,
) {
    let [a, b, c] = sources.map(|source| read(wave, source));
    let mut values = [0; LANES];
    for lane in 0..LANES {
        values[lane] = operation(a[lane], b[lane], c[lane]);
    }
    wave.write_active(destination, &values);
}

/// The values of a 32-bit source.
#[inline(always)]
pub(super) fn read(wave: &Wave, source: VectorSource) -> Values {
    match source {
        VectorSource::Vector(register) => wave.vector(register).0,
        VectorSource::Scalar(source) => [wave.word(source); LANES],
    }
}

/// The values of a 64-bit source: low halves, high halves.
#[inline(always)]
pub(super) fn read_wide(wave: &Wave, source: VectorSource) -> (Values, Values) {
    match source {
        VectorSource::Vector(register) => (wave.vector(register).0, wave.vector(register.plus(1)).0),
        VectorSource::Scalar(source) => {
            let value = wave.double_word(source);
            ([value as u32; LANES], [(value >> 32) as u32; LANES])
        }
    }
}

/// Joins the halves of a 64-bit value.
#[inline(always)]
pub(super) const fn wide(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Bit 0 of every lane as a mask.
#[inline(always)]
pub(super) fn mask_of(bits: &Values) -> u64 {
    let half = |bits: &[u32]| {
        let mut mask = 0;
        for (lane, bit) in bits.iter().enumerate() {
            mask |= (bit & 1) << lane;
        }
        mask
    };
    let (low, high) = bits.split_at(LANES / 2);
    wide(half(low), half(high))
}

/// A mask as 0 or 1 in every lane.
#[inline(always)]
pub(super) fn bits_of(mask: u64) -> Values {
    let mut bits = [0; LANES];
    let (low, high) = bits.split_at_mut(LANES / 2);
    for (lane, bit) in low.iter_mut().enumerate() {
        *bit = mask as u32 >> lane & 1;
    }
    for (lane, bit) in high.iter_mut().enumerate() {
        *bit = (mask >> 32) as u32 >> lane & 1;
    }
    bits
}
