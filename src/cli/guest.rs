//! `aqlprobe guest`: a real Linux in QEMU, around the software GPU's PCIe endpoint or a real GPU.

use std::num::NonZeroU8;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::anyhow;
use aqlprobe::audit::{self, Context, Selection};
use aqlprobe::faults::{BlockedHop, FaultPlan};
use aqlprobe::guest::{
    Accelerator, Assets, AssetsError, BootError, BusMaster, EndpointCompleter, GuestError, GuestReport, GuestRequest, Hops,
    Program, RequesterEnable, RootPortCompleters, Seconds, Step, Switch, init, passthrough, write_text,
};
use aqlprobe::pci::Bdf;
use aqlprobe::pci::guest::{Functions, detect};
use aqlprobe::pci::sysfs::SysfsRoot;
use aqlprobe::report::{ExitCode, audit_text};
use clap::{Subcommand, ValueEnum};

use super::failure::Failure;
use super::output::{self, Destination, Format};

const EXAMPLES: &str = "\
Examples:
  aqlprobe guest run
      the founding experiment in a guest: cases with AtomicOps off, then on
  aqlprobe guest run --requester-enable stuck-clear --atomics on --case 'vector-*'
      a host that does not let the guest set the bit
  aqlprobe guest run --switch no-routing --kernel trixie --format json -o report.json
      a switch in the way, another kernel, a report for programs
  sudo aqlprobe guest run --vfio 0b:00.0
      audit the way of a real GPU, and print the QEMU line that passes it well";

const RUN_EXIT_CODES: &str = "\
Exit codes:
  those of `aqlprobe verify` in the guest (0 pass, 3 a signal never fired, ...), of its last run
  1  also when the guest did not boot, did not answer in time, or the endpoint died
  2  also when a package or a tool that the guest is made of cannot be had";

/// Boot a Linux guest in QEMU and verify dispatch in it
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: GuestCommand,
}

#[derive(Subcommand)]
enum GuestCommand {
    Run(Box<RunArguments>),
    Fetch(FetchArguments),
}

/// Assemble QEMU and the kernels that `guest run` needs from Debian packages, without root
///
/// The packages come from the Debian mirror that apt is configured for, or from AQLPROBE_DEBIAN_MIRROR, and are unpacked into a directory.
/// What is there already is left alone.
#[derive(clap::Args)]
struct FetchArguments {
    /// Where to
    #[arg(long, value_name = "DIR", default_value = "target/guest")]
    assets: PathBuf,

    /// Suites whose cloud kernels to fetch: sid, trixie, bookworm
    #[arg(value_name = "KERNEL", default_values_t = ["sid".to_owned(), "trixie".to_owned()])]
    kernels: Vec<String>,
}

/// Boot a guest around the software GPU's PCIe endpoint, verify dispatch in it, and join what both sides saw
///
/// The guest is a Debian cloud kernel with this program as its only user space. It drives the endpoint through its own vfio-pci and IOMMU.
/// No hardware is tested. What is missing of QEMU and the kernel is fetched first, as by `aqlprobe guest fetch`.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{RUN_EXIT_CODES}"))]
struct RunArguments {
    /// Where QEMU and kernels are
    #[arg(long, value_name = "DIR", default_value = "target/guest")]
    assets: PathBuf,

    /// Which kernel: the cloud kernel of this Debian suite
    #[arg(long, value_name = "SUITE", default_value = "sid")]
    kernel: String,

    /// Who executes the guest; where a kernel does not come up under kvm, tcg takes over [possible values: tcg, kvm]
    #[arg(long, value_name = "WHO", default_value = "tcg")]
    accel: Accelerator,

    /// Processors of the guest. With one, TCG makes the guest's own atomic instructions plain ones, and updates get lost
    #[arg(long, value_name = "N", default_value = "2")]
    processors: NonZeroU8,

    /// A static build of this program to run in the guest instead of this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// What becomes of the guest's writes to AtomicOp Requester Enable [possible values: writable, stuck-clear, stuck-set]
    #[arg(long, value_name = "HOW", default_value = "writable")]
    requester_enable: RequesterEnable,

    /// What the root port completes [possible values: none, 32, 64, 32+64]
    #[arg(long, value_name = "BITS", default_value = "32+64")]
    root_port_completers: RootPortCompleters,

    /// A switch above the endpoint [possible values: none, routing, no-routing, egress-blocked]
    #[arg(long, value_name = "KIND", default_value = "none")]
    switch: Switch,

    /// Whether the endpoint advertises completer bits of its own, without which vfio-pci asks for no root port's [possible values: on,
    /// off]
    #[arg(long, value_name = "STATE", default_value = "on")]
    endpoint_completer: EndpointCompleter,

    /// Put the endpoint into its slot with the multifunction flag, as a GPU passed together with its audio function
    #[arg(long)]
    multifunction: bool,

    /// Whether the guest's runtime makes the endpoint a bus master [possible values: on, off]
    #[arg(long, value_name = "STATE", default_value = "on")]
    bus_master: BusMaster,

    /// States of AtomicOp Requester Enable to verify in, each by a run of its own
    #[arg(long, value_name = "STATES", value_enum, value_delimiter = ',', default_values = ["off", "on"])]
    atomics: Vec<Atomics>,

    /// Only cases whose name matches; may be given more than once
    #[arg(long = "case", value_name = "GLOB")]
    cases: Vec<String>,

    /// Set a variable in the environment of everything that runs in the guest; may be given more than once
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,

    /// Let the endpoint, the path or the worker in the guest go wrong as this fault plan or file says (`aqlprobe verify --inject help`
    /// lists the faults)
    #[arg(long, value_name = "SPEC|FILE")]
    inject: Option<String>,

    /// Before the runs, let a guest that follows no rules store anything anywhere, for this many seconds
    #[arg(long, value_name = "SECONDS")]
    fuzz: Option<u64>,

    /// Seed of what it stores
    #[arg(long, value_name = "N", default_value = "1", requires = "fuzz")]
    seed: u64,

    /// End everything after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,

    /// Pass this GPU of the host instead: audit its way, and print the QEMU line with the right placement
    #[arg(long, value_name = "BDF", conflicts_with_all = ["output", "format", "fuzz"])]
    vfio: Option<Bdf>,

    /// A disk image for the line that --vfio prints
    #[arg(long, value_name = "FILE", requires = "vfio")]
    disk: Option<PathBuf>,

    /// Run the line that --vfio prints
    #[arg(long, requires = "vfio")]
    execute: bool,

    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Write the report to a file, which appears complete or not at all; the verdict goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Atomics {
    /// Cleared
    Off,
    /// Set
    On,
    /// As opening the device leaves it
    AsFound,
    /// Both in one run
    Both,
}

impl Atomics {
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::AsFound => "as-found",
            Self::Both => "both",
        }
    }
}

/// What `guest-fuzz` is asked for.
#[derive(clap::Args)]
pub struct FuzzArguments {
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    seed: u64,
}

/// Runs the subcommand.
///
/// # Errors
/// Whatever kept the guest from answering.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.command {
        GuestCommand::Run(arguments) => match &arguments.vfio {
            Some(gpu) => pass(gpu, arguments),
            None => boot(arguments),
        },
        GuestCommand::Fetch(arguments) => {
            let kernels: Vec<&str> = arguments.kernels.iter().map(String::as_str).collect();
            Assets::assemble(&arguments.assets, &kernels).map_err(assets_failure)?;
            Ok(ExitCode::Pass.status())
        }
    }
}

impl RunArguments {
    fn steps(&self, faults: Option<&FaultPlan>) -> Vec<Step> {
        let injected = faults.map(FaultPlan::to_string);
        let step = |name: String, words: &[&str]| Step {
            name,
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            // The host's deadline is the tighter one where it matters: it ends the guest with everything in it.
            deadline: Seconds(self.deadline),
        };
        let mut steps = vec![step("path".to_owned(), &["path", "--format", "json"])];
        if let Some(seconds) = self.fuzz {
            steps.push(step(
                "fuzz".to_owned(),
                &["guest-fuzz", "--seconds", &seconds.to_string(), "--seed", &self.seed.to_string()],
            ));
        }
        for atomics in &self.atomics {
            let mut words = vec!["verify", "--runtime", "guest", "--atomics", atomics.word(), "--format", "json"];
            words.extend(self.cases.iter().flat_map(|pattern| ["--case", pattern]));
            words.extend(injected.iter().flat_map(|plan| ["--inject", plan]));
            steps.push(step(format!("verify --atomics {}", atomics.word()), &words));
        }
        steps
    }

    /// The hops that the options say, with that in the way which the plan says.
    fn hops(&self, blocked: Option<BlockedHop>) -> Hops {
        let root_port_completers = match blocked {
            Some(BlockedHop::RootPort) => RootPortCompleters::None,
            Some(BlockedHop::RootPort64) => RootPortCompleters::Bits32,
            _ => self.root_port_completers,
        };
        let switch = match blocked {
            Some(BlockedHop::SwitchDownstreamRouting | BlockedHop::SwitchUpstreamRouting) => Switch::NoRouting,
            Some(BlockedHop::SwitchUpstreamEgress) => Switch::EgressBlocked,
            _ => self.switch,
        };
        Hops {
            root_port_completers,
            switch,
            endpoint_completer: self.endpoint_completer,
            functions: if self.multifunction { Functions::Multifunction } else { Functions::Single },
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn boot(arguments: &RunArguments) -> Result<u8, Failure> {
    aqlprobe::verify::select(&arguments.cases).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let faults = arguments.inject.as_deref().map(FaultPlan::from_argument).transpose();
    let faults = faults.map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let endpoint_plan = faults.as_ref().map_or(Ok(None), FaultPlan::of_endpoint);
    let endpoint_plan = endpoint_plan.map_err(|error| Failure::new(error, ExitCode::Usage))?;
    let destination = Destination::open(arguments.output.as_deref())?;
    let assets = Assets::assemble(&arguments.assets, &[&arguments.kernel]).map_err(assets_failure)?;
    let kernel = assets.kernel(&arguments.kernel).map_err(assets_failure)?;
    let program = match &arguments.program {
        Some(path) => Program::Other { path: path.clone() },
        None => Program::running().map_err(|error| Failure::new(error, ExitCode::CheckFailed))?,
    };
    let request = GuestRequest {
        assets,
        kernel,
        program,
        accelerator: arguments.accel,
        processors: arguments.processors,
        hops: arguments.hops(faults.as_ref().and_then(FaultPlan::blocked_hop)),
        requester_enable: arguments.requester_enable,
        bus_master: arguments.bus_master,
        environment: arguments.environment.clone(),
        steps: arguments.steps(faults.as_ref()),
        injected: faults.as_ref().map(FaultPlan::to_string),
        endpoint_plan: endpoint_plan.as_ref().map(FaultPlan::to_string),
        deciding: None,
        deadline: Seconds(arguments.deadline),
    };
    let report = aqlprobe::guest::run(&request).map_err(guest_failure)?;
    let bytes = rendered(&report, arguments.format).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    destination.write_bytes(&bytes, &report.verdict.sentence)?;
    Ok(report.verdict.exit_code)
}

fn rendered(report: &GuestReport, format: Format) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Text => write_text(report, &mut bytes)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut bytes, report)?;
            bytes.push(b'\n');
        }
    }
    Ok(bytes)
}

fn assets_failure(error: AssetsError) -> Failure {
    Failure::new(error, ExitCode::Usage)
        .hint("`aqlprobe guest fetch` assembles what a guest is made of; it needs a Debian with apt, xz and cc")
}

fn guest_failure(error: GuestError) -> Failure {
    let hint = match &error {
        GuestError::Assets(_) => "`aqlprobe guest fetch` assembles what a guest is made of",
        GuestError::Boot(BootError::NotBooted { .. } | BootError::Deadline { .. }) => {
            "on a loaded machine give it more time with --deadline"
        }
        GuestError::Boot(BootError::EndpointDied { .. }) => {
            "this is a defect of the endpoint: nothing that a guest does may end it"
        }
        _ => return Failure::new(error, ExitCode::CheckFailed),
    };
    Failure::new(error, ExitCode::CheckFailed).hint(hint)
}

/// Says whether the host's path is worth passing the GPU for, and how.
fn pass(gpu: &Bdf, arguments: &RunArguments) -> Result<u8, Failure> {
    let sysfs = SysfsRoot::default();
    let context = Context { machine: Some(detect(Path::new("/"))), ..Context::default() };
    let audit = audit::from_sysfs(&sysfs, Selection::Device(*gpu), &context)
        .map_err(|error| Failure::new(error, ExitCode::Usage).hint("`aqlprobe path` lists the GPUs of this machine"))?;
    let disk = arguments.disk.clone().map(passthrough::Disk);
    let line = passthrough::passthrough(gpu, &sysfs, disk.as_ref());
    let mut text = Vec::new();
    audit_text::write(&audit, Destination::Stdout.style(), &mut text)
        .map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    for note in &line.notes {
        text.extend(format!("\n{note}").bytes());
    }
    text.extend(format!("\n\n{}\n", line.line()).bytes());
    output::print(&text)?;
    if !arguments.execute {
        return Ok(ExitCode::Pass.status());
    }
    let [program, rest @ ..] = line.command.as_slice() else { return Ok(ExitCode::CheckFailed.status()) };
    let error = Command::new(program).args(rest).exec();
    Err(Failure::new(anyhow::Error::new(error).context(format!("cannot run {program}")), ExitCode::CheckFailed)
        .hint("install qemu-system-x86, 8.1 or later, or run the line above where it is"))
}

/// The guest's first process.
///
/// # Errors
/// When this is not a guest's first process.
pub fn init() -> Result<u8, Failure> {
    init::main().map_err(|error| Failure::new(error, ExitCode::Usage))?;
    Ok(ExitCode::Pass.status())
}

/// The guest that follows no rules.
///
/// # Errors
/// When the endpoint cannot be opened.
pub fn fuzz(arguments: &FuzzArguments) -> Result<u8, Failure> {
    let outcome = init::fuzz(0x1002, 0x7300, Seconds(arguments.seconds), arguments.seed)
        .map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    let text = serde_json::to_string(&outcome).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    output::print(format!("{text}\n").as_bytes())?;
    if outcome.alive {
        return Ok(ExitCode::Pass.status());
    }
    Err(Failure::new(anyhow!("the endpoint no longer answers"), ExitCode::CheckFailed))
}
