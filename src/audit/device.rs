//! The audit of one device.

#[cfg(test)]
mod tests;

use super::answer::Answer;
use super::dmesg::Refusal;
use super::hop::{AuditedHop, Link};
use super::kfd::{Ground, KfdAnswer};
use super::links;
use crate::kfd::topology::Node;
use crate::pci::guest::{self, Functions, GuestPlan, Machine, PlanRequest, Reason, Recipes, Standing};
use crate::pci::kernel::{self, AcrossVersions, KernelVersion};
use crate::pci::path::{self, Cause, Delivery, ErrorTrace, Finding, PathCapability, PathVerdict};
use crate::pci::{Bdf, Hierarchy, Hop, PcieReading, registers as reg};
use serde::Serialize;

/// What shows the path; what to do about registers that are not known hangs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The machine itself, or a tree captured from it.
    #[default]
    Machine,
    /// Text that somebody took.
    Text,
}

/// What is known beside the path. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What shows the path.
    pub origin: Origin,
    /// The kernel driver that has the device.
    pub driver: Option<String>,
    /// The links of the hops, in their order; shorter or empty where they are not known.
    pub links: Vec<Option<Link>>,
    /// KFD's node of the GPU.
    pub kfd_node: Option<Node>,
    /// All of KFD's nodes.
    pub kfd_nodes: Vec<Node>,
    /// Version of the MEC firmware, as amdgpu tells it.
    pub mec_firmware: Option<u32>,
    /// KFD's refusals in the kernel's log.
    pub refusals: Vec<Refusal>,
    /// The kernel whose own rule is asked for.
    pub kernel: Option<KernelVersion>,
    /// What kind of machine the path was seen on.
    pub machine: Option<Machine>,
    /// Whether the device shows more than one function.
    pub functions: Option<Functions>,
    /// The virtual machine that the GPU is to be passed to, when a forecast is asked for.
    pub guest_plan: Option<PlanRequest>,
    /// Remarks on what could not be read and what would help.
    pub notes: Vec<String>,
}

/// What one kernel's own rule gives on the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelAnswer {
    /// The kernel.
    pub version: String,
    /// Whether it enables AtomicOps when amdgpu asks.
    pub would_enable: Answer,
    /// Why, in a sentence or two.
    pub because: String,
}

/// What a guest will see of the GPU, and lines that pass it well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuestForecast {
    /// The forecast.
    pub plan: GuestPlan,
    /// Lines for three ways to run a virtual machine.
    pub recipes: Recipes,
}

/// What to do, with the register it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// The hop.
    pub bdf: Bdf,
    /// What to do, in a sentence.
    pub advice: String,
    /// The command that does it, to be run as root, when there is one.
    pub command: Option<String>,
    /// What the command changes, with its offset in this device's config space.
    pub register: Option<String>,
}

/// One device, audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditedDevice {
    /// Its address.
    pub bdf: Bdf,
    /// Vendor and device ID, `1002:7300`.
    pub id: Option<String>,
    /// Vendor and device in words.
    pub name: String,
    /// The kernel driver that has it.
    pub driver: Option<String>,
    /// Whether its path can carry AtomicOps to host memory.
    pub path_capable: Answer,
    /// Whether it may send AtomicOps now (Requester Enable).
    pub enabled: Answer,
    /// What the kernels' own rule gives, from version to version.
    pub kernels: AcrossVersions,
    /// What one kernel's own rule gives, when one is known or named.
    pub kernel: Option<KernelAnswer>,
    /// Whether KFD takes it.
    pub kfd: KfdAnswer,
    /// What follows from running without AtomicOps; empty when it does not.
    pub consequences: Vec<String>,
    /// The first hop that certainly stands in the way.
    pub first_bad_hop: Option<Bdf>,
    /// The path, root port first, the device last.
    pub hops: Vec<AuditedHop>,
    /// What stands in the way or is not known, the path first.
    pub findings: Vec<Finding>,
    /// What to do, the first thing first.
    pub fixes: Vec<Fix>,
    /// Errors that hops have recorded.
    pub traces: Vec<ErrorTrace>,
    /// Where KFD and config space contradict each other.
    pub contradictions: Vec<String>,
    /// In a guest: why its root port completes nothing.
    pub guest_reasons: Vec<Reason>,
    /// On a host: what a guest will see.
    pub guest_forecast: Option<GuestForecast>,
    /// Remarks on what could not be read and what would help.
    pub notes: Vec<String>,
    #[serde(skip)]
    delivery: Delivery,
    #[serde(skip)]
    reaches_memory_without_pcie: bool,
}

impl AuditedDevice {
    /// Whether nothing is left to do: AtomicOps reach host memory now, or the GPU does without PCIe.
    pub fn is_in_order(&self) -> bool {
        let lost_elsewhere = self.delivery == Delivery::Lost;
        self.reaches_memory_without_pcie || (self.path_capable == Answer::Yes && self.enabled == Answer::Yes && !lost_elsewhere)
    }

    /// Whether AtomicOps are no question for it, as for an integrated GPU.
    pub fn reaches_memory_without_pcie(&self) -> bool {
        self.reaches_memory_without_pcie
    }

    /// The verdict in one sentence.
    pub fn sentence(&self) -> String {
        let bdf = self.bdf;
        if self.reaches_memory_without_pcie {
            return format!("{bdf} is an integrated GPU: its atomics reach memory without PCIe.");
        }
        match (self.is_in_order(), self.delivery) {
            (true, Delivery::Delivered) => format!("AtomicOps of {bdf} reach host memory."),
            (true, _) => format!("AtomicOps of {bdf} reach host memory as far as the input shows (Bus Master is not shown)."),
            (false, Delivery::Lost) => format!("AtomicOps of {bdf} do not reach host memory."),
            (false, _) => format!("Whether AtomicOps of {bdf} reach host memory is not known."),
        }
    }
}

/// Audits the device at the end of a path. `None` for a path without hops.
pub fn audit(hierarchy: &Hierarchy, facts: &Facts) -> Option<AuditedDevice> {
    let device = hierarchy.endpoint()?;
    let verdict = path::judge(hierarchy);
    let ground = Ground::new(device, &verdict, facts);
    let kfd = ground.answer();
    let reaches_memory_without_pcie = ground.needs_no_pcie();
    let (enabled, mut notes) = enabled(&verdict, facts);
    notes.extend(facts.notes.iter().cloned());
    let contradictions = match &facts.kfd_node {
        Some(node) if !reaches_memory_without_pcie => links::contradictions(device, &verdict, node, &facts.kfd_nodes),
        _ => Vec::new(),
    };
    let links = facts.links.iter().copied().chain(std::iter::repeat(None));
    let hops: Vec<AuditedHop> = hierarchy.hops.iter().zip(links).map(|(hop, link)| AuditedHop::of(hop, link)).collect();
    let id = hops.last().and_then(|hop| hop.id.clone());
    let kernel = facts.kernel.as_ref().map(|version| {
        let answer = kernel::agrees(hierarchy, &verdict, version);
        KernelAnswer { version: version.to_string(), would_enable: answer.would_enable.into(), because: answer.because }
    });
    let guest_forecast = facts
        .guest_plan
        .as_ref()
        .map(|request| GuestForecast { plan: guest::plan(device, &verdict, request), recipes: guest::recipes(&device.bdf) });
    let guest_reasons = guest_reasons(hierarchy, &verdict, facts);
    let wanted = !reaches_memory_without_pcie;
    Some(AuditedDevice {
        bdf: device.bdf,
        id,
        name: device.name.clone(),
        driver: facts.driver.clone(),
        path_capable: verdict.path.into(),
        enabled,
        kernels: kernel::across_versions(hierarchy, &verdict),
        kernel,
        consequences: ground.consequences(&kfd),
        kfd,
        first_bad_hop: verdict.findings.iter().find(|finding| wanted && is_certain(finding)).map(|finding| finding.bdf),
        hops,
        fixes: if wanted { fixes(hierarchy, &verdict, facts.origin) } else { Vec::new() },
        findings: if wanted { verdict.findings } else { Vec::new() },
        traces: verdict.traces,
        contradictions,
        guest_reasons,
        guest_forecast,
        notes,
        delivery: verdict.delivery,
        reaches_memory_without_pcie,
    })
}

/// Asked only where a virtual machine shows: in the machine itself, or in a root port that QEMU emulates.
fn guest_reasons(hierarchy: &Hierarchy, verdict: &PathVerdict, facts: &Facts) -> Vec<Reason> {
    let machine = facts.machine.clone().unwrap_or(Machine::Unknown);
    let is_emulated = verdict.findings.iter().any(|finding| finding.cause == Cause::EmulatedRootPortDoesNotComplete);
    if !is_emulated && !matches!(machine, Machine::Guest { .. }) {
        return Vec::new();
    }
    let reasons = guest::why(hierarchy, &machine, facts.functions);
    reasons.into_iter().filter(|reason| reason.standing != Standing::RuledOut).collect()
}

/// Config space decides; where it cannot be read, KFD's link flags do, which anybody may read.
fn enabled(verdict: &PathVerdict, facts: &Facts) -> (Answer, Vec<String>) {
    let answer = Answer::from(verdict.requester);
    let by_kfd = facts.kfd_node.as_ref().and_then(|node| links::requester_by_kfd(node, &facts.kfd_nodes));
    match (answer, by_kfd) {
        (Answer::Unknown, Some(set)) => {
            let note = "Requester Enable is not readable; whether it is set is what KFD's link flags say.".to_owned();
            (Answer::from(Some(set)), vec![note])
        }
        _ => (answer, Vec::new()),
    }
}

/// Whether a finding answers the question instead of leaving it open.
fn is_certain(finding: &Finding) -> bool {
    !matches!(finding.cause, Cause::Unreadable | Cause::HopsMissing)
}

/// The certain findings first, the same advice once. Setting Requester Enable is no help on a path that does not carry AtomicOps.
fn fixes(hierarchy: &Hierarchy, verdict: &PathVerdict, origin: Origin) -> Vec<Fix> {
    let useless = |finding: &&Finding| finding.cause == Cause::RequesterDisabled && verdict.path == PathCapability::Incapable;
    let (certain, open): (Vec<&Finding>, Vec<&Finding>) =
        verdict.findings.iter().filter(|finding| !useless(finding)).partition(|finding| is_certain(finding));
    let mut fixes: Vec<Fix> = Vec::new();
    for finding in certain.into_iter().chain(open) {
        let advice = match (finding.cause, origin) {
            (Cause::Unreadable, Origin::Text) => {
                "Take the text again as root, with `lspci -vvv` of pciutils 3.5.3 or later or with `lspci -xxx`."
            }
            _ => &finding.fix.advice,
        };
        if fixes.iter().any(|fix| fix.advice == advice && fix.command == finding.fix.command) {
            continue;
        }
        let hop = hierarchy.hops.iter().find(|hop| hop.bdf == finding.bdf);
        fixes.push(Fix {
            bdf: finding.bdf,
            advice: advice.to_owned(),
            command: finding.fix.command.clone(),
            register: hop.and_then(|hop| register(hop, finding.cause)),
        });
    }
    fixes
}

fn register(hop: &Hop, cause: Cause) -> Option<String> {
    let PcieReading::Present(capability) = hop.pcie else { return None };
    let devctl2 = capability.devctl2()?;
    match cause {
        Cause::RequesterDisabled => Some(format!("Device Control 2 at {devctl2}, bit 6 ({:#x})", reg::REQUESTER_ENABLE)),
        Cause::EgressBlocked => Some(format!("Device Control 2 at {devctl2}, bit 7 ({:#x})", reg::EGRESS_BLOCK)),
        _ => None,
    }
}
