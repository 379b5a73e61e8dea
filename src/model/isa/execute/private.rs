//! SCRATCH: private memory. FLAT comes here too, lane by lane, with what it addresses through the private aperture.

use super::Stop;
use crate::model::bus::Bus;
use crate::model::isa::instruction::Element;
use crate::model::isa::operand::{ScratchAddress, VectorRegister};
use crate::model::isa::wave::{Wave, lanes_of};
use crate::model::memory::{Access, MemoryFault};

/// The offset that all lanes share, if they do; they always do where compilers spill registers.
#[inline(always)]
fn shared_offset(wave: &Wave, address: ScratchAddress) -> u32 {
    let in_register = address.wave.map_or(0, |register| wave.scalar(register));
    in_register.wrapping_add_signed(address.offset)
}

#[inline(always)]
fn each_lane(
    wave: &mut Wave,
    address: ScratchAddress,
    mut access: impl FnMut(&mut Wave, usize, u32) -> Result<(), MemoryFault>,
) -> Result<(), Stop> {
    let shared = shared_offset(wave, address);
    // A copy, because a load may overwrite its own address.
    let offsets = address.lanes.map(|register| wave.vector(register).0);
    for lane in lanes_of(wave.exec()) {
        let offset = offsets.map_or(shared, |offsets| shared.wrapping_add(offsets[lane]));
        access(wave, lane, offset)?;
    }
    Ok(())
}

/// The rows of an access that all lanes make at the same offset: where each starts, and its words. `None` for any other access.
#[inline(always)]
fn rows(wave: &Wave, element: Element, address: ScratchAddress) -> Option<(u32, u8)> {
    let Element::Words(words) = element else { return None };
    let offset = shared_offset(wave, address);
    let lanes = wave.private_memory.lanes;
    let every_lane = u64::MAX.checked_shr(64_u32.checked_sub(lanes)?)?;
    (address.lanes.is_none() && offset.is_multiple_of(4) && wave.exec() == every_lane).then_some((offset, words))
}

#[inline(never)]
pub(super) fn load(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    destination: VectorRegister,
    address: ScratchAddress,
) -> Result<(), Stop> {
    if let Some((offset, words)) = rows(wave, element, address) {
        let memory = wave.private_memory;
        for word in 0..words {
            let first = memory.locate(0, offset.wrapping_add(4 * u32::from(word)), 4, Access::Read)?;
            let window = bus.memory.window(first, 4 * u64::from(memory.lanes), Access::Read)?;
            window.copy_to(&mut wave.vector_mut(destination.plus(word)).0[..memory.lanes as usize]);
        }
        return Ok(());
    }
    each_lane(wave, address, |wave, lane, offset| load_lane(wave, bus, element, destination, lane, offset))
}

#[inline(never)]
pub(super) fn store(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    address: ScratchAddress,
    data: VectorRegister,
) -> Result<(), Stop> {
    if let Some((offset, words)) = rows(wave, element, address) {
        let memory = wave.private_memory;
        for word in 0..words {
            let first = memory.locate(0, offset.wrapping_add(4 * u32::from(word)), 4, Access::Write)?;
            let window = bus.memory.window(first, 4 * u64::from(memory.lanes), Access::Write)?;
            window.copy_from(&wave.vector(data.plus(word)).0[..memory.lanes as usize]);
        }
        return Ok(());
    }
    each_lane(wave, address, |wave, lane, offset| store_lane(wave, bus, element, data, lane, offset))
}

pub(super) fn load_lane(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    destination: VectorRegister,
    lane: usize,
    offset: u32,
) -> Result<(), MemoryFault> {
    let memory = wave.private_memory;
    let read = |offset, bytes| memory.read(&bus.memory, lane, offset, bytes);
    let value = match element {
        Element::Unsigned8 => read(offset, 1)?,
        Element::Signed8 => i32::from(read(offset, 1)? as i8).cast_unsigned(),
        Element::Unsigned16 => read(offset, 2)?,
        Element::Signed16 => i32::from(read(offset, 2)? as i16).cast_unsigned(),
        Element::Words(words) => {
            for word in 0..words {
                let value = read(offset.wrapping_add(4 * u32::from(word)), 4)?;
                wave.vector_mut(destination.plus(word)).0[lane] = value;
            }
            return Ok(());
        }
    };
    wave.vector_mut(destination).0[lane] = value;
    Ok(())
}

pub(super) fn store_lane(
    wave: &Wave,
    bus: &Bus<'_>,
    element: Element,
    data: VectorRegister,
    lane: usize,
    offset: u32,
) -> Result<(), MemoryFault> {
    let write = |offset, bytes, value| wave.private_memory.write(&bus.memory, lane, offset, bytes, value);
    let value = |word| wave.vector(data.plus(word)).0[lane];
    match element {
        Element::Unsigned8 | Element::Signed8 => write(offset, 1, value(0)),
        Element::Unsigned16 | Element::Signed16 => write(offset, 2, value(0)),
        Element::Words(words) => (0..words).try_for_each(|word| write(offset.wrapping_add(4 * u32::from(word)), 4, value(word))),
    }
}
