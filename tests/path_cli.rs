//! `aqlprobe path` as its users meet it: the built program, its exit codes, what it prints where.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/trees.rs"]
mod trees;

use std::fs;
use std::path::Path;

use aqlprobe::pci::tree::{Completers, TreeBuilder};
use predicates::prelude::*;
use predicates::str::{contains, is_empty, is_match};
use serde_json::Value;
use tempfile::TempDir;
use trees::{GPU, bdf, behind_root_port, data, kfd_file, program, without_privileges};

fn path(root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut all = vec!["path", "--sysfs-root", root.to_str().unwrap()];
    all.extend(arguments);
    program(&all).assert()
}

fn violations(instance: &Value) -> Vec<String> {
    schema::violations("path", instance)
}

/// The JSON report, which must keep to the schema.
fn json(root: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["--format", "json"];
    all.extend(arguments);
    let report: Value = serde_json::from_slice(&path(root, &all).get_output().stdout).unwrap();
    assert_eq!(violations(&report), Vec::<String>::new());
    report
}

fn write_attribute(tree: &TempDir, name: &str, text: &str) {
    let file = tree.path().join("bus/pci/devices/0000:0b:00.0").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

mod on_a_captured_tree {
    use super::*;

    #[test]
    fn the_founding_card_before_is_disabled_and_the_fix_names_its_register() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        path(tree.path(), &[])
            .code(1)
            .stdout(contains("path capable  yes"))
            .stdout(contains("enabled now   no"))
            .stdout(contains("setpci -s 0b:00.0 CAP_EXP+28.w=40:40   (Device Control 2 at 0x80, bit 6 (0x40))"))
            .stderr(is_empty());
    }

    #[test]
    fn the_founding_card_after_passes() {
        let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
        path(tree.path(), &[GPU])
            .code(0)
            .stdout(contains("AtomicOps of 0000:0b:00.0 reach host memory."))
            .stdout(contains("Every kernel since Linux 4.16"));
    }

    #[test]
    fn chain_verdict_why_and_what_to_do_come_in_this_order() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Neither);
        let order = "(?s)root port.*<- here.*legacy endpoint.*do not reach host memory.*path capable  no.*KFD accepts   no\
                     .*\nWhy:\n.*\nWhat follows:\n.*\nWhat to do:\n";
        path(tree.path(), &[]).code(1).stdout(is_match(order).unwrap());
    }

    #[test]
    fn without_privileges_nothing_is_taken_for_a_no_and_root_is_named() {
        let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
        without_privileges(tree.path());
        path(tree.path(), &[])
            .code(1)
            .stdout(contains("path capable  [unknown]"))
            .stdout(contains("enabled now   [unknown]"))
            .stdout(contains("Without root only the first 64 bytes"));
    }

    #[test]
    fn firmware_driver_and_links_come_from_sysfs() {
        let tree = behind_root_port("08-navi10-xxxx.txt", Completers::Neither);
        write_attribute(&tree, "fw_version/mec_fw_version", "0x00000091\n");
        for (name, text) in [
            ("current_link_speed", "8.0 GT/s PCIe\n"),
            ("current_link_width", "4\n"),
            ("max_link_speed", "16.0 GT/s PCIe\n"),
            ("max_link_width", "16\n"),
        ] {
            write_attribute(&tree, name, text);
        }
        path(tree.path(), &[])
            .code(1)
            .stdout(contains("8 GT/s x4 of 16 GT/s x16"))
            .stdout(contains("KFD accepts   yes"))
            .stdout(contains("hostcall"));
        let device = &json(tree.path(), &[])["devices"][0];
        assert_eq!((&device["kfd"]["mec_firmware"], &device["kfd"]["target"]), (&145.into(), &"gfx1010".into()));
        assert_eq!(device["hops"][1]["link"]["now"]["megatransfers_per_second"], 8000);
    }

    #[test]
    fn link_flags_of_kfd_that_contradict_config_space_are_reported() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        kfd_file(tree.path(), "topology/nodes/0/properties", "gfx_target_version 0\n");
        kfd_file(tree.path(), "topology/nodes/1/properties", "gfx_target_version 80003\nlocation_id 2816\ndomain 0\n");
        kfd_file(tree.path(), "topology/nodes/1/io_links/0/properties", "type 2\nnode_from 1\nnode_to 0\nflags 1\n");
        path(tree.path(), &[]).code(1).stdout(contains("Contradiction: KFD's link flags of node 1"));
    }

    #[test]
    fn a_refusal_in_the_kernel_log_is_decoded() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Neither);
        let log = tree.path().join("dmesg");
        fs::write(&log, "[    5.1] kfd kfd: amdgpu: skipped device 1002:7300, PCI rejects atomics 730<0\n").unwrap();
        path(tree.path(), &["--dmesg", log.to_str().unwrap()])
            .code(1)
            .stdout(contains("730<0"))
            .stdout(contains("KFD: No firmware helps"));
    }

    #[test]
    fn a_named_kernel_is_asked_for_its_own_rule() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        let device = &json(tree.path(), &["--kernel", "7.1.13"])["devices"][0];
        assert_eq!((&device["kernel"]["version"], &device["kernel"]["would_enable"]), (&"7.1.13".into(), &"yes".into()));
        path(tree.path(), &["--kernel", "4.15.0"]).stdout(contains("Linux 4.15.0 cannot enable AtomicOps"));
        path(tree.path(), &["--kernel", "prose"]).code(2);
    }

    #[test]
    fn a_guest_plan_prints_the_forecast_and_lines_that_work() {
        let tree = behind_root_port("02-fiji-after.txt", Completers::Both);
        let options = ["--guest-plan", "--qemu", "8.1", "--placement", "root-port", "--multifunction"];
        path(tree.path(), &options)
            .stdout(contains("In a guest:"))
            .stdout(contains("-device vfio-pci,host=0000:0b:00.0"))
            .stdout(contains("hostpci0: 0000:0b:00.0,pcie=1"));
        assert!(json(tree.path(), &options)["devices"][0]["guest_forecast"].is_object());
        path(tree.path(), &["--qemu", "8.1"]).code(2);
    }

    #[test]
    fn a_tree_without_an_amd_gpu_is_said_so_and_a_device_that_is_absent_is_a_usage_error() {
        let tree = tempfile::tempdir().unwrap();
        let root_port = aqlprobe::pci::tree::BridgeImage::root_port(aqlprobe::pci::tree::BusNumbers {
            primary: 0,
            secondary: 1,
            subordinate: 1,
        });
        TreeBuilder::new(tree.path()).root_port(bdf("00:03.0"), root_port.build()).write().unwrap();
        path(tree.path(), &[]).code(4).stderr(contains("no display controller"));
        path(tree.path(), &["0c:00.0"]).code(2).stderr(contains("0000:0c:00.0"));
        path(&tree.path().join("nowhere"), &[]).code(4).stderr(contains("no PCI devices"));
    }
}

mod the_report {
    use super::*;

    #[test]
    fn the_schema_is_a_valid_2020_12_schema_without_a_host() {
        assert!(jsonschema::draft202012::meta::is_valid(&schema::read("path")));
        assert_eq!(schema::read("path")["$id"], "urn:aqlprobe:schema:path:1");
    }

    #[test]
    fn every_state_keeps_to_the_schema_and_says_what_the_text_says() {
        for (file, completers, capable, enabled) in [
            ("01-fiji-before.txt", Completers::Both, "yes", "no"),
            ("02-fiji-after.txt", Completers::Both, "yes", "yes"),
            ("02-fiji-after.txt", Completers::Only64, "no", "yes"),
            ("08-navi10-xxxx.txt", Completers::Neither, "no", "yes"),
        ] {
            let tree = behind_root_port(file, completers);
            let report = json(tree.path(), &[]);
            let device = &report["devices"][0];
            assert_eq!((&device["path_capable"], &device["enabled"]), (&capable.into(), &enabled.into()), "{file}");
        }
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        without_privileges(tree.path());
        let device = &json(tree.path(), &[])["devices"][0];
        assert_eq!((&device["path_capable"], &device["first_bad_hop"]), (&"unknown".into(), &Value::Null));
    }

    #[test]
    fn the_schema_refuses_what_the_layout_does_not_have() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        let report = json(tree.path(), &[]);
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut instance = report.clone();
            change(&mut instance);
            !violations(&instance).is_empty()
        };
        assert!(refused(&|report| report["devices"][0]["path_capable"] = "maybe".into()));
        assert!(refused(&|report| report["devices"][0]["surprise"] = 1.into()));
        assert!(refused(&|report| report["devices"][0]["hops"][0]["surprise"] = 1.into()));
        assert!(refused(&|report| report["schema_version"] = 2.into()));
    }

    #[test]
    fn a_file_gets_the_report_and_stderr_the_verdict() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        let file = tree.path().join("report.txt");
        path(tree.path(), &["-o", file.to_str().unwrap()])
            .code(1)
            .stdout(is_empty())
            .stderr(contains("AtomicOps of 0000:0b:00.0 do not reach host memory."));
        assert!(fs::read_to_string(file).unwrap().contains("path capable  yes"));
    }
}

mod a_capture {
    use super::*;

    #[test]
    fn gives_the_same_audit_where_it_is_unpacked() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Only32);
        write_attribute(&tree, "fw_version/mec_fw_version", "0x000002da\n");
        kfd_file(tree.path(), "topology/nodes/0/properties", "gfx_target_version 0\n");
        kfd_file(tree.path(), "topology/nodes/1/properties", "gfx_target_version 80003\nlocation_id 2816\ndomain 0\n");
        kfd_file(tree.path(), "topology/nodes/1/io_links/0/properties", "type 2\nnode_from 1\nnode_to 0\nflags 13\n");
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("machine.tar");
        path(tree.path(), &["--capture", file.to_str().unwrap()]).code(0).stdout(is_empty()).stderr(contains("captured"));
        let unpacked = elsewhere.path().join("unpacked");
        tar::Archive::new(fs::File::open(&file).unwrap()).unpack(&unpacked).unwrap();
        assert_eq!(json(&unpacked, &[])["devices"], json(tree.path(), &[])["devices"]);
    }

    #[test]
    fn of_a_machine_without_a_gpu_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("bus/pci/devices")).unwrap();
        let file = tree.path().join("machine.tar");
        path(tree.path(), &["--capture", file.to_str().unwrap()]).code(4);
        assert!(!file.exists());
    }
}

mod on_text {
    use super::*;

    fn from(file: &str) -> assert_cmd::assert::Assert {
        program(&["path", "--from", &data(file)]).assert()
    }

    #[test]
    fn the_founding_dumps_are_told_apart() {
        from("01-fiji-before.txt").code(1).stdout(contains("enabled now   no")).stdout(contains("Device Control 2 at 0x80"));
        from("02-fiji-after.txt").code(1).stdout(contains("enabled now   yes")).stdout(contains("path capable  [unknown]"));
    }

    #[test]
    fn a_whole_path_in_hex_passes() {
        from("09-x99-navi23-path.txt").code(0).stdout(contains("0000:05:00.0 reach host memory"));
    }

    #[test]
    fn standard_input_is_read_and_a_kernel_log_in_it_counts() {
        let text = fs::read_to_string(data("01-fiji-before.txt")).unwrap();
        let with_log = format!("{text}\n\nkfd kfd: amdgpu: skipped device 1002:7300, PCI rejects atomics 730<0\n");
        program(&["path", "--from", "-"]).write_stdin(with_log).assert().code(1).stdout(contains("730<0"));
    }

    #[test]
    fn text_that_names_no_function_and_a_missing_file_are_input_errors() {
        program(&["path", "--from", "-"]).write_stdin("prose\n").assert().code(2).stderr(contains("PCI function"));
        program(&["path", "--from", "/nonexistent/lspci.txt"]).assert().code(2).stderr(contains("/nonexistent/lspci.txt"));
        program(&["path", "0c:00.0", "--from", &data("01-fiji-before.txt")])
            .assert()
            .code(2)
            .stderr(contains("0000:0c:00.0").and(contains("0000:0b:00.0")));
    }
}
