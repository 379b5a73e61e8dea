//! Is this machine a virtual one?

#[cfg(test)]
mod tests;

use super::QemuVersion;
use crate::pci::Hierarchy;
use serde::Serialize;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Who runs the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hypervisor {
    /// QEMU, with KVM or without; Proxmox and libvirt are that too.
    Kvm,
    /// VMware.
    Vmware,
    /// Microsoft Hyper-V; WSL 2 is that too.
    HyperV,
    /// Xen, unprivileged domain.
    Xen,
    /// VirtualBox.
    VirtualBox,
    /// Another, or one that does not say.
    Other,
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "QEMU/KVM",
            Self::Vmware => "VMware",
            Self::HyperV => "Hyper-V",
            Self::Xen => "Xen",
            Self::VirtualBox => "VirtualBox",
            Self::Other => "a hypervisor that does not say its name",
        })
    }
}

/// The chipset QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chipset {
    /// PCI Express.
    Q35,
    /// Conventional PCI only.
    I440fx,
}

/// QEMU's machine type, as its DMI tables name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MachineType {
    /// The chipset.
    pub chipset: Chipset,
    /// Its version: QEMU is at least as new.
    pub version: Option<QemuVersion>,
}

/// What kind of machine this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Machine {
    /// A real one, or a privileged domain that has the real devices.
    BareMetal,
    /// A virtual one.
    Guest {
        /// Who runs it.
        hypervisor: Hypervisor,
        /// QEMU's machine type, where it shows.
        machine_type: Option<MachineType>,
        /// What shows it, in short sentences.
        evidence: Vec<String>,
    },
    /// Nothing tells.
    Unknown,
}

impl Machine {
    /// Where nothing else tells: a path with one of QEMU's own devices in it is a guest's. Its imitations of real ports
    /// (ioh3420, xio3130) do not tell that, for the real ones have the same numbers.
    #[must_use]
    pub fn or_as_its_ports_say(self, hierarchy: &Hierarchy) -> Self {
        let qemus_own = hierarchy.hops.iter().find(|hop| hop.vendor_id == Some(RED_HAT));
        match (self, qemus_own) {
            (Self::Unknown, Some(hop)) => Self::Guest {
                hypervisor: Hypervisor::Kvm,
                machine_type: None,
                evidence: vec![format!("{} is {}, which only QEMU has.", hop.bdf, hop.name)],
            },
            (machine, _) => machine,
        }
    }
}

/// Vendor ID of QEMU's own devices.
const RED_HAT: u16 = 0x1b36;
/// More than the files looked at hold of interest: of cpuinfo, the first processor.
const READ_AT_MOST: u64 = 64 * 1024;

/// Looks around below the directory that holds `sys` and `proc` (`/` on a live machine).
///
/// Looked at: DMI identification, `sys/hypervisor/type`, the `hypervisor` flag of x86 processors (CPUID leaf 1, ECX bit 31),
/// the kernel's name (WSL 2 has no DMI tables), QEMU's own PCI devices. What is not there tells nothing.
pub fn detect(root: &Path) -> Machine {
    if text(root, "proc/xen/capabilities").is_some_and(|capabilities| capabilities.contains("control_d")) {
        return Machine::BareMetal;
    }
    let dmi = Dmi::read(root);
    let processor = ProcessorFlag::read(root);
    let mut named: Vec<(Hypervisor, String)> = dmi.hypervisor().into_iter().collect();
    if text(root, "sys/hypervisor/type").is_some_and(|kind| kind.trim() == "xen") {
        named.push((Hypervisor::Xen, "/sys/hypervisor/type says xen.".to_owned()));
    }
    if text(root, "proc/sys/kernel/osrelease").is_some_and(|release| release.to_ascii_lowercase().contains("microsoft")) {
        named.push((Hypervisor::HyperV, "The kernel is Microsoft's, for WSL.".to_owned()));
    }
    if let Some(device) = qemus_own_device(&root.join("sys/bus/pci/devices")) {
        named.push((Hypervisor::Kvm, format!("{device} is a device that only QEMU has.")));
    }
    if processor == ProcessorFlag::Hypervisor {
        named.extend(dmi.firmware_of_qemu().map(|evidence| (Hypervisor::Kvm, evidence)));
    }
    let hypervisor = named.first().map(|(hypervisor, _)| *hypervisor);
    let mut evidence: Vec<String> = named.into_iter().map(|(_, evidence)| evidence).collect();
    match (hypervisor, processor) {
        (None, ProcessorFlag::None) => return Machine::BareMetal,
        (None, ProcessorFlag::Unknown) => return Machine::Unknown,
        (_, ProcessorFlag::Hypervisor) => evidence.push("The processor has the hypervisor flag.".to_owned()),
        (Some(_), ProcessorFlag::None | ProcessorFlag::Unknown) => {}
    }
    Machine::Guest { hypervisor: hypervisor.unwrap_or(Hypervisor::Other), machine_type: dmi.machine_type(), evidence }
}

/// The start of a text file; `None` when it cannot be read.
fn text(root: &Path, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(root.join(path)).ok()?.take(READ_AT_MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn qemus_own_device(devices: &Path) -> Option<String> {
    let mut own: Vec<String> = fs::read_dir(devices)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            let vendor = text(devices, &format!("{name}/vendor"));
            vendor.is_some_and(|vendor| u16::from_str_radix(vendor.trim().trim_start_matches("0x"), 16) == Ok(RED_HAT))
        })
        .collect();
    own.sort_unstable();
    own.into_iter().next()
}

/// What the processor says of a hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessorFlag {
    Hypervisor,
    None,
    /// No list of flags, or one of another architecture.
    Unknown,
}

impl ProcessorFlag {
    fn read(root: &Path) -> Self {
        let cpuinfo = text(root, "proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == "flags");
        match flags {
            Some((_, flags)) if flags.split_whitespace().any(|flag| flag == "hypervisor") => Self::Hypervisor,
            Some(_) => Self::None,
            None => Self::Unknown,
        }
    }
}

/// What the firmware's tables call the machine; empty where they are silent.
#[derive(Debug, Default)]
struct Dmi {
    system_vendor: String,
    product_name: String,
    product_version: String,
    bios_vendor: String,
}

impl Dmi {
    fn read(root: &Path) -> Self {
        let field = |name: &str| text(root, &format!("sys/class/dmi/id/{name}")).unwrap_or_default().trim().to_owned();
        Self {
            system_vendor: field("sys_vendor"),
            product_name: field("product_name"),
            product_version: field("product_version"),
            bios_vendor: field("bios_vendor"),
        }
    }

    fn hypervisor(&self) -> Option<(Hypervisor, String)> {
        let (vendor, product) = (self.system_vendor.as_str(), self.product_name.as_str());
        let hypervisor = match (vendor, product) {
            ("QEMU", _) | (_, "KVM") => Hypervisor::Kvm,
            ("VMware, Inc.", _) => Hypervisor::Vmware,
            // Microsoft builds real machines too.
            ("Microsoft Corporation", "Virtual Machine") => Hypervisor::HyperV,
            ("Xen", _) => Hypervisor::Xen,
            ("innotek GmbH", _) | (_, "VirtualBox") => Hypervisor::VirtualBox,
            _ => return None,
        };
        Some((hypervisor, format!("The firmware calls the machine {product:?} of {vendor:?}.")))
    }

    /// Firmware that QEMU brings along. Real machines can have it too, so that it tells only who the hypervisor is.
    fn firmware_of_qemu(&self) -> Option<String> {
        let is_qemus = ["SeaBIOS", "EDK II", "OVMF"].iter().any(|name| self.bios_vendor.contains(name));
        is_qemus.then(|| format!("The firmware is {:?}.", self.bios_vendor))
    }

    /// `pc-q35-9.2` and `Standard PC (Q35 + ICH9, 2009)`.
    fn machine_type(&self) -> Option<MachineType> {
        let name = self.product_version.to_ascii_lowercase();
        let typed = [("pc-q35-", Chipset::Q35), ("pc-i440fx-", Chipset::I440fx)]
            .into_iter()
            .find_map(|(prefix, chipset)| name.strip_prefix(prefix).map(|version| (chipset, version.parse().ok())));
        let by_product = || {
            let product = self.product_name.strip_prefix("Standard PC (")?;
            let known = [("Q35", Chipset::Q35), ("i440FX", Chipset::I440fx)];
            known.into_iter().find(|(name, _)| product.starts_with(name)).map(|(_, chipset)| (chipset, None))
        };
        typed.or_else(by_product).map(|(chipset, version)| MachineType { chipset, version })
    }
}
