//! The committed types are those that bindgen makes of the headers installed here.

/// Declarations by line, without the layout that depends on the rustfmt at hand.
fn normalised(bindings: &str) -> Vec<String> {
    let code: String = bindings.lines().filter(|line| !line.trim_start().starts_with("/")).collect::<Vec<_>>().join(" ");
    let squeezed: String = code.chars().filter(|character| !character.is_whitespace()).collect();
    squeezed.replace(",)", ")").replace(",>", ">").replace(",}", "}").split_inclusive([';', '}']).map(str::to_owned).collect()
}

#[test]
fn committed_bindings_agree_with_the_installed_headers() {
    let committed = normalised(include_str!("bindings.rs"));
    let generated = normalised(include_str!(concat!(env!("OUT_DIR"), "/bindings.rs")));
    assert!(committed.len() > 100);
    for (committed, generated) in committed.iter().zip(&generated) {
        assert_eq!(committed, generated, "regenerate with `cargo build --features bindgen`");
    }
    assert_eq!(committed.len(), generated.len());
}
