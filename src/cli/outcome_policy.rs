//! What becomes of an exit code: `--strict`, `--require-device`, `--skip-code`, `--kselftest`, and the status of a node's plugin.

use std::ffi::OsStr;

use aqlprobe::report::{Document, ExitCode, HardwareDemand, NodeStatus, Refusal, ReportKind};
use aqlprobe::verify;

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct PolicyArguments {
    /// Exit with 5 where everything passed but something is worse than it should be
    #[arg(long)]
    strict: bool,

    /// Exit with 1 instead of 4 when no hardware was tested
    #[arg(long, conflicts_with = "skip_code")]
    require_device: bool,

    /// Exit with N instead of 4 when no hardware was tested (77 for autotools and ctest)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    skip_code: Option<u8>,

    /// Exit as the kernel's selftests do (0 pass, 1 fail, 4 skip), and print KTAP unless --format says otherwise
    #[arg(long, conflicts_with = "skip_code")]
    kselftest: bool,
}

/// What the kernel's selftests mean by an exit status (tools/testing/selftests/kselftest.h). 2 and 3 are XFAIL and XPASS there, and must
/// not come out of a wrong command line or a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kselftest {
    Pass = 0,
    Fail = 1,
    Skip = 4,
}

impl PolicyArguments {
    /// Whether a run without hardware fails.
    pub const fn demand(&self) -> HardwareDemand {
        if self.require_device { HardwareDemand::Required } else { HardwareDemand::Optional }
    }

    /// The form of the report on stdout where the user names none.
    pub const fn default_kind(&self) -> ReportKind {
        if self.kselftest { ReportKind::Ktap } else { ReportKind::Text }
    }

    /// The report as these flags want it judged.
    pub fn judged(&self, document: Document) -> Document {
        match document {
            Document::Verify(report) if self.strict => Document::Verify(Box::new(verify::strictly(*report))),
            other => other,
        }
    }

    /// The exit status for a code.
    pub const fn status(&self, code: ExitCode) -> u8 {
        match (code, self.kselftest, self.skip_code) {
            (ExitCode::NoHardware, _, _) if self.require_device => ExitCode::CheckFailed.status(),
            (ExitCode::NoHardware, false, Some(status)) => status,
            (code, false, _) => code.status(),
            (ExitCode::Pass, true, _) => Kselftest::Pass as u8,
            (ExitCode::NoHardware, true, _) => Kselftest::Skip as u8,
            (_, true, _) => Kselftest::Fail as u8,
        }
    }

    /// The exit status for a report. What the reader of stdout expects goes first.
    pub fn status_of(&self, document: &Document, on_stdout: Option<ReportKind>) -> u8 {
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

    const PLAIN: PolicyArguments = PolicyArguments { strict: false, require_device: false, skip_code: None, kselftest: false };
    const CODES: [ExitCode; 6] =
        [ExitCode::Pass, ExitCode::CheckFailed, ExitCode::Usage, ExitCode::Hang, ExitCode::NoHardware, ExitCode::Degraded];

    #[test]
    fn only_the_exit_code_for_no_hardware_can_be_replaced() {
        let required = PolicyArguments { require_device: true, ..PLAIN };
        let skipped = PolicyArguments { skip_code: Some(77), ..PLAIN };
        assert_eq!(CODES.map(|code| PLAIN.status(code)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(CODES.map(|code| required.status(code)), [0, 1, 2, 3, 1, 5]);
        assert_eq!(CODES.map(|code| skipped.status(code)), [0, 1, 2, 3, 77, 5]);
    }

    #[test]
    fn a_selftest_ends_with_0_1_or_4_and_never_with_xfail_or_xpass() {
        let kselftest = PolicyArguments { kselftest: true, ..PLAIN };
        assert_eq!(CODES.map(|code| kselftest.status(code)), [0, 1, 1, 1, 4, 1]);
        let required = PolicyArguments { require_device: true, ..kselftest };
        assert_eq!(required.status(ExitCode::NoHardware), 1);
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
