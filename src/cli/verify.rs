//! `aqlprobe verify`: does dispatch complete on this device?

use std::path::PathBuf;

use aqlprobe::report::ExitCode;
use aqlprobe::verify::{self, VerifyRequest};

use super::EXIT_CODES;
use super::failure::Failure;
use super::output::{self, Destination, Format};
use super::place::PlaceArguments;
use super::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  aqlprobe verify
      the first GPU as it is; without a usable one, a self-test that exits with 4
  aqlprobe verify --runtime embedded
      the founding experiment on the software GPU, without and with AtomicOps
  sudo aqlprobe verify --atomics both
      a real GPU in both states; the bit is put back afterwards
  aqlprobe verify --case 'fence-*' --list
      the cases that a pattern selects
  aqlprobe verify --runtime embedded --replay lspci.txt
      what a GPU with the config space of this `lspci -xxx` does
  aqlprobe verify --runtime rocr-model --sysroot target/rocr/sysroot --target gfx1100
      AMD's own runtime on the software GPU, without and with AtomicOps
  aqlprobe verify --runtime embedded --inject atomic-lost=0.01,seed=7
      how the harness judges a software GPU that loses one AtomicOp in a hundred
  aqlprobe verify --require-device --format json -o report.json
      in CI: a runner without a usable GPU fails";

/// Dispatch kernels and report whether their completion signals fire, and if not, why
///
/// Each case runs in a worker process with a deadline; a hang is reported, not suffered. The result names the test bed: what the
/// software GPU did is never said of hardware.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,

    /// Only cases whose name matches; may be given more than once
    #[arg(long = "case", value_name = "GLOB")]
    cases: Vec<String>,

    /// List the cases that would run, and exit
    #[arg(long, conflicts_with_all = ["format", "output"])]
    list: bool,

    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Write the report to a file, which appears complete or not at all; the verdict goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Arguments {
    fn request(&self) -> Result<VerifyRequest, Failure> {
        Ok(VerifyRequest { place: self.place.request()?, cases: self.cases.clone() })
    }
}

/// Runs the cases and prints the report.
///
/// # Errors
/// Whatever kept the question from being asked.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.list {
        return list(&arguments.cases);
    }
    if let Some(faults) = arguments.place.help() {
        output::print(faults.as_bytes())?;
        return Ok(ExitCode::Pass.status());
    }
    let policy = arguments.place.without_hardware();
    // A pattern that selects nothing is known before a file is touched or a worker started.
    verify::select(&arguments.cases).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let request = arguments.request()?;
    let destination = Destination::open(arguments.output.as_deref())?;
    let mut progress = Progress::new();
    let outcome = verify::run(&request, &mut progress);
    drop(progress);
    let report = outcome.map_err(|error| policy.failure(error))?;
    destination.write(&report, arguments.format)?;
    let code = report.verdict.exit_code;
    policy.conclude(code)
}

fn list(patterns: &[String]) -> Result<u8, Failure> {
    let cases = verify::select(patterns).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let text: String = cases.iter().map(|case| format!("{:width$}  {}\n", case.name, case.summary)).collect();
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}
