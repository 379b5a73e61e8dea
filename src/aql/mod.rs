//! AQL, the Architected Queuing Language: 64-byte packets, their header bits, and the producer side of a user-mode queue.
//!
//! Source: HSA Platform System Architecture Specification 1.2, §2.8 (queues) and §2.9 (packets). The room knows no runtime and
//! no device: what moves an index or rings a doorbell is behind [`QueuePort`], so that loom can check the ring against a model
//! consumer under every interleaving.

pub(crate) mod cache_line;
mod header;
mod packet;
mod reservation;
mod ring;
mod slot;
mod sync;

#[cfg(test)]
#[cfg(loom)]
mod ring_loom;

pub use header::{BarrierBit, Dimensions, FenceScope, Header, HeaderError, PacketType, Setup};
pub use packet::{
    BARRIER_DEPENDENCIES, BarrierAnd, BarrierOr, BarrierValue, DecodedPacket, KernelDispatch, Packet, PacketError, PacketWords,
    RawPacket, VENDOR_FORMAT_BARRIER_VALUE, ValueCondition,
};
pub use reservation::Reservation;
pub use ring::{QueuePort, ReserveError, Ring, SoleProducer};
pub use slot::{PACKET_BYTES, Slot, SlotMemory};
