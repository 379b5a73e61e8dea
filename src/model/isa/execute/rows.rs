//! Lane-wise application of an operation to rows.
//!
//! Everything here is inlined into its caller so that it is compiled with the caller's vector width.

use super::mask::{bits_of_half, mask_of_half};
use crate::model::isa::LANES;
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::{HALF, Half, Row, Wave};

/// One value per lane, ready to compute with.
pub(super) type Values = [u32; LANES];
/// The same for half a wave.
pub(super) type HalfValues = [u32; HALF];

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

impl Lanes for &HalfValues {
    #[inline(always)]
    fn lane(&self, lane: usize) -> u32 {
        self[lane]
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

/// A source of half a wave's values, told apart before the loop over the halves.
trait Source: Copy {
    type View<'wave>: Lanes;
    fn view(self, wave: &Wave, half: Half) -> Self::View<'_>;
}

impl Source for VectorRegister {
    type View<'wave> = &'wave HalfValues;

    #[inline(always)]
    fn view(self, wave: &Wave, half: Half) -> &HalfValues {
        wave.half(self, half)
    }
}

impl Source for u32 {
    type View<'wave> = u32;

    #[inline(always)]
    fn view(self, _wave: &Wave, _half: Half) -> u32 {
        self
    }
}

/// Half a wave at a time: a wave of 32 has no more.
#[inline(always)]
fn apply_halves(wave: &mut Wave, destination: VectorRegister, a: impl Source, b: impl Source, operation: impl Fn(u32, u32) -> u32) {
    for half in wave.halves() {
        let (a, b) = (a.view(wave, half), b.view(wave, half));
        let mut values = [0; HALF];
        for (lane, value) in values.iter_mut().enumerate() {
            *value = operation(a.lane(lane), b.lane(lane));
        }
        wave.write_active_half(destination, half, &values);
    }
}

/// `destination = operation(a)` in the active lanes.
#[inline(always)]
pub(super) fn map1(wave: &mut Wave, destination: VectorRegister, a: VectorSource, operation: impl Fn(u32) -> u32) {
    match a {
        VectorSource::Vector(a) => apply_halves(wave, destination, a, 0, |a, _| operation(a)),
        VectorSource::Scalar(a) => {
            let value = operation(wave.word(a));
            apply_halves(wave, destination, value, 0, |value, _| value);
        }
    }
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
    match (a, b) {
        (VectorSource::Vector(a), VectorSource::Vector(b)) => apply_halves(wave, destination, a, b, operation),
        (VectorSource::Scalar(a), VectorSource::Vector(b)) => apply_halves(wave, destination, wave.word(a), b, operation),
        (VectorSource::Vector(a), VectorSource::Scalar(b)) => apply_halves(wave, destination, a, wave.word(b), operation),
        (VectorSource::Scalar(a), VectorSource::Scalar(b)) => {
            let value = operation(wave.word(a), wave.word(b));
            apply_halves(wave, destination, value, 0, |value, _| value);
        }
    }
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
    [a, b, c]: [VectorSource; 3],
    operation: impl Fn(u32, u32, u32) -> u32,
) {
    for half in wave.halves() {
        let (a, b, c) = (read_half(wave, a, half), read_half(wave, b, half), read_half(wave, c, half));
        let mut values = [0; HALF];
        for lane in 0..HALF {
            values[lane] = operation(a[lane], b[lane], c[lane]);
        }
        wave.write_active_half(destination, half, &values);
    }
}

/// Half the values of a 32-bit source.
#[inline(always)]
pub(super) fn read_half(wave: &Wave, source: VectorSource, half: Half) -> HalfValues {
    match source {
        VectorSource::Vector(register) => *wave.half(register, half),
        VectorSource::Scalar(source) => [wave.word(source); HALF],
    }
}

/// Half the values of a 64-bit source: low words, high words.
#[inline(always)]
pub(super) fn read_wide_half(wave: &Wave, source: VectorSource, half: Half) -> (HalfValues, HalfValues) {
    match source {
        VectorSource::Vector(register) => (*wave.half(register, half), *wave.half(register.plus(1), half)),
        VectorSource::Scalar(source) => {
            let value = wave.double_word(source);
            ([value as u32; HALF], [(value >> 32) as u32; HALF])
        }
    }
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
    let [low, high] = bits.as_chunks().0 else { unreachable!("a row has two halves") };
    wide(mask_of_half(low), mask_of_half(high))
}

/// A mask as 0 or 1 in every lane.
#[inline(always)]
pub(super) fn bits_of(mask: u64) -> Values {
    let mut bits = [0; LANES];
    let (low, high) = bits.split_at_mut(HALF);
    low.copy_from_slice(&bits_of_half(mask as u32));
    high.copy_from_slice(&bits_of_half((mask >> 32) as u32));
    bits
}
