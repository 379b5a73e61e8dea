//! One aqlprobe at a time on a device: an advisory lock (flock(2)) on the file of its config space.
//!
//! That file is there already, every user can open it, and the lock on it goes with the process that holds it, however that ends.
//! So nothing has to be created, guarded against links, or cleaned up. Who holds it is looked up in `/proc/locks` (proc_locks(5)).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock, major, minor};
use rustix::io::Errno;
use thiserror::Error;

use super::{Bdf, process};

const LOCKS: &str = "/proc/locks";

/// A device that is this process's until this is dropped, or the process ends.
#[derive(Debug)]
pub struct DeviceLock {
    bdf: Bdf,
    _file: File,
}

/// Why a device cannot be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{bdf} is in use by {holder}; wait until it ends, or end it")]
    Held {
        /// The device.
        bdf: Bdf,
        /// Who has it.
        holder: Holder,
    },
    /// Its config space cannot be opened or locked.
    #[error("cannot lock {}, the config space of {bdf}: {source}", config.display())]
    Unlockable {
        /// The device.
        bdf: Bdf,
        /// The file.
        config: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One that can be seen from here.
    Process {
        /// Its id.
        pid: u32,
        /// Its command line, if that may be read.
        command: Option<String>,
        /// How long it has been running.
        age: Option<Duration>,
    },
    /// One that cannot: of another container, or where `/proc` is not mounted.
    Unseen,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command, age } => {
                write!(formatter, "process {pid}")?;
                if let Some(command) = command {
                    write!(formatter, " (`{command}`)")?;
                }
                match age {
                    Some(age) => write!(formatter, ", started {} s ago", age.as_secs()),
                    None => Ok(()),
                }
            }
            Self::Unseen => formatter.write_str("a process that cannot be seen from here (another container?)"),
        }
    }
}

impl DeviceLock {
    /// Takes the device whose config space is in the file `config`. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process, or another lock of this one, has it; [`LockError::Unlockable`] when the file
    /// cannot be opened.
    pub fn take(config: &Path, bdf: Bdf) -> Result<Self, LockError> {
        let unlockable = |source| LockError::Unlockable { bdf, config: config.to_owned(), source };
        let nowhere_else = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            OpenOptions::new().read(true).custom_flags(nowhere_else.bits().cast_signed()).open(config).map_err(unlockable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { bdf, _file: file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held { bdf, holder: holder_of(&file) }),
            Err(error) => Err(unlockable(error.into())),
        }
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> Bdf {
        self.bdf
    }
}

fn holder_of(file: &File) -> Holder {
    let looked_up = || {
        let found = file.metadata().ok()?;
        holder_in(&fs::read_to_string(LOCKS).ok()?, found.dev(), found.ino())
    };
    looked_up().map_or(Holder::Unseen, |pid| Holder::Process { pid, command: process::command(pid), age: process::age(pid) })
}

/// The holder of the flock on an inode: `6: FLOCK  ADVISORY  WRITE 8019 00:16:4757 0 EOF`. A line with `->` is somebody who waits.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let wanted = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, pid, place) = (fields.next()?, fields.nth(2)?, fields.next()?);
        // A lock of a process outside this PID namespace is not listed, or has no id.
        (kind == "FLOCK" && place == wanted).then(|| pid.parse().ok().filter(|pid| *pid != 0))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> tempfile::NamedTempFile {
        tempfile::NamedTempFile::new().unwrap()
    }

    fn bdf() -> Bdf {
        "0b:00.0".parse().unwrap()
    }

    #[test]
    fn the_second_to_come_is_told_who_has_the_device_and_since_when() {
        let config = config();
        let held = DeviceLock::take(config.path(), bdf()).unwrap();
        assert_eq!(held.device(), bdf());
        let error = DeviceLock::take(config.path(), bdf()).unwrap_err();
        let LockError::Held { holder: Holder::Process { pid, command: Some(command), age: Some(_) }, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*pid, std::process::id());
        let text = error.to_string();
        assert!(text.starts_with(&format!("0000:0b:00.0 is in use by process {pid} (`{command}`), started ")), "{text}");
    }

    #[test]
    fn a_lock_ends_with_its_owner() {
        let config = config();
        drop(DeviceLock::take(config.path(), bdf()).unwrap());
        DeviceLock::take(config.path(), bdf()).unwrap();
    }

    #[test]
    fn locking_leaves_config_space_as_it_is() {
        let config = config();
        fs::write(config.path(), [7; 64]).unwrap();
        let before = fs::metadata(config.path()).unwrap().modified().unwrap();
        drop(DeviceLock::take(config.path(), bdf()).unwrap());
        assert_eq!(fs::read(config.path()).unwrap(), [7; 64]);
        assert_eq!(fs::metadata(config.path()).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_link_in_the_place_of_config_space_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("config");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(matches!(DeviceLock::take(&link, bdf()), Err(LockError::Unlockable { .. })));
    }

    #[test]
    fn a_device_that_is_not_there_names_its_file() {
        let error = DeviceLock::take(Path::new("/nonexistent/config"), bdf()).unwrap_err();
        assert!(matches!(error, LockError::Unlockable { .. }) && error.to_string().contains("/nonexistent/config"), "{error}");
    }

    /// Written by Linux 6.18: `/dev/vda` is 254:0 and sysfs 0:22.
    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 7907 fe:00:5849191 0 EOF
2: FLOCK  ADVISORY  READ 3655 fe:00:5507315 0 EOF
3: POSIX  ADVISORY  WRITE 11 00:16:4757 0 EOF
4: FLOCK  ADVISORY  WRITE 8019 00:16:4757 0 EOF
4: -> FLOCK  ADVISORY  WRITE 8020 00:16:4757 0 EOF
5: FLOCK  ADVISORY  WRITE 0 00:16:4758 0 EOF
garbage
";

    #[test]
    fn the_holder_is_the_one_that_the_kernel_lists() {
        let device = |major, minor| rustix::fs::makedev(major, minor);
        assert_eq!(holder_in(LOCKS, device(0, 22), 4757), Some(8019));
        assert_eq!(holder_in(LOCKS, device(254, 0), 5_849_191), Some(7907));
        assert_eq!(holder_in(LOCKS, device(0, 22), 4758), None, "a process outside this PID namespace");
        assert_eq!(holder_in(LOCKS, device(254, 0), 4757), None);
        assert_eq!(holder_in("", 0, 0), None);
    }

    #[test]
    fn a_holder_that_cannot_be_seen_is_said_to_be_that() {
        let error = LockError::Held { bdf: bdf(), holder: Holder::Unseen };
        assert!(error.to_string().contains("another container"), "{error}");
    }
}
