//! The committed types are those that bindgen makes of the headers installed here.
#![cfg(test)]

/// Declarations by line, without the layout that depends on the rustfmt at hand.
fn normalised(bindings: &str) -> Vec<String> {
    let code: String = bindings.lines().filter(|line| !line.trim_start().starts_with("/")).collect::<Vec<_>>().join(" ");
    let squeezed: String = code.chars().filter(|character| !character.is_whitespace()).collect();
    squeezed.replace(",)", ")").replace(",>", ">").replace(",}", "}").split_inclusive([';', '}']).map(str::to_owned).collect()
}

/// `pub const NAME: type = value;` by name.
fn constants(bindings: &str) -> std::collections::BTreeMap<String, String> {
    normalised(bindings)
        .iter()
        .filter_map(|item| item.strip_prefix("pubconst")?.split_once(':'))
        .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        .collect()
}

/// Headers newer than those committed: `AQLPROBE_HSA_INCLUDE=… tests/bindgen/run in_newer`.
#[test]
fn in_newer_headers_every_constant_still_has_its_value() {
    let generated = constants(include_str!(concat!(env!("OUT_DIR"), "/bindings.rs")));
    for (name, meaning) in constants(include_str!("../../src/hsa/sys/bindings.rs")) {
        assert_eq!(generated.get(&name), Some(&meaning), "{name}");
    }
    let newer: Vec<_> =
        include_str!("../../src/hsa/sys/newer.rs").lines().filter_map(|line| line.strip_prefix("pub const ")).collect();
    assert_eq!(newer.len(), 5);
    for line in newer {
        let (name, rest) = line.split_once(": ").unwrap();
        let value = rest.split_once("= 0x").and_then(|(_, digits)| u32::from_str_radix(digits.trim_end_matches(';'), 16).ok());
        let installed = generated.get(name).and_then(|rest| rest.split_once('=')?.1.trim_end_matches(';').parse::<u32>().ok());
        assert!(installed.is_none() || installed == value, "{name}: {installed:?}, not {value:?}");
    }
}

#[test]
fn committed_bindings_agree_with_the_installed_headers() {
    let committed = normalised(include_str!("../../src/hsa/sys/bindings.rs"));
    let generated = normalised(include_str!(concat!(env!("OUT_DIR"), "/bindings.rs")));
    assert!(committed.len() > 100);
    for (committed, generated) in committed.iter().zip(&generated) {
        assert_eq!(committed, generated, "generated: {}", concat!(env!("OUT_DIR"), "/bindings.rs"));
    }
    assert_eq!(committed.len(), generated.len());
}
