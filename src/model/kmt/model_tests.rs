//! The device as the runtime's lowest layer drives it. Offsets and codes are written out as AMD's headers have them.

use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::model::queue_error::QueueError;

const APERTURE_BYTES: usize = 1 << 24;
const PAGE_BYTES: u64 = 4096;
const DOORBELLS: GpuVa = GpuVa(0x10_0000);
const MEMORY: GpuVa = GpuVa(0x20_0000);
const CODE: GpuVa = GpuVa(0x30_0000);
/// Registered, but without memory.
const UNMAPPED: GpuVa = GpuVa(0x40_0000);

const READ_WRITE: u32 = flag::WRITABLE | flag::COHERENT;
const PATIENCE: Duration = Duration::from_secs(20);

/// The runtime's side: an aperture, memory in it, and a model.
struct Runtime {
    // First, so that the device is gone before its memory.
    model: Model,
    base: *mut u8,
    used: Mutex<u64>,
    events: &'static Events,
}

/// What the runtime's set_event function saw.
#[derive(Default)]
struct Events {
    watched: AtomicU64,
    /// Event id, and the watched word at that moment.
    seen: Mutex<Vec<(u32, u64)>>,
}

extern "C" fn set_event(data: *mut c_void, event_id: u32) {
    // SAFETY: the rig passes a leaked Events, and the watched word lies in its aperture.
    let (events, value) = unsafe {
        let events = &*data.cast::<Events>();
        let word = events.watched.load(Ordering::SeqCst) as *mut u64;
        (events, if word.is_null() { 0 } else { AtomicU64::from_ptr(word).load(Ordering::SeqCst) })
    };
    events.seen.lock().unwrap().push((event_id, value));
}

#[derive(Clone, Copy)]
struct Queue {
    id: QueueId,
    amd_queue: GpuVa,
    ring: GpuVa,
    inactive: GpuVa,
}

impl Runtime {
    fn new(target: Target) -> Self {
        let model = Model::of(target, Machine::of_its_own(target).unwrap(), None).unwrap();
        // SAFETY: a new private mapping touches no existing memory.
        let base = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(ptr::null_mut(), APERTURE_BYTES, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: the range is reserved for the device and stays so for the rest of the process.
        let aperture = unsafe { Aperture::new(NonNull::new(base.cast()).unwrap(), APERTURE_BYTES as u64) };
        model.set_aperture(aperture).unwrap();
        let events: &'static Events = Box::leak(Box::default());
        // SAFETY: the events are leaked, and the function takes any thread.
        model.set_event_function(Some(unsafe { SetEvent::new(set_event, ptr::from_ref(events).cast_mut().cast()) }));
        let runtime = Self { model, base: base.cast(), used: Mutex::new(0), events };
        for (va, bytes, flags) in [
            (DOORBELLS, 2 * PAGE_BYTES, READ_WRITE | flag::DOORBELL),
            (MEMORY, 64 * PAGE_BYTES, READ_WRITE),
            (CODE, PAGE_BYTES, READ_WRITE | flag::EXECUTABLE | flag::VRAM),
        ] {
            runtime.model.register(va, bytes, flags).unwrap();
            runtime.map(va, bytes);
        }
        runtime.model.register(UNMAPPED, PAGE_BYTES, READ_WRITE).unwrap();
        runtime
    }

    fn map(&self, va: GpuVa, bytes: u64) {
        // SAFETY: replaces a part of the reservation, in which nobody's data is.
        let mapped = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(self.base.add(va.0 as usize).cast(), bytes as usize, access, flags, -1, 0)
        };
        assert_ne!(mapped, libc::MAP_FAILED);
    }

    fn word(&self, va: GpuVa) -> &AtomicU64 {
        assert!(va.is_aligned_to(8) && va.0 < APERTURE_BYTES as u64);
        // SAFETY: inside the aperture and aligned; tests ask for mapped words only, and all sides use atomics.
        unsafe { AtomicU64::from_ptr(self.base.add(va.0 as usize).cast()) }
    }

    fn get(&self, va: GpuVa) -> u64 {
        self.word(va).load(Ordering::SeqCst)
    }

    fn set(&self, va: GpuVa, value: u64) {
        self.word(va).store(value, Ordering::SeqCst);
    }

    fn take(&self, bytes: u64) -> GpuVa {
        let mut used = self.used.lock().unwrap();
        let va = MEMORY + *used;
        *used += bytes.next_multiple_of(256);
        assert!(*used <= 64 * PAGE_BYTES);
        va
    }

    /// A signal with an event and, as in model mode, no mailbox.
    fn signal(&self, value: u64, event_id: u64) -> GpuVa {
        let signal = self.take(64);
        self.set(signal, 1);
        self.set(signal + 8, value);
        self.set(signal + 24, event_id);
        signal
    }

    fn value(&self, signal: GpuVa) -> u64 {
        self.get(signal + 8)
    }

    fn queue(&self) -> Queue {
        let (amd_queue, ring, inactive) = (self.take(256), self.take(16 * 64), self.signal(0, 77));
        for slot in 0..16 {
            self.set(ring + slot * 64, 1);
        }
        self.set(amd_queue + 0xc0, inactive.0);
        let info = QueueInfo {
            kind: QueueKind::of(2),
            ring,
            ring_bytes: 16 * 64,
            read_pointer: amd_queue + 0x80,
            write_pointer: amd_queue + 0x38,
        };
        let id = self.model.create_queue(&info).unwrap();
        Queue { id, amd_queue, ring, inactive }
    }

    /// Writes a packet and moves the write index; does not ring.
    fn write(&self, queue: Queue, packet: [u64; 8]) -> u64 {
        let index = self.get(queue.amd_queue + 0x38);
        let slot = queue.ring + index % 16 * 64;
        for (at, word) in packet.iter().enumerate().skip(1) {
            self.set(slot + at as u64 * 8, *word);
        }
        self.set(queue.amd_queue + 0x38, index + 1);
        self.set(slot, packet[0]);
        index
    }

    fn ring(&self, queue: Queue, index: u64) {
        self.set(DOORBELLS + u64::from(queue.id.0) * 8, index);
    }

    fn submit(&self, queue: Queue, packet: [u64; 8]) {
        let index = self.write(queue, packet);
        self.ring(queue, index);
    }

    fn read_index(&self, queue: Queue) -> u64 {
        self.get(queue.amd_queue + 0x80)
    }

    fn eventually(&self, what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; last fault: {:?}", self.model.gpu.last_fault());
            std::thread::yield_now();
        }
    }

    /// Returns when every queue that existed has had a turn since the call: queues take turns in order of creation.
    fn let_every_queue_have_a_turn(&self) {
        let side = self.queue();
        for index in 0..2 {
            self.submit(side, barrier(GpuVa::NULL));
            self.eventually("the side queue's packet", || self.read_index(side) == index + 1);
        }
        self.model.destroy_queue(side.id);
    }

    /// A kernel that ends at once, and its dispatch.
    fn dispatch(&self, private_bytes: u64, completion: GpuVa) -> [u64; 8] {
        self.set(CODE + 16, 256);
        self.set(CODE + 48, 0x00ac_0040);
        self.set(CODE + 256, 0xbf81_0000);
        let one_dimension = 1 << 16;
        let header = 2 | 2 << 9 | 2 << 11 | one_dimension | 64 << 32 | 1 << 48;
        [header, 64 << 32 | 1, 1 << 32 | 1, private_bytes, CODE.0, 0, 0, completion.0]
    }
}

fn barrier(completion: GpuVa) -> [u64; 8] {
    [3, 0, 0, 0, 0, 0, 0, completion.0]
}

#[test]
fn a_packet_whose_doorbell_was_not_rung_is_not_fetched() {
    let runtime = Runtime::new(Target::Gfx942);
    let (queue, done) = (runtime.queue(), runtime.signal(1, 0));
    let index = runtime.write(queue, barrier(done));
    runtime.let_every_queue_have_a_turn();
    assert_eq!((runtime.value(done), runtime.read_index(queue)), (1, 0));
    runtime.ring(queue, index);
    runtime.eventually("the completion", || runtime.value(done) == 0);
    assert_eq!(runtime.read_index(queue), 1);
}

#[test]
fn a_new_queue_is_not_taken_in_by_what_the_last_one_of_its_id_left_in_the_doorbell() {
    let runtime = Runtime::new(Target::Gfx942);
    let first = runtime.queue();
    runtime.submit(first, barrier(GpuVa::NULL));
    runtime.eventually("the first packet", || runtime.read_index(first) == 1);
    runtime.model.destroy_queue(first.id);
    let (second, done) = (runtime.queue(), runtime.signal(1, 0));
    assert_eq!(second.id, first.id);
    let index = runtime.write(second, barrier(done));
    runtime.let_every_queue_have_a_turn();
    assert_eq!(runtime.value(done), 1);
    runtime.ring(second, index);
    runtime.eventually("the completion", || runtime.value(done) == 0);
}

#[test]
fn a_signals_event_is_set_before_its_value_moves_and_not_at_all_without_an_id() {
    let runtime = Runtime::new(Target::Gfx942);
    let (queue, silent, loud) = (runtime.queue(), runtime.signal(1, 0), runtime.signal(1, 5));
    runtime.events.watched.store(ptr::from_ref(runtime.word(loud + 8)) as u64, Ordering::SeqCst);
    runtime.submit(queue, barrier(silent));
    runtime.submit(queue, barrier(loud));
    runtime.eventually("both completions", || (runtime.value(silent), runtime.value(loud)) == (0, 0));
    assert_eq!(*runtime.events.seen.lock().unwrap(), [(5, 1)]);
}

#[test]
fn queue_ids_are_the_lowest_free_ones_as_the_runtimes_are() {
    let runtime = Runtime::new(Target::Gfx942);
    let queues = [runtime.queue(), runtime.queue(), runtime.queue()];
    assert_eq!(queues.map(|queue| queue.id.0), [0, 1, 2]);
    runtime.model.destroy_queue(QueueId(1));
    assert_eq!(runtime.queue().id, QueueId(1));
}

#[test]
fn memory_that_is_registered_but_not_mapped_fails_the_queue_and_not_the_process() {
    for packet in [barrier(UNMAPPED + 64), [3, UNMAPPED.0, 0, 0, 0, 0, 0, 0]] {
        let runtime = Runtime::new(Target::Gfx942);
        let queue = runtime.queue();
        runtime.submit(queue, packet);
        let violation = QueueError::MemoryViolation.signal_value() as u64;
        runtime.eventually("the queue's error", || runtime.value(queue.inactive) == violation);
        let fault = runtime.model.gpu.last_fault().unwrap().to_string();
        assert!(fault.contains("at 0x4000") && fault.contains("not mapped for the GPU"), "{fault}");
        assert_eq!(runtime.events.seen.lock().unwrap().last(), Some(&(77, 0)));
    }
}

#[test]
fn a_dispatch_that_needs_scratch_waits_in_the_ring_until_the_host_has_given_it() {
    for (target, code, of_64) in [(Target::Gfx942, 1, 64), (Target::Gfx1100, 0x400, 32)] {
        let runtime = Runtime::new(target);
        let (queue, done, behind) = (runtime.queue(), runtime.signal(1, 0), runtime.signal(1, 0));
        let dispatch = runtime.dispatch(64, done);
        if target == Target::Gfx1100 {
            let (wavefront_size_32, s_endpgm) = (1 << 10, 0xbfb0_0000);
            runtime.set(CODE + 56, wavefront_size_32);
            runtime.set(CODE + 256, s_endpgm);
        }
        runtime.submit(queue, dispatch);
        runtime.submit(queue, barrier(behind));
        runtime.eventually("the request", || runtime.value(queue.inactive) == code);
        runtime.let_every_queue_have_a_turn();
        // The host looks for the dispatch from the read index on.
        assert_eq!((runtime.read_index(queue), runtime.get(queue.ring)), (0, dispatch[0]));
        assert_eq!((runtime.value(done), runtime.value(behind)), (1, 1));
        assert_eq!(*runtime.events.seen.lock().unwrap(), [(77, 0)]);
        // Tmpring size, buffer descriptor, location, bytes per lane of a wave of 64.
        runtime.set(queue.amd_queue + 0x98, 0x10_0000);
        runtime.set(queue.amd_queue + 0xa0, MEMORY.0);
        runtime.set(queue.amd_queue + 0xb0, of_64);
        runtime.set(queue.inactive + 8, 0);
        if target == Target::Gfx942 {
            runtime.eventually("both completions", || (runtime.value(done), runtime.value(behind)) == (0, 0));
        } else {
            runtime.eventually("the launch", || runtime.read_index(queue) >= 1);
        }
    }
}

#[test]
fn a_host_that_has_no_scratch_to_give_ends_the_queue() {
    let runtime = Runtime::new(Target::Gfx942);
    let (queue, done) = (runtime.queue(), runtime.signal(1, 0));
    runtime.submit(queue, runtime.dispatch(64, done));
    runtime.eventually("the request", || runtime.value(queue.inactive) == 1);
    runtime.set(queue.inactive + 8, u64::MAX);
    runtime.eventually("the queue's end", || runtime.model.gpu.last_fault().is_some());
    runtime.let_every_queue_have_a_turn();
    assert_eq!((runtime.value(queue.inactive), runtime.value(done)), (u64::MAX, 1));
    assert_eq!(runtime.model.gpu.last_fault().unwrap().error, QueueError::InsufficientScratch);
}

#[test]
fn a_dispatch_without_private_memory_asks_for_none() {
    let runtime = Runtime::new(Target::Gfx942);
    let (queue, done) = (runtime.queue(), runtime.signal(1, 0));
    runtime.submit(queue, runtime.dispatch(0, done));
    runtime.eventually("the completion", || runtime.value(done) == 0);
    assert_eq!(runtime.value(queue.inactive), 0);
}

#[test]
fn the_runtimes_cache_invalidation_packet_completes_its_signal() {
    let runtime = Runtime::new(Target::Gfx942);
    let (queue, done, buffer) = (runtime.queue(), runtime.signal(1, 0), runtime.take(64));
    for (at, words) in [0x2000_0000_c005_5800, 0x0000_00ff_ffff_ffff, 0, 4].into_iter().enumerate() {
        runtime.set(buffer + at as u64 * 8, words);
    }
    let jump = [0xc002_3f00_0001_0000, buffer.0, 0xa << 32 | 7, 0, 0, 0, 0, done.0];
    runtime.submit(queue, jump);
    runtime.eventually("the completion", || runtime.value(done) == 0);
}

#[test]
fn an_sdma_queue_copies_and_decrements_through_its_own_doorbell() {
    let runtime = Runtime::new(Target::Gfx942);
    let (ring, control) = (runtime.take(4096), runtime.take(128));
    let (source, destination, done) = (runtime.take(64), runtime.take(64), runtime.signal(1, 6));
    let info = QueueInfo { kind: QueueKind::of(1), ring, ring_bytes: 4096, read_pointer: control, write_pointer: control + 64 };
    let _compute = runtime.queue();
    let id = runtime.model.create_queue(&info).unwrap();
    runtime.set(source, 0x1122_3344_5566_7788);
    let copy = [1 | 7 << 32, source.0 << 32, destination.0 << 32, 0];
    for (at, words) in copy.into_iter().enumerate() {
        runtime.set(ring + at as u64 * 8, words);
    }
    // The copy has seven dwords, so the atomic starts in the upper half of the fourth word.
    let atomic: u64 = 10 | 47 << 25;
    runtime.set(ring + 24, atomic << 32);
    for (at, words) in [done.0 + 8, u64::MAX, 0, 0].into_iter().enumerate() {
        runtime.set(ring + 32 + at as u64 * 8, words);
    }
    let end = (7 + 8) * 4;
    runtime.set(control + 64, end);
    runtime.let_every_queue_have_a_turn();
    assert_eq!(runtime.get(control), 0, "the doorbell has not been rung");
    runtime.set(DOORBELLS + u64::from(id.0) * 8, end);
    runtime.eventually("the completion", || runtime.value(done) == 0);
    runtime.eventually("the read pointer", || runtime.get(control) == end);
    assert_eq!(runtime.get(destination), 0x1122_3344_5566_7788);
    assert_eq!(*runtime.events.seen.lock().unwrap(), [(6, 0)]);
    runtime.model.destroy_queue(id);
}

#[test]
fn memory_is_registered_once_inside_the_aperture_and_freed_as_it_was_registered() {
    let runtime = Runtime::new(Target::Gfx942);
    let model = &runtime.model;
    let end = GpuVa(APERTURE_BYTES as u64);
    assert!(matches!(model.register(end, PAGE_BYTES, READ_WRITE), Err(CallError::OutsideAperture { .. })));
    assert!(matches!(model.register(GpuVa(u64::MAX - 8), PAGE_BYTES, READ_WRITE), Err(CallError::OutsideAperture { .. })));
    assert!(matches!(model.register(MEMORY + PAGE_BYTES, PAGE_BYTES, READ_WRITE), Err(CallError::Map(_))));
    assert!(matches!(model.unregister(UNMAPPED, 1), Err(CallError::OtherLength { registered: PAGE_BYTES, .. })));
    assert!(matches!(model.unregister(UNMAPPED, PAGE_BYTES), Err(CallError::Map(_))));
    let bare = Model::of(Target::Gfx942, Machine::of_its_own(Target::Gfx942).unwrap(), None).unwrap();
    assert!(matches!(bare.register(MEMORY, PAGE_BYTES, READ_WRITE), Err(CallError::NoAperture { .. })));
}

/// The flags are those of ROCr 7.2.4's allocations: signals and rings, kernel arguments, the coarse-grained system pool, local memory.
#[test]
fn atomics_cross_the_path_to_fine_grained_host_memory_only() {
    assert_eq!([0x9600_0002, 0xd600_0002, 0x9400_0002].map(home), [Home::Host; 3]);
    assert_eq!(home(0x9000_0002), Home::CachedHost);
    assert_eq!([0x9000_0001, 0xf000_0001].map(home), [Home::DeviceLocal; 2]);
}

#[test]
fn queues_that_the_model_does_not_have_are_refused() {
    let runtime = Runtime::new(Target::Gfx942);
    let amd_queue = runtime.take(256);
    let good = QueueInfo {
        kind: QueueKind::of(2),
        ring: runtime.take(1024),
        ring_bytes: 1024,
        read_pointer: amd_queue + 0x80,
        write_pointer: amd_queue + 0x38,
    };
    let create = |info: QueueInfo| runtime.model.create_queue(&info);
    assert!(matches!(create(QueueInfo { kind: QueueKind::of(0), ..good }), Err(CallError::QueueType(0))));
    assert!(matches!(create(QueueInfo { ring_bytes: 63, ..good }), Err(CallError::RingLength { bytes: 63 })));
    assert!(matches!(create(QueueInfo { write_pointer: amd_queue, ..good }), Err(CallError::NotAnAmdQueue { .. })));
    assert!(create(good).is_ok());
}

#[test]
fn a_model_leaves_no_tree_of_its_own_behind_even_if_its_process_aborts() {
    let machine = Machine::of_its_own(Target::Gfx1100).unwrap();
    let root = machine.sysfs_root.clone();
    assert!(root.exists());
    let _model = Model::of(Target::Gfx1100, machine, None).unwrap();
    assert!(!root.exists());
}

#[test]
fn a_model_that_is_switched_off_touches_nothing_any_more() {
    let runtime = Runtime::new(Target::Gfx1100);
    let (queue, done) = (runtime.queue(), runtime.signal(1, 0));
    runtime.model.switch_off();
    runtime.submit(queue, barrier(done));
    assert_eq!(runtime.value(done), 1);
}
