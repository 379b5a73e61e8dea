//! Switches AtomicOp Requester Enable (Device Control 2, bit 6) of a device, and puts it back whatever happens.
//!
//! Before the first write the original state goes to a journal file, so that [`restore_from_journal`] can repair after the
//! process was killed. Only that one bit is ever changed, and only what is read back is believed.

mod journal;
mod place;
#[cfg(test)]
mod tests;

use super::device_lock::{DeviceLock, LockError};
use super::registers as reg;
use super::{Bdf, CapabilityError, ConfigOffset, ConfigSpace};
use journal::{Entry, Owner};

pub use journal::{journal_path, kept_journal_path, pending_journals};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// State of AtomicOp Requester Enable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequesterState {
    /// The device may send AtomicOps.
    Enabled,
    /// It may not.
    Disabled,
}

impl RequesterState {
    fn in_register(devctl2: u16) -> Self {
        if devctl2 & reg::REQUESTER_ENABLE != 0 { Self::Enabled } else { Self::Disabled }
    }

    fn applied_to(self, devctl2: u16) -> u16 {
        match self {
            Self::Enabled => devctl2 | reg::REQUESTER_ENABLE,
            Self::Disabled => devctl2 & !reg::REQUESTER_ENABLE,
        }
    }
}

/// What reading back after a write showed. A bit that does not stick is a finding about the device, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bit has the wanted state.
    Holds,
    /// The write was accepted but the bit reads otherwise.
    DidNotStick {
        /// Device Control 2 as read back.
        read_back: u16,
    },
}

/// Why the bit cannot be switched or put back.
#[derive(Debug, Error)]
pub enum RequesterError {
    /// Config space may not be written by this user.
    #[error(
        "no permission to change {}: run as root; if this is root, kernel lockdown (Secure Boot) forbids it or the container is unprivileged",
        config.display()
    )]
    NeedsRoot {
        /// The file of config space.
        config: PathBuf,
    },
    /// Config space cannot be opened, read or written.
    #[error("cannot access the config space {} of {bdf}: {source}", config.display())]
    ConfigSpace {
        /// The device.
        bdf: Bdf,
        /// The file of config space.
        config: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The capability list gives no answer.
    #[error("the PCI Express capability of {bdf} cannot be found: {source}")]
    Capability {
        /// The device.
        bdf: Bdf,
        /// Why.
        source: CapabilityError,
    },
    /// The device has no PCI Express capability of version 2.
    #[error("{bdf} has no PCI Express capability of version 2 or later, so it has no AtomicOp Requester Enable bit")]
    NoRegister {
        /// The device.
        bdf: Bdf,
    },
    /// Another process works with the device.
    #[error(transparent)]
    InUse(#[from] LockError),
    /// A running process holds the bit of this device.
    #[error("process {pid} is switching AtomicOps of {bdf} (journal {}); wait for it to end", journal.display())]
    HeldByProcess {
        /// The device.
        bdf: Bdf,
        /// The process.
        pid: u32,
        /// Its journal.
        journal: PathBuf,
    },
    /// A process that is gone has left the bit changed.
    #[error(
        "an earlier run (process {pid}) has left AtomicOps of {bdf} changed; put them back with `aqlprobe atomics restore --journal {}`",
        journal.display()
    )]
    LeftChanged {
        /// The device.
        bdf: Bdf,
        /// The process that is gone.
        pid: u32,
        /// Its journal.
        journal: PathBuf,
    },
    /// The journal cannot be written or removed, so the bit stays as it is.
    #[error(
        "cannot keep the journal {}: {source}; without it the bit stays as it is: make that directory writable for this user alone, or, \
         unless this is root, name another with XDG_RUNTIME_DIR",
        journal.display()
    )]
    Journal {
        /// The journal.
        journal: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error("{} is no journal of aqlprobe: {reason}", journal.display())]
    NotAJournal {
        /// The file.
        journal: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal names a device that is another one now.
    #[error(
        "{} was written for {bdf} with vendor and device {recorded:08x}, but {found:08x} is there now; nothing was changed, delete the journal",
        journal.display()
    )]
    AnotherDevice {
        /// The journal.
        journal: PathBuf,
        /// The address.
        bdf: Bdf,
        /// Vendor and device ID then, as the first 32 bits of config space.
        recorded: u32,
        /// Vendor and device ID now.
        found: u32,
    },
    /// The original state was written but does not hold.
    #[error(
        "AtomicOp Requester Enable of {bdf} could not be put back: Device Control 2 reads {read_back:#06x}; the journal {} is kept",
        journal.display()
    )]
    NotRestored {
        /// The device.
        bdf: Bdf,
        /// Device Control 2 as read back.
        read_back: u16,
        /// The journal.
        journal: PathBuf,
    },
}

/// Device Control 2 of one device in the file of its config space.
#[derive(Debug)]
struct Register {
    bdf: Bdf,
    config: PathBuf,
    file: File,
    devctl2: ConfigOffset,
    identity: u32,
}

impl Register {
    fn open(config: &Path, bdf: Bdf) -> Result<Self, RequesterError> {
        let failed = |source: io::Error| config_error(bdf, config, source);
        let file = open_config(config).map_err(failed)?;
        let space = read_config(&file).map_err(failed)?;
        let capability = match space.pcie_capability() {
            Ok(capability) => capability,
            Err(CapabilityError::BeyondKnown { known: ConfigSpace::HEADER_SIZE, .. }) => {
                return Err(RequesterError::NeedsRoot { config: config.to_owned() });
            }
            Err(source) => return Err(RequesterError::Capability { bdf, source }),
        };
        let devctl2 = capability.and_then(|capability| capability.devctl2()).ok_or(RequesterError::NoRegister { bdf })?;
        let identity = space.u32(reg::VENDOR_ID).unwrap_or(u32::MAX);
        Ok(Self { bdf, config: config.to_owned(), file, devctl2, identity })
    }

    fn read(&self) -> Result<u16, RequesterError> {
        let mut bytes = [0; 2];
        self.file.read_exact_at(&mut bytes, u64::from(self.devctl2.0)).map_err(|source| self.failed(source))?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Changes bit 6 alone and gives the register as it reads afterwards. Two aligned bytes, so that sysfs makes one 16-bit
    /// access of it and the neighbouring registers are not written.
    fn set(&self, state: RequesterState) -> Result<u16, RequesterError> {
        let wanted = state.applied_to(self.read()?).to_le_bytes();
        self.file.write_all_at(&wanted, u64::from(self.devctl2.0)).map_err(|source| self.failed(source))?;
        self.read()
    }

    fn failed(&self, source: io::Error) -> RequesterError {
        config_error(self.bdf, &self.config, source)
    }
}

fn config_error(bdf: Bdf, config: &Path, source: io::Error) -> RequesterError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => RequesterError::NeedsRoot { config: config.to_owned() },
        _ => RequesterError::ConfigSpace { bdf, config: config.to_owned(), source },
    }
}

/// Opens config space, and nothing that a link in its place leads to.
fn open_config(config: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(config)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

fn read_config(file: &File) -> io::Result<ConfigSpace> {
    let mut bytes = vec![0; ConfigSpace::EXTENDED_SIZE];
    let mut known = 0;
    while known < bytes.len() {
        match file.read_at(&mut bytes[known..], known as u64) {
            Ok(0) => break,
            Ok(read) => known += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(known);
    Ok(ConfigSpace::from_bytes(bytes))
}

/// Holds a device's Requester Enable bit; puts back the state found at [`RequesterSwitch::open`] when dropped.
#[derive(Debug)]
pub struct RequesterSwitch {
    register: Register,
    original: RequesterState,
    journal: PathBuf,
    changed: Changed,
}

/// Whether this switch has a journal to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Never,
    Journalled,
}

impl RequesterSwitch {
    /// Opens the config space of a device (`bus/pci/devices/BDF/config`) and finds the bit. Writes nothing yet.
    ///
    /// `journal` is where the original state is kept while the bit is changed; see [`journal_path`].
    ///
    /// # Errors
    /// [`RequesterError`], among them a journal that another run has left behind.
    pub fn open(config: &Path, bdf: Bdf, journal: &Path) -> Result<Self, RequesterError> {
        if let Some(error) = already_journalled(journal) {
            return Err(error);
        }
        let register = Register::open(config, bdf)?;
        let original = RequesterState::in_register(register.read()?);
        Ok(Self { register, original, journal: journal.to_owned(), changed: Changed::Never })
    }

    /// The state found when the switch was opened.
    pub fn original(&self) -> RequesterState {
        self.original
    }

    /// The state now.
    ///
    /// # Errors
    /// [`RequesterError`] when config space cannot be read.
    pub fn state(&self) -> Result<RequesterState, RequesterError> {
        self.register.read().map(RequesterState::in_register)
    }

    /// Sets the bit, touching no other, and reads it back. Writes nothing when the bit has that state already.
    ///
    /// # Errors
    /// [`RequesterError`] when the journal or config space cannot be written.
    pub fn set(&mut self, state: RequesterState) -> Result<Outcome, RequesterError> {
        if self.state()? == state {
            return Ok(Outcome::Holds);
        }
        self.keep_journal()?;
        let read_back = self.register.set(state)?;
        if RequesterState::in_register(read_back) == state { Ok(Outcome::Holds) } else { Ok(Outcome::DidNotStick { read_back }) }
    }

    /// Whether there is a journal to undo.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed == Changed::Journalled
    }

    /// Puts back the original state and removes the journal. Does nothing when nothing was changed.
    ///
    /// # Errors
    /// [`RequesterError`] when it cannot be put back; the journal then stays.
    pub fn restore(&mut self) -> Result<(), RequesterError> {
        if self.changed == Changed::Never {
            return Ok(());
        }
        put_back(&self.register, self.original, &self.journal)?;
        self.changed = Changed::Never;
        Ok(())
    }

    /// Lets the change outlive this switch: the journal moves to `kept`, from which [`restore_from_journal`] undoes it.
    ///
    /// A change kept earlier has the older original state, so its journal stays; where the bit is back in that state there is
    /// nothing left to undo and the journal goes. Does nothing when nothing was changed.
    ///
    /// # Errors
    /// [`RequesterError::Journal`] when the journal cannot be moved; the change is then undone on drop.
    pub fn keep(mut self, kept: &Path) -> Result<(), RequesterError> {
        if self.changed == Changed::Never {
            return Ok(());
        }
        let failed = |source| RequesterError::Journal { journal: kept.to_owned(), source };
        let state = self.state()?;
        match journal::read(kept) {
            Ok(earlier) if earlier.identity == self.register.identity => {
                if earlier.original == state {
                    journal::remove(kept).map_err(failed)?;
                }
            }
            // A journal of another card, or none at all, says nothing of this one.
            Ok(_) | Err(_) => {
                journal::remove(kept).map_err(failed)?;
                journal::write(kept, &self.entry().held_by_nobody()).map_err(failed)?;
            }
        }
        self.changed = Changed::Never;
        journal::remove(&self.journal).map_err(|source| RequesterError::Journal { journal: self.journal.clone(), source })
    }

    fn entry(&self) -> Entry {
        let register = &self.register;
        let config = std::path::absolute(&register.config).unwrap_or_else(|_| register.config.clone());
        Entry::new(register.bdf, config, register.devctl2.0, self.original, register.identity)
    }

    fn keep_journal(&mut self) -> Result<(), RequesterError> {
        if self.changed == Changed::Journalled {
            return Ok(());
        }
        journal::write(&self.journal, &self.entry()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => already_journalled(&self.journal)
                .unwrap_or_else(|| RequesterError::Journal { journal: self.journal.clone(), source }),
            _ => RequesterError::Journal { journal: self.journal.clone(), source },
        })?;
        self.changed = Changed::Journalled;
        Ok(())
    }
}

impl Drop for RequesterSwitch {
    fn drop(&mut self) {
        // A failure leaves the journal, from which the next run learns of it.
        let _ = self.restore();
    }
}

/// What [`restore_from_journal`] put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The device.
    pub bdf: Bdf,
    /// The state the bit has again.
    pub state: RequesterState,
}

/// Puts back the bit that a killed process left changed, and removes the journal.
///
/// # Errors
/// [`RequesterError`] when the journal cannot be read, its process still runs, or the device is another one now.
pub fn restore_from_journal(journal: &Path) -> Result<Restored, RequesterError> {
    let entry = journal::read(journal).map_err(|reason| RequesterError::NotAJournal { journal: journal.to_owned(), reason })?;
    if entry.owner() == Owner::Running {
        return Err(RequesterError::HeldByProcess { bdf: entry.bdf, pid: entry.pid, journal: journal.to_owned() });
    }
    let register = Register::open(&entry.config, entry.bdf)?;
    let _lock = DeviceLock::take(&entry.config, entry.bdf)?;
    if register.identity != entry.identity || register.devctl2.0 != entry.register {
        let (recorded, found) = (entry.identity, register.identity);
        return Err(RequesterError::AnotherDevice { journal: journal.to_owned(), bdf: entry.bdf, recorded, found });
    }
    put_back(&register, entry.original, journal)?;
    Ok(Restored { bdf: entry.bdf, state: entry.original })
}

fn put_back(register: &Register, original: RequesterState, journal: &Path) -> Result<(), RequesterError> {
    let now = register.read()?;
    let read_back = if RequesterState::in_register(now) == original { now } else { register.set(original)? };
    if RequesterState::in_register(read_back) != original {
        return Err(RequesterError::NotRestored { bdf: register.bdf, read_back, journal: journal.to_owned() });
    }
    journal::remove(journal).map_err(|source| RequesterError::Journal { journal: journal.to_owned(), source })
}

/// The error for a journal that is there already, if one is.
fn already_journalled(journal: &Path) -> Option<RequesterError> {
    if !journal.exists() {
        return None;
    }
    let journal = journal.to_owned();
    Some(match journal::read(&journal) {
        Err(reason) => RequesterError::NotAJournal { journal, reason },
        Ok(entry) => match entry.owner() {
            Owner::Running => RequesterError::HeldByProcess { bdf: entry.bdf, pid: entry.pid, journal },
            Owner::Gone => RequesterError::LeftChanged { bdf: entry.bdf, pid: entry.pid, journal },
        },
    })
}
