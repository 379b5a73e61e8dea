//! Devices that differ from most of their kind.
//!
//! A kind is: the same bed and target; for a median also the same state of AtomicOps and the same settings. In words (path, firmware,
//! runtime, driver, verdict) the majority is what more than half of the kind have. A median is odd when it lies beyond three standard deviations
//! of the fleet's median, estimated robustly (1.4826 × the median absolute deviation), and at least 10 % from it.

use std::collections::BTreeMap;

use crate::report::fleet::{FleetEntry, OddOne, OddTrait};
use crate::report::latency::LatencyResult;
use crate::report::{AgentFacts, AtomicsMode, BedKind, Bit, Document, ExitCode, HopReport, PathReport, RuntimeFacts, time};

use super::newest::{Superseded, settings_words};

/// With fewer there is no telling which of them is the odd one.
const DEVICES_AT_LEAST: usize = 3;

/// A median nearer than this to the fleet's is not odd, however alike the others are.
const MEDIAN_APART_AT_LEAST: f64 = 0.10;

/// One device's value of one trait.
struct Sighting<'a> {
    node: &'a str,
    device: usize,
    bed: BedKind,
    atomics: Option<AtomicsMode>,
    differs_in: OddTrait,
    /// What makes it comparable, beyond the trait and the bed.
    kind: String,
    value: Value,
}

enum Value {
    Words(String),
    Nanoseconds(f64),
}

/// The odd ones, and what could not be compared.
pub(super) fn find(reports: &[FleetEntry]) -> (Vec<OddOne>, Vec<String>) {
    let mut kinds: BTreeMap<(OddTrait, String), Vec<Sighting<'_>>> = BTreeMap::new();
    let superseded = Superseded::among(reports);
    for (at, entry) in reports.iter().enumerate() {
        for sighting in sightings(entry).into_iter().filter(|sighting| !superseded.contains(at, sighting.device)) {
            kinds.entry((sighting.differs_in, sighting.kind.clone())).or_default().push(sighting);
        }
    }
    let (mut odd, mut small) = (Vec::new(), 0_usize);
    for sightings in kinds.values() {
        if sightings.len() < DEVICES_AT_LEAST {
            small += 1;
            continue;
        }
        odd.extend(odd_words(sightings));
        odd.extend(odd_medians(sightings));
    }
    let mut notes = superseded.notes(reports);
    if small > 0 {
        notes.push(format!("{small} traits were seen on fewer than {DEVICES_AT_LEAST} devices of a kind and not compared"));
    }
    (odd, notes)
}

fn sightings(entry: &FleetEntry) -> Vec<Sighting<'_>> {
    let bed = entry.report.bed().kind;
    let new = |device: usize, gfx: &str, differs_in: OddTrait, words: String| Sighting {
        node: &entry.node,
        device,
        bed,
        atomics: None,
        differs_in,
        kind: format!("{bed:?} {gfx}"),
        value: Value::Words(words),
    };
    let mut found = Vec::new();
    match &entry.report {
        Document::Verify(report) => {
            for device in &report.devices {
                found.push(new(device.index, &device.gfx, OddTrait::Verdict, verdict_words(device.diagnosis.exit_code)));
                found.extend(device.path.as_ref().map(|path| new(device.index, &device.gfx, OddTrait::Path, path_words(path))));
                found.extend(
                    facts(&device.agent, &report.runtime)
                        .into_iter()
                        .map(|(differs_in, words)| new(device.index, &device.gfx, differs_in, words)),
                );
            }
        }
        Document::Latency(report) => {
            for device in &report.devices {
                found.extend(
                    facts(&device.agent, &report.runtime)
                        .into_iter()
                        .map(|(differs_in, words)| new(device.index, &device.gfx, differs_in, words)),
                );
                for run in &device.runs {
                    if let LatencyResult::Measured(measurement) = &run.result {
                        found.push(Sighting {
                            atomics: Some(run.atomics),
                            kind: format!("{bed:?} {} {:?} {}", device.gfx, run.atomics, settings_words(report)),
                            value: Value::Nanoseconds(measurement.round_trip.typical_ns as f64),
                            ..new(device.index, &device.gfx, OddTrait::Median, String::new())
                        });
                    }
                }
            }
        }
    }
    // Facts of the same device stand in its verify report and in its latency report; they are apart by the kind of report.
    let document = entry.report.kind();
    found.iter_mut().for_each(|sighting| sighting.kind.push_str(&format!(" {document:?}")));
    found
}

fn verdict_words(code: ExitCode) -> String {
    let word = match code {
        ExitCode::Pass => "passes",
        ExitCode::CheckFailed => "fails",
        ExitCode::Usage => "was not tested",
        ExitCode::Hang => "hangs",
        ExitCode::NoHardware => "no GPU was tested",
        ExitCode::Degraded => "passes, degraded",
    };
    format!("{word} (exit code {})", code.status())
}

/// What stands about firmware, runtime and driver; what nobody said is left out.
fn facts(agent: &AgentFacts, runtime: &RuntimeFacts) -> Vec<(OddTrait, String)> {
    let joined = |parts: [Option<String>; 2]| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    };
    let firmware = joined([
        agent.compute_firmware.map(|version| format!("compute {version}")),
        agent.sdma_firmware.map(|version| format!("SDMA {version}")),
    ]);
    let release = runtime.rocm_release.as_ref().map(|release| format!("ROCm {release}"));
    let library = joined([release, runtime.build.as_ref().map(|build| format!("build {build}"))]);
    let driver = runtime.driver.as_ref().and_then(|driver| {
        let kernel = Some(&driver.kernel).filter(|kernel| !kernel.is_empty());
        joined([kernel.map(|kernel| format!("Linux {kernel}")), driver.amdgpu.as_ref().map(|version| format!("amdgpu {version}"))])
    });
    [(OddTrait::Firmware, firmware), (OddTrait::Runtime, library), (OddTrait::Driver, driver)]
        .into_iter()
        .filter_map(|(differs_in, words)| words.map(|words| (differs_in, words)))
        .collect()
}

/// The path by what decides on it: roles, device IDs and bits. Addresses differ between equal machines and are left out.
fn path_words(path: &PathReport) -> String {
    path.hops.iter().map(hop_words).collect::<Vec<_>>().join(" > ")
}

fn hop_words(hop: &HopReport) -> String {
    let bits: [(&str, Option<Bit>); 6] = [
        ("Routing", hop.routing),
        ("32bit", hop.completer_32),
        ("64bit", hop.completer_64),
        ("ReqEn", hop.requester_enable),
        ("EgressBlck", hop.egress_blocked),
        ("BusMaster", hop.bus_master),
    ];
    let bits: Vec<String> = bits.iter().filter_map(|(name, bit)| bit.map(|bit| format!("{name}{bit}"))).collect();
    let id = hop.id.as_ref().map(|id| format!(" [{id}]")).unwrap_or_default();
    format!("{}{id} {}", hop.role, bits.join(" "))
}

fn odd_words(sightings: &[Sighting<'_>]) -> Vec<OddOne> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sighting in sightings {
        if let Value::Words(words) = &sighting.value {
            *counts.entry(words).or_default() += 1;
        }
    }
    let Some(most) = counts.iter().find(|(_, count)| **count * 2 > sightings.len()).map(|(words, _)| *words) else {
        return Vec::new();
    };
    let is_odd = |sighting: &&Sighting<'_>| matches!(&sighting.value, Value::Words(words) if words != most);
    sightings.iter().filter(is_odd).map(|sighting| odd_one(sighting, most.to_owned(), sightings.len())).collect()
}

fn odd_medians(sightings: &[Sighting<'_>]) -> Vec<OddOne> {
    let times: Vec<f64> = sightings
        .iter()
        .filter_map(|sighting| match sighting.value {
            Value::Nanoseconds(time) => Some(time),
            Value::Words(_) => None,
        })
        .collect();
    let Some(middle) = median(&times) else { return Vec::new() };
    let deviation = median(&times.iter().map(|time| (time - middle).abs()).collect::<Vec<_>>()).unwrap_or_default();
    let apart = (3.0 * 1.4826 * deviation).max(MEDIAN_APART_AT_LEAST * middle);
    let is_odd = |sighting: &&Sighting<'_>| matches!(sighting.value, Value::Nanoseconds(time) if (time - middle).abs() > apart);
    sightings.iter().filter(is_odd).map(|sighting| odd_one(sighting, time(middle), sightings.len())).collect()
}

fn odd_one(sighting: &Sighting<'_>, most: String, among: usize) -> OddOne {
    let here = match &sighting.value {
        Value::Words(words) => words.clone(),
        Value::Nanoseconds(nanoseconds) => time(*nanoseconds),
    };
    OddOne {
        node: sighting.node.to_owned(),
        device: sighting.device,
        differs_in: sighting.differs_in,
        bed: sighting.bed,
        atomics: sighting.atomics,
        here,
        most,
        among,
    }
}

/// The lower median.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
