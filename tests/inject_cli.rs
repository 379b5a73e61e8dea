//! `--inject` as its users meet it: what is refused, what the report says, and that every fault reaches the place it is meant for.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with tests that need other parts of it")]
mod program;
#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use program::Place;
use serde_json::Value;

/// The report on these cases with AtomicOps on, and the exit code.
fn verify(plan: &str, cases: &[&str]) -> (Value, i32) {
    verify_with("on", plan, cases)
}

/// The same in other states of AtomicOps.
fn verify_with(atomics: &str, plan: &str, cases: &[&str]) -> (Value, i32) {
    let mut arguments = vec!["verify", "--runtime", "embedded", "--atomics", atomics, "--timeout", "1000", "--format", "json"];
    arguments.extend(cases.iter().flat_map(|case| ["--case", case]));
    arguments.extend(["--inject", plan]);
    let output = Place::new().program(&arguments).output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|error| panic!("{plan}: {error}: {output:?}")), output.status.code().unwrap())
}

fn outcomes(report: &Value) -> Vec<String> {
    told(report, 0, "/outcome/kind")
}

fn suspects(report: &Value) -> Vec<String> {
    told(report, 0, "/suspect")
}

/// What a run says of its cases; nothing where it says nothing.
fn told(report: &Value, run: usize, what: &str) -> Vec<String> {
    let cases = report["devices"][0]["runs"][run]["cases"].as_array().unwrap();
    cases.iter().map(|case| case.pointer(what).and_then(Value::as_str).unwrap_or_default().to_owned()).collect()
}

fn violations(instance: &Value) -> Vec<String> {
    schema::violations("verify", instance)
}

#[test]
fn a_plan_is_refused_where_there_is_no_software_gpu_to_strike() {
    for runtime in ["auto", "system", "/no/such/libhsa-runtime64.so.1"] {
        Place::new()
            .program(&["verify", "--runtime", runtime, "--inject", "signal-twice"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains("faults can be injected into the software GPU only"));
    }
}

#[test]
fn what_is_no_plan_is_refused_with_the_names_that_there_are() {
    Place::new()
        .program(&["verify", "--runtime", "embedded", "--inject", "signal-eaten"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("`signal-eaten` is no fault").and(contains("signal-dropped")).and(contains("--inject help")));
    Place::new()
        .program(&["verify", "--runtime", "embedded", "--inject", "no/such/plan"])
        .assert()
        .code(2)
        .stderr(contains("cannot read the fault plan no/such/plan"));
}

#[test]
fn help_lists_the_faults() {
    let listed = contains("signal-late=DURATION").and(contains("worker-flood")).and(contains(":every=N"));
    Place::new().program(&["verify", "--inject", "help"]).assert().code(0).stdout(listed);
}

#[test]
fn a_report_says_in_its_first_line_and_in_its_verdict_that_faults_were_injected() {
    let text = ["verify", "--runtime", "embedded", "--case", "nop", "--inject", "signal-late=5us,seed=7"];
    Place::new().program(&text).assert().code(0).stdout(
        starts_with("Test bed: embedded, a software GPU and not hardware; injected faults: signal-late=5us,seed=7\n")
            .and(contains("PASS: with injected faults (signal-late=5us,seed=7): ")),
    );
    let (report, code) = verify("signal-late=5us,seed=7", &["nop"]);
    assert_eq!((report["injected"].as_str(), code), (Some("signal-late=5us,seed=7"), 0));
    assert_eq!(violations(&report), [""; 0]);
}

#[test]
fn a_seed_that_nobody_chose_is_in_the_report() {
    let (report, _) = verify("atomic-lost=0.000001", &["nop"]);
    let injected = report["injected"].as_str().unwrap();
    let seed = injected.strip_prefix("atomic-lost=0.000001,seed=").unwrap();
    assert!(seed.parse::<u64>().is_ok(), "{injected}");
}

#[test]
fn a_plan_can_be_a_file() {
    let place = Place::new();
    let plan = place.path("plan");
    fs::write(&plan, "# drop the first one\nsignal-dropped:case=nop\nseed=3\n").unwrap();
    place
        .program(&["verify", "--runtime", "embedded", "--atomics", "on", "--timeout", "1000", "--case", "nop", "--inject"])
        .arg(&plan)
        .assert()
        .code(3)
        .stdout(contains("injected faults: signal-dropped:case=nop,seed=3"));
}

/// A variable that is left over from elsewhere must not strike behind the report's back.
#[test]
fn the_environment_alone_injects_nothing() {
    Place::new()
        .program(&["verify", "--runtime", "embedded", "--atomics", "on", "--case", "nop"])
        .env("AQLPROBE_INJECT", "signal-dropped")
        .assert()
        .code(0)
        .stdout(contains("injected").not());
}

#[test]
fn a_fault_for_one_case_leaves_the_others_alone() {
    let (report, _) = verify("signal-dropped:case=fence-none,worker-abort:case=nop", &["nop", "fence-none", "fence-agent"]);
    assert_eq!(outcomes(&report), ["worker-crashed", "completion-lost", "completed"]);
}

/// What each fault leaves of an empty kernel and of one with output, with a worker to each.
#[test]
fn device_faults_are_seen_as_what_they_are() {
    // Most of a run is waiting for what does not come.
    thread::scope(|scope| {
        for (plan, seen) in [
            ("packet-ignored", "packet-not-fetched"),
            ("packet-lost", "no-effect"),
            ("packet-skipped", "false-completion"),
            ("output-stale", "false-completion"),
            ("signal-dropped", "completion-lost"),
            ("signal-twice", "fired-twice"),
            ("signal-late=1300ms", "completed-late"),
            ("atomic-lost", "completion-lost"),
            ("atomics-blocked=endpoint", "completion-lost"),
            ("atomics-blocked=switch-downstream-routing", "completion-lost"),
            ("doorbell-lost", "packet-not-fetched"),
            ("queue-error=illegal-instruction", "queue-error"),
            ("device-gone", "packet-not-fetched"),
        ] {
            scope.spawn(move || {
                let (report, code) = verify(plan, &["fence-system"]);
                assert_eq!(outcomes(&report), [seen], "{plan}");
                let passes = seen == "completed" || seen == "completed-late";
                assert!(passes || code != 0, "{plan}");
            });
        }
    });
}

/// The runtime was opened to list its GPUs, so what it refuses afterwards is something that happened to the device.
#[test]
fn a_device_that_goes_away_is_reported_in_every_run_that_follows() {
    let (report, code) = verify_with("both", "device-gone", &["nop"]);
    assert_eq!(
        (told(&report, 0, "/outcome/kind"), told(&report, 0, "/suspect")),
        (vec!["packet-not-fetched".to_owned()], vec!["device-gone".to_owned()])
    );
    assert_eq!(
        (told(&report, 1, "/outcome/kind"), told(&report, 1, "/suspect")),
        (vec!["runtime-refused".to_owned()], vec!["device-gone".to_owned()])
    );
    assert_eq!(report["devices"][0]["diagnosis"]["suspect"], "device-gone");
    assert_eq!((code, violations(&report)), (1, Vec::new()));

    let (report, code) = verify("device-gone:case=nop", &["nop", "fence-system", "grid-3d"]);
    assert_eq!(outcomes(&report), ["packet-not-fetched", "runtime-refused", "untestable"]);
    assert_eq!(suspects(&report), ["device-gone", "device-gone", ""]);
    assert_eq!((report["devices"][0]["diagnosis"]["suspect"].as_str(), code), (Some("device-gone"), 1));
}

#[test]
fn a_recycled_doorbell_that_is_stale_shows_in_the_queues_that_follow() {
    let (report, code) = verify("doorbell-stale", &["queue-recycle"]);
    let evidence = &report["devices"][0]["runs"][0]["cases"][0]["evidence"];
    assert_eq!(outcomes(&report), ["packet-not-fetched"]);
    assert_eq!(
        evidence["second_look"]["taken"].as_bool(),
        Some(true),
        "a higher value in the doorbell brings it through: {evidence}"
    );
    assert_eq!(code, 3);
}

/// The watchdog of a case: its timeout, a second for what is late, three of margin.
#[test]
fn a_worker_that_goes_wrong_is_ended_and_the_next_case_runs() {
    for (plan, seen) in [
        ("worker-abort:case=nop", &["worker-crashed"][..]),
        ("worker-segfault:case=nop", &["worker-crashed"]),
        ("worker-loop:case=nop", &["runtime-wedged"]),
        // Ended for what it writes, or, where the machine is too busy to read so much, by the watchdog.
        ("worker-flood:case=nop", &["worker-crashed", "runtime-wedged"]),
    ] {
        let started = Instant::now();
        let (report, code) = verify(plan, &["nop", "fence-none"]);
        let outcomes = outcomes(&report);
        assert_eq!(outcomes.len(), 2, "{plan}: {outcomes:?}");
        assert!(seen.contains(&outcomes[0].as_str()) && outcomes[1] == "completed", "{plan}: {outcomes:?}");
        assert_ne!(code, 0, "{plan}");
        assert!(started.elapsed() < Duration::from_secs(120), "{plan}: it ended, and not by the patience of whoever runs tests");
    }
}

/// An opportunity is a case, whichever worker runs it.
#[test]
fn a_worker_that_replaces_another_goes_on_counting_where_that_one_ended() {
    let (report, _) = verify("worker-abort:every=2:after=1", &["nop", "fence-none", "fence-agent", "grid-3d", "lds-reduce"]);
    let seen: Vec<bool> = outcomes(&report).iter().map(|outcome| outcome == "worker-crashed").collect();
    assert_eq!(seen, [false, false, true, false, true]);
}

#[test]
fn the_same_seed_gives_the_same_outcomes() {
    let run = || outcomes(&verify("signal-dropped:p=0.5,seed=5", &["nop", "fence-*", "vector-copy"]).0);
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(run);
        (run(), other.join().unwrap())
    });
    assert_eq!(first, second);
    assert!(
        first.iter().any(|outcome| outcome == "completed") && first.iter().any(|outcome| outcome == "completion-lost"),
        "{first:?}"
    );
}

#[test]
fn an_endpoint_says_what_it_was_given_and_refuses_what_is_no_plan() {
    let place = Place::new();
    let socket = place.path("vu.sock");
    place
        .program(&["endpoint", "--inject", "signal-eaten", "--socket"])
        .arg(&socket)
        .assert()
        .code(2)
        .stderr(contains("`signal-eaten` is no fault"));
    for (plan, why) in [("worker-abort", "an endpoint has none"), ("signal-twice:case=nop", "leave `:case=` out")] {
        place.program(&["endpoint", "--inject", plan, "--socket"]).arg(&socket).assert().code(2).stderr(contains(why));
    }
}

#[test]
fn a_plan_that_strikes_none_of_the_cases_is_refused() {
    for (plan, case) in [("signal-dropped:case=nope-*", "*"), ("signal-twice,packet-lost:case=grid-3d", "nop")] {
        Place::new()
            .program(&["verify", "--runtime", "embedded", "--case", case, "--inject", plan])
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains("strikes none of the selected cases").and(contains("--case")));
    }
}
