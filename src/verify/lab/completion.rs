//! Waiting for a completion, and what it means when there is none.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd, QueuePort};
use crate::hsa::{Condition, Deadline, Queue, QueueKind, Signal, WaitMode};
use crate::report::{Outcome, OutputEvidence, Remedy, SecondLook, SignalEvidence};
use crate::verify::event::Pace;

use super::{Context, Step, Stop, poll, system_header};

/// How long a second look waits for what the first one missed.
const PATIENCE: Duration = Duration::from_millis(250);
/// The same for what should follow at once.
const BRIEFLY: Duration = Duration::from_millis(20);
/// How long after a case its signals are looked at again.
const AFTERMATH: Duration = Duration::from_millis(1);

const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(16);

/// What a completion is waited for with.
#[derive(Clone, Copy)]
pub struct Completion<'a> {
    /// The completion signal.
    pub signal: &'a Signal,
    /// Its value when the packet was published.
    pub before: i64,
    /// Its value when everything has completed.
    pub expected: i64,
    /// The queue.
    pub queue: &'a Queue,
    /// Index of the last packet that must complete.
    pub index: u64,
    /// The kernel's output as it is now; no elements for a packet without output.
    pub output: &'a dyn Fn() -> OutputEvidence,
}

impl Context<'_> {
    /// Waits for a completion and holds the output against it.
    ///
    /// Where a lost completion is predicted, the wait ends once everything but the signal has happened and the signal then stayed
    /// quiet; else it ends at the case's deadline, after one more look for a completion that is only late.
    ///
    /// # Errors
    /// What happened instead of the completion.
    pub fn complete(&mut self, awaited: &Completion<'_>) -> Step<()> {
        let deadline = self.deadline();
        let mut settled: Option<Instant> = None;
        let mut look = FIRST_LOOK;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.fires_within(awaited, left.min(look)) {
                return self.fired(awaited);
            }
            if awaited.queue.errors().first().is_some() {
                return Err(self.not_fired(awaited));
            }
            if left.is_zero() {
                return Err(self.overdue(awaited));
            }
            if let Some(quiet) = self.pace.quiet {
                match settled {
                    None if has_settled(awaited) => settled = Some(Instant::now()),
                    Some(since) if since.elapsed() >= quiet.duration() => return Err(self.not_fired(awaited)),
                    _ => {}
                }
            }
            look = (look * 2).min(LAST_LOOK);
        }
    }

    fn fires_within(&self, awaited: &Completion<'_>, span: Duration) -> bool {
        // Below the expected value too: a signal that fired twice has fired.
        let fired = Condition::Less(awaited.expected.saturating_add(1));
        awaited.signal.wait(fired, Deadline::after(span), WaitMode::Active).is_satisfied()
    }

    fn fired(&mut self, awaited: &Completion<'_>) -> Step<()> {
        let handle = awaited.signal.handle();
        self.fired.retain(|(known, ..)| *known != handle);
        self.fired.push((handle, awaited.before, awaited.expected));
        let output = (awaited.output)();
        self.record(awaited, output);
        if let Some(status) = awaited.queue.errors().first() {
            return Err(Stop(Outcome::QueueError { status: status.to_string() }));
        }
        if awaited.signal.load() < awaited.expected {
            return Err(self.overshot(awaited));
        }
        if !output.is_complete() {
            return Err(self.fired_without_output(awaited, output));
        }
        if !poll(Instant::now() + PATIENCE, || awaited.queue.read_index() > awaited.index) {
            self.record_queue(awaited.queue);
            return Err(Stop::wrong(read_index_stuck(awaited.queue, awaited.index)));
        }
        self.record_queue(awaited.queue);
        Ok(())
    }

    /// What it means that the signal fell too far. A signal that others count down as well falls too far before every packet is taken, and
    /// how much each took off shows only after the last.
    pub fn overshot(&mut self, awaited: &Completion<'_>) -> Stop {
        poll(Instant::now() + PATIENCE, || awaited.queue.read_index() > awaited.index);
        thread::sleep(BRIEFLY);
        self.record(awaited, (awaited.output)());
        Stop(overshot(awaited.before, awaited.expected, awaited.signal.load()))
    }

    /// What it means that the output is not there although the signal fired; another look shows whether it comes later, and whether
    /// the signal goes on: one that others count down as well may reach its end too early.
    fn fired_without_output(&mut self, awaited: &Completion<'_>, output: OutputEvidence) -> Stop {
        let came = poll(Instant::now() + PATIENCE, || (awaited.output)().is_complete());
        let overshoots = || awaited.signal.load() < awaited.expected;
        if overshoots() || came && poll(Instant::now() + BRIEFLY, overshoots) {
            return self.overshot(awaited);
        }
        self.evidence.second_look = Some(SecondLook {
            after: Remedy::Waiting,
            taken: awaited.queue.read_index() > awaited.index,
            output: Some((awaited.output)()),
        });
        if output.wrong == 0 {
            return Stop(Outcome::FalseCompletion);
        }
        let OutputEvidence { elements, wrong, torn, repeated, .. } = output;
        let how = match (torn, repeated) {
            (0, 0) => String::new(),
            (torn, 0) => format!(", {torn} of them partly written"),
            (_, repeated) => format!(", {repeated} of them as if their work had been done more than once"),
        };
        Stop::wrong(format!("{wrong} of {elements} elements of the output are wrong{how}"))
    }

    fn overdue(&mut self, awaited: &Completion<'_>) -> Stop {
        if self.fires_within(awaited, Pace::LATE_WINDOW) {
            if let Err(stop) = self.fired(awaited) {
                return stop;
            }
            let after_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Stop(Outcome::CompletedLate { after_ms });
        }
        self.not_fired(awaited)
    }

    fn not_fired(&mut self, awaited: &Completion<'_>) -> Stop {
        let output = (awaited.output)();
        self.record(awaited, output);
        if let Some(status) = awaited.queue.errors().first() {
            return Stop(Outcome::QueueError { status: status.to_string() });
        }
        let value = awaited.signal.load();
        if value > awaited.before {
            return Stop::wrong(format!("the signal went up from {} to {value} where it had to go down", awaited.before));
        }
        if output.repeated > 0 {
            let OutputEvidence { elements, repeated, .. } = output;
            return Stop::wrong(format!(
                "the signal did not fire, and {repeated} of {elements} elements of the output show work done more than once"
            ));
        }
        let consumed = awaited.queue.read_index() > awaited.index;
        if output.elements > 0 && !output.is_absent() && !output.is_complete() {
            let OutputEvidence { elements, right, wrong, untouched, .. } = output;
            self.note(format!("the output is partial: of {elements} elements {right} right, {wrong} wrong, {untouched} untouched"));
        }
        let outcome = unfired_outcome(output, consumed);
        if outcome == Outcome::PacketNotFetched {
            self.prod(awaited.queue, awaited.index);
        }
        Stop(outcome)
    }

    /// A look at a packet that the device does not take, after its doorbell was rung again, and after it was rung further.
    ///
    /// The doorbell holds the highest index that was published, so ringing it again changes nothing on a device that heard it. A
    /// device that compares it with a value of an earlier queue may only hear one that is higher, which packets without effect
    /// make legal.
    pub fn prod(&mut self, queue: &Queue, index: u64) {
        if poll(self.deadline() + Pace::LATE_WINDOW, || queue.read_index() > index) {
            self.evidence.second_look = Some(SecondLook { after: Remedy::Waiting, taken: true, output: None });
            self.record_queue(queue);
            return;
        }
        /// How long each further value of the doorbell is given.
        const STEP: Duration = Duration::from_millis(4);
        let taken = || queue.read_index() > index;
        queue.ring().port().ring_doorbell(queue.write_index().saturating_sub(1));
        let mut look = SecondLook { after: Remedy::RingingAgain, taken: poll(Instant::now() + PATIENCE, taken), output: None };
        let heard_unchanged = look.taken;
        let empty = BarrierAnd::new(system_header(), [0; BARRIER_DEPENDENCIES], 0);
        // The next value alone is a ring that was heard, where a device only hears values that it has not seen. A full ring ends it.
        let mut after = Remedy::RingingAgain;
        while !look.taken && queue.ring().submit(&empty).is_ok() {
            look = SecondLook { after, taken: poll(Instant::now() + STEP, taken), output: None };
            after = Remedy::RingingFurther;
        }
        // A value that an earlier queue left is passed by the next one where that queue was told no more than this one.
        if look.taken && look.after == Remedy::RingingAgain && !heard_unchanged && self.recycled_doorbells_are_stale() {
            look.after = Remedy::RecyclingQueue;
        }
        self.evidence.second_look = Some(look);
        self.record_queue(queue);
    }

    /// Whether a queue that is created on the slot of another hears nothing up to exactly the value that the other was told: a doorbell
    /// that loses single rings does not do that.
    fn recycled_doorbells_are_stale(&self) -> bool {
        /// What the first of the two is told.
        const TOLD: u64 = 5;
        let empty = BarrierAnd::new(system_header(), [0; BARRIER_DEPENDENCIES], 0);
        let taken = |queue: &Queue, packets: u64| poll(Instant::now() + BRIEFLY, || queue.read_index() >= packets);
        let Ok(first) = self.queue(64, QueueKind::Single) else { return false };
        if (0..TOLD).any(|_| first.ring().submit(&empty).is_err()) {
            return false;
        }
        taken(&first, TOLD);
        drop(first);
        let Ok(second) = self.queue(64, QueueKind::Single) else { return false };
        let heard_at = (1..=TOLD + 1).find(|packets| second.ring().submit(&empty).is_ok() && taken(&second, *packets));
        heard_at == Some(TOLD + 1)
    }

    /// Holds every signal that fired against the value it fired with, once more: a decrement too many may come late.
    pub(super) fn look_back(&mut self) -> Step<()> {
        thread::sleep(AFTERMATH);
        let changed = |(handle, before, expected): &(u64, i64, i64)| {
            let signal = self.signals.iter().find(|signal| signal.handle() == *handle)?;
            let value = signal.load();
            (value != *expected).then(|| (Arc::clone(signal), *before, *expected, value))
        };
        let Some((_, before, expected, value)) = self.fired.iter().find_map(changed) else { return Ok(()) };
        if let Some(evidence) = &mut self.evidence.signal {
            (evidence.before, evidence.after, evidence.expected) = (before, value, expected);
        }
        Err(Stop(if value < expected {
            overshot(before, expected, value)
        } else {
            Outcome::WrongValue { detail: format!("the signal fired at {expected} and then went up to {value}") }
        }))
    }

    /// Takes signal, queue and output into the evidence.
    pub fn record(&mut self, awaited: &Completion<'_>, output: OutputEvidence) {
        let fields = awaited.signal.snapshot();
        self.evidence.signal = Some(SignalEvidence {
            before: awaited.before,
            after: awaited.signal.load(),
            expected: awaited.expected,
            event_id: fields.map_or(0, |fields| fields.event_id),
            event_mailbox: fields
                .filter(|fields| fields.event_mailbox_ptr != 0)
                .map(|fields| format!("{:#x}", fields.event_mailbox_ptr)),
            start_ts: fields.map_or(0, |fields| fields.start_ts),
            end_ts: fields.map_or(0, |fields| fields.end_ts),
        });
        self.evidence.output = (output.elements > 0).then_some(output);
        self.record_queue(awaited.queue);
    }
}

/// Whether everything but the signal has happened.
fn has_settled(awaited: &Completion<'_>) -> bool {
    let output = (awaited.output)();
    if output.elements > 0 { output.is_complete() } else { awaited.queue.read_index() > awaited.index }
}

/// What it means that a signal fell below the value that it fires with.
pub fn overshot(before: i64, expected: i64, value: i64) -> Outcome {
    let (asked, taken) = (before.wrapping_sub(expected), before.wrapping_sub(value));
    // The lower half may be anywhere on its way: others may still count it down.
    if (expected..=before).contains(&i64::from(value as i32)) {
        let detail = format!("the signal is {value:#x} where it had to be {expected:#x}: its halves do not belong together");
        return Outcome::WrongValue { detail };
    }
    if taken > asked.saturating_mul(2) {
        let detail = format!("the signal went down by {taken} to {value} where {asked} had to be taken");
        return Outcome::WrongValue { detail };
    }
    Outcome::FiredTwice { value }
}

/// What it means that packets ran and the read index says otherwise.
pub fn read_index_stuck(queue: &Queue, index: u64) -> String {
    format!("the read index is {} although packet {index} ran", queue.read_index())
}

/// What it means that a signal did not fire, by what else was seen.
///
/// | output | packet consumed | outcome |
/// |---|---|---|
/// | complete | any | completion-lost |
/// | none asked for | yes | completion-lost |
/// | none asked for | no | packet-not-fetched |
/// | absent | no | packet-not-fetched |
/// | absent or partial | yes | no-effect |
/// | partial | no | no-effect |
fn unfired_outcome(output: OutputEvidence, consumed: bool) -> Outcome {
    match (output.elements, consumed) {
        (0, true) => Outcome::CompletionLost,
        (0, false) => Outcome::PacketNotFetched,
        _ if output.is_complete() => Outcome::CompletionLost,
        (_, false) if output.is_absent() => Outcome::PacketNotFetched,
        _ => Outcome::NoEffect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(right: u64, untouched: u64, wrong: u64) -> OutputEvidence {
        OutputEvidence { elements: right + untouched + wrong, right, untouched, wrong, ..OutputEvidence::default() }
    }

    #[test]
    fn a_signal_that_fell_too_far_fired_twice_was_torn_or_lost_another_amount() {
        assert_eq!(overshot(1, 0, -1), Outcome::FiredTwice { value: -1 });
        assert_eq!(overshot(96, 0, -3), Outcome::FiredTwice { value: -3 });
        let wrong = |outcome: &Outcome, words: &str| matches!(outcome, Outcome::WrongValue { detail } if detail.contains(words));
        // 64-bit addition of -1 without the carry between its halves (0x1 + 0xffffffff carries).
        assert!(wrong(&overshot(1, 0, 0xffff_ffff_0000_0000_u64 as i64), "halves"));
        assert!(wrong(&overshot(2, 0, 0xffff_ffff_0000_0001_u64 as i64), "halves"));
        assert!(wrong(&overshot(1000, 999, 995), "by 5 to 995 where 1"));
        assert!(wrong(&overshot(1, 0, i64::MIN + 5), "where 1"));
    }

    #[test]
    fn a_signal_that_did_not_fire_is_told_apart_by_output_and_read_index() {
        let rows = [
            (output(4, 0, 0), true, Outcome::CompletionLost),
            (output(4, 0, 0), false, Outcome::CompletionLost),
            (output(0, 0, 0), true, Outcome::CompletionLost),
            (output(0, 0, 0), false, Outcome::PacketNotFetched),
            (output(0, 4, 0), false, Outcome::PacketNotFetched),
            (output(0, 4, 0), true, Outcome::NoEffect),
            (output(1, 3, 0), true, Outcome::NoEffect),
            (output(1, 3, 0), false, Outcome::NoEffect),
            (output(0, 0, 4), true, Outcome::NoEffect),
        ];
        for (output, consumed, wanted) in rows {
            assert_eq!(unfired_outcome(output, consumed), wanted, "{output:?}, consumed: {consumed}");
        }
    }
}
