//! The atomics of this room: core's, or loom's when loom explores the interleavings.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, Ordering};

#[cfg(loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(super) use std::sync::{Mutex, MutexGuard};
