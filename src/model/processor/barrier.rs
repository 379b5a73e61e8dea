//! What the barrier packets wait for (HSA 1.2 §2.9; AMD's barrier-value packet: hsa_ext_amd.h).

use crate::model::address::GpuVa;
use crate::model::memory::{MapView, MemoryFault};

use super::signal;

/// How a barrier-value packet compares; signed, as signal values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// When a barrier packet completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Every signal has been seen at 0, though not necessarily all at once. A null handle is satisfied.
    All([Option<GpuVa>; 5]),
    /// Some signal is seen at 0. A null handle is never satisfied.
    Any([Option<GpuVa>; 5]),
    /// `(signal & mask) comparison value`. A null handle is satisfied.
    Value { signal: Option<GpuVa>, comparison: Comparison, value: i64, mask: i64 },
}

impl Condition {
    /// Looks at the signals once.
    pub(super) fn poll(&mut self, memory: &MapView<'_>) -> Result<bool, MemoryFault> {
        match self {
            Self::All(pending) => {
                for dependency in pending.iter_mut() {
                    if let Some(handle) = *dependency
                        && signal::load_acquire(memory, handle)? == 0
                    {
                        *dependency = None;
                    }
                }
                Ok(pending.iter().all(Option::is_none))
            }
            Self::Any(dependencies) => {
                for handle in dependencies.iter().flatten() {
                    if signal::load_acquire(memory, *handle)? == 0 {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Value { signal: None, .. } => Ok(true),
            Self::Value { signal: Some(handle), comparison, value, mask } => {
                Ok(comparison.holds(signal::load_acquire(memory, *handle)? & *mask, *value))
            }
        }
    }
}
