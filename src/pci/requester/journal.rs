//! The file that outlives a killed process and says what its bit was.

use super::{RequesterState, place};
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, process};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const EXTENSION: &str = "journal";
/// Before the extension: a change that is meant to last. It is no leftover of a run.
const KEPT: &str = "kept";
const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    version: u32,
    pub bdf: Bdf,
    /// The file of config space.
    pub config: PathBuf,
    /// Offset of Device Control 2 in it.
    pub register: u16,
    pub original: RequesterState,
    /// Vendor and device ID, so that a card put in since is not taken for this one.
    pub identity: u32,
    pub pid: u32,
    /// When that process started, so that another one with the same id is not taken for it.
    #[serde(default)]
    start_ticks: Option<u64>,
    unix_seconds: u64,
}

/// Whether the process that wrote a journal still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Running,
    Gone,
}

impl Entry {
    pub fn new(bdf: Bdf, config: PathBuf, register: u16, original: RequesterState, identity: u32) -> Self {
        let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let pid = std::process::id();
        let start_ticks = process::start_ticks(pid);
        Self { version: FORMAT_VERSION, bdf, config, register, original, identity, pid, start_ticks, unix_seconds }
    }

    /// The entry of a change that outlives its process. No process has the ID 0, so no later one is taken for the owner.
    pub fn held_by_nobody(self) -> Self {
        Self { pid: 0, start_ticks: None, ..self }
    }

    pub fn owner(&self) -> Owner {
        let same = match (self.start_ticks, process::start_ticks(self.pid)) {
            (Some(then), Some(now)) => then == now,
            // Without both, the id alone has to do.
            _ => true,
        };
        if process::exists(self.pid) && same { Owner::Running } else { Owner::Gone }
    }
}

/// Writes the whole journal or none of it, never over another, and to the disk before it returns.
pub(super) fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    place::make(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, entry)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

pub(super) fn read(path: &Path) -> Result<Entry, String> {
    let text = place::read(path).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match entry.version {
        FORMAT_VERSION => Ok(entry),
        other => Err(format!("its format is version {other}, this program knows version {FORMAT_VERSION}")),
    }
}

/// A journal that is gone already is as good as removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the journal of a device is kept: inside the root, when that is not the machine's own `/sys`; else `/run/aqlprobe` for
/// root; else `aqlprobe` below `$XDG_RUNTIME_DIR`, or a directory of the user's below that for temporary files.
pub fn journal_path(root: &SysfsRoot, bdf: &Bdf) -> PathBuf {
    place::directory(root).join(format!("{bdf}.{EXTENSION}"))
}

/// Where the journal of a change is kept that is meant to last; beside [`journal_path`].
pub fn kept_journal_path(root: &SysfsRoot, bdf: &Bdf) -> PathBuf {
    place::directory(root).join(format!("{bdf}.{KEPT}.{EXTENSION}"))
}

/// The journals that are there, of runs that are at work or were killed, sorted.
pub fn pending_journals(root: &SysfsRoot) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place::directory(root)) else { return Vec::new() };
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION);
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_journal).collect();
    found.sort_unstable();
    found
}
