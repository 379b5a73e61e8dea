//! `aqlprobe endpoint` as its users meet it: the socket, its client, and the ways to end it.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with tests that need other parts of it")]
mod program;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use predicates::prelude::*;
use predicates::str::contains;
use program::{PATIENCE, Place, Running};
use rustix::process::Signal;

fn start(place: &Place, more: &[&str]) -> Running {
    let socket = place.path("vu.sock");
    let mut arguments = vec!["endpoint", "--socket", socket.to_str().unwrap()];
    arguments.extend(more);
    place.start(&arguments)
}

fn connect(socket: &Path) -> UnixStream {
    let started = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads config space with a REGION_READ (9) of region 7.
fn config(stream: &mut UnixStream, offset: u64, bytes: u32) -> Vec<u8> {
    let mut message = [1_u16, 9].iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    message.extend([32_u32, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    message.extend(offset.to_le_bytes());
    message.extend([7, bytes].iter().flat_map(|word| word.to_le_bytes()));
    stream.write_all(&message).unwrap();
    let mut answer = vec![0; 32 + bytes as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(32)
}

#[test]
fn a_client_finds_the_founding_device() {
    let place = Place::new();
    let running = start(&place, &["--once"]);
    let mut client = connect(&place.path("vu.sock"));
    assert_eq!(config(&mut client, 0, 4), [0x02, 0x10, 0x00, 0x73]);
    assert_eq!(config(&mut client, 0x7c, 4), 0x0070_0190_u32.to_le_bytes());
    drop(client);
    assert_eq!(running.end().code(), Some(0), "--once ends when the client leaves");
    assert!(!place.path("vu.sock").exists());
}

#[test]
fn the_options_show_in_config_space() {
    let place = Place::new();
    let running = start(&place, &["--once", "--requester-enable", "stuck-set", "--endpoint-completer", "off"]);
    let mut client = connect(&place.path("vu.sock"));
    assert_eq!(config(&mut client, 0x7c, 4), 0x0070_0000_u32.to_le_bytes());
    assert_eq!(config(&mut client, 0x80, 2), 0x40_u16.to_le_bytes());
    drop(client);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn clients_come_one_after_the_other_until_sigterm() {
    let place = Place::new();
    let running = start(&place, &[]);
    for _ in 0..2 {
        let mut client = connect(&place.path("vu.sock"));
        assert_eq!(config(&mut client, 0, 2), [0x02, 0x10]);
    }
    let mut last = connect(&place.path("vu.sock"));
    config(&mut last, 0, 2);
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(0));
    assert!(!place.path("vu.sock").exists());
    assert!(fs::read_to_string(place.path("stderr")).unwrap().contains("the client has left"));
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let place = Place::new();
    let socket = place.path("vu.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let running = start(&place, &[]);
    drop(connect(&socket));
    place.program(&["endpoint", "--socket", socket.to_str().unwrap()]).assert().code(2).stderr(contains("another server listens"));
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(0));
    fs::write(&socket, "mine").unwrap();
    place.program(&["endpoint", "--socket", socket.to_str().unwrap()]).assert().code(2).stderr(contains("is no socket"));
    assert_eq!(fs::read(&socket).unwrap(), b"mine");
}

#[test]
fn help_shows_the_line_that_attaches_it_to_a_guest() {
    let place = Place::new();
    place
        .program(&["endpoint", "--help"])
        .assert()
        .code(0)
        .stdout(contains("vfio-user-pci").and(contains("memory-backend-memfd")).and(contains("--root-port-completers")));
}
