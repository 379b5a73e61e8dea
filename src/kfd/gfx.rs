//! Names of GPU targets.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A GPU target such as gfx803 or gfx90a: the version of its shader ISA (LLVM AMDGPUUsage, Processors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct GfxTarget {
    /// Generation: 8 for gfx803.
    pub major: u32,
    /// Within the generation.
    pub minor: u32,
    /// Within the minor version; written as one hexadecimal digit.
    pub stepping: u32,
}

/// Text that is no GPU target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no GPU target; it is written as in gfx803 or gfx90a")]
pub struct GfxTargetError {
    /// The text as given.
    pub text: String,
}

impl GfxTarget {
    /// From KFD's `gfx_target_version`: major * 10000 + minor * 100 + stepping. 0 stands for a node without a GPU.
    pub fn from_kfd_version(version: u32) -> Option<Self> {
        (version != 0).then_some(Self { major: version / 10_000, minor: version / 100 % 100, stepping: version % 100 })
    }
}

impl fmt::Display for GfxTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "gfx{}{:x}{:x}", self.major, self.minor, self.stepping)
    }
}

impl From<GfxTarget> for String {
    fn from(target: GfxTarget) -> Self {
        target.to_string()
    }
}

impl FromStr for GfxTarget {
    type Err = GfxTargetError;

    /// Reads a target name, also at the end of an ISA name (`amdgcn-amd-amdhsa--gfx90a:xnack-`).
    fn from_str(text: &str) -> Result<Self, GfxTargetError> {
        parse(text).ok_or_else(|| GfxTargetError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<GfxTarget> {
    let processor = text.split(':').next()?;
    let version = processor.rsplit('-').next()?.strip_prefix("gfx")?;
    let digit = |at: usize| version.get(at..at + 1).and_then(|digit| u32::from_str_radix(digit, 16).ok());
    let stepping_at = version.len().checked_sub(1)?;
    let minor_at = stepping_at.checked_sub(1)?;
    let major = version.get(..minor_at)?;
    let is_decimal = (1..=2).contains(&major.len()) && major.bytes().all(|digit| digit.is_ascii_digit());
    let major = is_decimal.then(|| major.parse().ok())??;
    Some(GfxTarget { major, minor: digit(minor_at)?, stepping: digit(stepping_at)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(major: u32, minor: u32, stepping: u32) -> GfxTarget {
        GfxTarget { major, minor, stepping }
    }

    #[test]
    fn names_are_read_as_llvm_writes_them() {
        assert_eq!("gfx803".parse(), Ok(target(8, 0, 3)));
        assert_eq!("gfx90a".parse(), Ok(target(9, 0, 10)));
        assert_eq!("gfx1036".parse(), Ok(target(10, 3, 6)));
        assert_eq!("amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-".parse(), Ok(target(9, 0, 10)));
    }

    #[test]
    fn kfd_versions_are_decimal() {
        assert_eq!(GfxTarget::from_kfd_version(80_003), Some(target(8, 0, 3)));
        assert_eq!(GfxTarget::from_kfd_version(90_010).unwrap().to_string(), "gfx90a");
        assert_eq!(GfxTarget::from_kfd_version(0), None);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "gfx", "gfx8", "gfx80", "gfx9-generic", "sm_90", "gfx+103", "gfxé03"] {
            assert!(text.parse::<GfxTarget>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<GfxTarget>();
            let _ = format!("gfx{text}").parse::<GfxTarget>();
        }

        #[test]
        fn names_are_read_back(major in 1_u32..100, minor in 0_u32..16, stepping in 0_u32..16) {
            let target = target(major, minor, stepping);
            prop_assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
}
