//! Lines from a process that may write anything: without an end, without a line break, in no encoding.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

/// Gives each line to `take`, cut to `most` bytes, until the stream ends, cannot be read, or nobody wants more. What is cut off is not
/// kept anywhere.
pub fn for_each(stream: impl Read, most: usize, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let (used, ended) = match stream.fill_buf() {
            Ok([]) => {
                if !line.is_empty() {
                    // Whether more is wanted does not matter any longer.
                    let _ = take(&line);
                }
                return;
            }
            Ok(bytes) => {
                let (piece, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(end) => (&bytes[..end], true),
                    None => (bytes, false),
                };
                let room = most.saturating_sub(line.len()).min(piece.len());
                line.extend_from_slice(&piece[..room]);
                (piece.len() + usize::from(ended), ended)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        stream.consume(used);
        if ended {
            if take(&line).is_break() {
                return;
            }
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn whoever_wants_no_more_gets_no_more() {
        let mut seen = 0;
        for_each(&b"1\n2\n3\n"[..], 100, |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!(seen, 1);
    }
}
