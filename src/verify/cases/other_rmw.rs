//! The read-modify-write operations that PCIe has no AtomicOp for. What becomes of them in host memory is the platform's to
//! document, so it is observed and reported; the case fails only when the kernel does not run or does not complete.

use std::sync::atomic::Ordering;

use crate::hsa::{Buffer, QueueKind};
use crate::kernels::{Kernel, RMW_OTHER_CELLS, RMW_OTHER_NAMES, RmwOtherArguments, rmw_other_32, rmw_other_64};
use crate::verify::lab::{Completion, Context, Step, compare_words, pointer};

const ITEMS: u32 = 64;

pub fn rmw_other_narrow(context: &mut Context<'_>) -> Step<()> {
    // In the order of the cells: each operation changes its cell.
    let initial: [u32; RMW_OTHER_CELLS] = [u32::MAX, 0, 0x1234, 1_000, (-1_000_i32) as u32, u32::MAX, 0];
    let wanted = rmw_other_32(initial, ITEMS);
    let load = |cells: &Buffer, at: usize| u64::from(cells.u32s()[at].load(Ordering::Acquire));
    let store = |cells: &Buffer, at: usize| cells.u32s()[at].store(initial[at], Ordering::Release);
    observe(context, Kernel::RmwOther32, &initial.map(u64::from), &wanted.map(u64::from), load, store)
}

pub fn rmw_other_wide(context: &mut Context<'_>) -> Step<()> {
    let initial: [u64; RMW_OTHER_CELLS] = [u64::MAX, 0, 0x1234, 1_000, (-1_000_i64) as u64, u64::MAX, 0];
    let wanted = rmw_other_64(initial, ITEMS);
    let load = |cells: &Buffer, at: usize| cells.u64s()[at].load(Ordering::Acquire);
    let store = |cells: &Buffer, at: usize| cells.u64s()[at].store(initial[at], Ordering::Release);
    observe(context, Kernel::RmwOther64, &initial, &wanted, load, store)
}

fn observe(
    context: &mut Context<'_>,
    kernel: Kernel,
    initial: &[u64; RMW_OTHER_CELLS],
    wanted: &[u64; RMW_OTHER_CELLS],
    load: impl Fn(&Buffer, usize) -> u64,
    store: impl Fn(&Buffer, usize),
) -> Step<()> {
    let (cells, ran) = (context.double_words(RMW_OTHER_CELLS)?, context.words(ITEMS as usize)?);
    (0..RMW_OTHER_CELLS).for_each(|at| store(&cells, at));
    let done = context.signal(1)?;
    let mut packet = context.dispatch(kernel, &RmwOtherArguments { cells: pointer(&cells), ran: pointer(&ran) }, ITEMS)?;
    packet.completion_signal = done.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    let output = || compare_words(&ran, ITEMS as usize, |_| 1);
    context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })?;
    let found: [u64; RMW_OTHER_CELLS] = std::array::from_fn(|at| load(&cells, at));
    for note in describe(initial, wanted, &found) {
        context.note(note);
    }
    Ok(())
}

/// A line for each thing that can have become of an operation.
fn describe(initial: &[u64; RMW_OTHER_CELLS], wanted: &[u64; RMW_OTHER_CELLS], found: &[u64; RMW_OTHER_CELLS]) -> Vec<String> {
    let named = |which: &dyn Fn(usize) -> bool| {
        let names: Vec<_> = (0..RMW_OTHER_CELLS).filter(|at| which(*at)).map(|at| RMW_OTHER_NAMES[at]).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let performed = named(&|at| found[at] == wanted[at]).map(|names| format!("performed in host memory: {names}"));
    let dropped = named(&|at| found[at] != wanted[at] && found[at] == initial[at])
        .map(|names| format!("without effect, as PCIe has no such AtomicOp: {names}"));
    let damaged = named(&|at| found[at] != wanted[at] && found[at] != initial[at])
        .map(|names| format!("performed in part (updates lost between work-items): {names}"));
    [performed, dropped, damaged].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_performed_dropped_or_damaged() {
        let (initial, wanted) = ([1; RMW_OTHER_CELLS], [2; RMW_OTHER_CELLS]);
        assert_eq!(
            describe(&initial, &wanted, &[2, 1, 2, 1, 1, 1, 9]),
            [
                "performed in host memory: and, xor",
                "without effect, as PCIe has no such AtomicOp: or, signed min, signed max, unsigned min",
                "performed in part (updates lost between work-items): unsigned max",
            ]
        );
    }

    #[test]
    fn every_operation_changes_its_cell_so_that_dropped_and_performed_differ() {
        let narrow: [u32; RMW_OTHER_CELLS] = [u32::MAX, 0, 0x1234, 1_000, (-1_000_i32) as u32, u32::MAX, 0];
        let wide: [u64; RMW_OTHER_CELLS] = [u64::MAX, 0, 0x1234, 1_000, (-1_000_i64) as u64, u64::MAX, 0];
        assert!(rmw_other_32(narrow, ITEMS).iter().zip(narrow).all(|(after, before)| *after != before));
        assert!(rmw_other_64(wide, ITEMS).iter().zip(wide).all(|(after, before)| *after != before));
    }
}
