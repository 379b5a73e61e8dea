//! Who uses a GPU through KFD right now (`class/kfd/kfd/proc`).

use crate::pci::sysfs::SysfsRoot;
use std::fs;
use std::io;

/// Processes that KFD has on its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KfdProcesses {
    /// These process IDs; none when empty.
    Listed(Vec<u32>),
    /// The kernel has no such list: KFD is not there, or is older than the list.
    NoList,
    /// The list cannot be read.
    Unreadable(String),
}

/// The processes that use the GPU with this KFD ID (`gpu_id` of its node), by the directory names of KFD's list. A process
/// counts when it has a VRAM entry for the GPU, or no entries that can be read; without an ID every process counts.
pub fn kfd_processes(root: &SysfsRoot, gpu_id: Option<u32>) -> KfdProcesses {
    let directory = root.path().join("class/kfd/kfd/proc");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return KfdProcesses::NoList,
        Err(error) => return KfdProcesses::Unreadable(format!("cannot read {}: {error}", directory.display())),
    };
    let mut processes: Vec<u32> = entries
        .flatten()
        .filter(|entry| gpu_id.is_none_or(|gpu_id| may_use(&entry.path(), gpu_id)))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable();
    KfdProcesses::Listed(processes)
}

fn may_use(process: &std::path::Path, gpu_id: u32) -> bool {
    let Ok(entries) = fs::read_dir(process) else { return true };
    let mut names_a_gpu = false;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix("vram_")) else { continue };
        names_a_gpu = true;
        if id.parse() == Ok(gpu_id) {
            return true;
        }
    }
    !names_a_gpu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_for_the_gpus_it_has_entries_for() {
        let place = tempfile::tempdir().unwrap();
        let root = SysfsRoot::new(place.path());
        assert_eq!(kfd_processes(&root, None), KfdProcesses::NoList);
        let list = place.path().join("class/kfd/kfd/proc");
        fs::create_dir_all(list.join("42")).unwrap();
        fs::create_dir_all(list.join("7")).unwrap();
        fs::write(list.join("42/vram_1002"), "0").unwrap();
        assert_eq!(kfd_processes(&root, None), KfdProcesses::Listed(vec![7, 42]));
        assert_eq!(kfd_processes(&root, Some(1002)), KfdProcesses::Listed(vec![7, 42]));
        assert_eq!(kfd_processes(&root, Some(1)), KfdProcesses::Listed(vec![7]), "one without entries may use any GPU");
    }
}
