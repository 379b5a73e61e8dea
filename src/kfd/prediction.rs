//! What a dispatch is expected to do on a GPU that may not send PCIe AtomicOps.

use serde::Serialize;

/// The expected outcome of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictedOutcome {
    /// The kernel runs, its completion signal never fires.
    CompletionLost,
    /// The completion signal fires.
    Completes,
    /// Nothing known decides it.
    Unknown,
}

/// A prediction and its ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// The expected outcome.
    pub outcome: PredictedOutcome,
    /// Why, in a sentence.
    pub reason: String,
}

/// Predicts what a dispatch does on a GPU of this target (`gfx803`) when it may not send AtomicOps to host memory.
pub fn predict_without_atomics(gfx: &str) -> Prediction {
    match gfx {
        "gfx803" => Prediction { outcome: PredictedOutcome::CompletionLost, reason: String::new() },
        _ => Prediction { outcome: PredictedOutcome::Unknown, reason: String::new() },
    }
}
