//! What a Linux needs before anything runs in it.

use std::ffi::CStr;
use std::fs::{self, File};

use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use crate::guest::answer::MODULES;

/// Mounts what programs expect. What cannot be mounted is missed by whoever needs it.
pub(super) fn mount_file_systems() {
    for (kind, at) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/tmp"), ("tmpfs", "/run")] {
        let _ = mount(kind, at, kind, MountFlags::empty(), None::<&CStr>);
    }
}

/// Milliseconds since the kernel started.
pub(super) fn uptime_ms() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let (seconds, rest) = uptime.split_once('.').unwrap_or((uptime.trim(), "0"));
    let hundredths: u64 = rest.split_whitespace().next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
    seconds.parse::<u64>().unwrap_or_default() * 1000 + hundredths * 10
}

/// Reserves pages of 2 MiB, and says how many there are.
pub(super) fn set_aside_huge_pages(wanted: u32) -> u32 {
    const COUNT: &str = "/proc/sys/vm/nr_hugepages";
    let _ = fs::write(COUNT, wanted.to_string());
    fs::read_to_string(COUNT).ok().and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// Loads the modules in their order. Returns what could not be loaded, in sentences.
pub(super) fn load_modules() -> Vec<String> {
    let order = fs::read_to_string(format!("{MODULES}/order")).unwrap_or_default();
    let load = |name: &str| {
        let file = File::open(format!("{MODULES}/{name}")).map_err(|error| error.to_string())?;
        finit_module(&file, c"", 0).map_err(|error| error.to_string())
    };
    order
        .lines()
        .filter_map(|name| load(name).err().map(|error| format!("the kernel does not take the module {name}: {error}")))
        .collect()
}

/// QEMU's IOMMU runs without interrupt remapping here, and vfio then wants to be told that the guest trusts its device not to forge
/// interrupts (vfio_iommu_type1's `allow_unsafe_interrupts`).
pub(super) fn allow_unremapped_interrupts() {
    let _ = fs::write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y");
}
