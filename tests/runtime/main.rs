//! The embedded runtime and its device through the HSA C functions, as an application would use them.
#![allow(clippy::unwrap_used, reason = "a test may end at any surprise")]

mod objects;
mod support;

use std::ffi::c_void;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use aqlprobe::hsa::sys::*;
use aqlprobe::kernels::*;
use aqlprobe::runtime::abi::{
    hsa_amd_profiling_get_dispatch_time, hsa_amd_profiling_set_profiler_enabled, hsa_memory_copy, hsa_queue_destroy,
    hsa_signal_store_screlease, hsa_system_get_info,
};
use aqlprobe::runtime::bed;
use support::*;

const CANARY: u32 = 0xdead_beef;
const NONE: hsa_signal_t = hsa_signal_t { handle: 0 };

#[test]
fn a_barrier_packet_completes_its_signal() {
    let session = Session::open();
    let queue = session.queue(64);
    let satisfied = session.signal(0);
    for kind in [HSA_PACKET_TYPE_BARRIER_AND, HSA_PACKET_TYPE_BARRIER_OR] {
        let done = session.signal(1);
        queue.barrier(kind, &[satisfied], done);
        assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_ACTIVE), 0);
    }
    queue.destroy();
}

#[test]
fn a_barrier_waits_for_what_it_depends_on() {
    let session = Session::open();
    let (first, second) = (session.queue(64), session.queue(64));
    let (gate, opened, done) = (session.signal(1), session.signal(1), session.signal(1));
    second.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[opened], done);
    first.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[gate], opened);
    assert_eq!(wait_below(done, 1, 1_000_000, HSA_WAIT_STATE_BLOCKED), 1, "completed before its dependency");
    // SAFETY: no pointer is passed.
    unsafe { hsa_signal_store_screlease(gate, 0) };
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    first.destroy();
    second.destroy();
}

#[test]
fn a_completion_writes_the_mailbox_that_its_event_belongs_to() {
    let session = Session::open();
    let queue = session.queue(64);
    let done = session.signal(1);
    assert_eq!(mailbox(done).0, 0);
    queue.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[], done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while mailbox(done).0 == 0 && Instant::now() < deadline {
        thread::yield_now();
    }
    let (written, event_id) = mailbox(done);
    assert_eq!(written, u64::from(event_id));
    queue.destroy();
}

#[test]
fn vector_copy_copies_every_element_and_nothing_behind_them() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let items = 256 * 40;
    let (source, destination) = (session.host(items), session.host(items + 256));
    source.fill(|index| index as u32 ^ 0x5a5a_0000);
    destination.fill(|_| CANARY);
    let done = session.signal(1);
    let arguments = VectorCopyArguments { source: source.ptr(), destination: destination.ptr() };
    queue.dispatch(&session, &code, Kernel::VectorCopy, items as u32, &arguments, done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    assert!((0..items).all(|index| destination.load(index) == source.load(index)));
    assert!((items..items + 256).all(|index| destination.load(index) == CANARY));
    queue.destroy();
}

#[test]
fn device_memory_holds_data_between_copies() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let (host, first, second) = (session.host(256), session.device(256), session.device(256));
    host.fill(|index| index as u32 + 1);
    // SAFETY: both buffers have 1024 bytes.
    unsafe { assert_eq!(hsa_memory_copy(first.raw(), host.raw(), 1024), HSA_STATUS_SUCCESS) };
    let done = session.signal(1);
    let arguments = VectorCopyArguments { source: first.ptr(), destination: second.ptr() };
    queue.dispatch(&session, &code, Kernel::VectorCopy, 256, &arguments, done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    host.fill(|_| 0);
    // SAFETY: as above.
    unsafe { assert_eq!(hsa_memory_copy(host.raw(), second.raw(), 1024), HSA_STATUS_SUCCESS) };
    assert!((0..256).all(|index| host.load(index) == index as u32 + 1));
    queue.destroy();
}

#[test]
fn contended_atomics_of_device_and_host_lose_nothing() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let (items, rounds) = (64 * 8, 10_u32);
    let (counter, ran) = (session.host(2), session.host(items));
    ran.fill(|_| CANARY);
    let done = session.signal(1);
    let arguments = FetchAddArguments { counter: counter.ptr(), ran: ran.ptr(), rounds };
    queue.dispatch(&session, &code, Kernel::FetchAdd32, items as u32, &arguments, done);
    let mut own = 0;
    while wait_below(done, 1, 0, HSA_WAIT_STATE_ACTIVE) != 0 && own < 100_000_000 {
        counter.word(0).fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        own += 1;
    }
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    assert!((0..items).all(|index| ran.load(index) == rounds));
    assert_eq!(counter.load(0), items as u32 * rounds + own);
    queue.destroy();
}

#[test]
fn operations_that_pcie_lacks_work_on_device_memory_and_are_lost_on_the_way_to_the_host() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let initial = [u32::MAX, 0, 5, 7, 9, u32::MAX, 3];
    let (staging, device, host) = (session.host(8), session.device(8), session.host(8));
    for (index, value) in initial.into_iter().enumerate() {
        staging.store(index, value);
        host.store(index, value);
    }
    // SAFETY: every buffer has 32 bytes.
    unsafe { assert_eq!(hsa_memory_copy(device.raw(), staging.raw(), 28), HSA_STATUS_SUCCESS) };
    let ran = session.host(64);
    for cells in [device.ptr(), host.ptr()] {
        let done = session.signal(1);
        ran.fill(|_| 0);
        queue.dispatch(&session, &code, Kernel::RmwOther32, 64, &RmwOtherArguments { cells, ran: ran.ptr() }, done);
        assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
        assert!((0..64).all(|index| ran.load(index) == 1));
    }
    // SAFETY: as above.
    unsafe { assert_eq!(hsa_memory_copy(staging.raw(), device.raw(), 28), HSA_STATUS_SUCCESS) };
    let read = |buffer: &Buffer| std::array::from_fn(|index| buffer.load(index));
    assert_eq!(read(&staging), rmw_other_32(initial, 64));
    assert_eq!(read(&host), initial);
    queue.destroy();
}

#[test]
fn a_kernel_reduces_through_lds_and_barriers() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let (input, out) = (session.host(1024), session.host(4));
    input.fill(|index| index as u32);
    let done = session.signal(1);
    let arguments = LdsReduceArguments { input: input.ptr(), out: out.ptr() };
    queue.dispatch(&session, &code, Kernel::LdsReduce, 1024, &arguments, done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    for group in 0..4_usize {
        let sum: usize = (group * 256..(group + 1) * 256).sum();
        assert_eq!(out.load(group) as usize, sum, "workgroup {group}");
    }
    queue.destroy();
}

#[test]
fn a_kernel_that_spins_sees_what_another_queue_publishes() {
    let session = Session::open();
    let (code, spinning, publishing) = (session.load(), session.queue(64), session.queue(64));
    let (flag, payload, out, saw) = (session.host(1), session.host(256), session.host(256), session.host(256));
    let (spun, published) = (session.signal(1), session.signal(1));
    let spin = SpinOnFlagArguments {
        flag: flag.ptr(),
        payload: payload.ptr(),
        out: out.ptr(),
        saw: saw.ptr(),
        expected: 77,
        max_polls: u32::MAX,
    };
    spinning.dispatch(&session, &code, Kernel::SpinOnFlag, 256, &spin, spun);
    let publish = PublishArguments { payload: payload.ptr(), flag: flag.ptr(), value: 77 };
    publishing.dispatch(&session, &code, Kernel::Publish, 256, &publish, published);
    assert_eq!(wait_below(spun, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    assert_eq!(wait_below(published, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    assert!((0..256).all(|index| saw.load(index) == SAW_FLAG && out.load(index) == 77 + index as u32));
    spinning.destroy();
    publishing.destroy();
}

#[test]
fn a_queue_can_be_destroyed_while_its_kernel_spins() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let (flag, payload, out, saw) = (session.host(1), session.host(256), session.host(256), session.host(256));
    let spun = session.signal(1);
    let spin = SpinOnFlagArguments {
        flag: flag.ptr(),
        payload: payload.ptr(),
        out: out.ptr(),
        saw: saw.ptr(),
        expected: 1,
        max_polls: u32::MAX,
    };
    queue.dispatch(&session, &code, Kernel::SpinOnFlag, 256, &spin, spun);
    assert_eq!(wait_below(spun, 1, 1_000_000, HSA_WAIT_STATE_BLOCKED), 1);
    queue.destroy();
    flag.store(0, 1);
    assert_eq!(wait_below(spun, 1, 1_000_000, HSA_WAIT_STATE_BLOCKED), 1, "the abandoned packet completed");
    let after = session.queue(64);
    let done = session.signal(1);
    after.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[], done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0, "the device is unusable afterwards");
    after.destroy();
}

unsafe extern "C" fn report(status: hsa_status_t, source: *mut hsa_queue_t, data: *mut c_void) {
    // SAFETY: data is the sender that the tests below keep until the queue is destroyed.
    let _ = unsafe { &*data.cast::<mpsc::Sender<(hsa_status_t, usize)>>() }.send((status, source as usize));
}

/// What the queue's callback is told, at most once, after `provoke`.
fn reported(session: &Session, provoke: impl FnOnce(&Queue)) -> hsa_status_t {
    let (sender, receiver) = mpsc::channel();
    let sender: Box<mpsc::Sender<(hsa_status_t, usize)>> = Box::new(sender);
    let queue = session.queue_with_callback(64, Some(report), (&raw const *sender).cast_mut().cast());
    provoke(&queue);
    let (status, source) = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(source, queue.as_ptr() as usize);
    queue.destroy();
    drop(sender);
    assert!(receiver.recv().is_err(), "reported twice");
    status
}

#[test]
fn a_malformed_packet_is_reported_to_the_queues_callback() {
    let session = Session::open();
    let status = reported(&session, |queue| {
        let mut packet = [0; 16];
        // 6 is no packet type (HSA 1.2 §2.9.1).
        packet[0] = header(6).into();
        queue.submit(packet);
    });
    assert_eq!(status, HSA_STATUS_ERROR_INVALID_PACKET_FORMAT);
}

#[test]
fn a_dispatch_with_no_dimensions_is_reported() {
    let session = Session::open();
    let status = reported(&session, |queue| {
        let mut packet = [0; 16];
        packet[0] = header(HSA_PACKET_TYPE_KERNEL_DISPATCH).into();
        queue.submit(packet);
    });
    assert_eq!(status, HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS);
}

#[test]
fn a_kernel_that_leaves_its_memory_is_reported_and_the_device_lives_on() {
    const STATUS_MEMORY_APERTURE_VIOLATION: hsa_status_t = 41;
    let session = Session::open();
    let code = session.load();
    let unshared = session.host_unshared(256);
    let source = session.host(256);
    let status = reported(&session, |queue| {
        let arguments = VectorCopyArguments { source: source.ptr(), destination: unshared.ptr() };
        queue.dispatch(&session, &code, Kernel::VectorCopy, 256, &arguments, NONE);
    });
    assert_eq!(status, STATUS_MEMORY_APERTURE_VIOLATION);
    assert!((0..256).all(|index| unshared.load(index) == 0));
    a_barrier_packet_completes_its_signal();
}

unsafe extern "C" fn destroy_own_queue(_: hsa_status_t, source: *mut hsa_queue_t, data: *mut c_void) {
    // SAFETY: the queue is alive during its callback; data is a sender that the test keeps.
    unsafe {
        let status = hsa_queue_destroy(source);
        let _ = (*data.cast::<mpsc::Sender<hsa_status_t>>()).send(status);
    }
}

#[test]
fn a_callback_may_destroy_its_own_queue() {
    let session = Session::open();
    let (sender, receiver) = mpsc::channel::<hsa_status_t>();
    // Nobody waits for a callback whose queue is gone: it may still be in `send` when this test ends.
    let sender: &'static mpsc::Sender<hsa_status_t> = Box::leak(Box::new(sender));
    let queue = session.queue_with_callback(64, Some(destroy_own_queue), (&raw const *sender).cast_mut().cast());
    let mut packet = [0; 16];
    packet[0] = header(6).into();
    queue.submit(packet);
    assert_eq!(receiver.recv_timeout(Duration::from_secs(30)).unwrap(), HSA_STATUS_SUCCESS);
    // SAFETY: the pointer is stale on purpose: it must be refused.
    assert_eq!(unsafe { hsa_queue_destroy(queue.as_ptr()) }, HSA_STATUS_ERROR_INVALID_QUEUE);
}

#[test]
fn dispatch_times_are_in_order_and_in_the_past() {
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let done = session.signal(1);
    let mut time = hsa_amd_profiling_dispatch_time_t { start: 0, end: 0 };
    let mut now = [0_u64; 2];
    // SAFETY: every pointer is to a local variable of the documented type.
    unsafe {
        assert_eq!(hsa_amd_profiling_set_profiler_enabled(queue.as_ptr(), 1), HSA_STATUS_SUCCESS);
        assert_eq!(hsa_amd_profiling_get_dispatch_time(session.gpu, done, &mut time), HSA_STATUS_ERROR, "nothing ran yet");
        assert_eq!(hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP, (&raw mut now[0]).cast()), HSA_STATUS_SUCCESS);
    }
    queue.dispatch(&session, &code, Kernel::Nop, 64, &NopArguments {}, done);
    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0);
    // SAFETY: as above.
    unsafe {
        assert_eq!(hsa_amd_profiling_get_dispatch_time(session.gpu, done, &mut time), HSA_STATUS_SUCCESS);
        assert_eq!(hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP, (&raw mut now[1]).cast()), HSA_STATUS_SUCCESS);
    }
    assert!(now[0] <= time.start && time.start <= time.end && time.end <= now[1], "{now:?} {time:?}");
    queue.destroy();
}

/// The founding experiment in the small. Runs once more in a process of its own, as the tree is named by the environment.
#[test]
fn without_atomicops_a_kernel_writes_its_output_and_its_signal_never_fires() {
    match std::env::var_os(bed::SYSFS_ENV).filter(|_| is_alone()) {
        Some(root) => founding_experiment(Path::new(&root)),
        None => {
            let directory = tempfile::tempdir().unwrap();
            let prepared = bed::prepare(directory.path(), None, None).unwrap();
            let name = "without_atomicops_a_kernel_writes_its_output_and_its_signal_never_fires";
            run_alone(name, &[(bed::SYSFS_ENV, &prepared.sysfs_root)]);
        }
    }
}

fn founding_experiment(root: &Path) {
    let config = root.join("bus/pci/devices/0000:0b:00.0/config");
    let session = Session::open();
    let (code, queue) = (session.load(), session.queue(64));
    let (source, destination) = (session.host(1024), session.host(1024));
    source.fill(|index| index as u32);
    let run = |ticks: u64| {
        destination.fill(|_| CANARY);
        let (done, before) = (session.signal(1), queue.read_index());
        let arguments = VectorCopyArguments { source: source.ptr(), destination: destination.ptr() };
        queue.dispatch(&session, &code, Kernel::VectorCopy, 1024, &arguments, done);
        let deadline = Instant::now() + Duration::from_secs(30);
        while destination.load(1023) == CANARY && Instant::now() < deadline {
            thread::yield_now();
        }
        let value = wait_below(done, 1, ticks, HSA_WAIT_STATE_BLOCKED);
        assert!((0..1024).all(|index| destination.load(index) == index as u32));
        assert_eq!(queue.read_index(), before + 1, "the read index is a plain store");
        (value, mailbox(done).0)
    };
    assert_eq!(run(50_000_000), (1, 0), "AtomicOps are disabled: neither the decrement nor the mailbox write happens");
    // What setpci 80.b=40 did: Device Control 2 is at 0x80 of this function.
    let mut bytes = std::fs::read(&config).unwrap();
    assert_eq!(bytes[0x80] & 0x40, 0);
    bytes[0x80] |= 0x40;
    let file = std::fs::OpenOptions::new().write(true).open(&config).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[0x80..0x81], 0x80).unwrap();
    assert_eq!(run(DEADLINE_TICKS).0, 0, "AtomicOps are enabled");
    queue.destroy();
}
