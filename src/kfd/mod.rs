//! KFD, the kernel's compute driver: which GPUs it accepts, what it says of their links, and what to expect without AtomicOps.

mod acceptance;
mod gfx;
mod prediction;
pub mod topology;
pub mod tree;

pub use acceptance::{Acceptance, AtomicsRequirement, Enumeration, acceptance, requirement};
pub use gfx::{GfxTarget, GfxTargetError};
pub use prediction::{
    PredictedOutcome, Prediction, WithoutAtomics, expected_without_atomics, predict_with_firmware, predict_without_atomics,
};
