//! Operations of the vector unit on integers and bits, of one lane.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::Single;

use crate::model::isa::instruction::{Relation, Shift64, VectorBinary, VectorTernary, VectorTest, VectorUnary};

const WORD: i64 = 1 << 32;

/// The low 32 bits of a number in two's complement.
fn low(value: i64) -> u32 {
    value.rem_euclid(WORD) as u32
}

/// What is above the low 32 bits.
fn above(value: i64) -> u32 {
    low(value.div_euclid(WORD))
}

/// The low bits of a word, as they are.
pub(super) fn unsigned(value: u32, bits: u32) -> i64 {
    i64::from(value) % (1 << bits)
}

/// The low bits of a word in two's complement.
pub(super) fn signed(value: u32, bits: u32) -> i64 {
    let field = unsigned(value, bits);
    if bits > 0 && field >= 1 << (bits - 1) { field - (1 << bits) } else { field }
}

/// A word from its bits, lowest first.
pub(super) fn from_bits(bits: u32, bit: impl Fn(u32) -> bool) -> u64 {
    (0..bits).filter(|n| bit(*n)).map(|n| 1_u64 << n).sum()
}

fn is_set(value: u32, bit: u32) -> bool {
    value / (1 << bit) % 2 == 1
}

fn ones(value: u32) -> i64 {
    (0..32).filter(|bit| is_set(value, *bit)).count() as i64
}

fn bitwise(rule: impl Fn(&[bool]) -> bool, sources: &[u32]) -> u32 {
    from_bits(32, |bit| rule(&sources.iter().map(|value| is_set(*value, bit)).collect::<Vec<_>>())) as u32
}

/// The number of a bit counted from some end, or -1.
fn position(mut bits: impl Iterator<Item = bool>) -> u32 {
    bits.position(|bit| bit).map_or(u32::MAX, |position| position as u32)
}

fn float(value: i128) -> u32 {
    Single::from_i128(value).value.to_bits() as u32
}

pub(super) fn unary(op: VectorUnary, a: u32) -> u32 {
    match op {
        VectorUnary::Move => a,
        VectorUnary::Not => bitwise(|a| !a[0], &[a]),
        VectorUnary::Reverse => from_bits(32, |bit| is_set(a, 31 - bit)) as u32,
        VectorUnary::FindFirstOneHigh => position((0..32).map(|n| is_set(a, 31 - n))),
        VectorUnary::FindFirstOneLow => position((0..32).map(|n| is_set(a, n))),
        VectorUnary::FindSignChangeHigh => position((0..32).map(|n| is_set(a, 31 - n) != is_set(a, 31))),
        VectorUnary::FloatFromSigned => float(signed(a, 32).into()),
        VectorUnary::FloatFromUnsigned => float(a.into()),
        VectorUnary::FloatFromByte(byte) => float(a.to_le_bytes()[usize::from(byte)].into()),
        VectorUnary::SignExtend16 => low(signed(a, 16)),
        VectorUnary::ZeroExtend16 => low(unsigned(a, 16)),
    }
}

pub(super) fn binary(op: VectorBinary, a: u32, b: u32) -> u32 {
    use VectorBinary as Op;
    let (u, v) = (unsigned(a, 32), unsigned(b, 32));
    let (s, t) = (signed(a, 32), signed(b, 32));
    let (u16, v16) = (unsigned(a, 16), unsigned(b, 16));
    let (s16, t16) = (signed(a, 16), signed(b, 16));
    // The upper half of a 16-bit result is zero.
    let short = |value: i64| value.rem_euclid(1 << 16) as u32;
    match op {
        Op::MultiplySigned24 => low(signed(a, 24) * signed(b, 24)),
        Op::MultiplyHighSigned24 => above(signed(a, 24) * signed(b, 24)),
        Op::MultiplyUnsigned24 => low(unsigned(a, 24) * unsigned(b, 24)),
        Op::MultiplyHighUnsigned24 => above(unsigned(a, 24) * unsigned(b, 24)),
        Op::MinSigned => low(if s < t { s } else { t }),
        Op::MaxSigned => low(if s > t { s } else { t }),
        Op::MinUnsigned => low(if u < v { u } else { v }),
        Op::MaxUnsigned => low(if u > v { u } else { v }),
        Op::ShiftRightReversed => low(v / (1 << unsigned(a, 5))),
        Op::ShiftRightSignedReversed => low(t.div_euclid(1 << unsigned(a, 5))),
        Op::ShiftLeftReversed => low(v * (1 << unsigned(a, 5))),
        Op::And => bitwise(|bits| bits[0] && bits[1], &[a, b]),
        Op::Or => bitwise(|bits| bits[0] || bits[1], &[a, b]),
        Op::Xor => bitwise(|bits| bits[0] != bits[1], &[a, b]),
        Op::Xnor => bitwise(|bits| bits[0] == bits[1], &[a, b]),
        Op::Add16 => short(u16 + v16),
        Op::Subtract16 => short(u16 - v16),
        Op::SubtractReversed16 => short(v16 - u16),
        Op::Multiply16 => short(u16 * v16),
        Op::ShiftLeftReversed16 => short(v16 * (1 << unsigned(a, 4))),
        Op::ShiftRightReversed16 => short(v16 / (1 << unsigned(a, 4))),
        Op::ShiftRightSignedReversed16 => short(t16.div_euclid(1 << unsigned(a, 4))),
        Op::MaxUnsigned16 => short(if u16 > v16 { u16 } else { v16 }),
        Op::MaxSigned16 => short(if s16 > t16 { s16 } else { t16 }),
        Op::MinUnsigned16 => short(if u16 < v16 { u16 } else { v16 }),
        Op::MinSigned16 => short(if s16 < t16 { s16 } else { t16 }),
        Op::MultiplyLow => (u128::from(a) * u128::from(b) % (1 << 32)) as u32,
        Op::MultiplyHighUnsigned => ((u128::from(a) * u128::from(b)) >> 32) as u32,
        Op::MultiplyHighSigned => above(s * t),
        Op::CountOnesAdd => low(ones(a) + v),
        Op::Add => low(u + v),
        Op::Subtract => low(u - v),
        Op::SubtractReversed => low(v - u),
        Op::BitFieldMask => low(((1 << unsigned(a, 5)) - 1) << unsigned(b, 5)),
        Op::PackUnsigned16 => low(u.min(0xffff) + (v.min(0xffff) << 16)),
        Op::PackSigned16 => {
            let saturated = |value: i64| value.clamp(-0x8000, 0x7fff).rem_euclid(1 << 16);
            low(saturated(s) + (saturated(t) << 16))
        }
    }
}

pub(super) fn ternary(op: VectorTernary, a: u32, b: u32, c: u32) -> u32 {
    use VectorTernary as Op;
    let [u, v, w] = [a, b, c].map(|value| unsigned(value, 32));
    let [s, t, r] = [a, b, c].map(|value| signed(value, 32));
    let sorted = |mut values: [i64; 3]| {
        values.sort_unstable();
        values
    };
    let short = |value: i64| value.rem_euclid(1 << 16) as u32;
    let joined = u128::from(a) << 32 | u128::from(b);
    match op {
        Op::MultiplyAddSigned24 => low(i64::from(low(signed(a, 24) * signed(b, 24))) + w),
        Op::MultiplyAddUnsigned24 => low(i64::from(low(unsigned(a, 24) * unsigned(b, 24))) + w),
        Op::ExtractUnsigned => low(u / (1 << unsigned(b, 5)) % (1 << unsigned(c, 5))),
        Op::ExtractSigned => {
            let shifted = s.div_euclid(1 << unsigned(b, 5));
            low(signed(low(shifted), unsigned(c, 5) as u32))
        }
        Op::Insert => bitwise(|bits| if bits[0] { bits[1] } else { bits[2] }, &[a, b, c]),
        Op::AlignBits => (joined >> (c % 32)) as u32,
        Op::AlignBytes => (joined >> (8 * (c % 4))) as u32,
        Op::MinSigned => low(sorted([s, t, r])[0]),
        Op::MinUnsigned => low(sorted([u, v, w])[0]),
        Op::MaxSigned => low(sorted([s, t, r])[2]),
        Op::MaxUnsigned => low(sorted([u, v, w])[2]),
        Op::MedianSigned => low(sorted([s, t, r])[1]),
        Op::MedianUnsigned => low(sorted([u, v, w])[1]),
        Op::SumAbsoluteDifference => low((u - v).abs() + w),
        Op::MultiplyAddUnsigned16 => short(unsigned(a, 16) * unsigned(b, 16) + unsigned(c, 16)),
        Op::MultiplyAddSigned16 => short(signed(a, 16) * signed(b, 16) + signed(c, 16)),
        Op::MultiplyAddUnsigned16To32 => low(unsigned(a, 16) * unsigned(b, 16) + w),
        Op::MultiplyAddSigned16To32 => low(signed(a, 16) * signed(b, 16) + r),
        Op::Permute => u32::from_le_bytes(c.to_le_bytes().map(|selector| byte_of(joined as u64, selector))),
        Op::XorAdd => low(unsigned(bitwise(|bits| bits[0] != bits[1], &[a, b]), 32) + w),
        Op::ShiftLeftAdd => low(i64::from(low(u * (1 << unsigned(b, 5)))) + w),
        Op::AddShiftLeft => low((u + v) % WORD * (1 << unsigned(c, 5))),
        Op::AddThree => low(u + v + w),
        Op::ShiftLeftOr => bitwise(|bits| bits[0] || bits[1], &[low(u * (1 << unsigned(b, 5))), c]),
        Op::AndOr => bitwise(|bits| bits[0] && bits[1] || bits[2], &[a, b, c]),
        Op::OrThree => bitwise(|bits| bits.contains(&true), &[a, b, c]),
        Op::XorThree => bitwise(|bits| bits.iter().filter(|bit| **bit).count() % 2 == 1, &[a, b, c]),
        Op::MinOfMaxUnsigned => low(u.max(v).min(w)),
        Op::MaxOfMinUnsigned => low(u.min(v).max(w)),
        Op::MinOfMaxSigned => low(s.max(t).min(r)),
        Op::MaxOfMinSigned => low(s.min(t).max(r)),
    }
}

/// `BYTE_PERMUTE` of the guides.
fn byte_of(data: u64, selector: u8) -> u8 {
    let bytes = data.to_le_bytes();
    let sign_of = |byte: usize| if bytes[byte] >= 0x80 { 0xff } else { 0 };
    match selector {
        13.. => 0xff,
        12 => 0,
        11 => sign_of(7),
        10 => sign_of(5),
        9 => sign_of(3),
        8 => sign_of(1),
        _ => bytes[usize::from(selector)],
    }
}

pub(super) fn shift64(op: Shift64, amount: u32, value: u64) -> u64 {
    let factor = 1_i128 << (amount % 64);
    match op {
        Shift64::Left => (i128::from(value) * factor).rem_euclid(1 << 64) as u64,
        Shift64::Right => (i128::from(value) / factor) as u64,
        Shift64::RightSigned => i128::from(value as i64).div_euclid(factor).rem_euclid(1 << 64) as u64,
    }
}

/// Whether two numbers stand in a relation.
pub(super) fn related(relation: Relation, a: i128, b: i128) -> bool {
    match relation {
        Relation::Never => false,
        Relation::Less => a - b < 0,
        Relation::Equal => a - b == 0,
        Relation::LessOrEqual => a - b <= 0,
        Relation::Greater => a - b > 0,
        Relation::NotEqual => a - b != 0,
        Relation::GreaterOrEqual => a - b >= 0,
        Relation::Always => true,
    }
}

/// Whether one lane passes a compare; narrow tests look at the low bits.
pub(super) fn compare(test: VectorTest, a: u64, b: u64) -> bool {
    let (x, y) = (a as u32, b as u32);
    match test {
        VectorTest::Signed16(relation) => related(relation, signed(x, 16).into(), signed(y, 16).into()),
        VectorTest::Unsigned16(relation) => related(relation, unsigned(x, 16).into(), unsigned(y, 16).into()),
        VectorTest::Signed32(relation) => related(relation, signed(x, 32).into(), signed(y, 32).into()),
        VectorTest::Unsigned32(relation) => related(relation, x.into(), y.into()),
        VectorTest::Signed64(relation) => related(relation, (a as i64).into(), (b as i64).into()),
        VectorTest::Unsigned64(relation) => related(relation, a.into(), b.into()),
        VectorTest::Float32(predicate) => super::floats::holds(predicate, x, y),
    }
}
