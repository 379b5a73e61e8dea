//! Two things compared on a machine that is busy with others: in alternating slices of some milliseconds, one right after the other.
//!
//! How fast the machine is changes from one second to the next, but hardly from one millisecond to the next. So each slice gives a
//! ratio of its own, and the median of the ratios means something where absolute times do not.

use std::fmt;
use std::time::{Duration, Instant};

/// How often a body runs in one slice.
#[derive(Clone, Copy, Debug)]
pub struct Iterations {
    /// Not measured: until its memory is in the caches and its threads are on their cores.
    pub warm_up: u32,
    /// Measured.
    pub timed: u32,
}

impl Iterations {
    /// Runs `body` and gives the time of one run.
    #[allow(dead_code, reason = "not every bench runs one thing again and again")]
    pub fn time(self, mut body: impl FnMut()) -> Duration {
        (0..self.warm_up).for_each(|_| body());
        let start = Instant::now();
        (0..self.timed).for_each(|_| body());
        start.elapsed() / self.timed
    }

    /// The same with what must happen between two runs and is not measured.
    #[allow(dead_code, reason = "not every bench has something to put in order")]
    pub fn time_between(self, mut body: impl FnMut() -> Duration) -> Duration {
        (0..self.warm_up).for_each(|_| {
            body();
        });
        (0..self.timed).map(|_| body()).sum::<Duration>() / self.timed
    }
}

/// What is compared, and how large the ratio may be.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// What is measured.
    pub subject: &'a str,
    /// What it is measured against: what could not be faster.
    pub limit: &'a str,
    /// Operations in one run of either, for the time of one.
    pub operations: u32,
    /// The largest ratio that is good enough, if any was promised.
    pub at_most: Option<f64>,
}

/// One slice of each.
#[derive(Clone, Copy, Debug)]
struct Slice {
    subject: f64,
    limit: f64,
}

/// The slices of a claim.
pub struct Comparison<'a> {
    claim: Claim<'a>,
    slices: Vec<Slice>,
}

impl<'a> Comparison<'a> {
    /// Measures `slices` slices of each.
    pub fn measure(
        claim: Claim<'a>,
        slices: usize,
        mut subject: impl FnMut() -> Duration,
        mut limit: impl FnMut() -> Duration,
    ) -> Self {
        let slices = (0..slices)
            .map(|_| {
                let limit = limit().as_secs_f64();
                Slice { subject: subject().as_secs_f64(), limit }
            })
            .collect();
        Self { claim, slices }
    }

    fn quantile(&self, at: f64, value: impl Fn(&Slice) -> f64) -> f64 {
        let mut sorted: Vec<f64> = self.slices.iter().map(value).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * at).round() as usize]
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { subject, limit, operations, at_most } = self.claim;
        let nanoseconds = |seconds: f64| seconds * 1e9 / f64::from(operations);
        let ratio = |at| self.quantile(at, |slice| slice.subject / slice.limit);
        write!(
            formatter,
            "ratio: {subject} {:.1} ns, {limit} {:.1} ns: {:.2} (quartiles {:.2} to {:.2} of {} slices)",
            nanoseconds(self.quantile(0.5, |slice| slice.subject)),
            nanoseconds(self.quantile(0.5, |slice| slice.limit)),
            ratio(0.5),
            ratio(0.25),
            ratio(0.75),
            self.slices.len(),
        )?;
        match at_most {
            Some(bound) if ratio(0.5) <= bound => write!(formatter, ", at most {bound}: kept"),
            Some(bound) => write!(formatter, ", at most {bound}: MISSED"),
            None => Ok(()),
        }
    }
}
