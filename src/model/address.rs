//! Addresses as the device and as this process see them.

use std::fmt;
use std::ops::{Add, Sub};

/// An address as the GPU sees it: what packets, kernel arguments and signals hold.
///
/// In the embedded bed it equals the application's host address (shared virtual memory); behind the other doors it is
/// translated, so it must never be dereferenced directly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct GpuVa(pub u64);

impl GpuVa {
    /// The null address, which packets use for "none".
    pub const NULL: Self = Self(0);

    /// Whether this is the null address.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// This address moved up by `bytes`, or `None` past the end of the address space.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// Whether the address is a multiple of `bytes`, a power of two.
    #[must_use]
    pub const fn is_aligned_to(self, bytes: u64) -> bool {
        self.0 & (bytes - 1) == 0
    }
}

/// Wraps around like the device's own 64-bit address arithmetic.
impl Add<u64> for GpuVa {
    type Output = Self;

    fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

/// Distance in bytes, wrapping around.
impl Sub for GpuVa {
    type Output = u64;

    fn sub(self, base: Self) -> u64 {
        self.0.wrapping_sub(base.0)
    }
}

impl fmt::Display for GpuVa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{:x}", self.0)
    }
}

impl fmt::Debug for GpuVa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GpuVa(0x{:x})", self.0)
    }
}
