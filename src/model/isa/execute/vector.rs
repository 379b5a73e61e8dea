//! Vector unit: what involves masks, carries, 64-bit values or single lanes.

use super::mask::{bits_of_half, mask_of_half};
use super::rows::{Values, combine, mask_of, read, read_half, read_wide, read_wide_half, wide};
use super::scalar::related;
use crate::model::isa::LANES;
use crate::model::isa::instruction::{CarryOp, CompareEffect, FloatPredicate, MaskHalf, Relation, Shift64, Signedness, VectorTest};
use crate::model::isa::operand::{ScalarRegister, ScalarSource, VectorRegister, VectorSource};
use crate::model::isa::wave::{HALF, Half, Wave};

#[inline(always)]
pub(super) fn carry(
    wave: &mut Wave,
    op: CarryOp,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b]: [VectorSource; 2],
    carry_in: ScalarRegister,
) {
    let carry_in = match op {
        CarryOp::Add | CarryOp::Subtract | CarryOp::SubtractReversed => 0,
        CarryOp::AddCarry | CarryOp::SubtractBorrow | CarryOp::SubtractBorrowReversed => wave.mask(carry_in),
    };
    let active = wave.exec();
    let carries = match op {
        CarryOp::Add => carry_halves(wave, destination, [a, b], carry_in, |a, b, _| with_bit(a.overflowing_add(b))),
        CarryOp::Subtract => carry_halves(wave, destination, [a, b], carry_in, |a, b, _| with_bit(a.overflowing_sub(b))),
        CarryOp::SubtractReversed => carry_halves(wave, destination, [b, a], carry_in, |a, b, _| with_bit(a.overflowing_sub(b))),
        CarryOp::AddCarry => carry_halves(wave, destination, [a, b], carry_in, |a, b, carry| {
            let partial = a.wrapping_add(b);
            let sum = partial.wrapping_add(carry);
            (sum, u32::from(partial < a) | u32::from(sum < partial))
        }),
        CarryOp::SubtractBorrow => carry_halves(wave, destination, [a, b], carry_in, subtract_borrow),
        CarryOp::SubtractBorrowReversed => carry_halves(wave, destination, [b, a], carry_in, subtract_borrow),
    };
    wave.set_mask(carry_out, carries & active);
}

#[inline(always)]
fn with_bit((value, carry): (u32, bool)) -> (u32, u32) {
    (value, u32::from(carry))
}

#[inline(always)]
fn subtract_borrow(a: u32, b: u32, borrow: u32) -> (u32, u32) {
    let partial = a.wrapping_sub(b);
    (partial.wrapping_sub(borrow), u32::from(a < b) | u32::from(partial < borrow))
}

/// Writes the sums of the active lanes and gives the carries of all.
#[inline(always)]
fn carry_halves(
    wave: &mut Wave,
    destination: VectorRegister,
    [a, b]: [VectorSource; 2],
    carry_in: u64,
    sum: impl Fn(u32, u32, u32) -> (u32, u32),
) -> u64 {
    let mut mask = 0;
    for half in wave.halves() {
        let (a, b, carry) = (read_half(wave, a, half), read_half(wave, b, half), bits_of_half(half.of_mask(carry_in)));
        let (mut sums, mut carries) = ([0; HALF], [0; HALF]);
        for lane in 0..HALF {
            (sums[lane], carries[lane]) = sum(a[lane], b[lane], carry[lane]);
        }
        mask |= half.in_mask(mask_of_half(&carries));
        wave.write_active_half(destination, half, &sums);
    }
    mask
}

#[inline(always)]
pub(super) fn select(wave: &mut Wave, destination: VectorRegister, a: VectorSource, b: VectorSource, mask: ScalarRegister) {
    let mask = wave.mask(mask);
    for half in wave.halves() {
        let (a, b, chosen) = (read_half(wave, a, half), read_half(wave, b, half), bits_of_half(half.of_mask(mask)));
        let mut values = [0; HALF];
        for lane in 0..HALF {
            values[lane] = if chosen[lane] == 0 { a[lane] } else { b[lane] };
        }
        wave.write_active_half(destination, half, &values);
    }
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
    for half in wave.halves() {
        let ((low, high), amount) = (read_wide_half(wave, value, half), read_half(wave, amount, half));
        let (addend_low, addend_high) = read_wide_half(wave, addend, half);
        write_words_half(wave, destination, half, |lane| {
            let (low, high) = shifted_left([low[lane], high[lane]], amount[lane] & 7);
            let (sum, carry) = low.overflowing_add(addend_low[lane]);
            (sum, high.wrapping_add(addend_high[lane]).wrapping_add(u32::from(carry)))
        });
    }
}

/// Writes low and high words of half a wave.
#[inline(always)]
fn write_words_half(wave: &mut Wave, destination: VectorRegister, half: Half, values: impl Fn(usize) -> (u32, u32)) {
    let (mut low, mut high) = ([0; HALF], [0; HALF]);
    for lane in 0..HALF {
        (low[lane], high[lane]) = values(lane);
    }
    wave.write_active_half(destination, half, &low);
    wave.write_active_half(destination.plus(1), half, &high);
}

#[inline(always)]
pub(super) fn shift64(wave: &mut Wave, op: Shift64, destination: VectorRegister, amount: VectorSource, value: VectorSource) {
    for half in wave.halves() {
        let (amount, (low, high)) = (read_half(wave, amount, half), read_wide_half(wave, value, half));
        match op {
            Shift64::Left => write_words_half(wave, destination, half, |lane| {
                let (near_low, near_high) = shifted_left([low[lane], high[lane]], amount[lane] & 31);
                if reaches_other_word(amount[lane]) { (0, near_low) } else { (near_low, near_high) }
            }),
            Shift64::Right => write_words_half(wave, destination, half, |lane| {
                let distance = amount[lane] & 31;
                let near_high = high[lane] >> distance;
                if reaches_other_word(amount[lane]) {
                    (near_high, 0)
                } else {
                    (shifted_right_low([low[lane], high[lane]], distance), near_high)
                }
            }),
            Shift64::RightSigned => write_words_half(wave, destination, half, |lane| {
                let (distance, high) = (amount[lane] & 31, high[lane].cast_signed());
                let near_high = (high >> distance).cast_unsigned();
                if reaches_other_word(amount[lane]) {
                    (near_high, (high >> 31).cast_unsigned())
                } else {
                    (shifted_right_low([low[lane], high.cast_unsigned()], distance), near_high)
                }
            }),
        }
    }
}

// Shifts of 64 bits by words: a host's row of 32-bit words need not be spread over two rows of 64-bit ones and back.

/// Whether a shift of 64 bits by this amount, of which six bits count, moves one word wholly out of its place.
#[inline(always)]
const fn reaches_other_word(amount: u32) -> bool {
    amount & 32 != 0
}

/// Low and high word of a shift to the left by less than 32.
#[inline(always)]
const fn shifted_left([low, high]: [u32; 2], distance: u32) -> (u32, u32) {
    // In two steps, because a shift by all 32 bits is none.
    (low << distance, high << distance | low >> 1 >> (31 - distance))
}

/// Low word of a shift to the right by less than 32.
#[inline(always)]
const fn shifted_right_low([low, high]: [u32; 2], distance: u32) -> u32 {
    low >> distance | high << 1 << (31 - distance)
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
