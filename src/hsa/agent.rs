//! What a runtime says about its agents.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::error::HsaError;
use super::pool::{Pool, PoolUse};
use super::runtime::{self, Plain, Runtime, collect, failed, text};
use super::status::Status;
use super::sys::*;

/// What an agent is (`hsa_device_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// A processor of the host.
    Cpu,
    /// A GPU.
    Gpu,
    /// A digital signal processor, or something newer.
    Other,
}

/// Where an agent sits on PCI, from `HSA_AMD_AGENT_INFO_DOMAIN` and `HSA_AMD_AGENT_INFO_BDFID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PciAddress {
    /// PCI domain (segment).
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// Takes apart KFD's location id: bus in bits 15:8, device in 7:3, function in 2:0.
    #[must_use]
    pub const fn from_location(domain: u32, location: u32) -> Self {
        Self { domain, bus: (location >> 8 & 0xff) as u8, device: (location >> 3 & 0x1f) as u8, function: (location & 7) as u8 }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

/// An agent: a handle and what the runtime says about it.
#[derive(Clone, Debug)]
pub struct Agent {
    runtime: Runtime,
    handle: hsa_agent_t,
    name: String,
    kind: AgentKind,
    isas: Vec<String>,
    queue_packets: Option<RangeInclusive<u32>>,
    queues_max: u32,
    wavefront_size: u32,
    product: Option<String>,
    pci: Option<PciAddress>,
    device_id: Option<u32>,
    uuid: Option<String>,
    compute_units: Option<u32>,
    driver_node: Option<u32>,
    asic_family: Option<u32>,
    compute_firmware: Option<u32>,
    sdma_firmware: Option<u32>,
}

impl Agent {
    pub(super) fn query(runtime: &Runtime, handle: hsa_agent_t) -> Result<Self, HsaError> {
        let info = Query { runtime, handle };
        let kind = match info.required::<u32>(HSA_AGENT_INFO_DEVICE)? {
            HSA_DEVICE_TYPE_CPU => AgentKind::Cpu,
            HSA_DEVICE_TYPE_GPU => AgentKind::Gpu,
            _ => AgentKind::Other,
        };
        let queues_max = info.required::<u32>(HSA_AGENT_INFO_QUEUES_MAX)?;
        let smallest = info.required::<u32>(HSA_AGENT_INFO_QUEUE_MIN_SIZE)?;
        let largest = info.required::<u32>(HSA_AGENT_INFO_QUEUE_MAX_SIZE)?;
        let pci = match (kind, info.optional::<u32>(HSA_AMD_AGENT_INFO_BDFID)) {
            (AgentKind::Gpu, Some(location)) => {
                Some(PciAddress::from_location(info.optional::<u32>(HSA_AMD_AGENT_INFO_DOMAIN).unwrap_or(0), location))
            }
            _ => None,
        };
        Ok(Self {
            name: text(&info.required::<[u8; 64]>(HSA_AGENT_INFO_NAME)?),
            kind,
            isas: info.isas()?,
            queue_packets: (queues_max > 0 && smallest > 0).then_some(smallest..=largest),
            queues_max,
            wavefront_size: info.optional::<u32>(HSA_AGENT_INFO_WAVEFRONT_SIZE).unwrap_or(0),
            product: info
                .optional::<[u8; 64]>(HSA_AMD_AGENT_INFO_PRODUCT_NAME)
                .map(|name| text(&name))
                .filter(|name| !name.is_empty()),
            pci,
            device_id: info.optional(HSA_AMD_AGENT_INFO_CHIP_ID),
            // Up to 20 characters and a NUL: "GPU-" and 16 hexadecimal digits, or "GPU-XX" when the device has no serial.
            uuid: info
                .optional::<[u8; 24]>(HSA_AMD_AGENT_INFO_UUID)
                .map(|uuid| text(&uuid))
                .filter(|uuid| !uuid.is_empty() && !uuid.ends_with("-XX")),
            compute_units: info.optional(HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT),
            driver_node: info.optional(HSA_AMD_AGENT_INFO_DRIVER_NODE_ID),
            asic_family: info.optional(HSA_AMD_AGENT_INFO_ASIC_FAMILY_ID),
            compute_firmware: info.optional(HSA_AMD_AGENT_INFO_UCODE_VERSION),
            sdma_firmware: info.optional(HSA_AMD_AGENT_INFO_SDMA_UCODE_VERSION),
            runtime: runtime.clone(),
            handle,
        })
    }

    /// The runtime it belongs to.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn handle(&self) -> hsa_agent_t {
        self.handle
    }

    /// The agent's name; for a GPU its target, such as `gfx803`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// CPU, GPU or other.
    #[must_use]
    pub fn kind(&self) -> AgentKind {
        self.kind
    }

    /// Instruction sets, best first, such as `amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-`.
    #[must_use]
    pub fn isas(&self) -> &[String] {
        &self.isas
    }

    /// Allowed queue sizes in packets; `None` for an agent that takes no queues.
    #[must_use]
    pub fn queue_packets(&self) -> Option<RangeInclusive<u32>> {
        self.queue_packets.clone()
    }

    /// How many queues may be active at once.
    #[must_use]
    pub fn queues_max(&self) -> u32 {
        self.queues_max
    }

    /// Work-items per wavefront; 0 where the runtime does not say.
    #[must_use]
    pub fn wavefront_size(&self) -> u32 {
        self.wavefront_size
    }

    /// The marketing name.
    #[must_use]
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// Where a GPU sits on PCI.
    #[must_use]
    pub fn pci(&self) -> Option<PciAddress> {
        self.pci
    }

    /// The PCI device id.
    #[must_use]
    pub fn device_id(&self) -> Option<u32> {
        self.device_id
    }

    /// `GPU-` and a serial number, where the device has one.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    /// Compute units.
    #[must_use]
    pub fn compute_units(&self) -> Option<u32> {
        self.compute_units
    }

    /// Number of its node in KFD's topology (`HSA_AMD_AGENT_INFO_DRIVER_NODE_ID`).
    #[must_use]
    pub fn driver_node(&self) -> Option<u32> {
        self.driver_node
    }

    /// The driver's family number of the ASIC (`HSA_AMD_AGENT_INFO_ASIC_FAMILY_ID`; ROCm 5.2 does not tell).
    #[must_use]
    pub fn asic_family(&self) -> Option<u32> {
        self.asic_family
    }

    /// Version of the compute engine's firmware (`HSA_AMD_AGENT_INFO_UCODE_VERSION`; ROCm 5.2 does not tell).
    #[must_use]
    pub fn compute_firmware(&self) -> Option<u32> {
        self.compute_firmware
    }

    /// Version of the DMA engines' firmware (`HSA_AMD_AGENT_INFO_SDMA_UCODE_VERSION`; ROCm 5.2 does not tell).
    #[must_use]
    pub fn sdma_firmware(&self) -> Option<u32> {
        self.sdma_firmware
    }

    /// Every memory pool of the agent.
    ///
    /// # Errors
    /// The iteration or a query failed.
    pub fn pools(&self) -> Result<Vec<Pool>, HsaError> {
        let handles: Vec<hsa_amd_memory_pool_t> = collect("hsa_amd_agent_iterate_memory_pools", |callback, data| {
            // SAFETY: the handle is this runtime's; `collect` passes a matching callback and data that outlive the call.
            unsafe { (self.runtime.functions().hsa_amd_agent_iterate_memory_pools)(self.handle, Some(callback), data) }
        })?;
        handles.into_iter().map(|handle| Pool::query(self, handle)).collect()
    }

    /// The agent's first pool for this use.
    ///
    /// # Errors
    /// [`HsaError::NoPool`].
    pub fn pool(&self, wanted: PoolUse) -> Result<Pool, HsaError> {
        let pools = self.pools()?;
        wanted.choose(pools).ok_or_else(|| HsaError::NoPool { agent: self.name.clone(), purpose: wanted.purpose() })
    }
}

struct Query<'a> {
    runtime: &'a Runtime,
    handle: hsa_agent_t,
}

impl Query<'_> {
    fn get<T: Plain>(&self, attribute: hsa_agent_info_t) -> Result<T, Status> {
        // SAFETY: the handle is this runtime's; each attribute is asked for with the type hsa.h or hsa_ext_amd.h gives it (the
        // UUID with three bytes to spare).
        unsafe { runtime::query(|out| (self.runtime.functions().hsa_agent_get_info)(self.handle, attribute, out)) }
    }

    fn required<T: Plain>(&self, attribute: hsa_agent_info_t) -> Result<T, HsaError> {
        self.get(attribute).map_err(|status| failed("hsa_agent_get_info", status))
    }

    /// What only some agents or newer runtimes know.
    fn optional<T: Plain>(&self, attribute: hsa_agent_info_t) -> Option<T> {
        self.get(attribute).ok()
    }

    fn isas(&self) -> Result<Vec<String>, HsaError> {
        let functions = self.runtime.functions();
        let handles: Vec<hsa_isa_t> = match collect("hsa_agent_iterate_isas", |callback, data| {
            // SAFETY: as in `Agent::pools`.
            unsafe { (functions.hsa_agent_iterate_isas)(self.handle, Some(callback), data) }
        }) {
            Ok(handles) => handles,
            // A CPU agent has no HSA instruction set; some runtimes answer with an error instead of an empty list.
            Err(HsaError::Failed { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        handles.into_iter().map(|isa| self.isa_name(isa)).collect()
    }

    fn isa_name(&self, isa: hsa_isa_t) -> Result<String, HsaError> {
        const LONGEST: usize = 1024;
        let get = self.runtime.functions().hsa_isa_get_info_alt;
        // SAFETY: HSA_ISA_INFO_NAME_LENGTH is a uint32_t (hsa.h).
        let length: u32 = unsafe { runtime::query(|out| get(isa, HSA_ISA_INFO_NAME_LENGTH, out)) }
            .map_err(|status| failed("hsa_isa_get_info_alt", status))?;
        if length as usize >= LONGEST {
            let problem = format!("an ISA name is {length} bytes long");
            return Err(HsaError::Defective { call: "hsa_isa_get_info_alt", problem });
        }
        // SAFETY: HSA_ISA_INFO_NAME writes the length asked for above, which fits.
        let name: [u8; LONGEST] = unsafe { runtime::query(|out| get(isa, HSA_ISA_INFO_NAME, out)) }
            .map_err(|status| failed("hsa_isa_get_info_alt", status))?;
        Ok(text(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_id_is_bus_device_function() {
        // KFD topology of the founding machine's GPU: location_id 2816 is 0b:00.0.
        assert_eq!(PciAddress::from_location(0, 2816).to_string(), "0000:0b:00.0");
        assert_eq!(PciAddress::from_location(0x1_0000, 0xc1fb).to_string(), "10000:c1:1f.3");
    }
}
