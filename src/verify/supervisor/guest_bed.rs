//! The bed inside a guest: our runtime over vfio-pci on the software GPU's PCIe endpoint.

use std::env;
use std::ffi::OsString;

use crate::hsa::embedded::vfio::{COUNTERS_ENV, DEVICE_ENV, LOG_ENV};
use crate::pci::driver::{Origin, VfioLease, driver_of};
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, ConfigOffset, ConfigSpace, registers};
use crate::report::{AtomicsMode, BedKind, BedReport, RequesterReadback};
use crate::verify::error::VerifyError;
use crate::verify::event::PlannedRuntime;
use crate::verify::request::PlaceRequest;

use super::bed::{ReadyBed, Rules, temporary_directory};
use super::process::Launcher;
use super::requester::Requester;
use super::session::Gatekeeper;

/// Vendor and device id of the endpoint: those of the founding machine's Fiji.
const ENDPOINT: (u16, u16) = (0x1002, 0x7300);

/// Finds the endpoint, lends it to vfio-pci, and says how workers open it.
///
/// # Errors
/// There is no endpoint, or vfio-pci cannot have it.
pub fn prepare(request: &PlaceRequest) -> Result<ReadyBed, VerifyError> {
    let sysfs = request.sysfs_root.clone().map_or_else(SysfsRoot::default, SysfsRoot::new);
    let named = env::var(DEVICE_ENV).ok().filter(|address| !address.is_empty());
    let endpoint = match named {
        Some(address) => address.parse().map_err(|error| VerifyError::Guest(format!("{DEVICE_ENV}: {error}")))?,
        None => find(&sysfs)?,
    };
    let lease = VfioLease::take(&sysfs, endpoint).map_err(|error| VerifyError::Guest(error.to_string()))?;
    let directory = temporary_directory()?;
    let counters = directory.path().join("fabric");
    let mut environment =
        vec![(DEVICE_ENV.to_owned(), OsString::from(endpoint.to_string())), (COUNTERS_ENV.to_owned(), counters.clone().into())];
    // Its reasons are what the user needs when the device cannot be opened; the status of a call says too little.
    environment.push((LOG_ENV.to_owned(), OsString::from("1")));
    let bound = match lease.origin() {
        Origin::WasBound => "",
        Origin::BoundByUs => ", bound for this run",
    };
    Ok(ReadyBed {
        report: BedReport {
            kind: BedKind::Guest,
            runtime: format!("embedded, over vfio-pci at {endpoint}{bound}; no interrupts, so blocked waits poll"),
            rocr: None,
            reason: None,
            replay: None,
        },
        runtime: PlannedRuntime::Embedded,
        sysfs,
        launcher: Launcher { environment, ..Launcher::default() },
        rules: Rules::Guest,
        counters: Some(counters),
        _lease: Some(lease),
        _tree: Some(directory),
    })
}

/// The first function with the endpoint's ids that vfio-pci has or can have.
fn find(sysfs: &SysfsRoot) -> Result<Bdf, VerifyError> {
    let devices = sysfs.amd_display_functions().map_err(|error| VerifyError::Guest(error.to_string()))?;
    let found: Vec<Bdf> = devices.into_iter().filter(|bdf| ids(sysfs, bdf) == Some(ENDPOINT)).collect();
    let usable = |bdf: &&Bdf| driver_of(sysfs, bdf).is_none_or(|driver| driver == "vfio-pci");
    found.iter().find(usable).or(found.first()).copied().ok_or_else(|| {
        let (vendor, device) = ENDPOINT;
        VerifyError::Guest(format!(
            "there is no PCI function {vendor:04x}:{device:04x} under {}; start the guest with `aqlprobe endpoint`'s socket as its \
             vfio-user device",
            sysfs.path().display()
        ))
    })
}

fn ids(sysfs: &SysfsRoot, bdf: &Bdf) -> Option<(u16, u16)> {
    let config = ConfigSpace::from_bytes(std::fs::read(sysfs.config_file(bdf)).ok()?);
    let word = |at: ConfigOffset| config.u16(at);
    word(registers::VENDOR_ID).zip(word(registers::DEVICE_ID))
}

/// Brings AtomicOps into the run's state once the worker has opened the device: opening a function through vfio-pci resets it, so
/// what was switched before is lost. What reads back then is what the run was made in.
pub struct AfterOpening<'a> {
    /// The bit.
    pub requester: &'a mut Requester,
    /// The run's state.
    pub mode: AtomicsMode,
    /// What reads back while the device is open.
    pub readback: &'a mut RequesterReadback,
}

impl Gatekeeper for AfterOpening<'_> {
    fn opening(&mut self) -> Result<(), VerifyError> {
        Ok(())
    }

    fn loaded(&mut self) -> Result<(), VerifyError> {
        *self.readback = self.requester.reenter(self.mode)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::tree::Completers;
    use crate::verify::supervisor::fixtures::{FIJI, founding_tree};

    #[test]
    fn the_endpoint_is_found_by_its_ids() {
        let (_tree, root) = founding_tree(Completers::Both);
        assert_eq!(find(&root).unwrap(), FIJI);
    }

    #[test]
    fn without_an_endpoint_the_error_names_what_serves_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("bus/pci/devices")).unwrap();
        let error = find(&SysfsRoot::new(directory.path())).unwrap_err().to_string();
        assert!(error.contains("1002:7300") && error.contains("aqlprobe endpoint"), "{error}");
    }

    #[test]
    fn what_opening_the_device_switched_is_switched_back_before_the_cases() {
        let (_tree, root) = founding_tree(Completers::Both);
        for (mode, enabled) in [(AtomicsMode::On, true), (AtomicsMode::Off, false), (AtomicsMode::AsFound, false)] {
            let mut requester = Requester::open(&root, Some(FIJI), "Fiji").unwrap();
            let mut readback = requester.enter(mode).unwrap();
            // Opening switches the bit to the other state, behind the harness's back.
            let config = root.config_file(&FIJI);
            let mut bytes = std::fs::read(&config).unwrap();
            bytes[0x80] ^= 0x40;
            std::fs::write(&config, bytes).unwrap();
            AfterOpening { requester: &mut requester, mode, readback: &mut readback }.loaded().unwrap();
            assert_eq!(readback, RequesterReadback::Holds { enabled });
            assert_eq!(std::fs::read(&config).unwrap()[0x80] & 0x40 != 0, enabled, "{mode}");
            requester.restore().unwrap();
            assert_eq!(std::fs::read(&config).unwrap()[0x80] & 0x40, 0, "as it was found");
        }
    }
}
