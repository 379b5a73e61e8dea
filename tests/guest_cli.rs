//! `aqlprobe guest` as a person meets it, as far as that needs no QEMU.

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

fn aqlprobe(arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(assert_cmd::cargo::cargo_bin!("aqlprobe")).args(arguments).assert()
}

#[test]
fn a_word_that_an_option_does_not_have_is_refused_with_those_it_has() {
    aqlprobe(&["guest", "run", "--switch", "maybe"]).code(2).stderr(contains("none, routing, no-routing, egress-blocked"));
}

#[test]
fn a_pattern_that_selects_no_case_is_refused_before_anything_is_downloaded() {
    let folder = tempfile::tempdir().expect("a directory");
    let assets = folder.path().join("assets");
    let at = assets.to_str().expect("a path in UTF-8");
    aqlprobe(&["guest", "run", "--assets", at, "--case", "nope*"]).code(2).stderr(contains("vector-copy"));
    assert!(!assets.exists());
}

#[test]
fn a_kernel_that_is_none_is_refused_with_what_there_is() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = folder.path().to_str().expect("a path in UTF-8");
    aqlprobe(&["guest", "fetch", "--assets", at, "../etc"]).code(2).stderr(contains("sid, trixie or bookworm"));
}

#[test]
fn the_guests_first_process_refuses_to_be_anything_else() {
    aqlprobe(&["guest-init"]).code(2).stderr(contains("first process of a guest"));
}

#[test]
fn the_guests_own_commands_are_not_offered() {
    aqlprobe(&["--help"]).code(0).stdout(contains("guest ").and(contains("guest-init").not()).and(contains("guest-fuzz").not()));
}

#[test]
fn a_gpu_that_is_not_there_cannot_be_passed() {
    aqlprobe(&["guest", "run", "--vfio", "ffff:fe:1f.7"]).code(2).stderr(contains("aqlprobe path"));
}
