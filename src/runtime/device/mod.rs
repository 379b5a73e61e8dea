//! What this runtime drives: the lower boundary, behind which a device is a thread of this process or a PCIe function.
//!
//! | device | memory that it reaches | doorbell | interrupts |
//! |---|---|---|---|
//! | [`in_process`]: the software GPU here | what is mapped into its [`MemoryMap`](crate::model::memory::MemoryMap) | a word of this process | calls |
//! | [`vfio`]: the software GPU's PCIe endpoint | an arena at IOVA = VA, and its own memory through BAR0 | a word of BAR2 | none: waits poll |

pub mod in_process;
pub mod vfio;

use std::env;
use std::sync::Arc;

use super::agents::Identity;
use super::error::RuntimeError;
use super::events::Events;
use super::pages::AddressSpace;
use crate::model::fabric::FabricCounters;
use crate::model::gpu::{self, Gpu, GpuError, QueueDescriptor, QueueId};
use in_process::InProcess;
use vfio::{VfioDevice, VfioError};

/// Ticks per second of every device's clock.
pub const TIMESTAMP_HZ: u64 = Gpu::TIMESTAMP_HZ;

/// How the host learns of completions besides looking at the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// The device interrupts, so a blocked wait sleeps until it does.
    Delivered,
    /// It does not: a blocked wait looks again after a short sleep.
    Polled,
}

/// Why a device cannot be had or refuses.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The software GPU of this process.
    #[error(transparent)]
    InProcess(#[from] GpuError),
    /// The function behind vfio-pci.
    #[error(transparent)]
    Vfio(#[from] VfioError),
}

/// A queue's doorbell, as the host rings it.
#[derive(Clone, Debug)]
pub enum Doorbell {
    /// A word of this process that the device's thread looks at.
    InProcess(Arc<gpu::Doorbell>),
    /// A word of a BAR.
    Mapped(Arc<vfio::MappedDoorbell>),
}

impl Doorbell {
    /// Tells the device the index of the last published packet. Producers may ring out of order; `u64::MAX` says nothing.
    #[inline]
    pub fn ring(&self, index: u64) {
        match self {
            Self::InProcess(doorbell) => doorbell.ring(index),
            Self::Mapped(doorbell) => doorbell.ring(index),
        }
    }
}

/// A device with queues.
pub trait Device: AddressSpace {
    /// What its PCI function says.
    fn identity(&self) -> &Identity;

    /// How the host learns of completions.
    fn interrupts(&self) -> Interrupts;

    /// Signals to prepare memory for. Memory that the device reaches may be pinned, so this may be less than one would like.
    fn signal_limit(&self) -> usize;

    /// Starts processing a queue at the read index that its `amd_queue_t` holds.
    ///
    /// # Errors
    /// The ring is malformed, the device cannot reach it, or there are too many queues.
    fn create_queue(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Doorbell), DeviceError>;

    /// Stops a queue; when this returns, the device no longer touches its memory. One that is not there is no error.
    fn destroy_queue(&self, queue: QueueId);

    /// The clock that signal timestamps are in, in ticks of [`TIMESTAMP_HZ`].
    fn timestamp(&self) -> u64;

    /// What stopped the queue that failed last, in words.
    fn last_fault(&self) -> Option<String>;

    /// What became of the device's AtomicOps to host memory so far; `None` when it cannot be asked.
    fn fabric_counters(&self) -> Option<FabricCounters>;
}

/// A device, and the events that its interrupts fire.
pub struct Opened {
    /// The device.
    pub device: Arc<dyn Device>,
    /// The events.
    pub events: Arc<Events>,
}

/// Opens the device that the environment names ([`vfio::DEVICE_ENV`]), else the software GPU of this process.
///
/// # Errors
/// It cannot be opened.
pub fn open() -> Result<Opened, RuntimeError> {
    match env::var(vfio::DEVICE_ENV) {
        Ok(address) if !address.is_empty() => {
            let device = VfioDevice::open(&address, &vfio::Settings::from_environment().map_err(DeviceError::from)?)
                .map_err(DeviceError::from)?;
            Ok(Opened { device: Arc::new(device), events: Arc::new(Events::without_interrupts()) })
        }
        _ => {
            let events = Arc::new(Events::new());
            Ok(Opened { device: Arc::new(InProcess::start(events.clone())?), events })
        }
    }
}
