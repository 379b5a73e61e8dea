//! AMD's unmodified runtime on the software GPU, end to end. Needs the sysroot that `tests/rocr/sysroot` assembles, in
//! `AQLPROBE_ROCR_SYSROOT`, and a built program with `libaqlprobe.so` beside it, in `AQLPROBE_PROBE`: `tests/rocr/run` gives both.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

const TARGETS: [&str; 2] = ["gfx942", "gfx1100"];
/// Cases that ROCr's model mode cannot carry, or in which it is known to stall.
const NOT_COMPARED: [&str; 2] = ["invalid-packet", "wait-blocked"];
/// What `hsa_init` may take on a stack with a small low half; without that it takes seconds and gigabytes.
const INIT_MS: u64 = 100;
const INIT_KIB: u64 = 64 * 1024;
const INIT_RUNS: usize = 20;

/// One at a time: the figures of one test are not to be those of a machine that the others keep busy.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn required(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("{name} is not set; run tests/rocr/run"))
}

fn probe(arguments: &[&str]) -> Output {
    Command::new(required("AQLPROBE_PROBE")).args(arguments).output().unwrap()
}

fn on_rocr(target: &str, more: &[&str]) -> Output {
    let sysroot = required("AQLPROBE_ROCR_SYSROOT");
    let base = ["verify", "--runtime", "rocr-model", "--sysroot", sysroot.to_str().unwrap(), "--target", target];
    probe(&base.iter().chain(more).copied().collect::<Vec<_>>())
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)))
}

/// (state of AtomicOps, case) to outcome.
fn outcomes(report: &Value) -> BTreeMap<(String, String), String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let runs = report["devices"][0]["runs"].as_array().unwrap().iter();
    runs.flat_map(|run| {
        let cases = run["cases"].as_array().unwrap().iter();
        cases.map(move |case| ((text(&run["atomics"]), text(&case["name"])), text(&case["outcome"]["kind"])))
    })
    .filter(|((_, case), _)| !NOT_COMPARED.contains(&case.as_str()))
    .collect()
}

#[test]
fn rocr_and_the_embedded_runtime_come_to_the_same_outcome_in_every_case_that_both_can_run() {
    let _alone = alone();
    let embedded = outcomes(&report(&probe(&["verify", "--runtime", "embedded", "--format", "json"])));
    assert!(embedded.len() > 50, "both states of all cases: {}", embedded.len());
    for target in TARGETS {
        let rocr = outcomes(&report(&on_rocr(target, &["--format", "json"])));
        let differing: Vec<_> = embedded.iter().filter(|(case, outcome)| rocr.get(*case) != Some(*outcome)).collect();
        assert!(differing.is_empty(), "{target}: the embedded runtime alone has {differing:?}");
        assert_eq!(rocr.len(), embedded.len());
    }
}

#[test]
fn a_report_keeps_to_the_schema_and_names_rocrs_version() {
    let _alone = alone();
    for target in TARGETS {
        let output = on_rocr(target, &["--format", "json"]);
        let report = report(&output);
        assert_eq!(schema::violations("verify", &report), Vec::<String>::new());
        assert_eq!(output.status.code(), Some(0), "{}", report["verdict"]);
        assert_eq!(report["bed"]["kind"], "rocr-model");
        assert!(report["bed"]["rocr"].as_str().unwrap().starts_with("7."), "{}", report["bed"]);
        assert!(report["verdict"]["sentence"].as_str().unwrap().ends_with("on the software GPU, not hardware"));
        assert_eq!((&report["devices"][0]["gfx"], &report["devices"][0]["bdf"]), (&target.into(), &"0000:0b:00.0".into()));
    }
}

#[test]
fn the_first_and_the_last_line_say_that_no_hardware_was_tested() {
    let _alone = alone();
    let text = String::from_utf8(on_rocr("gfx942", &["--case", "nop"]).stdout).unwrap();
    for line in [text.lines().next(), text.lines().last()] {
        let line = line.unwrap();
        assert!(line.contains("ROCr 7.") && line.contains("on the software GPU, not hardware"), "{line}");
    }
}

#[test]
fn hsa_init_is_quick_and_small_in_every_worker() {
    let _alone = alone();
    for run in 0..INIT_RUNS {
        let runtime = report(&on_rocr("gfx942", &["--case", "nop", "--atomics", "on", "--format", "json"]))["runtime"].take();
        let figure = |name: &str| runtime[name].as_u64().unwrap();
        assert!(figure("hsa_init_ms") < INIT_MS, "run {run}: {} ms", figure("hsa_init_ms"));
        assert!(figure("peak_memory_kib") < INIT_KIB, "run {run}: {} KiB", figure("peak_memory_kib"));
    }
}
