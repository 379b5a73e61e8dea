//! Mappings at addresses that we choose: a BAR, and a reserved stretch of addresses that fills up with pinned pages.
//!
//! * **Invariant of [`BarMapping`]**: `length` bytes at `base` are a shared mapping of a BAR, readable and writable, from
//!   construction until drop. The device writes there too, so the bytes are reached as atomics, volatile or by raw copies only.
//! * **Invariant of [`Reservation`]**: `length` bytes at `base` belong to this value; the first `filled` of them are readable and
//!   writable memory, which is never replaced before drop.

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags};

/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// Where a mapping is to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Where the kernel finds room.
    Anywhere,
    /// Exactly there, or not at all.
    At(u64),
}

impl Placement {
    fn request(self) -> (*mut c_void, MapFlags) {
        match self {
            Self::Anywhere => (ptr::null_mut(), MapFlags::empty()),
            Self::At(address) => (ptr::with_exposed_provenance_mut(address as usize), MapFlags::FIXED_NOREPLACE),
        }
    }
}

fn non_null(base: *mut c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// A BAR in this process.
#[derive(Debug)]
pub struct BarMapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is owned, and what is given out (atomics, checked raw pointers) is sound from any thread.
unsafe impl Send for BarMapping {}
// SAFETY: as above.
unsafe impl Sync for BarMapping {}

impl BarMapping {
    /// Maps `length` bytes of `file` from `offset` on.
    ///
    /// # Errors
    /// The kernel refuses, or the place is taken.
    pub fn new(file: impl AsFd, offset: u64, length: usize, placement: Placement) -> io::Result<Self> {
        let (address, fixed) = placement.request();
        // SAFETY: a new mapping, where the kernel chooses or where nothing is (FIXED_NOREPLACE), touches no existing memory.
        let base = unsafe {
            rustix::mm::mmap(address, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | fixed, file, offset)
        }?;
        Ok(Self { base: non_null(base)?, length })
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// The bytes `offset..offset + bytes`, if the BAR has them.
    #[must_use]
    pub fn part(&self, offset: u64, bytes: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        offset.checked_add(bytes).filter(|end| *end <= self.length)?;
        NonNull::new(self.base.as_ptr().wrapping_add(offset))
    }

    /// The 64-bit word at `offset`, if the BAR has it and it is aligned.
    #[must_use]
    pub fn word(&self, offset: u64) -> Option<&AtomicU64> {
        let word = self.part(offset, size_of::<u64>())?.cast::<u64>();
        // SAFETY: in bounds, aligned, mapped while self lives, and only ever accessed atomically (invariant).
        word.is_aligned().then(|| unsafe { AtomicU64::from_ptr(word.as_ptr()) })
    }
}

impl Drop for BarMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours (invariant), and nothing borrowed from it outlives self. Failure would only leak it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// What kind of pages memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// 2 MiB.
    Huge,
    /// 4 KiB.
    Small,
}

/// A stretch of addresses that fills up with memory from its start.
#[derive(Debug)]
pub struct Reservation {
    base: NonNull<u8>,
    length: usize,
    filled: usize,
}

// SAFETY: the addresses are owned; the value itself gives out no access to the memory.
unsafe impl Send for Reservation {}

impl Reservation {
    /// Reserves `length` bytes at `address`, a multiple of [`HUGE_PAGE`] as `length` is. They hold no memory yet.
    ///
    /// # Errors
    /// Something is there already.
    pub fn at(address: u64, length: usize) -> io::Result<Self> {
        if !address.is_multiple_of(HUGE_PAGE as u64) || !length.is_multiple_of(HUGE_PAGE) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (place, fixed) = Placement::At(address).request();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | fixed;
        // SAFETY: as BarMapping::new.
        let base = unsafe { rustix::mm::mmap_anonymous(place, length, ProtFlags::empty(), flags) }?;
        Ok(Self { base: non_null(base)?, length, filled: 0 })
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Bytes that hold memory.
    #[must_use]
    pub const fn filled(&self) -> usize {
        self.filled
    }

    /// Puts `bytes` of zeroed, resident memory behind what is filled, and returns the address. `bytes` is a multiple of [`HUGE_PAGE`].
    ///
    /// # Errors
    /// The reservation ends, or there is no memory of that kind.
    pub fn fill(&mut self, bytes: usize, kind: PageKind) -> io::Result<u64> {
        if !bytes.is_multiple_of(HUGE_PAGE) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.filled.checked_add(bytes).filter(|end| *end <= self.length).ok_or(io::ErrorKind::OutOfMemory)?;
        let place = self.base.as_ptr().wrapping_add(self.filled).cast::<c_void>();
        let huge = match kind {
            PageKind::Huge => MapFlags::HUGETLB | MapFlags::HUGE_2MB,
            PageKind::Small => MapFlags::empty(),
        };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE | MapFlags::FIXED | huge;
        // SAFETY: replaces a part of our own reservation that holds no memory yet (invariant).
        unsafe { rustix::mm::mmap_anonymous(place, bytes, access, flags) }?;
        self.filled += bytes;
        Ok(place as u64)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours; who was lent a part keeps this value alive. Failure would only leak them.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_reservation_lies_where_it_was_asked_for_and_only_once() {
        const BASE: u64 = 0x30_0000_0000;
        let mut reservation = Reservation::at(BASE, 2 * HUGE_PAGE).unwrap();
        assert!(Reservation::at(BASE + HUGE_PAGE as u64, HUGE_PAGE).is_err(), "taken");
        assert_eq!(reservation.fill(HUGE_PAGE, PageKind::Small).unwrap(), BASE);
        assert_eq!(reservation.fill(HUGE_PAGE, PageKind::Small).unwrap(), BASE + HUGE_PAGE as u64);
        assert!(reservation.fill(HUGE_PAGE, PageKind::Small).is_err(), "full");
        drop(reservation);
        assert!(Reservation::at(BASE, HUGE_PAGE).is_ok());
    }

    #[test]
    fn sizes_that_are_no_huge_pages_are_refused() {
        assert!(Reservation::at(0x30_8000_1000, HUGE_PAGE).is_err());
        assert!(Reservation::at(0x30_8000_0000, HUGE_PAGE + 4096).is_err());
        assert!(Reservation::at(0x30_8000_0000, HUGE_PAGE).unwrap().fill(4096, PageKind::Small).is_err());
    }

    #[test]
    fn a_bar_gives_out_aligned_words_within_its_bounds() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let bar = BarMapping::new(&file, 0, 4096, Placement::Anywhere).unwrap();
        bar.word(4088).unwrap().store(7, Ordering::Relaxed);
        assert_eq!(bar.word(4088).unwrap().load(Ordering::Relaxed), 7);
        assert!(bar.word(4096).is_none() && bar.word(4092).is_none() && bar.word(u64::MAX).is_none());
        assert!(bar.part(4000, 97).is_none() && bar.part(4000, 96).is_some());
    }
}
