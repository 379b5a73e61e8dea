//! The packages that a guest is made of, unpacked in a directory: `assemble.sh` puts them there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// The recipe, which travels inside the program so that the program alone can assemble a guest.
const ASSEMBLE: &str = include_str!("assemble.sh");
/// The library beside QEMU, compiled on the machine that runs it.
const HOPS: &str = include_str!("hops.c");

/// Why there is nothing to boot.
#[derive(Debug, Error)]
pub enum AssetsError {
    /// The recipe did not succeed; it has said why on stderr.
    #[error("the guest could not be assembled in {}: the lines above say why", directory.display())]
    Assembly {
        /// Where.
        directory: PathBuf,
    },
    /// The recipe cannot be started, or a file cannot be written or read.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// `write`, `read`, `run`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory has no such kernel.
    #[error("{} has no kernel `{name}`; it has: {}", directory.display(), known.join(", "))]
    NoKernel {
        /// The name given.
        name: String,
        /// The assets.
        directory: PathBuf,
        /// What there is.
        known: Vec<String>,
    },
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AssetsError {
    let path = path.to_owned();
    move |source| AssetsError::File { what, path, source }
}

/// A directory that holds QEMU and kernels.
#[derive(Clone, Debug)]
pub struct Assets {
    directory: PathBuf,
}

/// One kernel of them.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `sid`.
    pub name: String,
    /// `uname -r`.
    pub release: String,
    directory: PathBuf,
}

impl Kernel {
    /// The image to boot.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Its vfio modules, decompressed, in the order of loading.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn modules(&self) -> Result<Vec<(String, Vec<u8>)>, AssetsError> {
        let folder = self.directory.join("modules");
        let order = folder.join("order");
        let names = fs::read_to_string(&order).map_err(file_error("read", &order))?;
        names
            .lines()
            .map(|name| {
                let path = folder.join(name);
                fs::read(&path).map(|bytes| (name.to_owned(), bytes)).map_err(file_error("read", &path))
            })
            .collect()
    }
}

impl Assets {
    /// Assembles what is missing in `directory` for these kernels, and opens it. What is complete needs no network. Progress goes to
    /// stderr.
    ///
    /// # Errors
    /// [`AssetsError`] when something cannot be downloaded, unpacked or compiled.
    pub fn assemble(directory: &Path, kernels: &[&str]) -> Result<Self, AssetsError> {
        fs::create_dir_all(directory).map_err(file_error("write", directory))?;
        let directory = fs::canonicalize(directory).map_err(file_error("read", directory))?;
        let source = directory.join("hops.c");
        // Left alone when it is the same, so that its age tells whether it was compiled already.
        if fs::read(&source).ok().as_deref() != Some(HOPS.as_bytes()) {
            fs::write(&source, HOPS).map_err(file_error("write", &source))?;
        }
        let shell = Path::new("bash");
        let mut child = Command::new(shell)
            .args(["-s", "--"])
            .args([directory.as_os_str(), source.as_os_str()])
            .args(kernels)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(file_error("run", shell))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A shell that has given up early says so by its status.
            let _ = stdin.write_all(ASSEMBLE.as_bytes());
        }
        let status = child.wait().map_err(file_error("run", shell))?;
        if status.success() { Ok(Self { directory }) } else { Err(AssetsError::Assembly { directory }) }
    }

    /// Opens a directory that was assembled before, without a look at what is in it.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// One of its kernels.
    ///
    /// # Errors
    /// [`AssetsError::NoKernel`] when it has none of that name.
    pub fn kernel(&self, name: &str) -> Result<Kernel, AssetsError> {
        let directory = self.directory.join("kernels").join(name);
        let release = directory.join("release");
        match fs::read_to_string(&release) {
            Ok(text) if !name.contains('/') => Ok(Kernel { name: name.to_owned(), release: text.trim().to_owned(), directory }),
            _ => Err(AssetsError::NoKernel { name: name.to_owned(), directory: self.directory.clone(), known: self.kernels() }),
        }
    }

    fn kernels(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.join("kernels")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Version of the QEMU package, `1:11.1.3+ds-1`.
    #[must_use]
    pub fn qemu_version(&self) -> String {
        let list = fs::read_to_string(self.directory.join("qemu/packages.txt")).unwrap_or_default();
        let version = list.lines().find_map(|line| line.strip_prefix("package qemu-system-x86 "));
        version.unwrap_or("unknown").to_owned()
    }

    /// The unpacked packages of QEMU.
    pub(super) fn qemu(&self) -> PathBuf {
        self.directory.join("qemu")
    }

    /// The library that shows a guest the modelled hops.
    pub(super) fn hops_library(&self) -> PathBuf {
        self.directory.join("hops.so")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_kernel() -> (tempfile::TempDir, Assets) {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernels/sid");
        fs::create_dir_all(kernel.join("modules")).unwrap();
        fs::write(kernel.join("release"), "7.2.13\n").unwrap();
        fs::write(kernel.join("modules/order"), "vfio.ko\nvfio-pci.ko\n").unwrap();
        fs::write(kernel.join("modules/vfio.ko"), "1").unwrap();
        fs::write(kernel.join("modules/vfio-pci.ko"), "2").unwrap();
        let assets = Assets { directory: folder.path().to_owned() };
        (folder, assets)
    }

    #[test]
    fn a_kernel_knows_its_release_and_its_modules_in_order() {
        let (_folder, assets) = with_kernel();
        let kernel = assets.kernel("sid").unwrap();
        assert_eq!(kernel.release, "7.2.13");
        let modules = kernel.modules().unwrap();
        assert_eq!(modules, [("vfio.ko".to_owned(), b"1".to_vec()), ("vfio-pci.ko".to_owned(), b"2".to_vec())]);
    }

    #[test]
    fn a_kernel_that_is_not_there_is_refused_with_those_that_are() {
        let (_folder, assets) = with_kernel();
        let error = assets.kernel("trixie").unwrap_err().to_string();
        assert!(error.ends_with("has no kernel `trixie`; it has: sid"), "{error}");
        assert!(assets.kernel("../kernels/sid").is_err(), "a name is no path");
    }
}
