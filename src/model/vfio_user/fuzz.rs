//! A door for the fuzz target: the parser of messages.

use super::message::{HEADER_BYTES, Header, MOST_BYTES, Request};

/// Any bytes as a message from a client: the header bounds the body, and nothing that was parsed is longer than what came.
pub fn message(input: &[u8]) {
    let Some((head, body)) = input.split_first_chunk::<HEADER_BYTES>() else { return };
    let Ok(header) = Header::parse(head) else { return };
    assert!(header.body_bytes <= MOST_BYTES);
    if let Ok(Request::RegionWrite { data, .. }) = Request::parse(header.command, body) {
        assert!(data.len() <= body.len());
    }
}
