//! A fleet's reports in one document, and the nodes that differ from the others.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/latency_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod latency_samples;
#[path = "support/report_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod samples;
#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use aqlprobe::fleet;
use aqlprobe::report::fleet::{FleetReport, OddTrait, SavedReport};
use aqlprobe::report::{Bit, Document, Report, fleet_text, json};
use latency_samples::embedded;
use schema::violations;

fn save(folder: &Path, name: &str, report: &Document) -> PathBuf {
    let mut bytes = Vec::new();
    json::write_document(report, &mut bytes).unwrap();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn gathered(reports: &[Document]) -> FleetReport {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> =
        reports.iter().enumerate().map(|(at, report)| save(folder.path(), &format!("{at}.json"), report)).collect();
    fleet::gather(&files)
}

fn node(name: &str) -> Report {
    Report { host: Some(name.to_owned()), ..samples::embedded_both() }
}

#[test]
fn the_node_whose_path_differs_from_most_is_named() {
    let mut odd = node("c");
    odd.devices[0].path.as_mut().unwrap().hops[0].completer_64 = Some(Bit::Clear);
    let fleet = gathered(&[Document::from(node("a")), Document::from(node("b")), Document::from(odd), Document::from(node("d"))]);
    let found: Vec<_> = fleet.summary.odd.iter().map(|odd| (odd.node.as_str(), odd.differs_in, odd.among)).collect();
    assert_eq!(found, [("c", OddTrait::Path, 4)]);
}

#[test]
fn the_node_whose_median_lies_apart_is_named_and_one_within_ten_percent_is_not() {
    let nodes = [("a", 10_000), ("b", 10_050), ("c", 10_900), ("d", 16_000), ("e", 9_950)];
    let fleet = gathered(&nodes.map(|(name, scale)| Document::from(embedded(name, scale))));
    let found: Vec<_> = fleet.summary.odd.iter().map(|odd| (odd.node.as_str(), odd.differs_in)).collect();
    assert_eq!(found, [("d", OddTrait::Median)]);
}

#[test]
fn a_report_that_comes_twice_counts_once_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut odd = node("a");
    odd.devices[0].path.as_mut().unwrap().hops[0].completer_64 = Some(Bit::Clear);
    let a = save(folder.path(), "a.json", &Document::from(odd));
    let (b, c) =
        (save(folder.path(), "b.json", &Document::from(node("b"))), save(folder.path(), "c.json", &Document::from(node("c"))));
    let merged = folder.path().join("fleet.json");
    let mut bytes = Vec::new();
    fleet_text::write_json(&fleet::gather(&[a.clone(), b.clone()]), &mut bytes).unwrap();
    fs::write(&merged, bytes).unwrap();
    let fleet = fleet::gather(&[merged, a.clone(), a.clone(), a, b, c]);
    assert_eq!((fleet.reports.len(), fleet.summary.nodes), (3, 3));
    assert_eq!(fleet.summary.notes.iter().filter(|note| note.contains("is the same report as")).count(), 4);
    let found: Vec<_> = fleet.summary.odd.iter().map(|odd| (odd.node.as_str(), odd.differs_in, odd.among)).collect();
    assert_eq!(found, [("a", OddTrait::Path, 3)]);
}

#[test]
fn of_several_reports_of_a_device_the_newest_is_judged_and_the_others_are_told() {
    // Three times without completers, then with: were they four devices, the two healthy ones beside would be the odd ones.
    let at = |started_at: u64, completer: Bit| {
        let mut report = Report { started_at, ..node("a") };
        report.devices[0].path.as_mut().unwrap().hops[0].completer_64 = Some(completer);
        Document::from(report)
    };
    let others = [Document::from(node("b")), Document::from(node("c"))];
    let old = [at(3, Bit::Clear), at(1, Bit::Clear), at(2, Bit::Clear)];
    let sound = Bit::Set;
    let fleet = gathered(&[&[at(4, sound)], &old[..], &others[..]].concat());
    assert_eq!(fleet.summary.odd, []);
    let told = fleet.summary.notes.iter().filter(|note| note.starts_with("a: a newer verify report than ")).count();
    assert_eq!((fleet.reports.len(), told), (6, 3));
    // The other way round, the newest is the odd one, whatever came before.
    let fleet = gathered(&[&[at(4, Bit::Clear), at(1, sound), at(2, sound)], &others[..]].concat());
    let found: Vec<_> = fleet.summary.odd.iter().map(|odd| (odd.node.as_str(), odd.differs_in, odd.among)).collect();
    assert_eq!(found, [("a", OddTrait::Path, 3)]);
}

#[test]
fn reports_of_a_node_on_other_gpus_or_with_other_settings_stand_beside_each_other() {
    let mut second = node("a");
    (second.devices[0].index, second.devices[0].bdf) = (1, Some("0000:0c:00.0".to_owned()));
    second.started_at += 1;
    let mut batched = embedded("a", 10_000);
    batched.settings.batch = 16;
    let fleet = gathered(&[
        Document::from(node("a")),
        Document::from(second),
        Document::from(embedded("a", 10_000)),
        Document::from(batched),
    ]);
    assert!(!fleet.summary.notes.iter().any(|note| note.contains("newer")), "{:?}", fleet.summary.notes);
}

#[test]
fn of_two_nodes_none_is_the_odd_one() {
    let mut other = node("b");
    other.devices[0].agent.compute_firmware = Some(1);
    let mut first = node("a");
    first.devices[0].agent.compute_firmware = Some(2);
    let fleet = gathered(&[Document::from(first), Document::from(other)]);
    assert_eq!(fleet.summary.odd, []);
    assert_eq!(fleet.summary.notes.len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_rest_is_merged() {
    let folder = tempfile::tempdir().unwrap();
    let good = save(folder.path(), "good.json", &Document::from(node("a")));
    let (torn, missing) = (folder.path().join("torn.json"), folder.path().join("missing.json"));
    fs::write(&torn, "{\"document\": \"verify\", ").unwrap();
    let fleet = fleet::gather(&[torn, good, missing]);
    assert_eq!((fleet.reports.len(), fleet.unreadable.len(), fleet.summary.nodes), (1, 2, 1));
}

#[test]
fn a_report_without_a_host_is_named_after_its_file_and_a_merged_file_can_be_merged_again() {
    let folder = tempfile::tempdir().unwrap();
    let nameless = save(folder.path(), "rack7.json", &Document::from(Report { host: None, ..samples::embedded_both() }));
    let merged = folder.path().join("fleet.json");
    let mut bytes = Vec::new();
    fleet_text::write_json(&fleet::gather(&[nameless]), &mut bytes).unwrap();
    fs::write(&merged, &bytes).unwrap();
    let later = save(folder.path(), "later.json", &Document::from(embedded("b", 10_000)));
    let fleet = fleet::gather(&[merged, later]);
    let nodes: Vec<&str> = fleet.reports.iter().map(|entry| entry.node.as_str()).collect();
    assert_eq!(nodes, ["rack7", "b"]);
}

#[test]
fn a_fleet_comes_back_from_its_file_as_it_was() {
    let fleet = gathered(&[
        Document::from(node("a")),
        Document::from(embedded("b", 10_000)),
        Document::from(samples::hardware_with_every_outcome()),
    ]);
    let written = serde_json::to_value(&fleet).unwrap();
    let SavedReport::Fleet(back) = SavedReport::parse(&written.to_string(), Path::new("fleet.json")).unwrap() else {
        panic!("a fleet's document is read as one")
    };
    assert_eq!(serde_json::to_value(&back).unwrap(), written);
}

#[test]
fn another_layout_of_a_fleet_is_refused() {
    let error = SavedReport::parse(r#"{"document": "fleet", "schema_version": 2}"#, Path::new("f.json")).unwrap_err();
    assert!(error.to_string().contains("layout 2"), "{error}");
}

#[test]
fn the_document_keeps_to_its_schema() {
    let mut fleet = gathered(&[
        Document::from(node("a")),
        Document::from(embedded("b", 10_000)),
        Document::from(embedded("c", 10_000)),
        Document::from(embedded("d", 20_000)),
    ]);
    fleet.unreadable.push(aqlprobe::report::fleet::UnreadableFile { file: "x".to_owned(), reason: "torn".to_owned() });
    assert_eq!(fleet.summary.odd.len(), 1);
    assert_eq!(violations("fleet", &serde_json::to_value(&fleet).unwrap()), Vec::<String>::new());
    let mut wrong = serde_json::to_value(&fleet).unwrap();
    wrong["summary"]["extra"] = true.into();
    assert_ne!(violations("fleet", &wrong), Vec::<String>::new());
}
