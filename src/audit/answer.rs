//! The three answers a question about registers can have.

use crate::pci::path::{EnableBit, PathCapability};
use serde::Serialize;
use std::fmt;

/// Yes, no, or not shown by the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// The input does not decide it.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

impl From<Option<bool>> for Answer {
    fn from(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }
}

impl From<PathCapability> for Answer {
    fn from(path: PathCapability) -> Self {
        match path {
            PathCapability::Capable => Self::Yes,
            PathCapability::Incapable => Self::No,
            PathCapability::Unknown => Self::Unknown,
        }
    }
}

impl From<EnableBit> for Answer {
    fn from(bit: EnableBit) -> Self {
        match bit {
            EnableBit::Enabled => Self::Yes,
            EnableBit::Disabled => Self::No,
            EnableBit::Unknown => Self::Unknown,
        }
    }
}
