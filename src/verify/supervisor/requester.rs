//! The device's AtomicOp Requester Enable bit, put back whatever happens.

use std::path::PathBuf;

use crate::pci::Bdf;
use crate::pci::requester::{Outcome, RequesterState, RequesterSwitch, journal_path};
use crate::pci::sysfs::SysfsRoot;
use crate::report::{AtomicsMode, RequesterReadback};
use crate::verify::error::VerifyError;

/// The bit of one device, for the runs that change it.
#[derive(Debug)]
pub struct Requester {
    device: Bdf,
    switch: RequesterSwitch,
    journal: PathBuf,
}

impl Requester {
    /// Finds the bit; changes nothing yet.
    ///
    /// # Errors
    /// The device's address is not known, or its config space cannot be written.
    pub fn open(sysfs: &SysfsRoot, device: Option<Bdf>, name: &str) -> Result<Self, VerifyError> {
        let Some(device) = device else {
            let reason = "the runtime does not say where it is on the PCI bus; `--atomics as-found` needs no address".to_owned();
            return Err(VerifyError::Requester { device: name.to_owned(), reason });
        };
        let journal = journal_path(sysfs, &device);
        RequesterSwitch::open(&sysfs.config_file(&device), device, &journal)
            .map(|switch| Self { device, switch, journal })
            .map_err(|error| failed(device, &error))
    }

    /// Brings the bit into the state that `mode` asks for, and says what it reads as. As found, it is put back.
    ///
    /// # Errors
    /// Config space or the journal cannot be written.
    pub fn enter(&mut self, mode: AtomicsMode) -> Result<RequesterReadback, VerifyError> {
        let wanted = match mode {
            AtomicsMode::On => RequesterState::Enabled,
            AtomicsMode::Off => RequesterState::Disabled,
            AtomicsMode::AsFound => {
                self.restore()?;
                let enabled = self.switch.original() == RequesterState::Enabled;
                return Ok(RequesterReadback::Holds { enabled });
            }
        };
        self.bring(wanted)
    }

    fn bring(&mut self, wanted: RequesterState) -> Result<RequesterReadback, VerifyError> {
        let enabled = wanted == RequesterState::Enabled;
        match self.switch.set(wanted).map_err(|error| failed(self.device, &error))? {
            Outcome::Holds => Ok(RequesterReadback::Holds { enabled }),
            Outcome::DidNotStick { .. } => Ok(RequesterReadback::DidNotStick { enabled: !enabled }),
        }
    }

    /// Brings the bit into the same state again after somebody else may have switched it, and says what it reads as.
    ///
    /// # Errors
    /// Config space or the journal cannot be written.
    pub fn reenter(&mut self, mode: AtomicsMode) -> Result<RequesterReadback, VerifyError> {
        let wanted = match mode {
            AtomicsMode::On => RequesterState::Enabled,
            AtomicsMode::Off => RequesterState::Disabled,
            AtomicsMode::AsFound => self.switch.original(),
        };
        self.bring(wanted)
    }

    /// Puts the bit back. Dropping does the same, but cannot say that it failed.
    ///
    /// # Errors
    /// Config space cannot be written; the journal stays for `aqlprobe atomics restore`.
    pub fn restore(&mut self) -> Result<(), VerifyError> {
        self.switch.restore().map_err(|error| VerifyError::NotRestored {
            device: self.device.to_string(),
            reason: error.to_string(),
            journal: self.journal.clone(),
            ended: None,
        })
    }

    /// Whether there is something to put back.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.switch.is_changed()
    }
}

fn failed(device: Bdf, error: &dyn std::error::Error) -> VerifyError {
    VerifyError::Requester { device: device.to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::path::{EnableBit, judge};
    use crate::pci::tree::Completers;
    use crate::verify::supervisor::fixtures::{FIJI, founding_tree};

    fn state(root: &SysfsRoot) -> EnableBit {
        judge(&root.hierarchy(&FIJI).unwrap()).requester
    }

    #[test]
    fn each_state_is_entered_read_back_and_put_back() {
        let (_tree, root) = founding_tree(Completers::Both);
        let mut requester = Requester::open(&root, Some(FIJI), "Fiji").unwrap();
        assert_eq!(requester.enter(AtomicsMode::Off).unwrap(), RequesterReadback::Holds { enabled: false });
        assert_eq!(requester.enter(AtomicsMode::On).unwrap(), RequesterReadback::Holds { enabled: true });
        assert_eq!(state(&root), EnableBit::Enabled);
        assert_eq!(requester.enter(AtomicsMode::AsFound).unwrap(), RequesterReadback::Holds { enabled: false });
        assert_eq!(state(&root), EnableBit::Disabled);
    }

    #[test]
    fn the_bit_is_put_back_on_every_way_out() {
        let (_tree, root) = founding_tree(Completers::Both);
        let mut requester = Requester::open(&root, Some(FIJI), "Fiji").unwrap();
        requester.enter(AtomicsMode::On).unwrap();
        drop(requester);
        assert_eq!(state(&root), EnableBit::Disabled);
        assert!(!journal_path(&root, &FIJI).exists());
    }

    #[test]
    fn a_device_without_address_is_not_switched() {
        let (_tree, root) = founding_tree(Completers::Both);
        let error = Requester::open(&root, None, "Fiji").unwrap_err();
        assert!(error.to_string().contains("as-found"), "{error}");
    }
}
