//! The device's thread: gives every queue its turn, and sleeps when nothing moves.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::bus::Bus;
use super::doorbell::{Bell, Doorbell, DoorbellPage, MemoryDoorbell, Rung};
use super::fabric::PciPath;
use super::gpu::{Gpu, GpuError, InterruptSink, QueueDescriptor, QueueId, SdmaDescriptor};
use super::host::HostProtocol;
use super::memory::{Access, MapView, MemoryMap};
use super::placement::Placement;
use super::processor::{FaultLog, QueueFault, QueueProcessor, Turn, Workbench};
use super::sdma::SdmaProcessor;
use super::target::Target;
use super::wakeup::Wakeup;
use crate::faults::{Fault, FaultPlan, Injector, Place};
use crate::hsa::sys::amd_queue_t;

/// How long the thread keeps looking after the last thing it did, because the next packet often follows at once.
const SPIN: Duration = Duration::from_micros(50);
/// Distance between looks at memory that a queue waits for and that rings no doorbell.
const POLL: Duration = Duration::from_micros(50);
/// Looks at idle queues between two looks at the clock, which would delay the sight of a doorbell by more than all of them.
const LOOKS_PER_CLOCK_READ: u32 = 32;
/// The longest sleep; doorbells and commands end it at once.
const DOZE: Duration = Duration::from_millis(250);
/// Distance between looks at doorbells in memory, which end no sleep, while the device is in use. A look costs about a microsecond.
const BELL_POLL: Duration = Duration::from_micros(50);
/// The same once nothing has happened for [`UNUSED`]: the machine's cores belong to the host then, which waits by spinning.
const SLOW_BELL_POLL: Duration = Duration::from_micros(200);
/// After this long without a packet the device counts as unused.
const UNUSED: Duration = Duration::from_millis(20);
/// Rounds of a kernel shorter than this mean that its waves sleep rather than compute.
const SHORT_ROUND: Duration = Duration::from_micros(3);
/// A kernel that has run this long without any packet completing lets other threads of the machine go first.
const LONG_RUN: Duration = Duration::from_millis(100);
/// Distance between looks at whether the thread is still there while waiting for it.
const LIVENESS: Duration = Duration::from_millis(100);
/// The longest wait for a quantum to end.
const DETACH_LIMIT: Duration = Duration::from_secs(10);

/// Nanoseconds of CLOCK_MONOTONIC.
pub(super) fn device_clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Monotonic time starts at zero at boot and never goes negative.
    (now.tv_sec as u64) * Gpu::TIMESTAMP_HZ + now.tv_nsec as u64
}

/// A queue of either engine.
#[expect(clippy::large_enum_variant, reason = "each lies in a box of its own")]
enum AnyQueue {
    Aql(QueueProcessor),
    Sdma(SdmaProcessor),
}

impl AnyQueue {
    fn id(&self) -> QueueId {
        match self {
            Self::Aql(queue) => queue.id(),
            Self::Sdma(queue) => queue.id(),
        }
    }

    fn must_be_polled(&self) -> bool {
        match self {
            Self::Aql(queue) => queue.bell().must_be_polled(),
            Self::Sdma(queue) => queue.bell().must_be_polled(),
        }
    }

    fn look(&mut self, memory: &MapView<'_>) {
        match self {
            Self::Aql(queue) => queue.look(memory),
            Self::Sdma(queue) => queue.look(memory),
        }
    }

    fn has_work(&self) -> bool {
        match self {
            Self::Aql(queue) => queue.has_work(),
            Self::Sdma(queue) => queue.has_work(),
        }
    }

    fn turn(&mut self, bus: &Bus<'_>, bench: &mut Workbench) -> Turn {
        match self {
            Self::Aql(queue) => queue.turn(bus, bench),
            Self::Sdma(queue) => queue.turn(bus, bench),
        }
    }
}

enum Command {
    Attach(Box<AnyQueue>),
    Detach { queue: QueueId, done: SyncSender<()> },
}

/// What the door and the thread share.
struct Shared {
    memory: Arc<MemoryMap>,
    path: PciPath,
    faults: Arc<FaultLog>,
    commands: Mutex<Vec<Command>>,
    has_commands: AtomicBool,
    powered: AtomicBool,
    gone: AtomicBool,
    wakeup: Arc<Wakeup>,
}

impl Shared {
    fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.has_commands.store(true, Ordering::SeqCst);
        self.wakeup.wake();
    }

    fn power_off(&self) {
        self.powered.store(false, Ordering::SeqCst);
        self.wakeup.wake();
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running device, as its door holds it.
pub(super) struct Device {
    shared: Arc<Shared>,
    queue_ids: Mutex<BTreeSet<u32>>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    pub(super) fn start(
        target: Target,
        path: PciPath,
        host: HostProtocol,
        faults: Option<&FaultPlan>,
        interrupts: Arc<dyn InterruptSink>,
    ) -> io::Result<Self> {
        let faults = faults.and_then(|plan| Injector::new(plan, Place::Device));
        let shared = Arc::new(Shared {
            memory: Arc::new(MemoryMap::new()),
            path,
            faults: Arc::default(),
            commands: Mutex::default(),
            has_commands: AtomicBool::new(false),
            powered: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            wakeup: Arc::default(),
        });
        let workers_share = Arc::clone(&shared);
        let work = move || {
            let bench = Workbench::new(target, host, Arc::clone(&interrupts));
            let (queues, told, placement) = (Vec::new(), BTreeMap::new(), Placement::default());
            let worker = Worker { shared: workers_share, queues, bench, faults, told, placement };
            // Nothing of the worker is used after a panic: its queues stand still.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
                interrupts.diagnose(&format_args!("the device's thread panicked, every queue stands still: {}", said(&*panic)));
            }
        };
        let thread = thread::Builder::new().name("gpu".to_owned()).spawn(work)?;
        Ok(Self { shared, queue_ids: Mutex::default(), thread: Some(thread) })
    }

    pub(super) fn memory(&self) -> &MemoryMap {
        &self.shared.memory
    }

    pub(super) fn path(&self) -> &PciPath {
        &self.shared.path
    }

    pub(super) fn last_fault(&self) -> Option<QueueFault> {
        self.shared.faults.last()
    }

    pub(super) fn fault_count(&self) -> u64 {
        self.shared.faults.count()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::SeqCst)
    }

    pub(super) fn attach(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Arc<Doorbell>), GpuError> {
        let read_index = self.check(&descriptor)?;
        let doorbell = Arc::new(Doorbell::new(read_index, Arc::clone(&self.shared.wakeup)));
        let id = self.admit(|id| self.aql(id, descriptor, read_index, Bell::Register(Arc::clone(&doorbell))))?;
        Ok((id, doorbell))
    }

    pub(super) fn attach_polled(&self, descriptor: QueueDescriptor, page: &Arc<DoorbellPage>) -> Result<QueueId, GpuError> {
        let read_index = self.check(&descriptor)?;
        let write_index = descriptor.amd_queue + offset_of!(amd_queue_t, write_dispatch_id) as u64;
        self.admit(|id| {
            page.reset(id, &self.shared.memory.view())?;
            let doorbell = MemoryDoorbell::new(Arc::clone(page), id, Rung::LastPacket, write_index, read_index);
            self.aql(id, descriptor, read_index, Bell::Memory(doorbell))
        })
    }

    pub(super) fn attach_sdma(&self, descriptor: SdmaDescriptor, page: &Arc<DoorbellPage>) -> Result<QueueId, GpuError> {
        let start = SdmaProcessor::check(&descriptor, &self.shared.memory.view())?;
        self.admit(|id| {
            page.reset(id, &self.shared.memory.view())?;
            let doorbell = MemoryDoorbell::new(Arc::clone(page), id, Rung::EndOfBytes, descriptor.write_pointer, start);
            Ok(AnyQueue::Sdma(SdmaProcessor::new(id, descriptor, start, Bell::Memory(doorbell))))
        })
    }

    fn aql(&self, id: QueueId, descriptor: QueueDescriptor, read_index: u64, bell: Bell) -> Result<AnyQueue, GpuError> {
        let (memory, faults) = (Arc::clone(&self.shared.memory), Arc::clone(&self.shared.faults));
        Ok(AnyQueue::Aql(QueueProcessor::new(id, descriptor, read_index, bell, memory, faults)?))
    }

    /// Gives a queue an id and hands it to the thread.
    fn admit(&self, make: impl FnOnce(QueueId) -> Result<AnyQueue, GpuError>) -> Result<QueueId, GpuError> {
        let id = self.take_id()?;
        match make(id) {
            Ok(queue) => {
                self.shared.command(Command::Attach(Box::new(queue)));
                Ok(id)
            }
            Err(error) => {
                lock(&self.queue_ids).remove(&id.0);
                Err(error)
            }
        }
    }

    pub(super) fn power_off(&self) {
        self.shared.power_off();
        let started = Instant::now();
        while started.elapsed() < DETACH_LIMIT && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            thread::sleep(POLL);
        }
    }

    pub(super) fn detach(&self, queue: QueueId) {
        let (done, detached) = sync_channel(1);
        self.shared.command(Command::Detach { queue, done });
        let started = Instant::now();
        while started.elapsed() < DETACH_LIMIT && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if detached.recv_timeout(LIVENESS).is_ok() {
                lock(&self.queue_ids).remove(&queue.0);
                return;
            }
        }
    }

    /// Checks that the device can work with a queue, and reads where to start.
    fn check(&self, descriptor: &QueueDescriptor) -> Result<u64, GpuError> {
        let packets = descriptor.packets.get();
        if !packets.is_power_of_two() {
            return Err(GpuError::RingLength { packets });
        }
        if !descriptor.ring.is_aligned_to(64) {
            return Err(GpuError::RingAlignment { ring: descriptor.ring });
        }
        let memory = self.shared.memory.view();
        memory.window(descriptor.ring, u64::from(packets) * 64, Access::Write)?;
        memory.window(descriptor.amd_queue, size_of::<amd_queue_t>() as u64, Access::Write)?;
        Ok(memory.load_acquire_u64(descriptor.amd_queue + offset_of!(amd_queue_t, read_dispatch_id) as u64)?)
    }

    fn take_id(&self) -> Result<QueueId, GpuError> {
        let mut taken = lock(&self.queue_ids);
        let free = (0..Gpu::MAX_QUEUES).find(|id| !taken.contains(id)).ok_or(GpuError::TooManyQueues { limit: Gpu::MAX_QUEUES })?;
        taken.insert(free);
        Ok(QueueId(free))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.shared.power_off();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Worker {
    shared: Arc<Shared>,
    // Boxed as they arrive, so that adding one does not move the others' kernels.
    #[allow(clippy::vec_box)]
    queues: Vec<Box<AnyQueue>>,
    bench: Workbench,
    faults: Option<Injector>,
    /// How far the doorbell of the last queue of an id had been rung: for queues that are to inherit it.
    told: BTreeMap<u32, u64>,
    placement: Placement,
}

impl Worker {
    fn run(mut self) {
        self.shared.wakeup.set_sleeper(thread::current());
        let mut last_progress = Instant::now();
        let mut last_look = last_progress;
        // Taken lazily: a packet should not cost a look at the clock.
        let mut moved = false;
        let mut idle_looks = 0_u32;
        while self.shared.powered.load(Ordering::SeqCst) {
            moved |= self.obey();
            let turn = self.round();
            if self.bench.gone {
                return self.leave_the_bus();
            }
            if turn == Turn::Progressed {
                moved = true;
                continue;
            }
            if turn == Turn::Idle {
                idle_looks = idle_looks.wrapping_add(1);
                if !idle_looks.is_multiple_of(LOOKS_PER_CLOCK_READ) {
                    std::hint::spin_loop();
                    continue;
                }
            }
            let now = Instant::now();
            let round = now.duration_since(last_look);
            last_look = now;
            if moved {
                (last_progress, moved) = (now, false);
            }
            let still_for = now.duration_since(last_progress);
            match turn {
                _ if still_for < SPIN => std::hint::spin_loop(),
                Turn::Running if round < SHORT_ROUND => {
                    self.doze(POLL);
                    last_look = Instant::now();
                }
                Turn::Running if still_for > LONG_RUN => thread::yield_now(),
                Turn::Running => {}
                Turn::Waiting => self.doze(POLL),
                Turn::Idle | Turn::Progressed => self.doze(self.idle_limit(still_for)),
            }
        }
    }

    /// The last thing that a device does which falls off the bus.
    fn leave_the_bus(&self) {
        if let Err(error) = self.shared.path.lose_endpoint() {
            self.bench.host.diagnose(&format_args!("the device is gone, and its config space cannot be made to say so: {error}"));
        }
        self.shared.gone.store(true, Ordering::SeqCst);
    }

    /// How long nothing to do may go on unseen.
    fn idle_limit(&self, still_for: Duration) -> Duration {
        match self.queues.iter().any(|queue| queue.must_be_polled()) {
            true if still_for < UNUSED => BELL_POLL,
            true => SLOW_BELL_POLL,
            false => DOZE,
        }
    }

    fn doze(&mut self, limit: Duration) {
        let waker = self.shared.wakeup.sleep(limit, || {
            self.shared.has_commands.load(Ordering::SeqCst)
                || !self.shared.powered.load(Ordering::SeqCst)
                || (limit > POLL && self.shared.path.bus_master() && self.queues.iter().any(|queue| queue.has_work()))
        });
        if let Some(waker) = waker {
            self.placement.keep_off(waker);
        }
    }

    /// Gives each queue with work a turn; the result is the liveliest of theirs.
    fn round(&mut self) -> Turn {
        let mut liveliest = Turn::Idle;
        let bus_master = self.shared.path.bus_master();
        self.look_at_doorbells();
        for queue in &mut self.queues {
            if !queue.has_work() {
                continue;
            }
            if !bus_master {
                // The device may send no request: neither packets nor instructions reach it.
                liveliest = liveliest.max(Turn::Waiting);
                continue;
            }
            // The view ends with the turn, so that unmapping waits for one queue's quantum only.
            let bus = Bus::new(self.shared.memory.view(), &self.shared.path).with_faults(self.faults.as_ref());
            let turn = queue.turn(&bus, &mut self.bench);
            drop(bus);
            self.bench.host.end_turn();
            liveliest = liveliest.max(turn);
        }
        liveliest
    }

    fn look_at_doorbells(&mut self) {
        let mut polled = self.queues.iter_mut().filter(|queue| queue.must_be_polled()).peekable();
        if polled.peek().is_some() {
            let memory = self.shared.memory.view();
            polled.for_each(|queue| queue.look(&memory));
            // A page of doorbells that is not there for the device holds no news, and is no queue's fault.
            let _ = self.bench.caught();
        }
    }

    fn obey(&mut self) -> bool {
        if !self.shared.has_commands.load(Ordering::Relaxed) || !self.shared.has_commands.swap(false, Ordering::SeqCst) {
            return false;
        }
        let commands = std::mem::take(&mut *lock(&self.shared.commands));
        for command in commands {
            match command {
                Command::Attach(mut queue) => {
                    if let (AnyQueue::Aql(queue), Some(faults)) = (&mut *queue, &self.faults)
                        && let Some(&end) = self.told.get(&queue.id().0)
                        && faults.strikes(Fault::DoorbellStale)
                    {
                        queue.inherit_doorbell(end);
                    }
                    self.queues.push(queue);
                }
                Command::Detach { queue, done } => {
                    if self.faults.is_some()
                        && let Some(AnyQueue::Aql(known)) =
                            self.queues.iter().find(|known| known.id() == queue).map(|known| &**known)
                    {
                        self.told.insert(queue.0, known.bell().published_end());
                    }
                    self.queues.retain(|known| known.id() != queue);
                    // Who gave up waiting needs no answer.
                    let _ = done.send(());
                }
            }
        }
        true
    }
}
