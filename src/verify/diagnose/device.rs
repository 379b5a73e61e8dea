//! One device: what its runs come to.

use crate::report::{
    AtomicsMode, Bit, CaseReport, Diagnosis, ExitCode, Outcome, PathCapability, PathReport, RequesterReadback, RunReport, Standing,
    Suspect,
};

/// What is known of the device besides its runs.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFacts<'a> {
    /// PCI address in the short form that `setpci` takes, `0b:00.0`.
    pub short_bdf: Option<&'a str>,
    /// The way to host memory.
    pub path: Option<&'a PathReport>,
}

/// What the runs come to. With a run with AtomicOps on, that one decides and the run with AtomicOps off is only held against its
/// prediction; else the one run there is decides.
///
/// | runs | seen | exit code |
/// |---|---|---|
/// | any | no case was tried | 1 |
/// | any | a deciding case failed other than by hanging | 1 |
/// | any | a deciding case hung | 3 |
/// | off and on | all pass on, a case contradicts its prediction off | 1 |
/// | off alone | completions were lost as predicted | 3 |
/// | any | else | 0 |
#[must_use]
pub fn diagnose(device: &DeviceFacts<'_>, runs: &[RunReport]) -> Diagnosis {
    let run_in = |mode: AtomicsMode| runs.iter().find(|run| run.atomics == mode);
    let (on, off) = (run_in(AtomicsMode::On), run_in(AtomicsMode::Off));
    let Some(deciding) = on.or_else(|| run_in(AtomicsMode::AsFound)).or(off) else {
        return plain("nothing was run", ExitCode::CheckFailed);
    };
    if deciding.cases.iter().all(|case| matches!(case.standing, Standing::Skipped | Standing::Known)) {
        return nothing_tried(deciding);
    }
    if let Some(failed) = telling(deciding, |case| case.standing == Standing::Failed && !case.outcome.is_hang()) {
        return failure(device, deciding, failed);
    }
    // A hang that nothing predicted says more than one that was.
    for standing in [Standing::Failed, Standing::AsPredicted] {
        if let Some(case) = telling(deciding, |case| case.outcome.is_hang() && case.standing == standing) {
            return hang(device, deciding, case);
        }
    }
    if let Some(off) = off.filter(|_| on.is_some()) {
        return both(device, deciding, off);
    }
    plain(&format!("{} with AtomicOps {}", passed(deciding), state(deciding)), ExitCode::Pass)
}

/// Of the cases that are `wanted`, the one whose cause explains most; the first of those.
fn telling(run: &RunReport, wanted: impl Fn(&CaseReport) -> bool) -> Option<&CaseReport> {
    let rank = |case: &&CaseReport| case.suspect.unwrap_or(Suspect::Unexplained);
    run.cases.iter().filter(|case| wanted(case)).min_by_key(rank)
}

/// Where the telling case cannot explain itself: a case with the cause that most of those have that went wrong.
fn explaining<'a>(run: &'a RunReport, telling: &'a CaseReport) -> &'a CaseReport {
    let named = |case: &CaseReport| case.suspect.is_some_and(|suspect| suspect != Suspect::Unexplained);
    if named(telling) {
        return telling;
    }
    let alike = |case: &&CaseReport| count(&run.cases, |other| other.suspect == case.suspect);
    // The last of the greatest, so the order is turned: the suspect that explains most, and its first case.
    let others = run.cases.iter().rev().filter(|case| named(case));
    others.max_by_key(|case| (alike(case), std::cmp::Reverse(case.suspect))).unwrap_or(telling)
}

/// Whether what lets AtomicOps through can repair it.
fn is_of_the_path(suspect: Option<Suspect>) -> bool {
    matches!(
        suspect,
        Some(
            Suspect::RequesterDisabled
                | Suspect::RootPortIncapable
                | Suspect::SwitchNotRouting
                | Suspect::EgressBlocked
                | Suspect::AtomicLost
        )
    )
}

fn plain(summary: &str, exit_code: ExitCode) -> Diagnosis {
    Diagnosis { summary: summary.to_owned(), suspect: None, cause: None, fix: None, exit_code }
}

fn count(cases: &[CaseReport], wanted: impl Fn(&CaseReport) -> bool) -> usize {
    cases.iter().filter(|case| wanted(case)).count()
}

/// `all 30 cases pass`, with what was not tried counted apart.
fn passed(run: &RunReport) -> String {
    let skipped = count(&run.cases, |case| case.standing == Standing::Skipped);
    let known = count(&run.cases, |case| case.standing == Standing::Known);
    let passed = count(&run.cases, |case| case.standing == Standing::Passed);
    let what = match (passed, skipped + known) {
        (1, _) => "the one case that was tried completes".to_owned(),
        (passed, 0) => format!("all {passed} cases complete"),
        (passed, _) => format!("{passed} cases complete"),
    };
    let apart: Vec<String> = [(skipped, "untestable"), (known, "known of the runtime")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if apart.is_empty() { what } else { format!("{what} ({})", apart.join(", ")) }
}

/// The state of AtomicOps during a run, in words.
fn state(run: &RunReport) -> &'static str {
    match (&run.requester, run.atomics) {
        (RequesterReadback::Holds { enabled: true } | RequesterReadback::DidNotStick { enabled: true }, _) => "enabled",
        (RequesterReadback::Holds { enabled: false } | RequesterReadback::DidNotStick { enabled: false }, _) => "disabled",
        (RequesterReadback::Unknown { .. }, AtomicsMode::AsFound) => "as found",
        (RequesterReadback::Unknown { .. }, AtomicsMode::On) => "on",
        (RequesterReadback::Unknown { .. }, AtomicsMode::Off) => "off",
    }
}

fn nothing_tried(run: &RunReport) -> Diagnosis {
    let reason = run.cases.iter().find_map(|case| match &case.outcome {
        Outcome::Untestable { reason } => Some(reason.clone()),
        _ => None,
    });
    Diagnosis {
        summary: "no case could be tried, so nothing is known about this device".to_owned(),
        suspect: None,
        cause: reason,
        fix: None,
        exit_code: ExitCode::CheckFailed,
    }
}

fn failure(device: &DeviceFacts<'_>, run: &RunReport, first: &CaseReport) -> Diagnosis {
    let failed = count(&run.cases, |case| case.standing == Standing::Failed);
    let explained = explaining(run, first);
    let more = if failed > 1 { format!(" and {} more", failed - 1) } else { String::new() };
    Diagnosis {
        summary: format!("{}{more} failed with AtomicOps {}: {}", first.name, state(run), first.outcome),
        suspect: explained.suspect,
        cause: explained.cause.clone(),
        fix: fix(device, run, explained),
        exit_code: ExitCode::CheckFailed,
    }
}

fn hang(device: &DeviceFacts<'_>, run: &RunReport, first: &CaseReport) -> Diagnosis {
    let hung = count(&run.cases, |case| case.outcome.is_hang());
    let tried = count(&run.cases, |case| case.standing != Standing::Skipped);
    let explained = explaining(run, first);
    let what = match first.outcome {
        Outcome::CompletionLost => "the device runs its kernels, but its completion signals never fire",
        Outcome::PacketNotFetched => "the device does not take packets from its queue",
        Outcome::WakeLost => "completions arrive, but blocked waits are not woken",
        Outcome::RuntimeWedged => "the runtime does not come back",
        _ => "dispatches do not complete",
    };
    Diagnosis {
        summary: format!("with AtomicOps {} {what} ({hung} of {tried} cases, first {})", state(run), first.name),
        suspect: explained.suspect,
        cause: explained.cause.clone(),
        fix: fix(device, run, explained),
        exit_code: ExitCode::Hang,
    }
}

/// What to do about it. Lost updates are repaired like lost completions; what is not the path's is not repaired there.
fn fix(device: &DeviceFacts<'_>, run: &RunReport, case: &CaseReport) -> Option<String> {
    match case.suspect {
        suspect if is_of_the_path(suspect) => enable(device, run),
        Some(Suspect::BusMasterDisabled) => {
            let bus_master = device.path.and_then(|path| path.hops.last()).and_then(|hop| hop.bus_master);
            device.short_bdf.filter(|_| bus_master == Some(Bit::Clear)).map(|bdf| format!("setpci -s {bdf} COMMAND=4:4"))
        }
        _ => None,
    }
}

/// What lets AtomicOps through: what the path asks for if it stops them, else the device's bit if it is clear.
fn enable(device: &DeviceFacts<'_>, run: &RunReport) -> Option<String> {
    let from_path =
        || device.path.filter(|path| path.capability == PathCapability::Incapable).and_then(|path| path.fixes.first().cloned());
    if let Some(fix) = from_path() {
        return Some(fix);
    }
    match run.requester {
        RequesterReadback::Holds { enabled: false } => device.short_bdf.map(enable_command),
        RequesterReadback::DidNotStick { enabled: false } => Some(
            "the write of AtomicOp Requester Enable does not stick: set it on the host instead (a guest's write may be dropped), or \
             enable AtomicOps of the emulated root port"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Sets AtomicOp Requester Enable and nothing else.
#[must_use]
pub fn enable_command(short_bdf: &str) -> String {
    format!("setpci -s {short_bdf} CAP_EXP+28.w=40:40")
}

fn both(device: &DeviceFacts<'_>, on: &RunReport, off: &RunReport) -> Diagnosis {
    let contradiction = off.cases.iter().find(|case| case.standing == Standing::Failed);
    if let Some(case) = contradiction {
        return Diagnosis {
            summary: format!(
                "{} with AtomicOps {}, but with AtomicOps off {} contradicts the prediction: {}",
                passed(on),
                state(on),
                case.name,
                case.outcome
            ),
            suspect: case.suspect,
            cause: case.cause.clone(),
            fix: None,
            exit_code: ExitCode::CheckFailed,
        };
    }
    let lost = count(&off.cases, |case| case.standing == Standing::AsPredicted);
    let cause = if matches!(off.requester, RequesterReadback::DidNotStick { .. }) {
        Some("AtomicOp Requester Enable could not be cleared, so nothing is shown about this device without AtomicOps".to_owned())
    } else if lost > 0 {
        Some(format!(
            "without AtomicOps the device still runs its kernels and writes their output, but it cannot decrement its completion \
             signals: {lost} of {} cases would hang",
            off.cases.len()
        ))
    } else {
        Some("without AtomicOps it completes as well: this device does not need them".to_owned())
    };
    // The bit goes back to what it was, so a path that was found not to deliver still needs its repair.
    let fix = device.path.filter(|_| lost > 0).and_then(|path| path.fixes.first().cloned());
    Diagnosis {
        summary: format!("{} with AtomicOps {}", passed(on), state(on)),
        suspect: None,
        cause,
        fix,
        exit_code: ExitCode::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PathCapability;
    use crate::verify::diagnose::fixtures::{case, holds, path, run};

    const FIJI: DeviceFacts<'_> = DeviceFacts { short_bdf: Some("0b:00.0"), path: None };

    fn passes(name: &str) -> CaseReport {
        case(name, Outcome::Completed, Standing::Passed)
    }

    fn loses(name: &str, standing: Standing) -> CaseReport {
        blamed(case(name, Outcome::CompletionLost, standing), Suspect::RequesterDisabled)
    }

    fn blamed(case: CaseReport, suspect: Suspect) -> CaseReport {
        CaseReport { suspect: Some(suspect), ..case }
    }

    fn untestable(name: &str) -> CaseReport {
        case(name, Outcome::Untestable { reason: "no kernels are built for gfx600".to_owned() }, Standing::Skipped)
    }

    #[test]
    fn all_passed_with_atomics_on_and_all_lost_as_predicted_off_is_a_pass() {
        let runs = [
            run(AtomicsMode::Off, holds(false), vec![loses("nop", Standing::AsPredicted), passes("invalid-packet")]),
            run(AtomicsMode::On, holds(true), vec![passes("nop"), passes("invalid-packet")]),
        ];
        let diagnosis = diagnose(&FIJI, &runs);
        assert_eq!(diagnosis.exit_code, ExitCode::Pass);
        assert_eq!(diagnosis.summary, "all 2 cases complete with AtomicOps enabled");
        assert!(diagnosis.cause.unwrap().contains("1 of 2 cases would hang"));
    }

    #[test]
    fn a_pass_on_a_path_that_was_found_not_to_deliver_still_names_its_repair() {
        let found = path(PathCapability::Incapable);
        let device = DeviceFacts { path: Some(&found), ..FIJI };
        let off = |case| run(AtomicsMode::Off, holds(false), vec![case]);
        let on = || run(AtomicsMode::On, holds(true), vec![passes("nop")]);
        let needed = diagnose(&device, &[off(loses("nop", Standing::AsPredicted)), on()]);
        assert_eq!((needed.exit_code, needed.fix.as_deref()), (ExitCode::Pass, Some("move the card")));
        let not_needed = diagnose(&device, &[off(passes("nop")), on()]);
        assert_eq!((not_needed.exit_code, not_needed.fix), (ExitCode::Pass, None));
    }

    #[test]
    fn a_contradiction_in_the_run_without_is_a_failed_check() {
        let runs = [
            run(AtomicsMode::Off, holds(false), vec![case("nop", Outcome::Completed, Standing::Failed)]),
            run(AtomicsMode::On, holds(true), vec![passes("nop")]),
        ];
        assert_eq!(diagnose(&FIJI, &runs).exit_code, ExitCode::CheckFailed);
        let hung_otherwise = [
            run(AtomicsMode::Off, holds(false), vec![case("nop", Outcome::PacketNotFetched, Standing::Failed)]),
            run(AtomicsMode::On, holds(true), vec![passes("nop")]),
        ];
        assert_eq!(diagnose(&FIJI, &hung_otherwise).exit_code, ExitCode::CheckFailed);
    }

    #[test]
    fn a_hang_with_atomics_on_is_a_hang_even_when_the_run_without_is_as_predicted() {
        let runs = [
            run(AtomicsMode::Off, holds(false), vec![loses("nop", Standing::AsPredicted)]),
            run(AtomicsMode::On, holds(true), vec![loses("nop", Standing::Failed)]),
        ];
        assert_eq!(diagnose(&FIJI, &runs).exit_code, ExitCode::Hang);
    }

    #[test]
    fn off_alone_hangs_and_names_the_exact_fix() {
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::Off, holds(false), vec![loses("nop", Standing::AsPredicted)])]);
        assert_eq!(diagnosis.exit_code, ExitCode::Hang);
        assert_eq!(diagnosis.fix.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=40:40"));
    }

    #[test]
    fn as_found_with_the_bit_clear_hangs_and_names_the_exact_fix() {
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::AsFound, holds(false), vec![loses("nop", Standing::Failed)])]);
        assert_eq!(diagnosis.exit_code, ExitCode::Hang);
        assert_eq!(diagnosis.fix.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=40:40"));
        assert_eq!(diagnosis.cause.as_deref(), Some("cause of nop"));
    }

    #[test]
    fn a_path_that_stops_atomic_ops_is_fixed_at_the_path() {
        let path = path(PathCapability::Incapable);
        let facts = DeviceFacts { path: Some(&path), ..FIJI };
        let diagnosis = diagnose(&facts, &[run(AtomicsMode::AsFound, holds(true), vec![loses("nop", Standing::Failed)])]);
        assert_eq!(diagnosis.fix.as_deref(), Some("move the card"));
    }

    #[test]
    fn a_clear_bit_behind_a_path_that_stops_atomic_ops_is_not_repaired_by_setting_it() {
        let path = path(PathCapability::Incapable);
        let facts = DeviceFacts { path: Some(&path), ..FIJI };
        let diagnosis = diagnose(&facts, &[run(AtomicsMode::AsFound, holds(false), vec![loses("nop", Standing::Failed)])]);
        assert_eq!(diagnosis.fix.as_deref(), Some("move the card"));
    }

    #[test]
    fn lost_updates_with_the_bit_clear_are_repaired_by_setting_it() {
        let lost = case("fetch-add-32", Outcome::WrongValue { detail: "4 of 8 updates lost".to_owned() }, Standing::Failed);
        let lost = blamed(lost, Suspect::RequesterDisabled);
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::AsFound, holds(false), vec![lost])]);
        assert_eq!(diagnosis.exit_code, ExitCode::CheckFailed);
        assert_eq!(diagnosis.fix.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=40:40"));
    }

    #[test]
    fn a_bit_that_cannot_be_set_is_a_finding_and_the_hang_stays_one() {
        let requester = RequesterReadback::DidNotStick { enabled: false };
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::On, requester, vec![loses("nop", Standing::Failed)])]);
        assert_eq!(diagnosis.exit_code, ExitCode::Hang);
        assert!(diagnosis.fix.unwrap().contains("does not stick"));
    }

    #[test]
    fn the_path_is_not_repaired_for_what_is_not_its_doing() {
        let found = path(PathCapability::Incapable);
        let device = DeviceFacts { path: Some(&found), ..FIJI };
        let of = |suspect| {
            let outcome = Outcome::WrongValue { detail: "wrong".to_owned() };
            let failed = blamed(case("nop", outcome, Standing::Failed), suspect);
            diagnose(&device, &[run(AtomicsMode::AsFound, holds(false), vec![failed])]).fix
        };
        for suspect in
            [Suspect::OutputTorn, Suspect::ExecutedTwice, Suspect::WrongDecrement, Suspect::ReadIndexStuck, Suspect::Unexplained]
        {
            assert_eq!(of(suspect), None, "{suspect}");
        }
        for suspect in [
            Suspect::RequesterDisabled,
            Suspect::RootPortIncapable,
            Suspect::SwitchNotRouting,
            Suspect::EgressBlocked,
            Suspect::AtomicLost,
        ] {
            assert_eq!(of(suspect).as_deref(), Some("move the card"), "{suspect}");
        }
        let hung = blamed(case("nop", Outcome::CompletionLost, Standing::Failed), Suspect::DecrementLost);
        assert_eq!(diagnose(&device, &[run(AtomicsMode::AsFound, holds(true), vec![hung])]).fix, None);
        let wedged = blamed(case("nop", Outcome::RuntimeWedged, Standing::Failed), Suspect::RuntimeWedged);
        assert_eq!(diagnose(&device, &[run(AtomicsMode::AsFound, holds(false), vec![wedged])]).fix, None);
    }

    #[test]
    fn a_failure_that_explains_nothing_is_told_with_the_cause_of_most_cases() {
        let wrong = Outcome::WrongValue { detail: "the ring holds more".to_owned() };
        let unexplained = blamed(case("full-ring", wrong, Standing::Failed), Suspect::Unexplained);
        let hung = |name, suspect| blamed(case(name, Outcome::NoEffect, Standing::Failed), suspect);
        let cases = vec![
            hung("nop", Suspect::DecrementLost),
            hung("grid-3d", Suspect::KernelNotRun),
            unexplained,
            hung("lds-reduce", Suspect::KernelNotRun),
        ];
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::On, holds(true), cases)]);
        assert_eq!(diagnosis.suspect, Some(Suspect::KernelNotRun));
        assert_eq!(diagnosis.cause.as_deref(), Some("cause of grid-3d"));
        assert!(diagnosis.summary.starts_with("full-ring and 3 more failed"), "{}", diagnosis.summary);
        assert_eq!(diagnosis.exit_code, ExitCode::CheckFailed);
    }

    #[test]
    fn a_crash_outweighs_the_hangs_around_it() {
        let crashed = case("barrier-and", Outcome::WorkerCrashed { signal: "SIGKILL".to_owned() }, Standing::Failed);
        let cases = vec![loses("nop", Standing::AsPredicted), crashed, loses("barrier-or", Standing::AsPredicted)];
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::Off, holds(false), cases)]);
        assert_eq!(diagnosis.exit_code, ExitCode::CheckFailed);
        assert!(diagnosis.summary.contains("barrier-and"), "{}", diagnosis.summary);
    }

    #[test]
    fn nothing_run_and_nothing_tried_are_failures() {
        assert_eq!(diagnose(&FIJI, &[]).exit_code, ExitCode::CheckFailed);
        assert_eq!(diagnose(&FIJI, &[run(AtomicsMode::On, holds(true), Vec::new())]).exit_code, ExitCode::CheckFailed);
        let skipped = diagnose(&FIJI, &[run(AtomicsMode::AsFound, holds(true), vec![untestable("nop")])]);
        assert_eq!(skipped.exit_code, ExitCode::CheckFailed);
        assert_eq!(skipped.cause.as_deref(), Some("no kernels are built for gfx600"));
    }

    #[test]
    fn skips_are_counted_apart() {
        let diagnosis =
            diagnose(&FIJI, &[run(AtomicsMode::AsFound, holds(true), vec![passes("nop"), passes("fence-none"), untestable("x")])]);
        assert_eq!(diagnosis.exit_code, ExitCode::Pass);
        assert_eq!(diagnosis.summary, "2 cases complete (1 untestable) with AtomicOps enabled");
    }

    #[test]
    fn a_hang_that_was_not_predicted_is_named_before_those_that_were() {
        let cases = vec![loses("nop", Standing::AsPredicted), case("barrier-or", Outcome::RuntimeWedged, Standing::Failed)];
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::Off, holds(false), cases)]);
        assert_eq!(diagnosis.exit_code, ExitCode::Hang);
        assert!(diagnosis.summary.contains("first barrier-or"), "{}", diagnosis.summary);
    }

    #[test]
    fn a_known_defect_of_the_runtime_neither_fails_nor_passes() {
        let known = case("wait-blocked", Outcome::WakeLost, Standing::Known);
        let diagnosis = diagnose(&FIJI, &[run(AtomicsMode::On, holds(true), vec![passes("nop"), passes("x"), known.clone()])]);
        assert_eq!(diagnosis.exit_code, ExitCode::Pass);
        assert_eq!(diagnosis.summary, "2 cases complete (1 known of the runtime) with AtomicOps enabled");
        assert_eq!(diagnose(&FIJI, &[run(AtomicsMode::On, holds(true), vec![known])]).exit_code, ExitCode::CheckFailed);
    }

    #[test]
    fn a_wedged_runtime_is_a_hang() {
        let cases = vec![case("nop", Outcome::RuntimeWedged, Standing::Failed)];
        assert_eq!(diagnose(&FIJI, &[run(AtomicsMode::AsFound, holds(true), cases)]).exit_code, ExitCode::Hang);
    }
}
