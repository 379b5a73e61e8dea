//! The machine that measures, as far as its kernel says.

use std::fs;
use std::path::Path;

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
        logical_cpus: logical_cpus(),
        governor: governor(root, cpu.unwrap_or(0)),
        load_average: load_average(root),
        ..HostReport::default()
    }
}

/// Processors that this process may run on.
#[must_use]
pub fn logical_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
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
