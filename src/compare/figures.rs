//! Latency reports: medians and tails.

use crate::bootstrap::{Figure, Samples, difference_percent};
use crate::report::latency::{LatencyDevice, LatencyReport, LatencyResult, LatencyRun, LatencySettings, Measurement};

use super::matching::{Gpu, differing, pair, pair_modes};
use super::{Aspect, Change, CompareSettings, Finding, Interval, Judged, Percent, Spot, Unlikeness};

pub(super) fn compare(
    base: &LatencyReport,
    new: &LatencyReport,
    settings: &CompareSettings,
    unlike: &mut Vec<Unlikeness>,
) -> Judged {
    unlike.extend(settings_differences(&base.settings, &new.settings));
    let mut findings = Vec::new();
    let (bases, news): (Vec<_>, Vec<_>) = (base.devices.iter().map(gpu).collect(), new.devices.iter().map(gpu).collect());
    for (at, partner) in pair(&bases, &news, unlike) {
        let (old, fresh) = (&base.devices[at].runs, &new.devices[partner].runs);
        let modes = |runs: &[LatencyRun]| runs.iter().map(|run| run.atomics).collect::<Vec<_>>();
        for (old_run, fresh_run) in pair_modes(&modes(old), &modes(fresh), unlike) {
            let spot = Spot { device: at, gpu: bases[at].words(), atomics: old[old_run].atomics };
            findings.extend(compare_results(&spot, &old[old_run].result, &fresh[fresh_run].result, settings));
        }
    }
    Judged { count: findings.iter().filter(|finding| finding.change().is_some()).count(), findings }
}

/// What the measurements of a side say of themselves: noise, interruptions, a clock that drifts.
pub(super) fn warnings(side: &str, report: &LatencyReport) -> Vec<String> {
    let mut warnings = Vec::new();
    for device in &report.devices {
        for run in &device.runs {
            if let LatencyResult::Measured(measured) = &run.result {
                let told = |warning: &String| format!("{side}, GPU {}, AtomicOps {}: {warning}", device.index, run.atomics);
                warnings.extend(measured.warnings.iter().map(told));
            }
        }
    }
    warnings
}

fn gpu(device: &LatencyDevice) -> Gpu<'_> {
    Gpu { index: device.index, bdf: device.bdf.as_deref(), name: &device.name, gfx: &device.gfx }
}

/// How long was measured and how long it took to warm up may differ: that changes what the figures are known to, not what they are of.
fn settings_differences(base: &LatencySettings, new: &LatencySettings) -> Vec<Unlikeness> {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let rate = |settings: &LatencySettings| settings.rate_per_second.map_or_else(|| "none".to_owned(), |rate| format!("{rate}/s"));
    let of = |settings: &LatencySettings| {
        [
            ("mode", word(serde_json::to_value(settings.mode))),
            ("wait", word(serde_json::to_value(settings.wait))),
            ("fence", word(serde_json::to_value(settings.fence))),
            ("batch", settings.batch.to_string()),
            ("queues", settings.queues.to_string()),
            ("producers", settings.producers.to_string()),
            ("rate", rate(settings)),
        ]
    };
    of(base).iter().zip(&of(new)).filter_map(|((what, base), (_, new))| differing(Aspect::Settings, what, base, new)).collect()
}

fn compare_results(spot: &Spot, base: &LatencyResult, new: &LatencyResult, settings: &CompareSettings) -> Vec<Finding> {
    if let (LatencyResult::Measured(base), LatencyResult::Measured(new)) = (base, new) {
        return Figure::ALL.iter().map(|figure| compare_figure(spot, *figure, base, new, settings)).collect();
    }
    // A hang is worse than a measurement that was not made, and both than figures.
    let rank = |result: &LatencyResult| match result {
        LatencyResult::Measured(_) => 0,
        LatencyResult::NotMeasured { .. } => 1,
        LatencyResult::Hang { .. } => 2,
    };
    let change = match rank(new).cmp(&rank(base)) {
        std::cmp::Ordering::Greater => Change::Regressed,
        std::cmp::Ordering::Less => Change::Improved,
        std::cmp::Ordering::Equal => Change::NoDifference,
    };
    vec![Finding::Measurement { spot: spot.clone(), base: words(base), new: words(new), change }]
}

fn words(result: &LatencyResult) -> String {
    match result {
        LatencyResult::Measured(measurement) => format!("measured, {} round trips", measurement.samples_ns.len()),
        LatencyResult::Hang { reason } => format!("hang: {reason}"),
        LatencyResult::NotMeasured { reason } => format!("not measured: {reason}"),
    }
}

fn compare_figure(spot: &Spot, figure: Figure, base: &Measurement, new: &Measurement, settings: &CompareSettings) -> Finding {
    let sides = Samples::new(&base.samples_ns).zip(Samples::new(&new.samples_ns));
    let interval = sides.as_ref().map(|(base, new)| difference_percent(base, new, figure, &settings.bootstrap));
    let (base_ns, new_ns) = sides.map_or((0, 0), |(base, new)| (base.quantile(figure), new.quantile(figure)));
    let change = interval.and_then(|interval| judge(interval, settings.threshold));
    Finding::Figure { spot: spot.clone(), figure, base_ns, new_ns, difference_percent: interval, change }
}

/// The whole interval must lie beyond the threshold, for which its nearer end is enough. That nothing differs takes both ends; without one it is
/// not known.
fn judge(interval: Interval, threshold: Percent) -> Option<Change> {
    if interval.low.is_some_and(|low| low > threshold.value()) {
        Some(Change::Regressed)
    } else if interval.high.is_some_and(|high| high < -threshold.value()) {
        Some(Change::Improved)
    } else {
        interval.low.and(interval.high).map(|_| Change::NoDifference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_counts_only_when_it_lies_beyond_the_threshold_whole() {
        let of = |low, high| judge(Interval { estimate: 0.0, low: Some(low), high: Some(high) }, Percent::default());
        assert_eq!(of(5.1, 9.0), Some(Change::Regressed));
        assert_eq!(of(4.9, 9.0), Some(Change::NoDifference));
        assert_eq!(of(-9.0, -5.1), Some(Change::Improved));
        assert_eq!(of(-9.0, 9.0), Some(Change::NoDifference));
        assert_eq!(of(5.0, 5.0), Some(Change::NoDifference));
    }

    #[test]
    fn one_known_end_shows_a_difference_and_never_that_there_is_none() {
        let of = |low, high| judge(Interval { estimate: 0.0, low, high }, Percent::default());
        assert_eq!(of(Some(5.1), None), Some(Change::Regressed));
        assert_eq!(of(None, Some(-5.1)), Some(Change::Improved));
        assert_eq!(of(Some(4.9), None), None);
        assert_eq!(of(None, Some(-4.9)), None);
        assert_eq!(of(None, None), None);
    }
}
