//! FLAT: global memory. The LDS and private apertures are not mapped here, so touching them is a memory fault.

use super::Stop;
use super::rows::{Values, wide};
use crate::model::address::GpuVa;
use crate::model::bus::{Bus, OperandWidth, RmwOp};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{Coherence, Element, OldValue};
use crate::model::isa::operand::{AddressBase, GlobalAddress, VectorRegister};
use crate::model::isa::wave::{Wave, lanes_of};
use crate::model::memory::{Access, MemoryFault};

/// Addresses of the lanes.
struct Addresses {
    low: Values,
    high: Values,
}

impl Addresses {
    #[inline(always)]
    fn of(wave: &Wave, address: GlobalAddress) -> Self {
        let (mut low, mut high) = match address.base {
            AddressBase::Lanes(register) => (wave.vector(register).0, wave.vector(register.plus(1)).0),
            AddressBase::ScalarAndLanes(base, offsets) => {
                let (base, offsets) = (wave.scalar_pair(base), &wave.vector(offsets).0);
                let (mut low, mut high) = ([0; LANES], [0; LANES]);
                for lane in 0..LANES {
                    let sum = base.wrapping_add(u64::from(offsets[lane]));
                    (low[lane], high[lane]) = (sum as u32, (sum >> 32) as u32);
                }
                (low, high)
            }
        };
        if address.offset != 0 {
            let offset = i64::from(address.offset).cast_unsigned();
            for lane in 0..LANES {
                let sum = wide(low[lane], high[lane]).wrapping_add(offset);
                (low[lane], high[lane]) = (sum as u32, (sum >> 32) as u32);
            }
        }
        Self { low, high }
    }

    #[inline(always)]
    fn lane(&self, lane: usize) -> GpuVa {
        GpuVa(wide(self.low[lane], self.high[lane]))
    }
}

/// The first address, if all lanes are active and each accesses the bytes after those of the lane before it.
#[inline(always)]
fn contiguous(wave: &Wave, address: GlobalAddress, stride: u32) -> Option<GpuVa> {
    if wave.exec() != u64::MAX {
        return None;
    }
    let offset = i64::from(address.offset).cast_unsigned();
    match address.base {
        AddressBase::Lanes(register) => {
            let (low, high) = (&wave.vector(register).0, &wave.vector(register.plus(1)).0);
            let mut difference = 0;
            for lane in 0..LANES {
                difference |= low[lane].wrapping_sub(low[0].wrapping_add(stride * lane as u32)) | (high[lane] ^ high[0]);
            }
            (difference == 0).then(|| GpuVa(wide(low[0], high[0])) + offset)
        }
        AddressBase::ScalarAndLanes(base, offsets) => {
            let offsets = &wave.vector(offsets).0;
            // A row whose offsets wrap around is none.
            offsets[0].checked_add(stride * LANES as u32)?;
            let mut difference = 0;
            for lane in 0..LANES {
                difference |= offsets[lane].wrapping_sub(offsets[0].wrapping_add(stride * lane as u32));
            }
            (difference == 0).then(|| GpuVa(wave.scalar_pair(base)) + u64::from(offsets[0]) + offset)
        }
    }
}

/// Calls `access` with each active lane and its address.
#[inline(always)]
fn each_lane(
    wave: &mut Wave,
    address: GlobalAddress,
    mut access: impl FnMut(&mut Wave, usize, GpuVa) -> Result<(), MemoryFault>,
) -> Result<(), Stop> {
    // A copy, because a load may overwrite its own address.
    let addresses = Addresses::of(wave, address);
    for lane in lanes_of(wave.exec()) {
        access(wave, lane, addresses.lane(lane))?;
    }
    Ok(())
}

#[inline(always)]
pub(super) fn load(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    coherence: Coherence,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Result<(), Stop> {
    if coherence == Coherence::Cached {
        let done = match element {
            Element::Words(1) => load_row(wave, bus, destination, address),
            Element::Words(2) => load_rows::<2>(wave, bus, destination, address),
            Element::Words(4) => load_rows::<4>(wave, bus, destination, address),
            _ => None,
        };
        if done.is_some() {
            return Ok(());
        }
    }
    load_lanes(wave, bus, element, destination, address)
}

/// The fast path: one range check and one copy.
#[inline(always)]
fn load_row(wave: &mut Wave, bus: &Bus<'_>, destination: VectorRegister, address: GlobalAddress) -> Option<()> {
    let first = contiguous(wave, address, 4)?;
    let window = bus.memory.window(first, 4 * LANES as u64, Access::Read).ok()?;
    window.copy_to(&mut wave.vector_mut(destination).0);
    Some(())
}

/// The fast path for several words per lane.
#[inline(always)]
fn load_rows<const WORDS: usize>(
    wave: &mut Wave,
    bus: &Bus<'_>,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Option<()> {
    let first = contiguous(wave, address, 4 * WORDS as u32)?;
    let mut block = [[0_u32; WORDS]; LANES];
    let window = bus.memory.window(first, size_of_val(&block) as u64, Access::Read).ok()?;
    window.copy_to(block.as_flattened_mut());
    for word in 0..WORDS {
        let row = &mut wave.vector_mut(destination.plus(word as u8)).0;
        for lane in 0..LANES {
            row[lane] = block[lane][word];
        }
    }
    Some(())
}

#[inline(never)]
fn load_lanes(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Result<(), Stop> {
    let memory = &bus.memory;
    match element {
        Element::Unsigned8 => each_lane(wave, address, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = u32::from(memory.load_u8(va)?);
            Ok(())
        }),
        Element::Signed8 => each_lane(wave, address, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = i32::from(memory.load_u8(va)?.cast_signed()).cast_unsigned();
            Ok(())
        }),
        Element::Unsigned16 => each_lane(wave, address, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = u32::from(memory.load_u16(va)?);
            Ok(())
        }),
        Element::Signed16 => each_lane(wave, address, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = i32::from(memory.load_u16(va)?.cast_signed()).cast_unsigned();
            Ok(())
        }),
        // In one piece: this may be the value of a signal.
        Element::Words(2) => each_lane(wave, address, |wave, lane, va| {
            let value = memory.load_u64(va)?;
            write_pair(wave, destination, lane, value);
            Ok(())
        }),
        Element::Words(count) => each_lane(wave, address, |wave, lane, va| {
            for word in 0..count {
                let value = memory.load_u32(va + 4 * u64::from(word))?;
                wave.vector_mut(destination.plus(word)).0[lane] = value;
            }
            Ok(())
        }),
    }
}

#[inline(always)]
fn write_pair(wave: &mut Wave, register: VectorRegister, lane: usize, value: u64) {
    wave.vector_mut(register).0[lane] = value as u32;
    wave.vector_mut(register.plus(1)).0[lane] = (value >> 32) as u32;
}

#[inline(always)]
fn read_pair(wave: &Wave, register: VectorRegister, lane: usize) -> u64 {
    wide(wave.vector(register).0[lane], wave.vector(register.plus(1)).0[lane])
}

#[inline(always)]
pub(super) fn store(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    address: GlobalAddress,
    data: VectorRegister,
) -> Result<(), Stop> {
    wave.stores_under_way = true;
    let done = match element {
        Element::Words(1) => store_row(wave, bus, address, data),
        Element::Words(2) => store_rows::<2>(wave, bus, address, data),
        Element::Words(4) => store_rows::<4>(wave, bus, address, data),
        _ => None,
    };
    match done {
        Some(()) => Ok(()),
        None => store_lanes(wave, bus, element, address, data),
    }
}

#[inline(always)]
fn store_row(wave: &Wave, bus: &Bus<'_>, address: GlobalAddress, data: VectorRegister) -> Option<()> {
    let first = contiguous(wave, address, 4)?;
    let window = bus.memory.window(first, 4 * LANES as u64, Access::Write).ok()?;
    window.copy_from(&wave.vector(data).0);
    Some(())
}

#[inline(always)]
fn store_rows<const WORDS: usize>(wave: &Wave, bus: &Bus<'_>, address: GlobalAddress, data: VectorRegister) -> Option<()> {
    let first = contiguous(wave, address, 4 * WORDS as u32)?;
    let mut block = [[0_u32; WORDS]; LANES];
    let window = bus.memory.window(first, size_of_val(&block) as u64, Access::Write).ok()?;
    for word in 0..WORDS {
        let row = &wave.vector(data.plus(word as u8)).0;
        for lane in 0..LANES {
            block[lane][word] = row[lane];
        }
    }
    window.copy_from(block.as_flattened());
    Some(())
}

#[inline(never)]
fn store_lanes(wave: &mut Wave, bus: &Bus<'_>, element: Element, address: GlobalAddress, data: VectorRegister) -> Result<(), Stop> {
    let memory = &bus.memory;
    match element {
        Element::Unsigned8 | Element::Signed8 => {
            each_lane(wave, address, |wave, lane, va| memory.store_u8(va, wave.vector(data).0[lane] as u8))
        }
        Element::Unsigned16 | Element::Signed16 => {
            each_lane(wave, address, |wave, lane, va| memory.store_u16(va, wave.vector(data).0[lane] as u16))
        }
        Element::Words(2) => each_lane(wave, address, |wave, lane, va| memory.store_u64(va, read_pair(wave, data, lane))),
        Element::Words(count) => each_lane(wave, address, |wave, lane, va| {
            (0..count).try_for_each(|word| memory.store_u32(va + 4 * u64::from(word), wave.vector(data.plus(word)).0[lane]))
        }),
    }
}

/// Operands of a FLAT atomic.
#[derive(Clone, Copy)]
pub(super) struct Atomic {
    pub op: RmwOp,
    pub width: OperandWidth,
    pub old: OldValue,
    pub destination: VectorRegister,
    pub address: GlobalAddress,
    pub data: VectorRegister,
}

/// Each active lane performs its own read-modify-write. Compare-and-swap takes the new value first, then what to compare with.
#[inline(never)]
pub(super) fn atomic(wave: &mut Wave, bus: &Bus<'_>, operands: Atomic) -> Result<(), Stop> {
    let Atomic { op, width, old, destination, address, data } = operands;
    match width {
        OperandWidth::Bits32 => each_lane(wave, address, |wave, lane, va| {
            let (operand, compare) = (wave.vector(data).0[lane], wave.vector(data.plus(1)).0[lane]);
            let before = bus.rmw_u32(va, op, operand, compare)?;
            if old == OldValue::Returned {
                wave.vector_mut(destination).0[lane] = before;
            }
            Ok(())
        }),
        OperandWidth::Bits64 => each_lane(wave, address, |wave, lane, va| {
            let (operand, compare) = (read_pair(wave, data, lane), read_pair(wave, data.plus(2), lane));
            let before = bus.rmw_u64(va, op, operand, compare)?;
            if old == OldValue::Returned {
                write_pair(wave, destination, lane, before);
            }
            Ok(())
        }),
    }
}
