//! The 64-byte packets, laid out as HSA 1.2 §2.9 and AMD's `hsa_ext_amd.h` say.
//!
//! Addresses and signal handles are plain `u64`: a packet is a message to the device, not a pointer of this process.

use std::mem::{offset_of, size_of, transmute};

use super::header::{Dimensions, Header, HeaderError, PacketType, Setup};

/// A packet as the sixteen 32-bit words that are stored into a slot. Word 0 holds the header in its low half.
pub type PacketWords = [u32; 16];

/// Dependency signals of a barrier packet (HSA 1.2 §2.9.8).
pub const BARRIER_DEPENDENCIES: usize = 5;

/// AMD's vendor format of the barrier-value packet (`HSA_AMD_PACKET_TYPE_BARRIER_VALUE`).
pub const VENDOR_FORMAT_BARRIER_VALUE: u8 = 2;

/// A packet that can be published.
pub trait Packet {
    /// The packet in words; word 0 is what publishes it.
    fn to_words(&self) -> PacketWords;
}

/// Runs a grid of work-items (HSA 1.2 §2.9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct KernelDispatch {
    /// See [`Header`].
    pub header: u16,
    /// See [`Setup`].
    pub setup: u16,
    /// Work-items per workgroup in x, y, z.
    pub workgroup_size: [u16; 3],
    /// Must be 0.
    pub reserved0: u16,
    /// Work-items of the whole grid in x, y, z.
    pub grid_size: [u32; 3],
    /// Scratch bytes per work-item.
    pub private_segment_bytes: u32,
    /// LDS bytes per workgroup.
    pub group_segment_bytes: u32,
    /// Address of the kernel descriptor.
    pub kernel_object: u64,
    /// Address of the kernel arguments.
    pub kernarg_address: u64,
    /// Must be 0.
    pub reserved2: u64,
    /// Signal handle decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// Waits until all dependency signals are 0 (HSA 1.2 §2.9.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct BarrierAnd {
    /// See [`Header`].
    pub header: u16,
    /// Must be 0.
    pub reserved0: u16,
    /// Must be 0.
    pub reserved1: u32,
    /// Signal handles; 0 means "no dependency".
    pub dependencies: [u64; BARRIER_DEPENDENCIES],
    /// Must be 0.
    pub reserved2: u64,
    /// Signal handle decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// Waits until one of the dependency signals is 0 (HSA 1.2 §2.9.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct BarrierOr {
    /// See [`Header`].
    pub header: u16,
    /// Must be 0.
    pub reserved0: u16,
    /// Must be 0.
    pub reserved1: u32,
    /// Signal handles; 0 means "no dependency".
    pub dependencies: [u64; BARRIER_DEPENDENCIES],
    /// Must be 0.
    pub reserved2: u64,
    /// Signal handle decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// Waits until `signal & mask` meets a condition (AMD vendor packet, `hsa_amd_barrier_value_packet_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct BarrierValue {
    /// See [`Header`]; its type is [`PacketType::VendorSpecific`].
    pub header: u16,
    /// [`VENDOR_FORMAT_BARRIER_VALUE`].
    pub amd_format: u8,
    /// Must be 0.
    pub reserved: u8,
    /// Must be 0.
    pub reserved0: u32,
    /// Signal handle waited for; 0 for none.
    pub signal: u64,
    /// Compared with the masked signal value.
    pub value: i64,
    /// Applied to the signal value before the comparison.
    pub mask: i64,
    /// See [`ValueCondition`].
    pub condition: u32,
    /// Must be 0.
    pub reserved1: u32,
    /// Must be 0.
    pub reserved2: u64,
    /// Must be 0.
    pub reserved3: u64,
    /// Signal handle decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// Sixteen words as they are, for packets that break the rules on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct RawPacket(pub PacketWords);

/// How a barrier-value packet compares the signal with its value (`hsa_signal_condition_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ValueCondition {
    /// `signal & mask == value`.
    Equal = 0,
    /// `signal & mask != value`.
    NotEqual = 1,
    /// `signal & mask < value`, signed.
    Less = 2,
    /// `signal & mask >= value`, signed.
    AtLeast = 3,
}

/// A packet that the specification does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The header or setup word is bad.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No such vendor format is implemented.
    #[error("vendor packet format {format} is unknown; barrier-value is {VENDOR_FORMAT_BARRIER_VALUE}")]
    VendorFormat {
        /// The byte after the header.
        format: u8,
    },
    /// Not an `hsa_signal_condition_t`.
    #[error("barrier-value packet has the condition {condition}; 0 to 3 are defined")]
    Condition {
        /// The word found.
        condition: u32,
    },
}

/// A packet read from a slot, by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedPacket {
    /// Unpublished: wait.
    Invalid,
    /// A kernel dispatch with its dimensions.
    KernelDispatch(Setup, KernelDispatch),
    /// A barrier-AND.
    BarrierAnd(BarrierAnd),
    /// A barrier-OR.
    BarrierOr(BarrierOr),
    /// AMD's barrier-value with its condition.
    BarrierValue(ValueCondition, BarrierValue),
    /// A call to a host agent, which a GPU refuses.
    AgentDispatch(RawPacket),
}

macro_rules! wire_format {
    ($($packet:ident),*) => {$(
        const _: () = assert!(size_of::<$packet>() == 64 && align_of::<$packet>() == 64);

        impl $packet {
            /// The packet that sixteen words hold; any bits are allowed, see [`DecodedPacket::decode`] for the checks.
            #[must_use]
            pub const fn from_words(words: PacketWords) -> Self {
                // SAFETY: 64 bytes each (checked by the compiler); repr(C) of integers without padding (the offsets asserted
                // below leave none), so every bit pattern is a value.
                unsafe { transmute::<PacketWords, Self>(words) }
            }
        }

        impl Packet for $packet {
            fn to_words(&self) -> PacketWords {
                // SAFETY: as in `from_words`; no padding, so every byte is initialised.
                unsafe { transmute::<Self, PacketWords>(*self) }
            }
        }
    )*};
}

wire_format!(KernelDispatch, BarrierAnd, BarrierOr, BarrierValue);

impl Packet for RawPacket {
    fn to_words(&self) -> PacketWords {
        self.0
    }
}

// HSA 1.2 tables 2-6, 2-8, 2-9.
const _: () = {
    assert!(offset_of!(KernelDispatch, header) == 0);
    assert!(offset_of!(KernelDispatch, setup) == 2);
    assert!(offset_of!(KernelDispatch, workgroup_size) == 4);
    assert!(offset_of!(KernelDispatch, reserved0) == 10);
    assert!(offset_of!(KernelDispatch, grid_size) == 12);
    assert!(offset_of!(KernelDispatch, private_segment_bytes) == 24);
    assert!(offset_of!(KernelDispatch, group_segment_bytes) == 28);
    assert!(offset_of!(KernelDispatch, kernel_object) == 32);
    assert!(offset_of!(KernelDispatch, kernarg_address) == 40);
    assert!(offset_of!(KernelDispatch, reserved2) == 48);
    assert!(offset_of!(KernelDispatch, completion_signal) == 56);
};
const _: () = {
    assert!(offset_of!(BarrierAnd, header) == 0);
    assert!(offset_of!(BarrierAnd, reserved0) == 2);
    assert!(offset_of!(BarrierAnd, reserved1) == 4);
    assert!(offset_of!(BarrierAnd, dependencies) == 8);
    assert!(offset_of!(BarrierAnd, reserved2) == 48);
    assert!(offset_of!(BarrierAnd, completion_signal) == 56);
    assert!(offset_of!(BarrierOr, header) == 0);
    assert!(offset_of!(BarrierOr, reserved0) == 2);
    assert!(offset_of!(BarrierOr, reserved1) == 4);
    assert!(offset_of!(BarrierOr, dependencies) == 8);
    assert!(offset_of!(BarrierOr, reserved2) == 48);
    assert!(offset_of!(BarrierOr, completion_signal) == 56);
};
const _: () = {
    assert!(offset_of!(BarrierValue, header) == 0);
    assert!(offset_of!(BarrierValue, amd_format) == 2);
    assert!(offset_of!(BarrierValue, reserved) == 3);
    assert!(offset_of!(BarrierValue, reserved0) == 4);
    assert!(offset_of!(BarrierValue, signal) == 8);
    assert!(offset_of!(BarrierValue, value) == 16);
    assert!(offset_of!(BarrierValue, mask) == 24);
    assert!(offset_of!(BarrierValue, condition) == 32);
    assert!(offset_of!(BarrierValue, reserved1) == 36);
    assert!(offset_of!(BarrierValue, reserved2) == 40);
    assert!(offset_of!(BarrierValue, reserved3) == 48);
    assert!(offset_of!(BarrierValue, completion_signal) == 56);
};

impl KernelDispatch {
    /// A dispatch of `grid` work-items in workgroups of `workgroup`, without arguments, segments or completion signal.
    ///
    /// `header` gives the barrier bit and the fences; its type is overwritten.
    #[must_use]
    pub const fn new(header: Header, dimensions: Dimensions, grid: [u32; 3], workgroup: [u16; 3], kernel_object: u64) -> Self {
        Self {
            header: Header { packet_type: PacketType::KernelDispatch, ..header }.to_bits(),
            setup: Setup { dimensions }.to_bits(),
            workgroup_size: workgroup,
            reserved0: 0,
            grid_size: grid,
            private_segment_bytes: 0,
            group_segment_bytes: 0,
            kernel_object,
            kernarg_address: 0,
            reserved2: 0,
            completion_signal: 0,
        }
    }
}

macro_rules! barrier_constructor {
    ($packet:ident) => {
        impl $packet {
            /// A barrier on these signal handles (0 = none). `header` gives the barrier bit and the fences; its type is overwritten.
            #[must_use]
            pub const fn new(header: Header, dependencies: [u64; BARRIER_DEPENDENCIES], completion_signal: u64) -> Self {
                Self {
                    header: Header { packet_type: PacketType::$packet, ..header }.to_bits(),
                    reserved0: 0,
                    reserved1: 0,
                    dependencies,
                    reserved2: 0,
                    completion_signal,
                }
            }
        }
    };
}

barrier_constructor!(BarrierAnd);
barrier_constructor!(BarrierOr);

impl BarrierValue {
    /// A wait for `signal & mask` to meet `condition` against `value`. The type of `header` is overwritten.
    #[must_use]
    pub const fn new(
        header: Header,
        signal: u64,
        mask: i64,
        condition: ValueCondition,
        value: i64,
        completion_signal: u64,
    ) -> Self {
        Self {
            header: Header { packet_type: PacketType::VendorSpecific, ..header }.to_bits(),
            amd_format: VENDOR_FORMAT_BARRIER_VALUE,
            reserved: 0,
            reserved0: 0,
            signal,
            value,
            mask,
            condition: condition as u32,
            reserved1: 0,
            reserved2: 0,
            reserved3: 0,
            completion_signal,
        }
    }
}

impl ValueCondition {
    /// Whether `signal` under `mask` meets this condition against `value`.
    #[must_use]
    pub const fn holds(self, signal: i64, mask: i64, value: i64) -> bool {
        let masked = signal & mask;
        match self {
            Self::Equal => masked == value,
            Self::NotEqual => masked != value,
            Self::Less => masked < value,
            Self::AtLeast => masked >= value,
        }
    }
}

impl TryFrom<u32> for ValueCondition {
    type Error = PacketError;

    fn try_from(condition: u32) -> Result<Self, PacketError> {
        Ok(match condition {
            0 => Self::Equal,
            1 => Self::NotEqual,
            2 => Self::Less,
            3 => Self::AtLeast,
            condition => return Err(PacketError::Condition { condition }),
        })
    }
}

impl DecodedPacket {
    /// What a packet processor makes of sixteen words, with the header's parts.
    ///
    /// # Errors
    /// [`PacketError`]: the packet must stop the queue (`HSA_STATUS_ERROR_INVALID_PACKET_FORMAT`).
    pub fn decode(words: PacketWords) -> Result<(Header, Self), PacketError> {
        let header = Header::try_from(words[0] as u16)?;
        let packet = match header.packet_type {
            PacketType::Invalid => Self::Invalid,
            PacketType::KernelDispatch => {
                let packet = KernelDispatch::from_words(words);
                Self::KernelDispatch(Setup::try_from(packet.setup)?, packet)
            }
            PacketType::BarrierAnd => Self::BarrierAnd(BarrierAnd::from_words(words)),
            PacketType::BarrierOr => Self::BarrierOr(BarrierOr::from_words(words)),
            PacketType::AgentDispatch => Self::AgentDispatch(RawPacket(words)),
            PacketType::VendorSpecific => {
                let packet = BarrierValue::from_words(words);
                if packet.amd_format != VENDOR_FORMAT_BARRIER_VALUE {
                    return Err(PacketError::VendorFormat { format: packet.amd_format });
                }
                Self::BarrierValue(packet.condition.try_into()?, packet)
            }
        };
        Ok((header, packet))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::header::{BarrierBit, FenceScope};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_founding_vector_copy_has_header_and_setup_in_word_zero() {
        let header = Header::new(PacketType::KernelDispatch).fences(FenceScope::System);
        let mut packet = KernelDispatch::new(header, Dimensions::One, [1024 * 1024, 1, 1], [256, 1, 1], 0x1122_3344_5566_7780);
        packet.kernarg_address = 0xaabb_ccdd_0000_0040;
        packet.completion_signal = 0x7fff_0000_1000;
        let words = packet.to_words();
        assert_eq!(words[0], 0x0001_1402);
        assert_eq!(words[1], 1 << 16 | 256);
        assert_eq!(words[2], 1);
        assert_eq!(words[3..6], [1024 * 1024, 1, 1]);
        assert_eq!(words[8..10], [0x5566_7780, 0x1122_3344]);
        assert_eq!(words[10..12], [0x0000_0040, 0xaabb_ccdd]);
        assert_eq!(words[14..16], [0x0000_1000, 0x7fff]);
    }

    #[test]
    fn a_barrier_value_names_its_vendor_format_beside_the_header() {
        let header = Header::new(PacketType::VendorSpecific).barrier(BarrierBit::Set);
        let packet = BarrierValue::new(header, 0x40, -1, ValueCondition::AtLeast, 7, 0x80);
        assert_eq!(packet.to_words()[0], 0x0002_0100);
        assert_eq!(packet.to_words()[8], 3);
    }

    #[test]
    fn an_unknown_vendor_format_a_bad_condition_and_zero_dimensions_are_refused() {
        let mut words = [0; 16];
        words[0] = 1 << 16;
        assert_eq!(DecodedPacket::decode(words), Err(PacketError::VendorFormat { format: 1 }));
        words[0] = 2 << 16;
        words[8] = 4;
        assert_eq!(DecodedPacket::decode(words), Err(PacketError::Condition { condition: 4 }));
        words[0] = 2;
        assert!(matches!(DecodedPacket::decode(words), Err(PacketError::Header(HeaderError::Dimensions { .. }))));
    }

    #[test]
    fn a_barrier_value_compares_signed_and_after_the_mask() {
        assert!(ValueCondition::Less.holds(-1, -1, 0));
        assert!(!ValueCondition::Less.holds(-1, 0xff, 0));
        assert!(ValueCondition::Equal.holds(0x1ff, 0xff, 0xff));
        assert!(ValueCondition::AtLeast.holds(0, -1, 0));
        assert!(ValueCondition::NotEqual.holds(1, -1, 0));
    }

    proptest! {
        #[test]
        fn words_survive_every_packet_type(words: PacketWords) {
            prop_assert_eq!(KernelDispatch::from_words(words).to_words(), words);
            prop_assert_eq!(BarrierAnd::from_words(words).to_words(), words);
            prop_assert_eq!(BarrierOr::from_words(words).to_words(), words);
            prop_assert_eq!(BarrierValue::from_words(words).to_words(), words);
        }

        #[test]
        fn decoding_never_panics_and_keeps_the_header(words: PacketWords) {
            if let Ok((header, _)) = DecodedPacket::decode(words) {
                prop_assert_eq!(header.to_bits(), words[0] as u16);
            }
        }
    }
}
