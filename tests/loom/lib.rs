//! Whose atomics loom replaces, built by themselves: their sources, and nothing of what the other tests link.

#[path = "../../src/aql/mod.rs"]
pub mod aql;

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
