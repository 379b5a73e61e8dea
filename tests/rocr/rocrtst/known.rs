//! What is known of the tests beforehand: known.tsv. A reason from there is used only where the run shows its sign.

use std::time::Duration;

use crate::outcome::{self, Outcome};
use crate::table::{self, NeedsKernels, TableError, When};

/// Where a test has no line of its own.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Known {
    test: String,
    pub needs_kernels: NeedsKernels,
    pub when: When,
    pub deadline: Duration,
    verified: Option<Verified>,
}

/// Why a test cannot pass here, found by reading the test, and the words in its output that show that this is what happened.
#[derive(Debug, Clone)]
struct Verified {
    sign: String,
    reason: String,
}

pub fn parse(text: &str) -> Result<Vec<Known>, TableError> {
    table::cells(text, 6)
        .map(|row| {
            let (line, columns) = row?;
            let seconds = columns[3].parse().map_err(|_| TableError::Word {
                line,
                found: columns[3].to_owned(),
                wanted: "a number of seconds",
            })?;
            let verified = (columns[5] != "-").then(|| Verified { sign: columns[4].to_owned(), reason: columns[5].to_owned() });
            Ok(Known {
                test: columns[0].to_owned(),
                needs_kernels: NeedsKernels::parse(columns[1], line)?,
                when: When::parse(columns[2], line)?,
                deadline: Duration::from_secs(seconds),
                verified,
            })
        })
        .collect()
}

pub fn of(all: &[Known], test: &str) -> Known {
    all.iter().find(|known| known.test == test).cloned().unwrap_or_else(|| Known {
        test: test.to_owned(),
        needs_kernels: NeedsKernels::No,
        when: When::Always,
        deadline: DEADLINE,
        verified: None,
    })
}

impl Known {
    /// The table's last column for a run of this test.
    pub fn reason(&self, outcome: &Outcome, output: &str) -> String {
        let verified = self
            .verified
            .as_ref()
            .filter(|known| known.sign == "-" || output.contains(&known.sign))
            .map(|known| known.reason.clone());
        match outcome {
            Outcome::Pass => None,
            Outcome::PassSkipped => outcome::skipped(output),
            Outcome::Timeout => {
                verified.or_else(|| outcome::first_cause(output)).or(Some(format!("killed after {} s", self.deadline.as_secs())))
            }
            Outcome::Fail | Outcome::Crash(_) | Outcome::Unstable => verified.or_else(|| outcome::first_cause(output)),
            Outcome::NotRun => Some("never run: only --full includes it".to_owned()),
        }
        .unwrap_or_else(|| "-".to_owned())
    }
}
