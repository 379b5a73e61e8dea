//! The rooms whose atomics loom replaces, built by themselves: their sources, and nothing of what the other tests link.

#[path = "../../src/aql/mod.rs"]
pub mod aql;
