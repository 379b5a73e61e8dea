//! A latency histogram: both axes logarithmic, so that one slow round trip in a million shows.

use maud::{Markup, html};

use crate::report::latency::Distribution;
use crate::report::style::{thousands, time};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 26.0;
const BINS: usize = 56;

/// Where a time lies between the axis' ends.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// From the fastest to the slowest, at least a factor of 1.05 apart so that equal samples have a place.
    fn of(distribution: &Distribution) -> Self {
        let low = (distribution.min_ns.max(1)) as f64;
        let high = (distribution.max_ns.max(1) as f64).max(low * 1.05);
        Self { low: low / 1.01, high: high * 1.01 }
    }

    /// From 0 to 1.
    fn share(&self, nanoseconds: f64) -> f64 {
        ((nanoseconds.max(1.0) / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    fn x(&self, nanoseconds: f64) -> f64 {
        LEFT + self.share(nanoseconds) * (WIDTH - LEFT - RIGHT)
    }

    /// Times in steps of 1, 2 and 5; where there is no room for so many, their ends alone.
    fn ticks(&self) -> Vec<f64> {
        let steps = |steps: &[f64]| {
            let from = self.low.log10().floor() as i32;
            let to = self.high.log10().ceil() as i32;
            (from..=to)
                .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
                .filter(|tick| *tick >= self.low && *tick <= self.high)
                .collect::<Vec<f64>>()
        };
        let fine = steps(&[1.0, 2.0, 5.0]);
        let chosen = if fine.len() > 6 { steps(&[1.0]) } else { fine };
        if chosen.len() < 2 {
            return vec![self.low * 1.01, self.high / 1.01];
        }
        let every = chosen.len().div_ceil(6);
        chosen.into_iter().step_by(every).collect()
    }
}

/// Samples per bin of equal width on the axis.
fn bins(distribution: &Distribution, axis: &Axis) -> Vec<u64> {
    let mut bins = vec![0_u64; BINS];
    for bucket in &distribution.buckets {
        let middle = (bucket.from_ns as f64 + bucket.to_ns as f64) / 2.0;
        let bin = ((axis.share(middle) * BINS as f64) as usize).min(BINS - 1);
        bins[bin] = bins[bin].saturating_add(bucket.count);
    }
    bins
}

/// The histogram with its median and tail marked, and the same in words.
pub(super) fn histogram(distribution: &Distribution, id: &str) -> Markup {
    let axis = Axis::of(distribution);
    let bins = bins(distribution, &axis);
    let most = bins.iter().copied().max().unwrap_or_default().max(1);
    // One sample has to show beside a million.
    let scale = |count: u64| (1.0 + count as f64).ln() / (1.0 + most as f64).ln();
    let plot = HEIGHT - TOP - BOTTOM;
    let bin_width = (WIDTH - LEFT - RIGHT) / BINS as f64;
    let number = |value: f64| format!("{value:.1}");
    let marks = marks(distribution, &axis);
    let label = format!(
        "Histogram of {} round trips from {} to {}, median {}, 99 % below {}.",
        thousands(distribution.count),
        time(distribution.min_ns as f64),
        time(distribution.max_ns as f64),
        time(distribution.typical_ns as f64),
        time(distribution.p99_ns as f64)
    );
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(id) {
                title id=(id) { (label) }
                @for (position, count) in bins.iter().enumerate() {
                    @if *count > 0 {
                        @let height = (scale(*count) * plot).max(1.5);
                        rect.bar x=(number(LEFT + position as f64 * bin_width)) y=(number(HEIGHT - BOTTOM - height)) width=(number(bin_width - 0.8)) height=(number(height)) {}
                    }
                }
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
                @for tick in axis.ticks() {
                    line.axis x1=(number(axis.x(tick))) x2=(number(axis.x(tick))) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM + 4.0) {}
                    text x=(number(axis.x(tick).clamp(LEFT, WIDTH - 30.0))) y=(HEIGHT - 8.0) text-anchor="middle" { (tick_words(tick)) }
                }
                text x=(LEFT - 6.0) y=(number(TOP + 10.0)) text-anchor="end" { (short(most)) }
                @if most > 1 { text x=(LEFT - 6.0) y=(number(HEIGHT - BOTTOM - scale(1) * plot + 4.0)) text-anchor="end" { "1" } }
                @for (position, x, words) in marks {
                    line.mark x1=(number(x)) x2=(number(x)) y1=(number(TOP - 4.0)) y2=(HEIGHT - BOTTOM) {}
                    text.mark x=(number(x)) y=(if position % 2 == 0 { 12 } else { 26 }) text-anchor=(if x > WIDTH * 0.7 { "end" } else if x < WIDTH * 0.2 { "start" } else { "middle" }) { (words) }
                }
            }
            figcaption { (thousands(distribution.count)) " round trips; time and count on logarithmic axes" }
        }
    }
}

fn marks(distribution: &Distribution, axis: &Axis) -> Vec<(usize, f64, String)> {
    let named = [(distribution.typical_ns, "median"), (distribution.p99_ns, "99 %")];
    named
        .into_iter()
        .enumerate()
        .map(|(position, (value, name))| (position, axis.x(value as f64), format!("{name} {}", time(value as f64))))
        .collect()
}

/// `2 µs` and not `2.00 µs` where the tick is round.
fn tick_words(nanoseconds: f64) -> String {
    let words = time(nanoseconds);
    match words.split_once(' ') {
        Some((number, unit)) if number.contains('.') => format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.')),
        _ => words,
    }
}

/// A count in at most four characters.
fn short(count: u64) -> String {
    match count {
        0..=9_999 => count.to_string(),
        10_000..=999_999 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}
