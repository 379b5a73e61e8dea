//! PM4 commands, which AMD's runtime sends inside an AQL vendor packet (ROCr, `amd_gpu_pm4.h` and `AqlQueue::ExecutePM4`).
//!
//! The packet holds one command, a jump to an indirect buffer. The runtime uses it to have the instruction caches invalidated after it
//! has loaded code, so the device forgets what it has decoded. What else a buffer may hold has nothing to do here; a command that
//! would, and that the device does not know, is an error and not passed over.

use crate::model::address::GpuVa;
use crate::model::memory::MapView;
use crate::model::queue_error::QueueError;

use super::fault::Refusal;

const NOP: u8 = 0x10;
const INDIRECT_BUFFER: u8 = 0x3f;
const ACQUIRE_MEM: u8 = 0x58;

/// A NOP of this count is the header alone.
const NOP_HEADER_ONLY: u32 = 0x3fff;

/// Commands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandBuffer {
    at: GpuVa,
    /// At most 2^20 - 1.
    dwords: u32,
}

/// The first dword of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// Type 2: a filler of one dword.
    Filler,
    /// Type 3: an operation with so many dwords behind the header.
    Operation { opcode: u8, body: u32 },
    /// Types 0 and 1, which wrote registers on older devices.
    Other,
}

impl Header {
    const fn of(word: u32) -> Self {
        let (opcode, count) = ((word >> 8) as u8, word >> 16 & 0x3fff);
        match word >> 30 {
            2 => Self::Filler,
            3 if opcode == NOP && count == NOP_HEADER_ONLY => Self::Operation { opcode, body: 0 },
            3 => Self::Operation { opcode, body: count + 1 },
            _ => Self::Other,
        }
    }
}

impl CommandBuffer {
    /// Reads the jump in a vendor packet.
    pub(super) fn of_jump(command: [u32; 4]) -> Result<Self, Refusal> {
        let [header, low, high, size] = command;
        match Header::of(header) {
            Header::Operation { opcode: INDIRECT_BUFFER, body: 3 } => {}
            _ => return refuse(format!("a PM4 packet with header 0x{header:08x}; only a jump to an indirect buffer is known")),
        }
        let at = GpuVa(u64::from(low & !0b11) | u64::from(high & 0xffff) << 32);
        Ok(Self { at, dwords: size & 0xf_ffff })
    }
}

/// Executes a buffer's commands, all of which take effect at once.
pub(super) fn execute(buffer: CommandBuffer, memory: &MapView<'_>) -> Result<(), Refusal> {
    let mut next = 0;
    while next < buffer.dwords {
        let word = memory.load_u32(buffer.at + u64::from(next) * 4)?;
        let place = |what: String| refuse(format!("PM4 buffer at {}, dword {next} (0x{word:08x}): {what}", buffer.at));
        let body = match Header::of(word) {
            Header::Filler => 0,
            Header::Operation { opcode: NOP, body } => body,
            Header::Operation { opcode: ACQUIRE_MEM, body } => {
                memory.invalidate_code();
                body
            }
            Header::Operation { opcode, .. } => return place(format!("unknown opcode 0x{opcode:02x}")),
            Header::Other => return place("no command of type 2 or 3".to_owned()),
        };
        if body >= buffer.dwords - next {
            return place(format!("a command of {} dwords, and the buffer has {} left", body + 1, buffer.dwords - next));
        }
        next += 1 + body;
    }
    Ok(())
}

fn refuse<T>(detail: String) -> Result<T, Refusal> {
    Err(Refusal::new(QueueError::InvalidVendorPacket, detail))
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use proptest::prelude::*;

    use super::*;
    use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};

    const AT: GpuVa = GpuVa(0x2000);
    /// As recorded from ROCr 7.2.4: `INDIRECT_BUFFER` with three dwords behind it.
    const JUMP: u32 = 0xc002_3f00;
    /// `ACQUIRE_MEM` as ROCr sends it to gfx942 (7 dwords) and to gfx11 (8 dwords).
    const ACQUIRE_7: [u32; 7] = [0xc005_5800, 0x2000_0000, 0xffff_ffff, 0xff, 0, 0, 4];
    const ACQUIRE_8: [u32; 8] = [0xc006_5800, 0, 0, 0, 0, 0, 0, 0x380];

    /// Executes the words; says how often code was declared rewritten.
    fn run(words: &[u32], dwords: u32) -> Result<u64, Refusal> {
        let mut words = words.to_vec();
        words.push(0);
        let memory = MemoryMap::new();
        let host = HostPtr::new(NonNull::from(words.as_mut_slice()).cast());
        let length = (words.len() as u64 - 1) * 4;
        if length > 0 {
            // SAFETY: the words outlive the map, which is dropped at the end of this function.
            unsafe { memory.map(Mapping { va: AT, length, host, home: Home::Host, protection: Protection::ReadOnly }) }.unwrap();
        }
        let view = memory.view();
        let before = view.code_generation();
        execute(CommandBuffer { at: AT, dwords }, &view)?;
        Ok(view.code_generation() - before)
    }

    #[test]
    fn the_jump_names_address_and_length_of_the_buffer() {
        let size_with_valid_bit = 7 | 1 << 23;
        assert_eq!(
            CommandBuffer::of_jump([JUMP, 0x0020_3003, 0xffff_0010, size_with_valid_bit]),
            Ok(CommandBuffer { at: GpuVa(0x0010_0020_3000), dwords: 7 })
        );
        for header in [0xc002_5800, 0xc003_3f00, 0x8002_3f00, 0] {
            assert_eq!(CommandBuffer::of_jump([header, 0, 0, 0]).unwrap_err().error, QueueError::InvalidVendorPacket);
        }
    }

    #[test]
    fn an_acquire_drops_decoded_code_and_padding_does_nothing() {
        assert_eq!(run(&ACQUIRE_7, 7), Ok(1));
        assert_eq!(run(&ACQUIRE_8, 8), Ok(1));
        assert_eq!(run(&[0xffff_1000, 0x8000_0000, 0xc001_1000, 1, 2], 5), Ok(0));
        assert_eq!(run(&[], 0), Ok(0));
    }

    #[test]
    fn an_unknown_opcode_is_named() {
        let refusal = run(&[0xc000_3700, 0], 2).unwrap_err();
        assert_eq!(refusal.error, QueueError::InvalidVendorPacket);
        assert!(refusal.detail.contains("0x37"), "{}", refusal.detail);
    }

    #[test]
    fn a_command_that_leaves_its_buffer_and_a_buffer_that_leaves_memory_are_refused() {
        assert_eq!(run(&ACQUIRE_7, 6).unwrap_err().error, QueueError::InvalidVendorPacket);
        assert_eq!(run(&[0x8000_0000; 4], 5).unwrap_err().error, QueueError::MemoryViolation);
    }

    proptest! {
        #[test]
        fn any_words_execute_or_are_refused(words in prop::collection::vec(any::<u32>(), 0..64), dwords in 0_u32..80) {
            if run(&words, dwords).is_ok() {
                prop_assert!(dwords as usize <= words.len());
            }
        }

        #[test]
        fn any_jump_is_read_or_refused(command: [u32; 4]) {
            let _ = CommandBuffer::of_jump(command);
        }
    }
}
