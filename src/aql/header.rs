//! The 16-bit header that every AQL packet starts with, and the setup word of a kernel dispatch (HSA 1.2 §2.9.1, §2.9.6).

use std::fmt;

const TYPE_MASK: u16 = 0xff;
const BARRIER_SHIFT: u32 = 8;
const ACQUIRE_SHIFT: u32 = 9;
const RELEASE_SHIFT: u32 = 11;
const SCOPE_MASK: u16 = 0b11;
const RESERVED_MASK: u16 = 0xe000;
const DIMENSIONS_MASK: u16 = 0b11;

/// What a packet asks for: header bits 7:0 (HSA 1.2 §2.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// The vendor's own format; AMD names it in the next byte (`AmdFormat`).
    VendorSpecific = 0,
    /// Not yet published, or already consumed: the packet processor waits here.
    Invalid = 1,
    /// Run a grid of work-items.
    KernelDispatch = 2,
    /// Wait until every dependency signal is 0.
    BarrierAnd = 3,
    /// A call to a host agent; no AMD GPU executes it.
    AgentDispatch = 4,
    /// Wait until one dependency signal is 0.
    BarrierOr = 5,
}

/// How far a fence reaches: header bits 10:9 (acquire) and 12:11 (release).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FenceScope {
    /// No fence.
    None = 0,
    /// Visible to everything on the same agent.
    Agent = 1,
    /// Visible to the host and to every agent.
    System = 2,
}

/// Header bit 8: whether the packet waits for all earlier packets of its queue to complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierBit {
    /// The packet may start while earlier ones still run.
    Clear,
    /// The packet starts when every earlier one has completed.
    Set,
}

/// The header in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Bits 7:0.
    pub packet_type: PacketType,
    /// Bit 8.
    pub barrier: BarrierBit,
    /// Bits 10:9, performed before the packet starts.
    pub acquire: FenceScope,
    /// Bits 12:11, performed before the completion signal is decremented.
    pub release: FenceScope,
}

/// A header word that HSA 1.2 §2.9.1 does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Types 6 to 255 are reserved.
    #[error("packet header 0x{word:04x} has the reserved packet type {packet_type}; 0 to 5 are defined")]
    ReservedType {
        /// The whole header.
        word: u16,
        /// Bits 7:0.
        packet_type: u8,
    },
    /// Scope 3 is reserved.
    #[error("packet header 0x{word:04x} has the reserved fence scope 3 in its {fence} field")]
    ReservedScope {
        /// The whole header.
        word: u16,
        /// Which of the two fences.
        fence: &'static str,
    },
    /// Bits 15:13 must be zero.
    #[error("packet header 0x{word:04x} has reserved bits 15:13 set")]
    ReservedBits {
        /// The whole header.
        word: u16,
    },
    /// A kernel dispatch has 1 to 3 dimensions.
    #[error("kernel dispatch setup 0x{word:04x} names {dimensions} dimensions; 1 to 3 are allowed")]
    Dimensions {
        /// The whole setup word.
        word: u16,
        /// Bits 1:0.
        dimensions: u16,
    },
    /// Bits 15:2 of the setup word must be zero.
    #[error("kernel dispatch setup 0x{word:04x} has reserved bits 15:2 set")]
    ReservedSetupBits {
        /// The whole setup word.
        word: u16,
    },
}

impl PacketType {
    /// Bits 7:0 of a header word.
    ///
    /// # Errors
    /// [`HeaderError::ReservedType`].
    pub const fn of_header(word: u16) -> Result<Self, HeaderError> {
        Ok(match word & TYPE_MASK {
            0 => Self::VendorSpecific,
            1 => Self::Invalid,
            2 => Self::KernelDispatch,
            3 => Self::BarrierAnd,
            4 => Self::AgentDispatch,
            5 => Self::BarrierOr,
            packet_type => return Err(HeaderError::ReservedType { word, packet_type: packet_type as u8 }),
        })
    }
}

impl Header {
    /// A header without barrier bit and fences.
    #[must_use]
    pub const fn new(packet_type: PacketType) -> Self {
        Self { packet_type, barrier: BarrierBit::Clear, acquire: FenceScope::None, release: FenceScope::None }
    }

    /// The same header with this barrier bit.
    #[must_use]
    pub const fn barrier(self, barrier: BarrierBit) -> Self {
        Self { barrier, ..self }
    }

    /// The same header with this acquire scope.
    #[must_use]
    pub const fn acquire(self, acquire: FenceScope) -> Self {
        Self { acquire, ..self }
    }

    /// The same header with this release scope.
    #[must_use]
    pub const fn release(self, release: FenceScope) -> Self {
        Self { release, ..self }
    }

    /// The same header with both fences at one scope.
    #[must_use]
    pub const fn fences(self, scope: FenceScope) -> Self {
        self.acquire(scope).release(scope)
    }

    /// The word as it stands in the packet.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.packet_type as u16
            | (self.barrier as u16) << BARRIER_SHIFT
            | (self.acquire as u16) << ACQUIRE_SHIFT
            | (self.release as u16) << RELEASE_SHIFT
    }
}

impl From<Header> for u16 {
    fn from(header: Header) -> Self {
        header.to_bits()
    }
}

impl TryFrom<u16> for Header {
    type Error = HeaderError;

    fn try_from(word: u16) -> Result<Self, HeaderError> {
        let scope = |shift: u32, fence: &'static str| match word >> shift & SCOPE_MASK {
            0 => Ok(FenceScope::None),
            1 => Ok(FenceScope::Agent),
            2 => Ok(FenceScope::System),
            _ => Err(HeaderError::ReservedScope { word, fence }),
        };
        let packet_type = PacketType::of_header(word)?;
        if word & RESERVED_MASK != 0 {
            return Err(HeaderError::ReservedBits { word });
        }
        Ok(Self {
            packet_type,
            barrier: if word >> BARRIER_SHIFT & 1 == 1 { BarrierBit::Set } else { BarrierBit::Clear },
            acquire: scope(ACQUIRE_SHIFT, "acquire")?,
            release: scope(RELEASE_SHIFT, "release")?,
        })
    }
}

/// How many dimensions of the grid count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dimensions {
    /// x only.
    One = 1,
    /// x and y.
    Two = 2,
    /// x, y and z.
    Three = 3,
}

/// The setup word of a kernel dispatch packet, bits 31:16 of its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// Bits 1:0.
    pub dimensions: Dimensions,
}

impl Setup {
    /// The word as it stands in the packet.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.dimensions as u16
    }
}

impl From<Setup> for u16 {
    fn from(setup: Setup) -> Self {
        setup.to_bits()
    }
}

impl TryFrom<u16> for Setup {
    type Error = HeaderError;

    fn try_from(word: u16) -> Result<Self, HeaderError> {
        if word & !DIMENSIONS_MASK != 0 {
            return Err(HeaderError::ReservedSetupBits { word });
        }
        let dimensions = match word {
            1 => Dimensions::One,
            2 => Dimensions::Two,
            3 => Dimensions::Three,
            dimensions => return Err(HeaderError::Dimensions { word, dimensions }),
        };
        Ok(Self { dimensions })
    }
}

impl fmt::Display for FenceScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Agent => "agent",
            Self::System => "system",
        })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_founding_dispatch_header_is_0x1402() {
        // HSA_PACKET_TYPE_KERNEL_DISPATCH 2, acquire system 2 << 9, release system 2 << 11.
        assert_eq!(Header::new(PacketType::KernelDispatch).fences(FenceScope::System).to_bits(), 0x1402);
    }

    #[test]
    fn each_field_stands_at_the_bits_of_hsa_2_9_1() {
        let header = Header::new(PacketType::VendorSpecific);
        assert_eq!(header.barrier(BarrierBit::Set).to_bits(), 1 << 8);
        assert_eq!(header.acquire(FenceScope::Agent).to_bits(), 1 << 9);
        assert_eq!(header.release(FenceScope::Agent).to_bits(), 1 << 11);
        assert_eq!(Header::new(PacketType::BarrierOr).to_bits(), 5);
    }

    #[test]
    fn reserved_types_scopes_and_bits_are_refused() {
        assert_eq!(Header::try_from(6), Err(HeaderError::ReservedType { word: 6, packet_type: 6 }));
        assert_eq!(Header::try_from(0x0602), Err(HeaderError::ReservedScope { word: 0x0602, fence: "acquire" }));
        assert_eq!(Header::try_from(0x1802), Err(HeaderError::ReservedScope { word: 0x1802, fence: "release" }));
        assert_eq!(Header::try_from(0x2002), Err(HeaderError::ReservedBits { word: 0x2002 }));
        assert_eq!(Setup::try_from(0), Err(HeaderError::Dimensions { word: 0, dimensions: 0 }));
        assert_eq!(Setup::try_from(5), Err(HeaderError::ReservedSetupBits { word: 5 }));
    }

    proptest! {
        #[test]
        fn a_word_either_decodes_to_itself_or_is_refused(word: u16) {
            if let Ok(header) = Header::try_from(word) {
                prop_assert_eq!(header.to_bits(), word);
            }
            if let Ok(setup) = Setup::try_from(word) {
                prop_assert_eq!(setup.to_bits(), word);
            }
        }

        #[test]
        fn exactly_the_defined_words_decode(word: u16) {
            let defined = word & 0xff <= 5 && word >> 9 & 3 != 3 && word >> 11 & 3 != 3 && word >> 13 == 0;
            prop_assert_eq!(Header::try_from(word).is_ok(), defined);
        }
    }
}
