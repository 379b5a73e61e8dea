//! Vector unit: what involves masks, carries, 64-bit values or single lanes.

use super::rows::{Values, bits_of, combine, mask_of, read, read_wide, wide};
use super::scalar::related;
use crate::model::isa::LANES;
use crate::model::isa::instruction::{CarryOp, CompareEffect, FloatPredicate, MaskHalf, Relation, Shift64, Signedness, VectorTest};
use crate::model::isa::operand::{ScalarRegister, ScalarSource, VectorRegister, VectorSource};
use crate::model::isa::wave::Wave;

#[inline(always)]
pub(super) fn carry(
    wave: &mut Wave,
    op: CarryOp,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b]: [VectorSource; 2],
    carry_in: ScalarRegister,
) {
    let (values, carries) = match op {
        CarryOp::Add => {
            let sums = combine(wave, a, b, u32::wrapping_add);
            (sums, mask_of(&combine(wave, a, b, |a, b| u32::from(a.checked_add(b).is_none()))))
        }
        CarryOp::Subtract => subtract(wave, a, b),
        CarryOp::SubtractReversed => subtract(wave, b, a),
        CarryOp::AddCarry => {
            let (a, b, carry) = (read(wave, a), read(wave, b), bits_of(wave.mask(carry_in)));
            let (mut sums, mut carries) = ([0; LANES], [0; LANES]);
            for lane in 0..LANES {
                let partial = a[lane].wrapping_add(b[lane]);
                sums[lane] = partial.wrapping_add(carry[lane]);
                carries[lane] = u32::from(partial < a[lane]) | u32::from(sums[lane] < partial);
            }
            (sums, mask_of(&carries))
        }
        CarryOp::SubtractBorrow => subtract_borrow(wave, a, b, carry_in),
        CarryOp::SubtractBorrowReversed => subtract_borrow(wave, b, a, carry_in),
    };
    let active = wave.exec();
    wave.write_active(destination, &values);
    wave.set_mask(carry_out, carries & active);
}

#[inline(always)]
fn subtract(wave: &Wave, a: VectorSource, b: VectorSource) -> (Values, u64) {
    (combine(wave, a, b, u32::wrapping_sub), mask_of(&combine(wave, a, b, |a, b| u32::from(a < b))))
}

#[inline(always)]
fn subtract_borrow(wave: &Wave, a: VectorSource, b: VectorSource, borrow_in: ScalarRegister) -> (Values, u64) {
    let (a, b, borrow) = (read(wave, a), read(wave, b), bits_of(wave.mask(borrow_in)));
    let (mut differences, mut borrows) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let partial = a[lane].wrapping_sub(b[lane]);
        differences[lane] = partial.wrapping_sub(borrow[lane]);
        borrows[lane] = u32::from(a[lane] < b[lane]) | u32::from(partial < borrow[lane]);
    }
    (differences, mask_of(&borrows))
}

#[inline(always)]
pub(super) fn select(wave: &mut Wave, destination: VectorRegister, a: VectorSource, b: VectorSource, mask: ScalarRegister) {
    let (a, b, chosen) = (read(wave, a), read(wave, b), bits_of(wave.mask(mask)));
    let mut values = [0; LANES];
    for lane in 0..LANES {
        values[lane] = if chosen[lane] == 0 { a[lane] } else { b[lane] };
    }
    wave.write_active(destination, &values);
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
    let (low, high) = read_wide(wave, a);
    wave.write_active(destination, &low);
    wave.write_active(destination.plus(1), &high);
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
    let ((low, high), amount, (addend_low, addend_high)) = (read_wide(wave, value), read(wave, amount), read_wide(wave, addend));
    write_wide(wave, destination, |lane| {
        (wide(low[lane], high[lane]) << (amount[lane] & 7)).wrapping_add(wide(addend_low[lane], addend_high[lane]))
    });
}

#[inline(always)]
pub(super) fn shift64(wave: &mut Wave, op: Shift64, destination: VectorRegister, amount: VectorSource, value: VectorSource) {
    let (amount, (low, high)) = (read(wave, amount), read_wide(wave, value));
    let value = |lane| wide(low[lane], high[lane]);
    match op {
        Shift64::Left => write_wide(wave, destination, |lane| value(lane) << (amount[lane] & 63)),
        Shift64::Right => write_wide(wave, destination, |lane| value(lane) >> (amount[lane] & 63)),
        Shift64::RightSigned => {
            write_wide(wave, destination, |lane| (value(lane).cast_signed() >> (amount[lane] & 63)).cast_unsigned());
        }
    }
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
                // The carry is bit 64 of a sum of 65 bits: the sign of the exact one (CDNA3 "V_MAD_I64_I32").
                let (sum, overflow) = product.overflowing_add(c.cast_signed());
                (sum.cast_unsigned(), u32::from((sum < 0) != overflow))
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
        wave.set_mask(ScalarRegister::EXEC, mask);
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
