//! Cases that are told together.

use super::run::CaseReport;

/// The case whose evidence is always shown: the dispatch of the founding experiment.
pub(super) const FOUNDING_CASE: &str = "vector-copy";

/// Cases with the same outcome, cause and standing.
pub(super) struct Alike<'a> {
    pub first: &'a CaseReport,
    rest: Vec<&'a CaseReport>,
}

impl<'a> Alike<'a> {
    /// Every case of the group, in order.
    pub(super) fn cases(&self) -> impl Iterator<Item = &'a CaseReport> + '_ {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        1 + self.rest.len()
    }

    /// The founding case speaks for its group; what it shows is what users see.
    pub(super) fn speaker(&self) -> &'a CaseReport {
        self.cases().find(|case| case.name == FOUNDING_CASE).unwrap_or(self.first)
    }

    fn takes(&self, case: &CaseReport) -> bool {
        self.first.standing == case.standing && self.first.outcome == case.outcome && self.first.cause == case.cause
    }
}

/// Groups in the order of their first cases.
pub(super) fn alike<'a>(cases: impl IntoIterator<Item = &'a CaseReport>) -> Vec<Alike<'a>> {
    let mut groups: Vec<Alike<'a>> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|group| group.takes(case)) {
            Some(group) => group.rest.push(case),
            None => groups.push(Alike { first: case, rest: Vec::new() }),
        }
    }
    groups
}
