//! The device's view of memory: which ranges exist, where they lie in this process, and checked access to them.
//!
//! This is the model's only module that touches memory which the host or a guest shares with it. The rules, after
//! rust-vmm's vm-memory:
//!
//! * **Invariant of a mapping**: from [`MemoryMap::map`] until [`MemoryMap::unmap`] of it has returned, its `length` bytes at
//!   `host` are mapped and may be read, and written unless the mapping is read-only. Who maps promises it (`map` is `unsafe`); every
//!   `unsafe` block below rests on it.
//! * A [`MapView`] holds the map's read lock, so `unmap` waits until no view can reach the range.
//! * No reference to shared bytes is ever made, except to atomics. Aligned words are relaxed atomics; wide rows are raw
//!   copies, which like the hardware's promise nothing about a race on ordinary data.

mod view;

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::address::GpuVa;

pub use view::{MapView, Plain, Window};

/// Where a range lies in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPtr(NonNull<u8>);

// SAFETY: a HostPtr is an address only; reading or writing through it happens under a MapView, whose invariant makes it sound.
unsafe impl Send for HostPtr {}
// SAFETY: as above; a shared HostPtr gives no access by itself.
unsafe impl Sync for HostPtr {}

impl HostPtr {
    /// The address of the range's first byte.
    #[must_use]
    pub const fn new(pointer: NonNull<u8>) -> Self {
        Self(pointer)
    }

    /// The raw pointer.
    #[must_use]
    pub const fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr()
    }
}

/// On which side of the PCIe link the device's atomics to a range are performed; AtomicOps to [`Home::Host`] cross the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// System memory: AtomicOps need the PCIe path.
    Host,
    /// System memory that is coarse-grained (HSA 1.2 §2.3.1): the device may keep it in its cache, where it performs atomics of any
    /// scope and any operation ("Hardware atomics operation support" in ROCm's documentation: downgraded to device scope). No
    /// AtomicOp leaves the device.
    CachedHost,
    /// The device's own memory: atomics never leave it.
    DeviceLocal,
}

/// What the device may do to a range. Reading is always allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Loads only.
    ReadOnly,
    /// Loads, stores and atomics.
    ReadWrite,
    /// Loads and instruction fetch.
    ReadExecute,
    /// Everything: what AMD's runtime loads code into. Who writes code there must say so ([`MapView::invalidate_code`]).
    ReadWriteExecute,
}

impl Protection {
    #[inline(always)]
    const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => true,
            Access::Write | Access::Atomic => matches!(self, Self::ReadWrite | Self::ReadWriteExecute),
            Access::Execute => matches!(self, Self::ReadExecute | Self::ReadWriteExecute),
        }
    }
}

/// How the device touched memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// A read-modify-write.
    Atomic,
    /// An instruction fetch.
    Execute,
}

impl Access {
    const KINDS: usize = 4;
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic",
            Self::Execute => "instruction fetch",
        })
    }
}

/// Why an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// No mapping holds the whole access.
    Unmapped,
    /// The mapping does not allow this kind of access.
    Protection,
    /// An atomic that is not naturally aligned (PCIe: Malformed TLP; the shader core faults as well).
    Misaligned,
}

impl fmt::Display for FaultReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unmapped => "no mapping holds it",
            Self::Protection => "the mapping forbids it",
            Self::Misaligned => "it is not naturally aligned",
        })
    }
}

/// A device access that memory refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory fault: {access} of {length} bytes at {va}: {reason}")]
pub struct MemoryFault {
    /// The first byte of the access.
    pub va: GpuVa,
    /// Bytes touched.
    pub length: u64,
    /// What was tried.
    pub access: Access,
    /// Why not.
    pub reason: FaultReason,
}

/// Why a range could not be mapped or unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Zero bytes, or past the end of the address space.
    #[error("cannot map {length} bytes at {va}: the range is empty or leaves the address space")]
    BadRange {
        /// First byte.
        va: GpuVa,
        /// Bytes.
        length: u64,
    },
    /// The range meets one that is mapped already.
    #[error("cannot map {length} bytes at {va}: the range overlaps the mapping at {other}")]
    Overlap {
        /// First byte.
        va: GpuVa,
        /// Bytes.
        length: u64,
        /// Start of the mapping in the way.
        other: GpuVa,
    },
    /// Nothing starts there.
    #[error("no mapping starts at {va}")]
    NotMapped {
        /// The address asked for.
        va: GpuVa,
    },
}

/// One range of the device's address space.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// First address, as the device sees it.
    pub va: GpuVa,
    /// Bytes.
    pub length: u64,
    /// The first byte, as this process sees it.
    pub host: HostPtr,
    /// Which side of the link.
    pub home: Home,
    /// What the device may do.
    pub protection: Protection,
}

impl Mapping {
    /// Offset of `va` if the whole access lies inside.
    #[inline(always)]
    fn offset_of(&self, va: GpuVa, length: u64) -> Option<u64> {
        let offset = va - self.va;
        (offset < self.length && length <= self.length - offset).then_some(offset)
    }
}

#[derive(Debug, Default)]
struct Mappings {
    /// Sorted by address, without overlaps.
    sorted: Vec<Mapping>,
    /// Grows whenever executable memory appears or goes: decoded code is valid for one generation.
    code_generation: AtomicU64,
    /// Where in `sorted` addresses like these were found last; never more than a guess.
    guesses: [AtomicUsize; GUESSES],
}

/// A packet touches its ring, its queue, code, arguments and a signal: as many mappings, far from each other.
const GUESSES: usize = 16;

impl Mappings {
    fn guess(&self, va: GpuVa) -> &AtomicUsize {
        // Mappings are whole pages, and large ones differ in higher bits.
        &self.guesses[((va.0 >> 12) ^ (va.0 >> 21)) as usize % GUESSES]
    }

    /// The last mapping that starts at or below `va`.
    fn at_or_below(&self, va: GpuVa) -> Option<usize> {
        let guess = self.guess(va);
        let guessed = guess.load(Ordering::Relaxed);
        if self.sorted.get(guessed).is_some_and(|mapping| va.0.wrapping_sub(mapping.va.0) < mapping.length) {
            return Some(guessed);
        }
        let index = self.sorted.partition_point(|mapping| mapping.va <= va).checked_sub(1)?;
        guess.store(index, Ordering::Relaxed);
        Some(index)
    }
}

/// All ranges the device can reach. Shared between the door that maps and the thread that executes.
#[derive(Debug, Default)]
pub struct MemoryMap {
    mappings: RwLock<Mappings>,
}

impl MemoryMap {
    /// An empty map: every access faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a range reachable.
    ///
    /// # Errors
    /// The range is empty, wraps around, or meets another.
    ///
    /// # Safety
    /// The caller promises the invariant of a mapping (see the module) for `mapping`.
    pub unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError> {
        let Mapping { va, length, .. } = mapping;
        if length == 0 || va.checked_add(length).is_none() {
            return Err(MapError::BadRange { va, length });
        }
        let mut mappings = self.mappings.write().unwrap_or_else(PoisonError::into_inner);
        let at = mappings.sorted.partition_point(|other| other.va < va);
        let before = at.checked_sub(1).map(|index| mappings.sorted[index]).filter(|other| va - other.va < other.length);
        let after = mappings.sorted.get(at).copied().filter(|other| other.va - va < length);
        if let Some(other) = before.or(after) {
            return Err(MapError::Overlap { va, length, other: other.va });
        }
        mappings.sorted.insert(at, mapping);
        mappings.note_code(mapping);
        Ok(())
    }

    /// Takes the range that starts at `va` away. When this returns, no view reaches it any more.
    ///
    /// # Errors
    /// No mapping starts there.
    pub fn unmap(&self, va: GpuVa) -> Result<Mapping, MapError> {
        let mut mappings = self.mappings.write().unwrap_or_else(PoisonError::into_inner);
        let at = mappings.sorted.binary_search_by_key(&va, |mapping| mapping.va).map_err(|_| MapError::NotMapped { va })?;
        let mapping = mappings.sorted.remove(at);
        mappings.note_code(mapping);
        Ok(mapping)
    }

    /// A consistent view for a burst of accesses. It blocks [`Self::unmap`], so keep it for a quantum, not longer.
    #[must_use]
    pub fn view(&self) -> MapView<'_> {
        MapView::new(self.mappings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Mappings {
    fn note_code(&mut self, mapping: Mapping) {
        if mapping.protection.allows(Access::Execute) {
            *self.code_generation.get_mut() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
