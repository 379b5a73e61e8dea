//! What the 64 bytes of a packet say (HSA 1.2 §2.9; AMD's vendor packets: hsa_ext_amd.h).
//!
//! The device decodes on its own instead of sharing the producer's types, so that a producer's mistake about the layout
//! cannot cancel out against the same mistake here.

use crate::hsa::sys;
use crate::model::address::GpuVa;
use crate::model::queue_error::QueueError;

use super::barrier::{Comparison, Condition};
use super::fault::Refusal;
use super::pm4::CommandBuffer;

/// Bytes of a packet and of a ring slot.
pub(super) const PACKET_BYTES: u64 = 64;
/// What the device leaves in a slot's header once it has taken the packet.
pub(super) const INVALID_HEADER: u16 = sys::HSA_PACKET_TYPE_INVALID as u16;

/// Vendor packet that jumps to PM4 commands (ROCr, `AqlQueue::ExecutePM4`).
const FORMAT_PM4: u32 = 1;

/// The low half of a packet's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(pub(super) u16);

impl Header {
    pub(super) fn is_published(self) -> bool {
        self.kind() != sys::HSA_PACKET_TYPE_INVALID
    }

    /// Whether the packet may launch only when all packets before it have completed.
    pub(super) fn waits_for_all_before(self) -> bool {
        self.0 & (1 << sys::HSA_PACKET_HEADER_BARRIER) != 0
    }

    fn kind(self) -> u32 {
        u32::from(self.0 & 0xff)
    }
}

/// A packet as copied out of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawPacket(pub(super) [u64; 8]);

/// A decoded and checked packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Dispatch(KernelDispatch),
    Barrier(Condition),
    Commands(CommandBuffer),
}

/// Private memory that a dispatch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrivateSegment {
    pub(super) bytes_per_work_item: u32,
    pub(super) kernel_object: GpuVa,
}

/// The fields of a kernel dispatch packet that the device uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelDispatch {
    pub(super) workgroup: [u16; 3],
    pub(super) grid: [u32; 3],
    pub(super) private_segment_bytes: u32,
    pub(super) group_segment_bytes: u32,
    pub(super) kernel_object: GpuVa,
    pub(super) kernarg: GpuVa,
}

impl RawPacket {
    fn u16_at(&self, byte: usize) -> u16 {
        (self.0[byte / 8] >> (byte % 8 * 8)) as u16
    }

    fn u32_at(&self, byte: usize) -> u32 {
        (self.0[byte / 8] >> (byte % 8 * 8)) as u32
    }

    fn va_at(&self, byte: usize) -> Option<GpuVa> {
        Some(GpuVa(self.0[byte / 8])).filter(|va| !va.is_null())
    }

    /// The completion signal, at the same place in every packet type.
    pub(super) fn completion_signal(&self) -> Option<GpuVa> {
        self.va_at(56)
    }

    /// Whether this is one of the vendor's packets, which runtimes send on their own account.
    pub(super) fn is_vendor_specific(&self) -> bool {
        Header(self.u16_at(0)).kind() == sys::HSA_PACKET_TYPE_VENDOR_SPECIFIC
    }

    /// The kernel descriptor's address, if this is a kernel dispatch.
    pub(super) fn kernel_object(&self) -> Option<GpuVa> {
        (Header(self.u16_at(0)).kind() == sys::HSA_PACKET_TYPE_KERNEL_DISPATCH).then(|| GpuVa(self.0[4]))
    }

    /// What a dispatch needs of private memory, if it is well-formed and needs any: a malformed one is an error whatever it asks for.
    pub(super) fn private_segment(&self) -> Option<PrivateSegment> {
        let Ok(Packet::Dispatch(kernel)) = self.decode() else { return None };
        let KernelDispatch { kernel_object, private_segment_bytes, .. } = kernel;
        (private_segment_bytes != 0).then_some(PrivateSegment { bytes_per_work_item: private_segment_bytes, kernel_object })
    }

    /// Decodes and checks.
    pub(super) fn decode(&self) -> Result<Packet, Refusal> {
        let header = Header(self.u16_at(0));
        match header.kind() {
            sys::HSA_PACKET_TYPE_KERNEL_DISPATCH => self.kernel_dispatch().map(Packet::Dispatch),
            sys::HSA_PACKET_TYPE_BARRIER_AND => Ok(Packet::Barrier(Condition::All(self.dependencies()))),
            sys::HSA_PACKET_TYPE_BARRIER_OR => Ok(Packet::Barrier(Condition::Any(self.dependencies()))),
            sys::HSA_PACKET_TYPE_VENDOR_SPECIFIC => self.vendor(),
            sys::HSA_PACKET_TYPE_AGENT_DISPATCH => {
                Err(Refusal::new(QueueError::InvalidPacket, "an agent dispatch packet on a kernel dispatch queue"))
            }
            kind => Err(Refusal::new(QueueError::InvalidPacket, format!("packet type {kind} (header 0x{:04x})", header.0))),
        }
    }

    fn dependencies(&self) -> [Option<GpuVa>; 5] {
        std::array::from_fn(|index| self.va_at(8 + 8 * index))
    }

    fn vendor(&self) -> Result<Packet, Refusal> {
        let refuse = |detail: String| Err(Refusal::new(QueueError::InvalidVendorPacket, detail));
        match u32::from(self.u16_at(2) & 0xff) {
            FORMAT_PM4 => {
                return CommandBuffer::of_jump([4, 8, 12, 16].map(|byte| self.u32_at(byte))).map(Packet::Commands);
            }
            sys::HSA_AMD_PACKET_TYPE_BARRIER_VALUE => {}
            format => {
                return refuse(format!("vendor packet format {format}; PM4 commands (1) and the barrier value (2) are known"));
            }
        }
        let comparison = match self.u32_at(32) {
            sys::HSA_SIGNAL_CONDITION_EQ => Comparison::Equal,
            sys::HSA_SIGNAL_CONDITION_NE => Comparison::NotEqual,
            sys::HSA_SIGNAL_CONDITION_LT => Comparison::Less,
            sys::HSA_SIGNAL_CONDITION_GTE => Comparison::GreaterOrEqual,
            condition => return refuse(format!("barrier-value packet with condition {condition}")),
        };
        Ok(Packet::Barrier(Condition::Value { signal: self.va_at(8), comparison, value: self.0[2] as i64, mask: self.0[3] as i64 }))
    }

    fn kernel_dispatch(&self) -> Result<KernelDispatch, Refusal> {
        let dimensions = usize::from(self.u16_at(2) & 0b11);
        if dimensions == 0 {
            return Err(Refusal::new(QueueError::InvalidDimensions, "a dispatch of 0 dimensions"));
        }
        // Sizes of dimensions that the dispatch does not have are not looked at: they count as 1.
        let used = |dimension: usize| dimension < dimensions;
        let workgroup: [u16; 3] = std::array::from_fn(|at| if used(at) { self.u16_at(4 + 2 * at) } else { 1 });
        let grid: [u32; 3] = std::array::from_fn(|at| if used(at) { self.u32_at(12 + 4 * at) } else { 1 });
        if workgroup.contains(&0) || grid.contains(&0) {
            let detail = format!("{dimensions} dimensions with grid {grid:?} and workgroup {workgroup:?}");
            return Err(Refusal::new(QueueError::InvalidDimensions, detail));
        }
        let kernel_object = self.va_at(32).ok_or_else(|| Refusal::new(QueueError::InvalidCode, "the kernel object is null"))?;
        Ok(KernelDispatch {
            workgroup,
            grid,
            private_segment_bytes: self.u32_at(24),
            group_segment_bytes: self.u32_at(28),
            kernel_object,
            kernarg: GpuVa(self.0[5]),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The founding vector copy's dispatch: one dimension of 1024 * 1024 work-items in workgroups of 256.
    const FOUNDING: [u64; 8] = [
        0x0001_0100_0001_1502,
        0x0010_0000_0000_0001,
        0x0000_0001_0000_0001,
        0,
        0x7f00_0000_1000,
        0x7f00_0000_2000,
        0,
        0x7f00_0000_3000,
    ];

    fn refusal(words: [u64; 8]) -> QueueError {
        RawPacket(words).decode().unwrap_err().error
    }

    #[test]
    fn the_founding_dispatch_decodes_field_by_field() {
        let packet = RawPacket(FOUNDING);
        let expected = KernelDispatch {
            workgroup: [256, 1, 1],
            grid: [1024 * 1024, 1, 1],
            private_segment_bytes: 0,
            group_segment_bytes: 0,
            kernel_object: GpuVa(0x7f00_0000_1000),
            kernarg: GpuVa(0x7f00_0000_2000),
        };
        assert_eq!(packet.decode(), Ok(Packet::Dispatch(expected)));
        assert_eq!(packet.completion_signal(), Some(GpuVa(0x7f00_0000_3000)));
        assert!(Header(FOUNDING[0] as u16).waits_for_all_before());
    }

    #[test]
    fn only_a_well_formed_dispatch_asks_for_private_memory() {
        let mut words = FOUNDING;
        assert_eq!(RawPacket(words).private_segment(), None);
        // private_segment_size is the low half of the fourth word.
        words[3] = 256;
        let needed = PrivateSegment { bytes_per_work_item: 256, kernel_object: GpuVa(0x7f00_0000_1000) };
        assert_eq!(RawPacket(words).private_segment(), Some(needed));
        words[0] &= !(0b11 << 16);
        assert_eq!(RawPacket(words).private_segment(), None, "no dimensions");
        words = [3, 0, 0, 256, 0, 0, 0, 0];
        assert_eq!(RawPacket(words).private_segment(), None, "a barrier packet");
    }

    #[test]
    fn a_dispatch_has_one_to_three_dimensions_of_at_least_one_work_item() {
        let mut words = FOUNDING;
        words[0] &= !(0b11 << 16);
        assert_eq!(refusal(words), QueueError::InvalidDimensions);
        words = FOUNDING;
        words[1] &= 0xffff_ffff;
        assert_eq!(refusal(words), QueueError::InvalidDimensions);
        words = FOUNDING;
        words[0] &= !(0xffff << 32);
        assert_eq!(refusal(words), QueueError::InvalidDimensions);
        words = FOUNDING;
        words[2] = 0;
        assert!(RawPacket(words).decode().is_ok(), "y and z do not count in one dimension");
        words[0] |= 0b11 << 16;
        assert_eq!(refusal(words), QueueError::InvalidDimensions);
    }

    #[test]
    fn a_dispatch_names_its_segments_and_its_kernel() {
        let mut words = FOUNDING;
        words[3] = 0x0001_0000 << 32 | 24;
        let Ok(Packet::Dispatch(dispatch)) = RawPacket(words).decode() else { panic!("a valid dispatch") };
        assert_eq!((dispatch.private_segment_bytes, dispatch.group_segment_bytes), (24, 0x1_0000));
        words[4] = 0;
        assert_eq!(refusal(words), QueueError::InvalidCode);
    }

    #[test]
    fn the_barrier_value_packet_carries_signal_value_mask_and_condition() {
        let packet = RawPacket([0x0002_0000, 0x1000, (-5i64) as u64, 0xff, 3, 0, 0, 0]);
        let expected =
            Condition::Value { signal: Some(GpuVa(0x1000)), comparison: Comparison::GreaterOrEqual, value: -5, mask: 0xff };
        assert_eq!(packet.decode(), Ok(Packet::Barrier(expected)));
        assert_eq!(refusal([0x0002_0000, 0x1000, 0, 0, 4, 0, 0, 0]), QueueError::InvalidVendorPacket);
        assert_eq!(refusal([0x0001_0000, 0, 0, 0, 0, 0, 0, 0]), QueueError::InvalidVendorPacket);
    }

    #[test]
    fn agent_dispatch_and_unknown_types_are_invalid_packets() {
        for kind in (6..=0xff).chain([4]) {
            assert_eq!(refusal([kind, 0, 0, 0, 0, 0, 0, 0]), QueueError::InvalidPacket);
        }
    }

    proptest! {
        #[test]
        fn any_64_bytes_decode_or_are_refused(words: [u64; 8]) {
            if let Ok(Packet::Dispatch(dispatch)) = RawPacket(words).decode() {
                prop_assert!(dispatch.grid.iter().all(|&size| size > 0));
                prop_assert!(dispatch.workgroup.iter().all(|&size| size > 0));
            }
        }
    }
}
