//! Texts of other people's machines, with what is known of their paths: tests/data/lspci and tests/data/machines say where
//! each is from. What is expected here comes from those sources (decoded by hand, and the kernel's own verdict where amdgpu was
//! bound), not from this program.
#![allow(clippy::unwrap_used, reason = "tests")]

use aqlprobe::pci::lspci::{self, Access, Link, LinkState, ListingError, Note};
use aqlprobe::pci::path::{Cause, EnableBit, PathCapability, judge};
use aqlprobe::pci::{Bdf, Completeness, Hierarchy, Hop, PortType, Register, dump, registers as reg};
use std::fs;
use std::path::Path;

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn listing(file: &str) -> lspci::Listing {
    lspci::read(&text(file)).unwrap()
}

fn path(file: &str, device: &str) -> Hierarchy {
    listing(file).hierarchy(&bdf(device)).unwrap()
}

fn route(hierarchy: &Hierarchy) -> Vec<String> {
    hierarchy.hops.iter().map(|hop| hop.bdf.short()).collect()
}

fn causes(hierarchy: &Hierarchy) -> Vec<(String, Cause)> {
    judge(hierarchy).findings.iter().map(|finding| (finding.bdf.short(), finding.cause)).collect()
}

/// Routing, 32-bit, 64-bit, egress blocking as `lspci` prints them; `?` for what is not shown.
fn bits(hop: &Hop) -> String {
    let sign = |register: Register, mask: u32| match register.all(mask) {
        Some(true) => '+',
        Some(false) => '-',
        None => '?',
    };
    let (capabilities, control) = (hop.device_capabilities_2, hop.device_control_2);
    [
        sign(capabilities, reg::ATOMIC_ROUTING),
        sign(capabilities, reg::COMPLETER_32),
        sign(capabilities, reg::COMPLETER_64),
        sign(control, reg::EGRESS_BLOCK.into()),
    ]
    .into_iter()
    .collect()
}

/// Why the kernel's bit in a machine's text says less than it seems.
#[derive(Clone, Copy, PartialEq)]
enum Oracle {
    /// amdgpu was bound and asked for the path: the bit is the kernel's verdict.
    KernelAsked,
    /// No driver was bound, or radeon, which does not ask.
    NobodyAsked,
    /// An APU: amdgpu does not ask for the path there, and firmware may set the bit.
    Apu,
}

struct Machine {
    file: &'static str,
    gpu: &'static str,
    driver: Option<&'static str>,
    port: PortType,
    requester: EnableBit,
    /// The bridges: address, port type, bits.
    bridges: &'static [(&'static str, PortType, &'static str)],
    path: PathCapability,
    oracle: Oracle,
}

const ROOT: PortType = PortType::RootPort;
const UP: PortType = PortType::SwitchUpstream;
const DOWN: PortType = PortType::SwitchDownstream;
const LEGACY: PortType = PortType::LegacyEndpoint;

/// From the corpus' index: bits decoded by a script and checked by hand, and what the kernel's rule makes of them.
const MACHINES: [Machine; 11] = [
    Machine {
        file: "001-x99-qd4-navi23.txt",
        gpu: "05:00.0",
        driver: Some("amdgpu"),
        port: LEGACY,
        requester: EnableBit::Enabled,
        bridges: &[("00:02.0", ROOT, "-++-"), ("03:00.0", UP, "+---"), ("04:00.0", DOWN, "+??-")],
        path: PathCapability::Capable,
        oracle: Oracle::KernelAsked,
    },
    Machine {
        file: "006-mi300x-genoa-switches.txt",
        gpu: "33:00.0",
        driver: Some("amdgpu"),
        port: PortType::Endpoint,
        requester: EnableBit::Enabled,
        bridges: &[
            ("20:01.1", ROOT, "+++-"),
            ("21:00.0", UP, "+??-"),
            ("22:04.0", DOWN, "+??-"),
            ("31:00.0", UP, "+??-"),
            ("32:00.0", DOWN, "+??-"),
        ],
        path: PathCapability::Capable,
        oracle: Oracle::KernelAsked,
    },
    Machine {
        file: "008-imac-cml-navi14-pp.txt",
        gpu: "03:00.0",
        driver: None,
        port: LEGACY,
        requester: EnableBit::Disabled,
        bridges: &[("00:01.0", ROOT, "-++-"), ("01:00.0", UP, "+---"), ("02:00.0", DOWN, "+??-")],
        path: PathCapability::Capable,
        oracle: Oracle::NobodyAsked,
    },
    Machine {
        file: "009-raven-wx3100-wrapped.txt",
        gpu: "01:00.0",
        driver: Some("amdgpu"),
        port: LEGACY,
        requester: EnableBit::Enabled,
        bridges: &[("00:01.1", ROOT, "-++-")],
        path: PathCapability::Capable,
        oracle: Oracle::KernelAsked,
    },
    // The root bus carries an upstream port and the root port is below it. Before 7.1 the kernel looked at both and refused;
    // since then it stops at the nearest root port, which completes everything.
    Machine {
        file: "010-loongson-oland.txt",
        gpu: "11:00.0",
        driver: Some("radeon"),
        port: LEGACY,
        requester: EnableBit::Disabled,
        bridges: &[("00:1e.0", UP, "-??-"), ("0f:01.0", ROOT, "+++-")],
        path: PathCapability::Capable,
        oracle: Oracle::NobodyAsked,
    },
    Machine {
        file: "011-haswell-ni-e6460.txt",
        gpu: "01:00.0",
        driver: Some("radeon"),
        port: LEGACY,
        requester: EnableBit::Disabled,
        bridges: &[("00:1c.0", ROOT, "----")],
        path: PathCapability::Incapable,
        oracle: Oracle::NobodyAsked,
    },
    // An APU from before the driver stopped asking for them.
    Machine {
        file: "012-picasso-593-ats.txt",
        gpu: "0b:00.0",
        driver: Some("amdgpu"),
        port: LEGACY,
        requester: EnableBit::Enabled,
        bridges: &[("00:08.1", ROOT, "-++-")],
        path: PathCapability::Capable,
        oracle: Oracle::KernelAsked,
    },
    Machine {
        file: "014-picasso-nodriver.txt",
        gpu: "0b:00.0",
        driver: None,
        port: LEGACY,
        requester: EnableBit::Disabled,
        bridges: &[("00:08.1", ROOT, "-++-")],
        path: PathCapability::Capable,
        oracle: Oracle::NobodyAsked,
    },
    Machine {
        file: "015-rembrandt-680m-6194.txt",
        gpu: "07:00.0",
        driver: Some("amdgpu"),
        port: LEGACY,
        requester: EnableBit::Enabled,
        bridges: &[("00:08.1", ROOT, "+---")],
        path: PathCapability::Incapable,
        oracle: Oracle::Apu,
    },
    Machine {
        file: "016-lucienne-pn51.txt",
        gpu: "05:00.0",
        driver: Some("amdgpu"),
        port: LEGACY,
        requester: EnableBit::Disabled,
        bridges: &[("00:08.1", ROOT, "----")],
        path: PathCapability::Incapable,
        oracle: Oracle::Apu,
    },
    Machine {
        file: "022-carrizo-216865-a.txt",
        gpu: "00:01.0",
        driver: Some("amdgpu"),
        port: PortType::IntegratedEndpoint,
        requester: EnableBit::Disabled,
        bridges: &[],
        path: PathCapability::Incapable,
        oracle: Oracle::Apu,
    },
];

/// The decoded lines alone: rows show bits that the lines of a port type do not.
fn without_rows(text: &str) -> String {
    let is_row =
        |line: &str| line.get(..4).is_some_and(|start| start.ends_with(": ") && u8::from_str_radix(&start[..2], 16).is_ok());
    text.lines().filter(|line| !is_row(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_machine_is_read_and_judged_as_its_source_says() {
    for machine in &MACHINES {
        let file = machine.file;
        let listing = listing(&format!("machines/{file}"));
        assert_eq!(listing.accelerators(), [bdf(machine.gpu)], "{file}");
        let gpu = listing.function(&bdf(machine.gpu)).unwrap();
        assert_eq!((gpu.driver.as_deref(), gpu.hop.port_type()), (machine.driver, Some(machine.port)), "{file}");
        let verdict = judge(&listing.hierarchy(&gpu.bdf).unwrap());
        assert_eq!((verdict.path, verdict.requester), (machine.path, machine.requester), "{file}");
        let decoded = lspci::read(&without_rows(&text(&format!("machines/{file}")))).unwrap();
        let hierarchy = decoded.hierarchy(&gpu.bdf).unwrap();
        let (_, bridges) = hierarchy.hops.split_last().unwrap();
        let read: Vec<_> = bridges.iter().map(|hop| (hop.bdf.short(), hop.port_type().unwrap(), bits(hop))).collect();
        let expected: Vec<_> =
            machine.bridges.iter().map(|(at, port, bits)| ((*at).to_owned(), *port, (*bits).to_owned())).collect();
        assert_eq!(read, expected, "{file}");
        assert_eq!(hierarchy.completeness, Completeness::Whole, "{file}");
    }
}

#[test]
fn where_the_kernel_was_asked_its_bit_is_our_verdict() {
    let asked: Vec<&Machine> = MACHINES.iter().filter(|machine| machine.oracle == Oracle::KernelAsked).collect();
    assert_eq!(asked.len(), 4);
    for machine in asked {
        let verdict = judge(&path(&format!("machines/{}", machine.file), machine.gpu));
        assert_eq!(verdict.path == PathCapability::Capable, verdict.requester == EnableBit::Enabled, "{}", machine.file);
    }
}

#[test]
fn rows_and_decoded_lines_of_a_function_give_the_same_bits() {
    let mut compared = 0;
    let machines = MACHINES.iter().map(|machine| format!("machines/{}", machine.file));
    for file in machines.chain(["machines/024-power9-domains.txt".into(), "lspci/04-broadwell-rootport-vvv-xxx.txt".into()]) {
        let text = text(&file);
        let both = lspci::read(&text).unwrap();
        let contradictions: Vec<&Note> = both.notes.iter().filter(|note| matches!(note, Note::RowsContradictText { .. })).collect();
        assert!(contradictions.is_empty(), "{file}: {contradictions:?}");
        let decoded = lspci::read(&without_rows(&text)).unwrap();
        for function in dump::read(&text).unwrap_or_default() {
            let rows = Hop::read(function.bdf, &function.config);
            let lines = &decoded.function(&function.bdf).unwrap().hop;
            assert_eq!((lines.pcie, lines.role), (rows.pcie, rows.role), "{file} {}", function.bdf);
            let link = |listing: &lspci::Listing| listing.function(&function.bdf).unwrap().link;
            assert_eq!(link(&decoded), link(&both), "{file} {}", function.bdf);
            for (lines, rows) in [
                (lines.command, rows.command),
                (lines.device_status, rows.device_status),
                (lines.device_capabilities_2, rows.device_capabilities_2),
                (lines.device_control_2, rows.device_control_2),
            ] {
                for bit in (0..32).map(|bit| 1 << bit) {
                    if let Some(shown) = lines.all(bit) {
                        assert_eq!(rows.all(bit), Some(shown), "{file} {} {bit:#x}", function.bdf);
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn domains_keep_functions_of_the_same_number_apart() {
    let listing = listing("machines/024-power9-domains.txt");
    let above = |device: &str| route(&listing.hierarchy(&bdf(device)).unwrap());
    assert_eq!(above("0003:01:00.0"), ["0003:00:00.0", "0003:01:00.0"]);
    assert_eq!(above("0005:02:00.0"), ["0005:00:00.0", "0005:01:00.0", "0005:02:00.0"]);
    let bridge = &listing.function(&bdf("0005:01:00.0")).unwrap().hop;
    assert_eq!(bridge.port_type(), Some(PortType::PcieToPci));
    assert_eq!(listing.accelerators(), []);
}

#[test]
fn x570_chipset_slot_both_switch_ports_do_not_route() {
    let hierarchy = path("lspci/09-x570-chipset-slot-polaris-vv.txt", "06:00.0");
    assert_eq!(route(&hierarchy), ["00:01.2", "02:00.0", "03:02.0", "06:00.0"]);
    assert_eq!(judge(&hierarchy).path, PathCapability::Incapable);
    let at = |bdf: &str, cause| (bdf.to_owned(), cause);
    let expected = [at("03:02.0", Cause::NotRouted), at("02:00.0", Cause::NotRouted), at("06:00.0", Cause::RequesterDisabled)];
    assert_eq!(causes(&hierarchy), expected);
    assert_eq!(listing("lspci/09-x570-chipset-slot-polaris-vv.txt").accelerators(), [bdf("06:00.0")]);
}

#[test]
fn x570_cpu_slot_the_tree_names_the_card_and_its_root_port_is_fine() {
    let listing = listing("lspci/10-x570-cpu-slot-root-only-vv.txt");
    assert_eq!(listing.accelerators(), [bdf("08:00.0")]);
    let hierarchy = listing.hierarchy(&bdf("08:00.0")).unwrap();
    assert_eq!(route(&hierarchy), ["00:03.1", "08:00.0"]);
    assert_eq!(bits(&hierarchy.hops[0]), "-++-");
    // The card's own lines are not in the text.
    assert_eq!(causes(&hierarchy), [("08:00.0".to_owned(), Cause::Unreadable)]);
    assert_eq!(judge(&hierarchy).path, PathCapability::Unknown);
}

#[test]
fn ivy_bridge_pch_root_port_completes_nothing_and_version_1_has_no_second_registers() {
    let listing = listing("lspci/11-ivybridge-pch-slot-rx470-vv.txt");
    assert_eq!(listing.accelerators(), [bdf("06:00.0")]);
    let hierarchy = listing.hierarchy(&bdf("06:00.0")).unwrap();
    assert_eq!(route(&hierarchy), ["00:1c.4", "06:00.0"]);
    assert_eq!(judge(&hierarchy).path, PathCapability::Incapable);
    assert_eq!(causes(&hierarchy)[0], ("00:1c.4".to_owned(), Cause::RootPortDoesNotComplete));
    assert_eq!(judge(&hierarchy).requester, EnableBit::Disabled);
    let audio = &listing.function(&bdf("00:1b.0")).unwrap().hop;
    assert_eq!(audio.port_type(), Some(PortType::IntegratedEndpoint));
    assert_eq!((audio.device_capabilities_2, audio.device_control_2), (Register::UNKNOWN, Register::UNKNOWN));
    assert_eq!((audio.vendor_id, audio.device_id), (Some(0x8086), Some(0x1e20)));
}

#[test]
fn lines_that_an_old_lspci_does_not_print_mean_unknown() {
    let listing = listing("lspci/12-h270-two-polaris-old-lspci-vv.txt");
    assert_eq!(listing.accelerators().len(), 2);
    for (device, root) in [("01:00.0", "00:01.0"), ("02:00.0", "00:1c.0")] {
        let hierarchy = listing.hierarchy(&bdf(device)).unwrap();
        assert_eq!(route(&hierarchy), [root, device]);
        let verdict = judge(&hierarchy);
        assert_eq!(
            (verdict.path, verdict.requester, verdict.bus_master),
            (PathCapability::Unknown, EnableBit::Unknown, EnableBit::Enabled)
        );
    }
    assert!(matches!(listing.notes[..], [Note::AtomicOpsNotPrinted { .. }]), "{:?}", listing.notes);
}

#[test]
fn a_numeric_listing_with_a_tree_gives_the_card_below_its_root_port() {
    let listing = listing("lspci/13-elitebook-pch-lexa-old-lspci-vvvn.txt");
    assert!(listing.accelerators().contains(&bdf("01:00.0")));
    let hierarchy = listing.hierarchy(&bdf("01:00.0")).unwrap();
    assert_eq!(route(&hierarchy), ["00:1c.0", "01:00.0"]);
    assert_eq!(judge(&hierarchy).path, PathCapability::Unknown);
    let capable = LinkState { tenths_of_gt_per_s: Some(80), lanes: Some(8) };
    let now = LinkState { tenths_of_gt_per_s: Some(80), lanes: Some(2) };
    let link = listing.function(&bdf("01:00.0")).unwrap().link;
    assert_eq!(link, Some(Link { capable: Some(capable), now: Some(now) }));
}

#[test]
fn the_cards_own_completers_say_nothing_of_the_path() {
    let hierarchy = path("lspci/14-ivybridge-e3-peg-polaris-vv.txt", "01:00.0");
    assert_eq!(hierarchy.completeness, Completeness::Partial);
    let card = hierarchy.endpoint().unwrap();
    assert_eq!(card.device_capabilities_2.all(reg::COMPLETER_32 | reg::COMPLETER_64), Some(true));
    let verdict = judge(&hierarchy);
    assert_eq!((verdict.path, verdict.requester), (PathCapability::Unknown, EnableBit::Disabled));
}

#[test]
fn a_card_alone_shows_its_requester_and_leaves_the_path_unknown() {
    let listing = listing("lspci/16-mi50-x2-xeonw-gpu-only-vvv.txt");
    assert_eq!(listing.accelerators(), [bdf("19:00.0"), bdf("67:00.0")]);
    let verdict = judge(&listing.hierarchy(&bdf("19:00.0")).unwrap());
    assert_eq!((verdict.path, verdict.requester), (PathCapability::Unknown, EnableBit::Enabled));
}

#[test]
fn a_summary_in_the_authors_own_words_is_not_taken_for_registers() {
    for file in ["lspci/15-plx8747-cpu-vs-pch-summary.txt", "lspci/17-x399-navi31-path-and-qemu-guest-ab.txt"] {
        let listing = listing(file);
        assert!(listing.accelerators().is_empty(), "{file}");
        assert!(listing.functions.iter().all(|function| bits(&function.hop) == "????"), "{file}");
    }
}

#[test]
fn an_emulated_root_port_is_recognised_by_name_and_its_missing_lines_are_unknown() {
    let listing = listing("lspci/18-qemu-pcie-root-port-guest-old-lspci-vvv.txt");
    let port = listing.function(&bdf("00:03.0")).unwrap();
    assert_eq!((port.hop.vendor_id, port.hop.device_id), (Some(0x1b36), Some(0x000c)));
    let capability = (port.hop.port_type(), bits(&port.hop));
    assert_eq!(capability, (Some(PortType::RootPort), "????".to_owned()));
    assert_eq!(judge(&listing.hierarchy(&bdf("01:00.0")).unwrap()).path, PathCapability::Unknown);
}

#[test]
fn a_card_below_the_mixed_x570_switch_is_refused_at_its_downstream_port() {
    let card = text("lspci/14-ivybridge-e3-peg-polaris-vv.txt").replace("01:00.0 VGA", "04:00.0 VGA");
    let listing = lspci::read(&format!("{}\n{card}", text("lspci/19-matisse-x570-switch-mixed-routing-vvnn.txt"))).unwrap();
    let hierarchy = listing.hierarchy(&bdf("04:00.0")).unwrap();
    assert_eq!(route(&hierarchy), ["02:00.0", "03:05.0", "04:00.0"]);
    assert_eq!((bits(&hierarchy.hops[0]), bits(&hierarchy.hops[1])), ("+??-".to_owned(), "-??-".to_owned()));
    assert_eq!(judge(&hierarchy).path, PathCapability::Incapable);
    assert!(causes(&hierarchy).contains(&("03:05.0".to_owned(), Cause::NotRouted)));
}

#[test]
fn lines_without_a_device_line_are_refused_with_what_to_do() {
    let error = lspci::read(&text("lspci/20-coffee-lake-peg-rootport-vvv.txt")).unwrap_err();
    assert_eq!(error, ListingError::NoFunction);
    assert!(error.to_string().contains("lspci -vvv"));
}

#[test]
fn hex_only_ports_are_read_as_their_sources_decode_them() {
    for (file, device, port, expected) in [
        ("lspci/04-broadwell-rootport-vvv-xxx.txt", "00:00.0", ROOT, "-++-"),
        ("lspci/05-haswell-rootport-xxxx.txt", "00:02.0", ROOT, "-++-"),
        ("lspci/06-plx8796-upstream-xxxx.txt", "07:00.0", UP, "+---"),
        ("lspci/07-plx9716-downstream-xxx.txt", "05:01.0", DOWN, "+---"),
    ] {
        let listing = listing(file);
        let hop = &listing.function(&bdf(device)).unwrap().hop;
        assert_eq!((hop.port_type(), bits(hop)), (Some(port), expected.to_owned()), "{file}");
    }
}

#[test]
fn founding_dumps_give_the_requester_and_the_repair_is_noted() {
    let before = listing("lspci/01-fiji-before.txt");
    assert_eq!(before.accelerators(), [bdf("0b:00.0")]);
    assert!(matches!(before.notes[..], [Note::RepairedRows { line: 10, .. }]), "{:?}", before.notes);
    assert_eq!(before.functions[0].access, Access::NotRefused);
    assert_eq!(judge(&before.hierarchy(&bdf("0b:00.0")).unwrap()).requester, EnableBit::Disabled);
    assert_eq!(judge(&path("lspci/02-fiji-after.txt", "0b:00.0")).requester, EnableBit::Enabled);
    assert_eq!(judge(&path("lspci/03-fiji-xxxx.txt", "09:00.0")).requester, EnableBit::Enabled);
    assert_eq!(judge(&path("lspci/08-navi10-xxxx.txt", "28:00.0")).requester, EnableBit::Enabled);
}
