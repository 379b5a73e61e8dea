//! A worker process: spawned, listened to, and ended for certain.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal as ProcessSignal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::{FaultPlan, INJECT_ENV};
use crate::rocr::Surroundings;
use crate::verify::error::VerifyError;
use crate::verify::event::{Gate, WorkerEvent, WorkerPlan};

use super::lines::{self, PipeLines, Said};

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
/// An event of more is none.
const MOST_EVENT_BYTES: usize = 16 << 20;
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
        E: DeserializeOwned,
    {
        let stdin = match gate {
            Gate::Open => Stdio::null(),
            Gate::AfterLoading => Stdio::piped(),
        };
        let plan = serde_json::to_string(plan).map_err(|error| VerifyError::Worker(unwritten(&error)))?;
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
            .map_err(|error| VerifyError::Worker(not_started(&error)))?;
        let events = child.stdout.take().map(|stdout| PipeLines::new(stdout, MOST_EVENT_BYTES));
        let (complaints, complained) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(AtomicU64::new(0)));
        let (said_all, end_of_words) = mpsc::channel();
        let (stderr, kept, read) = (child.stderr.take(), Arc::clone(&complaints), Arc::clone(&complained));
        let listening = listen(move || {
            if let Some(stderr) = stderr {
                keep_last_lines(Counted { stream: stderr, read: &read }, &kept);
            }
            // Nobody may be waiting for it.
            let _ = said_all.send(());
        });
        let gate = child.stdin.take();
        // Dropped, and with it the child killed, when there is nobody to listen to it.
        let worker = WorkerProcess { child, events, event_bytes: 0, complaints, complained, end_of_words, gate, kind: PhantomData };
        listening
            .map(|()| worker)
            .map_err(|error| VerifyError::Worker(format!("no thread can be started to listen to it: {error}; may this user start no more (ulimit -u), or is there no memory (ulimit -v)?")))
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

/// A thread, where there may be one more.
fn listen(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("listener".to_owned()).spawn(work).map(drop)
}

fn unwritten(error: &serde_json::Error) -> String {
    format!("its plan cannot be written: {error}; is the name of TMPDIR, or of a file that was given, not UTF-8?")
}

fn not_started(error: &io::Error) -> String {
    let what_to_do = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "; it is started through /proc/self/exe with /dev/null as its input: are /proc and /dev mounted?",
        Some(Errno::AGAIN) => "; this user may start no more processes (ulimit -u), or the machine has no room for one",
        Some(Errno::MFILE) => "; this process may open no more files: raise the limit (ulimit -n)",
        Some(Errno::NOMEM) => "; there is no memory for it, or not within the limit (ulimit -v)",
        _ => "",
    };
    format!("it cannot be started: {error}{what_to_do}")
}

/// What a line says to people, and no more of it than they read.
fn cut(line: &[u8]) -> String {
    let most = line.len().min(4 * KEPT_CHARACTERS);
    String::from_utf8_lossy(&line[..most]).trim_end().chars().take(KEPT_CHARACTERS).collect()
}

/// A stream whose bytes are counted as they are read.
struct Counted<'a, R> {
    stream: R,
    read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stream.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

fn keep_last_lines(stream: impl Read, kept: &Mutex<VecDeque<String>>) {
    lines::for_each(stream, 4 * KEPT_CHARACTERS, |line| {
        let line = cut(line);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
        ControlFlow::Continue(())
    });
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub struct WorkerProcess<E = WorkerEvent> {
    child: Child,
    /// Its stdout; `None` where it has none.
    events: Option<PipeLines<ChildStdout>>,
    /// Bytes read from it that were events.
    event_bytes: u64,
    complaints: Arc<Mutex<VecDeque<String>>>,
    /// Bytes read from its stderr.
    complained: Arc<AtomicU64>,
    end_of_words: Receiver<()>,
    gate: Option<ChildStdin>,
    kind: PhantomData<fn() -> E>,
}

impl<E> WorkerProcess<E> {
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if self.has_ended() {
                self.kill_group();
                return self.child.wait().ok();
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it has ended. It is not reaped by the question, so its id stays its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that there is nothing to wait for any more.
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    /// See [`Worker::end`].
    fn finish(&mut self, grace: Duration) -> Ending {
        let status = self.wait(grace).or_else(|| {
            self.kill_group();
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

    /// Kills whatever the worker has started: it leads a process group of its own, whose id stays taken until it is reaped.
    fn kill_group(&self) {
        // It can only fail when nobody is there.
        let _ = kill_process_group(Pid::from_child(&self.child), ProcessSignal::KILL);
    }
}

impl<E: DeserializeOwned> Worker<E> for WorkerProcess<E> {
    fn next(&mut self, wait: Duration) -> Option<Message<E>> {
        // Asked before its stdout is read: whatever it said before its end is then found there, however busy the machine is. A process that
        // it started may hold its stdout open after it.
        let ended = self.has_ended();
        let Some(events) = &mut self.events else { return Some(Message::Closed) };
        match events.next(if ended { Duration::ZERO } else { wait }) {
            Said::Line(line) => Some(match serde_json::from_slice(line) {
                Ok(event) => {
                    self.event_bytes += line.len() as u64;
                    Message::Event(event)
                }
                Err(_) => Message::Garbage(cut(line)),
            }),
            Said::End => Some(Message::Closed),
            Said::Nothing => ended.then_some(Message::Closed),
        }
    }

    fn end(&mut self, grace: Duration) -> Ending {
        self.finish(grace)
    }

    fn proceed(&mut self) {
        if let Some(mut gate) = self.gate.take() {
            // A worker that is gone is noticed by its silence.
            let _ = gate.write_all(b"\n");
        }
    }

    fn flood(&self) -> Option<u64> {
        let said = self.events.as_ref().map_or(0, PipeLines::bytes) - self.event_bytes;
        Some(said + self.complained.load(Ordering::Relaxed)).filter(|bytes| *bytes > FLOOD_BYTES)
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl<E> Drop for WorkerProcess<E> {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
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

    fn shell(script: &str) -> WorkerProcess<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let events = child.stdout.take().map(|stdout| PipeLines::new(stdout, MOST_EVENT_BYTES));
        WorkerProcess {
            child,
            events,
            event_bytes: 0,
            complaints: Arc::default(),
            complained: Arc::default(),
            end_of_words: mpsc::channel().1,
            gate: None,
            kind: PhantomData,
        }
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
    fn what_a_worker_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let noted = folder.path().join("pid");
        let mut parent = shell(&format!("sleep 600 & echo $! > {}", noted.display()));
        assert_eq!(parent.end(KILL_GRACE), Ending::Clean);
        let child = Pid::from_raw(std::fs::read_to_string(noted).unwrap().trim().parse().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let runs = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            assert!(Instant::now() < deadline, "the worker's own child lives on");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn what_a_worker_said_before_its_end_is_heard_though_nobody_listened_then() {
        let mut worker = shell("echo '\"ready\"'; echo chatter; echo '\"done\"'");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !worker.has_ended() {
            assert!(Instant::now() < deadline);
            thread::sleep(POLL);
        }
        let said: Vec<_> = std::iter::from_fn(|| worker.next(Duration::ZERO)).take(4).collect();
        let event = |text: &str| Message::Event(text.to_owned());
        assert_eq!(said, [event("ready"), Message::Garbage("chatter".to_owned()), event("done"), Message::Closed]);
    }

    #[test]
    fn a_worker_that_is_gone_is_noticed_though_its_stdout_is_open() {
        // A process in a group of its own outlives the worker's.
        let mut worker = shell("setsid sleep 600 & echo $!");
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut holder = None;
        loop {
            assert!(Instant::now() < deadline);
            match worker.next(POLL) {
                Some(Message::Closed) => break,
                Some(Message::Garbage(id)) => holder = id.parse().ok().and_then(Pid::from_raw),
                _ => {}
            }
        }
        rustix::process::kill_process(holder.unwrap(), ProcessSignal::KILL).unwrap();
    }

    #[test]
    fn only_the_last_lines_of_stderr_are_kept_and_long_ones_are_cut() {
        let kept = Mutex::new(VecDeque::new());
        let text: String = (0..50).map(|line| format!("line {line} {}\n", "x".repeat(1000))).collect();
        let read = AtomicU64::new(0);
        keep_last_lines(Counted { stream: text.as_bytes(), read: &read }, &kept);
        assert_eq!(read.into_inner() as usize, text.len());
        let kept = kept.into_inner().unwrap();
        assert_eq!(kept.len(), KEPT_LINES);
        assert!(kept.back().unwrap().starts_with("line 49"));
        assert!(kept.iter().all(|line| line.len() <= KEPT_CHARACTERS));
    }
}
