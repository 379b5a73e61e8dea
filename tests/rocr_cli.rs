//! What `verify --runtime rocr-model` and `aqlprobe run` say and do where no ROCr is needed for it.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use program::Place;

const ROCR_MODEL: [&str; 3] = ["verify", "--runtime", "rocr-model"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ROCR_MODEL.into_iter().chain(more.iter().copied()).collect()
}

/// A sysroot in Debian's layout whose loader and runtime are mere files.
fn hollow_sysroot(place: &Place, runtime: &[u8]) -> PathBuf {
    let sysroot = place.path("sysroot");
    let libraries = sysroot.join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&libraries).unwrap();
    fs::write(libraries.join("ld-linux-x86-64.so.2"), "no loader").unwrap();
    fs::write(libraries.join("libhsa-runtime64.so.1"), runtime).unwrap();
    sysroot
}

mod the_options_of_rocr_model {
    use super::*;

    #[test]
    fn are_refused_with_another_runtime() {
        for option in [["--sysroot", "/x"], ["--library", "/x"], ["--target", "gfx942"]] {
            for runtime in ["auto", "embedded", "system"] {
                Place::new()
                    .program(&["verify", "--runtime", runtime, option[0], option[1]])
                    .assert()
                    .code(2)
                    .stdout(is_empty())
                    .stderr(contains(option[0]))
                    .stderr(contains("--runtime rocr-model"));
            }
        }
    }

    #[test]
    fn name_no_other_target_than_those_that_rocr_accepts() {
        for target in ["gfx803", "gfx900", "MI300X"] {
            Place::new().program(&with(&["--target", target])).assert().code(2).stderr(contains("gfx942, gfx1100"));
        }
    }

    #[test]
    fn do_not_go_with_a_replayed_dump() {
        let dump = format!("{}/tests/data/lspci/02-fiji-after.txt", env!("CARGO_MANIFEST_DIR"));
        Place::new().program(&with(&["--replay", &dump])).assert().code(2).stderr(contains("--runtime embedded"));
    }
}

mod a_rocr_that_cannot_be_started {
    use super::*;

    fn refused(place: &Place, sysroot: &Path) -> assert_cmd::assert::Assert {
        let refused = place.program(&with(&["--sysroot", sysroot.to_str().unwrap()])).assert().code(4);
        refused.stdout(is_empty()).stderr(starts_with("error: ")).stderr(contains("panicked").not())
    }

    #[test]
    fn because_its_sysroot_is_missing_or_none_is_named_with_what_to_do() {
        let place = Place::new();
        refused(&place, &place.path("nowhere")).stderr(contains("nowhere"));
        fs::create_dir(place.path("empty")).unwrap();
        refused(&place, &place.path("empty")).stderr(contains("ld-linux")).stderr(contains("dpkg -x"));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn because_it_is_too_old_is_refused_before_it_can_crash() {
        let place = Place::new();
        let sysroot = hollow_sysroot(&place, b"\x7fELF of ROCm 5");
        refused(&place, &sysroot).stderr(contains("no model mode")).stderr(contains("ROCm 7"));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn because_the_library_is_not_there_is_named() {
        let place = Place::new();
        let sysroot = hollow_sysroot(&place, b"");
        fs::remove_file(sysroot.join("usr/lib/x86_64-linux-gnu/libhsa-runtime64.so.1")).unwrap();
        refused(&place, &sysroot).stderr(contains("libhsa-runtime64.so.1")).stderr(contains("--library"));
    }

    #[test]
    fn is_skipped_or_fails_as_the_user_wants_it() {
        let place = Place::new();
        let missing = place.path("nowhere");
        let base = with(&["--sysroot", missing.to_str().unwrap()]);
        let and = |more: &[&'static str]| base.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
        place.program(&and(&["--require-device"])).assert().code(1);
        place.program(&and(&["--skip-code", "77"])).assert().code(77);
    }
}

/// A program to run that has the software GPU's library beside it, or not; the library is a mere file, which the dynamic linker
/// says and passes over.
mod a_program_run_on_the_model {
    use super::*;

    fn installed(place: &Place, library: Option<&[u8]>) -> assert_cmd::Command {
        let program = place.path("aqlprobe");
        let built = env!("CARGO_BIN_EXE_aqlprobe");
        if !program.exists() && fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        if let Some(library) = library {
            fs::write(place.path("libaqlprobe.so"), library).unwrap();
        }
        let mut command = assert_cmd::Command::new(program);
        command.env("TMPDIR", place.path("")).env_remove("HSA_ENABLE_INTERRUPT").timeout(program::PATIENCE);
        command
    }

    fn run(place: &Place, arguments: &[&str]) -> assert_cmd::assert::Assert {
        installed(place, Some(b"no library")).arg("run").args(arguments).assert()
    }

    #[test]
    fn needs_the_library_and_says_how_to_build_it() {
        let refused = installed(&Place::new(), None).args(["run", "--", "true"]).assert().code(2);
        refused.stderr(contains("libaqlprobe.so")).stderr(contains("cargo build --release"));
    }

    #[test]
    fn has_its_exit_status_and_its_signal_passed_through() {
        run(&Place::new(), &["--", "sh", "-c", "exit 7"]).code(7);
        run(&Place::new(), &["--", "sh", "-c", "kill -TERM $$"]).code(143);
        run(&Place::new(), &["true"]).code(0);
    }

    #[test]
    fn finds_the_machine_in_its_environment() {
        let script = "ls $HSA_MODEL_TOPOLOGY/nodes/1/properties $HSA_MODEL_LIB $AQLPROBE_MODEL_SYSFS/bus/pci/devices && \
                      echo interrupt $HSA_ENABLE_INTERRUPT";
        run(&Place::new(), &["--", "sh", "-c", script])
            .code(0)
            .stdout(contains("libaqlprobe.so"))
            .stdout(contains("0000:0b:00.0"))
            .stdout(contains("interrupt 0"));
    }

    #[test]
    fn is_told_apart_from_one_that_read_the_topology() {
        let never = contains("did not open ROCr in model mode");
        run(&Place::new(), &["--", "true"]).stderr(contains("0 performed, 0 dropped")).stderr(never.clone());
        run(&Place::new(), &["--", "sh", "-c", "cat $HSA_MODEL_TOPOLOGY/nodes/1/properties"])
            .stdout(contains("gfx_target_version 90402"))
            .stderr(never.not());
    }

    #[test]
    fn is_of_the_target_and_in_the_state_of_atomicops_that_were_asked_for() {
        for (atomics, enabled) in [("on", 0x40), ("off", 0)] {
            let place = Place::new();
            let kept = place.path("machine");
            run(&place, &["--target", "gfx1100", "--atomics", atomics, "--keep", kept.to_str().unwrap(), "--", "true"]).code(0);
            let config = fs::read(kept.join("bus/pci/devices/0000:0b:00.0/config")).unwrap();
            assert_eq!((config[2], config[3]), (0x4c, 0x74));
            assert_eq!(config[0x64 + 0x28] & 0x40, enabled, "{atomics}");
            let properties = fs::read_to_string(kept.join("class/kfd/kfd/topology/nodes/1/properties")).unwrap();
            assert!(properties.contains("gfx_target_version 110000\n"), "{properties}");
        }
    }

    #[test]
    fn leaves_nothing_behind_unless_asked_to_and_then_not_among_other_files() {
        let place = Place::new();
        run(&place, &["--", "true"]).code(0);
        let mut left: Vec<_> = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["aqlprobe", "libaqlprobe.so"]);
        let used = place.path("");
        run(&place, &["--keep", used.to_str().unwrap(), "--", "true"]).code(2).stderr(contains("not empty"));
    }

    #[test]
    fn that_is_not_there_or_not_given_is_a_clear_error() {
        run(&Place::new(), &["--", "/nonexistent/program"]).code(2).stderr(contains("/nonexistent/program"));
        run(&Place::new(), &[]).code(2).stderr(contains("PROGRAM"));
    }

    #[test]
    fn is_described_with_examples_and_exit_codes() {
        run(&Place::new(), &["--help"]).code(0).stdout(contains("Examples:")).stdout(contains("128"));
    }
}

#[test]
fn the_program_exports_none_of_the_symbols_that_its_library_does() {
    use object::{Object, ObjectSymbol};
    let bytes = fs::read(env!("CARGO_BIN_EXE_aqlprobe")).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let exported: Vec<_> =
        file.dynamic_symbols().filter(|symbol| symbol.is_definition()).filter_map(|symbol| symbol.name().ok()).collect();
    for name in ["hsa_init", "get_hsakmt_model_functions"] {
        assert!(!exported.contains(&name), "{name} of the program would stand before the runtime's");
    }
}
