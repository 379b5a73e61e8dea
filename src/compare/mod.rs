//! Two reports of the same kind, held against each other: is the newer one worse?
//!
//! Only what is alike is compared. Whatever makes two reports unlike (the bed, the device, what was asked for) is named and
//! refused, unless the caller allows it by name; a model's figures are never held against hardware's unasked.

mod cases;
mod figures;
mod matching;
pub mod text;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::report::{AtomicsMode, BedReport, Document, DocumentKind, ExitCode, Tool};

pub use crate::bootstrap::{Bootstrap, Figure, Interval};

/// Percent of the base.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct Percent(f64);

impl Percent {
    /// The value, from 0 to 1000.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

/// Five: what perf dashboards commonly let pass.
impl Default for Percent {
    fn default() -> Self {
        Self(5.0)
    }
}

/// A text that is no percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no percentage from 0 to 1000")]
pub struct NotAPercentage(String);

impl FromStr for Percent {
    type Err = NotAPercentage;

    fn from_str(text: &str) -> Result<Self, NotAPercentage> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let value: f64 = number.parse().map_err(|_| NotAPercentage(text.to_owned()))?;
        if (0.0..=1000.0).contains(&value) { Ok(Self(value)) } else { Err(NotAPercentage(text.to_owned())) }
    }
}

/// What may make two reports unlike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// What was tested on: hardware, one of the models, a replayed dump.
    Bed,
    /// Which GPU.
    Device,
    /// What was asked for, faults injected on purpose among it.
    Settings,
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bed => "bed",
            Self::Device => "device",
            Self::Settings => "settings",
        })
    }
}

/// One thing in which two reports are unlike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlikeness {
    /// What kind of thing.
    pub aspect: Aspect,
    /// In words: what, there and here.
    pub sentence: String,
}

/// Why two reports are not compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// One is of `verify`, the other of `latency`.
    #[error("the base is a {} report and the new one a {} report", kind_name(*base), kind_name(*new))]
    Kinds {
        /// The base's.
        base: DocumentKind,
        /// The new one's.
        new: DocumentKind,
    },
    /// They are unlike.
    #[error("the reports are unlike: {}", list(differences))]
    Unlike {
        /// In what.
        differences: Vec<Unlikeness>,
    },
    /// Nothing could be judged.
    #[error("nothing can be compared: {reason}")]
    Nothing {
        /// Why.
        reason: String,
    },
}

impl Incomparable {
    /// What would have to be allowed.
    #[must_use]
    pub fn aspects(&self) -> Vec<Aspect> {
        let Self::Unlike { differences } = self else { return Vec::new() };
        let mut aspects: Vec<Aspect> = Vec::new();
        for difference in differences {
            if !aspects.contains(&difference.aspect) {
                aspects.push(difference.aspect);
            }
        }
        aspects
    }
}

const fn kind_name(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Verify => "verify",
        DocumentKind::Latency => "latency",
    }
}

fn list(differences: &[Unlikeness]) -> String {
    differences.iter().map(|difference| difference.sentence.as_str()).collect::<Vec<_>>().join("; ")
}

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct CompareSettings {
    /// How far an interval must lie from zero to count.
    pub threshold: Percent,
    /// How it is drawn.
    pub bootstrap: Bootstrap,
    /// In what the reports may be unlike.
    pub allowed: Vec<Aspect>,
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// As it was, or not beyond the threshold.
    NoDifference,
    /// Another outcome, neither better nor worse.
    Changed,
    /// Better.
    Improved,
    /// Worse.
    Regressed,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoDifference => "no difference",
            Self::Changed => "changed",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
        })
    }
}

/// Where something was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// Position of the GPU among those of the base.
    pub device: usize,
    /// The GPU, in words.
    pub gpu: String,
    /// The state of AtomicOps.
    pub atomics: AtomicsMode,
}

/// One thing that was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Finding {
    /// A figure of the round trip.
    Figure {
        /// Where.
        #[serde(flatten)]
        spot: Spot,
        /// Which.
        figure: Figure,
        /// The base's, in nanoseconds.
        base_ns: u64,
        /// The new one's, in nanoseconds.
        new_ns: u64,
        /// The difference in percent; absent when a side has no sample at all.
        difference_percent: Option<Interval>,
        /// What that comes to; absent when there are too few samples to tell.
        change: Option<Change>,
    },
    /// A measurement that came to a hang, or to nothing, in either report.
    Measurement {
        /// Where.
        #[serde(flatten)]
        spot: Spot,
        /// What there was, in words.
        base: String,
        /// What there is.
        new: String,
        /// What that comes to.
        change: Change,
    },
    /// A case whose outcome or standing differs.
    Case {
        /// Where.
        #[serde(flatten)]
        spot: Spot,
        /// The case.
        case: String,
        /// Outcome and standing there were, in words.
        base: String,
        /// What there is.
        new: String,
        /// What that comes to.
        change: Change,
    },
    /// The last words of the reports, where they differ.
    Verdict {
        /// There was.
        base: String,
        /// There is.
        new: String,
        /// What that comes to.
        change: Change,
    },
}

impl Finding {
    /// What it comes to; `None` where too few samples speak for it: it is *unjudged*.
    #[must_use]
    pub const fn change(&self) -> Option<Change> {
        match self {
            Self::Figure { change, .. } => *change,
            Self::Measurement { change, .. } | Self::Case { change, .. } | Self::Verdict { change, .. } => Some(*change),
        }
    }
}

/// One of the two reports.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Name of the machine, where the report says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What was tested on.
    pub bed: BedReport,
    /// Seconds since the epoch, UTC.
    pub started_at: u64,
    /// Who wrote it.
    pub tool: Tool,
}

impl Side {
    fn of(document: &Document) -> Self {
        let (started_at, tool) = match document {
            Document::Verify(report) => (report.started_at, report.tool.clone()),
            Document::Latency(report) => (report.started_at, report.tool.clone()),
        };
        Self { host: document.host().map(str::to_owned), bed: document.bed().clone(), started_at, tool }
    }
}

/// How figures were compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Method {
    /// In a word.
    pub name: &'static str,
    /// How the interval was drawn.
    #[serde(flatten)]
    pub bootstrap: Bootstrap,
    /// How far an interval must lie from zero to count.
    pub threshold_percent: Percent,
}

/// The first key of a comparison's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonKind {
    /// `aqlprobe compare`.
    Comparison,
}

/// Everything that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// [`ComparisonKind::Comparison`].
    pub document: ComparisonKind,
    /// Version of this layout; grows with every incompatible change.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// Which kind of reports.
    pub compared: DocumentKind,
    /// The older one.
    pub base: Side,
    /// The newer one.
    pub new: Side,
    /// How figures were compared; absent for outcomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// In what the reports are unlike, allowed by name.
    pub allowed: Vec<Unlikeness>,
    /// What else differs around them: runtime, firmware, kernel, machine.
    pub notes: Vec<String>,
    /// What the reports warn of in their own measurements, which the verdict rests on.
    pub warnings: Vec<String>,
    /// How many things were compared.
    pub judged: usize,
    /// How many figures have too few samples to be judged.
    pub unjudged: usize,
    /// Figures all; of outcomes those that differ.
    pub findings: Vec<Finding>,
    /// The last word.
    pub verdict: ComparisonVerdict,
}

/// The last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparisonVerdict {
    /// In a word. Absent where nothing regressed that could be judged, and a figure that could not be looks worse by more than the threshold.
    pub change: Option<Change>,
    /// One sentence. It names the figures that could not be judged.
    pub sentence: String,
    /// 1 when something regressed, 2 when it is not known whether something did, else 0.
    pub exit_code: ExitCode,
}

/// Holds `new` against `base`.
///
/// # Errors
/// They are unlike in what was not allowed, or have nothing in common that can be judged.
pub fn compare(base: &Document, new: &Document, settings: &CompareSettings) -> Result<Comparison, Incomparable> {
    let mut unlike = matching::beds(base.bed(), new.bed());
    unlike.extend(matching::injections(base, new));
    let (method, judged) = match (base, new) {
        (Document::Latency(base), Document::Latency(new)) => {
            let method = Method {
                name: "percentile bootstrap of order statistics",
                bootstrap: settings.bootstrap,
                threshold_percent: settings.threshold,
            };
            (Some(method), figures::compare(base, new, settings, &mut unlike))
        }
        (Document::Verify(base), Document::Verify(new)) => (None, cases::compare(base, new, &mut unlike)),
        (base, new) => return Err(Incomparable::Kinds { base: base.kind(), new: new.kind() }),
    };
    let (allowed, differences): (Vec<_>, Vec<_>) =
        unlike.into_iter().partition(|difference| settings.allowed.contains(&difference.aspect));
    if !differences.is_empty() {
        return Err(Incomparable::Unlike { differences });
    }
    let Judged { count, mut findings } = judged;
    if count == 0 {
        let reason = if findings.is_empty() {
            "they have no GPU in a state of AtomicOps in common".to_owned()
        } else {
            "too few samples; measure longer".to_owned()
        };
        return Err(Incomparable::Nothing { reason });
    }
    findings.extend(matching::verdicts(base.verdict(), new.verdict()));
    let verdict = verdict(&findings, base.bed(), new.bed(), count, settings.threshold);
    Ok(Comparison {
        document: ComparisonKind::Comparison,
        schema_version: 1,
        tool: Tool::THIS,
        compared: base.kind(),
        base: Side::of(base),
        new: Side::of(new),
        method,
        allowed,
        notes: matching::surroundings(base, new),
        warnings: [("base", base), ("new report", new)].into_iter().flat_map(|(side, document)| warnings(side, document)).collect(),
        judged: count,
        unjudged: unjudged(&findings).count(),
        findings,
        verdict,
    })
}

fn warnings(side: &str, document: &Document) -> Vec<String> {
    match document {
        Document::Latency(report) => figures::warnings(side, report),
        Document::Verify(_) => Vec::new(),
    }
}

/// What a kind of report gives.
struct Judged {
    /// How many things could be judged.
    count: usize,
    findings: Vec<Finding>,
}

/// A figure that too few samples speak for.
struct Unjudged<'a> {
    spot: &'a Spot,
    figure: Figure,
    interval: Option<Interval>,
}

impl Unjudged<'_> {
    /// Whether it may well have regressed. (Without a sample there is nothing to look at.)
    fn looks_worse(&self, threshold: Percent) -> bool {
        self.interval.is_none_or(|interval| interval.estimate > threshold.value())
    }

    fn words(&self) -> String {
        let looks =
            self.interval.map_or_else(String::new, |interval| format!(", which looks like {}", text::percent(interval.estimate)));
        format!("{} of GPU {} with AtomicOps {}{looks}", self.figure.name(), self.spot.device, self.spot.atomics)
    }
}

fn unjudged(findings: &[Finding]) -> impl Iterator<Item = Unjudged<'_>> {
    findings.iter().filter_map(|finding| match finding {
        Finding::Figure { spot, figure, difference_percent, change: None, .. } => {
            Some(Unjudged { spot, figure: *figure, interval: *difference_percent })
        }
        _ => None,
    })
}

fn verdict(findings: &[Finding], base: &BedReport, new: &BedReport, judged: usize, threshold: Percent) -> ComparisonVerdict {
    let change = findings.iter().filter_map(Finding::change).max().unwrap_or(Change::NoDifference);
    let open = unjudged(findings).any(|figure| figure.looks_worse(threshold));
    let (change, exit_code) = match change {
        Change::Regressed => (Some(change), ExitCode::CheckFailed),
        _ if open => (None, ExitCode::Usage),
        _ => (Some(change), ExitCode::Pass),
    };
    let of = |wanted: Change| findings.iter().filter(|finding| finding.change() == Some(wanted)).count();
    let mut parts: Vec<String> = [Change::Regressed, Change::Improved, Change::Changed]
        .into_iter()
        .filter(|change| of(*change) > 0)
        .map(|change| format!("{} {change}", of(change)))
        .collect();
    if parts.is_empty() {
        parts.push("nothing differs".to_owned());
    }
    let of_models = match (base.tested_hardware(), new.tested_hardware()) {
        (true, true) => "",
        (false, false) => " (software GPU on both sides; this says nothing of hardware)",
        _ => " (a software GPU against hardware)",
    };
    let things = if judged == 1 { "1 thing".to_owned() } else { format!("{judged} things") };
    let left: Vec<String> = unjudged(findings).map(|figure| figure.words()).collect();
    let left = if left.is_empty() { String::new() } else { format!("; too few samples to judge {}", left.join("; ")) };
    ComparisonVerdict { change, sentence: format!("{} of {things} compared{left}{of_models}", parts.join(", ")), exit_code }
}
