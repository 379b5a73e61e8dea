//! The AQL packet processor.

use super::address::GpuVa;
use super::gpu::QueueId;
use super::queue_error::QueueError;

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
