//! The two libraries: ROCr itself, and the software GPU that it loads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::hsa::DEFAULT_LIBRARY;

use super::sysroot::Surroundings;

/// File name of the software GPU.
const MODEL: &str = "libaqlprobe.so";
/// Named in every ROCr that has a model mode: the variable it looks for.
const MODEL_MODE: &[u8] = b"HSA_MODEL_LIB";
/// Where ROCr is on a system that has it outside the dynamic linker's directories.
const SYSTEM_DIRECTORIES: [&str; 6] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/opt/rocm/lib", "/opt/rocm/lib64"];
/// Debian's changelog of the package, whose first line has its version.
const CHANGELOG: &str = "usr/share/doc/libhsa-runtime64-1/changelog.Debian.gz";
/// The first line is far shorter.
const CHANGELOG_HEAD: u64 = 256;

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// No ROCr.
    #[error(
        "the HSA runtime {name} was not found in {searched}; unpack Debian's libhsa-runtime64-1 7.2 into a sysroot and give it with \
         --sysroot DIR, or name the file with --library PATH"
    )]
    NoRuntime {
        /// What was looked for.
        name: String,
        /// Where.
        searched: String,
    },
    /// The file cannot be read.
    #[error("cannot read the HSA runtime {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An old ROCr.
    #[error(
        "{}{} has no model mode, which came with ROCm 7: it cannot run on the software GPU; give a newer one with --sysroot DIR or \
         --library PATH",
        path.display(),
        version.as_ref().map(|version| format!(" (version {version})")).unwrap_or_default()
    )]
    NoModelMode {
        /// The library.
        path: PathBuf,
        /// Its version, as far as known.
        version: Option<String>,
    },
    /// Our own library is not there.
    #[error(
        "the software GPU {MODEL} was not found in {searched}; `cargo build --release` builds it beside the program, and it is \
         installed beside the program or in ../lib"
    )]
    NoModel {
        /// The directories searched.
        searched: String,
    },
}

/// A ROCr that has a model mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLibrary {
    /// The file.
    pub path: PathBuf,
    /// The version of the package it is from, where that is known.
    pub version: Option<String>,
}

impl RuntimeLibrary {
    /// Finds `library`, or the one that the surroundings have, and makes sure that it has a model mode.
    ///
    /// # Errors
    /// [`LibraryError`].
    pub fn find(surroundings: &Surroundings, library: Option<&Path>) -> Result<Self, LibraryError> {
        let path = match (library, surroundings) {
            (Some(path), _) => path.to_owned(),
            (None, Surroundings::Sysroot(sysroot)) => sysroot.library(DEFAULT_LIBRARY).ok_or_else(|| LibraryError::NoRuntime {
                name: DEFAULT_LIBRARY.to_owned(),
                searched: format!("the sysroot {}", sysroot.path().display()),
            })?,
            (None, Surroundings::System) => SYSTEM_DIRECTORIES
                .iter()
                .map(|directory| Path::new(directory).join(DEFAULT_LIBRARY))
                .find(|path| path.is_file())
                .ok_or_else(|| LibraryError::NoRuntime {
                    name: DEFAULT_LIBRARY.to_owned(),
                    searched: SYSTEM_DIRECTORIES.join(", "),
                })?,
        };
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                LibraryError::NoRuntime { name: path.display().to_string(), searched: "this path only".to_owned() }
            }
            _ => LibraryError::Unreadable { path: path.clone(), source },
        };
        // A path relative to the working directory would be a name for the dynamic linker.
        let path = path.canonicalize().map(|real| if path.is_absolute() { path.clone() } else { real }).map_err(unreadable)?;
        let bytes = fs::read(&path).map_err(unreadable)?;
        // A file of one's own is not the package's.
        let version = if library.is_none() { package_version(surroundings.root()) } else { None };
        if bytes.windows(MODEL_MODE.len()).any(|window| window == MODEL_MODE) {
            Ok(Self { path, version })
        } else {
            Err(LibraryError::NoModelMode { path, version })
        }
    }
}

/// The version of Debian's package, from its changelog: `rocr-runtime (7.2.4+dfsg-1~exp1) experimental; urgency=medium`.
fn package_version(root: &Path) -> Option<String> {
    let mut head = Vec::new();
    GzDecoder::new(File::open(root.join(CHANGELOG)).ok()?).take(CHANGELOG_HEAD).read_to_end(&mut head).ok()?;
    version_in(&String::from_utf8_lossy(&head))
}

fn version_in(changelog: &str) -> Option<String> {
    let (_, rest) = changelog.lines().next()?.split_once(" (")?;
    rest.split_once(')').map(|(version, _)| version.to_owned())
}

/// The software GPU as a library: beside this program, or in `../lib`.
///
/// # Errors
/// [`LibraryError::NoModel`].
pub fn model_library() -> Result<PathBuf, LibraryError> {
    let program = std::env::current_exe().unwrap_or_default();
    let directory = program.parent().unwrap_or(Path::new("/"));
    model_library_of(directory)
}

fn model_library_of(directory: &Path) -> Result<PathBuf, LibraryError> {
    let places = [directory.to_owned(), directory.join("../lib")];
    let found = places.iter().map(|place| place.join(MODEL)).find(|file| file.is_file());
    found.and_then(|file| file.canonicalize().ok()).ok_or_else(|| LibraryError::NoModel {
        searched: places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" and "),
    })
}

#[cfg(test)]
mod tests {
    use super::super::sysroot::tests::debian;
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn sysroot(root: &Path, library: &[u8], changelog: &str) -> Surroundings {
        fs::write(debian(root).join(DEFAULT_LIBRARY), library).unwrap();
        let file = root.join(CHANGELOG);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut packed = GzEncoder::new(File::create(file).unwrap(), Compression::fast());
        packed.write_all(changelog.as_bytes()).unwrap();
        packed.finish().unwrap();
        Surroundings::open(Some(root)).unwrap()
    }

    #[test]
    fn the_sysroots_runtime_is_found_with_the_version_of_its_package() {
        let root = tempfile::tempdir().unwrap();
        let changelog = "rocr-runtime (7.2.4+dfsg-1~exp1) experimental; urgency=medium\n\n  * New upstream version\n";
        let surroundings = sysroot(root.path(), b"\x7fELF HSA_MODEL_LIB", changelog);
        let found = RuntimeLibrary::find(&surroundings, None).unwrap();
        assert_eq!(found.version.as_deref(), Some("7.2.4+dfsg-1~exp1"));
        assert!(found.path.ends_with(DEFAULT_LIBRARY) && found.path.is_absolute());
    }

    #[test]
    fn a_runtime_without_model_mode_is_refused_by_its_version() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = sysroot(root.path(), b"\x7fELF an old one", "rocr-runtime (5.2.3-5) unstable; urgency=medium\n");
        let error = RuntimeLibrary::find(&surroundings, None).unwrap_err().to_string();
        assert!(error.contains("5.2.3-5") && error.contains("no model mode") && error.contains("--sysroot"), "{error}");
    }

    #[test]
    fn a_library_by_path_has_no_packages_version_and_a_missing_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = sysroot(root.path(), b"", "rocr-runtime (7.2.4) unstable\n");
        let own = root.path().join("libhsa-runtime64.so");
        fs::write(&own, b"HSA_MODEL_LIB").unwrap();
        assert_eq!(RuntimeLibrary::find(&surroundings, Some(&own)).unwrap().version, None);
        let error = RuntimeLibrary::find(&surroundings, Some(Path::new("/nonexistent/libhsa.so"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/libhsa.so"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        debian(empty.path());
        let nothing = RuntimeLibrary::find(&Surroundings::open(Some(empty.path())).unwrap(), None).unwrap_err();
        assert!(matches!(nothing, LibraryError::NoRuntime { .. }), "{nothing}");
    }

    #[test]
    fn a_changelog_that_is_none_names_no_version() {
        for text in ["", "no parenthesis", "open (only", "\n(second line)"] {
            assert_eq!(version_in(text), None, "{text}");
        }
    }

    #[test]
    fn the_model_is_looked_for_beside_the_program_and_in_lib_and_else_says_how_to_build_it() {
        let prefix = tempfile::tempdir().unwrap();
        let (programs, libraries) = (prefix.path().join("bin"), prefix.path().join("lib"));
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&libraries).unwrap();
        let error = model_library_of(&programs).unwrap_err().to_string();
        assert!(error.contains("cargo build --release") && error.contains("../lib"), "{error}");
        fs::write(libraries.join(MODEL), b"").unwrap();
        assert_eq!(model_library_of(&programs).unwrap(), libraries.join(MODEL).canonicalize().unwrap());
        fs::write(programs.join(MODEL), b"").unwrap();
        assert_eq!(model_library_of(&programs).unwrap(), programs.join(MODEL).canonicalize().unwrap());
    }
}
