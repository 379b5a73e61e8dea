//! Memory that the endpoint shares with its client: its own, in sealed files that the client maps, and the client's, mapped where
//! the device finds it.
//!
//! With [`crate::model::memory`] and `live_config` this is where the model touches memory that others write. The rules:
//!
//! * A [`SharedMemory`] is mapped as long as its value lives, and its file cannot be shortened: it is sealed.
//! * A [`Reservation`] owns its range of addresses as long as its value lives: nothing else is ever mapped there, so mapping over
//!   it aliases nothing. Its pages are inaccessible until something is placed on them.
//! * Bytes are reached through atomics only. What a [`Reservation`] holds is not reached from here at all: it is handed out as a
//!   [`HostPtr`] for the device's memory map, which has its own rules.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::model::memory::HostPtr;

/// Bytes of the smallest page that can be mapped.
pub(super) const PAGE_BYTES: u64 = 4096;

/// A range of this process's addresses.
#[derive(Debug)]
struct Range {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the range belongs to no thread, and its bytes are reached by atomics only.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

impl Range {
    fn new(start: *mut std::ffi::c_void, length: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, length })
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own; whoever handed out pointers into it has taken them back (the rules above).
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Memory of the device that its client can map.
#[derive(Debug)]
pub(super) struct SharedMemory {
    range: Range,
    file: OwnedFd,
}

impl SharedMemory {
    /// Zeroed memory under a name that shows in `/proc`.
    pub(super) fn new(name: &str, length: u64) -> io::Result<Self> {
        let bytes = usize::try_from(length).map_err(io::Error::other)?;
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, length)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice, which aliases nothing of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0) }?;
        Ok(Self { range: Range::new(start, bytes)?, file })
    }

    /// The file, for the client to map.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where it lies in this process.
    pub(super) const fn host(&self) -> HostPtr {
        HostPtr::new(self.range.start)
    }

    /// Bytes.
    pub(super) const fn length(&self) -> u64 {
        self.range.length as u64
    }

    /// Makes every byte zero, and gives the memory back until it is written again.
    pub(super) fn clear(&self) -> io::Result<()> {
        fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, self.length())?;
        Ok(())
    }

    /// The 64-bit word of this number.
    pub(super) fn word(&self, index: usize) -> Option<&AtomicU64> {
        let inside = index < self.range.length / size_of::<u64>();
        // SAFETY: inside the mapping, which starts on a page, so the word is aligned; it lives as long as `self`.
        inside.then(|| unsafe { AtomicU64::from_ptr(self.range.start.as_ptr().cast::<u64>().add(index)) })
    }

    /// The bytes from `offset` on; `None` when they are not all inside.
    fn bytes(&self, offset: u64, length: usize) -> Option<impl Iterator<Item = &AtomicU8>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length).filter(|&end| end <= self.range.length)?;
        // SAFETY: `start..end` is inside the mapping; a byte is always aligned; it lives as long as `self`.
        Some((start..end).map(|at| unsafe { AtomicU8::from_ptr(self.range.start.as_ptr().add(at)) }))
    }

    /// Copies bytes out; `None` when they are not all inside.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) -> Option<()> {
        let bytes = self.bytes(offset, data.len())?;
        data.iter_mut().zip(bytes).for_each(|(byte, shared)| *byte = shared.load(Ordering::Acquire));
        Some(())
    }

    /// Copies bytes in, an aligned 64-bit word in one piece; `None` when they are not all inside.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Option<()> {
        if let Ok(word) = <[u8; 8]>::try_from(data)
            && offset.is_multiple_of(8)
        {
            let index = usize::try_from(offset / 8).ok()?;
            self.word(index)?.store(u64::from_le_bytes(word), Ordering::Release);
            return Some(());
        }
        let bytes = self.bytes(offset, data.len())?;
        data.iter().zip(bytes).for_each(|(byte, shared)| shared.store(*byte, Ordering::Release));
        Some(())
    }
}

/// Addresses that are kept free for the client's memory, so that what is contiguous for the device is contiguous here.
#[derive(Debug)]
pub(super) struct Reservation(Range);

impl Reservation {
    /// Reserves addresses; they cost no memory.
    pub(super) fn new(length: u64) -> io::Result<Self> {
        let bytes = usize::try_from(length).map_err(io::Error::other)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice, which aliases nothing of ours.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) }?;
        Range::new(start, bytes).map(Self)
    }

    fn at(&self, offset: u64, length: u64) -> io::Result<(NonNull<u8>, usize)> {
        let outside = || io::Error::other("outside the reservation");
        let (start, bytes) =
            (usize::try_from(offset).map_err(io::Error::other)?, usize::try_from(length).map_err(io::Error::other)?);
        let inside = start.checked_add(bytes).is_some_and(|end| end <= self.0.length) && bytes > 0;
        let pointer = NonNull::new(self.0.start.as_ptr().wrapping_add(start)).ok_or_else(outside)?;
        if inside { Ok((pointer, bytes)) } else { Err(outside()) }
    }

    /// Maps a part of a file at an offset of the reservation.
    pub(super) fn place(
        &mut self,
        offset: u64,
        length: u64,
        protection: ProtFlags,
        file: BorrowedFd<'_>,
        file_offset: u64,
    ) -> io::Result<HostPtr> {
        let (start, bytes) = self.at(offset, length)?;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the addresses are inside the reservation, which is ours alone; what was placed there before is replaced, and the
        // caller has made sure that the device no longer reaches it. Linux refuses a mapping of a regular file before it touches
        // what was there, so that a refusal leaves the reservation whole.
        unsafe { mmap(start.as_ptr().cast(), bytes, protection, flags, file, file_offset) }?;
        Ok(HostPtr::new(start))
    }

    /// Takes a part away again. The caller has made sure that the device no longer reaches it.
    pub(super) fn vacate(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let (start, bytes) = self.at(offset, length)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as in `place`.
        unsafe { mmap_anonymous(start.as_ptr().cast(), bytes, ProtFlags::empty(), flags) }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_shared_memory_cannot_be_shortened() {
        let memory = SharedMemory::new("test", 2 * PAGE_BYTES).unwrap();
        assert!(ftruncate(memory.file(), PAGE_BYTES).is_err());
        assert!(ftruncate(memory.file(), 4 * PAGE_BYTES).is_err());
    }

    #[test]
    fn bytes_of_shared_memory_are_those_of_its_file_and_none_outside() {
        let memory = SharedMemory::new("test", PAGE_BYTES).unwrap();
        memory.write(8, &7_u64.to_le_bytes()).unwrap();
        memory.write(17, &[1, 2, 3]).unwrap();
        let mut bytes = [0; 4];
        rustix::io::pread(memory.file(), &mut bytes, 16).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3]);
        memory.read(7, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 7, 0, 0]);
        assert_eq!(memory.read(PAGE_BYTES - 3, &mut bytes), None);
        assert_eq!(memory.write(u64::MAX - 7, &[0; 8]), None);
        assert_eq!(memory.write(PAGE_BYTES, &[0; 8]), None);
        assert!(memory.word(512).is_none());
        memory.clear().unwrap();
        memory.read(7, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
    }

    #[test]
    fn a_file_is_placed_inside_its_reservation_only() {
        let file = SharedMemory::new("test", PAGE_BYTES).unwrap();
        let mut reservation = Reservation::new(4 * PAGE_BYTES).unwrap();
        let read = ProtFlags::READ;
        let first = reservation.place(0, PAGE_BYTES, read, file.file(), 0).unwrap();
        let second = reservation.place(PAGE_BYTES, PAGE_BYTES, read, file.file(), 0).unwrap();
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, PAGE_BYTES as usize);
        assert!(reservation.place(4 * PAGE_BYTES, PAGE_BYTES, read, file.file(), 0).is_err());
        assert!(reservation.place(PAGE_BYTES, u64::MAX, read, file.file(), 0).is_err());
        reservation.vacate(0, 2 * PAGE_BYTES).unwrap();
    }
}
