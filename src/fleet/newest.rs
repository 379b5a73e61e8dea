//! Which of several reports of the same device is judged: the newest of its kind, bed and settings.
//!
//! A node that was tested twice is one device, not two: its older state must not be outvoted by, or outvote, the others.

use std::collections::BTreeMap;

use crate::report::Document;
use crate::report::fleet::FleetEntry;
use crate::report::latency::LatencyReport;

/// Devices of each report that a newer report speaks for.
pub(super) struct Superseded(Vec<Vec<usize>>);

impl Superseded {
    /// Looks through all reports. Of two of the same second, the later in order is the newer.
    pub fn among(reports: &[FleetEntry]) -> Self {
        let mut newest: BTreeMap<String, (u64, usize)> = BTreeMap::new();
        for (at, entry) in reports.iter().enumerate() {
            let when = (entry.report.started_at(), at);
            for (_, subject) in subjects(entry) {
                newest.entry(subject).and_modify(|known| *known = (*known).max(when)).or_insert(when);
            }
        }
        let is_old = |at: usize, subject: &String| newest.get(subject).is_some_and(|(_, newest)| *newest != at);
        let old = |(at, entry): (usize, &FleetEntry)| {
            subjects(entry).into_iter().filter(|(_, subject)| is_old(at, subject)).map(|(device, _)| device).collect()
        };
        Self(reports.iter().enumerate().map(old).collect())
    }

    /// Whether the report at this position is not the one to judge this device by.
    pub fn contains(&self, report: usize, device: usize) -> bool {
        self.0.get(report).is_some_and(|devices| devices.contains(&device))
    }

    /// A line per report that is not judged, whole or in part.
    pub fn notes(&self, reports: &[FleetEntry]) -> Vec<String> {
        let old = reports.iter().zip(&self.0).filter(|(_, devices)| !devices.is_empty());
        old.map(|(entry, devices)| {
            let gpus: Vec<String> = devices.iter().map(usize::to_string).collect();
            let kind = entry.report.kind().name();
            format!("{}: a newer {kind} report than {} is judged, for GPU {}", entry.node, entry.file, gpus.join(", "))
        })
        .collect()
    }
}

/// Each device of a report with what makes another report one of the same.
fn subjects(entry: &FleetEntry) -> Vec<(usize, String)> {
    let (settings, devices): (String, Vec<(usize, Option<&str>)>) = match &entry.report {
        Document::Verify(report) => (
            report.injected.clone().unwrap_or_default(),
            report.devices.iter().map(|device| (device.index, device.bdf.as_deref())).collect(),
        ),
        Document::Latency(report) => {
            (settings_words(report), report.devices.iter().map(|device| (device.index, device.bdf.as_deref())).collect())
        }
    };
    let bed = entry.report.bed();
    let common = format!("{:?} {:?} {:?} {:?} {settings:?}", entry.node, entry.report.kind(), bed.kind, bed.replay);
    devices
        .into_iter()
        .map(|(index, bdf)| (index, bdf.map_or_else(|| format!("{common} {index}"), |bdf| format!("{common} {bdf}"))))
        .collect()
}

/// The settings that must be alike for two measurements to be of the same thing.
pub(super) fn settings_words(report: &LatencyReport) -> String {
    let settings = &report.settings;
    format!(
        "{:?} {:?} {:?} {} {} {} {:?} {:?}",
        settings.mode,
        settings.wait,
        settings.fence,
        settings.batch,
        settings.queues,
        settings.producers,
        settings.rate_per_second,
        settings.injected
    )
}
