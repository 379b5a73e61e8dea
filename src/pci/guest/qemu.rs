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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Option<(u16, u16)> {
        text.parse().ok().map(|QemuVersion { major, minor }| (major, minor))
    }

    #[test]
    fn versions_are_read_as_people_and_qemu_write_them() {
        assert_eq!(version("8.1"), Some((8, 1)));
        assert_eq!(version("11"), Some((11, 0)));
        assert_eq!(version("9.0.0-rc1"), Some((9, 0)));
        assert_eq!(version("QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)\nCopyright"), Some((8, 2)));
        assert_eq!(version("QEMU emulator version 10.0.2 (pve-qemu-kvm_10.0.2-4)"), Some((10, 0)));
        for text in ["", "new", "8.", "8.x", "8,1", "70000.1", "8.1beta"] {
            assert_eq!(version(text), None, "{text:?}");
        }
    }

    #[test]
    fn ten_is_later_than_eight() {
        let parse = |text: &str| text.parse::<QemuVersion>().unwrap();
        assert!(parse("10.0") > QemuVersion::GIVES_COMPLETERS && parse("8.0.5") < QemuVersion::GIVES_COMPLETERS);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = text.parse::<QemuVersion>();
        }

        #[test]
        fn what_is_printed_reads_back(major in any::<u16>(), minor in any::<u16>()) {
            let version = QemuVersion { major, minor };
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }
    }
}
