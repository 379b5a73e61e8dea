//! The map as one turn of the device sees it, and the accesses that it checks. The invariants are those of [`super`].

use std::cell::Cell;
use std::slice;
use std::sync::RwLockReadGuard;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::{Access, FaultReason, Home, Mapping, Mappings, MemoryFault};
use crate::aql::cache_line::fetch_for_writing;
use crate::model::address::GpuVa;

/// The map as it is while this value lives.
#[derive(Debug)]
pub struct MapView<'map> {
    mappings: RwLockReadGuard<'map, Mappings>,
    /// The mapping of the last access of each kind: a kernel that copies reads and writes by turns.
    last_hits: [Cell<usize>; Access::KINDS],
    /// Mappings of accesses before those: a kernel's arguments and what it reads take turns.
    hits_before: [Cell<usize>; 3],
}

impl<'map> MapView<'map> {
    pub(super) fn new(mappings: RwLockReadGuard<'map, Mappings>) -> Self {
        Self { mappings, last_hits: Default::default(), hits_before: Default::default() }
    }
}

impl MapView<'_> {
    /// Changes whenever executable memory was mapped, unmapped or declared to be rewritten.
    #[must_use]
    pub fn code_generation(&self) -> u64 {
        self.mappings.code_generation.load(Ordering::Relaxed)
    }

    /// Declares that code may have been rewritten: an invalidation of the instruction caches.
    pub fn invalidate_code(&self) {
        self.mappings.code_generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Checks an access and gives the bytes it covers.
    ///
    /// # Errors
    /// A [`MemoryFault`] when the access is not held whole by one mapping, or by several that continue each other both for the device
    /// and in this process, or when one of them forbids it.
    #[inline(always)]
    pub fn window(&self, va: GpuVa, length: u64, access: Access) -> Result<Window<'_>, MemoryFault> {
        if let Some(window) = self.window_in(self.last_hit(access).get(), va, length, access) {
            return Ok(window);
        }
        self.window_elsewhere(va, length, access)
    }

    #[inline(always)]
    const fn last_hit(&self, access: Access) -> &Cell<usize> {
        &self.last_hits[access as usize]
    }

    /// The window, if the mapping at `index` holds the whole access and allows it.
    #[inline(always)]
    fn window_in(&self, index: usize, va: GpuVa, length: u64, access: Access) -> Option<Window<'_>> {
        let mapping = self.mappings.sorted.get(index)?;
        let offset = mapping.offset_of(va, length)?;
        mapping.protection.allows(access).then(|| Window::new(mapping, offset, length, access))
    }

    #[inline(never)]
    fn window_elsewhere(&self, va: GpuVa, length: u64, access: Access) -> Result<Window<'_>, MemoryFault> {
        for before in &self.hits_before {
            let index = before.get();
            if let Some(window) = self.window_in(index, va, length, access) {
                before.set(self.last_hit(access).replace(index));
                return Ok(window);
            }
        }
        self.search(va, length, access)
    }

    #[cold]
    #[inline(never)]
    fn search(&self, va: GpuVa, length: u64, access: Access) -> Result<Window<'_>, MemoryFault> {
        let fault = |reason| MemoryFault { va, length, access, reason };
        let index = self.mappings.at_or_below(va).ok_or_else(|| fault(FaultReason::Unmapped))?;
        let mapping = &self.mappings.sorted[index];
        let offset = va - mapping.va;
        let reached = self.reach(index, offset, length, access).map_err(fault)?;
        if reached < length {
            return Err(fault(FaultReason::Unmapped));
        }
        let [newest, second, oldest] = &self.hits_before;
        oldest.set(second.replace(newest.replace(self.last_hit(access).replace(index))));
        Ok(Window::new(mapping, offset, length, access))
    }

    /// Bytes of an access that are there, from `offset` of the mapping at `index` on: all of them when further mappings continue it both
    /// for the device and in this process, on the same side of the link. An IOMMU with small pages gives one buffer as many mappings.
    fn reach(&self, index: usize, offset: u64, length: u64, access: Access) -> Result<u64, FaultReason> {
        let first = &self.mappings.sorted[index];
        let mut reached = first.length.checked_sub(offset).filter(|&bytes| bytes > 0).ok_or(FaultReason::Unmapped)?;
        let mut last = first;
        if !last.protection.allows(access) {
            return Err(FaultReason::Protection);
        }
        for next in &self.mappings.sorted[index + 1..] {
            let continues_for_the_device = next.va - last.va == last.length;
            let continues_here = next.host.as_ptr() == last.host.as_ptr().wrapping_add(last.length as usize);
            if reached >= length || !continues_for_the_device || !continues_here || next.home != last.home {
                break;
            }
            if !next.protection.allows(access) {
                return Err(FaultReason::Protection);
            }
            reached += next.length;
            last = next;
        }
        Ok(reached)
    }

    /// Bytes from `va` to the end of its mapping, for readers that go forward (instruction fetch).
    #[must_use]
    pub fn bytes_ahead(&self, va: GpuVa) -> u64 {
        let after = self.mappings.sorted.partition_point(|mapping| mapping.va <= va);
        after.checked_sub(1).map_or(0, |index| {
            let mapping = &self.mappings.sorted[index];
            mapping.length.saturating_sub(va - mapping.va)
        })
    }
}

macro_rules! word_access {
    ($load:ident, $store:ident, $word:ty, $atomic:ty) => {
        /// Loads one little-endian word; relaxed and single-copy atomic when it is naturally aligned.
        ///
        /// # Errors
        /// A memory fault.
        #[inline(always)]
        pub fn $load(&self, va: GpuVa) -> Result<$word, MemoryFault> {
            let window = self.window(va, size_of::<$word>() as u64, Access::Read)?;
            if window.host.cast::<$word>().is_aligned() {
                // SAFETY: the window covers the word (mapping invariant), it is aligned, and atomics tolerate concurrent access.
                Ok(unsafe { <$atomic>::from_ptr(window.host.cast()) }.load(Ordering::Relaxed))
            } else {
                let mut bytes = [0; size_of::<$word>()];
                window.copy_to(&mut bytes);
                Ok(<$word>::from_le_bytes(bytes))
            }
        }

        /// Stores one little-endian word; relaxed and single-copy atomic when it is naturally aligned.
        ///
        /// # Errors
        /// A memory fault.
        #[inline(always)]
        pub fn $store(&self, va: GpuVa, value: $word) -> Result<(), MemoryFault> {
            let window = self.window(va, size_of::<$word>() as u64, Access::Write)?;
            if window.host.cast::<$word>().is_aligned() {
                // SAFETY: as in the load; the window was checked for writing.
                unsafe { <$atomic>::from_ptr(window.host.cast()) }.store(value, Ordering::Relaxed);
            } else {
                window.copy_from(&value.to_le_bytes());
            }
            Ok(())
        }
    };
}

impl MapView<'_> {
    word_access!(load_u8, store_u8, u8, AtomicU8);
    word_access!(load_u16, store_u16, u16, AtomicU16);
    word_access!(load_u32, store_u32, u32, AtomicU32);
    word_access!(load_u64, store_u64, u64, AtomicU64);

    /// The atomic word at `va` and where it lives, for read-modify-write and ordered stores.
    ///
    /// # Errors
    /// A memory fault, also when the word is not naturally aligned.
    #[inline(always)]
    pub fn atomic_u32(&self, va: GpuVa) -> Result<(&AtomicU32, Home), MemoryFault> {
        let window = self.aligned_window(va, 4, Access::Atomic)?;
        // SAFETY: the window covers the aligned word, and outlives the reference because both borrow the view.
        Ok((unsafe { AtomicU32::from_ptr(window.host.cast()) }, window.home))
    }

    /// The 64-bit form of [`Self::atomic_u32`].
    ///
    /// # Errors
    /// A memory fault, also when the word is not naturally aligned.
    #[inline(always)]
    pub fn atomic_u64(&self, va: GpuVa) -> Result<(&AtomicU64, Home), MemoryFault> {
        let window = self.aligned_window(va, 8, Access::Atomic)?;
        // SAFETY: as in atomic_u32.
        Ok((unsafe { AtomicU64::from_ptr(window.host.cast()) }, window.home))
    }

    /// A hint that the line of the aligned 64-bit word at `va` will be read and then written. Nothing happens where nothing is mapped.
    #[inline(always)]
    pub(in crate::model) fn fetch_for_writing(&self, va: GpuVa) {
        if let Ok((word, _)) = self.atomic_u64(va) {
            fetch_for_writing(word);
        }
    }

    /// Loads an aligned word with acquire order: what a packet processor polls with.
    ///
    /// # Errors
    /// A memory fault, also when the word is not naturally aligned.
    #[inline(always)]
    pub fn load_acquire_u32(&self, va: GpuVa) -> Result<u32, MemoryFault> {
        let window = self.aligned_window(va, 4, Access::Read)?;
        // SAFETY: as in atomic_u32; only read.
        Ok(unsafe { AtomicU32::from_ptr(window.host.cast()) }.load(Ordering::Acquire))
    }

    /// The 64-bit form of [`Self::load_acquire_u32`].
    ///
    /// # Errors
    /// A memory fault, also when the word is not naturally aligned.
    #[inline(always)]
    pub fn load_acquire_u64(&self, va: GpuVa) -> Result<u64, MemoryFault> {
        let window = self.aligned_window(va, 8, Access::Read)?;
        // SAFETY: as in atomic_u32; only read.
        Ok(unsafe { AtomicU64::from_ptr(window.host.cast()) }.load(Ordering::Acquire))
    }

    /// Stores an aligned word with release order: what tells the host that everything before it is done.
    ///
    /// # Errors
    /// A memory fault, also when the word is not naturally aligned.
    #[inline(always)]
    pub fn store_release_u64(&self, va: GpuVa, value: u64) -> Result<(), MemoryFault> {
        let window = self.aligned_window(va, 8, Access::Write)?;
        // SAFETY: as in atomic_u32; the window was checked for writing.
        unsafe { AtomicU64::from_ptr(window.host.cast()) }.store(value, Ordering::Release);
        Ok(())
    }

    #[inline(always)]
    fn aligned_window(&self, va: GpuVa, width: u64, access: Access) -> Result<Window<'_>, MemoryFault> {
        let window = self.window(va, width, access)?;
        let host_aligned = (window.host as usize as u64).is_multiple_of(width);
        if va.is_aligned_to(width) && host_aligned {
            Ok(window)
        } else {
            Err(MemoryFault { va, length: width, access, reason: FaultReason::Misaligned })
        }
    }
}

/// Bytes that a [`MapView`] has checked: mapped one after the other, and allowed for the access they were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Window<'view> {
    host: *mut u8,
    length: u64,
    home: Home,
    access: Access,
    view: std::marker::PhantomData<&'view ()>,
}

impl<'view> Window<'view> {
    #[inline(always)]
    fn new(mapping: &'view Mapping, offset: u64, length: u64, access: Access) -> Self {
        Self {
            // The sum stays inside the mapping, or inside those that continue it: whoever calls checked offset + length.
            host: mapping.host.as_ptr().wrapping_add(offset as usize),
            length,
            home: mapping.home,
            access,
            view: std::marker::PhantomData,
        }
    }

    /// Which side of the link the bytes lie on.
    #[must_use]
    pub const fn home(&self) -> Home {
        self.home
    }

    /// Copies plain values out, each relaxed and single-copy atomic when the window is aligned for it, else byte by byte. A racing host
    /// write can tear the row, as on hardware.
    ///
    /// # Panics
    /// When the row is longer than the window: an error of the caller, checked because memory safety hangs on it.
    #[inline(always)]
    pub fn copy_to<Element: Plain>(&self, row: &mut [Element]) {
        assert!(size_of_val(row) as u64 <= self.length, "row of {} bytes from a window of {}", size_of_val(row), self.length);
        if self.host.cast::<Element>().is_aligned() {
            self.load_each(row);
        } else {
            // SAFETY: the row's own bytes; a Plain value may become any of them.
            self.load_each(unsafe { slice::from_raw_parts_mut(row.as_mut_ptr().cast::<u8>(), size_of_val(row)) });
        }
    }

    /// Requires a window that is aligned and long enough.
    #[inline(always)]
    fn load_each<Element: Plain>(&self, row: &mut [Element]) {
        let from = self.host.cast::<Element>();
        for (at, value) in row.iter_mut().enumerate() {
            // SAFETY: inside the window, which is mapped (mapping invariant) and aligned, by what the caller checked.
            *value = unsafe { Element::load(from.add(at)) };
        }
    }

    /// Copies plain values in, as [`Self::copy_to`] does out.
    ///
    /// # Panics
    /// As [`Self::copy_to`], and when the window was not asked for with [`Access::Write`].
    #[inline(always)]
    pub fn copy_from<Element: Plain>(&self, row: &[Element]) {
        assert!(self.access == Access::Write, "a store through a window that was checked for {}", self.access);
        assert!(size_of_val(row) as u64 <= self.length, "row of {} bytes into a window of {}", size_of_val(row), self.length);
        if self.host.cast::<Element>().is_aligned() {
            self.store_each(row);
        } else {
            // SAFETY: the row's own bytes, which an integer has no padding between.
            self.store_each(unsafe { slice::from_raw_parts(row.as_ptr().cast::<u8>(), size_of_val(row)) });
        }
    }

    /// Requires a window that is aligned, long enough and writable.
    #[inline(always)]
    fn store_each<Element: Plain>(&self, row: &[Element]) {
        let to = self.host.cast::<Element>();
        for (at, value) in row.iter().enumerate() {
            // SAFETY: as in load_each; the mapping allows writing.
            unsafe { Element::store(to.add(at), *value) };
        }
    }
}

/// Integers of which every bit pattern is a value, and which the machine loads and stores whole.
///
/// # Safety
/// Implemented only for primitive integers.
pub unsafe trait Plain: Copy {
    /// Loads one, relaxed.
    ///
    /// # Safety
    /// It is aligned, and mapped for reading during the call.
    unsafe fn load(from: *mut Self) -> Self;

    /// Stores one, relaxed.
    ///
    /// # Safety
    /// It is aligned, and mapped for writing during the call.
    unsafe fn store(to: *mut Self, value: Self);
}

macro_rules! plain {
    ($($word:ty, $atomic:ty;)*) => {$(
        // SAFETY: a primitive integer.
        unsafe impl Plain for $word {
            #[inline(always)]
            unsafe fn load(from: *mut Self) -> Self {
                // SAFETY: the caller's promise; atomics tolerate concurrent access.
                unsafe { <$atomic>::from_ptr(from) }.load(Ordering::Relaxed)
            }

            #[inline(always)]
            unsafe fn store(to: *mut Self, value: Self) {
                // SAFETY: as in load.
                unsafe { <$atomic>::from_ptr(to) }.store(value, Ordering::Relaxed);
            }
        }
    )*};
}

plain! {
    u8, AtomicU8;
    u32, AtomicU32;
    u64, AtomicU64;
}
