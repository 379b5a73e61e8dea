//! Operations of the scalar unit.

use super::integers::{from_bits, related, signed, unsigned};
use super::state::{Effects, Flag, State};
use crate::model::isa::instruction::{Bitwise, ScalarBinary, ScalarImmediate, ScalarTest, ScalarUnary, WordHalf};
use crate::model::isa::operand::{OperandSize, ScalarRegister, ScalarSource};

/// A result and what SCC becomes.
enum Outcome {
    Word(i128, Option<Flag>),
    Pair(u64, Option<Flag>),
    /// Neither the destination nor SCC changes.
    Nothing,
}

const fn is(flag: bool) -> Option<Flag> {
    Some(Flag::Exact(flag))
}

/// A word, and SCC says whether it is not zero.
fn word(value: i128) -> Outcome {
    Outcome::Word(value, is(value.rem_euclid(1 << 32) != 0))
}

fn pair(value: u64) -> Outcome {
    Outcome::Pair(value, is(value != 0))
}

fn write(destination: ScalarRegister, outcome: &Outcome) -> Effects {
    let mut effects = Effects::default();
    match *outcome {
        Outcome::Word(value, scc) => {
            effects.scalar.push((destination, value.rem_euclid(1 << 32) as u32));
            effects.scc = scc;
        }
        Outcome::Pair(value, scc) => {
            effects.pair(destination, value);
            effects.scc = scc;
        }
        Outcome::Nothing => {}
    }
    effects
}

fn is_set(value: u64, bit: u32) -> bool {
    value >> bit & 1 == 1
}

fn count(value: u64, bits: u32, wanted: bool) -> i128 {
    (0..bits).filter(|bit| is_set(value, *bit) == wanted).count() as i128
}

/// The first `n` for which the rule holds, or -1.
fn first(bits: u32, rule: impl Fn(u32) -> bool) -> i128 {
    (0..bits).find(|n| rule(*n)).map_or(-1, i128::from)
}

/// Bits of the quad, of four, that a bit is in.
fn quad(value: u64, quad: u32) -> bool {
    (0..4).any(|n| is_set(value, 4 * quad + n))
}

pub(super) fn unary(op: ScalarUnary, destination: ScalarRegister, a: ScalarSource, state: &State) -> Effects {
    use ScalarUnary as Op;
    let (x, y) = (u64::from(state.scalar32(a)), state.scalar64(a));
    let (old, old64) = (u64::from(state.register(destination)), state.pair(destination));
    let (bit, bit64) = ((x % 32) as u32, (x % 64) as u32);
    let plain = |value: i128| Outcome::Word(value, None);
    let outcome = match op {
        Op::Move32 => plain(x.into()),
        Op::Move64 => Outcome::Pair(y, None),
        Op::ConditionalMove32 => {
            if state.scc {
                plain(x.into())
            } else {
                Outcome::Nothing
            }
        }
        Op::ConditionalMove64 => {
            if state.scc {
                Outcome::Pair(y, None)
            } else {
                Outcome::Nothing
            }
        }
        Op::Not32 => word(from_bits(32, |n| !is_set(x, n)).into()),
        Op::Not64 => pair(from_bits(64, |n| !is_set(y, n))),
        Op::WholeQuad32 => word(from_bits(32, |n| quad(x, n / 4)).into()),
        Op::WholeQuad64 => pair(from_bits(64, |n| quad(y, n / 4))),
        Op::QuadMask32 => word(from_bits(8, |n| quad(x, n)).into()),
        Op::QuadMask64 => pair(from_bits(16, |n| quad(y, n))),
        Op::Reverse32 => plain(from_bits(32, |n| is_set(x, 31 - n)).into()),
        Op::Reverse64 => Outcome::Pair(from_bits(64, |n| is_set(y, 63 - n)), None),
        Op::CountZeros32 => word(count(x, 32, false)),
        Op::CountZeros64 => word(count(y, 64, false)),
        Op::CountOnes32 => word(count(x, 32, true)),
        Op::CountOnes64 => word(count(y, 64, true)),
        Op::FindFirstZero32 => plain(first(32, |n| !is_set(x, n))),
        Op::FindFirstZero64 => plain(first(64, |n| !is_set(y, n))),
        Op::FindFirstOne32 => plain(first(32, |n| is_set(x, n))),
        Op::FindFirstOne64 => plain(first(64, |n| is_set(y, n))),
        // From the top, counted from there.
        Op::FindLastOne32 => plain(first(32, |n| is_set(x, 31 - n))),
        Op::FindLastOne64 => plain(first(64, |n| is_set(y, 63 - n))),
        Op::FindSignChange32 => plain(first(32, |n| is_set(x, 31 - n) != is_set(x, 31))),
        Op::FindSignChange64 => plain(first(64, |n| is_set(y, 63 - n) != is_set(y, 63))),
        Op::SignExtend8 => plain(signed(x as u32, 8).into()),
        Op::SignExtend16 => plain(signed(x as u32, 16).into()),
        Op::ClearBit32 => plain(from_bits(32, |n| n != bit && is_set(old, n)).into()),
        Op::ClearBit64 => Outcome::Pair(from_bits(64, |n| n != bit64 && is_set(old64, n)), None),
        Op::SetBit32 => plain(from_bits(32, |n| n == bit || is_set(old, n)).into()),
        Op::SetBit64 => Outcome::Pair(from_bits(64, |n| n == bit64 || is_set(old64, n)), None),
        Op::Absolute => word(signed(x as u32, 32).abs().into()),
    };
    write(destination, &outcome)
}

/// One bit of a bitwise operation; S0 comes first.
fn bit(op: Bitwise, a: bool, b: bool) -> bool {
    match op {
        Bitwise::And => a && b,
        Bitwise::Or => a || b,
        Bitwise::Xor => a != b,
        Bitwise::AndNot => a && !b,
        Bitwise::OrNot => a || !b,
        Bitwise::Nand => !(a && b),
        Bitwise::Nor => !(a || b),
        Bitwise::Xnor => a == b,
        Bitwise::NotAnd => !a && b,
        Bitwise::NotOr => !a || b,
    }
}

fn bitwise(op: Bitwise, a: u64, b: u64, bits: u32) -> u64 {
    from_bits(bits, |n| bit(op, is_set(a, n), is_set(b, n)))
}

/// What a field of `width` bits at an offset holds.
fn field(value: i128, offset: u32, width: u32) -> i128 {
    value.div_euclid(1 << offset).rem_euclid(1 << width)
}

fn signed_field(value: i128, offset: u32, width: u32) -> i128 {
    let field = field(value, offset, width);
    if width > 0 && field >= 1 << (width - 1) { field - (1 << width) } else { field }
}

pub(super) fn binary(op: ScalarBinary, destination: ScalarRegister, a: ScalarSource, b: ScalarSource, state: &State) -> Effects {
    use ScalarBinary as Op;
    let (x, y) = (state.scalar32(a), state.scalar32(b));
    let (x64, y64) = (state.scalar64(a), state.scalar64(b));
    let (u, v) = (i128::from(x), i128::from(y));
    let (s, t) = (i128::from(signed(x, 32)), i128::from(signed(y, 32)));
    let carry = i128::from(state.scc);
    let wraps = |value: i128| is(!(0..1 << 32).contains(&value));
    let overflows = |value: i128| is(!(-(1 << 31)..1 << 31).contains(&value));
    let (by, by64) = (1_i128 << unsigned(y, 5), 1_i128 << unsigned(y, 6));
    let long = |value: i128| pair(value.rem_euclid(1 << 64) as u64);
    // No field is wider than its operand, whatever the seven bits for its width say.
    let (signed64, offset, width) = (i128::from(x64 as i64), y % 64, (y >> 16 & 0x7f).min(64));
    // Where the operands are equal, RDNA 3's guide says that the first was chosen; measurements say that it was not.
    let greater = |a: i128, b: i128| if a == b { Some(Flag::Either) } else { is(a > b) };
    let outcome = match op {
        Op::AddUnsigned => Outcome::Word(u + v, wraps(u + v)),
        Op::SubtractUnsigned => Outcome::Word(u - v, wraps(u - v)),
        Op::AddSigned => Outcome::Word(s + t, overflows(s + t)),
        Op::SubtractSigned => Outcome::Word(s - t, overflows(s - t)),
        Op::AddCarry => Outcome::Word(u + v + carry, wraps(u + v + carry)),
        Op::SubtractBorrow => Outcome::Word(u - v - carry, wraps(u - v - carry)),
        Op::MinSigned => Outcome::Word(if s < t { s } else { t }, is(s < t)),
        Op::MinUnsigned => Outcome::Word(if u < v { u } else { v }, is(u < v)),
        Op::MaxSigned => Outcome::Word(if s > t { s } else { t }, greater(s, t)),
        Op::MaxUnsigned => Outcome::Word(if u > v { u } else { v }, greater(u, v)),
        Op::Select32 => Outcome::Word(if state.scc { u } else { v }, None),
        Op::Select64 => Outcome::Pair(if state.scc { x64 } else { y64 }, None),
        Op::Bitwise32(op) => word(bitwise(op, x.into(), y.into(), 32).into()),
        Op::Bitwise64(op) => pair(bitwise(op, x64, y64, 64)),
        Op::ShiftLeft32 => word(u * by),
        Op::ShiftLeft64 => long(i128::from(x64) * by64),
        Op::ShiftRight32 => word(u / by),
        Op::ShiftRight64 => long(i128::from(x64) / by64),
        Op::ShiftRightSigned32 => word(s.div_euclid(by)),
        Op::ShiftRightSigned64 => long(signed64.div_euclid(by64)),
        Op::BitFieldMask32 => Outcome::Word(((1 << unsigned(x, 5)) - 1) * by, None),
        Op::BitFieldMask64 => Outcome::Pair((((1_i128 << unsigned(x, 6)) - 1) * by64).rem_euclid(1 << 64) as u64, None),
        Op::Multiply => Outcome::Word(s * t, None),
        Op::MultiplyHighUnsigned => Outcome::Word(u * v / (1 << 32), None),
        Op::MultiplyHighSigned => Outcome::Word((s * t).div_euclid(1 << 32), None),
        Op::ShiftLeftAdd(bits) => Outcome::Word(u * (1 << bits) + v, wraps(u * (1 << bits) + v)),
        Op::Pack(first, second) => Outcome::Word(half(first, u) + half(second, v) * (1 << 16), None),
        Op::ExtractUnsigned32 => word(field(u, y % 32, width)),
        Op::ExtractSigned32 => word(signed_field(s, y % 32, width)),
        Op::ExtractUnsigned64 => long(field(x64.into(), offset, width)),
        Op::ExtractSigned64 => long(signed_field(signed64, offset, width)),
        // The difference is of 32 bits before its sign goes.
        Op::AbsoluteDifference => word(i128::from(signed((s - t).rem_euclid(1 << 32) as u32, 32)).abs()),
    };
    write(destination, &outcome)
}

fn half(which: WordHalf, value: i128) -> i128 {
    match which {
        WordHalf::Low => value % (1 << 16),
        WordHalf::High => value / (1 << 16),
    }
}

fn passes(test: ScalarTest, x: u64, y: u64) -> bool {
    let (a, b) = (x as u32, y as u32);
    match test {
        ScalarTest::Signed(relation) => related(relation, signed(a, 32).into(), signed(b, 32).into()),
        ScalarTest::Unsigned(relation) => related(relation, a.into(), b.into()),
        ScalarTest::Unsigned64(relation) => related(relation, x.into(), y.into()),
        ScalarTest::BitIsZero32 => !is_set(a.into(), b % 32),
        ScalarTest::BitIsOne32 => is_set(a.into(), b % 32),
        ScalarTest::BitIsZero64 => !is_set(x, b % 64),
        ScalarTest::BitIsOne64 => is_set(x, b % 64),
    }
}

pub(super) fn compare(test: ScalarTest, a: ScalarSource, b: ScalarSource, state: &State) -> Effects {
    Effects { scc: is(passes(test, state.scalar64(a), state.scalar64(b))), ..Effects::default() }
}

pub(super) fn immediate(op: ScalarImmediate, register: ScalarRegister, constant: i16, state: &State) -> Effects {
    let old = state.register(register);
    let (value, s) = (i128::from(constant), i128::from(signed(old, 32)));
    let outcome = match op {
        ScalarImmediate::Move => Outcome::Word(value, None),
        ScalarImmediate::ConditionalMove => {
            if state.scc {
                Outcome::Word(value, None)
            } else {
                Outcome::Nothing
            }
        }
        ScalarImmediate::Compare(test) => {
            // An unsigned compare extends its constant with zeros.
            let operand = if let ScalarTest::Unsigned(_) = test { value.rem_euclid(1 << 16) } else { value };
            return Effects { scc: is(passes(test, old.into(), operand as u64)), ..Effects::default() };
        }
        ScalarImmediate::Add => Outcome::Word(s + value, is(!(-(1 << 31)..1 << 31).contains(&(s + value)))),
        ScalarImmediate::Multiply => Outcome::Word(s * value, None),
    };
    write(register, &outcome)
}

/// `S_*_SAVEEXEC` keeps what EXEC was, `S_*_WREXEC` what it becomes.
pub(super) fn exec(
    op: Bitwise,
    size: OperandSize,
    destination: ScalarRegister,
    a: ScalarSource,
    keeps_old: bool,
    state: &State,
) -> Option<Effects> {
    let mut effects = Effects::default();
    let old = state.pair(ScalarRegister::EXEC);
    let mut put = |register, value: u64| match size {
        OperandSize::Bits32 => effects.scalar.push((register, value as u32)),
        OperandSize::Bits64 => effects.pair(register, value),
    };
    let new = match size {
        OperandSize::Bits32 => bitwise(op, state.scalar64(a), old, 32),
        // The guides speak of these in waves of 64 only.
        OperandSize::Bits64 if state.lanes == 32 => return None,
        OperandSize::Bits64 => bitwise(op, state.scalar64(a), old, 64),
    };
    // EXEC is written last: a destination that is EXEC itself is no destination.
    put(destination, if keeps_old { old } else { new });
    put(ScalarRegister::EXEC, new);
    effects.scc = is(new != 0);
    Some(effects)
}
