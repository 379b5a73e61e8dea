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
    /// When the host had seen the answer.
    pub seen: Instant,
}

/// Stamps between the steps of a publication.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// The slots were reserved.
    pub reserved: Instant,
    /// Time spent on the bodies, all packets of the batch together.
    pub write: Duration,
    /// Time spent on the headers.
    pub publish: Duration,
    /// The doorbell call had returned.
    pub rung: Instant,
    /// When the device says that the last packet ran, in ticks of its runtime's clock.
    pub device: Option<DispatchTime>,
}

impl Trip {
    /// The round trip, from when it was due.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        u64::try_from(self.seen.saturating_duration_since(self.due).as_nanos()).unwrap_or(u64::MAX)
    }
}
