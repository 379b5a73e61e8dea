//! What the system around a run may do to it: signals, files that cannot be written, limits, and another run on the same device.
//! Each ends with a message that says what to do, the AtomicOps bit as it was found, and no process left.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/program.rs"]
mod program;
#[allow(dead_code, reason = "made for other tests too")]
#[path = "support/trees.rs"]
mod trees;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use program::{Place, eventually, is_alive};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aqlprobe");
const NOP: [&str; 5] = ["verify", "--runtime", "embedded", "--case", "nop"];

fn dump(name: &str) -> String {
    format!("{}/tests/data/lspci/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The program behind a line of shell that sets something up and ends in `exec "$@"`.
fn behind(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script}; exec \"$@\""), "sh", PROGRAM]).args(arguments);
    command
}

/// What is left in the directory for temporary files, but for the test's own files.
fn trees_left(place: &Place) -> usize {
    fs::read_dir(place.path(""))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("aqlprobe-"))
        .count()
}

/// Whether a process works in this place: its environment names it.
fn somebody_works_in(place: &Place) -> bool {
    let wanted = format!("TMPDIR={}", place.path("").display());
    let wanted = wanted.trim_end_matches('/').as_bytes().to_vec();
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let names = fs::read(process.path().join("environ")).unwrap_or_default();
        let alive = process.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)).is_some_and(is_alive);
        alive && names.split(|byte| *byte == 0).any(|name| name == wanted)
    })
}

fn nobody_works_in(place: &Place) {
    eventually("the end of every process", || (!somebody_works_in(place)).then_some(()));
}

mod a_signal {
    use super::*;

    /// A run without AtomicOps that takes seconds; the dump has the bit set.
    fn off_run() -> [String; 7] {
        ["verify", "--runtime", "embedded", "--replay", &dump("02-fiji-after.txt"), "--atomics", "off"].map(str::to_owned)
    }

    fn words(arguments: &[String]) -> Vec<&str> {
        arguments.iter().map(String::as_str).collect()
    }

    #[test]
    fn in_the_run_without_and_in_the_run_with_atomicops_puts_the_bit_back_also_when_it_comes_twice() {
        for (file, atomics, found) in [("02-fiji-after.txt", "off", true), ("01-fiji-before.txt", "on", false)] {
            let place = Place::new();
            let running = place.start(&["verify", "--runtime", "embedded", "--replay", &dump(file), "--atomics", atomics]);
            let mut config = place.config_space();
            eventually("the switched bit", || (config.requester_enabled() != found).then_some(()));
            running.signal(Signal::INT);
            running.signal(Signal::INT);
            assert_eq!(running.end().code(), Some(1), "{}", place.stderr());
            assert!(place.stderr().contains("interrupted by SIGINT; AtomicOps were put back"), "{}", place.stderr());
            assert_eq!(config.requester_enabled(), found, "as it was found");
            nobody_works_in(&place);
            assert_eq!(trees_left(&place), 0);
        }
    }

    #[test]
    fn while_the_runtime_opens_ends_the_run_before_anything_is_switched() {
        let place = Place::new();
        let running = place.start(&words(&off_run()));
        // The tree is there before the runtime is opened.
        let mut config = place.config_space();
        running.signal(Signal::TERM);
        assert_eq!(running.end().code(), Some(1), "{}", place.stderr());
        assert!(place.stderr().contains("interrupted by SIGTERM"), "{}", place.stderr());
        assert!(config.requester_enabled(), "as it was found");
        nobody_works_in(&place);
    }

    #[test]
    fn that_ends_a_terminal_does_not_end_a_run_that_was_started_to_outlive_it() {
        let place = Place::new();
        let arguments = ["verify", "--runtime", "embedded", "--case", "vector-*", "--atomics", "off"];
        let running = place.start_command(behind("trap '' HUP", &arguments));
        running.worker();
        running.signal(Signal::HUP);
        assert_eq!(running.end().code(), Some(3), "{}{}", place.stdout(), place.stderr());
    }

    #[test]
    fn that_stops_the_supervisor_for_a_while_changes_nothing() {
        let place = Place::new();
        let running = place.start(&["verify", "--runtime", "embedded", "--case", "vector-*", "--atomics", "off"]);
        let worker = running.worker();
        running.signal(Signal::STOP);
        // The worker goes on to its end meanwhile.
        eventually("the worker's end", || (!is_alive(worker)).then_some(()));
        running.signal(Signal::CONT);
        assert_eq!(running.end().code(), Some(3), "{}{}", place.stdout(), place.stderr());
    }

    #[test]
    #[ignore = "waits out the thirty seconds that a runtime may take to open: tests/faults/run"]
    fn that_stops_the_worker_is_a_wedged_runtime_and_the_rest_still_runs() {
        let place = Place::new();
        let arguments = [&off_run()[..], &["--timeout".to_owned(), "500".to_owned()]].concat();
        let running = place.start(&words(&arguments));
        let mut config = place.config_space();
        let worker = running.worker();
        place.journal();
        kill_process(worker, Signal::STOP).unwrap();
        assert_eq!(running.end().code(), Some(3), "{}{}", place.stdout(), place.stderr());
        assert!(place.stdout().contains("the runtime does not come back"), "{}", place.stdout());
        assert!(place.stdout().contains("runtime-wedged"), "{}", place.stdout());
        assert!(!is_alive(worker));
        assert!(config.requester_enabled(), "as it was found");
        nobody_works_in(&place);
    }

    #[test]
    fn that_kills_the_supervisor_leaves_no_process_and_the_next_run_clears_its_tree_away() {
        let place = Place::new();
        let running = place.start(&words(&off_run()));
        running.worker();
        running.signal(Signal::KILL);
        running.end();
        nobody_works_in(&place);
        assert_eq!(trees_left(&place), 1);
        place.program(&NOP).assert().code(0);
        assert_eq!(trees_left(&place), 0);
    }
}

mod a_guest_run {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    /// What a guest is made of as far as the run looks at it, around a QEMU that only stays.
    fn assets(folder: &Path) {
        let source = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest").join(name)).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        // By this word the recipe knows what is complete.
        let assembly = source("assemble.sh");
        let is_part = |line: &&str| ["unneeded=", "modules=", "recipe="].iter().any(|name| line.starts_with(name));
        let recipe: Vec<&str> = assembly.lines().filter(is_part).chain(["printf %s $recipe"]).collect();
        let recipe = Command::new("bash").args(["-c", &recipe.join("\n")]).output().unwrap().stdout;
        let recipe = format!("recipe {}\n", String::from_utf8(recipe).unwrap());
        for part in ["qemu", "kernels/sid"] {
            write(&format!("{part}/packages.txt"), &recipe);
        }
        let hops = fs::File::options().append(true).open(write("hops.c", &source("hops.c"))).unwrap();
        hops.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        for (name, text) in
            [("hops.so", ""), ("kernels/sid/release", "7.2"), ("kernels/sid/vmlinuz", ""), ("kernels/sid/modules/order", "")]
        {
            write(name, text);
        }
        let qemu =
            write("qemu/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "#!/bin/sh\necho $$ >\"$TMPDIR/qemu\"\nexec sleep 600\n");
        fs::set_permissions(qemu, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn that_is_killed_leaves_neither_qemu_nor_the_endpoint() {
        let place = Place::new();
        assets(&place.path("assets"));
        let running = place.start(&["guest", "run", "--assets", place.path("assets").to_str().unwrap()]);
        let qemu = eventually("QEMU", || fs::read_to_string(place.path("qemu")).ok()?.trim().parse().ok().and_then(Pid::from_raw));
        assert!(is_alive(qemu), "{}", place.stderr());
        running.signal(Signal::KILL);
        running.end();
        nobody_works_in(&place);
        assert!(!is_alive(qemu));
    }
}

mod a_place_that_cannot_be_written {
    use super::*;

    fn told(arguments: &[&str], code: i32) -> assert_cmd::assert::Assert {
        Place::new().program(arguments).assert().code(code).stderr(contains("error: ")).stderr(contains("panicked").not())
    }

    #[test]
    fn because_it_is_full_is_named_with_the_reason() {
        told(&[&NOP[..], &["-o", "/dev/full"]].concat(), 1)
            .stdout(is_empty())
            .stderr(contains("cannot write /dev/full"))
            // The run is not lost with its report.
            .stderr(contains("PASS: "))
            .stderr(contains("No space left on device"))
            .stderr(contains("hint: free space there"));
    }

    #[test]
    fn because_files_may_not_grow_is_named_and_leaves_an_older_report_alone() {
        let place = Place::new();
        let target = place.path("report.json");
        fs::write(&target, "an older report").unwrap();
        let arguments = [&NOP[..], &["--format", "json", "-o", target.to_str().unwrap()]].concat();
        // In blocks of 512 bytes: enough for the PCI tree, too little for a report.
        let status = place.start_command(behind("ulimit -f 2", &arguments)).end();
        assert_eq!(status.code(), Some(1), "{status}: {}", place.stderr());
        assert!(place.stderr().contains("cannot write") && place.stderr().contains("File too large"), "{}", place.stderr());
        assert_eq!(fs::read_to_string(&target).unwrap(), "an older report");
        assert_eq!(trees_left(&place), 0);
    }

    #[test]
    fn because_it_is_read_only_is_known_before_anything_runs() {
        // Directories in which not even root creates files.
        for target in ["/proc/report.json", "/sys/report.json"] {
            told(&[&NOP[..], &["-o", target]].concat(), 2)
                .stdout(is_empty())
                .stderr(contains("cannot write"))
                .stderr(contains("hint: "));
        }
    }

    #[test]
    fn that_is_stdout_is_named_unless_its_reader_has_gone() {
        let place = Place::new();
        let run = |script: &str| {
            let status = place.start_command(behind(script, &NOP)).end();
            (status.code(), place.stderr())
        };
        let (code, stderr) = run("exec >/dev/full");
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("cannot write to stdout") && stderr.contains("No space left"), "{stderr}");
        assert_eq!(run("exec <&- >&- 2>&-").0, Some(0), "closed from the start");
        assert_eq!(run("exec 2>/dev/full").0, Some(0), "stderr is full");
    }

    #[test]
    fn that_is_stderr_does_not_change_how_the_run_ends() {
        let place = Place::new();
        let status = place.start_command(behind("exec 2>/dev/full", &["verify", "--case", "no-such-case"])).end();
        assert_eq!(status.code(), Some(2));
    }

    #[test]
    fn that_is_for_temporary_files_is_named_with_what_to_set() {
        for directory in ["/nonexistent", "/proc", "/dev/null"] {
            Place::new()
                .program(&NOP)
                .env("TMPDIR", directory)
                .assert()
                .code(1)
                .stderr(contains(directory))
                .stderr(contains("TMPDIR"))
                .stderr(contains("panicked").not());
        }
    }
}

mod a_limit {
    use super::*;

    /// Whatever the limit makes impossible, the run ends by itself, says why, and leaves nothing.
    fn ends_in_order(limit: &str) {
        let place = Place::new();
        let status = place.start_command(behind(limit, &NOP)).end();
        let stderr = place.stderr();
        assert!(!stderr.contains("panicked"), "{limit}: {stderr}");
        match status.code() {
            Some(0) => {}
            // 127: below that nothing can be loaded, which the dynamic linker says.
            Some(1 | 4 | 127) => assert!(stderr.contains("error"), "{limit}: {stderr}"),
            _ => panic!("{limit}: {status}: {stderr}"),
        }
        nobody_works_in(&place);
        // A process that may open no file cannot list a directory to remove it; the next one can.
        place.program(&NOP).assert().code(0);
        assert_eq!(trees_left(&place), 0, "{limit}");
    }

    #[test]
    fn of_open_files_is_an_error_that_names_it() {
        for files in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24] {
            ends_in_order(&format!("ulimit -n {files}"));
        }
        let place = Place::new();
        place.start_command(behind("ulimit -n 8", &NOP)).end();
        assert!(place.stderr().contains("ulimit -n"), "{}", place.stderr());
    }

    #[test]
    fn of_memory_is_an_error() {
        // Less than an unoptimised program takes itself, and the kernel ends it with SIGSEGV before its first instruction.
        for kilobytes in [30_000, 40_000, 60_000, 100_000, 200_000, 400_000] {
            ends_in_order(&format!("ulimit -v {kilobytes}"));
        }
    }
}

mod an_odd_environment {
    use super::*;

    #[test]
    fn without_any_variable_or_with_variables_in_no_encoding_is_no_obstacle() {
        let place = Place::new();
        place.program(&NOP).env_clear().env("TMPDIR", place.path("")).assert().code(0);
        place.program(&NOP).env("HOME", OsStr::from_bytes(b"/\xff")).env("PATH", OsStr::from_bytes(b"\xfe")).assert().code(0);
    }

    #[test]
    fn with_arguments_in_no_encoding_is_usage_and_with_files_so_named_works() {
        let place = Place::new();
        place.program(&["verify"]).arg(OsStr::from_bytes(b"--case=\xff")).assert().code(2).stderr(contains("UTF-8"));
        let report = place.path("").join(OsStr::from_bytes(b"report-\xff"));
        place.program(&NOP).arg("-o").arg(&report).assert().code(0);
        assert!(fs::read_to_string(&report).unwrap().contains("PASS"));
        let directory = place.path("").join(OsStr::from_bytes(b"tmp-\xff"));
        fs::create_dir(&directory).unwrap();
        place.program(&NOP).env("TMPDIR", &directory).assert().code(1).stderr(contains("TMPDIR")).stderr(contains("UTF-8"));
    }

    #[test]
    fn with_very_long_arguments_is_usage() {
        let long = "x".repeat(100_000);
        Place::new().program(&["verify", "--case", &long]).assert().code(2).stderr(contains("panicked").not());
        let path = format!("/{}", "d/".repeat(5_000));
        Place::new().program(&[&NOP[..], &["-o", &path]].concat()).assert().code(2).stderr(contains("cannot write"));
    }
}

mod a_device_in_use {
    use super::*;
    use aqlprobe::pci::device_lock::DeviceLock;
    use aqlprobe::pci::tree::Completers;
    use trees::{GPU, bdf, behind_root_port};

    fn config(root: &Path) -> std::path::PathBuf {
        root.join("bus/pci/devices/0000:0b:00.0/config")
    }

    #[test]
    fn is_neither_switched_nor_restored_by_another_and_the_error_says_who_has_it() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        let (root, place) = (tree.path().to_str().unwrap(), Place::new());
        place.program(&["atomics", "enable", GPU, "--sysfs-root", root, "--yes"]).assert().code(0);
        let before = fs::read(config(tree.path())).unwrap();
        let lock = DeviceLock::take(&config(tree.path()), bdf(GPU)).unwrap();
        for arguments in [&["disable", GPU, "--yes", "--force"][..], &["enable", GPU, "--yes"], &["restore", GPU]] {
            let all = [&["atomics"], arguments, &["--sysfs-root", root]].concat();
            place
                .program(&all)
                .assert()
                .code(2)
                .stdout(is_empty())
                .stderr(contains(format!("0000:0b:00.0 is in use by process {} (`", std::process::id())))
                .stderr(contains("started "));
        }
        assert_eq!(fs::read(config(tree.path())).unwrap(), before);
        place.program(&["atomics", "status", GPU, "--sysfs-root", root]).assert().code(0);
        drop(lock);
        place.program(&["atomics", "restore", GPU, "--sysfs-root", root]).assert().code(0).stdout(contains("is 0 again"));
    }

    #[test]
    fn by_a_verify_is_refused_to_another_process_until_the_run_is_over() {
        let place = Place::new();
        let arguments = ["verify", "--runtime", "embedded", "--replay", &dump("02-fiji-after.txt"), "--atomics", "off"];
        let running = place.start(&arguments);
        let (file, mut config) = (place.config_file(), place.config_space());
        eventually("the switched bit", || (!config.requester_enabled()).then_some(()));
        let root = file.ancestors().find(|folder| folder.join("bus/pci/devices").is_dir()).unwrap().to_str().unwrap();
        let other = Place::new();
        let asked =
            |words: &[&str]| other.program(&[&["atomics"], words, &["--sysfs-root", root]].concat()).assert().stdout(is_empty());
        let (in_use, switching) =
            (format!("is in use by process {} (`", running.id()), format!("process {} is switching", running.id()));
        asked(&["enable", GPU, "--yes"]).code(2).stderr(contains(in_use));
        asked(&["restore", GPU]).code(2).stderr(contains(switching)).stderr(contains("wait for it to end"));
        assert!(!config.requester_enabled(), "the run still has it switched off");
        running.signal(Signal::INT);
        assert_eq!(running.end().code(), Some(1), "{}", place.stderr());
        assert!(config.requester_enabled(), "as it was found");
    }

    #[test]
    fn is_free_again_when_its_holder_is_killed() {
        let tree = behind_root_port("01-fiji-before.txt", Completers::Both);
        let take = || DeviceLock::take(&config(tree.path()), bdf(GPU));
        // `--no-fork`: the command itself holds the lock.
        let mut holder = Command::new("flock").arg("--no-fork").arg(config(tree.path())).args(["sleep", "600"]).spawn().unwrap();
        eventually("the other's lock", || take().is_err().then_some(()));
        let told = take().unwrap_err().to_string();
        assert!(told.contains(&format!("process {} (`", holder.id())), "{told}");
        holder.kill().unwrap();
        holder.wait().unwrap();
        take().unwrap();
    }
}

/// Whatever the wall clock says while it runs: the same verdict, the same exit code, and deadlines neither sooner nor never.
#[test]
fn a_wall_clock_that_jumps_by_hours_at_every_reading_changes_no_verdict_and_no_deadline() {
    let place = Place::new();
    let shim = place.path("libclock_jump.so");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock_jump.rs");
    let built =
        Command::new(compiler).args(["--edition=2024", "--crate-type=cdylib", "-o"]).arg(&shim).arg(source).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    // A completion, a loss that is predicted, and a loss that takes until the deadline.
    let complete = [&NOP[..], &["--case", "vector-copy", "--atomics", "both"]].concat();
    let lost = [&NOP[..], &["--atomics", "on", "--inject", "signal-dropped,seed=1", "--timeout", "1000"]].concat();
    for (arguments, code) in [(complete, 0), (lost, 3)] {
        let told = |command: &mut assert_cmd::Command| -> serde_json::Value {
            serde_json::from_slice(&command.assert().code(code).get_output().stdout).unwrap()
        };
        let arguments = [&arguments[..], &["--format", "json"]].concat();
        let still = told(&mut place.program(&arguments));
        let jumping = told(place.program(&arguments).env("LD_PRELOAD", &shim));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let hours_off = |report: &serde_json::Value| report["started_at"].as_u64().unwrap().abs_diff(now) / 3600;
        assert_eq!((hours_off(&still), hours_off(&jumping) >= 6), (0, true), "the clock did not jump");
        assert_eq!(still["verdict"], jumping["verdict"]);
        let outcomes = |report: &serde_json::Value| {
            let runs = report["devices"][0]["runs"].as_array().unwrap().clone();
            let cases = runs.iter().flat_map(|run| run["cases"].as_array().unwrap().clone());
            cases.map(|case| (case["name"].clone(), case["outcome"].clone(), case["suspect"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&still), outcomes(&jumping));
    }
}

/// Durations are measured on a clock that does not jump; the wall clock is only told.
#[test]
fn the_wall_clock_is_read_where_a_time_of_day_is_told_and_nowhere_else() {
    const TELLERS: [&str; 4] = ["verify/supervisor/mod.rs", "guest/run.rs", "pci/requester/journal.rs", "latency/supervisor.rs"];
    fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { sources(&path, found) } else { found.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let readers: Vec<String> = files
        .iter()
        .filter(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("SystemTime")))
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert!(readers.contains(&TELLERS[0].to_owned()), "the sources were not found");
    let others: Vec<&String> = readers.iter().filter(|reader| !TELLERS.contains(&reader.as_str())).collect();
    assert!(others.is_empty(), "measure with Instant: {others:?}");
}
