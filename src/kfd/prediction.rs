//! What is to be expected of a GPU that may not send PCIe AtomicOps: said first, then compared with what happened.

use super::acceptance::{AtomicsRequirement, Enumeration, acceptance, requirement};
use super::gfx::GfxTarget;
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

/// What a GPU without AtomicOps comes to: whether KFD takes it, and what a dispatch does where one is made anyway (under a
/// runtime of one's own, or when AtomicOps were switched off after KFD had accepted the GPU).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithoutAtomics {
    /// KFD's expected answer when the driver probes the GPU.
    pub enumeration: Enumeration,
    /// Why, in a sentence.
    pub enumeration_reason: String,
    /// What a dispatch does.
    pub dispatch: Prediction,
}

/// Predicts what a dispatch does on a GPU of this target (`gfx803`, or an ISA name that ends in it) when it may not send
/// AtomicOps to host memory and the version of its firmware is not known.
pub fn predict_without_atomics(gfx: &str) -> Prediction {
    predict_with_firmware(gfx, None)
}

/// As [`predict_without_atomics`], with the version of the MEC firmware where it is known.
///
/// Grounds: generation 8 is the one of the published failure (ROCm/amdgpu issue 26) and KFD never accepts it without
/// AtomicOps; generation 9 is accepted always. From generation 10 on KFD's thresholds say which firmware does without.
pub fn predict_with_firmware(gfx: &str, mec_firmware: Option<u32>) -> Prediction {
    let predict = |outcome, reason| Prediction { outcome, reason };
    let Ok(target) = gfx.parse::<GfxTarget>() else {
        return predict(PredictedOutcome::Unknown, format!("{gfx} is no GPU target this program knows."));
    };
    match (requirement(target), mec_firmware) {
        (AtomicsRequirement::Always, _) => predict(
            PredictedOutcome::CompletionLost,
            format!(
                "{target} decrements the completion signal with a PCIe AtomicOp; without it the kernel runs and the signal never fires."
            ),
        ),
        (AtomicsRequirement::None, _) if target.major == 9 => predict(
            PredictedOutcome::Completes,
            format!("{target} signals completion without PCIe AtomicOps: KFD requires none of its generation."),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), Some(found)) if found >= needed => predict(
            PredictedOutcome::Completes,
            format!("MEC firmware {needed} and later of {target} signals completion without PCIe AtomicOps; it has {found}."),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), Some(found)) => predict(
            PredictedOutcome::Unknown,
            format!(
                "{target} needs MEC firmware {needed} to do without PCIe AtomicOps, it has {found}; what a dispatch does then is not documented."
            ),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), None) => predict(
            PredictedOutcome::Unknown,
            format!("{target} does without PCIe AtomicOps from MEC firmware {needed} on; the version is not known."),
        ),
        (AtomicsRequirement::None | AtomicsRequirement::Unknown, _) => {
            predict(PredictedOutcome::Unknown, format!("How {target} signals completion without PCIe AtomicOps is not documented."))
        }
    }
}

/// What a GPU without AtomicOps comes to. `None` when `gfx` is no target.
pub fn expected_without_atomics(gfx: &str, mec_firmware: Option<u32>) -> Option<WithoutAtomics> {
    let answer = acceptance(gfx.parse().ok()?, mec_firmware);
    let dispatch = predict_with_firmware(gfx, mec_firmware);
    Some(WithoutAtomics { enumeration: answer.enumeration, enumeration_reason: answer.reason, dispatch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fiji_loses_completions_and_is_not_enumerated() {
        for name in ["gfx803", "amdgcn-amd-amdhsa--gfx803"] {
            assert_eq!(predict_without_atomics(name).outcome, PredictedOutcome::CompletionLost);
        }
        let fiji = expected_without_atomics("gfx803", None).unwrap();
        assert_eq!(fiji.enumeration, Enumeration::NotEnumerated);
        assert_eq!(fiji.dispatch.outcome, PredictedOutcome::CompletionLost);
    }

    #[test]
    fn generation_9_completes() {
        for name in ["gfx900", "gfx90a", "gfx942"] {
            assert_eq!(predict_without_atomics(name).outcome, PredictedOutcome::Completes, "{name}");
        }
    }

    #[test]
    fn from_generation_10_on_nothing_is_claimed_without_the_firmware_version() {
        assert_eq!(predict_without_atomics("gfx1030").outcome, PredictedOutcome::Unknown);
        assert_eq!(predict_with_firmware("gfx1030", Some(92)).outcome, PredictedOutcome::Completes);
        assert_eq!(predict_with_firmware("gfx1030", Some(91)).outcome, PredictedOutcome::Unknown);
    }

    #[test]
    fn what_is_not_documented_is_not_predicted() {
        for name in ["gfx701", "gfx1310", "sm_90", ""] {
            assert_eq!(predict_without_atomics(name).outcome, PredictedOutcome::Unknown, "{name}");
        }
        assert_eq!(expected_without_atomics("sm_90", None), None);
    }
}
