//! Every fault that can be injected, held against the cause that `aqlprobe verify` names for it.
//!
//! `cargo test --test faults` provokes each fault in a few cases. `tests/faults/run` provokes it in all that the table lists, and
//! holds the confusion table in results/faults.md to what came out; `tests/faults/run --write` writes it.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

mod plan;
mod table;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use plan::{ROCR_ROWS, ROWS, Row};
use serde_json::Value;

/// What a case was diagnosed with, by case; `passed` where nothing is wrong.
type Diagnoses = BTreeMap<String, String>;

/// Runs `verify` with the row's fault in `cases`.
fn diagnoses(row: &Row, cases: &[&str]) -> Diagnoses {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqlprobe"));
    command.args(row.arguments(cases).split_whitespace()).args(["--format", "json"]);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}; stderr: {}", row.fault, String::from_utf8_lossy(&output.stderr)));
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

/// What came out of each row, in the rows' order. So many are provoked at a time: most of it waits for what does not come.
fn together(at_a_time: usize, rows: &'static [Row], cases: fn(&Row) -> &[&str]) -> Vec<(&'static Row, Diagnoses)> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut found = Vec::new();
        while let Some((number, row)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, rows.get(number)?)))
        {
            found.push((number, row, diagnoses(row, cases(row))));
        }
        found
    };
    let mut found: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(take)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    found.sort_by_key(|(number, ..)| *number);
    found.into_iter().map(|(_, row, found)| (row, found)).collect()
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

#[test]
fn each_fault_is_named_by_the_first_case_that_can_see_it_and_by_no_other_name() {
    let found = together(6, ROWS, |row| &row.cases[..row.cases.len().min(row.telling)]);
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
    let mut found = together(12, ROWS, |row| row.cases);
    found.extend(together(3, ROCR_ROWS, |row| row.cases));
    let wrong: Vec<String> = found.iter().flat_map(|(row, found)| confusions(row, found)).collect();
    let text = table::markdown(&found);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/faults.md");
    if std::env::var_os("AQLPROBE_WRITE_FAULTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(wrong.is_empty(), "not explained in tests/faults/plan.rs:\n{wrong:#?}\n{text}");
    let committed = std::fs::read_to_string(path).unwrap();
    assert_eq!(table::settled(&committed), table::settled(&text), "results/faults.md is not what this build gives");
}
