use super::*;
use crate::pci::tree::{BridgeImage, BusNumbers, Completers};
use crate::pci::{Bdf, Completeness, ConfigSpace, Hierarchy, PortType, Register, dump};

const FIJI: &str = include_str!("../../../../tests/data/lspci/02-fiji-after.txt");
const BUSES: BusNumbers = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };
/// Where Fiji's capability has its version and type.
const FIJI_TYPE_AT: usize = 0x5a;
const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

/// A card like those since Vega: completer bits of its own.
fn gpu(port_type: PortType) -> Hop {
    let function = dump::read(FIJI).unwrap().remove(0);
    let mut bytes = function.config.bytes().to_vec();
    bytes[FIJI_TYPE_AT] = bytes[FIJI_TYPE_AT] & 0x0f | port_type.bits() << 4;
    let hop = Hop::read(function.bdf, &ConfigSpace::from_bytes(bytes));
    Hop { device_capabilities_2: Register::whole(reg::COMPLETER_32 | reg::COMPLETER_64), ..hop }
}

fn endpoint() -> Hop {
    gpu(PortType::Endpoint)
}

fn behind(root: BridgeImage, gpu: &Hop) -> PathVerdict {
    let root = Hop::read(Bdf { domain: 0, bus: 0, device: 3, function: 0 }, &root.build());
    path::judge(&Hierarchy { hops: vec![root, gpu.clone()], completeness: Completeness::Whole })
}

fn on_capable_host(gpu: &Hop, request: &PlanRequest) -> GuestPlan {
    plan(gpu, &behind(BridgeImage::root_port(BUSES), gpu), request)
}

fn request(placement: Placement) -> PlanRequest {
    let host_kernel = Some("7.1.13".parse().unwrap());
    PlanRequest { qemu: Some("10.2.2".parse().unwrap()), placement, functions: Functions::Single, host_kernel }
}

/// Capability in the guest, then what the kernels answer: with the rule of 7.1, with the one before.
fn row(plan: &GuestPlan) -> (CapabilityInGuest, Option<bool>, Option<bool>) {
    (plan.guest_sees, plan.kernel_accepts.requiring_root_port, plan.kernel_accepts.accepting_without_root_port)
}

fn failing(plan: &GuestPlan) -> Vec<ConditionKind> {
    plan.reasons.iter().filter(|condition| condition.holds == NO).map(|condition| condition.kind).collect()
}

fn open(plan: &GuestPlan) -> Vec<ConditionKind> {
    plan.reasons.iter().filter(|condition| condition.holds.is_none()).map(|condition| condition.kind).collect()
}

#[test]
fn a_single_function_behind_a_root_port_is_accepted() {
    for port_type in [PortType::Endpoint, PortType::LegacyEndpoint] {
        let plan = on_capable_host(&gpu(port_type), &request(Placement::RootPort));
        assert_eq!(row(&plan), (CapabilityInGuest::AsOnHost, YES, YES));
        assert_eq!((plan.root_port_completes, plan.advice.as_slice()), (YES, [].as_slice()));
    }
}

#[test]
fn all_functions_of_the_card_behind_one_root_port_are_rejected() {
    let request = PlanRequest { functions: Functions::Multifunction, ..request(Placement::RootPort) };
    let plan = on_capable_host(&endpoint(), &request);
    assert_eq!(row(&plan), (CapabilityInGuest::AsOnHost, NO, NO));
    assert_eq!(failing(&plan), [ConditionKind::SingleFunction]);
    assert_eq!(plan.reasons[0].kind, ConditionKind::SingleFunction);
    assert!(plan.advice[0].contains("function 0 alone"));
}

#[test]
fn an_endpoint_on_pcie_0_becomes_an_integrated_endpoint_and_only_older_kernels_accept_it() {
    let plan = on_capable_host(&endpoint(), &request(Placement::Pcie0));
    assert_eq!(row(&plan), (CapabilityInGuest::AsIntegratedEndpoint, NO, YES));
    assert_eq!(failing(&plan), [ConditionKind::BehindRootPort]);
    assert!(plan.to_string().contains("one from before enables them blindly, which proves nothing"), "{plan}");
}

#[test]
fn a_legacy_endpoint_on_pcie_0_loses_its_capability_and_every_kernel_rejects_it() {
    let plan = on_capable_host(&gpu(PortType::LegacyEndpoint), &request(Placement::Pcie0));
    assert_eq!(row(&plan), (CapabilityInGuest::Missing, NO, NO));
}

#[test]
fn behind_a_conventional_bridge_the_capability_is_dropped_and_every_kernel_rejects_it() {
    let plan = on_capable_host(&endpoint(), &request(Placement::ConventionalBridge));
    assert_eq!(row(&plan), (CapabilityInGuest::Missing, NO, NO));
    assert!(plan.advice[0].contains("pcie=1"));
}

#[test]
fn on_i440fx_the_capability_stays_and_only_older_kernels_accept_it() {
    for port_type in [PortType::Endpoint, PortType::LegacyEndpoint] {
        let plan = on_capable_host(&gpu(port_type), &request(Placement::I440fx));
        assert_eq!(row(&plan), (CapabilityInGuest::AsOnHost, NO, YES));
    }
}

#[test]
fn below_an_emulated_switch_every_kernel_rejects_it() {
    let plan = on_capable_host(&endpoint(), &request(Placement::Switch));
    assert_eq!(row(&plan), (CapabilityInGuest::AsOnHost, NO, NO));
    assert_eq!(plan.root_port_completes, NO);
}

#[test]
fn an_integrated_endpoint_of_the_host_becomes_an_endpoint_and_may_pass_where_the_hosts_kernel_accepts_it() {
    let integrated = gpu(PortType::IntegratedEndpoint);
    let verdict = path::judge(&Hierarchy { hops: vec![integrated.clone()], completeness: Completeness::Whole });
    let on = |kernel: Option<&str>| {
        let host_kernel = kernel.map(|kernel| kernel.parse().unwrap());
        row(&plan(&integrated, &verdict, &PlanRequest { host_kernel, ..request(Placement::RootPort) }))
    };
    assert_eq!(on(Some("7.0.0")), (CapabilityInGuest::AsEndpoint, YES, YES));
    assert_eq!(on(Some("7.1.0")), (CapabilityInGuest::AsEndpoint, NO, NO));
    assert_eq!(on(None), (CapabilityInGuest::AsEndpoint, None, None));
}

#[test]
fn qemu_before_8_1_gives_no_completers_and_an_unknown_one_leaves_it_open() {
    let with = |qemu: Option<&str>| {
        let qemu = qemu.map(|version| version.parse().unwrap());
        on_capable_host(&endpoint(), &PlanRequest { qemu, ..request(Placement::RootPort) })
    };
    assert_eq!((with(Some("8.0.5")).root_port_completes, with(Some("8.1")).root_port_completes), (NO, YES));
    assert_eq!(failing(&with(Some("7.2"))), [ConditionKind::QemuVersion]);
    let unknown = with(None);
    assert_eq!(row(&unknown), (CapabilityInGuest::AsOnHost, None, None));
    assert_eq!(open(&unknown), [ConditionKind::QemuVersion]);
    assert_eq!(unknown.advice, ["Name the version of QEMU."]);
}

#[test]
fn a_host_kernel_before_6_5_reports_no_completers_and_a_vendors_build_leaves_it_open() {
    let with = |kernel: Option<&str>| {
        let host_kernel = kernel.map(|kernel| kernel.parse().unwrap());
        on_capable_host(&endpoint(), &PlanRequest { host_kernel, ..request(Placement::RootPort) })
    };
    assert_eq!((with(Some("6.4.16")).root_port_completes, with(Some("6.5.0")).root_port_completes), (NO, YES));
    assert_eq!(failing(&with(Some("6.1.176"))), [ConditionKind::HostKernelReports]);
    assert_eq!(open(&with(Some("5.14.0-503.el9"))), [ConditionKind::HostKernelReports]);
    assert_eq!(open(&with(None)), [ConditionKind::HostKernelReports]);
    assert_eq!(with(Some("6.8.12-4-pve")).root_port_completes, YES);
}

#[test]
fn fiji_has_no_completer_bits_of_its_own_so_no_guest_port_completes_although_the_host_path_is_capable() {
    let function = dump::read(FIJI).unwrap().remove(0);
    let fiji = Hop::read(function.bdf, &function.config);
    let plan = on_capable_host(&fiji, &request(Placement::RootPort));
    assert_eq!((row(&plan), failing(&plan)), ((CapabilityInGuest::AsOnHost, NO, NO), vec![ConditionKind::OwnCompleters]));
    assert!(plan.advice[0].contains("enable the requester there"), "{:?}", plan.advice);
}

#[test]
fn one_width_of_the_gpu_is_not_enough() {
    let half = Hop { device_capabilities_2: Register::whole(reg::COMPLETER_32), ..endpoint() };
    assert_eq!(failing(&on_capable_host(&half, &request(Placement::RootPort))), [ConditionKind::OwnCompleters]);
}

#[test]
fn a_host_path_without_completers_gives_the_guest_none() {
    let gpu = endpoint();
    let verdict = behind(BridgeImage::root_port(BUSES).completers(Completers::Neither), &gpu);
    let plan = plan(&gpu, &verdict, &request(Placement::RootPort));
    assert_eq!((plan.root_port_completes, failing(&plan)), (NO, vec![ConditionKind::HostPath]));
    assert!(plan.reasons[0].sentence.contains("0000:00:03.0"), "{}", plan.reasons[0].sentence);
}

#[test]
fn a_requester_that_is_disabled_on_the_host_is_no_obstacle() {
    let gpu = Hop { device_control_2: Register::whole(0), command: Register::whole(0), ..endpoint() };
    assert_eq!(on_capable_host(&gpu, &request(Placement::RootPort)).root_port_completes, YES);
}

#[test]
fn what_the_host_could_not_read_stays_open() {
    let function = dump::read(FIJI).unwrap().remove(0);
    let unprivileged = Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..64].to_vec()));
    let behind_port = on_capable_host(&unprivileged, &request(Placement::RootPort));
    assert_eq!(row(&behind_port), (CapabilityInGuest::Unknown, None, None));
    assert_eq!(open(&behind_port), [ConditionKind::OwnCompleters, ConditionKind::HostPath]);
    let on_root_bus = on_capable_host(&unprivileged, &request(Placement::Pcie0));
    assert_eq!(row(&on_root_bus), (CapabilityInGuest::Unknown, NO, None));
}

#[test]
fn for_a_virtual_function_the_physical_one_must_be_audited() {
    let physical_function = Some(Bdf { domain: 0, bus: 0x0b, device: 0, function: 1 });
    let plan = on_capable_host(&Hop { physical_function, ..endpoint() }, &request(Placement::RootPort));
    assert_eq!(open(&plan), [ConditionKind::OwnCompleters, ConditionKind::HostPath]);
    assert!(plan.advice.iter().all(|advice| advice.contains("physical function")), "{:?}", plan.advice);
}

/// Published A/B of a Radeon RX 7900 XT on X399 with QEMU 11.0.2: the host's path carries AtomicOps, the guest with all
/// functions of the card gets none, the guest with function 0 alone does.
#[test]
fn the_measured_guest_on_x399_is_forecast_with_all_functions_and_with_one() {
    let at = |bus, device, function, image: BridgeImage| Hop::read(Bdf { domain: 0, bus, device, function }, &image.build());
    let gpu = gpu(PortType::LegacyEndpoint);
    let hops = vec![
        at(0, 3, 1, BridgeImage::root_port(BUSES)),
        at(9, 0, 0, BridgeImage::switch_upstream(BUSES)),
        at(0x0a, 0, 0, BridgeImage::switch_downstream(BUSES)),
        gpu.clone(),
    ];
    let verdict = path::judge(&Hierarchy { hops, completeness: Completeness::Whole });
    let forecast = |functions| {
        let qemu = Some("11.0.2".parse().unwrap());
        let request = PlanRequest { qemu, functions, ..request(Placement::RootPort) };
        plan(&gpu, &verdict, &request).kernel_accepts.requiring_root_port
    };
    assert_eq!((forecast(Functions::Multifunction), forecast(Functions::Single)), (NO, YES));
}
