//! What the kernel driver makes of a device, and what that says about it without AtomicOps.

use crate::kfd::topology::{self, Node};
use crate::kfd::{self, Enumeration, GfxTarget, PredictedOutcome};
use crate::pci::Bdf;
use crate::pci::sysfs::SysfsRoot;
use crate::report::{KfdAcceptance, KfdReport, PathCapability, PathReport, Prediction};
use crate::verify::diagnose::{COMPLETES, COMPLETION_LOST, UNKNOWN};

/// The device's node in KFD's topology, where there is one.
#[must_use]
pub fn node(sysfs: &SysfsRoot, bdf: &Bdf) -> Option<Node> {
    let address = bdf.to_string();
    topology::topology(sysfs.path()).ok()?.into_iter().find(|node| node.pci_address.as_deref() == Some(&address))
}

/// What this target does without AtomicOps, before anything ran.
#[must_use]
pub fn prediction(gfx: &str, node: Option<&Node>) -> Prediction {
    let predicted = kfd::predict_with_firmware(gfx, node.and_then(|node| node.mec_firmware));
    let without_atomics = match predicted.outcome {
        PredictedOutcome::CompletionLost => COMPLETION_LOST,
        PredictedOutcome::Completes => COMPLETES,
        PredictedOutcome::Unknown => UNKNOWN,
    };
    Prediction { without_atomics: without_atomics.to_owned(), reason: predicted.reason }
}

/// KFD's answer: as it stands in the topology, else as its rule says for this target on this path.
#[must_use]
pub fn report(gfx: &str, node: Option<&Node>, path: Option<&PathReport>) -> KfdReport {
    if let Some(node) = node {
        return KfdReport { acceptance: KfdAcceptance::Accepted, reason: format!("KFD lists it as node {}.", node.index) };
    }
    let capability = path.map_or(PathCapability::Unknown, |path| path.capability);
    if capability == PathCapability::Capable {
        let reason = "The path carries AtomicOps, so amdgpu enables them when it probes the GPU and KFD accepts it.".to_owned();
        return KfdReport { acceptance: KfdAcceptance::Accepted, reason };
    }
    let Ok(target) = gfx.parse::<GfxTarget>() else {
        return KfdReport { acceptance: KfdAcceptance::Unknown, reason: format!("{gfx} is no target this program knows.") };
    };
    let answer = kfd::acceptance(target, None);
    let acceptance = match (answer.enumeration, capability) {
        (Enumeration::Enumerated, _) => KfdAcceptance::Accepted,
        (Enumeration::NotEnumerated, PathCapability::Incapable) => KfdAcceptance::Refused,
        // It would be refused without AtomicOps, and whether the path carries them cannot be read.
        (Enumeration::NotEnumerated | Enumeration::Unknown, _) => KfdAcceptance::Unknown,
    };
    KfdReport { acceptance, reason: answer.reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::diagnose::fixtures::path;

    fn answer(gfx: &str, capability: PathCapability) -> KfdAcceptance {
        report(gfx, None, Some(&path(capability))).acceptance
    }

    #[test]
    fn a_capable_path_is_accepted_whatever_the_generation() {
        for gfx in ["gfx803", "gfx900", "gfx1030"] {
            assert_eq!(answer(gfx, PathCapability::Capable), KfdAcceptance::Accepted);
        }
    }

    #[test]
    fn generation_8_is_refused_on_an_incapable_path_and_generation_9_is_not() {
        assert_eq!(answer("gfx803", PathCapability::Incapable), KfdAcceptance::Refused);
        assert_eq!(answer("gfx900", PathCapability::Incapable), KfdAcceptance::Accepted);
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        assert_eq!(answer("gfx803", PathCapability::Unknown), KfdAcceptance::Unknown);
        assert_eq!(answer("gfx1030", PathCapability::Incapable), KfdAcceptance::Unknown);
        assert_eq!(answer("toaster", PathCapability::Incapable), KfdAcceptance::Unknown);
    }

    #[test]
    fn the_founding_gpu_is_predicted_to_lose_completions() {
        assert_eq!(prediction("gfx803", None).without_atomics, COMPLETION_LOST);
        assert_eq!(prediction("gfx942", None).without_atomics, COMPLETES);
    }
}
