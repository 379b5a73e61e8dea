//! A reader of stdout that is there and does not read: the run goes on, its files are written, and it can be interrupted.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with tests that need other parts of it")]
mod program;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use program::{Place, Running, eventually, is_alive};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

/// A pipe that takes nothing more until it is read.
struct FullPipe {
    end: File,
    filling: usize,
}

impl FullPipe {
    fn new(place: &Place) -> Self {
        let path = place.path("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut end = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(path).unwrap();
        let mut filling = 0;
        for chunk in [4096, 1] {
            while end.write(&vec![b'.'; chunk]).is_ok_and(|written| {
                filling += written;
                true
            }) {}
        }
        Self { end, filling }
    }

    /// The program with this pipe as its stdout.
    fn start(&self, place: &Place, arguments: &[&str]) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" >\"$0\"", place.path("pipe").to_str().unwrap(), env!("CARGO_BIN_EXE_aqlprobe")]);
        command.args(arguments);
        place.start_command(command)
    }

    /// What there is to read now, but for the filling.
    fn read(&mut self, into: &mut Vec<u8>) {
        let mut chunk = [0; 4096];
        loop {
            match self.end.read(&mut chunk) {
                Ok(read) => {
                    let filling = read.min(self.filling);
                    self.filling -= filling;
                    into.extend(&chunk[filling..read]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lspci/02-fiji-after.txt");

#[test]
fn does_not_keep_an_interrupt_from_putting_the_bit_back() {
    let place = Place::new();
    let pipe = FullPipe::new(&place);
    let switched_off = ["verify", "--runtime", "embedded", "--replay", DUMP, "--atomics", "off", "--format", "ndjson"];
    let running = pipe.start(&place, &switched_off);
    let mut config = place.config_space();
    eventually("the switched bit", || (!config.requester_enabled()).then_some(()));
    let worker = running.worker();
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), Some(1), "{}", place.stderr());
    assert!(place.stderr().contains("interrupted by SIGINT; AtomicOps were put back"), "{}", place.stderr());
    assert!(config.requester_enabled(), "as it was found");
    assert!(!is_alive(worker));
}

#[test]
fn does_not_keep_a_report_from_its_file_and_can_be_given_up_at_the_end() {
    for on_stdout in ["ndjson=-", "json=-"] {
        let place = Place::new();
        let pipe = FullPipe::new(&place);
        let report = place.path("report.txt");
        let running = pipe.start(
            &place,
            &["verify", "--runtime", "embedded", "--case", "nop", "-o", report.to_str().unwrap(), "--report", on_stdout],
        );
        eventually("the report in the file", || fs::read_to_string(&report).ok().filter(|text| text.contains("PASS")));
        running.signal(Signal::INT);
        let status = running.end();
        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{on_stdout}: {status}: {}", place.stderr());
        let left: Vec<_> = fs::read_dir(place.path("")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("aqlprobe-")), "{left:?}");
    }
}

#[test]
fn that_reads_at_last_gets_every_line() {
    let place = Place::new();
    let mut pipe = FullPipe::new(&place);
    let report = place.path("report.txt");
    let running = pipe.start(
        &place,
        &["verify", "--runtime", "embedded", "--case", "nop", "-o", report.to_str().unwrap(), "--report", "ndjson=-"],
    );
    eventually("the report in the file", || report.exists().then_some(()));
    let mut read = Vec::new();
    eventually("the last line", || {
        pipe.read(&mut read);
        String::from_utf8_lossy(&read).contains(r#""event":"verdict""#).then_some(())
    });
    assert_eq!(running.end().code(), Some(0), "{}", place.stderr());
    pipe.read(&mut read);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(read).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let run = ["run-started", "case-started", "case-finished"];
    assert_eq!(events, [&["started", "planned"][..], &run, &run, &["verdict"]].concat());
}
