//! What one run of one rocrtst test came to, judged by its exit status and by what it printed.

use std::fmt;
use std::str::FromStr;

/// How a test ended. Ordered by worth: a test may only move up without somebody having to explain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    /// GoogleTest said PASSED, but the test says that it left out a part, or all, of itself.
    PassSkipped,
    Fail,
    Timeout,
    /// The process ended by this signal.
    Crash(i32),
    /// It ran, and what came of it is a matter of timing.
    Unstable,
    /// Left to `--full`, and never run.
    NotRun,
}

impl Outcome {
    /// A move to a lower rank is a regression. All ways not to pass are worth the same: nothing.
    pub fn rank(&self) -> u8 {
        match self {
            Outcome::Pass => 2,
            Outcome::PassSkipped => 1,
            Outcome::Fail | Outcome::Timeout | Outcome::Crash(_) | Outcome::Unstable | Outcome::NotRun => 0,
        }
    }
}

const SIGNALS: [(i32, &str); 6] = [(4, "SIGILL"), (6, "SIGABRT"), (7, "SIGBUS"), (8, "SIGFPE"), (9, "SIGKILL"), (11, "SIGSEGV")];

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Pass => f.write_str("pass"),
            Outcome::PassSkipped => f.write_str("pass-skipped"),
            Outcome::Fail => f.write_str("fail"),
            Outcome::Timeout => f.write_str("timeout"),
            Outcome::Unstable => f.write_str("unstable"),
            Outcome::NotRun => f.write_str("not-run"),
            Outcome::Crash(number) => match SIGNALS.iter().find(|(known, _)| known == number) {
                Some((_, name)) => write!(f, "crash({name})"),
                None => write!(f, "crash({number})"),
            },
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no outcome of a test")]
pub struct UnknownOutcome(String);

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownOutcome(text.to_owned());
        match text {
            "pass" => Ok(Outcome::Pass),
            "pass-skipped" => Ok(Outcome::PassSkipped),
            "fail" => Ok(Outcome::Fail),
            "timeout" => Ok(Outcome::Timeout),
            "unstable" => Ok(Outcome::Unstable),
            "not-run" => Ok(Outcome::NotRun),
            _ => {
                let signal = text.strip_prefix("crash(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(unknown)?;
                let named = SIGNALS.iter().find(|(_, name)| *name == signal).map(|(number, _)| *number);
                named.or_else(|| signal.parse().ok()).map(Outcome::Crash).ok_or_else(unknown)
            }
        }
    }
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(i32),
    Signalled(i32),
    /// It ran into its deadline and was killed.
    Overran,
}

/// What a test prints when it leaves something out (rocrtst's suites/, lower case).
const SKIPS: [&str; 3] = ["not supported on this system", "not applicable", "skipp"];

/// Judges a run. `aqlprobe run` ends with 128 + N where its program was ended by signal N, as a shell does.
pub fn judge(ending: Ending, output: &str) -> Outcome {
    match ending {
        Ending::Overran => Outcome::Timeout,
        Ending::Signalled(signal) => Outcome::Crash(signal),
        Ending::Exited(code) if code > 128 && code < 128 + 65 => Outcome::Crash(code - 128),
        Ending::Exited(0) if output.contains("[  PASSED  ] 1 test.") => match skipped(output) {
            None => Outcome::Pass,
            Some(_) => Outcome::PassSkipped,
        },
        Ending::Exited(_) => Outcome::Fail,
    }
}

/// The first line in which the test says that it leaves something out.
pub fn skipped(output: &str) -> Option<String> {
    let says_so = |line: &&str| {
        let line = line.to_lowercase();
        SKIPS.iter().any(|words| line.contains(words))
    };
    output.lines().find(says_so).map(tidy)
}

/// ROCr's intermittent abort, and nothing like it: the run says nothing about the device and is repeated once.
pub fn is_event_abort(output: &str) -> bool {
    output.lines().any(|line| {
        let Some((_, rest)) = line.split_once("model_set_event: event_id = ") else { return false };
        let number = rest.split(' ').next().unwrap_or_default();
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && rest[number.len()..].starts_with(" is not allocated")
    })
}

/// The line that says best why a test did not pass: what the model diagnosed, else what ROCr died of, else the first failed check.
pub fn first_cause(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let line_with = |words: &[&str]| lines.iter().find(|line| words.iter().any(|word| line.contains(word))).map(|line| tidy(line));
    let diagnosed = || lines.iter().find(|line| line.starts_with("aqlprobe model: ")).map(|line| tidy(line));
    let failed_check = || {
        let at = lines.iter().position(|line| line.ends_with(": Failure"))?;
        let told: Vec<&str> = lines[at..].iter().copied().take(6).take_while(|line| !line.trim().is_empty()).collect();
        Some(tidy(&told.join(" ")))
    };
    diagnosed()
        .or_else(|| line_with(&["Assertion `", "model: Unimplemented", "terminate called", "error while loading"]))
        .or_else(failed_check)
}

/// One line for a table cell: no tabs, no directories of this machine, not longer than a screen is wide.
fn tidy(line: &str) -> String {
    const LONGEST: usize = 240;
    let words =
        line.split_whitespace().map(|word| if word.starts_with('/') { word.rsplit('/').next().unwrap_or(word) } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}
