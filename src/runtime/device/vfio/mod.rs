//! The software GPU's PCIe endpoint, driven from user space over vfio-pci (Linux, Documentation/driver-api/vfio.rst).
//!
//! The device has an address space of its own, the IOMMU's, which is laid out so that an address means the same on both sides:
//! host memory comes from an arena at IOVA = VA, device memory is BAR0 mapped at the address that the device is told.
//! The device raises no interrupt here (vfio would deliver one by an eventfd), so blocked waits poll.

mod container;
mod control;
mod doorbell;
mod error;
mod function;
pub mod hostile;
mod ioctl;
mod mapping;
mod memory;
mod ranges;
mod settings;

pub use crate::runtime::log::LOG_ENV;
pub use doorbell::MappedDoorbell;
#[cfg(test)]
pub use doorbell::TestBar;
pub use error::VfioError;
pub use settings::{BUS_MASTER_ENV, COUNTERS_ENV, DEVICE_ENV, REQUESTER_ENV, Settings};

use std::fs;
use std::sync::Arc;

use super::{Device, DeviceError, Doorbell, Interrupts};
use crate::model::address::GpuVa;
use crate::model::endpoint_registers::DOORBELL_STRIDE;
use crate::model::fabric::FabricCounters;
use crate::model::gpu::{QueueDescriptor, QueueId};
use crate::model::memory::{Home, MapError, Mapping, Protection};
use crate::pci::{Bdf, registers};
use crate::runtime::agents::Identity;
use crate::runtime::log;
use crate::runtime::pages::{AddressSpace, Pages, PagesError};
use container::Container;
use control::Control;
use function::Function;
use mapping::{BarMapping, Placement};
use memory::{HostMemory, LocalMemory};
use settings::Found;

/// Where the arena lies. Both addresses are below 2^39, the narrowest second level of an Intel IOMMU, and far from where Linux
/// puts programs, libraries and stacks.
const ARENA: u64 = 0x10_0000_0000;
/// Pinned memory at most.
const ARENA_BYTES: usize = 256 << 20;
/// Where the device's memory lies.
const LOCAL: u64 = 0x20_0000_0000;
const LOCAL_BAR: u32 = 0;
const DOORBELL_BAR: u32 = 2;
/// What listings call the GPU.
const PRODUCT: &str = "Fiji (aqlprobe software endpoint)";
/// Signals that can exist at once: 4.5 MiB of pinned memory.
const SIGNALS: usize = 1 << 16;

/// The device.
pub struct VfioDevice {
    identity: Identity,
    control: Control<Arc<Function>>,
    function: Arc<Function>,
    found: Found,
    settings: Settings,
    doorbells: Arc<BarMapping>,
    local: Arc<LocalMemory>,
    host: Arc<HostMemory>,
}

impl VfioDevice {
    /// Opens the function at `address`, which must be bound to vfio-pci, and makes sure that it is the endpoint.
    ///
    /// # Errors
    /// [`VfioError`].
    pub fn open(address: &str, settings: &Settings) -> Result<Self, VfioError> {
        let bdf: Bdf = address.parse()?;
        let container = Arc::new(Container::open(&bdf)?);
        let function = Arc::new(Function::new(container.device(&bdf)?)?);
        let config = function.config()?;
        let identity = Identity { bdf, device_id: config.u16(registers::DEVICE_ID).unwrap_or(0), product: PRODUCT };
        let devctl2 = config.pcie_capability()?.and_then(|capability| capability.devctl2());
        let found = settings::apply(&*function, devctl2, settings)?;
        let opened = Self::drive(identity, container, function.clone(), found, settings);
        if opened.is_err() {
            settings::put_back(&*function, found);
        }
        opened
    }

    fn drive(
        identity: Identity,
        container: Arc<Container>,
        function: Arc<Function>,
        found: Found,
        settings: &Settings,
    ) -> Result<Self, VfioError> {
        let control = Control::open(function.clone())?;
        let doorbells =
            function.map_bar(DOORBELL_BAR, control.queue_limit().saturating_mul(DOORBELL_STRIDE), Placement::Anywhere)?;
        let local = function.map_bar(LOCAL_BAR, control.vram_bytes(), Placement::At(LOCAL))?;
        let local = Arc::new(LocalMemory::new(local));
        control.place_vram(local.address())?;
        let host = Arc::new(HostMemory::new(container, ARENA, ARENA_BYTES)?);
        let (doorbells, settings) = (Arc::new(doorbells), settings.clone());
        let device = Self { identity, control, function, found, settings, doorbells, local, host };
        device.note_counters();
        Ok(device)
    }

    /// Keeps the counters' file up to date. No queue runs between the destruction of the last and the creation of the next, so
    /// a reader that samples between two pieces of work sees exactly what each did.
    fn note_counters(&self) {
        let Some(path) = &self.settings.counters else { return };
        let counters = match self.control.fabric() {
            Ok(counters) => counters,
            Err(error) => return log::note(|| error.to_string()),
        };
        let bytes: Vec<u8> = counters.into_iter().flat_map(u64::to_le_bytes).collect();
        if let Err(error) = fs::write(path, bytes) {
            log::note(|| format!("the fabric counters cannot be kept in {}: {error}", path.display()));
        }
    }
}

impl AddressSpace for VfioDevice {
    fn allocate(&self, bytes: usize, home: Home) -> Result<Pages, PagesError> {
        match home {
            Home::Host | Home::CachedHost => self.host.allocate(bytes),
            Home::DeviceLocal => self.local.allocate(bytes),
        }
    }

    fn capacity(&self, home: Home) -> usize {
        match home {
            Home::Host | Home::CachedHost => self.host.limit(),
            Home::DeviceLocal => self.local.limit(),
        }
    }

    /// The device reaches all that was allocated already; only code needs to be announced.
    unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError> {
        if mapping.protection == Protection::ReadExecute
            && let Err(error) = self.control.invalidate_code()
        {
            // Creating a queue makes the device forget decoded code too, so this costs nothing unless a queue runs already.
            log::note(|| error.to_string());
        }
        Ok(())
    }

    fn unmap(&self, _va: GpuVa) {}
}

impl Device for VfioDevice {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn interrupts(&self) -> Interrupts {
        Interrupts::Polled
    }

    fn signal_limit(&self) -> usize {
        SIGNALS
    }

    fn create_queue(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Doorbell), DeviceError> {
        self.note_counters();
        let id = self.control.create_queue(&descriptor)?;
        match MappedDoorbell::new(self.doorbells.clone(), id.0) {
            Some(doorbell) => Ok((id, Doorbell::Mapped(Arc::new(doorbell)))),
            // The id is below the limit, for which the BAR was found large enough.
            None => Err(VfioError::QueueId { id: id.0.into() }.into()),
        }
    }

    fn destroy_queue(&self, queue: QueueId) {
        if let Err(error) = self.control.destroy_queue(queue) {
            log::note(|| error.to_string());
        }
        self.note_counters();
    }

    fn timestamp(&self) -> u64 {
        self.control.clock().unwrap_or_else(|error| {
            log::note(|| error.to_string());
            0
        })
    }

    fn last_fault(&self) -> Option<String> {
        self.control.fault().unwrap_or_else(|error| Some(error.to_string()))
    }

    fn fabric_counters(&self) -> Option<FabricCounters> {
        self.control.fabric().ok().map(FabricCounters::from_file_order)
    }
}

impl Drop for VfioDevice {
    fn drop(&mut self) {
        // The device forgets its memory's address by the reset that closing causes; this is for a device that has none.
        let _ = self.control.place_vram(0);
        settings::put_back(&*self.function, self.found);
    }
}
