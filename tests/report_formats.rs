//! What each form makes of a report: exact text where it matters, and whatever strings a machine may hold.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be rendered must fail it")]

#[path = "support/report_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod samples;

use aqlprobe::report::{
    AtomicsMode, BedKind, Document, DocumentKind, ExitCode, HardwareDemand, NodeStatus, Outcome, Refusal, RenderContext, Report,
    ReportKind, Standing, TextStyle, VerdictWord, github,
};
use proptest::prelude::*;

const REQUIRED: RenderContext = RenderContext { style: TextStyle::PLAIN, demand: HardwareDemand::Required };

fn rendered_in(kind: ReportKind, context: RenderContext, document: &Document) -> String {
    let mut bytes = Vec::new();
    kind.renderer(context).report(document, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rendered(kind: ReportKind, report: Report) -> String {
    rendered_in(kind, RenderContext::PLAIN, &Document::from(report))
}

fn refusal(exit_code: ExitCode) -> Refusal {
    Refusal { command: DocumentKind::Verify, reason: "there is no /dev/kfd".to_owned(), exit_code }
}

fn refused(kind: ReportKind, exit_code: ExitCode) -> Option<String> {
    kind.renderer(RenderContext::PLAIN).refusal(&refusal(exit_code))
}

/// The same as a pass of real hardware.
fn hardware() -> Report {
    let mut report = samples::embedded_both();
    report.bed.kind = BedKind::Hardware;
    report.bed.runtime = "/opt/rocm/lib/libhsa-runtime64.so.1".to_owned();
    report
}

fn everything() -> [Report; 5] {
    [samples::embedded_both(), samples::embedded_off(), samples::self_test(), samples::hardware_with_every_outcome(), hardware()]
}

/// Attribute of the root element.
fn total(xml: &str, name: &str) -> usize {
    let root = xml.lines().find(|line| line.starts_with("<testsuites")).unwrap();
    root.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap()
}

mod every_form {
    use super::*;

    /// Sentences may speak of hardware on any bed, so the word must be there once more than in the same report of a model.
    #[test]
    fn names_the_bed() {
        let said = |kind: ReportKind, mut report: Report, bed: BedKind, word: &str| {
            report.bed.kind = bed;
            rendered(kind, report).replace("not hardware", "").matches(word).count()
        };
        for kind in ReportKind::ALL {
            for (bed, word, other) in [
                (BedKind::Embedded, "embedded", BedKind::Hardware),
                (BedKind::EmbeddedSelfTest, "self-test", BedKind::Embedded),
                (BedKind::Hardware, "hardware", BedKind::Embedded),
            ] {
                let report = || if bed == BedKind::EmbeddedSelfTest { samples::self_test() } else { hardware() };
                let (here, there) = (said(kind, report(), bed, word), said(kind, report(), other, word));
                assert!(here > there, "{kind} says {word} {here} times, and {there} times on another bed");
            }
        }
    }

    #[test]
    fn is_named_as_it_is_parsed() {
        for kind in ReportKind::ALL {
            assert_eq!(kind.name().parse::<ReportKind>(), Ok(kind));
        }
        assert!("xml".parse::<ReportKind>().unwrap_err().to_string().contains("junit"));
    }
}

mod junit {
    use super::*;

    #[test]
    fn fails_exactly_when_the_exit_code_does() {
        for report in everything() {
            let failing = !matches!(report.verdict.exit_code, ExitCode::Pass | ExitCode::NoHardware);
            let xml = rendered(ReportKind::Junit, report);
            assert_eq!(total(&xml, "failures") + total(&xml, "errors") > 0, failing, "{xml}");
        }
    }

    #[test]
    fn counts_a_predicted_failure_beside_a_pass_as_skipped_and_alone_as_failed() {
        let both = rendered(ReportKind::Junit, samples::embedded_both());
        assert_eq!(both.matches("<skipped>as-predicted: completion-lost").count(), 2, "{both}");
        let alone = rendered(ReportKind::Junit, samples::embedded_off());
        assert_eq!(alone.matches("type=\"completion-lost\"").count(), 2, "{alone}");
        assert!(alone.contains("<failure message=\"HANG: "), "{alone}");
    }

    /// Jenkins' schema (junit-10.xsd) has `skipped` and no `disabled`.
    #[test]
    fn counts_skipped_cases_in_each_suite_by_that_name() {
        let xml = rendered(ReportKind::Junit, samples::embedded_both());
        let suites: Vec<&str> = xml.lines().filter(|line| line.trim_start().starts_with("<testsuite ")).collect();
        let skipped: Vec<&str> =
            suites.iter().map(|suite| suite.split(" skipped=\"").nth(1).unwrap().split('"').next().unwrap()).collect();
        // Two failures as predicted with AtomicOps off; everything passed with them on; the verdict.
        assert_eq!(skipped, ["2", "0", "0"], "{xml}");
        assert!(!xml.contains(" disabled=\""), "{xml}");
        assert!(refused(ReportKind::Junit, ExitCode::NoHardware).unwrap().contains(" skipped=\"1\""));
    }

    #[test]
    fn leaves_a_name_that_looks_like_an_attribute_as_it_is() {
        let mut report = samples::embedded_both();
        report.devices[0].gfx = "<testsuite  disabled=\"7\"".to_owned();
        let xml = rendered(ReportKind::Junit, report);
        assert!(xml.contains("&lt;testsuite  disabled=&quot;7&quot;"), "{xml}");
    }

    #[test]
    fn has_no_pass_from_a_self_test() {
        let xml = rendered(ReportKind::Junit, samples::self_test());
        assert_eq!(xml.matches("<skipped>no-hardware: ").count(), total(&xml, "tests"), "{xml}");
        let demanded = rendered_in(ReportKind::Junit, REQUIRED, &Document::from(samples::self_test()));
        assert_eq!(total(&demanded, "failures"), 1, "the verdict, where a device is required: {demanded}");
    }

    #[test]
    fn is_read_back_by_its_own_library_whatever_the_outcome() {
        let xml = rendered(ReportKind::Junit, samples::hardware_with_every_outcome());
        let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
        let cases: usize = read.test_suites.iter().map(|suite| suite.test_cases.len()).sum();
        let expected: usize = samples::hardware_with_every_outcome().devices[0].runs.iter().map(|run| run.cases.len()).sum();
        assert_eq!(cases, expected + 1, "every case and the verdict");
    }

    #[test]
    fn of_a_refusal_is_a_skip_without_hardware_and_an_error_otherwise() {
        assert!(refused(ReportKind::Junit, ExitCode::NoHardware).unwrap().contains("<skipped>no-hardware: there is no /dev/kfd"));
        assert!(refused(ReportKind::Junit, ExitCode::CheckFailed).unwrap().contains("errors=\"1\""));
    }
}

mod tap {
    use super::*;

    #[test]
    fn of_the_founding_experiment() {
        let expected = "\
TAP version 13
1..7
# Test bed: embedded, a software GPU and not hardware
not ok 1 - 0000:0b:00.0 gfx803, AtomicOps off: nop # TODO as-predicted: completion-lost
  ---
  outcome: \"completion-lost\"
  message: \"completion-lost\"
  ...
not ok 2 - 0000:0b:00.0 gfx803, AtomicOps off: vector-copy # TODO as-predicted: completion-lost
  ---
  outcome: \"completion-lost\"
  message: \"completion-lost: The completion decrement is an AtomicOp and the device may not send it.\"
  seen: \"output right 1,048,576/1,048,576; signal 1 → 1 (fires at 0); packets taken 1/1; AtomicOps 0 performed, 1 dropped (1 requester disabled)\"
  ...
ok 3 - 0000:0b:00.0 gfx803, AtomicOps off: invalid-packet
ok 4 - 0000:0b:00.0 gfx803, AtomicOps on: nop
ok 5 - 0000:0b:00.0 gfx803, AtomicOps on: vector-copy
ok 6 - 0000:0b:00.0 gfx803, AtomicOps on: invalid-packet
ok 7 - aqlprobe verify: verdict
";
        assert_eq!(rendered(ReportKind::Tap, samples::embedded_both()), expected);
    }

    #[test]
    fn of_a_self_test_is_skipped_as_a_whole_unless_a_device_is_required() {
        let text = rendered(ReportKind::Tap, samples::self_test());
        assert!(text.lines().nth(1).unwrap().starts_with("1..0 # SKIP NO GPU TESTED"), "{text}");
        let demanded = rendered_in(ReportKind::Tap, REQUIRED, &Document::from(samples::self_test()));
        assert!(demanded.contains("\nnot ok 7 - aqlprobe verify: verdict\n"), "{demanded}");
    }

    #[test]
    fn of_the_kernel_says_xfail_and_keeps_diagnostics_in_comments() {
        let text = rendered(ReportKind::Ktap, samples::embedded_both());
        assert!(text.starts_with("KTAP version 1\n1..7\n"), "{text}");
        assert!(text.contains("\nok 1 0000:0b:00.0 gfx803, AtomicOps off: nop # XFAIL as-predicted: completion-lost\n"), "{text}");
        // The kernel's harness takes every `not ok` for a failure.
        assert!(!text.contains("not ok"), "{text}");
        assert!(!text.contains("---"), "{text}");
    }

    #[test]
    fn of_a_refusal_bails_out_or_skips() {
        assert_eq!(refused(ReportKind::Tap, ExitCode::NoHardware).unwrap(), "TAP version 13\n1..0 # SKIP there is no /dev/kfd\n");
        assert_eq!(refused(ReportKind::Tap, ExitCode::Usage).unwrap(), "TAP version 13\nBail out! there is no /dev/kfd\n");
    }
}

mod github_annotations {
    use super::*;

    #[test]
    fn of_a_pass_are_one_notice_and_of_a_self_test_one_warning() {
        assert_eq!(
            rendered(ReportKind::Github, hardware()),
            "::notice title=aqlprobe verify on hardware::PASS: every case passed with AtomicOps on the software GPU; no hardware was \
             tested.%0ATest bed: hardware, through /opt/rocm/lib/libhsa-runtime64.so.1\n"
        );
        assert!(
            rendered(ReportKind::Github, samples::self_test())
                .starts_with("::warning title=aqlprobe verify on embedded-self-test::")
        );
    }

    #[test]
    fn of_a_hang_are_the_verdict_with_its_fix_and_one_per_cause() {
        let text = rendered(ReportKind::Github, samples::embedded_off());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("::error title=aqlprobe verify on embedded::HANG: "), "{text}");
        let fix = format!("%0Afix of the software GPU, no command for this machine: {}", samples::FIX);
        assert!(lines[0].contains(&fix), "{text}");
        let mut real = samples::embedded_off();
        real.bed.kind = BedKind::Hardware;
        assert!(rendered(ReportKind::Github, real).contains(&format!("%0Afix: {}", samples::FIX)));
        assert!(
            lines[1].starts_with("::error title=aqlprobe verify on embedded%3A 0000%3A0b%3A00.0 gfx803%2C AtomicOps off::nop: ")
        );
    }

    /// With `--strict` that job is red; a warning would leave no red line in it.
    #[test]
    fn of_a_degraded_pass_is_an_error() {
        let mut report = hardware();
        (report.verdict.word, report.verdict.exit_code) = (VerdictWord::Degraded, ExitCode::Degraded);
        assert!(rendered(ReportKind::Github, report).starts_with("::error title=aqlprobe verify on hardware::DEGRADED: "));
    }

    #[test]
    fn leave_a_table_that_counts_apart_what_was_not_tested() {
        let text = github::summary(&Document::from(samples::self_test()), HardwareDemand::Optional);
        assert!(text.contains("| 0000:0b:00.0 gfx803, AtomicOps on | 0 | 0 | 0 | 0 | 0 | 3 |"), "{text}");
        let text = github::summary(&Document::from(samples::embedded_both()), HardwareDemand::Optional);
        assert!(text.contains("| 0000:0b:00.0 gfx803, AtomicOps off | 1 | 2 | 0 | 0 | 0 | 0 |"), "{text}");
    }
}

mod prometheus {
    use super::*;

    #[test]
    fn says_in_each_series_which_bed_it_is_of() {
        let text = rendered(ReportKind::Prometheus, samples::embedded_both());
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("aqlprobe_up{")) {
            assert!(line.contains("bed=\"embedded\""), "{line}");
        }
        assert!(text.contains("aqlprobe_hardware_tested{command=\"verify\",bed=\"embedded\"} 0\n"), "{text}");
        let outcome = "aqlprobe_case_outcome{bed=\"embedded\",device=\"0\",bdf=\"0000:0b:00.0\",name=\"Fiji\",gfx=\"gfx803\",atomics=\"off\",\
                       case=\"vector-copy\",outcome=\"completion-lost\",standing=\"as-predicted\"} 1\n";
        assert!(text.contains(outcome), "{text}");
        assert!(
            rendered(ReportKind::Prometheus, hardware())
                .contains("aqlprobe_hardware_tested{command=\"verify\",bed=\"hardware\"} 1\n")
        );
    }

    #[test]
    fn has_no_series_twice_and_help_and_type_before_each_metric() {
        for report in everything() {
            let text = rendered(ReportKind::Prometheus, report);
            let mut seen = std::collections::BTreeSet::new();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "twice: {line}");
                let name = line.split('{').next().unwrap();
                assert!(text.contains(&format!("# TYPE {name} gauge\n")), "{name}");
            }
        }
    }

    #[test]
    fn says_the_exit_code_that_requiring_a_device_makes() {
        let self_test = Document::from(samples::self_test());
        let status = "aqlprobe_exit_status{command=\"verify\",bed=\"embedded-self-test\"}";
        assert!(rendered_in(ReportKind::Prometheus, RenderContext::PLAIN, &self_test).contains(&format!("{status} 4\n")));
        assert!(rendered_in(ReportKind::Prometheus, REQUIRED, &self_test).contains(&format!("{status} 1\n")));
    }

    #[test]
    fn of_a_refusal_is_down() {
        assert!(refused(ReportKind::Prometheus, ExitCode::NoHardware).unwrap().ends_with("aqlprobe_up{command=\"verify\"} 0\n"));
    }
}

mod node_problem_detector {
    use super::*;

    fn status(report: Report, demand: HardwareDemand) -> NodeStatus {
        NodeStatus::of(&Document::from(report), demand)
    }

    #[test]
    fn is_told_of_hardware_only() {
        let optional = HardwareDemand::Optional;
        assert_eq!(status(hardware(), optional), NodeStatus::Ok);
        assert_eq!(status(samples::hardware_with_every_outcome(), optional), NodeStatus::Problem);
        for model in [samples::embedded_both(), samples::embedded_off(), samples::self_test()] {
            assert_eq!(status(model.clone(), optional), NodeStatus::Unknown);
            assert_eq!(status(model, HardwareDemand::Required), NodeStatus::Problem);
        }
        assert_eq!([NodeStatus::Ok, NodeStatus::Problem, NodeStatus::Unknown].map(NodeStatus::status), [0, 1, 2]);
    }

    #[test]
    fn gets_one_line_of_at_most_80_bytes_that_names_the_bed_before_it_is_cut() {
        for report in everything() {
            let bed = report.bed.kind.name();
            let line = rendered(ReportKind::Npd, report);
            assert!(line.len() <= 80 && line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
            assert!(line.contains(&format!("[{bed}]")), "{line}");
        }
    }
}

mod ndjson {
    use super::*;
    use serde_json::Value;

    #[test]
    fn begins_with_the_bed_and_ends_with_the_verdict() {
        let text = rendered(ReportKind::Ndjson, samples::embedded_both());
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names[..3], ["started", "planned", "run-started"]);
        assert_eq!(names.iter().filter(|name| **name == "case-finished").count(), 6);
        assert_eq!(events[0]["bed"]["kind"], "embedded");
        assert_eq!(events[0]["hardware_tested"], false);
        let last = events.last().unwrap();
        assert_eq!((&last["event"], &last["verdict"]["exit_code"]), (&"verdict".into(), &0.into()));
    }

    #[test]
    fn of_a_refusal_is_an_error_and_text_and_json_leave_nothing() {
        assert!(refused(ReportKind::Ndjson, ExitCode::NoHardware).unwrap().contains("\"exit_code\":4"));
        assert_eq!(refused(ReportKind::Text, ExitCode::NoHardware), None);
        assert_eq!(refused(ReportKind::Json, ExitCode::NoHardware), None);
    }
}

/// A report whose every free string is `text`.
fn hostile(text: &str, exit_code: ExitCode) -> Report {
    let mut report = samples::embedded_off();
    let text = text.to_owned();
    report.bed.kind = if exit_code == ExitCode::NoHardware { BedKind::EmbeddedSelfTest } else { BedKind::Hardware };
    report.bed.runtime.clone_from(&text);
    report.bed.reason = Some(text.clone());
    report.verdict.exit_code = exit_code;
    report.verdict.word = VerdictWord::Fail;
    report.verdict.sentence.clone_from(&text);
    let device = &mut report.devices[0];
    device.name.clone_from(&text);
    device.gfx.clone_from(&text);
    device.bdf = Some(text.clone());
    device.diagnosis.cause = Some(text.clone());
    device.diagnosis.fix = Some(text.clone());
    device.runs[0].atomics = AtomicsMode::AsFound;
    for (case, standing) in device.runs[0].cases.iter_mut().zip([Standing::Failed, Standing::Skipped, Standing::Known]) {
        case.name.clone_from(&text);
        case.standing = standing;
        case.outcome = Outcome::WrongValue { detail: text.clone() };
        case.cause = Some(text.clone());
        case.evidence.notes = vec![text.clone(), text.clone()];
    }
    report
}

/// Strings that one format or another gives a meaning to.
fn strings() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "]]>",
        "%0A",
        "%",
        "\r\n",
        "\n",
        "\"",
        "'",
        "\\",
        "#",
        " # SKIP ",
        "not ok 1",
        "1..9",
        "::error::",
        "::",
        ",",
        ":",
        "|",
        "`",
        "<script>",
        "&amp;",
        "&",
        "\u{1b}[31m",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{fffe}",
        "\u{ffff}",
        "é",
        "→",
        "\u{1f600}",
        "---",
        "...",
        "{",
        "}",
        "a",
        " ",
    ]);
    prop_oneof![prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat()), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn xml_stays_xml(text in strings(), code in prop::sample::select(vec![ExitCode::CheckFailed, ExitCode::NoHardware])) {
        let xml = rendered(ReportKind::Junit, hostile(&text, code));
        let read = quick_junit::Report::deserialize_from_str(&xml).map_err(|error| TestCaseError::fail(format!("{error}: {xml}")))?;
        prop_assert_eq!(read.test_suites.iter().map(|suite| suite.test_cases.len()).sum::<usize>(), 4);
        // XML 1.0 §2.2: what no document may hold.
        let forbidden = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        prop_assert_eq!(xml.find(forbidden), None);
    }

    #[test]
    fn a_tap_plan_is_kept_whatever_a_string_says(text in strings()) {
        for (kind, point) in [(ReportKind::Tap, "- "), (ReportKind::Ktap, "")] {
            let tap = rendered(kind, hostile(&text, ExitCode::CheckFailed));
            prop_assert!(tap.split('\n').nth(1) == Some("1..4"), "{}", tap);
            let points = tap.split('\n').filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect::<Vec<_>>();
            prop_assert_eq!(points.len(), 4, "{}", tap);
            prop_assert!(points[0].starts_with(&format!("not ok 1 {point}")), "{}", points[0]);
            prop_assert!(points[1].contains(" # SKIP untestable: "), "{}", points[1]);
            // The one directive is ours: every other number sign is escaped (or, in KTAP, gone).
            let directives = |line: &str| line.replace("\\\\", "").replace("\\#", "").matches('#').count();
            prop_assert_eq!(directives(points[0]), 0, "{}", points[0]);
            prop_assert_eq!(directives(points[1]), 1, "{}", points[1]);
        }
    }

    #[test]
    fn an_annotation_is_one_line(text in strings()) {
        let github = rendered(ReportKind::Github, hostile(&text, ExitCode::CheckFailed));
        prop_assert!(github.lines().count() <= 10);
        for line in github.split_terminator('\n') {
            prop_assert!(line.starts_with("::error title=aqlprobe verify on hardware") && !line.contains('\r'), "{}", line);
            let title = line.trim_start_matches("::error title=").split("::").next().unwrap();
            prop_assert!(!title.contains(',') && !title.contains(':'), "{}", title);
        }
    }

    #[test]
    fn a_series_is_one_line_with_closed_quotes(text in strings()) {
        let page = rendered(ReportKind::Prometheus, hostile(&text, ExitCode::CheckFailed));
        for line in page.split_terminator('\n') {
            prop_assert!(line.starts_with("# ") || line.starts_with("aqlprobe_"), "{}", line);
            let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            prop_assert_eq!(quotes % 2, 0, "{}", line);
        }
    }

    #[test]
    fn a_plugin_says_one_short_ascii_line(text in strings()) {
        let line = rendered(ReportKind::Npd, hostile(&text, ExitCode::CheckFailed));
        prop_assert!(line.len() <= 80 && line.is_ascii() && line.matches('\n').count() == 1);
    }

    #[test]
    fn events_are_lines(text in strings()) {
        let events = rendered(ReportKind::Ndjson, hostile(&text, ExitCode::CheckFailed));
        for line in events.split_terminator('\n') {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
        }
    }
}
