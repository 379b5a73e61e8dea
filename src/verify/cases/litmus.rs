//! Message passing between host and device by plain stores: payload, then flag. It needs no AtomicOps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::hsa::{Buffer, Queue, QueueKind, Signal};
use crate::kernels::{GAVE_UP, Kernel, PublishArguments, SAW_FLAG, SpinOnFlagArguments};
use crate::report::{Outcome, OutputEvidence};
use crate::verify::lab::{Completion, Context, Step, Stop, compare_words, ordered_header, pointer};

const ITEMS: u32 = 256;
const ROUNDS: u32 = 24;

/// The value that marks a round; never the canary, and far from every other round's.
const fn token(round: u32) -> u32 {
    (round + 1) * 0x1_0000
}

/// The device publishes: whenever the host sees the flag, it must see the whole payload.
pub fn publish_gpu_to_cpu(context: &mut Context<'_>) -> Step<()> {
    let count = ITEMS as usize;
    let (payload, flag) = (context.words(count)?, context.words(1)?);
    flag.fill_u32(0);
    let done = context.signal(i64::from(ROUNDS))?;
    let queue = context.queue(64, QueueKind::Single)?;
    let mut index = 0;
    for round in 0..ROUNDS {
        let value = token(round);
        let arguments = PublishArguments { payload: pointer(&payload), flag: pointer(&flag), value };
        let mut packet = context.dispatch(Kernel::Publish, &arguments, ITEMS)?;
        packet.header = ordered_header().to_bits();
        packet.completion_signal = done.handle();
        index = context.submit(&queue, &packet)?;
        let published = context.reaches(|| flag.u32s()[0].load(Ordering::Acquire) == value || queue.errors().first().is_some());
        let seen = compare_words(&payload, count, |item| value + item as u32);
        if flag.u32s()[0].load(Ordering::Relaxed) != value {
            let asked = Asked { queue: &queue, index, done: &done, after: i64::from(ROUNDS - round - 1) };
            return Err(silent(context, &asked, published, seen));
        }
        if !seen.is_complete() {
            let missing = seen.elements - seen.right;
            context.record_output(seen);
            return Err(Stop::wrong(format!("round {round}: the flag was seen before {missing} of {ITEMS} elements it covers")));
        }
    }
    let output = || compare_words(&payload, count, |item| token(ROUNDS - 1) + item as u32);
    let before = i64::from(ROUNDS);
    context.complete(&Completion { signal: &done, before, expected: 0, queue: &queue, index, output: &output })
}

/// The host publishes to a kernel that is already running: when it sees the flag, it must see the whole payload.
pub fn publish_cpu_to_gpu(context: &mut Context<'_>) -> Step<()> {
    /// Far more than a healthy path needs, so that only a flag that never arrives runs it out.
    const MAX_POLLS: u32 = 4_000_000;
    let count = ITEMS as usize;
    // In turn: a kernel that a faulty device runs once more still finds the flag of its round, whatever the host does for the next one.
    let exchanges = [Exchange::new(context, count)?, Exchange::new(context, count)?];
    let before = i64::from(ROUNDS);
    let done = context.signal(before)?;
    let queue = context.queue(64, QueueKind::Single)?;
    let mut index = 0;
    for round in 0..ROUNDS {
        let expected = token(round);
        let Exchange { payload, flag, out, saw } = &exchanges[round as usize % exchanges.len()];
        saw.fill_u32(0);
        let arguments = SpinOnFlagArguments {
            flag: pointer(flag),
            payload: pointer(payload),
            out: pointer(out),
            saw: pointer(saw),
            expected,
            max_polls: MAX_POLLS,
        };
        let mut packet = context.dispatch(Kernel::SpinOnFlag, &arguments, ITEMS)?;
        packet.header = ordered_header().to_bits();
        packet.completion_signal = done.handle();
        index = context.submit(&queue, &packet)?;
        for (item, word) in payload.u32s().iter().enumerate().take(count) {
            word.store(expected + item as u32, Ordering::Relaxed);
        }
        flag.u32s()[0].store(expected, Ordering::Release);
        let answered = context.reaches(|| {
            saw.u32s().iter().take(count).all(|word| word.load(Ordering::Acquire) != 0) || queue.errors().first().is_some()
        });
        let gave_up = saw.u32s().iter().take(count).filter(|word| word.load(Ordering::Relaxed) == GAVE_UP).count();
        if gave_up > 0 {
            return Err(Stop::wrong(format!("round {round}: the running kernel never saw the host's flag in {MAX_POLLS} polls")));
        }
        if !saw.u32s().iter().take(count).all(|word| word.load(Ordering::Relaxed) == SAW_FLAG) {
            let seen = compare_words(out, count, |item| expected + item as u32);
            let asked = Asked { queue: &queue, index, done: &done, after: i64::from(ROUNDS - round - 1) };
            return Err(silent(context, &asked, answered, seen));
        }
        let seen = compare_words(out, count, |item| expected + item as u32);
        if !seen.is_complete() {
            let missing = seen.elements - seen.right;
            context.record_output(seen);
            return Err(Stop::wrong(format!(
                "round {round}: the kernel saw the flag before {missing} of {ITEMS} elements it covers"
            )));
        }
    }
    let last = &exchanges[(ROUNDS - 1) as usize % exchanges.len()];
    let output = || compare_words(&last.out, count, |item| token(ROUNDS - 1) + item as u32);
    context.complete(&Completion { signal: &done, before, expected: 0, queue: &queue, index, output: &output })
}

/// What host and kernel exchange in a round.
struct Exchange {
    /// The host's words, and the flag that covers them.
    payload: Arc<Buffer>,
    flag: Arc<Buffer>,
    /// The kernel's copy, and what became of its wait for the flag.
    out: Arc<Buffer>,
    saw: Arc<Buffer>,
}

impl Exchange {
    fn new(context: &mut Context<'_>, count: usize) -> Step<Self> {
        let flag = context.words(1)?;
        flag.fill_u32(0);
        Ok(Self { payload: context.words(count)?, flag, out: context.words(count)?, saw: context.words(count)? })
    }
}

/// The kernel said nothing before the deadline.
fn silent(context: &mut Context<'_>, asked: &Asked<'_>, answered: bool, seen: OutputEvidence) -> Stop {
    let Asked { queue, index, .. } = *asked;
    context.record_queue(queue);
    context.record_output(seen);
    if let Some(status) = queue.errors().first() {
        return Stop(Outcome::QueueError { status: status.to_string() });
    }
    debug_assert!(!answered, "an answer without an error is one of the kernel's");
    if seen.torn > 0 {
        return Stop::wrong(format!(
            "{} of {} elements of the output are partly written, and the flag is not there",
            seen.torn, seen.elements
        ));
    }
    if asked.done.load() < asked.after {
        // Packets of earlier rounds have taken too much, which hides whether this one has completed.
        let (before, expected, output) = (i64::from(ROUNDS), asked.after, || seen);
        return context.overshot(&Completion { signal: asked.done, before, expected, queue, index, output: &output });
    }
    if asked.done.load() <= asked.after {
        return Stop(Outcome::FalseCompletion);
    }
    if queue.read_index() > index {
        return Stop(Outcome::NoEffect);
    }
    context.not_taken(queue, index)
}

/// The packet of a round.
#[derive(Clone, Copy)]
struct Asked<'a> {
    queue: &'a Queue,
    index: u64,
    done: &'a Signal,
    /// What the signal holds once the packet has completed.
    after: i64,
}
