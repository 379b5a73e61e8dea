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

/// What a case was diagnosed with, by case; `passed` where nothing is wrong.
type Diagnoses = BTreeMap<String, String>;

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
    let cases = report["devices"][0]["runs"][0]["cases"].as_array().unwrap();
    cases
        .iter()
        .map(|case| {
            let suspect = match case["standing"].as_str().unwrap() {
                "passed" => "passed",
                _ => case["suspect"].as_str().unwrap_or("no cause named"),
            };
            (case["name"].as_str().unwrap().to_owned(), suspect.to_owned())
        })
        .collect()
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
        .iter()
        .filter(|(case, suspect)| *suspect != row.cause && row.explanation(case, suspect).is_none())
        .map(|(case, suspect)| format!("{} in {case}: {suspect} instead of {}", row.fault, row.cause))
        .collect();
    let explained = |(case, suspect): (&String, &String)| row.explanation(case, suspect).is_some();
    if !found.values().any(|suspect| suspect == row.cause) && !found.iter().all(explained) {
        wrong.push(format!("{}: no case names {}", row.fault, row.cause));
    }
    wrong
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
    let found = provoke(ROWS.iter(), AT_A_TIME, |row| &row.cases[..row.cases.len().min(row.telling)]);
    let wrong: Vec<String> = found.iter().flat_map(|(row, found)| confusions(row, found)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
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
    let found = provoke(ROCR_ROWS.iter().chain(ROWS), AT_A_TIME, |row| row.cases);
    let (rocr, embedded) = found.split_at(ROCR_ROWS.len());
    let guests = provoke(GUEST_ROWS.iter(), GUESTS_AT_A_TIME, |row| row.cases);
    let found: Vec<_> = embedded.iter().chain(rocr).chain(&guests).cloned().collect();
    let wrong: Vec<String> = found.iter().flat_map(|(row, found)| confusions(row, found)).collect();
    let text = table::markdown(&found);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/faults.md");
    if std::env::var_os("AQLPROBE_WRITE_FAULTS").is_some() {
        std::fs::write(path, table::with_generated(&std::fs::read_to_string(path).unwrap_or_default(), &text)).unwrap();
    }
    assert!(wrong.is_empty(), "not explained in tests/faults/plan.rs:\n{wrong:#?}\n{text}");
    let committed = std::fs::read_to_string(path).unwrap();
    assert_eq!(table::generated(&committed), text.trim(), "results/faults.md is not what this build gives");
}
