//! The copy engine as the host sees it. Packets are written out as AMD's headers lay them out.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::model::bus::{Admission, Fabric, OperandWidth, RmwOp};
use crate::model::doorbell::{DoorbellPage, MemoryDoorbell, Rung};
use crate::model::host::{HostProtocol, InterruptSink};
use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use crate::model::target::Target;

const RING: GpuVa = GpuVa(0x1_0000);
const RING_BYTES: u32 = 1024;
const CONTROL: GpuVa = GpuVa(0x2_0000);
const READ_POINTER: GpuVa = CONTROL;
const WRITE_POINTER: GpuVa = GpuVa(CONTROL.0 + 64);
const DOORBELL: GpuVa = GpuVa(CONTROL.0 + 128);
const DATA: GpuVa = GpuVa(0x3_0000);
const DATA_BYTES: usize = 1 << 20;
const READ_ONLY: GpuVa = GpuVa(0x90_0000);

#[derive(Default)]
struct Host {
    raised: Mutex<Vec<(u32, u64)>>,
    diagnoses: Mutex<Vec<String>>,
    /// A word to look at when an interrupt is raised.
    watched: Option<&'static AtomicU64>,
}

impl InterruptSink for Host {
    fn raise(&self, event_id: u32) {
        let value = self.watched.map_or(0, |word| word.load(Ordering::SeqCst));
        self.raised.lock().unwrap().push((event_id, value));
    }

    fn diagnose(&self, fault: &dyn fmt::Display) {
        self.diagnoses.lock().unwrap().push(fault.to_string());
    }
}

struct Always(Admission);

impl Fabric for Always {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        self.0
    }
}

/// An engine with a ring, some memory and a host.
struct Rig {
    memory: MemoryMap,
    queue: RefCell<SdmaProcessor>,
    bench: RefCell<Workbench>,
    host: Arc<Host>,
    fabric: Always,
}

/// Memory for as long as the process lives, so that tests need not keep it apart from the map.
fn map(memory: &MemoryMap, va: GpuVa, bytes: usize, protection: Protection) -> &'static [AtomicU64] {
    let words: &'static [AtomicU64] = (0..bytes / 8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    let host = HostPtr::new(NonNull::from(words).cast());
    // SAFETY: leaked memory is there for ever.
    unsafe { memory.map(Mapping { va, length: bytes as u64, host, home: Home::Host, protection }) }.unwrap();
    words
}

impl Rig {
    fn new(target: Target) -> Self {
        Self::with(target, HostProtocol::ROCR_MODEL_MODE, Admission::Performed)
    }

    fn with(target: Target, protocol: HostProtocol, admission: Admission) -> Self {
        let memory = MemoryMap::new();
        for (va, bytes) in [(RING, RING_BYTES as usize), (CONTROL, 4096)] {
            map(&memory, va, bytes, Protection::ReadWrite);
        }
        let data = map(&memory, DATA, DATA_BYTES, Protection::ReadWrite);
        map(&memory, READ_ONLY, 4096, Protection::ReadOnly);
        let page = Arc::new(DoorbellPage::default());
        page.place(DOORBELL);
        let descriptor = SdmaDescriptor {
            ring: RING,
            ring_bytes: NonZeroU32::new(RING_BYTES).unwrap(),
            read_pointer: READ_POINTER,
            write_pointer: WRITE_POINTER,
        };
        let start = SdmaProcessor::check(&descriptor, &memory.view()).unwrap();
        let bell = Bell::Memory(MemoryDoorbell::new(page, QueueId(0), Rung::EndOfBytes, WRITE_POINTER, start));
        let host = Arc::new(Host { watched: Some(&data[1]), ..Host::default() });
        let sink = Arc::clone(&host) as Arc<dyn InterruptSink>;
        Self {
            memory,
            queue: RefCell::new(SdmaProcessor::new(QueueId(0), descriptor, start, bell)),
            bench: RefCell::new(Workbench::new(target, protocol, sink)),
            host,
            fabric: Always(admission),
        }
    }

    /// Puts packets into the ring; does not ring.
    fn write(&self, words: &[u32]) -> u64 {
        let view = self.memory.view();
        let start = view.load_u64(WRITE_POINTER).unwrap();
        for (at, word) in words.iter().enumerate() {
            view.store_u32(RING + (start + at as u64 * 4) % u64::from(RING_BYTES), *word).unwrap();
        }
        let end = start + words.len() as u64 * 4;
        view.store_u64(WRITE_POINTER, end).unwrap();
        end
    }

    fn ring(&self, end: u64) {
        self.memory.view().store_u64(DOORBELL, end).unwrap();
    }

    fn turn(&self) -> Turn {
        let bus = Bus::new(self.memory.view(), &self.fabric);
        let mut queue = self.queue.borrow_mut();
        queue.look(&bus.memory);
        let turn = queue.turn(&bus, &mut self.bench.borrow_mut());
        self.bench.borrow_mut().host.end_turn();
        turn
    }

    /// Executes packets to the end; gives the number of turns.
    fn run(&self, words: &[u32]) -> usize {
        let end = self.write(words);
        self.ring(end);
        for turns in 1..10_000 {
            self.turn();
            if self.u64(READ_POINTER) == end || self.queue.borrow().stopped {
                return turns;
            }
        }
        panic!("the engine did not get through");
    }

    fn u64(&self, at: GpuVa) -> u64 {
        self.memory.view().load_u64(at).unwrap()
    }

    fn set(&self, at: GpuVa, value: u64) {
        self.memory.view().store_u64(at, value).unwrap();
    }

    fn diagnosis(&self) -> String {
        self.host.diagnoses.lock().unwrap().join("\n")
    }
}

fn halves(va: GpuVa) -> [u32; 2] {
    [va.0 as u32, (va.0 >> 32) as u32]
}

fn copy_packet(source: GpuVa, destination: GpuVa, bytes: u32) -> Vec<u32> {
    [&[1, bytes - 1, 0][..], &halves(source), &halves(destination)].concat()
}

/// `ATOMIC` with `ADD64` of -1.
fn decrement(at: GpuVa) -> Vec<u32> {
    [&[10 | 47 << 25][..], &halves(at), &[u32::MAX, u32::MAX, 0, 0, 0]].concat()
}

fn poll_equal(at: GpuVa, reference: u32) -> Vec<u32> {
    [&[8 | 3 << 28 | 1 << 31][..], &halves(at), &[reference, u32::MAX, 0x0fff_0004]].concat()
}

#[test]
fn a_linear_copy_moves_every_byte_and_in_more_turns_than_one_if_it_is_long() {
    let rig = Rig::new(Target::Gfx942);
    let bytes = 300_001_u32;
    for at in 0..u64::from(bytes) {
        rig.memory.view().store_u8(DATA + at, ((at * 7) >> 3) as u8).unwrap();
    }
    let destination = DATA + 500_003;
    assert!(rig.run(&copy_packet(DATA, destination, bytes)) > 1);
    let view = rig.memory.view();
    for at in 0..u64::from(bytes) {
        assert_eq!(view.load_u8(destination + at), Ok(((at * 7) >> 3) as u8), "byte {at}");
    }
    assert_eq!(view.load_u8(destination + u64::from(bytes)), Ok(0));
}

#[test]
fn a_fill_stores_its_dword_count_plus_four_bytes_long() {
    let rig = Rig::new(Target::Gfx1100);
    let dwords = 5000;
    let header = 11 | 2 << 30;
    rig.run(&[&[header][..], &halves(DATA), &[0xdead_beef, (dwords - 1) * 4]].concat());
    let view = rig.memory.view();
    assert!((0..u64::from(dwords)).all(|at| view.load_u32(DATA + at * 4) == Ok(0xdead_beef)));
    assert_eq!(view.load_u32(DATA + u64::from(dwords) * 4), Ok(0));
}

#[test]
fn fence_timestamp_fillers_and_flushes_take_their_length_in_the_ring() {
    for target in [Target::Gfx942, Target::Gfx1100] {
        let rig = Rig::new(target);
        let hdp_flush = [8, 0, 0x8000_0000, 0, 0, 0];
        let filler_of_three = [2 << 16, 0xffff_ffff, 0xffff_ffff];
        let gcr: &[u32] = if target == Target::Gfx1100 { &[17 | 1 << 8, 0, 0, 0, 0] } else { &[] };
        let fence = [&[5][..], &halves(DATA), &[0x1234]].concat();
        let timestamp = [&[13 | 2 << 8][..], &halves(DATA + 8)].concat();
        let before = device_clock();
        rig.run(&[&hdp_flush[..], &filler_of_three, gcr, &fence, &timestamp, &[0, 0]].concat());
        assert_eq!(rig.diagnosis(), "", "{target}");
        assert_eq!(rig.u64(DATA), 0x1234);
        assert!((before..=device_clock()).contains(&rig.u64(DATA + 8)));
    }
}

#[test]
fn an_atomic_adds_through_the_fabric_and_is_lost_where_that_lets_nothing_pass() {
    for (admission, left) in [(Admission::Performed, 4), (Admission::Dropped, 5)] {
        let rig = Rig::with(Target::Gfx942, HostProtocol::ROCR_MODEL_MODE, admission);
        rig.set(DATA + 8, 5);
        rig.run(&decrement(DATA + 8));
        assert_eq!(rig.u64(DATA + 8), left);
    }
}

#[test]
fn in_model_mode_the_signals_event_is_set_before_its_value_moves() {
    for (protocol, raised) in [(HostProtocol::ROCR_MODEL_MODE, vec![(9, 1)]), (HostProtocol::EMBEDDED, vec![])] {
        let rig = Rig::with(Target::Gfx942, protocol, Admission::Performed);
        let (kind_user, event_id) = (1, 9);
        rig.set(DATA, kind_user);
        rig.set(DATA + 8, 1);
        rig.set(DATA + 24, event_id);
        rig.run(&decrement(DATA + 8));
        assert_eq!(rig.u64(DATA + 8), 0);
        assert_eq!(*rig.host.raised.lock().unwrap(), raised);
    }
}

#[test]
fn a_trap_raises_the_event_that_it_names() {
    let rig = Rig::new(Target::Gfx942);
    rig.run(&[6, 0xf000_0007, 6, 0]);
    assert_eq!(*rig.host.raised.lock().unwrap(), [(7, 0)]);
}

#[test]
fn a_poll_holds_everything_back_until_memory_has_the_value() {
    let rig = Rig::new(Target::Gfx942);
    let end = rig.write(&[poll_equal(DATA, 3), decrement(DATA + 8)].concat());
    rig.ring(end);
    assert_eq!(rig.turn(), Turn::Waiting);
    assert_eq!((rig.u64(READ_POINTER), rig.u64(DATA + 8)), (0, 0));
    rig.set(DATA, 3);
    assert_eq!(rig.turn(), Turn::Progressed);
    assert_eq!((rig.u64(READ_POINTER), rig.u64(DATA + 8)), (end, u64::MAX));
}

#[test]
fn nothing_is_executed_before_the_doorbell_rings_and_nothing_behind_it() {
    let rig = Rig::new(Target::Gfx942);
    let first = rig.write(&decrement(DATA));
    let second = rig.write(&decrement(DATA));
    assert_eq!(rig.turn(), Turn::Idle);
    rig.ring(first);
    assert_eq!(rig.turn(), Turn::Progressed);
    assert_eq!(rig.turn(), Turn::Idle);
    assert_eq!(rig.u64(DATA), u64::MAX);
    rig.ring(second);
    assert_eq!(rig.turn(), Turn::Progressed);
    assert_eq!(rig.u64(DATA), u64::MAX - 1);
}

#[test]
fn packets_may_wrap_around_the_end_of_the_ring() {
    let rig = Rig::new(Target::Gfx942);
    for _ in 0..100 {
        rig.run(&decrement(DATA));
        rig.run(&[0]);
    }
    assert_eq!(rig.u64(DATA), 0_u64.wrapping_sub(100));
}

#[test]
fn what_the_engine_cannot_do_stops_the_queue_and_says_where() {
    let far = GpuVa(0xdead_0000);
    for (words, said) in [
        (vec![0x55], "0x00000055"),
        (vec![4 << 8 | 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "operation 1, sub-operation 4"),
        (vec![17 | 1 << 8, 0, 0, 0, 0], "operation 17"),
        (vec![8 | 3 << 28, 0, 0, 0, 0, 0], "operation 8"),
        (copy_packet(DATA, far, 16), "0xdead0000"),
        (copy_packet(far, DATA, 16), "read"),
        (copy_packet(DATA, READ_ONLY, 16), "forbids"),
        (copy_packet(DATA + (DATA_BYTES as u64 - 8), DATA, 16), "0x130000"),
        (decrement(DATA + 4), "aligned"),
        (vec![1, 0, 0], "7 dwords"),
    ] {
        let rig = Rig::new(Target::Gfx942);
        rig.run(&words);
        assert!(rig.diagnosis().contains(said) && rig.diagnosis().contains("SDMA queue 0"), "{said}: {}", rig.diagnosis());
        rig.run(&decrement(DATA));
        assert_eq!(rig.u64(DATA), 0, "a stopped queue executes nothing more");
    }
}

#[test]
fn a_doorbell_beyond_the_ring_stops_the_queue() {
    let rig = Rig::new(Target::Gfx942);
    rig.write(&[0]);
    rig.ring(1 << 20);
    rig.turn();
    assert!(rig.diagnosis().contains("1048576 bytes are waiting"), "{}", rig.diagnosis());
}

#[test]
fn a_ring_that_is_no_power_of_two_or_not_mapped_is_refused() {
    let rig = Rig::new(Target::Gfx942);
    let good = rig.queue.borrow().descriptor;
    let check = |descriptor: SdmaDescriptor| SdmaProcessor::check(&descriptor, &rig.memory.view());
    let bytes = |bytes| NonZeroU32::new(bytes).unwrap();
    assert!(matches!(check(SdmaDescriptor { ring_bytes: bytes(1000), ..good }), Err(GpuError::SdmaRingLength { bytes: 1000 })));
    assert!(matches!(check(SdmaDescriptor { ring_bytes: bytes(16), ..good }), Err(GpuError::SdmaRingLength { bytes: 16 })));
    assert!(matches!(check(SdmaDescriptor { ring_bytes: bytes(2048), ..good }), Err(GpuError::QueueMemory(_))));
    assert!(matches!(check(SdmaDescriptor { read_pointer: GpuVa(8), ..good }), Err(GpuError::QueueMemory(_))));
    assert!(matches!(check(SdmaDescriptor { ring: RING + 2, ..good }), Err(GpuError::RingAlignment { .. })));
}

/// Headers of known operations with anything in the other bits, so that random packets get past the first check.
fn headers() -> impl Strategy<Value = u32> {
    (prop::sample::select(vec![0_u32, 1, 5, 6, 8, 10, 10 | 47 << 25, 11 | 2 << 30, 13 | 2 << 8, 17 | 1 << 8]), any::<u32>())
        .prop_flat_map(|(base, noise)| prop_oneof![Just(base), Just(base | noise & 0xffff_0000), Just(noise)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Memory outside the map does not exist for the engine, so "no unregistered memory" is "no crash"; the guard words around
    /// what is mapped read-only must stay as they are.
    #[test]
    fn any_packets_are_executed_or_refused(
        packets in prop::collection::vec((headers(), any::<[u32; 7]>(), any::<bool>()), 1..12),
        target in prop::sample::select(vec![Target::Gfx942, Target::Gfx1100]),
    ) {
        let rig = Rig::new(target);
        let words: Vec<u32> = packets
            .into_iter()
            .flat_map(|(header, mut body, near)| {
                if near {
                    // Operands in and about the mapped memory.
                    body = [body[0] & 0xffff, body[1] & 0xf_ffff, 0, body[3] & 0xf_ffff, 0, 0, 0];
                }
                std::iter::once(header).chain(body)
            })
            .collect();
        let end = rig.write(&words);
        rig.ring(end);
        for _ in 0..200 {
            rig.turn();
        }
        prop_assert!(rig.u64(READ_ONLY) == 0);
    }

    #[test]
    fn any_words_decode_or_are_refused(words in prop::collection::vec(any::<u32>(), 0..8), published in 0_u64..20) {
        for target in Target::ALL {
            if let Ok(decoded) = decode(target, &words, published) {
                prop_assert!(decoded.dwords >= 1 && u64::from(decoded.dwords) <= published);
            }
        }
    }
}
