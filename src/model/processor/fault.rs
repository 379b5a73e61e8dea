//! Why queues stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::address::GpuVa;
use crate::model::compute::{LaunchError, WaveFault};
use crate::model::gpu::QueueId;
use crate::model::memory::MemoryFault;
use crate::model::net::Caught;
use crate::model::queue_error::QueueError;

/// Why the packet processor stopped a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue {}, packet {packet_index}{}: {error}: {detail}", .queue.0, of_kernel(*.kernel_object))]
pub struct QueueFault {
    /// The queue that stopped.
    pub queue: QueueId,
    /// Index of the packet that failed.
    pub packet_index: u64,
    /// The kernel descriptor's address, when the packet was a kernel dispatch.
    pub kernel_object: Option<GpuVa>,
    /// The code stored into the queue's inactive signal.
    pub error: QueueError,
    /// What exactly happened: for a wave the address and words of the instruction.
    pub detail: String,
}

fn of_kernel(kernel_object: Option<GpuVa>) -> String {
    kernel_object.map_or_else(String::new, |object| format!(", kernel object {object}"))
}

/// Remembers the fault of the queue that failed last, and how many there were.
#[derive(Debug, Default)]
pub(in crate::model) struct FaultLog {
    last: Mutex<Option<QueueFault>>,
    count: AtomicU64,
}

impl FaultLog {
    pub(in crate::model) fn last(&self) -> Option<QueueFault> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::model) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn record(&self, fault: QueueFault) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Why a packet cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error: QueueError,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(error: QueueError, detail: impl Into<String>) -> Self {
        Self { error, detail: detail.into() }
    }
}

impl From<MemoryFault> for Refusal {
    fn from(fault: MemoryFault) -> Self {
        Self::new(QueueError::MemoryViolation, format!("packet processor: {fault}"))
    }
}

impl From<Caught> for Refusal {
    fn from(caught: Caught) -> Self {
        Self::new(QueueError::MemoryViolation, caught.to_string())
    }
}

impl From<LaunchError> for Refusal {
    fn from(error: LaunchError) -> Self {
        let code = match &error {
            LaunchError::Descriptor(_) => QueueError::InvalidCode,
            LaunchError::KernelArguments(_) => QueueError::MemoryViolation,
            LaunchError::Scratch { .. } => QueueError::InsufficientScratch,
            LaunchError::GroupSegment { .. } => QueueError::InvalidGroupSegment,
            LaunchError::Workgroup { .. } => QueueError::WorkgroupTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<WaveFault> for Refusal {
    fn from(fault: WaveFault) -> Self {
        let code = match &fault {
            WaveFault::IllegalInstruction { .. } => QueueError::IllegalInstruction,
            WaveFault::Memory { .. } => QueueError::MemoryViolation,
            WaveFault::Trap { .. } => QueueError::Trap,
        };
        Self::new(code, fault.to_string())
    }
}
