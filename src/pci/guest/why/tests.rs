use super::*;
use crate::pci::tree::{BridgeImage, BusNumbers, Completers};
use crate::pci::{Bdf, ConfigSpace, Register, dump};

const FIJI: &str = include_str!("../../../../tests/data/lspci/02-fiji-after.txt");
const BUSES: BusNumbers = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };
/// Where Fiji's capability has its version and type.
const FIJI_TYPE_AT: usize = 0x5a;

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn fiji() -> Hop {
    let function = dump::read(FIJI).unwrap().remove(0);
    Hop::read(function.bdf, &function.config)
}

/// A card with completer bits of its own, at 0b:00.0 of the guest.
fn gpu(port_type: PortType) -> Hop {
    let function = dump::read(FIJI).unwrap().remove(0);
    let mut bytes = function.config.bytes().to_vec();
    bytes[FIJI_TYPE_AT] = bytes[FIJI_TYPE_AT] & 0x0f | port_type.bits() << 4;
    let hop = Hop::read(function.bdf, &ConfigSpace::from_bytes(bytes));
    Hop { device_capabilities_2: Register::whole(BOTH_WIDTHS), ..hop }
}

/// The same card after QEMU dropped its capability.
fn without_capability() -> Hop {
    let pcie = PcieReading::Absent;
    Hop { pcie, role: HopRole::ConventionalFunction, device_capabilities_2: Register::UNKNOWN, ..gpu(PortType::LegacyEndpoint) }
}

fn qemu_port(completers: Completers) -> Hop {
    let image = BridgeImage::root_port(BUSES).identity(0x1b36, 0x000c).completers(completers);
    Hop::read(bdf("00:01.0"), &image.build())
}

fn whole(hops: Vec<Hop>) -> Hierarchy {
    Hierarchy { hops, completeness: Completeness::Whole }
}

fn guest(hypervisor: Hypervisor, machine_type: Option<MachineType>) -> Machine {
    Machine::Guest { hypervisor, machine_type, evidence: Vec::new() }
}

fn q35() -> Machine {
    guest(Hypervisor::Kvm, Some(MachineType { chipset: Chipset::Q35, version: None }))
}

fn reasons(hops: Vec<Hop>, machine: &Machine, functions: Option<Functions>) -> Vec<Reason> {
    why(&whole(hops), machine, functions)
}

fn with(standing: Standing, reasons: &[Reason]) -> Vec<ReasonKind> {
    reasons.iter().filter(|reason| reason.standing == standing).map(|reason| reason.kind).collect()
}

fn shown(hops: Vec<Hop>, machine: &Machine, functions: Option<Functions>) -> Vec<ReasonKind> {
    with(Standing::Shown, &reasons(hops, machine, functions))
}

fn behind_port(gpu: Hop) -> Vec<Hop> {
    vec![qemu_port(Completers::Neither), gpu]
}

fn endpoint() -> Hop {
    gpu(PortType::Endpoint)
}

#[test]
fn on_bare_metal_and_where_nothing_tells_there_is_nothing_to_explain() {
    let real = BridgeImage::root_port(BUSES).completers(Completers::Neither).build();
    let hops = || vec![Hop::read(bdf("00:01.0"), &real), endpoint()];
    assert_eq!(reasons(hops(), &Machine::BareMetal, None), []);
    assert_eq!(reasons(hops(), &Machine::Unknown, None), []);
}

#[test]
fn a_root_port_that_completes_needs_no_explanation() {
    assert_eq!(reasons(vec![qemu_port(Completers::Both), endpoint()], &q35(), Some(Functions::Single)), []);
}

#[test]
fn multifunction_is_shown_by_the_slot_and_named_first() {
    let multi = reasons(behind_port(endpoint()), &Machine::Unknown, Some(Functions::Multifunction));
    assert_eq!(with(Standing::Shown, &multi), [ReasonKind::Multifunction]);
    assert_eq!(multi[0].kind, ReasonKind::Multifunction);
    assert!(multi[0].change.contains("0000:BB:DD.0"));
    let single = reasons(behind_port(endpoint()), &q35(), Some(Functions::Single));
    assert!(with(Standing::RuledOut, &single).contains(&ReasonKind::Multifunction));
    assert!(with(Standing::Open, &reasons(behind_port(endpoint()), &q35(), None)).contains(&ReasonKind::Multifunction));
}

#[test]
fn what_a_guest_cannot_see_stays_open() {
    let open = with(Standing::Open, &reasons(behind_port(endpoint()), &q35(), Some(Functions::Single)));
    assert_eq!(open, [ReasonKind::OldQemu, ReasonKind::OldHostKernel, ReasonKind::HostPath]);
}

#[test]
fn a_place_other_than_function_zero_is_shown() {
    for address in ["0b:01.0", "0b:00.1"] {
        let moved = Hop { bdf: bdf(address), ..endpoint() };
        assert_eq!(shown(behind_port(moved), &q35(), Some(Functions::Single)), [ReasonKind::NotAtFunctionZero]);
    }
}

#[test]
fn a_gpu_without_completer_bits_of_its_own_is_shown() {
    assert_eq!(shown(behind_port(fiji()), &q35(), Some(Functions::Single)), [ReasonKind::NoOwnCompleters]);
}

#[test]
fn a_legacy_endpoint_on_pcie_0_shows_no_capability() {
    for machine in [q35(), guest(Hypervisor::Kvm, None)] {
        assert_eq!(shown(vec![without_capability()], &machine, None), [ReasonKind::LegacyEndpointOnRootBus]);
    }
}

#[test]
fn an_endpoint_on_pcie_0_shows_itself_as_integrated() {
    assert_eq!(shown(vec![gpu(PortType::IntegratedEndpoint)], &q35(), None), [ReasonKind::EndpointOnRootBus]);
}

#[test]
fn an_endpoint_that_is_still_one_on_a_root_bus_shows_the_i440fx() {
    let unnamed = guest(Hypervisor::Kvm, None);
    for port_type in [PortType::Endpoint, PortType::LegacyEndpoint] {
        assert_eq!(shown(vec![gpu(port_type)], &unnamed, None), [ReasonKind::I440fx]);
    }
    let named = guest(Hypervisor::Kvm, Some(MachineType { chipset: Chipset::I440fx, version: None }));
    assert_eq!(shown(vec![endpoint()], &named, None), [ReasonKind::I440fx]);
}

#[test]
fn a_conventional_bridge_is_shown() {
    let bridge = Hop { role: HopRole::ConventionalBridge, pcie: PcieReading::Absent, ..qemu_port(Completers::Neither) };
    assert_eq!(shown(vec![bridge, without_capability()], &q35(), None), [ReasonKind::BehindConventionalBridge]);
}

#[test]
fn an_emulated_switch_is_shown() {
    let upstream = Hop::read(bdf("01:00.0"), &BridgeImage::switch_upstream(BUSES).identity(0x104c, 0x8232).build());
    let downstream = Hop::read(bdf("02:00.0"), &BridgeImage::switch_downstream(BUSES).identity(0x104c, 0x8233).build());
    let hops = vec![qemu_port(Completers::Neither), upstream, downstream, endpoint()];
    assert_eq!(shown(hops, &q35(), Some(Functions::Single)), [ReasonKind::BehindEmulatedSwitch]);
}

#[test]
fn a_port_whose_capability_is_not_version_2_is_shown() {
    let mut port = qemu_port(Completers::Neither);
    if let PcieReading::Present(capability) = &mut port.pcie {
        capability.version = Some(1);
    }
    assert_eq!(shown(vec![port, endpoint()], &q35(), Some(Functions::Single)), [ReasonKind::PortCapabilityVersion]);
}

#[test]
fn a_machine_type_rules_an_old_qemu_out_but_never_shows_one() {
    let typed = |major, minor| {
        let version = Some(QemuVersion { major, minor });
        let machine = guest(Hypervisor::Kvm, Some(MachineType { chipset: Chipset::Q35, version }));
        let all = reasons(behind_port(endpoint()), &machine, Some(Functions::Single));
        all.into_iter().find(|reason| reason.kind == ReasonKind::OldQemu).map(|reason| reason.standing)
    };
    assert_eq!((typed(8, 1), typed(8, 0)), (Some(Standing::RuledOut), Some(Standing::Open)));
}

#[test]
fn vmware_and_hyper_v_are_named_and_others_stay_open() {
    for hypervisor in [Hypervisor::Vmware, Hypervisor::HyperV] {
        assert_eq!(shown(behind_port(endpoint()), &guest(hypervisor, None), None), [ReasonKind::OtherHypervisor]);
    }
    assert_eq!(shown(behind_port(endpoint()), &guest(Hypervisor::Xen, None), None), []);
}

#[test]
fn what_is_not_readable_in_the_guest_stays_open() {
    let function = dump::read(FIJI).unwrap().remove(0);
    let unprivileged = Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..64].to_vec()));
    let alone = Hierarchy { hops: vec![unprivileged], completeness: Completeness::Partial };
    let all = why(&alone, &guest(Hypervisor::Kvm, None), None);
    assert_eq!(with(Standing::Shown, &all), []);
    assert_eq!(with(Standing::RuledOut, &all), [ReasonKind::NotAtFunctionZero]);
}
