//! The GPU together with the memory that is attached to it.
//!
//! **Invariant**, which the memory map asks of whoever maps: what this value maps for the device stays mapped in this process until the
//! device can no longer reach it. It holds because the parts are kept together here: client memory leaves the device's map before
//! its pages are vacated, and the GPU ends before its memory (the order of the fields).

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, fstat};
use rustix::mm::ProtFlags;

use super::pages::{PAGE_BYTES, Reservation, SharedMemory};
use crate::model::address::GpuVa;
use crate::model::gpu::{Gpu, GpuConfig, GpuError, InterruptSink};
use crate::model::memory::{Home, MapError, Mapping, Protection};

/// One past the highest address that can be mapped: what lies above belongs to the device itself (AMD64 addresses have 48 bits).
const ADDRESS_LIMIT: u64 = 1 << 48;
/// Bytes of a reservation. Maps that continue each other are one buffer to the device only within one of them.
const SLAB_BYTES: u64 = 64 << 30;
/// Reservations at once: half of this process's address space.
const MOST_SLABS: usize = 1024;
/// Maps at once, about half of the mappings that Linux lets a process have (`vm.max_map_count`).
const MOST_MAPS: usize = 32 * 1024;

/// What the client lets the device do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaAccess {
    /// Reads.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

/// A part of the device's address space that the client maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaMap {
    /// The first address, as the device sees it.
    pub iova: GpuVa,
    /// Bytes.
    pub bytes: u64,
    /// Where in the file the memory begins.
    pub file_offset: u64,
    /// What the device may do.
    pub access: DmaAccess,
}

/// Whether the device reaches a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It does.
    Reachable,
    /// The client gave no file, so there is nothing that could be mapped: ROMs, other devices' memory. Accesses fault.
    WithoutFile,
}

/// Why a part of the address space cannot be mapped or unmapped.
#[derive(Debug, thiserror::Error)]
pub enum DmaError {
    /// Empty, beyond the device's addresses, or not in whole pages.
    #[error("{bytes} bytes at {iova}, offset {file_offset} of the file: not whole pages below 2^48")]
    BadRange {
        /// The first address.
        iova: GpuVa,
        /// Bytes.
        bytes: u64,
        /// Where in the file.
        file_offset: u64,
    },
    /// The range meets another.
    #[error("{bytes} bytes at {iova} meet what is mapped at {other}")]
    Overlap {
        /// The first address.
        iova: GpuVa,
        /// Bytes.
        bytes: u64,
        /// The map in the way.
        other: GpuVa,
    },
    /// An unmap that would cut a map in two.
    #[error("{bytes} bytes at {iova} are only a part of what was mapped at {other}")]
    PartOfMap {
        /// The first address.
        iova: GpuVa,
        /// Bytes.
        bytes: u64,
        /// The map.
        other: GpuVa,
    },
    /// The file ends before the map does, or is no memory file.
    #[error("the file given for {iova} is no regular file of at least {needed} bytes")]
    File {
        /// The first address.
        iova: GpuVa,
        /// Bytes that the file needs.
        needed: u64,
    },
    /// Too many maps, or too far apart.
    #[error("{maps} maps are too many or too far apart")]
    TooMany {
        /// How many there are.
        maps: usize,
    },
    /// The device's memory is in the way, or the like.
    #[error(transparent)]
    Device(#[from] MapError),
    /// The system does not map it.
    #[error("cannot map memory for {iova}: {source}")]
    System {
        /// The first address.
        iova: GpuVa,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
struct Slab {
    reservation: Reservation,
    maps: usize,
}

/// A map as the client made it. It lies in as many slabs as `parts` has entries.
#[derive(Debug)]
struct Attached {
    bytes: u64,
    parts: Vec<Mapping>,
}

/// The running device and everything it can reach.
#[derive(Debug)]
pub(super) struct AttachedGpu {
    // First: see the invariant.
    gpu: Option<Gpu>,
    config: GpuConfig,
    vram: SharedMemory,
    vram_base: Option<GpuVa>,
    maps: BTreeMap<u64, Attached>,
    slabs: BTreeMap<u64, Slab>,
}

impl AttachedGpu {
    pub(super) fn power_up(config: GpuConfig, vram: SharedMemory, interrupts: Arc<dyn InterruptSink>) -> Result<Self, GpuError> {
        let gpu = Some(Gpu::start(&config, interrupts)?);
        Ok(Self { gpu, config, vram, vram_base: None, maps: BTreeMap::new(), slabs: BTreeMap::new() })
    }

    /// The GPU; `None` after a power cycle that failed.
    pub(super) const fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// The device's memory.
    pub(super) const fn vram(&self) -> &SharedMemory {
        &self.vram
    }

    /// Where the device finds its memory.
    pub(super) const fn vram_base(&self) -> Option<GpuVa> {
        self.vram_base
    }

    /// Ends every queue and starts anew: client memory stays attached, the device's own is nowhere.
    pub(super) fn power_cycle(&mut self, interrupts: Arc<dyn InterruptSink>) -> Result<(), GpuError> {
        self.gpu = None;
        self.vram_base = None;
        let gpu = Gpu::start(&self.config, interrupts)?;
        for part in self.maps.values().flat_map(|attached| &attached.parts) {
            // SAFETY: the invariant of this module.
            unsafe { gpu.memory().map(*part) }?;
        }
        self.gpu = Some(gpu);
        Ok(())
    }

    /// Moves the device's memory to another address, or to none.
    pub(super) fn place_vram(&mut self, base: Option<GpuVa>) -> Result<(), MapError> {
        let Some(gpu) = &self.gpu else { return Ok(()) };
        if let Some(old) = self.vram_base.take() {
            gpu.memory().unmap(old)?;
        }
        let Some(va) = base else { return Ok(()) };
        let length = self.vram.length();
        if !va.is_aligned_to(PAGE_BYTES) || va.checked_add(length).is_none_or(|end| end.0 > ADDRESS_LIMIT) {
            return Err(MapError::BadRange { va, length });
        }
        let meets = self.overlapping(va.0, length).map(|(&start, _)| GpuVa(start));
        if let Some(other) = meets {
            return Err(MapError::Overlap { va, length, other });
        }
        let mapping =
            Mapping { va, length, host: self.vram.host(), home: Home::DeviceLocal, protection: Protection::ReadWriteExecute };
        // SAFETY: the invariant of this module; the memory is dropped after the GPU.
        unsafe { gpu.memory().map(mapping) }?;
        self.vram_base = base;
        Ok(())
    }

    fn overlapping(&self, start: u64, bytes: u64) -> Option<(&u64, &Attached)> {
        let end = start.saturating_add(bytes);
        self.maps.range(..end).next_back().filter(|(first, attached)| *first + attached.bytes > start)
    }

    /// Attaches memory of the client. Without a file the range is taken, and nothing is reachable there.
    pub(super) fn map(&mut self, map: DmaMap, file: Option<OwnedFd>) -> Result<Reachability, DmaError> {
        let DmaMap { iova, bytes, file_offset, .. } = map;
        let in_pages = [iova.0, bytes, file_offset].iter().all(|value| value.is_multiple_of(PAGE_BYTES));
        let inside = iova.checked_add(bytes).is_some_and(|end| end.0 <= ADDRESS_LIMIT);
        let needed = file_offset.checked_add(bytes).filter(|&needed| needed <= i64::MAX as u64);
        let (Some(needed), true) = (needed, in_pages && inside && bytes > 0) else {
            return Err(DmaError::BadRange { iova, bytes, file_offset });
        };
        if let Some((&other, _)) = self.overlapping(iova.0, bytes) {
            return Err(DmaError::Overlap { iova, bytes, other: GpuVa(other) });
        }
        if self.maps.len() >= MOST_MAPS {
            return Err(DmaError::TooMany { maps: self.maps.len() });
        }
        let Some(file) = file else {
            self.maps.insert(iova.0, Attached { bytes, parts: Vec::new() });
            return Ok(Reachability::WithoutFile);
        };
        let is_memory = fstat(&file).is_ok_and(|status| {
            FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
                && u64::try_from(status.st_size).is_ok_and(|size| size >= needed)
        });
        if !is_memory {
            return Err(DmaError::File { iova, needed });
        }
        let mut attached = Attached { bytes, parts: Vec::new() };
        let attaching = self.attach_parts(&map, &file, &mut attached.parts);
        if let Err(error) = attaching {
            self.detach_parts(&attached.parts);
            return Err(error);
        }
        self.maps.insert(iova.0, attached);
        Ok(Reachability::Reachable)
    }

    fn attach_parts(&mut self, map: &DmaMap, file: &OwnedFd, parts: &mut Vec<Mapping>) -> Result<(), DmaError> {
        let (pages, protection) = match map.access {
            DmaAccess::ReadOnly => (ProtFlags::READ, Protection::ReadExecute),
            DmaAccess::ReadWrite => (ProtFlags::READ | ProtFlags::WRITE, Protection::ReadWriteExecute),
        };
        let mut done = 0;
        while done < map.bytes {
            let va = map.iova + done;
            let (slab, offset) = (va.0 / SLAB_BYTES, va.0 % SLAB_BYTES);
            let length = (map.bytes - done).min(SLAB_BYTES - offset);
            let failed = |source| DmaError::System { iova: va, source };
            if !self.slabs.contains_key(&slab) {
                if self.slabs.len() >= MOST_SLABS {
                    return Err(DmaError::TooMany { maps: self.maps.len() });
                }
                self.slabs.insert(slab, Slab { reservation: Reservation::new(SLAB_BYTES).map_err(failed)?, maps: 0 });
            }
            let Some(Slab { reservation, maps }) = self.slabs.get_mut(&slab) else { continue };
            let placed = reservation.place(offset, length, pages, file.as_fd(), map.file_offset + done);
            let mapping = placed.map(|host| Mapping { va, length, host, home: Home::Host, protection });
            let reached = mapping.map_err(failed).and_then(|mapping| {
                if let Some(gpu) = &self.gpu {
                    // SAFETY: the invariant of this module: the pages are vacated by `detach_parts` only, after the unmap.
                    unsafe { gpu.memory().map(mapping) }?;
                }
                Ok(mapping)
            });
            match reached {
                Ok(mapping) => {
                    *maps += 1;
                    parts.push(mapping);
                }
                Err(error) => {
                    // Not reachable for the device; should it stay here, the next one placed here replaces it.
                    let _ = reservation.vacate(offset, length);
                    if *maps == 0 {
                        self.slabs.remove(&slab);
                    }
                    return Err(error);
                }
            }
            done += length;
        }
        Ok(())
    }

    fn detach_parts(&mut self, parts: &[Mapping]) {
        for part in parts {
            if let Some(gpu) = &self.gpu {
                // It was mapped when it was attached, or when the power came back, so it cannot fail.
                let _ = gpu.memory().unmap(part.va);
            }
            let slab = part.va.0 / SLAB_BYTES;
            let Some(Slab { reservation, maps }) = self.slabs.get_mut(&slab) else { continue };
            // Pages that cannot be vacated stay until something else is placed there; the device no longer reaches them.
            let _ = reservation.vacate(part.va.0 % SLAB_BYTES, part.length);
            *maps -= 1;
            if *maps == 0 {
                self.slabs.remove(&slab);
            }
        }
    }

    /// Detaches every map that lies in a range, and says how many there were. When this returns the device no longer reaches them.
    pub(super) fn unmap(&mut self, iova: GpuVa, bytes: u64) -> Result<usize, DmaError> {
        let end = iova.0.saturating_add(bytes);
        let is_part = |first: u64, attached: &Attached| first < iova.0 || first + attached.bytes > end;
        let first = self.maps.range(..=iova.0).next_back().filter(|(first, attached)| *first + attached.bytes > iova.0);
        let last = self.maps.range(..end).next_back().filter(|(first, attached)| *first + attached.bytes > iova.0);
        if let Some((&other, _)) = first.into_iter().chain(last).find(|(first, attached)| bytes > 0 && is_part(**first, attached)) {
            return Err(DmaError::PartOfMap { iova, bytes, other: GpuVa(other) });
        }
        let inside: Vec<u64> =
            self.maps.range((Bound::Included(iova.0), Bound::Excluded(end.max(iova.0)))).map(|(&first, _)| first).collect();
        for first in &inside {
            if let Some(attached) = self.maps.remove(first) {
                self.detach_parts(&attached.parts);
            }
        }
        Ok(inside.len())
    }

    /// Detaches everything that the client mapped.
    pub(super) fn unmap_all(&mut self) -> usize {
        let maps = std::mem::take(&mut self.maps);
        for attached in maps.values() {
            self.detach_parts(&attached.parts);
        }
        maps.len()
    }
}
