//! The endpoint over a socket, as its client finds it. Message layouts are written out as the protocol's specification has them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::server;
use super::tests::{PATIENCE, Rig, direct};
use crate::pci::tree::Completers;

/// The other end of a served connection.
struct Peer {
    stream: UnixStream,
    stop: Option<UnixStream>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Peer {
    fn connect() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (stop, watched) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let server = std::thread::spawn(move || {
            let mut rig = Rig::without_maps(direct(Completers::Both));
            // A client that is thrown out is what some of the tests want.
            let _ = server::serve_stream(&mut rig.endpoint, theirs, &watched);
        });
        Self { stream: ours, stop: Some(stop), server: Some(server) }
    }

    fn send(&mut self, command: u16, body: &[u8]) {
        let mut message = [7_u16.to_le_bytes(), command.to_le_bytes()].concat();
        message.extend((16 + body.len() as u32).to_le_bytes());
        message.extend([0; 8]);
        message.extend(body);
        self.stream.write_all(&message).unwrap();
    }

    /// The error number, and what is behind the header.
    fn answer(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!((header[0], word(8) & 0xf), (7, 1), "a reply to our message");
        let mut body = vec![0; word(4) as usize - 16];
        self.stream.read_exact(&mut body).unwrap();
        assert_eq!(word(8) & 0x20 != 0, word(12) != 0);
        (word(12), body)
    }

    fn ask(&mut self, command: u16, body: &[u8]) -> (u32, Vec<u8>) {
        self.send(command, body);
        self.answer()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let served = self.server.take().unwrap().join();
        assert!(served.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn region_access(region: u32, offset: u64, count: u32) -> Vec<u8> {
    let mut body = offset.to_le_bytes().to_vec();
    body.extend([region, count].iter().flat_map(|word| word.to_le_bytes()));
    body
}

#[test]
fn a_client_negotiates_looks_and_reads_over_the_socket() {
    let mut peer = Peer::connect();
    let (error, version) = peer.ask(1, b"\0\0\x01\0{\"capabilities\":{}}\0");
    assert_eq!((error, &version[..4], version.last()), (0, &[0; 4][..], Some(&0)));
    let capabilities: serde_json::Value = serde_json::from_slice(&version[4..version.len() - 1]).unwrap();
    assert_eq!(capabilities["capabilities"]["max_data_xfer_size"], 1 << 20);
    let (_, info) = peer.ask(4, &[0; 16]);
    // Size, flags (reset, PCI), regions, interrupt kinds.
    assert_eq!(info, [16, 3, 9, 5].map(u32::to_le_bytes).concat());
    let (_, vendor) = peer.ask(9, &region_access(7, 0, 4));
    assert_eq!(vendor[16..], [0x02, 0x10, 0x00, 0x73]);
    let (_, registers) = peer.ask(5, &[32_u32, 0, 5, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
    assert_eq!(registers[4..8], 3_u32.to_le_bytes(), "registers are read and written, not mapped");
    let (_, memory) = peer.ask(5, &[64_u32, 0, 0, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
    assert_eq!((memory.len(), &memory[4..8]), (64, &0xf_u32.to_le_bytes()[..]));
    assert_eq!(memory[16..24], (64_u64 << 20).to_le_bytes());
}

#[test]
fn what_a_client_asks_wrongly_is_refused_and_the_next_question_is_answered() {
    let mut peer = Peer::connect();
    for (command, body) in [
        (1, b"\x01\0\0\0{}\0".to_vec()),
        (1, Vec::new()),
        (0, vec![0; 40]),
        (14, vec![0; 8]),
        (u16::MAX, vec![0; 100]),
        (2, vec![0; 31]),
        (2, vec![0xff; 32]),
        (3, vec![0xff; 24]),
        (5, [64_u32, 0, 9].map(u32::to_le_bytes).concat()),
        (7, [16_u32, 0, 5, 0].map(u32::to_le_bytes).concat()),
        (8, [20_u32, 0x24, 1, 0, 2].map(u32::to_le_bytes).concat()),
        (9, region_access(7, 0, u32::MAX)),
        (9, region_access(7, u64::MAX, 8)),
        (9, region_access(7, 4090, 8)),
        (9, region_access(1, 0, 4)),
        (9, region_access(0, 64 << 20, 1)),
        (10, region_access(5, 0, 8)),
    ] {
        assert_eq!(peer.ask(command, &body), (22, Vec::new()), "command {command}: {body:?}");
        let (error, magic) = peer.ask(9, &region_access(5, 0, 8));
        assert_eq!((error, &magic[16..]), (0, &b"AQLPROBE"[..]));
    }
}

#[test]
fn a_stream_that_cannot_be_followed_any_more_is_closed() {
    for size in [0_u32, 15, u32::MAX] {
        let mut peer = Peer::connect();
        let mut message = [7_u16.to_le_bytes(), 4_u16.to_le_bytes()].concat();
        message.extend(size.to_le_bytes());
        message.extend([0; 8]);
        peer.stream.write_all(&message).unwrap();
        assert_eq!(peer.stream.read(&mut [0; 16]).unwrap(), 0, "a message of {size} bytes");
    }
}
