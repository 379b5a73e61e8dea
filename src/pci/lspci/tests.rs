use super::*;
use crate::pci::path::{EnableBit, PathCapability, judge};
use crate::pci::{CapabilityError, Completeness, PcieReading, PortType, registers as reg};
use proptest::prelude::*;

const X570: &str = include_str!("../../../tests/data/lspci/09-x570-chipset-slot-polaris-vv.txt");
const WRAPPED: &str = include_str!("../../../tests/data/machines/009-raven-wx3100-wrapped.txt");
const HASWELL_NAVI: &str = include_str!("../../../tests/data/machines/001-x99-qd4-navi23.txt");
const IMAC: &str = include_str!("../../../tests/data/machines/008-imac-cml-navi14-pp.txt");
const LEXA: &str = include_str!("../../../tests/data/lspci/13-elitebook-pch-lexa-old-lspci-vvvn.txt");
const FIJI: &str = include_str!("../../../tests/data/lspci/02-fiji-after.txt");
const NEWEST: &str = include_str!("../../../tests/data/lspci/19-matisse-x570-switch-mixed-routing-vvnn.txt");
const CORPUS: [&str; 7] = [X570, WRAPPED, HASWELL_NAVI, IMAC, LEXA, FIJI, NEWEST];

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn only(text: &str) -> ListedFunction {
    let mut functions = read(text).unwrap().functions;
    assert_eq!(functions.len(), 1);
    functions.remove(0)
}

fn route(listing: &Listing, device: &str) -> Vec<String> {
    listing.hierarchy(&bdf(device)).unwrap().hops.iter().map(|hop| hop.bdf.short()).collect()
}

#[test]
fn words_that_mail_wrapped_mean_the_same() {
    let listing = read(WRAPPED).unwrap();
    let port = listing.function(&bdf("00:01.1")).unwrap();
    assert_eq!(
        port.description,
        "PCI bridge: Advanced Micro Devices, Inc. [AMD] Raven/Raven2 PCIe GPP Bridge [6:0] (prog-if 00 [Normal decode])"
    );
    assert_eq!(port.class, Some(0x0604));
    assert_eq!(port.buses, Some(BusRange { primary: 0, secondary: 1, subordinate: 1 }));
    assert_eq!(port.driver.as_deref(), Some("pcieport"));
}

#[test]
fn quotation_marks_carriage_returns_and_lost_indentation_change_nothing() {
    let plain = read(X570).unwrap();
    let is_tree = |line: &str| line.trim_start().starts_with(['+', '|', '\\']);
    let hops = |listing: &Listing| listing.hierarchy(&bdf("06:00.0")).unwrap();
    for mangled in [
        X570.lines().map(|line| format!("> {line}\r\n")).collect::<String>(),
        X570.lines().map(|line| format!(">> {line}\n")).collect(),
        X570.lines().map(|line| format!("{}\n", if is_tree(line) { line } else { line.trim() })).collect(),
        format!("\u{feff}Here is my lspci:\n\n{X570}\nThanks!\n"),
    ] {
        let listing = read(&mangled).unwrap();
        assert_eq!(listing.functions, plain.functions);
        assert_eq!(hops(&listing), hops(&plain));
    }
}

#[test]
fn a_function_joined_into_one_line_is_read() {
    let stanza: Vec<&str> =
        X570.lines().skip_while(|line| !line.starts_with("02:00.0")).take_while(|line| !line.is_empty()).collect();
    let joined = stanza.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let port = only(&joined);
    assert_eq!(port.hop.port_type(), Some(PortType::SwitchUpstream));
    assert_eq!(port.hop.device_capabilities_2.all(reg::ATOMIC_ROUTING), Some(false));
    assert_eq!(port.buses, Some(BusRange { primary: 2, secondary: 3, subordinate: 10 }));
    assert_eq!(port.description, "PCI bridge: Advanced Micro Devices, Inc. [AMD] Device 57ad (prog-if 00 [Normal decode])");
}

#[test]
fn rows_joined_into_one_line_are_read() {
    let joined = FIJI.lines().collect::<Vec<_>>().join(" ");
    let fiji = only(&joined);
    assert_eq!(fiji.hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), Some(true));
    assert!(matches!(read(&joined).unwrap().notes[..], [Note::RepairedRows { line: 1, .. }]));
}

#[test]
fn refused_access_is_unknown_and_noted() {
    let text = "0b:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Fiji (rev c8)\n\
                \tFlags: bus master, fast devsel, latency 0, IRQ 52\n\tCapabilities: <access denied>\n\tKernel driver in use: amdgpu\n";
    let listing = read(text).unwrap();
    let fiji = &listing.functions[0];
    assert_eq!((fiji.access, fiji.driver.as_deref()), (Access::Denied, Some("amdgpu")));
    assert_eq!(fiji.hop.pcie, PcieReading::Unknown(CapabilityError::NotInText));
    assert!(fiji.hop.unknown_because.as_deref().unwrap().contains("access denied"));
    assert_eq!(listing.notes, [Note::AccessDenied { bdf: bdf("0b:00.0") }]);
    let verdict = judge(&listing.hierarchy(&bdf("0b:00.0")).unwrap());
    let expected = (PathCapability::Unknown, EnableBit::Unknown, EnableBit::Enabled);
    assert_eq!((verdict.path, verdict.requester, verdict.bus_master), expected);
}

#[test]
fn without_detail_the_capability_has_no_version_and_its_bits_are_unknown() {
    let text = "0b:00.0 VGA compatible controller: ATI Technologies Inc Device 7300\n\tFlags: fast devsel\n\
                \tCapabilities: [50] Power Management version 3\n\t\tFlags: PMEClk- DSI-\n\
                \tCapabilities: [58] Express Legacy Endpoint, MSI 00\n";
    let fiji = only(text);
    let PcieReading::Present(capability) = fiji.hop.pcie else { panic!("{:?}", fiji.hop.pcie) };
    assert_eq!((capability.offset.0, capability.version, capability.port_type), (0x58, None, PortType::LegacyEndpoint));
    assert_eq!(fiji.hop.command.all(reg::COMMAND_BUS_MASTER.into()), Some(false));
    assert_eq!(fiji.hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), None);
    assert_eq!(read(text).unwrap().accelerators(), [bdf("0b:00.0")]);
}

#[test]
fn the_wording_of_pciutils_2_is_read() {
    let port = only(
        "00:02.0 PCI bridge: Intel Corporation 5000 Series Chipset PCI Express x4 Port 2 (rev 12) (prog-if 00 [Normal decode])\n\
         \tControl: I/O+ Mem+ BusMaster+ SpecCycle-\n\tStatus: Cap+ 66Mhz-\n\
         \tBus: primary=00, secondary=05, subordinate=07, sec-latency=0\n\
         \tCapabilities: [6c] Express Root Port (Slot-) IRQ 0\n\
         \t\tDevice: Supported: MaxPayload 256 bytes, PhantFunc 0, ExtTag-\n\
         \t\tLink: Supported Speed 2.5Gb/s, Width x4, ASPM L0s, Port 2\n\
         \t\tLink: Latency L0s unlimited, L1 unlimited\n\t\tLink: ASPM Disabled RCB 64 bytes CommClk- ExtSynch-\n\
         \t\tLink: Speed 2.5Gb/s, Width x4\n",
    );
    assert_eq!(port.hop.port_type(), Some(PortType::RootPort));
    let x4 = LinkState { tenths_of_gt_per_s: Some(25), lanes: Some(4) };
    assert_eq!(port.link, Some(Link { capable: Some(x4), now: Some(x4) }));
    assert_eq!(port.hop.device_capabilities_2.all(reg::COMPLETER_32), None);
}

#[test]
fn a_function_without_a_capability_list_has_no_pci_express_capability() {
    let none = only("00:01.0 VGA compatible controller: Red Hat, Inc. QXL\n\tControl: I/O+ BusMaster-\n\tStatus: Cap- 66MHz-\n");
    assert_eq!(none.hop.pcie, PcieReading::Absent);
}

#[test]
fn a_capability_list_that_is_cut_short_proves_no_absence() {
    let head = "06:00.0 VGA compatible controller: AMD Card\n\tStatus: Cap+ 66MHz-\n\tCapabilities: [48] Vendor Specific\n";
    let pcie = |text: &str| read(text).unwrap().functions[0].hop.pcie;
    assert_eq!(pcie(head), PcieReading::Unknown(CapabilityError::NotInText));
    assert_eq!(pcie(&format!("{head}\t...\n\tKernel driver in use: amdgpu\n")), PcieReading::Unknown(CapabilityError::NotInText));
    assert_eq!(pcie(&format!("{head}\tKernel driver in use: amdgpu\n")), PcieReading::Absent);
    let tag_lost = "06:00.0 VGA compatible controller: AMD Card\n\tFlags: bus master, fast devsel\n\tCapabilities: \n";
    let tag_lost = format!("{tag_lost}\tKernel driver in use: amdgpu\n");
    assert_eq!(pcie(&tag_lost), PcieReading::Unknown(CapabilityError::NotInText));
}

#[test]
fn what_grep_left_of_other_functions_is_not_given_to_this_one() {
    let filtered = "06:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Ellesmere\n\
                    \t\t\t AtomicOpsCap: 32bit+ 64bit+ 128bitCAS-\n\t\t\t AtomicOpsCtl: ReqEn+\n";
    assert_eq!(only(filtered).hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), None);
    let filtered = "06:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Ellesmere\n\
                    \tCapabilities: [58] Express (v2) Legacy Endpoint, MSI 00\n\t\t\t AtomicOpsCtl: ReqEn-\n\
                    \tCapabilities: [58] Express (v2) Endpoint, MSI 00\n\t\t\t AtomicOpsCtl: ReqEn+\n";
    assert_eq!(only(filtered).hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), Some(false));
}

#[test]
fn where_rows_and_lines_contradict_each_other_the_rows_win_and_it_is_noted() {
    let text = HASWELL_NAVI.replace("AtomicOpsCtl: ReqEn+", "AtomicOpsCtl: ReqEn-");
    let listing = read(&text).unwrap();
    let gpu = listing.function(&bdf("05:00.0")).unwrap();
    assert_eq!(gpu.hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), Some(true));
    let note = Note::RowsContradictText { bdf: bdf("05:00.0"), field: RegisterField::RequesterEnable };
    assert!(listing.notes.contains(&note), "{:?}", listing.notes);
}

#[test]
fn of_two_showings_of_a_function_the_later_one_is_used_and_it_is_noted() {
    let after = X570.replace("ReqEn-", "ReqEn+");
    let listing = read(&format!("{X570}\n# setpci ...\n{after}")).unwrap();
    let gpu = listing.function(&bdf("06:00.0")).unwrap();
    assert_eq!(gpu.hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), Some(true));
    assert!(listing.notes.contains(&Note::ShownTwice { bdf: bdf("06:00.0"), field: RegisterField::RequesterEnable }));
}

#[test]
fn a_row_that_cannot_be_read_costs_the_rows_and_not_the_lines() {
    let broken = WRAPPED.replace("80: 40 00 00 00 0e", "80: 40 0 00 00 0e");
    let listing = read(&broken).unwrap();
    let gpu = listing.function(&bdf("01:00.0")).unwrap();
    let line = 1 + broken.lines().position(|line| line.starts_with("80: 40 0 ")).unwrap();
    assert!(gpu.config.is_none());
    assert_eq!(gpu.hop.device_control_2.all(reg::REQUESTER_ENABLE.into()), Some(true));
    let Some(Note::UnreadableRows { error, .. }) = listing.notes.first() else { panic!("{:?}", listing.notes) };
    assert!(matches!(error, crate::pci::dump::DumpError::Row { line: at, .. } if *at == line), "{error}");
}

#[test]
fn paths_without_bus_numbers_are_followed_through_the_bridges() {
    let paths = IMAC
        .replace("00:01.0/01:00.0/02:00.0/03:00.", "00:01.0/00.0/00.0/00.")
        .replace("00:01.0/01:00.0/02:00.0", "00:01.0/00.0/00.0");
    let listing = read(&paths.replace("00:01.0/01:00.0 ", "00:01.0/00.0 ")).unwrap();
    assert_eq!(route(&listing, "03:00.0"), ["00:01.0", "01:00.0", "02:00.0", "03:00.0"]);
    let unnumbered = read("00:01.0/00.0 VGA compatible controller: x\n00:00.0 Host bridge: y\n").unwrap();
    assert_eq!(unnumbered.notes, [Note::AddressNotKnown { line: 1 }]);
    assert_eq!(unnumbered.functions.len(), 1);
}

#[test]
fn without_the_bridges_in_between_the_path_is_partial() {
    let card = &X570[X570.find("\n06:00.0").unwrap()..];
    let hierarchy = read(card).unwrap().hierarchy(&bdf("06:00.0")).unwrap();
    assert_eq!((hierarchy.hops.len(), hierarchy.completeness), (1, Completeness::Partial));
}

#[test]
fn virtual_functions_are_known_by_the_capability_of_their_physical_function() {
    let text = "03:00.0 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Navi 12\n\
                \tCapabilities: [330 v1] Single Root I/O Virtualization (SR-IOV)\n\
                \t\tInitial VFs: 12, Total VFs: 12, Number of VFs: 2, Function Dependency Link: 00\n\
                \t\tVF offset: 16, stride: 1, Device ID: 7362\n\n\
                03:02.0 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 7362\n\
                03:02.1 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 7362\n\
                03:02.2 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 7362\n";
    let listing = read(text).unwrap();
    let physical = |at: &str| listing.function(&bdf(at)).unwrap().hop.physical_function;
    assert_eq!([physical("03:00.0"), physical("03:02.2")], [None, None]);
    assert_eq!([physical("03:02.0"), physical("03:02.1")], [Some(bdf("03:00.0")); 2]);
}

#[test]
fn a_text_without_functions_is_refused() {
    for text in ["", "\n\n", "hello", "0000:0b:00.0 @80 40\n", "10: 00 00\n"] {
        assert_eq!(read(text), Err(ListingError::NoFunction), "{text:?}");
    }
}

#[test]
fn megabytes_of_garbage_end_in_an_answer_of_bounded_size() {
    let devices: String = (0..70_000_u32).map(|n| format!("{n:05x}:00:00.0 x\n")).collect();
    assert!(matches!(read(&devices), Err(ListingError::TooManyFunctions { .. })));
    let bad_rows = "00:00.0 x\n00: 1\n".repeat(50_000);
    assert!(read(&bad_rows).unwrap().notes.len() <= Listing::NOTES_AT_MOST);
    let row = format!("0b:00.0 x 00: {}", "00 ".repeat(16));
    for text in [
        row.repeat(50_000),
        "00:".repeat(1_000_000),
        format!("0b:00.0 {}", "Capabilities: [58] Express (v2) ".repeat(100_000)),
        format!("0b:00.0 x\n{}", "\t\tAtomicOpsCtl: ReqEn+\n".repeat(100_000)),
        format!("-[0000:00]-{}", "+-".repeat(1_000_000)),
        "-[0000:00]-+-00.0\n           \\-00.1\n".repeat(50_000),
        format!("0b:00.0 {}", "[".repeat(2_000_000)),
    ] {
        if let Ok(listing) = read(&text) {
            assert!(listing.functions.len() <= Listing::FUNCTIONS_AT_MOST);
            for function in listing.functions.iter().take(10) {
                let _ = judge(&listing.hierarchy(&function.bdf).unwrap());
            }
        }
    }
}

fn every_verdict(text: &str) {
    if let Ok(listing) = read(text) {
        for function in &listing.functions {
            let hierarchy = listing.hierarchy(&function.bdf).unwrap();
            assert!(hierarchy.hops.len() <= 256);
            let _ = judge(&hierarchy).to_string();
        }
        for note in &listing.notes {
            assert!(!note.to_string().is_empty());
        }
    }
}

/// A text with some of its bytes replaced, its lines cut, repeated or exchanged.
fn mangled(text: &'static str) -> impl Strategy<Value = String> {
    let lines = text.lines().count();
    let byte = prop::sample::select(b"\n\t +-:[]0a>/.x".to_vec());
    (prop::collection::vec((any::<prop::sample::Index>(), byte), 0..40), prop::collection::vec((0..lines, 0..lines), 0..10))
        .prop_map(move |(bytes, exchanges)| {
            let mut lines: Vec<&str> = text.lines().collect();
            for (one, other) in exchanges {
                if one % 3 == 0 { lines[one] = lines[other] } else { lines.swap(one, other) }
            }
            let mut text = lines.join("\n").into_bytes();
            for (at, byte) in bytes {
                let at = at.index(text.len());
                text[at] = byte;
            }
            String::from_utf8_lossy(&text).into_owned()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        every_verdict(&text);
    }

    #[test]
    fn any_lines_below_a_device_line_are_read(lines in prop::collection::vec("[\\PC\t]{0,60}", 0..20)) {
        every_verdict(&format!("0b:00.0 VGA compatible controller: x\n{}", lines.join("\n")));
    }

    #[test]
    fn any_tree_is_read(lines in prop::collection::vec("[ |+\\\\-]{0,12}[0-9a-f\\[\\]:.+-]{0,24}", 0..20)) {
        every_verdict(&format!("-[0000:00]-+-00.0\n{}", lines.join("\n")));
    }

    #[test]
    fn mangled_texts_are_read_or_refused(text in prop::sample::select(CORPUS.to_vec()).prop_flat_map(mangled)) {
        every_verdict(&text);
    }

    #[test]
    fn cut_texts_are_read_or_refused(text in prop::sample::select(CORPUS.to_vec()), at: prop::sample::Index) {
        let at = at.index(text.len());
        if text.is_char_boundary(at) {
            every_verdict(&text[..at]);
            every_verdict(&text[at..]);
        }
    }
}
