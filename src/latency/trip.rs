//! One round trip with its stamps, as they were taken: nothing is converted while the clock runs.

use std::time::{Duration, Instant};

use crate::hsa::DispatchTime;

/// One round trip.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// When it should have been started; without a rate, when it was.
    pub due: Instant,
    /// When it was started.
    pub start: Instant,
    /// What was stamped on the way, for modes that publish packets.
    pub steps: Option<Steps>,
    /// When the host had seen the answer, of several queues that of the last.
    pub seen: Instant,
}

/// The steps of a publication. A round trip over several queues publishes on one after the other, and each step is the time spent on it
/// on all of them; together they fill the time from the start until the last doorbell call had returned.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// Time spent on taking slots.
    pub reserve: Duration,
    /// Time spent on the bodies.
    pub write: Duration,
    /// Time spent on the headers.
    pub publish: Duration,
    /// Time spent in doorbell calls.
    pub doorbell: Duration,
    /// The last doorbell call had returned.
    pub rung: Instant,
    /// When the device says that the last packet of the batch ran, in ticks of its runtime's clock; of several queues the first start and
    /// the last end.
    pub device: Option<DispatchTime>,
}

impl Trip {
    /// The round trip, from when it was due.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        u64::try_from(self.seen.saturating_duration_since(self.due).as_nanos()).unwrap_or(u64::MAX)
    }
}
