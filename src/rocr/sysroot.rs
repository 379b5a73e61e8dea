//! A directory with a C library and ROCr of its own, as `dpkg -x` of a distribution's packages gives: programs in it are started
//! through its own loader, so that they need no newer system, no root and no container.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The loader's name (System V ABI, AMD64 and AArch64 supplements).
#[cfg(target_arch = "x86_64")]
const LOADER: &str = "ld-linux-x86-64.so.2";
#[cfg(target_arch = "aarch64")]
const LOADER: &str = "ld-linux-aarch64.so.1";

/// Where distributions keep libraries, Debian's multiarch layout first.
#[cfg(target_arch = "x86_64")]
const LIBRARY_DIRECTORIES: [&str; 7] =
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib", "lib", "opt/rocm/lib"];
#[cfg(target_arch = "aarch64")]
const LIBRARY_DIRECTORIES: [&str; 7] =
    ["usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib64", "lib64", "usr/lib", "lib", "opt/rocm/lib"];

const PROGRAM_DIRECTORIES: [&str; 3] = ["usr/bin", "bin", "opt/rocm/bin"];

/// A sysroot with a loader in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysroot {
    root: PathBuf,
    loader: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Why a program cannot be started in a sysroot.
#[derive(Debug, thiserror::Error)]
pub enum SysrootError {
    /// No such directory.
    #[error("there is no sysroot {}: {source}", path.display())]
    Absent {
        /// What was given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has no loader.
    #[error(
        "{} is no sysroot for this machine: it has no {LOADER} in {}; unpack libc6 and ROCr's packages into it with `dpkg -x`",
        path.display(),
        LIBRARY_DIRECTORIES.join(", ")
    )]
    NoLoader {
        /// The directory.
        path: PathBuf,
    },
    /// A program that a loader cannot start.
    #[error("{} is no ELF program, and a sysroot's loader starts nothing else; name the interpreter first for a script", path.display())]
    NotAProgram {
        /// The file.
        path: PathBuf,
    },
    /// No such program.
    #[error("there is no program {}, neither in the sysroot nor on the search path", name.display())]
    NoProgram {
        /// What was asked for.
        name: PathBuf,
    },
}

impl Sysroot {
    /// Looks for the loader and the library directories.
    ///
    /// # Errors
    /// [`SysrootError::Absent`], [`SysrootError::NoLoader`].
    pub fn open(path: &Path) -> Result<Self, SysrootError> {
        let root = path.canonicalize().map_err(|source| SysrootError::Absent { path: path.to_owned(), source })?;
        let libraries: Vec<PathBuf> =
            LIBRARY_DIRECTORIES.iter().map(|directory| root.join(directory)).filter(|directory| directory.is_dir()).collect();
        let loader = libraries.iter().map(|directory| directory.join(LOADER)).find(|loader| is_file_inside(&root, loader));
        let loader = loader.ok_or_else(|| SysrootError::NoLoader { path: root.clone() })?;
        Ok(Self { root, loader, libraries })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A library of this name in one of its library directories.
    #[must_use]
    pub fn library(&self, name: &str) -> Option<PathBuf> {
        self.libraries.iter().map(|directory| directory.join(name)).find(|file| is_file_inside(&self.root, file))
    }

    /// The arguments of the loader up to the program, which must be an ELF file by its path.
    fn loader_arguments(&self, program: &Path, preload: Option<&Path>) -> Vec<OsString> {
        let mut path = OsString::new();
        for (position, directory) in self.libraries.iter().enumerate() {
            if position > 0 {
                path.push(":");
            }
            path.push(directory);
        }
        // The host's cache names the host's libraries, which this C library may be too old or too new for.
        let mut arguments: Vec<OsString> = vec!["--inhibit-cache".into(), "--library-path".into(), path];
        if let Some(preload) = preload {
            arguments.extend(["--preload".into(), preload.into()]);
        }
        arguments.push(program.into());
        arguments
    }
}

/// Whether it is a file of the sysroot itself: an absolute link in an unpacked package leads out of it, to the host's file.
fn is_file_inside(root: &Path, file: &Path) -> bool {
    file.canonicalize().is_ok_and(|real| real.starts_with(root) && real.is_file())
}

/// Which C library a program runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Surroundings {
    /// The system's.
    #[default]
    System,
    /// A sysroot's.
    Sysroot(Sysroot),
}

impl Surroundings {
    /// Those of a sysroot, if there is one.
    ///
    /// # Errors
    /// [`SysrootError`].
    pub fn open(sysroot: Option<&Path>) -> Result<Self, SysrootError> {
        sysroot.map_or(Ok(Self::System), |path| Sysroot::open(path).map(Self::Sysroot))
    }

    /// Where the system's files lie, as seen from here.
    #[must_use]
    pub fn root(&self) -> &Path {
        match self {
            Self::System => Path::new("/"),
            Self::Sysroot(sysroot) => sysroot.path(),
        }
    }

    /// The command that starts `program` (its path, or a name that is looked for), with `preload` loaded before its libraries.
    ///
    /// # Errors
    /// There is no such program, or a sysroot's loader cannot start it.
    pub fn command(&self, program: &OsStr, preload: Option<&Path>) -> Result<Command, SysrootError> {
        match self {
            Self::System => {
                let mut command = Command::new(program);
                if let Some(preload) = preload {
                    command.env("LD_PRELOAD", before_others(preload, std::env::var_os("LD_PRELOAD")));
                }
                Ok(command)
            }
            Self::Sysroot(sysroot) => {
                let program = sysroot.find_program(program)?;
                let mut command = Command::new(&sysroot.loader);
                command.args(sysroot.loader_arguments(&program, preload));
                Ok(command)
            }
        }
    }
}

impl Sysroot {
    /// The loader searches nothing: a name without a slash is looked for in the sysroot, then on the search path.
    fn find_program(&self, name: &OsStr) -> Result<PathBuf, SysrootError> {
        let named = Path::new(name);
        let found = if named.components().count() > 1 || named.is_absolute() {
            named.is_file().then(|| named.to_owned())
        } else {
            let own = PROGRAM_DIRECTORIES.iter().map(|directory| self.root.join(directory));
            let searched =
                std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
            own.chain(searched).map(|directory| directory.join(named)).find(|file| file.is_file())
        };
        let path = found.ok_or_else(|| SysrootError::NoProgram { name: named.to_owned() })?;
        let mut magic = [0; 4];
        let is_elf = File::open(&path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF";
        if is_elf { Ok(path) } else { Err(SysrootError::NotAProgram { path }) }
    }
}

fn before_others(preload: &Path, others: Option<OsString>) -> OsString {
    let mut list = preload.as_os_str().to_owned();
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A sysroot in Debian's layout with a loader that is not one.
    pub fn debian(root: &Path) -> PathBuf {
        let libraries = root.join(LIBRARY_DIRECTORIES[0]);
        fs::create_dir_all(&libraries).unwrap();
        fs::write(libraries.join(LOADER), b"loader").unwrap();
        libraries
    }

    fn words(command: &Command) -> Vec<String> {
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_program_is_started_through_the_sysroots_own_loader_and_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let libraries = debian(directory.path()).canonicalize().unwrap();
        let surroundings = Surroundings::open(Some(directory.path())).unwrap();
        let program = std::env::current_exe().unwrap();
        let loader = libraries.join(LOADER).display().to_string();
        let above = libraries.parent().unwrap().display().to_string();
        let (path, program_text) = (format!("{}:{above}", libraries.display()), program.display().to_string());
        let plain = surroundings.command(program.as_os_str(), None).unwrap();
        assert_eq!(words(&plain), [&loader, "--inhibit-cache", "--library-path", &path, &program_text]);
        let helped = surroundings.command(program.as_os_str(), Some(Path::new("/x/lib.so"))).unwrap();
        assert_eq!(words(&helped), [&loader, "--inhibit-cache", "--library-path", &path, "--preload", "/x/lib.so", &program_text]);
    }

    #[test]
    fn a_loader_elsewhere_than_the_libraries_is_found_and_both_directories_are_searched() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib64")).unwrap();
        fs::create_dir_all(root.join("lib64")).unwrap();
        fs::write(root.join("lib64").join(LOADER), b"loader").unwrap();
        let sysroot = Sysroot::open(&root).unwrap();
        assert_eq!(sysroot.loader, root.join("lib64").join(LOADER));
        assert_eq!(sysroot.libraries, [root.join("usr/lib64"), root.join("lib64")]);
    }

    #[test]
    fn a_link_that_leads_to_the_hosts_loader_is_not_the_sysroots() {
        let directory = tempfile::tempdir().unwrap();
        let libraries = directory.path().join("lib64");
        fs::create_dir_all(&libraries).unwrap();
        symlink(std::env::current_exe().unwrap(), libraries.join(LOADER)).unwrap();
        assert!(matches!(Sysroot::open(directory.path()), Err(SysrootError::NoLoader { .. })));
    }

    #[test]
    fn a_directory_without_a_loader_says_what_to_unpack_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Sysroot::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains(LOADER) && error.contains("dpkg -x"), "{error}");
        let error = Sysroot::open(&directory.path().join("nowhere")).unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }

    #[test]
    fn a_script_is_refused_and_a_name_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        debian(directory.path());
        fs::create_dir_all(directory.path().join("usr/bin")).unwrap();
        fs::write(directory.path().join("usr/bin/script"), "#!/bin/sh\n").unwrap();
        let surroundings = Surroundings::open(Some(directory.path())).unwrap();
        let refused = |name: &str| surroundings.command(OsStr::new(name), None).unwrap_err();
        assert!(matches!(refused("script"), SysrootError::NotAProgram { .. }));
        assert!(matches!(refused("no-such-program-anywhere"), SysrootError::NoProgram { .. }));
    }

    #[test]
    fn what_is_preloaded_stands_before_what_the_user_preloads() {
        assert_eq!(before_others(Path::new("/a.so"), Some("/b.so".into())), "/a.so:/b.so");
        assert_eq!(before_others(Path::new("/a.so"), Some(OsString::new())), "/a.so");
    }
}
