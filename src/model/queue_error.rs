//! Error codes that the packet processor stores into a queue's inactive signal when it stops the queue.
//!
//! The numbers and the status each becomes are those that AMD's runtime reads back in its dynamic queue event handler
//! (ROCR-Runtime, `core/runtime/amd_aql_queue.cpp`, `AqlQueue::DynamicQueueEventsHandler`). Where KFD can debug exceptions the
//! runtime hears of them in another way and with other numbers (`AqlQueue::ExceptionHandler`), which this device does not have.

use std::fmt;

use crate::hsa::sys;

/// AMD's addition to `hsa_status_t` for an access outside every aperture (hsa_ext_amd.h).
pub const STATUS_MEMORY_APERTURE_VIOLATION: sys::hsa_status_t = 41;
/// AMD's addition to `hsa_status_t` for an illegal instruction (hsa_ext_amd.h).
pub const STATUS_ILLEGAL_INSTRUCTION: sys::hsa_status_t = 42;

/// AMD's addition to `hsa_status_t` for a kernel with too many vector registers (hsa_ext_amd.h).
pub const STATUS_OUT_OF_REGISTERS: sys::hsa_status_t = 45;

/// Why a queue stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum QueueError {
    /// A kernel needs private memory that the queue does not have.
    InsufficientScratch = 0x1,
    /// The dimensions of a dispatch are not 1 to 3, or one of its sizes is zero.
    InvalidDimensions = 0x2,
    /// A dispatch asks for more LDS than a workgroup can have.
    InvalidGroupSegment = 0x4,
    /// The kernel object is null or no kernel descriptor.
    InvalidCode = 0x8,
    /// A packet of a type that this queue does not process.
    InvalidPacket = 0x20,
    /// A workgroup has more work-items than the device can hold.
    WorkgroupTooLarge = 0x40,
    /// A workgroup needs more vector registers than there are.
    InsufficientRegisters = 0x80,
    /// A vendor packet of unknown format.
    InvalidVendorPacket = 0x100,
    /// A kernel of 32 work-items a wave needs private memory that the queue does not have.
    InsufficientScratchWave32 = 0x400,
    /// An access that memory refused, by a wave or by the packet processor itself.
    MemoryViolation = 0x2000_0000,
    /// A wave met a word sequence that is no instruction.
    IllegalInstruction = 0x4000_0000,
    /// A wave executed `s_trap`.
    Trap = 0x8000_0000,
}

impl QueueError {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::InsufficientScratch,
        Self::InsufficientScratchWave32,
        Self::InvalidDimensions,
        Self::InvalidGroupSegment,
        Self::InvalidCode,
        Self::InvalidPacket,
        Self::WorkgroupTooLarge,
        Self::InsufficientRegisters,
        Self::InvalidVendorPacket,
        Self::MemoryViolation,
        Self::IllegalInstruction,
        Self::Trap,
    ];

    /// The value of the inactive signal.
    #[must_use]
    pub const fn signal_value(self) -> i64 {
        self as u32 as i64
    }

    /// Reads a value of the inactive signal back; `None` for 0 (no error) and for values this device does not store.
    #[must_use]
    pub fn from_signal_value(value: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.signal_value() == value)
    }

    /// The status that a queue's error callback receives.
    #[must_use]
    pub const fn status(self) -> sys::hsa_status_t {
        match self {
            Self::InsufficientScratch | Self::InsufficientScratchWave32 => sys::HSA_STATUS_ERROR_OUT_OF_RESOURCES,
            Self::InvalidDimensions => sys::HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS,
            Self::InvalidGroupSegment => sys::HSA_STATUS_ERROR_INVALID_ALLOCATION,
            Self::InvalidCode => sys::HSA_STATUS_ERROR_INVALID_CODE_OBJECT,
            Self::InvalidPacket | Self::InvalidVendorPacket => sys::HSA_STATUS_ERROR_INVALID_PACKET_FORMAT,
            Self::WorkgroupTooLarge => sys::HSA_STATUS_ERROR_INVALID_ARGUMENT,
            Self::InsufficientRegisters => STATUS_OUT_OF_REGISTERS,
            Self::MemoryViolation => STATUS_MEMORY_APERTURE_VIOLATION,
            Self::IllegalInstruction => STATUS_ILLEGAL_INSTRUCTION,
            Self::Trap => sys::HSA_STATUS_ERROR_EXCEPTION,
        }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InsufficientScratch | Self::InsufficientScratchWave32 => "insufficient scratch",
            Self::InvalidDimensions => "invalid dimensions",
            Self::InvalidGroupSegment => "invalid group segment size",
            Self::InvalidCode => "invalid kernel object",
            Self::InvalidPacket => "invalid packet",
            Self::WorkgroupTooLarge => "workgroup too large",
            Self::InsufficientRegisters => "insufficient vector registers",
            Self::InvalidVendorPacket => "invalid vendor packet",
            Self::MemoryViolation => "memory violation",
            Self::IllegalInstruction => "illegal instruction",
            Self::Trap => "trap",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_bit_and_reads_back() {
        for error in QueueError::ALL {
            assert_eq!(error.signal_value().count_ones(), 1, "{error}");
            assert!(error.signal_value() > 0, "{error}: a negative signal value would look like an HSA error status");
            assert_eq!(QueueError::from_signal_value(error.signal_value()), Some(error));
        }
        assert_eq!(QueueError::from_signal_value(0), None);
    }
}
