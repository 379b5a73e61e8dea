//! The round trip to a kernel that is already running: what the wait costs without a dispatch.
//!
//! The kernel polls a word. In *signal* mode that is the value of an HSA signal and the answer is the kernel's own completion; in *pingpong*
//! mode it is a word of fine-grained memory and the answer another, without any signal. A kernel answers once, so each round trip has its own,
//! which was started and left to settle before the clock starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::aql::{BarrierBit, Dimensions, Header, KernelDispatch, PacketType};
use crate::hsa::{Agent, Buffer, Executable, Pool, PoolUse, Queue, QueueKind, Runtime, Signal, WaitMode};
use crate::kernels::{Arguments, DevicePtr, GAVE_UP, Kernel, SAW_FLAG, SpinOnFlagArguments};
use crate::report::latency::{LatencyMode, LatencySettings};

use super::probe::Probe;
use super::stop::Stop;
use super::submission::{AFTERMATH, ARMED, Awaited, FIRED, Patience, miscounted, scope, wait_mode};
use super::trip::Trip;

/// What the host writes and the kernel waits for.
const CALL: u32 = 1;
/// Polls after which a kernel gives up, so that no kernel stays behind for ever.
const MOST_POLLS: u32 = 4_000_000;
/// For how long a kernel's answer may come after its signal: without a fence at its end, nothing says that it comes before.
const ANSWER_MAY_FOLLOW: Duration = Duration::from_millis(10);
/// From a packet that was taken until its kernel polls.
const SETTLING: Duration = Duration::from_micros(50);

/// A running kernel and what it is called by.
#[derive(Debug)]
pub struct Resident {
    // The queue goes first: what its packets name must outlive it.
    queue: Queue,
    packet: KernelDispatch,
    caller: Caller,
    answer: Arc<Buffer>,
    done: Signal,
    index: u64,
    /// The last packet whose kernel has answered.
    ran: Option<u64>,
    wait: WaitMode,
    patience: Patience,
    _memory: Vec<Buffer>,
    _code: Executable,
}

/// The word that the kernel polls.
#[derive(Debug)]
enum Caller {
    /// The low half of a signal's value.
    Signal(Signal),
    /// A word in memory.
    Word(Buffer),
}

impl Caller {
    fn set(&self, value: u32) {
        match self {
            Self::Signal(signal) => signal.store(value.into()),
            Self::Word(buffer) => buffer.u32s()[0].store(value, Ordering::Release),
        }
    }
}

impl Resident {
    /// Makes the queue and all that the kernel reaches.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn new(
        runtime: &Runtime,
        agent: &Agent,
        code: &Executable,
        settings: &LatencySettings,
        patience: Patience,
    ) -> Result<Self, Stop> {
        let shared = runtime.host_pool(PoolUse::FineGrained)?;
        let arguments = runtime.host_pool(PoolUse::KernelArguments)?;
        let items = u32::from(Kernel::SpinOnFlag.workgroup()[0]);
        let buffer = |pool: &Pool, bytes: usize| {
            Buffer::allocate(pool, bytes, &[agent]).inspect(|buffer| {
                buffer.fill_u64(0);
            })
        };
        let (payload, out) = (buffer(&shared, items as usize * 4)?, buffer(&shared, items as usize * 4)?);
        let answer = Arc::new(buffer(&shared, items as usize * 4)?);
        let done = Signal::create(runtime, ARMED)?;
        let caller = if settings.mode == LatencyMode::Signal {
            Caller::Signal(Signal::create(runtime, 0)?)
        } else {
            Caller::Word(buffer(&shared, 64)?)
        };
        let flag = match &caller {
            Caller::Word(word) => word.address(),
            Caller::Signal(signal) => signal
                .value_address()
                .ok_or_else(|| Stop::Failed("this runtime's signals are not values in memory: use --mode pingpong".to_owned()))?,
        };
        let kernel = code.kernel(Kernel::SpinOnFlag.name())?;
        let bytes = SpinOnFlagArguments {
            flag: DevicePtr(flag),
            payload: DevicePtr(payload.address()),
            out: DevicePtr(out.address()),
            saw: DevicePtr(answer.address()),
            expected: CALL,
            max_polls: MOST_POLLS,
        }
        .to_bytes();
        let segment = buffer(&arguments, bytes.len().max(kernel.kernarg_bytes as usize))?;
        segment.write_bytes(0, &bytes)?;
        let header = Header::new(PacketType::KernelDispatch).fences(scope(settings.fence)).barrier(BarrierBit::Set);
        let mut packet = KernelDispatch::new(header, Dimensions::One, [items, 1, 1], Kernel::SpinOnFlag.workgroup(), kernel.object);
        packet.kernarg_address = segment.address();
        packet.group_segment_bytes = kernel.group_bytes;
        packet.private_segment_bytes = kernel.private_bytes;
        if settings.mode == LatencyMode::Signal {
            packet.completion_signal = done.handle();
        }
        const PACKETS: u32 = 64;
        let smallest = agent.queue_packets().map_or(PACKETS, |sizes| *sizes.start());
        Ok(Self {
            queue: Queue::create(agent, PACKETS.max(smallest), QueueKind::Single)?,
            packet,
            caller,
            answer,
            done,
            index: 0,
            ran: None,
            wait: wait_mode(settings.wait),
            patience,
            _memory: vec![payload, out, segment],
            _code: code.clone(),
        })
    }

    /// The queue that the kernels run on.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn answered(&self, start: Instant) -> Result<Instant, Stop> {
        const LOOKS_PER_CLOCK_READ: u32 = 4096;
        let word = &self.answer.u32s()[0];
        for look in 1_u32.. {
            match word.load(Ordering::Acquire) {
                SAW_FLAG => return Ok(Instant::now()),
                GAVE_UP => return Err(gave_up()),
                _ => std::hint::spin_loop(),
            }
            if look.is_multiple_of(LOOKS_PER_CLOCK_READ) && start.elapsed() > self.patience.whole {
                break;
            }
        }
        let milliseconds = self.patience.whole.as_millis();
        Err(Stop::Stalled(format!("no-effect: the running kernel did not answer the host's word within {milliseconds} ms")))
    }

    /// What it means that the read index does not pass the packet. A kernel that answers runs, whatever the read index says.
    fn not_taken(&self) -> Stop {
        let (index, read_index, word) = (self.index, self.queue.read_index(), &self.answer.u32s()[0]);
        self.caller.set(CALL);
        let called = Instant::now();
        while called.elapsed() < ANSWER_MAY_FOLLOW {
            if word.load(Ordering::Acquire) == SAW_FLAG {
                return Stop::Failed(format!("wrong-value: the read index is {read_index} although packet {index} ran"));
            }
            std::thread::yield_now();
        }
        let milliseconds = self.patience.whole.as_millis();
        Stop::Stalled(format!("packet-not-fetched: packet {index} was not taken within {milliseconds} ms"))
    }

    /// The kernel polls, and has neither answered nor ended before it was called.
    fn still_waits(&self) -> Result<(), Stop> {
        before_the_call(self.index, self.answer.u32s()[0].load(Ordering::Acquire), self.done.load()).map_or(Ok(()), Err)
    }

    /// A completion stands for a kernel that saw the host's word: the word that it left must say so.
    fn completed(&mut self) -> Result<(), Stop> {
        let (word, fired) = (&self.answer.u32s()[0], Instant::now());
        loop {
            match word.load(Ordering::Acquire) {
                SAW_FLAG => break,
                GAVE_UP => return Err(gave_up()),
                _ if fired.elapsed() > ANSWER_MAY_FOLLOW => {
                    let index = self.index;
                    return Err(Stop::Failed(format!(
                        "false-completion: the signal of packet {index} fired, and its kernel never saw the host's word"
                    )));
                }
                _ => std::hint::spin_loop(),
            }
        }
        self.look()
    }

    /// Whether the signal of the last kernel that answered holds what it must.
    fn look(&self) -> Result<(), Stop> {
        match (&self.caller, self.ran, self.done.load()) {
            (Caller::Signal(_), Some(_), value) if value != FIRED => Err(Stop::Failed(miscounted(self.ran, value))),
            _ => Ok(()),
        }
    }
}

fn gave_up() -> Stop {
    Stop::Stalled(format!("no-effect: the running kernel did not see the host's word in {MOST_POLLS} polls"))
}

/// What is wrong with a kernel that has left `answer` and a signal of value `done` before it was called; `None` if nothing is.
fn before_the_call(index: u64, answer: u32, done: i64) -> Option<Stop> {
    match (answer, done) {
        (0, ARMED) => None,
        (GAVE_UP, _) => Some(gave_up()),
        (0, done) => Some(Stop::Failed(format!(
            "false-completion: the signal of packet {index} holds {done} before its kernel was called, and the kernel has not answered"
        ))),
        (answer, _) => {
            Some(Stop::Failed(format!("wrong-value: the kernel of packet {index} answered {answer} before it was called")))
        }
    }
}

impl Probe for Resident {
    fn prepare(&mut self) -> Result<(), Stop> {
        self.look()?;
        self.ran = None;
        self.caller.set(0);
        self.answer.u32s()[0].store(0, Ordering::Relaxed);
        self.done.store(ARMED);
        let begin = Instant::now();
        self.index = loop {
            match self.queue.ring().submit(&self.packet) {
                Ok(index) => break index,
                Err(error) if begin.elapsed() > self.patience.whole => return Err(Stop::Stalled(error.to_string())),
                Err(_) => std::thread::yield_now(),
            }
        };
        while self.queue.read_index() <= self.index {
            if let Some(status) = self.queue.errors().first() {
                return Err(Stop::Failed(format!("the queue reported {status}")));
            }
            if begin.elapsed() > self.patience.whole {
                return Err(self.not_taken());
            }
            std::thread::yield_now();
        }
        let taken = Instant::now();
        while taken.elapsed() < SETTLING {
            std::hint::spin_loop();
        }
        self.still_waits()
    }

    fn trip(&mut self) -> Result<Trip, Stop> {
        let start = Instant::now();
        self.caller.set(CALL);
        let seen = match &self.caller {
            Caller::Signal(_) => {
                let awaited = Awaited { signal: &self.done, queue: &self.queue, index: self.index, since: start };
                awaited.wait(self.wait, self.patience)?
            }
            Caller::Word(_) => self.answered(start)?,
        };
        self.ran = Some(self.index);
        self.completed()?;
        Ok(Trip { due: start, start, steps: None, seen })
    }

    fn finish(&mut self) -> Result<(), Stop> {
        std::thread::sleep(AFTERMATH);
        self.look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_ends_or_answers_before_it_was_called_is_no_round_trip() {
        assert_eq!(before_the_call(3, 0, 1), None);
        let failure = |answer, done| match before_the_call(3, answer, done) {
            Some(Stop::Failed(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(failure(0, 0).starts_with("false-completion: the signal of packet 3 holds 0"));
        assert!(failure(SAW_FLAG, 1).starts_with("wrong-value: the kernel of packet 3 answered 1"));
        assert!(matches!(before_the_call(3, GAVE_UP, 0), Some(Stop::Stalled(why)) if why.starts_with("no-effect: ")));
    }
}
