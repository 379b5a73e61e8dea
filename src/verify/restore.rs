//! `aqlprobe atomics restore`: repairs what a killed supervisor left changed.

use std::path::{Path, PathBuf};

use crate::pci::Bdf;
use crate::pci::device_lock::LockError;
use crate::pci::requester::{self, RequesterError, RequesterState};
use crate::pci::sysfs::SysfsRoot;

use super::error::RestoreError;

/// A device whose AtomicOp Requester Enable bit was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The device.
    pub device: Bdf,
    /// Whether AtomicOps are enabled again, or disabled again.
    pub enabled: bool,
    /// The journal that remembered it, now removed.
    pub journal: PathBuf,
}

/// Puts back what a killed supervisor left changed: by the journal given, or by those of all AMD GPUs of this machine. None is
/// left in the default place after a run that ended in order, so an empty list means that there was nothing to do.
///
/// # Errors
/// A journal that cannot be read, or a device that cannot be written.
pub fn restore_atomics(journal: Option<&Path>) -> Result<Vec<Restored>, RestoreError> {
    match journal {
        Some(journal) => restore(journal).map(|restored| vec![restored]),
        None => {
            let sysfs = SysfsRoot::default();
            // Without a PCI bus there is no device that could have been changed.
            let devices = sysfs.amd_display_functions().unwrap_or_default();
            let journals = devices.iter().map(|device| requester::journal_path(&sysfs, device));
            journals.filter(|journal| journal.exists()).map(|journal| restore(&journal)).collect()
        }
    }
}

fn restore(journal: &Path) -> Result<Restored, RestoreError> {
    requester::restore_from_journal(journal)
        .map(|restored| Restored {
            device: restored.bdf,
            enabled: restored.state == RequesterState::Enabled,
            journal: journal.to_owned(),
        })
        .map_err(|error| match error {
            error @ (RequesterError::InUse(LockError::Held { .. }) | RequesterError::HeldByProcess { .. }) => {
                RestoreError::InUse(error)
            }
            error => RestoreError::Failed { journal: journal.to_owned(), reason: error.to_string() },
        })
}
