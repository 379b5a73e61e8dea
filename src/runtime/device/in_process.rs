//! The software GPU as a thread of this process.

use std::sync::Arc;

use super::{Device, DeviceError, Doorbell, Interrupts};
use crate::faults::FaultPlan;
use crate::model::address::GpuVa;
use crate::model::fabric::FabricCounters;
use crate::model::gpu::{Gpu, GpuConfig, InterruptSink, QueueDescriptor, QueueId};
use crate::model::host::HostProtocol;
use crate::model::machine::Machine;
use crate::model::memory::{Home, MapError, Mapping};
use crate::model::target::Target;
use crate::runtime::agents::Identity;
use crate::runtime::error::RuntimeError;
use crate::runtime::pages::{AddressSpace, Pages, PagesError};

/// Signals that can exist at once. Only those that do cost memory.
const SIGNALS: usize = 1 << 18;

/// What listings call the GPU of this machine.
const PRODUCT: &str = "Fiji (aqlprobe software model)";

/// The device. Its PCI tree goes after it.
pub struct InProcess {
    gpu: Gpu,
    identity: Identity,
    /// Kept so that its tree lives as long as the device.
    _machine: Machine,
}

impl InProcess {
    /// Powers the device up in the tree that the environment names, or in one of its own.
    ///
    /// # Errors
    /// There is no such tree, or no thread.
    pub fn start(interrupts: Arc<dyn InterruptSink>) -> Result<Self, RuntimeError> {
        let machine = Machine::open(Target::Gfx803)?;
        let config = GpuConfig {
            target: Target::Gfx803,
            sysfs_root: machine.sysfs_root.clone(),
            endpoint: machine.endpoint.to_string(),
            host: HostProtocol::EMBEDDED,
            faults: FaultPlan::of_environment()?,
        };
        let gpu = Gpu::start(&config, interrupts).map_err(DeviceError::from)?;
        let identity = Identity { bdf: machine.endpoint, device_id: machine.device_id, product: PRODUCT };
        Ok(Self { gpu, identity, _machine: machine })
    }
}

impl AddressSpace for InProcess {
    fn allocate(&self, bytes: usize, home: Home) -> Result<Pages, PagesError> {
        self.gpu.memory().allocate(bytes, home)
    }

    fn capacity(&self, home: Home) -> usize {
        self.gpu.memory().capacity(home)
    }

    unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError> {
        // SAFETY: the caller's promise.
        unsafe { self.gpu.memory().map(mapping) }
    }

    fn unmap(&self, va: GpuVa) {
        AddressSpace::unmap(self.gpu.memory(), va);
    }
}

impl Device for InProcess {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn interrupts(&self) -> Interrupts {
        Interrupts::Delivered
    }

    fn signal_limit(&self) -> usize {
        SIGNALS
    }

    fn create_queue(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Doorbell), DeviceError> {
        let (id, doorbell) = self.gpu.create_queue(descriptor)?;
        Ok((id, Doorbell::InProcess(doorbell)))
    }

    fn destroy_queue(&self, queue: QueueId) {
        self.gpu.destroy_queue(queue);
    }

    fn timestamp(&self) -> u64 {
        self.gpu.timestamp()
    }

    fn last_fault(&self) -> Option<String> {
        self.gpu.last_fault().map(|fault| format!("{fault:?}"))
    }

    fn fabric_counters(&self) -> Option<FabricCounters> {
        Some(self.gpu.fabric_counters())
    }
}
