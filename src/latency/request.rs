//! What to measure.

use std::fmt;
use std::str::FromStr;

use crate::report::latency::{LatencyFence, LatencyMode, LatencySettings, LatencyWait};
use crate::verify::supervision::{Milliseconds, PlaceRequest};

use super::host::{self, PinError};

/// Everything an invocation of `latency` is asked for. [`LatencyRequest::check`] says whether it goes together.
#[derive(Clone, Debug)]
pub struct LatencyRequest {
    /// Where.
    pub place: PlaceRequest,
    /// What one round trip is.
    pub mode: LatencyMode,
    /// How the host waits.
    pub wait: LatencyWait,
    /// Fences of the packets.
    pub fence: LatencyFence,
    /// Packets per doorbell.
    pub batch: u32,
    /// Queues.
    pub queues: u32,
    /// Threads that publish.
    pub producers: u32,
    /// Round trips that start per second; `None`: each when the one before has ended.
    pub rate: Option<PerSecond>,
    /// How many.
    pub length: Length,
    /// How long to run before anything counts; `None`: [`LatencyRequest::WARMUP_HARDWARE`] or [`LatencyRequest::WARMUP_MODEL`].
    pub warmup: Option<Milliseconds>,
    /// The processor to measure on.
    pub pin: Option<u32>,
}

/// When a measurement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After so many round trips.
    Samples(u64),
    /// After this time.
    Time(Milliseconds),
}

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerSecond(f64);

impl PerSecond {
    /// Per second.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for PerSecond {
    type Err = LatencyRequestError;

    fn from_str(text: &str) -> Result<Self, LatencyRequestError> {
        match text.trim().parse::<f64>() {
            Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(Self(rate)),
            _ => Err(LatencyRequestError::Rate(text.to_owned())),
        }
    }
}

impl fmt::Display for PerSecond {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} per second", self.0)
    }
}

/// Options that do not go together, or one that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatencyRequestError {
    /// No such rate.
    #[error("`{0}` is no rate: write round trips per second, from 0.001 to 100000000")]
    Rate(String),
    /// A mode with a resident kernel has one kernel and one thread that talks to it.
    #[error("{option} belongs to the modes dispatch and barrier: in {} mode one thread talks to one running kernel", .mode.name())]
    OnlyForPackets {
        /// The option.
        option: &'static str,
        /// The mode asked for.
        mode: LatencyMode,
    },
    /// The host word of a ping-pong has no interrupt.
    #[error("--wait blocked needs a signal, and pingpong mode has none: leave it out, or use --mode signal")]
    NothingToSleepOn,
    /// No thread can be kept on that processor.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// One processor holds one measuring thread.
    #[error("--pin keeps one thread on one processor, and --producers asks for {producers}")]
    PinnedProducers {
        /// The threads.
        producers: u32,
    },
}

impl LatencyRequest {
    /// Clocks of a GPU take up to 400 ms to ramp up (ROCm composable_kernel issue 1241).
    pub const WARMUP_HARDWARE: Milliseconds = Milliseconds(1_000);
    /// A model has no clocks to ramp up, only caches to fill.
    pub const WARMUP_MODEL: Milliseconds = Milliseconds(200);
    /// Round trips when nothing else is asked for: ten beyond the 99.9th percentile.
    pub const DEFAULT_SAMPLES: u64 = 10_000;
    /// The most round trips that are kept.
    pub const MOST_SAMPLES: u64 = 4_000_000;

    /// Whether the options go together, and this machine has the processor they name.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), LatencyRequestError> {
        let packets = self.mode.publishes();
        let only = [
            ("--batch", self.batch > 1),
            ("--queues", self.queues > 1),
            ("--producers", self.producers > 1),
            ("--rate", self.rate.is_some()),
        ];
        if let Some((option, _)) = only.into_iter().find(|(_, given)| *given && !packets) {
            return Err(LatencyRequestError::OnlyForPackets { option, mode: self.mode });
        }
        if self.mode == LatencyMode::Pingpong && self.wait == LatencyWait::Blocked {
            return Err(LatencyRequestError::NothingToSleepOn);
        }
        if self.pin.is_some() && self.producers > 1 {
            return Err(LatencyRequestError::PinnedProducers { producers: self.producers });
        }
        self.pin.map_or(Ok(()), host::can_pin)?;
        Ok(())
    }

    /// The settings as the report and the worker have them.
    #[must_use]
    pub fn settings(&self, default_warmup: Milliseconds) -> LatencySettings {
        let (samples, duration_ms) = match self.length {
            Length::Samples(samples) => (Some(samples), None),
            Length::Time(Milliseconds(duration)) => (None, Some(duration)),
        };
        LatencySettings {
            mode: self.mode,
            wait: self.wait,
            fence: self.fence,
            batch: self.batch,
            queues: self.queues,
            producers: self.producers,
            rate_per_second: self.rate.map(PerSecond::value),
            samples,
            duration_ms,
            warmup_ms: self.warmup.unwrap_or(default_warmup).0,
            pinned_cpu: self.pin,
            injected: self.place.faults.as_ref().map(ToString::to_string),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsa::RuntimeChoice;
    use crate::verify::supervision::{DeviceSelector, RequestedRuntime};

    fn request(mode: LatencyMode) -> LatencyRequest {
        let place = PlaceRequest {
            runtime: RequestedRuntime::Choice(RuntimeChoice::Embedded),
            device: DeviceSelector::First,
            atomics: None,
            timeout: None,
            replay: None,
            sysfs_root: None,
            faults: None,
        };
        LatencyRequest {
            place,
            mode,
            wait: LatencyWait::Active,
            fence: LatencyFence::System,
            batch: 1,
            queues: 1,
            producers: 1,
            rate: None,
            length: Length::Samples(10),
            warmup: None,
            pin: None,
        }
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        assert_eq!("1000".parse::<PerSecond>().unwrap().value(), 1000.0);
        for text in ["0", "-1", "nan", "inf", "", "fast"] {
            assert!(text.parse::<PerSecond>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_belongs_to_packets_is_refused_with_a_resident_kernel() {
        assert_eq!(request(LatencyMode::Signal).check(), Ok(()));
        let refused = LatencyRequest { batch: 2, ..request(LatencyMode::Signal) }.check().unwrap_err().to_string();
        assert!(refused.starts_with("--batch belongs to") && refused.contains("in signal mode"), "{refused}");
        assert_eq!(LatencyRequest { batch: 2, ..request(LatencyMode::Barrier) }.check(), Ok(()));
    }

    #[test]
    fn a_ping_pong_cannot_sleep_and_a_pinned_measurement_has_one_thread() {
        let sleeping = LatencyRequest { wait: LatencyWait::Blocked, ..request(LatencyMode::Pingpong) };
        assert_eq!(sleeping.check(), Err(LatencyRequestError::NothingToSleepOn));
        let pinned = LatencyRequest { pin: Some(0), producers: 2, ..request(LatencyMode::Dispatch) };
        assert_eq!(pinned.check(), Err(LatencyRequestError::PinnedProducers { producers: 2 }));
    }
}
