//! From what the user asked for to a bed that workers can be started on.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use crate::faults::{BlockedHop, FaultPlan};
use crate::hsa::embedded::bed::{self, SYSFS_ENV};
use crate::hsa::embedded::vfio;
use crate::hsa::{Bed, MODEL_VARIABLE, RuntimeChoice};
use crate::pci::Bdf;
use crate::pci::device_lock::{DeviceLock, LockError};
use crate::pci::driver::VfioLease;
use crate::pci::private_tree::PrivateTree;
use crate::pci::sysfs::SysfsRoot;
use crate::report::{BedKind, BedReport};
use crate::verify::diagnose::OwnPackets;
use crate::verify::error::VerifyError;
use crate::verify::event::PlannedRuntime;
use crate::verify::request::{PlaceRequest, RequestedRuntime};

use super::guest_bed;
use super::no_gpu::{Explanation, Finding};
use super::process::Launcher;
use super::rocr_bed;

/// A bed that is ready.
#[derive(Debug)]
pub struct ReadyBed {
    /// What the report says of it.
    pub report: BedReport,
    /// What workers open.
    pub runtime: PlannedRuntime,
    /// Where its PCI tree is.
    pub sysfs: SysfsRoot,
    /// Starts workers on it.
    pub launcher: Launcher,
    /// What it cannot carry.
    pub rules: Rules,
    /// Where workers keep the fabric's counters, if that is not beside the device's config space.
    pub counters: Option<PathBuf>,
    /// Holds the endpoint, which goes back to where it was found.
    pub(super) _lease: Option<VfioLease>,
    /// The device that had to be taken before it could be found out what the bed is. Let go after the lease.
    pub(super) taken: Option<DeviceLock>,
    /// Holds the software GPU's PCI tree, which disappears with it.
    pub(super) _tree: Option<PrivateTree>,
}

impl ReadyBed {
    /// One that holds nothing.
    #[cfg(test)]
    pub fn on(report: BedReport, runtime: PlannedRuntime, sysfs: SysfsRoot, rules: Rules) -> Self {
        let launcher = Launcher::default();
        Self { report, runtime, sysfs, launcher, rules, counters: None, _lease: None, taken: None, _tree: None }
    }

    /// Whether a function answers nothing any more: a read of its config space that nobody completes returns all ones (PCIe 2.3.2).
    #[must_use]
    pub fn has_lost(&self, bdf: Option<Bdf>) -> bool {
        let mut start = [0; 4];
        let config = bdf.map(|bdf| self.sysfs.config_file(&bdf));
        let read = config.map(|config| File::open(config).and_then(|mut file| file.read_exact(&mut start)));
        read.is_some_and(|read| read.is_ok()) && start == [0xff; 4]
    }

    /// Whether its runtime may dispatch packets of its own.
    #[must_use]
    pub fn own_packets(&self) -> OwnPackets {
        match self.runtime {
            PlannedRuntime::Embedded => OwnPackets::None,
            PlannedRuntime::Library(_) | PlannedRuntime::RocrModel(_) => OwnPackets::Possible,
        }
    }

    /// Takes a device for as long as the lock lives, unless the bed has it already. A device whose config space cannot even be opened
    /// is not locked: its bit cannot be switched either.
    ///
    /// # Errors
    /// [`VerifyError::InUse`] when another process has it.
    pub fn hold(&self, device: &Bdf) -> Result<Option<DeviceLock>, VerifyError> {
        if self.taken.as_ref().is_some_and(|lock| lock.device() == *device) {
            return Ok(None);
        }
        hold(&self.sysfs, device)
    }
}

/// See [`ReadyBed::hold`].
pub(super) fn hold(sysfs: &SysfsRoot, device: &Bdf) -> Result<Option<DeviceLock>, VerifyError> {
    match DeviceLock::take(&sysfs.config_file(device), *device) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held { .. }) => Err(VerifyError::InUse(error)),
        Err(LockError::Unlockable { .. }) => Ok(None),
    }
}

/// Which rules the cases of a bed are run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Every case runs.
    Plain,
    /// Those of [`rocr_bed`].
    RocrModel,
    /// Those of [`guest_bed`].
    Guest,
}

/// Prepares the bed that `request` asks for.
///
/// # Errors
/// The runtime cannot be opened, or the dump to replay does not fit or cannot be read.
pub fn prepare(request: &PlaceRequest) -> Result<ReadyBed, VerifyError> {
    if request.faults.is_some() && !is_model(request) {
        return Err(VerifyError::InjectNeedsModel { runtime: request.runtime.to_string() });
    }
    let mut bed = lay_out(request)?;
    bed.launcher.faults = request.faults.clone();
    Ok(bed)
}

/// Whether the software GPU is asked for by name, so that nothing else can be meant to go wrong.
fn is_model(request: &PlaceRequest) -> bool {
    match &request.runtime {
        RequestedRuntime::RocrModel(_) | RequestedRuntime::Guest | RequestedRuntime::Choice(RuntimeChoice::Embedded) => true,
        RequestedRuntime::Choice(RuntimeChoice::Auto) => request.replay.is_some(),
        RequestedRuntime::Choice(_) => false,
    }
}

/// The hop that is to be in the way of AtomicOps.
pub(super) fn blocked_hop(request: &PlaceRequest) -> Option<BlockedHop> {
    request.faults.as_ref().and_then(FaultPlan::blocked_hop)
}

fn lay_out(request: &PlaceRequest) -> Result<ReadyBed, VerifyError> {
    let choice = match (&request.replay, &request.runtime) {
        // A dump can only be meant for the embedded device, so asking for one is asking for that.
        (Some(_), RequestedRuntime::Choice(RuntimeChoice::Auto | RuntimeChoice::Embedded)) => {
            return embedded(request, BedKind::Embedded, None);
        }
        (Some(_), other) => return Err(VerifyError::ReplayNeedsEmbedded { runtime: other.to_string() }),
        (None, RequestedRuntime::RocrModel(model)) => return rocr_bed::prepare(model, blocked_hop(request)),
        (None, RequestedRuntime::Guest) => return guest_bed::prepare(request),
        (None, RequestedRuntime::Choice(choice)) => choice,
    };
    let resolved = choice.resolve().map_err(|error| match choice {
        RuntimeChoice::System => VerifyError::NoGpu(Explanation::here(Finding::of_choice(&error)).to_string()),
        _ => VerifyError::Runtime(error.to_string()),
    })?;
    match resolved.bed {
        Bed::Hardware { library } => library_bed(request, library),
        Bed::Embedded => embedded(request, BedKind::Embedded, None),
        Bed::EmbeddedSelfTest { reason } => self_test(request, reason),
    }
}

/// A runtime library with the device that it has: hardware, unless the environment gives it a model in its place.
fn library_bed(request: &PlaceRequest, library: PathBuf) -> Result<ReadyBed, VerifyError> {
    let runtime = library.display().to_string();
    let (report, sysfs, tree) = match std::env::var_os(MODEL_VARIABLE) {
        None => {
            let report = BedReport { kind: BedKind::Hardware, runtime, rocr: None, reason: None, replay: None };
            (report, request.sysfs_root.clone().map_or_else(SysfsRoot::default, SysfsRoot::new), None)
        }
        Some(_) => {
            let reason = format!("{MODEL_VARIABLE} is set, so the runtime drives a device model and no hardware");
            let report = BedReport { kind: BedKind::UnaskedModel, runtime, rocr: None, reason: Some(reason), replay: None };
            // The addresses of a model's device are not this machine's: its bits must not be switched in their place.
            let named = request.sysfs_root.clone().or_else(|| std::env::var_os(SYSFS_ENV).map(PathBuf::from));
            match named {
                Some(root) => (report, SysfsRoot::new(root), None),
                None => {
                    let empty = temporary_directory()?;
                    (report, SysfsRoot::new(empty.path()), Some(empty))
                }
            }
        }
    };
    let (runtime, launcher) = (PlannedRuntime::Library(library), Launcher::default());
    Ok(ReadyBed { report, runtime, sysfs, launcher, rules: Rules::Plain, counters: None, _lease: None, taken: None, _tree: tree })
}

/// A directory for a modelled machine.
pub(super) fn temporary_directory() -> Result<PrivateTree, VerifyError> {
    PrivateTree::create().map_err(|error| {
        VerifyError::Bed(format!("no directory for its PCI tree: {error}; TMPDIR names another place for temporary files"))
    })
}

/// The embedded bed as a self-test of the harness, because no GPU can be used.
///
/// # Errors
/// The bed cannot be laid out.
pub fn self_test(request: &PlaceRequest, reason: String) -> Result<ReadyBed, VerifyError> {
    embedded(request, BedKind::EmbeddedSelfTest, Some(reason))
}

fn embedded(request: &PlaceRequest, kind: BedKind, reason: Option<String>) -> Result<ReadyBed, VerifyError> {
    let replay_error = |path: &PathBuf, reason: String| VerifyError::Replay { path: path.clone(), reason };
    let dump = match &request.replay {
        Some(path) => {
            // A dump may hold names in any encoding around its rows; only the rows count.
            let bytes = fs::read(path).map_err(|error| replay_error(path, error.to_string()))?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => None,
    };
    let tree = temporary_directory()?;
    let prepared = bed::prepare(tree.path(), dump.as_deref(), blocked_hop(request)).map_err(|error| match &request.replay {
        Some(path) => replay_error(path, error.to_string()),
        None => VerifyError::Bed(error.to_string()),
    })?;
    let replay = request.replay.as_ref().map(|path| path.display().to_string());
    Ok(ReadyBed {
        report: BedReport { kind, runtime: "embedded".to_owned(), rocr: None, reason, replay },
        runtime: PlannedRuntime::Embedded,
        launcher: Launcher {
            // No endpoint that the environment may name: this bed's device is in the worker.
            environment: vec![
                (SYSFS_ENV.to_owned(), prepared.sysfs_root.clone().into()),
                (vfio::DEVICE_ENV.to_owned(), std::ffi::OsString::new()),
            ],
            ..Launcher::default()
        },
        rules: Rules::Plain,
        counters: None,
        _lease: None,
        taken: None,
        sysfs: SysfsRoot::new(prepared.sysfs_root),
        _tree: Some(tree),
    })
}
