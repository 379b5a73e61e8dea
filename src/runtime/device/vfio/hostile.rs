//! The endpoint in the hands of somebody who follows no rules: stores of any value to any place that a guest can reach.
//!
//! For tests of the endpoint's hardness: nothing here checks what it is asked to write.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::container::{Container, Iommu};
use super::error::VfioError;
use super::function::Function;
use super::mapping::{BarMapping, HUGE_PAGE, Placement};
use super::{ARENA, DOORBELL_BAR, LOCAL_BAR};
use crate::model::endpoint_registers::{DOORBELL_BYTES, VRAM_BYTES};
use crate::pci::Bdf;

/// Memory that the device reaches while it is mapped.
const ARENA_BYTES: u64 = 2 * HUGE_PAGE as u64;

/// A place that a guest can store to without an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Host memory at IOVA = VA.
    Arena,
    /// BAR2.
    Doorbells,
    /// BAR0.
    Local,
}

/// The endpoint and everything that a guest has of it.
pub struct HostileDriver {
    function: Arc<Function>,
    container: Container,
    arena: BarMapping,
    doorbells: BarMapping,
    local: BarMapping,
}

impl HostileDriver {
    /// Opens the function, which must be bound to vfio-pci, and maps an arena.
    ///
    /// # Errors
    /// [`VfioError`].
    pub fn open(bdf: &Bdf) -> Result<Self, VfioError> {
        let container = Container::open(bdf)?;
        let function = Arc::new(Function::new(container.device(bdf)?)?);
        let doorbells = function.map_bar(DOORBELL_BAR, DOORBELL_BYTES, Placement::Anywhere)?;
        let local = function.map_bar(LOCAL_BAR, VRAM_BYTES, Placement::Anywhere)?;
        let reserve = |source| VfioError::Reserve { address: ARENA, bytes: HUGE_PAGE * 2, source };
        let memory = memfd_create("aqlprobe-hostile", MemfdFlags::CLOEXEC).map_err(|error| reserve(error.into()))?;
        ftruncate(&memory, ARENA_BYTES).map_err(|error| reserve(error.into()))?;
        let arena = BarMapping::new(&memory, 0, HUGE_PAGE * 2, Placement::At(ARENA)).map_err(reserve)?;
        Ok(Self { function, container, arena, doorbells, local })
    }

    /// Device address of the arena's first byte.
    #[must_use]
    pub fn arena_address(&self) -> u64 {
        self.arena.address()
    }

    /// Bytes of a place.
    #[must_use]
    pub const fn bytes(&self, place: Place) -> u64 {
        self.place(place).length() as u64
    }

    const fn place(&self, place: Place) -> &BarMapping {
        match place {
            Place::Arena => &self.arena,
            Place::Doorbells => &self.doorbells,
            Place::Local => &self.local,
        }
    }

    /// Stores a word; nothing where the place has none at `offset`.
    pub fn store(&self, place: Place, offset: u64, value: u64) {
        if let Some(word) = self.place(place).word(offset) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Writes to BAR5; the endpoint may refuse.
    pub fn write_registers(&self, offset: u64, bytes: &[u8]) {
        let _ = self.function.write_raw_registers(offset, bytes);
    }

    /// Reads from BAR5; nothing when the endpoint refuses.
    #[must_use]
    pub fn read_registers(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.function.read_raw_registers(offset, &mut bytes).ok().map(|()| bytes)
    }

    /// Writes config space; kernel or endpoint may refuse.
    pub fn write_config(&self, offset: u64, bytes: &[u8]) {
        let _ = self.function.write_raw_config(offset, bytes);
    }

    /// Lets the device reach a part of the arena; whether it was reachable before is nobody's care.
    pub fn map(&self, offset: u64, bytes: u64) {
        if usize::try_from(bytes).ok().and_then(|length| self.arena.part(offset, length)).is_some() {
            // SAFETY: a part of the arena, which is reached through BarMapping's atomics only and lives as long as self.
            let _ = unsafe { self.container.map(self.arena_address() + offset, bytes) };
        }
    }

    /// Takes it away, whatever the device is doing there.
    pub fn unmap(&self, offset: u64, bytes: u64) {
        let _ = self.container.unmap(self.arena_address() + offset, bytes);
    }
}
