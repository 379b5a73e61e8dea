//! Samples as numbers: exact order statistics, nothing trimmed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use crate::report::latency::{Bucket, Distribution};

/// Significant digits of the histogram that other tools read.
const HDR_DIGITS: u8 = 3;
/// Of the buckets.
const BUCKET_DIGITS: u8 = 1;

/// Everything about a set of samples; `None` for none.
#[must_use]
pub fn distribution(samples: &[u64]) -> Option<Distribution> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let (&min_ns, &max_ns) = (sorted.first()?, sorted.last()?);
    let mean_ns = mean(samples.iter().map(|sample| *sample as f64), samples.len());
    Some(Distribution {
        count: samples.len() as u64,
        min_ns,
        typical_ns: rank(&sorted, 0.5),
        mean_ns,
        p99_ns: rank(&sorted, 0.99),
        p999_ns: rank(&sorted, 0.999),
        max_ns,
        stddev_ns: deviation(samples, mean_ns),
        hdr: hdr(samples, max_ns).unwrap_or_default(),
        buckets: buckets(samples, max_ns),
    })
}

/// The nearest-rank percentile: the smallest sample that at least this share of all does not exceed.
#[must_use]
pub fn rank<T: Copy>(sorted: &[T], share: f64) -> T {
    let position = (share * sorted.len() as f64).ceil() as usize;
    sorted[position.clamp(1, sorted.len()) - 1]
}

/// The mean of `count` values; 0 for none.
#[must_use]
pub fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    if count == 0 { 0.0 } else { values.sum::<f64>() / count as f64 }
}

/// The standard deviation of a sample (divided by one less than their number).
fn deviation(samples: &[u64], mean: f64) -> f64 {
    if samples.len() < 2 {
        return 0.0;
    }
    let squares: f64 = samples.iter().map(|sample| (*sample as f64 - mean).powi(2)).sum();
    (squares / (samples.len() - 1) as f64).sqrt()
}

fn histogram(samples: &[u64], max: u64, digits: u8) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, max.max(2), digits).ok()?;
    for sample in samples {
        histogram.record(*sample).ok()?;
    }
    Some(histogram)
}

fn hdr(samples: &[u64], max: u64) -> Option<String> {
    let histogram = histogram(samples, max, HDR_DIGITS)?;
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

fn buckets(samples: &[u64], max: u64) -> Vec<Bucket> {
    let Some(histogram) = histogram(samples, max, BUCKET_DIGITS) else { return Vec::new() };
    histogram
        .iter_recorded()
        .map(|recorded| {
            let value = recorded.value_iterated_to();
            Bucket {
                from_ns: histogram.lowest_equivalent(value),
                to_ns: histogram.highest_equivalent(value),
                count: recorded.count_since_last_iteration(),
            }
        })
        .collect()
}

/// A modified z-score beyond which a sample is an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993).
const OUTLIER: f64 = 3.5;

/// How many samples are outliers by their modified z-score, from the median absolute deviation; from the mean one where that is 0.
#[must_use]
pub fn outliers(samples: &[u64]) -> u64 {
    if samples.is_empty() {
        return 0;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let median = rank(&sorted, 0.5);
    let mut distances: Vec<u64> = samples.iter().map(|sample| sample.abs_diff(median)).collect();
    distances.sort_unstable();
    let scale = match rank(&distances, 0.5) {
        0 => mean(distances.iter().map(|distance| *distance as f64), distances.len()) * 1.253_314,
        median_distance => median_distance as f64 / 0.6745,
    };
    if scale == 0.0 {
        return 0;
    }
    distances.iter().filter(|distance| **distance as f64 / scale > OUTLIER).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Vec<u64> = (1..=1000).rev().collect();
        let found = distribution(&samples).unwrap();
        assert_eq!(
            (found.min_ns, found.typical_ns, found.p99_ns, found.p999_ns, found.max_ns, found.count),
            (1, 500, 990, 999, 1000, 1000)
        );
        assert_eq!(found.mean_ns, 500.5);
    }

    #[test]
    fn the_standard_deviation_is_that_of_a_sample() {
        // NIST StRD "Michelson"-like hand case: 2, 4, 4, 4, 5, 5, 7, 9 has sum of squares 32 about its mean 5.
        let found = distribution(&[2, 4, 4, 4, 5, 5, 7, 9]).unwrap();
        assert!((found.stddev_ns - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(distribution(&[7]).unwrap().stddev_ns, 0.0);
        assert_eq!(distribution(&[]), None);
    }

    /// From Iglewicz and Hoaglin's rule by hand: median 10, distances 0 0 0 1 1 1 90, MAD 1, so only 0.6745 * 90 exceeds 3.5.
    #[test]
    fn an_outlier_is_far_from_the_median_in_units_of_the_median_distance() {
        assert_eq!(outliers(&[10, 10, 10, 11, 9, 11, 100]), 1);
        assert_eq!(outliers(&[10, 11, 12, 13, 14]), 0);
        assert_eq!(outliers(&[5; 100]), 0);
        assert_eq!(outliers(&[]), 0);
    }

    #[test]
    fn where_most_samples_are_equal_the_mean_distance_decides() {
        let mut samples = vec![100_u64; 99];
        samples.push(5_000);
        assert_eq!(outliers(&samples), 1);
    }

    proptest! {
        #[test]
        fn the_histogram_reads_back_with_every_sample(samples in prop::collection::vec(0_u64..10_000_000_000, 1..300)) {
            let found = distribution(&samples).unwrap();
            let bytes = STANDARD.decode(&found.hdr).unwrap();
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(histogram.len(), samples.len() as u64);
            let error = histogram.max().abs_diff(found.max_ns) as f64;
            prop_assert!(error <= found.max_ns as f64 / 1000.0 + 1.0);
            prop_assert_eq!(found.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), found.count);
            for sample in samples {
                prop_assert!(found.buckets.iter().any(|bucket| (bucket.from_ns..=bucket.to_ns).contains(&sample)));
            }
        }
    }
}
