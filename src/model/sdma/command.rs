//! What an SDMA packet says (ROCr, `sdma_registers.h`; Linux, `amdgpu/sdma_v4_4_2.c` and `sdma_v6_0.c`).

use crate::model::address::GpuVa;
use crate::model::target::Target;

/// Dwords of the longest packet, fillers apart.
pub(super) const LONGEST: usize = 8;

const NOP: u8 = 0;
const COPY: u8 = 1;
const FENCE: u8 = 5;
const TRAP: u8 = 6;
const POLL_REGMEM: u8 = 8;
const ATOMIC: u8 = 10;
const CONSTANT_FILL: u8 = 11;
const TIMESTAMP: u8 = 13;
const GCR: u8 = 17;

const LINEAR: u8 = 0;
const GET_GLOBAL: u8 = 2;
const USER_GCR: u8 = 1;
/// `SDMA_ATOMIC_ADD64`.
const ADD_64: u32 = 47;
/// A fill of whole dwords.
const FILL_DWORDS: u32 = 2;

/// How a poll compares; unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Always,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

impl Comparison {
    const fn of(function: u32) -> Option<Self> {
        Some(match function {
            0 => Self::Always,
            1 => Self::Less,
            2 => Self::LessOrEqual,
            3 => Self::Equal,
            4 => Self::NotEqual,
            5 => Self::GreaterOrEqual,
            6 => Self::Greater,
            _ => return None,
        })
    }

    pub(super) const fn holds(self, value: u32, reference: u32) -> bool {
        match self {
            Self::Always => true,
            Self::Less => value < reference,
            Self::LessOrEqual => value <= reference,
            Self::Equal => value == reference,
            Self::NotEqual => value != reference,
            Self::GreaterOrEqual => value >= reference,
            Self::Greater => value > reference,
        }
    }
}

/// A wait for a word in memory. It is repeated for ever, as ROCr asks for, whatever the retry count says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    pub(super) at: GpuVa,
    pub(super) mask: u32,
    pub(super) reference: u32,
    pub(super) comparison: Comparison,
}

/// A decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Filler,
    Copy {
        source: GpuVa,
        destination: GpuVa,
        bytes: u64,
    },
    Fill {
        destination: GpuVa,
        value: u32,
        bytes: u64,
    },
    Fence {
        at: GpuVa,
        value: u32,
    },
    Trap {
        event: u32,
    },
    Poll(Poll),
    /// Caches, or the path that host writes to device memory take. The model has neither.
    FlushCaches,
    /// A 64-bit addition, as an AtomicOp.
    Add {
        at: GpuVa,
        addend: u64,
    },
    Timestamp {
        at: GpuVa,
    },
}

/// A packet and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) command: Command,
    pub(super) dwords: u32,
}

/// Why a packet cannot be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undecodable {
    /// An operation that this engine does not have, or does not have in this form.
    #[error(
        "the engine does not know the packet with header 0x{header:08x} (operation {operation}, sub-operation {sub_operation})"
    )]
    Unknown { header: u32, operation: u8, sub_operation: u8 },
    /// The doorbell was rung in the middle of a packet.
    #[error("the packet with header 0x{header:08x} has {dwords} dwords, and the doorbell was rung after {published}")]
    CutOff { header: u32, dwords: u32, published: u64 },
}

/// Decodes the packet at the start of `words`, which are the first of `published` dwords.
pub(super) fn decode(target: Target, words: &[u32], published: u64) -> Result<Decoded, Undecodable> {
    let header = words.first().copied().unwrap_or_default();
    let (operation, sub_operation) = (header as u8, (header >> 8) as u8);
    let unknown = Undecodable::Unknown { header, operation, sub_operation };
    let dwords = match (operation, sub_operation) {
        (NOP, _) => 1 + (header >> 16 & 0x3fff),
        (COPY, LINEAR) => 7,
        (FENCE, 0) => 4,
        (TRAP, 0) => 2,
        (POLL_REGMEM, 0) => 6,
        (ATOMIC, 0) => 8,
        (CONSTANT_FILL, 0) => 5,
        (TIMESTAMP, GET_GLOBAL) => 3,
        (GCR, USER_GCR) if target == Target::Gfx1100 => 5,
        _ => return Err(unknown),
    };
    if u64::from(dwords) > published {
        return Err(Undecodable::CutOff { header, dwords, published });
    }
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let va = |at: usize| GpuVa(u64::from(word(at)) | u64::from(word(at + 1)) << 32);
    let command = match operation {
        COPY => {
            // 22 bits, and 30 where the host knows that the engine takes as many; the count is of bytes behind the first one.
            let bytes = u64::from(word(1) & 0x3fff_ffff) + 1;
            Command::Copy { source: va(3), destination: va(5), bytes }
        }
        FENCE => Command::Fence { at: va(1), value: word(3) },
        TRAP => Command::Trap { event: word(1) & 0x0fff_ffff },
        POLL_REGMEM => poll(header, va(1), word(3), word(4)).ok_or(unknown)?,
        ATOMIC if header >> 25 == ADD_64 && header >> 16 & 1 == 0 => Command::Add { at: va(1), addend: va(3).0 },
        // The count is of bytes behind the first dword.
        CONSTANT_FILL if header >> 30 == FILL_DWORDS => {
            Command::Fill { destination: va(1), value: word(3), bytes: u64::from(word(4) & 0x3f_fffc) + 4 }
        }
        TIMESTAMP => Command::Timestamp { at: va(1) },
        GCR => Command::FlushCaches,
        NOP => Command::Filler,
        _ => return Err(unknown),
    };
    Ok(Decoded { command, dwords })
}

fn poll(header: u32, at: GpuVa, reference: u32, mask: u32) -> Option<Command> {
    let comparison = Comparison::of(header >> 28 & 7)?;
    let (polls_memory, flushes) = (header >> 31 == 1, header >> 26 & 1 == 1);
    match (polls_memory, comparison) {
        (true, _) => Some(Command::Poll(Poll { at, mask, reference, comparison })),
        // Either way it makes the host's writes to device memory visible and waits for nothing.
        (false, Comparison::Always) => Some(Command::FlushCaches),
        (false, _) if flushes => Some(Command::FlushCaches),
        // It waits for a register, and there is none.
        (false, _) => None,
    }
}
