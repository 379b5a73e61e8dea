//! `aqlprobe merge`: a fleet's reports in one document.

use std::path::{Path, PathBuf};

use aqlprobe::fleet;
use aqlprobe::report::fleet::SavedReport;
use aqlprobe::report::{ExitCode, fleet_text};

use super::failure::Failure;
use super::output::{self, Destination};

const EXAMPLES: &str = "\
Examples:
  aqlprobe merge node*.json -o fleet.json
      one document of all nodes' reports; a table on stdout
  aqlprobe merge node*.json
      the table alone
  aqlprobe merge fleet.json late/*.json -o fleet.json
      nodes that came later
  aqlprobe report fleet.json --html fleet.html
      the same to look at";

const EXIT_CODES: &str = "\
Exit codes:
  0  every file is in the document, whatever its verdict
  1  a file could not be read and is named; the others are in the document
  2  the command line is wrong, or no file could be read";

/// Gather the reports of a fleet's nodes into one document, and say which node is not like the others
///
/// Takes what `aqlprobe verify` and `aqlprobe latency` write with --format json. A device is odd when its path, firmware, runtime,
/// driver or verdict differs from what most devices of its kind have, or its median round trip from the fleet's.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// Reports, one or more per node
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Write the document (JSON, results/fleet.schema.json) to this file, which appears complete or not at all
    #[arg(short, long, value_name = "FLEET.json")]
    output: Option<PathBuf>,
}

/// Gathers, writes the document, and prints the table.
///
/// # Errors
/// No file is a report, or the document cannot be written.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    // Onto a fleet's own document is how nodes that come later are added.
    let is_fleet = |path: &Path| matches!(SavedReport::read(path), Ok(SavedReport::Fleet(_)));
    let output = arguments.output.as_deref().filter(|output| !is_fleet(output));
    output::spare_inputs(output, &arguments.files)?;
    let destination = arguments.output.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
    let fleet = fleet::gather(&arguments.files);
    let style = Destination::Stdout.style();
    let (mut table, mut document) = (Vec::new(), Vec::new());
    fleet_text::write(&fleet, style, &mut table)
        .and_then(|()| fleet_text::write_json(&fleet, &mut document))
        .map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    if fleet.reports.is_empty() {
        output::print(&table)?;
        return Err(Failure::new(anyhow::anyhow!("none of the files is a report"), ExitCode::Usage));
    }
    output::print(&table)?;
    if let Some(destination) = destination {
        destination.write_bytes(&document, &fleet_text::summary(&fleet))?;
    }
    Ok(if fleet.unreadable.is_empty() { ExitCode::Pass } else { ExitCode::CheckFailed }.status())
}
