//! Scratch memory of a queue, which its host provides when a kernel asks for more than there is.
//!
//! The queue asks by a code in its inactive signal. The host looks for the dispatch that needs it, from the read index on, provides
//! memory, writes the scratch fields of the `amd_queue_t` (amd_hsa_queue.h) and sets the signal back to zero (ROCr,
//! `AqlQueue::HandleInsufficientScratch` and `InitScratchSRD`). A signal of -1 says that it gives up.

use std::mem::offset_of;

use crate::hsa::sys::amd_queue_t;
use crate::model::address::GpuVa;
use crate::model::compute::Scratch;
use crate::model::host::HostLine;
use crate::model::memory::{MapView, MemoryFault};
use crate::model::queue_error::QueueError;
use crate::model::target::WaveSize;

use super::fault::Refusal;
use super::signal;

/// What the inactive signal holds when the host will not serve the queue any more.
pub(super) const DECLARED_DEAD: i64 = -1;

const INACTIVE_SIGNAL: u64 = offset_of!(amd_queue_t, queue_inactive_signal) as u64;
const RESOURCE_DESCRIPTOR: u64 = offset_of!(amd_queue_t, scratch_resource_descriptor) as u64;
/// NUM_RECORDS, the third word of a buffer resource descriptor: its bytes.
const RECORDS: u64 = RESOURCE_DESCRIPTOR + 8;
const LOCATION: u64 = offset_of!(amd_queue_t, scratch_backing_memory_location) as u64;
const BYTES_PER_LANE_OF_64: u64 = offset_of!(amd_queue_t, scratch_wave64_lane_byte_size) as u64;
/// Newer runtimes have capability flags here (`amd_queue_v2_t.caps`).
const CAPABILITIES: u64 = offset_of!(amd_queue_t, reserved1) as u64;
/// The runtime reclaims scratch memory asynchronously, and expects the device to take part.
const SOFTWARE_RECLAIMS_ASYNCHRONOUSLY: u32 = 1 << 1;

/// Whether a kernel may launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// The queue has enough.
    Ready,
    /// The host has been asked.
    Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Silent,
    Asked,
}

/// A queue's talk with its host about scratch memory.
#[derive(Debug)]
pub(super) struct ScratchDesk {
    amd_queue: GpuVa,
    talk: Talk,
}

impl ScratchDesk {
    pub(super) const fn new(amd_queue: GpuVa) -> Self {
        Self { amd_queue, talk: Talk::Silent }
    }

    /// The queue's scratch memory as it is now, for waves of this size.
    pub(super) fn of_queue(&self, wave: WaveSize, memory: &MapView<'_>) -> Result<Option<Scratch>, MemoryFault> {
        let of_64 = memory.load_u32(self.amd_queue + BYTES_PER_LANE_OF_64)?;
        let bytes_per_work_item = match wave {
            WaveSize::Lanes64 => of_64,
            WaveSize::Lanes32 => of_64.saturating_mul(2),
        };
        if bytes_per_work_item == 0 {
            return Ok(None);
        }
        Ok(Some(Scratch {
            base: GpuVa(memory.load_u64(self.amd_queue + LOCATION)?),
            bytes: u64::from(memory.load_u32(self.amd_queue + RECORDS)?),
            bytes_per_work_item,
        }))
    }

    /// Goes one step towards having `needed` bytes for each work-item.
    pub(super) fn settle(&mut self, needed: u32, wave: WaveSize, memory: &MapView<'_>, host: &HostLine) -> Result<Supply, Refusal> {
        let signal = GpuVa(memory.load_u64(self.amd_queue + INACTIVE_SIGNAL)?);
        if self.talk == Talk::Asked {
            match signal::load_acquire(memory, signal)? {
                0 => self.talk = Talk::Silent,
                DECLARED_DEAD => {
                    return refuse(wave, format!("the host has no {needed} bytes of scratch memory per work-item to give"));
                }
                _ => return Ok(Supply::Pending),
            }
        }
        if self.of_queue(wave, memory)?.is_some_and(|scratch| scratch.bytes_per_work_item >= needed) {
            return Ok(Supply::Ready);
        }
        if memory.load_u32(self.amd_queue + CAPABILITIES)? & SOFTWARE_RECLAIMS_ASYNCHRONOUSLY != 0 {
            let cure = "give the GPU node a lower fw_version";
            return refuse(wave, format!("the host reclaims scratch memory asynchronously, which this device does not do: {cure}"));
        }
        signal::ask(memory, signal, code(wave).signal_value(), host)?;
        self.talk = Talk::Asked;
        Ok(Supply::Pending)
    }
}

const fn code(wave: WaveSize) -> QueueError {
    match wave {
        WaveSize::Lanes64 => QueueError::InsufficientScratch,
        WaveSize::Lanes32 => QueueError::InsufficientScratchWave32,
    }
}

fn refuse(wave: WaveSize, detail: String) -> Result<Supply, Refusal> {
    Err(Refusal::new(code(wave), detail))
}
