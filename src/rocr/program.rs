//! Somebody else's program on the software GPU.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::inotify;
use signal_hook::consts::{SIGINT, SIGQUIT};
use tempfile::TempDir;

use crate::hsa::INTERRUPT_VARIABLE;
use crate::pci::sysfs::SysfsRoot;
use crate::pci::tree::{FABRIC_COUNTERS_FILE, FABRIC_COUNTERS_SIZE};

use super::library::{LibraryError, model_library};
use super::machine::{MachineError, ModelMachine, ModelTarget, RequesterAtStart};
use super::sysroot::{Surroundings, SysrootError};

/// A program to run on the software GPU.
#[derive(Clone, Debug)]
pub struct ProgramRun {
    /// The C library it runs on.
    pub surroundings: Surroundings,
    /// What the GPU is.
    pub target: ModelTarget,
    /// Whether it may send AtomicOps.
    pub requester: RequesterAtStart,
    /// Where the machine's files are left for inspection; `None`: in a directory that goes away.
    pub keep: Option<PathBuf>,
    /// The program and its arguments.
    pub program: OsString,
    /// See `program`.
    pub arguments: Vec<OsString>,
}

/// Why the program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The software GPU is not there.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The sysroot or the program is not there.
    #[error(transparent)]
    Sysroot(#[from] SysrootError),
    /// The machine cannot be laid out.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A directory.
    #[error("no directory for the modelled machine at {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A directory to keep that is in use.
    #[error("{} is not empty; the modelled machine needs a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    /// The program does not start.
    #[error("cannot start {}: {source}", Path::new(program).display())]
    Start {
        /// The program.
        program: OsString,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit status a shell would see: the program's own, or 128 and the number of the signal that ended it.
    pub status: u8,
    /// What the modelled path did with the GPU's AtomicOps, in the order of [`FABRIC_COUNTERS_FILE`].
    pub atomics: Option<[u64; FABRIC_COUNTERS_SIZE / 8]>,
    /// Whether anything read the modelled topology.
    pub opened: Opened,
}

/// Whether the runtime found the modelled machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It read its topology.
    Yes,
    /// Nobody did: the program does not use ROCr, or one without model mode.
    Never,
    /// The system does not let us watch.
    Unknown,
}

/// Runs the program to its end, with this process's standard streams.
///
/// # Errors
/// [`ProgramError`].
pub fn run(request: &ProgramRun) -> Result<Ran, ProgramError> {
    let model = model_library()?;
    let directory = Directory::open(request.keep.as_deref())?;
    let machine = ModelMachine::prepare(directory.path(), request.target, request.requester)?;
    let mut command = request.surroundings.command(&request.program, Some(&model))?;
    command.args(&request.arguments).envs(machine.environment(&model));
    if std::env::var_os(INTERRUPT_VARIABLE).is_none() {
        command.env(INTERRUPT_VARIABLE, "0");
    }
    // An interrupt from the terminal reaches the program too, and is the program's to answer.
    let ignored = Arc::new(AtomicBool::new(false));
    let caught: Vec<_> =
        [SIGINT, SIGQUIT].iter().filter_map(|signal| signal_hook::flag::register(*signal, ignored.clone()).ok()).collect();
    let watch = Watch::on(&machine.topology.join("nodes/1/properties"));
    let ended = command.spawn().and_then(|mut child| child.wait());
    caught.into_iter().for_each(|id| {
        signal_hook::low_level::unregister(id);
    });
    let status = ended.map_err(|source| ProgramError::Start { program: request.program.clone(), source })?;
    let counters = SysfsRoot::new(&machine.sysfs_root).device_dir(&machine.endpoint).join(FABRIC_COUNTERS_FILE);
    Ok(Ran { status: shell_status(status), atomics: read_counters(&counters), opened: watch.opened() })
}

enum Directory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Directory {
    fn open(keep: Option<&Path>) -> Result<Self, ProgramError> {
        let Some(path) = keep else {
            return TempDir::with_prefix("aqlprobe-")
                .map(Self::Temporary)
                .map_err(|source| ProgramError::Directory { path: std::env::temp_dir(), source });
        };
        let failed = |source| ProgramError::Directory { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        match fs::read_dir(&path).map_err(failed)?.next() {
            None => Ok(Self::Kept(path)),
            Some(_) => Err(ProgramError::NotEmpty(path)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn read_counters(file: &Path) -> Option<[u64; FABRIC_COUNTERS_SIZE / 8]> {
    let bytes = fs::read(file).ok()?;
    let mut counters = [0; FABRIC_COUNTERS_SIZE / 8];
    for (counter, word) in counters.iter_mut().zip(bytes.get(..FABRIC_COUNTERS_SIZE)?.as_chunks::<8>().0) {
        *counter = u64::from_le_bytes(*word);
    }
    Some(counters)
}

/// Notices whether a file is opened, by any process.
struct Watch(Option<rustix::fd::OwnedFd>);

impl Watch {
    fn on(file: &Path) -> Self {
        let watch = || {
            let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).ok()?;
            inotify::add_watch(&inotify, file, inotify::WatchFlags::OPEN).ok()?;
            Some(inotify)
        };
        Self(watch())
    }

    fn opened(&self) -> Opened {
        let Some(inotify) = &self.0 else { return Opened::Unknown };
        let mut event = [0_u8; 512];
        match rustix::io::read(inotify, &mut event) {
            Ok(length) if length > 0 => Opened::Yes,
            _ => Opened::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_what_a_shell_makes_of_it() {
        assert_eq!(shell_status(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(shell_status(ExitStatus::from_raw(libc::SIGABRT)), 134);
        assert_eq!(shell_status(ExitStatus::from_raw(0)), 0);
    }

    #[test]
    fn a_file_that_somebody_opens_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let watch = Watch::on(file.path());
        assert_eq!(watch.opened(), Opened::Never);
        drop(fs::File::open(file.path()).unwrap());
        assert_eq!(watch.opened(), Opened::Yes);
        assert_eq!(Watch::on(Path::new("/nonexistent/file")).opened(), Opened::Unknown);
    }

    #[test]
    fn a_directory_to_keep_must_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Directory::open(Some(&directory.path().join("new/one"))).is_ok());
        assert!(matches!(Directory::open(Some(directory.path())), Err(ProgramError::NotEmpty(_))));
    }

    #[test]
    fn counters_are_seven_little_endian_words_and_a_short_file_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read_counters(file.path()), None);
        let bytes: Vec<u8> = (1..=7_u64).flat_map(u64::to_le_bytes).collect();
        fs::write(file.path(), bytes).unwrap();
        assert_eq!(read_counters(file.path()), Some([1, 2, 3, 4, 5, 6, 7]));
    }
}
