//! Versions of QEMU.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A version of QEMU. A release candidate counts as its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QemuVersion {
    /// 8 of 8.1.0.
    pub major: u16,
    /// 1 of 8.1.0.
    pub minor: u16,
}

impl QemuVersion {
    /// The first that gives an emulated root port the completers that vfio reports.
    pub const GIVES_COMPLETERS: Self = Self { major: 8, minor: 1 };
}

/// Text that holds no version of QEMU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no QEMU version; write it as 8.1 or as `qemu-system-x86_64 --version` prints it")]
pub struct QemuVersionError {
    /// The text as given.
    pub text: String,
}

impl FromStr for QemuVersion {
    type Err = QemuVersionError;

    fn from_str(text: &str) -> Result<Self, QemuVersionError> {
        parse(text).ok_or_else(|| QemuVersionError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<QemuVersion> {
    let line = text.trim().lines().next()?;
    let version = line.split_once("version ").map_or(line, |(_, version)| version).trim();
    let number = |text: &str| {
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        Some((text[..end].parse::<u16>().ok()?, text[end..].to_owned()))
    };
    let (major, rest) = number(version)?;
    if rest.is_empty() {
        return Some(QemuVersion { major, minor: 0 });
    }
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let ends_well = !rest.starts_with(|next: char| next.is_alphanumeric());
    ends_well.then_some(QemuVersion { major, minor })
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for QemuVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
