//! Waiting for a completion, and what it means when there is none.

use std::time::{Duration, Instant};

use crate::hsa::{Condition, Deadline, Queue, Signal, WaitMode};
use crate::report::{Outcome, OutputEvidence, SignalEvidence};
use crate::verify::event::Pace;

use super::{Context, Step, Stop};

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
        let output = (awaited.output)();
        self.record(awaited, output);
        if let Some(status) = awaited.queue.errors().first() {
            return Err(Stop(Outcome::QueueError { status: status.to_string() }));
        }
        let value = awaited.signal.load();
        if value < awaited.expected {
            return Err(Stop(Outcome::FiredTwice { value }));
        }
        if output.is_complete() {
            return Ok(());
        }
        if output.wrong > 0 {
            let OutputEvidence { elements, wrong, .. } = output;
            return Err(Stop::wrong(format!("{wrong} of {elements} elements of the output are wrong")));
        }
        Err(Stop(Outcome::FalseCompletion))
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
        let consumed = awaited.queue.read_index() > awaited.index;
        if output.elements > 0 && !output.is_absent() && !output.is_complete() {
            let OutputEvidence { elements, right, wrong, untouched } = output;
            self.note(format!("the output is partial: of {elements} elements {right} right, {wrong} wrong, {untouched} untouched"));
        }
        Stop(unfired_outcome(output, consumed))
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
        OutputEvidence { elements: right + untouched + wrong, right, untouched, wrong }
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
