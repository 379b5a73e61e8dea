//! `aqlprobe atomics` as its users meet it, on trees in sysfs' layout.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/trees.rs"]
mod trees;

use std::fs;
use std::path::Path;

use aqlprobe::pci::tree::Completers;
use predicates::prelude::*;
use predicates::str::contains;
use trees::{GPU, behind_root_port, kfd_file, program, without_privileges};

/// Fiji's capability is at 0x58, Navi's at 0x64 (corpus, decoded there): Device Control 2 is 0x28 further.
const FIJI_DEVICE_CONTROL_2: usize = 0x80;
const NAVI_DEVICE_CONTROL_2: usize = 0x8c;

fn config(root: &Path) -> Vec<u8> {
    fs::read(root.join("bus/pci/devices/0000:0b:00.0/config")).unwrap()
}

fn run(root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut all = vec!["atomics", arguments[0], GPU, "--sysfs-root", root.to_str().unwrap()];
    all.extend(&arguments[1..]);
    program(&all).assert()
}

#[test]
fn without_yes_nothing_is_written() {
    let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
    let before = config(tree.path());
    run(tree.path(), &["enable"])
        .code(0)
        .stdout(contains("would write 0x0040 to Device Control 2 at 0x80"))
        .stdout(contains("--yes"));
    assert_eq!(config(tree.path()), before);
}

#[test]
fn enable_changes_bit_6_alone_and_restore_undoes_it() {
    let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
    let before = config(tree.path());
    run(tree.path(), &["enable", "--yes"]).code(0).stdout(contains("Enable is 1 (Device Control 2 at 0x80 reads 0x0040)"));
    let mut wanted = before.clone();
    wanted[FIJI_DEVICE_CONTROL_2] |= 0x40;
    assert_eq!(config(tree.path()), wanted, "bit 6 of Device Control 2 alone, and it outlives the process");
    run(tree.path(), &["status"]).code(0).stdout(contains("aqlprobe atomics restore 0b:00.0"));
    run(tree.path(), &["restore"]).code(0).stdout(contains("0000:0b:00.0: AtomicOp Requester Enable is 0 again"));
    assert_eq!(config(tree.path()), before);
    run(tree.path(), &["restore"]).code(0).stdout(contains("nothing to restore"));
}

#[test]
fn the_register_is_found_where_the_capability_is() {
    let tree = behind_root_port("08-navi10-xxxx.txt", Completers::Both);
    let before = config(tree.path());
    run(tree.path(), &["disable", "--yes"]).code(0).stdout(contains("Device Control 2 at 0x8c reads 0x0400"));
    let mut wanted = before;
    wanted[NAVI_DEVICE_CONTROL_2] &= !0x40;
    assert_eq!(config(tree.path()), wanted);
}

#[test]
fn a_change_that_is_kept_does_not_stand_in_the_way_of_the_next_and_restore_goes_back_to_the_first_state() {
    let tree = behind_root_port("08-navi10-xxxx.txt", Completers::Both);
    let before = config(tree.path());
    run(tree.path(), &["disable", "--yes"]).code(0);
    run(tree.path(), &["disable", "--yes"]).code(0).stdout(contains("nothing was written"));
    run(tree.path(), &["enable", "--yes"]).code(0);
    assert_eq!(config(tree.path()), before);
    run(tree.path(), &["restore"]).code(0).stdout(contains("nothing to restore"));
    run(tree.path(), &["disable", "--yes"]).code(0);
    run(tree.path(), &["restore"]).code(0).stdout(contains("Enable is 1 again"));
    assert_eq!(config(tree.path()), before);
}

#[test]
fn a_path_that_does_not_carry_atomics_is_refused_unless_forced_and_disabling_is_not() {
    let tree = behind_root_port("01-fiji-before.txt", Completers::Neither);
    let before = config(tree.path());
    run(tree.path(), &["enable", "--yes"])
        .code(1)
        .stderr(contains("completes no AtomicOps"))
        .stderr(contains("0000:00:03.0"))
        .stderr(contains("--force"));
    assert_eq!(config(tree.path()), before);
    run(tree.path(), &["disable", "--yes"]).code(0);
    run(tree.path(), &["enable", "--yes", "--force"]).code(0).stdout(contains("Enable is 1"));
}

#[test]
fn a_gpu_that_processes_use_is_refused_unless_forced() {
    let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
    kfd_file(tree.path(), "proc/4711/pasid", "32768\n");
    let before = config(tree.path());
    run(tree.path(), &["disable", "--yes"]).code(1).stderr(contains("4711"));
    assert_eq!(config(tree.path()), before);
    run(tree.path(), &["status"]).code(0).stdout(contains("through KFD: 4711\n"));
    run(tree.path(), &["disable", "--yes", "--force"]).code(0).stdout(contains("Enable is 0"));
}

#[test]
fn a_virtual_function_and_a_version_1_capability_are_refused_also_with_force() {
    let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
    let device = tree.path().join("bus/pci/devices/0000:0b:00.0");
    std::os::unix::fs::symlink("../0000:0a:00.0", device.join("physfn")).unwrap();
    run(tree.path(), &["disable", "--yes", "--force"]).code(1).stderr(contains("virtual function"));
    fs::remove_file(device.join("physfn")).unwrap();
    let mut bytes = config(tree.path());
    bytes[0x5a] = bytes[0x5a] & 0xf0 | 1;
    fs::write(device.join("config"), &bytes).unwrap();
    run(tree.path(), &["disable", "--yes", "--force"]).code(1).stderr(contains("version 1"));
    assert_eq!(config(tree.path()), bytes);
}

#[test]
fn without_privileges_the_bit_is_unknown_and_root_is_asked_for() {
    let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
    without_privileges(tree.path());
    run(tree.path(), &["status"]).code(0).stdout(contains("Enable is [unknown]"));
    for arguments in [&["disable"][..], &["disable", "--yes"]] {
        run(tree.path(), arguments).code(1).stderr(contains("root")).stdout(predicate::str::is_empty());
    }
}

#[test]
fn a_device_that_is_not_there_is_a_usage_error() {
    let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
    program(&["atomics", "status", "0c:00.0", "--sysfs-root", tree.path().to_str().unwrap()])
        .assert()
        .code(2)
        .stderr(contains("0000:0c:00.0"));
}
