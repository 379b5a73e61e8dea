//! A worker process: spawned, listened to, and ended for certain.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::{FaultPlan, INJECT_ENV};
use crate::rocr::Surroundings;
use crate::verify::error::VerifyError;
use crate::verify::event::{Gate, WorkerEvent, WorkerPlan};

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<E = WorkerEvent> {
    /// An event.
    Event(E),
    /// A line that is none.
    Garbage(String),
    /// Its stdout is closed: it is ending, by itself or not.
    Closed,
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with status 0.
    Clean,
    /// By a signal or with another status; its name.
    Crashed(String),
    /// Not at all: killed, and still there, which only a process stuck inside the kernel is.
    Unkillable,
}

/// A worker as the supervisor sees it.
pub trait Worker<E = WorkerEvent> {
    /// The next message, if one comes in time.
    fn next(&mut self, wait: Duration) -> Option<Message<E>>;
    /// Waits this long for it to end by itself, then kills it.
    fn end(&mut self, grace: Duration) -> Ending;
    /// The last lines it wrote to stderr.
    fn complaints(&self) -> Vec<String>;
    /// Lets it pass its gate.
    fn proceed(&mut self);
    /// How many bytes it wrote that are no events, once they are too many for somebody who has something to say.
    fn flood(&self) -> Option<u64> {
        None
    }
}

/// Starts workers of this very binary.
#[derive(Clone, Debug, Default)]
pub struct Launcher {
    /// The C library that they run on.
    pub surroundings: Surroundings,
    /// Set in the workers' environment.
    pub environment: Vec<(String, OsString)>,
    /// What is to go wrong in them.
    pub faults: Option<FaultPlan>,
}

/// How long a killed process may take to disappear.
const KILL_GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// How long the end of its stderr may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(250);
const KEPT_LINES: usize = 12;
const KEPT_CHARACTERS: usize = 300;

/// Messages of a worker that are kept while the supervisor is busy; then the worker waits.
const KEPT_MESSAGES: usize = 256;
/// Bytes of a line at most; what is longer counts as several lines. An event has a few kilobytes.
const LINE_BYTES: u64 = 1 << 20;
/// More bytes than a runtime that logs its every call writes in a run.
const FLOOD_BYTES: u64 = 16 << 20;

impl Launcher {
    /// The same launcher with what the plan leaves for this case.
    #[must_use]
    pub fn for_case(&self, case: &str) -> Self {
        let faults = self.faults.as_ref().and_then(|plan| plan.for_case(case));
        Self { faults, ..self.clone() }
    }

    /// The same launcher for workers in which nothing goes wrong on purpose.
    #[must_use]
    pub fn without_faults(&self) -> Self {
        Self { faults: None, ..self.clone() }
    }

    /// Starts a worker on `plan`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn launch(&self, plan: &WorkerPlan) -> Result<WorkerProcess, VerifyError> {
        self.start("worker", plan, plan.gate)
    }

    /// Starts the hidden subcommand `command` on a plan of its own kind, whose events are `E`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start<P, E>(&self, command: &'static str, plan: &P, gate: Gate) -> Result<WorkerProcess<E>, VerifyError>
    where
        P: Serialize,
        E: DeserializeOwned + Send + 'static,
    {
        let stdin = match gate {
            Gate::Open => Stdio::null(),
            Gate::AfterLoading => Stdio::piped(),
        };
        let plan =
            serde_json::to_string(plan).map_err(|error| VerifyError::Worker(format!("its plan cannot be written: {error}")))?;
        let mut child = self
            .program()?
            .args([command, "--plan", &plan])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Always, so that no fault gets in from our own environment that no report would tell of.
            .env(INJECT_ENV, self.faults.as_ref().map(FaultPlan::to_string).unwrap_or_default())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt from the terminal is for the supervisor, which ends the worker itself.
            .process_group(0)
            .spawn()
            .map_err(|error| VerifyError::Worker(format!("it cannot be started: {error}")))?;
        let (sender, messages) = mpsc::sync_channel(KEPT_MESSAGES);
        let spilled = Arc::new(AtomicU64::new(0));
        if let Some(stdout) = child.stdout.take() {
            let spilled = Arc::clone(&spilled);
            thread::spawn(move || {
                for line in bounded_lines(stdout) {
                    let garbage = |_| {
                        spilled.fetch_add(line.len() as u64, Ordering::Relaxed);
                        Message::Garbage(String::from_utf8_lossy(&line).into_owned())
                    };
                    let message = serde_json::from_slice(&line).map_or_else(garbage, Message::Event);
                    if sender.send(message).is_err() {
                        break;
                    }
                }
            });
        }
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let (said_all, end_of_words) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let (complaints, spilled) = (Arc::clone(&complaints), Arc::clone(&spilled));
            thread::spawn(move || {
                keep_last_lines(stderr, &spilled, &complaints);
                // Nobody may be waiting for it.
                let _ = said_all.send(());
            });
        }
        let gate = child.stdin.take();
        Ok(WorkerProcess { child, messages, complaints, end_of_words, gate, spilled })
    }

    /// The binary of this process, ready for arguments.
    fn program(&self) -> Result<Command, VerifyError> {
        const THIS: &str = "/proc/self/exe";
        match &self.surroundings {
            Surroundings::System => {
                // Not the path of the binary: that may have been replaced since this process started.
                let mut command = Command::new(THIS);
                command.arg0("aqlprobe");
                Ok(command)
            }
            // In a process that a loader was told to start, the link leads to the loader; so the path has to be named here.
            sysroot @ Surroundings::Sysroot(_) => {
                let failed = |reason: String| VerifyError::Worker(format!("the path of this program cannot be used: {reason}"));
                let path = std::fs::read_link(THIS).map_err(|error| failed(error.to_string()))?;
                sysroot.command(path.as_os_str(), None).map_err(|error| failed(error.to_string()))
            }
        }
    }
}

/// The lines of a stream without their ends. A line without end does not fill memory: it comes in pieces.
fn bounded_lines(stream: impl Read) -> impl Iterator<Item = Vec<u8>> {
    let mut reader = BufReader::new(stream);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).ok()?;
        line.pop_if(|last| *last == b'\n');
        (read > 0).then_some(line)
    })
}

fn keep_last_lines(stream: impl Read, spilled: &AtomicU64, kept: &Mutex<VecDeque<String>>) {
    for line in bounded_lines(stream) {
        spilled.fetch_add(line.len() as u64, Ordering::Relaxed);
        let line: String = String::from_utf8_lossy(&line).trim_end().chars().take(KEPT_CHARACTERS).collect();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub struct WorkerProcess<E = WorkerEvent> {
    child: Child,
    messages: Receiver<Message<E>>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    end_of_words: Receiver<()>,
    gate: Option<ChildStdin>,
    /// Bytes read that are no events.
    spilled: Arc<AtomicU64>,
}

impl<E> WorkerProcess<E> {
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl<E> Worker<E> for WorkerProcess<E> {
    fn next(&mut self, wait: Duration) -> Option<Message<E>> {
        match self.messages.recv_timeout(wait) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Closed),
        }
    }

    fn end(&mut self, grace: Duration) -> Ending {
        let status = self.wait(grace).or_else(|| {
            // It can only fail when the process is gone, which the wait then sees.
            let _ = self.child.kill();
            self.wait(KILL_GRACE)
        });
        // Its last words may still be in the pipe, which a process of its own may hold open.
        let _ = self.end_of_words.recv_timeout(LAST_WORDS);
        match status {
            None => Ending::Unkillable,
            Some(status) if status.success() => Ending::Clean,
            Some(status) => Ending::Crashed(describe(status)),
        }
    }

    fn proceed(&mut self) {
        if let Some(mut gate) = self.gate.take() {
            // A worker that is gone is noticed by its silence.
            let _ = gate.write_all(b"\n");
        }
    }

    fn flood(&self) -> Option<u64> {
        Some(self.spilled.load(Ordering::Relaxed)).filter(|bytes| *bytes > FLOOD_BYTES)
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl<E> Drop for WorkerProcess<E> {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> WorkerProcess {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (messages, end_of_words) = (mpsc::sync_channel(1).1, mpsc::channel().1);
        WorkerProcess { child, messages, complaints: Arc::default(), end_of_words, gate: None, spilled: Arc::default() }
    }

    #[test]
    fn a_process_that_ends_by_itself_is_clean_or_crashed_with_its_status() {
        assert_eq!(shell("exit 0").end(KILL_GRACE), Ending::Clean);
        assert_eq!(shell("exit 3").end(KILL_GRACE), Ending::Crashed("exit status 3".to_owned()));
        assert_eq!(shell("kill -SEGV $$").end(KILL_GRACE), Ending::Crashed("SIGSEGV".to_owned()));
    }

    #[test]
    fn a_process_that_does_not_end_is_killed_even_when_it_ignores_requests() {
        let mut stubborn = shell("trap '' TERM INT; while :; do sleep 60; done");
        assert_eq!(stubborn.end(Duration::from_millis(20)), Ending::Crashed("SIGKILL".to_owned()));
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let endless = std::io::repeat(b'x').take(3 * LINE_BYTES + 7);
        let lengths: Vec<_> = bounded_lines(endless.chain(&b"\nlast\n\nopen"[..])).map(|line| line.len() as u64).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, LINE_BYTES, 7, 4, 0, 4]);
    }

    #[test]
    fn only_the_last_lines_of_stderr_are_kept_and_long_ones_are_cut() {
        let kept = Mutex::new(VecDeque::new());
        let text: String = (0..50).map(|line| format!("line {line} {}\n", "x".repeat(1000))).collect();
        let spilled = AtomicU64::new(0);
        keep_last_lines(text.as_bytes(), &spilled, &kept);
        assert_eq!(spilled.into_inner() as usize, text.len() - text.lines().count());
        let kept = kept.into_inner().unwrap();
        assert_eq!(kept.len(), KEPT_LINES);
        assert!(kept.back().unwrap().starts_with("line 49"));
        assert!(kept.iter().all(|line| line.len() <= KEPT_CHARACTERS));
    }
}
