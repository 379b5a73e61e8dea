//! The lines of `ndjson` keep to results/events.schema.json, which borrows what is inside them from the reports' own schemas.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with tests that need other parts of it")]
mod program;

use std::collections::BTreeSet;
use std::fs;

use jsonschema::{Registry, draft202012};
use program::Place;
use serde_json::Value;

fn schema(name: &str) -> Value {
    let path = format!("{}/results/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The events of a run, each held to the schema.
fn events(arguments: &[&str]) -> Vec<Value> {
    let output = Place::new().program(arguments).args(["--format", "ndjson"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [layout, verify, latency] = ["events", "verify", "latency"].map(schema);
    let registry = Registry::new()
        .add("urn:aqlprobe:schema:verify:1", &verify)
        .unwrap()
        .add("urn:aqlprobe:schema:latency:1", &latency)
        .unwrap()
        .prepare()
        .unwrap();
    let validator = draft202012::options().with_registry(&registry).build(&layout).unwrap();
    for event in &events {
        let violations: Vec<String> = validator.iter_errors(event).map(|error| error.to_string()).collect();
        assert_eq!(violations, Vec::<String>::new(), "{event}");
    }
    let mut unknown = events[0].clone();
    unknown["surprise"] = true.into();
    assert!(!validator.is_valid(&unknown), "every line is closed");
    events
}

fn names(events: &[Value]) -> BTreeSet<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn of_verify_with_a_loss_in_it() {
    let events = events(&["verify", "--runtime", "embedded", "--case", "nop", "--case", "invalid-packet", "--atomics", "both"]);
    assert_eq!(names(&events), BTreeSet::from(["started", "planned", "run-started", "case-started", "case-finished", "verdict"]));
}

#[test]
fn of_latency() {
    let events = events(&["latency", "--runtime", "embedded", "-n", "5", "--warmup", "0", "--atomics", "both"]);
    assert_eq!(names(&events), BTreeSet::from(["started", "run-started", "measured", "verdict"]));
}

#[test]
fn of_a_run_that_cannot_begin() {
    let events = events(&["verify", "--runtime", "/no/such/libhsa-runtime64.so.1"]);
    assert_eq!((names(&events), &events[0]["exit_code"]), (BTreeSet::from(["error"]), &4.into()));
}
