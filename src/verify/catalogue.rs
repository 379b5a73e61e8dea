//! The cases by name.

use std::fmt;

use glob::Pattern;

use super::cases::{barrier, contended as contest, dispatch, litmus, other_rmw, ring, signal};
use super::lab::{Context, Step};

/// What a case does where the device cannot decrement its completion signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutAtomics {
    /// It waits for a completion that does not come.
    LosesCompletion,
    /// The same, and its kernel's own atomics on host memory are lost even on a device that completes by plain stores.
    LosesUpdates,
    /// It completes all the same, because everything it waits for arrives by plain stores.
    Completes,
}

/// A case, as `--list` shows it.
#[derive(Clone, Copy, Debug)]
pub struct CaseInfo {
    /// Its name, as `--case` matches it.
    pub name: &'static str,
    /// What it shows, in one line.
    pub summary: &'static str,
    /// What it does without AtomicOps.
    pub without_atomics: WithoutAtomics,
    pub(super) run: fn(&mut Context<'_>) -> Step<()>,
}

const fn case(name: &'static str, summary: &'static str, run: fn(&mut Context<'_>) -> Step<()>) -> CaseInfo {
    CaseInfo { name, summary, without_atomics: WithoutAtomics::LosesCompletion, run }
}

const fn contended(name: &'static str, summary: &'static str, run: fn(&mut Context<'_>) -> Step<()>) -> CaseInfo {
    CaseInfo { name, summary, without_atomics: WithoutAtomics::LosesUpdates, run }
}

/// Every case, in the order they run: what everything else rests on first.
static CATALOGUE: [CaseInfo; 31] = [
    case("nop", "an empty kernel completes", dispatch::nop),
    case("vector-copy", "1,048,576 work-items copy a vector: the founding packet", dispatch::vector_copy),
    case("barrier-and", "a barrier-AND packet passes when all its signals are 0, not before", barrier::barrier_and),
    case("barrier-or", "a barrier-OR packet passes when one of its signals is 0, not before", barrier::barrier_or),
    case("cross-queue", "a kernel on one queue waits for a kernel on another", barrier::cross_queue),
    case("fence-none", "a dispatch without fences completes, its output visible after a system release", dispatch::fence_none),
    case("fence-agent", "a dispatch with agent fences completes, its output visible after a system release", dispatch::fence_agent),
    case("fence-system", "a dispatch with system fences completes with its output visible", dispatch::fence_system),
    case("barrier-bit-order", "the barrier bit keeps dependent kernels in order", barrier::barrier_bit_order),
    case("ring-wraparound", "packets several times round a small ring each run once", ring::ring_wraparound),
    case("full-ring", "a full ring takes no packet more, and goes on when it drains", ring::full_ring),
    case("multi-producer", "packets of four producers on one ring each run once", ring::multi_producer),
    case("shared-signal", "packets and the host count one signal down to exactly 0", signal::shared_signal),
    case("exactly-once", "each packet decrements its signal exactly once", signal::exactly_once),
    contended("fetch-add-32", "device and host add to one 32-bit word, no update lost", contest::fetch_add_32),
    contended("fetch-add-64", "device and host add to one 64-bit word, no update lost", contest::fetch_add_64),
    contended("swap-32", "device and host swap one 32-bit word, no token lost", contest::swap_32),
    contended("swap-64", "device and host swap one 64-bit word, no token lost", contest::swap_64),
    contended("compare-swap-32", "device and host increment one 32-bit word by CAS, no update lost", contest::compare_swap_32),
    contended("compare-swap-64", "device and host increment one 64-bit word by CAS, no update lost", contest::compare_swap_64),
    case("rmw-other-32", "32-bit and, or, xor, min, max: no AtomicOps on PCIe, reported as observed", other_rmw::rmw_other_narrow),
    case("rmw-other-64", "64-bit and, or, xor, min, max: no AtomicOps on PCIe, reported as observed", other_rmw::rmw_other_wide),
    case("lds-reduce", "workgroups sum through LDS and barriers", dispatch::lds_reduce),
    case("grid-3d", "a three-dimensional grid with partial workgroups covers every work-item", dispatch::grid_3d),
    case("publish-gpu-to-cpu", "the host that sees the device's flag sees its payload", litmus::publish_gpu_to_cpu),
    case("publish-cpu-to-gpu", "the running kernel that sees the host's flag sees its payload", litmus::publish_cpu_to_gpu),
    contended("signal-from-kernel", "a kernel counts a signal down with its own atomics", signal::signal_from_kernel),
    CaseInfo {
        name: "invalid-packet",
        summary: "a packet of a reserved type stops its queue with the error that names it",
        without_atomics: WithoutAtomics::Completes,
        run: ring::invalid_packet,
    },
    case("queue-recycle", "queues created and destroyed in turn each serve a dispatch", ring::queue_recycle),
    case("wait-active", "a polling wait sees the completion", signal::wait_active),
    case("wait-blocked", "a sleeping wait is woken by the completion", signal::wait_blocked),
];

/// Every case, in the order they run.
#[must_use]
pub fn catalogue() -> &'static [CaseInfo] {
    &CATALOGUE
}

/// The case of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static CaseInfo> {
    CATALOGUE.iter().find(|case| case.name == name)
}

/// The cases whose names match any of `globs`, in the order of the catalogue; all when there are none.
///
/// # Errors
/// When a pattern is malformed or matches no case, even if others match: it was meant to select something. The error lists the
/// cases.
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
        for case in &CATALOGUE {
            write!(formatter, "\n  {:<20} {}", case.name, case.summary)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names(globs: &[&str]) -> Vec<&'static str> {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        select(&globs).unwrap().into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn without_a_pattern_every_case_is_selected() {
        assert_eq!(names(&[]).len(), catalogue().len());
    }

    #[test]
    fn patterns_add_up_in_the_order_of_the_catalogue_and_select_nothing_twice() {
        assert_eq!(names(&["fence-*", "nop", "fence-none"]), ["nop", "fence-none", "fence-agent", "fence-system"]);
        assert_eq!(names(&["*-3[2]"]).len(), names(&["*-6[4]"]).len());
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_that_lists_every_case() {
        let error = select(&["nop".to_owned(), "nope*".to_owned()]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("no case matches `nope*`"), "{text}");
        assert!(catalogue().iter().all(|case| text.contains(case.name)), "{text}");
    }

    #[test]
    fn a_malformed_pattern_is_an_error_that_says_so() {
        assert!(select(&["[".to_owned()]).unwrap_err().malformed.is_some());
    }

    #[test]
    fn names_are_unique_kebab_case_and_found() {
        let unique: BTreeSet<_> = catalogue().iter().map(|case| case.name).collect();
        assert_eq!(unique.len(), catalogue().len());
        for case in catalogue() {
            assert!(
                case.name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                "{}",
                case.name
            );
            assert_eq!(find(case.name).map(|found| found.name), Some(case.name));
            assert!(!case.summary.is_empty() && !case.summary.contains('\n'));
        }
    }
}
