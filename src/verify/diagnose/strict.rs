//! What is worse than it should be although every check passed: exit code 5, for those who ask (`--strict`).

use crate::report::{
    AtomicsMode, BedKind, Bit, DeviceReport, ExitCode, PathCapability, Report, RequesterReadback, RunReport, VerdictWord,
};

/// The report with its verdict lowered from pass to degraded, if anything is.
#[must_use]
pub fn strictly(mut report: Report) -> Report {
    let found = degradations(&report);
    if report.verdict.exit_code == ExitCode::Pass && !found.is_empty() {
        report.verdict.word = VerdictWord::Degraded;
        report.verdict.exit_code = ExitCode::Degraded;
        report.verdict.sentence = format!("{}, but {}", report.verdict.sentence, found.join("; "));
    }
    report
}

/// What is degraded, a clause each. A late completion is not among it: that is a failed check.
#[must_use]
pub fn degradations(report: &Report) -> Vec<String> {
    report.devices.iter().flat_map(|device| device_degradations(report.bed.kind, device)).collect()
}

fn device_degradations(bed: BedKind, device: &DeviceReport) -> Vec<String> {
    let name = device.bdf.clone().unwrap_or_else(|| format!("GPU {}", device.index));
    let mut found: Vec<String> = device.runs.iter().filter_map(|run| run_degradation(&name, run)).collect();
    if let Some(path) = &device.path {
        if path.capability == PathCapability::Incapable {
            found.push(format!("the path of {name} does not carry AtomicOps: {}", path.causes.first().unwrap_or(&path.summary)));
        }
        // What passed is not what the machine's users get. A model is made without AtomicOps on purpose.
        let switched_on = device.deciding_run().is_some_and(|run| run.atomics == AtomicsMode::On);
        if bed == BedKind::Hardware && switched_on && path.requester == Bit::Clear {
            found.push(format!("AtomicOp Requester Enable of {name} was set for this run only: it was found clear, and is again"));
        }
    }
    found
}

fn run_degradation(name: &str, run: &RunReport) -> Option<String> {
    if run.rocr_aborts > 0 {
        return Some(format!("ROCr aborted {} times on {name} with AtomicOps {}", run.rocr_aborts, run.atomics));
    }
    matches!(run.requester, RequesterReadback::DidNotStick { .. })
        .then(|| format!("AtomicOp Requester Enable of {name} could not be switched {}", run.atomics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{BedReport, Diagnosis, DocumentKind, Outcome, PathReport, Standing, Tool, Verdict};
    use crate::verify::diagnose::fixtures::{case, holds, path, prediction, run};

    /// A device that passes with AtomicOps on, on a path that carries them, and was found with the bit clear.
    fn passed() -> Report {
        let diagnosis =
            Diagnosis { summary: "all pass".to_owned(), suspect: None, cause: None, fix: None, exit_code: ExitCode::Pass };
        let nop = || vec![case("nop", Outcome::Completed, Standing::Passed)];
        let device = DeviceReport {
            index: 0,
            bdf: Some("0000:0b:00.0".to_owned()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            agent: Default::default(),
            doorbell: None,
            path: Some(PathReport { requester: Bit::Clear, ..path(PathCapability::Capable) }),
            kfd: None,
            prediction: prediction("completes"),
            runs: vec![run(AtomicsMode::Off, holds(false), nop()), run(AtomicsMode::On, holds(true), nop())],
            diagnosis,
        };
        let bed = BedReport { kind: BedKind::Embedded, runtime: "embedded".to_owned(), rocr: None, reason: None, replay: None };
        Report {
            document: DocumentKind::Verify,
            schema_version: Report::SCHEMA_VERSION,
            tool: Tool::THIS,
            host: None,
            injected: None,
            bed,
            no_gpu: None,
            runtime: Default::default(),
            started_at: 0,
            duration_ms: 1,
            devices: vec![device],
            verdict: Verdict { word: VerdictWord::Pass, sentence: "all pass".to_owned(), exit_code: ExitCode::Pass },
        }
    }

    #[test]
    fn a_clean_pass_stays_one() {
        let report = strictly(passed());
        assert_eq!((report.verdict.word, report.verdict.exit_code), (VerdictWord::Pass, ExitCode::Pass));
    }

    #[test]
    fn a_pass_after_an_abort_or_a_write_that_did_not_stick_is_degraded_and_says_why() {
        let mut aborted = passed();
        aborted.devices[0].runs[1].rocr_aborts = 2;
        let mut stuck = passed();
        stuck.devices[0].runs[0].requester = RequesterReadback::DidNotStick { enabled: true };
        for (report, why) in [(aborted, "ROCr aborted 2 times"), (stuck, "could not be switched off")] {
            let report = strictly(report);
            assert_eq!(report.verdict.exit_code, ExitCode::Degraded);
            assert!(report.verdict.sentence.contains(why), "{}", report.verdict.sentence);
        }
    }

    #[test]
    fn hardware_that_passes_only_while_the_bit_is_switched_on_is_degraded() {
        let mut report = passed();
        report.bed.kind = BedKind::Hardware;
        assert!(strictly(report).verdict.sentence.contains("it was found clear, and is again"));
    }

    #[test]
    fn a_path_that_does_not_carry_atomicops_degrades_a_device_that_passes_without_them() {
        let mut report = passed();
        report.devices[0].path.as_mut().unwrap().capability = PathCapability::Incapable;
        assert_eq!(strictly(report).verdict.exit_code, ExitCode::Degraded);
    }

    #[test]
    fn what_is_no_pass_is_left_as_it_is() {
        for code in [ExitCode::Hang, ExitCode::CheckFailed, ExitCode::NoHardware] {
            let mut report = passed();
            report.verdict.exit_code = code;
            report.devices[0].runs[1].rocr_aborts = 1;
            assert_eq!(strictly(report).verdict.exit_code, code);
        }
    }
}
