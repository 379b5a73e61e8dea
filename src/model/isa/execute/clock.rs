//! The clock that `s_memtime` and `s_memrealtime` read.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the host's monotonic clock: the ticks of this device.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
