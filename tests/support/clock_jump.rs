//! Preloaded into a program (ld.so(8), LD_PRELOAD): every reading of the wall clock is hours away from the one before, forth and back.
//! The monotonic clock is left alone. Compiled by the test that uses it, without any crate.

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicI64, Ordering};

/// Linux, include/uapi/linux/time.h.
const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const NANOSECONDS: i64 = 1_000_000_000;
const JUMP_SECONDS: i64 = 7 * 3600;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

#[repr(C)]
pub struct Timeval {
    seconds: i64,
    microseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(not(target_arch = "x86_64"))]
const CLOCK_GETTIME: c_long = 113;

/// How far this reading is off: 7 h ahead, 7 h behind, 14 h ahead, 14 h behind and again.
fn jump() -> i64 {
    static READINGS: AtomicI64 = AtomicI64::new(0);
    const FACTORS: [i64; 4] = [1, -1, 2, -2];
    FACTORS[(READINGS.fetch_add(1, Ordering::Relaxed) % 4) as usize] * JUMP_SECONDS
}

/// # Safety
/// As clock_gettime(2): `out` points to a timespec.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    // SAFETY: the caller's promise.
    let status = unsafe { syscall(CLOCK_GETTIME, clock, out) };
    if status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        // SAFETY: the caller's promise; the kernel has just written it.
        unsafe { (*out).seconds += jump() };
    }
    status as c_int
}

/// # Safety
/// As gettimeofday(2): `out` is null or points to a timeval.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(out: *mut Timeval, _zone: *mut std::ffi::c_void) -> c_int {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: a timespec of ours, and the caller's promise.
    unsafe {
        clock_gettime(CLOCK_REALTIME, &raw mut now);
        if !out.is_null() {
            out.write(Timeval { seconds: now.seconds, microseconds: now.nanoseconds % NANOSECONDS / 1000 });
        }
    }
    0
}

/// # Safety
/// As time(2): `out` is null or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(out: *mut i64) -> i64 {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: a timespec of ours, and the caller's promise.
    unsafe {
        clock_gettime(CLOCK_REALTIME, &raw mut now);
        if !out.is_null() {
            out.write(now.seconds);
        }
    }
    now.seconds
}
