//! The rules by which a run of AMD's rocrtst becomes a table, and a table is held against the next run. They need no ROCr.
//! The outputs are what GoogleTest, rocrtst and ROCr print.

#[path = "rocr/rocrtst/known.rs"]
mod known;
#[path = "rocr/rocrtst/outcome.rs"]
mod outcome;
#[path = "rocr/rocrtst/table.rs"]
mod table;

use outcome::{Ending, Outcome, first_cause, is_event_abort, judge};
use table::{Change, NeedsKernels, Row, TableError, When, compare};

const PASSED: &str =
    "[       OK ] rocrtst.Test_Example (403 ms)\n[==========] 1 test from 1 test suite ran. (403 ms total)\n[  PASSED  ] 1 test.\n";
const FAILED: &str = "./rocrtst/suites/test_common/test_base.cc:121: Failure\nExpected equality of these values:\n  err\n    Which is: 4107\n\n[  PASSED  ] 0 tests.\n[  FAILED  ] 1 test, listed below:\n";

#[test]
fn a_test_passes_only_when_googletest_says_so_and_the_process_ends_with_zero() {
    assert_eq!(judge(Ending::Exited(0), PASSED), Outcome::Pass);
    assert_eq!(judge(Ending::Exited(1), PASSED), Outcome::Fail);
    assert_eq!(judge(Ending::Exited(0), ""), Outcome::Fail);
}

#[test]
fn a_filter_that_matches_no_test_is_a_failure() {
    assert_eq!(judge(Ending::Exited(0), "[==========] 0 tests from 0 test suites ran.\n[  PASSED  ] 0 tests.\n"), Outcome::Fail);
}

#[test]
fn a_pass_that_left_something_out_is_not_a_pass() {
    for said in [
        "    Virtual Memory API not supported on this system - Skipping.\n",
        "Test not applicable as system is not large bar.Skipping.\n",
        "The test skipped siliently and reports as pass\n",
    ] {
        assert_eq!(judge(Ending::Exited(0), &format!("{said}{PASSED}")), Outcome::PassSkipped, "{said}");
    }
}

#[test]
fn a_signal_is_a_crash_whether_seen_directly_or_through_aqlprobe_run() {
    assert_eq!(judge(Ending::Signalled(11), ""), Outcome::Crash(11));
    assert_eq!(judge(Ending::Exited(134), PASSED), Outcome::Crash(6));
    assert_eq!(Outcome::Crash(6).to_string(), "crash(SIGABRT)");
}

#[test]
fn a_test_that_overran_is_a_timeout_whatever_it_printed() {
    assert_eq!(judge(Ending::Overran, PASSED), Outcome::Timeout);
}

#[test]
fn every_outcome_is_read_back_as_it_was_written() {
    let all = [
        Outcome::Pass,
        Outcome::PassSkipped,
        Outcome::Fail,
        Outcome::Timeout,
        Outcome::NotRun,
        Outcome::Crash(6),
        Outcome::Crash(64),
    ];
    for outcome in all {
        assert_eq!(outcome.to_string().parse(), Ok(outcome));
    }
    assert!("passed".parse::<Outcome>().is_err());
}

#[test]
fn only_the_exact_event_message_is_rocrs_intermittent_abort() {
    assert!(is_event_abort("model_set_event: event_id = 6 is not allocated\n"));
    assert!(!is_event_abort("model_set_event: event_id = 6 is allocated\n"));
    assert!(!is_event_abort("model_set_event: event_id = x is not allocated\n"));
    assert!(!is_event_abort("model: Unimplemented KFD ioctl\n"));
}

#[test]
fn the_models_own_diagnosis_is_the_first_cause_and_a_failed_check_the_last() {
    let died = "rocrtst64: /build/rocr/libhsakmt/src/memory.c:12: map: Assertion `ret == 0' failed.\n";
    let diagnosed = "aqlprobe model: queue 1: packet 0: illegal instruction\n";
    assert_eq!(
        first_cause(&format!("{FAILED}{died}{diagnosed}")).as_deref(),
        Some("aqlprobe model: queue 1: packet 0: illegal instruction")
    );
    assert_eq!(
        first_cause(&format!("{FAILED}{died}")).as_deref(),
        Some("rocrtst64: memory.c:12: map: Assertion `ret == 0' failed.")
    );
    assert_eq!(
        first_cause(FAILED).as_deref(),
        Some("./rocrtst/suites/test_common/test_base.cc:121: Failure Expected equality of these values: err Which is: 4107")
    );
    assert_eq!(first_cause(PASSED), None);
}

fn row(test: &str, outcome: Outcome) -> Row {
    Row { test: test.to_owned(), outcome, needs_kernels: NeedsKernels::Yes, when: When::Always, reason: "-".to_owned() }
}

#[test]
fn a_table_is_read_back_as_it_was_written() {
    let mut rows = vec![row("rocrtst.Test_Example", Outcome::Pass), row("rocrtstFunc.IPC", Outcome::Crash(6))];
    rows[1].when = When::Full;
    rows[1].needs_kernels = NeedsKernels::No;
    rows[1].reason = "ioctl missing".to_owned();
    assert_eq!(table::parse(&table::write("gfx942", "7.2.4", &rows)), Ok(rows));
}

#[test]
fn a_damaged_table_is_refused_by_line() {
    assert_eq!(table::parse("a\tpass\tyes\talways\n"), Err(TableError::Columns { line: 1, found: 4, wanted: 5 }));
    assert!(matches!(table::parse("# x\na\tpassed\tyes\talways\t-\n"), Err(TableError::Outcome { line: 2, .. })));
    assert!(matches!(table::parse("a\tpass\tmaybe\talways\t-\n"), Err(TableError::Word { line: 1, .. })));
}

/// What comes of it when a test was `was` and is `now`.
fn change(was: Outcome, now: Outcome) -> Option<Change> {
    let changes = compare(&[row("t", was)], &[row("t", now)], &["t".to_owned()]);
    changes.into_iter().next()
}

#[test]
fn a_test_that_passed_may_not_stop_passing() {
    for now in [Outcome::PassSkipped, Outcome::Fail, Outcome::Timeout, Outcome::Crash(6)] {
        let change = change(Outcome::Pass, now.clone()).filter(Change::fails_the_bed);
        assert!(matches!(change, Some(Change::Regression { .. })), "{now}");
    }
    assert!(change(Outcome::PassSkipped, Outcome::Crash(6)).is_some_and(|change| change.fails_the_bed()));
}

#[test]
fn a_new_pass_is_told_and_does_not_fail_the_bed() {
    let better = change(Outcome::Fail, Outcome::Pass);
    assert!(better.is_some_and(|change| matches!(change, Change::Improvement { .. }) && !change.fails_the_bed()));
    let unknown = compare(&[], &[row("t", Outcome::Fail)], &["t".to_owned()]);
    assert!(matches!(unknown[..], [Change::New { .. }]) && !unknown[0].fails_the_bed());
}

#[test]
fn another_way_not_to_pass_is_told_and_does_not_fail_the_bed() {
    let different = change(Outcome::Timeout, Outcome::Crash(6));
    assert!(different.is_some_and(|change| matches!(change, Change::Different { .. }) && !change.fails_the_bed()));
    assert_eq!(change(Outcome::Fail, Outcome::Fail), None);
}

#[test]
fn a_test_that_was_left_out_is_no_change_and_one_that_vanished_is() {
    let before = [row("t", Outcome::Pass)];
    assert_eq!(compare(&before, &[], &["t".to_owned()]), []);
    assert!(matches!(compare(&before, &[], &[])[..], [ref gone @ Change::Vanished { .. }] if gone.fails_the_bed()));
}

#[test]
fn a_verified_reason_is_used_only_where_the_output_has_its_sign() {
    let all = known::parse("t\tno\tfull\t7\tUnimplemented KFD ioctl\tno such ioctl\n").expect("a table of one line");
    let known = known::of(&all, "t");
    assert_eq!((known.needs_kernels, known.when, known.deadline.as_secs()), (NeedsKernels::No, When::Full, 7));
    assert_eq!(known.reason(&Outcome::Crash(6), "model: Unimplemented KFD ioctl\n"), "no such ioctl");
    assert!(known.reason(&Outcome::Fail, FAILED).starts_with("./rocrtst/suites/test_common/test_base.cc:121: Failure"));
    assert_eq!(known.reason(&Outcome::Timeout, ""), "killed after 7 s");
    assert_eq!(known.reason(&Outcome::Pass, PASSED), "-");
}

#[test]
fn the_committed_lists_can_be_read_and_have_no_pass_with_a_reason() {
    known::parse(include_str!("rocr/rocrtst/known.tsv")).expect("known.tsv");
    for target in ["gfx942", "gfx1100"] {
        let path = format!("{}/results/rocr/rocrtst-{target}.tsv", env!("CARGO_MANIFEST_DIR"));
        let rows = table::parse(&std::fs::read_to_string(&path).expect(&path)).expect(&path);
        assert!(!rows.is_empty(), "{path}");
        assert!(
            rows.iter().all(|row| (row.outcome == Outcome::Pass) == (row.reason == "-")),
            "{path}: a reason is what keeps a test from passing"
        );
    }
}
