//! A device with host memory and a recording interrupt sink.
//!
//! Offsets into `amd_queue_t` and `amd_signal_t` are written out here as AMD's headers have them, so that the tests do not take
//! the code's word for them.

use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::faults::FaultPlan;
use crate::model::address::GpuVa;
use crate::model::gpu::{Doorbell, Gpu, InterruptSink, QueueDescriptor, QueueId};
use crate::model::host::HostProtocol;
use crate::model::memory::{Home, HostPtr, Mapping, Protection};
use crate::model::target::Target;
use crate::model::test_path::TestPath;

pub(super) const BARRIER_AND: u64 = 3;
pub(super) const BARRIER_OR: u64 = 5;
pub(super) const BARRIER_BIT: u64 = 1 << 8;
const INVALID: u64 = 1;

/// Far beyond what any of these tests needs; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

/// Memory shared with the device. GPU addresses are host addresses.
pub(super) struct Arena {
    pages: Arc<[Page]>,
    used_bytes: AtomicUsize,
}

impl Arena {
    pub(super) fn new(pages: usize) -> Self {
        let pages = (0..pages).map(|_| Page(std::array::from_fn(|_| AtomicU64::new(0)))).collect();
        Self { pages, used_bytes: AtomicUsize::new(0) }
    }

    pub(super) fn start(&self) -> GpuVa {
        GpuVa(self.pages.as_ptr() as u64)
    }

    pub(super) fn map(&self, gpu: &Gpu, protection: Protection) {
        let host = HostPtr::new(NonNull::from(&*self.pages).cast());
        let mapping = Mapping { va: self.start(), length: size_of_val(&*self.pages) as u64, host, home: Home::Host, protection };
        // SAFETY: the rig drops its device before its arenas, and tests with an arena of their own unmap it first.
        unsafe { gpu.memory().map(mapping) }.unwrap();
    }

    /// `bytes` zeroed bytes, aligned to 256.
    pub(super) fn take(&self, bytes: usize) -> GpuVa {
        let offset = self.used_bytes.fetch_add(bytes.next_multiple_of(256), Ordering::Relaxed);
        assert!(offset + bytes <= size_of_val(&*self.pages), "the arena is too small");
        self.start() + offset as u64
    }

    pub(super) fn word(&self, at: GpuVa) -> &AtomicU64 {
        let index = usize::try_from((at - self.start()) / 8).unwrap();
        &self.pages[index / 512].0[index % 512]
    }
}

/// An event on which the host's side panics, on the device's thread.
pub(super) const POISONED_EVENT: u32 = 666;

/// Event ids, and diagnoses.
#[derive(Default)]
pub(super) struct Interrupts(pub(super) Mutex<Vec<u32>>, pub(super) Mutex<Vec<String>>);

impl InterruptSink for Interrupts {
    fn raise(&self, event_id: u32) {
        assert_ne!(event_id, POISONED_EVENT, "as the test wants it");
        self.0.lock().unwrap().push(event_id);
    }

    fn diagnose(&self, fault: &dyn std::fmt::Display) {
        self.1.lock().unwrap().push(fault.to_string());
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Signal(pub(super) GpuVa);

pub(super) const NO_SIGNAL: Signal = Signal(GpuVa::NULL);

pub(super) struct Queue {
    pub(super) id: QueueId,
    pub(super) doorbell: Arc<Doorbell>,
    pub(super) amd_queue: GpuVa,
    pub(super) ring: GpuVa,
    pub(super) inactive: Signal,
    packets: u64,
    pub(super) written: AtomicU64,
}

pub(super) struct Rig {
    // First, so that the device is gone before the memory it works on.
    pub(super) gpu: Gpu,
    pub(super) arena: Arena,
    code: Arena,
    pub(super) files: TestPath,
    pub(super) interrupts: Arc<Interrupts>,
}

impl Rig {
    /// A device whose AtomicOps arrive.
    pub(super) fn new() -> Self {
        let rig = Self::without_atomic_ops();
        rig.files.enable_requester();
        rig
    }

    /// The founding device as it was found: AtomicOp Requester Enable clear.
    pub(super) fn without_atomic_ops() -> Self {
        Self::driven_by(HostProtocol::EMBEDDED)
    }

    /// The same for a host of other customs.
    pub(super) fn driven_by(host: HostProtocol) -> Self {
        Self::struck_by(None, host)
    }

    /// A device whose AtomicOps arrive, with these faults.
    pub(super) fn with_faults(plan: &str) -> Self {
        let rig = Self::struck_by(Some(&plan.parse().unwrap()), HostProtocol::EMBEDDED);
        rig.files.enable_requester();
        rig
    }

    fn struck_by(faults: Option<&FaultPlan>, host: HostProtocol) -> Self {
        let files = TestPath::below_root_port();
        let interrupts = Arc::new(Interrupts::default());
        let sink = Arc::clone(&interrupts) as Arc<dyn InterruptSink>;
        let gpu = Gpu::over(Target::Gfx803, files.open(), host, faults, sink).unwrap();
        let arena = Arena::new(64);
        arena.map(&gpu, Protection::ReadWrite);
        let code = Arena::new(4);
        code.map(&gpu, Protection::ReadExecute);
        Self { gpu, arena, code, files, interrupts }
    }

    pub(super) fn signal(&self, value: i64) -> Signal {
        let signal = Signal(self.arena.take(64));
        self.word(signal.0).store(1, Ordering::Relaxed);
        self.set(signal, value);
        signal
    }

    /// A signal with an event: the mailbox word is the one right behind it.
    pub(super) fn interrupting_signal(&self, value: i64, event_id: u32) -> Signal {
        let signal = self.signal(value);
        self.word(signal.0 + 16).store((signal.0 + 64).0, Ordering::Relaxed);
        self.word(signal.0 + 24).store(u64::from(event_id), Ordering::Relaxed);
        signal
    }

    pub(super) fn mailbox(&self, signal: Signal) -> u64 {
        self.word(signal.0 + 64).load(Ordering::Acquire)
    }

    pub(super) fn set(&self, signal: Signal, value: i64) {
        self.word(signal.0 + 8).store(value as u64, Ordering::Release);
    }

    pub(super) fn value(&self, signal: Signal) -> i64 {
        self.word(signal.0 + 8).load(Ordering::Acquire) as i64
    }

    pub(super) fn word(&self, at: GpuVa) -> &AtomicU64 {
        self.arena.word(at)
    }

    /// Asks for dispatch times (`amd_queue_t.queue_properties` at 0xb4, bit 3).
    pub(super) fn profile(&self, queue: &Queue) {
        self.word(queue.amd_queue + 0xb0).fetch_or(1 << (32 + 3), Ordering::SeqCst);
    }

    pub(super) fn queue(&self, packets: u32) -> Queue {
        self.queue_from(packets, 0)
    }

    /// A queue whose read and write index start at `first`.
    pub(super) fn queue_from(&self, packets: u32, first: u64) -> Queue {
        let (amd_queue, ring) = (self.arena.take(256), self.arena.take(packets as usize * 64));
        for slot in 0..u64::from(packets) {
            self.word(ring + slot * 64).store(INVALID, Ordering::Relaxed);
        }
        let inactive = self.interrupting_signal(0, 77);
        self.word(amd_queue + 0xc0).store(inactive.0.0, Ordering::Relaxed);
        self.word(amd_queue + 0x80).store(first, Ordering::Release);
        let descriptor = QueueDescriptor { amd_queue, ring, packets: NonZeroU32::new(packets).unwrap() };
        let (id, doorbell) = self.gpu.create_queue(descriptor).unwrap();
        Queue { id, doorbell, amd_queue, ring, inactive, packets: u64::from(packets), written: AtomicU64::new(first) }
    }

    /// Writes a packet's body and, last, its header; waits for the slot. Does not ring.
    pub(super) fn write(&self, queue: &Queue, packet: [u64; 8]) -> u64 {
        let index = queue.written.fetch_add(1, Ordering::Relaxed);
        self.eventually("a free slot", || index - self.read_index(queue) < queue.packets);
        let slot = queue.ring + index % queue.packets * 64;
        for (at, word) in packet.iter().enumerate().skip(1) {
            self.word(slot + at as u64 * 8).store(*word, Ordering::Relaxed);
        }
        self.word(slot).store(packet[0], Ordering::Release);
        index
    }

    pub(super) fn submit(&self, queue: &Queue, packet: [u64; 8]) -> u64 {
        let index = self.write(queue, packet);
        queue.doorbell.ring(index);
        index
    }

    pub(super) fn read_index(&self, queue: &Queue) -> u64 {
        self.word(queue.amd_queue + 0x80).load(Ordering::Acquire)
    }

    pub(super) fn eventually(&self, what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; last fault: {:?}", self.gpu.last_fault());
            std::thread::yield_now();
        }
    }

    pub(super) fn wait_for(&self, signal: Signal, value: i64) {
        self.eventually("the signal", || self.value(signal) == value);
    }

    pub(super) fn wait_until_read(&self, queue: &Queue, read_index: u64) {
        self.eventually("the read index", || self.read_index(queue) == read_index);
    }

    /// Returns when every queue that existed has had a turn since the call, so that "it did not happen" is no race.
    ///
    /// Queues take turns in order of creation. The first packet of a later queue may meet a round that has passed the others
    /// already; the round of its second packet began after the call.
    pub(super) fn let_every_queue_have_a_turn(&self) {
        let side = self.queue(2);
        for index in 0..2 {
            self.submit(&side, barrier(BARRIER_AND, &[], NO_SIGNAL));
            self.wait_until_read(&side, index + 1);
        }
        self.gpu.destroy_queue(side.id);
    }

    /// Places a kernel: its descriptor, then its instructions. `user_sgprs` and `properties` as in LLVM's AMDGPUUsage.
    pub(super) fn kernel(&self, user_sgprs: u64, properties: u64, instructions: &[u32]) -> GpuVa {
        let descriptor = self.code.take(256 + instructions.len() * 4 + 256);
        self.code.word(descriptor + 8).store(8, Ordering::Relaxed);
        self.code.word(descriptor + 16).store(256, Ordering::Relaxed);
        // rsrc1: 4 VGPRs, 16 SGPRs, IEEE and DX10 clamp modes; rsrc2: the user SGPRs.
        self.code.word(descriptor + 48).store(0x00ac_0040 | user_sgprs << (32 + 1), Ordering::Relaxed);
        self.code.word(descriptor + 56).store(properties, Ordering::Release);
        for (index, pair) in instructions.chunks(2).enumerate() {
            let word = u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or_default()) << 32;
            self.code.word(descriptor + 256 + index as u64 * 8).store(word, Ordering::Release);
        }
        descriptor
    }
}

pub(super) fn barrier(header: u64, dependencies: &[Signal], completion: Signal) -> [u64; 8] {
    let mut packet = [0; 8];
    packet[0] = header;
    for (word, dependency) in packet[1..6].iter_mut().zip(dependencies) {
        *word = dependency.0.0;
    }
    packet[7] = completion.0.0;
    packet
}

/// A dispatch of one wave with system-scope fences.
pub(super) fn dispatch(flags: u64, kernel: GpuVa, kernarg: GpuVa, completion: Signal) -> [u64; 8] {
    let header = 2 | flags | 2 << 9 | 2 << 11;
    let one_dimension_of_64 = 1 << 16 | 64 << 32 | 1 << 48;
    [header | one_dimension_of_64, 64 << 32 | 1, 1 << 32 | 1, 0, kernel.0, kernarg.0, 0, completion.0.0]
}
