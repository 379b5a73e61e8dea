//! Files that this process and others look at while they change: config space that someone may switch, counters that someone
//! may read.
//!
//! This module and [`super::memory`] are where the model touches memory it does not own alone. The rules here:
//!
//! * A mapping lives as long as its value and never moves; its length was the file's at the time of mapping.
//! * Bytes are reached through atomics only, because other processes write them.
//! * Whoever truncates a mapped file makes the next access raise SIGBUS. The files belong to a tree that only this program
//!   writes, and it never shortens them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::pci::ConfigOffset;

const _: () = assert!(cfg!(target_endian = "little"), "the counters' file format is little-endian and written by native atomics");

/// A file that cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[error("cannot map {}: {source}", path.display())]
pub struct LiveFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A shared mapping of a file from its first byte.
#[derive(Debug)]
struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and every access through it is atomic.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(file: &File, length: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice, which aliases nothing of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; references into it borrow `self`, so none is left. It cannot fail then.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A function's config space as it is right now.
#[derive(Debug)]
pub(super) struct LiveConfig(Mapped);

impl LiveConfig {
    pub(super) fn open(path: &Path) -> Result<Self, LiveFileError> {
        let open = || {
            let file = File::open(path)?;
            let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            Mapped::new(&file, length, ProtFlags::READ).map(Self)
        };
        open().map_err(|source| LiveFileError { path: path.to_owned(), source })
    }

    /// A byte of config space; zero past the end of the file, as for registers that a function does not have.
    #[inline]
    pub(super) fn byte(&self, at: ConfigOffset) -> u8 {
        let offset = usize::from(at.0);
        if offset >= self.0.length {
            return 0;
        }
        // SAFETY: inside the mapping, which lives as long as `self`; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(self.0.start.as_ptr().add(offset)) }.load(Ordering::Relaxed)
    }
}

/// `COUNT` 64-bit counters in a file, little-endian, that other processes may read at any time.
#[derive(Debug)]
pub(super) struct LiveCounters<const COUNT: usize>(Mapped);

impl<const COUNT: usize> LiveCounters<COUNT> {
    /// Creates the file if need be and sets every counter to zero.
    pub(super) fn create(path: &Path) -> Result<Self, LiveFileError> {
        let length = COUNT * size_of::<u64>();
        let create = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            file.set_len(length as u64)?;
            Mapped::new(&file, length, ProtFlags::READ | ProtFlags::WRITE).map(Self)
        };
        let counters = create().map_err(|source| LiveFileError { path: path.to_owned(), source })?;
        for index in 0..COUNT {
            counters.counter(index).store(0, Ordering::Relaxed);
        }
        Ok(counters)
    }

    #[inline]
    pub(super) fn increment(&self, index: usize) {
        self.counter(index).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> [u64; COUNT] {
        std::array::from_fn(|index| self.counter(index).load(Ordering::Relaxed))
    }

    fn counter(&self, index: usize) -> &AtomicU64 {
        assert!(index < COUNT, "counter {index} of {COUNT}");
        // SAFETY: inside the mapping by the assertion; page-aligned start, so every eighth byte is aligned.
        unsafe { AtomicU64::from_ptr(self.0.start.as_ptr().cast::<u64>().add(index)) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_write_to_the_file_shows_in_the_open_mapping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, [0x11; 256]).unwrap();
        let config = LiveConfig::open(&path).unwrap();
        assert_eq!(config.byte(ConfigOffset(0x80)), 0x11);
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0x40], 0x80).unwrap();
        assert_eq!(config.byte(ConfigOffset(0x80)), 0x40);
        assert_eq!(config.byte(ConfigOffset(0x100)), 0);
    }

    #[test]
    fn counters_are_little_endian_words_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counters");
        std::fs::write(&path, [0xff; 16]).unwrap();
        let counters = LiveCounters::<2>::create(&path).unwrap();
        counters.increment(1);
        assert_eq!(std::fs::read(&path).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counters.read(), [0, 1]);
    }

    #[test]
    fn a_missing_or_empty_file_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        assert!(LiveConfig::open(&path).unwrap_err().to_string().contains("config"));
        std::fs::write(&path, []).unwrap();
        assert!(LiveConfig::open(&path).is_err());
    }
}
