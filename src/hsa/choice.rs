//! Which runtime a run uses, and what that says about its result.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::kfd_access::KfdAccess;
use super::library::{DEFAULT_LIBRARY, LoadError};

/// The value of `--runtime`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// The system's runtime where a GPU is usable, else a self-test on the embedded one.
    #[default]
    Auto,
    /// The system's runtime, or an error.
    System,
    /// The runtime and the software GPU inside this binary.
    Embedded,
    /// A runtime library by path or file name.
    Path(PathBuf),
}

/// What a run's result is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "bed", rename_all = "kebab-case")]
pub enum Bed {
    /// A runtime library, and the device behind it.
    Hardware {
        /// The library.
        library: PathBuf,
    },
    /// The software GPU, asked for by name.
    Embedded,
    /// The software GPU, because no GPU was usable: it tests the harness only.
    EmbeddedSelfTest {
        /// Why no GPU was tested.
        reason: String,
    },
}

/// A choice made: the runtime's table, and what it stands for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The runtime.
    pub api: Api,
    /// What a result on it is about.
    pub bed: Bed,
}

/// `--runtime` names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no runtime is called {0:?}; use auto, system, embedded, rocr-model, guest, or the path of a runtime library")]
pub struct UnknownRuntime(pub String);

/// Why the chosen runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The library is unusable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The library loads, but the kernel driver is unusable.
    #[error("the HSA runtime {library} loads, but no GPU is usable: {access}")]
    NoDriver {
        /// The library that was loaded, and its version.
        library: String,
        /// What is wrong with the driver.
        access: KfdAccess,
    },
}

impl FromStr for RuntimeChoice {
    type Err = UnknownRuntime;

    fn from_str(text: &str) -> Result<Self, UnknownRuntime> {
        match text {
            "auto" => Ok(Self::Auto),
            "system" => Ok(Self::System),
            "embedded" => Ok(Self::Embedded),
            path if path.contains('/') || path.contains(".so") => Ok(Self::Path(path.into())),
            other => Err(UnknownRuntime(other.to_owned())),
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::System => formatter.write_str("system"),
            Self::Embedded => formatter.write_str("embedded"),
            Self::Path(path) => path.display().fmt(formatter),
        }
    }
}

impl RuntimeChoice {
    /// Opens the runtime. `auto` always finds one; the other choices say what is wrong.
    ///
    /// # Errors
    /// [`ChoiceError`].
    pub fn resolve(&self) -> Result<Resolved, ChoiceError> {
        self.resolve_on(KfdAccess::probe, Path::new(DEFAULT_LIBRARY))
    }

    fn resolve_on(&self, probe: impl FnOnce() -> KfdAccess, system: &Path) -> Result<Resolved, ChoiceError> {
        match self {
            Self::Embedded => Ok(Resolved { api: Api::embedded(), bed: Bed::Embedded }),
            Self::Path(library) => Ok(Resolved::library(Api::load(library)?, library)),
            Self::System => {
                let api = Api::load(system)?;
                match probe() {
                    KfdAccess::Usable => Ok(Resolved::library(api, system)),
                    access => {
                        let library = api.library().map_or_else(|| system.display().to_string(), |library| library.to_string());
                        Err(ChoiceError::NoDriver { library, access })
                    }
                }
            }
            Self::Auto => Ok(match probe() {
                KfdAccess::Usable => match Api::load(system) {
                    Ok(api) => Resolved::library(api, system),
                    Err(error) => Resolved::self_test(error.to_string()),
                },
                access => Resolved::self_test(access.state()),
            }),
        }
    }
}

impl Resolved {
    fn library(api: Api, library: &Path) -> Self {
        Self { api, bed: Bed::Hardware { library: library.to_owned() } }
    }

    /// The embedded runtime in place of a GPU that is not usable, for this reason.
    #[must_use]
    pub fn self_test(reason: String) -> Self {
        Self { api: Api::embedded(), bed: Bed::EmbeddedSelfTest { reason } }
    }
}

impl Bed {
    /// The choice that gives another process the same runtime.
    #[must_use]
    pub fn choice(&self) -> RuntimeChoice {
        match self {
            Self::Hardware { library } => RuntimeChoice::Path(library.clone()),
            Self::Embedded | Self::EmbeddedSelfTest { .. } => RuntimeChoice::Embedded,
        }
    }
}

impl fmt::Display for Bed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware { library } => write!(formatter, "the HSA runtime {}", library.display()),
            Self::Embedded => formatter.write_str("the embedded software GPU; no hardware was tested"),
            Self::EmbeddedSelfTest { reason } => {
                write!(formatter, "the embedded software GPU as a self-test; no GPU was tested because {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    const NO_LIBRARY: &str = "/nonexistent/libhsa-runtime64.so.1";

    fn missing() -> KfdAccess {
        KfdAccess::Missing { path: "/dev/kfd".into() }
    }

    #[test]
    fn every_choice_is_written_as_it_is_read() {
        for text in ["auto", "system", "embedded", "/opt/rocm/lib/libhsa-runtime64.so", "libhsa-runtime64.so.1"] {
            assert_eq!(text.parse::<RuntimeChoice>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_word_that_is_no_runtime_lists_the_runtimes() {
        let error = "rocm".parse::<RuntimeChoice>().unwrap_err().to_string();
        assert!(error.contains("auto, system, embedded"), "{error}");
    }

    #[test]
    fn auto_without_a_driver_is_a_self_test_that_says_why() {
        let resolved = RuntimeChoice::Auto.resolve_on(missing, Path::new(NO_LIBRARY)).unwrap();
        assert_eq!(resolved.api.origin(), &Origin::Embedded);
        assert!(resolved.bed.to_string().contains("no GPU was tested because there is no /dev/kfd"), "{}", resolved.bed);
    }

    #[test]
    fn auto_with_a_driver_but_without_rocm_is_a_self_test_that_says_why() {
        let resolved = RuntimeChoice::Auto.resolve_on(|| KfdAccess::Usable, Path::new(NO_LIBRARY)).unwrap();
        assert!(matches!(&resolved.bed, Bed::EmbeddedSelfTest { reason } if reason.contains(NO_LIBRARY)), "{}", resolved.bed);
    }

    #[test]
    fn system_without_rocm_is_an_error_and_never_the_embedded_runtime() {
        let error = RuntimeChoice::System.resolve_on(|| KfdAccess::Usable, Path::new(NO_LIBRARY)).unwrap_err();
        assert!(matches!(error, ChoiceError::Load(LoadError::NotFound { .. })), "{error}");
    }

    #[test]
    fn embedded_is_no_self_test_when_asked_for_by_name() {
        let unasked = || unreachable!("the embedded runtime needs no driver");
        assert_eq!(RuntimeChoice::Embedded.resolve_on(unasked, Path::new(NO_LIBRARY)).unwrap().bed, Bed::Embedded);
    }

    #[test]
    fn a_path_is_taken_without_asking_for_the_driver() {
        let unasked = || unreachable!("a named library may be a model's");
        let error = RuntimeChoice::Path(NO_LIBRARY.into()).resolve_on(unasked, Path::new("unused")).unwrap_err();
        assert!(matches!(error, ChoiceError::Load(LoadError::NotFound { .. })));
    }

    #[test]
    fn a_worker_gets_the_same_runtime_from_the_beds_choice() {
        let hardware = Bed::Hardware { library: "/opt/rocm/lib/libhsa-runtime64.so.1".into() };
        assert_eq!(hardware.choice().to_string().parse(), Ok(hardware.choice()));
        assert_eq!(Bed::EmbeddedSelfTest { reason: String::new() }.choice(), RuntimeChoice::Embedded);
    }
}
