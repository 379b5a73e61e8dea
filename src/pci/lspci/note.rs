//! What a reader should know about a text.

use crate::pci::Bdf;
use crate::pci::dump::DumpError;
use std::fmt;

/// Something about a text that bears on the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// `lspci` ran without privileges: the capabilities of these functions and maybe of others are not in the text.
    AccessDenied {
        /// The first function concerned.
        bdf: Bdf,
    },
    /// Device Control 2 or Device Capabilities 2 is printed without the AtomicOps line that belongs to it.
    AtomicOpsNotPrinted {
        /// The first function concerned.
        bdf: Bdf,
    },
    /// The hex rows of a function cannot be read.
    UnreadableRows {
        /// The function.
        bdf: Bdf,
        /// What is wrong, with its line in the text.
        error: DumpError,
    },
    /// The rows were mangled in a way that leaves one reading, and read so.
    RepairedRows {
        /// The function.
        bdf: Bdf,
        /// The first line concerned, from 1.
        line: usize,
    },
    /// Decoded lines and hex rows of a function contradict each other; the rows are used.
    RowsContradictText {
        /// The function.
        bdf: Bdf,
        /// Where they differ.
        field: RegisterField,
    },
    /// The text shows a function twice with different values; the later one is used.
    ShownTwice {
        /// The function.
        bdf: Bdf,
        /// Where they differ.
        field: RegisterField,
    },
    /// A line of a `lspci -t` tree hangs on no branch.
    TreeBroken {
        /// Line in the text, from 1.
        line: usize,
    },
    /// A device line of `lspci -P` names bridges that the text does not number, so its address is not known.
    AddressNotKnown {
        /// Line in the text, from 1.
        line: usize,
    },
    /// There is more to say than is kept.
    More,
}

/// Part of a function that a text may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterField {
    /// The PCI Express capability: whether there is one, where, version and port type.
    PcieCapability,
    /// Bus Master.
    BusMaster,
    /// Unsupported Request Detected.
    UnsupportedRequestDetected,
    /// AtomicOp Routing Supported.
    AtomicRouting,
    /// 32-bit AtomicOp Completer Supported.
    Completer32,
    /// 64-bit AtomicOp Completer Supported.
    Completer64,
    /// 128-bit CAS Completer Supported.
    Completer128,
    /// AtomicOp Requester Enable.
    RequesterEnable,
    /// AtomicOp Egress Blocking.
    EgressBlocking,
    /// AtomicOp Egress Blocked Status of Advanced Error Reporting.
    EgressBlockedStatus,
    /// Unsupported Request Error Status of Advanced Error Reporting.
    UnsupportedRequestStatus,
}

impl fmt::Display for RegisterField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PcieCapability => "the PCI Express capability",
            Self::BusMaster => "Bus Master",
            Self::UnsupportedRequestDetected => "Unsupported Request Detected",
            Self::AtomicRouting => "AtomicOp Routing",
            Self::Completer32 => "the 32-bit AtomicOp completer",
            Self::Completer64 => "the 64-bit AtomicOp completer",
            Self::Completer128 => "the 128-bit CAS completer",
            Self::RequesterEnable => "AtomicOp Requester Enable",
            Self::EgressBlocking => "AtomicOp Egress Blocking",
            Self::EgressBlockedStatus => "AtomicOp Egress Blocked status",
            Self::UnsupportedRequestStatus => "Unsupported Request status",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied { bdf } => {
                write!(formatter, "lspci ran without privileges (first at {bdf}): take the text again as root to see capabilities.")
            }
            Self::AtomicOpsNotPrinted { bdf } => write!(
                formatter,
                "The text has no AtomicOps lines where they belong (first at {bdf}): lspci before 3.5.3 does not print them, which \
                 does not mean no; take the text with a newer lspci, or with `lspci -xxx` as root."
            ),
            Self::UnreadableRows { bdf, error } => write!(formatter, "The hex rows of {bdf} are not used: {error}."),
            Self::RepairedRows { bdf, line } => {
                write!(formatter, "The hex rows of {bdf} were mangled and have been repaired (first at line {line}).")
            }
            Self::RowsContradictText { bdf, field } => {
                write!(formatter, "{bdf}: the hex rows and the decoded text differ in {field}; the rows are used.")
            }
            Self::ShownTwice { bdf, field } => {
                write!(formatter, "{bdf} is shown twice with different values of {field}; the later one is used.")
            }
            Self::TreeBroken { line } => write!(formatter, "Line {line} of the tree hangs on no branch and is not used."),
            Self::AddressNotKnown { line } => {
                write!(formatter, "Line {line} gives a path without bus numbers that the text does not number; it is not used.")
            }
            Self::More => formatter.write_str("There is more to note about this text than is listed here."),
        }
    }
}
