use super::*;
use crate::pci::tree::{BridgeImage, BusNumbers, Completers, EgressBlocking, Routing};
use crate::pci::{ConfigSpace, dump};
use proptest::prelude::*;

const FIJI_BEFORE: &str = include_str!("../../../tests/data/lspci/01-fiji-before.txt");
const FIJI_AFTER: &str = include_str!("../../../tests/data/lspci/02-fiji-after.txt");
const BROADWELL: &str = include_str!("../../../tests/data/lspci/04-broadwell-rootport-vvv-xxx.txt");
const PLX_UPSTREAM: &str = include_str!("../../../tests/data/lspci/06-plx8796-upstream-xxxx.txt");
const PLX_DOWNSTREAM: &str = include_str!("../../../tests/data/lspci/07-plx9716-downstream-xxx.txt");

const BUSES: BusNumbers = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };

const NAVI23_PATH: &str = include_str!("../../../tests/data/lspci/09-x99-navi23-path.txt");

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn dumped(text: &str) -> Hop {
    let function = dump::read(text).unwrap().remove(0);
    Hop::read(function.bdf, &function.config)
}

fn built(address: &str, image: BridgeImage) -> Hop {
    Hop::read(bdf(address), &image.build())
}

fn root_port() -> Hop {
    built("00:03.0", BridgeImage::root_port(BUSES))
}

fn whole(hops: impl Into<Vec<Hop>>) -> Hierarchy {
    Hierarchy { hops: hops.into(), completeness: Completeness::Whole }
}

/// The Fiji of the published dumps with bytes changed.
fn fiji_with(changes: &[(usize, u8)]) -> Hop {
    let function = dump::read(FIJI_AFTER).unwrap().remove(0);
    let mut bytes = function.config.bytes().to_vec();
    for (at, value) in changes {
        bytes[*at] = *value;
    }
    Hop::read(function.bdf, &ConfigSpace::from_bytes(bytes))
}

fn causes(verdict: &PathVerdict) -> Vec<(String, Cause)> {
    verdict.findings.iter().map(|finding| (finding.bdf.short(), finding.cause)).collect()
}

fn one(address: &str, cause: Cause) -> Vec<(String, Cause)> {
    vec![(address.to_owned(), cause)]
}

#[test]
fn fiji_without_own_completers_is_delivered_behind_a_completing_root_without_routing() {
    for root in [dumped(BROADWELL), root_port()] {
        let verdict = judge(&whole([root, dumped(FIJI_AFTER)]));
        assert_eq!((verdict.path, verdict.delivery), (PathCapability::Capable, Delivery::Delivered));
        assert_eq!((verdict.requester, verdict.bus_master), (EnableBit::Enabled, EnableBit::Enabled));
        assert_eq!(causes(&verdict), []);
        assert_eq!(verdict.to_string(), "AtomicOps of 0000:0b:00.0 reach host memory.");
    }
}

#[test]
fn the_founding_case_is_a_capable_path_with_the_requester_disabled_and_names_the_command() {
    let verdict = judge(&whole([dumped(BROADWELL), dumped(FIJI_BEFORE)]));
    assert_eq!((verdict.path, verdict.requester), (PathCapability::Capable, EnableBit::Disabled));
    assert_eq!(verdict.delivery, Delivery::Lost);
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::RequesterDisabled));
    assert_eq!(verdict.findings[0].fix.command.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=40:40"));
}

#[test]
fn switches_that_route_carry_atomics() {
    let verdict = judge(&whole([dumped(BROADWELL), dumped(PLX_UPSTREAM), dumped(PLX_DOWNSTREAM), dumped(FIJI_AFTER)]));
    assert_eq!((verdict.path, verdict.findings.len()), (PathCapability::Capable, 0));
}

#[test]
fn a_root_port_needs_both_widths() {
    for completers in [Completers::Neither, Completers::Only32, Completers::Only64] {
        let root = built("00:03.0", BridgeImage::root_port(BUSES).completers(completers).routing(Routing::Supported));
        let verdict = judge(&whole([root, dumped(FIJI_AFTER)]));
        assert_eq!((verdict.path, verdict.delivery), (PathCapability::Incapable, Delivery::Lost));
        assert_eq!(causes(&verdict), one("00:03.0", Cause::RootPortDoesNotComplete));
        assert_eq!(verdict.first_bad_hop(), Some(bdf("00:03.0")));
    }
}

#[test]
fn a_root_port_of_qemu_gets_advice_about_the_virtual_machine() {
    let root = built("00:02.0", BridgeImage::root_port(BUSES).identity(0x1b36, 0x000c).completers(Completers::Neither));
    let verdict = judge(&whole([root, dumped(FIJI_BEFORE)]));
    assert_eq!(verdict.first_finding().unwrap().cause, Cause::EmulatedRootPortDoesNotComplete);
    assert!(verdict.first_finding().unwrap().fix.advice.contains("multifunction=on"));
}

#[test]
fn either_port_of_a_switch_without_routing_stops_atomics() {
    let upstream = |routing| built("0b:00.0", BridgeImage::switch_upstream(BUSES).routing(routing));
    let downstream = |routing| built("0c:08.0", BridgeImage::switch_downstream(BUSES).routing(routing));
    let at_upstream = judge(&whole([root_port(), upstream(Routing::Unsupported), downstream(Routing::Supported), fiji_with(&[])]));
    assert_eq!(causes(&at_upstream), one("0b:00.0", Cause::NotRouted));
    let at_downstream =
        judge(&whole([root_port(), upstream(Routing::Supported), downstream(Routing::Unsupported), fiji_with(&[])]));
    assert_eq!(causes(&at_downstream), one("0c:08.0", Cause::NotRouted));
    assert_eq!(at_downstream.path, PathCapability::Incapable);
}

#[test]
fn egress_blocking_counts_at_the_upstream_port_only() {
    let upstream = |egress| built("0b:00.0", BridgeImage::switch_upstream(BUSES).egress(egress));
    let downstream = |egress| built("0c:08.0", BridgeImage::switch_downstream(BUSES).egress(egress));
    let root = || built("00:03.0", BridgeImage::root_port(BUSES).egress(EgressBlocking::Blocked));
    let blocked = judge(&whole([root(), upstream(EgressBlocking::Blocked), downstream(EgressBlocking::Open), fiji_with(&[])]));
    assert_eq!(causes(&blocked), one("0b:00.0", Cause::EgressBlocked));
    assert_eq!(blocked.findings[0].fix.command.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=0:80"));
    let elsewhere = judge(&whole([root(), upstream(EgressBlocking::Open), downstream(EgressBlocking::Blocked), fiji_with(&[])]));
    assert_eq!(elsewhere.path, PathCapability::Capable);
}

#[test]
fn a_device_on_the_root_bus_has_no_root_port_above_it() {
    let verdict = judge(&whole([fiji_with(&[])]));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::NoRootPort));
    assert_eq!(verdict.path, PathCapability::Incapable);
}

#[test]
fn a_dump_of_the_device_alone_leaves_the_path_unknown_but_not_the_requester() {
    let alone = |hop| judge(&Hierarchy { hops: vec![hop], completeness: Completeness::Partial });
    let after = alone(dumped(FIJI_AFTER));
    assert_eq!((after.path, after.requester, after.delivery), (PathCapability::Unknown, EnableBit::Enabled, Delivery::Unknown));
    let before = alone(dumped(FIJI_BEFORE));
    assert_eq!((before.path, before.requester, before.delivery), (PathCapability::Unknown, EnableBit::Disabled, Delivery::Lost));
    assert_eq!(before.first_finding().unwrap().cause, Cause::RequesterDisabled);
}

#[test]
fn an_integrated_endpoint_is_refused() {
    let verdict = judge(&whole([root_port(), fiji_with(&[(0x5a, 0x92)])]));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::NotAnEndpoint));
}

#[test]
fn a_device_without_pcie_capability_is_refused() {
    let verdict = judge(&whole([root_port(), fiji_with(&[(0x51, 0)])]));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::NotPcie));
    assert_eq!(verdict.requester, EnableBit::Disabled);
}

#[test]
fn a_version_1_capability_has_no_requester_enable_even_where_the_bytes_look_like_it() {
    let verdict = judge(&whole([root_port(), fiji_with(&[(0x5a, 0x11)])]));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::NoRequesterRegister));
    assert_eq!(verdict.delivery, Delivery::Lost);
}

#[test]
fn a_virtual_function_is_refused_and_points_to_its_physical_function() {
    let mut hop = fiji_with(&[]);
    hop.physical_function = Some(bdf("0b:00.1"));
    let verdict = judge(&whole([root_port(), hop]));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::VirtualFunction));
    assert_eq!(verdict.requester, EnableBit::Unknown);
    assert!(verdict.to_string().contains("0000:0b:00.1"));
}

#[test]
fn bus_master_clear_loses_everything() {
    let verdict = judge(&whole([root_port(), fiji_with(&[(0x04, 0x03)])]));
    assert_eq!((verdict.path, verdict.bus_master), (PathCapability::Capable, EnableBit::Disabled));
    assert_eq!(verdict.delivery, Delivery::Lost);
    assert_eq!(verdict.findings[0].fix.command.as_deref(), Some("setpci -s 0b:00.0 COMMAND=4:4"));
}

#[test]
fn sixty_four_bytes_everywhere_leave_all_but_bus_master_unknown_and_say_to_run_as_root() {
    let cut = |hop_text: &str| {
        let function = dump::read(hop_text).unwrap().remove(0);
        Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..64].to_vec()))
    };
    let verdict = judge(&whole([cut(BROADWELL), cut(FIJI_AFTER)]));
    assert_eq!((verdict.path, verdict.requester), (PathCapability::Unknown, EnableBit::Unknown));
    assert_eq!((verdict.bus_master, verdict.delivery), (EnableBit::Enabled, Delivery::Unknown));
    assert!(verdict.findings.iter().all(|finding| finding.cause == Cause::Unreadable));
    assert!(verdict.to_string().contains("root"));
}

#[test]
fn a_known_bad_hop_decides_even_when_others_are_unknown() {
    let unknown =
        Hop::read(bdf("0b:00.0"), &ConfigSpace::from_bytes(BridgeImage::switch_upstream(BUSES).build().bytes()[..64].to_vec()));
    let root = built("00:03.0", BridgeImage::root_port(BUSES).completers(Completers::Neither));
    let verdict = judge(&whole([root, unknown, fiji_with(&[])]));
    assert_eq!(verdict.path, PathCapability::Incapable);
    assert_eq!(verdict.first_bad_hop(), Some(bdf("00:03.0")));
}

#[test]
fn the_nearest_root_port_counts_and_what_is_above_it_does_not() {
    let far = built("00:01.0", BridgeImage::root_port(BUSES).completers(Completers::Neither));
    let unrouted = built("01:00.0", BridgeImage::switch_upstream(BUSES).routing(Routing::Unsupported));
    let verdict = judge(&whole([far, unrouted, root_port(), fiji_with(&[])]));
    assert_eq!(verdict.path, PathCapability::Capable);
}

#[test]
fn a_sleeping_device_is_unknown_not_disabled() {
    let asleep = Hop::read(bdf("0b:00.0"), &ConfigSpace::from_bytes(vec![0xff; 256]));
    let verdict = judge(&whole([root_port(), asleep]));
    assert_eq!((verdict.requester, verdict.bus_master), (EnableBit::Unknown, EnableBit::Unknown));
    assert_eq!(causes(&verdict), one("0b:00.0", Cause::Unreadable));
}

#[test]
fn errors_recorded_by_a_hop_are_reported_as_evidence() {
    let function = dump::read(PLX_UPSTREAM).unwrap().remove(0);
    let mut bytes = function.config.bytes().to_vec();
    let aer = usize::from(function.config.advanced_error_reporting().unwrap().unwrap().0);
    bytes[aer + 4..aer + 8].copy_from_slice(&0x0110_0000_u32.to_le_bytes());
    let verdict = judge(&whole([root_port(), Hop::read(function.bdf, &ConfigSpace::from_bytes(bytes)), fiji_with(&[])]));
    let kinds: Vec<ErrorTraceKind> = verdict.traces.iter().map(|trace| trace.kind).collect();
    assert_eq!(kinds, [ErrorTraceKind::AtomicEgressBlocked, ErrorTraceKind::UnsupportedRequest]);
}

#[test]
fn no_hops_is_no_verdict() {
    let verdict = judge(&whole([]));
    assert_eq!((verdict.endpoint, verdict.delivery), (None, Delivery::Unknown));
}

#[test]
fn a_whole_path_from_a_dump_is_judged_as_the_kernel_did() {
    let functions = dump::read(NAVI23_PATH).unwrap();
    let hierarchy = Hierarchy::from_dump(&functions, &bdf("05:00.0")).unwrap();
    let addresses: Vec<String> = hierarchy.hops.iter().map(|hop| hop.bdf.short()).collect();
    assert_eq!(addresses, ["00:02.0", "03:00.0", "04:00.0", "05:00.0"]);
    let verdict = judge(&hierarchy);
    assert_eq!((verdict.path, verdict.requester), (PathCapability::Capable, EnableBit::Enabled));
    assert_eq!(Hierarchy::from_dump(&functions, &bdf("06:00.0")), None);
}

#[test]
fn a_dump_without_one_of_the_bridges_leaves_the_path_unknown() {
    let functions: Vec<_> = dump::read(NAVI23_PATH).unwrap().into_iter().filter(|function| function.bdf.bus != 3).collect();
    let verdict = judge(&Hierarchy::from_dump(&functions, &bdf("05:00.0")).unwrap());
    assert_eq!((verdict.path, causes(&verdict)), (PathCapability::Unknown, one("04:00.0", Cause::HopsMissing)));
}

proptest! {
    #[test]
    fn any_config_space_is_judged_and_delivery_needs_all_three(
        images in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5),
        at_0x58 in any::<[u8; 4]>(),
    ) {
        let hop = |(index, mut bytes): (usize, Vec<u8>)| {
            // Half of them with a capability list that leads somewhere.
            if index % 2 == 0 && bytes.len() >= 0x60 {
                (bytes[0x06], bytes[0x34]) = (0x10, 0x58);
                bytes[0x58..0x5c].copy_from_slice(&at_0x58);
                bytes[0x58] = reg::PCIE_CAP_ID;
            }
            Hop::read(bdf("0b:00.0"), &ConfigSpace::from_bytes(bytes))
        };
        let verdict = judge(&whole(images.into_iter().enumerate().map(hop).collect::<Vec<_>>()));
        let all = verdict.path == PathCapability::Capable
            && verdict.requester == EnableBit::Enabled
            && verdict.bus_master == EnableBit::Enabled;
        prop_assert_eq!(verdict.delivery == Delivery::Delivered, all);
        prop_assert!(verdict.delivery != Delivery::Lost || !verdict.findings.is_empty());
        prop_assert!(!verdict.to_string().is_empty());
    }
}
