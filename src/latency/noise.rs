//! What makes a measurement doubtful, in sentences.

use std::path::{Path, PathBuf};

use crate::report::latency::{LatencySettings, Measurement};

use super::host;
use super::request::LatencyRequest;

/// Time that a processor has spent, in ticks of `/proc/stat` (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    busy: u64,
    steal: u64,
    total: u64,
}

/// The machine while something is measured on it.
#[derive(Debug)]
pub struct Watch {
    root: PathBuf,
    cpu: Option<u32>,
    siblings: Vec<u32>,
    before: String,
}

impl Watch {
    /// Begins; `cpu` is the processor that the measuring thread is kept on.
    #[must_use]
    pub fn begin(cpu: Option<u32>) -> Self {
        Self::below(Path::new("/"), cpu)
    }

    fn below(root: &Path, cpu: Option<u32>) -> Self {
        let list = cpu.and_then(|cpu| host::read(root, &format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")));
        let siblings = list.map(|list| host::cpu_list(&list)).unwrap_or_default();
        let siblings = siblings.into_iter().filter(|sibling| Some(*sibling) != cpu).collect();
        Self { root: root.to_owned(), cpu, siblings, before: host::read(root, "proc/stat").unwrap_or_default() }
    }

    /// Ends; what of the machine makes the measurement doubtful.
    #[must_use]
    pub fn end(self) -> Vec<String> {
        const BUSY: f64 = 0.1;
        const STOLEN: f64 = 0.01;
        let mut warnings = Vec::new();
        if let Some(governor) = host::governor(&self.root, self.cpu.unwrap_or(0)).filter(|governor| governor != "performance") {
            warnings.push(format!(
                "the frequency governor is {governor}: set it to performance, or the processor's clock is part of the result"
            ));
        }
        let after = host::read(&self.root, "proc/stat").unwrap_or_default();
        for sibling in &self.siblings {
            let busy = during(&self.before, &after, &format!("cpu{sibling}")).map_or(0.0, |spent| share(spent.busy, spent.total));
            if busy > BUSY {
                let cpu = self.cpu.unwrap_or(0);
                warnings.push(format!(
                    "processor {sibling}, the other thread of processor {cpu}'s core, was busy for {:.0} % of the time",
                    busy * 100.0
                ));
            }
        }
        if let Some(stolen) =
            during(&self.before, &after, "cpu").map(|spent| share(spent.steal, spent.total)).filter(|share| *share > STOLEN)
        {
            warnings.push(format!(
                "the hypervisor ran something else on this machine's processors for {:.0} % of the time",
                stolen * 100.0
            ));
        }
        let processors = host::logical_cpus(&self.root);
        if let Some(load) = host::load_average(&self.root).filter(|load| *load > f64::from(processors)) {
            let plural = if processors == 1 { "" } else { "s" };
            warnings
                .push(format!("the load average is {load:.1} on {processors} processor{plural}: threads waited for each other"));
        }
        warnings
    }
}

/// What the numbers themselves say against them.
#[must_use]
pub fn of_samples(measurement: &Measurement, settings: &LatencySettings) -> Vec<String> {
    const FOR_P999: u64 = 1_000;
    let count = measurement.round_trip.count;
    let mut warnings = Vec::new();
    if measurement.outliers * 100 > count {
        warnings.push(format!(
            "{} of {count} round trips ({:.1} %) are outliers (modified z-score over 3.5): something else ran on this machine",
            measurement.outliers,
            share(measurement.outliers, count) * 100.0
        ));
    }
    if count < FOR_P999 {
        warnings.push(format!("{count} round trips are too few for a 99.9th percentile, which is their maximum here"));
    }
    if let Some(late) = measurement.late_starts.filter(|late| *late > 0) {
        warnings.push(format!(
            "{late} of {count} round trips started late because those before them took too long; they count from when they were due"
        ));
    }
    if let Some(left) = measurement.not_started.filter(|left| *left > 0) {
        warnings.push(format!(
            "overloaded: {left} of {} due round trips were not started before the measurement had to end; the rate is beyond what was \
             measured on",
            count + left
        ));
    }
    if settings.duration_ms.is_some() && count >= LatencyRequest::MOST_SAMPLES {
        warnings.push(format!("the measurement ended at {count} round trips, the most that are kept, before its time was over"));
    }
    warnings
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What a processor spent between two readings of `/proc/stat`.
fn during(before: &str, after: &str, cpu: &str) -> Option<Spent> {
    let (before, after) = (spent(before, cpu)?, spent(after, cpu)?);
    Some(Spent {
        busy: after.busy.checked_sub(before.busy)?,
        steal: after.steal.checked_sub(before.steal)?,
        total: after.total.checked_sub(before.total)?,
    })
}

/// user nice system idle iowait irq softirq steal.
fn spent(stat: &str, cpu: &str) -> Option<Spent> {
    let line = stat.lines().find_map(|line| line.strip_prefix(cpu)?.strip_prefix(' '))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
    let &[user, nice, system, idle, iowait, irq, softirq, steal] = fields.as_slice() else { return None };
    let parts = [user, nice, system, irq, softirq, steal];
    let busy = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part))?;
    Some(Spent { busy, steal, total: busy.checked_add(idle)?.checked_add(iowait)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_busy_sibling_a_thief_and_a_slow_governor_are_named() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path();
        for folder in ["proc", "sys/devices/system/cpu/cpu2/topology", "sys/devices/system/cpu/cpu2/cpufreq"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        fs::write(place.join("sys/devices/system/cpu/cpu2/topology/thread_siblings_list"), "2,6\n").unwrap();
        fs::write(place.join("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor"), "powersave\n").unwrap();
        fs::write(place.join("proc/stat"), "cpu  0 0 0 0 0 0 0 0 0 0\ncpu2 0 0 0 0 0 0 0 0 0 0\ncpu6 0 0 0 0 0 0 0 0 0 0\n")
            .unwrap();
        let watch = Watch::below(place, Some(2));
        fs::write(
            place.join("proc/stat"),
            "cpu  90 0 0 100 0 0 0 10 0 0\ncpu2 50 0 0 50 0 0 0 0 0 0\ncpu6 40 0 0 60 0 0 0 0 0 0\n",
        )
        .unwrap();
        let warnings = watch.end();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("powersave"));
        assert!(warnings[1].contains("processor 6, the other thread of processor 2's core, was busy for 40 %"), "{warnings:?}");
        assert!(warnings[2].contains("5 %"), "{warnings:?}");
    }

    #[test]
    fn a_quiet_machine_is_not_warned_of() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Watch::below(root.path(), Some(0)).end(), Vec::<String>::new());
    }
}
