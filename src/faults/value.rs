//! The values that faults take.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// A value that a fault cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {wanted}")]
pub struct ValueError {
    /// What was given.
    pub given: String,
    /// What it must be.
    pub wanted: &'static str,
}

impl ValueError {
    pub(super) fn new(given: &str, wanted: &'static str) -> Self {
        Self { given: given.to_owned(), wanted }
    }
}

/// A span of time, written with its unit: `250ns`, `50us`, `3ms`, `6s`. From 1 ns to [`Delay::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(NonZeroU64);

impl Delay {
    /// The longest delay, which outlasts every deadline of the harness.
    pub const MAX: Duration = Duration::from_secs(3600);

    const UNITS: [(&'static str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

    /// The span in nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0.get()
    }

    /// The span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.nanoseconds();
        let whole = |&&(_, unit): &&(&str, u64)| nanoseconds.is_multiple_of(unit);
        let (name, unit) = Self::UNITS.iter().rev().find(whole).unwrap_or(&Self::UNITS[0]);
        write!(formatter, "{}{name}", nanoseconds / unit)
    }
}

impl FromStr for Delay {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(text, "a duration from 1ns to 3600s, a whole number with ns, us, ms or s");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, name) = text.split_at(digits);
        let (_, unit) = Self::UNITS.iter().find(|(known, _)| *known == name).ok_or_else(wrong)?;
        let nanoseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit)).ok_or_else(wrong)?;
        let delay = NonZeroU64::new(nanoseconds).map(Self).ok_or_else(wrong)?;
        if delay.duration() <= Self::MAX { Ok(delay) } else { Err(wrong()) }
    }
}

/// A probability above 0 and up to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// Every time.
    pub const CERTAIN: Self = Self(1.0);

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Probability {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1.0);
        number.map(Self).ok_or_else(|| ValueError::new(text, "a probability above 0 and up to 1"))
    }
}

/// What a completion takes off a signal instead of 1. Neither 1 nor 0, which would be no fault and another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decrement(i64);

impl Decrement {
    /// What is taken when nothing is said: unlike 2, which two completions take as well.
    pub const DEFAULT: Self = Self(3);

    /// The number; negative where the signal goes up.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Decrement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Decrement {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = text.parse::<i64>().ok().filter(|number| !matches!(*number, 0 | 1 | i64::MIN));
        number.map(Self).ok_or_else(|| ValueError::new(text, "a number other than 0 and 1"))
    }
}

/// A value that is one of a few words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $wanted:literal, $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word in a plan.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::ALL.iter().copied().find(|known| known.word() == text).ok_or_else(|| ValueError::new(text, $wanted))
            }
        }
    };
}

words! {
    /// Which error a queue reports although nothing is wrong with its packet (HSA 1.2 §2.8: queue error callback).
    QueueErrorKind, "memory-violation, illegal-instruction, invalid-packet or trap",
    /// An access outside every aperture.
    MemoryViolation = "memory-violation",
    /// A wave met no instruction.
    IllegalInstruction = "illegal-instruction",
    /// A packet of unknown format.
    InvalidPacket = "invalid-packet",
    /// A wave executed a trap.
    Trap = "trap",
}

words! {
    /// Where on the way from the device to host memory AtomicOps are blocked (PCIe 6.15).
    BlockedHop,
    "endpoint, switch-downstream-routing, switch-upstream-routing, switch-upstream-egress, root-port or root-port-64",
    /// The endpoint sends none, whatever its AtomicOp Requester Enable says.
    Endpoint = "endpoint",
    /// The switch's port towards the device does not route AtomicOps.
    SwitchDownstreamRouting = "switch-downstream-routing",
    /// The switch's port towards the root does not route AtomicOps.
    SwitchUpstreamRouting = "switch-upstream-routing",
    /// The switch's port towards the root routes AtomicOps and blocks them at its egress.
    SwitchUpstreamEgress = "switch-upstream-egress",
    /// The root port completes none.
    RootPort = "root-port",
    /// The root port completes those of 32 bits only.
    RootPort64 = "root-port-64",
}

impl BlockedHop {
    /// Whether config space says so; otherwise the device misbehaves against what its registers say.
    #[must_use]
    pub const fn is_in_config_space(self) -> bool {
        !matches!(self, Self::Endpoint)
    }
}
