//! `aqlprobe latency` as its users meet it. What a round trip takes is asserted nowhere here: see tests/latency/run.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;
#[path = "support/schema.rs"]
mod schema;

#[path = "support/latency_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod samples;

use std::fs;
use std::path::Path;

use aqlprobe::report::json;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use program::{Place, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// A short measurement in one state.
const SHORT: [&str; 9] = ["latency", "--runtime", "embedded", "--atomics", "on", "-n", "20", "--warmup", "0"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    base.iter().chain(more).copied().collect()
}

fn violations(instance: &Value) -> Vec<String> {
    schema::violations("latency", instance)
}

/// The JSON report of a run, which must keep to the schema, and its exit code.
fn measured(arguments: &[&str]) -> (Value, i32) {
    let output = Place::new().program(&with(arguments, &["--format", "json"])).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(violations(&report), Vec::<String>::new());
    (report, output.status.code().unwrap())
}

mod the_schema {
    use super::*;

    #[test]
    fn is_a_valid_2020_12_schema() {
        assert!(jsonschema::draft202012::meta::is_valid(&schema::read("latency")));
        assert_eq!(schema::read("latency")["$id"], "urn:aqlprobe:schema:latency:1");
    }

    #[test]
    fn holds_for_a_hang_beside_a_measurement_and_refuses_what_the_layout_does_not_have() {
        let mut bytes = Vec::new();
        json::write_document(&samples::embedded("a", 10_000).into(), &mut bytes).unwrap();
        let report: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(violations(&report), Vec::<String>::new());
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut instance = report.clone();
            change(&mut instance);
            assert_ne!(violations(&instance), Vec::<String>::new());
        };
        refused(&|report| report["document"] = "verify".into());
        refused(&|report| report["extra"] = true.into());
        refused(&|report| report["settings"]["mode"] = "sleep".into());
        refused(&|report| report["timer"]["overhead"] = 1.into());
        refused(&|report| report["devices"][0]["runs"][0]["result"]["kind"] = "measured".into());
        refused(&|report| report["devices"][0]["runs"][1]["result"]["samples_ns"] = Value::Array(Vec::new()));
        refused(&|report| report["devices"][0]["runs"][1]["result"]["stages"][0]["stage"] = "elsewhere".into());
        refused(&|report| report["devices"][0]["runs"][1]["result"]["round_trip"]["p50_ns"] = 1.into());
    }

    #[test]
    fn every_object_of_it_is_closed() {
        fn walk(at: &str, schema: &Value, open: &mut Vec<String>) {
            match schema {
                Value::Array(items) => {
                    items.iter().enumerate().for_each(|(index, item)| walk(&format!("{at}/{index}"), item, open));
                }
                Value::Object(fields) => {
                    let closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
                    if fields.contains_key("properties") && !at.contains("/if") && !closed {
                        open.push(at.to_owned());
                    }
                    fields.iter().for_each(|(name, field)| walk(&format!("{at}/{name}"), field, open));
                }
                _ => {}
            }
        }
        let mut open = Vec::new();
        walk("", &schema::read("latency"), &mut open);
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn holds_for_the_reference_report_whose_samples_share_lines() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/results/latency-embedded.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(violations(&report), Vec::<String>::new());
        assert_eq!(report["bed"]["kind"], "embedded");
        let samples = report["devices"][0]["runs"][1]["result"]["samples_ns"].as_array().unwrap().len();
        assert!(samples >= 1000 && text.lines().count() < 1000, "{samples} samples on {} lines", text.lines().count());
    }
}

mod a_measurement {
    use super::*;

    #[test]
    fn keeps_every_sample_and_adds_up() {
        let (report, code) = measured(&SHORT);
        assert_eq!(code, 0);
        assert_eq!((&report["document"], &report["bed"]["kind"]), (&"latency".into(), &"embedded".into()));
        let result = &report["devices"][0]["runs"][0]["result"];
        let mut samples: Vec<u64> =
            result["samples_ns"].as_array().unwrap().iter().map(|sample| sample.as_u64().unwrap()).collect();
        assert_eq!((samples.len(), &result["round_trip"]["count"]), (20, &20.into()));
        samples.sort_unstable();
        assert_eq!(result["round_trip"]["min_ns"], samples[0]);
        assert_eq!(result["round_trip"]["max_ns"], samples[19]);
        // The nearest rank of a half of twenty is the tenth.
        assert_eq!(result["round_trip"]["typical_ns"], samples[9]);
        let mean = samples.iter().sum::<u64>() as f64 / 20.0;
        let stages = result["stages"].as_array().unwrap();
        let sum: f64 = stages.iter().map(|stage| stage["mean_ns"].as_f64().unwrap()).sum();
        assert!((sum - mean).abs() < 1.0, "the stages add up to {sum}, the mean is {mean}");
        for stage in stages {
            let kept: Vec<i64> = stage["samples_ns"].as_array().unwrap().iter().map(|sample| sample.as_i64().unwrap()).collect();
            let mean = kept.iter().sum::<i64>() as f64 / 20.0;
            assert_eq!(kept.len(), 20);
            assert!((mean - stage["mean_ns"].as_f64().unwrap()).abs() <= 0.5, "rounded to nanoseconds: {stage}");
        }
        let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
        assert_eq!(names, ["reserve", "write", "publish", "doorbell", "device-start", "device-end", "host-sees"]);
    }

    #[test]
    fn names_its_bed_in_the_first_line_and_in_the_verdict() {
        let says_so = |line: Option<&str>| line.is_some_and(|line| line.contains("embedded") && line.contains("software GPU"));
        Place::new()
            .program(&SHORT)
            .assert()
            .code(0)
            .stderr(is_empty())
            .stdout(predicate::function(|text: &str| says_so(text.lines().next()) && says_so(text.lines().last())));
    }

    #[test]
    fn says_in_its_first_line_and_verdict_which_faults_were_injected() {
        let plan = "signal-late=5us,seed=7";
        let says_so = |line: Option<&str>| line.is_some_and(|line| line.contains(plan));
        Place::new()
            .program(&with(&SHORT, &["--inject", plan]))
            .assert()
            .code(0)
            .stdout(predicate::function(|text: &str| says_so(text.lines().next()) && says_so(text.lines().last())));
        assert_eq!(measured(&with(&SHORT, &["--inject", plan])).0["settings"]["injected"], plan);
    }

    #[test]
    fn with_a_rate_has_a_stage_for_being_behind_and_counts_late_starts() {
        let (report, _) = measured(&with(&SHORT, &["--rate", "2000"]));
        let result = &report["devices"][0]["runs"][0]["result"];
        assert_eq!(result["stages"][0]["stage"], "behind");
        assert!(result["late_starts"].is_u64());
        assert_eq!(result["not_started"], 0);
    }

    #[test]
    fn by_time_ends_when_its_time_is_over() {
        for mode in ["dispatch", "signal", "pingpong"] {
            let by_time = ["latency", "--runtime", "embedded", "--atomics", "on", "-D", "0.05", "--warmup", "0", "--mode", mode];
            let (report, code) = measured(&by_time);
            let result = &report["devices"][0]["runs"][0]["result"];
            assert_eq!((code, &result["kind"]), (0, &"measured".into()), "{mode}: {result}");
        }
    }

    /// Nothing makes a million round trips a second here, least of all one that holds back each signal by a millisecond.
    #[test]
    fn by_time_at_a_rate_that_is_too_high_ends_and_says_how_many_were_due_and_not_started() {
        let overload = ["--rate", "1000000", "--timeout", "2000", "--inject", "signal-late=1ms"];
        let by_time = ["latency", "--runtime", "embedded", "--atomics", "on", "-D", "0.05", "--warmup", "0"];
        let (report, code) = measured(&with(&by_time, &overload));
        let result = &report["devices"][0]["runs"][0]["result"];
        let (made, left) = (result["round_trip"]["count"].as_u64().unwrap(), result["not_started"].as_u64().unwrap());
        assert_eq!((code, made + left), (0, 50_000));
        let warning = format!("overloaded: {left} of 50000 due round trips were not started");
        assert!(result["warnings"].as_array().unwrap().iter().any(|said| said.as_str().unwrap().starts_with(&warning)), "{result}");
    }

    /// A batch of 3 packets on each of 4 queues, 20 times; one producer has three of five queues and another two.
    #[test]
    fn over_several_queues_publishes_a_batch_on_each_of_them() {
        for (queues, producers, packets) in [("4", "1", 20 * 4 * 3), ("2", "2", 20 * 3), ("5", "2", 10 * (3 + 2) * 3)] {
            let several = ["--batch", "3", "--queues", queues, "--producers", producers];
            let (report, code) = measured(&with(&SHORT, &several));
            let result = &report["devices"][0]["runs"][0]["result"];
            assert_eq!((code, result["throughput"]["packets"].as_u64().unwrap()), (0, packets), "{queues} queues");
            let stages = result["stages"].as_array().unwrap();
            let sum: f64 = stages.iter().map(|stage| stage["mean_ns"].as_f64().unwrap()).sum();
            assert!((sum - result["round_trip"]["mean_ns"].as_f64().unwrap()).abs() < 1.0, "{stages:?}");
        }
    }

    #[test]
    fn of_a_kernel_that_answers_has_no_stages_and_no_device_clock() {
        for mode in ["signal", "pingpong"] {
            let (report, code) = measured(&with(&SHORT, &["--mode", mode]));
            let result = &report["devices"][0]["runs"][0]["result"];
            assert_eq!((code, &result["kind"], &result["stages"]), (0, &"measured".into(), &Value::Array(Vec::new())), "{mode}");
            assert!(result.get("clock").is_none());
            assert!(result.get("throughput").is_none(), "it would be that of our own pause before each round trip");
        }
    }
}

mod with_injected_faults {
    use super::*;

    /// Exit code and reason of a measurement with AtomicOps, which must not have ended in numbers.
    fn failed(plan: &str, more: &[&str]) -> (i32, String) {
        let (report, code) = measured(&with(&with(&SHORT, &["--timeout", "2000", "--inject", plan]), more));
        let result = &report["devices"][0]["runs"][0]["result"];
        let reason = result["reason"].as_str().unwrap_or_else(|| panic!("{plan}: {result}"));
        (code, reason.to_owned())
    }

    #[test]
    fn a_completion_of_a_kernel_that_never_saw_the_host_is_false() {
        let (code, reason) = failed("packet-skipped", &["--mode", "signal"]);
        assert!(code == 1 && reason.starts_with("false-completion: "), "{code} {reason}");
    }

    #[test]
    fn a_signal_that_goes_down_by_more_than_one_is_no_completion() {
        for (plan, word) in [("signal-twice", "fired-twice: "), ("signal-decrement=3", "wrong-value: ")] {
            for mode in ["dispatch", "signal"] {
                let (code, reason) = failed(plan, &["--mode", mode]);
                assert!(code == 1 && reason.starts_with(word), "{plan} in mode {mode}: {code} {reason}");
            }
        }
        // From 1 to 4: nobody who waits for 0 ever goes on.
        let (code, reason) = failed("signal-decrement=-3", &[]);
        assert!(code == 3 && reason.starts_with("wrong-value: ") && reason.contains("holds 4"), "{code} {reason}");
    }

    #[test]
    fn a_kernel_that_runs_behind_a_read_index_that_stands_still_is_a_wrong_value() {
        let (code, reason) = failed("read-index-stuck", &["--mode", "pingpong"]);
        assert!(code == 1 && reason.starts_with("wrong-value: the read index is 0 although packet 0 ran"), "{code} {reason}");
    }

    /// Of a ring of 64 packets.
    #[test]
    fn a_read_index_that_stands_still_while_packets_run_is_a_wrong_value() {
        let (code, reason) = failed("read-index-stuck", &["--batch", "5"]);
        assert!(code == 1 && reason.starts_with("wrong-value: the read index is 0 although packet "), "{code} {reason}");
    }

    #[test]
    fn a_fault_for_the_case_latency_strikes_and_is_the_only_one_of_its_plan_that_is_reported() {
        let (code, reason) = failed("signal-dropped:case=latency,packet-ignored:case=nop,seed=1", &[]);
        assert!(code == 3 && reason.starts_with("completion-lost: "), "{code} {reason}");
        let plan = "signal-late=5us:case=lat*,packet-ignored:case=nop,seed=1";
        assert_eq!(measured(&with(&SHORT, &["--inject", plan])).0["settings"]["injected"], "signal-late=5us,seed=1");
    }

    #[test]
    fn a_plan_of_which_nothing_applies_is_a_usage_error() {
        Place::new()
            .program(&with(&SHORT, &["--inject", "signal-dropped:case=nop"]))
            .assert()
            .code(2)
            .stdout(is_empty())
            .stderr(contains("signal-dropped:case=nop").and(contains("`latency`")));
    }

    #[test]
    fn faults_of_the_worker_strike() {
        let ends = [("worker-abort", 1, "SIGABRT"), ("worker-segfault", 1, "SIGSEGV"), ("worker-loop", 3, "runtime-wedged")];
        for (plan, wanted, word) in ends {
            let (code, reason) = failed(plan, &[]);
            assert!(code == wanted && reason.contains(word), "{plan}: {code} {reason}");
        }
    }
}

mod without_atomicops {
    use super::*;

    const OFF: [&str; 9] = ["latency", "--runtime", "embedded", "--atomics", "off", "-n", "20", "--warmup", "0"];

    #[test]
    fn a_dispatch_is_a_hang_and_says_that_its_completion_was_lost() {
        let (report, code) = measured(&OFF);
        let run = &report["devices"][0]["runs"][0];
        assert_eq!((code, &run["result"]["kind"], &run["standing"]), (3, &"hang".into(), &"as-predicted".into()));
        assert!(run["result"]["reason"].as_str().unwrap().starts_with("completion-lost: "));
    }

    #[test]
    fn a_ping_pong_goes_on() {
        assert_eq!(measured(&with(&OFF, &["--mode", "pingpong"])).1, 0);
    }

    #[test]
    fn beside_a_measurement_with_them_a_ping_pong_says_what_they_change() {
        let both = ["latency", "--runtime", "embedded", "--atomics", "both", "-n", "20", "--warmup", "0", "--mode", "pingpong"];
        let (report, code) = measured(&both);
        let device = &report["devices"][0];
        let median = |run: usize| device["runs"][run]["result"]["round_trip"]["typical_ns"].as_f64().unwrap();
        assert_eq!((code, &device["runs"][0]["atomics"]), (0, &"off".into()));
        assert_eq!(device["atomics_effect"]["difference_ns"].as_f64(), Some(median(1) - median(0)));
        Place::new().program(&both).assert().code(0).stdout(contains("AtomicOps on against off: median "));
    }

    #[test]
    fn the_loss_beside_a_measurement_with_them_is_no_failure() {
        let (report, code) = measured(&["latency", "--runtime", "embedded", "--atomics", "both", "-n", "20", "--warmup", "0"]);
        let kinds: Vec<&Value> =
            report["devices"][0]["runs"].as_array().unwrap().iter().map(|run| &run["result"]["kind"]).collect();
        assert_eq!((code, kinds), (0, vec![&"hang".into(), &"measured".into()]));
    }
}

#[test]
fn one_run_fills_every_form_and_none_is_green_for_a_hang() {
    let kinds = ["json", "ndjson", "junit", "tap", "ktap", "github", "prometheus", "npd"];
    let fill = |atomics: &str, code: i32| {
        let place = Place::new();
        let reports: Vec<String> = kinds.iter().map(|kind| format!("--report={kind}={}", place.path(kind).display())).collect();
        let mut arguments = vec!["latency", "--runtime", "embedded", "--atomics", atomics, "-n", "20", "--warmup", "0"];
        arguments.extend(reports.iter().map(String::as_str));
        place.program(&arguments).env_remove("GITHUB_STEP_SUMMARY").assert().code(code).stdout(starts_with("Test bed: embedded"));
        kinds.map(|kind| fs::read_to_string(place.path(kind)).unwrap())
    };
    let [json, ndjson, junit, tap, ktap, github, prometheus, npd] = fill("both", 0);
    assert!(json.starts_with("{\n  \"document\": \"latency\""), "{json}");
    let events: Vec<String> =
        ndjson.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["started", "run-started", "run-started", "measured", "measured", "verdict"]);
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"0\"") && junit.contains("round_trip_typical_ns"), "{junit}");
    assert!(tap.starts_with("TAP version 13\n1..3\n") && tap.contains("latency-dispatch # TODO as-predicted: hang"), "{tap}");
    assert!(ktap.contains("# XFAIL"), "{ktap}");
    assert!(github.starts_with("::notice title=aqlprobe latency on embedded::PASS: "), "{github}");
    let settings = r#"mode="dispatch",wait="active",fence="system",batch="1",queues="1",producers="1",rate="",injected="""#;
    assert!(prometheus.contains(settings), "{prometheus}");
    assert_eq!(ndjson.matches("\"settings\":{\"mode\":\"dispatch\"").count(), 2, "{ndjson}");
    assert!(prometheus.contains("aqlprobe_round_trip_seconds{bed=\"embedded\"") && prometheus.contains("stage=\"host-sees\""));
    assert!(npd.starts_with("UNKNOWN [embedded] PASS: "), "{npd}");
    let [_, ndjson, junit, tap, ktap, github, prometheus, npd] = fill("off", 3);
    assert!(ndjson.lines().last().unwrap().contains("HANG"), "{ndjson}");
    assert!(junit.contains("tests=\"2\" failures=\"2\""), "{junit}");
    assert_eq!((tap.matches("\nnot ok ").count(), ktap.matches("\nnot ok ").count()), (2, 2), "{tap}{ktap}");
    assert!(!tap.contains("TODO") && github.starts_with("::error "), "{tap}{github}");
    assert!(prometheus.contains("verdict=\"HANG\"} 1"), "{prometheus}");
    assert!(npd.starts_with("UNKNOWN [embedded] HANG: "), "{npd}");
}

#[test]
fn tap_and_prometheus_name_injected_faults() {
    let plan = "signal-late=5us,seed=7";
    for (kind, wanted) in [("tap", format!("; injected faults: {plan}\n")), ("prometheus", format!("injected=\"{plan}\""))] {
        Place::new().program(&with(&SHORT, &["--inject", plan, "--format", kind])).assert().code(0).stdout(contains(wanted));
    }
}

#[test]
fn a_saved_report_is_the_same_text_again() {
    let place = Place::new();
    let file = place.path("latency.json");
    let saved = format!("--report=json={}", file.display());
    let said = place.program(&with(&SHORT, &[&saved])).assert().code(0);
    let again = place.program(&["report", file.to_str().unwrap()]).assert().code(0);
    assert_eq!(String::from_utf8_lossy(&said.get_output().stdout), String::from_utf8_lossy(&again.get_output().stdout));
}

#[test]
fn a_selftest_prints_ktap_and_fails_on_a_hang_with_1() {
    Place::new().program(&with(&SHORT, &["--kselftest"])).assert().code(0).stdout(starts_with("KTAP version 1\n1..2\n"));
    Place::new()
        .program(&["latency", "--runtime", "embedded", "--atomics", "off", "-n", "5", "--warmup", "0", "--kselftest"])
        .assert()
        .code(1)
        .stdout(contains("not ok 2 "));
}

#[test]
fn help_has_examples_and_the_exit_codes() {
    let listed = contains("Examples:").and(contains("--report")).and(contains("--strict")).and(contains("Exit codes"));
    Place::new().program(&["latency", "--help"]).assert().code(0).stdout(listed);
}

#[test]
fn what_makes_no_sense_is_refused_before_any_work() {
    for (more, why) in [
        (vec!["-n", "0"], "0"),
        (vec!["-n", "5", "-D", "1"], "cannot be used with"),
        (vec!["-D", "-1"], "-1"),
        (vec!["-D", "4000"], "seconds from 0.001 to 3600"),
        (vec!["-D", "0"], "seconds from 0.001 to 3600"),
        (vec!["-D", "0.0001"], "seconds from 0.001 to 3600"),
        (vec!["--warmup", "4000"], "seconds from 0 to 3600"),
        (vec!["--rate", "0"], "rate"),
        (vec!["--mode", "nap"], "pingpong"),
        (vec!["--mode", "pingpong", "--wait", "blocked"], "pingpong"),
        (vec!["--mode", "signal", "--batch", "2"], "in signal mode"),
        (vec!["--batch", "0"], "batch"),
        (vec!["--pin", "0", "--producers", "2"], "pin"),
        (vec!["--report", "xml=x"], "junit"),
    ] {
        let arguments = with(&["latency", "--runtime", "embedded"], &more);
        Place::new().program(&arguments).assert().code(2).stdout(is_empty()).stderr(contains(why).and(contains("panicked").not()));
    }
}

#[test]
fn a_processor_that_is_not_there_is_a_usage_error_that_names_those_that_are() {
    Place::new()
        .program(&with(&SHORT, &["--pin", "4000"]))
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(contains("--pin 4000").and(contains("this machine's processors are 0")));
}

#[test]
fn without_a_gpu_auto_is_a_self_test_that_says_so_first_and_last_and_exits_4() {
    if Path::new("/dev/kfd").exists() {
        eprintln!("not tried: this machine has /dev/kfd, so `auto` rightly measures a GPU");
        return;
    }
    let says_so = |line: Option<&str>| line.is_some_and(|line| line.contains("no GPU was tested"));
    Place::new()
        .program(&["latency", "-n", "10", "--warmup", "0"])
        .assert()
        .code(4)
        .stdout(predicate::function(|text: &str| says_so(text.lines().next()) && says_so(text.lines().last())))
        .stdout(contains("PASS").not());
}

#[test]
fn an_interrupt_ends_the_measurement_and_puts_the_bit_back() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        // The software GPU is found with the bit clear.
        let running = place.start(&["latency", "--runtime", "embedded", "--atomics", "on", "-D", "600", "--warmup", "0"]);
        let mut config = place.config_space();
        eventually("the bit to be set", || config.requester_enabled().then_some(()));
        running.signal(signal);
        let status = running.end();
        assert_eq!(status.code(), Some(1), "{}", place.stderr());
        assert!(place.stderr().contains("interrupted"), "{}", place.stderr());
        assert_eq!(place.stdout(), "");
        assert!(!config.requester_enabled(), "the bit must be as it was found");
    }
}
