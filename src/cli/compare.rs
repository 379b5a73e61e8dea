//! `aqlprobe compare`: is the newer report worse?

use std::path::PathBuf;

use aqlprobe::compare::{self, Aspect, Bootstrap, CompareSettings, Comparison, Incomparable, Percent, text};
use aqlprobe::report::{Document, ExitCode, TextStyle};
use clap::ValueEnum;

use super::failure::Failure;
use super::output::{self, Destination, Format};

const EXAMPLES: &str = "\
Examples:
  aqlprobe compare base.json new.json
      two reports of `aqlprobe latency` or of `aqlprobe verify`, of the same GPU
  aqlprobe compare base.json new.json --threshold 2
      what lies more than 2 % from the base counts
  aqlprobe compare monday.json tuesday.json --format json -o comparison.json
      for a program
  aqlprobe compare without.json with-fault.json --allow-different settings
      what an injected fault costs";

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing regressed
  1  something regressed: a figure, a case, or a verdict
  2  there is no telling: a figure looks worse and has too few samples to be judged; or the reports cannot be compared
     (unlike bed, device or settings, too few samples for any figure, or no report)";

/// Say whether the newer of two reports is worse than the older one, for people and for CI
///
/// Of latency reports, the median and the 99th percentile of the round trip are compared by device and state of AtomicOps: regressed or
/// improved when the whole bootstrap interval of the difference lies beyond the threshold. The verdict names what too few samples speak for.
/// Of verify reports, the cases. Reports of another bed, device or other settings are refused: a model's figures are never held against hardware's unasked.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// The older report, as --format json wrote it
    #[arg(value_name = "BASE.json")]
    base: PathBuf,

    /// The newer one
    #[arg(value_name = "NEW.json")]
    new: PathBuf,

    /// How many percent of the base a difference must exceed to count
    #[arg(long, value_name = "PCT", default_value = "5")]
    threshold: Percent,

    /// Start of the bootstrap's random numbers; the same seed gives the same interval
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().seed)]
    seed: u64,

    /// Compare although the reports are unlike in this; may be given more than once
    #[arg(long = "allow-different", value_name = "WHAT", value_enum)]
    allowed: Vec<AllowedAspect>,

    /// Form of the comparison
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Write the comparison to a file, which appears complete or not at all; the verdict goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AllowedAspect {
    /// Another test bed
    Bed,
    /// Another GPU
    Device,
    /// Another mode, wait, fence, batch, injected fault, …
    Settings,
}

impl From<AllowedAspect> for Aspect {
    fn from(aspect: AllowedAspect) -> Self {
        match aspect {
            AllowedAspect::Bed => Self::Bed,
            AllowedAspect::Device => Self::Device,
            AllowedAspect::Settings => Self::Settings,
        }
    }
}

/// Compares and prints.
///
/// # Errors
/// A file is no report, or the two cannot be compared.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    output::spare_inputs(arguments.output.as_deref(), [&arguments.base, &arguments.new])?;
    let read = |path: &PathBuf| Document::read(path).map_err(|error| Failure::new(error, ExitCode::Usage));
    let (base, new) = (read(&arguments.base)?, read(&arguments.new)?);
    let settings = CompareSettings {
        threshold: arguments.threshold,
        bootstrap: Bootstrap { seed: arguments.seed, ..Bootstrap::default() },
        allowed: arguments.allowed.iter().copied().map(Aspect::from).collect(),
    };
    let comparison = compare::compare(&base, &new, &settings).map_err(incomparable)?;
    let destination = Destination::open(arguments.output.as_deref())?;
    let bytes = rendered(&comparison, arguments.format, destination.style())?;
    destination.write_bytes(&bytes, &text::verdict(&comparison, TextStyle::PLAIN))?;
    Ok(comparison.verdict.exit_code.status())
}

fn incomparable(error: Incomparable) -> Failure {
    let aspects = error.aspects();
    let failure = Failure::new(error, ExitCode::Usage);
    if aspects.is_empty() {
        return failure;
    }
    let options: Vec<String> = aspects.iter().map(|aspect| format!("--allow-different {aspect}")).collect();
    failure.hint(format!("if that is what you want to compare, add {}", options.join(" ")))
}

fn rendered(comparison: &Comparison, format: Format, style: TextStyle) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match format {
        Format::Text => text::write(comparison, style, &mut bytes),
        Format::Json => text::write_json(comparison, &mut bytes),
    }
    .map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    Ok(bytes)
}
