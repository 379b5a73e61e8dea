//! Reports held against each other: what counts as worse, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/latency_samples.rs"]
mod latency_samples;
#[path = "support/report_samples.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod samples;
#[path = "support/schema.rs"]
mod schema;

use aqlprobe::compare::{Aspect, Change, CompareSettings, Comparison, Figure, Finding, Incomparable, Percent, compare, text};
use aqlprobe::report::latency::{LatencyReport, LatencyResult, LatencyWait};
use aqlprobe::report::{AtomicsMode, BedKind, Document, ExitCode, Outcome, Report, Standing, TextStyle};
use latency_samples::{embedded, measurement, round_trips};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};
use schema::violations;

fn compared(base: &Document, new: &Document) -> Result<Comparison, Incomparable> {
    compare(base, new, &CompareSettings::default())
}

/// What the medians with AtomicOps came to.
fn median_change(comparison: &Comparison) -> Option<Change> {
    comparison.findings.iter().find(|finding| matches!(finding, Finding::Figure { .. })).and_then(Finding::change)
}

mod figures {
    use super::*;

    #[test]
    fn ten_percent_more_regresses_and_ten_percent_less_improves() {
        let (base, slow, fast) =
            (Document::from(embedded("a", 10_000)), Document::from(embedded("a", 11_000)), Document::from(embedded("a", 9_000)));
        let slower = compared(&base, &slow).unwrap();
        assert_eq!(median_change(&slower), Some(Change::Regressed));
        assert_eq!(slower.verdict.exit_code, ExitCode::CheckFailed);
        let faster = compared(&base, &fast).unwrap();
        assert_eq!(median_change(&faster), Some(Change::Improved));
        assert_eq!(faster.verdict.exit_code, ExitCode::Pass);
    }

    #[test]
    fn three_percent_more_is_within_the_threshold_and_counts_with_a_smaller_one() {
        let (base, new) = (Document::from(embedded("a", 10_000)), Document::from(embedded("a", 10_300)));
        let within = compared(&base, &new).unwrap();
        assert_eq!(within.verdict.change, Some(Change::NoDifference));
        assert_eq!(within.verdict.exit_code, ExitCode::Pass);
        let strict = CompareSettings { threshold: "1 %".parse::<Percent>().unwrap(), ..CompareSettings::default() };
        assert_eq!(compare(&base, &new, &strict).unwrap().verdict.change, Some(Change::Regressed));
    }

    #[test]
    fn a_hang_where_there_was_a_figure_regresses() {
        let base = embedded("a", 10_000);
        let mut new = base.clone();
        new.devices[0].runs[1].result = LatencyResult::Hang { reason: "the signal never fired".to_owned() };
        let there = compared(&Document::from(base.clone()), &Document::from(new.clone())).unwrap();
        assert_eq!(there.verdict.change, Some(Change::Regressed));
        let back = compared(&Document::from(new), &Document::from(base)).unwrap();
        assert_eq!(back.verdict.change, Some(Change::Improved));
    }

    #[test]
    fn a_handful_of_samples_is_no_basis() {
        let mut few = embedded("a", 10_000);
        few.devices[0].runs.remove(0);
        few.devices[0].runs[0].result = LatencyResult::Measured(Box::new(measurement(round_trips(10_000)[..6].to_vec())));
        let few = Document::from(few);
        assert!(matches!(compared(&few, &few).unwrap_err(), Incomparable::Nothing { .. }));
    }

    /// 10,000 independent round trips around 5 µs.
    fn steady() -> Vec<u64> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let around = Normal::new(5_000.0, 100.0).unwrap();
        (0..10_000).map(|_| around.sample(&mut random) as u64).collect()
    }

    /// `times`, of which `length` in a row take `factor` times as long from each of `starts` on.
    fn with_bursts(mut times: Vec<u64>, starts: impl Iterator<Item = usize>, length: usize, factor: u64) -> Vec<u64> {
        starts.for_each(|start| times[start..start + length].iter_mut().for_each(|time| *time *= factor));
        times
    }

    /// A report of these round trips with AtomicOps alone.
    fn of_samples(samples: Vec<u64>) -> Document {
        let mut report = embedded("a", 10_000);
        report.devices[0].runs.remove(0);
        report.devices[0].runs[0].result = LatencyResult::Measured(Box::new(measurement(samples)));
        Document::from(report)
    }

    fn tail(comparison: &Comparison) -> Option<Change> {
        let is_tail = |finding: &&Finding| matches!(finding, Finding::Figure { figure: Figure::P99, .. });
        comparison.findings.iter().find(is_tail).unwrap().change()
    }

    #[test]
    fn a_tail_that_got_longer_in_bursts_regresses_although_bursts_are_few_samples() {
        // 400 of 10,000 are slow: the 99th percentile is one of them, a hundred times what it was, whether they come in one burst or in 20.
        for bursts in [1, 4, 20] {
            let starts = (0..bursts).map(|at| 100 + at * 10_000 / bursts);
            let comparison =
                compared(&of_samples(steady()), &of_samples(with_bursts(steady(), starts, 400 / bursts, 100))).unwrap();
            assert_eq!(tail(&comparison), Some(Change::Regressed), "{bursts}: {}", comparison.verdict.sentence);
            assert_eq!(comparison.verdict.exit_code, ExitCode::CheckFailed);
            assert_eq!(median_change(&comparison), Some(Change::NoDifference));
        }
    }

    #[test]
    fn a_tail_that_cannot_be_judged_is_named_and_is_no_pass_when_it_looks_worse() {
        // 101 of 10,000 are slow in one burst: the 99th percentile is the fastest of them, and might as well have been no slow one.
        let bursty = of_samples(with_bursts(steady(), std::iter::once(5_000), 101, 100));
        let worse = compared(&of_samples(steady()), &bursty).unwrap();
        assert_eq!((tail(&worse), worse.unjudged, worse.judged), (None, 1, 1));
        assert_eq!((worse.verdict.change, worse.verdict.exit_code), (None, ExitCode::Usage));
        assert!(worse.verdict.sentence.contains("too few samples to judge 99 % of GPU 0 with AtomicOps on, which looks like +"));
        let mut bytes = Vec::new();
        text::write(&worse, TextStyle::PLAIN, &mut bytes).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("\nNOT JUDGED: nothing differs of 1 thing compared; too few samples"));
        assert_eq!(violations("comparison", &serde_json::to_value(&worse).unwrap()), Vec::<String>::new());
    }

    #[test]
    fn a_tail_that_cannot_be_judged_and_looks_no_worse_is_named_and_passes() {
        let short = of_samples(steady()[..400].to_vec());
        let same = compared(&short, &short).unwrap();
        assert_eq!((same.unjudged, same.verdict.change), (1, Some(Change::NoDifference)));
        assert_eq!(same.verdict.exit_code, ExitCode::Pass);
        assert!(
            same.verdict.sentence.contains("too few samples to judge 99 % of GPU 0 with AtomicOps on, which looks like +0.0 %")
        );
    }

    #[test]
    fn unlike_reports_are_refused_by_name_and_compared_only_when_that_is_allowed() {
        let base = embedded("a", 10_000);
        type Change = fn(&mut LatencyReport);
        let changes: [(Aspect, Change); 6] = [
            (Aspect::Bed, |report| report.bed.kind = BedKind::Hardware),
            (Aspect::Device, |report| report.devices[0].gfx = "gfx906".to_owned()),
            (Aspect::Settings, |report| report.settings.wait = LatencyWait::Blocked),
            (Aspect::Settings, |report| report.settings.batch = 2),
            (Aspect::Settings, |report| report.settings.injected = Some("signal-late=50us,seed=1".to_owned())),
            (Aspect::Settings, |report| report.devices[0].runs.truncate(1)),
        ];
        for (aspect, change) in changes {
            let mut new = base.clone();
            change(&mut new);
            let (base, new) = (Document::from(base.clone()), Document::from(new));
            assert_eq!(compared(&base, &new).unwrap_err().aspects(), [aspect]);
            let settings = CompareSettings { allowed: vec![aspect], ..CompareSettings::default() };
            let comparison = compare(&base, &new, &settings).unwrap();
            assert_eq!(comparison.allowed.len(), 1);
        }
    }

    /// Two GPUs of a kind at these addresses.
    fn at(places: [&str; 2]) -> Document {
        let mut report = embedded("a", 10_000);
        let mut second = report.devices[0].clone();
        second.index = 1;
        report.devices.push(second);
        report.devices.iter_mut().zip(places).for_each(|(device, place)| device.bdf = Some(place.to_owned()));
        Document::from(report)
    }

    #[test]
    fn the_same_gpus_at_other_addresses_are_paired_in_order_where_another_device_is_allowed() {
        let (base, moved) = (at(["0000:0b:00.0", "0000:0c:00.0"]), at(["0000:0c:00.0", "0000:1c:00.0"]));
        assert_eq!(compared(&base, &moved).unwrap_err().aspects(), [Aspect::Device]);
        let settings = CompareSettings { allowed: vec![Aspect::Device], ..CompareSettings::default() };
        let comparison = compare(&base, &moved, &settings).unwrap();
        // 0c stays itself, 0b has become 1c: a hang and two figures each.
        assert_eq!(comparison.judged, 6);
        let sentence = "address GPU 0 at 0000:0b:00.0, Fiji, gfx803 against GPU 1 at 0000:1c:00.0, Fiji, gfx803";
        assert_eq!(comparison.allowed.iter().map(|unlike| unlike.sentence.as_str()).collect::<Vec<_>>(), [sentence]);
    }

    #[test]
    fn what_the_reports_warn_of_stands_before_the_verdict() {
        let mut noisy = embedded("a", 10_000);
        let LatencyResult::Measured(measured) = &mut noisy.devices[0].runs[1].result else { panic!("it is measured") };
        measured.warnings.push("another process had the processor".to_owned());
        let comparison = compared(&Document::from(embedded("a", 10_000)), &Document::from(noisy)).unwrap();
        assert_eq!(comparison.warnings, ["new report, GPU 0, AtomicOps on: another process had the processor"]);
        let mut bytes = Vec::new();
        text::write(&comparison, TextStyle::PLAIN, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(last[1], "Warning of the new report, GPU 0, AtomicOps on: another process had the processor");
        assert!(last[0].starts_with("NO DIFFERENCE: "), "{text}");
    }

    #[test]
    fn a_model_held_against_hardware_says_so_first_and_last() {
        let base = embedded("a", 10_000);
        let mut hardware = base.clone();
        hardware.bed.kind = BedKind::Hardware;
        let settings = CompareSettings { allowed: vec![Aspect::Bed], ..CompareSettings::default() };
        let comparison = compare(&Document::from(base), &Document::from(hardware), &settings).unwrap();
        let mut bytes = Vec::new();
        text::write(&comparison, TextStyle::PLAIN, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("Base: Test bed: embedded, a software GPU and not hardware\nNew:  Test bed: hardware"), "{text}");
        assert!(text.trim_end().ends_with("(a software GPU against hardware)"), "{text}");
    }

    #[test]
    fn another_duration_machine_or_firmware_is_told_and_not_refused() {
        let base = embedded("a", 10_000);
        let mut new = embedded("b", 10_000);
        new.settings.samples = Some(7);
        new.devices[0].agent.compute_firmware = Some(731);
        let comparison = compared(&Document::from(base), &Document::from(new)).unwrap();
        assert!(comparison.notes.iter().any(|note| note == "machine: a in the base, b in the new report"));
        assert!(comparison.notes.iter().any(|note| note == "compute firmware: 730 in the base, 731 in the new report"));
    }
}

mod cases {
    use super::*;

    fn changed(name: &str, outcome: Outcome, standing: Standing) -> Report {
        let mut report = samples::embedded_both();
        let case = report.devices[0].runs[1].cases.iter_mut().find(|case| case.name == name).unwrap();
        (case.outcome, case.standing) = (outcome, standing);
        report
    }

    #[test]
    fn a_report_does_not_differ_from_itself() {
        let report = Document::from(samples::embedded_both());
        let comparison = compared(&report, &report).unwrap();
        assert_eq!((comparison.judged, comparison.findings.len()), (6, 0));
        assert_eq!(comparison.verdict.exit_code, ExitCode::Pass);
    }

    #[test]
    fn a_case_that_fails_now_regresses_and_the_other_way_round_improves() {
        let (good, bad) =
            (Document::from(samples::embedded_both()), Document::from(changed("nop", Outcome::CompletionLost, Standing::Failed)));
        let worse = compared(&good, &bad).unwrap();
        assert_eq!(worse.verdict.change, Some(Change::Regressed));
        assert!(
            matches!(&worse.findings[..], [Finding::Case { case, spot, .. }] if case == "nop" && spot.atomics == AtomicsMode::On)
        );
        assert_eq!(compared(&bad, &good).unwrap().verdict.change, Some(Change::Improved));
    }

    #[test]
    fn a_case_that_is_not_tried_any_more_regresses() {
        let good = Document::from(samples::embedded_both());
        let skipped = changed("nop", Outcome::Untestable { reason: "none".to_owned() }, Standing::Skipped);
        assert_eq!(compared(&good, &Document::from(skipped)).unwrap().verdict.change, Some(Change::Regressed));
        let mut missing = samples::embedded_both();
        missing.devices[0].runs[1].cases.remove(0);
        assert_eq!(compared(&good, &Document::from(missing)).unwrap().verdict.change, Some(Change::Regressed));
    }

    #[test]
    fn a_failure_that_became_a_hang_regresses_and_another_prediction_that_holds_is_a_change() {
        let fails = Document::from(changed("nop", Outcome::FiredTwice { value: -1 }, Standing::Failed));
        let hangs = Document::from(changed("nop", Outcome::CompletionLost, Standing::Failed));
        assert_eq!(compared(&fails, &hangs).unwrap().verdict.change, Some(Change::Regressed));
        let mut completes = samples::embedded_both();
        let case = &mut completes.devices[0].runs[0].cases[0];
        (case.outcome, case.standing) = (Outcome::Completed, Standing::Passed);
        let changed = compared(&Document::from(samples::embedded_both()), &Document::from(completes)).unwrap();
        assert_eq!((changed.verdict.change, changed.verdict.exit_code), (Some(Change::Changed), ExitCode::Pass));
    }

    #[test]
    fn a_run_with_injected_faults_is_no_new_state_of_the_same_thing() {
        let base = samples::embedded_both();
        let mut struck = base.clone();
        struck.injected = Some("signal-dropped:every=3,seed=7".to_owned());
        let mut other_seed = base.clone();
        other_seed.injected = Some("signal-dropped:every=3,seed=8".to_owned());
        for (base, new) in [(&base, &struck), (&struck, &base), (&struck, &other_seed)] {
            let error = compared(&Document::from(base.clone()), &Document::from(new.clone())).unwrap_err();
            assert_eq!(error.aspects(), [Aspect::Settings]);
            assert!(error.to_string().contains("injected faults"), "{error}");
            let settings = CompareSettings { allowed: vec![Aspect::Settings], ..CompareSettings::default() };
            assert_eq!(compare(&Document::from(base.clone()), &Document::from(new.clone()), &settings).unwrap().allowed.len(), 1);
        }
        assert!(compared(&Document::from(struck.clone()), &Document::from(struck)).is_ok());
    }

    #[test]
    fn a_worse_verdict_alone_regresses() {
        let mut worse = samples::embedded_both();
        worse.verdict = samples::embedded_off().verdict;
        let comparison = compared(&Document::from(samples::embedded_both()), &Document::from(worse)).unwrap();
        assert!(matches!(&comparison.findings[..], [Finding::Verdict { change: Change::Regressed, .. }]));
    }

    #[test]
    fn a_verify_report_is_no_base_for_a_latency_report() {
        let error = compared(&Document::from(samples::embedded_both()), &Document::from(embedded("a", 10_000))).unwrap_err();
        assert!(matches!(error, Incomparable::Kinds { .. }));
    }
}

#[test]
fn comparisons_keep_to_their_schema() {
    let mut hang = embedded("a", 10_000);
    hang.devices[0].runs[1].result = LatencyResult::Hang { reason: "the signal never fired".to_owned() };
    let mut worse = samples::embedded_both();
    worse.devices[0].runs[1].cases.remove(0);
    worse.verdict = samples::embedded_off().verdict;
    let pairs = [
        (Document::from(embedded("a", 10_000)), Document::from(embedded("b", 12_000))),
        (Document::from(embedded("a", 10_000)), Document::from(hang)),
        (Document::from(samples::embedded_both()), Document::from(worse)),
    ];
    for (base, new) in pairs {
        let comparison = serde_json::to_value(compared(&base, &new).unwrap()).unwrap();
        assert_eq!(violations("comparison", &comparison), Vec::<String>::new());
    }
}

#[test]
fn a_threshold_is_a_percentage() {
    for (text, value) in [("5", 5.0), ("2.5", 2.5), ("10%", 10.0), ("0", 0.0)] {
        assert_eq!(text.parse::<Percent>().unwrap().value(), value);
    }
    for text in ["", "-1", "NaN", "inf", "five", "1001"] {
        assert!(text.parse::<Percent>().is_err(), "{text}");
    }
}
