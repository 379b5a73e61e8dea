//! What keeps a verification from being made.

use std::fmt;
use std::path::PathBuf;

use crate::pci::device_lock::LockError;
use crate::pci::requester::RequesterError;
use crate::report::ExitCode;

use super::catalogue::NoCaseMatches;
use super::request::DeviceSelector;

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No case has such a name.
    #[error(transparent)]
    NoCaseMatches(#[from] NoCaseMatches),
    /// `--replay` without the embedded device.
    #[error("a dump can be replayed on the embedded device only, and the runtime is {runtime}: add `--runtime embedded`")]
    ReplayNeedsEmbedded {
        /// The runtime asked for.
        runtime: String,
    },
    /// `--inject` without the software GPU.
    #[error(
        "faults can be injected into the software GPU only, and the runtime is {runtime}: add `--runtime embedded`, `rocr-model` or `guest`"
    )]
    InjectNeedsModel {
        /// The runtime asked for.
        runtime: String,
    },
    /// `--inject` with a plan for other cases only.
    #[error("no fault of the plan {plan} applies here: its `:case=` names none of what runs, which is `{case}`")]
    NothingToInject {
        /// The plan.
        plan: String,
        /// What runs.
        case: &'static str,
    },
    /// A fault for cases that are not run.
    #[error(
        "the fault `{fault}` strikes none of the selected cases: select one that it names with `--case` (`--list` shows them), or change its `:case=`"
    )]
    IdleFault {
        /// As the plan spells it.
        fault: String,
    },
    /// The dump cannot be read or is malformed.
    #[error("cannot replay {path}: {reason}")]
    Replay {
        /// The dump.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The runtime that was asked for cannot be opened.
    #[error("cannot open the HSA runtime: {0}")]
    Runtime(String),
    /// No GPU can be used, and why: the runtime found, what is missing, and what to do next.
    #[error("no GPU can be tested: {0}")]
    NoGpu(String),
    /// AMD's runtime cannot be started on the software GPU.
    #[error("cannot run ROCr on the software GPU: {0}")]
    RocrModel(String),
    /// The software GPU's PCIe endpoint cannot be driven.
    #[error("cannot drive the PCIe endpoint over vfio-pci: {0}")]
    Guest(String),
    /// The runtime has no such GPU.
    #[error("the runtime does not have {wanted}; it has {found}{}", .self_test.as_ref().map(|reason| format!(" (the embedded software GPU, because no GPU could be used: {reason})")).unwrap_or_default())]
    NoSuchDevice {
        /// What was asked for.
        wanted: DeviceSelector,
        /// The GPUs there are, in words.
        found: String,
        /// Why only the embedded device is there, when the user asked for none.
        self_test: Option<String>,
    },
    /// Another process works with the device.
    #[error(transparent)]
    InUse(LockError),
    /// The AtomicOps bit was to be written and cannot be.
    #[error("cannot switch AtomicOps of {device}: {reason}")]
    Requester {
        /// The device.
        device: String,
        /// What failed and what to do.
        reason: String,
    },
    /// The worker process cannot be started or does not speak.
    #[error("the worker process failed: {0}")]
    Worker(String),
    /// The worker process died before it could say which GPUs there are.
    #[error("the worker process died ({signal}) while it opened the runtime{last_words}")]
    WorkerDied {
        /// How: the signal's or exit status' name.
        signal: String,
        /// The end of what it wrote to stderr, as a continuation of the sentence.
        last_words: String,
    },
    /// The software GPU's machine cannot be laid out.
    #[error("cannot prepare the software GPU: {0}")]
    Bed(String),
    /// The bit could not be put back after the runs.
    #[error(
        "AtomicOps of {device} could not be put back: {reason}; `aqlprobe atomics restore --journal {}` tries again{}",
        journal.display(), beside(ended.as_deref())
    )]
    NotRestored {
        /// The device.
        device: String,
        /// What failed.
        reason: String,
        /// What remembers the state that there was.
        journal: PathBuf,
        /// What the runs had ended with, if that is an error too.
        ended: Option<String>,
    },
    /// The user interrupted; whatever was changed is as it was.
    #[error("interrupted by {signal}{put_back}")]
    Interrupted {
        /// The signal's name.
        signal: &'static str,
        /// What had to be put back.
        put_back: PutBack,
    },
}

/// What an interrupted run has put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutBack {
    /// Nothing: nothing had been switched.
    Nothing,
    /// AtomicOps.
    AtomicOps,
}

impl fmt::Display for PutBack {
    /// As the rest of a sentence.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::AtomicOps => formatter.write_str("; AtomicOps were put back"),
        }
    }
}

fn beside(ended: Option<&str>) -> String {
    ended.map(|ended| format!(" (the run had ended with: {ended})")).unwrap_or_default()
}

impl VerifyError {
    /// How the process should end.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Runtime(_)
            | Self::RocrModel(_)
            | Self::Guest(_)
            | Self::NoGpu(_)
            | Self::NoSuchDevice { self_test: Some(_), .. } => ExitCode::NoHardware,
            Self::InUse(_)
            | Self::NoCaseMatches(_)
            | Self::ReplayNeedsEmbedded { .. }
            | Self::InjectNeedsModel { .. }
            | Self::NothingToInject { .. }
            | Self::IdleFault { .. }
            | Self::Replay { .. }
            | Self::NoSuchDevice { .. } => ExitCode::Usage,
            Self::NotRestored { .. }
            | Self::Requester { .. }
            | Self::Worker(_)
            | Self::WorkerDied { .. }
            | Self::Bed(_)
            | Self::Interrupted { .. } => ExitCode::CheckFailed,
        }
    }
}

/// Why a journal could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Another process works with the device, or is switching its bit and will put it back.
    #[error(transparent)]
    InUse(RequesterError),
    /// Anything else.
    #[error("cannot restore from {journal}: {reason}")]
    Failed {
        /// The journal.
        journal: PathBuf,
        /// What failed and what to do.
        reason: String,
    },
}

impl RestoreError {
    /// How the process should end.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::InUse(_) => ExitCode::Usage,
            Self::Failed { .. } => ExitCode::CheckFailed,
        }
    }
}
