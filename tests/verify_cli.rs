//! `aqlprobe verify` as its users meet it: the built program, its exit codes, what it prints where.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
mod program;
#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use predicates::prelude::*;
use predicates::str::{contains, is_empty, is_match};
use program::{NO_KFD, Place, is_alive};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

const FIX: &str = "setpci -s 0b:00.0 CAP_EXP+28.w=40:40";

/// The founding dispatch alone, on the embedded bed.
const FOUNDING: [&str; 5] = ["verify", "--runtime", "embedded", "--case", "vector-copy"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    base.iter().chain(more).copied().collect()
}

fn dump(name: &str) -> String {
    format!("{}/tests/data/lspci/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn violations(instance: &Value) -> Vec<String> {
    schema::violations("verify", instance)
}

mod the_founding_experiment {
    use super::*;

    #[test]
    fn passes_on_the_embedded_bed_and_shows_the_lost_completion_beside_the_completion() {
        Place::new()
            .program(&["verify", "--runtime", "embedded"])
            .assert()
            .code(0)
            .stdout(is_match("(?m)^ *vector-copy .*completion-lost.*completed").unwrap())
            .stdout(
                is_match(r"(?m)^vector-copy, AtomicOps off: completion-lost\n  output right 1,048,576/1,048,576; signal 1 → 1 ")
                    .unwrap(),
            )
            .stderr(is_empty())
            .stdout(contains("FAILED").not())
            .stdout(predicate::function(|text: &str| text.lines().next().is_some_and(|line| line.contains("embedded"))))
            .stdout(predicate::function(|text: &str| text.lines().last().is_some_and(|line| line.starts_with("PASS"))));
    }

    #[test]
    fn without_atomicops_is_a_hang_with_its_fix() {
        Place::new()
            .program(&with(&FOUNDING, &["--atomics", "off"]))
            .assert()
            .code(3)
            .stdout(contains("completion-lost"))
            .stdout(is_match(r"(?m)^ *setpci -s 0b:00\.0 CAP_EXP\+28\.w=40:40$").unwrap())
            .stdout(contains("HANG"));
    }

    #[test]
    fn with_atomicops_alone_passes() {
        Place::new().program(&with(&FOUNDING, &["--atomics", "on"])).assert().code(0).stdout(contains("PASS"));
    }

    #[test]
    fn as_found_is_the_host_before_setpci_and_hangs() {
        Place::new().program(&with(&FOUNDING, &["--atomics", "as-found"])).assert().code(3).stdout(contains(FIX));
    }
}

mod a_replayed_dump {
    use super::*;

    #[test]
    fn from_before_setpci_hangs_with_the_fix() {
        let file = dump("01-fiji-before.txt");
        Place::new()
            .program(&with(&FOUNDING, &["--replay", &file]))
            .assert()
            .code(3)
            .stdout(contains("completion-lost"))
            .stdout(contains(FIX))
            .stdout(predicate::function(|text: &str| text.lines().next().is_some_and(|line| line.contains("01-fiji-before.txt"))));
    }

    #[test]
    fn from_after_setpci_passes() {
        let file = dump("02-fiji-after.txt");
        Place::new().program(&with(&FOUNDING, &["--replay", &file])).assert().code(0).stdout(contains("PASS"));
    }

    #[test]
    fn that_is_malformed_is_refused_with_line_and_reason() {
        let place = Place::new();
        let text = fs::read_to_string(dump("02-fiji-after.txt")).unwrap();
        let line = 1 + text.lines().position(|line| line.starts_with("30: ")).unwrap();
        let file = place.path("torn.txt");
        fs::write(&file, text.replacen("\n30: ", "\n30: xx ", 1)).unwrap();
        place
            .program(&with(&FOUNDING, &["--replay", file.to_str().unwrap()]))
            .assert()
            .code(2)
            .stdout(is_empty())
            .stderr(contains(format!("line {line}")))
            .stderr(contains("torn.txt"))
            .stderr(contains("panicked").not());
    }

    #[test]
    fn that_is_missing_or_no_dump_is_refused() {
        let place = Place::new();
        let prose = place.path("prose.txt");
        fs::write(&prose, "no hexadecimal here\n").unwrap();
        for file in [place.path("missing.txt"), prose] {
            place
                .program(&with(&FOUNDING, &["--replay", file.to_str().unwrap()]))
                .assert()
                .code(2)
                .stderr(contains("error: "))
                .stderr(contains("panicked").not());
        }
    }

    #[test]
    fn is_no_business_of_a_system_runtime() {
        let file = dump("02-fiji-after.txt");
        Place::new().program(&["verify", "--runtime", "system", "--replay", &file]).assert().code(2).stderr(contains("embedded"));
    }
}

mod without_a_gpu {
    use super::*;

    const AUTO: [&str; 3] = ["verify", "--case", "nop"];

    #[test]
    fn auto_is_a_self_test_that_says_so_first_and_last_and_exits_4() {
        let says_so = |line: Option<&str>| line.is_some_and(|line| line.contains("no GPU was tested") && line.contains(NO_KFD));
        Place::new()
            .program_without_gpu(&AUTO)
            .assert()
            .code(4)
            .stdout(predicate::function(|text: &str| says_so(text.lines().next()) && says_so(text.lines().last())))
            .stdout(contains("PASS").not());
    }

    #[test]
    fn require_device_makes_it_a_failure_and_skip_code_a_skip() {
        Place::new().program_without_gpu(&with(&AUTO, &["--require-device"])).assert().code(1).stderr(contains("--require-device"));
        Place::new().program_without_gpu(&with(&AUTO, &["--skip-code", "77"])).assert().code(77);
    }

    /// Whether ROCr is installed here, by the name that the dynamic linker knows.
    fn this_machine_has_rocr() -> bool {
        let installed = |directory: &str| Path::new(directory).join("libhsa-runtime64.so.1").exists();
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/opt/rocm/lib"]
            .into_iter()
            .any(installed)
    }

    /// The error without its hint: what `error: ` begins.
    fn paragraph(stderr: &[u8]) -> String {
        let text = String::from_utf8(stderr.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn the_system_runtime_is_explained_in_one_paragraph_that_ends_with_what_to_do() {
        let output = Place::new().program_without_gpu(&["verify", "--runtime", "system"]).output().unwrap();
        let told = paragraph(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{told}");
        assert!(told.starts_with("no GPU can be tested: ") && told.contains("libhsa-runtime64.so.1"), "{told}");
        assert!(told.contains("the amdgpu module is") && told.contains(". To test a GPU, "), "{told}");
        assert_eq!(told.matches(&format!("there is no {NO_KFD}")).count(), 1, "{told}");
        assert_eq!(told.contains(" was not found"), !this_machine_has_rocr(), "{told}");
        if this_machine_has_rocr() {
            assert!(told.contains("(ROCr 1."), "the library says its version: {told}");
        }
    }

    /// A runtime that is named opens the device itself, whatever this program looks at.
    #[test]
    #[ignore = "needs an installed ROCr and a machine without /dev/kfd"]
    fn a_runtime_that_loads_and_does_not_initialise_is_named_with_version_and_status() {
        assert!(this_machine_has_rocr() && !Path::new("/dev/kfd").exists(), "this machine is not the one that the test is for");
        let output = Place::new().program(&["verify", "--runtime", "libhsa-runtime64.so.1"]).output().unwrap();
        let told = paragraph(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{told}");
        for part in ["(ROCr 1.", "hsa_init failed with HSA_STATUS_ERROR_OUT_OF_RESOURCES (0x1008)", ". To test a GPU, "] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(told.matches("there is no /dev/kfd").count(), 1, "{told}");
    }

    #[test]
    fn a_self_test_tells_the_same_once_between_its_first_and_last_line() {
        let output = Place::new().program_without_gpu(&with(&AUTO, &["--format", "json"])).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(violations(&report), Vec::<String>::new());
        let system = Place::new().program_without_gpu(&["verify", "--runtime", "system"]).output().unwrap();
        assert_eq!(format!("no GPU can be tested: {}", report["no_gpu"].as_str().unwrap()), paragraph(&system.stderr));
        assert_eq!(report["devices"][0]["doorbell"], "register");
        assert_eq!(report["devices"][0]["agent"]["isas"][0], "amdgcn-amd-amdhsa--gfx803");
        assert!(report["runtime"].get("driver").is_none(), "the software GPU has no driver");
    }

    #[test]
    #[ignore = "needs an installed ROCr"]
    fn a_library_is_not_tested_as_hardware_where_the_environment_gives_rocr_a_model() {
        assert!(this_machine_has_rocr(), "this machine is not the one that the test is for");
        Place::new()
            .program_without_gpu(&["verify", "--runtime", "libhsa-runtime64.so.1"])
            .env("HSA_MODEL_TOPOLOGY", "/nonexistent")
            .assert()
            .code(4)
            .stdout(is_empty())
            .stderr(contains("HSA_MODEL_TOPOLOGY is set"));
    }

    #[test]
    fn a_system_runtime_that_is_not_there_is_a_clear_error() {
        Place::new()
            .program_without_gpu(&["verify", "--runtime", "system"])
            .assert()
            .code(predicate::in_iter([2, 4]))
            .stdout(is_empty())
            .stderr(contains("error: "))
            .stderr(contains("hint: "))
            .stderr(contains("panicked").not());
    }

    #[test]
    fn a_runtime_that_is_no_library_is_a_clear_error_that_names_it() {
        for path in ["/etc/passwd", "/nonexistent/libhsa-runtime64.so.1", "/"] {
            Place::new()
                .program(&["verify", "--runtime", path])
                .assert()
                .code(predicate::in_iter([2, 4]))
                .stdout(is_empty())
                .stderr(contains(path))
                .stderr(contains("panicked").not());
        }
    }

    #[test]
    fn skip_code_and_require_device_exclude_each_other_and_a_skip_is_never_a_pass() {
        Place::new().program(&with(&AUTO, &["--require-device", "--skip-code", "77"])).assert().code(2);
        Place::new().program(&with(&AUTO, &["--skip-code", "0"])).assert().code(2);
    }
}

mod the_selection {
    use super::*;

    #[test]
    fn of_no_case_is_an_error_that_lists_the_cases() {
        Place::new()
            .program(&["verify", "--case", "nope*"])
            .assert()
            .code(2)
            .stdout(is_empty())
            .stderr(contains("nope*"))
            .stderr(contains("vector-copy"))
            .stderr(contains("nop"));
    }

    #[test]
    fn is_listed_without_running_anything() {
        Place::new()
            .program(&["verify", "--list"])
            .assert()
            .code(0)
            .stdout(is_match("(?m)^nop  ").unwrap())
            .stdout(is_match("(?m)^vector-copy  ").unwrap());
        Place::new()
            .program(&["verify", "--list", "--case", "vector-*"])
            .assert()
            .code(0)
            .stdout(contains("vector-copy"))
            .stdout(is_match("(?m)^nop ").unwrap().not());
    }

    #[test]
    fn of_several_patterns_runs_each_matching_case_once() {
        let output = Place::new()
            .program(&["verify", "--runtime", "embedded", "--atomics", "on", "--format", "json"])
            .args(["--case", "no?", "--case", "nop", "--case", "vector-copy"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let cases = report["devices"][0]["runs"][0]["cases"].as_array().unwrap();
        assert_eq!(cases.iter().map(|case| case["name"].as_str().unwrap()).collect::<Vec<_>>(), ["nop", "vector-copy"]);
    }

    #[test]
    fn of_a_device_that_is_not_there_names_those_that_are() {
        Place::new()
            .program(&with(&FOUNDING, &["--device", "0a:00.0"]))
            .assert()
            .code(2)
            .stderr(contains("0a:00.0"))
            .stderr(contains("0b:00.0"));
    }

    #[test]
    fn of_a_device_by_address_index_or_all_finds_the_embedded_one() {
        for device in ["0b:00.0", "0000:0b:00.0", "0", "all"] {
            let arguments = ["verify", "--runtime", "embedded", "--atomics", "on", "--case", "nop", "--device", device];
            Place::new().program(&arguments).assert().code(0);
        }
    }

    #[test]
    fn of_a_deadline_is_bounded_and_positive() {
        for timeout in ["0", "9", "600001", "-5", "1e3", "soon", "18446744073709551616"] {
            Place::new().program(&["verify", "--timeout", timeout]).assert().code(2).stderr(contains("--timeout"));
        }
    }
}

mod the_output {
    use super::*;

    #[test]
    fn as_json_keeps_to_the_schema_and_carries_the_exit_code() {
        for (atomics, code) in [("both", 0), ("off", 3)] {
            let arguments = with(&FOUNDING, &["--format", "json", "--atomics", atomics]);
            let output = Place::new().program(&arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(code));
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(violations(&report), Vec::<String>::new());
            assert_eq!(report["verdict"]["exit_code"], code);
            assert_eq!(report["bed"]["kind"], "embedded");
            let off = &report["devices"][0]["runs"][0];
            assert_eq!(off["requester"], serde_json::json!({"kind": "holds", "enabled": false}));
            assert_eq!(off["cases"][0]["outcome"]["kind"], "completion-lost");
            assert_eq!(off["cases"][0]["standing"], "as-predicted");
            assert_eq!(off["cases"][0]["evidence"]["output"]["right"], 1_048_576);
        }
    }

    #[test]
    fn goes_to_a_file_whole_and_leaves_the_verdict_on_stderr() {
        let place = Place::new();
        let file = place.path("report.txt");
        fs::write(&file, "an older report").unwrap();
        place
            .program(&with(&FOUNDING, &["--atomics", "off", "-o", file.to_str().unwrap()]))
            .assert()
            .code(3)
            .stdout(is_empty())
            .stderr(contains("HANG: "));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(FIX) && !text.contains("an older report"), "{text}");
        assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn to_a_file_that_cannot_be_written_is_an_error_before_anything_runs() {
        let place = Place::new();
        for target in [place.path("missing/report.json"), place.path("")] {
            let started = Instant::now();
            place
                .program(&["verify", "--runtime", "embedded", "-o", target.to_str().unwrap()])
                .assert()
                .code(2)
                .stdout(is_empty())
                .stderr(contains("cannot write"))
                .stderr(contains("hint: "));
            assert!(started.elapsed() < program::PATIENCE);
        }
    }

    #[test]
    fn is_coloured_only_where_it_is_asked_for() {
        let arguments = with(&FOUNDING, &["--atomics", "on"]);
        let escape = || contains("\u{1b}[");
        Place::new().program(&arguments).assert().stdout(escape().not());
        Place::new().program(&arguments).env("CLICOLOR_FORCE", "1").assert().stdout(escape());
        Place::new().program(&arguments).env("NO_COLOR", "1").assert().stdout(escape().not());
    }

    #[test]
    fn to_a_reader_that_has_gone_away_is_no_failure() {
        let place = Place::new();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments = with(&FOUNDING, &["--atomics", "on"]);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_aqlprobe"))
            .args(arguments)
            .env("TMPDIR", place.path(""))
            .env("XDG_RUNTIME_DIR", place.path(""))
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }

    #[test]
    fn of_help_names_every_exit_code_and_gives_examples() {
        Place::new()
            .program(&["verify", "--help"])
            .assert()
            .code(0)
            .stdout(contains("Examples:"))
            .stdout(is_match(r"(?s)Exit codes:\n  0 .*\n  1 .*\n  2 .*\n  3 .*\n  4 ").unwrap());
    }
}

/// A run with AtomicOps off that takes a while: all cases, each losing its completion. The dump has the bit set, so that a run
/// without AtomicOps has something to put back.
mod when_something_dies {
    use super::*;

    fn long_run(place: &Place) -> (program::Running, program::ConfigFile) {
        let file = dump("02-fiji-after.txt");
        let running = place.start(&["verify", "--runtime", "embedded", "--replay", &file, "--atomics", "off"]);
        let config = place.config_space();
        (running, config)
    }

    /// Far enough into the run that a case is under way.
    fn let_it_work() {
        thread::sleep(Duration::from_millis(300));
    }

    #[test]
    fn a_killed_worker_is_reported_the_rest_still_runs_and_the_bit_is_put_back() {
        let place = Place::new();
        let (running, mut config) = long_run(&place);
        let worker = running.worker();
        let_it_work();
        assert!(!config.requester_enabled(), "the run is without AtomicOps");
        kill_process(worker, Signal::KILL).unwrap();
        let status = running.end();
        let text = place.stdout();
        assert_eq!(status.code(), Some(1), "{text}\n{}", place.stderr());
        assert!(text.contains("worker-crashed (SIGKILL)"), "{text}");
        assert_eq!(text.matches("worker-crashed FAILED").count(), 1, "one case dies with its worker: {text}");
        assert!(text.matches("completion-lost (predicted)").count() > 10, "the others still run: {text}");
        assert!(config.requester_enabled(), "the bit must be as it was found");
    }

    #[test]
    fn an_interrupt_ends_the_run_at_once_and_puts_the_bit_back() {
        for signal in [Signal::INT, Signal::TERM] {
            let place = Place::new();
            let (running, mut config) = long_run(&place);
            let worker = running.worker();
            running.signal(signal);
            let started = Instant::now();
            let status = running.end();
            assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
            assert_eq!(status.code(), Some(1), "{}", place.stderr());
            assert!(place.stderr().contains("interrupted"), "{}", place.stderr());
            assert_eq!(place.stdout(), "");
            assert!(config.requester_enabled(), "the bit must be as it was found");
            program::eventually("the worker's end", || (!is_alive(worker)).then_some(()));
        }
    }

    #[test]
    fn a_killed_supervisor_takes_its_worker_along_and_restore_puts_the_bit_back() {
        let place = Place::new();
        let (running, mut config) = long_run(&place);
        let worker = running.worker();
        let journal = place.journal();
        running.signal(Signal::KILL);
        running.end();
        program::eventually("the worker's end", || (!is_alive(worker)).then_some(()));
        assert!(!config.requester_enabled(), "nobody has put it back yet");
        place
            .program(&["atomics", "restore", "--journal", journal.to_str().unwrap()])
            .assert()
            .code(0)
            .stdout(contains("0000:0b:00.0"));
        assert!(config.requester_enabled(), "the bit must be as it was found");
        assert!(!journal.exists(), "a journal that was restored from is removed");
    }
}

#[test]
fn restoring_from_what_is_no_journal_is_a_clear_error() {
    let place = Place::new();
    let file = place.path("prose");
    fs::write(&file, "no journal").unwrap();
    for journal in [file, place.path("missing")] {
        place
            .program(&["atomics", "restore", "--journal", journal.to_str().unwrap()])
            .assert()
            .code(1)
            .stderr(contains("error: "))
            .stderr(contains("panicked").not());
    }
}

#[test]
fn a_worker_without_a_plan_it_understands_ends_at_once_without_a_panic() {
    Place::new().program(&["worker", "--plan", "{"]).assert().failure().stderr(contains("panicked").not());
}
