//! Verify reports: case by case.

use crate::report::{CaseReport, DeviceReport, Report, RunReport, Standing};

use super::matching::{Gpu, pair, pair_modes};
use super::{Change, Finding, Judged, Spot, Unlikeness};

pub(super) fn compare(base: &Report, new: &Report, unlike: &mut Vec<Unlikeness>) -> Judged {
    let mut judged = Judged { count: 0, findings: Vec::new() };
    let (bases, news): (Vec<_>, Vec<_>) = (base.devices.iter().map(gpu).collect(), new.devices.iter().map(gpu).collect());
    for (at, partner) in pair(&bases, &news, unlike) {
        let (old, fresh) = (&base.devices[at].runs, &new.devices[partner].runs);
        let modes = |runs: &[RunReport]| runs.iter().map(|run| run.atomics).collect::<Vec<_>>();
        for (old_run, fresh_run) in pair_modes(&modes(old), &modes(fresh), unlike) {
            let spot = Spot { device: at, gpu: bases[at].words(), atomics: old[old_run].atomics };
            compare_runs(&spot, &old[old_run], &fresh[fresh_run], &mut judged);
        }
    }
    judged
}

fn gpu(device: &DeviceReport) -> Gpu<'_> {
    Gpu { index: device.index, bdf: device.bdf.as_deref(), name: &device.name, gfx: &device.gfx }
}

fn compare_runs(spot: &Spot, base: &RunReport, new: &RunReport, judged: &mut Judged) {
    let find = |run: &'_ RunReport, name: &str| run.cases.iter().position(|case| case.name == name);
    for case in &base.cases {
        let partner = find(new, &case.name).map(|at| &new.cases[at]);
        judged.count += 1;
        judged.findings.extend(compare_case(spot, Some(case), partner));
    }
    for case in new.cases.iter().filter(|case| find(base, &case.name).is_none()) {
        judged.count += 1;
        judged.findings.extend(compare_case(spot, None, Some(case)));
    }
}

/// The finding, where anything differs. A case that is not tried any more counts as worse: a skip is never a pass.
fn compare_case(spot: &Spot, base: Option<&CaseReport>, new: Option<&CaseReport>) -> Option<Finding> {
    let name = base.or(new)?.name.clone();
    let change = match rank(new).cmp(&rank(base)) {
        std::cmp::Ordering::Greater => Change::Regressed,
        std::cmp::Ordering::Less => Change::Improved,
        std::cmp::Ordering::Equal => {
            let seen = |case: Option<&CaseReport>| case.map(|case| (case.outcome.name(), case.standing));
            if seen(base) == seen(new) {
                return None;
            }
            Change::Changed
        }
    };
    Some(Finding::Case { spot: spot.clone(), case: name, base: words(base), new: words(new), change })
}

/// How bad it is.
fn rank(case: Option<&CaseReport>) -> u8 {
    let Some(case) = case else { return 1 };
    match case.standing {
        Standing::Passed | Standing::AsPredicted => 0,
        Standing::Skipped | Standing::Known => 1,
        Standing::Failed if case.outcome.is_hang() => 3,
        Standing::Failed => 2,
    }
}

fn words(case: Option<&CaseReport>) -> String {
    let Some(case) = case else { return "not run".to_owned() };
    match case.standing {
        Standing::Passed => case.outcome.to_string(),
        Standing::AsPredicted => format!("{}, as predicted", case.outcome),
        Standing::Failed => format!("{}, failed", case.outcome),
        Standing::Skipped => format!("{}, skipped", case.outcome),
        Standing::Known => format!("{}, known", case.outcome),
    }
}
