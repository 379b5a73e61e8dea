//! One step: this program with other arguments, held to its deadline.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::answer::{Answer, Step, TEXT_AT_MOST};

const PROGRAM: &str = "/init";
const LOOK: Duration = Duration::from_millis(20);
const STDOUT: &str = "/tmp/step.stdout";
const STDERR: &str = "/tmp/step.stderr";

/// Runs it to its end, and says what came of it.
pub(super) fn run(step: &Step, environment: &[(String, String)]) -> Answer {
    let started = Instant::now();
    let ended = execute(step, environment, started);
    let (status, overran, trouble) = match ended {
        Ok(Some(status)) => (status.code(), false, None),
        Ok(None) => (None, true, None),
        Err(error) => (None, false, Some(format!("the step could not be run: {error}"))),
    };
    let output = text(Path::new(STDOUT));
    Answer::Finished {
        name: step.name.clone(),
        status,
        overran,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        stdout: serde_json::from_str(&output).unwrap_or(Value::String(output)),
        stderr: trouble.unwrap_or_else(|| text(Path::new(STDERR))),
    }
}

/// `None` when its deadline ended it.
fn execute(step: &Step, environment: &[(String, String)], started: Instant) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new(PROGRAM)
        .args(&step.arguments)
        .env_clear()
        .envs([("PATH", "/"), ("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("XDG_RUNTIME_DIR", "/run"), ("LANG", "C.UTF-8")])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(File::create(STDOUT)?)
        .stderr(File::create(STDERR)?)
        .spawn()?;
    while started.elapsed() < step.deadline.duration() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn text(path: &Path) -> String {
    let mut bytes = fs::read(path).unwrap_or_default();
    let cut = bytes.len().saturating_sub(TEXT_AT_MOST);
    bytes.truncate(TEXT_AT_MOST);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if cut > 0 {
        text.push_str(&format!("\n[{cut} bytes more]"));
    }
    text
}
