//! `aqlprobe verify`: does dispatch complete on this device?

use aqlprobe::report::{DocumentKind, ExitCode, Refusal, text};
use aqlprobe::verify::{self, VerifyRequest};

use super::EXIT_CODES;
use super::failure::Failure;
use super::outcome_policy::PolicyArguments;
use super::output;
use super::outputs::{Both, OutputArguments, Outputs};
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
      in CI: a runner without a usable GPU fails
  aqlprobe verify --report junit=report.xml --report prometheus=aqlprobe.prom --report ndjson=events.ndjson
      the text on stdout and three more reports of the same run (docs/ci.md)";

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
    #[arg(long, conflicts_with_all = ["format", "output", "reports"])]
    list: bool,

    #[command(flatten)]
    policy: PolicyArguments,

    #[command(flatten)]
    outputs: OutputArguments,
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
    let policy = arguments.policy.policy(arguments.place.without_hardware());
    let under_policy = |failure: Failure| failure.under(|code| policy.status(code));
    // A pattern that selects nothing is known before a file is touched or a worker started.
    verify::select(&arguments.cases).map_err(|error| under_policy(Failure::new(error, ExitCode::Usage)))?;
    let request = arguments.request().map_err(under_policy)?;
    let outputs = Outputs::open(DocumentKind::Verify, &arguments.outputs, policy.default_kind(), policy.demand());
    let mut outputs = outputs.map_err(under_policy)?;
    let on_stdout = outputs.on_stdout();
    let mut progress = Progress::new();
    let outcome = verify::run(&request, &mut Both(&mut progress, &mut outputs));
    drop(progress);
    let report = match outcome {
        Ok(report) => policy.judged(report.into()),
        Err(error) => {
            let failure = policy.failure(error);
            let refusal = Refusal { command: DocumentKind::Verify, reason: failure.reason(), exit_code: failure.code() };
            outputs.refuse(&refusal);
            return Err(failure.under(|_| policy.status_without_report(&refusal, on_stdout)));
        }
    };
    outputs.write(&report, &text::verdict_of(&report)).map_err(under_policy)?;
    policy.conclude(&report, on_stdout)
}

fn list(patterns: &[String]) -> Result<u8, Failure> {
    let cases = verify::select(patterns).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let text: String = cases.iter().map(|case| format!("{:width$}  {}\n", case.name, case.summary)).collect();
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}
