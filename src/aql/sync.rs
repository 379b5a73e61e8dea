//! The atomics of this room: core's, or loom's when loom explores the interleavings.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub(super) use loom::sync::Mutex;
#[cfg(not(loom))]
pub(super) use std::sync::Mutex;

/// Lets loom check that accesses to a slot's body are ordered by the ring's own atomics, as if they were plain memory. Nothing
/// outside loom.
#[cfg(not(loom))]
pub(super) struct BodyAccess;

#[cfg(not(loom))]
impl BodyAccess {
    pub(super) fn new() -> Self {
        Self
    }
    #[inline]
    pub(super) fn write(&self) {}
    #[inline]
    pub(super) fn read(&self) {}
}

#[cfg(loom)]
pub(super) struct BodyAccess(loom::cell::UnsafeCell<()>);

#[cfg(loom)]
impl BodyAccess {
    pub(super) fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(()))
    }
    pub(super) fn write(&self) {
        self.0.with_mut(|_| ());
    }
    pub(super) fn read(&self) {
        self.0.with(|_| ());
    }
}

#[cfg(loom)]
// SAFETY: the cell holds nothing; loom panics when two threads use it unordered, which is what it is here for.
unsafe impl Sync for BodyAccess {}
