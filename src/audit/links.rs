//! KFD's link flags against config space (Linux drivers/gpu/drm/amd/amdkfd/kfd_topology.c).
//!
//! A GPU's PCIe link to a CPU has both "no atomics" flags exactly when the driver could not enable AtomicOps; a CPU's link to a
//! GPU has them exactly when the GPU completes neither width. Links over XGMI never have them.

use crate::kfd::topology::{LinkAtomics, LinkKind, Node};
use crate::kfd::{AtomicsRequirement, requirement};
use crate::pci::path::{EnableBit, PathVerdict};
use crate::pci::{Hop, registers as reg};

/// What KFD says of the GPU's AtomicOps to host memory; `None` when it says nothing.
pub(super) fn requester_by_kfd(gpu: &Node, nodes: &[Node]) -> Option<bool> {
    // Hawaii has the flags whatever its path, and no other generation before 8 has AtomicOps in its rule.
    if gpu.target.is_some_and(|target| target.major < 8 && requirement(target) == AtomicsRequirement::None) {
        return None;
    }
    let to_cpu = |to: u32| nodes.iter().any(|node| node.index == to && node.target.is_none());
    let link = gpu.links.iter().find(|link| link.kind == LinkKind::Pcie && to_cpu(link.to))?;
    match link.atomics {
        LinkAtomics::Both => Some(true),
        LinkAtomics::Neither => Some(false),
        LinkAtomics::Only32 | LinkAtomics::Only64 | LinkAtomics::NotSaid => None,
    }
}

/// Where KFD and config space contradict each other, in sentences.
pub(super) fn contradictions(device: &Hop, path: &PathVerdict, gpu: &Node, nodes: &[Node]) -> Vec<String> {
    let mut found = Vec::new();
    match (requester_by_kfd(gpu, nodes), path.requester) {
        (Some(true), EnableBit::Disabled) => found.push(format!(
            "KFD's link flags of node {} say that AtomicOps are enabled, config space says that they are not: somebody cleared the bit \
             after the driver had set it, or a reset did.",
            gpu.index
        )),
        (Some(false), EnableBit::Enabled) => found.push(format!(
            "KFD's link flags of node {} say that AtomicOps are not enabled, config space says that they are: the bit was set by \
             firmware or by hand, and the runtime does not know. Reload amdgpu on a path that carries them.",
            gpu.index
        )),
        _ => {}
    }
    let from_cpu = nodes
        .iter()
        .filter(|node| node.target.is_none())
        .flat_map(|node| &node.links)
        .find(|link| link.to == gpu.index && link.kind == LinkKind::Pcie);
    let capabilities = device.atomic_capabilities();
    let widths = [reg::COMPLETER_32, reg::COMPLETER_64].map(|width| capabilities.all(width));
    let completes = if widths.contains(&Some(true)) {
        Some(true)
    } else if widths == [Some(false); 2] {
        Some(false)
    } else {
        None
    };
    match (from_cpu.map(|link| link.atomics), completes) {
        (Some(LinkAtomics::Both), Some(false)) => found.push(format!(
            "KFD's link flags towards node {} say that the GPU completes AtomicOps of the CPU, its config space says that it does not.",
            gpu.index
        )),
        (Some(LinkAtomics::Neither), Some(true)) => found.push(format!(
            "KFD's link flags towards node {} say that the GPU completes no AtomicOps of the CPU, its config space says that it does.",
            gpu.index
        )),
        _ => {}
    }
    found
}
