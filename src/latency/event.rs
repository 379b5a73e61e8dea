//! What the supervisor and the measuring worker say to each other: a plan on the command line, one JSON event per line back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::Doorbell;
use crate::report::latency::{LatencySettings, Measurement, Stage, TimerReport};
use crate::verify::supervision::{Gate, Milliseconds, Pace, Plan, PlannedRuntime};

use super::stop::Stop;

/// What the worker is to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyPlan {
    /// The supervisor's process id.
    pub supervisor: u32,
    /// The runtime to open.
    pub runtime: PlannedRuntime,
    /// Position of the GPU among the runtime's GPU agents.
    pub agent: usize,
    /// Whether to wait once the kernels are loaded.
    pub gate: Gate,
    /// What was asked for.
    pub settings: LatencySettings,
    /// How long one round trip may take.
    pub patience: Milliseconds,
    /// When a lost completion is predicted: how long a taken packet may stay without it.
    pub quiet: Option<Milliseconds>,
}

impl Plan for LatencyPlan {
    fn supervisor(&self) -> u32 {
        self.supervisor
    }
}

impl LatencyPlan {
    /// How long the worker may be silent: a round trip, and as long as the rate leaves between two of them.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let pause = self.settings.rate_per_second.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(f64::from(self.settings.producers.max(1)) / rate).unwrap_or(Duration::MAX)
        });
        self.patience.duration().saturating_add(pause).saturating_add(Pace::LATE_WINDOW).saturating_add(Pace::WATCHDOG_MARGIN)
    }
}

/// Samples per event.
pub const CHUNK: usize = 4096;

/// One line of the worker's stdout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LatencyEvent {
    /// The runtime cannot be opened, or has not what the measurement needs; nothing follows.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// The kernels are loaded, and the worker waits at its [`Gate`].
    Loaded,
    /// Round trips go on.
    Progress {
        /// Share of the measurement that is done, 0 to 1; 0 while it warms up.
        share: f64,
    },
    /// Raw samples in nanoseconds, in the order of their start; the next ones follow.
    Samples {
        /// At most [`CHUNK`].
        samples_ns: Vec<u64>,
    },
    /// The same of a stage.
    StageSamples {
        /// Which.
        stage: Stage,
        /// At most [`CHUNK`].
        samples_ns: Vec<i64>,
    },
    /// Everything but the samples, which were sent before.
    Measured {
        /// What rings the queues.
        doorbell: Doorbell,
        /// The host's clock.
        timer: TimerReport,
        /// The numbers; its samples and those of its stages are empty here.
        measurement: Box<Measurement>,
    },
    /// A round trip did not end.
    Stopped {
        /// How.
        stop: Stop,
    },
    /// The runtime was closed; nothing follows.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_the_pipe_on_one_line() {
        let events = [
            LatencyEvent::Refused { reason: "no\nkernels".to_owned() },
            LatencyEvent::Loaded,
            LatencyEvent::Progress { share: 0.5 },
            LatencyEvent::Samples { samples_ns: vec![0, u64::MAX] },
            LatencyEvent::StageSamples { stage: Stage::DeviceStart, samples_ns: vec![0, i64::MIN] },
            LatencyEvent::Stopped { stop: Stop::Lost("signal 1".to_owned()) },
            LatencyEvent::Done,
        ];
        for event in events {
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<LatencyEvent>(&line).unwrap(), event);
        }
    }
}
