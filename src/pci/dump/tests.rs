use super::*;
use crate::pci::{PortType, registers as reg};
use proptest::prelude::*;

const FIJI_BEFORE: &str = include_str!("../../../tests/data/lspci/01-fiji-before.txt");
const FIJI_AFTER: &str = include_str!("../../../tests/data/lspci/02-fiji-after.txt");
const FIJI_4K: &str = include_str!("../../../tests/data/lspci/03-fiji-xxxx.txt");
const BROADWELL: &str = include_str!("../../../tests/data/lspci/04-broadwell-rootport-vvv-xxx.txt");
const PLX_UPSTREAM: &str = include_str!("../../../tests/data/lspci/06-plx8796-upstream-xxxx.txt");
const PLX_DOWNSTREAM: &str = include_str!("../../../tests/data/lspci/07-plx9716-downstream-xxx.txt");
const NAVI: &str = include_str!("../../../tests/data/lspci/08-navi10-xxxx.txt");

fn only(text: &str) -> DumpedFunction {
    let mut functions = read(text).unwrap();
    assert_eq!(functions.len(), 1);
    functions.remove(0)
}

fn second_registers(function: &DumpedFunction) -> (ConfigOffset, PortType, Option<u32>, Option<u16>) {
    let capability = function.config.pcie_capability().unwrap().unwrap();
    let (devcap2, devctl2) = (capability.offset + reg::DEVCAP2, capability.offset + reg::DEVCTL2);
    (capability.offset, capability.port_type, function.config.u32(devcap2), function.config.u16(devctl2))
}

#[test]
fn the_row_that_lost_a_space_is_repaired_and_the_repair_recorded() {
    let fiji = only(FIJI_BEFORE);
    assert_eq!(fiji.bdf.short(), "0b:00.0");
    assert_eq!(fiji.description, "Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 7300 (rev c1)");
    assert_eq!(fiji.config.known(), 256);
    assert_eq!(fiji.repairs, [Repair { line: 10, offset: ConfigOffset(0x80), kind: RepairKind::LostSpaces }]);
    assert_eq!(second_registers(&fiji), (ConfigOffset(0x58), PortType::LegacyEndpoint, Some(0x0070_0000), Some(0)));
}

#[test]
fn before_and_after_setpci_differ_in_requester_enable_alone() {
    let (before, after) = (only(FIJI_BEFORE).config, only(FIJI_AFTER).config);
    let differing: Vec<usize> = (0..256).filter(|&at| before.bytes()[at] != after.bytes()[at]).collect();
    assert_eq!(differing, [0x80]);
    assert_eq!(after.u16(ConfigOffset(0x80)), Some(reg::REQUESTER_ENABLE));
}

#[test]
fn extended_dumps_decode_to_their_published_registers() {
    let fiji = only(FIJI_4K);
    assert_eq!(fiji.config.known(), 4096);
    assert_eq!(second_registers(&fiji), (ConfigOffset(0x58), PortType::LegacyEndpoint, Some(0x0070_0000), Some(0x0040)));
    let upstream = only(PLX_UPSTREAM);
    assert_eq!(second_registers(&upstream), (ConfigOffset(0x68), PortType::SwitchUpstream, Some(0x0004_0840), Some(0)));
}

#[test]
fn capability_text_between_device_line_and_rows_is_passed_over() {
    let root_port = only(BROADWELL);
    assert_eq!(root_port.description, "Class 0600: Device 8086:6f00 (rev 01)");
    assert_eq!(second_registers(&root_port), (ConfigOffset(0x90), PortType::RootPort, Some(0x139e), Some(0)));
    let downstream = only(PLX_DOWNSTREAM);
    assert_eq!(second_registers(&downstream), (ConfigOffset(0x68), PortType::SwitchDownstream, Some(0x0004_0860), Some(0x20)));
}

#[test]
fn a_dump_that_stops_early_is_known_to_where_it_stops() {
    let navi = only(NAVI);
    assert_eq!(navi.config.known(), 0x170);
    assert_eq!(second_registers(&navi), (ConfigOffset(0x64), PortType::LegacyEndpoint, Some(0x0073_099f), Some(0x0440)));
    let aer = navi.config.advanced_error_reporting().unwrap().unwrap();
    assert_eq!((aer, navi.config.u32(aer + reg::AER_UNCORRECTABLE_STATUS)), (ConfigOffset(0x150), Some(0)));
}

#[test]
fn published_dumps_are_read_the_same_when_pasted_into_one_line() {
    for text in [FIJI_BEFORE, FIJI_AFTER, FIJI_4K, NAVI, PLX_UPSTREAM] {
        let (device_line, rest) = text.split_once('\n').unwrap();
        let rows: Vec<&str> = rest.lines().filter(|line| looks_like_rows(line, false)).collect();
        let expected = only(text);
        for joined in [format!("{device_line}\n{}", rows.join(" ")), format!("{device_line} {}", rows.join(" "))] {
            let function = only(&joined);
            assert_eq!((&function.config, &function.description), (&expected.config, &expected.description));
            assert!(function.repairs.iter().any(|repair| repair.kind == RepairKind::JoinedLines));
        }
    }
}

#[test]
fn several_functions_in_a_text_are_read_in_order_and_lines_without_rows_passed_over() {
    let text = format!("00:00.0 Host bridge: Intel\n{FIJI_BEFORE}\n{NAVI}\n2a:00.0 Audio device: AMD\n");
    let addresses: Vec<String> = read(&text).unwrap().iter().map(|function| function.bdf.short()).collect();
    assert_eq!(addresses, ["0b:00.0", "28:00.0"]);
}

#[test]
fn several_functions_joined_into_one_line_are_read() {
    let text = format!("{FIJI_AFTER}{FIJI_4K}").replace('\n', " ");
    let functions = read(&text).unwrap();
    assert_eq!(functions.iter().map(|function| function.bdf.short()).collect::<Vec<_>>(), ["0b:00.0", "09:00.0"]);
    assert_eq!(functions[1].config, only(FIJI_4K).config);
}

#[test]
fn a_device_line_wrapped_by_mail_is_put_together() {
    let text = FIJI_AFTER.replace("Device 7300", "Device\n7300");
    assert_eq!(only(&text).description, only(FIJI_AFTER).description);
}

#[test]
fn a_path_before_the_address_is_passed_over() {
    assert_eq!(only(&FIJI_AFTER.replacen("0b:00.0", "00:03.0/0b:00.0", 1)).bdf.short(), "0b:00.0");
}

fn fault_of(text: &str) -> (usize, String, RowFault) {
    match read(text) {
        Err(DumpError::Row { line, label, fault }) => (line, label, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_row_with_a_byte_missing_is_refused_with_line_and_offset() {
    let text = FIJI_AFTER.replace("80: 40 00 00", "80: 40 00");
    assert_eq!(fault_of(&text), (10, "80".to_owned(), RowFault::Digits { found: 30 }));
    let message = read(&text).unwrap_err().to_string();
    assert_eq!(message, "line 10, row 80: it has 30 hex digits, sixteen bytes need 32; copy the row again from lspci's output");
}

#[test]
fn half_bytes_that_happen_to_add_up_are_refused() {
    let text = FIJI_AFTER.replace("80: 40 00 00", "80: 4 000 00");
    assert_eq!(fault_of(&text), (10, "80".to_owned(), RowFault::OddGroup { group: "4".to_owned() }));
}

#[test]
fn a_missing_row_is_a_gap_and_a_repeated_one_runs_backwards() {
    let row = FIJI_AFTER.lines().nth(9).unwrap();
    let missing = FIJI_AFTER.replace(&format!("{row}\n"), "");
    assert_eq!(fault_of(&missing), (10, "90".to_owned(), RowFault::Gap { expected: ConfigOffset(0x80) }));
    let repeated = FIJI_AFTER.replace(row, &format!("{row}\n{row}"));
    assert_eq!(fault_of(&repeated), (11, "80".to_owned(), RowFault::Backwards { expected: ConfigOffset(0x90) }));
}

#[test]
fn letters_that_are_no_digits_are_refused() {
    let text = FIJI_AFTER.replace("80: 40 00", "80: 4O 00");
    assert_eq!(fault_of(&text), (10, "80".to_owned(), RowFault::NotHex { text: "4O".to_owned() }));
}

#[test]
fn a_joined_row_whose_successor_lost_its_offset_is_refused() {
    let text = FIJI_AFTER.replace("\n90: ", " 9").replace("\na0:", " a0:");
    assert!(matches!(fault_of(&text), (10, _, RowFault::Digits { .. })));
}

#[test]
fn more_rows_than_config_space_has_are_refused() {
    let text = format!("{}\n1000: {}\n", FIJI_4K.trim_end(), ["00"; 16].join(" "));
    assert_eq!(fault_of(&text), (258, "1000".to_owned(), RowFault::PastConfigSpace));
}

#[test]
fn what_is_no_dump_is_named() {
    assert_eq!(read("hello\nworld"), Err(DumpError::NoFunction));
    assert_eq!(read("0b:00.0 Display controller: AMD"), Err(DumpError::NoRows { functions: 1 }));
    let rows_alone = FIJI_AFTER.split_once('\n').unwrap().1;
    assert_eq!(read(rows_alone), Err(DumpError::RowsWithoutFunction { line: 1 }));
    let three_rows: String = FIJI_AFTER.split_inclusive('\n').take(4).collect();
    assert!(matches!(read(&three_rows), Err(DumpError::TooShort { line: 1, known: 48, .. })));
}

/// How a dump got mangled on its way.
#[derive(Clone, Copy, Debug)]
enum Mangling {
    None,
    JoinedRows,
    JoinedWithDeviceLine,
    LostSpaces,
    LostAllSpacesAndLines,
    CarriageReturns,
    Quoted,
    Indented,
    UpperCase,
}

const MANGLINGS: [Mangling; 9] = [
    Mangling::None,
    Mangling::JoinedRows,
    Mangling::JoinedWithDeviceLine,
    Mangling::LostSpaces,
    Mangling::LostAllSpacesAndLines,
    Mangling::CarriageReturns,
    Mangling::Quoted,
    Mangling::Indented,
    Mangling::UpperCase,
];

const DEVICE_LINE: &str = "0000:0b:00.0 VGA compatible controller [0300]: AMD [1002:7300] (rev c1)";

fn row_lines(bytes: &[u8]) -> Vec<String> {
    let row = |(index, chunk): (usize, &[u8])| {
        let data: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:02x}: {}", index * 16, data.join(" "))
    };
    bytes.chunks(16).enumerate().map(row).collect()
}

fn mangled(bytes: &[u8], mangling: Mangling) -> String {
    let rows = row_lines(bytes);
    let plain = format!("{DEVICE_LINE}\n{}\n", rows.join("\n"));
    let every_line = |prefix: &str| plain.lines().map(|line| format!("{prefix}{line}\n")).collect::<String>();
    match mangling {
        Mangling::None => plain,
        Mangling::JoinedRows => format!("{DEVICE_LINE}\n{}", rows.join(" ")),
        Mangling::JoinedWithDeviceLine => format!("{DEVICE_LINE} {}", rows.join(" ")),
        Mangling::LostSpaces => format!("{DEVICE_LINE}\n{}", rows.join("\n").replace(' ', "")),
        Mangling::LostAllSpacesAndLines => format!("{DEVICE_LINE}\n{}", rows.concat().replace(' ', "")),
        Mangling::CarriageReturns => plain.replace('\n', "\r\n"),
        Mangling::Quoted => every_line("> > "),
        Mangling::Indented => every_line("\t  "),
        Mangling::UpperCase => plain.to_uppercase(),
    }
}

fn config_bytes() -> impl Strategy<Value = Vec<u8>> {
    (4_usize..=256).prop_flat_map(|rows| proptest::collection::vec(any::<u8>(), rows * 16))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn config_space_survives_every_mangling(bytes in config_bytes(), mangling in proptest::sample::select(&MANGLINGS)) {
        let function = only(&mangled(&bytes, mangling));
        prop_assert_eq!(function.bdf.to_string(), "0000:0b:00.0");
        prop_assert_eq!(function.config.bytes(), bytes.as_slice());
    }

    #[test]
    fn a_lost_digit_is_never_read_as_something_else(
        bytes in config_bytes(),
        mangling in proptest::sample::select(&MANGLINGS),
        at in any::<proptest::sample::Index>(),
    ) {
        let text = mangled(&bytes, mangling);
        let digits: Vec<usize> = text.char_indices().skip(DEVICE_LINE.len() + 4).filter(|(_, digit)| digit.is_ascii_hexdigit()).map(|(at, _)| at).collect();
        let mut shortened = text;
        shortened.remove(digits[at.index(digits.len())]);
        if let Ok(functions) = read(&shortened) {
            // Only the loss of an offset's digit can leave every byte in place.
            prop_assert!(functions.len() == 1 && bytes.starts_with(functions[0].config.bytes()));
        }
    }

    #[test]
    fn a_lost_row_is_never_passed_over(bytes in config_bytes(), at in any::<proptest::sample::Index>()) {
        let mut rows = row_lines(&bytes);
        let lost = at.index(rows.len() - 1);
        rows.remove(lost);
        let text = format!("{DEVICE_LINE}\n{}", rows.join("\n"));
        let is_gap = matches!(read(&text), Err(DumpError::Row { fault: RowFault::Gap { .. }, .. }));
        prop_assert!(is_gap);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,400}") {
        let _ = read(&text);
    }

    #[test]
    fn any_text_of_dump_letters_is_read_or_refused(text in "[0-9a-f: .\n>é]{0,600}") {
        let _ = read(&format!("0b:00.0 x\n{text}"));
    }
}
