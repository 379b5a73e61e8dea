//! What speaks against switching AtomicOp Requester Enable of a device by hand.

use super::process::KfdProcesses;
use crate::pci::path::{self, PathCapability};
use crate::pci::requester::RequesterState;
use crate::pci::{Hierarchy, Hop, PcieReading};

/// How much an objection weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The device has no such bit.
    Final,
    /// It can be done, and who insists may.
    Overridable,
}

/// Something that speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// In a sentence.
    pub sentence: String,
    /// How much it weighs.
    pub weight: Weight,
}

/// What speaks against bringing the bit of the device at the end of the path into a state.
pub fn objections(hierarchy: &Hierarchy, wanted: RequesterState, processes: &KfdProcesses) -> Vec<Objection> {
    let Some(device) = hierarchy.endpoint() else { return Vec::new() };
    let mut found: Vec<Objection> = without_bit(device).into_iter().collect();
    let overridable = |sentence| Objection { sentence, weight: Weight::Overridable };
    if wanted == RequesterState::Enabled {
        let verdict = path::judge(hierarchy);
        if verdict.path == PathCapability::Incapable {
            let because = verdict.first_finding().map(|finding| finding.sentence.as_str()).unwrap_or_default();
            found.push(overridable(format!("The path does not carry AtomicOps, they would be sent and fail: {because}")));
        }
    }
    match processes {
        KfdProcesses::Listed(processes) if !processes.is_empty() => {
            let listed: Vec<String> = processes.iter().map(u32::to_string).collect();
            found.push(overridable(format!("Processes use the GPU through KFD: {}. End them first.", listed.join(", "))));
        }
        KfdProcesses::Listed(_) | KfdProcesses::NoList => {}
        KfdProcesses::Unreadable(why) => {
            found.push(overridable(format!("Whether processes use the GPU through KFD is not known: {why}.")));
        }
    }
    found
}

fn without_bit(device: &Hop) -> Option<Objection> {
    let bdf = device.bdf;
    let refuse = |sentence| Some(Objection { sentence, weight: Weight::Final });
    if let Some(physical) = device.physical_function {
        return refuse(format!("{bdf} is an SR-IOV virtual function, where the bit is reserved; switch {physical} on the host."));
    }
    match device.pcie {
        PcieReading::Absent => refuse(format!("{bdf} has no PCI Express capability.")),
        PcieReading::Present(capability) if capability.devctl2().is_none() => {
            refuse(format!("The PCI Express capability of {bdf} is version 1, which has no AtomicOp Requester Enable."))
        }
        PcieReading::Present(_) | PcieReading::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{Completeness, dump};

    const FIJI: &str = include_str!("../../tests/data/lspci/01-fiji-before.txt");

    fn fiji() -> Hierarchy {
        let function = dump::read(FIJI).unwrap().remove(0);
        Hierarchy { hops: vec![Hop::read(function.bdf, &function.config)], completeness: Completeness::Whole }
    }

    #[test]
    fn a_virtual_function_is_refused_for_good() {
        let mut path = fiji();
        path.hops[0].physical_function = Some("0a:00.0".parse().unwrap());
        let found = objections(&path, RequesterState::Disabled, &KfdProcesses::NoList);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].weight, Weight::Final);
        assert!(found[0].sentence.contains("0000:0a:00.0"), "{}", found[0].sentence);
    }

    #[test]
    fn an_incapable_path_speaks_against_enabling_only() {
        let path = fiji();
        let enable = objections(&path, RequesterState::Enabled, &KfdProcesses::NoList);
        assert_eq!(enable.iter().map(|objection| objection.weight).collect::<Vec<_>>(), [Weight::Overridable]);
        assert_eq!(objections(&path, RequesterState::Disabled, &KfdProcesses::NoList), []);
    }

    #[test]
    fn processes_that_use_the_gpu_speak_against_it() {
        let found = objections(&fiji(), RequesterState::Disabled, &KfdProcesses::Listed(vec![7, 42]));
        assert!(found[0].sentence.contains("7, 42") && found[0].weight == Weight::Overridable);
        assert_eq!(objections(&fiji(), RequesterState::Disabled, &KfdProcesses::Listed(Vec::new())), []);
        let unknown = KfdProcesses::Unreadable("no permission".to_owned());
        assert_eq!(objections(&fiji(), RequesterState::Disabled, &unknown)[0].weight, Weight::Overridable);
    }
}
