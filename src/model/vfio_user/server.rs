//! Speaks vfio-user for an [`Endpoint`].
//!
//! A message that cannot be understood or obeyed is answered with an error and the next one is read; a stream whose messages cannot be
//! told apart any more ends the client, not the server.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::attached::{DmaAccess, DmaError, DmaMap, Reachability};
use super::endpoint::{Endpoint, EndpointError};
use super::interrupts::{self, KINDS};
use super::message::{DmaFlags, Header, MOST_DATA, MOST_FILES, Request};
use super::region::{REGIONS, Region};
use super::socket::{Arrival, Client, Listener, SocketError};
use crate::model::address::GpuVa;
use crate::model::memory::MapError;

const DEVICE_FLAGS_RESET: u32 = 1;
const DEVICE_FLAGS_PCI: u32 = 1 << 1;
const REGION_READ: u32 = 1;
const REGION_WRITE: u32 = 1 << 1;
const REGION_MMAP: u32 = 1 << 2;
const REGION_CAPS: u32 = 1 << 3;
/// Bytes of `struct vfio_region_info`.
const REGION_INFO_BYTES: u32 = 32;
/// `VFIO_REGION_INFO_CAP_SPARSE_MMAP` of version 1: which parts can be mapped.
const CAP_SPARSE_MMAP: [u16; 2] = [1, 1];
const IRQ_EVENTFD: u32 = 1;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing can listen there.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The listener failed.
    #[error("cannot wait for clients: {0}")]
    Accept(#[source] io::Error),
    /// The endpoint does not start again for the next client.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// How many clients to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// The first one, until it leaves.
    One,
    /// One after the other.
    Any,
}

/// Serves clients on a socket until `stop` becomes readable, or the only client has left.
///
/// # Errors
/// The socket cannot be had, or the endpoint fails. What a client does wrong is told to the log and is no error.
pub fn serve(endpoint: &mut Endpoint, socket: &Path, clients: Clients, stop: BorrowedFd<'_>) -> Result<(), ServerError> {
    let listener = Listener::bind(socket)?;
    endpoint.tell(format_args!("listening on {}", socket.display()));
    while let Some(client) = listener.accept(stop).map_err(ServerError::Accept)? {
        endpoint.tell(format_args!("a client has connected"));
        let ending = Session { endpoint, client }.run(stop);
        match &ending {
            Ok(Ending::Left) => endpoint.tell(format_args!("the client has left")),
            Ok(Ending::Stop) => {}
            Err(error) => endpoint.tell(format_args!("the client's connection ends: {error}")),
        }
        if matches!(ending, Ok(Ending::Stop)) || clients == Clients::One {
            break;
        }
        endpoint.forget_client()?;
    }
    endpoint.tell(format_args!("ending"));
    Ok(())
}

enum Ending {
    Left,
    Stop,
}

/// An answer: what goes behind the header, and a file to send along.
struct Answer {
    body: Vec<u8>,
    region: Option<Region>,
}

impl From<Vec<u8>> for Answer {
    fn from(body: Vec<u8>) -> Self {
        Self { body, region: None }
    }
}

/// Why a request was refused: the number for the client, the words for the log.
struct Refusal {
    errno: Errno,
    why: String,
}

impl Refusal {
    fn new(errno: Errno, why: impl Into<String>) -> Self {
        Self { errno, why: why.into() }
    }
}

impl From<DmaError> for Refusal {
    fn from(error: DmaError) -> Self {
        let errno = match &error {
            DmaError::BadRange { .. } | DmaError::PartOfMap { .. } | DmaError::File { .. } => Errno::INVAL,
            DmaError::Overlap { .. } | DmaError::Device(MapError::Overlap { .. }) => Errno::EXIST,
            DmaError::TooMany { .. } => Errno::NOSPC,
            DmaError::Device(_) => Errno::INVAL,
            DmaError::System { .. } => Errno::NOMEM,
        };
        Self::new(errno, error.to_string())
    }
}

struct Session<'endpoint> {
    endpoint: &'endpoint mut Endpoint,
    client: Client,
}

impl Session<'_> {
    fn run(mut self, stop: BorrowedFd<'_>) -> io::Result<Ending> {
        loop {
            let (bytes, files) = match self.client.next(stop)? {
                Arrival::Header(bytes, files) => (bytes, files),
                Arrival::Left => return Ok(Ending::Left),
                Arrival::Stop => return Ok(Ending::Stop),
            };
            let header = Header::parse(&bytes).map_err(io::Error::other)?;
            let body = self.client.body(header.body_bytes)?;
            let answered = match Request::parse(header.command, &body) {
                Ok(request) => self.obey(request, files),
                Err(error) => Err(Refusal::new(Errno::INVAL, error.to_string())),
            };
            match answered {
                Ok(_) if !header.wants_reply => {}
                Ok(Answer { body, region }) => {
                    let file = region.and_then(|region| self.endpoint.mappable(region));
                    self.client.send(&header.reply(&body), file)?;
                }
                Err(Refusal { errno, why }) => {
                    self.endpoint.tell(format_args!("refused: {why}"));
                    if header.wants_reply {
                        self.client.send(&header.refusal(errno.raw_os_error().unsigned_abs()), None)?;
                    }
                }
            }
        }
    }

    fn obey(&mut self, request: Request<'_>, mut files: Vec<OwnedFd>) -> Result<Answer, Refusal> {
        let outside = |error: super::AccessError| Refusal::new(Errno::INVAL, error.to_string());
        match request {
            Request::Version => Ok(version().into()),
            Request::DmaMap { flags, file_offset, iova, bytes } => {
                if files.len() > 1 {
                    return Err(Refusal::new(Errno::INVAL, "a DMA map with more than one file"));
                }
                self.map(flags, file_offset, GpuVa(iova), bytes, files.pop()).map(Answer::from)
            }
            Request::DmaUnmap { iova, bytes } => {
                self.endpoint.unmap_dma(GpuVa(iova), bytes)?;
                Ok(words([24, 0], &[iova, bytes]).into())
            }
            Request::DmaUnmapAll => {
                self.endpoint.unmap_all_dma();
                Ok(words([24, 2], &[0, 0]).into())
            }
            Request::DeviceInfo => {
                let info = [16, DEVICE_FLAGS_RESET | DEVICE_FLAGS_PCI, REGIONS, KINDS];
                Ok(info.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into())
            }
            Request::RegionInfo { room, region } => self.region_info(room, region),
            Request::InterruptInfo { kind } if kind < KINDS => {
                let count = u32::from(kind == interrupts::MSI);
                let info = [16, count * IRQ_EVENTFD, kind, count];
                Ok(info.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into())
            }
            Request::InterruptInfo { kind } => Err(Refusal::new(Errno::INVAL, format!("there is no interrupt kind {kind}"))),
            Request::SetInterrupts { kind, flags, start, count } => {
                let set = self.endpoint.set_interrupts(kind, flags, start, count, files);
                set.map(|()| Vec::new().into()).map_err(|error| Refusal::new(Errno::INVAL, error.to_string()))
            }
            Request::RegionRead { region, offset, count } => {
                let mut data = vec![0; count as usize];
                self.endpoint.read(known(region)?, offset, &mut data).map_err(outside)?;
                let mut body = access(offset, region, count);
                body.extend(data);
                Ok(body.into())
            }
            Request::RegionWrite { region, offset, data } => {
                self.endpoint.write(known(region)?, offset, data).map_err(outside)?;
                Ok(access(offset, region, data.len() as u32).into())
            }
            Request::Reset => {
                self.endpoint.tell(format_args!("reset"));
                self.endpoint.reset().map_err(|error| Refusal::new(Errno::IO, error.to_string()))?;
                Ok(Vec::new().into())
            }
        }
    }

    fn map(
        &mut self,
        flags: DmaFlags,
        file_offset: u64,
        iova: GpuVa,
        bytes: u64,
        file: Option<OwnedFd>,
    ) -> Result<Vec<u8>, Refusal> {
        // Memory that the device can do nothing with takes its place, as memory without a file does.
        let (access, file) = match flags {
            DmaFlags::ReadOnly => (DmaAccess::ReadOnly, file),
            DmaFlags::ReadWrite => (DmaAccess::ReadWrite, file),
            DmaFlags::Unusable => (DmaAccess::ReadOnly, None),
        };
        let reachability = self.endpoint.map_dma(DmaMap { iova, bytes, file_offset, access }, file)?;
        if reachability == Reachability::WithoutFile {
            self.endpoint.tell(format_args!("{bytes:#x} bytes at {iova} come without a file: the device cannot reach them"));
        }
        Ok(Vec::new())
    }

    fn region_info(&self, room: u32, index: u32) -> Result<Answer, Refusal> {
        if index >= REGIONS {
            return Err(Refusal::new(Errno::INVAL, format!("there is no region {index}")));
        }
        let region = Region::from_index(index);
        let size = region.map_or(0, Region::bytes);
        let flags = if region.is_some() { REGION_READ | REGION_WRITE } else { 0 };
        let Some(mappable) = region.filter(|region| self.endpoint.mappable(*region).is_some()) else {
            return Ok(region_info(REGION_INFO_BYTES, flags, index, 0, size).into());
        };
        let mut capability: Vec<u8> = CAP_SPARSE_MMAP.iter().flat_map(|half| half.to_le_bytes()).collect();
        // No further capability; one area, from the start to the end.
        capability.extend([0_u32, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
        capability.extend([0, size].iter().flat_map(|word| word.to_le_bytes()));
        let whole = REGION_INFO_BYTES + capability.len() as u32;
        let mut body = region_info(whole, flags | REGION_MMAP | REGION_CAPS, index, REGION_INFO_BYTES, size);
        if room < whole {
            // The client asks again with as much room as it is told that it needs.
            return Ok(body.into());
        }
        body.extend(capability);
        Ok(Answer { body, region: Some(mappable) })
    }
}

fn known(region: u32) -> Result<Region, Refusal> {
    Region::from_index(region).ok_or_else(|| Refusal::new(Errno::INVAL, format!("region {region} is empty")))
}

fn version() -> Vec<u8> {
    let capabilities = serde_json::json!({
        "capabilities": { "max_msg_fds": MOST_FILES, "max_data_xfer_size": MOST_DATA, "migration": { "pgsize": 4096 } }
    });
    // Major and minor version.
    let mut body = vec![0; 4];
    body.extend(capabilities.to_string().into_bytes());
    body.push(0);
    body
}

fn words(head: [u32; 2], rest: &[u64]) -> Vec<u8> {
    head.iter().flat_map(|word| word.to_le_bytes()).chain(rest.iter().flat_map(|word| word.to_le_bytes())).collect()
}

fn access(offset: u64, region: u32, count: u32) -> Vec<u8> {
    let mut body = offset.to_le_bytes().to_vec();
    body.extend([region, count].iter().flat_map(|word| word.to_le_bytes()));
    body
}

fn region_info(size_of_info: u32, flags: u32, index: u32, capabilities_at: u32, size: u64) -> Vec<u8> {
    let mut body: Vec<u8> = [size_of_info, flags, index, capabilities_at].iter().flat_map(|word| word.to_le_bytes()).collect();
    body.extend([size, 0].iter().flat_map(|word| word.to_le_bytes()));
    body
}

/// Serves one connection that exists already, for tests.
#[cfg(test)]
pub(super) fn serve_stream(
    endpoint: &mut Endpoint,
    stream: std::os::unix::net::UnixStream,
    stop: &impl std::os::fd::AsFd,
) -> io::Result<()> {
    Session { endpoint, client: Client::new(stream)? }.run(stop.as_fd()).map(|_| ())
}
