//! The runtime and its agents, in the report for people.

use std::io;

use super::runtime::{AgentFacts, Doorbell, EnvironmentVariable, RuntimeFacts};
use super::style::tame;

/// Writes which library answered, the driver, the environment, and what of that may change the result. The runtime inside this
/// program has none of these.
///
/// # Errors
/// Those of `out`.
pub fn write_runtime(runtime: &RuntimeFacts, out: &mut impl io::Write) -> io::Result<()> {
    if let Some(library) = &runtime.library {
        writeln!(out, "HSA runtime: {}", runtime_words(library, runtime))?;
    }
    if let Some(driver) = &runtime.driver {
        let amdgpu = driver.amdgpu.as_ref().map(|version| format!(", amdgpu {}", tame(version))).unwrap_or_default();
        writeln!(out, "Driver: Linux {}{amdgpu}", tame(&driver.kernel))?;
    }
    if !runtime.missing_functions.is_empty() {
        writeln!(out, "This runtime lacks {}", tame(&runtime.missing_functions.join(", ")))?;
    }
    if !runtime.environment.is_empty() {
        let set: Vec<String> =
            runtime.environment.iter().map(|variable| format!("{}={}", variable.name, tame(&variable.value))).collect();
        writeln!(out, "Environment: {}", set.join(" "))?;
    }
    runtime.environment.iter().filter_map(caution).try_for_each(|caution| writeln!(out, "Note: {caution}"))
}

fn runtime_words(library: &str, runtime: &RuntimeFacts) -> String {
    let mut words = vec![tame(library)];
    words.push(runtime.build.as_ref().map_or_else(|| "of an unknown build".to_owned(), |build| format!("ROCr {}", tame(build))));
    words.extend(runtime.rocm_release.as_ref().map(|release| format!("ROCm {}", tame(release))));
    words.extend(runtime.interface.as_ref().map(|version| format!("HSA {}", tame(version))));
    words.extend(runtime.amd_interface.as_ref().map(|version| format!("AMD extensions {}", tame(version))));
    words.join(", ")
}

/// What a variable does to the result, where that is not plain.
fn caution(variable: &EnvironmentVariable) -> Option<&'static str> {
    if variable.value.is_empty() {
        return None;
    }
    match variable.name.as_str() {
        "HSA_TOOLS_LIB" => Some("HSA_TOOLS_LIB is set: queues may be intercepted, and then their packets are the tool's"),
        "HSA_OVERRIDE_GFX_VERSION" => {
            Some("HSA_OVERRIDE_GFX_VERSION is set: the runtime takes the GPU for another target than it is")
        }
        "ROCR_VISIBLE_DEVICES" => Some("ROCR_VISIBLE_DEVICES is set: GPUs may be hidden, and positions count only those shown"),
        _ => None,
    }
}

/// What the runtime says of a GPU, and what rings its queues, in one line; empty where it says nothing.
pub fn agent_words(agent: &AgentFacts, doorbell: Option<Doorbell>) -> String {
    let mut words: Vec<String> = agent.isas.first().map(|isa| tame(isa)).into_iter().collect();
    words.extend(agent.wavefront_size.map(|size| format!("wavefronts of {size}")));
    words.extend(agent.compute_units.map(|units| format!("{units} compute units")));
    words.extend(agent.compute_firmware.map(|version| format!("compute firmware {version}")));
    words.extend(agent.sdma_firmware.map(|version| format!("SDMA firmware {version}")));
    words.extend(agent.kfd_node.map(|node| format!("KFD node {node}")));
    words.extend(agent.uuid.as_ref().map(|uuid| tame(uuid)));
    words.extend(doorbell.map(|doorbell| format!("doorbell: {}", doorbell_words(doorbell))));
    words.join(", ")
}

const fn doorbell_words(doorbell: Doorbell) -> &'static str {
    match doorbell {
        Doorbell::Register => "64-bit register",
        Doorbell::LegacyRegister => "legacy 32-bit register",
        Doorbell::Memory => "a value in memory",
        Doorbell::Unknown => "of unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::super::runtime::DriverFacts;
    use super::*;

    fn text(runtime: &RuntimeFacts) -> String {
        let mut out = Vec::new();
        write_runtime(runtime, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn variable(name: &str, value: &str) -> EnvironmentVariable {
        EnvironmentVariable { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn the_runtime_inside_this_program_needs_no_introduction() {
        assert_eq!(text(&RuntimeFacts { timestamp_hz: 1, interface: Some("1.2".to_owned()), ..RuntimeFacts::default() }), "");
    }

    #[test]
    fn a_library_is_named_with_its_versions_and_what_it_lacks() {
        let runtime = RuntimeFacts {
            library: Some("/opt/rocm/lib/libhsa-runtime64.so.1.12.60002".to_owned()),
            build: Some("1.12.0".to_owned()),
            rocm_release: Some("6.0.2".to_owned()),
            interface: Some("1.1".to_owned()),
            amd_interface: Some("1.4".to_owned()),
            missing_functions: vec!["hsa_amd_signal_create".to_owned()],
            driver: Some(DriverFacts { kernel: "6.8.0".to_owned(), amdgpu: Some("6.3.6".to_owned()) }),
            ..RuntimeFacts::default()
        };
        assert_eq!(
            text(&runtime),
            "HSA runtime: /opt/rocm/lib/libhsa-runtime64.so.1.12.60002, ROCr 1.12.0, ROCm 6.0.2, HSA 1.1, AMD extensions 1.4\n\
             Driver: Linux 6.8.0, amdgpu 6.3.6\n\
             This runtime lacks hsa_amd_signal_create\n"
        );
        let silent = RuntimeFacts { library: Some("/lib/x.so".to_owned()), ..RuntimeFacts::default() };
        assert_eq!(text(&silent), "HSA runtime: /lib/x.so, of an unknown build\n");
    }

    #[test]
    fn variables_that_change_what_is_tested_are_shown_with_a_note() {
        let environment = vec![variable("HSA_ENABLE_INTERRUPT", "0"), variable("HSA_TOOLS_LIB", "librocprofiler.so\u{1b}[31m")];
        let shown = text(&RuntimeFacts { environment, ..RuntimeFacts::default() });
        assert!(shown.contains("Environment: HSA_ENABLE_INTERRUPT=0 HSA_TOOLS_LIB=librocprofiler.so"), "{shown}");
        assert!(shown.contains("Note: HSA_TOOLS_LIB is set: queues may be intercepted"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
        let overridden =
            RuntimeFacts { environment: vec![variable("HSA_OVERRIDE_GFX_VERSION", "10.3.0")], ..RuntimeFacts::default() };
        assert!(text(&overridden).contains("Note: HSA_OVERRIDE_GFX_VERSION"));
        let unset = RuntimeFacts { environment: vec![variable("HSA_TOOLS_LIB", "")], ..RuntimeFacts::default() };
        assert!(!text(&unset).contains("Note"));
    }

    #[test]
    fn an_agent_is_described_by_what_is_known_of_it() {
        assert_eq!(agent_words(&AgentFacts::default(), None), "");
        let agent = AgentFacts {
            isas: vec!["amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-".to_owned()],
            wavefront_size: Some(64),
            compute_units: Some(304),
            compute_firmware: Some(177),
            sdma_firmware: Some(22),
            kfd_node: Some(2),
            ..AgentFacts::default()
        };
        assert_eq!(
            agent_words(&agent, Some(Doorbell::Register)),
            "amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-, wavefronts of 64, 304 compute units, compute firmware 177, SDMA firmware 22, \
             KFD node 2, doorbell: 64-bit register"
        );
        assert_eq!(agent_words(&AgentFacts::default(), Some(Doorbell::LegacyRegister)), "doorbell: legacy 32-bit register");
    }
}
