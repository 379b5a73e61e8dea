//! Attributes that headers newer than those behind `bindings.rs` (ROCm 5.2.3) add. A runtime that does not know one answers
//! `HSA_STATUS_ERROR_INVALID_ARGUMENT`. Values: hsa.h and hsa_ext_amd.h of ROCm 7.2.4
//! (docs/runtimes.md).

use super::{hsa_agent_info_t, hsa_system_info_t};

/// Major version of AMD's extensions, `uint16_t`.
pub const HSA_AMD_SYSTEM_INFO_EXT_VERSION_MAJOR: hsa_system_info_t = 0x207;
/// Minor version of AMD's extensions, `uint16_t`.
pub const HSA_AMD_SYSTEM_INFO_EXT_VERSION_MINOR: hsa_system_info_t = 0x208;
/// The driver's family number of the ASIC, `uint32_t`.
pub const HSA_AMD_AGENT_INFO_ASIC_FAMILY_ID: hsa_agent_info_t = 0xa107;
/// Version of the compute engine's firmware, `uint32_t`.
pub const HSA_AMD_AGENT_INFO_UCODE_VERSION: hsa_agent_info_t = 0xa108;
/// Version of the DMA engines' firmware, `uint32_t`.
pub const HSA_AMD_AGENT_INFO_SDMA_UCODE_VERSION: hsa_agent_info_t = 0xa109;
