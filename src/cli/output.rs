//! Where results go: stdout, or a file that appears complete or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, anyhow};
use aqlprobe::report::{Colour, ExitCode, TextStyle};
use clap::ValueEnum;
use tempfile::NamedTempFile;

use super::failure::Failure;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs, by a schema in results/
    Json,
}

/// Where the report goes, opened before the run so that an unwritable place is known before the work is done.
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A temporary file beside the one it will replace.
    Replacing { temporary: NamedTempFile, target: PathBuf },
    /// A device or pipe, which must not be replaced.
    Special { file: File, target: PathBuf },
}

impl Destination {
    /// Opens the destination; `None` is stdout.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        Self::open_file(path).map_err(|error| {
            Failure::new(error, ExitCode::Usage).hint("name a file in a directory that exists and that you may write to")
        })
    }

    fn open_file(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        // Through a symbolic link, so that the link stays and what it points to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&target) {
            Ok(found) if found.is_dir() => return Err(anyhow!("it is a directory").context(cannot())),
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).with_context(cannot)?;
                return Ok(Self::Special { file, target });
            }
            _ => {}
        }
        if target.file_name().is_none() {
            return Err(anyhow!("it names no file").context(cannot()));
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".aqlprobe-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .with_context(cannot)?;
        Ok(Self::Replacing { temporary, target })
    }

    /// How text that goes here is to be dressed.
    pub fn style(&self) -> TextStyle {
        if matches!(self, Self::Stdout) { terminal_style() } else { TextStyle::PLAIN }
    }

    /// Writes a result. One that goes to a file leaves its verdict on stderr.
    ///
    /// # Errors
    /// When it cannot be written whole. That a reader of stdout has gone away is no error.
    pub fn write_bytes(self, bytes: &[u8], verdict: &str) -> Result<(), Failure> {
        if let Some(target) = self.put(bytes)? {
            let _ = writeln!(io::stderr().lock(), "{verdict}\nreport: {}", target.display());
        }
        Ok(())
    }

    /// Writes a result and says to which file, if it was one.
    ///
    /// # Errors
    /// As [`Destination::write_bytes`].
    pub fn put(self, bytes: &[u8]) -> Result<Option<PathBuf>, Failure> {
        let target = match self {
            Self::Stdout => return print(bytes).map(|()| None),
            Self::Special { mut file, target } => file.write_all(bytes).map(|()| target.clone()).with_context(|| cannot(&target)),
            Self::Replacing { mut temporary, target } => temporary
                .write_all(bytes)
                .and_then(|()| temporary.as_file().sync_all())
                .and_then(|()| temporary.persist(&target).map(drop).map_err(|error| error.error))
                .map(|()| target.clone())
                .with_context(|| cannot(&target)),
        }
        .map_err(unwritten)?;
        Ok(Some(target))
    }
}

/// A result that was lost on its way, with what to do about it where the kernel's reason says so.
pub fn unwritten(error: anyhow::Error) -> Failure {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let hint = match kind {
        Some(io::ErrorKind::StorageFull) => "free space there (`df -h`, `df -i`), or name a place that has some",
        Some(io::ErrorKind::QuotaExceeded) => "your quota there is used up (`quota`): remove files, or name another place",
        Some(io::ErrorKind::FileTooLarge) => "a limit on the size of files is in the way (`ulimit -f`)",
        Some(io::ErrorKind::ReadOnlyFilesystem) => "name a place on a file system that is mounted for writing",
        _ => return Failure::new(error, ExitCode::CheckFailed),
    };
    Failure::new(error, ExitCode::CheckFailed).hint(hint)
}

/// Where a path leads, however it is spelled: two reports for one file would leave one. `None` for a device or pipe, which takes several.
pub fn place(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => None,
        Ok(_) => Some(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
            Some(path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
        }
    }
}

/// Refuses to write a result over one of the files that it is made of.
///
/// # Errors
/// `output` leads to one of `inputs` that is there.
pub fn spare_inputs<'a>(output: Option<&Path>, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    let Some(target) = output.and_then(place) else { return Ok(()) };
    match inputs.into_iter().find(|input| input.is_file() && place(input).as_ref() == Some(&target)) {
        None => Ok(()),
        Some(input) => {
            let error = anyhow!("the result would replace {}, which it is made of", input.display());
            Err(Failure::new(error, ExitCode::Usage).hint("name another file to write to"))
        }
    }
}

/// What is wrong with a place that cannot be written.
pub fn cannot(target: &Path) -> String {
    format!("cannot write {}", target.display())
}

/// Writes to stdout at once. A reader that has gone away, as in `| head`, is no error.
///
/// # Errors
/// Any other failure to write.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(unwritten(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(()),
    }
}

/// Colour as the terminal and `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` want it; width where there is a terminal.
fn terminal_style() -> TextStyle {
    let stdout = io::stdout();
    let colour = match AutoStream::choice(&stdout) {
        ColorChoice::Never => Colour::Never,
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Colour::Always,
    };
    let size = if stdout.is_terminal() { rustix::termios::tcgetwinsize(&stdout).ok() } else { None };
    TextStyle { colour, width: size.map(|size| size.ws_col).filter(|columns| *columns > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_to_and_never_replaced() {
        assert!(matches!(Destination::open_file(Path::new("/dev/null")).unwrap(), Destination::Special { .. }));
    }

    #[test]
    fn a_file_is_left_alone_until_the_report_is_whole_and_a_link_to_it_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("report"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let Destination::Replacing { temporary, target } = Destination::open_file(&link).unwrap() else {
            panic!("a regular file is replaced")
        };
        assert_eq!(target, fs::canonicalize(&file).unwrap());
        assert_eq!(temporary.path().parent(), target.parent(), "a rename must not cross file systems");
        drop(temporary);
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_place_is_the_same_however_it_is_spelled_and_a_device_takes_several_reports() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(place(&at("new")), place(&at("./new")));
        assert_ne!(place(&at("new")), place(&at("other")));
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("folder")).unwrap();
        assert_eq!(place(&at("link")), place(&at("file")));
        assert_eq!(place(&at("folder/new")), place(&at("new")));
        assert_eq!(place(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_directory_and_a_missing_directory_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Destination::open_file(path).err().unwrap().to_string();
        assert!(refused(folder.path()).starts_with("cannot write "));
        assert!(refused(&folder.path().join("missing/report")).starts_with("cannot write "));
    }
}
