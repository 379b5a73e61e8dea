//! The built program, run where nothing of the user's machine leaks in: own temporary directory, no colour settings.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than any run takes, also unoptimised on a busy machine; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A node that does not exist.
#[allow(dead_code, reason = "not every test needs it")]
pub const NO_KFD: &str = "/nonexistent/kfd";

/// Of the embedded GPU's config file: Device Control 2 of the Fiji, whose PCI Express capability is at 0x58.
const DEVICE_CONTROL_2: u64 = 0x58 + 0x28;
const REQUESTER_ENABLE: u8 = 0x40;

/// A place for one run of the program.
pub struct Place {
    temporary: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { temporary: tempfile::tempdir().unwrap() }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn environment(&self) -> [(&'static str, &Path); 2] {
        [("TMPDIR", self.temporary.path()), ("XDG_RUNTIME_DIR", self.temporary.path())]
    }

    /// The program, to be run to its end.
    pub fn program(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_aqlprobe"));
        command.args(arguments).envs(self.environment()).timeout(PATIENCE);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
    }

    /// The same as on a machine without a GPU, whatever machine this is.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn program_without_gpu(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.program(arguments);
        command.env("AQLPROBE_KFD", NO_KFD);
        command
    }

    /// The program, started.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aqlprobe"));
        command.args(arguments);
        self.start_command(command)
    }

    /// A command that comes to be the program, started.
    pub fn start_command(&self, mut command: Command) -> Running {
        let child = command
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(File::create(self.path("stdout")).unwrap())
            .stderr(File::create(self.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Running { child }
    }

    /// What a started program printed on stdout.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.path("stdout")).unwrap()
    }

    /// What a started program printed on stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// The embedded GPU's config space, once the bed has laid it out. It can still be read after the bed is gone.
    pub fn config_space(&self) -> ConfigFile {
        ConfigFile(File::open(self.config_file()).unwrap())
    }

    /// Where the embedded GPU's config space lies, once the bed has laid it out.
    pub fn config_file(&self) -> PathBuf {
        let is_config = |path: &Path| path.ends_with("0000:0b:00.0/config");
        // It is there before it is written.
        let is_written = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() > DEVICE_CONTROL_2);
        eventually("the embedded device's config file", || find(self.temporary.path(), &is_config).filter(is_written))
    }

    /// The journal that a run keeps while it has the bit changed.
    pub fn journal(&self) -> PathBuf {
        let is_journal = |path: &Path| path.extension().is_some_and(|extension| extension == "journal");
        eventually("a journal", || find(self.temporary.path(), &is_journal))
    }
}

/// An open config file.
pub struct ConfigFile(File);

impl ConfigFile {
    /// Whether AtomicOp Requester Enable is set.
    pub fn requester_enabled(&mut self) -> bool {
        let mut byte = [0];
        self.0.seek(SeekFrom::Start(DEVICE_CONTROL_2)).unwrap();
        self.0.read_exact(&mut byte).unwrap();
        byte[0] & REQUESTER_ENABLE != 0
    }
}

/// A started program; killed when dropped.
pub struct Running {
    child: Child,
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The worker that runs cases, once there is one (an earlier one may only have listed the GPUs).
    pub fn worker(&self) -> Pid {
        eventually("a worker process with cases to run", || children(self.pid()).into_iter().find(|child| runs_cases(*child)))
    }

    /// Waits for the end.
    pub fn end(mut self) -> ExitStatus {
        eventually("the end of the program", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process is still there and not a zombie.
pub fn is_alive(pid: Pid) -> bool {
    status_field(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).filter(|pid| status_field(*pid, "PPid:").as_deref() == Some(parent.as_str())).collect()
}

fn status_field(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

fn runs_cases(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|line| line.contains("\"cases\":[\""))
}

/// The first path below `folder` that is wanted; symbolic links are not followed.
fn find(folder: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if is_wanted(&path) {
            return Some(path);
        }
        entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| find(&path, is_wanted))?
    })
}
