//! Every fault that can be injected, held against the cause that `aqlprobe verify` names for it.
//!
//! `cargo test --test faults` provokes each fault in a few cases. `tests/faults/run` provokes it in all that the table lists, and
//! holds the confusion table in results/faults.md to what came out; `tests/faults/run --write` writes it.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

mod plan;
mod table;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use plan::{Bed, GUEST_ROWS, ROCR_ROWS, ROWS, Row};
use serde_json::Value;
use similar::TextDiff;

/// What came out of a row.
#[derive(Clone, Debug)]
struct Diagnoses {
    /// What a case was diagnosed with, by case; `passed` where nothing is wrong.
    cases: BTreeMap<String, String>,
    /// What the device was.
    device: String,
}

/// Runs `verify` with the row's fault in `cases`.
fn diagnoses(row: &Row, cases: &[&str]) -> Diagnoses {
    // A guest executes slowly enough; an unoptimised program in it takes three times as long.
    let guests = std::env::var_os("AQLPROBE_GUEST_PROGRAM").filter(|_| row.bed == Bed::Guest);
    let mut command = Command::new(guests.unwrap_or_else(|| env!("CARGO_BIN_EXE_aqlprobe").into()));
    command.args(row.arguments(cases).split_whitespace()).args(["--format", "json"]);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}; stderr: {}", row.fault, String::from_utf8_lossy(&output.stderr)));
    let report = if row.bed == Bed::Guest { guests_own(&report) } else { &report };
    assert!(
        report["injected"].is_object() || report["injected"].is_string(),
        "{}: the report does not tell of the fault",
        row.fault
    );
    let device = &report["devices"][0];
    // The last run is the one with AtomicOps, and decides.
    let cases = device["runs"].as_array().unwrap().last().unwrap()["cases"].as_array().unwrap();
    let cases = cases
        .iter()
        .map(|case| {
            let suspect = match case["standing"].as_str().unwrap() {
                "passed" => "passed",
                _ => case["suspect"].as_str().unwrap_or("no cause named"),
            };
            (case["name"].as_str().unwrap().to_owned(), suspect.to_owned())
        })
        .collect();
    Diagnoses { cases, device: device["diagnosis"]["suspect"].as_str().unwrap_or("no cause named").to_owned() }
}

/// The report of `verify` in the report of a guest.
fn guests_own(joined: &Value) -> &Value {
    let steps = joined["guest"]["steps"].as_array().unwrap_or_else(|| panic!("no guest ran: {joined}"));
    let own =
        steps.iter().map(|step| &step["report"]).rfind(|report| report["devices"].is_array() && !report["injected"].is_null());
    own.unwrap_or_else(|| panic!("nothing was verified in the guest: {joined}"))
}

/// What came out and is neither the fault's own cause nor explained.
fn confusions(row: &Row, found: &Diagnoses) -> Vec<String> {
    let mut wrong: Vec<String> = found
        .cases
        .iter()
        .filter(|(case, suspect)| *suspect != row.cause && row.explanation(case, suspect).is_none())
        .map(|(case, suspect)| format!("{} in {case}: {suspect} instead of {}", row.fault, row.cause))
        .collect();
    let explained = |(case, suspect): (&String, &String)| row.explanation(case, suspect).is_some();
    if !found.cases.values().any(|suspect| suspect == row.cause) && !found.cases.iter().all(explained) {
        wrong.push(format!("{}: no case names {}", row.fault, row.cause));
    }
    if !row.by_chance && found.device != row.device {
        wrong.push(format!("{}: the device is diagnosed with {} instead of {}", row.fault, found.device, row.device));
    }
    wrong
}

/// Explanations of what does not happen: a diagnosis that has become sharper needs no excuse any more.
fn idle_explanations(row: &Row, found: &Diagnoses) -> Vec<String> {
    let listed = row.explained.iter().flat_map(|(cases, suspect, _)| cases.iter().map(move |case| (*case, *suspect)));
    let idle = listed.filter(|(case, suspect)| found.cases.get(*case).is_none_or(|found| found != suspect));
    let told = |(case, suspect): (&str, &str)| format!("{} in {case}: {suspect} is explained and did not happen", row.fault);
    if row.by_chance { Vec::new() } else { idle.map(told).collect() }
}

/// Runs at a time: most of a run is waiting for what does not come.
const AT_A_TIME: usize = 8;
/// A guest that is emulated computes all the time.
const GUESTS_AT_A_TIME: usize = 3;

/// The rows with what came out of the cases that are chosen of each.
fn provoke<'row>(
    rows: impl Iterator<Item = &'row Row> + Send,
    at_a_time: usize,
    choice: impl Fn(&'row Row) -> &'row [&'row str] + Sync,
) -> Vec<(&'row Row, Diagnoses)> {
    let (left, found) = (Mutex::new(rows.enumerate()), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, row)) = { left.lock().unwrap().next() } {
            let diagnoses = diagnoses(row, choice(row));
            found.lock().unwrap().push((number, row, diagnoses));
        }
    };
    thread::scope(|scope| (0..at_a_time).for_each(|_| drop(scope.spawn(work))));
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(number, ..)| *number);
    found.into_iter().map(|(_, row, diagnoses)| (row, diagnoses)).collect()
}

#[test]
fn each_fault_is_named_by_the_first_case_that_can_see_it_and_by_no_other_name() {
    let found = provoke(ROWS.iter(), AT_A_TIME, |row| row.telling);
    let wrong: Vec<String> = found.iter().flat_map(|(row, found)| confusions(row, found)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_row_of_all_cases_has_all_that_dispatch_something_in_time() {
    let cases = aqlprobe::verify::select(&[]).unwrap();
    let dispatching: Vec<&str> =
        cases.iter().map(|case| case.name).filter(|name| !["invalid-packet", "vector-copy"].contains(name)).collect();
    assert_eq!(plan::ALL, dispatching);
}

#[test]
fn an_excuse_for_what_does_not_happen_is_found() {
    let row = ROWS.iter().find(|row| row.fault == "packet-skipped").unwrap();
    let found = |nop: &str| Diagnoses { cases: [("nop".to_owned(), nop.to_owned())].into(), device: "kernel-not-run".to_owned() };
    assert_eq!(idle_explanations(row, &found("passed")), [""; 0]);
    assert_eq!(idle_explanations(row, &found("kernel-not-run")).len(), 1);
    let elsewhere = Diagnoses { device: "output-stale".to_owned(), ..found("passed") };
    assert!(confusions(row, &elsewhere).iter().any(|wrong| wrong.contains("the device is diagnosed with output-stale")));
}

#[test]
fn every_fault_of_the_catalogue_is_in_the_table() {
    let listed = String::from_utf8(
        Command::new(env!("CARGO_BIN_EXE_aqlprobe"))
            .args(["verify", "--runtime", "embedded", "--inject", "help"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    for fault in aqlprobe::faults::CATALOGUE {
        let known = ROWS.iter().any(|row| row.fault.split([':', '=', ',']).next() == Some(fault.name));
        assert!(known, "{} has no row; the faults are: {listed}", fault.name);
    }
}

#[test]
#[ignore = "takes minutes: tests/faults/run"]
fn the_whole_table_is_the_committed_one() {
    let embedded_only = std::env::var_os("AQLPROBE_FAULTS_EMBEDDED").is_some();
    let (rocr_rows, guest_rows) = if embedded_only { (&[][..], &[][..]) } else { (ROCR_ROWS, GUEST_ROWS) };
    let found = provoke(rocr_rows.iter().chain(ROWS), AT_A_TIME, |row| row.cases);
    let (rocr, embedded) = found.split_at(rocr_rows.len());
    let guests = provoke(guest_rows.iter(), GUESTS_AT_A_TIME, |row| row.cases);
    let found: Vec<_> = embedded.iter().chain(rocr).chain(&guests).cloned().collect();
    let wrong = |(row, found): &(&Row, Diagnoses)| [confusions(row, found), idle_explanations(row, found)].concat();
    let wrong: Vec<String> = found.iter().flat_map(wrong).collect();
    let text = table::markdown(&found);
    println!("{text}");
    // Last, because a log that is cut keeps its end.
    assert!(wrong.is_empty(), "not explained, or in vain, in tests/faults/plan.rs:\n{wrong:#?}");
    if embedded_only {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/faults.md");
    if std::env::var_os("AQLPROBE_WRITE_FAULTS").is_some() {
        std::fs::write(path, table::with_generated(&std::fs::read_to_string(path).unwrap_or_default(), &text)).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    let differences = TextDiff::from_lines(table::generated(&committed), text.trim()).unified_diff().context_radius(0).to_string();
    assert!(differences.is_empty(), "results/faults.md is not what this build gives:\n{differences}");
}
