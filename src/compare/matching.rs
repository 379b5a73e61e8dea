//! Which parts of two reports belong together, and in what they are unlike.

use crate::report::{AgentFacts, AtomicsMode, BedReport, Document, ExitCode, RuntimeFacts, Verdict};

use super::{Aspect, Change, Finding, Unlikeness};

/// What of a GPU tells it from another.
pub(super) struct Gpu<'a> {
    pub index: usize,
    pub bdf: Option<&'a str>,
    pub name: &'a str,
    pub gfx: &'a str,
}

impl Gpu<'_> {
    pub fn words(&self) -> String {
        let place = self.bdf.map_or_else(|| format!("GPU {}", self.index), |bdf| format!("GPU {} at {bdf}", self.index));
        format!("{place}, {}, {}", self.name, self.gfx)
    }
}

/// The beds' unlikenesses.
pub(super) fn beds(base: &BedReport, new: &BedReport) -> Vec<Unlikeness> {
    let words = |bed: &BedReport| {
        let kind = serde_json::to_value(bed.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        bed.replay.as_ref().map_or_else(|| kind.clone(), |replay| format!("{kind}, config space replayed from {replay}"))
    };
    differing(Aspect::Bed, "bed", &words(base), &words(new)).into_iter().collect()
}

/// Faults on purpose in one report that the other has not, or with another seed.
pub(super) fn injections(base: &Document, new: &Document) -> Option<Unlikeness> {
    let words = |document: &Document| document.injected().unwrap_or("none").to_owned();
    differing(Aspect::Settings, "injected faults", &words(base), &words(new))
}

/// One thing that is not the same on both sides.
pub(super) fn differing(aspect: Aspect, what: &str, base: &str, new: &str) -> Option<Unlikeness> {
    (base != new).then(|| Unlikeness { aspect, sentence: format!("{what} {base} against {new}") })
}

/// Positions of GPUs that belong together: by PCI address; where each side has but one, these two; of what is left, those of the same target
/// and name in their order. What is at another address, without a partner, or has another name or target is told.
pub(super) fn pair(base: &[Gpu<'_>], new: &[Gpu<'_>], unlike: &mut Vec<Unlikeness>) -> Vec<(usize, usize)> {
    let (mut pairs, mut left) = (Vec::new(), Vec::new());
    let alone = base.len() == 1 && new.len() == 1;
    for (at, gpu) in base.iter().enumerate() {
        let same = |other: &Gpu<'_>| match (gpu.bdf, other.bdf) {
            (Some(here), Some(there)) => here == there,
            _ => gpu.index == other.index,
        };
        match new.iter().position(same).or(alone.then_some(0)) {
            Some(partner) => {
                let describe = |gpu: &Gpu<'_>| format!("{}, {}", gpu.name, gpu.gfx);
                unlike.extend(differing(Aspect::Device, "GPU", &describe(gpu), &describe(&new[partner])));
                pairs.push((at, partner));
            }
            None => left.push(at),
        }
    }
    for at in left {
        let gpu = &base[at];
        let taken = |partner: usize| pairs.iter().any(|(_, taken)| *taken == partner);
        let alike = |(partner, other): &(usize, &Gpu<'_>)| !taken(*partner) && (other.gfx, other.name) == (gpu.gfx, gpu.name);
        match new.iter().enumerate().find(alike) {
            Some((partner, other)) => {
                unlike.extend(differing(Aspect::Device, "address", &gpu.words(), &other.words()));
                pairs.push((at, partner));
            }
            None => unlike.push(only(Aspect::Device, &gpu.words(), "base")),
        }
    }
    pairs.sort_unstable();
    for (at, gpu) in new.iter().enumerate() {
        if !pairs.iter().any(|(_, partner)| *partner == at) {
            unlike.push(only(Aspect::Device, &gpu.words(), "new report"));
        }
    }
    pairs
}

fn only(aspect: Aspect, what: &str, side: &str) -> Unlikeness {
    Unlikeness { aspect, sentence: format!("{what} is only in the {side}") }
}

/// Positions of runs in the same state of AtomicOps.
pub(super) fn pair_modes(base: &[AtomicsMode], new: &[AtomicsMode], unlike: &mut Vec<Unlikeness>) -> Vec<(usize, usize)> {
    let run = |mode: &AtomicsMode| format!("the run with AtomicOps {mode}");
    unlike.extend(base.iter().filter(|mode| !new.contains(mode)).map(|mode| only(Aspect::Settings, &run(mode), "base")));
    unlike.extend(new.iter().filter(|mode| !base.contains(mode)).map(|mode| only(Aspect::Settings, &run(mode), "new report")));
    base.iter()
        .enumerate()
        .filter_map(|(at, mode)| new.iter().position(|other| other == mode).map(|partner| (at, partner)))
        .collect()
}

/// How bad an exit code is.
const fn severity(code: ExitCode) -> u8 {
    match code {
        ExitCode::Pass => 0,
        ExitCode::Degraded => 1,
        ExitCode::NoHardware => 2,
        ExitCode::CheckFailed => 3,
        ExitCode::Hang => 4,
        ExitCode::Usage => 5,
    }
}

/// The last words, where they differ.
pub(super) fn verdicts(base: &Verdict, new: &Verdict) -> Option<Finding> {
    let change = match severity(new.exit_code).cmp(&severity(base.exit_code)) {
        std::cmp::Ordering::Greater => Change::Regressed,
        std::cmp::Ordering::Less => Change::Improved,
        std::cmp::Ordering::Equal if new.word != base.word => Change::Changed,
        std::cmp::Ordering::Equal => return None,
    };
    Some(Finding::Verdict { base: base.word.to_string(), new: new.word.to_string(), change })
}

/// What differs around the reports without making them unlike: it may be the very reason to compare.
pub(super) fn surroundings(base: &Document, new: &Document) -> Vec<String> {
    let mut pairs = vec![("machine", base.host().map(str::to_owned), new.host().map(str::to_owned))];
    let (base_runtime, base_agents) = runtime_and_agents(base);
    let (new_runtime, new_agents) = runtime_and_agents(new);
    let kernel = |facts: &RuntimeFacts| facts.driver.as_ref().map(|driver| driver.kernel.clone());
    let amdgpu = |facts: &RuntimeFacts| facts.driver.as_ref().and_then(|driver| driver.amdgpu.clone());
    pairs.push(("runtime's build", base_runtime.build.clone(), new_runtime.build.clone()));
    pairs.push(("ROCm release", base_runtime.rocm_release.clone(), new_runtime.rocm_release.clone()));
    pairs.push(("kernel", kernel(base_runtime), kernel(new_runtime)));
    pairs.push(("amdgpu module", amdgpu(base_runtime), amdgpu(new_runtime)));
    pairs.push(("ROCr of the bed", base.bed().rocr.clone(), new.bed().rocr.clone()));
    let environment = |facts: &RuntimeFacts| {
        let set: Vec<String> = facts.environment.iter().map(|set| format!("{}={}", set.name, set.value)).collect();
        (!set.is_empty()).then(|| set.join(" "))
    };
    pairs.push(("environment", environment(base_runtime), environment(new_runtime)));
    for (base, new) in base_agents.iter().zip(&new_agents) {
        let text = |number: Option<u32>| number.map(|number| number.to_string());
        pairs.push(("compute firmware", text(base.compute_firmware), text(new.compute_firmware)));
        pairs.push(("SDMA firmware", text(base.sdma_firmware), text(new.sdma_firmware)));
    }
    if let (Document::Latency(base), Document::Latency(new)) = (base, new) {
        let cpu = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        pairs.push(("processor", cpu(&base.host.cpu), cpu(&new.host.cpu)));
        pairs.push(("host kernel", cpu(&base.host.kernel), cpu(&new.host.kernel)));
        pairs.push(("hypervisor", base.host.hypervisor.clone(), new.host.hypervisor.clone()));
        pairs.push(("frequency governor", base.host.governor.clone(), new.host.governor.clone()));
    }
    let words = |side: Option<String>| side.unwrap_or_else(|| "[not said]".to_owned());
    pairs
        .into_iter()
        .filter(|(_, base, new)| base != new)
        .map(|(what, base, new)| format!("{what}: {} in the base, {} in the new report", words(base), words(new)))
        .collect()
}

fn runtime_and_agents(document: &Document) -> (&RuntimeFacts, Vec<&AgentFacts>) {
    match document {
        Document::Verify(report) => (&report.runtime, report.devices.iter().map(|device| &device.agent).collect()),
        Document::Latency(report) => (&report.runtime, report.devices.iter().map(|device| &device.agent).collect()),
    }
}
