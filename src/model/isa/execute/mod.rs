//! Execution of decoded instructions.
#![allow(clippy::needless_range_loop, reason = "a lane indexes several rows at once")]

mod clock;
mod double;
mod dual;
mod flat;
mod float;
mod integer;
mod lds;
mod mask;
mod packed;
mod private;
mod rows;
mod scalar;
mod vector;

#[cfg(test)]
mod tests;

use std::sync::atomic::{Ordering, fence};

use super::code::{Block, CodeCache};
use super::fault::WaveFault;
use super::instruction::{Condition, Instruction};
use super::lds::Lds;
use super::operand::ScalarRegister;
use super::wave::Wave;
use crate::model::address::GpuVa;
use crate::model::bus::Bus;
use crate::model::memory::MemoryFault;

/// Why a wave gave its turn away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The budget is used up.
    Preempted,
    /// `s_sleep`: it waits for somebody else.
    Asleep,
    /// It waits for the other waves of its workgroup.
    AtBarrier,
    /// It has ended.
    Ended,
    /// It cannot go on.
    Failed(WaveFault),
}

/// Wave instructions left to execute.
pub type Budget = u32;

/// Runs a wave until it pauses, taking what it executes from the budget.
///
/// The vector rows are 256 bytes: on a processor with AVX2 the same code runs four times as wide.
pub fn run(wave: &mut Wave, lds: &mut Lds, code: &mut CodeCache, bus: &Bus<'_>, budget: &mut Budget) -> Pause {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only feature that the function asks for.
        return unsafe { run_avx2(wave, lds, code, bus, budget) };
    }
    run_blocks(wave, lds, code, bus, budget)
}

/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn run_avx2(wave: &mut Wave, lds: &mut Lds, code: &mut CodeCache, bus: &Bus<'_>, budget: &mut Budget) -> Pause {
    run_blocks(wave, lds, code, bus, budget)
}

/// What comes after an instruction.
enum Next {
    /// The next instruction of the block.
    Continue,
    /// The block at the wave's program counter.
    Jump,
    Pause(Pause),
}

#[inline(always)]
fn run_blocks(wave: &mut Wave, lds: &mut Lds, code: &mut CodeCache, bus: &Bus<'_>, budget: &mut Budget) -> Pause {
    while *budget > 0 {
        let block = match code.block(wave.pc, &bus.memory) {
            Ok(block) => block,
            Err(fault) => return Pause::Failed(fault),
        };
        if let Some(pause) = run_block(wave, lds, block, bus, budget) {
            return pause;
        }
    }
    Pause::Preempted
}

#[inline(always)]
fn run_block(wave: &mut Wave, lds: &mut Lds, block: &Block, bus: &Bus<'_>, budget: &mut Budget) -> Option<Pause> {
    let affordable = block.steps.len().min(*budget as usize);
    for (executed, step) in block.steps[..affordable].iter().enumerate() {
        let next_pc = block.start + u64::from(step.next);
        match execute(wave, lds, bus, &step.instruction, next_pc) {
            Ok(Next::Continue) => {}
            Ok(Next::Jump) => {
                *budget -= executed as u32 + 1;
                return None;
            }
            Ok(Next::Pause(pause)) => {
                wave.pc = next_pc;
                *budget -= executed as u32 + 1;
                return Some(pause);
            }
            Err(stop) => {
                wave.pc = block.start + u64::from(step.offset);
                *budget -= executed as u32 + 1;
                return Some(Pause::Failed(stop.at(wave.pc)));
            }
        }
    }
    *budget -= affordable as u32;
    if let Some(last) = block.steps[..affordable].last() {
        wave.pc = block.start + u64::from(last.next);
    }
    None
}

/// A fault of an instruction, which does not know where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Memory(MemoryFault),
    Trap(u8),
}

impl From<MemoryFault> for Stop {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

impl Stop {
    #[cold]
    fn at(self, pc: GpuVa) -> WaveFault {
        match self {
            Self::Memory(fault) => WaveFault::Memory { pc, fault },
            Self::Trap(id) => WaveFault::Trap { pc, id },
        }
    }
}

#[inline(always)]
fn execute(wave: &mut Wave, lds: &mut Lds, bus: &Bus<'_>, instruction: &Instruction, next_pc: GpuVa) -> Result<Next, Stop> {
    match *instruction {
        Instruction::Nothing => {}
        Instruction::WaitForStores if wave.stores_under_way => {
            // The stores above must be visible before anything below is read.
            fence(Ordering::SeqCst);
            wave.stores_under_way = false;
        }
        Instruction::WaitForStores | Instruction::Order => fence(Ordering::AcqRel),
        Instruction::EndProgram => return Ok(Next::Pause(Pause::Ended)),
        Instruction::Sleep => return Ok(Next::Pause(Pause::Asleep)),
        Instruction::Barrier => return Ok(Next::Pause(Pause::AtBarrier)),
        Instruction::Trap { id } => return Err(Stop::Trap(id)),
        Instruction::Branch { condition, words } => {
            let distance = if holds(wave, condition) { i64::from(words) * 4 } else { 0 };
            wave.pc = next_pc + distance.cast_unsigned();
            return Ok(Next::Jump);
        }
        Instruction::GetProgramCounter { destination } => wave.set_scalar_pair(destination, next_pc.0),
        Instruction::SetProgramCounter { source } => {
            wave.pc = instruction_address(wave.double_word(source));
            return Ok(Next::Jump);
        }
        Instruction::SwapProgramCounter { destination, source } => {
            wave.pc = instruction_address(wave.double_word(source));
            wave.set_scalar_pair(destination, next_pc.0);
            return Ok(Next::Jump);
        }
        Instruction::Call { destination, words } => {
            wave.set_scalar_pair(destination, next_pc.0);
            wave.pc = next_pc + (i64::from(words) * 4).cast_unsigned();
            return Ok(Next::Jump);
        }
        Instruction::ScalarUnary { op, destination, a } => scalar::unary(wave, op, destination, a),
        Instruction::SaveExec { op, size, destination, a } => scalar::save_exec(wave, op, size, destination, a),
        Instruction::WriteExec { op, size, destination, a } => scalar::write_exec(wave, op, size, destination, a),
        Instruction::ScalarBinary { op, destination, a, b } => scalar::binary(wave, op, destination, a, b),
        Instruction::ScalarCompare { test, a, b } => wave.scc = scalar::test(wave, test, a, b),
        Instruction::ScalarImmediate { op, register, value } => scalar::immediate(wave, op, register, value),
        Instruction::GetHardwareRegister { destination, register, field } => {
            scalar::get_hardware_register(wave, destination, register, field);
        }
        Instruction::ScalarLoad { destination, base, offset, words } => scalar::load(wave, bus, destination, base, offset, words)?,
        Instruction::ReadClock { destination } => wave.set_scalar_pair(destination, clock::now()),
        Instruction::VectorUnary { op, destination, a } => integer::unary(wave, op, destination, a),
        Instruction::FloatUnary { op, destination, a, modifiers } => float::unary(wave, op, destination, a, modifiers),
        Instruction::VectorBinary { op, destination, a, b } => integer::binary(wave, op, destination, a, b),
        Instruction::FloatBinary { op, destination, a, b, modifiers } => float::binary(wave, op, destination, [a, b], modifiers),
        Instruction::Carry { op, destination, carry_out, a, b, carry_in } => {
            vector::carry(wave, op, destination, carry_out, [a, b], carry_in);
        }
        Instruction::Select { destination, a, b, mask } => vector::select(wave, destination, a, b, mask),
        Instruction::SelectFloat { destination, a, b, mask, modifiers } => {
            float::select(wave, destination, [a, b], mask, modifiers);
        }
        Instruction::VectorTernary { op, destination, a, b, c } => integer::ternary(wave, op, destination, [a, b, c]),
        Instruction::FloatTernary { op, destination, a, b, c, modifiers } => {
            float::ternary(wave, op, destination, [a, b, c], modifiers);
        }
        Instruction::LowHalfBinary { op, destination, a, b } => integer::low_half_binary(wave, op, destination, a, b),
        Instruction::LowHalfTernary { op, destination, a, b, c } => {
            integer::low_half_ternary(wave, op, destination, [a, b, c]);
        }
        Instruction::Dual { x, y, literal } => dual::execute(wave, x, y, literal),
        Instruction::SwapRegisters { a, b } => vector::swap(wave, a, b),
        Instruction::MaskedCount { half, destination, a, b } => vector::masked_count(wave, half, destination, a, b),
        Instruction::Shift64 { op, destination, amount, value } => vector::shift64(wave, op, destination, amount, value),
        Instruction::Move64 { destination, a } => vector::move64(wave, destination, a),
        Instruction::ShiftLeftAdd64 { destination, value, amount, addend } => {
            vector::shift_left_add64(wave, destination, value, amount, addend);
        }
        Instruction::Double { op, destination, a, b, c, modifiers } => {
            double::execute(wave, op, destination, [a, b, c], modifiers);
        }
        Instruction::Packed { op, destination, a, b, c, choice } => packed::execute(wave, op, destination, [a, b, c], choice),
        Instruction::AccumulatorRead { destination, a } => wave.read_accumulator(destination, a),
        Instruction::AccumulatorWrite { destination, a } => {
            let values = rows::read(wave, a);
            wave.write_accumulator(destination, &values);
        }
        Instruction::AccumulatorMove { destination, a } => {
            let values = wave.accumulator(a).0;
            wave.write_accumulator(destination, &values);
        }
        Instruction::MultiplyAdd64 { signedness, destination, carry_out, a, b, c } => {
            vector::multiply_add64(wave, signedness, destination, carry_out, [a, b, c]);
        }
        Instruction::VectorCompare { test, effect, destination, a, b } => {
            vector::compare(wave, test, effect, destination, a, b);
        }
        Instruction::FloatCompare { predicate, effect, destination, a, b, modifiers } => {
            let outcomes = float::compared(wave, predicate, [a, b], modifiers);
            vector::commit_compare(wave, &outcomes, effect, destination);
        }
        Instruction::ReadFirstLane { destination, a } => vector::read_first_lane(wave, destination, a),
        Instruction::ReadLane { destination, a, lane } => vector::read_lane(wave, destination, a, lane),
        Instruction::WriteLane { destination, value, lane } => vector::write_lane(wave, destination, value, lane),
        Instruction::FlatLoad { element, coherence, destination, address } => {
            flat::load(wave, lds, bus, element, coherence, destination, address)?;
        }
        Instruction::FlatStore { element, address, data } => flat::store(wave, lds, bus, element, address, data)?,
        Instruction::FlatAtomic { op, width, old, destination, address, data } => {
            flat::atomic(wave, lds, bus, flat::Atomic { op, width, old, destination, address, data })?;
        }
        Instruction::ScratchLoad { element, destination, address } => private::load(wave, bus, element, destination, address)?,
        Instruction::ScratchStore { element, address, data } => private::store(wave, bus, element, address, data)?,
        Instruction::LdsLoad { element, destination, address, offset } => {
            lds::load(wave, lds, element, destination, address, offset);
        }
        Instruction::LdsStore { element, address, data, offset } => lds::store(wave, lds, element, address, data, offset),
        Instruction::LdsLoadPair { width, destination, address, offsets } => {
            lds::load_pair(wave, lds, width, destination, address, offsets);
        }
        Instruction::LdsStorePair { width, address, first, second, offsets } => {
            lds::store_pair(wave, lds, width, address, [first, second], offsets);
        }
        Instruction::LdsAtomic { op, width, old, destination, address, data, offset } => {
            lds::atomic(wave, lds, lds::Atomic { op, width, old, destination, address, data, offset });
        }
        Instruction::LaneExchange { op, destination, address, data } => lds::exchange(wave, op, destination, address, data),
    }
    Ok(Next::Continue)
}

#[inline(always)]
fn holds(wave: &Wave, condition: Condition) -> bool {
    match condition {
        Condition::Always => true,
        Condition::SccClear => !wave.scc,
        Condition::SccSet => wave.scc,
        Condition::VccZero => wave.mask(ScalarRegister::VCC) == 0,
        Condition::VccNotZero => wave.mask(ScalarRegister::VCC) != 0,
        Condition::ExecZero => wave.exec() == 0,
        Condition::ExecNotZero => wave.exec() != 0,
    }
}

/// The two lowest bits of the program counter do not exist.
const fn instruction_address(value: u64) -> GpuVa {
    GpuVa(value & !3)
}
