//! The cases by name.

use std::fmt;

use glob::Pattern;

/// A case, as `--list` shows it.
#[derive(Clone, Copy, Debug)]
pub struct CaseInfo {
    /// Its name, as `--case` matches it.
    pub name: &'static str,
    /// What it shows, in one line.
    pub summary: &'static str,
}

/// Every case, in the order they run: what the founding experiment needs first.
const CATALOGUE: &[CaseInfo] = &[
    CaseInfo { name: "nop", summary: "one work-group of an empty kernel completes" },
    CaseInfo { name: "vector-copy", summary: "1,048,576 work-items copy a vector (the founding packet)" },
];

/// Every case, in the order they run.
#[must_use]
pub const fn catalogue() -> &'static [CaseInfo] {
    CATALOGUE
}

/// The cases whose names match any of `globs`, in the order of the catalogue; all when there are none.
///
/// # Errors
/// When a pattern is malformed or no case matches; the error lists the cases.
pub fn select(globs: &[String]) -> Result<Vec<&'static CaseInfo>, NoCaseMatches> {
    let mut patterns = Vec::new();
    for glob in globs {
        let pattern = Pattern::new(glob)
            .map_err(|error| NoCaseMatches { patterns: vec![glob.clone()], malformed: Some(error.to_string()) })?;
        if !CATALOGUE.iter().any(|case| pattern.matches(case.name)) {
            return Err(NoCaseMatches { patterns: vec![glob.clone()], malformed: None });
        }
        patterns.push(pattern);
    }
    let wanted = |case: &&CaseInfo| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(case.name));
    Ok(CATALOGUE.iter().filter(wanted).collect())
}

/// A selection of cases that selects none. Its text lists the cases there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCaseMatches {
    /// The patterns that match nothing.
    pub patterns: Vec<String>,
    /// Why the pattern is none, if it is malformed.
    pub malformed: Option<String>,
}

impl std::error::Error for NoCaseMatches {}

impl fmt::Display for NoCaseMatches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.join("`, `");
        match &self.malformed {
            Some(reason) => write!(formatter, "`{patterns}` is no pattern ({reason})")?,
            None => write!(formatter, "no case matches `{patterns}`")?,
        }
        formatter.write_str("; the cases are:")?;
        for case in CATALOGUE {
            write!(formatter, "\n  {:<20} {}", case.name, case.summary)?;
        }
        Ok(())
    }
}
