//! Private memory: what each work-item of one wave has for itself, in the scratch memory of its queue.

use super::operand::aperture;
use crate::model::address::GpuVa;
use crate::model::memory::{Access, FaultReason, MapView, MemoryFault};

/// A wave's part of the scratch memory.
///
/// It is interleaved: the first words of all lanes lie together, then the second ones (LLVM AMDGPUUsage, "Private": swizzled with
/// an element of four bytes and an index stride of the wave's size). No other resident wave has the same part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateMemory {
    /// Where the wave's part starts.
    pub base: GpuVa,
    /// Bytes that each lane has, a multiple of four.
    pub bytes_per_lane: u32,
    /// Lanes of the wave.
    pub lanes: u32,
}

impl PrivateMemory {
    /// For kernels that need none: every access faults.
    pub const NONE: Self = Self { base: GpuVa::NULL, bytes_per_lane: 0, lanes: 0 };

    /// Where the bytes at `offset` of one lane lie, all within one word. The fault names the address that a FLAT instruction would
    /// have used for them.
    #[inline(always)]
    pub(crate) fn locate(&self, lane: usize, offset: u32, bytes: u32, access: Access) -> Result<GpuVa, MemoryFault> {
        if u64::from(offset) + u64::from(bytes) > u64::from(self.bytes_per_lane) {
            let va = GpuVa(u64::from(aperture::PRIVATE) << 32 | u64::from(offset));
            return Err(MemoryFault { va, length: u64::from(bytes), access, reason: FaultReason::Unmapped });
        }
        let word = u64::from(offset / 4) * u64::from(self.lanes) + lane as u64;
        Ok(self.base + 4 * word + u64::from(offset % 4))
    }

    /// Reads one, two or four bytes of a lane, aligned or not.
    pub(crate) fn read(&self, memory: &MapView<'_>, lane: usize, offset: u32, bytes: u32) -> Result<u32, MemoryFault> {
        if offset % 4 + bytes > 4 {
            // The bytes lie in two words, which are neighbours only for the lane.
            return (0..bytes).try_fold(0, |value, n| Ok(value | self.read(memory, lane, offset.wrapping_add(n), 1)? << (8 * n)));
        }
        let va = self.locate(lane, offset, bytes, Access::Read)?;
        match bytes {
            1 => memory.load_u8(va).map(u32::from),
            2 => memory.load_u16(va).map(u32::from),
            _ => memory.load_u32(va),
        }
    }

    /// Writes one, two or four bytes of a lane, aligned or not.
    pub(crate) fn write(&self, memory: &MapView<'_>, lane: usize, offset: u32, bytes: u32, value: u32) -> Result<(), MemoryFault> {
        if offset % 4 + bytes > 4 {
            return (0..bytes).try_for_each(|n| self.write(memory, lane, offset.wrapping_add(n), 1, value >> (8 * n)));
        }
        let va = self.locate(lane, offset, bytes, Access::Write)?;
        match bytes {
            1 => memory.store_u8(va, value as u8),
            2 => memory.store_u16(va, value as u16),
            _ => memory.store_u32(va, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_lanes_lie_together_and_bytes_within_their_word() {
        let memory = PrivateMemory { base: GpuVa(0x1000), bytes_per_lane: 16, lanes: 64 };
        let place = |lane, offset, bytes| memory.locate(lane, offset, bytes, Access::Read).map(|va| va.0);
        assert_eq!(place(0, 0, 4), Ok(0x1000));
        assert_eq!(place(1, 0, 4), Ok(0x1004));
        assert_eq!(place(0, 4, 4), Ok(0x1100));
        assert_eq!(place(63, 15, 1), Ok(0x1000 + 3 * 0x100 + 63 * 4 + 3));
    }

    #[test]
    fn behind_a_lanes_bytes_is_nothing() {
        let memory = PrivateMemory { base: GpuVa(0x1000), bytes_per_lane: 16, lanes: 64 };
        for (offset, bytes) in [(16, 1), (15, 2), (13, 4), (u32::MAX, 4)] {
            let fault = memory.locate(0, offset, bytes, Access::Write).unwrap_err();
            assert_eq!((fault.va, fault.access), (GpuVa(0x5000_0000_0000_0000 + u64::from(offset)), Access::Write));
        }
        assert!(PrivateMemory::NONE.locate(0, 0, 1, Access::Read).is_err());
    }
}
