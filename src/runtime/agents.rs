//! The two agents and what they say about themselves.

use std::fmt;

use crate::hsa::sys;
use crate::pci::Bdf;

use super::device::TIMESTAMP_HZ;
use super::queues::{LARGEST_RING, MOST_QUEUES, SMALLEST_RING};

/// The GPU's processor.
pub const PROCESSOR: &str = "gfx803";
/// The GPU's instruction set, as HSA names it.
pub const ISA_NAME: &str = "amdgcn-amd-amdhsa--gfx803";
/// What `HSA_AGENT_INFO_ISA` and `hsa_agent_iterate_isas` hand out.
pub const ISA_HANDLE: u64 = 0x0803;

/// Compute units of the Fiji of the founding experiment (Radeon R9 Nano).
const COMPUTE_UNITS: u32 = 64;
/// `HSA_AGENT_FEATURE_KERNEL_DISPATCH`, also as a queue feature.
pub const FEATURE_KERNEL_DISPATCH: u32 = 1;
/// `HSA_MACHINE_MODEL_LARGE`.
const MACHINE_MODEL_LARGE: u32 = 1;

/// An agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// The host.
    Cpu,
    /// The software GPU.
    Gpu,
}

impl Agent {
    /// In the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Gpu];

    /// The C handle.
    #[must_use]
    pub const fn handle(self) -> u64 {
        match self {
            Self::Cpu => 0x0c90,
            Self::Gpu => 0x0690,
        }
    }

    /// The agent behind a C handle.
    #[must_use]
    pub fn from_handle(handle: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.handle() == handle)
    }
}

/// What the PCI function says about the GPU, and what listings call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its address.
    pub bdf: Bdf,
    /// Its device id.
    pub device_id: u16,
    /// Its name, which says that this is no hardware.
    pub product: &'static str,
}

/// A value of the type that an attribute is documented with.
#[derive(Clone, PartialEq, Eq)]
pub enum Info {
    /// `bool`, `uint8_t`.
    U8(u8),
    /// `uint16_t`.
    U16(u16),
    /// `uint32_t` and C enumerations.
    U32(u32),
    /// `uint64_t`, `size_t` and handles.
    U64(u64),
    /// An array, as its bytes.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Info {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Info({:02x?})", self.bytes())
    }
}

impl Info {
    /// Text in a zero-filled array of `field` bytes, cut so that a zero ends it.
    #[must_use]
    pub fn text(text: &str, field: usize) -> Self {
        let mut bytes = vec![0; field];
        let length = text.len().min(field.saturating_sub(1));
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self::Bytes(bytes)
    }

    /// A `bool`.
    #[must_use]
    pub fn flag(value: bool) -> Self {
        Self::U8(value.into())
    }

    /// A `size_t`.
    #[must_use]
    pub const fn size(value: usize) -> Self {
        Self::U64(value as u64)
    }

    fn words(words: &[u32]) -> Self {
        Self::Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// The bytes that the caller's variable receives.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::U8(value) => vec![*value],
            Self::U16(value) => value.to_le_bytes().to_vec(),
            Self::U32(value) => value.to_le_bytes().to_vec(),
            Self::U64(value) => value.to_le_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// `hsa_agent_get_info`; `None` for an attribute that this runtime does not know.
#[must_use]
pub fn agent_info(agent: Agent, identity: &Identity, attribute: u32) -> Option<Info> {
    let gpu = agent == Agent::Gpu;
    let of_gpu = |value: u32| Info::U32(if gpu { value } else { 0 });
    Some(match attribute {
        sys::HSA_AGENT_INFO_NAME => Info::text(if gpu { PROCESSOR } else { "host" }, 64),
        sys::HSA_AGENT_INFO_VENDOR_NAME => Info::text(if gpu { "AMD" } else { "CPU" }, 64),
        sys::HSA_AGENT_INFO_FEATURE => of_gpu(FEATURE_KERNEL_DISPATCH),
        sys::HSA_AGENT_INFO_MACHINE_MODEL => Info::U32(MACHINE_MODEL_LARGE),
        sys::HSA_AGENT_INFO_PROFILE => Info::U32(if gpu { sys::HSA_PROFILE_BASE } else { sys::HSA_PROFILE_FULL }),
        sys::HSA_AGENT_INFO_DEFAULT_FLOAT_ROUNDING_MODE => Info::U32(sys::HSA_DEFAULT_FLOAT_ROUNDING_MODE_NEAR),
        sys::HSA_AGENT_INFO_BASE_PROFILE_DEFAULT_FLOAT_ROUNDING_MODES => of_gpu(1 << sys::HSA_DEFAULT_FLOAT_ROUNDING_MODE_NEAR),
        sys::HSA_AGENT_INFO_FAST_F16_OPERATION => Info::flag(false),
        sys::HSA_AGENT_INFO_WAVEFRONT_SIZE => of_gpu(64),
        sys::HSA_AGENT_INFO_WORKGROUP_MAX_DIM => {
            let side: u16 = if gpu { 1024 } else { 0 };
            Info::Bytes([side; 3].into_iter().flat_map(u16::to_le_bytes).collect())
        }
        sys::HSA_AGENT_INFO_WORKGROUP_MAX_SIZE => of_gpu(1024),
        sys::HSA_AGENT_INFO_GRID_MAX_DIM => Info::words(&[if gpu { u32::MAX } else { 0 }; 3]),
        sys::HSA_AGENT_INFO_GRID_MAX_SIZE => of_gpu(u32::MAX),
        sys::HSA_AGENT_INFO_FBARRIER_MAX_SIZE => of_gpu(32),
        sys::HSA_AGENT_INFO_QUEUES_MAX => of_gpu(MOST_QUEUES),
        sys::HSA_AGENT_INFO_QUEUE_MIN_SIZE => of_gpu(SMALLEST_RING),
        sys::HSA_AGENT_INFO_QUEUE_MAX_SIZE => of_gpu(LARGEST_RING),
        sys::HSA_AGENT_INFO_QUEUE_TYPE => Info::U32(sys::HSA_QUEUE_TYPE_MULTI),
        sys::HSA_AGENT_INFO_NODE => of_gpu(1),
        sys::HSA_AGENT_INFO_DEVICE => Info::U32(if gpu { sys::HSA_DEVICE_TYPE_GPU } else { sys::HSA_DEVICE_TYPE_CPU }),
        sys::HSA_AGENT_INFO_CACHE_SIZE => Info::words(&if gpu { [16 << 10, 2 << 20, 0, 0] } else { [32 << 10, 0, 0, 0] }),
        sys::HSA_AGENT_INFO_ISA => Info::U64(if gpu { ISA_HANDLE } else { 0 }),
        sys::HSA_AGENT_INFO_EXTENSIONS => Info::Bytes(vec![0; 128]),
        sys::HSA_AGENT_INFO_VERSION_MAJOR | sys::HSA_AGENT_INFO_VERSION_MINOR => Info::U16(1),
        _ => return amd_agent_info(gpu, identity, attribute),
    })
}

/// AMD's attributes (hsa_ext_amd.h).
fn amd_agent_info(gpu: bool, identity: &Identity, attribute: u32) -> Option<Info> {
    let of_gpu = |value: u32| Info::U32(if gpu { value } else { 0 });
    let Bdf { domain, bus, device, function } = identity.bdf;
    Some(match attribute {
        sys::HSA_AMD_AGENT_INFO_CHIP_ID => of_gpu(identity.device_id.into()),
        sys::HSA_AMD_AGENT_INFO_CACHELINE_SIZE => Info::U32(64),
        sys::HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT => of_gpu(COMPUTE_UNITS),
        // A software model has no clock; 0 is what AMD's runtime says when it does not know.
        sys::HSA_AMD_AGENT_INFO_MAX_CLOCK_FREQUENCY
        | sys::HSA_AMD_AGENT_INFO_MEMORY_MAX_FREQUENCY
        | sys::HSA_AMD_AGENT_INFO_MEMORY_WIDTH
        | sys::HSA_AMD_AGENT_INFO_MAX_ADDRESS_WATCH_POINTS
        | sys::HSA_AMD_AGENT_INFO_ASIC_REVISION
        | sys::HSA_AMD_AGENT_INFO_COOPERATIVE_COMPUTE_UNIT_COUNT => Info::U32(0),
        sys::HSA_AMD_AGENT_INFO_DRIVER_NODE_ID => of_gpu(1),
        sys::HSA_AMD_AGENT_INFO_BDFID => of_gpu(u32::from(bus) << 8 | u32::from(device) << 3 | u32::from(function)),
        sys::HSA_AMD_AGENT_INFO_DOMAIN => of_gpu(domain),
        sys::HSA_AMD_AGENT_INFO_PRODUCT_NAME => Info::text(if gpu { identity.product } else { "host" }, 64),
        sys::HSA_AMD_AGENT_INFO_MAX_WAVES_PER_CU => of_gpu(40),
        sys::HSA_AMD_AGENT_INFO_NUM_SIMDS_PER_CU => of_gpu(4),
        sys::HSA_AMD_AGENT_INFO_NUM_SHADER_ENGINES => of_gpu(4),
        sys::HSA_AMD_AGENT_INFO_NUM_SHADER_ARRAYS_PER_SE => of_gpu(1),
        sys::HSA_AMD_AGENT_INFO_COOPERATIVE_QUEUES | sys::HSA_AMD_AGENT_INFO_SVM_DIRECT_HOST_ACCESS => Info::flag(false),
        // "XX": the device has no unique id (hsa_ext_amd.h).
        sys::HSA_AMD_AGENT_INFO_UUID => Info::text(if gpu { "GPU-XX" } else { "CPU-XX" }, 21),
        _ => return None,
    })
}

/// `hsa_isa_get_info_alt`.
#[must_use]
pub fn isa_info(attribute: u32) -> Option<Info> {
    let name_field = ISA_NAME.len() + 1;
    Some(match attribute {
        // AMD's runtime counts the terminating zero.
        sys::HSA_ISA_INFO_NAME_LENGTH => Info::U32(u32::try_from(name_field).ok()?),
        sys::HSA_ISA_INFO_NAME => Info::text(ISA_NAME, name_field),
        sys::HSA_ISA_INFO_WORKGROUP_MAX_SIZE => Info::U32(1024),
        sys::HSA_ISA_INFO_FBARRIER_MAX_SIZE => Info::U32(32),
        sys::HSA_ISA_INFO_FAST_F16_OPERATION => Info::flag(false),
        _ => return None,
    })
}

/// `hsa_system_get_info`.
#[must_use]
pub fn system_info(attribute: u32, now: u64, longest_wait: u64) -> Option<Info> {
    Some(match attribute {
        // HSA 1.2; AMD's runtime says 1.1 for its own interface version, so this only has to be at least that.
        sys::HSA_SYSTEM_INFO_VERSION_MAJOR => Info::U16(1),
        sys::HSA_SYSTEM_INFO_VERSION_MINOR => Info::U16(2),
        sys::HSA_SYSTEM_INFO_TIMESTAMP => Info::U64(now),
        sys::HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY => Info::U64(TIMESTAMP_HZ),
        sys::HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT => Info::U64(longest_wait),
        sys::HSA_SYSTEM_INFO_ENDIANNESS => Info::U32(0),
        sys::HSA_SYSTEM_INFO_MACHINE_MODEL => Info::U32(MACHINE_MODEL_LARGE),
        sys::HSA_SYSTEM_INFO_EXTENSIONS => Info::Bytes(vec![0; 128]),
        // A pointer to a string: the embedded runtime is exactly as old as the program.
        sys::HSA_AMD_SYSTEM_INFO_BUILD_VERSION => {
            const VERSION: &str = concat!("aqlprobe ", env!("CARGO_PKG_VERSION"), "\0");
            Info::U64(VERSION.as_ptr() as u64)
        }
        sys::HSA_AMD_SYSTEM_INFO_SVM_SUPPORTED | sys::HSA_AMD_SYSTEM_INFO_SVM_ACCESSIBLE_BY_DEFAULT => Info::flag(false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { bdf: Bdf { domain: 2, bus: 0x0b, device: 3, function: 1 }, device_id: 0x7300, product: "a model" }
    }

    #[test]
    fn the_gpu_says_where_it_is_on_the_bus() {
        let info = |attribute| agent_info(Agent::Gpu, &identity(), attribute).unwrap();
        assert_eq!(info(sys::HSA_AMD_AGENT_INFO_BDFID), Info::U32(0x0b << 8 | 3 << 3 | 1));
        assert_eq!(info(sys::HSA_AMD_AGENT_INFO_DOMAIN), Info::U32(2));
        assert_eq!(info(sys::HSA_AMD_AGENT_INFO_CHIP_ID), Info::U32(0x7300));
    }

    #[test]
    fn attributes_have_the_sizes_of_the_header() {
        let sizes = [
            (sys::HSA_AGENT_INFO_NAME, 64),
            (sys::HSA_AGENT_INFO_VENDOR_NAME, 64),
            (sys::HSA_AGENT_INFO_WORKGROUP_MAX_DIM, 6),
            (sys::HSA_AGENT_INFO_GRID_MAX_DIM, 12),
            (sys::HSA_AGENT_INFO_CACHE_SIZE, 16),
            (sys::HSA_AGENT_INFO_EXTENSIONS, 128),
            (sys::HSA_AGENT_INFO_ISA, 8),
            (sys::HSA_AGENT_INFO_VERSION_MAJOR, 2),
            (sys::HSA_AGENT_INFO_FAST_F16_OPERATION, 1),
            (sys::HSA_AMD_AGENT_INFO_PRODUCT_NAME, 64),
        ];
        for agent in Agent::ALL {
            for (attribute, size) in sizes {
                assert_eq!(agent_info(agent, &identity(), attribute).unwrap().bytes().len(), size, "{attribute}");
            }
        }
    }

    #[test]
    fn an_unknown_attribute_is_none() {
        assert_eq!(agent_info(Agent::Gpu, &identity(), 0xdead), None);
        assert_eq!(isa_info(0xdead), None);
        assert_eq!(system_info(0xdead, 0, 0), None);
    }

    #[test]
    fn only_the_gpu_takes_kernels() {
        assert_eq!(agent_info(Agent::Cpu, &identity(), sys::HSA_AGENT_INFO_FEATURE), Some(Info::U32(0)));
        assert_eq!(agent_info(Agent::Gpu, &identity(), sys::HSA_AGENT_INFO_FEATURE), Some(Info::U32(1)));
    }

    #[test]
    fn text_always_ends_in_a_zero() {
        assert_eq!(Info::text("abcdef", 4).bytes(), b"abc\0");
        assert_eq!(Info::text("a", 4).bytes(), b"a\0\0\0");
    }
}
