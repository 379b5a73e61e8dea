//! Bounded waiting: what for, until when, and how it ended.

use std::time::{Duration, Instant};

use super::sys::*;

/// What a signal's value is waited to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `value == this`.
    Equal(i64),
    /// `value != this`.
    NotEqual(i64),
    /// `value < this`.
    Less(i64),
    /// `value >= this`.
    AtLeast(i64),
}

impl Condition {
    /// Whether `value` meets it.
    #[must_use]
    pub const fn holds(self, value: i64) -> bool {
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(wanted) => value != wanted,
            Self::Less(wanted) => value < wanted,
            Self::AtLeast(wanted) => value >= wanted,
        }
    }

    pub(super) const fn to_hsa(self) -> (hsa_signal_condition_t, hsa_signal_value_t) {
        match self {
            Self::Equal(value) => (HSA_SIGNAL_CONDITION_EQ, value),
            Self::NotEqual(value) => (HSA_SIGNAL_CONDITION_NE, value),
            Self::Less(value) => (HSA_SIGNAL_CONDITION_LT, value),
            Self::AtLeast(value) => (HSA_SIGNAL_CONDITION_GTE, value),
        }
    }
}

/// How the runtime should wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// Polling.
    Active,
    /// Asleep until the device's interrupt.
    Blocked,
}

impl WaitMode {
    pub(super) const fn to_hsa(self) -> hsa_wait_state_t {
        match self {
            Self::Active => HSA_WAIT_STATE_ACTIVE,
            Self::Blocked => HSA_WAIT_STATE_BLOCKED,
        }
    }
}

/// How a wait ended, with the last value seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The value met the condition. After the deadline's own last look too, so a caller that cares about being *woken* compares
    /// the time it took.
    Satisfied(i64),
    /// The deadline passed first.
    TimedOut {
        /// The value at that time.
        value: i64,
    },
}

impl WaitOutcome {
    /// The last value seen.
    #[must_use]
    pub const fn value(self) -> i64 {
        match self {
            Self::Satisfied(value) | Self::TimedOut { value } => value,
        }
    }

    /// Whether the condition was met.
    #[must_use]
    pub const fn is_satisfied(self) -> bool {
        matches!(self, Self::Satisfied(_))
    }
}

/// A point in time after which a wait gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The longest wait there is; longer ones are cut to it.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// `duration` from now, at most [`Self::LONGEST`].
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration.min(Self::LONGEST))
    }

    /// Time left, zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// Waits with `wait_once`, which may come back early without reason, until the condition holds or the deadline has passed.
pub(super) fn wait_until(
    condition: Condition,
    deadline: Deadline,
    load: impl Fn() -> i64,
    wait_once: impl Fn(Duration) -> i64,
) -> WaitOutcome {
    loop {
        let remaining = deadline.remaining();
        let value = if remaining.is_zero() { load() } else { wait_once(remaining) };
        if condition.holds(value) {
            return WaitOutcome::Satisfied(value);
        }
        if remaining.is_zero() {
            return WaitOutcome::TimedOut { value };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn conditions_compare_signed_like_hsa_signal_condition_t() {
        assert!(Condition::Less(0).holds(-1) && !Condition::Less(0).holds(0));
        assert!(Condition::AtLeast(0).holds(0) && !Condition::AtLeast(0).holds(-1));
        assert!(Condition::Equal(3).holds(3) && Condition::NotEqual(3).holds(4));
    }

    #[test]
    fn a_spurious_return_of_the_runtime_is_waited_through() {
        let value = Cell::new(3);
        let wait = |_| {
            value.set(value.get() - 1);
            value.get()
        };
        assert_eq!(wait_until(Condition::Equal(0), Deadline::after(SECOND), || value.get(), wait), WaitOutcome::Satisfied(0));
    }

    #[test]
    fn a_passed_deadline_takes_one_last_look_and_does_not_wait() {
        let never = |_| unreachable!("no wait after the deadline");
        let passed = Deadline::after(Duration::ZERO);
        assert_eq!(wait_until(Condition::Less(1), passed, || 1, never), WaitOutcome::TimedOut { value: 1 });
        assert_eq!(wait_until(Condition::Less(1), passed, || 0, never), WaitOutcome::Satisfied(0));
    }

    #[test]
    fn no_deadline_is_farther_than_a_day() {
        assert!(Deadline::after(Duration::MAX) <= Deadline::after(Deadline::LONGEST));
    }
}
