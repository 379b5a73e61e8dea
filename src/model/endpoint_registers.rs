//! The registers of the PCIe endpoint's BAR5, as both sides see them: the device that serves them and the runtime that
//! drives it.
//!
//! BAR5 is a 4 KiB page of little-endian 64-bit registers, read and written with 8-byte accesses; two 4-byte halves are tolerated
//! (the low half of [`Register::Command`] executes it). Registers that are not named here read as zero and ignore writes.
//!
//! A driver creates a queue so: it writes the arguments, then [`Command::CreateQueue`] to [`Register::Command`], and reads
//! [`Register::Status`]; if that says [`Status::Ok`], [`Register::Result`] is the queue's id. A read is not answered before the command
//! written ahead of it has been executed (PCIe 2.4.1: a read pushes posted writes).
//!
//! | BAR | bytes | what |
//! |---|---|---|
//! | 0/1 | [`VRAM_BYTES`] | device memory, 64-bit prefetchable, mappable |
//! | 2/3 | [`DOORBELL_BYTES`] | doorbells, 64-bit prefetchable, mappable: 8 bytes per queue id, the index of the last published packet |
//! | 5 | [`REGISTER_BYTES`] | these registers, 32-bit |

use std::fmt;

/// Bytes of BAR0/1.
pub const VRAM_BYTES: u64 = 64 << 20;
/// Bytes of BAR2/3.
pub const DOORBELL_BYTES: u64 = 4096;
/// Bytes of one doorbell.
pub const DOORBELL_STRIDE: u64 = 8;
/// What a doorbell holds before it is rung.
pub const NEVER_RUNG: u64 = u64::MAX;
/// Bytes of BAR5.
pub const REGISTER_BYTES: u64 = 4096;
/// What [`Register::Magic`] holds: the bytes `AQLPROBE`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"AQLPROBE");
/// What [`Register::Version`] holds: the layout that this module describes.
pub const VERSION: u64 = 1;
/// Fabric counters, in the order of the counters' file ([`crate::pci::tree::FABRIC_COUNTERS_SIZE`]).
pub const FABRIC_COUNTERS: u64 = 7;
/// Bytes of text about the last fault at most.
pub const FAULT_TEXT_BYTES: u64 = FAULT_TEXT_END - FAULT_TEXT;

const FABRIC: u64 = 0x080;
const FABRIC_END: u64 = FABRIC + FABRIC_COUNTERS * 8;
const FAULT_TEXT: u64 = 0x110;
const FAULT_TEXT_END: u64 = 0x300;

/// A register of BAR5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// Read-only: [`MAGIC`].
    Magic,
    /// Read-only: [`VERSION`].
    Version,
    /// Read-only: what the shader cores are, as KFD's `gfx_target_version` (80003 is gfx803).
    Target,
    /// Read-only: queues that can exist at once; ids are below it.
    QueueLimit,
    /// Read-only: the device clock that signal timestamps are in, nanoseconds.
    Clock,
    /// Read-only: a [`Status`], of the last command or the last write to [`Self::VramBase`].
    Status,
    /// Write-only: a [`Command`], executed at once.
    Command,
    /// Address of the `amd_queue_t` for [`Command::CreateQueue`], the queue's id for [`Command::DestroyQueue`].
    Argument0,
    /// Address of the ring.
    Argument1,
    /// Packets in the ring, a power of two.
    Argument2,
    /// Read-only: the id of the queue that was created last.
    Result,
    /// The device address at which the device finds its memory (BAR0), a multiple of 4096; 0 while it is nowhere. It may not meet
    /// an address that the IOMMU maps.
    VramBase,
    /// Read-only: [`VRAM_BYTES`].
    VramBytes,
    /// Read-only: the fabric counter of this number, below [`FABRIC_COUNTERS`], since the device was reset.
    Fabric(u8),
    /// Read-only: queues that stopped with an error since the device was reset.
    FaultCount,
    /// Read-only: bytes of the text about the last of them.
    FaultLength,
    /// Read-only: eight bytes of that text (UTF-8); the number is the offset of the first, a multiple of 8 below
    /// [`FAULT_TEXT_BYTES`].
    FaultText(u16),
    /// Read-only: interrupts since the device was reset, whether or not anybody asked for them.
    InterruptCount,
}

impl Register {
    /// Byte offset in BAR5, a multiple of 8.
    #[must_use]
    pub const fn offset(self) -> u64 {
        match self {
            Self::Magic => 0x000,
            Self::Version => 0x008,
            Self::Target => 0x010,
            Self::QueueLimit => 0x018,
            Self::Clock => 0x020,
            Self::Status => 0x028,
            Self::Command => 0x030,
            Self::Argument0 => 0x038,
            Self::Argument1 => 0x040,
            Self::Argument2 => 0x048,
            Self::Result => 0x050,
            Self::VramBase => 0x058,
            Self::VramBytes => 0x060,
            Self::Fabric(index) => FABRIC + index as u64 * 8,
            Self::FaultCount => 0x100,
            Self::FaultLength => 0x108,
            Self::FaultText(at) => FAULT_TEXT + at as u64,
            Self::InterruptCount => 0x300,
        }
    }

    /// The register at a byte offset, a multiple of 8; `None` where there is none.
    #[must_use]
    pub fn at(offset: u64) -> Option<Self> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        Some(match offset {
            0x000 => Self::Magic,
            0x008 => Self::Version,
            0x010 => Self::Target,
            0x018 => Self::QueueLimit,
            0x020 => Self::Clock,
            0x028 => Self::Status,
            0x030 => Self::Command,
            0x038 => Self::Argument0,
            0x040 => Self::Argument1,
            0x048 => Self::Argument2,
            0x050 => Self::Result,
            0x058 => Self::VramBase,
            0x060 => Self::VramBytes,
            FABRIC..FABRIC_END => Self::Fabric(((offset - FABRIC) / 8) as u8),
            0x100 => Self::FaultCount,
            0x108 => Self::FaultLength,
            FAULT_TEXT..FAULT_TEXT_END => Self::FaultText((offset - FAULT_TEXT) as u16),
            0x300 => Self::InterruptCount,
            _ => return None,
        })
    }
}

/// What can be written to [`Register::Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Command {
    /// Starts processing a queue at the read index that its `amd_queue_t` holds. Its doorbell is set to [`NEVER_RUNG`].
    CreateQueue = 1,
    /// Stops a queue: when the status is there, its memory is no longer touched.
    DestroyQueue = 2,
    /// Forgets decoded code: to be written after code has been placed or changed. Creating a queue does the same.
    InvalidateCode = 3,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 3] = [Self::CreateQueue, Self::DestroyQueue, Self::InvalidateCode];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The command of this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.number() == number)
    }
}

/// What [`Register::Status`] says of the last command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Status {
    /// It was done.
    #[default]
    Ok = 0,
    /// There is no command of that number.
    UnknownCommand = 1,
    /// The ring's length is zero, no power of two, or above 2^31 packets.
    RingLength = 2,
    /// The ring is not aligned to its packets, 64 bytes.
    RingAlignment = 3,
    /// The ring or the `amd_queue_t` is not mapped for the device, or not aligned.
    QueueMemory = 4,
    /// Every queue is in use.
    TooManyQueues = 5,
    /// There is no queue with that id.
    NoSuchQueue = 6,
    /// Bus Master Enable is clear, and the command needs a request to memory.
    BusMasterDisabled = 7,
    /// The device's memory cannot be at that address: not a multiple of 4096, beyond 48 bits, or in the way of a mapping.
    VramAddress = 8,
    /// The device itself failed.
    DeviceFailed = 9,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::UnknownCommand,
        Self::RingLength,
        Self::RingAlignment,
        Self::QueueMemory,
        Self::TooManyQueues,
        Self::NoSuchQueue,
        Self::BusMasterDisabled,
        Self::VramAddress,
        Self::DeviceFailed,
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The status of this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ok => "done",
            Self::UnknownCommand => "unknown command",
            Self::RingLength => "the ring's length is no power of two",
            Self::RingAlignment => "the ring is not aligned to 64 bytes",
            Self::QueueMemory => "the queue's memory is not mapped for the device",
            Self::TooManyQueues => "every queue is in use",
            Self::NoSuchQueue => "there is no such queue",
            Self::BusMasterDisabled => "Bus Master Enable is clear",
            Self::VramAddress => "the device's memory cannot be there",
            Self::DeviceFailed => "the device failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_found_at_its_offset() {
        let mut found = Vec::new();
        for offset in (0..REGISTER_BYTES).step_by(8) {
            if let Some(register) = Register::at(offset) {
                assert_eq!(register.offset(), offset, "{register:?}");
                found.push(register);
            }
        }
        // 0x00 to 0x60, seven counters, count and length, 0x1f0 bytes of text, the interrupts.
        assert_eq!(found.len(), 13 + 7 + 2 + 0x1f0 / 8 + 1);
        assert_eq!(Register::at(4), None);
        assert_eq!(Register::at(u64::MAX - 7), None);
    }

    #[test]
    fn the_magic_spells_the_name_in_memory_order() {
        assert_eq!(MAGIC.to_le_bytes(), *b"AQLPROBE");
    }

    #[test]
    fn numbers_read_back_and_unknown_ones_do_not() {
        for command in Command::ALL {
            assert_eq!(Command::from_number(command.number()), Some(command));
        }
        for status in Status::ALL {
            assert_eq!(Status::from_number(status.number()), Some(status));
        }
        assert_eq!((Command::from_number(0), Status::from_number(10)), (None, None));
    }
}
