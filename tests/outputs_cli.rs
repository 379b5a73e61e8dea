//! Several reports of one run, as users meet them: what goes where, and what the process ends with.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use program::Place;

const NOP: [&str; 5] = ["verify", "--runtime", "embedded", "--case", "nop"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    base.iter().chain(more).copied().collect()
}

#[test]
fn one_run_fills_every_kind_of_report_beside_the_text_on_stdout() {
    let place = Place::new();
    let kinds = ["json", "ndjson", "junit", "tap", "ktap", "github", "prometheus", "npd"];
    let reports: Vec<String> = kinds.iter().map(|kind| format!("--report={kind}={}", place.path(kind).display())).collect();
    let arguments: Vec<&str> = NOP.into_iter().chain(reports.iter().map(String::as_str)).collect();
    let ended =
        place.program(&arguments).env_remove("GITHUB_STEP_SUMMARY").assert().code(0).stdout(starts_with("Test bed: embedded"));
    let told = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
    assert!(told.starts_with("PASS: ") && told.matches("report: ").count() == kinds.len(), "{told}");
    let begins = |kind: &str, start: &str| {
        let text = fs::read_to_string(place.path(kind)).unwrap();
        assert!(text.starts_with(start), "{kind}: {text}");
    };
    begins("json", "{\n  \"document\": \"verify\"");
    begins("ndjson", "{\"event\":\"started\"");
    begins("junit", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites ");
    begins("tap", "TAP version 13\n1..3\n");
    begins("ktap", "KTAP version 1\n1..3\n");
    begins("github", "::notice title=aqlprobe verify on embedded::PASS: ");
    begins("prometheus", "# HELP aqlprobe_up ");
    begins("npd", "UNKNOWN [embedded] PASS: ");
}

#[test]
fn two_reports_for_one_place_and_an_unwritable_place_are_known_before_any_work() {
    let place = Place::new();
    let missing = format!("junit={}", place.path("missing/report.xml").display());
    let events = format!("ndjson={}", place.path("missing/events").display());
    for more in [vec!["--report", "tap=-", "--report", "junit=-"], vec!["--format", "json", "--report", "tap=-"]] {
        place.program(&with(&NOP, &more)).assert().code(2).stdout(is_empty()).stderr(contains("two reports go to stdout"));
    }
    for report in [&missing, &events] {
        place.program(&with(&NOP, &["--report", report])).assert().code(2).stdout(is_empty()).stderr(contains("cannot write"));
    }
    place.program(&with(&NOP, &["--report", "xml=x"])).assert().code(2).stderr(contains("junit"));
}

#[test]
fn a_file_takes_one_report_however_it_is_spelled() {
    let place = Place::new();
    let (plain, dotted) = (place.path("report"), place.path("./report"));
    let reports = [format!("--report=junit={}", plain.display()), format!("--report=tap={}", dotted.display())];
    place.program(&with(&NOP, &[&reports[0], &reports[1]])).assert().code(2).stderr(contains("two reports go to"));
    assert!(!plain.exists());
    std::os::unix::fs::symlink(place.path(""), place.path("elsewhere")).unwrap();
    let linked = format!("--report=tap={}", place.path("elsewhere/report").display());
    place.program(&with(&NOP, &[&reports[0], &linked])).assert().code(2).stderr(contains("two reports go to"));
    place.program(&with(&NOP, &["--report", "junit=/dev/null", "--report", "tap=/dev/null"])).assert().code(0);
}

#[test]
fn events_of_an_earlier_run_stay_where_another_place_cannot_be_written() {
    let place = Place::new();
    let events = place.path("events");
    fs::write(&events, "of an earlier run\n").unwrap();
    let reports =
        [format!("--report=ndjson={}", events.display()), format!("--report=tap={}", place.path("missing/tap").display())];
    place.program(&with(&NOP, &[&reports[0], &reports[1]])).assert().code(2);
    assert_eq!(fs::read_to_string(&events).unwrap(), "of an earlier run\n");
    place.program(&with(&NOP, &[&reports[0]])).assert().code(0);
    assert!(fs::read_to_string(&events).unwrap().starts_with("{\"event\":\"started\""));
}

#[test]
fn a_list_of_cases_is_no_report() {
    Place::new().program(&["verify", "--list", "--report", "junit=x.xml"]).assert().code(2).stderr(contains("--report"));
}

#[test]
fn a_hang_keeps_its_exit_code_whatever_the_form_and_is_a_failure_of_a_selftest() {
    let off = with(&NOP, &["--atomics", "off"]);
    for kind in ["junit", "tap", "github", "prometheus", "ndjson"] {
        Place::new().program(&with(&off, &["--format", kind])).assert().code(3);
    }
    Place::new().program(&with(&off, &["--kselftest"])).assert().code(1).stdout(starts_with("KTAP version 1\n"));
    Place::new().program(&with(&off, &["--kselftest", "--format", "json"])).assert().code(1).stdout(starts_with("{"));
}

#[test]
fn a_selftest_skips_with_4_and_fails_with_1_even_when_its_command_line_is_wrong() {
    Place::new().program(&with(&NOP, &["--kselftest", "--nonsense"])).assert().code(1);
    Place::new().program(&["verify", "--kselftest", "--case", "nope"]).assert().code(1);
    let auto = ["verify", "--case", "nop", "--kselftest"];
    Place::new().program_without_gpu(&auto).assert().code(4).stdout(starts_with("KTAP version 1\n1..0 # SKIP NO GPU TESTED"));
    Place::new()
        .program_without_gpu(&with(&auto, &["--require-device"]))
        .assert()
        .code(1)
        .stdout(contains("not ok 3 aqlprobe verify: verdict"));
}

#[test]
fn a_nodes_plugin_calls_a_model_unknown_even_when_it_passes() {
    let line = predicate::function(|text: &str| text.lines().count() == 1 && text.len() <= 80);
    Place::new()
        .program(&with(&NOP, &["--format", "npd"]))
        .assert()
        .code(2)
        .stdout(starts_with("UNKNOWN [embedded] PASS"))
        .stdout(line);
    Place::new()
        .program_without_gpu(&["verify", "--case", "nop", "--report", "npd=-"])
        .assert()
        .code(2)
        .stdout(contains("self-test"));
    let system = ["verify", "--runtime", "system", "--format", "npd"];
    Place::new().program_without_gpu(&system).assert().code(2).stdout(starts_with("UNKNOWN [no report] "));
    Place::new().program_without_gpu(&with(&system, &["--require-device"])).assert().code(1).stdout(starts_with("PROBLEM "));
}

#[test]
fn without_a_report_forms_for_machines_still_say_why_and_a_json_file_is_left_alone() {
    let place = Place::new();
    let (xml, json) = (place.path("report.xml"), place.path("report.json"));
    fs::write(&json, "old").unwrap();
    let reports = [format!("--report=junit={}", xml.display()), format!("--report=json={}", json.display())];
    let arguments = ["verify", "--runtime", "system", &reports[0], &reports[1]];
    place.program_without_gpu(&arguments).assert().code(4).stderr(contains("no GPU can be tested"));
    assert!(fs::read_to_string(xml).unwrap().contains("<skipped>no-hardware: no GPU can be tested"));
    assert_eq!(fs::read_to_string(json).unwrap(), "old");
}

#[test]
fn github_gets_a_summary_appended_where_it_asks_for_one() {
    let place = Place::new();
    let summary = place.path("summary.md");
    fs::write(&summary, "before\n").unwrap();
    let annotate = with(&NOP, &["--format", "github"]);
    place.program(&annotate).env("GITHUB_STEP_SUMMARY", &summary).assert().code(0).stdout(starts_with("::notice "));
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("before\n### aqlprobe verify: PASS\n"), "{text}");
    place.program(&NOP).env("GITHUB_STEP_SUMMARY", &summary).assert().code(0);
    assert_eq!(fs::read_to_string(&summary).unwrap(), text, "nobody asked for it");
    let system = ["verify", "--runtime", "system", "--format", "github"];
    place.program_without_gpu(&system).env("GITHUB_STEP_SUMMARY", &summary).assert().code(4);
    assert!(fs::read_to_string(&summary).unwrap().contains("\n### aqlprobe verify: no report\n\nno GPU can be tested"));
    let nowhere = place.path("missing/summary.md");
    place.program(&annotate).env("GITHUB_STEP_SUMMARY", nowhere).assert().code(2).stderr(contains("GITHUB_STEP_SUMMARY"));
}

/// A file of events can be followed: each line is there when its event happens, so the last one names the case that was under way.
#[test]
fn events_are_written_as_they_happen() {
    let place = Place::new();
    let report = format!("ndjson={}", place.path("events").display());
    let running = place.start(&["verify", "--runtime", "embedded", "--atomics", "off", "--report", &report]);
    let finished = || fs::read_to_string(place.path("events")).ok().filter(|text| text.contains("\"case-finished\""));
    let early = program::eventually("an event while the run goes on", finished);
    assert!(!early.contains("\"verdict\":{"), "the first case was seen only with the verdict");
    running.end();
    let text = fs::read_to_string(place.path("events")).unwrap();
    assert!(
        text.starts_with("{\"event\":\"started\"") && text.lines().last().unwrap().starts_with("{\"event\":\"verdict\""),
        "{text}"
    );
}

#[test]
fn a_strict_run_of_a_sound_device_passes() {
    Place::new().program(&with(&NOP, &["--strict"])).assert().code(0).stdout(contains("PASS: "));
}
