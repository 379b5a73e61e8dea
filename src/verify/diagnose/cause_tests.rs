use super::*;
use crate::report::{AtomicsMode, PathCapability, Prediction, QueueEvidence, RequesterReadback, SecondLook};
use crate::verify::diagnose::fixtures::{holds, path, prediction};
use crate::verify::diagnose::{COMPLETION_LOST, OwnPackets};

struct Bench {
    requester: RequesterReadback,
    path: PathReport,
    prediction: Prediction,
}

impl Bench {
    fn new(requester: RequesterReadback, capability: PathCapability) -> Self {
        Self { requester, path: path(capability), prediction: prediction(COMPLETION_LOST) }
    }

    fn healthy() -> Self {
        Self::new(holds(true), PathCapability::Capable)
    }

    fn cause_with(&self, own_packets: OwnPackets, outcome: &Outcome, evidence: &Evidence) -> Cause {
        let Self { requester, path, prediction } = self;
        let facts = RunFacts { mode: AtomicsMode::AsFound, requester, path: Some(path), prediction, own_packets };
        cause(&facts, outcome, evidence).unwrap()
    }

    fn cause(&self, outcome: &Outcome, evidence: &Evidence) -> Cause {
        self.cause_with(OwnPackets::Possible, outcome, evidence)
    }
}

fn suspect(outcome: &Outcome, evidence: &Evidence) -> Suspect {
    Bench::healthy().cause(outcome, evidence).suspect
}

fn wrong_value() -> Outcome {
    Outcome::WrongValue { detail: "wrong".to_owned() }
}

fn signal(before: i64, after: i64, expected: i64) -> Option<SignalEvidence> {
    Some(SignalEvidence { before, after, expected, event_id: 0, event_mailbox: None, start_ts: 0, end_ts: 0 })
}

fn output(right: u64, untouched: u64) -> OutputEvidence {
    OutputEvidence { elements: right + untouched, right, untouched, ..OutputEvidence::default() }
}

#[test]
fn the_cause_of_a_lost_completion_is_what_was_counted_then_what_was_read_then_what_is_likely() {
    let lost = |bench: &Bench, evidence: &Evidence| bench.cause(&Outcome::CompletionLost, evidence);
    let counted = Evidence {
        fabric: Some(FabricCounters { egress_blocked: 3, performed: 9, ..FabricCounters::default() }),
        ..Evidence::default()
    };
    let nothing = Evidence::default();
    let found = lost(&Bench::healthy(), &counted);
    assert_eq!(found.suspect, Suspect::EgressBlocked);
    assert!(found.sentence.starts_with("a switch port on the path blocks AtomicOps on egress (3 AtomicOps counted"));
    let found = lost(&Bench::new(holds(false), PathCapability::Capable), &nothing);
    assert_eq!(found.suspect, Suspect::RequesterDisabled);
    assert!(found.sentence.starts_with("AtomicOp Requester Enable (Device Control 2 bit 6) is clear"));
    let found = lost(&Bench::new(holds(true), PathCapability::Incapable), &nothing);
    assert_eq!(found.suspect, Suspect::RootPortIncapable);
    assert!(found.sentence.starts_with("the root port completes no AtomicOps, so"));
    let hidden = RequesterReadback::Unknown { reason: "not root".to_owned() };
    let found = lost(&Bench::new(hidden, PathCapability::Capable), &nothing);
    assert_eq!(found.suspect, Suspect::PathUnreadable);
    assert!(found.sentence.contains("as root"));
    let found = lost(&Bench::healthy(), &nothing);
    assert_eq!(found.suspect, Suspect::DecrementLost);
    assert!(found.sentence.contains("hypervisor"));
}

#[test]
fn a_completion_lost_together_with_a_kernels_updates_is_the_paths_loss() {
    let updates = UpdateEvidence { made: 100, missing: 60, ..UpdateEvidence::default() };
    let evidence = Evidence { updates: Some(updates), ..Evidence::default() };
    assert_eq!(suspect(&Outcome::CompletionLost, &evidence), Suspect::AtomicLost);
}

#[test]
fn a_packet_not_fetched_blames_bus_master_only_on_evidence() {
    let counted =
        Evidence { fabric: Some(FabricCounters { bus_master_disabled: 1, ..FabricCounters::default() }), ..Evidence::default() };
    assert_eq!(suspect(&Outcome::PacketNotFetched, &counted), Suspect::BusMasterDisabled);
    assert_eq!(suspect(&Outcome::PacketNotFetched, &Evidence::default()), Suspect::PacketIgnored);
}

#[test]
fn what_makes_the_device_take_the_packet_says_what_was_wrong_with_the_doorbell() {
    let look = |after, taken| Evidence { second_look: Some(SecondLook { after, taken, output: None }), ..Evidence::default() };
    let rows = [
        (Remedy::RingingAgain, true, Suspect::DoorbellLost),
        (Remedy::RingingFurther, true, Suspect::DoorbellStale),
        (Remedy::RecyclingQueue, true, Suspect::DoorbellStale),
        (Remedy::RingingAgain, false, Suspect::PacketIgnored),
        (Remedy::RingingFurther, false, Suspect::PacketIgnored),
        // What an earlier queue was told may be beyond all that this ring has room for.
        (Remedy::RecyclingQueue, false, Suspect::DoorbellStale),
    ];
    for (after, taken, wanted) in rows {
        assert_eq!(suspect(&Outcome::PacketNotFetched, &look(after, taken)), wanted, "{after:?}, taken: {taken}");
    }
}

#[test]
fn a_kernel_that_left_no_trace_did_not_run_and_one_that_left_any_did() {
    let of = |evidence: Evidence| suspect(&Outcome::FalseCompletion, &evidence);
    let absent = || Evidence { output: Some(output(0, 4)), ..Evidence::default() };
    assert_eq!(of(absent()), Suspect::KernelNotRun);
    let later = SecondLook { after: Remedy::Waiting, taken: true, output: Some(output(4, 0)) };
    assert_eq!(of(Evidence { second_look: Some(later), ..absent() }), Suspect::OutputStale);
    // Updates of the host alone say nothing of the kernel.
    let updates = UpdateEvidence { made: 4, ..UpdateEvidence::default() };
    assert_eq!(of(Evidence { updates: Some(updates), ..absent() }), Suspect::KernelNotRun);
    assert_eq!(of(Evidence { updates: Some(UpdateEvidence { by_device: 1, ..updates }), ..absent() }), Suspect::OutputStale);
    assert_eq!(of(Evidence { output: Some(output(1, 3)), ..Evidence::default() }), Suspect::OutputStale);
    // Each mark is a packet's: some ran, others did not.
    let marks = OutputEvidence { packets: 4, ..output(1, 3) };
    assert_eq!(of(Evidence { output: Some(marks), ..Evidence::default() }), Suspect::KernelNotRun);
}

#[test]
fn a_consumed_packet_without_all_of_its_output_ran_where_any_of_it_shows() {
    let of = |output| suspect(&Outcome::NoEffect, &Evidence { output: Some(output), ..Evidence::default() });
    assert_eq!(of(output(0, 4)), Suspect::KernelNotRun);
    assert_eq!(of(output(3, 1)), Suspect::OutputStale);
    assert_eq!(of(OutputEvidence { elements: 4, right: 3, wrong: 1, torn: 1, ..OutputEvidence::default() }), Suspect::OutputTorn);
    assert_eq!(of(OutputEvidence { elements: 4, right: 3, wrong: 1, ..OutputEvidence::default() }), Suspect::Unexplained);
    let growing = SecondLook { after: Remedy::Waiting, taken: true, output: Some(output(4, 0)) };
    let slow = Evidence { output: Some(output(3, 1)), second_look: Some(growing), ..Evidence::default() };
    assert_eq!(suspect(&Outcome::NoEffect, &slow), Suspect::CompletionSlow);
    // Each mark is a packet's: some ran, others did not.
    assert_eq!(of(OutputEvidence { packets: 4, ..output(3, 1) }), Suspect::KernelNotRun);
    let updates = UpdateEvidence { made: 8, missing: 2, by_device: 6, ..UpdateEvidence::default() };
    let evidence = Evidence { output: Some(output(0, 4)), updates: Some(updates), ..Evidence::default() };
    assert_eq!(suspect(&Outcome::NoEffect, &evidence), Suspect::OutputStale);
}

#[test]
fn a_packet_without_output_that_left_no_stamps_either_was_not_run() {
    let queue = |stamped| QueueEvidence {
        packets: 64,
        write_index: 1,
        read_index: 1,
        header: 0x1502,
        doorbell: None,
        stamped,
        error: None,
    };
    let of = |queue, signal| suspect(&Outcome::CompletionLost, &Evidence { signal, queue: Some(queue), ..Evidence::default() });
    assert_eq!(of(queue(true), signal(1, 1, 0)), Suspect::KernelNotRun);
    assert_eq!(of(queue(false), signal(1, 1, 0)), Suspect::DecrementLost);
    let stamped = signal(1, 1, 0).map(|signal| SignalEvidence { start_ts: 5, end_ts: 9, ..signal });
    assert_eq!(of(queue(true), stamped), Suspect::DecrementLost);
}

#[test]
fn a_bit_that_took_nothing_away_is_not_blamed() {
    let off = Bench::new(holds(false), PathCapability::Capable);
    let counted = |fabric| off.cause(&Outcome::CompletionLost, &Evidence { fabric: Some(fabric), ..Evidence::default() }).suspect;
    assert_eq!(counted(FabricCounters::default()), Suspect::DecrementLost);
    assert_eq!(counted(FabricCounters { requester_disabled: 1, ..FabricCounters::default() }), Suspect::RequesterDisabled);
}

#[test]
fn a_worker_that_wedges_is_laid_to_the_path_only_where_it_dropped_something_or_may_have() {
    let off = Bench::new(holds(false), PathCapability::Capable);
    let wedged = |packets, fabric| off.cause_with(packets, &Outcome::RuntimeWedged, &Evidence { fabric, ..Evidence::default() });
    let dropped = Some(FabricCounters { requester_disabled: 1, ..FabricCounters::default() });
    for packets in [OwnPackets::None, OwnPackets::Possible] {
        assert_eq!(wedged(packets, dropped).suspect, Suspect::RequesterDisabled);
        assert_eq!(wedged(packets, Some(FabricCounters::default())).suspect, Suspect::RuntimeWedged);
    }
    assert_eq!(wedged(OwnPackets::Possible, None).suspect, Suspect::RequesterDisabled);
    let ours = wedged(OwnPackets::None, None);
    assert_eq!(ours.suspect, Suspect::RuntimeWedged);
    assert!(ours.sentence.contains("AtomicOp Requester Enable"), "said beside it: {}", ours.sentence);
}

#[test]
fn work_done_twice_is_told_from_a_signal_fired_twice() {
    let twice = Outcome::FiredTwice { value: -1 };
    assert_eq!(suspect(&twice, &Evidence::default()), Suspect::FiredTwice);
    let marks = OutputEvidence { elements: 4, right: 3, wrong: 1, repeated: 1, ..OutputEvidence::default() };
    let repeated = Evidence { output: Some(marks), ..Evidence::default() };
    assert_eq!(suspect(&twice, &repeated), Suspect::ExecutedTwice);
    assert_eq!(suspect(&wrong_value(), &repeated), Suspect::ExecutedTwice);
    let surplus = UpdateEvidence { made: 4, surplus: 4, ..UpdateEvidence::default() };
    assert_eq!(suspect(&wrong_value(), &Evidence { updates: Some(surplus), ..Evidence::default() }), Suspect::ExecutedTwice);
}

#[test]
fn halves_that_do_not_belong_together_are_a_torn_atomic_and_bytes_a_torn_store() {
    let evidence = |signal| Evidence { signal, ..Evidence::default() };
    let torn = 0xffff_ffff_0000_0000_u64 as i64;
    assert_eq!(suspect(&wrong_value(), &evidence(signal(1, torn, 0))), Suspect::AtomicTorn);
    assert_eq!(suspect(&wrong_value(), &evidence(signal(1, -2, 0))), Suspect::WrongDecrement);
    assert_eq!(suspect(&wrong_value(), &evidence(signal(1, 2, 0))), Suspect::WrongDecrement);
    let halves = UpdateEvidence { made: 4, torn: 1, ..UpdateEvidence::default() };
    assert_eq!(suspect(&wrong_value(), &Evidence { updates: Some(halves), ..Evidence::default() }), Suspect::AtomicTorn);
    let bytes = OutputEvidence { elements: 4, wrong: 4, torn: 4, ..OutputEvidence::default() };
    // What a torn store says of an exchange is no statement about the exchange.
    let stores = Evidence { output: Some(bytes), updates: Some(halves), ..Evidence::default() };
    assert_eq!(suspect(&wrong_value(), &stores), Suspect::OutputTorn);
}

#[test]
fn a_read_index_behind_packets_that_ran_is_stuck() {
    let queue = |read_index| QueueEvidence {
        packets: 64,
        write_index: 4,
        read_index,
        header: 0x1502,
        doorbell: None,
        stamped: false,
        error: None,
    };
    let fired = |read_index| Evidence { signal: signal(1, 0, 0), queue: Some(queue(read_index)), ..Evidence::default() };
    assert_eq!(suspect(&wrong_value(), &fired(0)), Suspect::ReadIndexStuck);
    assert_eq!(suspect(&wrong_value(), &fired(4)), Suspect::Unexplained);
    let marks = OutputEvidence { packets: 4, ..output(3, 1) };
    let full = Evidence { queue: Some(queue(0)), output: Some(marks), ..Evidence::default() };
    assert_eq!(suspect(&wrong_value(), &full), Suspect::ReadIndexStuck);
}

#[test]
fn lost_updates_are_the_paths_when_it_says_so_and_losses_when_it_does_not() {
    let updates = UpdateEvidence { made: 8, missing: 4, ..UpdateEvidence::default() };
    let evidence = Evidence { updates: Some(updates), ..Evidence::default() };
    assert_eq!(suspect(&wrong_value(), &evidence), Suspect::AtomicLost);
    let found = Bench::new(holds(false), PathCapability::Capable).cause(&wrong_value(), &evidence);
    assert_eq!(found.suspect, Suspect::RequesterDisabled);
}

#[test]
fn a_device_off_the_bus_explains_whatever_its_packets_did_not_do() {
    let gone = Evidence { off_the_bus: true, ..Evidence::default() };
    for outcome in [Outcome::PacketNotFetched, Outcome::CompletionLost, Outcome::NoEffect, Outcome::RuntimeWedged] {
        assert_eq!(suspect(&outcome, &gone), Suspect::DeviceGone, "{outcome}");
    }
    let refused = Outcome::RuntimeRefused { reason: "HSA_STATUS_ERROR_OUT_OF_RESOURCES".to_owned() };
    assert_eq!(suspect(&refused, &gone), Suspect::DeviceGone);
    assert_eq!(suspect(&refused, &Evidence::default()), Suspect::RuntimeRefused);
    // A worker that opens the runtime of such a device may die of it.
    let crashed = Outcome::WorkerCrashed { signal: "SIGSEGV".to_owned() };
    assert_eq!(suspect(&crashed, &gone), Suspect::DeviceGone);
    let flood = Evidence { flood_bytes: Some(1 << 26), ..gone };
    assert_eq!(suspect(&crashed, &flood), Suspect::WorkerFlooded);
}

#[test]
fn a_worker_that_wrote_without_end_is_told_from_one_that_died() {
    let crashed = Outcome::WorkerCrashed { signal: "SIGKILL".to_owned() };
    let flood = Evidence { flood_bytes: Some(1 << 26), ..Evidence::default() };
    assert_eq!(suspect(&crashed, &flood), Suspect::WorkerFlooded);
    assert_eq!(suspect(&crashed, &Evidence::default()), Suspect::WorkerCrashed);
}
