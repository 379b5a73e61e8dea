//! The Unix socket: one listener, one client at a time, messages with files attached.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::message::{HEADER_BYTES, MOST_FILES};

/// How long a client may take to send the rest of a message, or to take an answer.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);

/// Why nothing can listen on a path.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another server listens there.
    #[error("another server listens on {}; end it or choose another path", .0.display())]
    InUse(PathBuf),
    /// There is something that is no socket.
    #[error("{} exists and is no socket; choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {}: {source}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A listening socket, whose file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens on a path. The file of a server that is gone is replaced.
    pub(super) fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |source| SocketError::System { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(system)?,
                Err(error) => return Err(system(error)),
                Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        let listener = UnixListener::bind(path).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Waits for a client; `None` when `stop` becomes readable first.
    pub(super) fn accept(&self, stop: BorrowedFd<'_>) -> io::Result<Option<Client>> {
        loop {
            if !readable_before(&self.listener, stop)? {
                return Ok(None);
            }
            match self.listener.accept() {
                Ok((stream, _)) => return Client::new(stream).map(Some),
                // The client has gone between the wait and now.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever removed it first has done the same.
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits until `source` is readable (`true`) or `stop` is (`false`).
fn readable_before(source: &impl std::os::fd::AsFd, stop: BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        let mut waiting = [PollFd::new(source, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) if !waiting[1].revents().is_empty() => return Ok(false),
            Ok(_) if !waiting[0].revents().is_empty() => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What comes next from a client.
pub(super) enum Arrival {
    /// A header, and the files that came with it.
    Header([u8; HEADER_BYTES], Vec<OwnedFd>),
    /// The client has closed its end.
    Left,
    /// The server shall end.
    Stop,
}

/// A connection.
pub(super) struct Client(UnixStream);

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(MESSAGE_LIMIT))?;
        stream.set_write_timeout(Some(MESSAGE_LIMIT))?;
        Ok(Self(stream))
    }

    /// Waits for the next message and takes its header.
    pub(super) fn next(&mut self, stop: BorrowedFd<'_>) -> io::Result<Arrival> {
        if !readable_before(&self.0, stop)? {
            return Ok(Arrival::Stop);
        }
        let mut header = [0; HEADER_BYTES];
        let mut files = Vec::new();
        let mut filled = 0;
        while filled < HEADER_BYTES {
            match self.receive(&mut header[filled..], &mut files)? {
                0 if filled == 0 => return Ok(Arrival::Left),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => filled += bytes,
            }
        }
        Ok(Arrival::Header(header, files))
    }

    fn receive(&mut self, room: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(room)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(arrived) = message {
                files.extend(arrived);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || files.len() > MOST_FILES {
            return Err(io::Error::other(format!("a message with more than {MOST_FILES} files")));
        }
        Ok(received.bytes)
    }

    /// Takes the rest of a message.
    pub(super) fn body(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; bytes];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    /// Sends an answer.
    pub(super) fn send(&mut self, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Some(file) = file else { return self.0.write_all(bytes) };
        let files = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("no room for a file"));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.0.write_all(bytes.get(sent..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_server_that_is_gone_is_replaced_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vu.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener of the standard library leaves its file behind");
        let first = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(SocketError::InUse(_))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(matches!(Listener::bind(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"a file");
        assert!(matches!(Listener::bind(&folder.path().join("nowhere/vu.sock")), Err(SocketError::System { .. })));
    }
}
