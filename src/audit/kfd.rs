//! Whether KFD takes the GPU, what would change that, and what follows when it takes one without AtomicOps.

use super::answer::Answer;
use super::device::Facts;
use super::dmesg::{FirmwareVerdict, Refusal};
use super::silicon::{Integration, Silicon, silicon};
use crate::kfd::{AtomicsRequirement, Enumeration, GfxTarget, PredictedOutcome, acceptance, predict_with_firmware, requirement};
use crate::pci::Hop;
use crate::pci::path::{EnableBit, PathCapability, PathVerdict};
use serde::Serialize;

const AMD: u16 = 0x1002;
const ONLY_THE_PATH: &str = "No firmware helps: the GPU needs a path that carries AtomicOps.";

/// KFD's answer to a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KfdAnswer {
    /// Whether it takes the GPU.
    pub verdict: Answer,
    /// Why, in a sentence.
    pub reason: String,
    /// What would make it take the GPU, or make sure that it does; `None` when nothing is amiss.
    pub cure: Option<String>,
    /// The GPU target, where it is known.
    pub target: Option<GfxTarget>,
    /// Version of the MEC firmware, where it is known.
    pub mec_firmware: Option<u32>,
}

/// What an answer rests on.
pub(super) struct Ground<'a> {
    device: &'a Hop,
    path: &'a PathVerdict,
    facts: &'a Facts,
    silicon: Option<Silicon>,
    target: Option<GfxTarget>,
    refusal: Option<Refusal>,
    mec_firmware: Option<u32>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(device: &'a Hop, path: &'a PathVerdict, facts: &'a Facts) -> Self {
        let id = device.vendor_id.zip(device.device_id);
        let refusal = facts.refusals.iter().copied().find(|refusal| id == Some((refusal.vendor_id, refusal.device_id)));
        let silicon = silicon(device);
        let node = facts.kfd_node.as_ref();
        let target = node.and_then(|node| node.target).or(silicon.map(|silicon| silicon.target));
        let logged = refusal.and_then(|refusal| refusal.firmware).map(|firmware| firmware.found);
        let mec_firmware = facts.mec_firmware.or(node.and_then(|node| node.mec_firmware)).or(logged);
        Self { device, path, facts, silicon, target, refusal, mec_firmware }
    }

    /// An integrated GPU newer than GC 9.0.0 reaches memory on a way of its own; amdgpu never asks PCI for it.
    pub(super) fn needs_no_pcie(&self) -> bool {
        self.silicon.is_some_and(|silicon| silicon.integration == Integration::Integrated && silicon.target.major >= 9)
    }

    pub(super) fn answer(&self) -> KfdAnswer {
        let (verdict, reason, cure) = self.decide();
        KfdAnswer { verdict, reason, cure, target: self.target, mec_firmware: self.mec_firmware }
    }

    fn decide(&self) -> (Answer, String, Option<String>) {
        if let Some(node) = &self.facts.kfd_node {
            return (Answer::Yes, format!("KFD lists the GPU as node {}.", node.index), None);
        }
        if let Some(refusal) = self.refusal {
            return self.refused(refusal);
        }
        if self.device.vendor_id.is_some_and(|vendor| vendor != AMD) {
            return (Answer::No, "KFD is the compute driver of AMD's GPUs only.".to_owned(), None);
        }
        let Some(target) = self.target else {
            return (Answer::Unknown, "Which GPU generation this is is not known, so KFD's rule for it is not.".to_owned(), None);
        };
        if self.needs_no_pcie() {
            return (
                Answer::Yes,
                format!("An integrated {target} reaches memory without PCIe; KFD asks no AtomicOps of it."),
                None,
            );
        }
        let requirement = requirement(target);
        if requirement == AtomicsRequirement::None {
            return (Answer::Yes, format!("KFD does not require PCIe AtomicOps of {target}."), None);
        }
        if self.device.physical_function.is_some() {
            return virtual_function(target);
        }
        match self.path.path {
            PathCapability::Capable => {
                let reason = format!(
                    "amdgpu enables AtomicOps itself on a path that carries them, so KFD has no ground to refuse {target}."
                );
                (Answer::Yes, reason, None)
            }
            PathCapability::Incapable => {
                let expected = acceptance(target, self.mec_firmware);
                let verdict = match expected.enumeration {
                    Enumeration::Enumerated => Answer::Yes,
                    Enumeration::NotEnumerated => Answer::No,
                    Enumeration::Unknown => Answer::Unknown,
                };
                (verdict, expected.reason, cure(verdict, requirement))
            }
            PathCapability::Unknown => {
                let expected = acceptance(target, self.mec_firmware);
                match expected.enumeration {
                    Enumeration::Enumerated => (Answer::Yes, expected.reason, None),
                    Enumeration::NotEnumerated | Enumeration::Unknown => {
                        let reason = format!("The path decides. If it does not carry AtomicOps: {}", expected.reason);
                        (Answer::Unknown, reason, None)
                    }
                }
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> (Answer, String, Option<String>) {
        let Some(firmware) = refusal.firmware else {
            let reason = "The kernel log says that KFD skipped it: PCI rejects atomics.".to_owned();
            return (Answer::No, reason, cure(Answer::No, self.target.map_or(AtomicsRequirement::Unknown, requirement)));
        };
        let FirmwareVerdict { found, needed } = firmware;
        let said = format!("The kernel log says that KFD skipped it: PCI rejects atomics {found}<{needed}");
        if firmware.is_curable() {
            let reason = format!("{said}, that is MEC firmware {found} where {needed} does without AtomicOps.");
            return (Answer::No, reason, Some(newer_firmware(needed)));
        }
        (Answer::No, format!("{said}, and 0 means that no firmware does without."), Some(ONLY_THE_PATH.to_owned()))
    }

    /// What follows when the GPU runs without AtomicOps; empty when it has them, or never needs them.
    pub(super) fn consequences(&self, kfd: &KfdAnswer) -> Vec<String> {
        // Of a generation that is not known nothing is claimed.
        if self.target.is_none() {
            return Vec::new();
        }
        let without = self.path.path == PathCapability::Incapable || self.path.requester == EnableBit::Disabled;
        if !without || self.needs_no_pcie() || self.device.vendor_id.is_some_and(|vendor| vendor != AMD) {
            return Vec::new();
        }
        let mut follows = Vec::new();
        if let Some(target) = self.target {
            let expected = predict_with_firmware(&target.to_string(), self.mec_firmware);
            if expected.outcome == PredictedOutcome::CompletionLost {
                follows.push(expected.reason);
            }
        }
        if kfd.verdict == Answer::No {
            follows.push("ROCm does not see the GPU: no compute at all.".to_owned());
        }
        // Where no dispatch completes, or none is made, what a kernel may ask of the host is no question.
        if !follows.is_empty() {
            return follows;
        }
        follows.extend(
            [
                "hostcall: HIP refuses kernels that need it (\"Pcie atomics not enabled, hostcall not supported\", then \
                 hipErrorIllegalState).",
                "printf and assert on the device need hostcall; output may be lost without an error.",
                "RCCL, vLLM and sglang start kernels that need hostcall; they fail far from the cause.",
            ]
            .map(str::to_owned),
        );
        follows
    }
}

fn virtual_function(target: GfxTarget) -> (Answer, String, Option<String>) {
    if target.major == 8 {
        return (Answer::Yes, format!("KFD excepts virtual functions of {target} from its rule."), None);
    }
    let reason = "The host's driver tells the guest's whether a virtual function has AtomicOps; PCI does not show it.".to_owned();
    (Answer::Unknown, reason, Some("Audit the physical function on the host.".to_owned()))
}

fn cure(verdict: Answer, requirement: AtomicsRequirement) -> Option<String> {
    match (verdict, requirement) {
        (Answer::Yes, _) | (_, AtomicsRequirement::None | AtomicsRequirement::Unknown) => None,
        (_, AtomicsRequirement::Always) => Some(ONLY_THE_PATH.to_owned()),
        (_, AtomicsRequirement::UnlessFirmware(needed)) => Some(newer_firmware(needed)),
    }
}

fn newer_firmware(needed: u32) -> String {
    format!(
        "MEC firmware {needed} or later: update linux-firmware and rebuild the initramfs. A path that carries AtomicOps also does."
    )
}
