//! A directory for the PCI tree of a modelled machine, which goes with the process that made it, even when that is killed.
//!
//! A killed process cannot remove anything. So its directory is locked (flock(2)) for as long as it lives, and whoever makes the
//! next one removes those of the same user that nobody holds any more.

use std::env;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, fchmod, flock, fstat, openat};
use rustix::process::geteuid;
use tempfile::TempDir;

const PREFIX: &str = "aqlprobe-";
/// Mode of a directory once it is locked. The sticky bit, of no other use where nobody else may write, is the mark: a directory without it
/// may have been made just now. It stays whatever of the contents could be removed.
const LOCKED: u32 = STICKY | 0o700;
const STICKY: u32 = 0o1000;

/// The directory.
#[derive(Debug)]
pub struct PrivateTree {
    directory: TempDir,
    /// Holds the lock; `None` where the file system has none, so that the directory is never taken for a leftover.
    _alive: Option<File>,
}

impl PrivateTree {
    /// Makes one in the directory for temporary files (`TMPDIR`), and removes there what killed processes left.
    ///
    /// # Errors
    /// It cannot be made; the error names the place.
    pub fn create() -> io::Result<Self> {
        Self::create_in(&env::temp_dir())
    }

    /// The same in the directory `parent`.
    ///
    /// # Errors
    /// As [`PrivateTree::create`].
    pub fn create_in(parent: &Path) -> io::Result<Self> {
        remove_leftovers(parent);
        let directory = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
        let alive = lock(directory.path());
        if let Some(alive) = &alive {
            fchmod(alive, Mode::from_raw_mode(LOCKED))?;
        }
        Ok(Self { directory, _alive: alive })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The directory, locked, if it is this user's and nobody holds it.
fn lock(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty()).ok()?;
    if fstat(&directory).ok()?.st_uid != geteuid().as_raw() {
        return None;
    }
    flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(File::from(directory))
}

/// What cannot be removed now is left to the next.
fn remove_leftovers(parent: &Path) {
    if !names_stay_put(parent) {
        return;
    }
    let Ok(entries) = fs::read_dir(parent) else { return };
    let named = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for path in named.map(|entry| entry.path()) {
        let Some(directory) = lock(&path) else { continue };
        if fstat(&directory).is_ok_and(|found| found.st_mode & 0o7777 == LOCKED) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Whether nobody else can put another directory under a name between the look at it and its removal.
fn names_stay_put(parent: &Path) -> bool {
    fs::metadata(parent).is_ok_and(|found| {
        let trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
        trusted && (found.mode() & 0o022 == 0 || found.mode() & STICKY != 0)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn left_by_a_killed_process(parent: &Path) -> std::path::PathBuf {
        let tree = PrivateTree::create_in(parent).unwrap();
        fs::write(tree.path().join("config"), "x").unwrap();
        let PrivateTree { directory, _alive } = tree;
        directory.keep()
    }

    fn names(parent: &Path) -> usize {
        fs::read_dir(parent).unwrap().count()
    }

    #[test]
    fn a_tree_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let tree = PrivateTree::create_in(parent.path()).unwrap();
        assert_eq!(fs::metadata(tree.path()).unwrap().mode() & 0o777, 0o700, "nobody else looks in");
        drop(tree);
        assert_eq!(names(parent.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_goes_when_the_next_comes() {
        let parent = tempfile::tempdir().unwrap();
        let left = left_by_a_killed_process(parent.path());
        assert!(left.exists());
        let _next = PrivateTree::create_in(parent.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn the_tree_of_a_living_process_stays() {
        let parent = tempfile::tempdir().unwrap();
        let one = PrivateTree::create_in(parent.path()).unwrap();
        let two = PrivateTree::create_in(parent.path()).unwrap();
        assert!(one.path().exists() && two.path().exists());
    }

    #[test]
    fn a_directory_that_is_not_marked_and_a_link_stay() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(LOCKED)).unwrap();
        fs::create_dir(parent.path().join("aqlprobe-new")).unwrap();
        symlink(elsewhere.path(), parent.path().join("aqlprobe-link")).unwrap();
        drop(PrivateTree::create_in(parent.path()).unwrap());
        assert!(parent.path().join("aqlprobe-new").exists());
        assert!(elsewhere.path().exists() && parent.path().join("aqlprobe-link").exists());
    }

    #[test]
    fn nothing_is_removed_where_others_could_change_the_names() {
        let parent = tempfile::tempdir().unwrap();
        let left = left_by_a_killed_process(parent.path());
        fs::set_permissions(parent.path(), Permissions::from_mode(0o777)).unwrap();
        drop(PrivateTree::create_in(parent.path()).unwrap());
        assert!(left.exists());
        fs::set_permissions(parent.path(), Permissions::from_mode(0o1777)).unwrap();
        drop(PrivateTree::create_in(parent.path()).unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let error = PrivateTree::create_in(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
