//! What becomes of an exit code: `--strict` and `--kselftest` over what `super::place` has, and the status of a node's plugin.

use std::ffi::OsStr;

use aqlprobe::latency;
use aqlprobe::report::{Document, ExitCode, HardwareDemand, NodeStatus, Refusal, ReportKind};
use aqlprobe::verify::{self, VerifyError};

use super::failure::Failure;
use super::place::WithoutHardware;

/// The flags that are not about the place ([`super::place::PlaceArguments`] has those).
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct PolicyArguments {
    /// Exit with 5 where everything passed but something is worse than it should be
    #[arg(long)]
    strict: bool,

    /// Exit as the kernel's selftests do (0 pass, 1 fail, 4 skip), and print KTAP unless --format says otherwise
    #[arg(long, conflicts_with = "skip_code")]
    kselftest: bool,
}

impl PolicyArguments {
    /// All there is to know about how the process ends.
    pub const fn policy(self, without_hardware: WithoutHardware) -> Policy {
        Policy { arguments: self, without_hardware }
    }
}

/// How the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    arguments: PolicyArguments,
    without_hardware: WithoutHardware,
}

/// What the kernel's selftests mean by an exit status (tools/testing/selftests/kselftest.h). 2 and 3 are XFAIL and XPASS there, and must
/// not come out of a wrong command line or a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kselftest {
    Pass = 0,
    Fail = 1,
    Skip = 4,
}

impl Policy {
    /// Whether a run without hardware fails.
    pub const fn demand(&self) -> HardwareDemand {
        match self.without_hardware {
            WithoutHardware::Fails => HardwareDemand::Required,
            WithoutHardware::Distinct | WithoutHardware::Skips(_) => HardwareDemand::Optional,
        }
    }

    /// The form of the report on stdout where the user names none.
    pub const fn default_kind(&self) -> ReportKind {
        if self.arguments.kselftest { ReportKind::Ktap } else { ReportKind::Text }
    }

    /// The report as these flags want it judged.
    pub fn judged(&self, document: Document) -> Document {
        match document {
            Document::Verify(report) if self.arguments.strict => verify::strictly(*report).into(),
            Document::Latency(report) if self.arguments.strict => latency::strictly(*report).into(),
            other => other,
        }
    }

    /// Why no report could be made, with what to do about it.
    pub fn failure(&self, error: VerifyError) -> Failure {
        self.without_hardware.failure(error).under(|code| self.status(code))
    }

    /// The exit status for a code.
    pub const fn status(&self, code: ExitCode) -> u8 {
        match (code, self.arguments.kselftest, self.without_hardware) {
            (code, false, without_hardware) => without_hardware.status(code),
            (ExitCode::Pass, true, _) => Kselftest::Pass as u8,
            (ExitCode::NoHardware, true, WithoutHardware::Distinct | WithoutHardware::Skips(_)) => Kselftest::Skip as u8,
            (_, true, _) => Kselftest::Fail as u8,
        }
    }

    /// How the process ends after a report.
    ///
    /// # Errors
    /// No hardware was tested, and hardware was required.
    pub fn conclude(&self, document: &Document, on_stdout: Option<ReportKind>) -> Result<u8, Failure> {
        let status = self.status_of(document, on_stdout);
        let concluded = self.without_hardware.conclude(document.verdict().exit_code);
        concluded.map(|_| status).map_err(|failure| failure.under(|_| status))
    }

    /// The exit status for a report. What the reader of stdout expects goes first.
    fn status_of(&self, document: &Document, on_stdout: Option<ReportKind>) -> u8 {
        match on_stdout {
            Some(ReportKind::Npd) => NodeStatus::of(document, self.demand()).status(),
            _ => self.status(document.verdict().exit_code),
        }
    }

    /// The exit status where there is no report.
    pub const fn status_without_report(&self, refusal: &Refusal, on_stdout: Option<ReportKind>) -> u8 {
        match on_stdout {
            Some(ReportKind::Npd) => NodeStatus::without_report(refusal, self.demand()).status(),
            _ => self.status(refusal.exit_code),
        }
    }
}

/// The status of a command line that cannot be parsed, so that its flags are known as words only.
pub fn usage_status<'a>(words: impl IntoIterator<Item = &'a OsStr>, status: i32) -> u8 {
    let kselftest = words.into_iter().take_while(|word| *word != "--").any(|word| word == "--kselftest");
    match (kselftest, u8::try_from(status)) {
        (_, Ok(0)) => 0,
        (true, _) => Kselftest::Fail as u8,
        (false, Ok(status)) => status,
        (false, Err(_)) => ExitCode::Usage.status(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [ExitCode; 6] =
        [ExitCode::Pass, ExitCode::CheckFailed, ExitCode::Usage, ExitCode::Hang, ExitCode::NoHardware, ExitCode::Degraded];

    fn statuses(kselftest: bool, without_hardware: WithoutHardware) -> [u8; 6] {
        let policy = PolicyArguments { strict: false, kselftest }.policy(without_hardware);
        CODES.map(|code| policy.status(code))
    }

    #[test]
    fn every_exit_code_stays_what_it_is_but_that_for_no_hardware() {
        assert_eq!(statuses(false, WithoutHardware::Distinct), [0, 1, 2, 3, 4, 5]);
        assert_eq!(statuses(false, WithoutHardware::Fails), [0, 1, 2, 3, 1, 5]);
        assert_eq!(statuses(false, WithoutHardware::Skips(77)), [0, 1, 2, 3, 77, 5]);
    }

    #[test]
    fn a_selftest_ends_with_0_1_or_4_and_never_with_xfail_or_xpass() {
        assert_eq!(statuses(true, WithoutHardware::Distinct), [0, 1, 1, 1, 4, 1]);
        assert_eq!(statuses(true, WithoutHardware::Fails), [0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_selftest_with_a_wrong_command_line_fails_and_its_help_does_not() {
        let status = |words: &[&str], status| usage_status(words.iter().map(OsStr::new), status);
        assert_eq!(status(&["verify", "--nonsense"], 2), 2);
        assert_eq!(status(&["verify", "--kselftest", "--nonsense"], 2), 1);
        assert_eq!(status(&["verify", "--kselftest", "--help"], 0), 0);
        assert_eq!(status(&["run", "--nonsense", "--", "--kselftest"], 2), 2);
    }
}
