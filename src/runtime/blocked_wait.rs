//! The loop of a wait that sleeps. Names nothing but [`super::bell`], so that loom builds it by itself.

use std::time::{Duration, Instant};

use super::bell::Bell;

/// Longest wait in one call; `HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT`. A wait may return early (HSA 1.2 §2.4), and none is for ever.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// `hsa_signal_condition_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Greater or equal.
    AtLeast,
}

impl Condition {
    /// Whether `value` meets it.
    #[must_use]
    pub const fn holds(self, value: i64, compare: i64) -> bool {
        match self {
            Self::Equal => value == compare,
            Self::NotEqual => value != compare,
            Self::Less => value < compare,
            Self::AtLeast => value >= compare,
        }
    }
}

/// Sleeps until a signal's value meets the condition or the time is up, and returns the last value seen. `nap` says how much of the
/// time that is left may pass between two looks.
pub(super) fn blocked_wait(
    bell: &Bell,
    nap: impl Fn(Duration) -> Duration,
    timeout: Duration,
    condition: Condition,
    compare: i64,
    load: impl Fn() -> i64,
) -> i64 {
    let start = Instant::now();
    loop {
        let value = load();
        if condition.holds(value, compare) {
            return value;
        }
        let Some(left) = timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return value };
        bell.sleep_unless(nap(left), || condition.holds(load(), compare));
    }
}
