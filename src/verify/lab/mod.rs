//! What a case works with: an agent's memory, kernels, queues and signals, and waits that always end.

mod completion;
mod ledger;
mod output;
mod prod;
mod starvation;

use ledger::Ledger;

pub use completion::{Completion, overshot, read_index_stuck};
pub use output::{CANARY, CANARY_64, Element, compare_marks, compare_words, no_output, tally};
pub use starvation::Starvation;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::aql::{BarrierBit, Dimensions, FenceScope, Header, KernelDispatch, Packet, PacketType, ReserveError};
use crate::hsa::{Agent, Buffer, Executable, HsaError, Pool, PoolUse, Profiling, Queue, QueueKind, Runtime, Signal};
use crate::kernels::{self, Arguments, DevicePtr, Kernel};
use crate::report::{Evidence, FabricCounters, Outcome, OutputEvidence, QueueEvidence, UpdateEvidence};

use crate::verify::catalogue::CaseInfo;
use crate::verify::event::{Observation, Pace};
use crate::verify::facts;

/// How long a second look waits for what the first one missed.
const PATIENCE: Duration = Duration::from_millis(250);
/// The same for what should follow at once.
const BRIEFLY: Duration = Duration::from_millis(20);

/// Why a case ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(pub Outcome);

/// What a step of a case comes to.
pub type Step<T> = Result<T, Stop>;

impl From<HsaError> for Stop {
    /// A function that this runtime lacks leaves the case untried; every other error is the runtime's answer to it.
    fn from(error: HsaError) -> Self {
        Self(match error {
            HsaError::NotProvided { .. } => Outcome::Untestable { reason: error.to_string() },
            error => Outcome::QueueError { status: error.to_string() },
        })
    }
}

impl Stop {
    /// Something counted or computed came out wrong.
    pub fn wrong(detail: impl Into<String>) -> Self {
        Self(Outcome::WrongValue { detail: detail.into() })
    }
}

/// One agent with what its cases share.
#[derive(Debug)]
pub struct Lab {
    agent: Agent,
    shared: Pool,
    arguments: Pool,
    code: Result<Executable, String>,
    /// What cases used whose packets may still be with the device: it must not meet them in the hands of a later case.
    quarantine: Mutex<Vec<Remains>>,
}

/// Signals and memory of a case.
type Remains = (Vec<Arc<Signal>>, Vec<Arc<Buffer>>);

impl Lab {
    /// Finds the memory and loads the kernels. Kernels that are not there are no error yet: not every case needs one.
    ///
    /// # Errors
    /// The runtime has no memory for host and device to share.
    pub fn open(runtime: &Runtime, agent: &Agent) -> Result<Self, HsaError> {
        let code = select_code(agent).and_then(|code| {
            Executable::load(agent, code.bytes)
                .map_err(|error| format!("the kernels for {} cannot be loaded: {error}", code.target))
        });
        Ok(Self {
            agent: agent.clone(),
            shared: runtime.host_pool(PoolUse::FineGrained)?,
            arguments: runtime.host_pool(PoolUse::KernelArguments)?,
            code,
            quarantine: Mutex::default(),
        })
    }

    /// Runs one case to its end and says what was seen.
    #[must_use]
    pub fn observe(&self, case: &CaseInfo, pace: Pace, fabric: Option<&Path>) -> Observation {
        let sample = || FabricCounters::from_file_bytes(&fs::read(fabric?).ok()?);
        let before = sample();
        let mut context = Context {
            lab: self,
            pace,
            started: Instant::now(),
            evidence: Evidence::default(),
            header: 0,
            arguments: None,
            buffers: Vec::new(),
            signals: Vec::new(),
            fired: Vec::new(),
            ledger: Ledger::default(),
        };
        let outcome = match (case.run)(&mut context).and_then(|()| context.look_back()) {
            Ok(()) => Outcome::Completed,
            Err(Stop(outcome)) => outcome,
        };
        let duration_ms = u64::try_from(context.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut evidence = std::mem::take(&mut context.evidence);
        evidence.atomics_asked = context.ledger.asked();
        let due = context.ledger.due();
        if outcome != Outcome::Completed {
            let remains = (std::mem::take(&mut context.signals), std::mem::take(&mut context.buffers));
            self.quarantine.lock().unwrap_or_else(PoisonError::into_inner).push(remains);
        }
        drop(context);
        evidence.fabric = sample().zip(before).map(|(after, before)| after.since(&before));
        Observation { outcome: counted(outcome, &evidence, due), duration_ms, evidence }
    }
}

/// Where the path counts AtomicOps, a signal that went down twice as far as it had to with no AtomicOp more than were `due` was decremented
/// by another amount.
fn counted(outcome: Outcome, evidence: &Evidence, due: Option<u64>) -> Outcome {
    let within = evidence.fabric.zip(due).is_some_and(|(fabric, due)| fabric.performed == due);
    match (outcome, &evidence.signal) {
        (Outcome::FiredTwice { value }, Some(signal)) if within => {
            let (asked, taken) = (signal.before.wrapping_sub(signal.expected), signal.before.wrapping_sub(value));
            let detail =
                format!("the signal went down by {taken} to {value} where {asked} had to be taken, with no AtomicOp too many");
            Outcome::WrongValue { detail }
        }
        (outcome, _) => outcome,
    }
}

/// The kernels for an agent: those of the first of its instruction sets that has any.
///
/// # Errors
/// None has; which are missing.
pub fn select_code(agent: &Agent) -> Result<kernels::CodeObject, String> {
    let mut missing = format!("agent {} has no instruction set", agent.name());
    for isa in agent.isas() {
        match kernels::select(isa) {
            Ok(code) => return Ok(code),
            Err(error) => missing = error.to_string(),
        }
    }
    Err(missing)
}

/// One case at work. Everything it makes lives as long as it does, longer than the queues, which the cases hold themselves: so
/// nothing that a packet names goes away before the queue does.
#[derive(Debug)]
pub struct Context<'lab> {
    lab: &'lab Lab,
    pace: Pace,
    started: Instant,
    evidence: Evidence,
    header: u16,
    arguments: Option<(Arc<Buffer>, usize)>,
    buffers: Vec<Arc<Buffer>>,
    signals: Vec<Arc<Signal>>,
    /// Signals that have fired, by handle, with their values before and after.
    fired: Vec<(u64, i64, i64)>,
    /// What the device was asked for.
    ledger: Ledger,
}

/// Kernel arguments are handed out from blocks of this size.
const ARGUMENT_BLOCK: usize = 64 * 1024;
const ARGUMENT_ALIGNMENT: usize = 64;

impl Context<'_> {
    /// The agent under test.
    pub fn agent(&self) -> &Agent {
        &self.lab.agent
    }

    /// How long to wait.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Adds an observation in words.
    pub fn note(&mut self, note: impl Into<String>) {
        self.evidence.notes.push(note.into());
    }

    /// When every wait of this case ends.
    pub fn deadline(&self) -> Instant {
        // A timeout beyond what the clock can express is a day.
        self.started.checked_add(self.pace.timeout.duration()).unwrap_or_else(|| self.started + Duration::from_secs(24 * 60 * 60))
    }

    /// The smallest queue of at least `packets` packets that the agent allows. Where the runtime can, its packets are stamped with when
    /// they ran: that a kernel ended although its signal stayed is evidence.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn queue(&self, packets: u32, kind: QueueKind) -> Step<Arc<Queue>> {
        let smallest = self.agent().queue_packets().map_or(packets, |sizes| *sizes.start());
        let queue = Arc::new(Queue::create(self.agent(), packets.max(smallest), kind)?);
        // Optional in every runtime; without it the report has no stamps, and no case needs them.
        let stamped = queue.set_profiling(Profiling::On).is_ok();
        self.ledger.open(&queue, stamped);
        Ok(queue)
    }

    /// A signal.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn signal(&mut self, initial: i64) -> Step<Arc<Signal>> {
        let signal = Arc::new(Signal::create(self.agent().runtime(), initial)?);
        self.signals.push(Arc::clone(&signal));
        self.ledger.count_from(&signal, initial);
        Ok(signal)
    }

    /// `count` 32-bit elements of host memory, each holding the canary.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn words(&mut self, count: usize) -> Step<Arc<Buffer>> {
        let buffer = self.shared(count * size_of::<u32>())?;
        buffer.fill_u32(CANARY);
        Ok(buffer)
    }

    /// `count` 64-bit elements of host memory, each holding the canary.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn double_words(&mut self, count: usize) -> Step<Arc<Buffer>> {
        self.words(count * 2)
    }

    fn shared(&mut self, bytes: usize) -> Step<Arc<Buffer>> {
        let buffer = Arc::new(Buffer::allocate(&self.lab.shared, bytes, &[&self.lab.agent])?);
        self.buffers.push(Arc::clone(&buffer));
        Ok(buffer)
    }

    /// A dispatch of `items` work-items in one dimension, with system fences and without completion signal.
    ///
    /// # Errors
    /// No kernels exist for this agent, or the runtime refused.
    pub fn dispatch<A: Arguments>(&mut self, kernel: Kernel, arguments: &A, items: u32) -> Step<KernelDispatch> {
        self.dispatch_grid(kernel, arguments, Dimensions::One, [items, 1, 1])
    }

    /// The same for any grid.
    ///
    /// # Errors
    /// As [`Self::dispatch`].
    pub fn dispatch_grid<A: Arguments>(
        &mut self,
        kernel: Kernel,
        arguments: &A,
        dimensions: Dimensions,
        grid: [u32; 3],
    ) -> Step<KernelDispatch> {
        debug_assert!(A::KERNELS.contains(&kernel), "{kernel} takes other arguments");
        let code = self.lab.code.as_ref().map_err(|reason| Stop(Outcome::Untestable { reason: reason.clone() }))?;
        let loaded = code.kernel(kernel.name())?;
        let address = self.arguments(&arguments.to_bytes(), loaded.kernarg_bytes as usize, loaded.kernarg_align as usize)?;
        let mut packet = KernelDispatch::new(system_header(), dimensions, grid, kernel.workgroup(), loaded.object);
        packet.kernarg_address = address;
        packet.group_segment_bytes = loaded.group_bytes;
        packet.private_segment_bytes = loaded.private_bytes;
        Ok(packet)
    }

    /// Puts a kernel's arguments where the device finds them; hidden ones are zero.
    fn arguments(&mut self, bytes: &[u8], segment: usize, alignment: usize) -> Step<u64> {
        let (needed, alignment) = (segment.max(bytes.len()).max(1), alignment.max(ARGUMENT_ALIGNMENT));
        let fits = |(block, used): &(Arc<Buffer>, usize)| used.next_multiple_of(alignment) + needed <= block.bytes();
        if !self.arguments.as_ref().is_some_and(fits) {
            let block = Arc::new(Buffer::allocate(&self.lab.arguments, needed.max(ARGUMENT_BLOCK), &[&self.lab.agent])?);
            block.fill_u64(0);
            self.buffers.push(Arc::clone(&block));
            self.arguments = Some((block, 0));
        }
        let Some((block, used)) = &mut self.arguments else { unreachable!("a block was put there above") };
        let offset = used.next_multiple_of(alignment);
        block.write_bytes(offset, bytes)?;
        *used = offset + needed;
        Ok(block.address() + offset as u64)
    }

    /// Publishes a packet, waiting for room if the ring is full; returns its index.
    ///
    /// # Errors
    /// The ring did not drain before the deadline, or the queue stopped.
    pub fn submit(&mut self, queue: &Queue, packet: &impl Packet) -> Step<u64> {
        let words = packet.to_words();
        self.header = words[0] as u16;
        let submitted = submit(queue, packet, self.deadline());
        match &submitted {
            Ok(index) => self.ledger.submitted(queue, *index, &words),
            Err(stop) => self.undrained(queue, stop),
        }
        submitted
    }

    /// Takes a ring into the evidence that did not drain.
    pub fn undrained(&mut self, queue: &Queue, stop: &Stop) {
        self.record_queue(queue);
        if stop.0 == Outcome::PacketNotFetched {
            self.prod(queue, queue.read_index());
        }
    }

    /// Counts AtomicOps that the device is asked for; `None` if nobody can say how many.
    pub fn asks_atomics(&mut self, count: Option<u64>) {
        self.ledger.asks(count);
    }

    /// Takes updates that device and host made of one word into the evidence.
    pub fn record_updates(&mut self, updates: UpdateEvidence) {
        self.evidence.updates = Some(updates);
    }

    /// Takes an output into the evidence, where no completion is waited for.
    pub fn record_output(&mut self, output: OutputEvidence) {
        self.evidence.output = Some(output);
    }

    /// Waits until `reached` holds or the case's deadline has passed; says whether it holds.
    pub fn reaches(&self, reached: impl FnMut() -> bool) -> bool {
        poll(self.deadline(), reached)
    }

    /// Checks that `holds` keeps holding for `span`.
    ///
    /// # Errors
    /// It stopped holding: `broken` says what that means.
    pub fn keeps(&self, span: Duration, holds: impl Fn() -> bool, broken: &str) -> Step<()> {
        let end = Instant::now() + span;
        loop {
            if !holds() {
                return Err(Stop::wrong(broken));
            }
            if Instant::now() >= end {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Takes the queue into the evidence.
    pub fn record_queue(&mut self, queue: &Queue) {
        self.ledger.settle();
        self.evidence.queue = Some(QueueEvidence {
            packets: queue.ring().capacity().get(),
            write_index: queue.write_index(),
            read_index: queue.read_index(),
            header: self.header,
            doorbell: Some(facts::doorbell(queue.doorbell_kind())),
            stamped: self.ledger.is_stamped(queue),
            error: queue.errors().first().map(|status| status.to_string()),
        });
    }
}

/// Publishes a packet from any thread, waiting for room until `deadline`.
///
/// # Errors
/// The ring did not drain in time, or the queue stopped.
pub fn submit(queue: &Queue, packet: &impl Packet, deadline: Instant) -> Step<u64> {
    loop {
        match queue.ring().submit(packet) {
            Ok(index) => return Ok(index),
            Err(ReserveError::LargerThanRing { .. }) => return Err(Stop::wrong("a single packet does not fit the ring")),
            Err(ReserveError::Full { read_index, .. }) => {
                if let Some(status) = queue.errors().first() {
                    return Err(Stop(Outcome::QueueError { status: status.to_string() }));
                }
                if !poll(deadline, || queue.read_index() > read_index || queue.errors().first().is_some()) {
                    return Err(Stop(Outcome::PacketNotFetched));
                }
            }
        }
    }
}

/// Polls until `reached` or `deadline`; says whether it was reached.
pub fn poll(deadline: Instant, mut reached: impl FnMut() -> bool) -> bool {
    const SPIN: Duration = Duration::from_micros(200);
    let start = Instant::now();
    loop {
        if reached() {
            return true;
        }
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        if now - start < SPIN {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Acquire and release at system scope, no barrier bit: what the founding packet asks for.
#[must_use]
pub const fn system_header() -> Header {
    Header::new(PacketType::KernelDispatch).fences(FenceScope::System)
}

/// The same behind every earlier packet of the queue.
#[must_use]
pub const fn ordered_header() -> Header {
    system_header().barrier(BarrierBit::Set)
}

/// Where a kernel finds a buffer.
#[must_use]
pub fn pointer(buffer: &Buffer) -> DevicePtr {
    DevicePtr(buffer.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_ends_at_its_deadline_and_looks_at_least_once() {
        let mut looks = 0;
        let reached = poll(Instant::now(), || {
            looks += 1;
            false
        });
        assert!(!reached && looks == 1);
        assert!(poll(Instant::now(), || true));
    }

    #[test]
    fn a_runtime_error_inside_a_case_keeps_its_words() {
        let stop = Stop::from(HsaError::NoCpuAgent);
        assert!(matches!(stop.0, Outcome::QueueError { status } if status.contains("no CPU agent")));
    }

    #[test]
    fn a_function_that_the_runtime_lacks_leaves_the_case_untestable_and_is_named() {
        let stop = Stop::from(HsaError::NotProvided { function: "hsa_queue_inactivate" });
        assert!(matches!(stop.0, Outcome::Untestable { reason } if reason.contains("hsa_queue_inactivate")));
    }
}
