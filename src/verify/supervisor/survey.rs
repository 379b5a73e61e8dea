//! What is known of a device before anything runs on it, and its AtomicOps bit over all runs.

use crate::pci::Bdf;
use crate::pci::device_lock::DeviceLock;
use crate::report::{AtomicsMode, KfdReport, PathReport, Prediction, RequesterReadback};
use crate::verify::error::{PutBack, VerifyError};
use crate::verify::event::{AgentSummary, Gate};

use super::bed::{ReadyBed, Rules};
use super::guest_bed::AfterOpening;
use super::requester::Requester;
use super::session::{Gatekeeper, NoGate};
use super::{kfd_answer, path, rocr_bed};

/// A device with its path, and what is predicted of it.
#[derive(Debug)]
pub struct Survey {
    /// Its PCI address.
    pub bdf: Option<Bdf>,
    /// Its way to host memory, or why that cannot be told.
    pub path: Result<PathReport, String>,
    /// What it does without AtomicOps.
    pub prediction: Prediction,
    /// What KFD makes of it.
    pub kfd: KfdReport,
}

impl Survey {
    /// Reads what the bed's sysfs says of the device.
    pub fn of(bed: &ReadyBed, agent: &AgentSummary) -> Self {
        let bdf: Option<Bdf> = agent.bdf.as_deref().and_then(|text| text.parse().ok());
        let path = match &bdf {
            Some(bdf) => {
                path::read(&bed.sysfs, bdf).map(|path| if bed.rules == Rules::Guest { before_opening(path) } else { path })
            }
            None => Err("the runtime does not say where the device is on the PCI bus".to_owned()),
        };
        // A topology that we wrote is nothing that KFD says.
        let node = bdf.as_ref().filter(|_| bed.rules != Rules::RocrModel).and_then(|bdf| kfd_answer::node(&bed.sysfs, bdf));
        let prediction = kfd_answer::prediction(&agent.gfx, node.as_ref());
        let prediction = match bed.rules {
            Rules::Plain | Rules::Guest => prediction,
            Rules::RocrModel => rocr_bed::prediction(&prediction),
        };
        let kfd = kfd_answer::report(&agent.gfx, node.as_ref(), path.as_ref().ok());
        Self { bdf, path, prediction, kfd }
    }
}

/// The path without the device's Bus Master bit: the runtime sets it when it opens the device through vfio-pci, so what it read as before
/// says nothing of the runs.
fn before_opening(mut path: PathReport) -> PathReport {
    if let Some(device) = path.hops.last_mut() {
        device.bus_master = None;
    }
    path
}

/// A device over its runs: nobody else's meanwhile, and its AtomicOps bit, where they need it.
#[derive(Debug)]
pub struct Switch {
    requester: Option<Requester>,
    _lock: Option<DeviceLock>,
}

impl Switch {
    /// Takes the device, and finds the bit if one of `modes` needs it.
    ///
    /// # Errors
    /// Another process has the device; or the bit is needed and cannot be written.
    pub fn open(bed: &ReadyBed, bdf: Option<Bdf>, name: &str, modes: &[AtomicsMode]) -> Result<Self, VerifyError> {
        let lock = bdf.as_ref().map_or(Ok(None), |bdf| bed.hold(bdf))?;
        let requester = match modes {
            [AtomicsMode::AsFound] if bed.rules == Rules::Plain => None,
            _ => Some(Requester::open(&bed.sysfs, bdf, name)?),
        };
        Ok(Self { requester, _lock: lock })
    }

    /// Brings the bit into the state of a run, and says what it reads as.
    ///
    /// # Errors
    /// Config space or the journal cannot be written.
    pub fn enter(&mut self, mode: AtomicsMode, path: Result<&PathReport, &str>) -> Result<RequesterReadback, VerifyError> {
        match &mut self.requester {
            Some(requester) => requester.enter(mode),
            None => Ok(path::as_found(path)),
        }
    }

    /// The bit, where it is needed.
    pub fn bit(&mut self) -> Option<&mut Requester> {
        self.requester.as_mut()
    }

    /// Puts the bit back, also when the runs were cut short: that a bit is not back is worse than why they were. A device that is gone
    /// has no bit any more, and it takes the report to tell that: then what could not be done comes beside the runs.
    ///
    /// # Errors
    /// [`VerifyError::NotRestored`], or what `runs` ended with.
    pub fn conclude<T>(
        &mut self,
        runs: Result<T, VerifyError>,
        gone: impl FnOnce() -> bool,
    ) -> Result<(T, Option<String>), VerifyError> {
        let changed = self.requester.as_ref().is_some_and(Requester::is_changed);
        let restored = self.requester.as_mut().map_or(Ok(()), Requester::restore);
        match (restored, runs) {
            (Ok(()), Err(VerifyError::Interrupted { signal, .. })) if changed => {
                Err(VerifyError::Interrupted { signal, put_back: PutBack::AtomicOps })
            }
            (Ok(()), runs) => runs.map(|runs| (runs, None)),
            (Err(left), Ok(runs)) if gone() => Ok((runs, Some(left.to_string()))),
            (Err(VerifyError::NotRestored { device, reason, journal, .. }), Err(ended)) => {
                Err(VerifyError::NotRestored { device, reason, journal, ended: Some(ended.to_string()) })
            }
            (Err(left), _) => Err(left),
        }
    }
}

/// What stands between a loaded worker of this bed and its work.
#[must_use]
pub fn gate(rules: Rules) -> Gate {
    if rules == Rules::Plain { Gate::Open } else { Gate::AfterLoading }
}

/// Who opens that gate; `readback` follows what the bit then reads as.
pub fn gatekeeper<'a>(
    rules: Rules,
    switch: Option<&'a mut Requester>,
    mode: AtomicsMode,
    readback: &'a mut RequesterReadback,
) -> Box<dyn Gatekeeper + 'a> {
    match (rules, switch) {
        (Rules::RocrModel, Some(requester)) => Box::new(Switching { requester, mode }),
        (Rules::Guest, Some(requester)) => Box::new(AfterOpening { requester, mode, readback }),
        _ => Box::new(NoGate),
    }
}

/// Lets a runtime open with AtomicOps, and takes them away where the run is to be without.
struct Switching<'a> {
    requester: &'a mut Requester,
    mode: AtomicsMode,
}

impl Gatekeeper for Switching<'_> {
    fn opening(&mut self) -> Result<(), VerifyError> {
        self.requester.enter(AtomicsMode::On).map(drop)
    }

    fn loaded(&mut self) -> Result<(), VerifyError> {
        self.requester.enter(self.mode).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::tree::Completers;
    use crate::report::{BedKind, BedReport};
    use crate::verify::event::PlannedRuntime;
    use crate::verify::supervisor::fixtures::{FIJI, founding_tree};

    #[test]
    fn a_device_that_another_run_has_is_refused_whatever_is_to_be_done_with_it_and_free_afterwards() {
        let (_tree, sysfs) = founding_tree(Completers::Both);
        let report = BedReport { kind: BedKind::Hardware, runtime: "x".to_owned(), rocr: None, reason: None, replay: None };
        let bed = ReadyBed::on(report, PlannedRuntime::Embedded, sysfs.clone(), Rules::Plain);
        let before = std::fs::read(sysfs.config_file(&FIJI)).unwrap();
        for first in [&[AtomicsMode::AsFound][..], &[AtomicsMode::Off, AtomicsMode::On]] {
            let held = Switch::open(&bed, Some(FIJI), "Fiji", first).unwrap();
            for second in [&[AtomicsMode::AsFound][..], &[AtomicsMode::On]] {
                let error = Switch::open(&bed, Some(FIJI), "Fiji", second).unwrap_err();
                assert_eq!(error.exit_code().status(), 2);
                assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
            }
            drop(held);
        }
        Switch::open(&bed, Some(FIJI), "Fiji", &[AtomicsMode::On]).unwrap();
        assert_eq!(std::fs::read(sysfs.config_file(&FIJI)).unwrap(), before);
    }
}
