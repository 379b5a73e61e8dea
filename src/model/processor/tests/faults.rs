//! Each fault of a plan as the host sees it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::rig::{BARRIER_AND, BARRIER_BIT, NO_SIGNAL, Queue, Rig, Signal, barrier, dispatch};
use crate::model::address::GpuVa;
use crate::model::queue_error::QueueError;

/// `s_endpgm`.
const END: u32 = 0xbf81_0000;

/// A kernel that adds 1 to the word at its kernarg address by FLAT_ATOMIC_ADD, one lane.
///
/// v_mov_b32 v0, s0; v_mov_b32 v1, s1; v_mov_b32 v2, 1; s_mov_b64 exec, 1; flat_atomic_add v[0:1], v2; s_waitcnt 0; s_endpgm
const COUNT: [u32; 8] = [0x7e00_0200, 0x7e02_0201, 0x7e04_0281, 0xbefe_0181, 0xdd08_0000, 0x0000_0200, 0xbf8c_0000, END];

/// The same with flat_store_dword of -1.
const STORE: [u32; 8] = [0x7e00_0200, 0x7e02_0201, 0x7e04_02c1, 0xbefe_0181, 0xdc70_0000, 0x0000_0200, 0xbf8c_0000, END];

/// Kernel arguments are in s[0:1] (LLVM AMDGPUUsage: ENABLE_SGPR_KERNARG_SEGMENT_PTR).
const KERNARG: u64 = 1 << 3;

struct Counted {
    rig: Rig,
    queue: Queue,
    kernel: GpuVa,
    word: GpuVa,
}

impl Counted {
    fn new(plan: &str, instructions: &[u32]) -> Self {
        let rig = Rig::with_faults(plan);
        let (queue, kernel, word) = (rig.queue(16), rig.kernel(2, KERNARG, instructions), rig.arena.take(64));
        Self { rig, queue, kernel, word }
    }

    fn dispatch(&self, completion: Signal) {
        self.rig.submit(&self.queue, dispatch(BARRIER_BIT, self.kernel, self.word, completion));
    }

    fn count(&self) -> u64 {
        self.rig.word(self.word).load(Ordering::Acquire)
    }

    /// Dispatches once and waits until the packet is taken and, as far as that can be seen, done with.
    fn run_once(&self, done: Signal) {
        self.dispatch(done);
        self.rig.wait_until_read(&self.queue, 1);
        self.rig.let_every_queue_have_a_turn();
    }
}

/// Completes barrier packets with these faults, and gives what each left of a signal of 10.
fn values(plan: &str, packets: usize) -> Vec<i64> {
    let rig = Rig::with_faults(plan);
    let queue = rig.queue(16);
    (1..=packets as u64)
        .map(|index| {
            let done = rig.signal(10);
            rig.submit(&queue, barrier(BARRIER_AND, &[], done));
            // Taken only when the one before it has completed.
            rig.submit(&queue, barrier(BARRIER_AND, &[], NO_SIGNAL));
            rig.wait_until_read(&queue, 2 * index);
            rig.value(done)
        })
        .collect()
}

#[test]
fn the_rigs_kernels_do_what_they_are_for_without_a_fault() {
    let run = Counted::new("signal-late=1ns:after=1000", &COUNT);
    let done = run.rig.signal(1);
    run.dispatch(done);
    run.rig.wait_for(done, 0);
    assert_eq!(run.count(), 1);
    let run = Counted::new("signal-late=1ns:after=1000", &STORE);
    let done = run.rig.signal(1);
    run.dispatch(done);
    run.rig.wait_for(done, 0);
    assert_eq!(run.count(), 0xffff_ffff);
}

#[test]
fn signal_dropped_leaves_the_value_and_raises_no_event() {
    let run = Counted::new("signal-dropped:every=2", &COUNT);
    run.rig.profile(&run.queue);
    let (first, second, third) = (run.rig.signal(1), run.rig.interrupting_signal(1, 5), run.rig.signal(1));
    [first, second, third].into_iter().for_each(|done| run.dispatch(done));
    run.rig.wait_for(third, 0);
    assert_eq!((run.rig.value(first), run.rig.value(second)), (0, 1));
    assert_eq!(run.rig.mailbox(second), 0);
    assert_eq!(run.count(), 3, "the kernels ran");
    assert!(run.rig.word(second.0 + 40).load(Ordering::Acquire) > 0, "its end is known");
}

#[test]
fn signal_twice_and_signal_decrement_take_what_they_say() {
    for (plan, left) in [("signal-twice", 8), ("signal-decrement=3", 7), ("signal-decrement=-1", 11), ("signal-decrement", 7)] {
        let run = Counted::new(plan, &COUNT);
        let done = run.rig.signal(10);
        run.dispatch(done);
        run.rig.wait_for(done, left);
    }
}

#[test]
fn signal_late_comes_no_sooner_than_asked_and_packets_behind_it_do_not_wait_for_it() {
    let run = Counted::new("signal-late=400ms", &COUNT);
    let (first, second) = (run.rig.signal(1), run.rig.signal(1));
    let started = Instant::now();
    for done in [first, second] {
        run.rig.submit(&run.queue, dispatch(0, run.kernel, run.word, done));
    }
    run.rig.wait_until_read(&run.queue, 2);
    run.rig.wait_for(second, 0);
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(run.rig.value(first), 0);
    let ended = |signal: Signal| run.rig.word(signal.0 + 40).load(Ordering::Acquire);
    assert!(ended(second) - ended(first) < 400_000_000, "the kernels ended one after the other, not a delay apart");
}

#[test]
fn signal_late_is_what_a_barrier_bit_waits_for() {
    let run = Counted::new("signal-late=30ms:every=2:after=1", &COUNT);
    let (late, behind) = (run.rig.signal(1), run.rig.signal(1));
    run.dispatch(NO_SIGNAL);
    run.dispatch(run.rig.signal(1));
    run.dispatch(late);
    run.dispatch(behind);
    run.rig.wait_for(behind, 0);
    assert_eq!(run.rig.value(late), 0, "in order");
}

#[test]
fn packet_ignored_stays_in_the_ring_with_all_behind_it() {
    let run = Counted::new("packet-ignored:after=1", &COUNT);
    let (first, second) = (run.rig.signal(1), run.rig.signal(1));
    run.dispatch(first);
    run.dispatch(second);
    run.dispatch(NO_SIGNAL);
    run.rig.wait_for(first, 0);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((run.rig.read_index(&run.queue), run.rig.value(second), run.count()), (1, 1, 1));
}

#[test]
fn packet_lost_is_taken_and_nothing_else() {
    let run = Counted::new("packet-lost:every=2", &COUNT);
    let (first, second, third) = (run.rig.signal(1), run.rig.signal(1), run.rig.signal(1));
    [first, second, third].into_iter().for_each(|done| run.dispatch(done));
    run.rig.wait_for(third, 0);
    assert_eq!((run.rig.value(first), run.rig.value(second), run.count()), (0, 1, 2));
}

#[test]
fn packet_skipped_completes_without_its_kernel() {
    let run = Counted::new("packet-skipped", &COUNT);
    let done = run.rig.signal(1);
    run.dispatch(done);
    run.rig.wait_for(done, 0);
    assert_eq!(run.count(), 0);
}

#[test]
fn packet_twice_runs_the_kernel_twice_and_completes_once() {
    let run = Counted::new("packet-twice", &COUNT);
    let done = run.rig.signal(5);
    run.dispatch(done);
    run.rig.wait_for(done, 4);
    run.rig.let_every_queue_have_a_turn();
    assert_eq!((run.count(), run.rig.value(done)), (2, 4));
}

#[test]
fn output_torn_and_output_stale_leave_what_was_there() {
    for (plan, left) in [("output-torn", 0x1234_ffff), ("output-stale", 0x1234_5678)] {
        let run = Counted::new(plan, &STORE);
        run.rig.word(run.word).store(0x1234_5678, Ordering::Release);
        let done = run.rig.signal(1);
        run.dispatch(done);
        run.rig.wait_for(done, 0);
        assert_eq!(run.count(), left, "{plan}");
    }
}

#[test]
fn atomic_lost_is_counted_nowhere_and_leaves_the_value() {
    let run = Counted::new("atomic-lost", &COUNT);
    let done = run.rig.signal(1);
    run.run_once(done);
    assert_eq!((run.rig.value(done), run.count()), (1, 0));
    assert_eq!(run.rig.gpu.fabric_counters().performed, 0);
}

#[test]
fn atomic_torn_loses_the_borrow_between_the_halves() {
    let run = Counted::new("atomic-torn", &COUNT);
    let done = run.rig.signal(1);
    run.dispatch(done);
    // -1 in 64 bits is -1 in both halves: 1 - 1 below, 0 - 1 above.
    run.rig.wait_for(done, 0xffff_ffff_0000_0000_u64 as i64);
    assert_eq!(run.count(), 1, "one of 32 bits cannot be torn");
}

#[test]
fn read_index_stuck_stays_although_packets_complete() {
    let run = Counted::new("read-index-stuck", &COUNT);
    let done = run.rig.signal(2);
    run.dispatch(done);
    run.dispatch(done);
    run.rig.wait_for(done, 0);
    assert_eq!(run.rig.read_index(&run.queue), 0);
}

#[test]
fn doorbell_lost_says_nothing_until_the_next_ring() {
    let rig = Rig::with_faults("doorbell-lost:every=2");
    let queue = rig.queue(16);
    let (first, second, third) = (rig.signal(1), rig.signal(1), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[], first));
    rig.wait_for(first, 0);
    rig.submit(&queue, barrier(BARRIER_AND, &[], second));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.value(second), 1);
    rig.submit(&queue, barrier(BARRIER_AND, &[], third));
    rig.wait_for(third, 0);
    assert_eq!(rig.value(second), 0);
}

#[test]
fn doorbell_stale_makes_a_recycled_queue_deaf_to_what_the_last_one_was_told() {
    let rig = Rig::with_faults("doorbell-stale");
    let (first, second, third) = (rig.signal(1), rig.signal(1), rig.signal(1));
    let queue = rig.queue(16);
    rig.submit(&queue, barrier(BARRIER_AND, &[], first));
    rig.wait_for(first, 0);
    rig.gpu.destroy_queue(queue.id);
    let recycled = rig.queue(16);
    assert_eq!(recycled.id, queue.id);
    rig.submit(&recycled, barrier(BARRIER_AND, &[], second));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.value(second), 1);
    rig.submit(&recycled, barrier(BARRIER_AND, &[], third));
    rig.wait_for(third, 0);
    assert_eq!(rig.value(second), 0);
}

#[test]
fn event_not_raised_changes_the_value_alone() {
    let run = Counted::new("event-not-raised", &COUNT);
    let done = run.rig.interrupting_signal(1, 5);
    run.dispatch(done);
    run.rig.wait_for(done, 0);
    run.rig.let_every_queue_have_a_turn();
    assert_eq!(run.rig.mailbox(done), 0);
    assert!(run.rig.interrupts.0.lock().unwrap().is_empty());
}

#[test]
fn queue_error_stops_the_queue_with_the_code_asked_for() {
    for (plan, error) in [
        ("queue-error", QueueError::MemoryViolation),
        ("queue-error=illegal-instruction", QueueError::IllegalInstruction),
        ("queue-error=invalid-packet", QueueError::InvalidPacket),
        ("queue-error=trap", QueueError::Trap),
    ] {
        let run = Counted::new(plan, &COUNT);
        run.dispatch(run.rig.signal(1));
        run.rig.wait_for(run.queue.inactive, error.signal_value());
        assert_eq!(run.count(), 0);
    }
}

#[test]
fn atomics_blocked_at_the_endpoint_counts_as_not_enabled_although_the_bit_is_set() {
    let run = Counted::new("atomics-blocked=endpoint", &COUNT);
    let done = run.rig.signal(1);
    run.run_once(done);
    assert_eq!(run.rig.value(done), 1);
    let counters = run.rig.gpu.fabric_counters();
    assert_eq!(counters.performed, 0);
    assert!(counters.requester_disabled > 0);
}

#[test]
fn device_gone_reads_all_ones_and_takes_no_packet_more() {
    let run = Counted::new("device-gone:after=1", &COUNT);
    let (first, second) = (run.rig.signal(1), run.rig.signal(1));
    run.dispatch(first);
    run.rig.wait_for(first, 0);
    assert!(!run.rig.gpu.is_gone());
    run.dispatch(second);
    run.rig.eventually("the device's end", || run.rig.gpu.is_gone());
    run.rig.eventually("its config space's end", || run.rig.files.endpoint_bytes().iter().all(|byte| *byte == 0xff));
    assert_eq!((run.rig.read_index(&run.queue), run.rig.value(second), run.count()), (1, 1, 1));
}

#[test]
fn the_same_seed_drops_the_same_completions() {
    let first = values("signal-dropped:p=0.5,seed=11", 12);
    assert_eq!(first, values("signal-dropped:p=0.5,seed=11", 12));
    assert!(first.contains(&10) && first.contains(&9), "{first:?}");
}
