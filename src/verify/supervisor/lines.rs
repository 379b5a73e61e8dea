//! Lines from a process that may write anything: without an end, without a line break, in no encoding.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Puts a line together from the pieces in which it comes; what is beyond `most` bytes is not kept anywhere.
#[derive(Debug)]
struct Assembler {
    most: usize,
    bytes: Vec<u8>,
    /// Its break has come: the next byte begins another line.
    whole: bool,
}

impl Assembler {
    fn new(most: usize) -> Self {
        Self { most, bytes: Vec::new(), whole: false }
    }

    /// Takes bytes to the end of the line, or all of them; how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        if self.whole {
            self.bytes.clear();
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        let room = self.most.saturating_sub(self.bytes.len()).min(piece.len());
        self.bytes.extend_from_slice(&piece[..room]);
        self.whole = end.is_some();
        piece.len() + usize::from(self.whole)
    }
}

/// Gives each line to `take`, cut to `most` bytes, until the stream ends, cannot be read, or nobody wants more.
pub fn for_each(stream: impl Read, most: usize, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) {
    let mut stream = BufReader::new(stream);
    let mut line = Assembler::new(most);
    loop {
        let used = match stream.fill_buf() {
            Ok([]) => {
                if !line.whole && !line.bytes.is_empty() {
                    // Whether more is wanted does not matter any longer.
                    let _ = take(&line.bytes);
                }
                return;
            }
            Ok(bytes) => line.take(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        stream.consume(used);
        if line.whole && take(&line.bytes).is_break() {
            return;
        }
    }
}

/// What a pipe has to say for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A line without its break.
    Line(&'a [u8]),
    /// Nothing came in time.
    Nothing,
    /// The pipe is closed, or cannot be read: nothing will come any more.
    End,
}

/// Lines of a pipe, waited for with a deadline and read by whoever asks for them: where nothing is said, the pipe is empty.
#[derive(Debug)]
pub struct PipeLines<R> {
    /// `None` once it has ended.
    stream: Option<BufReader<R>>,
    line: Assembler,
    bytes: u64,
}

impl<R: Read + AsFd> PipeLines<R> {
    /// Lines of at most `most` bytes.
    pub fn new(stream: R, most: usize) -> Self {
        Self { stream: Some(BufReader::new(stream)), line: Assembler::new(most), bytes: 0 }
    }

    /// How many bytes have been read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line, if it is there within `wait`. What comes after the last line break is no line.
    pub fn next(&mut self, wait: Duration) -> Said<'_> {
        let deadline = Instant::now() + wait;
        while let Some(stream) = &mut self.stream {
            let left = deadline.saturating_duration_since(Instant::now());
            if stream.buffer().is_empty() && !readable(stream.get_ref(), left) {
                return Said::Nothing;
            }
            let used = match stream.fill_buf() {
                Ok(bytes) => self.line.take(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            stream.consume(used);
            self.bytes += used as u64;
            if used == 0 {
                self.stream = None;
            } else if self.line.whole {
                return Said::Line(&self.line.bytes);
            }
        }
        Said::End
    }
}

/// Whether a read would not block, within `wait`. A signal may end the wait early; then there was nothing to read.
fn readable(stream: &impl AsFd, wait: Duration) -> bool {
    let limit = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&limit)) {
        Ok(ready) => ready > 0,
        // Where it cannot be asked, the read says why.
        Err(error) => error != Errno::INTR,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &[u8], most: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for_each(text, most, |line| {
            lines.push(line.to_vec());
            ControlFlow::Continue(())
        });
        lines
    }

    #[test]
    fn lines_come_whole_and_the_last_needs_no_break() {
        assert_eq!(read(b"one\n\ntwo", 100), [b"one".to_vec(), Vec::new(), b"two".to_vec()]);
        assert!(read(b"", 100).is_empty());
    }

    #[test]
    fn a_line_that_does_not_end_takes_no_more_room_than_allowed() {
        let endless = std::io::repeat(b'x').take(10_000_000);
        let mut most = 0;
        for_each(endless, 300, |line| {
            most = line.len();
            ControlFlow::Continue(())
        });
        assert_eq!(most, 300);
        assert_eq!(read(b"abcdef\nxy\n", 3), [b"abc".to_vec(), b"xy".to_vec()]);
    }

    #[test]
    fn bytes_of_no_encoding_do_not_end_the_stream() {
        assert_eq!(read(b"\xff\xfe\nnext\n", 100), [b"\xff\xfe".to_vec(), b"next".to_vec()]);
    }

    #[test]
    fn a_pipe_says_what_was_written_before_its_writer_went_and_then_that_it_ended() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = PipeLines::new(reader, 100);
        assert_eq!(lines.next(Duration::ZERO), Said::Nothing);
        writer.write_all(b"one\n\nthr").unwrap();
        assert_eq!(lines.next(Duration::ZERO), Said::Line(b"one"));
        assert_eq!(lines.next(Duration::ZERO), Said::Line(b""));
        assert_eq!(lines.next(Duration::from_millis(1)), Said::Nothing);
        writer.write_all(b"ee\nno line").unwrap();
        drop(writer);
        assert_eq!(lines.next(Duration::ZERO), Said::Line(b"three"));
        assert_eq!(lines.next(Duration::from_secs(60)), Said::End);
        assert_eq!(lines.next(Duration::from_secs(60)), Said::End);
        assert_eq!(lines.bytes(), b"one\n\nthree\nno line".len() as u64);
    }

    #[test]
    fn a_line_of_a_pipe_that_does_not_end_takes_no_more_room_than_allowed() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&[b'x'; 1 << 20]).and_then(|()| writer.write_all(b"\nnext\n")));
        let mut lines = PipeLines::new(reader, 300);
        assert_eq!(lines.next(Duration::from_secs(60)), Said::Line(&[b'x'; 300]));
        assert_eq!(lines.next(Duration::from_secs(60)), Said::Line(b"next"));
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn whoever_wants_no_more_gets_no_more() {
        let mut seen = 0;
        for_each(&b"1\n2\n3\n"[..], 100, |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!(seen, 1);
    }
}
