//! The faults by name.

use std::fmt;
use std::str::FromStr;

use super::value::{BlockedHop, Decrement, Delay, QueueErrorKind, ValueError};

/// Who is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The software GPU: its packet processor, its waves' stores, its AtomicOps.
    Device,
    /// The config space of the modelled path, as it is laid out before anything runs.
    Path,
    /// The worker process that runs the cases.
    Worker,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Device => "device",
            Self::Path => "path",
            Self::Worker => "worker",
        })
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A packet completes, and its signal is not decremented.
    SignalDropped,
    /// The completion signal is decremented so much later than the packet completes.
    SignalLate(Delay),
    /// The completion signal is decremented twice.
    SignalTwice,
    /// The completion signal is decremented by another number than 1.
    SignalDecrement(Decrement),
    /// The packet stays in the ring: it is never taken, and nothing behind it either.
    PacketIgnored,
    /// The packet is taken off the ring, and neither executed nor completed.
    PacketLost,
    /// The packet is taken off the ring and completed, and its kernel does not run.
    PacketSkipped,
    /// The kernel runs twice before its packet completes.
    PacketTwice,
    /// Of a kernel's store only the first half of the bytes arrives.
    OutputTorn,
    /// A kernel's store does not arrive: memory keeps what it held.
    OutputStale,
    /// An AtomicOp to host memory disappears on the way, uncounted.
    AtomicLost,
    /// A 64-bit AtomicOp to host memory is performed as two of 32 bits: no carry or borrow, no comparison passes between them.
    AtomicTorn,
    /// The read index does not move although packets are taken.
    ReadIndexStuck,
    /// A ring of the doorbell does not arrive.
    DoorbellLost,
    /// A queue's doorbell still holds what the last queue of its slot was told, and rings up to that say nothing.
    DoorbellStale,
    /// The value of a signal changes, and its event is not raised.
    EventNotRaised,
    /// The queue stops with an error although the packet is right.
    QueueError(QueueErrorKind),
    /// AtomicOps do not pass this hop.
    AtomicsBlocked(BlockedHop),
    /// The device falls off the bus: its config space reads all ones, and it does nothing any more.
    DeviceGone,
    /// The worker aborts.
    WorkerAbort,
    /// The worker gets the signal of an access to memory that is not there.
    WorkerSegfault,
    /// The worker computes for ever.
    WorkerLoop,
    /// The worker writes to stdout and stderr without end.
    WorkerFlood,
}

/// What a plan can say of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInfo {
    /// Its name in a plan.
    pub name: &'static str,
    /// What may follow an equals sign, in the words of a help text.
    pub value: Option<&'static str>,
    /// What happens, in one line.
    pub summary: &'static str,
}

/// What a name and its value make.
struct Entry {
    info: FaultInfo,
    /// Builds the fault; `None` is a name without a value.
    make: fn(Option<&str>) -> Result<Fault, ValueError>,
}

/// For faults without a value.
macro_rules! plain {
    ($name:literal, $fault:ident, $summary:literal) => {
        Entry {
            info: FaultInfo { name: $name, value: None, summary: $summary },
            make: |value| match value {
                None => Ok(Fault::$fault),
                Some(value) => Err(ValueError::new(value, concat!("for ", $name, ", which takes no value"))),
            },
        }
    };
}

/// For faults with a value, which may have one for want of another.
macro_rules! valued {
    ($name:literal, $fault:ident, $form:literal, $default:expr, $summary:literal) => {
        Entry {
            info: FaultInfo { name: $name, value: Some($form), summary: $summary },
            make: |value| match value.map(FromStr::from_str).transpose()?.or($default) {
                Some(value) => Ok(Fault::$fault(value)),
                None => Err(ValueError::new($name, concat!("complete: it needs a value, ", $name, "=", $form))),
            },
        }
    };
}

/// The name of [`Fault::AtomicLost`], whose value is how likely it is.
pub(super) const ATOMIC_LOST: &str = "atomic-lost";

const ENTRIES: [Entry; 23] = [
    plain!("signal-dropped", SignalDropped, "the packet completes, and its signal is not decremented"),
    valued!("signal-late", SignalLate, "DURATION", None, "the signal is decremented DURATION after the packet completed"),
    plain!("signal-twice", SignalTwice, "the signal is decremented twice"),
    valued!("signal-decrement", SignalDecrement, "N", Some(Decrement::DEFAULT), "the signal is decremented by N instead of 1 [3]"),
    plain!("packet-ignored", PacketIgnored, "the packet stays in the ring, and with it all behind it"),
    plain!("packet-lost", PacketLost, "the packet is taken off the ring, and neither executed nor completed"),
    plain!("packet-skipped", PacketSkipped, "the packet is completed without its kernel having run"),
    plain!("packet-twice", PacketTwice, "the kernel runs twice before its packet completes"),
    plain!("output-torn", OutputTorn, "only the first half of the bytes of a kernel's store arrives"),
    plain!("output-stale", OutputStale, "a kernel's store does not arrive: memory keeps what it held"),
    Entry {
        info: FaultInfo {
            name: ATOMIC_LOST,
            value: Some("P"),
            summary: "an AtomicOp to host memory disappears, with probability P [1]",
        },
        make: |_| Ok(Fault::AtomicLost),
    },
    plain!("atomic-torn", AtomicTorn, "a 64-bit AtomicOp to host memory is performed as two of 32 bits"),
    plain!("read-index-stuck", ReadIndexStuck, "the read index does not move although packets are taken"),
    plain!("doorbell-lost", DoorbellLost, "a ring of the doorbell does not arrive"),
    plain!("doorbell-stale", DoorbellStale, "a new queue's doorbell still holds what the last queue of its slot was told"),
    plain!("event-not-raised", EventNotRaised, "the signal's value changes, and its event is not raised"),
    valued!(
        "queue-error",
        QueueError,
        "KIND",
        Some(QueueErrorKind::MemoryViolation),
        "the queue stops: memory-violation [this], illegal-instruction, invalid-packet, trap"
    ),
    valued!(
        "atomics-blocked",
        AtomicsBlocked,
        "HOP",
        None,
        "AtomicOps do not pass: endpoint, switch-downstream-routing, switch-upstream-routing, switch-upstream-egress, root-port, root-port-64"
    ),
    plain!("device-gone", DeviceGone, "the device falls off the bus: its config space reads all ones"),
    plain!("worker-abort", WorkerAbort, "the worker aborts"),
    plain!("worker-segfault", WorkerSegfault, "the worker gets SIGSEGV"),
    plain!("worker-loop", WorkerLoop, "the worker computes for ever"),
    plain!("worker-flood", WorkerFlood, "the worker writes to stdout and stderr without end"),
];

/// Every fault, in the order of the documentation.
pub const CATALOGUE: [FaultInfo; ENTRIES.len()] = {
    let mut infos = [ENTRIES[0].info; ENTRIES.len()];
    let mut at = 0;
    while at < ENTRIES.len() {
        infos[at] = ENTRIES[at].info;
        at += 1;
    }
    infos
};

impl Fault {
    /// The fault of this name with this value; `None` for an unknown name.
    pub(super) fn of(name: &str, value: Option<&str>) -> Option<Result<Self, ValueError>> {
        let entry = ENTRIES.iter().find(|entry| entry.info.name == name)?;
        Some((entry.make)(value))
    }

    /// Its name in a plan.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignalDropped => "signal-dropped",
            Self::SignalLate(_) => "signal-late",
            Self::SignalTwice => "signal-twice",
            Self::SignalDecrement(_) => "signal-decrement",
            Self::PacketIgnored => "packet-ignored",
            Self::PacketLost => "packet-lost",
            Self::PacketSkipped => "packet-skipped",
            Self::PacketTwice => "packet-twice",
            Self::OutputTorn => "output-torn",
            Self::OutputStale => "output-stale",
            Self::AtomicLost => ATOMIC_LOST,
            Self::AtomicTorn => "atomic-torn",
            Self::ReadIndexStuck => "read-index-stuck",
            Self::DoorbellLost => "doorbell-lost",
            Self::DoorbellStale => "doorbell-stale",
            Self::EventNotRaised => "event-not-raised",
            Self::QueueError(_) => "queue-error",
            Self::AtomicsBlocked(_) => "atomics-blocked",
            Self::DeviceGone => "device-gone",
            Self::WorkerAbort => "worker-abort",
            Self::WorkerSegfault => "worker-segfault",
            Self::WorkerLoop => "worker-loop",
            Self::WorkerFlood => "worker-flood",
        }
    }

    /// Who is struck.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::WorkerAbort | Self::WorkerSegfault | Self::WorkerLoop | Self::WorkerFlood => Place::Worker,
            Self::AtomicsBlocked(hop) if hop.is_in_config_space() => Place::Path,
            _ => Place::Device,
        }
    }

    /// Whether it stays once it is there, so that how often it strikes cannot be said.
    #[must_use]
    pub const fn is_standing(self) -> bool {
        matches!(self, Self::AtomicsBlocked(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self {
            Self::SignalLate(delay) => write!(formatter, "={delay}"),
            Self::SignalDecrement(decrement) => write!(formatter, "={decrement}"),
            Self::QueueError(kind) => write!(formatter, "={kind}"),
            Self::AtomicsBlocked(hop) => write!(formatter, "={hop}"),
            _ => Ok(()),
        }
    }
}

/// The faults as a table for people, and how a plan is written.
#[must_use]
pub fn list() -> String {
    let heads = CATALOGUE.map(|info| match info.value {
        Some(value) => format!("{}={value}", info.name),
        None => info.name.to_owned(),
    });
    let width = heads.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::from("Faults, separated by commas, or one per line of a file (# starts a comment):\n");
    for (head, info) in heads.iter().zip(CATALOGUE) {
        text.push_str(&format!("  {head:width$}  {}\n", info.summary));
    }
    text.push_str(
        "\nRefinements after a fault:\n\
         \x20 :every=N    only every Nth time\n\
         \x20 :after=N    not the first N times\n\
         \x20 :p=P        with this probability\n\
         \x20 :case=GLOB  only in the cases whose names match\n\
         \nseed=N makes the random choices those of an earlier run. Durations have a unit: ns, us, ms or s.\n",
    );
    text
}
