//! What measurements come to: against what was expected, against what hardware can do, and for the exit code.

use crate::report::latency::{
    LatencyDevice, LatencyMode, LatencyReport, LatencyResult, LatencyRun, LatencySettings, LatencyWait, Measurement,
};
use crate::report::{BedKind, BedReport, ExitCode, RequesterReadback, Standing, Verdict, VerdictWord};
use crate::verify::supervision::{Expectation, verdict_on};

/// What a mode's round trips should do where the device's completions do `of_completions`: a ping-pong needs none.
#[must_use]
pub fn expected(mode: LatencyMode, of_completions: Expectation) -> Expectation {
    if mode == LatencyMode::Pingpong { Expectation::Completes } else { of_completions }
}

/// How a measurement that did not come to its end failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Nothing was missing but a completion: what the prediction is about.
    CompletionLost,
    /// By a known defect of the runtime.
    Known,
    /// In another way.
    Otherwise,
}

/// How a result stands, `failing` so where it is no measurement.
#[must_use]
pub fn standing(expected: Expectation, result: &LatencyResult, failing: Failing) -> Standing {
    match (result, expected) {
        (LatencyResult::Hang { .. } | LatencyResult::NotMeasured { .. }, _) if failing == Failing::Known => Standing::Known,
        (LatencyResult::Hang { .. }, _) if failing == Failing::Otherwise => Standing::Failed,
        (LatencyResult::Measured(_), Expectation::LosesCompletions) => Standing::Failed,
        (LatencyResult::Measured(_), _) => Standing::Passed,
        (LatencyResult::Hang { .. }, Expectation::Completes) => Standing::Failed,
        (LatencyResult::Hang { .. }, _) => Standing::AsPredicted,
        (LatencyResult::NotMeasured { .. }, _) => Standing::Failed,
    }
}

/// The last word. The last run of each device, with AtomicOps where both states ran, decides; one before it only fails by contradicting
/// what was predicted.
#[must_use]
pub fn verdict(bed: &BedReport, devices: &[LatencyDevice]) -> Verdict {
    let words: Vec<(ExitCode, String)> = devices.iter().map(device_word).collect();
    let worst = [ExitCode::CheckFailed, ExitCode::Hang].into_iter().find_map(|code| words.iter().find(|(word, _)| *word == code));
    match worst.or(words.first()) {
        Some((code, sentence)) => verdict_on(bed, *code, sentence),
        None => verdict_on(bed, ExitCode::CheckFailed, "no device was measured"),
    }
}

fn device_word(device: &LatencyDevice) -> (ExitCode, String) {
    let Some((decisive, before)) = device.runs.split_last() else {
        return (ExitCode::CheckFailed, format!("{}: nothing was measured", device.name));
    };
    if let Some(run) = before.iter().find(|run| run.standing == Standing::Failed) {
        return (ExitCode::CheckFailed, sentence(run));
    }
    let code = match &decisive.result {
        LatencyResult::Measured(_) if decisive.standing == Standing::Passed => ExitCode::Pass,
        LatencyResult::Hang { .. } => ExitCode::Hang,
        LatencyResult::Measured(_) | LatencyResult::NotMeasured { .. } => ExitCode::CheckFailed,
    };
    (code, sentence(decisive))
}

fn sentence(run: &LatencyRun) -> String {
    match &run.result {
        LatencyResult::Measured(measurement) if run.standing == Standing::Failed => format!(
            "with AtomicOps {} {} round trips completed, though lost completions were predicted",
            run.atomics, measurement.round_trip.count
        ),
        LatencyResult::Measured(measurement) => {
            let trips = &measurement.round_trip;
            format!(
                "{} round trips with AtomicOps {}: median {:.2} us, 99 % within {:.2} us",
                trips.count,
                run.atomics,
                trips.typical_ns as f64 / 1e3,
                trips.p99_ns as f64 / 1e3
            )
        }
        LatencyResult::Hang { reason } => format!("with AtomicOps {} a round trip never ended: {reason}", run.atomics),
        LatencyResult::NotMeasured { reason } => format!("with AtomicOps {} nothing could be measured: {reason}", run.atomics),
    }
}

/// The report with its verdict lowered from pass to degraded where its numbers are doubtful: a warning beside them, a known defect of
/// the runtime, a bit that could not be switched.
#[must_use]
pub fn strictly(mut report: LatencyReport) -> LatencyReport {
    let found: Vec<String> = report.devices.iter().flat_map(|device| &device.runs).flat_map(degradations).collect();
    if let (ExitCode::Pass, Some(first)) = (report.verdict.exit_code, found.first()) {
        let more = if found.len() > 1 { format!(" (and {} more)", found.len() - 1) } else { String::new() };
        report.verdict.sentence = format!("{}, but {first}{more}", report.verdict.sentence);
        report.verdict.word = VerdictWord::Degraded;
        report.verdict.exit_code = ExitCode::Degraded;
    }
    report
}

fn degradations(run: &LatencyRun) -> Vec<String> {
    let mut found = Vec::new();
    if matches!(run.requester, RequesterReadback::DidNotStick { .. }) {
        found.push(format!("AtomicOp Requester Enable could not be switched {}", run.atomics));
    }
    match &run.result {
        LatencyResult::Measured(measurement) => {
            found.extend(measurement.warnings.iter().map(|warning| format!("with AtomicOps {}: {warning}", run.atomics)));
        }
        LatencyResult::NotMeasured { reason } if run.standing == Standing::Known => {
            found.push(format!("with AtomicOps {}: {reason}", run.atomics));
        }
        LatencyResult::Hang { .. } | LatencyResult::NotMeasured { .. } => {}
    }
    found
}

/// The physics of a discrete GPU: a doorbell write, at least one read of the packet across PCIe and the completion's write take about two
/// microseconds; a healthy one takes 3 to 8; interrupts or a hypervisor in the way take milliseconds. To be calibrated on hardware, and
/// never said of a model.
#[must_use]
pub fn plausibility(bed: BedKind, settings: &LatencySettings, measurement: &Measurement) -> Option<String> {
    const SUSPICIOUS: u64 = 2_000;
    const SLOW: u64 = 20_000;
    const VERY_SLOW: u64 = 1_000_000;
    let comparable = settings.batch == 1 && settings.producers == 1 && settings.rate_per_second.is_none();
    let packets = settings.mode.publishes();
    if bed != BedKind::Hardware || !comparable || !packets {
        return None;
    }
    let median = measurement.round_trip.typical_ns;
    let microseconds = median as f64 / 1e3;
    match settings.wait {
        _ if median >= VERY_SLOW => Some(format!(
            "a median of {:.1} ms is far beyond a PCIe round trip: look for lost interrupts, a hypervisor that traps doorbells, or power \
             management",
            median as f64 / 1e6
        )),
        _ if median < SUSPICIOUS => Some(format!(
            "a median of {microseconds:.2} us is less than a doorbell, a packet fetch and a completion take over PCIe: suspicious for a \
             discrete GPU"
        )),
        LatencyWait::Active if median > SLOW => Some(format!(
            "a median of {microseconds:.1} us with an active wait is slow; 3 to 8 us is usual for a discrete GPU on bare metal"
        )),
        LatencyWait::Active | LatencyWait::Blocked => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::latency::{LatencyFence, Throughput};
    use crate::report::{AgentFacts, AtomicsMode};

    fn measurement(median: u64) -> Measurement {
        measurement_of(&[median])
    }

    fn measurement_of(samples: &[u64]) -> Measurement {
        let median = samples[0];
        Measurement {
            round_trip: super::super::statistics::distribution(samples).unwrap(),
            stages: Vec::new(),
            clock: None,
            throughput: Some(Throughput { packets: 1, elapsed_ns: median, packets_per_second: 1.0 }),
            late_starts: None,
            not_started: None,
            outliers: 0,
            warnings: Vec::new(),
            samples_ns: samples.to_vec(),
        }
    }

    fn measured() -> LatencyResult {
        LatencyResult::Measured(Box::new(measurement(5_000)))
    }

    pub(in crate::latency) fn measured_in(samples: &[u64]) -> LatencyResult {
        LatencyResult::Measured(Box::new(measurement_of(samples)))
    }

    pub(in crate::latency) fn hang() -> LatencyResult {
        LatencyResult::Hang { reason: "its signal stayed 1".to_owned() }
    }

    pub(in crate::latency) fn run(atomics: AtomicsMode, expected: Expectation, result: LatencyResult) -> LatencyRun {
        let requester = RequesterReadback::Holds { enabled: atomics == AtomicsMode::On };
        LatencyRun { atomics, requester, standing: standing(expected, &result, Failing::CompletionLost), result }
    }

    fn code(runs: Vec<LatencyRun>) -> ExitCode {
        let bed = BedReport { kind: BedKind::Embedded, runtime: "embedded".to_owned(), rocr: None, reason: None, replay: None };
        let device = LatencyDevice {
            index: 0,
            bdf: None,
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            agent: AgentFacts::default(),
            doorbell: None,
            runs,
            atomics_effect: None,
        };
        verdict(&bed, &[device]).exit_code
    }

    #[test]
    fn the_run_with_atomicops_decides_and_a_predicted_loss_beside_it_is_no_failure() {
        let off = || run(AtomicsMode::Off, Expectation::LosesCompletions, hang());
        let on = |result| run(AtomicsMode::On, Expectation::Completes, result);
        assert_eq!(code(vec![off(), on(measured())]), ExitCode::Pass);
        assert_eq!(code(vec![off(), on(hang())]), ExitCode::Hang);
        assert_eq!(code(vec![off()]), ExitCode::Hang, "a hang that was predicted still hangs");
    }

    #[test]
    fn a_run_without_that_contradicts_its_prediction_fails() {
        let on = || run(AtomicsMode::On, Expectation::Completes, measured());
        assert_eq!(code(vec![run(AtomicsMode::Off, Expectation::LosesCompletions, measured()), on()]), ExitCode::CheckFailed);
        assert_eq!(code(vec![run(AtomicsMode::Off, Expectation::Completes, hang()), on()]), ExitCode::CheckFailed);
        assert_eq!(code(vec![run(AtomicsMode::Off, Expectation::EitherWay, hang()), on()]), ExitCode::Pass);
        assert_eq!(code(Vec::new()), ExitCode::CheckFailed);
    }

    #[test]
    fn only_a_lost_completion_is_as_predicted() {
        let of = |failing| standing(Expectation::LosesCompletions, &hang(), failing);
        assert_eq!(of(Failing::CompletionLost), Standing::AsPredicted);
        assert_eq!(of(Failing::Otherwise), Standing::Failed);
        assert_eq!(standing(Expectation::EitherWay, &hang(), Failing::Otherwise), Standing::Failed);
        let nothing = LatencyResult::NotMeasured { reason: "known".to_owned() };
        assert_eq!(standing(Expectation::Completes, &nothing, Failing::Known), Standing::Known);
        assert_eq!(standing(Expectation::Completes, &nothing, Failing::Otherwise), Standing::Failed);
    }

    fn report(code: ExitCode, warnings: &[&str]) -> LatencyReport {
        let mut measurement = measurement(5_000);
        measurement.warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
        let result = LatencyResult::Measured(Box::new(measurement));
        let text = include_str!("../../results/latency-embedded.json");
        let mut report: LatencyReport = serde_json::from_str(text).unwrap();
        report.devices[0].runs = vec![run(AtomicsMode::On, Expectation::Completes, result)];
        report.verdict.exit_code = code;
        report
    }

    #[test]
    fn strictly_a_pass_with_a_warning_is_degraded_and_names_it_and_anything_else_stays() {
        let doubtful = strictly(report(ExitCode::Pass, &["the governor is powersave", "more"]));
        assert_eq!((doubtful.verdict.word, doubtful.verdict.exit_code), (VerdictWord::Degraded, ExitCode::Degraded));
        assert!(doubtful.verdict.sentence.contains("the governor is powersave (and 1 more)"), "{}", doubtful.verdict.sentence);
        assert_eq!(strictly(report(ExitCode::Pass, &[])).verdict.exit_code, ExitCode::Pass);
        assert_eq!(strictly(report(ExitCode::Hang, &["late"])).verdict.exit_code, ExitCode::Hang);
    }

    #[test]
    fn a_ping_pong_needs_no_completions() {
        assert_eq!(expected(LatencyMode::Pingpong, Expectation::LosesCompletions), Expectation::Completes);
        assert_eq!(expected(LatencyMode::Dispatch, Expectation::LosesCompletions), Expectation::LosesCompletions);
    }

    #[test]
    fn only_hardware_is_held_against_what_hardware_can_do() {
        let settings = LatencySettings {
            mode: LatencyMode::Dispatch,
            wait: LatencyWait::Active,
            fence: LatencyFence::System,
            batch: 1,
            queues: 1,
            producers: 1,
            rate_per_second: None,
            samples: Some(1),
            duration_ms: None,
            warmup_ms: 0,
            pinned_cpu: None,
            injected: None,
        };
        let word = |bed, median| plausibility(bed, &settings, &measurement(median));
        for median in [500, 5_000, 50_000, 5_000_000] {
            for bed in [BedKind::Embedded, BedKind::EmbeddedSelfTest, BedKind::RocrModel, BedKind::Guest, BedKind::UnaskedModel] {
                assert_eq!(word(bed, median), None);
            }
        }
        assert!(word(BedKind::Hardware, 500).unwrap().contains("suspicious"));
        assert_eq!(word(BedKind::Hardware, 5_000), None);
        assert!(word(BedKind::Hardware, 50_000).unwrap().contains("slow"));
        assert!(word(BedKind::Hardware, 12_000_000).unwrap().contains("12.0 ms"));
        let blocked = LatencySettings { wait: LatencyWait::Blocked, ..settings };
        assert_eq!(plausibility(BedKind::Hardware, &blocked, &measurement(50_000)), None);
    }
}
