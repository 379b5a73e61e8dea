//! Why a measurement ended before its end.

use serde::{Deserialize, Serialize};

use crate::hsa::HsaError;

/// Why a measurement ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", content = "reason", rename_all = "kebab-case")]
pub enum Stop {
    /// A completion did not come, and nothing else is missing: what was seen instead.
    #[error("{0}")]
    Lost(String),
    /// Something before the completion did not come, which a path that stops AtomicOps does not explain: what was seen instead.
    #[error("{0}")]
    Stalled(String),
    /// The value came, and the host that slept for it was not woken.
    #[error("{0}")]
    WakeLost(String),
    /// Something failed that says so itself.
    #[error("{0}")]
    Failed(String),
}

impl From<HsaError> for Stop {
    fn from(error: HsaError) -> Self {
        Self::Failed(error.to_string())
    }
}
