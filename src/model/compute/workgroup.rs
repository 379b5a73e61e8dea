//! A slot for one resident workgroup: its waves, its LDS, and their turns.

use super::descriptor::{KernelDescriptor, UserRegisters};
use super::geometry::Workgroup;
pub(super) use super::scratch::ScratchPlaces;
use crate::model::bus::Bus;
use crate::model::isa::WaveFault;
use crate::model::isa::code::CodeCache;
use crate::model::isa::execute::{self, Pause};
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::{ScalarRegister, VectorRegister};
use crate::model::isa::wave::Wave;
use crate::model::target::Target;

/// Wave instructions before another wave gets its turn.
const QUANTUM: u32 = 1024;

/// What every wave of a launch starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartState {
    pub target: Target,
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

/// Compute units that the fake hardware id names: four shader engines of sixteen, as on Fiji.
const COMPUTE_UNITS: u64 = 64;
const SHADER_ENGINES: u64 = 4;

/// HW_ID of a wave: wave 3:0, SIMD 5:4, compute unit 11:8, shader engine 14:13 (GCN3 "HW_ID").
fn hardware_id(workgroup: &Workgroup, wave: usize) -> u32 {
    let unit = workgroup.ordinal % COMPUTE_UNITS;
    let (engine, unit) = ((unit % SHADER_ENGINES) as u32, (unit / SHADER_ENGINES) as u32);
    let (simd, slot) = (wave as u32 % 4, wave as u32 / 4 % 10);
    slot | simd << 4 | unit << 8 | engine << 13
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
        self.used = workgroup.waves();
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
    let StartState { target, descriptor, user_registers, .. } = start;
    wave.reset(descriptor.entry, workgroup.active_lanes(number), hardware_id(workgroup, number));
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
    match target {
        Target::Gfx803 => {
            for (dimension, &id) in [0_u8, 1, 2].iter().enumerate().take(descriptor.work_item_dimensions()) {
                let mut rows = [None, None, None];
                rows[dimension] = Some(wave.vector_mut(VectorRegister(id)));
                workgroup.fill_ids(number, rows);
            }
        }
        // Packed into one register from gfx90a on.
        Target::Gfx942 | Target::Gfx1100 => {
            workgroup.fill_packed_ids(number, descriptor.work_item_dimensions(), wave.vector_mut(VectorRegister(0)));
        }
    }
}
