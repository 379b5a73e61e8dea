use super::*;
use crate::pci::dump;
use crate::pci::tree::{BridgeImage, BusNumbers, Completers, EgressBlocking, Routing};
use crate::pci::{Bdf, ConfigSpace};
use proptest::prelude::*;

const FIJI: &str = include_str!("../../../tests/data/lspci/02-fiji-after.txt");
const BUSES: BusNumbers = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };
/// Where Fiji's capability has its version and type.
const FIJI_TYPE_AT: usize = 0x5a;

fn version(text: &str) -> KernelVersion {
    text.parse().unwrap()
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn fiji_of_type(port_type: PortType) -> Hop {
    let function = dump::read(FIJI).unwrap().remove(0);
    let mut bytes = function.config.bytes().to_vec();
    bytes[FIJI_TYPE_AT] = bytes[FIJI_TYPE_AT] & 0x0f | port_type.bits() << 4;
    Hop::read(function.bdf, &ConfigSpace::from_bytes(bytes))
}

fn fiji() -> Hop {
    fiji_of_type(PortType::LegacyEndpoint)
}

fn bridge(address: &str, image: BridgeImage) -> Hop {
    Hop::read(bdf(address), &image.build())
}

fn root_port() -> Hop {
    bridge("00:03.0", BridgeImage::root_port(BUSES))
}

fn enables(kernel: &str, hops: Vec<Hop>) -> Option<bool> {
    verdict(kernel, hops).would_enable
}

fn verdict(kernel: &str, hops: Vec<Hop>) -> KernelVerdict {
    let hierarchy = Hierarchy { hops, completeness: Completeness::Whole };
    agrees(&hierarchy, &path::judge(&hierarchy), &version(kernel))
}

#[test]
fn versions_are_read_as_uname_prints_them() {
    let parts = |text: &str| {
        let KernelVersion { major, minor, patch, stage, flavour } = version(text);
        (major, minor, patch, stage, flavour)
    };
    assert_eq!(parts("6.12.107"), (6, 12, 107, Stage::Release, String::new()));
    assert_eq!(parts("7.1.0-rc3"), (7, 1, 0, Stage::Candidate(3), String::new()));
    assert_eq!(parts("7.1-rc3+"), (7, 1, 0, Stage::Candidate(3), "+".to_owned()));
    assert_eq!(parts("6.4.7-1-cachyos"), (6, 4, 7, Stage::Release, "-1-cachyos".to_owned()));
    assert_eq!(parts("5.15.0-91-generic\n"), (5, 15, 0, Stage::Release, "-91-generic".to_owned()));
    assert_eq!(parts("6.12.107+deb13-amd64"), (6, 12, 107, Stage::Release, "+deb13-amd64".to_owned()));
    assert_eq!(parts("5.14.0-503.el9.x86_64").4, "-503.el9.x86_64");
}

#[test]
fn versions_are_ordered_by_number_and_candidates_come_before_their_release() {
    let ascending =
        ["4.16.0", "5.9.16", "5.10.0", "6.12.8", "6.12.107", "7.1.0-rc3", "7.1.0-rc10", "7.1.0", "7.1.0-1-arch", "7.1.1"];
    for pair in ascending.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn what_is_no_version_is_refused_by_name() {
    for text in ["", "6", "linux", "6.", "6.x", "6.1.", "70000.1", "6.1.0 and more", "-rc1", "6.1.2x y"] {
        assert_eq!(text.parse::<KernelVersion>(), Err(KernelVersionError { text: text.to_owned() }), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = text.parse::<KernelVersion>();
    }

    #[test]
    fn what_is_printed_reads_back(numbers in any::<(u16, u16, u16)>(), rc in proptest::option::of(any::<u16>()), flavour in "([-+][a-qs-z0-9_.]{0,12})?") {
        let (major, minor, patch) = numbers;
        let stage = rc.map_or(Stage::Release, Stage::Candidate);
        let kernel = KernelVersion { major, minor, patch, stage, flavour };
        prop_assert_eq!(kernel.to_string().parse::<KernelVersion>(), Ok(kernel));
    }
}

#[test]
fn the_function_came_with_4_16() {
    assert_eq!(version("4.15.18").rule(), RuleBehaviour::Absent);
    assert_eq!(version("4.16.0").rule(), RuleBehaviour::AcceptsWithoutRootPort);
    assert_eq!(enables("4.15.18", vec![root_port(), fiji()]), Some(false));
    assert_eq!(enables("4.16.0", vec![root_port(), fiji()]), Some(true));
}

#[test]
fn releases_before_7_1_look_for_no_root_port() {
    for kernel in ["5.4.0", "5.4.302", "6.4.7", "6.12.0", "6.18.0", "7.0.0"] {
        assert_eq!(version(kernel).rule(), RuleBehaviour::AcceptsWithoutRootPort, "{kernel}");
    }
}

#[test]
fn from_7_1_a_root_port_is_required() {
    for kernel in ["7.1.0", "7.1.13", "7.2.0", "8.0.0-rc1", "7.1.3-arch1-1"] {
        assert_eq!(version(kernel).rule(), RuleBehaviour::RequiresRootPort, "{kernel}");
    }
    assert!(matches!(version("7.1.0-rc3").rule(), RuleBehaviour::Unsure { .. }));
}

/// The releases in whose announcements the change stands; 6.1.176 and 6.12.107 were read.
#[test]
fn stable_releases_that_took_the_change_require_a_root_port_and_those_before_them_do_not() {
    for (before, first) in [
        ("5.10.257", "5.10.258"),
        ("5.15.208", "5.15.209"),
        ("6.1.174", "6.1.175"),
        ("6.6.140", "6.6.141"),
        ("6.12.90", "6.12.91"),
        ("6.18.32", "6.18.33"),
        ("7.0.9", "7.0.10"),
    ] {
        assert_eq!(version(before).rule(), RuleBehaviour::AcceptsWithoutRootPort, "{before}");
        assert_eq!(version(first).rule(), RuleBehaviour::RequiresRootPort, "{first}");
    }
    for kernel in ["6.1.176", "6.12.107", "6.12.107+deb13-amd64", "6.18.40-1-lts"] {
        assert_eq!(version(kernel).rule(), RuleBehaviour::RequiresRootPort, "{kernel}");
    }
}

#[test]
fn a_series_that_ended_at_about_the_time_of_the_change_is_unsure() {
    let RuleBehaviour::Unsure { why } = version("6.19.12").rule() else { panic!("6.19.12 must be unsure") };
    assert!(why.contains("not determined"), "{why}");
    assert_eq!(version("6.19.0").rule(), RuleBehaviour::AcceptsWithoutRootPort);
}

#[test]
fn vendors_builds_of_older_versions_are_unsure() {
    for kernel in ["5.15.0-91-generic", "5.14.0-503.el9.x86_64", "6.4.7-1-cachyos", "6.1.0-35-amd64", "3.10.0-1160.el7"] {
        let RuleBehaviour::Unsure { why } = version(kernel).rule() else { panic!("{kernel} must be unsure") };
        assert!(why.contains("vendor") && why.contains(kernel), "{why}");
    }
}

#[test]
fn virtual_functions_are_refused_since_5_16() {
    assert_eq!(version("5.15.0").virtual_functions(), VirtualFunctionRule::Accepted);
    assert_eq!(version("5.16.0").virtual_functions(), VirtualFunctionRule::Refused);
    assert_eq!(version("6.8.0-40-generic").virtual_functions(), VirtualFunctionRule::Refused);
    assert_eq!(version("5.15.0-91-generic").virtual_functions(), VirtualFunctionRule::Unsure);
    let path = || vec![root_port(), Hop { physical_function: Some(bdf("0b:00.1")), ..fiji() }];
    assert_eq!(enables("5.15.0", path()), Some(true));
    assert_eq!(enables("5.16.0", path()), Some(false));
    assert_eq!(enables("5.15.0-91-generic", path()), None);
    assert!(verdict("5.16.0", path()).because.contains("virtual function"));
}

#[test]
fn vfio_reports_completers_since_6_5() {
    assert_eq!(version("6.4.16").vfio_reports_atomic_completers(), Some(false));
    assert_eq!(version("6.5.0-rc1").vfio_reports_atomic_completers(), Some(true));
    assert_eq!(version("6.8.12-4-pve").vfio_reports_atomic_completers(), Some(true));
    assert_eq!(version("5.14.0-503.el9").vfio_reports_atomic_completers(), None);
}

#[test]
fn a_capable_path_is_enabled_by_every_form_of_the_rule() {
    for kernel in ["4.16.0", "6.19.12", "5.15.0-91-generic", "7.1.13"] {
        assert_eq!(enables(kernel, vec![root_port(), fiji()]), Some(true), "{kernel}");
    }
    assert_eq!(enables("3.10.0-1160.el7", vec![root_port(), fiji()]), None);
}

#[test]
fn a_path_that_does_not_carry_atomics_is_refused_by_every_form_of_the_rule() {
    let incapable = [
        vec![bridge("00:03.0", BridgeImage::root_port(BUSES).completers(Completers::Only64)), fiji()],
        vec![root_port(), bridge("0b:00.0", BridgeImage::switch_upstream(BUSES).egress(EgressBlocking::Blocked)), fiji()],
        vec![root_port(), bridge("0c:00.0", BridgeImage::switch_downstream(BUSES).routing(Routing::Unsupported)), fiji()],
    ];
    for hops in incapable {
        for kernel in ["4.16.0", "6.19.12", "5.15.0-91-generic", "7.1.13"] {
            assert_eq!(enables(kernel, hops.clone()), Some(false), "{kernel}");
        }
    }
}

#[test]
fn an_endpoint_on_a_root_bus_is_accepted_blindly_before_the_change_and_refused_after() {
    let before = verdict("6.12.0", vec![fiji()]);
    assert_eq!(before.would_enable, Some(true));
    assert!(before.because.contains("blindly") && before.because.contains("proves nothing"), "{before}");
    let after = verdict("7.1.13", vec![fiji()]);
    assert_eq!(after.would_enable, Some(false));
    assert!(after.because.contains("no root port"), "{after}");
    let between = verdict("6.19.12", vec![fiji()]);
    assert_eq!(between.would_enable, None);
    assert!(between.because.contains("With that rule it refuses the device, without it accepts the device blindly"), "{between}");
}

#[test]
fn an_integrated_endpoint_is_accepted_before_the_change_and_refused_after() {
    let integrated = || vec![fiji_of_type(PortType::IntegratedEndpoint)];
    assert_eq!((enables("7.0.0", integrated()), enables("7.1.0", integrated())), (Some(true), Some(false)));
    assert_eq!(enables("6.12.107", integrated()), Some(false));
}

#[test]
fn a_device_that_is_no_endpoint_or_has_no_capability_is_refused_by_every_form() {
    for hop in [root_port(), Hop::read(bdf("00:02.0"), &ConfigSpace::from_bytes(vec![0; 256]))] {
        for kernel in ["4.16.0", "6.19.12", "7.1.0"] {
            assert_eq!(enables(kernel, vec![hop.clone()]), Some(false), "{kernel}");
        }
    }
}

#[test]
fn the_older_walk_goes_on_above_the_nearest_root_port() {
    let hops = || {
        let outer = bridge("00:03.0", BridgeImage::root_port(BUSES).completers(Completers::Neither));
        let inner = bridge("05:00.0", BridgeImage::root_port(BUSES));
        vec![outer, inner, fiji()]
    };
    assert_eq!((enables("6.4.7", hops()), enables("7.1.0", hops())), (Some(false), Some(true)));
}

#[test]
fn what_is_unreadable_stays_open_but_the_kernel_needs_no_control_register_of_the_device() {
    let function = dump::read(FIJI).unwrap().remove(0);
    let known = |length| Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..length].to_vec()));
    assert_eq!(enables("7.1.0", vec![root_port(), known(0x40)]), None);
    assert_eq!(enables("7.1.0", vec![root_port(), known(0x80)]), Some(true));
    let partial = Hierarchy { hops: vec![fiji()], completeness: Completeness::Partial };
    assert_eq!(agrees(&partial, &path::judge(&partial), &version("6.4.7")).would_enable, None);
}

#[test]
fn across_versions_a_capable_path_is_enabled_and_one_without_root_port_accepted_blindly_before_7_1() {
    let across = |hops: Vec<Hop>| {
        let hierarchy = Hierarchy { hops, completeness: Completeness::Whole };
        across_versions(&hierarchy, &path::judge(&hierarchy))
    };
    let forms = |across: &AcrossVersions| (across.accepting_without_root_port, across.requiring_root_port);
    let capable = across(vec![root_port(), fiji()]);
    assert_eq!(forms(&capable), (Some(true), Some(true)));
    assert!(capable.sentence.contains("since Linux 4.16"));
    let on_root_bus = across(vec![fiji()]);
    assert_eq!(forms(&on_root_bus), (Some(true), Some(false)));
    assert!(on_root_bus.sentence.contains("blindly") && on_root_bus.sentence.contains("6.12.91"));
    let port = BridgeImage::root_port(BUSES).completers(Completers::Neither);
    assert_eq!(forms(&across(vec![bridge("00:03.0", port), fiji()])), (Some(false), Some(false)));
}

#[test]
fn the_running_kernel_is_the_one_that_proc_names() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(KernelVersion::running(root.path()), None);
    let directory = root.path().join("proc/sys/kernel");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("osrelease"), "6.6.87.2-microsoft-standard-WSL2\n").unwrap();
    assert_eq!(KernelVersion::running(root.path()), Some(version("6.6.87.2-microsoft-standard-WSL2")));
}
