//! Barrier packets, the barrier bit, and dependencies between queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd, BarrierOr, Packet};
use crate::hsa::{QueueKind, Signal};
use crate::kernels::{Kernel, MarkArguments, RelayArguments};
use crate::verify::lab::{CANARY, Completion, Context, Step, compare_marks, compare_words, ordered_header, pointer, system_header};

/// How long a barrier is watched for not giving way.
const HOLD: Duration = Duration::from_millis(5);

/// Handles of up to five dependencies.
fn dependencies(signals: &[&Arc<Signal>]) -> [u64; BARRIER_DEPENDENCIES] {
    std::array::from_fn(|position| signals.get(position).map_or(0, |signal| signal.handle()))
}

/// Passes when all dependencies are 0, and not before.
pub fn barrier_and(context: &mut Context<'_>) -> Step<()> {
    let (first, second) = (context.signal(1)?, context.signal(1)?);
    let signals = [first, second];
    let done = context.signal(2)?;
    let packet = BarrierAnd::new(system_header(), dependencies(&[&signals[0], &signals[1]]), done.handle());
    let open = |opened: usize| signals[opened].store(0);
    gated(context, &packet, &done, &open, signals.len())
}

/// Passes when one dependency is 0, and not before.
pub fn barrier_or(context: &mut Context<'_>) -> Step<()> {
    let (first, second, third) = (context.signal(1)?, context.signal(1)?, context.signal(1)?);
    let done = context.signal(2)?;
    let packet = BarrierOr::new(system_header(), dependencies(&[&first, &second, &third]), done.handle());
    gated(context, &packet, &done, &|_| second.store(0), 1)
}

/// A barrier packet, then a kernel behind it: the kernel's mark shows when the barrier gave way, with or without AtomicOps.
fn gated(context: &mut Context<'_>, barrier: &impl Packet, done: &Arc<Signal>, open: &dyn Fn(usize), steps: usize) -> Step<()> {
    let cells = context.words(1)?;
    cells.fill_u32(0);
    let mut mark = context.dispatch(Kernel::Mark, &MarkArguments { cells: pointer(&cells), index: 0 }, 64)?;
    mark.header = ordered_header().to_bits();
    mark.completion_signal = done.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    context.submit(&queue, barrier)?;
    let index = context.submit(&queue, &mark)?;
    for step in 0..steps {
        let blocked = || cells.u32s()[0].load(Ordering::Acquire) == 0 && done.load() == 2;
        context.keeps(HOLD, blocked, &format!("the barrier gave way with {step} of {steps} needed dependencies at 0"))?;
        open(step);
    }
    let output = || compare_marks(&cells, 1);
    context.complete(&Completion { signal: done, before: 2, expected: 0, queue: &queue, index, output: &output })
}

const ITEMS: u32 = 256;

/// A kernel on one queue waits for a kernel on another, through a barrier packet.
pub fn cross_queue(context: &mut Context<'_>) -> Step<()> {
    const START: u32 = 40;
    let count = ITEMS as usize;
    let (start, middle, end) = (context.words(count)?, context.words(count)?, context.words(count)?);
    start.fill_u32(START);
    let (between, done) = (context.signal(1)?, context.signal(1)?);
    let mut first = context.dispatch(Kernel::Relay, &RelayArguments { from: pointer(&start), to: pointer(&middle) }, ITEMS)?;
    first.completion_signal = between.handle();
    let barrier = BarrierAnd::new(system_header(), dependencies(&[&between]), 0);
    let mut second = context.dispatch(Kernel::Relay, &RelayArguments { from: pointer(&middle), to: pointer(&end) }, ITEMS)?;
    second.header = ordered_header().to_bits();
    second.completion_signal = done.handle();
    let (producer, consumer) = (context.queue(64, QueueKind::Single)?, context.queue(64, QueueKind::Single)?);
    // The dependent one first: it must wait although nothing else is in its queue.
    context.submit(&consumer, &barrier)?;
    let last = context.submit(&consumer, &second)?;
    let waits = || end.u32s()[0].load(Ordering::Acquire) == CANARY;
    context.keeps(HOLD, waits, "the dependent kernel ran before the one it depends on")?;
    let index = context.submit(&producer, &first)?;
    let middle_output = || compare_words(&middle, count, |_| START + 1);
    context.complete(&Completion { signal: &between, before: 1, expected: 0, queue: &producer, index, output: &middle_output })?;
    let output = || compare_words(&end, count, |_| START + 2);
    context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &consumer, index: last, output: &output })
}

/// A chain of kernels, each of which needs what the one before wrote: only the barrier bit keeps them in order.
pub fn barrier_bit_order(context: &mut Context<'_>) -> Step<()> {
    const LINKS: usize = 12;
    let count = ITEMS as usize;
    let done = context.signal(1)?;
    let mut links = Vec::new();
    for _ in 0..=LINKS {
        links.push(context.words(count)?);
    }
    links[0].fill_u32(0);
    let mut packets = Vec::new();
    for link in links.windows(2) {
        let arguments = RelayArguments { from: pointer(&link[0]), to: pointer(&link[1]) };
        let mut packet = context.dispatch(Kernel::Relay, &arguments, ITEMS)?;
        packet.header = ordered_header().to_bits();
        packets.push(packet);
    }
    if let Some(last) = packets.last_mut() {
        last.completion_signal = done.handle();
    }
    let queue = context.queue(64, QueueKind::Single)?;
    let mut index = 0;
    for packet in &packets {
        index = context.submit(&queue, packet)?;
    }
    let output = || compare_words(&links[LINKS], count, |_| LINKS as u32);
    context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })
}
