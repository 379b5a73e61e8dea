//! Memory that host and device share: an arena of pinned pages at IOVA = VA, and the device's own memory behind BAR0.
//!
//! * **Invariant of both**: a part that is lent out is disjoint from every other, and stays mapped readable and writable as long as
//!   this value lives, which the lent [`Pages`] keep alive.
//!
//! The IOMMU maps the arena in chunks as it grows, because single pages would cost a message each. So the device reaches all of
//! the arena: what an application forgot to allow it shows on the in-process device, not here.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::container::Iommu;
use super::error::VfioError;
use super::mapping::{BarMapping, HUGE_PAGE, PageKind, Reservation};
use super::ranges::Ranges;
use crate::runtime::log;
use crate::runtime::pages::{Lender, PAGE_BYTES, Pages, PagesError};

fn whole_pages(bytes: usize, unit: usize) -> Result<usize, PagesError> {
    bytes
        .checked_next_multiple_of(unit)
        .filter(|length| *length != 0)
        .ok_or_else(|| PagesError::Host { bytes, source: std::io::ErrorKind::InvalidInput.into() })
}

/// Zeroes a part that was just taken and hands it out.
///
/// # Safety
/// `length` bytes at `base` are readable and writable, nobody else's, and stay so while `lender` lives, until it takes them back.
unsafe fn lend(base: NonNull<u8>, length: usize, lender: Arc<dyn Lender>) -> Pages {
    // SAFETY: the caller's promise: writable, and nobody else's.
    unsafe { base.as_ptr().write_bytes(0, length) };
    // SAFETY: the caller's promise.
    unsafe { Pages::lent(base, length, lender) }
}

struct Arena {
    reservation: Reservation,
    ranges: Ranges,
    kind: PageKind,
}

/// Pinned memory of this process at the same addresses for the device.
pub struct HostMemory {
    iommu: Arc<dyn Iommu>,
    limit: usize,
    arena: Mutex<Arena>,
}

impl HostMemory {
    /// Reserves `limit` bytes of addresses at `base`; memory comes when it is needed.
    ///
    /// # Errors
    /// Something is there already.
    pub fn new(iommu: Arc<dyn Iommu>, base: u64, limit: usize) -> Result<Self, VfioError> {
        let reservation =
            Reservation::at(base, limit).map_err(|source| VfioError::Reserve { address: base, bytes: limit, source })?;
        Ok(Self { iommu, limit, arena: Mutex::new(Arena { reservation, ranges: Ranges::default(), kind: PageKind::Huge }) })
    }

    /// Bytes at most.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zeroed pages.
    ///
    /// # Errors
    /// The arena or the machine has no more, or the IOMMU refuses.
    pub fn allocate(self: &Arc<Self>, bytes: usize) -> Result<Pages, PagesError> {
        let length = whole_pages(bytes, PAGE_BYTES)?;
        let mut arena = self.arena();
        let address = match arena.ranges.take(length as u64) {
            Some(address) => address,
            None => {
                let grown = whole_pages(length, HUGE_PAGE)?;
                let address = self.grow(&mut arena, grown)?;
                arena.ranges.give(address, grown as u64);
                arena.ranges.take(length as u64).ok_or(PagesError::Exhausted { bytes, of: "the arena shared with the device" })?
            }
        };
        drop(arena);
        let base = NonNull::new(std::ptr::with_exposed_provenance_mut(address as usize))
            .ok_or(PagesError::Exhausted { bytes, of: "the arena shared with the device" })?;
        // SAFETY: the range was taken from what the reservation is filled with, so it is writable and nobody else's until it is given
        // back, and the reservation lives as long as self.
        Ok(unsafe { lend(base, length, self.clone()) })
    }

    fn grow(&self, arena: &mut Arena, bytes: usize) -> Result<u64, PagesError> {
        let Arena { reservation, kind, .. } = arena;
        if bytes > self.limit - reservation.filled() {
            return Err(PagesError::Exhausted { bytes, of: "the arena shared with the device" });
        }
        let filled = reservation.fill(bytes, *kind).or_else(|error| match *kind {
            PageKind::Small => Err(error),
            PageKind::Huge => {
                log::note(|| {
                    format!(
                        "no 2 MiB pages are left ({error}): 4 KiB pages take one IOMMU mapping each; see /proc/sys/vm/nr_hugepages"
                    )
                });
                *kind = PageKind::Small;
                reservation.fill(bytes, PageKind::Small)
            }
        });
        let address = filled.map_err(|source| PagesError::Host { bytes, source })?;
        // SAFETY: the arena's memory goes out as Pages only, which nobody reaches but through atomics and raw pointers, and it stays
        // reserved until it is unmapped (see Drop).
        unsafe { self.iommu.map(address, bytes as u64) }.map_err(|source| PagesError::Iommu { bytes, source })?;
        Ok(address)
    }
}

impl Lender for HostMemory {
    fn take_back(&self, address: u64, length: usize) {
        self.arena().ranges.give(address, length as u64);
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        let arena = self.arena.get_mut().unwrap_or_else(PoisonError::into_inner);
        let filled = arena.reservation.filled() as u64;
        if filled != 0 {
            // Pinned pages outlive our mapping of them, so a failure harms nobody; the container's end frees them too.
            let _ = self.iommu.unmap(arena.reservation.address(), filled);
        }
    }
}

/// The device's own memory.
pub struct LocalMemory {
    bar: BarMapping,
    ranges: Mutex<Ranges>,
}

impl LocalMemory {
    /// All of it is free.
    pub fn new(bar: BarMapping) -> Self {
        let mut ranges = Ranges::default();
        ranges.give(0, bar.length() as u64);
        Self { bar, ranges: Mutex::new(ranges) }
    }

    /// Bytes.
    pub const fn limit(&self) -> usize {
        self.bar.length()
    }

    /// Where it begins, for host and device alike.
    pub fn address(&self) -> u64 {
        self.bar.address()
    }

    /// Zeroed pages.
    ///
    /// # Errors
    /// There are not as many left in a row.
    pub fn allocate(self: &Arc<Self>, bytes: usize) -> Result<Pages, PagesError> {
        let length = whole_pages(bytes, PAGE_BYTES)?;
        let exhausted = PagesError::Exhausted { bytes, of: "the device's memory" };
        let taken = self.ranges.lock().unwrap_or_else(PoisonError::into_inner).take(length as u64);
        let base = taken.and_then(|offset| self.bar.part(offset, length)).ok_or(exhausted)?;
        // SAFETY: the range is inside the BAR, which stays mapped while self lives, and nobody else's until it is given back.
        Ok(unsafe { lend(base, length, self.clone()) })
    }
}

impl Lender for LocalMemory {
    fn take_back(&self, address: u64, length: usize) {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).give(address - self.bar.address(), length as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::Ordering;

    use super::super::mapping::Placement;
    use super::*;

    /// Notes what it is asked, and may refuse.
    #[derive(Default)]
    struct Ledger {
        mapped: Mutex<Vec<(u64, u64)>>,
        refuses: bool,
    }

    impl Iommu for Ledger {
        unsafe fn map(&self, address: u64, bytes: u64) -> io::Result<()> {
            if self.refuses {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.mapped.lock().unwrap().push((address, bytes));
            Ok(())
        }

        fn unmap(&self, address: u64, bytes: u64) -> io::Result<()> {
            self.mapped.lock().unwrap().retain(|(start, length)| *start < address || start + length > address + bytes);
            Ok(())
        }
    }

    const CHUNK: u64 = HUGE_PAGE as u64;

    #[test]
    fn the_arena_grows_by_huge_pages_and_everything_in_it_is_mapped_for_the_device() {
        const BASE: u64 = 0x31_0000_0000;
        let ledger = Arc::new(Ledger::default());
        let memory = Arc::new(HostMemory::new(ledger.clone(), BASE, 4 * HUGE_PAGE).unwrap());
        assert!(ledger.mapped.lock().unwrap().is_empty(), "nothing before it is needed");
        let small = memory.allocate(1).unwrap();
        assert_eq!((small.address(), small.length()), (BASE, PAGE_BYTES));
        let large = memory.allocate(HUGE_PAGE + 1).unwrap();
        assert_eq!(*ledger.mapped.lock().unwrap(), [(BASE, CHUNK), (BASE + CHUNK, 2 * CHUNK)]);
        assert!(memory.allocate(4 * HUGE_PAGE).is_err(), "beyond the limit");
        drop((small, large, memory));
        assert!(ledger.mapped.lock().unwrap().is_empty());
    }

    #[test]
    fn memory_is_zeroed_when_it_is_lent_again() {
        let memory = Arc::new(HostMemory::new(Arc::new(Ledger::default()), 0x32_0000_0000, HUGE_PAGE).unwrap());
        let pages = memory.allocate(PAGE_BYTES).unwrap();
        let address = pages.address();
        pages.atomic_u64(8).store(7, Ordering::Relaxed);
        drop(pages);
        let again = memory.allocate(PAGE_BYTES).unwrap();
        assert_eq!((again.address(), again.atomic_u64(8).load(Ordering::Relaxed)), (address, 0));
    }

    #[test]
    fn memory_that_the_iommu_refuses_is_not_handed_out() {
        let ledger = Arc::new(Ledger { refuses: true, ..Ledger::default() });
        let memory = Arc::new(HostMemory::new(ledger, 0x33_0000_0000, 2 * HUGE_PAGE).unwrap());
        for _ in 0..2 {
            assert!(matches!(memory.allocate(1), Err(PagesError::Iommu { .. })));
        }
        assert!(matches!(memory.allocate(1), Err(PagesError::Exhausted { .. })));
    }

    #[test]
    fn pages_outlive_the_handle_they_came_from() {
        let memory = Arc::new(HostMemory::new(Arc::new(Ledger::default()), 0x34_0000_0000, HUGE_PAGE).unwrap());
        let pages = memory.allocate(1).unwrap();
        drop(memory);
        pages.atomic_u32(0).store(1, Ordering::Relaxed);
    }

    #[test]
    fn device_memory_ends_with_the_bar_and_comes_back() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * PAGE_BYTES as u64).unwrap();
        let memory = Arc::new(LocalMemory::new(BarMapping::new(&file, 0, 4 * PAGE_BYTES, Placement::Anywhere).unwrap()));
        let first = memory.allocate(3 * PAGE_BYTES).unwrap();
        assert_eq!(first.address(), memory.address());
        assert!(matches!(memory.allocate(PAGE_BYTES + 1), Err(PagesError::Exhausted { .. })));
        assert!(memory.allocate(0).is_err());
        drop(first);
        assert_eq!(memory.allocate(4 * PAGE_BYTES).unwrap().address(), memory.address());
    }
}
