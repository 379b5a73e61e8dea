//! The wrappers of `hsa` on the embedded runtime: every door opened once, as the harness opens it.
#![allow(clippy::unwrap_used, reason = "a test: what the runtime refuses must fail it")]

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aqlprobe::aql::{
    BarrierAnd, BarrierOr, BarrierValue, Dimensions, FenceScope, Header, KernelDispatch, PacketType, RawPacket, ValueCondition,
};
use aqlprobe::hsa::{
    Agent, AgentKind, Api, Buffer, Condition, Deadline, DeviceBuffer, Executable, HsaError, PoolUse, Profiling, Queue, QueueKind,
    Runtime, Signal, SignalKind, Status, WaitMode, WaitOutcome,
};
use aqlprobe::kernels::{self, Arguments, DevicePtr, VectorCopyArguments};

const SYSTEM_FENCES: Header = Header::new(PacketType::KernelDispatch).fences(FenceScope::System);

fn runtime() -> Runtime {
    Runtime::start(Api::embedded()).unwrap()
}

fn gpu(runtime: &Runtime) -> Agent {
    runtime.agents_of_kind(AgentKind::Gpu).unwrap().remove(0)
}

/// Long enough for any machine; nothing here takes a noticeable part of it.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn completes(signal: &Signal) {
    assert_eq!(signal.wait(Condition::Less(1), soon(), WaitMode::Blocked), WaitOutcome::Satisfied(0));
}

#[test]
fn the_founding_gpu_is_listed_beside_a_cpu() {
    let runtime = runtime();
    assert_eq!(runtime.agents_of_kind(AgentKind::Cpu).unwrap().len(), 1);
    let gpu = gpu(&runtime);
    assert_eq!((gpu.name(), gpu.wavefront_size()), ("gfx803", 64));
    assert_eq!(gpu.isas(), ["amdgcn-amd-amdhsa--gfx803"]);
    assert_eq!(gpu.pci().map(|address| address.to_string()).as_deref(), Some("0000:0b:00.0"));
    assert!(gpu.queue_packets().is_some_and(|packets| packets.contains(&64)));
    assert!(runtime.timestamp().unwrap() <= runtime.timestamp().unwrap());
}

#[test]
fn signal_operations_do_what_hsa_says() {
    let signal = Signal::create(&runtime(), 5).unwrap();
    signal.add(3);
    signal.subtract(1);
    assert_eq!(signal.load(), 7);
    assert_eq!((signal.exchange(-2), signal.load_relaxed()), (7, -2));
    assert_eq!((signal.compare_exchange(0, 9), signal.load()), (-2, -2));
    assert_eq!((signal.compare_exchange(-2, 9), signal.load()), (-2, 9));
    signal.store_relaxed(4);
    assert_eq!(signal.snapshot().map(|fields| (fields.kind, fields.value)), Some((SignalKind::User, Some(4))));
}

#[test]
fn a_wait_in_vain_ends_at_its_deadline_in_both_modes() {
    let signal = Signal::create(&runtime(), 1).unwrap();
    for mode in [WaitMode::Active, WaitMode::Blocked] {
        let deadline = Deadline::after(Duration::from_millis(20));
        assert_eq!(signal.wait(Condition::Less(1), deadline, mode), WaitOutcome::TimedOut { value: 1 });
        assert!(deadline.has_passed());
    }
}

#[test]
fn a_blocked_wait_ends_when_another_thread_stores_the_value() {
    let signal = Signal::create(&runtime(), 1).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| signal.store(0));
        completes(&signal);
    });
}

#[test]
fn each_kind_of_barrier_packet_completes_its_signal_when_its_dependency_is_met() {
    let runtime = runtime();
    let queue = Queue::create(&gpu(&runtime), 64, QueueKind::Single).unwrap();
    let [first, second, third, dependency] = [1, 1, 1, 1].map(|initial| Signal::create(&runtime, initial).unwrap());
    let header = Header::new(PacketType::Invalid);
    let mut batch = queue.ring().reserve(const { NonZeroU32::new(3).unwrap() }).unwrap();
    batch.write(&BarrierAnd::new(header, [dependency.handle(), 0, 0, 0, 0], first.handle()));
    batch.write(&BarrierOr::new(header, [first.handle(), dependency.handle(), 0, 0, 0], second.handle()));
    batch.write(&BarrierValue::new(header, dependency.handle(), 0xff, ValueCondition::Equal, 0, third.handle()));
    batch.ring();
    assert_eq!(first.load(), 1);
    dependency.store(0);
    [&first, &second, &third].into_iter().for_each(completes);
    assert_eq!((queue.write_index(), queue.errors().first()), (3, None));
}

#[test]
fn a_kernel_copies_a_buffer_and_its_time_can_be_asked_for() {
    const ITEMS: u32 = 1024;
    let runtime = runtime();
    let gpu = gpu(&runtime);
    let host = runtime.host_pool(PoolUse::FineGrained).unwrap();
    let [source, destination] = [(); 2].map(|()| Buffer::allocate(&host, ITEMS as usize * 4, &[&gpu]).unwrap());
    source.u32s().iter().zip(1..).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    let arguments = VectorCopyArguments { source: DevicePtr(source.address()), destination: DevicePtr(destination.address()) };
    let kernarg = Buffer::allocate(&runtime.host_pool(PoolUse::KernelArguments).unwrap(), 4096, &[&gpu]).unwrap();
    kernarg.write_bytes(0, &arguments.to_bytes()).unwrap();

    let code = kernels::select(&gpu.isas()[0]).unwrap();
    let kernel = Executable::load(&gpu, code.bytes).unwrap().kernel("vector_copy").unwrap();
    let done = Signal::create(&runtime, 1).unwrap();
    let queue = Queue::create(&gpu, 64, QueueKind::Multi).unwrap();
    queue.set_profiling(Profiling::On).unwrap();
    let mut packet = KernelDispatch::new(SYSTEM_FENCES, Dimensions::One, [ITEMS, 1, 1], [256, 1, 1], kernel.object);
    packet.private_segment_bytes = kernel.private_bytes;
    packet.group_segment_bytes = kernel.group_bytes;
    packet.kernarg_address = kernarg.address();
    packet.completion_signal = done.handle();
    assert_eq!(queue.ring().submit(&packet), Ok(0));
    completes(&done);

    assert!(destination.u32s().iter().zip(1..).all(|(word, value)| word.load(Ordering::Relaxed) == value));
    assert_eq!(queue.read_index(), 1);
    let time = gpu.dispatch_time(&done).unwrap();
    assert!(time.start <= time.end);
}

#[test]
fn device_memory_is_reached_by_copies() {
    let runtime = runtime();
    let gpu = gpu(&runtime);
    let host = runtime.host_pool(PoolUse::FineGrained).unwrap();
    let [mut source, mut destination] = [(); 2].map(|()| Buffer::allocate(&host, 4096, &[]).unwrap());
    source.fill_u64(0x0123_4567_89ab_cdef);
    let local = DeviceBuffer::allocate(&gpu.pool(PoolUse::CoarseGrained).unwrap(), 4096).unwrap();
    local.copy_from(&mut source).unwrap();
    local.copy_to(&mut destination).unwrap();
    assert!(destination.u64s().iter().all(|word| word.load(Ordering::Relaxed) == 0x0123_4567_89ab_cdef));
    let mut small = Buffer::allocate(&host, 8, &[]).unwrap();
    assert!(matches!(local.copy_to(&mut small), Err(HsaError::OutsideBuffer { bytes: 4096, .. })));
}

#[test]
fn an_invalid_packet_is_reported_to_the_queues_error_callback() {
    let runtime = runtime();
    let queue = Queue::create(&gpu(&runtime), 64, QueueKind::Single).unwrap();
    let mut words = [0; 16];
    words[0] = 0x3f;
    queue.ring().submit(&RawPacket(words)).unwrap();
    let deadline = soon();
    while queue.errors().first().is_none() && !deadline.has_passed() {
        std::thread::yield_now();
    }
    assert_eq!(queue.errors().first(), Some(Status::InvalidPacketFormat));
}

#[test]
fn what_the_runtime_refuses_is_an_error_with_its_name() {
    let runtime = runtime();
    let gpu = gpu(&runtime);
    for packets in [0, 63, 100] {
        assert!(matches!(Queue::create(&gpu, packets, QueueKind::Multi), Err(HsaError::Failed { call: "hsa_queue_create", .. })));
    }
    let error = Executable::load(&gpu, b"\x7fELF is not enough").unwrap_err();
    assert!(matches!(error, HsaError::Failed { .. }), "{error}");
    let code = kernels::select(&gpu.isas()[0]).unwrap();
    let missing = Executable::load(&gpu, code.bytes).unwrap().kernel("no_such_kernel").unwrap_err();
    assert_eq!(missing, HsaError::NoKernel { name: "no_such_kernel".to_owned() });
}

#[test]
fn a_runtime_may_be_started_again_after_it_was_shut_down() {
    for _ in 0..3 {
        let runtime = runtime();
        let signal = Signal::create(&runtime, 3).unwrap();
        drop(runtime);
        assert_eq!(signal.load(), 3);
    }
}
