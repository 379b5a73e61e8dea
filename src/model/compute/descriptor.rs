//! The kernel descriptor and the registers that it asks to be set (LLVM AMDGPUUsage, "Kernel Descriptor" and "Initial Kernel
//! Execution State").

use super::Launch;
use crate::model::address::GpuVa;
use crate::model::memory::{Access, MapView, MemoryFault};

const BYTES: usize = 64;

/// The fields that matter to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelDescriptor {
    pub group_segment_bytes: u32,
    pub private_segment_bytes: u32,
    pub entry: GpuVa,
    resources2: u32,
    properties: u16,
}

impl KernelDescriptor {
    pub fn read(at: GpuVa, view: &MapView<'_>) -> Result<Self, MemoryFault> {
        let mut bytes = [0; BYTES];
        view.window(at, BYTES as u64, Access::Read)?.copy_to(&mut bytes);
        Ok(Self::parse(at, &bytes))
    }

    fn parse(at: GpuVa, bytes: &[u8; BYTES]) -> Self {
        let word = |offset: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[offset + n]));
        Self {
            group_segment_bytes: word(0),
            private_segment_bytes: word(4),
            // A signed distance; adding it wraps around.
            entry: at + (u64::from(word(16)) | u64::from(word(20)) << 32),
            resources2: word(52),
            properties: word(56) as u16,
        }
    }

    /// System registers start after this many, whether or not the properties fill them all.
    pub const fn user_register_count(&self) -> u8 {
        (self.resources2 >> 1 & 0x1f) as u8
    }

    /// Whether the workgroup's position in this dimension goes into a register.
    pub const fn wants_workgroup_id(&self, dimension: usize) -> bool {
        self.resources2 >> (7 + dimension) & 1 == 1
    }

    /// Vector registers that get a work-item id: one to three.
    pub const fn work_item_dimensions(&self) -> usize {
        match self.resources2 >> 11 & 3 {
            0 => 1,
            1 => 2,
            _ => 3,
        }
    }

    /// The user registers, in their fixed order. This device has no scratch: what describes it is zero.
    pub fn user_registers(&self, launch: &Launch) -> UserRegisters {
        let mut registers = UserRegisters::default();
        for (bit, words) in [
            (0, &[0, 0][..]),
            (1, &[launch.dispatch_packet.0]),
            (2, &[launch.queue.0]),
            (3, &[launch.kernarg.0]),
            (4, &[launch.dispatch_id]),
            (5, &[0]),
        ] {
            if self.properties >> bit & 1 == 1 {
                words.iter().for_each(|&value| registers.push(value));
            }
        }
        registers
    }
}

/// Initial values of the first scalar registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserRegisters {
    values: [u32; 16],
    count: usize,
}

impl UserRegisters {
    fn push(&mut self, value: u64) {
        for half in [value as u32, (value >> 32) as u32] {
            if let Some(register) = self.values.get_mut(self.count) {
                *register = half;
                self.count += 1;
            }
        }
    }

    pub fn values(&self) -> &[u32] {
        &self.values[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptor of AMD's gfx803 `vector_copy` as its assembly directives give it: entry +0x1040, rsrc1 0x00ac0100,
    /// rsrc2 0x90, properties 0x000b, kernarg 80 bytes.
    fn vector_copy() -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (offset, value) in [(8, 80_u32), (16, 0x1040), (48, 0x00ac_0100), (52, 0x90), (56, 0x0b)] {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    const LAUNCH: Launch = Launch {
        descriptor: GpuVa(0x6c0),
        dispatch_packet: GpuVa(0x1_0000_0002),
        queue: GpuVa(0x3_0000_0004),
        kernarg: GpuVa(0x5_0000_0006),
        dispatch_id: 0x7_0000_0008,
        grid: [64, 1, 1],
        workgroup: [64, 1, 1],
        group_segment_bytes: 0,
        private_segment_bytes: 0,
        scratch: None,
    };

    #[test]
    fn vector_copy_gets_scratch_descriptor_packet_and_kernarg_and_its_workgroup_id_in_s8() {
        let descriptor = KernelDescriptor::parse(GpuVa(0x6c0), &vector_copy());
        assert_eq!(descriptor.entry, GpuVa(0x1700));
        assert_eq!(descriptor.user_registers(&LAUNCH).values(), [0, 0, 0, 0, 2, 1, 6, 5]);
        assert_eq!(descriptor.user_register_count(), 8);
        assert_eq!([0, 1, 2].map(|dimension| descriptor.wants_workgroup_id(dimension)), [true, false, false]);
        assert_eq!(descriptor.work_item_dimensions(), 1);
    }

    #[test]
    fn user_registers_come_in_the_order_of_their_property_bits() {
        let mut bytes = vector_copy();
        bytes[56] = 0b01_1110;
        let descriptor = KernelDescriptor::parse(GpuVa(0), &bytes);
        assert_eq!(descriptor.user_registers(&LAUNCH).values(), [2, 1, 4, 3, 6, 5, 8, 7]);
    }

    #[test]
    fn more_user_registers_than_there_are_do_no_harm() {
        let mut bytes = vector_copy();
        bytes[56..58].fill(0xff);
        assert_eq!(KernelDescriptor::parse(GpuVa(0), &bytes).user_registers(&LAUNCH).values().len(), 14);
    }
}
