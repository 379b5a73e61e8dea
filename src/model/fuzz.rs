//! Doors for the fuzz targets: parts of the device that nothing outside the model reaches, in one thread, on memory between guards.
//!
//! Only in builds of `fuzz/`. A stray access of the device ends the process, because around its memory nothing is accessible.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::address::GpuVa;
use super::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use super::doorbell::{Bell, Doorbell};
use super::gpu::{QueueDescriptor, QueueId};
use super::host::{HostProtocol, InterruptSink};
use super::isa::code::CodeCache;
use super::isa::execute::{Pause, run};
use super::isa::lds::Lds;
use super::isa::operand::{ScalarRegister, VectorRegister};
use super::isa::private::PrivateMemory;
use super::isa::wave::Wave;
use super::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use super::processor::{FaultLog, QueueProcessor, Turn, Workbench};
use super::target::{Target, WaveSize};
use super::wakeup::Wakeup;

/// Where the device's memory lies for it, to read and write, and a second time to execute.
pub const RAM: u64 = 0x2_0000_0000;
/// The same bytes, readable and executable.
pub const CODE: u64 = 0x3_0000_0000;
/// Bytes of memory.
pub const RAM_BYTES: usize = 16 * 1024;
/// Offset of the ring; the queue's `amd_queue_t` is at 0.
pub const RING: u64 = 0x400;
/// Inaccessible bytes on either side.
const GUARD_BYTES: usize = 1 << 20;

thread_local! {
    /// The memory of the last input: mapping it anew would take longer than most inputs do.
    static SPARE: Cell<Option<Ram>> = const { Cell::new(None) };
}

/// Memory between guards.
///
/// Invariant: `start` is the first of `RAM_BYTES` readable and writable bytes, inside a reservation that this value owns.
struct Ram {
    start: NonNull<u8>,
}

impl Ram {
    fn new() -> Self {
        let all = RAM_BYTES + 2 * GUARD_BYTES;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nobody's memory.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) };
        let base = base.expect("two megabytes of address space");
        // SAFETY: the range lies within the new mapping.
        let start = unsafe { base.cast::<u8>().add(GUARD_BYTES) };
        // SAFETY: as above.
        unsafe { mprotect(start.cast(), RAM_BYTES, MprotectFlags::READ | MprotectFlags::WRITE) }.expect("a range of our own");
        Self { start: NonNull::new(start).expect("mmap returns no null") }
    }

    /// Memory that holds as many of these bytes as fit, and zeros after them. No device runs on it yet.
    fn holding(bytes: &[u8]) -> Self {
        let ram = SPARE.take().unwrap_or_else(Self::new);
        let count = bytes.len().min(RAM_BYTES);
        // SAFETY: the invariant of the type; whoever kept this memory had dropped its device and map, so nobody else accesses it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ram.start.as_ptr(), count);
            ram.start.add(count).write_bytes(0, RAM_BYTES - count);
        }
        ram
    }

    /// Leaves the memory to the next input, when neither device nor map refers to it any more.
    fn keep(self) {
        SPARE.set(Some(self));
    }

    fn map(&self, memory: &MemoryMap) {
        for (va, protection) in [(RAM, Protection::ReadWrite), (CODE, Protection::ReadExecute)] {
            let host = HostPtr::new(self.start);
            let mapping = Mapping { va: GpuVa(va), length: RAM_BYTES as u64, host, home: Home::Host, protection };
            // SAFETY: the invariant of the type; both callers drop their map before this value, or before they keep it.
            unsafe { memory.map(mapping) }.expect("two ranges that do not meet");
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: the reservation that `new` made; no map refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().sub(GUARD_BYTES).cast(), RAM_BYTES + 2 * GUARD_BYTES) };
    }
}

struct Path(Admission);

impl Fabric for Path {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        self.0
    }
}

struct Silent;

impl InterruptSink for Silent {
    fn raise(&self, _event_id: u32) {}

    fn diagnose(&self, fault: &dyn fmt::Display) {
        assert!(!fault.to_string().is_empty());
    }
}

/// Takes bytes off the front of the input, zeros where it ends.
fn take<const BYTES: usize>(input: &mut &[u8]) -> [u8; BYTES] {
    let (head, rest) = input.split_at(BYTES.min(input.len()));
    *input = rest;
    let mut field = [0; BYTES];
    field[..head.len()].copy_from_slice(head);
    field
}

fn target(choice: u8) -> Target {
    Target::ALL[usize::from(choice) % Target::ALL.len()]
}

/// Turns of the queue: enough for what a turn leaves to the next, and few for kernels that never end.
const TURNS: usize = 12;

/// A queue over any memory. The input: what device it is, how long the ring, how far the doorbell was rung, where the read
/// index starts, then memory from its first byte: `amd_queue_t`, the ring at [`RING`], and whatever packets point at.
pub fn aql_queue(mut input: &[u8]) {
    let [device, ring] = take(&mut input);
    let [rung, read_index] = [(); 2].map(|()| u64::from_le_bytes(take(&mut input)));
    let ram = Ram::holding(input);
    let memory = Arc::new(MemoryMap::new());
    ram.map(&memory);
    let path = Path(if device & 0x10 == 0 { Admission::Performed } else { Admission::Dropped });
    let protocol = if device & 0x20 == 0 { HostProtocol::EMBEDDED } else { HostProtocol::ROCR_MODEL_MODE };
    let packets = NonZeroU32::new(1 << (ring % 8)).expect("a power of two");
    let descriptor = QueueDescriptor { amd_queue: GpuVa(RAM), ring: GpuVa(RAM + RING), packets };
    let doorbell = Arc::new(Doorbell::new(read_index, Arc::new(Wakeup::default())));
    doorbell.ring(rung);
    let faults = Arc::new(FaultLog::default());
    let bell = Bell::Register(doorbell);
    let mut queue = QueueProcessor::new(QueueId(0), descriptor, read_index, bell, Arc::clone(&memory), Arc::clone(&faults))
        .expect("the only queue has room for its shadow");
    let mut bench = Workbench::new(target(device), protocol, Arc::new(Silent));
    for _ in 0..TURNS {
        let bus = Bus::new(memory.view(), &path);
        if matches!(queue.turn(&bus, &mut bench), Turn::Idle | Turn::Waiting) {
            break;
        }
        drop(bus);
        bench.host.end_turn();
    }
    assert!(faults.count() <= 1, "a queue fails once");
    drop((queue, bench, memory));
    ram.keep();
}

/// Instructions that one input may execute.
const STEPS: u32 = 4096;

/// Any instruction words on any target, with registers that point into memory. The input: what wave it is, which lanes are active, the
/// seed of its registers, then code.
pub fn interpreter(mut input: &[u8]) {
    let [device] = take(&mut input);
    let [exec, seed] = [(); 2].map(|()| u64::from_le_bytes(take(&mut input)));
    let ram = Ram::holding(input);
    let memory = MemoryMap::new();
    ram.map(&memory);
    let path = Path(if device & 0x10 == 0 { Admission::Performed } else { Admission::Dropped });
    let target = target(device);
    let size = if target == Target::Gfx1100 && device & 0x20 != 0 { WaveSize::Lanes32 } else { WaveSize::Lanes64 };
    let mut wave = Wave::new();
    wave.reset(size, GpuVa(CODE), exec, 0);
    let private = PrivateMemory { base: GpuVa(RAM + 0x2000), bytes_per_lane: 64, lanes: size.lanes() as u32 };
    if device & 0x40 != 0 {
        wave.set_private_memory(private);
    }
    // Pairs of addresses and of anything.
    for pair in 0..16 {
        let register = ScalarRegister::new(2 * pair).expect("the first registers exist");
        let value = if pair % 2 == 0 { RAM + u64::from(pair) * 64 } else { seed.wrapping_mul(u64::from(pair)) };
        wave.set_scalar_pair(register, value);
    }
    for register in 0..8_u8 {
        let row = wave.vector_mut(VectorRegister(register));
        for (lane, value) in row.0.iter_mut().enumerate() {
            let anything = (seed.wrapping_add(lane as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
            *value = match register {
                0 => (RAM as u32).wrapping_add(16 * lane as u32),
                1 => (RAM >> 32) as u32,
                2 => 4 * lane as u32,
                _ => anything,
            };
        }
    }
    let mut lds = Lds::default();
    lds.reset(1024);
    let mut cache = CodeCache::new(target);
    let bus = Bus::new(memory.view(), &path);
    cache.revalidate(&bus.memory);
    let mut budget = STEPS;
    while budget > 0 {
        match run(&mut wave, &mut lds, &mut cache, &bus, &mut budget) {
            Pause::Asleep | Pause::AtBarrier => {}
            Pause::Preempted => assert_eq!(budget, 0, "preempted with budget left"),
            Pause::Failed(fault) => {
                assert!(!fault.to_string().is_empty());
                break;
            }
            Pause::Ended => break,
        }
    }
    drop(bus);
    drop(memory);
    ram.keep();
}
