//! The report for people says what must be said, in the order a reader needs it.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/report_samples.rs"]
mod samples;

use aqlprobe::report::{BedKind, Colour, Report, TextStyle, text};
use predicates::prelude::*;

fn rendered(report: &Report, style: TextStyle) -> String {
    let mut bytes = Vec::new();
    text::write(report, style, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn plain(report: &Report) -> String {
    rendered(report, TextStyle::PLAIN)
}

/// The lines that match, with runs of blanks as one: columns may move, words may not.
fn lines_with(text: &str, word: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains(word)).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_first_line_names_the_bed_and_the_last_is_the_verdict() {
    let text = plain(&samples::embedded_both());
    assert_eq!(text.lines().next().unwrap(), "Test bed: embedded, a software GPU and not hardware");
    assert!(text.lines().last().unwrap().starts_with("PASS: every case passed with AtomicOps on the software GPU"));
    let text = plain(&samples::hardware_with_every_outcome());
    assert_eq!(text.lines().next().unwrap(), "Test bed: hardware, through /opt/rocm/lib/libhsa-runtime64.so.1");
}

#[test]
fn a_self_test_says_first_and_last_that_no_gpu_was_tested_and_why() {
    let text = plain(&samples::self_test());
    for line in [text.lines().next().unwrap(), text.lines().last().unwrap()] {
        assert!(line.contains("no GPU was tested") && line.contains("/dev/kfd does not exist"), "{line}");
    }
    assert!(!text.contains("PASS"), "a self-test is never a pass");
}

#[test]
fn a_replayed_dump_is_named_with_the_bed() {
    let mut report = samples::embedded_off();
    report.bed.replay = Some("fiji.txt".to_owned());
    assert!(plain(&report).lines().next().unwrap().ends_with("config space replayed from fiji.txt"));
}

#[test]
fn the_table_sets_each_case_against_atomicops_off_and_on() {
    let text = plain(&samples::embedded_both());
    assert_eq!(lines_with(&text, "  case "), ["case AtomicOps off AtomicOps on"]);
    assert_eq!(
        lines_with(&text, "  vector-copy "),
        ["vector-copy completion-lost (predicted) completed"],
        "one row, both outcomes"
    );
}

#[test]
fn the_path_shows_a_hop_per_line_with_the_bits_that_decide_for_its_role() {
    let text = plain(&samples::embedded_both());
    assert_eq!(lines_with(&text, "0000:00:03.0"), ["0000:00:03.0 root port 32bit+ 64bit+ Root Port [8086:6f08]"]);
    assert_eq!(lines_with(&text, "ReqEn"), ["0000:0b:00.0 endpoint ReqEn- BusMaster+ Fiji [1002:7300]"]);
}

#[test]
fn what_could_not_be_read_is_a_question_mark_and_never_a_minus() {
    let text = plain(&samples::hardware_with_every_outcome());
    assert_eq!(lines_with(&text, "0000:00:02.0"), ["0000:00:02.0 root port 32bit? 64bit? Root Port (run as root to read it)"]);
    assert_eq!(lines_with(&text, "0000:03:00.0"), ["0000:03:00.0 switch upstream port Routing- EgressBlck+ Switch"]);
    assert_eq!(lines_with(&text, "0000:06:00.0"), ["0000:06:00.0 other ? PCI bridge (64 bytes known)"]);
    assert_eq!(lines_with(&text, "ReqEn"), ["0000:0b:00.0 endpoint ReqEn? Fiji"]);
}

#[test]
fn the_founding_dispatch_is_told_with_its_evidence() {
    let text = plain(&samples::embedded_both());
    let told: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("vector-copy, ")).take(4).map(str::trim).collect();
    assert_eq!(
        told,
        [
            "vector-copy, AtomicOps off: completion-lost",
            "output right 1,048,576/1,048,576; signal 1 → 1 (fires at 0); packets taken 1/1; \
             AtomicOps 0 performed, 1 dropped (1 requester disabled)",
            "vector-copy, AtomicOps on: completed",
            "output right 1,048,576/1,048,576; signal 1 → 0 (fires at 0); packets taken 1/1; AtomicOps 1 performed, 0 dropped",
        ]
    );
}

/// Somebody else's device may be at the model's address on the reader's machine, and the command writes to it.
#[test]
fn a_fix_is_titled_as_a_command_for_this_machine_on_hardware_alone() {
    let title = |report: &Report| {
        let text = plain(report);
        let lines: Vec<&str> = text.lines().collect();
        let command = lines.iter().position(|line| line.trim() == samples::FIX).unwrap();
        lines[command - 1].to_owned()
    };
    let mut report = samples::embedded_off();
    assert_eq!(title(&report), "Fix of the software GPU, no command for this machine:");
    report.bed.replay = Some("dump.txt".to_owned());
    assert_eq!(title(&report), "Fix for the machine of the dump, not for this one:");
    (report.bed.replay, report.bed.kind) = (None, BedKind::Hardware);
    assert_eq!(title(&report), "Fix:");
}

#[test]
fn a_hang_ends_with_cause_and_the_fix_alone_on_its_line() {
    let text = plain(&samples::embedded_off());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines.contains(&samples::FIX), "{text}");
    assert!(lines.contains(&"Cause: AtomicOp Requester Enable is clear in 0b:00.0."), "{text}");
    assert_eq!(*lines.last().unwrap(), "HANG: a completion signal never fired.");
}

#[test]
fn without_the_founding_case_the_first_hang_speaks() {
    let mut report = samples::embedded_off();
    let cases = &mut report.devices[0].runs[0].cases;
    cases[1].name = "fence-none".to_owned();
    cases.remove(0);
    assert_eq!(lines_with(&plain(&report), "fence-none, AtomicOps off: completion-lost").len(), 1);
}

#[test]
fn every_failed_or_skipped_case_is_told_with_its_outcome_and_cause() {
    let text = plain(&samples::hardware_with_every_outcome());
    for told in [
        "case-completed-late: completed-late (after 7001 ms)",
        "case-wrong-value: wrong-value (wanted 2048, found 2000: 48 updates lost)",
        "case-fired-twice: fired-twice (value -1)",
        "case-queue-error: queue-error (HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION)",
        "case-worker-crashed: worker-crashed (SIGSEGV)",
        "case-runtime-refused: runtime-refused (HSA_STATUS_ERROR_OUT_OF_RESOURCES)",
        "case-untestable: untestable (no code object for gfx999)",
    ] {
        assert_eq!(lines_with(&text, told), [format!("AtomicOps as found: {told}")], "{text}");
    }
    let told = 11 + 1 + 1;
    assert_eq!(lines_with(&text, "Cause: a cause").len(), told, "11 failed, 1 skipped, and the diagnosis: {text}");
}

#[test]
fn cases_that_failed_alike_share_one_paragraph() {
    let mut report = samples::embedded_off();
    for case in &mut report.devices[0].runs[0].cases[..2] {
        case.standing = aqlprobe::report::Standing::Failed;
        case.cause = Some("the same cause".to_owned());
        case.expected = None;
    }
    let text = plain(&report);
    assert_eq!(lines_with(&text, "nop, vector-copy"), ["AtomicOps off: nop, vector-copy: completion-lost"]);
    assert_eq!(lines_with(&text, "the same cause"), ["Cause: the same cause"]);
    assert_eq!(lines_with(&text, "Seen in vector-copy").len(), 1);
}

#[test]
fn notes_of_cases_that_did_not_fail_are_told_once_per_note() {
    let mut report = samples::embedded_both();
    for case in &mut report.devices[0].runs[1].cases[..2] {
        case.evidence.notes = vec!["0 updates lost".to_owned()];
    }
    let text = plain(&report);
    let told: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("Observed, ")).take(2).collect();
    assert_eq!(told, ["Observed, AtomicOps on:", "  nop, vector-copy: 0 updates lost"]);
    assert_eq!(lines_with(&text, "Observed, AtomicOps off").len(), 0, "a run without notes has no heading");
}

#[test]
fn counts_keep_skips_and_predicted_failures_apart_from_passes() {
    let text = plain(&samples::hardware_with_every_outcome());
    assert_eq!(
        lines_with(&text, "AtomicOps as found: 1 passed"),
        ["AtomicOps as found: 1 passed, 1 failed as predicted, 11 failed, 1 skipped of 14 cases; \
             requester enable unknown: config space is readable by root only"]
    );
}

#[test]
fn a_bit_that_did_not_stick_is_said() {
    let text = plain(&samples::hardware_with_every_outcome());
    assert_eq!(lines_with(&text, "did not stick").len(), 1);
}

#[test]
fn plain_text_has_no_escape_sequence_and_colour_changes_no_word() {
    for report in [samples::embedded_both(), samples::self_test(), samples::hardware_with_every_outcome()] {
        let plain = plain(&report);
        assert!(!plain.contains('\u{1b}'));
        let coloured = rendered(&report, TextStyle { colour: Colour::Always, width: None });
        assert!(coloured.contains('\u{1b}'));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&stripped), words(&plain));
    }
}

#[test]
fn a_narrow_terminal_wraps_the_tables_within_its_width() {
    let wide = plain(&samples::embedded_both());
    let narrow = rendered(&samples::embedded_both(), TextStyle { colour: Colour::Never, width: Some(50) });
    let widest = |text: &str| {
        let table = text.lines().skip_while(|line| !line.contains("case ")).take_while(|line| !line.is_empty());
        table.map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(&wide) > 50, "the sample must need more than 50 columns");
    assert!(widest(&narrow) <= 50, "{narrow}");
}

#[test]
fn names_from_outside_cannot_drive_the_terminal() {
    let mut report = samples::embedded_both();
    report.devices[0].name = "Fiji\u{1b}]0;owned\u{7}\nPASS: forged".to_owned();
    let text = plain(&report);
    assert!(predicate::str::contains("\u{1b}").not().eval(&text));
    assert!(!text.lines().any(|line| line == "PASS: forged"));
}

#[test]
fn the_verdict_alone_also_says_that_no_gpu_was_tested() {
    assert!(text::verdict(&samples::self_test()).contains("no GPU was tested: /dev/kfd does not exist"));
    assert_eq!(text::verdict(&samples::embedded_off()), "HANG: a completion signal never fired.");
}
