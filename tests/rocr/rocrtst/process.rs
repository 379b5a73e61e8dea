//! One program under `aqlprobe run`, in a process group of its own, with a deadline and its output in a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::outcome::Ending;

/// How often a running test is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What every test of one target has in common.
#[derive(Debug, Clone)]
pub struct Bench {
    pub probe: PathBuf,
    pub sysroot: PathBuf,
    pub target: &'static str,
    /// Where outputs are kept.
    pub outputs: PathBuf,
}

#[derive(Debug)]
pub struct Ran {
    pub ending: Ending,
    pub output: String,
    pub took: Duration,
}

impl Bench {
    /// The directory with rocrtst64 and a directory of code objects for every target.
    pub fn rocrtst(&self) -> PathBuf {
        self.sysroot.join("usr/libexec/rocm/libhsa-runtime64-tests")
    }

    /// Runs rocrtst64 with these arguments. `name` is the output file's.
    pub fn run(&self, name: &str, arguments: &[&str], deadline: Duration) -> io::Result<Ran> {
        let path = self.outputs.join(format!("{name}.txt"));
        // What a killed `aqlprobe run` and its program leave behind goes away with this directory.
        let scratch = tempfile::Builder::new().prefix("run.").tempdir_in(&self.outputs)?;
        let output = File::create(&path)?;
        let mut command = Command::new(&self.probe);
        command.args(["run", "--target", self.target, "--atomics", "on", "--sysroot"]).arg(&self.sysroot).arg("--");
        command.arg(self.rocrtst().join("rocrtst64")).args(arguments);
        command.env("ROCRTST_KERNELS_PATH", self.rocrtst()).env("TMPDIR", scratch.path()).current_dir(scratch.path());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let ending = loop {
            if let Some(status) = child.try_wait()? {
                break match (status.code(), status.signal()) {
                    (Some(code), _) => Ending::Exited(code),
                    (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
                };
            }
            if started.elapsed() >= deadline {
                break Ending::Overran;
            }
            thread::sleep(GLANCE);
        };
        let took = started.elapsed();
        // Always, because a test that forks (IPC) may leave its child behind: the group's number is its leader's until the last one is gone.
        let _ = kill_process_group(group, Signal::KILL);
        if ending == Ending::Overran {
            child.wait()?;
        }
        Ok(Ran { ending, output: text_of(&path)?, took })
    }
}

/// The end of a long output is what tells: a test that loops may print for as long as it lives.
fn text_of(path: &Path) -> io::Result<String> {
    const LONGEST: usize = 4 << 20;
    let bytes = fs::read(path)?;
    let from = bytes.len().saturating_sub(LONGEST);
    Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
}
