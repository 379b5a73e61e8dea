//! `aqlprobe verify`: does dispatch complete on this device?

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::anyhow;
use aqlprobe::hsa::{RuntimeChoice, UnknownRuntime};
use aqlprobe::report::{Document, DocumentKind, ExitCode, HardwareDemand, Refusal, text};
use aqlprobe::rocr::ModelTarget;
use aqlprobe::verify::{
    self, AtomicsSelection, DeviceSelector, Milliseconds, RequestedRuntime, RocrModelRequest, VerifyError, VerifyRequest,
};
use clap::{ValueEnum, builder::RangedU64ValueParser};

use super::EXIT_CODES;
use super::failure::Failure;
use super::outcome_policy::PolicyArguments;
use super::output;
use super::outputs::{Both, OutputArguments, Outputs};
use super::progress::Progress;
use super::run::Target;

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
    /// HSA runtime: the system's, the one inside this program (a software GPU), AMD's own on the software GPU, ours over vfio-pci on the
    /// software PCIe endpoint of this guest, or a library by path [possible values: auto, system, embedded, rocr-model, guest, PATH]
    #[arg(long, value_name = "RUNTIME", default_value = "auto")]
    runtime: Runtime,

    /// With rocr-model: the runtime library [default: the sysroot's, or else the system's]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    /// With rocr-model: directory with a ROCr and a C library of its own (from `dpkg -x`), in which the worker is started
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,

    /// With rocr-model: what the software GPU is [default: gfx942]
    #[arg(long, value_enum)]
    target: Option<Target>,

    /// GPU by PCI address (0b:00.0), by position among the runtime's GPUs (0), or `all` [default: the first]
    #[arg(long, value_name = "BDF|INDEX|all")]
    device: Option<DeviceSelector>,

    /// States of AtomicOp Requester Enable to run in [default: both on the software GPU, as-found on hardware and with
    /// --replay]
    #[arg(long, value_name = "STATE", value_enum)]
    atomics: Option<Atomics>,

    /// Only cases whose name matches; may be given more than once
    #[arg(long = "case", value_name = "GLOB")]
    cases: Vec<String>,

    /// List the cases that would run, and exit
    #[arg(long, conflicts_with_all = ["format", "output"])]
    list: bool,

    /// How long a completion may take, in milliseconds, from 10 to 600000 [default: 5000]
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = RangedU64ValueParser::<u64>::new().range(10..=600_000))]
    timeout: Option<u64>,

    /// Give the embedded GPU the config space of this `lspci -xxx` or `-xxxx` text
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// Read PCI devices from this directory instead of the bed's own
    #[arg(long, value_name = "DIR", hide = true)]
    sysfs_root: Option<PathBuf>,

    #[command(flatten)]
    policy: PolicyArguments,

    #[command(flatten)]
    outputs: OutputArguments,
}

/// The value of `--runtime`.
#[derive(Clone, Debug)]
enum Runtime {
    Choice(RuntimeChoice),
    RocrModel,
    Guest,
}

impl FromStr for Runtime {
    type Err = UnknownRuntime;

    fn from_str(text: &str) -> Result<Self, UnknownRuntime> {
        match text {
            "rocr-model" => Ok(Self::RocrModel),
            "guest" => Ok(Self::Guest),
            other => other.parse().map(Self::Choice),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Atomics {
    /// Leave the bit alone
    AsFound,
    /// Set it, and put it back
    On,
    /// Clear it, and put it back; whatever else uses the GPU has no AtomicOps meanwhile
    Off,
    /// First cleared, then set, then put back
    Both,
}

impl From<Atomics> for AtomicsSelection {
    fn from(atomics: Atomics) -> Self {
        match atomics {
            Atomics::AsFound => Self::AsFound,
            Atomics::On => Self::On,
            Atomics::Off => Self::Off,
            Atomics::Both => Self::Both,
        }
    }
}

impl Arguments {
    /// The runtime with what belongs to it.
    fn runtime(&self) -> Result<RequestedRuntime, Failure> {
        match &self.runtime {
            Runtime::RocrModel => Ok(RequestedRuntime::RocrModel(RocrModelRequest {
                library: self.library.clone(),
                sysroot: self.sysroot.clone(),
                target: self.target.map(ModelTarget::from).unwrap_or_default(),
            })),
            Runtime::Choice(_) | Runtime::Guest => {
                let requested = match &self.runtime {
                    Runtime::Choice(choice) => RequestedRuntime::Choice(choice.clone()),
                    Runtime::RocrModel | Runtime::Guest => RequestedRuntime::Guest,
                };
                let given = [
                    ("--library", self.library.is_some()),
                    ("--sysroot", self.sysroot.is_some()),
                    ("--target", self.target.is_some()),
                ];
                match given.into_iter().find(|(_, given)| *given) {
                    None => Ok(requested),
                    Some((option, _)) => {
                        let error = anyhow!("{option} belongs to `--runtime rocr-model`, and the runtime is {requested}");
                        Err(Failure::new(error, ExitCode::Usage).hint("add `--runtime rocr-model`, or leave the option out"))
                    }
                }
            }
        }
    }

    fn request(&self, runtime: RequestedRuntime) -> VerifyRequest {
        VerifyRequest {
            runtime,
            device: self.device.unwrap_or_default(),
            atomics: self.atomics.map(AtomicsSelection::from),
            cases: self.cases.clone(),
            timeout: self.timeout.map(Milliseconds),
            replay: self.replay.clone(),
            sysfs_root: self.sysfs_root.clone(),
        }
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
    let policy = &arguments.policy;
    let under_policy = |failure: Failure| failure.under(|code| policy.status(code));
    // A pattern that selects nothing is known before a file is touched or a worker started.
    verify::select(&arguments.cases).map_err(|error| under_policy(Failure::new(error, ExitCode::Usage)))?;
    let request = arguments.request(arguments.runtime().map_err(under_policy)?);
    let outputs = Outputs::open(DocumentKind::Verify, &arguments.outputs, policy.default_kind(), policy.demand());
    let mut outputs = outputs.map_err(under_policy)?;
    let on_stdout = outputs.on_stdout();
    let mut progress = Progress::new();
    let outcome = verify::run(&request, &mut Both(&mut progress, &mut outputs));
    drop(progress);
    let report = match outcome {
        Ok(report) => policy.judged(Document::Verify(Box::new(report))),
        Err(error) => {
            let failure = failure(error);
            let refusal = Refusal { command: DocumentKind::Verify, reason: failure.reason(), exit_code: failure.code() };
            outputs.refuse(&refusal);
            return Err(failure.under(|_| policy.status_without_report(&refusal, on_stdout)));
        }
    };
    outputs.write(&report, &text::verdict_of(&report)).map_err(under_policy)?;
    let status = policy.status_of(&report, on_stdout);
    if report.verdict().exit_code == ExitCode::NoHardware && policy.demand() == HardwareDemand::Required {
        let error = anyhow!("no GPU was tested, and --require-device asks for one");
        let failure = Failure::new(error, ExitCode::CheckFailed).under(|_| status);
        return Err(failure.hint("the report's first line says why no GPU could be used"));
    }
    Ok(status)
}

fn failure(error: VerifyError) -> Failure {
    let hint = hint(&error);
    let code = error.exit_code();
    let failure = Failure::new(error, code);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(error: &VerifyError) -> Option<&'static str> {
    match error {
        VerifyError::Replay { .. } => Some("give the whole output of `lspci -s BDF -xxx`, taken as root"),
        VerifyError::Runtime(_) | VerifyError::NoGpu(_) => {
            Some("`--runtime embedded` needs no GPU and no ROCm; it tests the harness, not hardware")
        }
        _ => None,
    }
}

fn list(patterns: &[String]) -> Result<u8, Failure> {
    let cases = verify::select(patterns).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let text: String = cases.iter().map(|case| format!("{:width$}  {}\n", case.name, case.summary)).collect();
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}
