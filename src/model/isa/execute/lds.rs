//! DS: local memory of the workgroup, and lane exchanges that go through its crossbar.

use super::rows::{Values, wide};
use crate::model::bus::{OperandWidth, RmwOp};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{Element, LaneExchange, LdsAtomic, LdsPair, OldValue};
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::VectorRegister;
use crate::model::isa::wave::{Wave, lanes_of};

/// Calls `access` with each active lane and its address.
#[inline(always)]
fn each_lane(wave: &mut Wave, address: VectorRegister, offset: u32, mut access: impl FnMut(&mut Wave, usize, u32)) {
    // A copy, because a load may overwrite its own address.
    let addresses = wave.vector(address).0;
    for lane in lanes_of(wave.exec()) {
        access(wave, lane, addresses[lane].wrapping_add(offset));
    }
}

#[inline(always)]
fn set(wave: &mut Wave, register: VectorRegister, lane: usize, value: u32) {
    wave.vector_mut(register).0[lane] = value;
}

#[inline(always)]
fn get(wave: &Wave, register: VectorRegister, lane: usize) -> u32 {
    wave.vector(register).0[lane]
}

#[inline(always)]
fn set_pair(wave: &mut Wave, register: VectorRegister, lane: usize, value: u64) {
    set(wave, register, lane, value as u32);
    set(wave, register.plus(1), lane, (value >> 32) as u32);
}

#[inline(always)]
fn get_pair(wave: &Wave, register: VectorRegister, lane: usize) -> u64 {
    wide(get(wave, register, lane), get(wave, register.plus(1), lane))
}

#[inline(never)]
pub(super) fn load(
    wave: &mut Wave,
    lds: &Lds,
    element: Element,
    destination: VectorRegister,
    address: VectorRegister,
    offset: u16,
) {
    each_lane(wave, address, u32::from(offset), |wave, lane, at| load_lane(wave, lds, element, destination, lane, at));
}

#[inline(always)]
pub(super) fn load_lane(wave: &mut Wave, lds: &Lds, element: Element, destination: VectorRegister, lane: usize, at: u32) {
    match element {
        Element::Unsigned8 => set(wave, destination, lane, u32::from(lds.read::<1>(at)[0])),
        Element::Signed8 => set(wave, destination, lane, i32::from(i8::from_le_bytes(lds.read(at))).cast_unsigned()),
        Element::Unsigned16 => set(wave, destination, lane, u32::from(u16::from_le_bytes(lds.read(at)))),
        Element::Signed16 => set(wave, destination, lane, i32::from(i16::from_le_bytes(lds.read(at))).cast_unsigned()),
        Element::Words(2) => set_pair(wave, destination, lane, u64::from_le_bytes(lds.read(at))),
        Element::Words(count) => {
            for word in 0..count {
                let value = u32::from_le_bytes(lds.read(at.wrapping_add(4 * u32::from(word))));
                set(wave, destination.plus(word), lane, value);
            }
        }
    }
}

#[inline(never)]
pub(super) fn store(wave: &mut Wave, lds: &mut Lds, element: Element, address: VectorRegister, data: VectorRegister, offset: u16) {
    each_lane(wave, address, u32::from(offset), |wave, lane, at| store_lane(wave, lds, element, data, lane, at));
}

#[inline(always)]
pub(super) fn store_lane(wave: &Wave, lds: &mut Lds, element: Element, data: VectorRegister, lane: usize, at: u32) {
    match element {
        Element::Unsigned8 | Element::Signed8 => lds.write(at, [get(wave, data, lane) as u8]),
        Element::Unsigned16 | Element::Signed16 => lds.write(at, (get(wave, data, lane) as u16).to_le_bytes()),
        Element::Words(2) => lds.write(at, get_pair(wave, data, lane).to_le_bytes()),
        Element::Words(count) => {
            for word in 0..count {
                lds.write(at.wrapping_add(4 * u32::from(word)), get(wave, data.plus(word), lane).to_le_bytes());
            }
        }
    }
}

#[inline(never)]
pub(super) fn load_pair(
    wave: &mut Wave,
    lds: &Lds,
    width: OperandWidth,
    destination: VectorRegister,
    address: VectorRegister,
    offsets: LdsPair,
) {
    each_lane(wave, address, 0, |wave, lane, at| {
        let (first, second) = (at.wrapping_add(offsets.first), at.wrapping_add(offsets.second));
        match width {
            OperandWidth::Bits32 => {
                set(wave, destination, lane, u32::from_le_bytes(lds.read(first)));
                set(wave, destination.plus(1), lane, u32::from_le_bytes(lds.read(second)));
            }
            OperandWidth::Bits64 => {
                set_pair(wave, destination, lane, u64::from_le_bytes(lds.read(first)));
                set_pair(wave, destination.plus(2), lane, u64::from_le_bytes(lds.read(second)));
            }
        }
    });
}

#[inline(never)]
pub(super) fn store_pair(
    wave: &mut Wave,
    lds: &mut Lds,
    width: OperandWidth,
    address: VectorRegister,
    data: [VectorRegister; 2],
    offsets: LdsPair,
) {
    each_lane(wave, address, 0, |wave, lane, at| {
        for (register, offset) in data.into_iter().zip([offsets.first, offsets.second]) {
            let at = at.wrapping_add(offset);
            match width {
                OperandWidth::Bits32 => lds.write(at, get(wave, register, lane).to_le_bytes()),
                OperandWidth::Bits64 => lds.write(at, get_pair(wave, register, lane).to_le_bytes()),
            }
        }
    });
}

/// Operands of an LDS atomic.
#[derive(Clone, Copy)]
pub(super) struct Atomic {
    pub op: LdsAtomic,
    pub width: OperandWidth,
    pub old: OldValue,
    pub destination: VectorRegister,
    pub address: VectorRegister,
    pub data: [VectorRegister; 2],
    pub offset: u16,
}

macro_rules! updated {
    ($name:ident, $word:ty) => {
        /// The new value. Compare-and-swap compares with `first` and writes `second`: unlike in FLAT.
        #[inline(always)]
        fn $name(op: LdsAtomic, old: $word, first: $word, second: $word) -> $word {
            match op {
                LdsAtomic::SubtractReversed => first.wrapping_sub(old),
                LdsAtomic::MaskedOr => (old & !first) | second,
                LdsAtomic::Rmw(op) => match op {
                    RmwOp::Add => old.wrapping_add(first),
                    RmwOp::Sub => old.wrapping_sub(first),
                    RmwOp::Swap => first,
                    RmwOp::CompareSwap if old == first => second,
                    RmwOp::CompareSwap => old,
                    RmwOp::And => old & first,
                    RmwOp::Or => old | first,
                    RmwOp::Xor => old ^ first,
                    RmwOp::SignedMin => old.cast_signed().min(first.cast_signed()).cast_unsigned(),
                    RmwOp::SignedMax => old.cast_signed().max(first.cast_signed()).cast_unsigned(),
                    RmwOp::UnsignedMin => old.min(first),
                    RmwOp::UnsignedMax => old.max(first),
                    RmwOp::WrapInc if old >= first => 0,
                    RmwOp::WrapInc => old + 1,
                    RmwOp::WrapDec if old == 0 || old > first => first,
                    RmwOp::WrapDec => old - 1,
                },
            }
        }
    };
}

updated!(updated_u32, u32);
updated!(updated_u64, u64);

#[inline(never)]
pub(super) fn atomic(wave: &mut Wave, lds: &mut Lds, operands: Atomic) {
    each_lane(wave, operands.address, u32::from(operands.offset), |wave, lane, at| atomic_lane(wave, lds, operands, lane, at));
}

/// The atomic of one lane at `at`, wherever the operands say that the address is.
#[inline(always)]
pub(super) fn atomic_lane(wave: &mut Wave, lds: &mut Lds, operands: Atomic, lane: usize, at: u32) {
    let Atomic { op, width, old, destination, data: [first, second], .. } = operands;
    match width {
        OperandWidth::Bits32 => {
            let before = u32::from_le_bytes(lds.read(at));
            let after = updated_u32(op, before, get(wave, first, lane), get(wave, second, lane));
            lds.write(at, after.to_le_bytes());
            if old == OldValue::Returned {
                set(wave, destination, lane, before);
            }
        }
        OperandWidth::Bits64 => {
            let before = u64::from_le_bytes(lds.read(at));
            let after = updated_u64(op, before, get_pair(wave, first, lane), get_pair(wave, second, lane));
            lds.write(at, after.to_le_bytes());
            if old == OldValue::Returned {
                set_pair(wave, destination, lane, before);
            }
        }
    }
}

/// Lanes are named by byte address, four bytes each. What an inactive lane would have sent is zero.
#[inline(never)]
pub(super) fn exchange(
    wave: &mut Wave,
    op: LaneExchange,
    destination: VectorRegister,
    address: VectorRegister,
    data: VectorRegister,
) {
    let exec = wave.exec();
    let addresses = wave.vector(address).0;
    let mut sent = wave.vector(data).0;
    for (lane, value) in sent.iter_mut().enumerate() {
        if exec >> lane & 1 == 0 {
            *value = 0;
        }
    }
    let place = |lane: usize, offset: u16| addresses[lane].wrapping_add(u32::from(offset)) as usize / 4;
    let named = |lane: usize, offset: u16| place(lane, offset) % LANES;
    let named_within_32 = |lane: usize, offset: u16| lane & !31 | place(lane, offset) % 32;
    let mut received: Values = [0; LANES];
    match op {
        LaneExchange::Push(offset) => lanes_of(exec).for_each(|lane| received[named(lane, offset)] = sent[lane]),
        LaneExchange::Pull(offset) => lanes_of(exec).for_each(|lane| received[lane] = sent[named(lane, offset)]),
        LaneExchange::PushWithin32(offset) => {
            lanes_of(exec).for_each(|lane| received[named_within_32(lane, offset)] = sent[lane]);
        }
        LaneExchange::PullWithin32(offset) => {
            lanes_of(exec).for_each(|lane| received[lane] = sent[named_within_32(lane, offset)]);
        }
        LaneExchange::Swizzle(pattern) => {
            lanes_of(exec).for_each(|lane| received[lane] = sent[swizzled(pattern, lane)]);
        }
    }
    wave.write_active(destination, &received);
}

/// The lane that `lane` reads: four selectors within a quad, or and/or/xor masks within 32 lanes (GCN3 "DS_SWIZZLE_B32").
const fn swizzled(pattern: u16, lane: usize) -> usize {
    let pattern = pattern as usize;
    if pattern & 0x8000 != 0 {
        (lane & !3) | (pattern >> (2 * (lane & 3)) & 3)
    } else {
        let (and, or, xor) = (pattern & 0x1f, pattern >> 5 & 0x1f, pattern >> 10 & 0x1f);
        (lane & !31) | (((lane & 31 & and) | or) ^ xor)
    }
}
