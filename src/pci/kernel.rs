//! What a given Linux kernel's `pci_enable_atomic_ops_to_root` (drivers/pci/pci.c) makes of a path.
//!
//! [`super::path::judge`] is the rule of today. Kernels before 7.1 (and before certain stable releases) look for no root port:
//! they accept a device on a root bus blindly, which is where a careless virtual machine puts it. What a kernel accepts is
//! therefore no proof that AtomicOps arrive.

#[cfg(test)]
mod tests;
mod version;

pub use version::{KernelVersion, KernelVersionError, Stage};

use super::path::{self, Cause, Finding, PathVerdict};
use super::{Completeness, Hierarchy, Hop, PcieReading, PortType};
use serde::Serialize;
use std::fmt;

/// Which form of the rule a kernel has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
pub enum RuleBehaviour {
    /// None: the function came with Linux 4.16.
    Absent,
    /// A root port is tested only if one is met on the way up: a device on a root bus passes untested, and so does a root
    /// complex integrated endpoint (4.16 to 7.0).
    AcceptsWithoutRootPort,
    /// No root port above the device: refused (7.1, and stable releases that took the change).
    RequiresRootPort,
    /// The version does not tell which of them.
    Unsure {
        /// Why not, in a sentence.
        why: String,
    },
}

impl fmt::Display for RuleBehaviour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "cannot enable AtomicOps: the function for it came with Linux 4.16",
            Self::AcceptsWithoutRootPort => "tests a root port only if it meets one: a device on a root bus is accepted blindly",
            Self::RequiresRootPort => "refuses a device that has no root port above it",
            Self::Unsure { why } => why,
        })
    }
}

/// What a kernel's rule makes of an SR-IOV virtual function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VirtualFunctionRule {
    /// Treated like any other function, although the bit it would set is reserved there (PCIe 7.5.3.16).
    Accepted,
    /// Refused, since Linux 5.16.
    Refused,
    /// The version does not tell.
    Unsure,
}

/// What one kernel would do with a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelVerdict {
    /// The form of its rule.
    pub behaviour: RuleBehaviour,
    /// Whether it would enable AtomicOps when amdgpu asks; `None` when version or path leave that open.
    pub would_enable: Option<bool>,
    /// Why, in a sentence or two.
    pub because: String,
}

impl fmt::Display for KernelVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.because)
    }
}

/// What the rule of this kernel gives on a path that [`super::path::judge`] has judged.
///
/// A virtual function's and an APU's amdgpu do not ask the kernel at all; this is what the kernel would answer.
pub fn agrees(hierarchy: &Hierarchy, verdict: &PathVerdict, version: &KernelVersion) -> KernelVerdict {
    let behaviour = version.rule();
    let Some(endpoint) = hierarchy.endpoint() else {
        return KernelVerdict { behaviour, would_enable: None, because: "There is no device to judge.".to_owned() };
    };
    let walked = findings_of_every_bridge(hierarchy, verdict);
    let judged = |form| Outcome::of(form, version.virtual_functions(), endpoint, &walked);
    let (would_enable, because) = match &behaviour {
        RuleBehaviour::Absent => (Some(false), format!("Linux {version} {behaviour}; AMD's out-of-tree driver had its own.")),
        RuleBehaviour::AcceptsWithoutRootPort => {
            let outcome = judged(Form::AcceptsWithoutRootPort);
            (outcome.enables, outcome.sentence(endpoint, version))
        }
        RuleBehaviour::RequiresRootPort => {
            let outcome = judged(Form::RequiresRootPort);
            (outcome.enables, outcome.sentence(endpoint, version))
        }
        RuleBehaviour::Unsure { why } => {
            let (before, after) = (judged(Form::AcceptsWithoutRootPort), judged(Form::RequiresRootPort));
            match (before.enables, after.enables) {
                (Some(true), Some(true)) if version.may_lack_the_function() => (None, why.clone()),
                (one, other) if one == other => (one, after.sentence(endpoint, version)),
                (one, other) => (None, format!("{why} With that rule it {}, without it {}.", does(other), does(one))),
            }
        }
    };
    KernelVerdict { behaviour, would_enable, because }
}

/// What the kernels since 4.16 make of a path, by the two forms of the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcrossVersions {
    /// Linux 4.16 to 7.0, but for the stable releases that took the change; `None` when the path leaves it open.
    pub accepting_without_root_port: Option<bool>,
    /// Linux 7.1 and later, and those stable releases.
    pub requiring_root_port: Option<bool>,
    /// Both in a sentence.
    pub sentence: String,
}

impl fmt::Display for AcrossVersions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

/// From which version on the kernel's own rule enables AtomicOps on a path that [`super::path::judge`] has judged.
pub fn across_versions(hierarchy: &Hierarchy, verdict: &PathVerdict) -> AcrossVersions {
    let walked = findings_of_every_bridge(hierarchy, verdict);
    let judged = |form, virtual_functions| {
        hierarchy.endpoint().and_then(|endpoint| Outcome::of(form, virtual_functions, endpoint, &walked).enables)
    };
    let before = judged(Form::AcceptsWithoutRootPort, VirtualFunctionRule::Unsure);
    let since = judged(Form::RequiresRootPort, VirtualFunctionRule::Refused);
    let blind = verdict.findings.iter().any(|finding| finding.cause == Cause::NoRootPort);
    let sentence = match (before, since) {
        (Some(true), Some(true)) => "Every kernel since Linux 4.16 enables AtomicOps here.",
        (Some(false), Some(false)) => "No kernel enables AtomicOps here.",
        (Some(true), Some(false)) if blind => {
            "Linux 4.16 to 7.0 accept this path blindly, which proves nothing; 7.1 and stable releases since spring 2026 (6.12.91, \
             6.18.33, 7.0.10 and others) refuse it, for there is no root port."
        }
        (None, Some(false)) => "Kernels since Linux 7.1 refuse AtomicOps here; what those before it do is open.",
        (Some(false), Some(true)) => {
            "Kernels since Linux 7.1 enable AtomicOps here; those before it look at the ports above the nearest root port, too, and \
             refuse."
        }
        _ => "What the kernel's rule makes of this path is open.",
    };
    AcrossVersions { accepting_without_root_port: before, requiring_root_port: since, sentence: sentence.to_owned() }
}

/// What the kernel answers for a device whose path is judged; of a kernel that is not known, what all of them answer.
pub(super) fn answer(endpoint: &Hop, verdict: &PathVerdict, kernel: Kernel<'_>) -> Option<bool> {
    let findings: Vec<_> = verdict.findings.iter().map(|finding| (Reach::Both, finding.clone())).collect();
    let virtual_functions = match kernel {
        Kernel::Version(version) => version.virtual_functions(),
        Kernel::RequiringRootPort => VirtualFunctionRule::Refused,
        Kernel::AcceptingWithoutRootPort | Kernel::Unknown => VirtualFunctionRule::Unsure,
    };
    let judged = |form| Outcome::of(form, virtual_functions, endpoint, &findings).enables;
    let (before, after) = (judged(Form::AcceptsWithoutRootPort), judged(Form::RequiresRootPort));
    let rule = match kernel {
        Kernel::Version(version) => version.rule(),
        Kernel::RequiringRootPort => RuleBehaviour::RequiresRootPort,
        Kernel::AcceptingWithoutRootPort => RuleBehaviour::AcceptsWithoutRootPort,
        Kernel::Unknown => RuleBehaviour::Unsure { why: String::new() },
    };
    match rule {
        RuleBehaviour::Absent => Some(false),
        RuleBehaviour::AcceptsWithoutRootPort => before,
        RuleBehaviour::RequiresRootPort => after,
        RuleBehaviour::Unsure { .. } => before.filter(|_| before == after),
    }
}

/// The kernel that is asked.
#[derive(Clone, Copy)]
pub(super) enum Kernel<'a> {
    Version(&'a KernelVersion),
    RequiringRootPort,
    AcceptingWithoutRootPort,
    Unknown,
}

fn does(enables: Option<bool>) -> &'static str {
    match enables {
        Some(true) => "accepts the device blindly, which proves nothing",
        Some(false) => "refuses the device",
        None => "may do either",
    }
}

/// The kernel's walk before 7.1 did not end at the nearest root port; some machines show root ports below switches.
fn findings_of_every_bridge(hierarchy: &Hierarchy, verdict: &PathVerdict) -> Vec<(Reach, Finding)> {
    let mut findings: Vec<_> = verdict.findings.iter().map(|finding| (Reach::Both, finding.clone())).collect();
    let mut above = hierarchy.hops.as_slice();
    while let (Some(endpoint), Some(root)) =
        (hierarchy.endpoint(), above.iter().rposition(|hop| hop.port_type() == Some(PortType::RootPort)).filter(|at| *at > 0))
    {
        above = &above[..root];
        let hops = above.iter().chain([endpoint]).cloned().collect();
        let beyond = path::judge(&Hierarchy { hops, completeness: Completeness::Whole }).findings;
        findings
            .extend(beyond.into_iter().filter(|finding| finding.bdf != endpoint.bdf).map(|finding| (Reach::OlderOnly, finding)));
    }
    findings
}

/// Which form of the rule comes past a hop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Both,
    OlderOnly,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    AcceptsWithoutRootPort,
    RequiresRootPort,
}

/// What a finding means to the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Refuses,
    LeavesOpen,
    Ignored,
}

struct Outcome<'a> {
    enables: Option<bool>,
    /// What decides it, or leaves it open.
    decisive: Option<&'a Finding>,
    /// Accepted although nothing was tested.
    blind: bool,
    /// Accepted although the device has no bit that could be set.
    without_effect: bool,
}

impl<'a> Outcome<'a> {
    fn of(form: Form, virtual_functions: VirtualFunctionRule, endpoint: &Hop, walked: &'a [(Reach, Finding)]) -> Self {
        let weigh = |reach: Reach, finding: &Finding| match (form, reach) {
            (Form::RequiresRootPort, Reach::OlderOnly) => Weight::Ignored,
            _ => weight(form, virtual_functions, endpoint, finding),
        };
        let first =
            |wanted: Weight| walked.iter().find(|(reach, finding)| weigh(*reach, finding) == wanted).map(|(_, finding)| finding);
        let has = |cause: Cause| walked.iter().any(|(_, finding)| finding.cause == cause);
        let (enables, decisive) = match (first(Weight::Refuses), first(Weight::LeavesOpen)) {
            (Some(refusal), _) => (Some(false), Some(refusal)),
            (None, Some(open)) => (None, Some(open)),
            (None, None) => (Some(true), None),
        };
        Self { enables, decisive, blind: has(Cause::NoRootPort), without_effect: has(Cause::NoRequesterRegister) }
    }

    fn sentence(&self, endpoint: &Hop, version: &KernelVersion) -> String {
        let bdf = endpoint.bdf;
        let sentence = self.decisive.map(|finding| finding.sentence.as_str()).unwrap_or_default();
        match self.enables {
            Some(false) => format!("Linux {version} refuses AtomicOps of {bdf}. {sentence}"),
            None => format!("Whether Linux {version} enables AtomicOps of {bdf} is open. {sentence}"),
            Some(true) if self.blind => format!(
                "Linux {version} accepts {bdf} blindly: there is no root port above it, and this kernel's rule then tests nothing. \
                 That Requester Enable is set proves nothing."
            ),
            Some(true) if self.without_effect => {
                format!("Linux {version} accepts {bdf}, to no effect: its PCI Express capability has no Requester Enable.")
            }
            Some(true) => format!("Linux {version} enables AtomicOps of {bdf} when amdgpu asks for them."),
        }
    }
}

fn weight(form: Form, virtual_functions: VirtualFunctionRule, endpoint: &Hop, finding: &Finding) -> Weight {
    let older = form == Form::AcceptsWithoutRootPort;
    match finding.cause {
        Cause::VirtualFunction => match virtual_functions {
            VirtualFunctionRule::Refused => Weight::Refuses,
            VirtualFunctionRule::Accepted => Weight::Ignored,
            VirtualFunctionRule::Unsure => Weight::LeavesOpen,
        },
        Cause::NotAnEndpoint if older && endpoint.port_type() == Some(PortType::IntegratedEndpoint) => Weight::Ignored,
        Cause::NoRootPort if older => Weight::Ignored,
        Cause::NotPcie
        | Cause::NotAnEndpoint
        | Cause::NoRootPort
        | Cause::RootPortDoesNotComplete
        | Cause::EmulatedRootPortDoesNotComplete
        | Cause::NotRouted
        | Cause::EgressBlocked => Weight::Refuses,
        // The kernel does not ask what the device's own enable bits are; an unreadable Device Control 2 leaves nothing open.
        Cause::Unreadable if finding.bdf == endpoint.bdf && matches!(endpoint.pcie, PcieReading::Present(_)) => Weight::Ignored,
        Cause::Unreadable | Cause::HopsMissing => Weight::LeavesOpen,
        Cause::NoRequesterRegister | Cause::RequesterDisabled | Cause::BusMasterDisabled => Weight::Ignored,
    }
}
