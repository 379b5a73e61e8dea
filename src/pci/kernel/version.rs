//! Versions of Linux as `uname -r` prints them, and what is known to have come with which.

use super::{RuleBehaviour, VirtualFunctionRule};
use serde::{Serialize, Serializer};
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use thiserror::Error;

/// First release with `pci_enable_atomic_ops_to_root`.
const FUNCTION_APPEARS: (u16, u16) = (4, 16);
/// First release that refuses virtual functions.
const VIRTUAL_FUNCTIONS_REFUSED: (u16, u16) = (5, 16);
/// First release whose vfio-pci reports a device's completers (`VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP`).
const VFIO_REPORTS_COMPLETERS: (u16, u16) = (6, 5);
/// First release that looks for the root port.
const ROOT_PORT_REQUIRED: (u16, u16) = (7, 1);
/// The stable releases that took the change, by their announcements of May and June 2026. Earlier ones of these series do not
/// have it.
const ROOT_PORT_REQUIRED_IN_STABLE: [(u16, u16, u16); 7] =
    [(5, 10, 258), (5, 15, 209), (6, 1, 175), (6, 6, 141), (6, 12, 91), (6, 18, 33), (7, 0, 10)];
/// A series that ended at about the time: whether a late release took the change is not determined.
const SERIES_ENDING_AT_THE_CHANGE: (u16, u16) = (6, 19);

/// Whether a version is a release or a candidate for one. Candidates come before their release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Release candidate with its number.
    Candidate(u16),
    /// Release.
    Release,
}

/// A version of Linux, as `uname -r` prints it. Ordered by version, then by what the vendor appended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 of 6.12.107.
    pub major: u16,
    /// 12 of 6.12.107.
    pub minor: u16,
    /// 107 of 6.12.107. Distributions that keep an ABI number instead leave 0 here.
    pub patch: u16,
    /// Release or candidate.
    pub stage: Stage,
    /// What follows, with its separator (`-91-generic`); empty for a kernel as kernel.org publishes it.
    pub flavour: String,
}

/// Text that is no version of Linux.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no kernel version; write it as `uname -r` does, 6.12.107 or 5.15.0-91-generic")]
pub struct KernelVersionError {
    /// The text as given.
    pub text: String,
}

impl FromStr for KernelVersion {
    type Err = KernelVersionError;

    fn from_str(text: &str) -> Result<Self, KernelVersionError> {
        parse(text.trim()).ok_or_else(|| KernelVersionError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<KernelVersion> {
    let (major, rest) = number(text)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let (patch, rest) = match rest.strip_prefix('.') {
        Some(rest) => number(rest)?,
        None => (0, rest),
    };
    let (stage, flavour) = match rest.strip_prefix("-rc").and_then(number) {
        Some((candidate, rest)) => (Stage::Candidate(candidate), rest),
        None => (Stage::Release, rest),
    };
    let well_formed = flavour.chars().all(|character| character.is_ascii_graphic());
    let separated = !flavour.starts_with(|first: char| first.is_ascii_digit());
    (well_formed && separated).then(|| KernelVersion { major, minor, patch, stage, flavour: flavour.to_owned() })
}

/// The number that the text starts with, and the rest.
fn number(text: &str) -> Option<(u16, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if let Stage::Candidate(candidate) = self.stage {
            write!(formatter, "-rc{candidate}")?;
        }
        formatter.write_str(&self.flavour)
    }
}

impl Serialize for KernelVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl KernelVersion {
    /// The running kernel's, from `proc/sys/kernel/osrelease` below the directory that holds `proc` (`/` on a live machine);
    /// `None` when the file is not there or is no version.
    pub fn running(root: &Path) -> Option<Self> {
        fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok()?.parse().ok()
    }

    fn series(&self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// A kernel that someone built with an appendix: it may hold changes of later releases.
    fn is_of_a_vendor(&self) -> bool {
        !self.flavour.is_empty()
    }

    fn is_candidate_of(&self, series: (u16, u16)) -> bool {
        self.series() == series && self.patch == 0 && self.stage != Stage::Release
    }

    /// Which form of `pci_enable_atomic_ops_to_root` it has.
    pub fn rule(&self) -> RuleBehaviour {
        let unsure = |why: String| RuleBehaviour::Unsure { why };
        let fixed_series = ROOT_PORT_REQUIRED_IN_STABLE.iter().find(|(major, minor, _)| (*major, *minor) == self.series());
        if self.is_candidate_of(ROOT_PORT_REQUIRED) || self.is_candidate_of(FUNCTION_APPEARS) {
            return unsure(format!(
                "Linux {self} is a candidate of the release in which the rule changed: it may have the rule of before or of after."
            ));
        }
        if self.series() >= ROOT_PORT_REQUIRED || fixed_series.is_some_and(|(_, _, patch)| self.patch >= *patch) {
            return RuleBehaviour::RequiresRootPort;
        }
        if self.is_of_a_vendor() {
            return unsure(format!(
                "Linux {self} is a vendor's build: whether it has the rule of Linux 7.1, which asks for a root port, is not known."
            ));
        }
        if self.series() < FUNCTION_APPEARS {
            return RuleBehaviour::Absent;
        }
        if self.series() == SERIES_ENDING_AT_THE_CHANGE && self.patch > 0 {
            return unsure(format!(
                "Linux {self}: whether a late release of its series took the rule of Linux 7.1, which asks for a root port, is not \
                 determined."
            ));
        }
        RuleBehaviour::AcceptsWithoutRootPort
    }

    /// Whether it may be from before the function.
    pub(super) fn may_lack_the_function(&self) -> bool {
        self.series() < FUNCTION_APPEARS || self.is_candidate_of(FUNCTION_APPEARS)
    }

    /// What its rule makes of SR-IOV virtual functions.
    pub fn virtual_functions(&self) -> VirtualFunctionRule {
        if self.is_candidate_of(VIRTUAL_FUNCTIONS_REFUSED) {
            VirtualFunctionRule::Unsure
        } else if self.series() >= VIRTUAL_FUNCTIONS_REFUSED {
            VirtualFunctionRule::Refused
        } else if self.is_of_a_vendor() {
            VirtualFunctionRule::Unsure
        } else {
            VirtualFunctionRule::Accepted
        }
    }

    /// Whether its vfio-pci tells QEMU which AtomicOps a device's path completes; `None` for a vendor's build of an older
    /// version, which may have taken the change.
    pub fn vfio_reports_atomic_completers(&self) -> Option<bool> {
        if self.series() >= VFIO_REPORTS_COMPLETERS {
            Some(true)
        } else if self.is_of_a_vendor() {
            None
        } else {
            Some(false)
        }
    }
}
