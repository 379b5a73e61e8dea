//! `aqlprobe report`: saved reports, rendered again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use aqlprobe::report::fleet::SavedReport;
use aqlprobe::report::html::{self, HtmlSource};
use aqlprobe::report::{Document, ExitCode, TextStyle, fleet_text, json, latency_text, text};

use super::failure::Failure;
use super::output::{Destination, Format};

const EXAMPLES: &str = "\
Examples:
  aqlprobe report report.json --html report.html
      a page that needs no script and no network, for a browser or a mail
  aqlprobe report verify.json latency.json --html gpu.html
      several reports on one page
  aqlprobe report fleet.json --html fleet.html
      what `aqlprobe merge` gathered
  aqlprobe report report.json
      the text that the run printed";

const EXIT_CODES: &str = "\
Exit codes:
  0  the reports were rendered, whatever their verdicts
  1  the result could not be written
  2  the command line is wrong, or a file is no report";

/// Render saved reports again: as a page for a browser, or as text
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// Reports of `aqlprobe verify`, `latency` or `merge`, as JSON
    #[arg(value_name = "FILE.json", required = true)]
    files: Vec<PathBuf>,

    /// Write one self-contained page of all of them to this file, which appears complete or not at all
    #[arg(long, value_name = "OUT.html", conflicts_with_all = ["format", "output"])]
    html: Option<PathBuf>,

    /// Form, when not HTML
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Write to a file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Renders and writes.
///
/// # Errors
/// A file is no report, or the result cannot be written.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let sources = arguments.files.iter().map(|path| source(path)).collect::<Result<Vec<_>, Failure>>()?;
    let (bytes, destination) = if let Some(path) = &arguments.html {
        (html::page(&sources).into_bytes(), Destination::open(Some(path))?)
    } else {
        let destination = Destination::open(arguments.output.as_deref())?;
        let [source] = sources.as_slice() else {
            let error = anyhow!("{} files are given, and only a page holds several", sources.len());
            return Err(Failure::new(error, ExitCode::Usage).hint("name one file, or add `--html OUT.html`"));
        };
        (rendered(&source.report, arguments.format, destination.style())?, destination)
    };
    let verdicts: Vec<String> = sources.iter().map(|source| verdict(&source.report)).collect();
    destination.write_bytes(&bytes, &verdicts.join("\n"))?;
    Ok(ExitCode::Pass.status())
}

fn source(path: &Path) -> Result<HtmlSource, Failure> {
    let report = SavedReport::read(path).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    Ok(HtmlSource { file: path.display().to_string(), report })
}

fn verdict(report: &SavedReport) -> String {
    match report {
        SavedReport::Single(Document::Verify(report)) => text::verdict(report),
        SavedReport::Single(Document::Latency(report)) => latency_text::verdict(report),
        SavedReport::Fleet(fleet) => fleet_text::summary(fleet),
    }
}

fn rendered(report: &SavedReport, format: Format, style: TextStyle) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match (report, format) {
        (SavedReport::Single(Document::Verify(report)), Format::Text) => text::write(report, style, &mut bytes),
        (SavedReport::Single(Document::Verify(report)), Format::Json) => json::write(report, &mut bytes),
        (SavedReport::Single(report @ Document::Latency(_)), Format::Json) => json::write_document(report, &mut bytes),
        (SavedReport::Single(Document::Latency(report)), Format::Text) => latency_text::write(report, style, &mut bytes),
        (SavedReport::Fleet(fleet), Format::Text) => fleet_text::write(fleet, style, &mut bytes),
        (SavedReport::Fleet(fleet), Format::Json) => fleet_text::write_json(fleet, &mut bytes),
    }
    .context("cannot render the report")
    .map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    Ok(bytes)
}
