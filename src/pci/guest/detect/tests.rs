use super::*;
use crate::pci::tree::{BridgeImage, BusNumbers};
use crate::pci::{Bdf, Completeness, Hop};

const REAL_PROCESSOR: (&str, &str) = ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme de pse\n\n");
const VIRTUAL_PROCESSOR: (&str, &str) = ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme hypervisor pse\n\n");
const VENDOR: &str = "sys/class/dmi/id/sys_vendor";
const PRODUCT: &str = "sys/class/dmi/id/product_name";
const VERSION: &str = "sys/class/dmi/id/product_version";
const BIOS: &str = "sys/class/dmi/id/bios_vendor";

fn machine(files: &[(&str, &str)]) -> Machine {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{content}\n")).unwrap();
    }
    detect(root.path())
}

fn hypervisor(files: &[(&str, &str)]) -> Option<Hypervisor> {
    match machine(files) {
        Machine::Guest { hypervisor, .. } => Some(hypervisor),
        Machine::BareMetal | Machine::Unknown => None,
    }
}

fn machine_type(files: &[(&str, &str)]) -> Option<MachineType> {
    match machine(files) {
        Machine::Guest { machine_type, .. } => machine_type,
        Machine::BareMetal | Machine::Unknown => None,
    }
}

#[test]
fn firmware_names_the_hypervisor() {
    let named = |vendor, product| hypervisor(&[VIRTUAL_PROCESSOR, (VENDOR, vendor), (PRODUCT, product)]);
    assert_eq!(named("QEMU", "Standard PC (Q35 + ICH9, 2009)"), Some(Hypervisor::Kvm));
    assert_eq!(named("Red Hat", "KVM"), Some(Hypervisor::Kvm));
    assert_eq!(named("VMware, Inc.", "VMware7,1"), Some(Hypervisor::Vmware));
    assert_eq!(named("Microsoft Corporation", "Virtual Machine"), Some(Hypervisor::HyperV));
    assert_eq!(named("Xen", "HVM domU"), Some(Hypervisor::Xen));
    assert_eq!(named("innotek GmbH", "VirtualBox"), Some(Hypervisor::VirtualBox));
    assert_eq!(named("Amazon EC2", "g4ad.xlarge"), Some(Hypervisor::Other));
}

#[test]
fn a_machine_without_the_hypervisor_flag_is_real_whoever_built_it() {
    for vendor in ["Gigabyte Technology Co., Ltd.", "Microsoft Corporation", "Amazon EC2"] {
        assert_eq!(machine(&[REAL_PROCESSOR, (VENDOR, vendor), (PRODUCT, "Surface Book")]), Machine::BareMetal);
    }
}

#[test]
fn firmware_betrays_a_guest_that_hides_the_flag() {
    assert_eq!(hypervisor(&[REAL_PROCESSOR, (VENDOR, "QEMU")]), Some(Hypervisor::Kvm));
}

#[test]
fn qemus_own_devices_and_firmware_betray_a_guest_that_borrows_its_hosts_name() {
    let borrowed = [VIRTUAL_PROCESSOR, (VENDOR, "Dell Inc.")];
    assert_eq!(hypervisor(&borrowed), Some(Hypervisor::Other));
    let port = ("sys/bus/pci/devices/0000:00:01.0/vendor", "0x1b36");
    assert_eq!(hypervisor(&[borrowed[0], borrowed[1], port]), Some(Hypervisor::Kvm));
    assert_eq!(hypervisor(&[borrowed[0], borrowed[1], (BIOS, "Proxmox distribution of EDK II")]), Some(Hypervisor::Kvm));
    assert_eq!(machine(&[REAL_PROCESSOR, (VENDOR, "Dell Inc."), (BIOS, "SeaBIOS")]), Machine::BareMetal);
}

#[test]
fn wsl_is_known_by_its_kernel() {
    let kernel = ("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2");
    assert_eq!(hypervisor(&[VIRTUAL_PROCESSOR, kernel]), Some(Hypervisor::HyperV));
}

#[test]
fn a_xen_domain_is_a_guest_unless_it_controls_the_machine() {
    let domain = [VIRTUAL_PROCESSOR, ("sys/hypervisor/type", "xen")];
    assert_eq!(hypervisor(&domain), Some(Hypervisor::Xen));
    assert_eq!(machine(&[domain[0], domain[1], ("proc/xen/capabilities", "control_d")]), Machine::BareMetal);
}

#[test]
fn where_nothing_tells_the_machine_is_unknown() {
    assert_eq!(machine(&[]), Machine::Unknown);
    assert_eq!(machine(&[("proc/cpuinfo", "processor : 0\ncpu : POWER9\n"), (VENDOR, "IBM")]), Machine::Unknown);
}

#[test]
fn qemus_machine_type_tells_chipset_and_least_version() {
    let typed = |version| machine_type(&[VIRTUAL_PROCESSOR, (VENDOR, "QEMU"), (VERSION, version)]);
    let nine = QemuVersion { major: 9, minor: 2 };
    assert_eq!(typed("pc-q35-9.2"), Some(MachineType { chipset: Chipset::Q35, version: Some(nine) }));
    assert_eq!(typed("pc-q35-9.2+pve1"), Some(MachineType { chipset: Chipset::Q35, version: Some(nine) }));
    assert_eq!(typed("pc-i440fx-jammy"), Some(MachineType { chipset: Chipset::I440fx, version: None }));
    assert_eq!(typed("virt-9.2"), None);
    let product = |product| machine_type(&[VIRTUAL_PROCESSOR, (VENDOR, "QEMU"), (PRODUCT, product)]);
    let i440fx = Some(MachineType { chipset: Chipset::I440fx, version: None });
    assert_eq!(product("Standard PC (i440FX + PIIX, 1996)"), i440fx);
    assert_eq!(product("Standard PC (Q35 + ICH9, 2009)").map(|typed| typed.chipset), Some(Chipset::Q35));
}

#[test]
fn a_path_with_qemus_own_port_is_a_guests_but_imitated_real_ports_tell_nothing() {
    let behind = |vendor, device| {
        let image = BridgeImage::root_port(BusNumbers { primary: 0, secondary: 1, subordinate: 1 }).identity(vendor, device);
        let hop = Hop::read(Bdf { domain: 0, bus: 0, device: 1, function: 0 }, &image.build());
        Hierarchy { hops: vec![hop], completeness: Completeness::Whole }
    };
    let qemu = Machine::Unknown.or_as_its_ports_say(&behind(0x1b36, 0x000c));
    assert!(matches!(qemu, Machine::Guest { hypervisor: Hypervisor::Kvm, .. }));
    assert_eq!(Machine::Unknown.or_as_its_ports_say(&behind(0x8086, 0x3420)), Machine::Unknown);
    assert_eq!(Machine::BareMetal.or_as_its_ports_say(&behind(0x1b36, 0x000c)), Machine::BareMetal);
}
