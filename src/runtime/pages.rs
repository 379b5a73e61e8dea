//! Host pages that the device can reach: the runtime's one module that maps memory and touches it while the device may.
//!
//! * **Invariant of [`Pages`]**: `length` bytes at `base` are mapped readable and writable from construction until drop, and
//!   nothing else unmaps or uses them. Pages of our own are unmapped on drop, lent ones go back to the lender.
//! * **Invariant of [`DeviceMemory`]**: every range it mapped into the device's address space lies inside its pages, and is
//!   unmapped from the device before the pages go.
//! * Bytes that the device or another thread may touch are reached as atomics or by raw copies, never by reference.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

use crate::model::address::GpuVa;
use crate::model::memory::{Home, HostPtr, MapError, Mapping, MemoryMap, Protection};

/// Bytes per page: what allocations are rounded up to.
pub const PAGE_BYTES: usize = 4096;

/// Memory for host and device, and what of it the device reaches.
pub trait AddressSpace: Send + Sync {
    /// Zeroed, page-aligned memory of at least `bytes` on one side of the link, at an address that is the same for the device. It need
    /// not reach it yet.
    ///
    /// # Errors
    /// Zero bytes, or there is no memory.
    fn allocate(&self, bytes: usize, home: Home) -> Result<Pages, PagesError>;

    /// Bytes that there are at most on one side of the link.
    fn capacity(&self, home: Home) -> usize;

    /// Lets the device reach a part of what was allocated.
    ///
    /// # Errors
    /// The range is empty, or meets one that is mapped.
    ///
    /// # Safety
    /// The caller promises the invariant of a mapping (see [`crate::model::memory`]) for `mapping`.
    unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError>;

    /// Takes that away again; nothing happens where nothing is mapped.
    fn unmap(&self, va: GpuVa);
}

/// Bytes of memory on either side of the in-process device: Fiji has 4 GiB of its own.
const MODEL_BYTES: usize = 4 << 30;

impl AddressSpace for MemoryMap {
    fn allocate(&self, bytes: usize, _home: Home) -> Result<Pages, PagesError> {
        Pages::anonymous(bytes)
    }

    fn capacity(&self, _home: Home) -> usize {
        MODEL_BYTES
    }

    unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError> {
        // SAFETY: the caller's promise.
        unsafe { Self::map(self, mapping) }
    }

    fn unmap(&self, va: GpuVa) {
        // NotMapped says that there is nothing to do.
        let _ = Self::unmap(self, va);
    }
}

/// Who lends pages, and gets them back when they are dropped.
pub trait Lender: Send + Sync {
    /// Nobody uses the pages any more.
    fn take_back(&self, address: u64, length: usize);
}

/// What becomes of pages when they are dropped.
enum Owner {
    Ourselves,
    Lender(Arc<dyn Lender>),
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
    /// There is no more of it.
    #[error("{of} has no {bytes} bytes left in a row")]
    Exhausted {
        /// Bytes asked for.
        bytes: usize,
        /// What.
        of: &'static str,
    },
    /// The IOMMU refused.
    #[error("cannot pin {bytes} bytes and map them for the device: {source}")]
    Iommu {
        /// Bytes asked for.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
}

/// Zeroed pages of this process.
pub struct Pages {
    base: NonNull<u8>,
    length: usize,
    owner: Owner,
}

impl fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pages({} bytes at {:p})", self.length, self.base)
    }
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
        Ok(Self { base, length, owner: Owner::Ourselves })
    }

    /// Pages that `lender` takes back when they are dropped.
    ///
    /// # Safety
    /// They are mapped readable and writable until then, aligned to [`PAGE_BYTES`], and nobody else's.
    #[must_use]
    pub unsafe fn lent(base: NonNull<u8>, length: usize, lender: Arc<dyn Lender>) -> Self {
        Self { base, length, owner: Owner::Lender(lender) }
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
        match &self.owner {
            Owner::Lender(lender) => lender.take_back(self.address(), self.length),
            Owner::Ourselves => {
                // SAFETY: the mapping is ours (invariant) and nothing borrowed from it outlives self. Failure would only leak it.
                let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), self.length) };
            }
        }
    }
}

/// Pages together with what of them the device can reach.
pub struct DeviceMemory {
    space: Arc<dyn AddressSpace>,
    home: Home,
    mapped: Mutex<Vec<GpuVa>>,
    pages: Pages,
}

impl DeviceMemory {
    /// Pages that the device need not reach yet.
    ///
    /// # Errors
    /// As [`AddressSpace::allocate`].
    pub fn unreachable(space: Arc<dyn AddressSpace>, bytes: usize, home: Home) -> Result<Self, PagesError> {
        let pages = space.allocate(bytes, home)?;
        Ok(Self { space, home, mapped: Mutex::default(), pages })
    }

    /// Pages that the device may read and write.
    ///
    /// # Errors
    /// As [`AddressSpace::allocate`], or the device's map refuses.
    pub fn reachable(space: Arc<dyn AddressSpace>, bytes: usize, home: Home) -> Result<Self, PagesError> {
        let memory = Self::unreachable(space, bytes, home)?;
        memory.map_all()?;
        Ok(memory)
    }

    /// Gives the device read and write access to all of the pages.
    ///
    /// # Errors
    /// They are mapped already.
    pub fn map_all(&self) -> Result<(), MapError> {
        self.map(0, self.pages.length(), Protection::ReadWrite)
    }

    /// Gives the device access to a part of the pages.
    ///
    /// # Errors
    /// The range is empty, leaves the pages, or meets one that is mapped.
    pub fn map(&self, offset: usize, length: usize, protection: Protection) -> Result<(), MapError> {
        let va = GpuVa(self.pages.address()) + offset as u64;
        let host = offset
            .checked_add(length)
            .filter(|end| *end <= self.pages.length())
            .and_then(|_| NonNull::new(self.pages.base.as_ptr().wrapping_add(offset)))
            .ok_or(MapError::BadRange { va, length: length as u64 })?;
        let mapping = Mapping { va, length: length as u64, host: HostPtr::new(host), home: self.home, protection };
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the range lies in the pages, which stay mapped readable and writable until drop has unmapped it from the device.
        unsafe { self.space.map(mapping) }?;
        mapped.push(va);
        Ok(())
    }

    /// Takes every access of the device away.
    pub fn unmap_all(&self) {
        for va in self.mapped.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.space.unmap(va);
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
        let memory = DeviceMemory::unreachable(space.clone(), 2 * PAGE_BYTES, Home::DeviceLocal).unwrap();
        let va = GpuVa(memory.pages().address());
        assert!(!memory.is_mapped());
        memory.map(PAGE_BYTES, 64, Protection::ReadOnly).unwrap();
        assert_eq!(space.view().load_u32(va).unwrap_err().reason, FaultReason::Unmapped);
        assert_eq!(space.view().store_u32(va + PAGE_BYTES as u64, 1).unwrap_err().reason, FaultReason::Protection);
        assert!(memory.map(PAGE_BYTES, PAGE_BYTES + 1, Protection::ReadOnly).is_err());
    }

    #[test]
    fn no_memory_of_size_zero_or_beyond_the_address_space() {
        assert!(Pages::anonymous(0).is_err());
        assert!(Pages::anonymous(usize::MAX).is_err());
        assert!(Pages::anonymous(1 << 60).is_err());
    }
}
