//! From a request to an open bed with its GPUs, the chosen ones among them, and the states of AtomicOps to run in.

use std::path::PathBuf;

use crate::hsa::RuntimeChoice;
use crate::pci::Bdf;
use crate::report::{AtomicsMode, BedKind, BedReport};
use crate::verify::error::VerifyError;
use crate::verify::event::{AgentSummary, Gate, Pace, WorkerPlan};
use crate::verify::request::{AtomicsSelection, DeviceSelector, Milliseconds, PlaceRequest, RequestedRuntime};

use super::bed::{self, ReadyBed, Rules};
use super::interrupt::Interrupts;
use super::no_gpu::{self, Explanation, Finding};
use super::process::Worker;
use super::session::{self, Roster};

/// A bed with its GPUs.
pub struct Opened {
    /// The bed.
    pub bed: ReadyBed,
    /// What the runtime said.
    pub roster: Roster,
    /// What the first worker died of while it opened the runtime, if a second one did not.
    pub opening_crash: Option<String>,
    /// Why the bed is a self-test, if it is one.
    pub no_gpu: Option<Explanation>,
}

/// Prepares the bed and asks it for its GPUs. Where the user left the choice, a runtime without a GPU makes it a self-test; where
/// the user did not, that is an error which says what is missing.
pub fn open(request: &PlaceRequest, interrupts: &Interrupts) -> Result<Opened, VerifyError> {
    let mut bed = bed::prepare(request)?;
    let library = || no_gpu::library(&RuntimeChoice::Path(PathBuf::from(&bed.report.runtime)));
    let finding = match enumerate(&bed, interrupts) {
        Ok((roster, opening_crash)) if !roster.agents.is_empty() => {
            if bed.rules == Rules::RocrModel {
                let said = &roster.runtime;
                bed.report.rocr = bed.report.rocr.or_else(|| said.rocm_release.clone()).or_else(|| said.build.clone());
            }
            let self_test = bed.report.kind == BedKind::EmbeddedSelfTest;
            let no_gpu = if self_test { Finding::of_system().map(Explanation::here) } else { None };
            return Ok(Opened { bed, roster, opening_crash, no_gpu });
        }
        Ok(_) if bed.report.kind == BedKind::Hardware => Finding::ListsNone { library: library() },
        Err(VerifyError::Runtime(reason)) if bed.report.kind == BedKind::Hardware => {
            Finding::Refused { library: library(), reason }
        }
        Err(VerifyError::Runtime(reason)) if bed.rules == Rules::Guest => return Err(VerifyError::Guest(reason)),
        Ok(_) if bed.rules == Rules::RocrModel => {
            return Err(VerifyError::RocrModel(format!("{} ({}): it lists no GPU", bed.report.rocr_model(), bed.report.runtime)));
        }
        Err(VerifyError::Runtime(reason)) if bed.rules == Rules::RocrModel => {
            return Err(VerifyError::RocrModel(format!("{} ({}): {reason}", bed.report.rocr_model(), bed.report.runtime)));
        }
        Ok(_) => return Err(VerifyError::Runtime(format!("{}: it lists no GPU{}", bed.report.runtime, aside(&bed.report)))),
        Err(VerifyError::Runtime(reason)) => {
            return Err(VerifyError::Runtime(format!("{}: {reason}{}", bed.report.runtime, aside(&bed.report))));
        }
        Err(error) => return Err(error),
    };
    let reason = match &finding {
        Finding::Refused { reason, .. } => format!("{}: {reason}", bed.report.runtime),
        _ => format!("{}: it lists no GPU", bed.report.runtime),
    };
    let explanation = Explanation::here(finding);
    if request.runtime != RequestedRuntime::Choice(RuntimeChoice::Auto) {
        return Err(VerifyError::NoGpu(explanation.to_string()));
    }
    let bed = bed::self_test(request, reason)?;
    let (roster, opening_crash) = enumerate(&bed, interrupts)?;
    Ok(Opened { bed, roster, opening_crash, no_gpu: Some(explanation) })
}

/// What is special about the bed, after a sentence.
fn aside(bed: &BedReport) -> String {
    bed.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// The GPUs of a bed. A worker that dies here gets one more chance, and its death is remembered.
fn enumerate(bed: &ReadyBed, interrupts: &Interrupts) -> Result<(Roster, Option<String>), VerifyError> {
    let plan = WorkerPlan {
        supervisor: std::process::id(),
        runtime: bed.runtime.clone(),
        agent: 0,
        already: 0,
        cases: Vec::new(),
        pace: Pace { timeout: Milliseconds::DEFAULT_TIMEOUT, quiet: None },
        fabric: None,
        gate: Gate::Open,
    };
    // Which GPUs there are is no question about what goes wrong with them.
    let launcher = bed.launcher.without_faults();
    let mut launch = |plan: &WorkerPlan| Ok(Box::new(launcher.launch(plan)?) as Box<dyn Worker>);
    match session::enumerate(&plan, &mut launch, interrupts) {
        Ok(roster) => Ok((roster, None)),
        Err(VerifyError::WorkerDied { signal, .. }) => Ok((session::enumerate(&plan, &mut launch, interrupts)?, Some(signal))),
        Err(error) => Err(error),
    }
}

/// The agents that the user selected.
pub fn choose<'a>(
    wanted: DeviceSelector,
    agents: &'a [AgentSummary],
    bed: &BedReport,
) -> Result<Vec<&'a AgentSummary>, VerifyError> {
    let at = |bdf: &Bdf, agent: &AgentSummary| agent.bdf.as_deref().and_then(|text| text.parse().ok()).as_ref() == Some(bdf);
    let chosen: Vec<_> = match wanted {
        DeviceSelector::First => agents.iter().take(1).collect(),
        DeviceSelector::All => agents.iter().collect(),
        DeviceSelector::Index(index) => agents.iter().filter(|agent| agent.index == index).collect(),
        DeviceSelector::Bdf(bdf) => agents.iter().filter(|agent| at(&bdf, agent)).collect(),
    };
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let found = agents
        .iter()
        .map(|agent| {
            format!("{}: {} ({}) at {}", agent.index, agent.name, agent.gfx, agent.bdf.as_deref().unwrap_or("an unknown address"))
        })
        .collect::<Vec<_>>()
        .join(", ");
    let found = if found.is_empty() { "none".to_owned() } else { found };
    Err(VerifyError::NoSuchDevice { wanted, found, self_test: bed.reason.clone() })
}

/// The states of AtomicOps to run in, in order: off first, so that the machine is left as it works.
pub fn modes(wanted: Option<AtomicsSelection>, bed: &BedReport) -> &'static [AtomicsMode] {
    let default = match (bed.kind, &bed.replay) {
        (BedKind::Embedded | BedKind::EmbeddedSelfTest | BedKind::RocrModel, None) => AtomicsSelection::Both,
        (BedKind::Hardware | BedKind::UnaskedModel | BedKind::Guest, _) | (_, Some(_)) => AtomicsSelection::AsFound,
    };
    match wanted.unwrap_or(default) {
        AtomicsSelection::AsFound => &[AtomicsMode::AsFound],
        AtomicsSelection::On => &[AtomicsMode::On],
        AtomicsSelection::Off => &[AtomicsMode::Off],
        AtomicsSelection::Both => &[AtomicsMode::Off, AtomicsMode::On],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bed(kind: BedKind, replay: Option<&str>) -> BedReport {
        BedReport { kind, runtime: "x".to_owned(), rocr: None, reason: None, replay: replay.map(str::to_owned) }
    }

    fn agents() -> Vec<AgentSummary> {
        let agent = |index, bdf: &str| AgentSummary {
            index,
            bdf: Some(bdf.to_owned()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            facts: Default::default(),
        };
        vec![agent(0, "0000:0b:00.0"), agent(1, "0000:0c:00.0")]
    }

    #[test]
    fn both_states_is_the_default_on_the_software_gpu_and_as_found_everywhere_else() {
        let both = [AtomicsMode::Off, AtomicsMode::On];
        assert_eq!(modes(None, &bed(BedKind::Embedded, None)), both);
        assert_eq!(modes(None, &bed(BedKind::EmbeddedSelfTest, None)), both);
        assert_eq!(modes(None, &bed(BedKind::RocrModel, None)), both);
        assert_eq!(modes(None, &bed(BedKind::UnaskedModel, None)), [AtomicsMode::AsFound]);
        assert_eq!(modes(None, &bed(BedKind::Guest, None)), [AtomicsMode::AsFound]);
        assert_eq!(modes(None, &bed(BedKind::Embedded, Some("dump"))), [AtomicsMode::AsFound]);
        assert_eq!(modes(None, &bed(BedKind::Hardware, None)), [AtomicsMode::AsFound]);
        assert_eq!(modes(Some(AtomicsSelection::Both), &bed(BedKind::Hardware, None)), both);
    }

    #[test]
    fn devices_are_selected_by_address_position_or_all() {
        let (agents, bed) = (agents(), bed(BedKind::Hardware, None));
        let indices = |wanted| choose(wanted, &agents, &bed).unwrap().iter().map(|agent| agent.index).collect::<Vec<_>>();
        assert_eq!(indices(DeviceSelector::First), [0]);
        assert_eq!(indices(DeviceSelector::All), [0, 1]);
        assert_eq!(indices("1".parse().unwrap()), [1]);
        assert_eq!(indices("0c:00.0".parse().unwrap()), [1]);
    }

    #[test]
    fn a_device_that_is_not_there_lists_what_is() {
        let error = choose("0d:00.0".parse().unwrap(), &agents(), &bed(BedKind::Hardware, None)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0000:0d:00.0") && text.contains("0: Fiji (gfx803) at 0000:0b:00.0"), "{text}");
        assert_eq!(error.exit_code().status(), 2);
    }
}
