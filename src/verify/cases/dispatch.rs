//! Kernel dispatch: does it run, does it complete, and is its output there when it does?

use std::sync::atomic::Ordering;

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd, Dimensions, FenceScope, Header, PacketType};
use crate::hsa::QueueKind;
use crate::kernels::{Ids3dArguments, Kernel, LdsReduceArguments, NopArguments, RelayArguments, VectorCopyArguments};
use crate::verify::lab::{Completion, Context, Step, compare_words, no_output, pointer, system_header};

/// An empty kernel, one workgroup.
pub fn nop(context: &mut Context<'_>) -> Step<()> {
    let signal = context.signal(1)?;
    let mut packet = context.dispatch(Kernel::Nop, &NopArguments {}, 64)?;
    packet.completion_signal = signal.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    context.complete(&Completion { signal: &signal, before: 1, expected: 0, queue: &queue, index, output: &no_output })
}

/// Work-items of the founding packet.
const FOUNDING_ITEMS: u32 = 1024 * 1024;

/// The founding packet: grid 1024*1024, workgroup 256, one dimension, system fences.
pub fn vector_copy(context: &mut Context<'_>) -> Step<()> {
    let count = FOUNDING_ITEMS as usize;
    // Never the canary: the upper bits differ for every position.
    let element = |position: usize| position as u32 ^ 0x5a5a_5a5a;
    let (source, destination) = (context.words(count)?, context.words(count)?);
    for (position, word) in source.u32s().iter().enumerate().take(count) {
        word.store(element(position), Ordering::Relaxed);
    }
    let signal = context.signal(1)?;
    let arguments = VectorCopyArguments { source: pointer(&source), destination: pointer(&destination) };
    let mut packet = context.dispatch(Kernel::VectorCopy, &arguments, FOUNDING_ITEMS)?;
    packet.completion_signal = signal.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    let output = || compare_words(&destination, count, element);
    context.complete(&Completion { signal: &signal, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// Both fences at no scope.
pub fn fence_none(context: &mut Context<'_>) -> Step<()> {
    fence(context, FenceScope::None)
}

/// Both fences at agent scope.
pub fn fence_agent(context: &mut Context<'_>) -> Step<()> {
    fence(context, FenceScope::Agent)
}

/// Both fences at system scope.
pub fn fence_system(context: &mut Context<'_>) -> Step<()> {
    fence(context, FenceScope::System)
}

/// With a system release the output must be there when the signal fires. With less it must be there after a packet that releases
/// at system scope, and how much was there before is worth a note.
fn fence(context: &mut Context<'_>, scope: FenceScope) -> Step<()> {
    const ITEMS: u32 = 64 * 256;
    let count = ITEMS as usize;
    let (from, to) = (context.words(count)?, context.words(count)?);
    for (position, word) in from.u32s().iter().enumerate().take(count) {
        word.store(position as u32, Ordering::Relaxed);
    }
    let signal = context.signal(2)?;
    let arguments = RelayArguments { from: pointer(&from), to: pointer(&to) };
    let mut packet = context.dispatch(Kernel::Relay, &arguments, ITEMS)?;
    packet.header = Header::new(PacketType::KernelDispatch).fences(scope).to_bits();
    packet.completion_signal = signal.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let output = || compare_words(&to, count, |position| position as u32 + 1);
    let index = context.submit(&queue, &packet)?;
    if scope == FenceScope::System {
        return context.complete(&Completion { signal: &signal, before: 2, expected: 1, queue: &queue, index, output: &output });
    }
    // The predicted loss needs the output to tell; without one, the missing fence must not be mistaken for a false completion.
    let lenient = || {
        let seen = output();
        if seen.wrong == 0 && signal.load() < 2 { no_output() } else { seen }
    };
    context.complete(&Completion { signal: &signal, before: 2, expected: 1, queue: &queue, index, output: &lenient })?;
    let early = output();
    if !early.is_complete() {
        context
            .note(format!("{} of {} elements were visible when the signal fired, with {scope} scope", early.right, early.elements));
    }
    let header = system_header().barrier(crate::aql::BarrierBit::Set);
    let index = context.submit(&queue, &BarrierAnd::new(header, [0; BARRIER_DEPENDENCIES], signal.handle()))?;
    context.complete_behind(&Completion { signal: &signal, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// Sums through LDS with workgroup barriers.
pub fn lds_reduce(context: &mut Context<'_>) -> Step<()> {
    const WORKGROUPS: usize = 16;
    const SIZE: usize = 256;
    let (input, out) = (context.words(WORKGROUPS * SIZE)?, context.words(WORKGROUPS)?);
    for (position, word) in input.u32s().iter().enumerate().take(WORKGROUPS * SIZE) {
        word.store(position as u32, Ordering::Relaxed);
    }
    let signal = context.signal(1)?;
    let arguments = LdsReduceArguments { input: pointer(&input), out: pointer(&out) };
    let mut packet = context.dispatch(Kernel::LdsReduce, &arguments, (WORKGROUPS * SIZE) as u32)?;
    packet.completion_signal = signal.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    // Consecutive numbers from workgroup * 256 on.
    let output = || compare_words(&out, WORKGROUPS, |group| ((group * SIZE) * SIZE + SIZE * (SIZE - 1) / 2) as u32);
    context.complete(&Completion { signal: &signal, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// A three-dimensional grid whose last workgroups are partial in every dimension.
pub fn grid_3d(context: &mut Context<'_>) -> Step<()> {
    const GRID: [u32; 3] = [19, 7, 5];
    let count = GRID.iter().product::<u32>() as usize;
    let out = context.words(count)?;
    let signal = context.signal(1)?;
    let arguments = Ids3dArguments { out: pointer(&out), size_x: GRID[0], size_y: GRID[1] };
    let mut packet = context.dispatch_grid(Kernel::Ids3d, &arguments, Dimensions::Three, GRID)?;
    packet.completion_signal = signal.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    let output = || {
        compare_words(&out, count, |position| {
            let position = position as u32;
            let (x, y, z) = (position % GRID[0], position / GRID[0] % GRID[1], position / (GRID[0] * GRID[1]));
            x | y << 10 | z << 20
        })
    };
    context.complete(&Completion { signal: &signal, before: 1, expected: 0, queue: &queue, index, output: &output })
}
