//! Whose atomics loom replaces, built by themselves: their sources, and nothing of what the other tests link.

#[path = "../../src/aql/mod.rs"]
pub mod aql;

/// What the software GPU reaches memory through, without the GPU; for Miri.
#[cfg(not(loom))]
#[path = "../../src/model"]
pub mod model {
    pub mod address;
    pub mod bus;
    pub mod memory;
}

#[cfg(not(loom))]
#[path = "../../src/faults/mod.rs"]
pub mod faults;

/// The blocked wait of the runtime, without the runtime.
#[cfg(loom)]
#[path = "../../src/runtime"]
pub mod runtime {
    pub mod bell;
    pub mod blocked_wait;
    mod futex;
    #[cfg(test)]
    mod signal_loom;
}
