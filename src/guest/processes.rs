//! Processes that end when whoever started them does.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a process is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// More of a log than anybody reads.
const LOG_AT_MOST: usize = 64 * 1024;

/// A child process, killed and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it without input, both its outputs in the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = fs::File::create(log)?;
        let errors = output.try_clone()?;
        end_with_parent(command);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and kills it if it does not within this time.
    pub fn end(&mut self, grace: Duration) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
            && self.ended().is_none()
        {
            // It may have ended just now; it is not reaped yet, so the id is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + grace;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        self.kill();
    }

    /// Kills it now.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// The end of what it has printed, as lines.
    pub fn log(&self) -> Vec<String> {
        last_lines(&self.log, usize::MAX)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the kernel kill the process when whoever starts it dies, also where that one is killed itself and can end nothing any more
/// (prctl(2), PR_SET_PDEATHSIG: when the *thread* that starts it ends; a run starts its processes on the thread that waits for them).
fn end_with_parent(command: &mut Command) {
    let parent = getpid();
    let arranged = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Who died before the line above was heard of by nobody.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be called: these are two system calls, and nothing allocates.
    unsafe { command.pre_exec(arranged) };
}

/// The last lines of a file that another process writes; none when it cannot be read.
pub(super) fn last_lines(path: &Path, at_most: usize) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_AT_MOST)..]).into_owned();
    let visible = |line: &str| line.chars().filter(|character| !character.is_control()).collect::<String>();
    let lines: Vec<String> = text.lines().map(visible).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(at_most)..].to_vec()
}

/// Catches the signals that ask this process to end, for as long as it lives, so that its children are ended first.
#[derive(Debug)]
pub(super) struct Interrupts {
    caught: Arc<AtomicUsize>,
    registered: Vec<SigId>,
}

impl Interrupts {
    /// Starts catching. A signal that cannot be caught keeps its own effect.
    pub fn catch() -> Self {
        let caught = Arc::new(AtomicUsize::new(0));
        let register =
            |signal: i32| signal_hook::flag::register_usize(signal, Arc::clone(&caught), signal.unsigned_abs() as usize).ok();
        let registered = [SIGINT, SIGTERM, SIGHUP].into_iter().filter_map(register).collect();
        Self { caught, registered }
    }

    /// The signal that came, by number.
    pub fn pending(&self) -> Option<usize> {
        Some(self.caught.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(folder: &Path, script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]), &folder.join("log")).unwrap()
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_process_is_gone_when_its_handle_is() {
        let folder = tempfile::tempdir().unwrap();
        let process = started(folder.path(), "exec sleep 600");
        let pid = process.child.id();
        assert!(exists(pid));
        drop(process);
        assert!(!exists(pid));
    }

    #[test]
    fn a_process_that_does_not_listen_is_killed_after_its_grace() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = started(folder.path(), "trap '' TERM; while :; do sleep 1; done");
        process.end(Duration::from_millis(50));
        assert!(process.ended().is_some());
    }

    #[test]
    fn what_it_prints_is_kept_without_what_a_terminal_would_obey() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = started(folder.path(), r"printf 'one\r\n\033[2Jtwo\n\n' >&2");
        while process.ended().is_none() {
            thread::sleep(LOOK);
        }
        assert_eq!(process.log(), ["one", "[2Jtwo"]);
        assert_eq!(last_lines(&folder.path().join("log"), 1), ["[2Jtwo"]);
    }
}
