//! Where journals are kept, and that nobody else can put one there: what a journal says, root writes to config space.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::pci::sysfs::SysfsRoot;

/// Far more than any journal holds.
const MOST_BYTES: u64 = 64 * 1024;
/// Write permission of the group and of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The directory for the journals of a machine: inside the root, when that is not the machine's own `/sys`; else `/run/aqlprobe` for root,
/// `aqlprobe` below `$XDG_RUNTIME_DIR`, or a directory with the user's number below that for temporary files.
pub(super) fn directory(root: &SysfsRoot) -> PathBuf {
    if *root != SysfsRoot::default() {
        return root.path().join("aqlprobe");
    }
    let user = geteuid();
    if user.is_root() {
        return PathBuf::from("/run/aqlprobe");
    }
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_absolute());
    named.map_or_else(
        || std::env::temp_dir().join(format!("aqlprobe-journals-{}", user.as_raw())),
        |directory| directory.join("aqlprobe"),
    )
}

/// Makes the directory, or sees to it that the one that is there is this user's.
///
/// # Errors
/// It cannot be made, or others could put files into it.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() {
        return Err(io::Error::other(format!("{} is no directory", directory.display())));
    }
    trusted(&found).map_err(|reason| io::Error::other(format!("the directory {} {reason}", directory.display())))
}

/// Reads a journal that only this user, or root, can have written. A link is not followed, and a pipe not waited for.
///
/// # Errors
/// It cannot be read, or somebody else could have written it.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    trusted(&found).map_err(io::Error::other)?;
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn trusted(found: &Metadata) -> Result<(), String> {
    let user = geteuid().as_raw();
    match found.uid() {
        owner if owner != user && owner != 0 => Err(format!("belongs to user {owner}, not to user {user}, so it is not believed")),
        _ if found.mode() & WRITABLE_BY_OTHERS != 0 => {
            Err(format!("can be written by others (mode {:04o}), so it is not believed", found.mode() & 0o7777))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_directory_is_this_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("run/aqlprobe");
        make(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        make(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = make(folder.path()).unwrap_err();
        assert!(error.to_string().contains("can be written by others (mode 0777)"), "{error}");
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("aqlprobe");
        symlink("/etc", &link).unwrap();
        assert!(make(&link).unwrap_err().to_string().contains("is no directory"));
    }

    #[test]
    fn a_journal_that_others_can_write_or_that_is_a_link_or_a_pipe_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        fs::write(&file, "text").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&file).unwrap(), "text");
        symlink(&file, &link).unwrap();
        read(&link).unwrap_err();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(read(&pipe).unwrap_err().to_string().contains("no regular file"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("can be written by others"));
    }

    #[test]
    fn a_journal_of_another_user_is_not_believed() {
        // Only root can give a file away; everybody else meets root's file, which is believed.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        match std::os::unix::fs::chown(&file, Some(65534), None) {
            Ok(()) => assert!(read(&file).unwrap_err().to_string().contains("belongs to user 65534")),
            Err(_) => trusted(&fs::metadata("/etc/passwd").unwrap()).unwrap(),
        }
    }
}
