//! What is known of a device before anything runs on it, and its AtomicOps bit over all runs.

use crate::pci::Bdf;
use crate::report::{AtomicsMode, KfdReport, PathReport, Prediction, RequesterReadback};
use crate::verify::error::VerifyError;
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
            Some(bdf) => path::read(&bed.sysfs, bdf),
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

/// A device's AtomicOps bit over its runs, where they need it.
#[derive(Debug)]
pub struct Switch(Option<Requester>);

impl Switch {
    /// Finds the bit if one of `modes` needs it.
    ///
    /// # Errors
    /// It is needed and cannot be written.
    pub fn open(bed: &ReadyBed, bdf: Option<Bdf>, name: &str, modes: &[AtomicsMode]) -> Result<Self, VerifyError> {
        match modes {
            [AtomicsMode::AsFound] if bed.rules == Rules::Plain => Ok(Self(None)),
            _ => Requester::open(&bed.sysfs, bdf, name).map(|requester| Self(Some(requester))),
        }
    }

    /// Brings the bit into the state of a run, and says what it reads as.
    ///
    /// # Errors
    /// Config space or the journal cannot be written.
    pub fn enter(&mut self, mode: AtomicsMode, path: Result<&PathReport, &str>) -> Result<RequesterReadback, VerifyError> {
        match &mut self.0 {
            Some(requester) => requester.enter(mode),
            None => Ok(path::as_found(path)),
        }
    }

    /// The bit, where it is needed.
    pub fn bit(&mut self) -> Option<&mut Requester> {
        self.0.as_mut()
    }

    /// Puts the bit back.
    ///
    /// # Errors
    /// Config space cannot be written.
    pub fn restore(&mut self) -> Result<(), VerifyError> {
        self.0.as_mut().map_or(Ok(()), Requester::restore)
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
