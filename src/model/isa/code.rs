//! Decoded code, in straight-line blocks that are decoded when a wave first reaches them.
//!
//! A block ends at the first instruction after which execution may be elsewhere, so nothing behind an `s_endpgm` is ever looked
//! at: compilers fill that space with what need not be code.

use std::collections::HashMap;

use super::decode::{LONGEST, decode};
use super::fault::WaveFault;
use super::instruction::Instruction;
use crate::model::address::GpuVa;
use crate::model::memory::{Access, MapView, MemoryFault};
use crate::model::target::Target;

/// An instruction in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub instruction: Instruction,
    /// Bytes from the start of the block to this instruction.
    pub offset: u16,
    /// Bytes from the start of the block to the next instruction.
    pub next: u16,
}

/// Straight-line code.
#[derive(Debug)]
pub struct Block {
    /// Address of the first instruction.
    pub start: GpuVa,
    /// At least one instruction. Those that do nothing are left out where others follow.
    pub steps: Box<[Step]>,
}

/// Instructions in a block at most, so that a wave's turn ends in time.
const LONGEST_BLOCK: usize = 512;

/// Bytes of code in a block, some instructions' length more or less, so that `offset` and `next` fit.
const LONGEST_BLOCK_BYTES: u16 = 16 * 1024;

/// Entries of the table in front of the map; a power of two.
const LOOKASIDE: usize = 256;

/// Decoded instructions that are kept at most, 4 MiB of them: code that jumps into every word of itself makes a block of each.
const MOST_STEPS: usize = 64 << 10;

/// Decoded blocks by address, valid for one generation of the executable mappings.
#[derive(Debug)]
pub struct CodeCache {
    target: Target,
    generation: Option<u64>,
    blocks: Vec<Block>,
    /// Of all blocks together.
    steps: usize,
    by_address: HashMap<GpuVa, u32>,
    lookaside: Box<[(GpuVa, u32); LOOKASIDE]>,
}

/// No instruction is at an odd address.
const NOWHERE: GpuVa = GpuVa(1);

impl CodeCache {
    /// An empty cache for the instruction set of a target.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            generation: None,
            blocks: Vec::new(),
            steps: 0,
            by_address: HashMap::new(),
            lookaside: Box::new([(NOWHERE, 0); LOOKASIDE]),
        }
    }

    /// Forgets everything if executable memory has been mapped or unmapped since the last call.
    pub fn revalidate(&mut self, view: &MapView<'_>) {
        if self.generation != Some(view.code_generation()) {
            self.generation = Some(view.code_generation());
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.blocks.clear();
        self.steps = 0;
        self.by_address.clear();
        self.lookaside.fill((NOWHERE, 0));
    }

    /// The block that starts at `pc`.
    ///
    /// # Errors
    /// There is no instruction at `pc`: it cannot be fetched or decoded.
    #[inline(always)]
    pub fn block(&mut self, pc: GpuVa, view: &MapView<'_>) -> Result<&Block, WaveFault> {
        let (address, index) = self.lookaside[lookaside_slot(pc)];
        if address == pc {
            return Ok(&self.blocks[index as usize]);
        }
        self.find(pc, view)
    }

    #[inline(never)]
    fn find(&mut self, pc: GpuVa, view: &MapView<'_>) -> Result<&Block, WaveFault> {
        let index = match self.by_address.get(&pc) {
            Some(&index) => index,
            None => {
                let block = decode_block(self.target, pc, view)?;
                if self.steps + block.steps.len() > MOST_STEPS {
                    self.forget();
                }
                self.steps += block.steps.len();
                let index = self.blocks.len() as u32;
                self.blocks.push(block);
                self.by_address.insert(pc, index);
                index
            }
        };
        self.lookaside[lookaside_slot(pc)] = (pc, index);
        Ok(&self.blocks[index as usize])
    }
}

#[inline(always)]
const fn lookaside_slot(pc: GpuVa) -> usize {
    (pc.0 >> 2) as usize % LOOKASIDE
}

fn decode_block(target: Target, start: GpuVa, view: &MapView<'_>) -> Result<Block, WaveFault> {
    let mut steps = Vec::new();
    let mut offset = 0;
    while steps.len() < LONGEST_BLOCK {
        match decode_step(target, start, offset, view) {
            Ok(step) => {
                offset = step.next;
                let idles = step.instruction == Instruction::Nothing;
                if !idles || offset >= LONGEST_BLOCK_BYTES {
                    steps.push(step);
                }
                if step.instruction.ends_block() || offset >= LONGEST_BLOCK_BYTES {
                    break;
                }
            }
            // The wave may never get that far; if it does, it asks for a block that starts there.
            Err(_) if !steps.is_empty() => break,
            Err(fault) => return Err(fault),
        }
    }
    Ok(Block { start, steps: steps.into_boxed_slice() })
}

fn decode_step(target: Target, start: GpuVa, offset: u16, view: &MapView<'_>) -> Result<Step, WaveFault> {
    let pc = start + u64::from(offset);
    let first = fetch(pc, view).map_err(|fault| WaveFault::Memory { pc, fault })?;
    let following = (1..LONGEST as u64).map_while(|word| fetch(pc + 4 * word, view).ok());
    let words: Vec<u32> = std::iter::once(first).chain(following).collect();
    match decode(target, &words) {
        Some(decoded) => Ok(Step { instruction: decoded.instruction, offset, next: offset + 4 * u16::from(decoded.words) }),
        None => Err(WaveFault::IllegalInstruction { pc, words }),
    }
}

fn fetch(pc: GpuVa, view: &MapView<'_>) -> Result<u32, MemoryFault> {
    let mut word = [0_u8; 4];
    view.window(pc, 4, Access::Execute)?.copy_to(&mut word);
    Ok(u32::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};

    #[test]
    fn code_that_is_entered_at_each_of_its_words_does_not_grow_the_cache_without_bound() {
        const CODE: GpuVa = GpuVa(0x10_0000);
        const ADD: u32 = 0x3202_0301; // v_add_u32 v1, vcc, v1, v1
        const END: u32 = 0xbf81_0000; // s_endpgm
        let mut code = vec![ADD; 8 * 1024];
        *code.last_mut().unwrap() = END;
        let memory = MemoryMap::new();
        let host = HostPtr::new(NonNull::new(code.as_mut_ptr().cast()).unwrap());
        let mapping = Mapping { va: CODE, length: 32 * 1024, host, home: Home::Host, protection: Protection::ReadExecute };
        // SAFETY: the vector lives, unmoved, until the end of this function, and so does the map.
        unsafe { memory.map(mapping) }.unwrap();
        let view = memory.view();
        let mut cache = CodeCache::new(Target::Gfx803);
        cache.revalidate(&view);
        for word in 0..8 * 1024 {
            let start = CODE + 4 * word;
            let block = cache.block(start, &view).unwrap();
            assert_eq!((block.start, block.steps.len() as u64), (start, (8 * 1024 - word).min(LONGEST_BLOCK as u64)));
            let kept: usize = cache.blocks.iter().map(|block| block.steps.len()).sum();
            assert_eq!(kept, cache.steps);
            assert!(kept <= MOST_STEPS, "{kept}");
        }
    }
}
