//! KFD, the kernel's compute driver: which GPUs it accepts, what it says of their links, and what to expect without AtomicOps.

mod prediction;

pub use prediction::{PredictedOutcome, Prediction, predict_without_atomics};
