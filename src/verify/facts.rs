//! From what runtime, agents and machine say to what the report carries.

use std::env;
use std::fs;

use crate::hsa::{Agent, DoorbellKind, MODEL_VARIABLE, Runtime};
use crate::pci::sysfs::SysfsRoot;
use crate::report::{AgentFacts, Doorbell, DriverFacts, EnvironmentVariable, RuntimeFacts};

use super::event::PlannedRuntime;

/// Variables that change what ROCr does with queues, signals and devices (flag.h, hsakmt), or what stands in for it.
const VARIABLES: [&str; 10] = [
    "HIP_VISIBLE_DEVICES",
    "HSA_ENABLE_INTERRUPT",
    "HSA_ENABLE_SDMA",
    "HSA_MODEL_LIB",
    MODEL_VARIABLE,
    "HSA_OVERRIDE_GFX_VERSION",
    "HSA_TOOLS_LIB",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "ROCR_VISIBLE_DEVICES",
];

/// What the runtime of this process says, and what of the machine concerns it. The runtime inside this program has no driver and
/// reads no environment.
pub fn runtime(runtime: &Runtime, planned: &PlannedRuntime) -> RuntimeFacts {
    let facts = runtime.facts();
    let environment = match planned {
        PlannedRuntime::Embedded => Vec::new(),
        PlannedRuntime::Library(_) | PlannedRuntime::RocrModel(_) => {
            environment(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
        }
    };
    let drives_hardware = *planned != PlannedRuntime::Embedded && env::var_os(MODEL_VARIABLE).is_none();
    RuntimeFacts {
        library: facts.library.as_ref().map(|library| library.path.display().to_string()),
        build: facts.build,
        rocm_release: facts.library.and_then(|library| library.release).map(|release| release.to_string()),
        interface: facts.interface.map(|version| version.to_string()),
        amd_interface: facts.amd_interface.map(|version| version.to_string()),
        hsa_init_ms: Some(u64::try_from(runtime.init_took().as_millis()).unwrap_or(u64::MAX)),
        peak_memory_kib: peak_memory_kib(),
        timestamp_hz: facts.timestamp_hz,
        extensions: facts.extensions,
        missing_functions: facts.missing_functions.into_iter().map(str::to_owned).collect(),
        driver: drives_hardware.then(|| driver(&SysfsRoot::default())),
        environment,
    }
}

/// Name of this machine (uname(2)); `None` where it has none.
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty() && name != "(none)")
}

/// The most memory that this process has had so far (`VmHWM`, proc_pid_status(5)).
fn peak_memory_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn environment(value_of: impl Fn(&str) -> Option<String>) -> Vec<EnvironmentVariable> {
    let variable = |name: &str| value_of(name).map(|value| EnvironmentVariable { name: name.to_owned(), value });
    VARIABLES.into_iter().filter_map(variable).collect()
}

fn driver(sysfs: &SysfsRoot) -> DriverFacts {
    let version = fs::read_to_string(sysfs.path().join("module/amdgpu/version"));
    DriverFacts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        amdgpu: version.ok().map(|version| version.trim().to_owned()).filter(|version| !version.is_empty()),
    }
}

/// What the runtime says of a GPU beyond its name and address.
pub fn agent(agent: &Agent) -> AgentFacts {
    AgentFacts {
        isas: agent.isas().to_vec(),
        wavefront_size: Some(agent.wavefront_size()).filter(|size| *size > 0),
        compute_units: agent.compute_units(),
        device_id: agent.device_id(),
        asic_family: agent.asic_family(),
        compute_firmware: agent.compute_firmware(),
        sdma_firmware: agent.sdma_firmware(),
        kfd_node: agent.driver_node(),
        uuid: agent.uuid().map(str::to_owned),
    }
}

/// What rings a queue, as the report names it.
pub const fn doorbell(kind: DoorbellKind) -> Doorbell {
    match kind {
        DoorbellKind::Register => Doorbell::Register,
        DoorbellKind::LegacyRegister => Doorbell::LegacyRegister,
        DoorbellKind::Memory => Doorbell::Memory,
        DoorbellKind::Unlisted(_) | DoorbellKind::Unreadable => Doorbell::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_are_set_are_recorded_and_only_those_that_matter() {
        let recorded = environment(|name| match name {
            "HSA_ENABLE_INTERRUPT" => Some("0".to_owned()),
            "HSA_TOOLS_LIB" => Some(String::new()),
            "PATH" => Some("/usr/bin".to_owned()),
            _ => None,
        });
        let variable = |name: &str, value: &str| EnvironmentVariable { name: name.to_owned(), value: value.to_owned() };
        assert_eq!(recorded, [variable("HSA_ENABLE_INTERRUPT", "0"), variable("HSA_TOOLS_LIB", "")]);
    }

    #[test]
    fn the_module_says_its_version_only_where_it_has_one() {
        let place = tempfile::tempdir().unwrap();
        let sysfs = SysfsRoot::new(place.path());
        assert_eq!(driver(&sysfs).amdgpu, None);
        assert_ne!(driver(&sysfs).kernel, "");
        fs::create_dir_all(place.path().join("module/amdgpu")).unwrap();
        // As the DKMS package of ROCm 6.2 writes it.
        fs::write(place.path().join("module/amdgpu/version"), "6.8.5\n").unwrap();
        assert_eq!(driver(&sysfs).amdgpu.as_deref(), Some("6.8.5"));
    }
}
