//! What `aqlprobe path` prints in situations that people meet, to be read in a review. The verdicts themselves are held by
//! the tests of the rules; here it is the words.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/trees.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod trees;

use std::fs;

use aqlprobe::audit::{self, Context, Selection, refusals};
use aqlprobe::pci::guest::{Functions, Placement, PlanRequest};
use aqlprobe::pci::sysfs::SysfsRoot;
use aqlprobe::pci::tree::Completers;
use aqlprobe::report::{TextStyle, audit_text};

fn printed(audit: &audit::Audit) -> String {
    let mut bytes = Vec::new();
    audit_text::write(audit, TextStyle::PLAIN, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn of_text(file: &str, context: &Context) -> String {
    let text = fs::read_to_string(format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    printed(&audit::from_text(&text, Selection::Accelerators, context).unwrap())
}

fn of_tree(file: &str, completers: Completers, context: &Context) -> String {
    let tree = trees::behind_root_port(file, completers);
    printed(&audit::from_sysfs(&SysfsRoot::new(tree.path()), Selection::Accelerators, context).unwrap())
}

#[test]
fn a_gpu_alone_in_a_dump_with_the_requester_disabled() {
    insta::assert_snapshot!(of_text("lspci/01-fiji-before.txt", &Context::default()));
}

#[test]
fn a_gpu_behind_a_good_root_port_with_the_requester_disabled() {
    insta::assert_snapshot!(of_tree("01-fiji-before.txt", Completers::Both, &Context::default()));
}

#[test]
fn a_root_port_without_completers() {
    insta::assert_snapshot!(of_tree("01-fiji-before.txt", Completers::Neither, &Context::default()));
}

#[test]
fn a_card_with_its_own_switch_in_order() {
    insta::assert_snapshot!(of_text("machines/001-x99-qd4-navi23.txt", &Context::default()));
}

#[test]
fn an_accelerator_behind_two_switches() {
    insta::assert_snapshot!(of_text("machines/006-mi300x-genoa-switches.txt", &Context::default()));
}

#[test]
fn a_chipset_slot_in_a_decoded_listing() {
    insta::assert_snapshot!(of_text("lspci/09-x570-chipset-slot-polaris-vv.txt", &Context::default()));
}

#[test]
fn two_gpus_in_the_listing_of_an_old_lspci() {
    insta::assert_snapshot!(of_text("lspci/12-h270-two-polaris-old-lspci-vv.txt", &Context::default()));
}

#[test]
fn an_integrated_gpu() {
    insta::assert_snapshot!(of_text("machines/016-lucienne-pn51.txt", &Context::default()));
}

#[test]
fn an_emulated_root_port_seen_in_a_guest() {
    let tree = trees::behind("08-navi10-xxxx.txt", |port| port.identity(0x1b36, 0x000c).completers(Completers::Neither));
    let audit = audit::from_sysfs(&SysfsRoot::new(tree.path()), Selection::Accelerators, &Context::default());
    insta::assert_snapshot!(printed(&audit.unwrap()));
}

#[test]
fn a_refusal_in_the_log_that_newer_firmware_cures() {
    let log = "kfd kfd: amdgpu: skipped device 1002:731f, PCI rejects atomics 123<145";
    let context = Context { refusals: refusals(log), kernel: Some("6.12.107".parse().unwrap()), ..Context::default() };
    insta::assert_snapshot!(of_tree("08-navi10-xxxx.txt", Completers::Neither, &context));
}

#[test]
fn a_forecast_for_a_guest_with_all_functions() {
    let request = PlanRequest {
        qemu: Some("8.1".parse().unwrap()),
        placement: Placement::RootPort,
        functions: Functions::Multifunction,
        host_kernel: Some("6.12.107".parse().unwrap()),
    };
    insta::assert_snapshot!(of_tree(
        "08-navi10-xxxx.txt",
        Completers::Both,
        &Context { guest_plan: Some(request), ..Context::default() }
    ));
}
