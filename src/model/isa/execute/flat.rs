//! FLAT and GLOBAL: global memory, and for FLAT of generation 9 and later local and private memory through their apertures.

use super::Stop;
use super::rows::{Values, wide};
use super::{lds, private};
use crate::faults::{Fault, Injector};
use crate::model::address::GpuVa;
use crate::model::bus::{Bus, OperandWidth, RmwOp};
use crate::model::isa::LANES;
use crate::model::isa::instruction::{Coherence, Element, LdsAtomic, OldValue};
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::{AddressBase, GlobalAddress, Segment, VectorRegister, aperture};
use crate::model::isa::wave::{Wave, lanes_of};
use crate::model::memory::{Access, FaultReason, MemoryFault};
use crate::model::target::WaveSize;

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

/// The first address, if all `COUNT` lanes are active and each accesses the bytes after those of the lane before it.
#[inline(always)]
fn contiguous<const COUNT: usize>(wave: &Wave, address: GlobalAddress, stride: u32) -> Option<GpuVa> {
    if !wave.is_full() {
        return None;
    }
    let offset = i64::from(address.offset).cast_unsigned();
    match address.base {
        AddressBase::Lanes(register) => {
            let (low, high) = (&wave.vector(register).0, &wave.vector(register.plus(1)).0);
            // A row whose lower halves wrap around is none: the upper half of a later lane is not that of the first plus a carry.
            low[0].checked_add(stride * (COUNT as u32 - 1))?;
            let mut difference = 0;
            for lane in 0..COUNT {
                difference |= low[lane].wrapping_sub(low[0].wrapping_add(stride * lane as u32)) | (high[lane] ^ high[0]);
            }
            (difference == 0).then(|| GpuVa(wide(low[0], high[0])) + offset)
        }
        AddressBase::ScalarAndLanes(base, offsets) => {
            let offsets = &wave.vector(offsets).0;
            // A row whose offsets wrap around is none.
            offsets[0].checked_add(stride * (COUNT as u32 - 1))?;
            let mut difference = 0;
            for lane in 0..COUNT {
                difference |= offsets[lane].wrapping_sub(offsets[0].wrapping_add(stride * lane as u32));
            }
            (difference == 0).then(|| GpuVa(wave.scalar_pair(base)) + u64::from(offsets[0]) + offset)
        }
    }
}

/// Where the active lanes of one access go.
struct Places {
    addresses: Addresses,
    /// The lanes that access global memory.
    global: u64,
    /// The lanes that access local memory.
    local: u64,
    /// The lanes that access private memory.
    private: u64,
}

impl Places {
    /// The addresses are copies, because a load may overwrite its own.
    #[inline(always)]
    fn of(wave: &Wave, address: GlobalAddress) -> Self {
        let addresses = Addresses::of(wave, address);
        let (mut local, mut private) = (0, 0);
        if address.segment == Segment::Flat {
            for lane in lanes_of(wave.exec()) {
                match addresses.high[lane] {
                    aperture::LOCAL => local |= 1 << lane,
                    aperture::PRIVATE => private |= 1 << lane,
                    _ => {}
                }
            }
        }
        Self { addresses, global: wave.exec() & !local & !private, local, private }
    }

    /// Offset of a lane in the aperture that it accesses.
    fn in_aperture(&self, lane: usize) -> u32 {
        self.addresses.low[lane]
    }
}

/// Calls `access` with each lane that accesses global memory, and its address.
#[inline(always)]
fn each_lane(
    wave: &mut Wave,
    places: &Places,
    mut access: impl FnMut(&mut Wave, usize, GpuVa) -> Result<(), MemoryFault>,
) -> Result<(), Stop> {
    for lane in lanes_of(places.global) {
        access(wave, lane, places.addresses.lane(lane))?;
    }
    Ok(())
}

#[inline(always)]
pub(super) fn load(
    wave: &mut Wave,
    lds: &Lds,
    bus: &Bus<'_>,
    element: Element,
    coherence: Coherence,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Result<(), Stop> {
    if coherence == Coherence::Cached {
        let done = match wave.size() {
            WaveSize::Lanes64 => load_whole::<64>(wave, bus, element, destination, address),
            WaveSize::Lanes32 => load_whole::<32>(wave, bus, element, destination, address),
        };
        if done.is_some() {
            return Ok(());
        }
    }
    load_lanes(wave, lds, bus, element, destination, address)
}

/// The fast path of a wave of `COUNT` lanes.
#[inline(always)]
fn load_whole<const COUNT: usize>(
    wave: &mut Wave,
    bus: &Bus<'_>,
    element: Element,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Option<()> {
    match element {
        Element::Words(1) => load_row::<COUNT>(wave, bus, destination, address),
        Element::Words(2) => load_rows::<COUNT, 2>(wave, bus, destination, address),
        Element::Words(4) => load_rows::<COUNT, 4>(wave, bus, destination, address),
        _ => None,
    }
}

/// One range check and one copy.
#[inline(always)]
fn load_row<const COUNT: usize>(wave: &mut Wave, bus: &Bus<'_>, destination: VectorRegister, address: GlobalAddress) -> Option<()> {
    let first = contiguous::<COUNT>(wave, address, 4)?;
    let window = bus.memory.window(first, 4 * COUNT as u64, Access::Read).ok()?;
    window.copy_to(&mut wave.vector_mut(destination).0[..COUNT]);
    Some(())
}

/// The same for several words per lane.
#[inline(always)]
fn load_rows<const COUNT: usize, const WORDS: usize>(
    wave: &mut Wave,
    bus: &Bus<'_>,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Option<()> {
    let first = contiguous::<COUNT>(wave, address, 4 * WORDS as u32)?;
    let mut block = [[0_u32; WORDS]; COUNT];
    let window = bus.memory.window(first, size_of_val(&block) as u64, Access::Read).ok()?;
    window.copy_to(block.as_flattened_mut());
    for word in 0..WORDS {
        let row = &mut wave.vector_mut(destination.plus(word as u8)).0;
        for lane in 0..COUNT {
            row[lane] = block[lane][word];
        }
    }
    Some(())
}

#[inline(never)]
fn load_lanes(
    wave: &mut Wave,
    lds: &Lds,
    bus: &Bus<'_>,
    element: Element,
    destination: VectorRegister,
    address: GlobalAddress,
) -> Result<(), Stop> {
    let places = &Places::of(wave, address);
    lanes_of(places.local).for_each(|lane| lds::load_lane(wave, lds, element, destination, lane, places.in_aperture(lane)));
    for lane in lanes_of(places.private) {
        private::load_lane(wave, bus, element, destination, lane, places.in_aperture(lane))?;
    }
    let memory = &bus.memory;
    match element {
        Element::Unsigned8 => each_lane(wave, places, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = u32::from(memory.load_u8(va)?);
            Ok(())
        }),
        Element::Signed8 => each_lane(wave, places, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = i32::from(memory.load_u8(va)?.cast_signed()).cast_unsigned();
            Ok(())
        }),
        Element::Unsigned16 => each_lane(wave, places, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = u32::from(memory.load_u16(va)?);
            Ok(())
        }),
        Element::Signed16 => each_lane(wave, places, |wave, lane, va| {
            wave.vector_mut(destination).0[lane] = i32::from(memory.load_u16(va)?.cast_signed()).cast_unsigned();
            Ok(())
        }),
        // In one piece: this may be the value of a signal.
        Element::Words(2) => each_lane(wave, places, |wave, lane, va| {
            let value = memory.load_u64(va)?;
            write_pair(wave, destination, lane, value);
            Ok(())
        }),
        Element::Words(count) => each_lane(wave, places, |wave, lane, va| {
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
    lds: &mut Lds,
    bus: &Bus<'_>,
    element: Element,
    address: GlobalAddress,
    data: VectorRegister,
) -> Result<(), Stop> {
    wave.stores_under_way = true;
    if let Some(flaw) = bus.faults().and_then(StoreFlaw::next) {
        return store_badly(wave, lds, bus, element, address, data, flaw);
    }
    let done = match wave.size() {
        WaveSize::Lanes64 => store_whole::<64>(wave, bus, element, address, data),
        WaveSize::Lanes32 => store_whole::<32>(wave, bus, element, address, data),
    };
    match done {
        Some(()) => Ok(()),
        None => store_lanes(wave, lds, bus, element, address, data),
    }
}

#[inline(always)]
fn store_whole<const COUNT: usize>(
    wave: &Wave,
    bus: &Bus<'_>,
    element: Element,
    address: GlobalAddress,
    data: VectorRegister,
) -> Option<()> {
    match element {
        Element::Words(1) => store_row::<COUNT>(wave, bus, address, data),
        Element::Words(2) => store_rows::<COUNT, 2>(wave, bus, address, data),
        Element::Words(4) => store_rows::<COUNT, 4>(wave, bus, address, data),
        _ => None,
    }
}

#[inline(always)]
fn store_row<const COUNT: usize>(wave: &Wave, bus: &Bus<'_>, address: GlobalAddress, data: VectorRegister) -> Option<()> {
    let first = contiguous::<COUNT>(wave, address, 4)?;
    let window = bus.memory.window(first, 4 * COUNT as u64, Access::Write).ok()?;
    window.copy_from(&wave.vector(data).0[..COUNT]);
    Some(())
}

#[inline(always)]
fn store_rows<const COUNT: usize, const WORDS: usize>(
    wave: &Wave,
    bus: &Bus<'_>,
    address: GlobalAddress,
    data: VectorRegister,
) -> Option<()> {
    let first = contiguous::<COUNT>(wave, address, 4 * WORDS as u32)?;
    let mut block = [[0_u32; WORDS]; COUNT];
    let window = bus.memory.window(first, size_of_val(&block) as u64, Access::Write).ok()?;
    for word in 0..WORDS {
        let row = &wave.vector(data.plus(word as u8)).0;
        for lane in 0..COUNT {
            block[lane][word] = row[lane];
        }
    }
    window.copy_from(block.as_flattened());
    Some(())
}

#[inline(never)]
fn store_lanes(
    wave: &mut Wave,
    lds: &mut Lds,
    bus: &Bus<'_>,
    element: Element,
    address: GlobalAddress,
    data: VectorRegister,
) -> Result<(), Stop> {
    let places = &Places::of(wave, address);
    store_apertures(wave, lds, bus, element, data, places)?;
    let memory = &bus.memory;
    match element {
        Element::Unsigned8 | Element::Signed8 => {
            each_lane(wave, places, |wave, lane, va| memory.store_u8(va, wave.vector(data).0[lane] as u8))
        }
        Element::Unsigned16 | Element::Signed16 => {
            each_lane(wave, places, |wave, lane, va| memory.store_u16(va, wave.vector(data).0[lane] as u16))
        }
        Element::Words(2) => each_lane(wave, places, |wave, lane, va| memory.store_u64(va, read_pair(wave, data, lane))),
        Element::Words(count) => each_lane(wave, places, |wave, lane, va| {
            (0..count).try_for_each(|word| memory.store_u32(va + 4 * u64::from(word), wave.vector(data.plus(word)).0[lane]))
        }),
    }
}

/// Stores the lanes that do not access global memory.
fn store_apertures(
    wave: &mut Wave,
    lds: &mut Lds,
    bus: &Bus<'_>,
    element: Element,
    data: VectorRegister,
    places: &Places,
) -> Result<(), Stop> {
    lanes_of(places.local).for_each(|lane| lds::store_lane(wave, lds, element, data, lane, places.in_aperture(lane)));
    for lane in lanes_of(places.private) {
        private::store_lane(wave, bus, element, data, lane, places.in_aperture(lane))?;
    }
    Ok(())
}

/// What a fault plan makes of one store instruction of a wave to global memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreFlaw {
    /// The first half of each lane's bytes arrives; of a single byte, nothing.
    Torn,
    /// Nothing arrives.
    Stale,
}

impl StoreFlaw {
    #[cold]
    fn next(faults: &Injector) -> Option<Self> {
        faults.strike(|fault| match fault {
            Fault::OutputTorn => Some(Self::Torn),
            Fault::OutputStale => Some(Self::Stale),
            _ => None,
        })
    }
}

#[cold]
#[inline(never)]
fn store_badly(
    wave: &mut Wave,
    lds: &mut Lds,
    bus: &Bus<'_>,
    element: Element,
    address: GlobalAddress,
    data: VectorRegister,
    flaw: StoreFlaw,
) -> Result<(), Stop> {
    let places = &Places::of(wave, address);
    store_apertures(wave, lds, bus, element, data, places)?;
    let memory = &bus.memory;
    match (flaw, element) {
        (StoreFlaw::Stale, _) | (StoreFlaw::Torn, Element::Unsigned8 | Element::Signed8) => Ok(()),
        (StoreFlaw::Torn, Element::Unsigned16 | Element::Signed16) => {
            each_lane(wave, places, |wave, lane, va| memory.store_u8(va, wave.vector(data).0[lane] as u8))
        }
        (StoreFlaw::Torn, Element::Words(1)) => {
            each_lane(wave, places, |wave, lane, va| memory.store_u16(va, wave.vector(data).0[lane] as u16))
        }
        (StoreFlaw::Torn, Element::Words(count)) => each_lane(wave, places, |wave, lane, va| {
            (0..count / 2).try_for_each(|word| memory.store_u32(va + 4 * u64::from(word), wave.vector(data.plus(word)).0[lane]))
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

impl Atomic {
    /// The same for local memory, whose compare-and-swap takes its operands in the other order.
    const fn in_local_memory(self) -> lds::Atomic {
        let Self { op, width, old, destination, data, .. } = self;
        let second = match width {
            OperandWidth::Bits32 => data.plus(1),
            OperandWidth::Bits64 => data.plus(2),
        };
        let data = match op {
            RmwOp::CompareSwap => [second, data],
            _ => [data, second],
        };
        // The address is known already.
        lds::Atomic { op: LdsAtomic::Rmw(op), width, old, destination, address: VectorRegister(0), data, offset: 0 }
    }
}

/// Each active lane performs its own read-modify-write. Compare-and-swap takes the new value first, then what to compare with.
#[inline(never)]
pub(super) fn atomic(wave: &mut Wave, lds: &mut Lds, bus: &Bus<'_>, operands: Atomic) -> Result<(), Stop> {
    let Atomic { op, width, old, destination, address, data } = operands;
    let places = &Places::of(wave, address);
    if let Some(lane) = lanes_of(places.private).next() {
        // There are no atomics in private memory; compilers take the operation apart instead.
        let va = places.addresses.lane(lane);
        let length = match width {
            OperandWidth::Bits32 => 4,
            OperandWidth::Bits64 => 8,
        };
        return Err(MemoryFault { va, length, access: Access::Atomic, reason: FaultReason::Protection }.into());
    }
    for lane in lanes_of(places.local) {
        lds::atomic_lane(wave, lds, operands.in_local_memory(), lane, places.in_aperture(lane));
    }
    match width {
        OperandWidth::Bits32 => each_lane(wave, places, |wave, lane, va| {
            let (operand, compare) = (wave.vector(data).0[lane], wave.vector(data.plus(1)).0[lane]);
            let before = bus.rmw_u32(va, op, operand, compare)?;
            if old == OldValue::Returned {
                wave.vector_mut(destination).0[lane] = before;
            }
            Ok(())
        }),
        OperandWidth::Bits64 => each_lane(wave, places, |wave, lane, va| {
            let (operand, compare) = (read_pair(wave, data, lane), read_pair(wave, data.plus(2), lane));
            let before = bus.rmw_u64(va, op, operand, compare)?;
            if old == OldValue::Returned {
                write_pair(wave, destination, lane, before);
            }
            Ok(())
        }),
    }
}
