//! One launch in progress, and the engine that lends it registers and decoded code.

use super::descriptor::KernelDescriptor;
use super::geometry::Workgroups;
use super::scratch::{ScratchPlaces, Waves};
use super::workgroup::{Round, Slot, StartState};
use super::{GROUP_SEGMENT_BYTES_MAX, InstructionBudget, Launch, LaunchError, Step, WORKGROUP_ITEMS_MAX, WaveFault};
use crate::model::bus::Bus;
use crate::model::isa::code::CodeCache;
use crate::model::target::Target;

/// Waves that are resident at a time at most, beyond those of one workgroup.
const RESIDENT_WAVES: usize = 64;

/// Wave instructions that a slot may use, with any number of short workgroups, before the next slot has its turn.
const TURN: u32 = 16 * 1024;

/// What a dispatch works with: costly to make, worth keeping.
#[derive(Debug)]
struct Workshop {
    code: CodeCache,
    slots: Vec<Slot>,
}

impl Workshop {
    fn new(target: Target) -> Self {
        Self { code: CodeCache::new(target), slots: vec![Slot::default()] }
    }
}

/// Keeps registers and decoded code between dispatches.
///
/// It serves one [`MemoryMap`](crate::model::memory::MemoryMap): decoded code is known by that map's generation. A device thread owns one, launches through it and gives finished dispatches back with [`Engine::recycle`].
#[derive(Debug)]
pub struct Engine {
    target: Target,
    idle: Vec<Workshop>,
}

impl Engine {
    /// An engine of this GPU's shader cores that has nothing to lend yet.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self { target, idle: Vec::new() }
    }

    /// Prepares a launch, as [`Dispatch::new`], with what earlier dispatches left.
    ///
    /// # Errors
    /// The launch cannot start.
    pub fn launch(&mut self, launch: &Launch, bus: &Bus<'_>) -> Result<Dispatch, LaunchError> {
        let plan = Plan::new(self.target, launch, bus)?;
        Ok(Dispatch::with(plan, self.idle.pop().unwrap_or_else(|| Workshop::new(self.target))))
    }

    /// Takes back what a dispatch worked with. One that has not finished is abandoned.
    pub fn recycle(&mut self, dispatch: Dispatch) {
        let mut workshop = dispatch.workshop;
        workshop.slots.iter_mut().for_each(Slot::abandon);
        self.idle.push(workshop);
    }
}

#[derive(Debug)]
struct Plan {
    start: StartState,
    workgroups: Workgroups,
    /// Workgroups resident at a time.
    residents: usize,
}

impl Plan {
    fn new(target: Target, launch: &Launch, bus: &Bus<'_>) -> Result<Self, LaunchError> {
        let descriptor = KernelDescriptor::read(target, launch.descriptor, &bus.memory).map_err(LaunchError::Descriptor)?;
        let private = launch.private_segment_bytes.max(descriptor.private_segment_bytes);
        let group = launch.group_segment_bytes.max(descriptor.group_segment_bytes);
        if group > GROUP_SEGMENT_BYTES_MAX {
            return Err(LaunchError::GroupSegment { needed: group, available: GROUP_SEGMENT_BYTES_MAX });
        }
        let items = launch.workgroup.iter().map(|&size| u64::from(size)).product::<u64>();
        if items > WORKGROUP_ITEMS_MAX {
            return Err(LaunchError::Workgroup { items, available: WORKGROUP_ITEMS_MAX });
        }
        let wave_size = descriptor.wave_size(target);
        let waves = (items as usize).div_ceil(wave_size.lanes()).max(1);
        let mut residents = (RESIDENT_WAVES / waves).max(1);
        let mut scratch = None;
        if private > 0 {
            let waves = Waves { size: wave_size, per_workgroup: waves };
            let places = ScratchPlaces::new(target, launch.scratch, private, waves)?;
            residents = residents.min(places.workgroups());
            scratch = Some(places);
        }
        Ok(Self {
            start: StartState {
                target,
                wave_size,
                descriptor,
                user_registers: descriptor.user_registers(launch, &bus.memory).map_err(LaunchError::KernelArguments)?,
                group_segment_bytes: group as usize,
                scratch,
            },
            workgroups: Workgroups::new(launch.grid, launch.workgroup),
            residents,
        })
    }
}

/// A kernel launch in progress.
#[derive(Debug)]
pub struct Dispatch {
    plan: Plan,
    workshop: Workshop,
    /// Workgroups that were started and have not ended.
    resident: usize,
    /// Whose turn comes first.
    cursor: usize,
    failed: Option<WaveFault>,
}

/// How a slot's turn ended.
enum Turn {
    /// Something happened.
    Busy,
    /// Every wave of the slot waits, or there is none.
    Waiting,
    Failed(WaveFault),
}

impl Dispatch {
    /// Reads the descriptor and prepares the first workgroups.
    ///
    /// # Errors
    /// The launch cannot start.
    pub fn new(target: Target, launch: &Launch, bus: &Bus<'_>) -> Result<Self, LaunchError> {
        Ok(Self::with(Plan::new(target, launch, bus)?, Workshop::new(target)))
    }

    fn with(plan: Plan, workshop: Workshop) -> Self {
        Self { plan, workshop, resident: 0, cursor: 0, failed: None }
    }

    /// Executes up to `budget` wave instructions.
    pub fn run(&mut self, bus: &Bus<'_>, budget: InstructionBudget) -> Step {
        if let Some(fault) = &self.failed {
            return Step::Failed(fault.clone());
        }
        self.workshop.code.revalidate(&bus.memory);
        let mut left = budget.0;
        let mut waiting = 0;
        while !self.is_finished() {
            if left == 0 || waiting == self.plan.residents {
                return Step::Yielded;
            }
            match self.turn(bus, &mut left) {
                Turn::Busy => waiting = 0,
                Turn::Waiting => waiting += 1,
                Turn::Failed(fault) => {
                    self.failed = Some(fault.clone());
                    return Step::Failed(fault);
                }
            }
            self.cursor = (self.cursor + 1) % self.plan.residents;
        }
        Step::Finished
    }

    const fn is_finished(&self) -> bool {
        self.resident == 0 && self.plan.workgroups.all_started()
    }

    fn turn(&mut self, bus: &Bus<'_>, left: &mut u32) -> Turn {
        if self.cursor >= self.workshop.slots.len() && !self.plan.workgroups.all_started() {
            self.workshop.slots.push(Slot::default());
        }
        let Some(slot) = self.workshop.slots.get_mut(self.cursor) else {
            return Turn::Waiting;
        };
        let end = left.saturating_sub(TURN);
        let mut turn = Turn::Waiting;
        while *left > end {
            if slot.is_empty() {
                let Some(workgroup) = self.plan.workgroups.next() else {
                    return turn;
                };
                slot.start(&workgroup, &self.plan.start, self.cursor);
                self.resident += 1;
            }
            match slot.round(&mut self.workshop.code, bus, left) {
                Round::Empty => {
                    self.resident -= 1;
                    turn = Turn::Busy;
                }
                Round::BarrierReleased => turn = Turn::Busy,
                Round::Busy => return Turn::Busy,
                Round::Waiting => return turn,
                Round::Failed(fault) => return Turn::Failed(fault),
            }
        }
        turn
    }
}
