//! Reports that are written as things happen, by a thread of their own: a reader that does not read must not hold up a run, which has
//! cases with deadlines and a register to put back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use aqlprobe::report::{EventStream, ExitCode};

use super::failure::Failure;
use super::output;

/// A report of events on its way to stdout or a file.
pub struct LiveReport {
    stream: EventStream<Mailbox>,
    written: Receiver<io::Result<()>>,
    /// `None`: stdout.
    path: Option<PathBuf>,
}

/// How long the end of a report may wait for its reader.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// As long as the reader takes; the user can interrupt.
    Unlimited,
    /// So long.
    Limited(Duration),
}

impl Patience {
    /// For the last word of a run that was refused or interrupted.
    pub const LAST_WORD: Self = Self::Limited(Duration::from_secs(2));
}

/// A place that could be opened, and is still as it was.
pub struct OpenPlace {
    out: LiveOut,
    path: Option<PathBuf>,
}

impl OpenPlace {
    /// Opens stdout (`None`) or a file, which keeps its content for now.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self { out: LiveOut::Stdout, path: None }) };
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path).with_context(|| output::cannot(path));
        let file = opened.map_err(|error| {
            Failure::new(error, ExitCode::Usage).hint("name a file in a directory that exists and that you may write to")
        })?;
        Ok(Self { out: LiveOut::File(file), path: Some(path.to_owned()) })
    }

    /// Empties the place and starts the thread that writes there.
    ///
    /// # Errors
    /// The file cannot be emptied, or there is no thread to be had.
    pub fn begin(self) -> Result<LiveReport, Failure> {
        let Self { mut out, path } = self;
        let place = place_of(path.as_deref());
        out.clear().context(place.clone()).map_err(|error| Failure::new(error, ExitCode::Usage))?;
        let (mailbox, lines) = mpsc::channel::<Vec<u8>>();
        let (told, written) = mpsc::channel();
        let write_all = move || {
            let mut lines = lines.into_iter();
            let result = lines.try_for_each(|line| out.write_all(&line).and_then(|()| out.flush()));
            // Nobody asks where the report was given up.
            let _ = told.send(result);
        };
        let spawned = thread::Builder::new().name("events".to_owned()).spawn(write_all).context(place);
        spawned.map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
        Ok(LiveReport { stream: EventStream::new(Mailbox(mailbox)), written, path })
    }
}

impl LiveReport {
    /// Whether it goes to stdout.
    pub const fn is_on_stdout(&self) -> bool {
        self.path.is_none()
    }

    /// Where events go.
    pub const fn stream(&mut self) -> &mut EventStream<Mailbox> {
        &mut self.stream
    }

    /// Ends the report; returns the file written.
    ///
    /// # Errors
    /// The first failure to write, or that the reader took longer than `patience`.
    pub fn finish(self, patience: Patience) -> Result<Option<PathBuf>, Failure> {
        let Self { stream, written, path } = self;
        // With the stream goes the mailbox, and so the thread comes to its end.
        let result = stream.finish().and_then(|()| match patience {
            Patience::Unlimited => written.recv().unwrap_or_else(|_| Err(ended_early())),
            Patience::Limited(limit) => written.recv_timeout(limit).unwrap_or_else(|error| match error {
                RecvTimeoutError::Timeout => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, format!("its reader has read nothing for {} s", limit.as_secs())))
                }
                RecvTimeoutError::Disconnected => Err(ended_early()),
            }),
        });
        match result.with_context(|| place_of(path.as_deref())) {
            Ok(()) => Ok(path),
            Err(error) => Err(output::unwritten(error)),
        }
    }
}

fn place_of(path: Option<&Path>) -> String {
    path.map_or_else(|| "cannot write to stdout".to_owned(), output::cannot)
}

fn ended_early() -> io::Error {
    io::Error::other("the thread that writes it ended early")
}

/// Takes lines for the thread that writes them. After a failure there they go nowhere; [`LiveReport::finish`] has the reason.
pub struct Mailbox(Sender<Vec<u8>>);

impl Write for Mailbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stdout or a file, written line by line.
enum LiveOut {
    Stdout,
    File(File),
}

impl LiveOut {
    /// Empties a file; a device or pipe has nothing to empty.
    fn clear(&self) -> io::Result<()> {
        match self {
            Self::File(file) if file.metadata()?.is_file() => file.set_len(0),
            Self::File(_) | Self::Stdout => Ok(()),
        }
    }
}

impl Write for LiveOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => match io::stdout().lock().write(bytes) {
                // A reader that has gone away, as in `| head`, is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
                written => written,
            },
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => match io::stdout().lock().flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                flushed => flushed,
            },
            Self::File(file) => file.flush(),
        }
    }
}
