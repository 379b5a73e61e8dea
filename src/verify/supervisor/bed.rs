//! From what the user asked for to a bed that workers can be started on.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::hsa::embedded::bed::{self, SYSFS_ENV};
use crate::hsa::{Bed, RuntimeChoice};
use crate::pci::sysfs::SysfsRoot;
use crate::report::{BedKind, BedReport};
use crate::verify::error::VerifyError;
use crate::verify::event::PlannedRuntime;
use crate::verify::request::VerifyRequest;

use super::no_gpu::{Explanation, Finding};
use super::process::Launcher;

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
    /// Holds the embedded device's PCI tree, which disappears with it.
    _tree: Option<TempDir>,
}

/// Prepares the bed that `request` asks for.
///
/// # Errors
/// The runtime cannot be opened, or the dump to replay does not fit or cannot be read.
pub fn prepare(request: &VerifyRequest) -> Result<ReadyBed, VerifyError> {
    match (&request.replay, &request.runtime) {
        // A dump can only be meant for the embedded device, so asking for one is asking for that.
        (Some(_), RuntimeChoice::Auto | RuntimeChoice::Embedded) => return embedded(request, BedKind::Embedded, None),
        (Some(_), other) => return Err(VerifyError::ReplayNeedsEmbedded { runtime: other.to_string() }),
        (None, _) => {}
    }
    let resolved = request.runtime.resolve().map_err(|error| match request.runtime {
        RuntimeChoice::System => VerifyError::NoGpu(Explanation::here(Finding::of_choice(&error)).to_string()),
        _ => VerifyError::Runtime(error.to_string()),
    })?;
    match resolved.bed {
        Bed::Hardware { library } => {
            let runtime = library.display().to_string();
            Ok(ReadyBed {
                report: BedReport { kind: BedKind::Hardware, runtime, reason: None, replay: None },
                runtime: PlannedRuntime::Library(library),
                sysfs: request.sysfs_root.clone().map_or_else(SysfsRoot::default, SysfsRoot::new),
                launcher: Launcher::default(),
                _tree: None,
            })
        }
        Bed::Embedded => embedded(request, BedKind::Embedded, None),
        Bed::EmbeddedSelfTest { reason } => self_test(request, reason),
    }
}

/// The embedded bed as a self-test of the harness, because no GPU can be used.
///
/// # Errors
/// The bed cannot be laid out.
pub fn self_test(request: &VerifyRequest, reason: String) -> Result<ReadyBed, VerifyError> {
    embedded(request, BedKind::EmbeddedSelfTest, Some(reason))
}

fn embedded(request: &VerifyRequest, kind: BedKind, reason: Option<String>) -> Result<ReadyBed, VerifyError> {
    let replay_error = |path: &PathBuf, reason: String| VerifyError::Replay { path: path.clone(), reason };
    let dump = match &request.replay {
        Some(path) => {
            // A dump may hold names in any encoding around its rows; only the rows count.
            let bytes = fs::read(path).map_err(|error| replay_error(path, error.to_string()))?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => None,
    };
    let tree = tempfile::Builder::new()
        .prefix("aqlprobe-")
        .tempdir()
        .map_err(|error| VerifyError::Bed(format!("no directory for its PCI tree: {error}")))?;
    let prepared = bed::prepare(tree.path(), dump.as_deref()).map_err(|error| match &request.replay {
        Some(path) => replay_error(path, error.to_string()),
        None => VerifyError::Bed(error.to_string()),
    })?;
    let replay = request.replay.as_ref().map(|path| path.display().to_string());
    Ok(ReadyBed {
        report: BedReport { kind, runtime: "embedded".to_owned(), reason, replay },
        runtime: PlannedRuntime::Embedded,
        launcher: Launcher { environment: vec![(SYSFS_ENV.to_owned(), prepared.sysfs_root.clone())] },
        sysfs: SysfsRoot::new(prepared.sysfs_root),
        _tree: Some(tree),
    })
}
