//! Any 64 bytes as a packet: decoding ends in a packet or a reason.
#![no_main]

use aqlprobe::aql::DecodedPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: [u8; 64]| {
    let words = std::array::from_fn(|n| u32::from_le_bytes(std::array::from_fn(|byte| bytes[4 * n + byte])));
    match DecodedPacket::decode(words) {
        Ok(decoded) => assert!(!format!("{decoded:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
