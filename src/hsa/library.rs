//! Finding and opening a runtime library, with a reason for every way it can fail.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader32, FileHeader64};
use object::read::elf::FileHeader;
use object::{Endianness, FileKind};

/// The runtime's soname on every ROCm installation.
pub const DEFAULT_LIBRARY: &str = "libhsa-runtime64.so.1";

/// Where ROCm installs its libraries when the dynamic linker does not know about it.
const ROCM_LIBRARIES: &str = "/opt/rocm/lib";

#[cfg(target_arch = "x86_64")]
const THIS_MACHINE: object::elf::Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const THIS_MACHINE: object::elf::Machine = EM_AARCH64;

/// Why a runtime library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such file, or no such name for the dynamic linker.
    #[error(
        "the HSA runtime {} was not found (searched {searched}); install ROCm (Debian: libhsa-runtime64-1), add its directory to LD_LIBRARY_PATH, or name the file with --runtime PATH",
        library.display()
    )]
    NotFound {
        /// What was asked for.
        library: PathBuf,
        /// Where it was looked for.
        searched: String,
    },
    /// The file cannot be read.
    #[error("the HSA runtime {} cannot be read: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not an ELF shared library, so it cannot be an HSA runtime; name a libhsa-runtime64.so", path.display())]
    NotAnElf {
        /// The file.
        path: PathBuf,
    },
    /// The library is for another processor.
    #[error("{} is built for {found}, this process runs on {}; install the runtime for this machine", path.display(), std::env::consts::ARCH)]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// Its `e_machine`, by name where it has a common one.
        found: String,
    },
    /// The dynamic linker refused.
    #[error("the dynamic linker refuses {}: {message}; check its dependencies with ldd", path.display())]
    Dlopen {
        /// The file or name.
        path: PathBuf,
        /// What `dlerror` said.
        message: String,
    },
    /// It loads, but it is no HSA runtime with AMD's extensions, or an old one.
    #[error("{} lacks the function {symbol}; it is not ROCm's HSA runtime or older than ROCm 3.0", path.display())]
    SymbolMissing {
        /// The file or name.
        path: PathBuf,
        /// The first function missing.
        symbol: &'static str,
    },
}

/// Opens `library` and says under which name it was found.
pub(super) fn open(library: &Path) -> Result<(Library, PathBuf), LoadError> {
    if library.components().count() > 1 {
        check_header(library)?;
        return dlopen(library).map(|opened| (opened, library.to_owned()));
    }
    let installed = Path::new(ROCM_LIBRARIES).join(library);
    match dlopen(library) {
        Ok(opened) => Ok((opened, library.to_owned())),
        Err(_) if installed.exists() => {
            check_header(&installed)?;
            dlopen(&installed).map(|opened| (opened, installed))
        }
        // dlerror has no code for "no such file"; its message names the file itself only then.
        Err(LoadError::Dlopen { path, message }) => {
            Err(if message.starts_with(&format!("{}: cannot open shared object file: No such file", library.display())) {
                LoadError::NotFound { library: path, searched: format!("the dynamic linker's path and {ROCM_LIBRARIES}") }
            } else {
                LoadError::Dlopen { path, message }
            })
        }
        Err(other) => Err(other),
    }
}

fn dlopen(path: &Path) -> Result<Library, LoadError> {
    // SAFETY: runs the constructors of a library that the user chose as runtime, or that the system installed as such.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| LoadError::Dlopen {
        path: path.to_owned(),
        // dlerror's own words are the source; the error itself only says which call failed.
        message: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
    })
}

/// Says what is wrong with the file before the dynamic linker runs any of its code.
fn check_header(path: &Path) -> Result<(), LoadError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => LoadError::NotFound { library: path.to_owned(), searched: "this path only".to_owned() },
        _ => LoadError::Unreadable { path: path.to_owned(), source },
    };
    let mut header = Vec::new();
    File::open(path).and_then(|file| file.take(64).read_to_end(&mut header)).map_err(unreadable)?;
    let machine = match FileKind::parse(header.as_slice()) {
        Ok(FileKind::Elf64) => machine::<FileHeader64<Endianness>>(&header),
        Ok(FileKind::Elf32) => machine::<FileHeader32<Endianness>>(&header),
        _ => None,
    };
    match machine {
        None => Err(LoadError::NotAnElf { path: path.to_owned() }),
        Some((machine, 64)) if machine == THIS_MACHINE => Ok(()),
        Some((machine, bits)) => Err(LoadError::WrongArchitecture { path: path.to_owned(), found: machine_name(machine, bits) }),
    }
}

/// `e_machine` and the class in bits.
fn machine<Elf: FileHeader<Endian = Endianness>>(header: &[u8]) -> Option<(object::elf::Machine, u32)> {
    let elf = Elf::parse(header).ok()?;
    let bits = if elf.is_type_64() { 64 } else { 32 };
    Some((elf.e_machine(elf.endian().ok()?), bits))
}

fn machine_name(machine: object::elf::Machine, bits: u32) -> String {
    use object::elf::{EM_386, EM_AMDGPU, EM_ARM, EM_PPC64, EM_RISCV};
    let name = match machine {
        EM_X86_64 => "x86_64",
        EM_AARCH64 => "aarch64",
        EM_386 => "x86",
        EM_ARM => "arm",
        EM_PPC64 => "powerpc64",
        EM_RISCV => "riscv",
        EM_AMDGPU => "AMD GPUs (a code object, not a runtime)",
        other => return format!("a {bits}-bit machine of ELF number {other:?}"),
    };
    format!("{bits}-bit {name}")
}

#[cfg(test)]
mod tests {
    use super::super::Api;
    use super::*;
    use std::io::Write;

    fn load(path: &Path) -> LoadError {
        Api::load(path).expect_err("this file is no HSA runtime")
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The start of an ELF64 little-endian shared library for `machine`, by the ELF specification.
    fn elf64(machine: u16) -> Vec<u8> {
        let mut header = vec![0_u8; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        header[16] = 3;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[20] = 1;
        header
    }

    #[test]
    fn a_missing_path_is_not_found() {
        let error = load(Path::new("/nonexistent/libhsa-runtime64.so"));
        assert!(matches!(error, LoadError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/libhsa-runtime64.so"), "{error}");
    }

    #[test]
    fn a_missing_name_says_where_it_was_looked_for_and_what_to_install() {
        let error = load(Path::new("libaqlprobe-no-such-runtime.so.7")).to_string();
        assert!(error.contains("/opt/rocm/lib") && error.contains("LD_LIBRARY_PATH"), "{error}");
    }

    #[test]
    fn a_text_file_and_an_empty_file_are_no_elf() {
        for content in [b"root:x:0:0:root:/root:/bin/bash\n".as_slice(), b"", b"\x7fELF"] {
            let error = load(file(content).path());
            assert!(matches!(error, LoadError::NotAnElf { .. }), "{error}");
        }
    }

    #[test]
    fn a_directory_is_unreadable_as_a_library() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(load(directory.path()), LoadError::Unreadable { .. }));
    }

    #[test]
    fn a_library_of_another_machine_is_named() {
        // e_machine: EM_PPC64 21, EM_AMDGPU 224, an unassigned one.
        for (number, name) in [(21, "powerpc64"), (224, "AMD GPUs"), (0xfefe, "ELF number")] {
            let error = load(file(&elf64(number)).path());
            assert!(matches!(error, LoadError::WrongArchitecture { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_truncated_library_of_this_machine_is_the_dynamic_linkers_to_refuse() {
        let error = load(file(&elf64(THIS_MACHINE.0)).path());
        assert!(matches!(error, LoadError::Dlopen { .. }), "{error}");
    }

    #[test]
    fn a_library_without_hsa_functions_names_the_first_missing_one() {
        let error = load(Path::new("libc.so.6"));
        assert!(matches!(error, LoadError::SymbolMissing { symbol: "hsa_init", .. }), "{error}");
    }
}
