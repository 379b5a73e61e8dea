//! The endpoint as a driver in a guest and its client find it, without a socket.
//!
//! Offsets into `amd_queue_t` and `amd_signal_t` are written out as AMD's headers have them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::pages::{PAGE_BYTES, SharedMemory};
use super::*;
use crate::model::address::GpuVa;
use crate::model::endpoint_registers::{Command, MAGIC, Register, Status, VRAM_BYTES};
use crate::model::target::Target;
use crate::pci::tree::Completers;

/// Where the guest's memory is for the device.
pub(super) const RAM: GpuVa = GpuVa(0x100_0000_0000);
pub(super) const RAM_BYTES: u64 = 64 * PAGE_BYTES;
const COMMAND: u64 = 0x04;
const DEVICE_CONTROL_2: u64 = 0x80;
const BUS_MASTER: u16 = 0x04;
const REQUESTER_ENABLE: u16 = 0x40;
/// Far beyond what any of these tests needs; reached only when something is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

// Places in the guest's memory.
const AMD_QUEUE: u64 = 0x0000;
const RING: u64 = 0x1000;
const SIGNAL: u64 = 0x8000;
const PACKETS: u64 = 64;

pub(super) fn direct(root_port: Completers) -> ModelledPath {
    ModelledPath { root_port, switch: None }
}

pub(super) fn options(path: ModelledPath) -> EndpointOptions {
    EndpointOptions {
        target: Target::Gfx803,
        requester: RequesterEnable::Writable,
        completer: EndpointCompleter::Advertised,
        path,
        faults: None,
    }
}

pub(super) struct Rig {
    pub(super) endpoint: Endpoint,
    pub(super) ram: SharedMemory,
}

impl Rig {
    pub(super) fn without_maps(path: ModelledPath) -> Self {
        let endpoint = Endpoint::new(&options(path), Arc::new(|_| {})).unwrap();
        Self { endpoint, ram: SharedMemory::new("guest", RAM_BYTES).unwrap() }
    }

    fn over(path: ModelledPath) -> Self {
        let mut rig = Self::without_maps(path);
        rig.map(RAM, RAM_BYTES, 0).unwrap();
        rig
    }

    /// The guest's memory is mapped, the device is bus master and may send AtomicOps, and they arrive.
    fn ready() -> Self {
        let mut rig = Self::over(direct(Completers::Both));
        rig.config(COMMAND, BUS_MASTER);
        rig.config(DEVICE_CONTROL_2, REQUESTER_ENABLE);
        rig
    }

    pub(super) fn map(&mut self, iova: GpuVa, bytes: u64, file_offset: u64) -> Result<Reachability, DmaError> {
        let file = self.ram.file().try_clone_to_owned().unwrap();
        self.endpoint.map_dma(DmaMap { iova, bytes, file_offset, access: DmaAccess::ReadWrite }, Some(file))
    }

    pub(super) fn config(&mut self, at: u64, value: u16) {
        self.endpoint.write(Region::Config, at, &value.to_le_bytes()).unwrap();
    }

    pub(super) fn register(&mut self, register: Register) -> u64 {
        let mut word = [0; 8];
        self.endpoint.read(Region::Registers, register.offset(), &mut word).unwrap();
        u64::from_le_bytes(word)
    }

    pub(super) fn set(&mut self, register: Register, value: u64) {
        self.endpoint.write(Region::Registers, register.offset(), &value.to_le_bytes()).unwrap();
    }

    pub(super) fn command(&mut self, command: Command) -> Status {
        self.set(Register::Command, command.number());
        Status::from_number(self.register(Register::Status)).unwrap()
    }

    pub(super) fn word(&self, offset: u64) -> u64 {
        self.ram.word((offset / 8) as usize).unwrap().load(Ordering::Acquire)
    }

    pub(super) fn put(&self, offset: u64, value: u64) {
        self.ram.word((offset / 8) as usize).unwrap().store(value, Ordering::Release);
    }

    /// An empty ring and its `amd_queue_t` in the guest's memory.
    pub(super) fn lay_out_queue(&mut self) {
        self.put(AMD_QUEUE + 0x80, 0);
        self.put(AMD_QUEUE + 0xc0, 0);
        (0..PACKETS).for_each(|slot| self.put(RING + slot * 64, 1));
        self.set(Register::Argument0, (RAM + AMD_QUEUE).0);
        self.set(Register::Argument1, (RAM + RING).0);
        self.set(Register::Argument2, PACKETS);
    }

    pub(super) fn queue(&mut self) -> u64 {
        self.lay_out_queue();
        assert_eq!(self.command(Command::CreateQueue), Status::Ok);
        self.register(Register::Result)
    }

    pub(super) fn ring(&mut self, queue: u64, index: u64) {
        self.endpoint.write(Region::Doorbells, queue * 8, &index.to_le_bytes()).unwrap();
    }

    /// A barrier packet without dependencies, whose completion decrements the signal at an address.
    pub(super) fn submit_barrier(&mut self, queue: u64, index: u64, signal: GpuVa) {
        const BARRIER_AND: u64 = 3;
        let slot = RING + index % PACKETS * 64;
        (1..7).for_each(|word| self.put(slot + word * 8, 0));
        self.put(slot + 56, signal.0);
        self.put(slot, BARRIER_AND);
        self.ring(queue, index);
    }

    pub(super) fn host_signal(&self) -> GpuVa {
        self.put(SIGNAL, 1);
        self.put(SIGNAL + 8, 1);
        self.put(SIGNAL + 16, 0);
        self.put(SIGNAL + 24, 0);
        RAM + SIGNAL
    }

    pub(super) fn eventually(&mut self, what: &str, condition: impl Fn(&mut Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen");
            std::thread::yield_now();
        }
    }

    pub(super) fn eventually_completed(&mut self) {
        self.eventually("the completion", |rig| rig.word(SIGNAL + 8) == 0);
    }

    pub(super) fn eventually_read(&mut self, packets: u64) {
        self.eventually("the read index", |rig| rig.word(AMD_QUEUE + 0x80) == packets);
    }

    fn counters(&mut self) -> [u64; 7] {
        std::array::from_fn(|index| self.register(Register::Fabric(index as u8)))
    }
}

#[test]
fn the_registers_introduce_the_device() {
    let mut rig = Rig::without_maps(direct(Completers::Both));
    assert_eq!(rig.register(Register::Magic), MAGIC);
    assert_eq!(rig.register(Register::Version), 1);
    assert_eq!(rig.register(Register::Target), 80003);
    assert_eq!(rig.register(Register::VramBytes), 64 << 20);
    let (first, second) = (rig.register(Register::Clock), rig.register(Register::Clock));
    assert!(0 < first && first <= second);
    rig.set(Register::Magic, 0);
    assert_eq!(rig.register(Register::Magic), MAGIC, "read-only");
}

#[test]
fn a_packet_completes_when_bus_master_requester_and_path_allow() {
    let mut rig = Rig::ready();
    let queue = rig.queue();
    let signal = rig.host_signal();
    rig.submit_barrier(queue, 0, signal);
    rig.eventually_completed();
    assert_eq!(rig.counters(), [1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn without_requester_enable_the_packet_is_consumed_and_its_signal_never_fires() {
    let mut rig = Rig::ready();
    rig.config(DEVICE_CONTROL_2, 0);
    let queue = rig.queue();
    let signal = rig.host_signal();
    rig.submit_barrier(queue, 0, signal);
    rig.eventually("the drop", |rig| rig.counters() == [0, 1, 0, 0, 0, 0, 0]);
    assert_eq!((rig.word(AMD_QUEUE + 0x80), rig.word(SIGNAL + 8)), (1, 1));
    rig.config(DEVICE_CONTROL_2, REQUESTER_ENABLE);
    rig.submit_barrier(queue, 1, signal);
    rig.eventually_completed();
}

#[test]
fn atomic_ops_end_where_the_modelled_path_ends() {
    let switched = |switch| ModelledPath { root_port: Completers::Both, switch: Some(switch) };
    // In the order of the counters' file: 3 unsupported request, 4 routing unsupported, 5 egress blocked. A signal is 64 bits wide.
    for (path, counter) in [
        (direct(Completers::Both), 0),
        (direct(Completers::Neither), 3),
        (direct(Completers::Only32), 3),
        (direct(Completers::Only64), 0),
        (switched(Switch::Routing), 0),
        (switched(Switch::NoRouting), 4),
        (switched(Switch::EgressBlocked), 5),
        (ModelledPath { root_port: Completers::Neither, switch: Some(Switch::Routing) }, 3),
    ] {
        let mut rig = Rig::over(path);
        rig.config(COMMAND, BUS_MASTER);
        rig.config(DEVICE_CONTROL_2, REQUESTER_ENABLE);
        let queue = rig.queue();
        let signal = rig.host_signal();
        rig.submit_barrier(queue, 0, signal);
        let expected: [u64; 7] = std::array::from_fn(|index| u64::from(index == counter));
        rig.eventually("the AtomicOp", |rig| rig.counters() == expected);
        rig.eventually("its effect", |rig| rig.word(SIGNAL + 8) == u64::from(counter != 0));
    }
}

#[test]
fn without_bus_master_no_request_leaves() {
    let mut rig = Rig::ready();
    rig.config(COMMAND, 0);
    rig.lay_out_queue();
    assert_eq!(rig.command(Command::CreateQueue), Status::BusMasterDisabled);
    rig.config(COMMAND, BUS_MASTER);
    let queue = rig.queue();
    rig.config(COMMAND, 0);
    let signal = rig.host_signal();
    rig.submit_barrier(queue, 0, signal);
    // Long enough for a device that did not look at the bit; a slow machine can only make this pass.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((rig.word(AMD_QUEUE + 0x80), rig.word(SIGNAL + 8)), (0, 1));
    rig.config(COMMAND, BUS_MASTER);
    rig.eventually_completed();
}

#[test]
fn a_ring_may_lie_in_pages_that_are_mapped_one_by_one_in_any_order() {
    let mut rig = Rig::without_maps(direct(Completers::Both));
    rig.config(COMMAND, BUS_MASTER);
    rig.config(DEVICE_CONTROL_2, REQUESTER_ENABLE);
    let pages = RAM_BYTES / PAGE_BYTES;
    for page in (0..pages).map(|page| page * 37 % pages) {
        rig.map(RAM + page * PAGE_BYTES, PAGE_BYTES, page * PAGE_BYTES).unwrap();
    }
    let queue = rig.queue();
    // Once around the ring, which is longer than a page of 64 packets together with what follows it.
    for index in 0..PACKETS + 1 {
        let signal = rig.host_signal();
        rig.submit_barrier(queue, index, signal);
        rig.eventually_completed();
    }
}

#[test]
fn a_ring_that_crosses_pages_needs_all_of_them() {
    let mut rig = Rig::ready();
    rig.lay_out_queue();
    rig.set(Register::Argument2, 256);
    assert_eq!(rig.command(Command::CreateQueue), Status::Ok);
    rig.endpoint.unmap_all_dma();
    for page in [0, 1, 2, 4] {
        rig.map(RAM + page * PAGE_BYTES, PAGE_BYTES, page * PAGE_BYTES).unwrap();
    }
    assert_eq!(rig.command(Command::CreateQueue), Status::QueueMemory);
    rig.map(RAM + 3 * PAGE_BYTES, PAGE_BYTES, 3 * PAGE_BYTES).unwrap();
    assert_eq!(rig.command(Command::CreateQueue), Status::Ok);
}

#[test]
fn malformed_queues_are_refused_by_status() {
    let mut rig = Rig::ready();
    for (register, value, status) in [
        (Register::Argument2, 0, Status::RingLength),
        (Register::Argument2, 63, Status::RingLength),
        (Register::Argument2, 1 << 32 | 64, Status::RingLength),
        (Register::Argument2, 1 << 31, Status::QueueMemory),
        (Register::Argument1, (RAM + RING + 8).0, Status::RingAlignment),
        (Register::Argument1, u64::MAX - 63, Status::QueueMemory),
        (Register::Argument1, RAM.0 + RAM_BYTES - 64, Status::QueueMemory),
        (Register::Argument0, 0, Status::QueueMemory),
        (Register::Argument0, u64::MAX, Status::QueueMemory),
        (Register::Argument0, (RAM + 4).0, Status::QueueMemory),
    ] {
        rig.lay_out_queue();
        rig.set(register, value);
        assert_eq!(rig.command(Command::CreateQueue), status, "{register:?} = {value:#x}");
    }
    rig.set(Register::Command, 77);
    assert_eq!(rig.register(Register::Status), Status::UnknownCommand.number());
}

#[test]
fn queue_ids_are_given_back_and_only_live_ones_can_be_destroyed() {
    let mut rig = Rig::ready();
    let limit = rig.register(Register::QueueLimit);
    for _ in 0..limit {
        rig.queue();
    }
    assert_eq!(rig.command(Command::CreateQueue), Status::TooManyQueues);
    rig.set(Register::Argument0, 7);
    assert_eq!(rig.command(Command::DestroyQueue), Status::Ok);
    assert_eq!(rig.command(Command::DestroyQueue), Status::NoSuchQueue);
    rig.set(Register::Argument0, u64::MAX);
    assert_eq!(rig.command(Command::DestroyQueue), Status::NoSuchQueue);
    assert_eq!(rig.queue(), 7);
}

#[test]
fn registers_take_two_halves_for_one_access() {
    let mut rig = Rig::ready();
    rig.lay_out_queue();
    let half = |rig: &mut Rig, register: Register, shift: u64, value: u64| {
        let bytes = ((value >> (shift * 8)) as u32).to_le_bytes();
        rig.endpoint.write(Region::Registers, register.offset() + shift, &bytes).unwrap();
    };
    for (register, value) in [(Register::Argument0, (RAM + AMD_QUEUE).0), (Register::Argument1, (RAM + RING).0)] {
        rig.set(register, u64::MAX);
        half(&mut rig, register, 0, value);
        half(&mut rig, register, 4, value);
        assert_eq!(rig.register(register), value);
    }
    half(&mut rig, Register::Command, 0, Command::CreateQueue.number());
    assert_eq!(rig.register(Register::Status), Status::Ok.number());
    half(&mut rig, Register::Command, 4, 0);
    assert_eq!(rig.register(Register::Status), Status::Ok.number(), "the high half is no command");
}

#[test]
fn memory_that_is_taken_away_stops_the_queue_and_the_registers_say_why() {
    let mut rig = Rig::ready();
    let queue = rig.queue();
    rig.endpoint.unmap_dma(RAM, RAM_BYTES).unwrap();
    rig.ring(queue, 0);
    rig.eventually("the fault", |rig| rig.register(Register::FaultCount) == 1);
    let length = rig.register(Register::FaultLength) as usize;
    let mut text = vec![0; length];
    rig.endpoint.read(Region::Registers, Register::FaultText(0).offset(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("memory fault") && text.contains("0x10000001000"), "{text}");
}

#[test]
fn a_reset_ends_queues_and_keeps_maps() {
    let mut rig = Rig::ready();
    let first = rig.queue();
    let signal = rig.host_signal();
    rig.submit_barrier(first, 0, signal);
    rig.eventually_completed();
    rig.endpoint.reset().unwrap();
    assert_eq!((rig.counters(), rig.register(Register::Argument1)), ([0; 7], 0));
    let mut control = [0; 2];
    rig.endpoint.read(Region::Config, DEVICE_CONTROL_2, &mut control).unwrap();
    assert_eq!(control, [0, 0]);
    rig.set(Register::Argument0, first);
    assert_eq!(rig.command(Command::DestroyQueue), Status::NoSuchQueue);
    rig.config(COMMAND, BUS_MASTER);
    rig.config(DEVICE_CONTROL_2, REQUESTER_ENABLE);
    let second = rig.queue();
    let signal = rig.host_signal();
    rig.submit_barrier(second, 0, signal);
    rig.eventually_completed();
}

#[test]
fn atomics_to_the_devices_own_memory_need_no_path() {
    let mut rig = Rig::ready();
    rig.config(DEVICE_CONTROL_2, 0);
    let vram = GpuVa(0x7f00_0000_0000);
    rig.set(Register::VramBase, vram.0);
    assert_eq!((rig.register(Register::Status), rig.register(Register::VramBase)), (0, vram.0));
    let queue = rig.queue();
    for (at, value) in [(0x2000, 1_u64), (0x2008, 5), (0x2010, 0)] {
        rig.endpoint.write(Region::Vram, at, &value.to_le_bytes()).unwrap();
    }
    rig.submit_barrier(queue, 0, vram + 0x2000);
    rig.eventually("the completion in device memory", |rig| {
        let mut value = [0; 8];
        rig.endpoint.read(Region::Vram, 0x2008, &mut value).unwrap();
        value == 4_u64.to_le_bytes()
    });
    assert_eq!(rig.counters(), [0; 7]);
}

#[test]
fn device_memory_goes_only_where_nothing_else_is() {
    let mut rig = Rig::ready();
    for base in [RAM.0, RAM.0 - VRAM_BYTES + PAGE_BYTES, 0x7f00_0000_0800, (1 << 48) - PAGE_BYTES, u64::MAX - 4095] {
        rig.set(Register::VramBase, base);
        assert_eq!(rig.register(Register::Status), Status::VramAddress.number(), "{base:#x}");
        assert_eq!(rig.register(Register::VramBase), 0);
    }
    rig.set(Register::VramBase, RAM.0 - VRAM_BYTES);
    assert_eq!(rig.register(Register::Status), Status::Ok.number());
    assert!(matches!(rig.map(GpuVa(RAM.0 - PAGE_BYTES), PAGE_BYTES, 0), Err(DmaError::Device(_))));
    rig.set(Register::VramBase, 0);
    assert_eq!(rig.register(Register::Status), Status::Ok.number());
    assert!(rig.map(GpuVa(RAM.0 - PAGE_BYTES), PAGE_BYTES, 0).is_ok());
}

#[test]
fn dma_maps_must_be_whole_pages_of_a_memory_file_that_has_them() {
    let mut rig = Rig::without_maps(direct(Completers::Both));
    for (iova, bytes, file_offset) in [
        (RAM + 8, PAGE_BYTES, 0),
        (RAM, PAGE_BYTES + 8, 0),
        (RAM, 0, 0),
        (RAM, PAGE_BYTES, 8),
        (RAM, PAGE_BYTES, u64::MAX - 4095),
        (GpuVa(u64::MAX - 4095), PAGE_BYTES, 0),
        (GpuVa(1 << 48), PAGE_BYTES, 0),
    ] {
        assert!(matches!(rig.map(iova, bytes, file_offset), Err(DmaError::BadRange { .. })), "{iova} {bytes} {file_offset}");
    }
    assert!(matches!(rig.map(RAM, RAM_BYTES + PAGE_BYTES, 0), Err(DmaError::File { .. })));
    assert!(matches!(rig.map(RAM, PAGE_BYTES, RAM_BYTES), Err(DmaError::File { .. })));
    let pipe = std::io::pipe().unwrap().0.into();
    let map = DmaMap { iova: RAM, bytes: PAGE_BYTES, file_offset: 0, access: DmaAccess::ReadOnly };
    assert!(matches!(rig.endpoint.map_dma(map, Some(pipe)), Err(DmaError::File { .. })));
    assert!(matches!(rig.endpoint.map_dma(map, None), Ok(Reachability::WithoutFile)));
    assert!(matches!(rig.map(RAM, PAGE_BYTES, 0), Err(DmaError::Overlap { .. })));
    assert!(matches!(rig.map(GpuVa((64 << 30) - PAGE_BYTES), 2 * PAGE_BYTES, 0), Ok(Reachability::Reachable)));
}

#[test]
fn an_unmap_takes_whole_maps_and_as_many_as_it_covers() {
    let mut rig = Rig::without_maps(direct(Completers::Both));
    for page in [0, 1, 4] {
        rig.map(RAM + page * PAGE_BYTES, PAGE_BYTES, 0).unwrap();
    }
    rig.map(RAM + 8 * PAGE_BYTES, 4 * PAGE_BYTES, 0).unwrap();
    for (page, pages) in [(8, 2), (9, 1), (10, 2), (11, 9), (0, 9)] {
        let cut = rig.endpoint.unmap_dma(RAM + page * PAGE_BYTES, pages * PAGE_BYTES);
        assert!(matches!(cut, Err(DmaError::PartOfMap { .. })), "{page} {pages}");
    }
    assert_eq!(rig.endpoint.unmap_dma(RAM, 5 * PAGE_BYTES).unwrap(), 3);
    assert_eq!(rig.endpoint.unmap_dma(RAM, 5 * PAGE_BYTES).unwrap(), 0);
    assert_eq!(rig.endpoint.unmap_dma(GpuVa(0), u64::MAX).unwrap(), 1);
    assert_eq!(rig.endpoint.unmap_dma(GpuVa(u64::MAX), u64::MAX).unwrap(), 0);
}

#[test]
fn a_signal_with_an_event_raises_the_interrupt() {
    let mut rig = Rig::ready();
    let event = eventfd(0, EventfdFlags::empty()).unwrap();
    let (trigger, eventfds, msi) = (1 << 5, 1 << 2, 1);
    rig.endpoint.set_interrupts(msi, trigger | eventfds, 0, 1, vec![event.try_clone().unwrap()]).unwrap();
    let queue = rig.queue();
    let signal = rig.host_signal();
    rig.put(SIGNAL + 16, (RAM + SIGNAL + 64).0);
    rig.put(SIGNAL + 24, 9);
    rig.submit_barrier(queue, 0, signal);
    let raised = || {
        let mut count = [0; 8];
        // It does not block: the device must not be held up by whoever holds the other end.
        rustix::io::read(&event, &mut count).is_ok().then(|| u64::from_ne_bytes(count))
    };
    rig.eventually("the interrupt", |_| raised() == Some(1));
    assert_eq!((rig.register(Register::InterruptCount), rig.word(SIGNAL + 64)), (1, 9));
}
