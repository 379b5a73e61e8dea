//! What `aqlprobe latency` measured: every raw sample, what they come to, and what stood around the measurement.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::DocumentKind;
use super::outcome::Standing;
use super::run::{AtomicsMode, BedReport, RequesterReadback, Tool, Verdict};
use super::runtime::{AgentFacts, Doorbell, RuntimeFacts};

/// Everything `aqlprobe latency` measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencyReport {
    /// [`DocumentKind::Latency`].
    pub document: DocumentKind,
    /// Version of this layout; grows with every incompatible change.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// What was measured on.
    pub bed: BedReport,
    /// Why no GPU could be measured, with what to do next, where the bed is a self-test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_gpu: Option<String>,
    /// What the runtime said of itself.
    pub runtime: RuntimeFacts,
    /// The machine around it.
    pub host: HostReport,
    /// Seconds since the epoch, UTC.
    pub started_at: u64,
    /// How long the whole invocation took.
    pub duration_ms: u64,
    /// What was asked for.
    pub settings: LatencySettings,
    /// What the host's clock costs.
    pub timer: TimerReport,
    /// One entry per device measured.
    pub devices: Vec<LatencyDevice>,
    /// The last word.
    pub verdict: Verdict,
}

impl LatencyReport {
    /// The layout that this version of the tool writes.
    pub const SCHEMA_VERSION: u32 = 1;
}

/// The machine that measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Processor model; empty when it cannot be told.
    pub cpu: String,
    /// Logical processors.
    pub logical_cpus: u32,
    /// Kernel release.
    pub kernel: String,
    /// Hypervisor by name, when this is a guest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<String>,
    /// Frequency governor of the measuring processor, when the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// One-minute load average when the measurement began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_average: Option<f64>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencySettings {
    /// What one round trip is.
    pub mode: LatencyMode,
    /// How the host waits.
    pub wait: LatencyWait,
    /// Acquire and release scope of the packets.
    pub fence: LatencyFence,
    /// Packets published with one doorbell, of which the last one's completion is waited for.
    pub batch: u32,
    /// Queues, each with a batch of its own in every round trip of the producer that has it.
    pub queues: u32,
    /// Threads that publish.
    pub producers: u32,
    /// Round trips that start per second; absent: each starts when the one before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Round trips asked for; absent: as many as `duration_ms` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// How long to measure; absent: as long as `samples` take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How long to run before anything counts.
    pub warmup_ms: u64,
    /// The processor that the measuring thread was kept on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_cpu: Option<u32>,
    /// Faults that the software GPU was given on purpose, as they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<String>,
}

/// What one round trip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyMode {
    /// An empty kernel.
    Dispatch,
    /// A barrier packet without dependencies.
    Barrier,
    /// A signal that a running kernel answers: what a wait costs without a dispatch.
    Signal,
    /// A word in host memory that host and a running kernel write in turn, without signals.
    Pingpong,
}

impl LatencyMode {
    /// Whether a round trip publishes packets, and does not only talk to a kernel that runs.
    #[must_use]
    pub const fn publishes(self) -> bool {
        matches!(self, Self::Dispatch | Self::Barrier)
    }

    /// As JSON and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Barrier => "barrier",
            Self::Signal => "signal",
            Self::Pingpong => "pingpong",
        }
    }
}

/// How the host waits for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyWait {
    /// Polling.
    Active,
    /// Asleep until the device's interrupt.
    Blocked,
}

impl LatencyWait {
    /// As JSON and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Blocked => "blocked",
        }
    }
}

/// Acquire and release scope of the measured packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyFence {
    /// No fence.
    None,
    /// The device's own caches.
    Agent,
    /// Everything: what HIP submits.
    System,
}

impl LatencyFence {
    /// As JSON and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Agent => "agent",
            Self::System => "system",
        }
    }
}

/// What reading the host's clock costs, which every stage contains once, and once for each queue that a producer publishes on in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimerReport {
    /// Name of the clock.
    pub clock: String,
    /// Cost of one reading: the mean of the middle half of many differences between readings in a row.
    pub overhead_ns: f64,
    /// Smallest step between two readings that differ.
    pub resolution_ns: f64,
}

/// One GPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencyDevice {
    /// Its position among the runtime's GPU agents.
    pub index: usize,
    /// PCI address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bdf: Option<String>,
    /// Marketing or PCI name.
    pub name: String,
    /// Target, `gfx803`.
    pub gfx: String,
    /// What the runtime said of it.
    pub agent: AgentFacts,
    /// What rings its queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doorbell: Option<Doorbell>,
    /// One entry per state of AtomicOps.
    pub runs: Vec<LatencyRun>,
    /// What AtomicOps change, where round trips completed with and without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomics_effect: Option<AtomicsEffect>,
}

/// The median round trip with AtomicOps against that without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtomicsEffect {
    /// Without AtomicOps.
    pub off_median_ns: u64,
    /// With them.
    pub on_median_ns: u64,
    /// By how much longer a round trip takes with them; negative: by how much shorter.
    pub difference_ns: f64,
    /// Where the difference lies; absent where there are too few round trips to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntervalReport>,
}

/// An interval that holds the true value with some probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalReport {
    /// Lower end.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// The probability, between 0 and 1.
    pub confidence: f64,
}

/// One measurement, in one state of AtomicOps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencyRun {
    /// The state asked for.
    pub atomics: AtomicsMode,
    /// The state there was.
    pub requester: RequesterReadback,
    /// How the result stands against what was expected of the device in this state.
    pub standing: Standing,
    /// What came of it.
    pub result: LatencyResult,
}

/// What came of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LatencyResult {
    /// Numbers.
    Measured(Box<Measurement>),
    /// A completion did not come in time: what a program that waits would suffer.
    Hang {
        /// What was seen.
        reason: String,
    },
    /// Something else kept it from being measured.
    NotMeasured {
        /// What, and what to do.
        reason: String,
    },
}

/// Numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// From before the first slot was reserved (paced: from when it should have been) until the host has seen the last signal.
    pub round_trip: Distribution,
    /// Where the time goes, in order; empty where a mode has no stages.
    pub stages: Vec<StageReport>,
    /// How the device's clock was laid on the host's; absent where no device time was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
    /// Packets over the whole measurement; absent where a mode lets each packet settle before its round trip begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    /// With a rate: round trips that started late because those before them took too long. They count from when they were due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_starts: Option<u64>,
    /// With a rate: round trips that were due, and not started before a measurement by time had to end: its time and the patience of one
    /// round trip were over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_started: Option<u64>,
    /// Samples whose modified z-score is over 3.5 (Iglewicz and Hoaglin 1993). They count like all others.
    pub outliers: u64,
    /// What makes these numbers doubtful, a sentence each.
    pub warnings: Vec<String>,
    /// Every round trip in nanoseconds, in the order they were started.
    pub samples_ns: Vec<u64>,
}

/// A stage of the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// With a rate: from when it should have been started until it was.
    Behind,
    /// Taking slots of the ring.
    Reserve,
    /// Writing the packet's body.
    Write,
    /// The release store of the header; of a batch, all headers.
    Publish,
    /// Ringing the doorbell.
    Doorbell,
    /// From the (last) doorbell until the device says that it (first) started: host clock to device clock.
    DeviceStart,
    /// From there until the device says that it ended, on the last queue: device clock alone.
    DeviceEnd,
    /// From there until the host has seen the (last) signal: device clock to host clock.
    HostSees,
    /// From the doorbell until the host has seen the signal, where the device's times are not known.
    Wait,
}

impl Stage {
    /// As JSON spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Reserve => "reserve",
            Self::Write => "write",
            Self::Publish => "publish",
            Self::Doorbell => "doorbell",
            Self::DeviceStart => "device-start",
            Self::DeviceEnd => "device-end",
            Self::HostSees => "host-sees",
            Self::Wait => "wait",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Behind => "behind schedule",
            Self::Reserve => "reserve",
            Self::Write => "write",
            Self::Publish => "publish",
            Self::Doorbell => "doorbell",
            Self::DeviceStart => "device start",
            Self::DeviceEnd => "device end",
            Self::HostSees => "host sees signal",
            Self::Wait => "wait for signal",
        })
    }
}

/// A stage with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// Its time. A stage between two clocks may come out negative by up to the clocks' error bound, and `device-start` also where
    /// the device starts before the doorbell call has returned.
    pub median_ns: f64,
    /// 99 of 100 are below.
    pub p99_ns: f64,
    /// The mean; the means of all stages add up to that of the round trip.
    pub mean_ns: f64,
    /// Every one of them, rounded to whole nanoseconds, in the order of [`Measurement::samples_ns`]; empty in reports of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples_ns: Vec<i64>,
}

/// A set of samples. Nothing is trimmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The fastest.
    pub min_ns: u64,
    /// The median, which perftest calls t_typical.
    pub typical_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// 99 of 100 are below.
    pub p99_ns: u64,
    /// 999 of 1000 are below.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
    /// The standard deviation.
    pub stddev_ns: f64,
    /// HDR histogram, V2 deflate, base64: what other tools read.
    pub hdr: String,
    /// The same as counts in buckets of at most a sixteenth of their value, lowest first, empty ones left out.
    pub buckets: Vec<Bucket>,
}

/// Samples between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Lowest value that counts here.
    pub from_ns: u64,
    /// Highest value that counts here.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

/// The device's clock on the host's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockReport {
    /// Ticks per second of the device's times.
    pub ticks_per_second: u64,
    /// How far a device time may be from the host time it is given as.
    pub error_bound_ns: f64,
    /// How much faster the device's clock ran than the host's, in parts per billion.
    pub drift_ppb: f64,
    /// Readings of both clocks that this comes from.
    pub points: u32,
}

/// Packets over a whole measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Packets completed.
    pub packets: u64,
    /// In this time.
    pub elapsed_ns: u64,
    /// Hence per second.
    pub packets_per_second: f64,
}
