//! What AtomicOps change, where round trips completed with and without them.

use crate::bootstrap::{Bootstrap, Figure, Samples, difference};
use crate::report::AtomicsMode;
use crate::report::latency::{AtomicsEffect, IntervalReport, LatencyResult, LatencyRun};

/// The medians of the two states against each other; `None` unless both were measured.
#[must_use]
pub fn of(runs: &[LatencyRun]) -> Option<AtomicsEffect> {
    let samples = |mode| {
        runs.iter().find(|run| run.atomics == mode).and_then(|run| match &run.result {
            LatencyResult::Measured(measurement) => Samples::new(&measurement.samples_ns),
            LatencyResult::Hang { .. } | LatencyResult::NotMeasured { .. } => None,
        })
    };
    let (off, on) = (samples(AtomicsMode::Off)?, samples(AtomicsMode::On)?);
    let bootstrap = Bootstrap::default();
    let interval = difference(&off, &on, Figure::Median, &bootstrap);
    let (off_median_ns, on_median_ns) = (off.quantile(Figure::Median), on.quantile(Figure::Median));
    Some(AtomicsEffect {
        off_median_ns,
        on_median_ns,
        difference_ns: on_median_ns as f64 - off_median_ns as f64,
        interval: interval.low.zip(interval.high).map(|(low_ns, high_ns)| IntervalReport {
            low_ns,
            high_ns,
            confidence: bootstrap.confidence,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::judgement::tests::{hang, measured_in, run};
    use crate::verify::supervision::Expectation;

    fn runs(off: LatencyResult, on: LatencyResult) -> [LatencyRun; 2] {
        [(AtomicsMode::Off, off), (AtomicsMode::On, on)].map(|(mode, result)| run(mode, Expectation::EitherWay, result))
    }

    #[test]
    fn the_median_with_atomicops_is_held_against_the_one_without() {
        // 1 to 101 have the median 51; 20 more is 20 more. In an order in which neighbours have nothing to do with each other.
        let off: Vec<u64> = (0..101_u64).map(|at| at * at * at * 7 % 101 + 1).collect();
        let on: Vec<u64> = off.iter().map(|ns| ns + 20).collect();
        let effect = of(&runs(measured_in(&off), measured_in(&on))).unwrap();
        assert_eq!((effect.off_median_ns, effect.on_median_ns, effect.difference_ns), (51, 71, 20.0));
        let interval = effect.interval.unwrap();
        assert!(interval.low_ns <= 20.0 && interval.high_ns >= 20.0 && interval.confidence == 0.95, "{interval:?}");
    }

    #[test]
    fn too_few_round_trips_have_a_difference_without_an_interval() {
        let effect = of(&runs(measured_in(&[5, 6, 7]), measured_in(&[4, 5, 6]))).unwrap();
        assert_eq!((effect.difference_ns, effect.interval), (-1.0, None));
    }

    #[test]
    fn a_state_that_hangs_has_nothing_to_be_held_against() {
        assert_eq!(of(&runs(hang(), measured_in(&[5]))), None);
        assert_eq!(of(&runs(hang(), measured_in(&[5]))[1..]), None);
    }
}
