//! The most likely cause of an outcome: a word and a sentence.
//!
//! The outcome says what the host saw first. The cause follows from everything else that was seen: what was counted outweighs what
//! was read in registers, and what was read outweighs what is likely. `tests/faults` provokes what a fault can provoke and holds the cause
//! named here against it; the tests beside this file do so for the rest: Bus Master, an unreadable path, a runtime that refuses, a wrong
//! prediction.

use crate::report::{
    Bit, Evidence, FabricCounters, HopReport, HopRole, Outcome, OutputEvidence, PathReport, Remedy, SecondLook, SignalEvidence,
    Suspect, UpdateEvidence,
};

use super::{Expectation, OwnPackets, RunFacts};

/// A cause in a word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The word.
    pub suspect: Suspect,
    /// The sentence.
    pub sentence: String,
}

impl Cause {
    fn new(suspect: Suspect, sentence: impl Into<String>) -> Self {
        Self { suspect, sentence: sentence.into() }
    }
}

/// The most likely cause of an outcome; `None` where nothing is wrong or nothing was tried.
#[must_use]
pub fn cause(facts: &RunFacts<'_>, outcome: &Outcome, evidence: &Evidence) -> Option<Cause> {
    // A worker that dies because its device is gone is an effect; one that was killed for what it wrote is not.
    let of_the_device = evidence.flood_bytes.is_none() && !matches!(outcome, Outcome::Completed | Outcome::Untestable { .. });
    if evidence.off_the_bus && of_the_device {
        return Some(Cause::new(
            Suspect::DeviceGone,
            "the device has fallen off the bus: its config space reads all ones, so it answers nothing any more (power, link, a reset \
             that did not end; the kernel log may tell)",
        ));
    }
    Some(match outcome {
        Outcome::Untestable { .. } => return None,
        Outcome::Completed if facts.expectation() != Expectation::LosesCompletions => return None,
        Outcome::Completed => Cause::new(
            Suspect::PredictionWrong,
            "it completed although AtomicOps do not reach host memory: the prediction for this device or the reading of its registers is \
             wrong",
        ),
        Outcome::CompletedLate { after_ms } => Cause::new(
            Suspect::CompletionSlow,
            format!("the completion took {after_ms} ms: the device is slow, shared or busy; a longer --timeout accepts it"),
        ),
        Outcome::PacketNotFetched => not_fetched(facts, evidence),
        Outcome::NoEffect => no_effect(evidence),
        Outcome::CompletionLost => lost(facts, evidence),
        Outcome::FalseCompletion => false_completion(evidence),
        Outcome::WakeLost => Cause::new(
            Suspect::EventLost,
            "the value arrived but the blocked wait was not woken: the interrupt (MSI, event mailbox) does not get through; \
             HSA_ENABLE_INTERRUPT=0 makes the runtime poll instead",
        ),
        Outcome::WrongValue { detail } => wrong(facts, evidence, detail),
        Outcome::FiredTwice { value } => match executed_twice(evidence) {
            Some(cause) => cause,
            None => Cause::new(
                Suspect::FiredTwice,
                format!(
                    "the signal ended at {value}: one packet decremented it more than once, as when a packet is processed twice"
                ),
            ),
        },
        Outcome::QueueError { status } => {
            Cause::new(Suspect::QueueError, format!("the queue stopped with {status}, which this case does not provoke"))
        }
        Outcome::RuntimeWedged => wedged(facts, evidence),
        Outcome::RuntimeRefused { reason } => Cause::new(
            Suspect::RuntimeRefused,
            format!(
                "the runtime had listed this device and then would not be opened again ({reason}): the driver has lost the device or has \
                 none of its queues or memory left; the kernel log may tell"
            ),
        ),
        Outcome::WorkerCrashed { signal } => crashed(evidence, signal),
    })
}

/// A runtime may dispatch packets of its own (ROCr: to invalidate code caches) and wait for their signals without a bound. What stops
/// AtomicOps is to blame where it did stop some, or where nobody counts and the runtime may have sent some.
fn wedged(facts: &RunFacts<'_>, evidence: &Evidence) -> Cause {
    const WEDGED: &str = "a call into the runtime did not return before its deadline, and the process had to be killed";
    let stopped = stopped(facts, evidence);
    let uncounted = evidence.fabric.is_none() && facts.own_packets == OwnPackets::None;
    match stopped.as_ref().filter(|_| !uncounted) {
        Some(cause) => Cause {
            sentence: format!(
                "{}; {WEDGED}: what the runtime waits for in it is most likely a signal of its own packets",
                cause.sentence
            ),
            suspect: cause.suspect,
        },
        None => {
            let beside = stopped.map(|cause| format!("; beside that, {}", cause.sentence)).unwrap_or_default();
            let sentence = format!("{WEDGED}: the runtime or the kernel driver waits for the device without a bound{beside}");
            Cause::new(Suspect::RuntimeWedged, sentence)
        }
    }
}

fn crashed(evidence: &Evidence, signal: &str) -> Cause {
    match evidence.flood_bytes {
        Some(bytes) => Cause::new(
            Suspect::WorkerFlooded,
            format!(
                "the worker process wrote {bytes} bytes that nobody asked for and was killed: the runtime or a tool in it logs without end"
            ),
        ),
        None => Cause::new(
            Suspect::WorkerCrashed,
            format!(
                "the worker process died ({signal}) while it ran this case: the runtime or the driver brought it down, or somebody killed \
                 it"
            ),
        ),
    }
}

fn not_fetched(facts: &RunFacts<'_>, evidence: &Evidence) -> Cause {
    let counted = evidence.fabric.is_some_and(|fabric| fabric.bus_master_disabled > 0);
    let read = facts.path.and_then(|path| path.hops.last()).and_then(|device| device.bus_master);
    if counted || read == Some(Bit::Clear) {
        return Cause::new(
            Suspect::BusMasterDisabled,
            "Bus Master Enable is clear in the device: it may not read host memory, so it cannot fetch packets",
        );
    }
    let told = |look: &SecondLook| look.taken || look.after == Remedy::RecyclingQueue;
    match evidence.second_look.filter(told).map(|look| look.after) {
        Some(Remedy::RingingAgain) => Cause::new(
            Suspect::DoorbellLost,
            "the device took the packet once its doorbell was rung again: the first write to the doorbell did not \
             arrive",
        ),
        Some(Remedy::RingingFurther) => Cause::new(
            Suspect::DoorbellStale,
            "the device took the packet only when later packets brought the doorbell well beyond its value: its slot still held what an \
             earlier queue had written",
        ),
        Some(Remedy::RecyclingQueue) => Cause::new(
            Suspect::DoorbellStale,
            "the device did not take the packet when its doorbell was rung, and a queue made for comparison in the place of another heard \
             nothing up to what that other had been told: a slot still holds what an earlier queue had written",
        ),
        Some(Remedy::Waiting) => Cause::new(
            Suspect::CompletionSlow,
            "the device took the packet only after the deadline: it is slow, shared or busy; a longer --timeout accepts it",
        ),
        None => Cause::new(
            Suspect::PacketIgnored,
            "the device never took the packet, however often the doorbell was rung: doorbell writes do not arrive, or the queue is not \
             mapped to a hardware queue",
        ),
    }
}

/// The packet was consumed, its signal did not fire, and its output is not all there.
fn no_effect(evidence: &Evidence) -> Cause {
    let output = evidence.output.unwrap_or_default();
    let OutputEvidence { elements, right, wrong, torn, .. } = output;
    let missing = elements - right;
    let later = evidence.second_look.and_then(|look| look.output).map_or(0, |output| output.right);
    if later > right {
        return Cause::new(
            Suspect::CompletionSlow,
            format!(
                "the kernel was still at work: {right} of {elements} elements of its output were there at the deadline, and {later} a moment \
                 later; the device is slow, shared or busy; a longer --timeout accepts it"
            ),
        );
    }
    if torn > 0 {
        return Cause::new(
            Suspect::OutputTorn,
            format!("{torn} of {elements} elements of the output are partly written: stores of the kernel arrived in part"),
        );
    }
    if wrong > 0 {
        return Cause::new(
            Suspect::Unexplained,
            format!("{wrong} of {elements} elements of the output are wrong, and the packet did not complete"),
        );
    }
    let updated = evidence.updates.is_some_and(|updates| updates.by_device > 0);
    if updated || right > 0 && output.packets == 0 {
        return Cause::new(
            Suspect::OutputStale,
            format!(
                "the kernel ran, but {missing} of {elements} elements of its output are not there: its stores were not written back"
            ),
        );
    }
    let what = match right {
        0 => "the packet was consumed but the kernel left no trace".to_owned(),
        _ => format!("{missing} of {elements} packets were consumed but their kernels left no trace"),
    };
    Cause::new(
        Suspect::KernelNotRun,
        format!(
            "{what}: its code object, its arguments or the memory it writes are not what the device sees; the kernel log may name a fault"
        ),
    )
}

/// The signal fired, the output was not there. A kernel whose own atomics arrived did run, and so did one part of whose output came.
fn false_completion(evidence: &Evidence) -> Cause {
    let output = evidence.output.unwrap_or_default();
    let came_later = evidence.second_look.and_then(|look| look.output).is_some_and(|output| output.is_complete());
    let updated = evidence.updates.is_some_and(|updates| updates.by_device > 0);
    let in_part = output.right > 0 && output.packets == 0;
    if came_later || updated || in_part {
        let later = if came_later { "; it came later" } else { "" };
        return Cause::new(
            Suspect::OutputStale,
            format!(
                "the kernel ran and completed, but {} of {} elements of its output were not there{later}: the release fence at the end of the \
                 kernel did not write back",
                output.elements - output.right,
                output.elements
            ),
        );
    }
    Cause::new(
        Suspect::KernelNotRun,
        "the packet completed and its kernel left no trace: it was completed without being run, or none of its stores was written back",
    )
}

fn executed_twice(evidence: &Evidence) -> Option<Cause> {
    let seen = match (evidence.output, evidence.updates) {
        (Some(OutputEvidence { repeated: repeated @ 1.., elements, .. }), _) => {
            format!("{repeated} of {elements} elements show their work done more than once")
        }
        (_, Some(UpdateEvidence { torn: 0, surplus: surplus @ 1.., made, .. })) => {
            format!("{surplus} updates were made more than the {made} that were asked for")
        }
        _ => return None,
    };
    Some(Cause::new(Suspect::ExecutedTwice, format!("{seen}: a packet was executed more than once")))
}

fn wrong(facts: &RunFacts<'_>, evidence: &Evidence, detail: &str) -> Cause {
    let output = evidence.output.unwrap_or_default();
    let updates = evidence.updates.unwrap_or_default();
    if output.repeated == 0 && (updates.torn > 0 && output.torn == 0 || evidence.signal.as_ref().is_some_and(is_torn)) {
        return Cause::new(
            Suspect::AtomicTorn,
            format!(
                "{detail}: a 64-bit AtomicOp was done in two halves, so that no carry passed between them or another came in between"
            ),
        );
    }
    if output.torn > 0 {
        return Cause::new(
            Suspect::OutputTorn,
            format!("{detail}: stores of the kernel arrived in part, with the rest of each element as it was before"),
        );
    }
    if let Some(cause) = executed_twice(evidence) {
        return cause;
    }
    if read_index_stuck(evidence) {
        return Cause::new(
            Suspect::ReadIndexStuck,
            format!("{detail}: the device does not write the read index back, and a producer that needs a free slot waits forever"),
        );
    }
    if updates.missing > 0 {
        return stopped(facts, evidence).map_or_else(
            || {
                Cause::new(
                    Suspect::AtomicLost,
                    format!("{detail}: AtomicOps were lost on the way, or were not atomic between device and host"),
                )
            },
            |cause| Cause { sentence: format!("{detail}; {}", cause.sentence), ..cause },
        );
    }
    if evidence.signal.as_ref().is_some_and(|signal| signal.after < signal.expected || signal.after > signal.before) {
        return Cause::new(
            Suspect::WrongDecrement,
            format!("{detail}: a packet must decrement its completion signal by exactly 1"),
        );
    }
    Cause::new(Suspect::Unexplained, format!("{detail}: nothing else that was seen explains it"))
}

/// Whether the halves of a signal's value do not belong together: the lower one is on its way from `before` to `expected`.
fn is_torn(signal: &SignalEvidence) -> bool {
    let on_its_way = (signal.expected..=signal.before).contains(&i64::from(signal.after as i32));
    on_its_way && !(signal.expected..=signal.before).contains(&signal.after)
}

/// Whether packets ran that the read index does not count.
fn read_index_stuck(evidence: &Evidence) -> bool {
    let Some(queue) = &evidence.queue else { return false };
    let output = evidence.output.unwrap_or_default();
    match &evidence.signal {
        Some(signal) => signal.after == signal.expected && output.is_complete() && queue.read_index < queue.write_index,
        None => output.elements - output.untouched > queue.read_index,
    }
}

/// Why a completion signal keeps its value although everything else happened.
fn lost(facts: &RunFacts<'_>, evidence: &Evidence) -> Cause {
    const SO: &str = "so the decrement of the completion signal, an AtomicOp, does not arrive while plain stores do";
    if let Some(cause) = stopped(facts, evidence) {
        return Cause { sentence: format!("{}, {SO}", cause.sentence), ..cause };
    }
    if facts.enabled().is_none() {
        return Cause::new(
            Suspect::PathUnreadable,
            format!(
                "most likely AtomicOps do not reach host memory, {SO}; the registers that decide it cannot be read here, so run this as root"
            ),
        );
    }
    if not_stamped(evidence) {
        return Cause::new(
            Suspect::KernelNotRun,
            "the packet was consumed, and neither was its signal decremented nor stamped with when it ran: it was most likely not run",
        );
    }
    match evidence.updates.unwrap_or_default() {
        UpdateEvidence { torn: 1.., .. } => Cause::new(
            Suspect::AtomicTorn,
            "64-bit AtomicOps are done in two halves, the kernel's own as well as the decrement of the completion signal",
        ),
        UpdateEvidence { missing: missing @ 1.., made, .. } => Cause::new(
            Suspect::AtomicLost,
            format!(
                "{missing} of {made} updates are missing as well as the decrement of the completion signal, although AtomicOps are enabled and \
                 the registers of the path let them through: they are lost on the way"
            ),
        ),
        UpdateEvidence { .. } => Cause::new(
            Suspect::DecrementLost,
            format!(
                "AtomicOps are enabled and the registers of the path let them through, yet the decrement of the completion signal did not \
                 arrive{}: suspect what the registers do not show (a hypervisor between device and memory, an IOMMU fault in the kernel \
                 log, firmware)",
                if never_sent(evidence) { ", and the path saw none" } else { "" }
            ),
        ),
    }
}

/// Whether a packet whose work nothing else shows left no stamps either, where it was asked to.
fn not_stamped(evidence: &Evidence) -> bool {
    let asked = evidence.queue.as_ref().is_some_and(|queue| queue.stamped && queue.read_index >= queue.write_index);
    let stamped = |signal: &SignalEvidence| (signal.start_ts, signal.end_ts) != (0, 0);
    evidence.output.is_none() && asked && evidence.signal.as_ref().is_some_and(|signal| !stamped(signal))
}

/// Whether the path counted fewer AtomicOps than the device was asked for.
fn never_sent(evidence: &Evidence) -> bool {
    evidence.fabric.zip(evidence.atomics_asked).is_some_and(|(fabric, asked)| fabric.performed + fabric.dropped() < asked)
}

/// What is known to stop AtomicOps: by the bed's counters, by the device's bit, by the path's registers.
fn stopped(facts: &RunFacts<'_>, evidence: &Evidence) -> Option<Cause> {
    if let Some(cause) = counted(evidence.fabric.as_ref()) {
        if cause.suspect == Suspect::RequesterDisabled && facts.enabled() == Some(true) {
            let sentence =
                "the device sends no AtomicOps although its AtomicOp Requester Enable (Device Control 2 bit 6) reads as set";
            return Some(Cause { sentence: sentence.to_owned(), ..cause });
        }
        return Some(cause);
    }
    // Where all that was sent is counted and nothing was dropped, neither the bit nor a hop has taken anything away.
    if evidence.fabric.is_some_and(|fabric| fabric.dropped() == 0) {
        return None;
    }
    if facts.enabled() == Some(false) {
        let sentence = "AtomicOp Requester Enable (Device Control 2 bit 6) is clear in the device";
        return Some(Cause::new(Suspect::RequesterDisabled, sentence));
    }
    let path = facts.path.filter(|_| facts.path_stops_atomics())?;
    let sentence = path.causes.first().map_or("a hop of the path stops AtomicOps", String::as_str);
    Some(Cause::new(of_path(path), sentence.trim_end_matches('.')))
}

/// What the bed counted as the reason for dropped AtomicOps.
fn counted(fabric: Option<&FabricCounters>) -> Option<Cause> {
    let fabric = fabric?;
    let reasons = [
        (
            fabric.requester_disabled,
            Suspect::RequesterDisabled,
            "AtomicOp Requester Enable (Device Control 2 bit 6) is clear in the device",
        ),
        (fabric.bus_master_disabled, Suspect::BusMasterDisabled, "Bus Master Enable is clear in the device"),
        (fabric.unsupported_request, Suspect::RootPortIncapable, "the root port does not complete AtomicOps of this width"),
        (fabric.routing_unsupported, Suspect::SwitchNotRouting, "a switch port on the path does not route AtomicOps"),
        (fabric.egress_blocked, Suspect::EgressBlocked, "a switch port on the path blocks AtomicOps on egress"),
    ];
    let (dropped, suspect, reason) = reasons.into_iter().filter(|(count, ..)| *count > 0).max_by_key(|(count, ..)| *count)?;
    let plural = if dropped == 1 { "" } else { "s" };
    Some(Cause::new(suspect, format!("{reason} ({dropped} AtomicOp{plural} counted as dropped)")))
}

/// Which hop stops AtomicOps, by its registers.
fn of_path(path: &PathReport) -> Suspect {
    let bad = path.first_bad_hop.as_deref().and_then(|bdf| path.hops.iter().find(|hop| hop.bdf == bdf));
    match bad {
        Some(HopReport { role: HopRole::Endpoint, .. }) => Suspect::RequesterDisabled,
        Some(HopReport { role: HopRole::SwitchUpstream | HopRole::SwitchDownstream, routing, egress_blocked, .. }) => {
            if *egress_blocked == Some(Bit::Set) && *routing == Some(Bit::Set) {
                Suspect::EgressBlocked
            } else {
                Suspect::SwitchNotRouting
            }
        }
        Some(HopReport { role: HopRole::Other, .. }) => Suspect::SwitchNotRouting,
        // A device on the root bus has no completer that PCIe knows of either.
        Some(HopReport { role: HopRole::RootPort, .. }) | None => Suspect::RootPortIncapable,
    }
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
