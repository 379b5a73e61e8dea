//! How much two sets of samples differ at a quantile, with a confidence interval.
//!
//! The percentile bootstrap (Efron, *Bootstrap methods: another look at the jackknife*, 1979) of an order statistic needs no
//! resampling: the k-th smallest of n draws from the samples is the sample at the rank n·U, where U has the distribution
//! Beta(k, n − k + 1) (Hutson & Ernst, *The exact bootstrap mean and variance of an L-estimator*, 2000). So a replicate costs one random number.
//!
//! Round trips that follow each other are alike, which makes their number worth less than it looks. n is therefore replaced by the
//! effective number of samples: the series "is this sample at most the quantile?" in batches of √n, the variance of their means against
//! that of independent samples (Heidelberger & Lewis, *Quantile estimation in dependent sequences*, 1984).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Beta, Distribution};
use serde::Serialize;

/// So many samples must lie on either side of a quantile, or the interval's end would be the extreme sample itself.
const BESIDE_AT_LEAST: f64 = 5.0;

/// A quantile that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Half of the samples are at most this.
    Median,
    /// 99 of 100 are.
    P99,
}

impl Figure {
    /// Both, in the order of reports.
    pub const ALL: [Self; 2] = [Self::Median, Self::P99];

    const fn probability(self) -> f64 {
        match self {
            Self::Median => 0.5,
            Self::P99 => 0.99,
        }
    }

    /// As tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::P99 => "99 %",
        }
    }
}

/// How the interval is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// Start of the random numbers (ChaCha8): the same seed gives the same interval on every machine.
    pub seed: u64,
    /// Replicates.
    pub replicates: u32,
    /// Probability that the interval holds the true difference, between 0 and 1.
    pub confidence: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { seed: 1, replicates: 10_000, confidence: 0.95 }
    }
}

/// A difference from the base with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Between the two sets as they are.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Samples in the order they were taken, and sorted.
#[derive(Clone, Debug)]
pub struct Samples {
    series: Vec<u64>,
    sorted: Vec<u64>,
}

impl Samples {
    /// `None` when there is none.
    #[must_use]
    pub fn new(series: &[u64]) -> Option<Self> {
        let mut sorted = series.to_vec();
        sorted.sort_unstable();
        (!series.is_empty()).then(|| Self { series: series.to_vec(), sorted })
    }

    /// The smallest sample that enough others do not exceed: the order statistic of rank ⌈n·p⌉.
    #[must_use]
    pub fn quantile(&self, figure: Figure) -> u64 {
        self.sorted[self.rank(figure) - 1]
    }

    /// From 1 to the number of samples.
    fn rank(&self, figure: Figure) -> usize {
        let count = self.sorted.len();
        ((figure.probability() * count as f64).ceil() as usize).clamp(1, count)
    }

    /// How many independent samples know as much of the quantile as these.
    #[must_use]
    pub fn effective(&self, figure: Figure) -> f64 {
        let count = self.series.len();
        let batch = count.isqrt();
        let batches = count / batch;
        if batches < 2 {
            return count as f64;
        }
        let quantile = self.quantile(figure);
        let means: Vec<f64> = self
            .series
            .chunks_exact(batch)
            .map(|chunk| chunk.iter().filter(|sample| **sample <= quantile).count() as f64 / batch as f64)
            .collect();
        let mean = means.iter().sum::<f64>() / batches as f64;
        let variance = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (batches - 1) as f64;
        let independent = mean * (1.0 - mean) / batch as f64;
        // Fewer distinct values than that (a coarse clock) tell nothing of their dependence.
        if independent <= 0.0 { count as f64 } else { count as f64 / (variance / independent).max(1.0) }
    }

    /// Whether enough samples lie on either side of the quantile.
    fn carries(&self, figure: Figure) -> bool {
        let beside = figure.probability().min(1.0 - figure.probability());
        self.effective(figure) * beside >= BESIDE_AT_LEAST * (1.0 - 1e-9)
    }

    /// Replicates of the quantile.
    fn replicates(&self, figure: Figure, bootstrap: &Bootstrap, random: &mut ChaCha8Rng) -> Option<Vec<f64>> {
        let count = self.sorted.len();
        let share = self.effective(figure) / count as f64;
        let rank = self.rank(figure);
        let beta = Beta::new(rank as f64 * share, (count - rank + 1) as f64 * share).ok()?;
        let sample_at = |position: f64| self.sorted[((position * count as f64).ceil() as usize).clamp(1, count) - 1] as f64;
        Some((0..bootstrap.replicates).map(|_| sample_at(beta.sample(random))).collect())
    }
}

/// The difference of `new` from `base` in percent of `base`; `None` where either has too few samples for this quantile.
#[must_use]
pub fn difference_percent(base: &Samples, new: &Samples, figure: Figure, bootstrap: &Bootstrap) -> Option<Interval> {
    // A clock that is too coarse may give zeros; a nanosecond is no more than its error.
    difference_by(|new, base| (new / base.max(1.0) - 1.0) * 100.0, base, new, figure, bootstrap)
}

/// The difference of `new` from `base` in the unit of the samples; `None` where either has too few samples for this quantile.
#[must_use]
pub fn difference(base: &Samples, new: &Samples, figure: Figure, bootstrap: &Bootstrap) -> Option<Interval> {
    difference_by(|new, base| new - base, base, new, figure, bootstrap)
}

fn difference_by(
    difference: impl Fn(f64, f64) -> f64,
    base: &Samples,
    new: &Samples,
    figure: Figure,
    bootstrap: &Bootstrap,
) -> Option<Interval> {
    if !base.carries(figure) || !new.carries(figure) {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let bases = base.replicates(figure, bootstrap, &mut random)?;
    let news = new.replicates(figure, bootstrap, &mut random)?;
    let mut differences: Vec<f64> = news.iter().zip(&bases).map(|(new, base)| difference(*new, *base)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - bootstrap.confidence) / 2.0;
    let skipped = (tail * differences.len() as f64).floor() as usize;
    let (low, high) = (*differences.get(skipped)?, *differences.get(differences.len().checked_sub(skipped + 1)?)?);
    let estimate = difference(new.quantile(figure) as f64, base.quantile(figure) as f64);
    // With coarse clocks the replicates may sit on one step and the estimate beside it.
    Some(Interval { estimate, low: low.min(estimate), high: high.max(estimate) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::LogNormal;

    /// Round trips around `scale` with a long tail: one in fifty takes several times as long.
    fn heavy_tailed(count: usize, scale: f64, seed: u64) -> Vec<u64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (body, tail) = (LogNormal::new(0.0, 0.1).unwrap(), LogNormal::new(1.2, 0.6).unwrap());
        let choice = Beta::new(1.0, 1.0).unwrap();
        let draw = |random: &mut ChaCha8Rng| {
            if choice.sample(random) < 0.02 { tail.sample(random) } else { body.sample(random) }
        };
        (0..count).map(|_| (scale * draw(&mut random)) as u64).collect()
    }

    /// Each sample leans on the one before: an autoregressive series of the given correlation.
    fn correlated(count: usize, correlation: f64, seed: u64) -> Vec<u64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let normal = rand_distr::StandardNormal;
        let mut state: f64 = normal.sample(&mut random);
        let fresh = (1.0 - correlation * correlation).sqrt();
        (0..count)
            .map(|_| {
                let innovation: f64 = normal.sample(&mut random);
                state = correlation * state + fresh * innovation;
                (10_000.0 + 1_000.0 * state) as u64
            })
            .collect()
    }

    fn compare(base: &[u64], new: &[u64], figure: Figure) -> Interval {
        difference_percent(&Samples::new(base).unwrap(), &Samples::new(new).unwrap(), figure, &Bootstrap::default()).unwrap()
    }

    /// In how many of 200 comparisons of a population with itself the interval leaves out zero.
    fn false_alarms(population: impl Fn(u64) -> Vec<u64>, figure: Figure) -> usize {
        let bootstrap = Bootstrap { replicates: 1_000, ..Bootstrap::default() };
        (0..200)
            .filter(|trial| {
                let (base, new) = (population(2 * trial), population(2 * trial + 1));
                let (base, new) = (Samples::new(&base).unwrap(), Samples::new(&new).unwrap());
                let interval = difference_percent(&base, &new, figure, &bootstrap).unwrap();
                interval.low > 0.0 || interval.high < 0.0
            })
            .count()
    }

    #[test]
    fn one_population_differs_from_itself_no_more_often_than_the_confidence_allows() {
        // 95 %: 10 of 200 are expected; 18 or more have a probability below 1 % (binomial).
        for figure in Figure::ALL {
            let alarms = false_alarms(|seed| heavy_tailed(2_000, 5_000.0, seed), figure);
            assert!(alarms < 18, "{alarms} of 200 for the {}", figure.name());
        }
    }

    #[test]
    fn samples_that_follow_each_other_closely_raise_few_false_alarms() {
        // Taken for independent, they would differ from themselves in most comparisons. The estimate of their dependence is itself
        // uncertain: twice the nominal rate is let pass.
        let alarms = false_alarms(|seed| correlated(4_000, 0.8, seed), Figure::Median);
        assert!(alarms < 28, "{alarms} of 200");
    }

    #[test]
    fn dependence_lowers_the_number_of_samples_that_count() {
        let independent = Samples::new(&correlated(10_000, 0.0, 3)).unwrap().effective(Figure::Median);
        let dependent = Samples::new(&correlated(10_000, 0.9, 3)).unwrap().effective(Figure::Median);
        assert!(independent > 5_000.0, "{independent}");
        assert!(dependent < 2_000.0, "{dependent}");
    }

    #[test]
    fn a_shift_of_ten_percent_is_found_in_median_and_tail() {
        // The 99th percentile lies in the middle of the long tail, where samples are sparse: it takes more of them.
        for (figure, count) in [(Figure::Median, 20_000), (Figure::P99, 200_000)] {
            let interval = compare(&heavy_tailed(count, 5_000.0, 1), &heavy_tailed(count, 5_500.0, 2), figure);
            assert!(interval.low < 10.0 && interval.high > 10.0, "{}: {interval:?} does not hold 10 %", figure.name());
            assert!(interval.low > 0.0, "{}: {interval:?}", figure.name());
        }
        let median = compare(&heavy_tailed(20_000, 5_000.0, 1), &heavy_tailed(20_000, 5_500.0, 2), Figure::Median);
        assert!(median.low > 9.0 && median.high < 11.0, "{median:?}");
    }

    #[test]
    fn a_difference_is_in_the_unit_of_the_samples_and_its_interval_holds_the_true_one() {
        let (base, new) = (heavy_tailed(20_000, 5_000.0, 1), heavy_tailed(20_000, 5_500.0, 2));
        let (base, new) = (Samples::new(&base).unwrap(), Samples::new(&new).unwrap());
        let interval = difference(&base, &new, Figure::Median, &Bootstrap::default()).unwrap();
        assert!(interval.low < 500.0 && interval.high > 500.0 && interval.low > 400.0, "{interval:?}");
        assert_eq!(interval.estimate, new.quantile(Figure::Median) as f64 - base.quantile(Figure::Median) as f64);
    }

    #[test]
    fn a_longer_tail_is_found_in_the_tail_and_not_in_the_median() {
        let base = heavy_tailed(20_000, 5_000.0, 1);
        let limit = Samples::new(&base).unwrap().quantile(Figure::P99) / 2;
        let new: Vec<u64> =
            heavy_tailed(20_000, 5_000.0, 2).into_iter().map(|sample| if sample > limit { sample * 2 } else { sample }).collect();
        assert!(compare(&base, &new, Figure::P99).low > 50.0);
        let median = compare(&base, &new, Figure::Median);
        assert!(median.low < 1.0 && median.high > -1.0, "{median:?}");
    }

    #[test]
    fn one_slow_sample_of_a_thousand_moves_neither_figure() {
        let base = vec![1_000; 1_000];
        let mut new = base.clone();
        new[500] = 1_000_000_000;
        for figure in Figure::ALL {
            assert_eq!(compare(&base, &new, figure), Interval { estimate: 0.0, low: 0.0, high: 0.0 });
        }
    }

    #[test]
    fn the_interval_is_the_same_every_time() {
        let (base, new) = (heavy_tailed(3_000, 5_000.0, 1), heavy_tailed(3_000, 5_100.0, 2));
        assert_eq!(compare(&base, &new, Figure::P99), compare(&base, &new, Figure::P99));
    }

    #[test]
    fn a_tail_is_not_judged_by_fewer_than_five_samples() {
        let few = Samples::new(&heavy_tailed(400, 5_000.0, 1)).unwrap();
        let bootstrap = Bootstrap::default();
        assert_eq!(difference(&few, &few, Figure::P99, &bootstrap), None);
        assert!(difference(&few, &few, Figure::Median, &bootstrap).is_some());
        assert!(Samples::new(&[]).is_none());
        assert_eq!(difference(&Samples::new(&[7]).unwrap(), &few, Figure::Median, &bootstrap), None);
    }

    #[test]
    fn quantiles_are_order_statistics() {
        let samples = Samples::new(&(1..=100).rev().collect::<Vec<_>>()).unwrap();
        assert_eq!(samples.quantile(Figure::Median), 50);
        assert_eq!(samples.quantile(Figure::P99), 99);
    }
}
