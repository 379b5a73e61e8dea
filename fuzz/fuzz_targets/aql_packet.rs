//! Any 64 bytes as a packet: decoding ends in a packet that has every bit of them, or in a reason.

use aqlprobe::aql::{DecodedPacket, Packet};

pub fn run(bytes: &[u8]) {
    // What is missing is zero.
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let words = std::array::from_fn(|n| u32::from_le_bytes(std::array::from_fn(|offset| byte(4 * n + offset))));
    let again = match DecodedPacket::decode(words) {
        Ok((_, DecodedPacket::Invalid)) => return,
        Ok((_, DecodedPacket::KernelDispatch(_, packet))) => packet.to_words(),
        Ok((_, DecodedPacket::BarrierAnd(packet))) => packet.to_words(),
        Ok((_, DecodedPacket::BarrierOr(packet))) => packet.to_words(),
        Ok((_, DecodedPacket::BarrierValue(_, packet))) => packet.to_words(),
        Ok((_, DecodedPacket::AgentDispatch(packet))) => packet.to_words(),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(again, words);
}
