//! Host pages that the device can reach: the runtime's one module that maps memory and touches it while the device may.
//!
//! * **Invariant of [`Pages`]**: `length` bytes at `base` are mapped readable and writable from construction until drop, and
//!   nothing else unmaps them.
//! * **Invariant of [`DeviceMemory`]**: every range it mapped into the device's address space lies inside its pages, and is
//!   unmapped from the device before the pages go.
//! * Bytes that the device or another thread may touch are reached as atomics or by raw copies, never by reference.

use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

use crate::model::address::GpuVa;
use crate::model::gpu::Gpu;
use crate::model::memory::{Home, HostPtr, MapError, Mapping, MemoryMap, Protection};

/// Bytes per page: what allocations are rounded up to.
pub const PAGE_BYTES: usize = 4096;

/// Whose address space memory is mapped into.
pub trait AddressSpace: Send + Sync {
    /// The device's map.
    fn memory(&self) -> &MemoryMap;
}

impl AddressSpace for Gpu {
    fn memory(&self) -> &MemoryMap {
        Self::memory(self)
    }
}

impl AddressSpace for MemoryMap {
    fn memory(&self) -> &MemoryMap {
        self
    }
}

/// Why memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The operating system refused.
    #[error("cannot map {bytes} bytes of host memory: {source}")]
    Host {
        /// Bytes asked for.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
    /// The device's address space refused.
    #[error(transparent)]
    Device(#[from] MapError),
}

/// Zeroed private pages of this process.
#[derive(Debug)]
pub struct Pages {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: Pages own their mapping and give out atomics and raw copies only, which are sound from any thread.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps at least `bytes`, rounded up to whole pages. Nothing is backed by memory before it is touched.
    ///
    /// # Errors
    /// Zero bytes, or the operating system refuses.
    pub fn anonymous(bytes: usize) -> Result<Self, PagesError> {
        let refused = |source| PagesError::Host { bytes, source };
        let length = bytes.checked_next_multiple_of(PAGE_BYTES).filter(|length| *length != 0);
        let length = length.ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE | MapFlags::NORESERVE) }
            .map_err(|error| refused(error.into()))?;
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| refused(io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { base, length })
    }

    /// Address of the first byte, as this process and (shared virtual memory) the device know it.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Bytes, whole pages.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    fn at(&self, offset: usize, bytes: usize) -> *mut u8 {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.length);
        assert!(inside, "{bytes} bytes at offset {offset} of {} mapped ones", self.length);
        self.base.as_ptr().wrapping_add(offset)
    }

    fn word<Word>(&self, offset: usize) -> *mut Word {
        let word = self.at(offset, size_of::<Word>()).cast::<Word>();
        assert!(word.is_aligned(), "offset {offset} is not aligned for an atomic of {} bytes", size_of::<Word>());
        word
    }

    /// The atomic at a byte offset. The offset is the runtime's own: out of bounds or misaligned is a bug and panics.
    #[must_use]
    pub fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: in bounds and aligned (checked by word), mapped while self lives, and only ever accessed atomically or raw.
        unsafe { AtomicU32::from_ptr(self.word(offset)) }
    }

    /// The 64-bit form of [`Self::atomic_u32`].
    #[must_use]
    pub fn atomic_u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: as atomic_u32.
        unsafe { AtomicU64::from_ptr(self.word(offset)) }
    }

    /// The signed 64-bit form of [`Self::atomic_u32`].
    #[must_use]
    pub fn atomic_i64(&self, offset: usize) -> &AtomicI64 {
        // SAFETY: as atomic_u32.
        unsafe { AtomicI64::from_ptr(self.word(offset)) }
    }

    /// Copies bytes in. Same contract on the offset as the atomics.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let target = self.at(offset, bytes.len());
        // SAFETY: `at` checked the bounds; the source is a live slice outside the mapping, which hands out no slices.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours (invariant) and nothing borrowed from it outlives self. Failure would only leak it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), self.length) };
    }
}

/// Pages together with what of them the device can reach.
pub struct DeviceMemory {
    space: Arc<dyn AddressSpace>,
    mapped: Mutex<Vec<GpuVa>>,
    pages: Pages,
}

impl DeviceMemory {
    /// Pages that the device cannot reach yet.
    ///
    /// # Errors
    /// As [`Pages::anonymous`].
    pub fn unreachable(space: Arc<dyn AddressSpace>, bytes: usize) -> Result<Self, PagesError> {
        Ok(Self { space, mapped: Mutex::default(), pages: Pages::anonymous(bytes)? })
    }

    /// Pages that the device may read and write.
    ///
    /// # Errors
    /// As [`Pages::anonymous`], or the device's map refuses.
    pub fn reachable(space: Arc<dyn AddressSpace>, bytes: usize, home: Home) -> Result<Self, PagesError> {
        let memory = Self::unreachable(space, bytes)?;
        memory.map_all(home)?;
        Ok(memory)
    }

    /// Gives the device read and write access to all of the pages.
    ///
    /// # Errors
    /// They are mapped already.
    pub fn map_all(&self, home: Home) -> Result<(), MapError> {
        self.map(0, self.pages.length(), home, Protection::ReadWrite)
    }

    /// Gives the device access to a part of the pages.
    ///
    /// # Errors
    /// The range is empty, leaves the pages, or meets one that is mapped.
    pub fn map(&self, offset: usize, length: usize, home: Home, protection: Protection) -> Result<(), MapError> {
        let va = GpuVa(self.pages.address()) + offset as u64;
        let host = offset
            .checked_add(length)
            .filter(|end| *end <= self.pages.length())
            .and_then(|_| NonNull::new(self.pages.base.as_ptr().wrapping_add(offset)))
            .ok_or(MapError::BadRange { va, length: length as u64 })?;
        let mapping = Mapping { va, length: length as u64, host: HostPtr::new(host), home, protection };
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the range lies in the pages, which stay mapped readable and writable until drop has unmapped it from the device.
        unsafe { self.space.memory().map(mapping) }?;
        mapped.push(va);
        Ok(())
    }

    /// Takes every access of the device away.
    pub fn unmap_all(&self) {
        for va in self.mapped.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // NotMapped cannot be: the list names what this value mapped, and nobody else unmaps it.
            let _ = self.space.memory().unmap(va);
        }
    }

    /// Whether the device reaches any of the pages.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        !self.mapped.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The pages.
    #[must_use]
    pub const fn pages(&self) -> &Pages {
        &self.pages
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.unmap_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::model::memory::FaultReason;

    #[test]
    fn the_device_reaches_what_is_mapped_and_nothing_after_the_drop() {
        let space = Arc::new(MemoryMap::new());
        let memory = DeviceMemory::reachable(space.clone(), 10, Home::Host).unwrap();
        assert_eq!(memory.pages().length(), PAGE_BYTES);
        memory.pages().atomic_u32(8).store(7, Ordering::Relaxed);
        let va = GpuVa(memory.pages().address());
        assert_eq!(space.view().load_u32(va + 8), Ok(7));
        assert_eq!(space.view().load_u32(va + PAGE_BYTES as u64).unwrap_err().reason, FaultReason::Unmapped);
        drop(memory);
        assert_eq!(space.view().load_u32(va).unwrap_err().reason, FaultReason::Unmapped);
    }

    #[test]
    fn a_part_keeps_its_own_protection() {
        let space = Arc::new(MemoryMap::new());
        let memory = DeviceMemory::unreachable(space.clone(), 2 * PAGE_BYTES).unwrap();
        let va = GpuVa(memory.pages().address());
        assert!(!memory.is_mapped());
        memory.map(PAGE_BYTES, 64, Home::DeviceLocal, Protection::ReadOnly).unwrap();
        assert_eq!(space.view().load_u32(va).unwrap_err().reason, FaultReason::Unmapped);
        assert_eq!(space.view().store_u32(va + PAGE_BYTES as u64, 1).unwrap_err().reason, FaultReason::Protection);
        assert!(memory.map(PAGE_BYTES, PAGE_BYTES + 1, Home::Host, Protection::ReadOnly).is_err());
    }

    #[test]
    fn no_memory_of_size_zero_or_beyond_the_address_space() {
        assert!(Pages::anonymous(0).is_err());
        assert!(Pages::anonymous(usize::MAX).is_err());
        assert!(Pages::anonymous(1 << 60).is_err());
    }
}
