//! The embedded device with one queue, for the benches that go all the way from a packet to its signal.

use std::error::Error;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

use aqlprobe::aql::{BarrierAnd, Dimensions, FenceScope, Header, KernelDispatch, PacketType};
use aqlprobe::hsa::{
    Agent, AgentKind, Api, Buffer, Condition, Deadline, Executable, PoolUse, Queue, QueueKind, Runtime, Signal, WaitMode,
};
use aqlprobe::kernels::{self, Arguments, Kernel};

/// Far beyond any dispatch here: reached only when the device is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// A device that is powered up, with its AtomicOps enabled.
pub struct Device {
    runtime: Runtime,
    agent: Agent,
    executable: Executable,
    queue: Queue,
    signal: Signal,
    /// What holds the device up.
    gate: Signal,
}

impl Device {
    pub fn power_up() -> Result<Self, Box<dyn Error>> {
        let runtime = Runtime::start(Api::embedded())?;
        let agent = runtime.agents_of_kind(AgentKind::Gpu)?.into_iter().next().ok_or("the embedded runtime has no GPU")?;
        let executable = Executable::load(&agent, kernels::select(agent.name())?.bytes)?;
        let queue = Queue::create(&agent, 1024, QueueKind::Single)?;
        let (signal, gate) = (Signal::create(&runtime, 1)?, Signal::create(&runtime, 1)?);
        Ok(Self { runtime, agent, executable, queue, signal, gate })
    }

    /// Host memory that the device reaches.
    #[allow(dead_code, reason = "not every bench needs memory")]
    pub fn buffer(&self, bytes: usize) -> Result<Buffer, Box<dyn Error>> {
        Ok(Buffer::allocate(&self.runtime.host_pool(PoolUse::FineGrained)?, bytes, &[&self.agent])?)
    }

    /// Places a kernel's arguments.
    #[allow(dead_code, reason = "not every bench's kernel takes arguments")]
    pub fn arguments(&self, arguments: &impl Arguments) -> Result<Buffer, Box<dyn Error>> {
        let segment = Buffer::allocate(&self.runtime.host_pool(PoolUse::KernelArguments)?, 4096, &[&self.agent])?;
        segment.write_bytes(0, &arguments.to_bytes())?;
        Ok(segment)
    }

    /// A packet of `items` work-items in one dimension with system fences, as the founding packet's.
    pub fn packet(&self, kernel: Kernel, items: u32, kernarg_address: u64) -> Result<KernelDispatch, Box<dyn Error>> {
        let object = self.executable.kernel(kernel.name())?.object;
        let header = Header::new(PacketType::KernelDispatch).fences(FenceScope::System);
        let mut packet = KernelDispatch::new(header, Dimensions::One, [items, 1, 1], kernel.workgroup(), object);
        packet.kernarg_address = kernarg_address;
        packet.completion_signal = self.signal.handle();
        Ok(packet)
    }

    /// Publishes `count` packets, one by one, while the device is held up by a barrier packet, and gives the time that took; then lets
    /// the device go and waits for the last of them.
    #[allow(dead_code, reason = "one bench's")]
    pub fn publish_run(&self, packet: &KernelDispatch, count: u32) -> Duration {
        let ring = self.queue.ring();
        self.gate.store_relaxed(1);
        self.signal.store_relaxed(i64::from(count));
        let gate = BarrierAnd::new(Header::new(PacketType::BarrierAnd), [self.gate.handle(), 0, 0, 0, 0], 0);
        let behind_the_gate = ring.submit(&gate).expect("the ring is empty") + 1;
        while self.queue.read_index() < behind_the_gate {
            spin_loop();
        }
        let start = Instant::now();
        for _ in 0..count {
            ring.submit(packet).expect("a run fits the ring");
        }
        let elapsed = start.elapsed();
        self.gate.store(0);
        let outcome = self.signal.wait(Condition::Less(1), Deadline::after(PATIENCE), WaitMode::Active);
        assert!(outcome.is_satisfied(), "the signal did not fire: {outcome:?}");
        elapsed
    }

    /// Publishes a packet, as the only producer of the queue, and waits, actively, for its signal.
    #[allow(dead_code, reason = "not every bench dispatches")]
    pub fn complete(&mut self, packet: &KernelDispatch) {
        self.signal.store_relaxed(1);
        self.queue.ring_mut().sole_producer().submit(packet).expect("one packet at a time fits a ring of 1024");
        let outcome = self.signal.wait(Condition::Less(1), Deadline::after(PATIENCE), WaitMode::Active);
        assert!(outcome.is_satisfied(), "the signal did not fire: {outcome:?}");
    }
}
