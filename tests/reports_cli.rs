//! `aqlprobe compare`, `merge` and `report` as their users meet them, and the page: whole, self-contained, and safe to open.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/latency_samples.rs"]
mod latency_samples;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;
#[path = "support/report_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod samples;

use std::fs;
use std::path::Path;

use aqlprobe::report::fleet::SavedReport;
use aqlprobe::report::html::{HtmlSource, page};
use aqlprobe::report::latency::LatencyResult;
use aqlprobe::report::{Document, Report, json};
use latency_samples::embedded;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use program::Place;
use proptest::prelude::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results/embedded-fiji.json");

fn save(place: &Place, name: &str, report: &Document) -> String {
    let mut bytes = Vec::new();
    json::write_document(report, &mut bytes).unwrap();
    fs::write(place.path(name), bytes).unwrap();
    place.path(name).to_str().unwrap().to_owned()
}

fn page_of(document: Document) -> String {
    page(&[HtmlSource { file: "report.json".to_owned(), report: SavedReport::Single(document) }])
}

mod compare {
    use super::*;

    #[test]
    fn exits_with_0_1_and_2() {
        let place = Place::new();
        let base = save(&place, "base.json", &Document::from(embedded("a", 10_000)));
        let slow = save(&place, "slow.json", &Document::from(embedded("a", 11_000)));
        place
            .program(&["compare", &base, &base])
            .assert()
            .code(0)
            .stdout(starts_with("Test bed: embedded, a software GPU and not hardware\n"))
            .stdout(contains("NO DIFFERENCE"));
        place.program(&["compare", &base, &slow]).assert().code(1).stdout(contains("REGRESSED: "));
        place.program(&["compare", &base, &slow, "--threshold", "20"]).assert().code(0);
        place.program(&["compare", &base, REFERENCE]).assert().code(2).stderr(contains("latency report"));
        place.program(&["compare", &base, "missing.json"]).assert().code(2).stderr(contains("missing.json"));
    }

    #[test]
    fn does_not_pass_a_tail_that_looks_worse_and_has_too_few_samples() {
        let place = Place::new();
        let base = save(&place, "base.json", &Document::from(embedded("a", 10_000)));
        let mut bursty = embedded("a", 10_000);
        // One in a hundred and one more, in one burst: the 99th percentile is the fastest of them.
        let mut times = latency_samples::round_trips(10_000);
        times[2_000..2_041].iter_mut().for_each(|time| *time *= 100);
        bursty.devices[0].runs[1].result = LatencyResult::Measured(Box::new(latency_samples::measurement(times)));
        let bursty = save(&place, "bursty.json", &Document::from(bursty));
        place
            .program(&["compare", &base, &bursty])
            .assert()
            .code(2)
            .stdout(contains("NOT JUDGED: ").and(contains("too few samples to judge 99 % of GPU 0 with AtomicOps on")));
        let json = place.path("comparison.json");
        place.program(&["compare", &base, &bursty, "--format", "json", "-o", json.to_str().unwrap()]).assert().code(2);
        let written: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!((&written["unjudged"], &written["verdict"]["exit_code"]), (&1.into(), &2.into()));
    }

    #[test]
    fn names_what_is_unlike_and_the_option_that_allows_it() {
        let place = Place::new();
        let base = save(&place, "base.json", &Document::from(embedded("a", 10_000)));
        let mut other = embedded("a", 10_000);
        other.settings.batch = 16;
        let other = save(&place, "other.json", &Document::from(other));
        place
            .program(&["compare", &base, &other])
            .assert()
            .code(2)
            .stderr(contains("batch 1 against 16").and(contains("--allow-different settings")));
        place
            .program(&["compare", &base, &other, "--allow-different", "settings"])
            .assert()
            .code(0)
            .stdout(contains("Unlike, as allowed: batch 1 against 16"));
    }

    #[test]
    fn does_not_write_over_what_it_compares() {
        let place = Place::new();
        let base = save(&place, "base.json", &Document::from(embedded("a", 10_000)));
        let written = fs::read(&base).unwrap();
        let dotted = place.path("./base.json").to_str().unwrap().to_owned();
        for output in [&base, &dotted] {
            place.program(&["compare", &base, &base, "-o", output]).assert().code(2).stderr(contains("would replace"));
        }
        assert_eq!(fs::read(&base).unwrap(), written);
    }

    #[test]
    fn the_same_files_give_the_same_json() {
        let place = Place::new();
        let base = save(&place, "base.json", &Document::from(embedded("a", 10_000)));
        let slow = save(&place, "slow.json", &Document::from(embedded("a", 10_200)));
        let run = || place.program(&["compare", &base, &slow, "--format", "json"]).output().unwrap().stdout;
        assert_eq!(run(), run());
    }

    #[test]
    fn the_reference_report_does_not_differ_from_itself() {
        Place::new().program(&["compare", REFERENCE, REFERENCE]).assert().code(0).stdout(contains("NO DIFFERENCE"));
    }
}

mod merge {
    use super::*;

    #[test]
    fn a_torn_file_is_named_makes_exit_1_and_the_rest_is_merged_and_rendered() {
        let place = Place::new();
        let good = save(&place, "good.json", &Document::from(samples::embedded_both()));
        let torn = place.path("torn.json").to_str().unwrap().to_owned();
        fs::write(&torn, "{").unwrap();
        let fleet = place.path("fleet.json").to_str().unwrap().to_owned();
        place
            .program(&["merge", &good, &torn, "-o", &fleet])
            .assert()
            .code(1)
            .stdout(contains("node-a").and(contains("torn.json is no report")))
            .stderr(contains("1 report of 1 node: 1 PASS; 1 of a software GPU, not hardware; 1 file not read"));
        let html = place.path("fleet.html");
        place.program(&["report", &fleet, "--html", html.to_str().unwrap()]).assert().code(0);
        assert!(fs::read_to_string(html).unwrap().contains("node-a"));
        place.program(&["merge", &torn]).assert().code(2);
    }

    #[test]
    fn does_not_write_over_a_nodes_report_and_adds_to_its_own_document() {
        let place = Place::new();
        let first = save(&place, "first.json", &Document::from(samples::embedded_both()));
        let later = save(&place, "later.json", &Document::from(embedded("b", 10_000)));
        let fleet = place.path("fleet.json").to_str().unwrap().to_owned();
        place.program(&["merge", &first, &later, "-o", &first]).assert().code(2).stderr(contains("would replace"));
        place.program(&["merge", &first, "-o", &fleet]).assert().code(0);
        place.program(&["merge", &fleet, &later, "-o", &fleet]).assert().code(0).stdout(contains("2 reports of 2 nodes"));
    }

    /// As in the reports themselves: ten thousand samples are not ten thousand lines.
    #[test]
    fn puts_many_numbers_on_a_line() {
        let place = Place::new();
        let file = save(&place, "a.json", &Document::from(embedded("a", 10_000)));
        let fleet = place.path("fleet.json").to_str().unwrap().to_owned();
        place.program(&["merge", &file, "-o", &fleet]).assert().code(0);
        let lines = |path: &str| fs::read_to_string(path).unwrap().lines().count();
        assert!(lines(&fleet) < lines(&file) + 100, "{} and {}", lines(&fleet), lines(&file));
    }
}

mod report {
    use super::*;

    #[test]
    fn text_and_json_are_what_the_run_printed() {
        let place = Place::new();
        let file = save(&place, "good.json", &Document::from(samples::embedded_both()));
        place
            .program(&["report", &file])
            .assert()
            .code(0)
            .stdout(starts_with("Test bed: embedded, a software GPU and not hardware\n").and(contains("\nPASS: ")));
        let written = fs::read(place.path("good.json")).unwrap();
        let printed = place.program(&["report", &file, "--format", "json"]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), String::from_utf8(written).unwrap());
    }

    #[test]
    fn several_files_need_a_page() {
        let place = Place::new();
        let file = save(&place, "good.json", &Document::from(samples::embedded_both()));
        place.program(&["report", &file, &file]).assert().code(2).stderr(contains("--html"));
        let html = place.path("two.html");
        place.program(&["report", &file, &file, "--html", html.to_str().unwrap()]).assert().code(0);
        assert!(fs::read_to_string(html).unwrap().contains("Verdicts"));
    }
}

/// What the page's own template never has more than once, so that a second one can only come from a report.
fn assert_inert(html: &str) {
    for forbidden in ["<script", "<img", "<iframe", "<object", "<link", " src=", "javascript:", "@import", "url("] {
        assert!(!html.to_lowercase().contains(forbidden), "{forbidden} in the page");
    }
    for reference in html.match_indices("href=\"") {
        assert!(html[reference.0 + 6..].starts_with('#'), "a reference out of the page");
    }
    assert!(!html.contains("http:") && !html.contains("https:"), "an address in the page");
    assert!(html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'"));
}

/// Every element that is opened is closed, in order; elements without content are left out.
fn assert_balanced(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let style_end = html.find("</style>").unwrap();
    let body = &html[style_end + "</style>".len()..];
    open.extend(["html", "head"]);
    for (at, _) in body.match_indices('<') {
        let tag = &body[at + 1..at + body[at..].find('>').unwrap()];
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "at {}", &body[at..(at + 40).min(body.len())].escape_debug());
        } else {
            let name = tag.split([' ', '/']).next().unwrap();
            if !["meta", "br", "!DOCTYPE"].contains(&name) {
                open.push(name);
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn every_page_names_its_bed_before_anything_else_and_loads_nothing() {
    let hardware = "Test bed: hardware, through /opt/rocm/lib/libhsa-runtime64.so.1";
    for (document, bed) in [
        (Document::from(samples::embedded_both()), "a software GPU and not hardware"),
        (Document::from(samples::self_test()), "no GPU was tested"),
        (Document::from(samples::hardware_with_every_outcome()), hardware),
        (Document::from(embedded("a", 10_000)), "a software GPU and not hardware"),
    ] {
        let html = page_of(document);
        assert_inert(&html);
        assert_balanced(&html);
        let (bed_at, device_at) = (html.find(bed).unwrap(), html.find("<h2>GPU 0").unwrap());
        assert!(bed_at < device_at);
    }
}

#[test]
fn the_hop_that_stops_atomic_ops_is_marked_by_word_and_stands_between_root_port_and_gpu() {
    let html = page_of(Document::from(samples::hardware_with_every_outcome()));
    assert_eq!(html.matches("AtomicOps stop here").count(), 1);
    let at = |text: &str| html.find(text).unwrap();
    let stop = at("AtomicOps stop here");
    assert!(at("0000:00:02.0") < stop && at("0000:03:00.0") < stop && stop < at("0000:04:08.0"));
    assert!(html.contains("03:00.0 lacks AtomicOp Routing."));
}

/// A GPU whose path stops at its own enable bit, as it was found.
fn found_with_the_requester_off(mut report: Report) -> Report {
    let found = report.devices[0].path.as_mut().unwrap();
    found.first_bad_hop = Some("0000:0b:00.0".to_owned());
    found.fixes = vec![samples::FIX.to_owned()];
    report
}

#[test]
fn a_hop_whose_enable_bit_was_set_for_the_run_that_decides_stops_nothing_in_it() {
    let html = page_of(Document::from(found_with_the_requester_off(samples::embedded_both())));
    assert!(!html.contains("AtomicOps stop here"));
    assert!(html.contains("▲ clear as found; set for the run with AtomicOps on"));
    assert!(html.contains("To keep AtomicOps on after the run") && !html.contains("What to change"));
}

#[test]
fn a_hop_whose_enable_bit_was_off_in_the_run_that_decides_stops_atomic_ops() {
    let html = page_of(Document::from(found_with_the_requester_off(samples::embedded_off())));
    assert_eq!(html.matches("✗ AtomicOps stop here").count(), 1);
    assert!(!html.contains("clear as found"));
}

/// With a switch that blocks above a GPU whose bit was set for the run, the switch alone stops AtomicOps.
#[test]
fn a_switch_that_blocks_is_marked_beside_a_gpu_that_was_set_for_the_run() {
    let mut report = found_with_the_requester_off(samples::embedded_both());
    let found = report.devices[0].path.as_mut().unwrap();
    let blocking = aqlprobe::report::HopReport {
        egress_blocked: Some(aqlprobe::report::Bit::Set),
        ..samples::hop("0000:09:00.0", aqlprobe::report::HopRole::SwitchUpstream, "Switch")
    };
    found.hops.insert(1, blocking);
    found.first_bad_hop = Some("0000:09:00.0".to_owned());
    let html = page_of(Document::from(report));
    let at = |text: &str| html.find(text).unwrap();
    assert!(at("0000:09:00.0") < at("✗ AtomicOps stop here") && at("✗ AtomicOps stop here") < at("▲ clear as found"));
    assert!(html.contains("What to change on the path as found"));
}

#[test]
fn a_fix_of_the_software_gpu_is_said_to_be_no_command_for_this_machine() {
    const CAVEAT: &str = "(of the software GPU, no command for this machine)";
    let model = page_of(Document::from(samples::embedded_off()));
    let (heading, fix) = (model.find(CAVEAT).unwrap(), model.find(samples::FIX).unwrap());
    assert!(heading < fix);
    let mut hardware = samples::embedded_off();
    hardware.bed.kind = aqlprobe::report::BedKind::Hardware;
    let hardware = page_of(Document::from(hardware));
    assert!(hardware.contains(samples::FIX) && !hardware.contains(CAVEAT));
}

#[test]
fn failures_with_one_cause_are_told_once_with_all_their_names() {
    let mut report = samples::embedded_off();
    let alike = |at: usize| aqlprobe::report::CaseReport {
        cause: Some("one cause for all".to_owned()),
        ..samples::case(&format!("case-{at}"), aqlprobe::report::Outcome::CompletionLost, aqlprobe::report::Standing::Failed)
    };
    report.devices[0].runs[0].cases = (0..30).map(alike).collect();
    let html = page_of(Document::from(report));
    assert_eq!(html.matches("one cause for all").count(), 1);
    assert!(html.contains("30 failed, AtomicOps off") && (0..30).all(|at| html.contains(&format!(">case-{at}</span>"))));
    assert_balanced(&html);
}

#[test]
fn every_outcome_is_told_by_a_word_and_a_shape() {
    let html = page_of(Document::from(samples::hardware_with_every_outcome()));
    for shown in ["✓ completed<", "✗ wrong-value (FAILED)", "◇ completion-lost (predicted)", "– untestable (skipped)"] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(html.contains("✗ FAIL"));
}

#[test]
fn a_latency_page_has_a_histogram_with_words_a_bar_per_stage_and_the_hang() {
    let html = page_of(Document::from(embedded("a", 10_000)));
    assert!(html.contains("Histogram of 4,000 round trips from 9.50 µs to "));
    assert_eq!(html.matches("class=\"stage\"").count(), 3);
    assert!(html.contains("◇ Hang (predicted): ") && !html.contains("■ Hang"));
    let mut unpredicted = embedded("a", 10_000);
    unpredicted.devices[0].runs[0].standing = aqlprobe::report::Standing::Failed;
    assert!(page_of(Document::from(unpredicted)).contains("■ Hang: "));
}

/// A verdict says "median 110.64 us"; the page has the same digits beside it.
#[test]
fn a_round_trip_has_the_digits_that_its_verdict_has() {
    let mut report = embedded("a", 10_000);
    let measured = latency_samples::measurement(vec![110_640; 100]);
    report.devices[0].runs[1].result = aqlprobe::report::latency::LatencyResult::Measured(Box::new(measured));
    let html = page_of(Document::from(report));
    assert!(html.contains("<b>110.64</b><span>median</span>") && html.contains("median 110.64 µs") && !html.contains("111 µs"));
}

mod fleet {
    use super::*;

    /// A pass, a hang on hardware, and another pass.
    fn page_of_three() -> String {
        let place = Place::new();
        let mut hang = samples::embedded_off();
        hang.bed.kind = aqlprobe::report::BedKind::Hardware;
        let documents = [("good", samples::embedded_both()), ("bad", hang), ("fine", samples::embedded_both())];
        let files = documents.map(|(name, mut report)| {
            report.host = Some(format!("node-{name}"));
            save(&place, &format!("{name}.json"), &Document::from(report))
        });
        let fleet = place.path("fleet.json").to_str().unwrap().to_owned();
        place.program(&["merge", &files[0], &files[1], &files[2], "-o", &fleet]).assert().code(0);
        let html = place.path("fleet.html");
        place.program(&["report", &fleet, "--html", html.to_str().unwrap()]).assert().code(0);
        fs::read_to_string(html).unwrap()
    }

    #[test]
    fn the_worst_report_comes_first_and_reports_are_counted_as_such() {
        let html = page_of_three();
        let at = |text: &str| html.find(text).unwrap();
        assert!(at("node-bad") < at("node-good") && at("node-good") < at("node-fine"));
        assert!(html.contains("1 report on hardware, 2 reports on a software GPU"));
        assert_balanced(&html);
    }

    /// Browsers open a `<details>` when a link leads to something inside; one that leads to the element itself opens nothing.
    #[test]
    fn a_link_leads_into_what_it_opens() {
        let html = page_of_three();
        let targets: Vec<&str> = html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(targets.len(), 3);
        for target in targets {
            assert!(html.contains(&format!("</summary><div id=\"{target}\">")), "{target}");
        }
    }
}

#[test]
fn a_distribution_of_one_value_or_of_zeros_is_drawn_all_the_same() {
    for scale in [0, 1] {
        let mut report = embedded("a", 1_000);
        let samples = vec![scale; 10];
        report.devices[0].runs[1].result = LatencyResult::Measured(Box::new(latency_samples::measurement(samples)));
        let html = page_of(Document::from(report));
        assert!(!html.contains("NaN") && !html.contains("inf\""), "a coordinate that is no number");
        assert_balanced(&html);
    }
}

/// Puts `text` wherever a report has text from outside.
fn poison(value: &mut serde_json::Value, text: &str) {
    const WORDS: [&str; 16] = [
        "document",
        "kind",
        "word",
        "atomics",
        "standing",
        "role",
        "capability",
        "requester",
        "acceptance",
        "doorbell",
        "mode",
        "wait",
        "fence",
        "stage",
        "routing",
        "completer_32",
    ];
    const BITS: [&str; 4] = ["completer_64", "egress_blocked", "requester_enable", "bus_master"];
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    serde_json::Value::String(old) if !WORDS.contains(&name.as_str()) && !BITS.contains(&name.as_str()) => {
                        text.clone_into(old);
                    }
                    field => poison(field, text),
                }
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                match item {
                    serde_json::Value::String(old) => text.clone_into(old),
                    item => poison(item, text),
                }
            }
        }
        _ => {}
    }
}

fn poisoned(document: &Document, text: &str) -> String {
    let mut value = serde_json::to_value(document).unwrap();
    poison(&mut value, text);
    page_of(Document::parse(&value.to_string(), Path::new("poisoned.json")).unwrap())
}

#[test]
fn hostile_strings_stay_strings() {
    for text in ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</style></svg></pre>", "'--><!--", "]]>"] {
        for document in [Document::from(samples::hardware_with_every_outcome()), Document::from(embedded("a", 10_000))] {
            let html = poisoned(&document, text);
            assert_balanced(&html);
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<!--"), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_string_of_a_report_can_open_or_close_an_element(text in "[<>\"'&/=a-z!\\-\\x00-\\x1f \u{202e}\u{fffe}]{0,40}") {
        assert_balanced(&poisoned(&Document::from(samples::hardware_with_every_outcome()), &text));
        let mut small = embedded("a", 10_000);
        small.devices[0].runs.truncate(1);
        assert_balanced(&poisoned(&Document::from(small), &text));
    }
}
