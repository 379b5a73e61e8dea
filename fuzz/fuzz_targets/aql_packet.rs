//! Any 64 bytes as a packet: decoding ends in a packet or a reason.

use aqlprobe::aql::DecodedPacket;

pub fn run(bytes: &[u8]) {
    // What is missing is zero.
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let words = std::array::from_fn(|n| u32::from_le_bytes(std::array::from_fn(|offset| byte(4 * n + offset))));
    match DecodedPacket::decode(words) {
        Ok(decoded) => assert!(!format!("{decoded:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
