//! Which GPU the software GPU is: what its shader cores execute and how a kernel finds itself started.

use std::fmt;
use std::str::FromStr;

/// Work-items that a wavefront executes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaveSize {
    /// 32 lanes; masks are one scalar register.
    Lanes32,
    /// 64 lanes; masks are a pair of scalar registers.
    Lanes64,
}

impl WaveSize {
    /// Lanes of a wavefront.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Self::Lanes32 => 32,
            Self::Lanes64 => 64,
        }
    }
}

/// A GPU that the model can be (LLVM AMDGPUUsage, "Processors").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Fiji, GCN generation 3: the GPU of the founding experiment.
    Gfx803,
    /// Instinct MI300, CDNA 3: what AMD's runtime accepts in model mode with the encodings of generation 9.
    Gfx942,
    /// Navi 31, RDNA 3: wavefronts of 32.
    Gfx1100,
}

/// A name that is no target of the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the software GPU cannot be {0:?}; it can be gfx803, gfx942 or gfx1100")]
pub struct UnknownTarget(pub String);

impl Target {
    /// Every target.
    pub const ALL: [Self; 3] = [Self::Gfx803, Self::Gfx942, Self::Gfx1100];

    /// Name as compilers and runtimes write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gfx803 => "gfx803",
            Self::Gfx942 => "gfx942",
            Self::Gfx1100 => "gfx1100",
        }
    }

    /// KFD's `gfx_target_version`: major * 10000 + minor * 100 + stepping (Linux, `kfd_device.c`).
    #[must_use]
    pub const fn kfd_version(self) -> u32 {
        match self {
            Self::Gfx803 => 8_00_03,
            Self::Gfx942 => 9_04_02,
            Self::Gfx1100 => 11_00_00,
        }
    }

    /// The target of this `gfx_target_version`, if the model can be it.
    #[must_use]
    pub fn from_kfd_version(version: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.kfd_version() == version)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Self::ALL.into_iter().find(|target| target.name() == text).ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_from_its_name_and_from_kfds_number() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
            assert_eq!(Target::from_kfd_version(target.kfd_version()), Some(target));
        }
        assert_eq!("gfx1030".parse::<Target>(), Err(UnknownTarget("gfx1030".to_owned())));
        assert_eq!(Target::from_kfd_version(0), None);
    }
}
