//! What the runtime, its agents and the machine said of themselves: values of the report's own, so that the JSON layout changes
//! only when the schema does. What nobody said is absent; nothing here is guessed.

use serde::{Deserialize, Serialize};

/// The runtime that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFacts {
    /// The file that was really loaded, links followed; absent for the runtime inside this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// ROCr's own build identifier (`HSA_AMD_SYSTEM_INFO_BUILD_VERSION`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The ROCm release that AMD's packages write into the file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rocm_release: Option<String>,
    /// HSA interface, `1.1` (`HSA_SYSTEM_INFO_VERSION_MAJOR`, `_MINOR`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// AMD's extensions, `1.15` (`HSA_AMD_SYSTEM_INFO_EXT_VERSION_MAJOR`, `_MINOR`); runtimes of ROCm 5 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amd_interface: Option<String>,
    /// How long `hsa_init` took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsa_init_ms: Option<u64>,
    /// The most memory that the worker had until then, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_kib: Option<u64>,
    /// Ticks per second of the system clock.
    pub timestamp_hz: u64,
    /// Extensions by name, `0x…` where the number has no name here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    /// Functions that newer runtimes have and this one lacks, of those that a case or a measurement uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_functions: Vec<String>,
    /// The kernel driver, for a runtime that drives hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverFacts>,
    /// Variables that change what a runtime does, those that are set, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentVariable>,
}

/// The kernel's side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverFacts {
    /// Release of the running kernel, as `uname -r` says.
    pub kernel: String,
    /// Version of the amdgpu module, which only AMD's own packages of it have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amdgpu: Option<String>,
}

/// One variable of the worker's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A GPU agent, beyond name and address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Instruction sets, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isas: Vec<String>,
    /// Work-items per wavefront.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wavefront_size: Option<u32>,
    /// Compute units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_units: Option<u32>,
    /// PCI device ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u32>,
    /// The driver's family number of the ASIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asic_family: Option<u32>,
    /// Version of the compute engine's firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_firmware: Option<u32>,
    /// Version of the DMA engines' firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdma_firmware: Option<u32>,
    /// Number of its node in KFD's topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kfd_node: Option<u32>,
    /// `GPU-` and a serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// What the doorbell signal of a queue is (`amd_signal_kind_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doorbell {
    /// A register that takes 64-bit packet indices.
    Register,
    /// A 32-bit register of older GPUs and drivers, behind a lock in the queue.
    LegacyRegister,
    /// No register: a value in memory that the runtime or a software device watches.
    Memory,
    /// A kind that `amd_hsa_signal.h` does not list, or none that could be read.
    Unknown,
}
