//! Lane-wise application of an operation to rows.
//!
//! Everything here is inlined into its caller so that it is compiled with the caller's vector width.

use crate::model::isa::LANES;
use crate::model::isa::operand::{VectorRegister, VectorSource};
use crate::model::isa::wave::{CHUNK, Chunk, Wave};

/// One value per lane, ready to compute with.
pub(super) type Values = [u32; LANES];

/// A source of values: a row, or one value for all lanes. Telling them apart before the loop saves filling a row.
trait Lanes: Copy {
    fn chunk(self, wave: &Wave, at: usize) -> Chunk;
}

impl Lanes for VectorRegister {
    #[inline(always)]
    fn chunk(self, wave: &Wave, at: usize) -> Chunk {
        *wave.vector(self).chunk(at)
    }
}

impl Lanes for u32 {
    #[inline(always)]
    fn chunk(self, _wave: &Wave, _at: usize) -> Chunk {
        [self; CHUNK]
    }
}

/// A source that is told apart for each chunk: for operations of three operands, whose kinds would make eight loops.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Row(VectorRegister),
    Same(u32),
}

impl Source {
    #[inline(always)]
    pub(super) fn of(wave: &Wave, source: VectorSource) -> Self {
        match source {
            VectorSource::Vector(register) => Self::Row(register),
            VectorSource::Scalar(source) => Self::Same(wave.word(source)),
        }
    }

    #[inline(always)]
    pub(super) fn chunk(self, wave: &Wave, at: usize) -> Chunk {
        match self {
            Self::Row(register) => register.chunk(wave, at),
            Self::Same(value) => value.chunk(wave, at),
        }
    }
}

/// A 64-bit source: its low halves, its high halves.
#[derive(Clone, Copy)]
pub(super) struct WideSource(Source, Source);

impl WideSource {
    #[inline(always)]
    pub(super) fn of(wave: &Wave, source: VectorSource) -> Self {
        match source {
            VectorSource::Vector(register) => Self(Source::Row(register), Source::Row(register.plus(1))),
            VectorSource::Scalar(source) => {
                let value = wave.double_word(source);
                Self(Source::Same(value as u32), Source::Same((value >> 32) as u32))
            }
        }
    }

    /// Low halves and high halves.
    #[inline(always)]
    pub(super) fn chunk(self, wave: &Wave, at: usize) -> (Chunk, Chunk) {
        (self.0.chunk(wave, at), self.1.chunk(wave, at))
    }
}

#[inline(always)]
fn write2(wave: &mut Wave, destination: VectorRegister, a: impl Lanes, b: impl Lanes, operation: impl Fn(u32, u32) -> u32) {
    wave.write_chunks([destination], |wave, at| {
        let (a, b) = (a.chunk(wave, at), b.chunk(wave, at));
        let mut values = [0; CHUNK];
        for lane in 0..CHUNK {
            values[lane] = operation(a[lane], b[lane]);
        }
        [values]
    });
}

/// `destination = operation(a)` in the active lanes.
#[inline(always)]
pub(super) fn map1(wave: &mut Wave, destination: VectorRegister, a: VectorSource, operation: impl Fn(u32) -> u32) {
    match a {
        VectorSource::Vector(a) => write2(wave, destination, a, 0, |a, _| operation(a)),
        VectorSource::Scalar(a) => {
            let value = operation(wave.word(a));
            wave.write_chunks([destination], |_, _| [[value; CHUNK]]);
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
        (VectorSource::Vector(a), VectorSource::Vector(b)) => write2(wave, destination, a, b, operation),
        (VectorSource::Scalar(a), VectorSource::Vector(b)) => write2(wave, destination, wave.word(a), b, operation),
        (VectorSource::Vector(a), VectorSource::Scalar(b)) => write2(wave, destination, a, wave.word(b), operation),
        (VectorSource::Scalar(a), VectorSource::Scalar(b)) => {
            let value = operation(wave.word(a), wave.word(b));
            wave.write_chunks([destination], |_, _| [[value; CHUNK]]);
        }
    }
}

#[inline(always)]
fn combine2(wave: &Wave, a: impl Lanes, b: impl Lanes, operation: impl Fn(u32, u32) -> u32) -> Values {
    let mut values = [0; LANES];
    for at in 0..wave.chunks() {
        let (a, b) = (a.chunk(wave, at), b.chunk(wave, at));
        for lane in 0..CHUNK {
            values[at * CHUNK + lane] = operation(a[lane], b[lane]);
        }
    }
    values
}

/// `operation(a, b)` in every lane that exists.
#[inline(always)]
pub(super) fn combine(wave: &Wave, a: VectorSource, b: VectorSource, operation: impl Fn(u32, u32) -> u32) -> Values {
    match (a, b) {
        (VectorSource::Vector(a), VectorSource::Vector(b)) => combine2(wave, a, b, operation),
        (VectorSource::Scalar(a), VectorSource::Vector(b)) => combine2(wave, wave.word(a), b, operation),
        (VectorSource::Vector(a), VectorSource::Scalar(b)) => combine2(wave, a, wave.word(b), operation),
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
    let sources = sources.map(|source| Source::of(wave, source));
    wave.write_chunks([destination], |wave, at| {
        let [a, b, c] = sources.map(|source| source.chunk(wave, at));
        let mut values = [0; CHUNK];
        for lane in 0..CHUNK {
            values[lane] = operation(a[lane], b[lane], c[lane]);
        }
        [values]
    });
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
