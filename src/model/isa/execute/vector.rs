//! Vector unit: what involves masks, carries, 64-bit values or single lanes.

use super::rows::{Source, Values, WideSource, combine, mask_of, read, read_wide, wide};
use super::scalar::related;
use crate::model::isa::LANES;
use crate::model::isa::instruction::{CarryOp, CompareEffect, FloatPredicate, MaskHalf, Relation, Shift64, Signedness, VectorTest};
use crate::model::isa::operand::{ScalarRegister, ScalarSource, VectorRegister, VectorSource};
use crate::model::isa::wave::{CHUNK, Chunk, Wave};

#[inline(always)]
pub(super) fn carry(
    wave: &mut Wave,
    op: CarryOp,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b]: [VectorSource; 2],
    carry_in: ScalarRegister,
) {
    let (a, b) = (Source::of(wave, a), Source::of(wave, b));
    let taken = wave.mask(carry_in);
    let active = wave.exec();
    let carries = match op {
        CarryOp::Add => with_carries(wave, destination, [a, b], 0, add),
        CarryOp::Subtract => with_carries(wave, destination, [a, b], 0, subtract),
        CarryOp::SubtractReversed => with_carries(wave, destination, [b, a], 0, subtract),
        CarryOp::AddCarry => with_carries(wave, destination, [a, b], taken, add),
        CarryOp::SubtractBorrow => with_carries(wave, destination, [a, b], taken, subtract),
        CarryOp::SubtractBorrowReversed => with_carries(wave, destination, [b, a], taken, subtract),
    };
    wave.set_mask(carry_out, carries & active);
}

/// `a + b + carry`, and the carry out of it.
#[inline(always)]
fn add(a: u32, b: u32, carry: u32) -> (u32, u32) {
    let partial = a.wrapping_add(b);
    let sum = partial.wrapping_add(carry);
    (sum, u32::from(partial < a) | u32::from(sum < partial))
}

/// `a - b - borrow`, and the borrow out of it.
#[inline(always)]
fn subtract(a: u32, b: u32, borrow: u32) -> (u32, u32) {
    let partial = a.wrapping_sub(b);
    (partial.wrapping_sub(borrow), u32::from(a < b) | u32::from(partial < borrow))
}

/// Writes the active lanes of the results, and gives the carries of all lanes. `taken` are those that go in.
#[inline(always)]
fn with_carries(
    wave: &mut Wave,
    destination: VectorRegister,
    [a, b]: [Source; 2],
    taken: u64,
    operation: impl Fn(u32, u32, u32) -> (u32, u32),
) -> u64 {
    let mut carries = [0; LANES];
    let mut any = [0; CHUNK];
    wave.write_chunks([destination], |wave, at| {
        let (a, b, taken) = (a.chunk(wave, at), b.chunk(wave, at), (taken >> (at * CHUNK)) as u32);
        let mut values = [0; CHUNK];
        for lane in 0..CHUNK {
            let carry;
            (values[lane], carry) = operation(a[lane], b[lane], taken >> lane & 1);
            carries[at * CHUNK + lane] = carry;
            any[lane] |= carry;
        }
        [values]
    });
    // Addresses rarely carry, and to make a mask of lanes is the longer part.
    if any == [0; CHUNK] { 0 } else { mask_of(&carries) }
}

#[inline(always)]
pub(super) fn select(wave: &mut Wave, destination: VectorRegister, a: VectorSource, b: VectorSource, mask: ScalarRegister) {
    let (a, b, chosen) = (Source::of(wave, a), Source::of(wave, b), wave.mask(mask));
    wave.write_chunks([destination], |wave, at| {
        let (a, b, chosen) = (a.chunk(wave, at), b.chunk(wave, at), (chosen >> (at * CHUNK)) as u32);
        let mut values = [0; CHUNK];
        for lane in 0..CHUNK {
            values[lane] = if chosen >> lane & 1 == 0 { a[lane] } else { b[lane] };
        }
        [values]
    });
}

#[inline(never)]
pub(super) fn swap(wave: &mut Wave, a: VectorRegister, b: VectorRegister) {
    let (first, second) = (wave.vector(a).0, wave.vector(b).0);
    wave.write_active(a, &second);
    wave.write_active(b, &first);
}

#[inline(always)]
pub(super) fn masked_count(wave: &mut Wave, half: MaskHalf, destination: VectorRegister, a: VectorSource, b: VectorSource) {
    let (a, b) = (read(wave, a), read(wave, b));
    let mut values = [0; LANES];
    for (lane, value) in values.iter_mut().enumerate() {
        let below = match half {
            MaskHalf::Low if lane < 32 => (1 << lane) - 1,
            MaskHalf::Low => u32::MAX,
            MaskHalf::High if lane < 32 => 0,
            MaskHalf::High => (1 << (lane - 32)) - 1,
        };
        *value = (a[lane] & below).count_ones().wrapping_add(b[lane]);
    }
    wave.write_active(destination, &values);
}

#[inline(always)]
pub(super) fn write_wide(wave: &mut Wave, destination: VectorRegister, values: impl Fn(usize) -> u64) {
    let (mut low, mut high) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let value = values(lane);
        low[lane] = value as u32;
        high[lane] = (value >> 32) as u32;
    }
    wave.write_active(destination, &low);
    wave.write_active(destination.plus(1), &high);
}

#[inline(always)]
pub(super) fn move64(wave: &mut Wave, destination: VectorRegister, a: VectorSource) {
    let a = WideSource::of(wave, a);
    wave.write_chunks([destination, destination.plus(1)], |wave, at| a.chunk(wave, at).into());
}

/// As [`write_wide`], for values that are computed from the same lanes of their sources.
#[inline(always)]
fn write_wide_chunks(wave: &mut Wave, destination: VectorRegister, values: impl Fn(&Wave, usize) -> [u64; CHUNK]) {
    wave.write_chunks([destination, destination.plus(1)], |wave, at| {
        let values = values(wave, at);
        [values.map(|value| value as u32), values.map(|value| (value >> 32) as u32)]
    });
}

#[inline(always)]
fn joined((low, high): (Chunk, Chunk)) -> [u64; CHUNK] {
    let mut values = [0; CHUNK];
    for lane in 0..CHUNK {
        values[lane] = wide(low[lane], high[lane]);
    }
    values
}

/// The amount has three bits, and more than four is not defined (CDNA3 "V_LSHL_ADD_U64"); here it shifts as far as it says.
#[inline(always)]
pub(super) fn shift_left_add64(
    wave: &mut Wave,
    destination: VectorRegister,
    value: VectorSource,
    amount: VectorSource,
    addend: VectorSource,
) {
    let (value, amount, addend) = (WideSource::of(wave, value), Source::of(wave, amount), WideSource::of(wave, addend));
    write_wide_chunks(wave, destination, |wave, at| {
        let (mut values, addends) = (joined(value.chunk(wave, at)), joined(addend.chunk(wave, at)));
        let amounts = amount.chunk(wave, at);
        for lane in 0..CHUNK {
            values[lane] = (values[lane] << (amounts[lane] & 7)).wrapping_add(addends[lane]);
        }
        values
    });
}

#[inline(always)]
pub(super) fn shift64(wave: &mut Wave, op: Shift64, destination: VectorRegister, amount: VectorSource, value: VectorSource) {
    let (amount, value) = (Source::of(wave, amount), WideSource::of(wave, value));
    match op {
        Shift64::Left => shift_lanes(wave, destination, amount, value, |value, amount| value << amount),
        Shift64::Right => shift_lanes(wave, destination, amount, value, |value, amount| value >> amount),
        Shift64::RightSigned => {
            shift_lanes(wave, destination, amount, value, |value, amount| (value.cast_signed() >> amount).cast_unsigned());
        }
    }
}

#[inline(always)]
fn shift_lanes(wave: &mut Wave, destination: VectorRegister, amount: Source, value: WideSource, shift: impl Fn(u64, u32) -> u64) {
    write_wide_chunks(wave, destination, |wave, at| {
        let (mut values, amounts) = (joined(value.chunk(wave, at)), amount.chunk(wave, at));
        for lane in 0..CHUNK {
            values[lane] = shift(values[lane], amounts[lane] & 63);
        }
        values
    });
}

#[inline(always)]
pub(super) fn multiply_add64(
    wave: &mut Wave,
    signedness: Signedness,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b, c]: [VectorSource; 3],
) {
    let (a, b, (low, high)) = (read(wave, a), read(wave, b), read_wide(wave, c));
    let exact = |lane: usize| {
        let c = wide(low[lane], high[lane]);
        match signedness {
            Signedness::Unsigned => {
                let (sum, carry) = (u64::from(a[lane]) * u64::from(b[lane])).overflowing_add(c);
                (sum, u32::from(carry))
            }
            Signedness::Signed => {
                let product = i64::from(a[lane].cast_signed()) * i64::from(b[lane].cast_signed());
                let (sum, overflow) = product.overflowing_add(c.cast_signed());
                (sum.cast_unsigned(), u32::from(overflow))
            }
        }
    };
    let mut carries = [0; LANES];
    for (lane, carry) in carries.iter_mut().enumerate() {
        *carry = exact(lane).1;
    }
    let active = wave.exec();
    write_wide(wave, destination, |lane| exact(lane).0);
    wave.set_mask(carry_out, mask_of(&carries) & active);
}

#[inline(always)]
pub(super) fn compare(
    wave: &mut Wave,
    test: VectorTest,
    effect: CompareEffect,
    destination: ScalarRegister,
    a: VectorSource,
    b: VectorSource,
) {
    let outcomes = match test {
        VectorTest::Signed16(relation) => compare_words(wave, relation, a, b, |bits| bits as i16),
        VectorTest::Unsigned16(relation) => compare_words(wave, relation, a, b, |bits| bits as u16),
        VectorTest::Signed32(relation) => compare_words(wave, relation, a, b, u32::cast_signed),
        VectorTest::Unsigned32(relation) => compare_words(wave, relation, a, b, |bits| bits),
        VectorTest::Signed64(relation) => compare_wide(wave, relation, a, b, u64::cast_signed),
        VectorTest::Unsigned64(relation) => compare_wide(wave, relation, a, b, |bits| bits),
        VectorTest::Float32(predicate) => combine(wave, a, b, |a, b| u32::from(predicate.holds(a, b))),
    };
    commit_compare(wave, &outcomes, effect, destination);
}

#[inline(always)]
pub(super) fn commit_compare(wave: &mut Wave, outcomes: &Values, effect: CompareEffect, destination: ScalarRegister) {
    let mask = mask_of(outcomes) & wave.exec();
    wave.set_mask(destination, mask);
    if effect == CompareEffect::AlsoExec {
        wave.set_exec(mask);
    }
}

/// One loop per relation, so that none of them branches.
macro_rules! for_each_relation {
    ($relation:ident, $lanes:ident) => {
        match $relation {
            Relation::Never => [0; LANES],
            Relation::Always => [1; LANES],
            Relation::Less => $lanes!(Relation::Less),
            Relation::Equal => $lanes!(Relation::Equal),
            Relation::LessOrEqual => $lanes!(Relation::LessOrEqual),
            Relation::Greater => $lanes!(Relation::Greater),
            Relation::NotEqual => $lanes!(Relation::NotEqual),
            Relation::GreaterOrEqual => $lanes!(Relation::GreaterOrEqual),
        }
    };
}

#[inline(always)]
fn compare_words<T: Ord + Copy>(
    wave: &Wave,
    relation: Relation,
    a: VectorSource,
    b: VectorSource,
    view: impl Fn(u32) -> T,
) -> Values {
    macro_rules! lanes {
        ($relation:expr) => {
            combine(wave, a, b, |a, b| u32::from(related($relation, view(a), view(b))))
        };
    }
    for_each_relation!(relation, lanes)
}

#[inline(always)]
fn compare_wide<T: Ord + Copy>(
    wave: &Wave,
    relation: Relation,
    a: VectorSource,
    b: VectorSource,
    view: impl Fn(u64) -> T,
) -> Values {
    let ((a_low, a_high), (b_low, b_high)) = (read_wide(wave, a), read_wide(wave, b));
    macro_rules! lanes {
        ($relation:expr) => {{
            let mut outcomes = [0; LANES];
            for lane in 0..LANES {
                let (a, b) = (wide(a_low[lane], a_high[lane]), wide(b_low[lane], b_high[lane]));
                outcomes[lane] = u32::from(related($relation, view(a), view(b)));
            }
            outcomes
        }};
    }
    for_each_relation!(relation, lanes)
}

impl FloatPredicate {
    #[inline(always)]
    pub(super) fn holds(self, a: u32, b: u32) -> bool {
        match f32::from_bits(a).partial_cmp(&f32::from_bits(b)) {
            Some(std::cmp::Ordering::Less) => self.less,
            Some(std::cmp::Ordering::Equal) => self.equal,
            Some(std::cmp::Ordering::Greater) => self.greater,
            None => self.unordered,
        }
    }
}

/// The value of one lane of a source.
#[inline(always)]
fn lane_of(wave: &Wave, source: VectorSource, lane: usize) -> u32 {
    match source {
        VectorSource::Vector(register) => wave.vector(register).0[lane % wave.size().lanes()],
        VectorSource::Scalar(source) => wave.word(source),
    }
}

/// The lowest active lane, or lane 0 if none is (GCN3 "V_READFIRSTLANE_B32").
#[inline(always)]
pub(super) fn read_first_lane(wave: &mut Wave, destination: ScalarRegister, a: VectorSource) {
    let exec = wave.exec();
    let lane = if exec == 0 { 0 } else { exec.trailing_zeros() as usize };
    let value = lane_of(wave, a, lane);
    wave.set_scalar(destination, value);
}

#[inline(always)]
pub(super) fn read_lane(wave: &mut Wave, destination: ScalarRegister, a: VectorSource, lane: ScalarSource) {
    let value = lane_of(wave, a, wave.word(lane) as usize);
    wave.set_scalar(destination, value);
}

/// Writes one lane, active or not.
#[inline(always)]
pub(super) fn write_lane(wave: &mut Wave, destination: VectorRegister, value: ScalarSource, lane: ScalarSource) {
    let (value, lane) = (wave.word(value), wave.word(lane) as usize % wave.size().lanes());
    wave.vector_mut(destination).0[lane] = value;
}
