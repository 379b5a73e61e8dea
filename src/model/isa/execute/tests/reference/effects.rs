//! What each instruction does to a wave.

use super::state::{Effects, State, Value, Wide};
use super::{doubles, floats, integers, scalars};
use crate::model::isa::instruction::{
    CarryOp, CompareEffect, DualHalf, DualOp, FloatModifiers, Instruction, MaskHalf, Packed, PackedChoice, Signedness,
};
use crate::model::isa::operand::{OperandSize, ScalarRegister, VectorRegister, VectorSource};

/// What becomes of the wave; `None` for what is not arithmetic, and for what the guides leave open.
pub(super) fn of(instruction: &Instruction, state: &State) -> Option<Effects> {
    let lane = |source, lane| state.lane(source, lane);
    let exact = |destination, rule: &dyn Fn(usize) -> u32| lanes(state, destination, &|lane| Value::Exact(rule(lane)));
    Some(match *instruction {
        Instruction::ScalarUnary { op, destination, a } => scalars::unary(op, destination, a, state),
        Instruction::ScalarBinary { op, destination, a, b } => scalars::binary(op, destination, a, b, state),
        Instruction::ScalarCompare { test, a, b } => scalars::compare(test, a, b, state),
        Instruction::ScalarImmediate { op, register, value } => scalars::immediate(op, register, value, state),
        Instruction::SaveExec { op, size, destination, a } => return scalars::exec(op, size, destination, a, true, state),
        Instruction::WriteExec { op, size, destination, a } => return scalars::exec(op, size, destination, a, false, state),
        Instruction::VectorUnary { op, destination, a } => exact(destination, &|n| integers::unary(op, lane(a, n))),
        Instruction::VectorBinary { op, destination, a, b } => {
            exact(destination, &|n| integers::binary(op, lane(a, n), lane(b, n)))
        }
        Instruction::VectorTernary { op, destination, a, b, c } => {
            exact(destination, &|n| integers::ternary(op, lane(a, n), lane(b, n), lane(c, n)))
        }
        Instruction::LowHalfBinary { op, destination, a, b } => {
            exact(destination, &|n| low_half(integers::binary(op, lane(a, n), lane(b, n)), state.row(destination, n)))
        }
        Instruction::LowHalfTernary { op, destination, a, b, c } => {
            exact(destination, &|n| low_half(integers::ternary(op, lane(a, n), lane(b, n), lane(c, n)), state.row(destination, n)))
        }
        Instruction::FloatUnary { op, destination, a, modifiers } => {
            lanes(state, destination, &|n| floats::unary(op, lane(a, n), modifiers))
        }
        Instruction::FloatBinary { op, destination, a, b, modifiers } => {
            lanes(state, destination, &|n| floats::binary(op, lane(a, n), lane(b, n), modifiers))
        }
        Instruction::FloatTernary { op, destination, a, b, c, modifiers } => {
            lanes(state, destination, &|n| floats::ternary(op, [a, b, c].map(|source| lane(source, n)), modifiers))
        }
        Instruction::Carry { op, destination, carry_out, a, b, carry_in } => {
            carry(op, destination, carry_out, [a, b], carry_in, state)
        }
        Instruction::Select { destination, a, b, mask } => select(destination, [a, b], mask, FloatModifiers::default(), state),
        Instruction::SelectFloat { destination, a, b, mask, modifiers } => select(destination, [a, b], mask, modifiers, state),
        Instruction::Dual { x, y, literal } => dual([x, y], literal, state),
        Instruction::SwapRegisters { a, b } => {
            let mut effects = exact(a, &|n| state.row(b, n));
            effects.vector.extend(exact(b, &|n| state.row(a, n)).vector);
            effects
        }
        Instruction::MaskedCount { half, destination, a, b } => {
            exact(destination, &|n| masked_count(half, lane(a, n), lane(b, n), n))
        }
        Instruction::Shift64 { op, destination, amount, value } => {
            wide(state, destination, &|n| Wide::Exact(integers::shift64(op, lane(amount, n), state.lane64(value, n))))
        }
        Instruction::Move64 { destination, a } => wide(state, destination, &|n| Wide::Exact(state.lane64(a, n))),
        Instruction::ShiftLeftAdd64 { destination, value, amount, addend } => wide(state, destination, &|n| {
            let shifted = u128::from(state.lane64(value, n)) << (lane(amount, n) % 8);
            Wide::Exact((shifted + u128::from(state.lane64(addend, n))) as u64)
        }),
        Instruction::Double { op, destination, a, b, c, modifiers } => {
            wide(state, destination, &|n| doubles::compute(op, [a, b, c].map(|source| state.lane64(source, n)), modifiers))
        }
        Instruction::Packed { op, destination, a, b, c, choice } => return packed(op, destination, [a, b, c], choice, state),
        Instruction::AccumulatorRead { destination, a } => exact(destination, &|n| state.accumulator(a, n)),
        Instruction::AccumulatorWrite { destination, a } => {
            Effects { accumulator: state.active().map(|n| (destination, n, lane(a, n))).collect(), ..Effects::default() }
        }
        Instruction::AccumulatorMove { destination, a } => Effects {
            accumulator: state.active().map(|n| (destination, n, state.accumulator(a, n))).collect(),
            ..Effects::default()
        },
        Instruction::MultiplyAdd64 { signedness, destination, carry_out, a, b, c } => {
            multiply_add(signedness, destination, carry_out, [a, b, c], state)
        }
        Instruction::VectorCompare { test, effect, destination, a, b } => {
            compare(effect, destination, state, &|n| integers::compare(test, state.lane64(a, n), state.lane64(b, n)))
        }
        Instruction::FloatCompare { predicate, effect, destination, a, b, modifiers } => {
            compare(effect, destination, state, &|n| {
                let signed = |which, source| floats::signed_source(modifiers, which, lane(source, n));
                floats::holds(predicate, signed(0, a), signed(1, b))
            })
        }
        Instruction::ReadFirstLane { destination, a } => {
            let first = state.active().next().unwrap_or(0);
            Effects { scalar: vec![(destination, lane(a, first))], ..Effects::default() }
        }
        Instruction::ReadLane { destination, a, lane: number } => {
            let value = lane(a, state.scalar32(number) as usize % state.lanes);
            Effects { scalar: vec![(destination, value)], ..Effects::default() }
        }
        Instruction::WriteLane { destination, value, lane: number } => {
            let written = (destination, state.scalar32(number) as usize % state.lanes, Value::Exact(state.scalar32(value)));
            Effects { vector: vec![written], ..Effects::default() }
        }
        Instruction::Nothing
        | Instruction::WaitForStores
        | Instruction::Order
        | Instruction::EndProgram
        | Instruction::Sleep
        | Instruction::Barrier
        | Instruction::Trap { .. }
        | Instruction::Branch { .. }
        | Instruction::GetProgramCounter { .. }
        | Instruction::SetProgramCounter { .. }
        | Instruction::SwapProgramCounter { .. }
        | Instruction::Call { .. }
        | Instruction::GetHardwareRegister { .. }
        | Instruction::ScalarLoad { .. }
        | Instruction::ReadClock { .. }
        | Instruction::FlatLoad { .. }
        | Instruction::FlatStore { .. }
        | Instruction::FlatAtomic { .. }
        | Instruction::ScratchLoad { .. }
        | Instruction::ScratchStore { .. }
        | Instruction::LdsLoad { .. }
        | Instruction::LdsStore { .. }
        | Instruction::LdsLoadPair { .. }
        | Instruction::LdsStorePair { .. }
        | Instruction::LdsAtomic { .. }
        | Instruction::LaneExchange { .. } => return None,
    })
}

/// Whether an opcode is none of arithmetic whatever its operands, or one that this wave cannot try.
pub(super) fn is_elsewhere(instruction: &Instruction) -> bool {
    !matches!(instruction, Instruction::Packed { .. })
        && (!matches!(instruction, Instruction::SaveExec { .. } | Instruction::WriteExec { .. })
            || matches!(
                instruction,
                Instruction::SaveExec { size: OperandSize::Bits64, .. } | Instruction::WriteExec { size: OperandSize::Bits64, .. }
            ))
}

fn lanes(state: &State, destination: VectorRegister, rule: &dyn Fn(usize) -> Value) -> Effects {
    Effects { vector: state.active().map(|lane| (destination, lane, rule(lane))).collect(), ..Effects::default() }
}

fn wide(state: &State, destination: VectorRegister, rule: &dyn Fn(usize) -> Wide) -> Effects {
    Effects { wide: state.active().map(|lane| (destination, lane, rule(lane))).collect(), ..Effects::default() }
}

fn low_half(result: u32, before: u32) -> u32 {
    before / (1 << 16) * (1 << 16) + result % (1 << 16)
}

fn carry(
    op: CarryOp,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b]: [VectorSource; 2],
    carry_in: ScalarRegister,
    state: &State,
) -> Effects {
    let carries = state.mask(carry_in);
    let exact = |lane: usize| {
        let (a, b) = (i64::from(state.lane(a, lane)), i64::from(state.lane(b, lane)));
        let carry = i64::from(carries >> lane & 1 == 1);
        match op {
            CarryOp::Add => a + b,
            CarryOp::AddCarry => a + b + carry,
            CarryOp::Subtract => a - b,
            CarryOp::SubtractBorrow => a - b - carry,
            CarryOp::SubtractReversed => b - a,
            CarryOp::SubtractBorrowReversed => b - a - carry,
        }
    };
    let mut effects = lanes(state, destination, &|lane| Value::Exact(exact(lane).rem_euclid(1 << 32) as u32));
    let wrapped = state.active().filter(|lane| !(0..1 << 32).contains(&exact(*lane))).map(|lane| 1 << lane).sum();
    effects.mask(state, carry_out, wrapped);
    effects
}

/// The carry of the signed form is bit 64 of a sum of 65 bits.
fn multiply_add(
    signedness: Signedness,
    destination: VectorRegister,
    carry_out: ScalarRegister,
    [a, b, c]: [VectorSource; 3],
    state: &State,
) -> Effects {
    let exact = |lane: usize| {
        let (a, b, c) = (state.lane(a, lane), state.lane(b, lane), state.lane64(c, lane));
        match signedness {
            Signedness::Unsigned => i128::from(a) * i128::from(b) + i128::from(c),
            Signedness::Signed => i128::from(a as i32) * i128::from(b as i32) + i128::from(c as i64),
        }
    };
    let mut effects = wide(state, destination, &|lane| Wide::Exact(exact(lane).rem_euclid(1 << 64) as u64));
    let carries = state.active().filter(|lane| exact(*lane).div_euclid(1 << 64).rem_euclid(2) == 1).map(|lane| 1 << lane).sum();
    effects.mask(state, carry_out, carries);
    effects
}

fn select(
    destination: VectorRegister,
    [a, b]: [VectorSource; 2],
    mask: ScalarRegister,
    modifiers: FloatModifiers,
    state: &State,
) -> Effects {
    let mask = state.mask(mask);
    lanes(state, destination, &|lane| {
        let (which, source) = if mask >> lane & 1 == 1 { (1, b) } else { (0, a) };
        Value::Exact(floats::signed_source(modifiers, which, state.lane(source, lane)))
    })
}

/// A lane that is not active has no bit.
fn compare(effect: CompareEffect, destination: ScalarRegister, state: &State, passes: &dyn Fn(usize) -> bool) -> Effects {
    let mask = state.active().filter(|lane| passes(*lane)).map(|lane| 1 << lane).sum();
    let mut effects = Effects::default();
    effects.mask(state, destination, mask);
    if effect == CompareEffect::AlsoExec {
        effects.mask(state, ScalarRegister::EXEC, mask);
    }
    effects
}

fn masked_count(half: MaskHalf, a: u32, b: u32, lane: usize) -> u32 {
    let first = match half {
        MaskHalf::Low => 0,
        MaskHalf::High => 32,
    };
    let below = (0..32).filter(|bit| first + bit < lane && a >> bit & 1 == 1).count();
    ((below as u64 + u64::from(b)) % (1 << 32)) as u32
}

fn dual(halves: [DualHalf; 2], literal: u32, state: &State) -> Effects {
    let mut effects = Effects::default();
    for DualHalf { op, destination, a, b } in halves {
        effects.vector.extend(
            lanes(state, destination, &|lane| {
                let (a, b, old) = (state.lane(a, lane), state.row(b, lane), state.row(destination, lane));
                match op {
                    DualOp::FusedMultiplyAccumulate => floats::fused(a, b, old),
                    DualOp::FusedAddLiteral => floats::fused(a, b, literal),
                    DualOp::FusedMultiplyByLiteral => floats::fused(a, literal, b),
                    DualOp::Float(op) => floats::binary(op, a, b, FloatModifiers::default()),
                    DualOp::Move => Value::Exact(a),
                    DualOp::Select => Value::Exact(if state.mask(ScalarRegister::VCC) >> lane & 1 == 1 { b } else { a }),
                    DualOp::Add => Value::Exact(((u64::from(a) + u64::from(b)) % (1 << 32)) as u32),
                    DualOp::ShiftLeftReversed => Value::Exact((u64::from(b) << (a % 32)) as u32),
                    DualOp::And => Value::Exact(a & b),
                }
            })
            .vector,
        );
    }
    effects
}

/// A negated move is not described anywhere.
fn packed(
    op: Packed,
    destination: VectorRegister,
    sources: [VectorSource; 3],
    choice: PackedChoice,
    state: &State,
) -> Option<Effects> {
    if op == Packed::Move && choice.negate_low | choice.negate_high != 0 {
        return None;
    }
    let taken = |which: usize, high: u8, negate: u8, lane: usize| {
        let has = |mask: u8| mask / (1 << which) % 2 == 1;
        let value = state.lane64(sources[which], lane);
        let word = if has(high) { value >> 32 } else { value } as u32;
        if has(negate) { word ^ 0x8000_0000 } else { word }
    };
    let low = |lane| [0, 1, 2].map(|which| taken(which, choice.high_for_low, choice.negate_low, lane));
    let high = |lane| [0, 1, 2].map(|which| taken(which, choice.high_for_high, choice.negate_high, lane));
    let mut effects = lanes(state, destination, &|lane| floats::packed(op, low(lane)));
    let upper = match op {
        Packed::Move => lanes(state, destination.plus(1), &|lane| Value::Exact(low(lane)[1])),
        _ => lanes(state, destination.plus(1), &|lane| floats::packed(op, high(lane))),
    };
    effects.vector.extend(upper.vector);
    Some(effects)
}
