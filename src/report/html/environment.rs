//! Runtime, agent, driver and machine, as they described themselves.

use maud::{Markup, html};

use crate::report::latency::HostReport;
use crate::report::runtime::{AgentFacts, Doorbell, RuntimeFacts};
use crate::report::runtime_text::agent_words;

use super::words::foreign;

/// Rows of a list of facts; what nobody said is left out.
pub(super) fn facts(rows: Vec<(&str, Option<String>)>) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in rows {
                @if let Some(value) = value.filter(|value| !value.is_empty()) { dt { (foreign(name)) } dd { (foreign(&value)) } }
            }
        }
    }
}

pub(super) fn runtime(runtime: &RuntimeFacts, host: Option<&HostReport>) -> Markup {
    let list = |words: &[String]| (!words.is_empty()).then(|| words.join(", "));
    let mut rows = vec![
        ("runtime library", runtime.library.clone()),
        ("ROCm release", runtime.rocm_release.clone()),
        ("runtime build", runtime.build.clone()),
        ("HSA interface", runtime.interface.clone()),
        ("AMD extensions", runtime.amd_interface.clone()),
        ("hsa_init took", runtime.hsa_init_ms.map(|time| format!("{time} ms"))),
        ("extensions", list(&runtime.extensions)),
        ("functions missing", list(&runtime.missing_functions)),
        ("kernel", runtime.driver.as_ref().map(|driver| driver.kernel.clone())),
        ("amdgpu module", runtime.driver.as_ref().and_then(|driver| driver.amdgpu.clone())),
    ];
    if let Some(host) = host {
        rows.extend([
            ("processor", Some(host.cpu.clone())),
            ("logical processors", Some(host.logical_cpus.to_string())),
            ("host kernel", Some(host.kernel.clone())),
            ("hypervisor", host.hypervisor.clone()),
            ("frequency governor", host.governor.clone()),
            ("load average", host.load_average.map(|load| format!("{load:.2}"))),
        ]);
    }
    html! {
        details {
            summary { "Environment" }
            (facts(rows))
            @if !runtime.environment.is_empty() {
                h4 { "Environment variables" }
                dl.facts { @for variable in &runtime.environment { dt.mono { (foreign(&variable.name)) } dd.mono { (foreign(&variable.value)) } } }
            }
        }
    }
}

/// The GPU in the runtime's words; nothing where it said nothing.
pub(super) fn agent(agent: &AgentFacts, doorbell: Option<Doorbell>) -> Markup {
    let words = agent_words(agent, doorbell);
    html! { @if !words.is_empty() { p.quiet { "As the runtime describes it: " (foreign(&words)) } } }
}
