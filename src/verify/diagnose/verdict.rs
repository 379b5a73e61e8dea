//! The last word: all devices, and whether any of them was a GPU.

use crate::faults::FaultPlan;
use crate::report::{BedKind, BedReport, DeviceReport, ExitCode, Verdict, VerdictWord};

/// What the devices' diagnoses come to on this bed.
///
/// A failed check outweighs a hang, a hang outweighs a pass. A self-test says nothing about a GPU, so it never passes and never
/// reports a hang as one: it ends with "no hardware was tested", unless a check failed, which is then the harness's own fault.
#[must_use]
pub fn verdict(bed: &BedReport, devices: &[DeviceReport]) -> Verdict {
    let worst = [ExitCode::CheckFailed, ExitCode::Hang]
        .into_iter()
        .find_map(|code| devices.iter().find(|device| device.diagnosis.exit_code == code).map(|device| (code, device)));
    let (code, decisive) = match (worst, devices.first()) {
        (Some((code, device)), _) => (code, Some(device)),
        (None, Some(device)) => (ExitCode::Pass, Some(device)),
        (None, None) => (ExitCode::CheckFailed, None),
    };
    let summary = match decisive {
        None => "no device was tested".to_owned(),
        Some(device) if devices.len() == 1 => device.diagnosis.summary.clone(),
        Some(_) if code == ExitCode::Pass => format!("all {} devices pass", devices.len()),
        Some(device) => {
            format!("{} ({}): {}", device.bdf.as_deref().unwrap_or("a device"), device.gfx, device.diagnosis.summary)
        }
    };
    on_bed(bed, code, &summary)
}

/// The same for any work on a bed: `summary` says what `code` follows from.
#[must_use]
pub fn on_bed(bed: &BedReport, code: ExitCode, summary: &str) -> Verdict {
    match (bed.kind, code) {
        (BedKind::EmbeddedSelfTest, ExitCode::CheckFailed) => Verdict {
            word: VerdictWord::Fail,
            sentence: format!("no GPU was tested, and the self-test on the embedded software GPU failed: {summary}"),
            exit_code: ExitCode::CheckFailed,
        },
        (BedKind::EmbeddedSelfTest, _) => Verdict {
            word: VerdictWord::NoGpuTested,
            sentence: format!(
                "no GPU was tested{}; self-test of the harness on the embedded software GPU: {summary}",
                bed.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
            ),
            exit_code: ExitCode::NoHardware,
        },
        (BedKind::UnaskedModel, ExitCode::CheckFailed) => Verdict {
            word: VerdictWord::Fail,
            sentence: format!("no GPU was tested, and the check of a device model failed: {summary}"),
            exit_code: ExitCode::CheckFailed,
        },
        (BedKind::UnaskedModel, _) => Verdict {
            word: VerdictWord::NoGpuTested,
            sentence: format!(
                "no GPU was tested{}; the device model: {summary}",
                bed.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
            ),
            exit_code: ExitCode::NoHardware,
        },
        (kind, code) => {
            let place = match kind {
                BedKind::Hardware => String::new(),
                BedKind::RocrModel => format!(" with {}", bed.rocr_model()),
                BedKind::Guest => " on the software PCIe endpoint over vfio-pci (no hardware was tested)".to_owned(),
                _ => " on the embedded software GPU (no hardware was tested)".to_owned(),
            };
            Verdict { word: word(code), sentence: format!("{summary}{place}"), exit_code: code }
        }
    }
}

/// The verdict in words that cannot be taken for one on a device, when faults were injected.
#[must_use]
pub fn qualified(verdict: Verdict, faults: Option<&FaultPlan>) -> Verdict {
    match faults {
        None => verdict,
        Some(plan) => Verdict { sentence: format!("with injected faults ({plan}): {}", verdict.sentence), ..verdict },
    }
}

const fn word(code: ExitCode) -> VerdictWord {
    match code {
        ExitCode::Pass => VerdictWord::Pass,
        ExitCode::Hang => VerdictWord::Hang,
        ExitCode::CheckFailed | ExitCode::Usage | ExitCode::NoHardware => VerdictWord::Fail,
        ExitCode::Degraded => VerdictWord::Degraded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Diagnosis;
    use crate::verify::diagnose::{COMPLETION_LOST, fixtures::prediction};

    fn bed(kind: BedKind) -> BedReport {
        let reason = (kind == BedKind::EmbeddedSelfTest).then(|| "there is no /dev/kfd".to_owned());
        let rocr = (kind == BedKind::RocrModel).then(|| "7.2.4".to_owned());
        BedReport { kind, runtime: "embedded".to_owned(), rocr, reason, replay: None }
    }

    fn device(exit_code: ExitCode) -> DeviceReport {
        DeviceReport {
            index: 0,
            bdf: Some("0000:0b:00.0".to_owned()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            agent: Default::default(),
            doorbell: None,
            path: None,
            kfd: None,
            prediction: prediction(COMPLETION_LOST),
            runs: Vec::new(),
            diagnosis: Diagnosis { summary: format!("ends with {exit_code:?}"), suspect: None, cause: None, fix: None, exit_code },
        }
    }

    fn row(kind: BedKind, codes: &[ExitCode]) -> (String, ExitCode, String) {
        let devices: Vec<_> = codes.iter().copied().map(device).collect();
        let verdict = verdict(&bed(kind), &devices);
        (verdict.word.to_string(), verdict.exit_code, verdict.sentence)
    }

    #[test]
    fn the_worst_device_decides_and_a_failed_check_is_worse_than_a_hang() {
        use ExitCode::{CheckFailed, Hang, Pass};
        for (codes, word, code) in [
            (vec![Pass], "PASS", Pass),
            (vec![Pass, Hang], "HANG", Hang),
            (vec![Hang, CheckFailed, Pass], "FAIL", CheckFailed),
            (vec![], "FAIL", CheckFailed),
        ] {
            let found = row(BedKind::Hardware, &codes);
            assert_eq!((found.0.as_str(), found.1), (word, code), "{codes:?}");
        }
    }

    #[test]
    fn a_self_test_never_passes_and_says_why_no_gpu_was_tested() {
        for code in [ExitCode::Pass, ExitCode::Hang] {
            let (word, exit, sentence) = row(BedKind::EmbeddedSelfTest, &[code]);
            assert_eq!((word.as_str(), exit), ("NO GPU TESTED", ExitCode::NoHardware));
            assert!(sentence.starts_with("no GPU was tested (there is no /dev/kfd)"), "{sentence}");
        }
        assert_eq!(row(BedKind::EmbeddedSelfTest, &[ExitCode::CheckFailed]).1, ExitCode::CheckFailed);
    }

    #[test]
    fn a_verdict_from_the_model_is_never_worded_as_if_hardware_had_said_it() {
        for code in [ExitCode::Pass, ExitCode::Hang, ExitCode::CheckFailed] {
            assert!(row(BedKind::Embedded, &[code]).2.contains("no hardware was tested"));
            assert!(row(BedKind::Guest, &[code]).2.contains("no hardware was tested"));
            assert_eq!(row(BedKind::Guest, &[code]).1, code);
            assert!(!row(BedKind::Hardware, &[code]).2.contains("embedded"));
            assert!(row(BedKind::RocrModel, &[code]).2.ends_with("with ROCr 7.2.4 on the software GPU, not hardware"));
        }
    }

    #[test]
    fn rocr_on_the_model_asked_for_may_pass_and_a_model_that_nobody_asked_for_never() {
        assert_eq!(row(BedKind::RocrModel, &[ExitCode::Pass]).1, ExitCode::Pass);
        for code in [ExitCode::Pass, ExitCode::Hang] {
            let (word, exit, sentence) = row(BedKind::UnaskedModel, &[code]);
            assert_eq!((word.as_str(), exit), ("NO GPU TESTED", ExitCode::NoHardware));
            assert!(sentence.starts_with("no GPU was tested"), "{sentence}");
        }
        assert_eq!(row(BedKind::UnaskedModel, &[ExitCode::CheckFailed]).1, ExitCode::CheckFailed);
    }
}
