//! The vocabulary of outcomes (docs/architecture.md, "Outcomes").

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happened to one case, in the words the whole tool uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything the case asks for happened within the deadline.
    Completed,
    /// The signal fired, but only after the deadline.
    CompletedLate {
        /// When it fired, from the doorbell.
        after_ms: u64,
    },
    /// The queue's read index did not pass the packet, and nothing else shows that it ran: the device never took it.
    PacketNotFetched,
    /// The packet was consumed, but the kernel's output is absent or not all there.
    NoEffect,
    /// The kernel's output (or the consumed packet) is there, but its completion signal did not fire.
    CompletionLost,
    /// The signal fired, but the output is absent.
    FalseCompletion,
    /// The signal's value arrived, but a blocked wait was not woken.
    WakeLost,
    /// Something counted or computed came out wrong.
    WrongValue {
        /// What, wanted and found.
        detail: String,
    },
    /// A signal was decremented more than once for one packet.
    FiredTwice {
        /// The value found.
        value: i64,
    },
    /// The queue reported an error that the case did not provoke.
    QueueError {
        /// The runtime's name of the status.
        status: String,
    },
    /// A call into the runtime did not return; the worker was killed.
    RuntimeWedged,
    /// The worker process died.
    WorkerCrashed {
        /// The signal's or exit status' name.
        signal: String,
    },
    /// The runtime, which had been opened before, would not be opened again or not find its device.
    RuntimeRefused {
        /// What it said.
        reason: String,
    },
    /// The case could not be tried here.
    Untestable {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// The kind alone, as tables and JSON print it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedLate { .. } => "completed-late",
            Self::PacketNotFetched => "packet-not-fetched",
            Self::NoEffect => "no-effect",
            Self::CompletionLost => "completion-lost",
            Self::FalseCompletion => "false-completion",
            Self::WakeLost => "wake-lost",
            Self::WrongValue { .. } => "wrong-value",
            Self::FiredTwice { .. } => "fired-twice",
            Self::QueueError { .. } => "queue-error",
            Self::RuntimeWedged => "runtime-wedged",
            Self::WorkerCrashed { .. } => "worker-crashed",
            Self::RuntimeRefused { .. } => "runtime-refused",
            Self::Untestable { .. } => "untestable",
        }
    }

    /// Whether somebody who waits for the signal without a deadline would wait forever: exit code 3.
    #[must_use]
    pub const fn is_hang(&self) -> bool {
        matches!(self, Self::PacketNotFetched | Self::NoEffect | Self::CompletionLost | Self::WakeLost | Self::RuntimeWedged)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self {
            Self::CompletedLate { after_ms } => write!(formatter, " (after {after_ms} ms)"),
            Self::WrongValue { detail } => write!(formatter, " ({detail})"),
            Self::FiredTwice { value } => write!(formatter, " (value {value})"),
            Self::QueueError { status } => write!(formatter, " ({status})"),
            Self::WorkerCrashed { signal } => write!(formatter, " ({signal})"),
            Self::RuntimeRefused { reason } | Self::Untestable { reason } => write!(formatter, " ({reason})"),
            _ => Ok(()),
        }
    }
}

/// How an outcome stands against what was expected of this case in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The case did what it must.
    Passed,
    /// The case failed as it was predicted to with AtomicOps off.
    AsPredicted,
    /// The case failed, or did what the prediction excludes.
    Failed,
    /// Not tried; never a pass.
    Skipped,
    /// A known defect of the runtime on this bed, which says nothing of the device; never a pass.
    Known,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 5] = [Self::Passed, Self::AsPredicted, Self::Failed, Self::Skipped, Self::Known];

    /// As JSON and labels spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::AsPredicted => "as-predicted",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Known => "known",
        }
    }
}
