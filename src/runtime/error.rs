//! What can go wrong in the runtime, and the status each becomes.

use super::bed::BedError;
use super::device::DeviceError;
use super::device::vfio::VfioError;
use super::loader::LoadError;
use super::pages::PagesError;
use crate::faults::{INJECT_ENV, PlanError};
use crate::hsa::sys;
use crate::model::endpoint_registers::Status;

/// AMD's addition to `hsa_status_t` (hsa_ext_amd.h).
pub const STATUS_INVALID_MEMORY_POOL: sys::hsa_status_t = 40;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// What the software GPU is to do wrong is not said clearly.
    #[error("{INJECT_ENV}: {0}")]
    Faults(#[from] PlanError),
    /// No `hsa_init` is in force.
    #[error("the runtime is not initialized")]
    NotInitialized,
    /// A runtime that was shut down is in a callback or a wait that does not end.
    #[error("the runtime before has not ended: a callback or a wait of it goes on")]
    StillEnding,
    /// Too many nested `hsa_init`.
    #[error("too many nested hsa_init calls")]
    RefcountOverflow,
    /// An argument that no call accepts.
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),
    /// No such agent.
    #[error("{0:#x} is no agent")]
    InvalidAgent(u64),
    /// No such ISA.
    #[error("{0:#x} is no instruction set architecture")]
    InvalidIsa(u64),
    /// No such pool.
    #[error("{0:#x} is no memory pool")]
    InvalidPool(u64),
    /// No such signal.
    #[error("{0:#x} is no signal")]
    InvalidSignal(u64),
    /// No such queue.
    #[error("{0:#x} is no queue")]
    InvalidQueue(u64),
    /// An agent that has no such queue.
    #[error("cannot create the queue: {0}")]
    InvalidQueueCreation(&'static str),
    /// More than the pool can give at once.
    #[error("an allocation of {bytes} bytes is larger than the pool")]
    InvalidAllocation {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Something ran out.
    #[error("out of resources: {0}")]
    OutOfResources(&'static str),
    /// No such reader.
    #[error("{0:#x} is no code object reader")]
    InvalidReader(u64),
    /// No such executable.
    #[error("{0:#x} is no executable")]
    InvalidExecutable(u64),
    /// The executable takes no more code.
    #[error("the executable is frozen")]
    FrozenExecutable,
    /// The executable has the name already.
    #[error("the executable already defines {0}")]
    AlreadyDefined(String),
    /// No such name.
    #[error("the executable defines no {0}")]
    InvalidSymbolName(String),
    /// No such symbol.
    #[error("{0:#x} is no executable symbol")]
    InvalidSymbol(u64),
    /// The device has not stamped the signal.
    #[error("the signal holds no dispatch time")]
    NoDispatchTime,
    /// The code object.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The modelled machine.
    #[error(transparent)]
    Bed(#[from] BedError),
    /// The device did not start or refused a queue.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Memory.
    #[error(transparent)]
    Memory(#[from] PagesError),
}

impl RuntimeError {
    /// What the C caller gets (HSA 1.2, per function).
    #[must_use]
    pub const fn status(&self) -> sys::hsa_status_t {
        match self {
            Self::NotInitialized => sys::HSA_STATUS_ERROR_NOT_INITIALIZED,
            Self::RefcountOverflow => sys::HSA_STATUS_ERROR_REFCOUNT_OVERFLOW,
            Self::Faults(_) => sys::HSA_STATUS_ERROR,
            Self::InvalidArgument(_) => sys::HSA_STATUS_ERROR_INVALID_ARGUMENT,
            Self::InvalidAgent(_) => sys::HSA_STATUS_ERROR_INVALID_AGENT,
            Self::InvalidIsa(_) => sys::HSA_STATUS_ERROR_INVALID_ISA,
            Self::InvalidPool(_) => STATUS_INVALID_MEMORY_POOL,
            Self::InvalidSignal(_) => sys::HSA_STATUS_ERROR_INVALID_SIGNAL,
            Self::InvalidQueue(_) => sys::HSA_STATUS_ERROR_INVALID_QUEUE,
            Self::InvalidQueueCreation(_) => sys::HSA_STATUS_ERROR_INVALID_QUEUE_CREATION,
            Self::InvalidAllocation { .. } => sys::HSA_STATUS_ERROR_INVALID_ALLOCATION,
            // The device has queues, but not this one or not now: nothing that free memory would change.
            Self::Device(DeviceError::Vfio(VfioError::Refused { status, .. })) if !matches!(status, Status::TooManyQueues) => {
                sys::HSA_STATUS_ERROR_INVALID_QUEUE_CREATION
            }
            // hsa_init has no other word for a device that is not free.
            Self::StillEnding | Self::OutOfResources(_) | Self::Memory(_) | Self::Bed(_) | Self::Device(_) => {
                sys::HSA_STATUS_ERROR_OUT_OF_RESOURCES
            }
            Self::InvalidReader(_) => sys::HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER,
            Self::InvalidExecutable(_) => sys::HSA_STATUS_ERROR_INVALID_EXECUTABLE,
            Self::FrozenExecutable => sys::HSA_STATUS_ERROR_FROZEN_EXECUTABLE,
            Self::AlreadyDefined(_) => sys::HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED,
            Self::InvalidSymbolName(_) => sys::HSA_STATUS_ERROR_INVALID_SYMBOL_NAME,
            Self::InvalidSymbol(_) => sys::HSA_STATUS_ERROR_INVALID_EXECUTABLE_SYMBOL,
            Self::Load(LoadError::WrongProcessor { .. }) => sys::HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS,
            Self::Load(_) => sys::HSA_STATUS_ERROR_INVALID_CODE_OBJECT,
            Self::NoDispatchTime => sys::HSA_STATUS_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_device_is_out_of_resources() {
        let refused =
            |status| RuntimeError::from(DeviceError::from(VfioError::Refused { what: "to create a queue", status })).status();
        assert_eq!(refused(Status::TooManyQueues), sys::HSA_STATUS_ERROR_OUT_OF_RESOURCES);
        assert_eq!(refused(Status::BusMasterDisabled), sys::HSA_STATUS_ERROR_INVALID_QUEUE_CREATION);
    }
}
