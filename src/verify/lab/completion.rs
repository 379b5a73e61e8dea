//! Waiting for a completion, and what it means when there is none.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::hsa::{Condition, Deadline, Queue, Signal, WaitMode};
use crate::report::{Outcome, OutputEvidence, Remedy, SecondLook, SignalEvidence};
use crate::verify::event::Pace;

use super::{BRIEFLY, Context, PATIENCE, Step, Stop, poll};

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
    /// The kernel's output as it is now; no elements for a packet without output. Where it is spread over several packets
    /// ([`OutputEvidence::packets`]), the last part is this packet's.
    pub output: &'a dyn Fn() -> OutputEvidence,
}

/// Whose work the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The awaited packet's, at least its last part.
    Awaited,
    /// Earlier packets': what it says is nothing about the awaited one.
    Earlier,
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
        self.await_completion(awaited, Work::Awaited)
    }

    /// The same for a packet that has no output of its own and follows those whose output must be there.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn complete_behind(&mut self, awaited: &Completion<'_>) -> Step<()> {
        self.await_completion(awaited, Work::Earlier)
    }

    fn await_completion(&mut self, awaited: &Completion<'_>, work: Work) -> Step<()> {
        let deadline = self.deadline();
        let mut settled: Option<Instant> = None;
        let mut look = FIRST_LOOK;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.fires_within(awaited, left.min(look)) {
                return self.fired(awaited);
            }
            if awaited.queue.errors().first().is_some() {
                return Err(self.not_fired(awaited, work));
            }
            if left.is_zero() {
                return Err(self.overdue(awaited, work));
            }
            if let Some(quiet) = self.pace.quiet {
                match settled {
                    None if has_settled(awaited, work) => settled = Some(Instant::now()),
                    Some(since) if since.elapsed() >= quiet.duration() => return Err(self.not_fired(awaited, work)),
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
        poll(Instant::now() + PATIENCE, || awaited.queue.read_index() > awaited.index && self.ledger.all_taken());
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

    fn overdue(&mut self, awaited: &Completion<'_>, work: Work) -> Stop {
        let before = awaited.signal.load();
        let late = self.fires_within(awaited, Pace::LATE_WINDOW);
        // A signal that comes down is on its way: what is left of it may take as long again.
        if late || awaited.signal.load() < before && self.fires_within(awaited, Pace::LATE_WINDOW) {
            if let Err(stop) = self.fired(awaited) {
                return stop;
            }
            let after_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Stop(Outcome::CompletedLate { after_ms });
        }
        self.not_fired(awaited, work)
    }

    fn not_fired(&mut self, awaited: &Completion<'_>, work: Work) -> Stop {
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
        // A kernel that is still at work is slow, and not one whose output got lost.
        if consumed && output.packets == 0 && !output.is_complete() {
            thread::sleep(PATIENCE);
            let later = (awaited.output)();
            let taken = awaited.queue.read_index() > awaited.index;
            self.evidence.second_look = Some(SecondLook { after: Remedy::Waiting, taken, output: Some(later) });
        }
        let ran = ran(output, work, self.ledger.stamps_tell(awaited.signal));
        match unfired_outcome(output, consumed, ran) {
            Outcome::PacketNotFetched => self.not_taken(awaited.queue, awaited.index),
            outcome => Stop(outcome),
        }
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
fn has_settled(awaited: &Completion<'_>, work: Work) -> bool {
    let output = (awaited.output)();
    if output.elements > 0 && work == Work::Awaited { output.is_complete() } else { awaited.queue.read_index() > awaited.index }
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

/// Whether the awaited packet is known to have run, whatever the read index says.
fn ran(output: OutputEvidence, work: Work, stamped: bool) -> bool {
    let of_this_packet = work == Work::Awaited && output.elements > 0;
    // Of marks of several packets some say nothing of this one, and all of them do.
    let traces = if output.packets > 0 { output.is_complete() } else { !output.is_absent() };
    stamped || of_this_packet && traces
}

/// What it means that a signal did not fire, by what else was seen.
///
/// | packet consumed, or known to have run | output | outcome |
/// |---|---|---|
/// | yes | complete, or none asked for | completion-lost |
/// | yes | absent or partial | no-effect |
/// | no | any | packet-not-fetched |
fn unfired_outcome(output: OutputEvidence, consumed: bool, ran: bool) -> Outcome {
    match (consumed || ran, output.is_complete()) {
        (true, true) => Outcome::CompletionLost,
        (true, false) => Outcome::NoEffect,
        (false, _) => Outcome::PacketNotFetched,
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
            let ran = ran(output, Work::Awaited, false);
            assert_eq!(unfired_outcome(output, consumed, ran), wanted, "{output:?}, consumed: {consumed}");
        }
    }

    #[test]
    fn what_other_packets_did_does_not_show_that_the_awaited_one_ran_and_its_stamps_do() {
        let marks = |right, untouched| OutputEvidence { packets: right + untouched, ..output(right, untouched, 0) };
        let of = |output, work, stamped| unfired_outcome(output, false, ran(output, work, stamped));
        assert_eq!(of(marks(47, 1), Work::Awaited, false), Outcome::PacketNotFetched);
        assert_eq!(of(marks(48, 0), Work::Awaited, false), Outcome::CompletionLost);
        assert_eq!(of(marks(192, 0), Work::Earlier, false), Outcome::PacketNotFetched);
        assert_eq!(of(output(4, 0, 0), Work::Earlier, false), Outcome::PacketNotFetched);
        assert_eq!(of(output(0, 0, 0), Work::Awaited, true), Outcome::CompletionLost);
        assert_eq!(of(output(0, 4, 0), Work::Awaited, true), Outcome::NoEffect);
    }
}
