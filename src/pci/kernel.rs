//! What a given Linux kernel's `pci_enable_atomic_ops_to_root` (drivers/pci/pci.c) makes of a path.
//!
//! [`super::path::judge`] is the rule of today. Kernels before 7.1 (and before certain stable releases) look for no root port:
//! they accept a device on a root bus blindly, which is where a careless virtual machine puts it. What a kernel accepts is
//! therefore no proof that AtomicOps arrive.

mod version;

pub use version::{KernelVersion, KernelVersionError, Stage};

use super::Hierarchy;
use super::path::PathVerdict;
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
pub fn agrees(hierarchy: &Hierarchy, verdict: &PathVerdict, version: &KernelVersion) -> KernelVerdict {
    let behaviour = version.rule();
    let _ = (hierarchy, verdict);
    KernelVerdict { because: behaviour.to_string(), behaviour, would_enable: None }
}
