//! The kernel descriptor and the registers that it asks to be set (LLVM AMDGPUUsage, "Kernel Descriptor" and "Initial Kernel
//! Execution State").
//!
//! ROCr's own kernels still have the header of the code objects before version 3 (`amd_kernel_code_t`, amd_hsa_kernel_code.h) in
//! front of them. What the device needs of it is at the same offsets: entry, both resource words, properties. Where a descriptor
//! has its segment sizes, that header has its version, which ROCr leaves at zero.

use super::Launch;
use crate::model::address::GpuVa;
use crate::model::memory::{Access, MapView, MemoryFault};
use crate::model::target::{Target, WaveSize};

const BYTES: usize = 64;

/// Property bit: the bytes of private memory that a work-item has come in a register, the last of the user registers.
const PRIVATE_SEGMENT_SIZE: u32 = 6;

/// The fields that matter to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelDescriptor {
    pub group_segment_bytes: u32,
    pub private_segment_bytes: u32,
    pub entry: GpuVa,
    resources2: u32,
    properties: u16,
    preload: KernargPreload,
}

/// Kernel arguments that come in user registers (gfx90a and gfx942; LLVM AMDGPUUsage, "Preloaded Kernel Arguments").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KernargPreload {
    /// Words before the first.
    offset: u64,
    /// How many words.
    length: usize,
}

impl KernargPreload {
    const fn parse(target: Target, field: u16) -> Self {
        match target {
            Target::Gfx942 => Self { offset: (field >> 7) as u64, length: (field & 0x7f) as usize },
            Target::Gfx803 | Target::Gfx1100 => Self { offset: 0, length: 0 },
        }
    }

    /// Where code starts that finds its arguments preloaded: behind instructions that load them, for firmware which does not.
    const ENTRY_OFFSET: u64 = 256;

    fn entry(self, entry: GpuVa) -> GpuVa {
        if self.length > 0 { entry + Self::ENTRY_OFFSET } else { entry }
    }
}

impl KernelDescriptor {
    pub fn read(target: Target, at: GpuVa, view: &MapView<'_>) -> Result<Self, MemoryFault> {
        let mut bytes = [0; BYTES];
        view.window(at, BYTES as u64, Access::Read)?.copy_to(&mut bytes);
        Ok(Self::parse(target, at, &bytes))
    }

    fn parse(target: Target, at: GpuVa, bytes: &[u8; BYTES]) -> Self {
        let word = |offset: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[offset + n]));
        let preload = KernargPreload::parse(target, (word(56) >> 16) as u16);
        Self {
            group_segment_bytes: word(0),
            private_segment_bytes: word(4),
            // A signed distance; adding it wraps around.
            entry: preload.entry(at + (u64::from(word(16)) | u64::from(word(20)) << 32)),
            resources2: word(52),
            properties: word(56) as u16,
            preload,
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

    /// Lanes of the kernel's waves: a choice from generation 10 on (`ENABLE_WAVEFRONT_SIZE32`).
    pub const fn wave_size(&self, target: Target) -> WaveSize {
        match target {
            Target::Gfx1100 if self.properties >> 10 & 1 == 1 => WaveSize::Lanes32,
            Target::Gfx803 | Target::Gfx942 | Target::Gfx1100 => WaveSize::Lanes64,
        }
    }

    /// Dimensions of the work-item id that the kernel is told: one to three.
    pub const fn work_item_dimensions(&self) -> usize {
        match self.resources2 >> 11 & 3 {
            0 => 1,
            1 => 2,
            _ => 3,
        }
    }

    /// The user registers, in their fixed order. What describes scratch memory is zero: targets that have it here keep its address
    /// in a register of its own.
    pub fn user_registers(&self, launch: &Launch, view: &MapView<'_>) -> Result<UserRegisters, MemoryFault> {
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
        let first = launch.kernarg + 4 * self.preload.offset;
        for word in 0..self.preload.length.min(registers.values.len() - registers.count) {
            registers.push_half(view.load_u32(first + 4 * word as u64)?);
        }
        if self.properties >> PRIVATE_SEGMENT_SIZE & 1 == 1 {
            registers.push_half(launch.private_segment_bytes.max(self.private_segment_bytes));
        }
        Ok(registers)
    }
}

/// How many work-items the waves of a kernel have. Before generation 10 there is no choice.
///
/// # Errors
/// The descriptor cannot be read.
pub fn wave_size(target: Target, descriptor: GpuVa, view: &MapView<'_>) -> Result<WaveSize, MemoryFault> {
    KernelDescriptor::read(target, descriptor, view).map(|descriptor| descriptor.wave_size(target))
}

/// Initial values of the first scalar registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserRegisters {
    values: [u32; 16],
    count: usize,
}

impl UserRegisters {
    fn push(&mut self, value: u64) {
        self.push_half(value as u32);
        self.push_half((value >> 32) as u32);
    }

    /// What does not fit is lost.
    fn push_half(&mut self, value: u32) {
        if let Some(register) = self.values.get_mut(self.count) {
            *register = value;
            self.count += 1;
        }
    }

    pub fn values(&self) -> &[u32] {
        &self.values[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};

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

    /// The registers of a launch whose kernel arguments are the words 100, 101 and so on.
    fn registers(descriptor: &KernelDescriptor) -> UserRegisters {
        let mut arguments: Vec<u32> = (100..132).collect();
        let memory = MemoryMap::new();
        let host = HostPtr::new(NonNull::new(arguments.as_mut_ptr().cast()).unwrap());
        let protection = Protection::ReadOnly;
        let mapping = Mapping { va: LAUNCH.kernarg, length: 128, host, home: Home::Host, protection };
        // SAFETY: the vector lives, unmoved, until the map is dropped at the end of this function.
        unsafe { memory.map(mapping) }.unwrap();
        descriptor.user_registers(&LAUNCH, &memory.view()).unwrap()
    }

    #[test]
    fn vector_copy_gets_scratch_descriptor_packet_and_kernarg_and_its_workgroup_id_in_s8() {
        let descriptor = KernelDescriptor::parse(Target::Gfx803, GpuVa(0x6c0), &vector_copy());
        assert_eq!(descriptor.entry, GpuVa(0x1700));
        assert_eq!(registers(&descriptor).values(), [0, 0, 0, 0, 2, 1, 6, 5]);
        assert_eq!(descriptor.user_register_count(), 8);
        assert_eq!([0, 1, 2].map(|dimension| descriptor.wants_workgroup_id(dimension)), [true, false, false]);
        assert_eq!(descriptor.work_item_dimensions(), 1);
    }

    #[test]
    fn only_generation_11_lets_a_kernel_choose_its_wave_size() {
        let mut bytes = vector_copy();
        let wave_size = |bytes: [u8; BYTES], target| KernelDescriptor::parse(target, GpuVa(0), &bytes).wave_size(target);
        assert_eq!(wave_size(bytes, Target::Gfx1100), WaveSize::Lanes64);
        bytes[57] = 1 << 2;
        let sizes = Target::ALL.map(|target| wave_size(bytes, target));
        assert_eq!(sizes, [WaveSize::Lanes64, WaveSize::Lanes64, WaveSize::Lanes32]);
    }

    #[test]
    fn user_registers_come_in_the_order_of_their_property_bits() {
        let mut bytes = vector_copy();
        bytes[56] = 0b01_1110;
        let descriptor = KernelDescriptor::parse(Target::Gfx803, GpuVa(0), &bytes);
        assert_eq!(registers(&descriptor).values(), [2, 1, 4, 3, 6, 5, 8, 7]);
    }

    /// What ROCr puts in front of its copy kernels (`GpuAgent::AssembleShader`): an `amd_kernel_code_t` with only the entry offset
    /// (256), the resource words and the kernarg pointer property filled in, and a third resource word at 44 on gfx942.
    #[test]
    fn the_header_of_rocrs_own_kernels_reads_as_a_descriptor_without_segments() {
        for target in [Target::Gfx942, Target::Gfx1100] {
            let mut bytes = [0; BYTES];
            for (offset, value) in [(16, 256_u32), (44, 5), (48, 0x00ac_0081), (52, 0x84), (56, 0x08)] {
                bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            }
            let descriptor = KernelDescriptor::parse(target, GpuVa(0x1000), &bytes);
            assert_eq!((descriptor.group_segment_bytes, descriptor.private_segment_bytes), (0, 0));
            assert_eq!(descriptor.entry, GpuVa(0x1100));
            assert_eq!(registers(&descriptor).values(), [6, 5]);
            assert_eq!([0, 1, 2].map(|dimension| descriptor.wants_workgroup_id(dimension)), [true, false, false]);
        }
    }

    #[test]
    fn more_user_registers_than_there_are_do_no_harm() {
        let mut bytes = vector_copy();
        bytes[56..58].fill(0xff);
        assert_eq!(registers(&KernelDescriptor::parse(Target::Gfx803, GpuVa(0), &bytes)).values().len(), 15);
    }

    /// `.amdhsa_user_sgpr_kernarg_preload_length 3` and `_offset 2` with a kernel argument pointer, as LLVM's assembler writes it.
    #[test]
    fn gfx942_finds_kernel_arguments_in_registers_behind_the_others_and_starts_behind_their_loads() {
        let mut bytes = vector_copy();
        bytes[56..60].copy_from_slice(&[0x08, 0, 0x03, 0x01]);
        let descriptor = KernelDescriptor::parse(Target::Gfx942, GpuVa(0x6c0), &bytes);
        assert_eq!(descriptor.entry, GpuVa(0x1700 + 256));
        assert_eq!(registers(&descriptor).values(), [6, 5, 102, 103, 104]);
        let elsewhere = KernelDescriptor::parse(Target::Gfx1100, GpuVa(0x6c0), &bytes);
        assert_eq!((elsewhere.entry, registers(&elsewhere).values()), (GpuVa(0x1700), &[6, 5][..]));
    }

    #[test]
    fn preloaded_arguments_end_where_the_user_registers_do() {
        let mut bytes = vector_copy();
        bytes[56..60].copy_from_slice(&[0x08, 0, 0x7f, 0]);
        let descriptor = KernelDescriptor::parse(Target::Gfx942, GpuVa(0), &bytes);
        assert_eq!(registers(&descriptor).values()[2..], (100..114).collect::<Vec<_>>());
    }

    #[test]
    fn the_bytes_of_private_memory_come_last() {
        let mut bytes = vector_copy();
        (bytes[4], bytes[56]) = (48, 0b0100_1000);
        let descriptor = KernelDescriptor::parse(Target::Gfx942, GpuVa(0), &bytes);
        assert_eq!(registers(&descriptor).values(), [6, 5, 48]);
    }
}
