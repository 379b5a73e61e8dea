//! The table test x outcome that results/rocr/ keeps, and the rule by which a run is held against it.

use std::fmt;

use crate::outcome::{Outcome, UnknownOutcome};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Suite and name as GoogleTest writes them: `rocrtstFunc.IPC`.
    pub test: String,
    pub outcome: Outcome,
    pub needs_kernels: NeedsKernels,
    pub when: When,
    /// Why it did not pass, or what a skipping test left out; `-` where there is nothing to say.
    pub reason: String,
}

/// Whether a pass needs shader code to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedsKernels {
    Yes,
    No,
}

/// Which runs include the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// It takes too long for every run.
    Full,
    /// Always, and its outcome is a matter of timing.
    Unstable,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TableError {
    #[error("line {line}: {found} columns where {wanted} are wanted")]
    Columns { line: usize, found: usize, wanted: usize },
    #[error("line {line}: {source}")]
    Outcome { line: usize, source: UnknownOutcome },
    #[error("line {line}: {found:?} is none of {wanted}")]
    Word { line: usize, found: String, wanted: &'static str },
}

impl NeedsKernels {
    pub fn parse(word: &str, line: usize) -> Result<Self, TableError> {
        match word {
            "yes" => Ok(NeedsKernels::Yes),
            "no" => Ok(NeedsKernels::No),
            _ => Err(TableError::Word { line, found: word.to_owned(), wanted: "yes, no" }),
        }
    }
}

impl When {
    pub fn parse(word: &str, line: usize) -> Result<Self, TableError> {
        match word {
            "always" => Ok(When::Always),
            "full" => Ok(When::Full),
            "unstable" => Ok(When::Unstable),
            _ => Err(TableError::Word { line, found: word.to_owned(), wanted: "always, full, unstable" }),
        }
    }
}

/// The data lines of a table with `wanted` columns: comments, empty lines and the heading are left out.
pub fn cells(text: &str, wanted: usize) -> impl Iterator<Item = Result<(usize, Vec<&str>), TableError>> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && !line.starts_with("test\t")).map(move |(line, text)| {
        let columns: Vec<&str> = text.split('\t').collect();
        let found = columns.len();
        if found == wanted { Ok((line, columns)) } else { Err(TableError::Columns { line, found, wanted }) }
    })
}

pub fn parse(text: &str) -> Result<Vec<Row>, TableError> {
    cells(text, 5)
        .map(|row| {
            let (line, columns) = row?;
            Ok(Row {
                test: columns[0].to_owned(),
                outcome: columns[1].parse().map_err(|source| TableError::Outcome { line, source })?,
                needs_kernels: NeedsKernels::parse(columns[2], line)?,
                when: When::parse(columns[3], line)?,
                reason: columns[4].to_owned(),
            })
        })
        .collect()
}

pub fn write(target: &str, rocr_version: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "# AMD's rocrtst64 and ROCr {rocr_version} on the software {target}, AtomicOps enabled: not hardware.\n\
         # Made by tests/rocr/run --update; docs/rocr-model.md says how to read it.\n\
         test\toutcome\tneeds-kernels\twhen\treason\n"
    );
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    text
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs_kernels = match self.needs_kernels {
            NeedsKernels::Yes => "yes",
            NeedsKernels::No => "no",
        };
        let when = match self.when {
            When::Always => "always",
            When::Full => "full",
            When::Unstable => "unstable",
        };
        write!(f, "{}\t{}\t{needs_kernels}\t{when}\t{}", self.test, self.outcome, self.reason)
    }
}

/// How a measured outcome stands to the one that the table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A test that passed has stopped passing, or leaves out what it did not: this fails the bed.
    Regression {
        test: String,
        was: Outcome,
        now: Outcome,
    },
    Improvement {
        test: String,
        was: Outcome,
        now: Outcome,
    },
    /// Not a pass before, not a pass now, but another way.
    Different {
        test: String,
        was: Outcome,
        now: Outcome,
    },
    New {
        test: String,
        now: Outcome,
    },
    /// The table has a pass of a test that the program no longer offers: this fails the bed too.
    Vanished {
        test: String,
        was: Outcome,
    },
}

impl Change {
    pub fn fails_the_bed(&self) -> bool {
        match self {
            Change::Regression { .. } => true,
            Change::Vanished { was, .. } => was.rank() > 0,
            Change::Improvement { .. } | Change::Different { .. } | Change::New { .. } => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Regression { test, was, now } => write!(f, "REGRESSION {test}: was {was}, is {now}"),
            Change::Improvement { test, was, now } => write!(f, "better: {test}: was {was}, is {now} (--update keeps it)"),
            Change::Different { test, was, now } => write!(f, "different: {test}: was {was}, is {now}"),
            Change::New { test, now } => write!(f, "new: {test}: {now} (--update keeps it)"),
            Change::Vanished { test, was } => write!(f, "vanished: {test}: was {was}"),
        }
    }
}

/// Holds what was measured against the table. A test that this run left out is no change: `offered` are all that the program has.
pub fn compare(table: &[Row], measured: &[Row], offered: &[String]) -> Vec<Change> {
    let mut changes = Vec::new();
    for row in measured {
        let (test, now) = (row.test.clone(), row.outcome.clone());
        let Some(before) = table.iter().find(|before| before.test == row.test) else {
            changes.push(Change::New { test, now });
            continue;
        };
        let was = before.outcome.clone();
        if now.rank() < was.rank() {
            changes.push(Change::Regression { test, was, now });
        } else if now.rank() > was.rank() {
            changes.push(Change::Improvement { test, was, now });
        } else if now != was {
            changes.push(Change::Different { test, was, now });
        }
    }
    let vanished = table.iter().filter(|row| !offered.contains(&row.test));
    changes.extend(vanished.map(|row| Change::Vanished { test: row.test.clone(), was: row.outcome.clone() }));
    changes
}
