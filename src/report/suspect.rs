//! The cause that a diagnosis names, as a word that a program can read. The sentence beside it says the same with its figures.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What most likely went wrong. Each is told from the others by what the host can observe; `results/faults.md` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspect {
    /// The function no longer answers: its config space reads all ones.
    DeviceGone,
    /// The worker process died of a signal or by itself.
    WorkerCrashed,
    /// The worker process wrote more than it could have had to say, and was killed.
    WorkerFlooded,
    /// A call into the runtime does not return.
    RuntimeWedged,
    /// The runtime would not be opened again.
    RuntimeRefused,
    /// The queue reported an error that nobody provoked.
    QueueError,
    /// Bus Master Enable is clear in the device.
    BusMasterDisabled,
    /// AtomicOp Requester Enable is clear in the device.
    RequesterDisabled,
    /// The root port does not complete AtomicOps of this width.
    RootPortIncapable,
    /// A switch port does not route AtomicOps.
    SwitchNotRouting,
    /// A switch port blocks AtomicOps on egress.
    EgressBlocked,
    /// AtomicOps do not arrive, and the registers that decide it cannot be read.
    PathUnreadable,
    /// A kernel ran more than once for one packet.
    ExecutedTwice,
    /// A 64-bit AtomicOp was done in two halves.
    AtomicTorn,
    /// Some AtomicOps of a kernel did not take effect, and no register says why.
    AtomicLost,
    /// The doorbell did not reach the device; rung again, it did.
    DoorbellLost,
    /// The device took the packet only once the doorbell went beyond a value that an earlier queue had left in it.
    DoorbellStale,
    /// The device does not take packets, however often the doorbell rings.
    PacketIgnored,
    /// The packets run, but the read index does not move.
    ReadIndexStuck,
    /// Elements of the output are made of parts of old and new values.
    OutputTorn,
    /// The kernel ran, and its output, or part of it, was not there when it completed.
    OutputStale,
    /// The packet was taken, and its kernel left no trace of having run.
    KernelNotRun,
    /// One decrement took another amount than 1. It is named only where the amount shows.
    WrongDecrement,
    /// One packet decremented its signal more than once; or once by 2, where nobody counts decrements.
    FiredTwice,
    /// The decrement of the completion signal never arrived, and no register says why.
    DecrementLost,
    /// The completion arrived after its deadline.
    CompletionSlow,
    /// The value arrived, and the event that wakes a blocked wait did not.
    EventLost,
    /// It completed although that was excluded: the prediction or the reading of registers is wrong.
    PredictionWrong,
    /// A wrong figure that none of the others explains.
    Unexplained,
}

impl Suspect {
    /// Every suspect, the one that explains most first: where several cases of a run name different ones, the earliest here is
    /// the run's.
    pub const ALL: [Self; 29] = [
        Self::DeviceGone,
        Self::WorkerCrashed,
        Self::WorkerFlooded,
        Self::RuntimeWedged,
        Self::RuntimeRefused,
        Self::QueueError,
        Self::BusMasterDisabled,
        Self::RequesterDisabled,
        Self::RootPortIncapable,
        Self::SwitchNotRouting,
        Self::EgressBlocked,
        Self::PathUnreadable,
        Self::ExecutedTwice,
        Self::AtomicTorn,
        Self::AtomicLost,
        Self::DoorbellLost,
        Self::DoorbellStale,
        Self::PacketIgnored,
        Self::ReadIndexStuck,
        Self::OutputTorn,
        Self::OutputStale,
        Self::KernelNotRun,
        Self::WrongDecrement,
        Self::FiredTwice,
        Self::DecrementLost,
        Self::CompletionSlow,
        Self::EventLost,
        Self::PredictionWrong,
        Self::Unexplained,
    ];

    /// The word for it, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeviceGone => "device-gone",
            Self::WorkerCrashed => "worker-crashed",
            Self::WorkerFlooded => "worker-flooded",
            Self::RuntimeWedged => "runtime-wedged",
            Self::RuntimeRefused => "runtime-refused",
            Self::QueueError => "queue-error",
            Self::BusMasterDisabled => "bus-master-disabled",
            Self::RequesterDisabled => "requester-disabled",
            Self::RootPortIncapable => "root-port-incapable",
            Self::SwitchNotRouting => "switch-not-routing",
            Self::EgressBlocked => "egress-blocked",
            Self::PathUnreadable => "path-unreadable",
            Self::ExecutedTwice => "executed-twice",
            Self::AtomicTorn => "atomic-torn",
            Self::AtomicLost => "atomic-lost",
            Self::DoorbellLost => "doorbell-lost",
            Self::DoorbellStale => "doorbell-stale",
            Self::PacketIgnored => "packet-ignored",
            Self::ReadIndexStuck => "read-index-stuck",
            Self::KernelNotRun => "kernel-not-run",
            Self::OutputStale => "output-stale",
            Self::OutputTorn => "output-torn",
            Self::FiredTwice => "fired-twice",
            Self::WrongDecrement => "wrong-decrement",
            Self::DecrementLost => "decrement-lost",
            Self::CompletionSlow => "completion-slow",
            Self::EventLost => "event-lost",
            Self::PredictionWrong => "prediction-wrong",
            Self::Unexplained => "unexplained",
        }
    }
}

impl fmt::Display for Suspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_has_one_name_in_text_and_json_and_its_place_in_the_order() {
        for (place, suspect) in Suspect::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_string(&suspect).unwrap(), format!("\"{suspect}\""));
            assert_eq!(suspect as usize, place, "{suspect}");
        }
    }
}
