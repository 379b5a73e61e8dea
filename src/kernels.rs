//! The kernels the harness dispatches: prebuilt code objects for every target, and the layout of each kernel's arguments.
//!
//! Sources and build script are in `kernels/`, the compiler and the digests in `kernels/manifest.json`.

use std::fmt;

/// A kernel that every code object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// Ends at once.
    Nop,
    /// `destination[item] = source[item]`, 32 bits per work-item: the founding kernel. [`VectorCopyArguments`].
    VectorCopy,
    /// `to[item] = from[item] + 1`. [`RelayArguments`].
    Relay,
    /// Increments `cells[index]` once per packet, plainly. [`MarkArguments`].
    Mark,
    /// Writes `x | y << 10 | z << 20` to the element of each work-item of a three-dimensional grid. [`Ids3dArguments`].
    Ids3d,
    /// `out[workgroup] = sum of in[workgroup * 256 ..][..256]`, through LDS and barriers. [`LdsReduceArguments`].
    LdsReduce,
    /// Each work-item adds 1 to `counter`, `rounds` times; then `ran[item] = rounds`. [`FetchAddArguments`].
    FetchAdd32,
    /// The 64-bit form of [`Self::FetchAdd32`].
    FetchAdd64,
    /// `seen[token - first_token] = swap(cell, token)` for `rounds` tokens per work-item. [`Swap32Arguments`].
    Swap32,
    /// The 64-bit form of [`Self::Swap32`]. [`Swap64Arguments`].
    Swap64,
    /// Increments by CAS; `ran[item]` counts the successes. [`CompareSwapArguments`].
    CompareSwap32,
    /// The 64-bit form of [`Self::CompareSwap32`].
    CompareSwap64,
    /// And, or, xor, signed min, max, unsigned min, max on one 32-bit cell each, by native instructions on every target; then
    /// `ran[item] = 1`. [`RmwOtherArguments`]; [`rmw_other_32`] says what must come out.
    RmwOther32,
    /// The 64-bit form of [`Self::RmwOther32`]; [`rmw_other_64`].
    RmwOther64,
    /// Subtracts `amount` from a signal's value, once per work-item; then `ran[item] = 1`. [`SignalSubtractArguments`].
    SignalSubtract,
    /// `payload[item] = value + item`, then releases `flag[workgroup] = value` at system scope. [`PublishArguments`].
    Publish,
    /// Polls `*flag` until it is `expected`, at most `max_polls` times; then acquires and copies the payload. [`SpinOnFlagArguments`].
    SpinOnFlag,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 17] = [
        Self::Nop,
        Self::VectorCopy,
        Self::Relay,
        Self::Mark,
        Self::Ids3d,
        Self::LdsReduce,
        Self::FetchAdd32,
        Self::FetchAdd64,
        Self::Swap32,
        Self::Swap64,
        Self::CompareSwap32,
        Self::CompareSwap64,
        Self::RmwOther32,
        Self::RmwOther64,
        Self::SignalSubtract,
        Self::Publish,
        Self::SpinOnFlag,
    ];

    /// The kernel's name in the source. Its descriptor's symbol is the name followed by `.kd`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nop => "nop",
            Self::VectorCopy => "vector_copy",
            Self::Relay => "relay",
            Self::Mark => "mark",
            Self::Ids3d => "ids_3d",
            Self::LdsReduce => "lds_reduce",
            Self::FetchAdd32 => "fetch_add_32",
            Self::FetchAdd64 => "fetch_add_64",
            Self::Swap32 => "swap_32",
            Self::Swap64 => "swap_64",
            Self::CompareSwap32 => "compare_swap_32",
            Self::CompareSwap64 => "compare_swap_64",
            Self::RmwOther32 => "rmw_other_32",
            Self::RmwOther64 => "rmw_other_64",
            Self::SignalSubtract => "signal_subtract",
            Self::Publish => "publish",
            Self::SpinOnFlag => "spin_on_flag",
        }
    }

    /// The workgroup size that the kernel was compiled for, in work-items; a packet must ask for exactly this one.
    #[must_use]
    pub const fn workgroup(self) -> [u16; 3] {
        match self {
            Self::VectorCopy | Self::LdsReduce | Self::Publish | Self::SpinOnFlag => [256, 1, 1],
            Self::Ids3d => [8, 4, 2],
            _ => [64, 1, 1],
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An address that the kernel dereferences, as the agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct DevicePtr(pub u64);

/// Where one argument lies in the kernel argument segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentSlot {
    /// The field's name.
    pub name: &'static str,
    /// Bytes from the start of the segment.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// The arguments of one or more kernels.
pub trait Arguments: Copy {
    /// The kernels that take them.
    const KERNELS: &'static [Kernel];
    /// Every argument, in order.
    const SLOTS: &'static [ArgumentSlot];

    /// The kernel argument segment's contents, padding zero.
    #[must_use]
    fn to_bytes(&self) -> Vec<u8>;
}

/// A field type of an argument struct.
trait Argument: Copy {
    fn append_to(self, segment: &mut Vec<u8>);
}

impl Argument for DevicePtr {
    fn append_to(self, segment: &mut Vec<u8>) {
        segment.extend_from_slice(&self.0.to_le_bytes());
    }
}

impl Argument for u32 {
    fn append_to(self, segment: &mut Vec<u8>) {
        segment.extend_from_slice(&self.to_le_bytes());
    }
}

impl Argument for u64 {
    fn append_to(self, segment: &mut Vec<u8>) {
        segment.extend_from_slice(&self.to_le_bytes());
    }
}

macro_rules! arguments {
    ($($(#[$note:meta])* $name:ident of [$($kernel:ident),+] { $($(#[$field_note:meta])* $field:ident: $kind:ty,)* })+) => { $(
        $(#[$note])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_note])* pub $field: $kind,)*
        }

        impl Arguments for $name {
            const KERNELS: &'static [Kernel] = &[$(Kernel::$kernel),+];
            const SLOTS: &'static [ArgumentSlot] = &[$(ArgumentSlot {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                size: size_of::<$kind>(),
            },)*];

            fn to_bytes(&self) -> Vec<u8> {
                #[allow(unused_mut, reason = "a kernel may have no arguments")]
                let mut segment = Vec::with_capacity(size_of::<Self>());
                $(
                    segment.resize(std::mem::offset_of!($name, $field), 0);
                    self.$field.append_to(&mut segment);
                )*
                segment
            }
        }
    )+

        #[cfg(test)]
        const ALL_SLOTS: &[(&[Kernel], &[ArgumentSlot])] =
            &[$((<$name as Arguments>::KERNELS, <$name as Arguments>::SLOTS)),+];
    };
}

arguments! {
    /// Of [`Kernel::Nop`].
    NopArguments of [Nop] {}
    /// Of [`Kernel::VectorCopy`].
    VectorCopyArguments of [VectorCopy] {
        /// One `u32` per work-item.
        source: DevicePtr,
        /// One `u32` per work-item.
        destination: DevicePtr,
    }
    /// Of [`Kernel::Relay`].
    RelayArguments of [Relay] {
        /// One `u32` per work-item.
        from: DevicePtr,
        /// One `u32` per work-item.
        to: DevicePtr,
    }
    /// Of [`Kernel::Mark`].
    MarkArguments of [Mark] {
        /// `u32` cells.
        cells: DevicePtr,
        /// The packet's own cell.
        index: u32,
    }
    /// Of [`Kernel::Ids3d`].
    Ids3dArguments of [Ids3d] {
        /// One `u32` per work-item, x fastest.
        out: DevicePtr,
        /// Grid size x, at most 1024.
        size_x: u32,
        /// Grid size y, at most 1024.
        size_y: u32,
    }
    /// Of [`Kernel::LdsReduce`].
    LdsReduceArguments of [LdsReduce] {
        /// One `u32` per work-item.
        input: DevicePtr,
        /// One `u32` per workgroup.
        out: DevicePtr,
    }
    /// Of [`Kernel::FetchAdd32`] and [`Kernel::FetchAdd64`].
    FetchAddArguments of [FetchAdd32, FetchAdd64] {
        /// A word of the kernel's width.
        counter: DevicePtr,
        /// One `u32` per work-item.
        ran: DevicePtr,
        /// Additions per work-item.
        rounds: u32,
    }
    /// Of [`Kernel::Swap32`].
    Swap32Arguments of [Swap32] {
        /// A `u32`.
        cell: DevicePtr,
        /// One `u32` per token: work-items times `rounds`.
        seen: DevicePtr,
        /// The first token that goes in; the others follow it.
        first_token: u32,
        /// Tokens per work-item.
        rounds: u32,
    }
    /// Of [`Kernel::Swap64`].
    Swap64Arguments of [Swap64] {
        /// A `u64`.
        cell: DevicePtr,
        /// One `u64` per token: work-items times `rounds`.
        seen: DevicePtr,
        /// The first token that goes in; the others follow it.
        first_token: u64,
        /// Tokens per work-item.
        rounds: u32,
    }
    /// Of [`Kernel::CompareSwap32`] and [`Kernel::CompareSwap64`].
    CompareSwapArguments of [CompareSwap32, CompareSwap64] {
        /// A word of the kernel's width.
        counter: DevicePtr,
        /// One `u32` per work-item.
        ran: DevicePtr,
        /// Increments per work-item.
        rounds: u32,
        /// CAS attempts per work-item, after which it gives up.
        max_attempts: u32,
    }
    /// Of [`Kernel::RmwOther32`] and [`Kernel::RmwOther64`].
    RmwOtherArguments of [RmwOther32, RmwOther64] {
        /// [`RMW_OTHER_CELLS`] words of the kernel's width.
        cells: DevicePtr,
        /// One `u32` per work-item.
        ran: DevicePtr,
    }
    /// Of [`Kernel::SignalSubtract`].
    SignalSubtractArguments of [SignalSubtract] {
        /// The signal's 64-bit value.
        value: DevicePtr,
        /// One `u32` per work-item.
        ran: DevicePtr,
        /// What each work-item subtracts.
        amount: u64,
    }
    /// Of [`Kernel::Publish`].
    PublishArguments of [Publish] {
        /// One `u32` per work-item.
        payload: DevicePtr,
        /// One `u32` per workgroup.
        flag: DevicePtr,
        /// What the flag becomes, and the payload counts up from.
        value: u32,
    }
    /// Of [`Kernel::SpinOnFlag`].
    SpinOnFlagArguments of [SpinOnFlag] {
        /// A `u32`.
        flag: DevicePtr,
        /// One `u32` per work-item.
        payload: DevicePtr,
        /// One `u32` per work-item: the payload as seen after the flag.
        out: DevicePtr,
        /// One `u32` per work-item: [`SAW_FLAG`] or [`GAVE_UP`].
        saw: DevicePtr,
        /// The flag's value to wait for.
        expected: u32,
        /// Polls after which the workgroup gives up.
        max_polls: u32,
    }
}

/// In `saw`: the flag was seen and the payload copied.
pub const SAW_FLAG: u32 = 1;
/// In `saw`: the polls ran out and nothing was copied.
pub const GAVE_UP: u32 = 2;

/// Cells of [`Kernel::RmwOther32`] and [`Kernel::RmwOther64`].
pub const RMW_OTHER_CELLS: usize = 7;
/// What the cells' operations are called, in the cells' order.
pub const RMW_OTHER_NAMES: [&str; RMW_OTHER_CELLS] =
    ["and", "or", "xor", "signed min", "signed max", "unsigned min", "unsigned max"];

macro_rules! rmw_other {
    ($(#[$note:meta])* $name:ident, $word:ty, $signed:ty) => {
        $(#[$note])*
        #[must_use]
        pub fn $name(initial: [$word; RMW_OTHER_CELLS], items: u32) -> [$word; RMW_OTHER_CELLS] {
            (0..items).fold(initial, |[and, or, xor, signed_min, signed_max, min, max], item| {
                let bit: $word = 1 << (item % 24);
                let top: $word = 1 << (<$word>::BITS - 1);
                let step = <$signed>::from(item as i32) * 7;
                let item = <$word>::from(item);
                [
                    and & !bit,
                    or | bit,
                    xor ^ (item + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as $word),
                    (signed_min as $signed).min(step - 300) as $word,
                    (signed_max as $signed).max(300 - step) as $word,
                    min.min(top + item),
                    max.max(top - item),
                ]
            })
        }
    };
}

rmw_other!(
    /// What `items` work-items of [`Kernel::RmwOther32`] make of the cells. The operations commute, so the order is no matter.
    rmw_other_32, u32, i32
);
rmw_other!(
    /// What `items` work-items of [`Kernel::RmwOther64`] make of the cells.
    rmw_other_64, u64, i64
);

/// A code object for an agent.
#[derive(Clone, Copy)]
pub struct CodeObject {
    /// What it was compiled for: a processor, or a generic target.
    pub target: &'static str,
    /// The ELF file, 8-byte aligned.
    pub bytes: &'static [u8],
}

impl fmt::Debug for CodeObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CodeObject").field("target", &self.target).field("bytes", &self.bytes.len()).finish()
    }
}

/// No code object runs on the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kernels are built for {target}; kernels/build lists the targets there are")]
pub struct NoCodeObject {
    /// The agent's target.
    pub target: String,
}

#[repr(align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

macro_rules! prebuilt {
    ($($target:literal),+ $(,)?) => { [$(
        CodeObject {
            target: $target,
            bytes: {
                static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!("../kernels/prebuilt/", $target, ".hsaco")));
                &FILE.0
            },
        },
    )+] };
}

/// Every code object there is.
pub static PREBUILT: [CodeObject; 23] = prebuilt![
    "gfx803",
    "gfx900",
    "gfx906",
    "gfx908",
    "gfx90a",
    "gfx942",
    "gfx1010",
    "gfx1030",
    "gfx1031",
    "gfx1032",
    "gfx1100",
    "gfx1101",
    "gfx1102",
    "gfx1103",
    "gfx1150",
    "gfx1151",
    "gfx1200",
    "gfx1201",
    "gfx9-generic",
    "gfx10-1-generic",
    "gfx10-3-generic",
    "gfx11-generic",
    "gfx12-generic",
];

/// The generic target that runs on a processor (LLVM AMDGPUUsage, "Generic processor code object").
fn generic_target(processor: &str) -> Option<&'static str> {
    Some(match processor {
        "gfx900" | "gfx902" | "gfx904" | "gfx906" | "gfx909" | "gfx90c" => "gfx9-generic",
        "gfx1010" | "gfx1011" | "gfx1012" | "gfx1013" => "gfx10-1-generic",
        "gfx1030" | "gfx1031" | "gfx1032" | "gfx1033" | "gfx1034" | "gfx1035" | "gfx1036" => "gfx10-3-generic",
        "gfx1100" | "gfx1101" | "gfx1102" | "gfx1103" | "gfx1150" | "gfx1151" | "gfx1152" | "gfx1153" => "gfx11-generic",
        "gfx1200" | "gfx1201" => "gfx12-generic",
        _ => return None,
    })
}

/// The code object for an agent: its own target's, else the matching generic one.
///
/// `isa` is an HSA ISA name (`amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-`) or its processor alone. Features do not matter: the
/// code objects are built for any setting of them.
///
/// # Errors
/// Neither exists.
pub fn select(isa: &str) -> Result<CodeObject, NoCodeObject> {
    let target = isa.rsplit_once("--").map_or(isa, |(_, target)| target);
    let processor = target.split_once(':').map_or(target, |(processor, _)| processor);
    let named = |wanted: &str| PREBUILT.iter().find(|code| code.target == wanted).copied();
    named(processor).or_else(|| generic_target(processor).and_then(named)).ok_or_else(|| NoCodeObject { target: target.to_owned() })
}

#[cfg(test)]
mod tests;
