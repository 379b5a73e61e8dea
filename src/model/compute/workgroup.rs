//! A slot for one resident workgroup: its waves, its LDS, and their turns.

use super::descriptor::{KernelDescriptor, UserRegisters};
use super::geometry::Workgroup;
use super::scratch::ScratchPlaces;
use crate::model::bus::Bus;
use crate::model::isa::WaveFault;
use crate::model::isa::code::CodeCache;
use crate::model::isa::execute::{self, Pause};
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::{ScalarRegister, VectorRegister};
use crate::model::isa::wave::{Row, Wave};
use crate::model::target::{Target, WaveSize};

/// Wave instructions before another wave gets its turn.
const QUANTUM: u32 = 1024;

/// What every wave of a launch starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartState {
    pub target: Target,
    pub wave_size: WaveSize,
    pub descriptor: KernelDescriptor,
    pub user_registers: UserRegisters,
    pub group_segment_bytes: usize,
    /// Where waves have their private memory, if the kernel needs any.
    pub scratch: Option<ScratchPlaces>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    AtBarrier,
    Ended,
}

#[derive(Debug)]
struct ResidentWave {
    wave: Wave,
    state: State,
}

/// Registers and LDS for a workgroup; they outlive it and serve the next.
#[derive(Debug, Default)]
pub(super) struct Slot {
    waves: Vec<ResidentWave>,
    lds: Lds,
    /// How many of `waves` belong to the present workgroup.
    used: usize,
    live: usize,
    at_barrier: usize,
    /// Whose turn comes first.
    cursor: usize,
}

/// How a round of turns ended.
#[derive(Debug)]
pub(super) enum Round {
    /// All waves have ended: the slot is free.
    Empty,
    /// All waves came to the barrier and may go on.
    BarrierReleased,
    /// Some wave used its time.
    Busy,
    /// Every wave waits.
    Waiting,
    Failed(WaveFault),
}

/// Where a wave runs, in the layout that `s_getreg_b32` finds on this target.
fn hardware_id(target: Target, workgroup: &Workgroup, wave: usize) -> u32 {
    match target {
        Target::Gfx803 => hw_id(workgroup.ordinal, wave as u32),
        Target::Gfx942 => hw_id(workgroup.ordinal % CDNA3_UNITS, wave as u32),
        Target::Gfx1100 => hw_id1(workgroup.ordinal, wave as u32),
    }
}

/// Compute units that are in use on one die of an MI300X, of forty in four shader engines.
const CDNA3_UNITS: u64 = 38;

/// HW_ID: wave 3:0, SIMD 5:4, compute unit 11:8, shader engine 14:13 (GCN3 "HW_ID"). Four shader engines of sixteen units, as on
/// Fiji.
const fn hw_id(workgroup: u64, wave: u32) -> u32 {
    const SHADER_ENGINES: u64 = 4;
    const UNITS: u64 = 16;
    let (engine, unit) = ((workgroup % SHADER_ENGINES) as u32, (workgroup / SHADER_ENGINES % UNITS) as u32);
    let (simd, slot) = (wave % 4, wave / 4 % 10);
    slot | simd << 4 | unit << 8 | engine << 13
}

/// HW_ID1: wave 4:0, SIMD 9:8, WGP 13:10, shader array 16, shader engine 20:18 (RDNA3 "HW_ID1"). Six shader engines of two arrays
/// of four WGPs, as on Navi 31; a WGP is two compute units of two SIMDs each.
const fn hw_id1(workgroup: u64, wave: u32) -> u32 {
    const SHADER_ENGINES: u64 = 6;
    let (engine, rest) = ((workgroup % SHADER_ENGINES) as u32, (workgroup / SHADER_ENGINES % 16) as u32);
    let (array, processor, unit) = (rest % 2, rest / 2 % 4, rest / 8);
    let (simd, slot) = (unit * 2 + wave % 2, wave / 2 % 16);
    slot | simd << 8 | processor << 10 | array << 16 | engine << 18
}

impl Slot {
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Frees the slot whatever its waves were doing.
    pub const fn abandon(&mut self) {
        self.live = 0;
    }

    /// Starts a workgroup; `slot` is this slot's number among those of the launch.
    pub fn start(&mut self, workgroup: &Workgroup, start: &StartState, slot: usize) {
        self.used = workgroup.waves(start.wave_size);
        self.live = self.used;
        self.at_barrier = 0;
        self.cursor = 0;
        self.lds.reset(start.group_segment_bytes);
        while self.waves.len() < self.used {
            self.waves.push(ResidentWave { wave: Wave::new(), state: State::Ended });
        }
        for (number, resident) in self.waves[..self.used].iter_mut().enumerate() {
            resident.state = State::Ready;
            set_up(&mut resident.wave, number, workgroup, start);
            if let Some(places) = start.scratch {
                resident.wave.set_private_memory(places.of(slot, number));
            }
        }
    }

    /// Gives each ready wave a turn, as far as the budget goes.
    pub fn round(&mut self, code: &mut CodeCache, bus: &Bus<'_>, budget: &mut u32) -> Round {
        let mut busy = false;
        for _ in 0..self.used {
            let resident = &mut self.waves[self.cursor];
            if resident.state == State::Ready {
                if *budget == 0 {
                    return Round::Busy;
                }
                let mut left = QUANTUM.min(*budget);
                let given = left;
                let pause = execute::run(&mut resident.wave, &mut self.lds, code, bus, &mut left);
                *budget -= given - left;
                match pause {
                    Pause::Preempted => busy = true,
                    Pause::Asleep => {}
                    Pause::AtBarrier => {
                        resident.state = State::AtBarrier;
                        self.at_barrier += 1;
                    }
                    Pause::Ended => {
                        resident.state = State::Ended;
                        self.live -= 1;
                        busy = true;
                    }
                    Pause::Failed(fault) => {
                        self.abandon();
                        return Round::Failed(fault);
                    }
                }
            }
            self.cursor += 1;
            if self.cursor == self.used {
                self.cursor = 0;
            }
        }
        if self.live == 0 {
            Round::Empty
        } else if self.at_barrier == self.live {
            self.release();
            Round::BarrierReleased
        } else if busy {
            Round::Busy
        } else {
            Round::Waiting
        }
    }

    /// A barrier waits for the waves that are still there.
    fn release(&mut self) {
        self.at_barrier = 0;
        for resident in &mut self.waves[..self.used] {
            if resident.state == State::AtBarrier {
                resident.state = State::Ready;
            }
        }
    }
}

/// Sets the initial registers (LLVM AMDGPUUsage, "Initial Kernel Execution State").
fn set_up(wave: &mut Wave, number: usize, workgroup: &Workgroup, start: &StartState) {
    let StartState { descriptor, user_registers, .. } = start;
    let active_lanes = workgroup.active_lanes(number, start.wave_size);
    wave.reset(start.wave_size, descriptor.entry, active_lanes, hardware_id(start.target, workgroup, number));
    let mut register = 0;
    let push = |wave: &mut Wave, register: &mut u32, value| {
        if let Some(destination) = ScalarRegister::new(*register) {
            wave.set_scalar(destination, value);
        }
        *register += 1;
    };
    for &value in user_registers.values() {
        push(wave, &mut register, value);
    }
    register = u32::from(descriptor.user_register_count());
    for dimension in 0..3 {
        if descriptor.wants_workgroup_id(dimension) {
            push(wave, &mut register, workgroup.id[dimension]);
        }
    }
    match start.target {
        Target::Gfx803 => set_separate_ids(wave, number, workgroup, start),
        Target::Gfx942 | Target::Gfx1100 => set_packed_ids(wave, number, workgroup, start),
    }
}

/// A vector register for each dimension.
fn set_separate_ids(wave: &mut Wave, number: usize, workgroup: &Workgroup, start: &StartState) {
    for (dimension, &id) in [0_u8, 1, 2].iter().enumerate().take(start.descriptor.work_item_dimensions()) {
        let mut rows = [None, None, None];
        rows[dimension] = Some(wave.vector_mut(VectorRegister(id)));
        workgroup.fill_ids(number, start.wave_size, rows);
    }
}

/// v0 holds x in bits 9:0, y in bits 19:10, z in bits 29:20; a dimension that the kernel does not ask for is zero.
fn set_packed_ids(wave: &mut Wave, number: usize, workgroup: &Workgroup, start: &StartState) {
    if start.descriptor.work_item_dimensions() == 1 {
        workgroup.fill_ids(number, start.wave_size, [Some(wave.vector_mut(VectorRegister(0))), None, None]);
        return;
    }
    let mut rows = [Row::ZERO; 3];
    let [x, y, z] = &mut rows;
    let (second, third) = match start.descriptor.work_item_dimensions() {
        2 => (Some(y), None),
        _ => (Some(y), Some(z)),
    };
    workgroup.fill_ids(number, start.wave_size, [Some(x), second, third]);
    let [x, y, z] = &rows;
    for (lane, id) in wave.vector_mut(VectorRegister(0)).0.iter_mut().enumerate() {
        *id = x.0[lane] | y.0[lane] << 10 | z.0[lane] << 20;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::compute::geometry::Workgroups;

    /// Units: Fiji's 64, the 38 of an MI300X die, Navi 31's 96, as KFD's topology announces them.
    #[test]
    fn workgroups_find_themselves_on_as_many_compute_units_as_the_gpu_has() {
        const WAVE_SLOT_AND_SIMD: u32 = 0xff;
        const WAVE_SLOT_AND_LOW_SIMD: u32 = 0x1ff;
        for (target, units, within_unit) in [
            (Target::Gfx803, 64, WAVE_SLOT_AND_SIMD),
            (Target::Gfx942, 38, WAVE_SLOT_AND_SIMD),
            (Target::Gfx1100, 96, WAVE_SLOT_AND_LOW_SIMD),
        ] {
            let mut workgroups = Workgroups::new([10_000, 1, 1], [1, 1, 1]);
            let ids: BTreeSet<u32> = std::iter::from_fn(|| workgroups.next())
                .map(|workgroup| hardware_id(target, &workgroup, 5) & !within_unit)
                .collect();
            assert_eq!(ids.len(), units, "{target}");
        }
    }
}
