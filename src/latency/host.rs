//! The machine that measures, as far as its kernel says.

use std::fs;
use std::path::Path;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::report::latency::HostReport;
use crate::verify::supervision::hypervisor;

/// Describes this machine; the governor is that of `cpu`, or of the first processor.
#[must_use]
pub fn describe(cpu: Option<u32>) -> HostReport {
    let names = rustix::system::uname();
    HostReport {
        name: Some(names.nodename().to_string_lossy().into_owned()).filter(|name| !name.is_empty()),
        kernel: names.release().to_string_lossy().into_owned(),
        hypervisor: hypervisor(),
        ..below(Path::new("/"), cpu)
    }
}

fn below(root: &Path, cpu: Option<u32>) -> HostReport {
    let processors = read(root, "proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    HostReport {
        cpu: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        logical_cpus: logical_cpus(root),
        governor: governor(root, cpu.unwrap_or(0)),
        load_average: load_average(root),
        ..HostReport::default()
    }
}

/// Processors of this machine that are online, whether or not this process may run on them
/// (Documentation/admin-guide/cputopology.rst). Where the kernel does not say, those that it may run on.
#[must_use]
pub fn logical_cpus(root: &Path) -> u32 {
    let online = read(root, "sys/devices/system/cpu/online").map(|list| cpu_list(&list).len()).filter(|count| *count > 0);
    let count = online.or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZero::get));
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

/// A list as the kernel writes it: `0-1,8`.
#[must_use]
pub fn cpu_list(text: &str) -> Vec<u32> {
    const MOST: usize = 4096;
    let numbers = |part: &str| -> Option<Vec<u32>> {
        match part.trim().split_once('-') {
            Some((first, last)) => Some((first.parse().ok()?..=last.parse().ok()?).take(MOST).collect()),
            None => Some(vec![part.trim().parse().ok()?]),
        }
    };
    text.split(',').filter_map(numbers).flatten().collect()
}

/// Why a thread cannot be kept on a processor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--pin {cpu}: no thread of this program may run on processor {cpu} ({reason}); this machine's processors are {online}")]
pub struct PinError {
    /// The processor.
    pub cpu: u32,
    /// What the system says.
    reason: String,
    /// The list of those that are online.
    online: String,
}

/// Keeps the calling thread on a processor (sched_setaffinity(2)).
///
/// # Errors
/// The processor does not exist, is offline, or this process may not use it.
pub fn pin(cpu: u32) -> Result<(), PinError> {
    let refused = |reason: String| {
        let online = read(Path::new("/"), "sys/devices/system/cpu/online").unwrap_or_else(|| "not known".to_owned());
        PinError { cpu, reason, online }
    };
    let number = usize::try_from(cpu).ok().filter(|number| *number < CpuSet::MAX_CPU);
    let number = number.ok_or_else(|| refused("there is no such processor".to_owned()))?;
    let mut set = CpuSet::new();
    set.set(number);
    sched_setaffinity(None, &set).map_err(|error| refused(error.to_string()))
}

/// Whether a thread of this process can be kept on a processor: tried by one that ends.
///
/// # Errors
/// It cannot.
pub fn can_pin(cpu: u32) -> Result<(), PinError> {
    // A thread that cannot be started leaves the answer to those that measure.
    std::thread::Builder::new().spawn(move || pin(cpu)).ok().and_then(|tried| tried.join().ok()).unwrap_or(Ok(()))
}

/// The frequency governor of a processor (Documentation/admin-guide/pm/cpufreq.rst).
#[must_use]
pub fn governor(root: &Path, cpu: u32) -> Option<String> {
    read(root, &format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")).filter(|text| !text.is_empty())
}

/// The one-minute load average (proc_loadavg(5)).
#[must_use]
pub fn load_average(root: &Path) -> Option<f64> {
    read(root, "proc/loadavg")?.split_whitespace().next()?.parse().ok()
}

/// A small file below `root`, without the white space around its text.
#[must_use]
pub fn read(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_those_of_the_kernel() {
        assert_eq!(cpu_list("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(cpu_list("x,4294967296,-,3"), [3]);
    }

    #[test]
    fn processors_are_counted_by_what_is_online_and_not_by_where_this_thread_may_run() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/devices/system/cpu")).unwrap();
        fs::write(root.path().join("sys/devices/system/cpu/online"), "0-5,8,4000\n").unwrap();
        assert_eq!(logical_cpus(root.path()), 8);
    }

    #[test]
    fn a_processor_that_is_not_there_is_named_with_those_that_are() {
        // More than any set of processors has room for.
        let error = can_pin(1_000_000).unwrap_err().to_string();
        assert!(error.starts_with("--pin 1000000: ") && error.contains("there is no such processor"), "{error}");
    }

    #[test]
    fn what_the_kernel_does_not_say_is_absent() {
        let root = tempfile::tempdir().unwrap();
        let empty = below(root.path(), None);
        assert_eq!((empty.cpu.as_str(), empty.governor, empty.load_average), ("", None, None));
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::create_dir_all(root.path().join("sys/devices/system/cpu/cpu3/cpufreq")).unwrap();
        fs::write(root.path().join("proc/cpuinfo"), "processor\t: 0\nmodel name\t: AMD EPYC 7543\n").unwrap();
        fs::write(root.path().join("proc/loadavg"), "0.50 1.00 2.00 1/100 4242\n").unwrap();
        fs::write(root.path().join("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor"), "powersave\n").unwrap();
        let host = below(root.path(), Some(3));
        assert_eq!(
            (host.cpu.as_str(), host.governor.as_deref(), host.load_average),
            ("AMD EPYC 7543", Some("powersave"), Some(0.5))
        );
    }
}
