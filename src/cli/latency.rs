//! `aqlprobe latency`: how long a round trip takes, and where the time goes.

use aqlprobe::latency::{self, LatencyRequest, Length, PerSecond};
use aqlprobe::report::latency::{LatencyFence, LatencyMode, LatencyWait};
use aqlprobe::report::{AtomicsMode, BedReport, DocumentKind, ExitCode, Refusal, text};
use aqlprobe::verify::Milliseconds;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::EXIT_CODES;
use super::failure::Failure;
use super::outcome_policy::PolicyArguments;
use super::output;
use super::outputs::{OutputArguments, Outputs};
use super::place::PlaceArguments;

const EXAMPLES: &str = "\
Examples:
  aqlprobe latency --runtime embedded
      round trips of an empty kernel on the software GPU, stage by stage
  sudo aqlprobe latency --atomics both -D 10 --pin 2
      a real GPU for ten seconds in each state of AtomicOps, from processor 2
  aqlprobe latency --mode pingpong
      what host and a running kernel need without packets and signals
  aqlprobe latency --rate 5000 -D 30
      5000 starts a second; a slow round trip counts for those behind it too
  aqlprobe latency --batch 64 --queues 4 --producers 4 -n 100000
      throughput: 64 packets per doorbell, four threads on four queues
  aqlprobe latency --require-device --format json -o latency.json
      in CI, for `aqlprobe compare`
  aqlprobe latency --runtime embedded --strict --report prometheus=latency.prom --report junit=latency.xml
      the text on stdout and two more reports of the same run (docs/ci.md); exit code 5 where the numbers are doubtful
  aqlprobe latency --runtime embedded --inject signal-late=50us
      how well 50 us more are measured (docs/latency.md)";

/// Measure the round trip of a dispatch, split into its stages
///
/// Every sample is kept and nothing is trimmed. A figure of the software GPU says something about this program and nothing about a GPU; the
/// report names its test bed. docs/latency.md says how to read it.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,

    /// Round trips, at most 4000000 [default: 10000]
    #[arg(short = 'n', long = "iterations", value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..=LatencyRequest::MOST_SAMPLES))]
    iterations: Option<u64>,

    /// Measure for this long instead, or until 4000000 round trips are made
    #[arg(short = 'D', long, value_name = "SECONDS", value_parser = duration)]
    duration: Option<Milliseconds>,

    /// Run this long before anything counts [default: 1 on hardware, 0.2 on a model]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warmup: Option<Milliseconds>,

    /// What one round trip is
    #[arg(long, value_enum, default_value = "dispatch")]
    mode: Mode,

    /// How the host waits
    #[arg(long, value_enum, default_value = "active")]
    wait: Wait,

    /// Acquire and release scope of the packets; system is what HIP submits
    #[arg(long, value_enum, default_value = "system")]
    fence: Fence,

    /// Packets per doorbell; the last one waits for the others
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,

    /// Queues; of a producer that has several, all get a batch before any is waited for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    queues: u32,

    /// Threads that publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    producers: u32,

    /// Start so many round trips per second, and count each from when it was due
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<PerSecond>,

    /// Keep the measuring thread on this processor
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,

    #[command(flatten)]
    policy: PolicyArguments,

    #[command(flatten)]
    outputs: OutputArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// An empty kernel
    Dispatch,
    /// A barrier packet without dependencies
    Barrier,
    /// A signal that a running kernel answers
    Signal,
    /// A word in host memory that a running kernel answers
    Pingpong,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wait {
    /// Polling
    Active,
    /// Asleep until the device's interrupt
    Blocked,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fence {
    /// No fence
    None,
    /// The device's own caches
    Agent,
    /// Everything
    System,
}

/// Seconds with a fraction.
fn seconds(text: &str) -> Result<Milliseconds, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Milliseconds((seconds * 1e3).round() as u64)),
        _ => Err("write seconds from 0 to 3600, such as 0.5".to_owned()),
    }
}

/// Seconds with a fraction, a millisecond at least.
fn duration(text: &str) -> Result<Milliseconds, String> {
    match seconds(text) {
        Ok(Milliseconds(0)) | Err(_) => Err("write seconds from 0.001 to 3600, such as 0.5".to_owned()),
        measured => measured,
    }
}

impl Arguments {
    fn request(&self) -> Result<LatencyRequest, Failure> {
        let length = match (self.iterations, self.duration) {
            (_, Some(duration)) => Length::Time(duration),
            (samples, None) => Length::Samples(samples.unwrap_or(LatencyRequest::DEFAULT_SAMPLES)),
        };
        let request = LatencyRequest {
            place: self.place.request()?,
            mode: match self.mode {
                Mode::Dispatch => LatencyMode::Dispatch,
                Mode::Barrier => LatencyMode::Barrier,
                Mode::Signal => LatencyMode::Signal,
                Mode::Pingpong => LatencyMode::Pingpong,
            },
            wait: match self.wait {
                Wait::Active => LatencyWait::Active,
                Wait::Blocked => LatencyWait::Blocked,
            },
            fence: match self.fence {
                Fence::None => LatencyFence::None,
                Fence::Agent => LatencyFence::Agent,
                Fence::System => LatencyFence::System,
            },
            batch: self.batch,
            queues: self.queues,
            producers: self.producers,
            rate: self.rate,
            length,
            warmup: self.warmup,
            pin: self.pin,
        };
        request.check().map_err(|error| Failure::new(error, ExitCode::Usage))?;
        Ok(request)
    }
}

/// Measures and prints the report.
///
/// # Errors
/// Whatever kept anything from being measured.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if let Some(faults) = arguments.place.help() {
        output::print(faults.as_bytes())?;
        return Ok(ExitCode::Pass.status());
    }
    let policy = arguments.policy.policy(arguments.place.without_hardware());
    let under_policy = |failure: Failure| failure.under(|code| policy.status(code));
    let request = arguments.request().map_err(under_policy)?;
    let outputs = Outputs::open(DocumentKind::Latency, &arguments.outputs, policy.default_kind(), policy.demand());
    let mut outputs = outputs.map_err(under_policy)?;
    let on_stdout = outputs.on_stdout();
    let bar = Bar(ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr()));
    let outcome = latency::run(&request, &mut Watchers { bar, outputs: &mut outputs });
    let report = match outcome {
        Ok(report) => policy.judged(report.into()),
        Err(error) => {
            let failure = policy.failure(error);
            let refusal = Refusal { command: DocumentKind::Latency, reason: failure.reason(), exit_code: failure.code() };
            outputs.refuse(&refusal);
            return Err(failure.under(|_| policy.status_without_report(&refusal, on_stdout)));
        }
    };
    outputs.write(&report, &text::verdict_of(&report)).map_err(under_policy)?;
    policy.conclude(&report, on_stdout)
}

/// Progress on stderr, where that is a terminal; gone when dropped.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The bar, and the reports that are written as things happen.
struct Watchers<'a> {
    bar: Bar,
    outputs: &'a mut Outputs,
}

impl latency::Observer for Watchers<'_> {
    fn bed_ready(&mut self, bed: &BedReport) {
        aqlprobe::verify::Observer::bed_ready(self.outputs, bed);
    }

    fn run_started(&mut self, device: &str, mode: AtomicsMode) {
        aqlprobe::verify::Observer::run_started(self.outputs, device, mode);
        self.bar.0.set_message(format!("{device}, AtomicOps {mode}"));
    }

    fn progressed(&mut self, share: f64) {
        self.bar.0.set_position((share * 1000.0) as u64);
    }

    fn run_finished(&mut self) {
        self.bar.0.set_position(0);
    }
}
