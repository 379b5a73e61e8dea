//! Signals: counted exactly, shared with the host, updated by a kernel, waited for awake and asleep.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd};
use crate::hsa::{Condition, Deadline, QueueKind, Signal, WaitMode};
use crate::kernels::{Kernel, MarkArguments, SignalSubtractArguments};
use crate::report::{Outcome, UpdateEvidence};
use crate::verify::lab::{
    Completion, Context, Element, Starvation, Step, Stop, compare_marks, compare_words, ordered_header, pointer, poll,
    system_header,
};

/// Many packets and the host count one signal down at the same time.
pub fn shared_signal(context: &mut Context<'_>) -> Step<()> {
    const PACKETS: usize = 48;
    const HOST: i64 = 48;
    let before = PACKETS as i64 + HOST;
    let done = context.signal(before)?;
    let cells = context.words(PACKETS)?;
    cells.fill_u32(0);
    let queue = context.queue(64, QueueKind::Single)?;
    let mut packets = Vec::new();
    for index in 0..PACKETS {
        let mut packet = context.dispatch(Kernel::Mark, &MarkArguments { cells: pointer(&cells), index: index as u32 }, 64)?;
        packet.completion_signal = done.handle();
        packets.push(packet);
    }
    let mut index = 0;
    for (position, packet) in packets.iter().enumerate() {
        index = context.submit(&queue, packet)?;
        let share = HOST * (position as i64 + 1) / PACKETS as i64 - HOST * position as i64 / PACKETS as i64;
        (0..share).for_each(|_| done.subtract(1));
    }
    let output = || compare_marks(&cells, PACKETS);
    let awaited = Completion { signal: &done, before, expected: 0, queue: &queue, index, output: &output };
    let completed = context.complete(&awaited);
    let left = done.load();
    if left > before - HOST && matches!(&completed, Err(Stop(Outcome::CompletionLost))) {
        // The host's share is off already.
        context.record(&Completion { before: before - HOST, ..awaited }, output());
        return Err(Stop::wrong(format!(
            "the host left {} to the device to count down, and the signal holds {left}",
            before - HOST
        )));
    }
    if completed.is_err() {
        context.note(format!("{} of {PACKETS} decrements of the device are missing, and none of the host's {HOST}", done.load()));
    }
    completed
}

/// Each packet decrements its own signal exactly once.
pub fn exactly_once(context: &mut Context<'_>) -> Step<()> {
    const PACKETS: usize = 32;
    /// Far from 0, so that one decrement too many shows.
    const BEFORE: i64 = 1000;
    const HOLD: Duration = Duration::from_millis(5);
    let cells = context.words(PACKETS)?;
    cells.fill_u32(0);
    let mut signals: Vec<Arc<Signal>> = Vec::new();
    let mut packets = Vec::new();
    for index in 0..PACKETS {
        let signal = context.signal(BEFORE)?;
        let mut packet = context.dispatch(Kernel::Mark, &MarkArguments { cells: pointer(&cells), index: index as u32 }, 64)?;
        packet.completion_signal = signal.handle();
        signals.push(signal);
        packets.push(packet);
    }
    let queue = context.queue(64, QueueKind::Single)?;
    let mut indices = Vec::new();
    for packet in &packets {
        indices.push(context.submit(&queue, packet)?);
    }
    for (position, (signal, index)) in signals.iter().zip(indices).enumerate() {
        // A packet may complete before an earlier one, so only its own mark must be there.
        let output = || {
            crate::verify::lab::tally(1, |_| Element::of_mark(cells.u32s()[position].load(std::sync::atomic::Ordering::Acquire)))
        };
        context.complete(&Completion { signal, before: BEFORE, expected: BEFORE - 1, queue: &queue, index, output: &output })?;
    }
    thread::sleep(HOLD);
    match signals.iter().map(|signal| signal.load()).find(|value| *value != BEFORE - 1) {
        Some(value) => Err(Stop(Outcome::FiredTwice { value })),
        None => Ok(()),
    }
}

/// A kernel decrements a signal itself, with its own atomics.
pub fn signal_from_kernel(context: &mut Context<'_>) -> Step<()> {
    const ITEMS: u32 = 64;
    const AMOUNT: i64 = 3;
    let before = i64::from(ITEMS) * AMOUNT;
    let (updated, done) = (context.signal(before)?, context.signal(1)?);
    let Some(value) = updated.value_address() else {
        return Err(Stop(Outcome::Untestable { reason: "this runtime's signals are not values in memory".to_owned() }));
    };
    let ran = context.words(ITEMS as usize)?;
    let arguments =
        SignalSubtractArguments { value: crate::kernels::DevicePtr(value), ran: pointer(&ran), amount: AMOUNT.unsigned_abs() };
    let mut packet = context.dispatch(Kernel::SignalSubtract, &arguments, ITEMS)?;
    packet.completion_signal = done.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let index = context.submit(&queue, &packet)?;
    context.asks_atomics(Some(u64::from(ITEMS)));
    let output = || compare_words(&ran, ITEMS as usize, |_| 1);
    let completed = context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output });
    let left = updated.load();
    let updates = left_of_countdown(before, AMOUNT, left);
    context.record_updates(updates);
    if !updates.is_exact() {
        context.note(format!("the signal that the kernel counts down from {before} to 0 holds {left}"));
    }
    completed?;
    if updates.is_exact() { Ok(()) } else { Err(Stop::wrong(format!("the kernel counted a signal down from {before} to {left}"))) }
}

/// What a kernel's updates of `amount` each come to, which had to bring `before` down to 0.
fn left_of_countdown(before: i64, amount: i64, left: i64) -> UpdateEvidence {
    let made = (before / amount).unsigned_abs();
    let by_device = u64::try_from((before - left) / amount).unwrap_or(0).min(made);
    let exact = UpdateEvidence { made, by_device, ..UpdateEvidence::default() };
    match left {
        0 => exact,
        left if left as u32 == 0 => UpdateEvidence { torn: 1, ..exact },
        left if left > 0 => UpdateEvidence { missing: (left / amount).unsigned_abs().max(1), ..exact },
        left => UpdateEvidence { surplus: (left / amount).unsigned_abs().max(1), ..exact },
    }
}

/// The host waits for the signal by polling.
pub fn wait_active(context: &mut Context<'_>) -> Step<()> {
    waits(context, WaitMode::Active)
}

/// The host waits for the signal asleep, until the device's interrupt wakes it.
pub fn wait_blocked(context: &mut Context<'_>) -> Step<()> {
    waits(context, WaitMode::Blocked)
}

/// Each round the packet is held back until the host is well inside its wait. A second thread watches the value, so that a wait
/// that is not woken is told from a value that does not arrive.
fn waits(context: &mut Context<'_>, mode: WaitMode) -> Step<()> {
    const ROUNDS: usize = 6;
    const HEAD_START: Duration = Duration::from_millis(3);
    /// How much later than the value's arrival a wait may come back.
    const WAKE_LIMIT: Duration = Duration::from_millis(750);
    /// A machine that stands still for a moment makes one wait late, and hardly another one of the same case.
    const LATE_ROUNDS: usize = 2;
    let cells = context.words(ROUNDS)?;
    cells.fill_u32(0);
    let queue = context.queue(64, QueueKind::Single)?;
    let mut late_rounds = 0;
    for round in 0..ROUNDS {
        let (gate, done) = (context.signal(1)?, context.signal(1)?);
        let mut dependencies = [0; BARRIER_DEPENDENCIES];
        dependencies[0] = gate.handle();
        let mut mark = context.dispatch(Kernel::Mark, &MarkArguments { cells: pointer(&cells), index: round as u32 }, 64)?;
        mark.header = ordered_header().to_bits();
        mark.completion_signal = done.handle();
        context.submit(&queue, &BarrierAnd::new(system_header(), dependencies, 0))?;
        let index = context.submit(&queue, &mark)?;
        let left = context.deadline().saturating_duration_since(Instant::now());
        // Where a lost completion is predicted, the wait itself need not be long: what follows it decides.
        let span = context.pace().quiet.map_or(left, |quiet| (quiet.duration() / 3).min(left));
        let end = Instant::now() + span;
        let arrived = Mutex::new(None);
        let waited = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(HEAD_START);
                gate.store(0);
                if poll(end, || done.load() < 1) {
                    *arrived.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
            });
            let starved = Starvation::begin();
            // What it says is judged below, from the value itself.
            let _ = done.wait(Condition::Less(1), Deadline::after(span), mode);
            Waited { returned: Instant::now(), starved: starved.elapsed() }
        });
        let output = || compare_marks(&cells, round + 1);
        let overslept = arrived.lock().unwrap_or_else(PoisonError::into_inner).map(|arrived| waited.overslept(arrived));
        let awaited = Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output };
        if overslept.is_some_and(|overslept| waited.ran_to_its_end(end, span, overslept)) {
            context.record(&awaited, output());
            context.note("the wait ran to its end although the value had arrived");
            return Err(Stop(Outcome::WakeLost));
        }
        context.complete(&awaited)?;
        if let Some(late) = overslept.filter(|late| *late > WAKE_LIMIT) {
            context.note(format!("the wait came back {} ms after the value had arrived", late.as_millis()));
            late_rounds += 1;
        }
        if late_rounds == LATE_ROUNDS {
            return Err(Stop(Outcome::WakeLost));
        }
    }
    Ok(())
}

/// A wait that is over.
#[derive(Clone, Copy, Debug)]
struct Waited {
    returned: Instant,
    /// How much of it the waiting thread was ready to run and had no processor.
    starved: Duration,
}

impl Waited {
    /// How long it went on after the value had arrived, for no reason of the machine's.
    fn overslept(&self, arrived: Instant) -> Duration {
        self.returned.saturating_duration_since(arrived).saturating_sub(self.starved)
    }

    /// Whether a wait of `span` was over only because of its timeout, which is one that was not woken and no late completion. A runtime
    /// hands whole milliseconds to the kernel (AMDKFD_IOC_WAIT_EVENTS), rounds down, and then finds the value just before `end`.
    fn ran_to_its_end(&self, end: Instant, span: Duration, overslept: Duration) -> bool {
        const TIMEOUT_GRAIN: Duration = Duration::from_millis(10);
        self.returned + TIMEOUT_GRAIN >= end && overslept > span / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waited_for_a_processor_did_not_oversleep() {
        let arrived = Instant::now();
        let waited = |late: u64, starved: u64| Waited {
            returned: arrived + Duration::from_millis(late),
            starved: Duration::from_millis(starved),
        };
        assert_eq!(waited(1720, 0).overslept(arrived), Duration::from_millis(1720));
        assert_eq!(waited(1720, 1700).overslept(arrived), Duration::from_millis(20));
        assert_eq!(waited(5, 1700).overslept(arrived), Duration::ZERO);
    }

    #[test]
    fn a_wait_that_its_timeout_ended_was_not_woken_even_where_the_runtime_rounds_milliseconds_down() {
        let begin = Instant::now();
        let span = Duration::from_millis(5000);
        let waited = |micros: u64| Waited { returned: begin + Duration::from_micros(micros), starved: Duration::ZERO };
        let judged = |micros: u64, arrived: u64| {
            let waited = waited(micros);
            waited.ran_to_its_end(begin + span, span, waited.overslept(begin + Duration::from_millis(arrived)))
        };
        assert!(judged(5_000_100, 5));
        assert!(judged(4_999_400, 5), "4999 of 4999.9 ms were slept");
        assert!(!judged(1_700_000, 5), "late, and woken");
        assert!(!judged(5_000_100, 4_990), "the value came at the end");
    }

    #[test]
    fn a_countdown_is_exact_short_torn_or_made_twice() {
        let exact = UpdateEvidence { made: 64, by_device: 64, ..UpdateEvidence::default() };
        assert_eq!(left_of_countdown(192, 3, 0), exact);
        assert_eq!(left_of_countdown(192, 3, 6), UpdateEvidence { missing: 2, by_device: 62, ..exact });
        assert_eq!(left_of_countdown(192, 3, -192), UpdateEvidence { surplus: 64, ..exact });
        assert_eq!(left_of_countdown(192, 3, -1 << 32), UpdateEvidence { torn: 1, ..exact });
    }
}
