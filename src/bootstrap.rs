//! How much two sets of samples differ at a quantile, with a confidence interval.
//!
//! The percentile bootstrap (Efron, *Bootstrap methods: another look at the jackknife*, 1979) of an order statistic needs no
//! resampling: the k-th smallest of n draws from the samples is the sample at the rank n·U, where U has the distribution
//! Beta(k, n − k + 1) (Hutson & Ernst, *The exact bootstrap mean and variance of an L-estimator*, 2000). So a replicate costs one random number.
//!
//! Round trips that follow each other are alike, which makes their number worth less than it looks. n is therefore replaced by the
//! effective number of samples: the series "is this sample at most the quantile?" in batches, the variance of their means against
//! that of independent samples (Heidelberger & Lewis, *Quantile estimation in dependent sequences*, 1984).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Beta, Distribution};
use serde::Serialize;

/// So many samples must lie beyond a quantile on the side of an interval's end, or that end would be the extreme sample itself.
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

/// A difference from the base with its interval, in percent of the base or in the unit of the samples.
///
/// An end that too few samples speak for is not known. The lower end rests on what the base has above its quantile and the new samples
/// have below theirs, the upper end on the reverse. So a tail that became long in a few bursts, which say little of how long it is,
/// can still be known to be longer than it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Between the two sets as they are.
    pub estimate: f64,
    /// Lower end, where it is known.
    pub low: Option<f64>,
    /// Upper end, where it is known.
    pub high: Option<f64>,
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
    ///
    /// Batches that are short against the length of the dependence show too little of it, and few long ones show it by chance: of several
    /// lengths, the one that leaves the fewest counts.
    #[must_use]
    pub fn effective(&self, figure: Figure) -> f64 {
        let count = self.series.len();
        let quantile = self.quantile(figure);
        let lengths = [count.isqrt(), (count as f64).powf(2.0 / 3.0) as usize, count / 20];
        let inflation = lengths.into_iter().filter_map(|length| self.inflation(quantile, length)).fold(1.0, f64::max);
        count as f64 / inflation
    }

    /// By how much the variance of batches' means exceeds that of independent samples, for the series "is this sample at most `quantile`?".
    /// `None` where there is no telling.
    fn inflation(&self, quantile: u64, length: usize) -> Option<f64> {
        if length == 0 || self.series.len() / length < 2 {
            return None;
        }
        let means: Vec<f64> = self
            .series
            .chunks_exact(length)
            .map(|batch| batch.iter().filter(|sample| **sample <= quantile).count() as f64 / length as f64)
            .collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let variance = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (means.len() - 1) as f64;
        let independent = mean * (1.0 - mean) / length as f64;
        // Fewer distinct values than that (a coarse clock) tell nothing of their dependence.
        (independent > 0.0).then(|| variance / independent)
    }

    /// Replicates of the quantile.
    fn replicates(&self, figure: Figure, bootstrap: &Bootstrap, random: &mut ChaCha8Rng) -> Option<Replicates> {
        let count = self.sorted.len();
        let effective = self.effective(figure);
        let share = effective / count as f64;
        let rank = self.rank(figure);
        let beta = Beta::new(rank as f64 * share, (count - rank + 1) as f64 * share).ok()?;
        let sample_at = |position: f64| self.sorted[((position * count as f64).ceil() as usize).clamp(1, count) - 1] as f64;
        let carries = |part: f64| effective * part >= BESIDE_AT_LEAST * (1.0 - 1e-9);
        Some(Replicates {
            values: (0..bootstrap.replicates).map(|_| sample_at(beta.sample(random))).collect(),
            carries_below: carries(figure.probability()),
            carries_above: carries(1.0 - figure.probability()),
        })
    }
}

/// Replicates of one set's quantile, in the order they were drawn.
struct Replicates {
    values: Vec<f64>,
    /// Whether enough samples lie below the quantile.
    carries_below: bool,
    /// And above it.
    carries_above: bool,
}

/// The ends of the middle part of `values` that has this probability.
fn ends(mut values: Vec<f64>, confidence: f64) -> Option<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    let skipped = ((1.0 - confidence) / 2.0 * values.len() as f64).floor() as usize;
    Some((*values.get(skipped)?, *values.get(values.len().checked_sub(skipped + 1)?)?))
}

/// The difference of `new` from `base` in percent of `base`. An end of the interval that they have too few samples for is absent.
#[must_use]
pub fn difference_percent(base: &Samples, new: &Samples, figure: Figure, bootstrap: &Bootstrap) -> Interval {
    // A clock that is too coarse may give zeros; a nanosecond is no more than its error.
    difference_by(|new, base| (new / base.max(1.0) - 1.0) * 100.0, base, new, figure, bootstrap)
}

/// The difference of `new` from `base` in the unit of the samples. An end of the interval that they have too few samples for is absent.
#[must_use]
pub fn difference(base: &Samples, new: &Samples, figure: Figure, bootstrap: &Bootstrap) -> Interval {
    difference_by(|new, base| new - base, base, new, figure, bootstrap)
}

fn difference_by(
    difference: impl Fn(f64, f64) -> f64,
    base: &Samples,
    new: &Samples,
    figure: Figure,
    bootstrap: &Bootstrap,
) -> Interval {
    let estimate = difference(new.quantile(figure) as f64, base.quantile(figure) as f64);
    let (low, high) = known_ends(base, new, figure, bootstrap, difference);
    // With coarse clocks the replicates may sit on one step and the estimate beside it.
    Interval { estimate, low: low.map(|low| low.min(estimate)), high: high.map(|high| high.max(estimate)) }
}

fn known_ends(
    base: &Samples,
    new: &Samples,
    figure: Figure,
    bootstrap: &Bootstrap,
    difference: impl Fn(f64, f64) -> f64,
) -> (Option<f64>, Option<f64>) {
    let mut random = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let replicates = base.replicates(figure, bootstrap, &mut random).zip(new.replicates(figure, bootstrap, &mut random));
    let Some((bases, news)) = replicates else { return (None, None) };
    let low_known = bases.carries_above && news.carries_below;
    let high_known = bases.carries_below && news.carries_above;
    if low_known && high_known {
        let differences = news.values.iter().zip(&bases.values).map(|(new, base)| difference(*new, *base)).collect();
        return ends(differences, bootstrap.confidence).unzip();
    }
    // Of the replicates of a side that is short of samples only the end that is wanted means anything. Each side's end leaves out half of what
    // the confidence leaves out, so both together at most as much as it does (Bonferroni).
    let sides = ends(bases.values, bootstrap.confidence).zip(ends(news.values, bootstrap.confidence));
    let Some(((base_low, base_high), (new_low, new_high))) = sides else { return (None, None) };
    (low_known.then(|| difference(new_low, base_high)), high_known.then(|| difference(new_high, base_low)))
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
        difference_percent(&Samples::new(base).unwrap(), &Samples::new(new).unwrap(), figure, &Bootstrap::default())
    }

    /// Both ends, of samples that are enough for them.
    fn ends_of(interval: Interval) -> (f64, f64) {
        interval.low.zip(interval.high).unwrap()
    }

    /// In how many of 200 comparisons of a population with itself the interval leaves out zero.
    fn false_alarms(population: impl Fn(u64) -> Vec<u64>, figure: Figure) -> usize {
        let bootstrap = Bootstrap { replicates: 1_000, ..Bootstrap::default() };
        (0..200)
            .filter(|trial| {
                let (base, new) = (population(2 * trial), population(2 * trial + 1));
                let (base, new) = (Samples::new(&base).unwrap(), Samples::new(&new).unwrap());
                let interval = difference_percent(&base, &new, figure, &bootstrap);
                interval.low.is_some_and(|low| low > 0.0) || interval.high.is_some_and(|high| high < 0.0)
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
    fn samples_that_drift_slowly_raise_few_false_alarms() {
        // A hundred and more in a row are worth one, so the 4,000 are some thirty. Batches of √n are shorter than that: taken alone, they
        // raise an alarm in one comparison of four. Here, too, twice the nominal rate and what chance adds to it is let pass.
        let alarms = false_alarms(|seed| correlated(4_000, 0.99, seed), Figure::Median);
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
            let (low, high) = ends_of(compare(&heavy_tailed(count, 5_000.0, 1), &heavy_tailed(count, 5_500.0, 2), figure));
            assert!(low < 10.0 && high > 10.0, "{}: {low} to {high} does not hold 10 %", figure.name());
            assert!(low > 0.0, "{}: {low}", figure.name());
        }
        let (low, high) = ends_of(compare(&heavy_tailed(20_000, 5_000.0, 1), &heavy_tailed(20_000, 5_500.0, 2), Figure::Median));
        assert!(low > 9.0 && high < 11.0, "{low} to {high}");
    }

    #[test]
    fn a_difference_is_in_the_unit_of_the_samples_and_its_interval_holds_the_true_one() {
        let (base, new) = (heavy_tailed(20_000, 5_000.0, 1), heavy_tailed(20_000, 5_500.0, 2));
        let (base, new) = (Samples::new(&base).unwrap(), Samples::new(&new).unwrap());
        let interval = difference(&base, &new, Figure::Median, &Bootstrap::default());
        let (low, high) = ends_of(interval);
        assert!(low < 500.0 && high > 500.0 && low > 400.0, "{interval:?}");
        assert_eq!(interval.estimate, new.quantile(Figure::Median) as f64 - base.quantile(Figure::Median) as f64);
    }

    #[test]
    fn a_longer_tail_is_found_in_the_tail_and_not_in_the_median() {
        let base = heavy_tailed(20_000, 5_000.0, 1);
        let limit = Samples::new(&base).unwrap().quantile(Figure::P99) / 2;
        let new: Vec<u64> =
            heavy_tailed(20_000, 5_000.0, 2).into_iter().map(|sample| if sample > limit { sample * 2 } else { sample }).collect();
        assert!(ends_of(compare(&base, &new, Figure::P99)).0 > 50.0);
        let (low, high) = ends_of(compare(&base, &new, Figure::Median));
        assert!(low < 1.0 && high > -1.0, "{low} to {high}");
    }

    #[test]
    fn one_slow_sample_of_a_thousand_moves_neither_figure() {
        let base = vec![1_000; 1_000];
        let mut new = base.clone();
        new[500] = 1_000_000_000;
        for figure in Figure::ALL {
            assert_eq!(compare(&base, &new, figure), Interval { estimate: 0.0, low: Some(0.0), high: Some(0.0) });
        }
    }

    #[test]
    fn the_interval_is_the_same_every_time() {
        let (base, new) = (heavy_tailed(3_000, 5_000.0, 1), heavy_tailed(3_000, 5_100.0, 2));
        assert_eq!(compare(&base, &new, Figure::P99), compare(&base, &new, Figure::P99));
    }

    #[test]
    fn a_tail_is_not_judged_by_fewer_than_five_samples() {
        let few = heavy_tailed(400, 5_000.0, 1);
        let tail = compare(&few, &few, Figure::P99);
        assert_eq!((tail.estimate, tail.low, tail.high), (0.0, None, None));
        assert!(compare(&few, &few, Figure::Median).low.is_some());
        assert!(Samples::new(&[]).is_none());
        let one = compare(&[7], &few, Figure::Median);
        assert_eq!((one.low, one.high), (None, None));
    }

    /// `base` with `length` samples in a row, from each of the `starts` on, a hundred times as long.
    fn with_bursts(base: &[u64], starts: impl Iterator<Item = usize>, length: usize) -> Vec<u64> {
        let mut new = base.to_vec();
        for start in starts {
            new[start..start + length].iter_mut().for_each(|sample| *sample *= 100);
        }
        new
    }

    #[test]
    fn a_tail_made_of_bursts_is_known_to_be_longer_and_not_how_much() {
        // Four in a hundred are slow, so the 99th percentile lies well among them; four bursts are worth too few samples for its upper end.
        let base = heavy_tailed(10_000, 5_000.0, 1).into_iter().map(|sample| sample.min(8_000)).collect::<Vec<_>>();
        let bursty = compare(&base, &with_bursts(&base, (0..4).map(|at| at * 2_500), 100), Figure::P99);
        assert_eq!(bursty.high, None);
        assert!(bursty.low.unwrap() > 1_000.0, "{bursty:?}");
        assert!(bursty.estimate > 1_000.0, "{bursty:?}");
        // The other way round, the tail is known to be shorter.
        let calm = compare(&with_bursts(&base, (0..4).map(|at| at * 2_500), 100), &base, Figure::P99);
        assert_eq!(calm.low, None);
        assert!(calm.high.unwrap() < -80.0, "{calm:?}");
    }

    #[test]
    fn quantiles_are_order_statistics() {
        let samples = Samples::new(&(1..=100).rev().collect::<Vec<_>>()).unwrap();
        assert_eq!(samples.quantile(Figure::Median), 50);
        assert_eq!(samples.quantile(Figure::P99), 99);
    }
}
