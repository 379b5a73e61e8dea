//! A real GPU for a guest: where QEMU must put it so that the guest sees a path that carries AtomicOps.

use std::path::PathBuf;

use crate::pci::guest::Functions;
use crate::pci::sysfs::SysfsRoot;
use crate::pci::{Bdf, driver};

/// A QEMU command line that passes one GPU, and what must be known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What to do before, and what to leave alone, in sentences.
    pub notes: Vec<String>,
}

/// The images that the guest boots from: a kernel of the user's, or of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk(pub PathBuf);

/// The line for the GPU at this address of the host: a root port of its own, function 0, no multifunction flag
/// (QEMU's hw/vfio/pci.c, `vfio_pci_enable_rp_atomics`).
#[must_use]
pub fn passthrough(gpu: &Bdf, sysfs: &SysfsRoot, disk: Option<&Disk>) -> Passthrough {
    let mut command: Vec<String> = [
        "qemu-system-x86_64",
        "-machine",
        "q35,accel=kvm",
        "-cpu",
        "host",
        "-smp",
        "4",
        "-m",
        "8G",
        "-nographic",
        "-device",
        "pcie-root-port,id=gpu_port,bus=pcie.0,chassis=1,slot=1",
        "-device",
    ]
    .map(str::to_owned)
    .into();
    command.push(format!("vfio-pci,host={gpu},bus=gpu_port,addr=00.0"));
    if let Some(Disk(path)) = disk {
        let path = path.to_string_lossy().replace(',', ",,");
        command.extend(["-drive".to_owned(), format!("file={path},if=virtio")]);
    }
    let mut notes = vec![format!(
        "Give {gpu} a root port of its own, function 0 and no multifunction=on: otherwise QEMU gives that port no completers."
    )];
    if driver::driver_of(sysfs, gpu).as_deref() != Some("vfio-pci") {
        notes.push(format!(
            "{gpu} is not bound to vfio-pci: `echo vfio-pci > /sys/bus/pci/devices/{gpu}/driver_override`, unbind it from its driver, \
             `echo {gpu} > /sys/bus/pci/drivers_probe`."
        ));
    }
    if Functions::of_device(sysfs, gpu) == Some(Functions::Multifunction) {
        notes.push(format!(
            "{gpu} has other functions (its audio device): pass them behind root ports of their own, or leave them out. All functions of \
             its IOMMU group must be bound to vfio-pci or to no driver."
        ));
    }
    Passthrough { command, notes }
}

impl Passthrough {
    /// The command line, as a shell takes it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        for word in &self.command {
            line.push_str(match (line.is_empty(), word.starts_with('-')) {
                (true, _) => "",
                (false, true) => " \\\n  ",
                (false, false) => " ",
            });
            line.push_str(&quoted(word));
        }
        line
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.,:=/+".contains(character);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(disk: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk.map(|path| Disk(path.into()));
        passthrough(&"0000:0b:00.0".parse().unwrap(), &SysfsRoot::new(folder.path()), disk.as_ref()).line()
    }

    #[test]
    fn the_gpu_gets_a_root_port_of_its_own_function_0_and_no_multifunction() {
        let line = line(None);
        assert!(line.contains("-device pcie-root-port,id=gpu_port,bus=pcie.0,chassis=1,slot=1"), "{line}");
        assert!(line.contains("-device vfio-pci,host=0000:0b:00.0,bus=gpu_port,addr=00.0"), "{line}");
        assert!(!line.contains("multifunction"));
    }

    #[test]
    fn a_path_with_blanks_and_commas_survives_shell_and_qemu() {
        assert!(line(Some("/my disks/a,b.qcow2")).contains("-drive 'file=/my disks/a,,b.qcow2,if=virtio'"));
    }
}
