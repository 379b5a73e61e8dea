//! The packet processor as the host sees it: memory, doorbells and interrupts.

mod faults;
mod kernels;
mod rig;

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use self::rig::{Arena, BARRIER_AND, BARRIER_BIT, BARRIER_OR, NO_SIGNAL, POISONED_EVENT, Rig, Signal, barrier};
use crate::model::address::GpuVa;
use crate::model::gpu::{Gpu, GpuError, QueueDescriptor};
use crate::model::memory::Protection;
use crate::model::queue_error::QueueError;

#[test]
fn a_barrier_and_without_dependencies_completes_and_decrements_its_signal_once() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(5));
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    rig.wait_for(done, 4);
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.value(done), rig.read_index(&queue)), (4, 1));
}

#[test]
fn a_barrier_and_waits_for_all_five_dependencies() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    let dependencies: Vec<Signal> = (0..5).map(|_| rig.signal(1)).collect();
    rig.submit(&queue, barrier(BARRIER_AND, &dependencies, done));
    for &dependency in &dependencies {
        rig.let_every_queue_have_a_turn();
        assert_eq!(rig.value(done), 1);
        rig.set(dependency, 0);
    }
    rig.wait_for(done, 0);
}

#[test]
fn a_barrier_and_does_not_need_its_dependencies_at_zero_at_the_same_time() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    let (first, second) = (rig.signal(0), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[first, second], done));
    rig.let_every_queue_have_a_turn();
    rig.set(first, 1);
    rig.set(second, 0);
    rig.wait_for(done, 0);
}

#[test]
fn a_dependency_is_satisfied_by_zero_only() {
    let rig = Rig::new();
    let (queue, done, dependency) = (rig.queue(16), rig.signal(1), rig.signal(-1));
    rig.submit(&queue, barrier(BARRIER_AND, &[dependency], done));
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.value(done), 1);
    rig.set(dependency, 0);
    rig.wait_for(done, 0);
}

#[test]
fn a_barrier_or_completes_with_its_first_dependency_and_null_handles_do_not_count() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    let (never, first) = (rig.signal(1), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_OR, &[never, NO_SIGNAL, first], done));
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.value(done), 1);
    rig.set(first, 0);
    rig.wait_for(done, 0);
}

#[test]
fn a_barrier_value_packet_compares_the_masked_signed_value() {
    let (equal, not_equal, less, greater_or_equal) = (0, 1, 2, 3);
    for (condition, value, mask, before, after) in [
        (equal, 0x20, 0xf0, 0x2f00, 0x1f2f),
        (not_equal, 0x20, 0xf0, 0x1f2f, 0x2f00),
        (less, -5, -1, -5, -6),
        (greater_or_equal, -5, -1, -6, -5),
    ] {
        let rig = Rig::new();
        let (queue, done, signal) = (rig.queue(16), rig.signal(1), rig.signal(before));
        let vendor_barrier_value = 0x0002_0000;
        rig.submit(&queue, [vendor_barrier_value, signal.0.0, value as u64, mask as u64, condition, 0, 0, done.0.0]);
        rig.let_every_queue_have_a_turn();
        assert_eq!(rig.value(done), 1, "condition {condition}");
        rig.set(signal, after);
        rig.wait_for(done, 0);
    }
}

#[test]
fn nothing_behind_a_waiting_barrier_packet_launches() {
    let rig = Rig::new();
    let (queue, gate, first, second) = (rig.queue(16), rig.signal(1), rig.signal(1), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[gate], first));
    rig.submit(&queue, barrier(BARRIER_AND, &[], second));
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.value(first), rig.value(second), rig.read_index(&queue)), (1, 1, 1));
    rig.set(gate, 0);
    rig.wait_for(second, 0);
    assert_eq!(rig.value(first), 0);
}

#[test]
fn a_waiting_queue_does_not_hold_up_another_that_will_release_it() {
    let rig = Rig::new();
    let (waiting, releasing) = (rig.queue(16), rig.queue(16));
    let (link, done) = (rig.signal(1), rig.signal(1));
    rig.submit(&waiting, barrier(BARRIER_AND, &[link], done));
    rig.submit(&releasing, barrier(BARRIER_AND, &[], link));
    rig.wait_for(done, 0);
}

#[test]
fn a_doorbell_rung_before_the_header_is_published_waits_for_it() {
    let rig = Rig::new();
    let (queue, first, second) = (rig.queue(16), rig.signal(1), rig.signal(1));
    queue.doorbell.ring(1);
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.read_index(&queue), 0);
    let packet = barrier(BARRIER_AND, &[], second);
    queue.written.store(1, Ordering::Relaxed);
    rig.write(&queue, packet);
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.read_index(&queue), rig.value(second)), (0, 1), "an unpublished slot is not skipped");
    queue.written.store(0, Ordering::Relaxed);
    rig.write(&queue, barrier(BARRIER_AND, &[], first));
    rig.wait_for(second, 0);
    assert_eq!(rig.value(first), 0);
}

#[test]
fn a_published_packet_is_left_alone_until_its_doorbell_rings() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    let index = rig.write(&queue, barrier(BARRIER_AND, &[], done));
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.read_index(&queue), rig.value(done)), (0, 1));
    queue.doorbell.ring(index);
    rig.wait_for(done, 0);
}

#[test]
fn a_doorbell_never_goes_back_and_ignores_the_initial_value_of_runtimes() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(2));
    rig.write(&queue, barrier(BARRIER_AND, &[], done));
    queue.doorbell.ring(u64::MAX);
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.value(done), 2);
    queue.written.store(0, Ordering::Relaxed);
    rig.word(queue.ring).store(1, Ordering::Release);
    queue.doorbell.ring(1);
    queue.doorbell.ring(0);
    rig.write(&queue, barrier(BARRIER_AND, &[], done));
    rig.write(&queue, barrier(BARRIER_AND, &[], done));
    rig.wait_for(done, 0);
}

#[test]
fn the_slot_is_invalid_and_free_once_the_read_index_has_passed_it() {
    let rig = Rig::new();
    let (queue, gate, done) = (rig.queue(16), rig.signal(1), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[gate], done));
    rig.wait_until_read(&queue, 1);
    assert_eq!(rig.word(queue.ring).load(Ordering::Acquire) & 0xffff, 1);
    for word in 0..8 {
        // Whatever the producer writes there next, the packet in flight is not touched by it.
        rig.word(queue.ring + word * 8).store(1 | 0xdead_0000, Ordering::Relaxed);
    }
    rig.set(gate, 0);
    rig.wait_for(done, 0);
}

#[test]
fn a_small_ring_wraps_around_and_loses_nothing() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(4), rig.signal(1000));
    for _ in 0..1000 {
        rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    }
    rig.wait_for(done, 0);
    assert_eq!(rig.read_index(&queue), 1000);
}

#[test]
fn a_queue_starts_at_the_read_index_it_holds() {
    let first = (1 << 33) + 7;
    let rig = Rig::new();
    let (queue, done) = (rig.queue_from(8, first), rig.signal(20));
    for _ in 0..20 {
        rig.submit(&queue, barrier(BARRIER_AND | BARRIER_BIT, &[], done));
    }
    rig.wait_for(done, 0);
    assert_eq!(rig.read_index(&queue), first + 20);
}

#[test]
fn a_completion_on_a_profiled_queue_brings_timestamps_of_the_device_clock_and_any_a_mailbox_and_an_interrupt() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.interrupting_signal(1, 42));
    rig.profile(&queue);
    let before = rig.gpu.timestamp();
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    rig.eventually("the interrupt", || *rig.interrupts.0.lock().unwrap() == [42]);
    let after = rig.gpu.timestamp();
    assert_eq!((rig.value(done), rig.mailbox(done)), (0, 42));
    let (start, end) = (rig.word(done.0 + 32).load(Ordering::Relaxed), rig.word(done.0 + 40).load(Ordering::Relaxed));
    assert!(before <= start && start <= end && end <= after, "{before} {start} {end} {after}");
}

#[test]
fn a_queue_that_is_not_profiled_leaves_the_timestamps_alone() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    rig.wait_for(done, 0);
    assert_eq!([32, 40].map(|field| rig.word(done.0 + field).load(Ordering::Relaxed)), [0, 0]);
}

#[test]
fn without_atomic_ops_packets_are_consumed_and_their_completion_is_lost() {
    let rig = Rig::without_atomic_ops();
    let (queue, done) = (rig.queue(16), rig.interrupting_signal(1, 42));
    rig.profile(&queue);
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    rig.eventually("the drop", || rig.gpu.fabric_counters().requester_disabled == 1);
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.value(done), rig.mailbox(done), rig.read_index(&queue)), (1, 0, 1));
    assert!(rig.interrupts.0.lock().unwrap().is_empty());
    assert_ne!(rig.word(done.0 + 40).load(Ordering::Relaxed), 0, "timestamps are plain writes and arrive");
}

#[test]
fn the_requester_bit_can_be_switched_while_the_device_runs() {
    let rig = Rig::without_atomic_ops();
    let (queue, done) = (rig.queue(16), rig.signal(10));
    for round in 1..=4 {
        rig.files.set_device_control_2(0);
        rig.submit(&queue, barrier(BARRIER_AND, &[], done));
        rig.eventually("the drop", || rig.gpu.fabric_counters().requester_disabled == round);
        rig.files.enable_requester();
        rig.submit(&queue, barrier(BARRIER_AND, &[], done));
        rig.wait_for(done, 10 - round as i64);
    }
    assert_eq!(rig.read_index(&queue), 8);
}

#[test]
fn without_bus_master_no_packet_is_fetched() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    rig.files.set_command(0x0503);
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    // Detaching is answered between rounds: two answers enclose a whole one.
    for _ in 0..2 {
        rig.gpu.destroy_queue(rig.queue(2).id);
    }
    assert_eq!((rig.read_index(&queue), rig.value(done)), (0, 1));
    rig.files.set_command(0x0507);
    rig.wait_for(done, 0);
}

#[test]
fn an_invalid_packet_stops_the_queue_with_its_code_by_plain_writes() {
    let (agent_dispatch, unknown_vendor_format) = (4, 0x0009_0000);
    for (header, error) in [
        (agent_dispatch, QueueError::InvalidPacket),
        (0x3f, QueueError::InvalidPacket),
        (unknown_vendor_format, QueueError::InvalidVendorPacket),
        (2, QueueError::InvalidDimensions),
    ] {
        let rig = Rig::without_atomic_ops();
        let (queue, done) = (rig.queue(16), rig.signal(1));
        let mut packet = [0; 8];
        packet[0] = header;
        rig.submit(&queue, packet);
        rig.submit(&queue, barrier(BARRIER_AND, &[], done));
        rig.eventually("the error's interrupt", || *rig.interrupts.0.lock().unwrap() == [77]);
        assert_eq!(rig.value(queue.inactive), error.signal_value());
        assert_eq!(rig.mailbox(queue.inactive), 77);
        let fault = rig.gpu.last_fault().unwrap();
        assert_eq!((fault.error, fault.packet_index, fault.queue), (error, 0, queue.id));
        rig.let_every_queue_have_a_turn();
        assert_eq!((rig.value(done), rig.read_index(&queue)), (1, 1), "a stopped queue takes no more packets");
    }
}

#[test]
fn a_dependency_or_completion_signal_that_is_not_mapped_is_a_memory_violation() {
    let unmapped = Signal(GpuVa(0x1000));
    for packet in [barrier(BARRIER_AND, &[unmapped], NO_SIGNAL), barrier(BARRIER_AND, &[], unmapped)] {
        let rig = Rig::new();
        let queue = rig.queue(16);
        rig.submit(&queue, packet);
        rig.wait_for(queue.inactive, QueueError::MemoryViolation.signal_value());
        assert!(rig.gpu.last_fault().unwrap().to_string().contains("at 0x10"), "{:?}", rig.gpu.last_fault());
    }
}

#[test]
fn one_queues_error_leaves_the_others_running() {
    let rig = Rig::new();
    let (broken, healthy, done) = (rig.queue(16), rig.queue(16), rig.signal(1));
    rig.submit(&broken, [0x3f, 0, 0, 0, 0, 0, 0, 0]);
    rig.wait_for(broken.inactive, QueueError::InvalidPacket.signal_value());
    rig.submit(&healthy, barrier(BARRIER_AND, &[], done));
    rig.wait_for(done, 0);
}

#[test]
fn a_queue_error_is_diagnosed_before_the_inactive_signal_tells_it() {
    let rig = Rig::new();
    let queue = rig.queue(16);
    rig.submit(&queue, [0x3f, 0, 0, 0, 0, 0, 0, 0]);
    rig.wait_for(queue.inactive, QueueError::InvalidPacket.signal_value());
    let diagnoses = rig.interrupts.1.lock().unwrap();
    assert!(matches!(&diagnoses[..], [line] if line.contains("queue 0, packet 0") && line.contains("0x003f")), "{diagnoses:?}");
}

#[test]
fn a_panic_on_the_devices_thread_is_said_and_hangs_nobody() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.interrupting_signal(1, POISONED_EVENT));
    rig.submit(&queue, barrier(BARRIER_AND, &[], done));
    rig.eventually("the diagnosis", || !rig.interrupts.1.lock().unwrap().is_empty());
    assert!(rig.interrupts.1.lock().unwrap()[0].contains("panicked"));
    rig.gpu.destroy_queue(queue.id);
    rig.gpu.power_off();
}

#[test]
fn a_destroyed_queue_touches_its_memory_no_more() {
    let rig = Rig::new();
    let (queue, gate, done) = (rig.queue(16), rig.signal(1), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[gate], done));
    rig.wait_until_read(&queue, 1);
    rig.gpu.destroy_queue(queue.id);
    rig.set(gate, 0);
    queue.doorbell.ring(5);
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.value(done), 1);
    rig.gpu.destroy_queue(queue.id);
}

#[test]
fn powering_down_does_not_wait_for_a_barrier_that_never_opens() {
    let rig = Rig::new();
    let (queue, gate) = (rig.queue(16), rig.signal(1));
    rig.submit(&queue, barrier(BARRIER_AND, &[gate], NO_SIGNAL));
    rig.wait_until_read(&queue, 1);
    drop(rig);
}

#[test]
fn queues_can_be_recycled_and_their_number_is_limited() {
    let rig = Rig::new();
    let first = rig.queue(2);
    let descriptor = QueueDescriptor { amd_queue: first.amd_queue, ring: first.ring, packets: NonZeroU32::new(2).unwrap() };
    let ids: Vec<_> = (1..Gpu::MAX_QUEUES).map(|_| rig.gpu.create_queue(descriptor).unwrap().0).collect();
    assert!(matches!(rig.gpu.create_queue(descriptor), Err(GpuError::TooManyQueues { limit: Gpu::MAX_QUEUES })));
    for id in ids {
        rig.gpu.destroy_queue(id);
    }
    for _ in 0..300 {
        let (id, _) = rig.gpu.create_queue(descriptor).unwrap();
        rig.gpu.destroy_queue(id);
    }
}

#[test]
fn a_queue_whose_memory_is_not_mapped_or_malformed_is_refused() {
    let rig = Rig::new();
    let good = QueueDescriptor { amd_queue: rig.arena.take(256), ring: rig.arena.take(256), packets: NonZeroU32::new(4).unwrap() };
    let create = |descriptor: QueueDescriptor| rig.gpu.create_queue(descriptor).map(|_| ());
    assert!(matches!(create(QueueDescriptor { amd_queue: GpuVa(64), ..good }), Err(GpuError::QueueMemory(_))));
    let far = NonZeroU32::new(1 << 20).unwrap();
    assert!(matches!(create(QueueDescriptor { packets: far, ..good }), Err(GpuError::QueueMemory(_))));
    let three = NonZeroU32::new(3).unwrap();
    assert!(matches!(create(QueueDescriptor { packets: three, ..good }), Err(GpuError::RingLength { packets: 3 })));
    assert!(matches!(create(QueueDescriptor { ring: good.ring + 32, ..good }), Err(GpuError::RingAlignment { .. })));
    let read_only = Arena::new(1);
    read_only.map(&rig.gpu, Protection::ReadOnly);
    let refused = create(QueueDescriptor { ring: read_only.start(), ..good });
    rig.gpu.memory().unmap(read_only.start()).unwrap();
    assert!(matches!(refused, Err(GpuError::QueueMemory(_))));
}

#[test]
fn memory_taken_away_under_a_queue_stops_it_instead_of_the_process() {
    let rig = Rig::new();
    let (ring, packets) = (Arena::new(1), NonZeroU32::new(64).unwrap());
    ring.map(&rig.gpu, Protection::ReadWrite);
    let template = rig.queue(2);
    let descriptor = QueueDescriptor { amd_queue: template.amd_queue, ring: ring.start(), packets };
    let (_, doorbell) = rig.gpu.create_queue(descriptor).unwrap();
    rig.gpu.memory().unmap(ring.start()).unwrap();
    doorbell.ring(0);
    rig.wait_for(template.inactive, QueueError::MemoryViolation.signal_value());
}
