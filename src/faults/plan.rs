//! A plan: its text, and what it says for a case.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use glob::Pattern;

use super::fault::{ATOMIC_LOST, CATALOGUE, Fault, Place};
use super::trigger::Seed;
use super::value::{BlockedHop, Probability, ValueError};

/// Environment variable by which a process that has a software GPU is given a plan, as [`FaultPlan`] displays it.
pub const INJECT_ENV: &str = "AQLPROBE_INJECT";

/// A fault and when it strikes.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedFault {
    /// What goes wrong.
    pub fault: Fault,
    /// Only every so-manyth opportunity.
    pub every: NonZeroU64,
    /// Not at this many first opportunities.
    pub after: u64,
    /// How likely at those that are left.
    pub probability: Probability,
    /// Only in cases whose names match; `None`: in all.
    pub case: Option<Pattern>,
}

impl PlannedFault {
    fn always(fault: Fault) -> Self {
        Self { fault, every: NonZeroU64::MIN, after: 0, probability: Probability::CERTAIN, case: None }
    }
}

/// At least one fault, and the seed of its random choices.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    seed: Seed,
    faults: Vec<PlannedFault>,
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No fault in it.
    #[error("the fault plan names no fault")]
    Empty,
    /// An unknown fault.
    #[error("`{name}` is no fault; the faults are: {}", names())]
    UnknownFault {
        /// The name given.
        name: String,
    },
    /// A value that the fault or the refinement cannot have.
    #[error("fault `{item}`: {source}")]
    Value {
        /// The item.
        item: String,
        /// What is wrong.
        #[source]
        source: ValueError,
    },
    /// An unknown refinement, one that is given twice, or one that the fault cannot have.
    #[error("fault `{item}`: {what}; the refinements are :every=N, :after=N, :p=P and :case=GLOB")]
    Refinement {
        /// The item.
        item: String,
        /// What is wrong.
        what: String,
    },
    /// Two seeds.
    #[error("the fault plan has more than one seed")]
    SeedTwice,
    /// The path would be blocked in more than one way.
    #[error(
        "the fault plan blocks AtomicOps at {first} and at {second}; the modelled path is built once, so name one hop in config space"
    )]
    TwoPaths {
        /// One hop.
        first: BlockedHop,
        /// Another.
        second: BlockedHop,
    },
    /// A fault for some cases, of a device that knows no cases.
    #[error("fault `{item}`: the endpoint is not told which case runs, so its faults name none: leave `:case=` out")]
    CaseOfEndpoint {
        /// The item.
        item: String,
    },
    /// The file cannot be read.
    #[error("cannot read the fault plan {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn names() -> String {
    CATALOGUE.map(|info| info.name).join(", ")
}

impl FaultPlan {
    /// The plan that the text itself is, else the one in the file of this name: a file that happens to be named like a fault changes
    /// nothing. Whatever has a slash is a file, because no plan has one.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it or in the text is no plan.
    pub fn from_argument(argument: &str) -> Result<Self, PlanError> {
        let path = Path::new(argument);
        let file = || read_plan(path).map_err(|source| PlanError::File { path: path.to_owned(), source });
        if argument.contains('/') {
            return file()?.parse();
        }
        match argument.parse() {
            Err(_) if path.exists() => file()?.parse(),
            plan => plan,
        }
    }

    /// What the environment of this process asks for ([`INJECT_ENV`]); `None` when it asks for nothing.
    ///
    /// # Errors
    /// What it asks for is no plan.
    pub fn of_environment() -> Result<Option<Self>, PlanError> {
        match std::env::var_os(INJECT_ENV) {
            Some(text) if !text.is_empty() => text.to_string_lossy().parse().map(Some),
            _ => Ok(None),
        }
    }

    /// What the random choices follow from.
    #[must_use]
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// The faults, at least one.
    #[must_use]
    pub fn faults(&self) -> &[PlannedFault] {
        &self.faults
    }

    /// What is left of the plan in this case: faults for other cases are gone, and no fault names a case any more.
    #[must_use]
    pub fn for_case(&self, name: &str) -> Option<Self> {
        let here = |planned: &&PlannedFault| planned.case.as_ref().is_none_or(|case| case.matches(name));
        self.keep(|planned| here(&planned)).map(|mut plan| {
            plan.faults.iter_mut().for_each(|planned| planned.case = None);
            plan
        })
    }

    /// A fault that is meant for cases of which none is here.
    #[must_use]
    pub fn idle(&self, cases: &[&str]) -> Option<&PlannedFault> {
        let strikes = |pattern: &Pattern| cases.iter().any(|case| pattern.matches(case));
        self.faults.iter().find(|planned| planned.case.as_ref().is_some_and(|pattern| !strikes(pattern)))
    }

    /// What a device outside of `verify` can be given: all but the worker's faults.
    ///
    /// # Errors
    /// One of them is for some cases only, and such a device is not told which case runs.
    pub fn of_endpoint(&self) -> Result<Option<Self>, PlanError> {
        let plan = self.keep(|planned| planned.fault.place() != Place::Worker);
        match plan.iter().flat_map(Self::faults).find(|planned| planned.case.is_some()) {
            Some(planned) => Err(PlanError::CaseOfEndpoint { item: planned.to_string() }),
            None => Ok(plan),
        }
    }

    /// The faults that strike in this place, with the same seed.
    #[must_use]
    pub fn of_place(&self, place: Place) -> Option<Self> {
        self.keep(|planned| planned.fault.place() == place)
    }

    fn keep(&self, keep: impl Fn(&PlannedFault) -> bool) -> Option<Self> {
        let faults: Vec<_> = self.faults.iter().filter(|planned| keep(planned)).cloned().collect();
        (!faults.is_empty()).then_some(Self { seed: self.seed, faults })
    }

    /// The hop of the modelled path whose config space says that AtomicOps do not pass.
    #[must_use]
    pub fn blocked_hop(&self) -> Option<BlockedHop> {
        self.faults.iter().find_map(|planned| match planned.fault {
            Fault::AtomicsBlocked(hop) if hop.is_in_config_space() => Some(hop),
            _ => None,
        })
    }
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.fault)?;
        if self.probability != Probability::CERTAIN {
            let key = if self.fault == Fault::AtomicLost { "=" } else { ":p=" };
            write!(formatter, "{key}{}", self.probability)?;
        }
        if self.every != NonZeroU64::MIN {
            write!(formatter, ":every={}", self.every)?;
        }
        if self.after != 0 {
            write!(formatter, ":after={}", self.after)?;
        }
        if let Some(case) = &self.case {
            write!(formatter, ":case={case}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for planned in &self.faults {
            write!(formatter, "{planned},")?;
        }
        write!(formatter, "seed={}", self.seed)
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    /// Reads a plan. One without a seed gets a random one, which it displays from then on.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let (mut seed, mut faults) = (None, Vec::new());
        for item in text.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split(',')).map(str::trim) {
            if item.is_empty() {
                continue;
            }
            match item.strip_prefix("seed=") {
                Some(_) if seed.is_some() => return Err(PlanError::SeedTwice),
                Some(number) => seed = Some(Seed(read(item, number, "a seed, a whole number from 0 to 2^64 - 1")?)),
                None => faults.push(planned(item)?),
            }
        }
        if faults.is_empty() {
            return Err(PlanError::Empty);
        }
        let plan = Self { seed: seed.unwrap_or_else(Seed::random), faults };
        let hops = plan.faults.iter().filter_map(|planned| match planned.fault {
            Fault::AtomicsBlocked(hop) if hop.is_in_config_space() => Some(hop),
            _ => None,
        });
        match hops.collect::<Vec<_>>()[..] {
            [first, second, ..] => Err(PlanError::TwoPaths { first, second }),
            _ => Ok(plan),
        }
    }
}

fn read<Value: FromStr>(item: &str, text: &str, wanted: &'static str) -> Result<Value, PlanError> {
    text.parse().map_err(|_| PlanError::Value { item: item.to_owned(), source: ValueError::new(text, wanted) })
}

/// The text of a file, a pipe or whatever else can be read, up to more than any plan has.
fn read_plan(path: &Path) -> io::Result<String> {
    const MOST: u64 = 64 * 1024;
    let mut text = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::other(format!("it is longer than the {} KiB of any plan", MOST / 1024)));
    }
    String::from_utf8(text).map_err(|_| io::Error::other("it is no text"))
}

/// Reads `name[=value][:key=value]*`.
fn planned(item: &str) -> Result<PlannedFault, PlanError> {
    let in_item = |source| PlanError::Value { item: item.to_owned(), source };
    let mut parts = item.split(':').map(str::trim);
    let head = parts.next().unwrap_or_default();
    let (name, value) = match head.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (head, None),
    };
    let fault = Fault::of(name, value).ok_or_else(|| PlanError::UnknownFault { name: name.to_owned() })?.map_err(in_item)?;
    let mut planned = PlannedFault::always(fault);
    let mut seen = Vec::new();
    if let (ATOMIC_LOST, Some(value)) = (name, value) {
        planned.probability = value.parse().map_err(in_item)?;
        seen.push("p");
    }
    for part in parts {
        let refuse = |what: String| PlanError::Refinement { item: item.to_owned(), what };
        let (key, value) = part.split_once('=').ok_or_else(|| refuse(format!("`{part}` is no refinement")))?;
        if seen.contains(&key) {
            return Err(refuse(format!("`{key}` is given twice")));
        }
        if fault.is_standing() {
            return Err(refuse(format!("`{name}` stands as long as the run, so it takes no refinement")));
        }
        match key {
            "every" => planned.every = read(item, value, "a whole number from 1")?,
            "after" => planned.after = read(item, value, "a whole number")?,
            "p" => planned.probability = value.parse().map_err(in_item)?,
            "case" if value.is_empty() => return Err(refuse("`case` needs the name of a case".to_owned())),
            "case" => {
                let pattern = Pattern::new(value).map_err(|error| refuse(format!("`{value}` is no pattern: {error}")))?;
                planned.case = Some(pattern);
            }
            _ => return Err(refuse(format!("`{key}` is no refinement"))),
        }
        seen.push(key);
    }
    Ok(planned)
}
