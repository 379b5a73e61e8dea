//! Several reports of one run: the one on stdout or in `-o`, and those of `--report KIND=PATH`.

use std::collections::BTreeSet;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use aqlprobe::report::{
    AtomicsMode, BedReport, CaseReport, Document, DocumentKind, EventStream, ExitCode, HardwareDemand, Refusal, RenderContext,
    ReportKind, TextStyle, UnknownReportKind, github,
};
use aqlprobe::verify::Observer;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::Failure;
use super::live::{LiveReport, Mailbox, OpenPlace, Patience};
use super::output::{self, Destination};

/// Where GitHub Actions wants Markdown for the job's page.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct OutputArguments {
    /// Form of the report on stdout or in -o [default: text]
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(ReportKind::ALL.map(ReportKind::name)).try_map(|word| word.parse::<ReportKind>()))]
    format: Option<ReportKind>,

    /// Write the report to a file, which appears complete or not at all; the verdict goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write one more report: junit=report.xml, tap=-, …; may be given more than once, with `-` (stdout) at most once
    #[arg(long = "report", value_name = "KIND=PATH")]
    reports: Vec<RequestedReport>,
}

/// The value of `--report`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RequestedReport {
    kind: ReportKind,
    /// `None`: stdout.
    path: Option<PathBuf>,
}

/// Why a value of `--report` is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BadReport {
    #[error("it has no `=`: write KIND=PATH, as in junit=report.xml")]
    NoPath,
    #[error("the path is empty: write KIND=PATH, or KIND=- for stdout")]
    EmptyPath,
    #[error(transparent)]
    Kind(#[from] UnknownReportKind),
}

impl FromStr for RequestedReport {
    type Err = BadReport;

    fn from_str(text: &str) -> Result<Self, BadReport> {
        let (kind, path) = text.split_once('=').ok_or(BadReport::NoPath)?;
        let path = match path {
            "" => return Err(BadReport::EmptyPath),
            "-" => None,
            path => Some(PathBuf::from(path)),
        };
        Ok(Self { kind: kind.parse()?, path })
    }
}

impl OutputArguments {
    /// All reports, that of stdout or `-o` first. A report that goes to stdout takes the place of the default one there.
    fn requested(&self, default: ReportKind) -> Result<Vec<RequestedReport>, Failure> {
        let taken = self.reports.iter().any(|report| report.path.is_none());
        let mut requested = self.reports.clone();
        if self.format.is_some() || self.output.is_some() || !taken {
            requested.insert(0, RequestedReport { kind: self.format.unwrap_or(default), path: self.output.clone() });
        }
        if requested.iter().filter(|report| report.path.is_none()).count() > 1 {
            let error = anyhow!("two reports go to stdout");
            return Err(Failure::new(error, ExitCode::Usage).hint("give all but one of them a file: --report KIND=PATH"));
        }
        let mut seen = BTreeSet::new();
        let again = |path: &&PathBuf| output::place(path).is_some_and(|place| !seen.insert(place));
        match requested.iter().filter_map(|report| report.path.as_ref()).find(again) {
            None => Ok(requested),
            Some(path) => Err(Failure::new(anyhow!("two reports go to {}", path.display()), ExitCode::Usage)),
        }
    }
}

/// What becomes of one report.
enum Sink {
    /// Written when the run is over.
    AtTheEnd(Destination),
    /// Written as things happen, so neither held back nor replaced as a whole.
    Live(LiveReport),
}

/// A place that is known to be writable, before any of them is touched.
enum Opened {
    AtTheEnd(Destination),
    Live(OpenPlace),
}

impl Opened {
    fn begin(self) -> Result<Sink, Failure> {
        match self {
            Self::AtTheEnd(destination) => Ok(Sink::AtTheEnd(destination)),
            Self::Live(place) => place.begin().map(Sink::Live),
        }
    }
}

struct Output {
    kind: ReportKind,
    context: RenderContext,
    sink: Sink,
}

/// The places of all reports, opened before the run.
pub struct Outputs {
    command: DocumentKind,
    demand: HardwareDemand,
    outputs: Vec<Output>,
    summary: Option<(PathBuf, File)>,
}

impl Outputs {
    /// Opens everything that will be written.
    ///
    /// # Errors
    /// Two reports want the same place, or a place cannot be written.
    pub fn open(
        command: DocumentKind,
        arguments: &OutputArguments,
        default: ReportKind,
        demand: HardwareDemand,
    ) -> Result<Self, Failure> {
        let requested = arguments.requested(default)?;
        let mut opened = Vec::new();
        for RequestedReport { kind, path } in requested {
            let (style, place) = if kind == ReportKind::Ndjson {
                (TextStyle::PLAIN, Opened::Live(OpenPlace::open(path.as_deref())?))
            } else {
                let destination = Destination::open(path.as_deref())?;
                (destination.style(), Opened::AtTheEnd(destination))
            };
            opened.push((kind, RenderContext { style, demand }, place));
        }
        let wanted = opened.iter().any(|(kind, ..)| *kind == ReportKind::Github);
        let summary = env::var_os(STEP_SUMMARY).filter(|path| wanted && !path.is_empty()).map(PathBuf::from);
        let summary = summary.map(|path| Ok::<_, Failure>((path.clone(), appending(&path)?))).transpose()?;
        // Only now that all of them are open: where one cannot be, the others stay as they were.
        let begun = opened.into_iter().map(|(kind, context, place)| Ok(Output { kind, context, sink: place.begin()? }));
        let outputs = begun.collect::<Result<_, Failure>>()?;
        Ok(Self { command, demand, outputs, summary })
    }

    /// The form of the report that goes to stdout, if one does.
    pub fn on_stdout(&self) -> Option<ReportKind> {
        let on_stdout = |output: &&Output| match &output.sink {
            Sink::AtTheEnd(destination) => matches!(destination, Destination::Stdout),
            Sink::Live(report) => report.is_on_stdout(),
        };
        self.outputs.iter().find(on_stdout).map(|output| output.kind)
    }

    /// Writes every report. Where one went to a file, the verdict is left on stderr.
    ///
    /// # Errors
    /// One of them cannot be written whole; the others are.
    pub fn write(self, document: &Document, verdict: &str) -> Result<(), Failure> {
        let mut written = Vec::new();
        let mut first_failure = None;
        let mut note = |result: Result<Option<PathBuf>, Failure>| match result {
            Ok(path) => written.extend(path),
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        };
        // What lies in a file is not lost with the patience for a reader that does not read.
        let (waiting, others): (Vec<_>, Vec<_>) = self.outputs.into_iter().partition(Output::may_wait_for_a_reader);
        others.into_iter().for_each(|output| note(output.write(document)));
        if let Some((path, mut file)) = self.summary {
            let text = github::summary(document, self.demand);
            let appended = file.write_all(text.as_bytes()).with_context(|| output::cannot(&path));
            note(appended.map(|()| None).map_err(output::unwritten));
        }
        waiting.into_iter().for_each(|output| note(output.write(document)));
        // A run whose report could not be written has found out all the same.
        if !written.is_empty() || first_failure.is_some() {
            let reports: String = written.iter().map(|path| format!("report: {}\n", path.display())).collect();
            let _ = io::stderr().lock().write_all(format!("{verdict}\n{reports}").as_bytes());
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Leaves word that there is no report, in the forms that have a word for it; files of the others stay as they were.
    pub fn refuse(self, refusal: &Refusal) {
        for output in self.outputs {
            // The refusal itself is on its way to stderr, and matters more than a failure to write it elsewhere.
            let _ = output.refuse(refusal);
        }
        if let Some((_, mut file)) = self.summary {
            let _ = file.write_all(github::refusal_summary(refusal).as_bytes());
        }
    }

    fn live(&mut self) -> impl Iterator<Item = &mut EventStream<Mailbox>> {
        self.outputs.iter_mut().filter_map(|output| match &mut output.sink {
            Sink::AtTheEnd(_) => None,
            Sink::Live(report) => Some(report.stream()),
        })
    }
}

impl Output {
    const fn may_wait_for_a_reader(&self) -> bool {
        !matches!(self.sink, Sink::AtTheEnd(Destination::Replacing { .. }))
    }

    /// Returns the file written.
    fn write(self, document: &Document) -> Result<Option<PathBuf>, Failure> {
        match self.sink {
            Sink::AtTheEnd(destination) => {
                let mut bytes = Vec::new();
                let rendered = self.kind.renderer(self.context).report(document, &mut bytes);
                rendered.map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
                destination.put(&bytes)
            }
            Sink::Live(mut report) => {
                // What came before was said as it happened: no run ends in a document without having had a bed.
                report.stream().conclude(document);
                report.finish(Patience::Unlimited)
            }
        }
    }

    fn refuse(self, refusal: &Refusal) -> Result<Option<PathBuf>, Failure> {
        match self.sink {
            Sink::AtTheEnd(destination) => match self.kind.renderer(self.context).refusal(refusal) {
                Some(text) => destination.put(text.as_bytes()),
                None => Ok(None),
            },
            Sink::Live(mut report) => {
                report.stream().error(refusal);
                report.finish(Patience::LAST_WORD)
            }
        }
    }
}

fn appending(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().append(true).create(true).open(path).with_context(|| output::cannot(path));
    opened.map_err(|error| Failure::new(error, ExitCode::Usage).hint(format!("{STEP_SUMMARY} names it")))
}

/// The live ones among the reports watch the run.
impl Observer for Outputs {
    fn bed_ready(&mut self, bed: &BedReport) {
        let command = self.command;
        self.live().for_each(|stream| stream.started(command, bed));
    }

    fn planned(&mut self, total_cases: usize) {
        self.live().for_each(|stream| stream.planned(total_cases));
    }

    fn run_started(&mut self, device: &str, mode: AtomicsMode) {
        self.live().for_each(|stream| stream.run_started(device, mode));
    }

    fn case_started(&mut self, name: &str) {
        self.live().for_each(|stream| stream.case_started(name));
    }

    fn case_finished(&mut self, case: &CaseReport) {
        self.live().for_each(|stream| stream.case_finished(case));
    }
}

/// Two who watch the same run.
pub struct Both<'a>(pub &'a mut dyn Observer, pub &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn bed_ready(&mut self, bed: &BedReport) {
        self.0.bed_ready(bed);
        self.1.bed_ready(bed);
    }

    fn planned(&mut self, total_cases: usize) {
        self.0.planned(total_cases);
        self.1.planned(total_cases);
    }

    fn run_started(&mut self, device: &str, mode: AtomicsMode) {
        self.0.run_started(device, mode);
        self.1.run_started(device, mode);
    }

    fn case_started(&mut self, name: &str) {
        self.0.case_started(name);
        self.1.case_started(name);
    }

    fn case_finished(&mut self, case: &CaseReport) {
        self.0.case_finished(case);
        self.1.case_finished(case);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(format: Option<ReportKind>, output: Option<&str>, reports: &[&str]) -> OutputArguments {
        let reports = reports.iter().map(|report| report.parse().unwrap()).collect();
        OutputArguments { format, output: output.map(PathBuf::from), reports }
    }

    fn kinds(arguments: &OutputArguments) -> Vec<(ReportKind, bool)> {
        let requested = arguments.requested(ReportKind::Text).unwrap();
        requested.into_iter().map(|report| (report.kind, report.path.is_none())).collect()
    }

    #[test]
    fn reports_in_files_come_beside_the_one_on_stdout_and_one_on_stdout_takes_its_place() {
        use ReportKind::{Json, Junit, Tap, Text};
        assert_eq!(kinds(&arguments(None, None, &[])), [(Text, true)]);
        assert_eq!(kinds(&arguments(None, None, &["junit=a.xml"])), [(Text, true), (Junit, false)]);
        assert_eq!(kinds(&arguments(None, None, &["tap=-"])), [(Tap, true)]);
        assert_eq!(kinds(&arguments(Some(Json), Some("a.json"), &["tap=-"])), [(Json, false), (Tap, true)]);
        assert_eq!(kinds(&arguments(None, Some("a.txt"), &["tap=-"])), [(Text, false), (Tap, true)]);
    }

    #[test]
    fn a_place_takes_one_report() {
        let refused = |arguments: &OutputArguments| arguments.requested(ReportKind::Text).err().unwrap().reason();
        assert!(refused(&arguments(None, None, &["tap=-", "json=-"])).contains("stdout"));
        assert!(refused(&arguments(Some(ReportKind::Json), None, &["tap=-"])).contains("stdout"));
        assert!(refused(&arguments(None, None, &["tap=x", "json=x"])).contains("two reports go to x"));
        assert!(refused(&arguments(None, Some("x"), &["json=x"])).contains("two reports go to x"));
        assert!(refused(&arguments(None, Some("x"), &["json=./x"])).contains("two reports go to ./x"));
        assert!(arguments(None, Some("/dev/null"), &["json=/dev/null"]).requested(ReportKind::Text).is_ok());
    }

    #[test]
    fn a_path_may_hold_an_equals_sign_and_must_not_be_empty() {
        let parsed: RequestedReport = "junit=a=b.xml".parse().unwrap();
        assert_eq!(parsed, RequestedReport { kind: ReportKind::Junit, path: Some("a=b.xml".into()) });
        assert_eq!("junit".parse::<RequestedReport>(), Err(BadReport::NoPath));
        assert_eq!("junit=".parse::<RequestedReport>(), Err(BadReport::EmptyPath));
        assert!("xml=a".parse::<RequestedReport>().unwrap_err().to_string().contains("junit"));
    }
}
