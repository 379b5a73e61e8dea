//! An error on its way to the user: what, where and why, what to do, and the exit code.

use std::io::{self, Write};

use aqlprobe::report::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    code: ExitCode,
    status: u8,
}

impl Failure {
    /// A failure that ends the process with `code`.
    pub fn new(error: impl Into<anyhow::Error>, code: ExitCode) -> Self {
        Self { error: error.into(), hint: None, code, status: code.status() }
    }

    /// The same with something to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the exit status that `policy` makes of its code.
    pub fn under(mut self, policy: impl FnOnce(ExitCode) -> u8) -> Self {
        self.status = policy(self.code);
        self
    }

    /// The code before any policy.
    pub const fn code(&self) -> ExitCode {
        self.code
    }

    /// What happened and why, on one line.
    pub fn reason(&self) -> String {
        self.error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Writes `error: what`, then where and why, then `hint: what to do` on stderr, and returns the exit status.
    pub fn report(&self) -> u8 {
        // Nobody is left to tell when stderr is gone.
        let _ = io::stderr().lock().write_all(self.text().as_bytes());
        self.status
    }

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", indented(&self.error.to_string()));
        for cause in self.error.chain().skip(1) {
            text.push_str(&format!("  {}\n", indented(&cause.to_string())));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  hint: {}\n", indented(hint)));
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_then_why_then_what_to_do() {
        let error = anyhow::anyhow!("no such file").context("cannot write report.json");
        let failure = Failure::new(error, ExitCode::Usage).hint("check\nthe path");
        assert_eq!(failure.text(), "error: cannot write report.json\n  no such file\n  hint: check\n  the path\n");
        assert_eq!(failure.status, 2);
    }
}
