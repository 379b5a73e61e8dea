//! One boot: both processes, what comes over the serial port, and every way in which it can end.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::answer::Answer;
use super::options::Seconds;
use super::processes::{Interrupts, LOOK, Process, last_lines};

/// Console lines that an error shows.
const CONSOLE_LINES: usize = 25;
/// How long the endpoint may take to listen.
const LISTENING: Duration = Duration::from_secs(20);
/// How long QEMU may take to end after the guest has said that it is done, and the endpoint after its client has left.
const ENDING: Duration = Duration::from_secs(10);
/// A guest that sends more than this is not one of ours.
const ANSWERS_AT_MOST: u64 = 64 << 20;

/// Why a guest gave no complete answer.
#[derive(Debug, Error)]
pub enum BootError {
    /// A process cannot be started, or a file cannot be read.
    #[error("cannot {what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The endpoint does not listen.
    #[error("`aqlprobe endpoint` did not start:\n{}", log.join("\n"))]
    Endpoint {
        /// What it printed.
        log: Vec<String>,
    },
    /// The guest did not reach user space in time.
    #[error("the guest did not boot within {limit}; its last words:\n{}", console.join("\n"))]
    NotBooted {
        /// How long it was waited for.
        limit: Seconds,
        /// The end of its console, or of what QEMU printed.
        console: Vec<String>,
    },
    /// The deadline passed while a step was running.
    #[error("the guest was not done within {limit} and was ended{}; its last words:\n{}",
        step.as_ref().map(|step| format!(" during `{step}`")).unwrap_or_default(), console.join("\n"))]
    Deadline {
        /// The deadline.
        limit: Seconds,
        /// What was running.
        step: Option<String>,
        /// The end of its console.
        console: Vec<String>,
    },
    /// QEMU ended before the guest was done.
    #[error("the guest ended before it was done{}; its last words:\n{}",
        step.as_ref().map(|step| format!(", during `{step}`")).unwrap_or_default(), console.join("\n"))]
    EndedEarly {
        /// What was running.
        step: Option<String>,
        /// The end of its console, or of what QEMU printed.
        console: Vec<String>,
    },
    /// The guest sent more than a guest of ours can have to say.
    #[error("the guest sent more than {ANSWERS_AT_MOST} bytes")]
    TooMuch,
    /// The user has ended the run.
    #[error("interrupted by signal {signal}; QEMU and the endpoint are ended")]
    Interrupted {
        /// Its number.
        signal: usize,
    },
    /// The endpoint died under the guest.
    #[error("`aqlprobe endpoint` died while the guest ran:\n{}", log.join("\n"))]
    EndpointDied {
        /// What it printed last.
        log: Vec<String>,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> BootError {
    move |source| BootError::System { what, source }
}

/// The files of one boot.
pub(super) struct Files {
    pub socket: PathBuf,
    pub console: PathBuf,
    pub answers: PathBuf,
    pub initramfs: PathBuf,
    pub endpoint_log: PathBuf,
    pub qemu_log: PathBuf,
}

impl Files {
    pub fn within(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        Self {
            socket: at("endpoint.sock"),
            console: at("console"),
            answers: at("answers"),
            initramfs: at("initramfs"),
            endpoint_log: at("endpoint.log"),
            qemu_log: at("qemu.log"),
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until user space runs.
    pub boot: Seconds,
    /// Altogether.
    pub whole: Seconds,
}

/// What a complete boot gave.
#[derive(Debug)]
pub(super) struct Booted {
    pub answers: Vec<Answer>,
    /// What the endpoint logged.
    pub endpoint_log: Vec<String>,
    /// What QEMU said.
    pub qemu_log: Vec<String>,
}

/// Boots once and waits until the guest is done.
pub(super) fn boot(
    endpoint: &mut Command,
    qemu: &mut Command,
    files: &Files,
    limits: Limits,
    interrupts: &Interrupts,
) -> Result<Booted, BootError> {
    let mut endpoint = Process::start(endpoint, &files.endpoint_log).map_err(system("start `aqlprobe endpoint`"))?;
    listening(&mut endpoint, &files.socket, interrupts)?;
    File::create(&files.answers).map_err(system("write in the temporary directory"))?;
    let mut qemu = Process::start(qemu, &files.qemu_log).map_err(system("start QEMU"))?;
    let mut reader = Reader::open(&files.answers).map_err(system("read the guest's serial port"))?;
    let started = Instant::now();
    let last_words = |qemu: &Process| {
        let console = last_lines(&files.console, CONSOLE_LINES);
        if console.is_empty() { qemu.log() } else { console }
    };
    loop {
        // Looked at before the port is read, so that what was written before the end is read.
        let ended = qemu.ended().is_some();
        let endpoint_ended = endpoint.ended();
        reader.read()?;
        if let Some(signal) = interrupts.pending() {
            return Err(BootError::Interrupted { signal });
        }
        if reader.is_done() {
            break;
        }
        if let Some(status) = endpoint_ended
            && !status.success()
        {
            return Err(BootError::EndpointDied { log: endpoint.log() });
        }
        if ended {
            return Err(BootError::EndedEarly { step: reader.running(), console: last_words(&qemu) });
        }
        if !reader.has_booted() && started.elapsed() > limits.boot.duration() {
            return Err(BootError::NotBooted { limit: limits.boot, console: last_words(&qemu) });
        }
        if started.elapsed() > limits.whole.duration() {
            return Err(BootError::Deadline { limit: limits.whole, step: reader.running(), console: last_words(&qemu) });
        }
        thread::sleep(LOOK);
    }
    wait(&mut qemu, ENDING);
    qemu.kill();
    wait(&mut endpoint, ENDING);
    let died = endpoint.ended().is_some_and(|status| !status.success());
    endpoint.end(ENDING);
    if died {
        return Err(BootError::EndpointDied { log: endpoint.log() });
    }
    Ok(Booted { answers: reader.answers, endpoint_log: endpoint.log(), qemu_log: qemu.log() })
}

fn wait(process: &mut Process, at_most: Duration) {
    let deadline = Instant::now() + at_most;
    while process.ended().is_none() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
}

fn listening(endpoint: &mut Process, socket: &Path, interrupts: &Interrupts) -> Result<(), BootError> {
    let deadline = Instant::now() + LISTENING;
    while !socket.exists() {
        if let Some(signal) = interrupts.pending() {
            return Err(BootError::Interrupted { signal });
        }
        if endpoint.ended().is_some() || Instant::now() > deadline {
            return Err(BootError::Endpoint { log: endpoint.log() });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Reads the answers as they come. A line that is none is left out: the port is the guest's, who may write anything.
struct Reader {
    file: File,
    pending: Vec<u8>,
    read: u64,
    answers: Vec<Answer>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, pending: Vec::new(), read: 0, answers: Vec::new() })
    }

    fn read(&mut self) -> Result<(), BootError> {
        let read = Read::by_ref(&mut self.file)
            .take(ANSWERS_AT_MOST + 1 - self.read)
            .read_to_end(&mut self.pending)
            .map_err(system("read the guest's serial port"))?;
        self.read += read as u64;
        if self.read > ANSWERS_AT_MOST {
            return Err(BootError::TooMuch);
        }
        if read > 0 {
            self.take_lines();
        }
        Ok(())
    }

    fn take_lines(&mut self) {
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else { return };
        let lines: Vec<u8> = self.pending.drain(..=end).collect();
        let answers = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line.trim_ascii()).ok());
        self.answers.extend(answers);
    }

    fn has_booted(&self) -> bool {
        !self.answers.is_empty()
    }

    fn is_done(&self) -> bool {
        self.answers.contains(&Answer::Done)
    }

    /// The step that began and did not end.
    fn running(&self) -> Option<String> {
        let last = self.answers.iter().rev().find(|answer| matches!(answer, Answer::Started { .. } | Answer::Finished { .. }));
        match last {
            Some(Answer::Started { name }) => Some(name.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both processes played by shells: the endpoint makes its socket's file and stays, the guest runs `script`.
    fn played(script: &str, limits: Limits) -> Result<Booted, BootError> {
        played_with("exec sleep 60", script, limits)
    }

    fn played_with(endpoint: &str, script: &str, limits: Limits) -> Result<Booted, BootError> {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::within(folder.path());
        let shell = |script: String| {
            let mut command = Command::new("sh");
            command.args(["-c", &script]).current_dir(folder.path());
            command
        };
        let mut endpoint = shell(format!("touch endpoint.sock; {endpoint}"));
        boot(&mut endpoint, &mut shell(script.to_owned()), &files, limits, &Interrupts::catch())
    }

    const PATIENT: Limits = Limits { boot: Seconds(60), whole: Seconds(60) };
    const HASTY: Limits = Limits { boot: Seconds(0), whole: Seconds(0) };
    const BOOTED: &str = r#"echo '{"kind":"booted","release":"7","processors":2,"uptime_ms":1}' >> answers; "#;

    #[test]
    fn a_guest_that_says_it_is_done_is_believed_with_what_it_said() {
        let booted = played(&format!(r#"{BOOTED} printf 'noise\r\n{{"kind":"done"}}\r\n' >> answers"#), PATIENT).unwrap();
        assert_eq!(booted.answers.len(), 2);
        assert_eq!(booted.answers[1], Answer::Done);
    }

    #[test]
    fn a_guest_that_does_not_boot_is_ended_and_its_console_is_shown() {
        let error = played("echo 'Kernel panic' > console; exec sleep 60", HASTY);
        let text = match error.unwrap_err() {
            // Whichever the deadline of zero seconds meets first.
            error @ (BootError::NotBooted { .. } | BootError::EndedEarly { .. }) => error.to_string(),
            other => panic!("{other}"),
        };
        assert!(text.contains("did not boot within 0 s"), "{text}");
    }

    #[test]
    fn a_guest_that_goes_down_in_the_middle_is_named_with_its_step() {
        let script =
            format!(r#"{BOOTED} echo '{{"kind":"started","name":"verify"}}' >> answers; echo 'panic - not syncing' > console"#);
        let error = played(&script, PATIENT).unwrap_err().to_string();
        assert_eq!(error, "the guest ended before it was done, during `verify`; its last words:\npanic - not syncing");
    }

    #[test]
    fn a_guest_that_overruns_is_ended_and_its_step_is_named() {
        let script = format!(r#"{BOOTED} echo '{{"kind":"started","name":"verify"}}' >> answers; exec sleep 60"#);
        let error = played(&script, Limits { boot: Seconds(60), whole: Seconds(1) }).unwrap_err().to_string();
        assert!(error.starts_with("the guest was not done within 1 s and was ended during `verify`"), "{error}");
    }

    #[test]
    fn an_endpoint_that_does_not_listen_is_shown_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::within(folder.path());
        let mut endpoint = Command::new("sh");
        endpoint.args(["-c", "echo 'no such option' >&2; exit 2"]);
        let error = boot(&mut endpoint, &mut Command::new("true"), &files, PATIENT, &Interrupts::catch()).unwrap_err();
        assert_eq!(error.to_string(), "`aqlprobe endpoint` did not start:\nno such option");
    }

    #[test]
    fn an_endpoint_that_dies_under_the_guest_is_the_finding() {
        let error = played_with("sleep 0.2; echo died >&2; exit 101", "exec sleep 60", PATIENT).unwrap_err();
        assert_eq!(error.to_string(), "`aqlprobe endpoint` died while the guest ran:\ndied");
    }
}
