//! The device's thread: gives every queue its turn, and sleeps when nothing moves.

use std::collections::BTreeSet;
use std::io;
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::bus::Bus;
use super::fabric::PciPath;
use super::gpu::{Doorbell, Gpu, GpuError, InterruptSink, QueueDescriptor, QueueId};
use super::memory::{Access, MemoryMap};
use super::processor::{FaultLog, QueueFault, QueueProcessor, Turn, Workbench};
use super::target::Target;
use crate::hsa::sys::amd_queue_t;

/// How long the thread keeps looking after the last thing it did, because the next packet often follows at once.
const SPIN: Duration = Duration::from_micros(50);
/// Distance between looks at memory that a queue waits for and that rings no doorbell.
const POLL: Duration = Duration::from_micros(50);
/// Looks at idle queues between two looks at the clock, which would delay the sight of a doorbell by more than all of them.
const LOOKS_PER_CLOCK_READ: u32 = 32;
/// The longest sleep; doorbells and commands end it at once.
const DOZE: Duration = Duration::from_millis(250);
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

/// Ends the device thread's sleep.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wakeup {
    /// To be called after the news has been stored: either the thread sees the news before it sleeps, or we see it asleep.
    #[inline]
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake_sleeper();
        }
    }

    #[cold]
    fn wake_sleeper(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn sleep(&self, limit: Duration, has_news: impl FnOnce() -> bool) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_news() {
            thread::park_timeout(limit);
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

enum Command {
    Attach(Box<QueueProcessor>),
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
    wakeup: Arc<Wakeup>,
}

impl Shared {
    fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.has_commands.store(true, Ordering::SeqCst);
        self.wakeup.wake();
    }
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
    pub(super) fn start(target: Target, path: PciPath, interrupts: Arc<dyn InterruptSink>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            memory: Arc::new(MemoryMap::new()),
            path,
            faults: Arc::default(),
            commands: Mutex::default(),
            has_commands: AtomicBool::new(false),
            powered: AtomicBool::new(true),
            wakeup: Arc::default(),
        });
        let worker = Worker { shared: Arc::clone(&shared), interrupts, queues: Vec::new(), bench: Workbench::new(target) };
        let thread = thread::Builder::new().name("gpu".to_owned()).spawn(move || worker.run())?;
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

    pub(super) fn attach(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Arc<Doorbell>), GpuError> {
        let read_index = self.check(&descriptor)?;
        let id = self.take_id()?;
        let shared = &self.shared;
        let doorbell = Arc::new(Doorbell::new(read_index, Arc::clone(&shared.wakeup)));
        let (memory, faults) = (Arc::clone(&shared.memory), Arc::clone(&shared.faults));
        match QueueProcessor::new(id, descriptor, read_index, Arc::clone(&doorbell), memory, faults) {
            Ok(queue) => {
                shared.command(Command::Attach(Box::new(queue)));
                Ok((id, doorbell))
            }
            Err(error) => {
                lock(&self.queue_ids).remove(&id.0);
                Err(error.into())
            }
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
        self.shared.powered.store(false, Ordering::SeqCst);
        self.shared.wakeup.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Worker {
    shared: Arc<Shared>,
    interrupts: Arc<dyn InterruptSink>,
    // Boxed as they arrive, so that adding one does not move the others' kernels.
    #[allow(clippy::vec_box)]
    queues: Vec<Box<QueueProcessor>>,
    bench: Workbench,
}

impl Worker {
    fn run(mut self) {
        let _ = self.shared.wakeup.thread.set(thread::current());
        let mut last_progress = Instant::now();
        let mut last_look = last_progress;
        // Taken lazily: a packet should not cost a look at the clock.
        let mut moved = false;
        let mut idle_looks = 0_u32;
        while self.shared.powered.load(Ordering::SeqCst) {
            moved |= self.obey();
            let turn = self.round();
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
                Turn::Idle | Turn::Progressed => self.doze(DOZE),
            }
        }
    }

    fn doze(&self, limit: Duration) {
        self.shared.wakeup.sleep(limit, || {
            self.shared.has_commands.load(Ordering::SeqCst)
                || !self.shared.powered.load(Ordering::SeqCst)
                || (limit > POLL && self.shared.path.bus_master() && self.queues.iter().any(|queue| queue.has_work()))
        });
    }

    /// Gives each queue with work a turn; the result is the liveliest of theirs.
    fn round(&mut self) -> Turn {
        let mut liveliest = Turn::Idle;
        let bus_master = self.shared.path.bus_master();
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
            let bus = Bus::new(self.shared.memory.view(), &self.shared.path);
            let turn = queue.turn(&bus, &mut self.bench);
            drop(bus);
            for event in self.bench.interrupts.drain(..) {
                self.interrupts.raise(event);
            }
            liveliest = liveliest.max(turn);
        }
        liveliest
    }

    fn obey(&mut self) -> bool {
        if !self.shared.has_commands.load(Ordering::Relaxed) || !self.shared.has_commands.swap(false, Ordering::SeqCst) {
            return false;
        }
        let commands = std::mem::take(&mut *lock(&self.shared.commands));
        for command in commands {
            match command {
                Command::Attach(queue) => self.queues.push(queue),
                Command::Detach { queue, done } => {
                    self.queues.retain(|known| known.id() != queue);
                    // Who gave up waiting needs no answer.
                    let _ = done.send(());
                }
            }
        }
        true
    }
}
