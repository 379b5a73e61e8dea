//! A latency histogram: both axes logarithmic, so that one slow round trip in a million shows.
//!
//! Its units are CSS pixels on a phone of 360; on wider windows the figure grows and its letters are set smaller (style.css).

use maud::{Markup, html};

use crate::report::latency::Distribution;
use crate::report::style::{microseconds, thousands};

use super::axis::LogAxis;
use super::bars::bars;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 226.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 38.0;
const FLOOR: f64 = HEIGHT - BOTTOM;
/// Of a letter, on average, at the size that a phone shows.
const LETTER: f64 = 6.8;

/// A distribution's figures, its samples where they were kept, and the name that its title has on the page.
pub(super) struct Histogram<'a> {
    pub distribution: &'a Distribution,
    pub samples_ns: &'a [u64],
    pub id: &'a str,
}

/// The histogram with its median and tail marked, and the same in words.
pub(super) fn histogram(Histogram { distribution, samples_ns, id }: &Histogram<'_>) -> Markup {
    let bars = bars(distribution, samples_ns);
    let (from, to) = bars.iter().fold((f64::MAX, 0.0_f64), |(from, to), bar| (from.min(bar.from_ns), to.max(bar.to_ns)));
    let axis = LogAxis::over(from.min(to), to);
    let x = |nanoseconds: f64| LEFT + axis.share(nanoseconds) * (WIDTH - LEFT - RIGHT);
    // A bar on its own has to show on both sides of the mark that stands in its middle.
    let least = if bars.len() == 1 { 12.0 } else { 2.0 };
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or_default().max(1);
    // One sample has to show beside a million.
    let y = |count: u64| FLOOR - (1.0 + count as f64).ln() / (1.0 + most as f64).ln() * (FLOOR - TOP);
    let label = format!(
        "Histogram of {} round trips from {} to {}, median {}, 99 % below {}.",
        thousands(distribution.count),
        microseconds(distribution.min_ns as f64),
        microseconds(distribution.max_ns as f64),
        microseconds(distribution.typical_ns as f64),
        microseconds(distribution.p99_ns as f64)
    );
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(id) {
                title id=(id) { (label) }
                text x="0" y="11" { "round trips per bar" }
                @for count in decades(most) {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(number(y(count))) y2=(number(y(count))) {}
                    text x=(LEFT - 5.0) y=(number(y(count) + 4.0)) text-anchor="end" { (short(count)) }
                }
                @for bar in bars.iter().filter(|bar| bar.count > 0) {
                    @let (left, width) = span(x(bar.from_ns), x(bar.to_ns), least);
                    rect.bar x=(number(left)) width=(number(width)) y=(number(y(bar.count))) height=(number(FLOOR - y(bar.count))) {}
                }
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(FLOOR) y2=(FLOOR) {}
                @for (tick, shown) in room(axis.ticks().into_iter().map(|(tick, label)| (x(tick), label))) {
                    line.axis x1=(number(tick)) x2=(number(tick)) y1=(FLOOR) y2=(FLOOR + 4.0) {}
                    @if let Some((middle, label)) = shown { text x=(number(middle)) y=(FLOOR + 16.0) text-anchor="middle" { (label) } }
                }
                text x=(WIDTH - RIGHT) y=(HEIGHT - 5.0) text-anchor="end" { "round trip, µs" }
                @for (name, value, row) in [("median", distribution.typical_ns, 27.0), ("99 %", distribution.p99_ns, 42.0)] {
                    (mark(x(value as f64), row, &format!("{name} {}", microseconds(value as f64))))
                }
            }
            figcaption { (thousands(distribution.count)) " round trips; time and count on logarithmic axes" }
        }
    }
}

/// A line at `x` from its words in a row of their own down to the floor, on a halo that sets it off from the bars.
fn mark(x: f64, row: f64, words: &str) -> Markup {
    let half = words.chars().count() as f64 * LETTER / 2.0;
    let middle = x.clamp(LEFT + half, (WIDTH - half).max(LEFT + half));
    html! {
        line.halo x1=(number(x)) x2=(number(x)) y1=(number(row + 4.0)) y2=(FLOOR) {}
        line.mark x1=(number(x)) x2=(number(x)) y1=(number(row + 4.0)) y2=(FLOOR) {}
        text.mark x=(number(middle)) y=(number(row)) text-anchor="middle" { (words) }
    }
}

/// Left end and width of a bar, with a little air to the next.
fn span(from: f64, to: f64, least: f64) -> (f64, f64) {
    let (middle, width) = ((from + to) / 2.0, (to - from - 0.6).max(least));
    (middle - width / 2.0, width)
}

/// Ticks from left to right, with the middle of their labels where there is room for them.
fn room(ticks: impl Iterator<Item = (f64, String)>) -> Vec<(f64, Option<(f64, String)>)> {
    let mut taken = 0.0;
    ticks
        .map(|(x, label)| {
            let half = label.chars().count() as f64 * LETTER / 2.0;
            let middle = x.min(WIDTH - half);
            let is_free = middle - half >= taken;
            if is_free {
                taken = middle + half + LETTER;
            }
            (x, is_free.then_some((middle, label)))
        })
        .collect()
}

/// Powers of ten up to a count; 2 and 5 as well where there would be but one.
fn decades(most: u64) -> Vec<u64> {
    let steps: &[u64] = if most < 10 { &[1, 2, 5] } else { &[1] };
    let powers = (0..20).filter_map(|power| 10_u64.checked_pow(power));
    powers.flat_map(|power| steps.iter().filter_map(move |step| step.checked_mul(power))).filter(|count| *count <= most).collect()
}

/// A power of ten in at most four characters.
fn short(count: u64) -> String {
    [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")]
        .into_iter()
        .find(|(size, _)| count >= *size)
        .map_or_else(|| count.to_string(), |(size, unit)| format!("{}{unit}", count / size))
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(samples_ns: &[u64]) -> String {
        let mut sorted = samples_ns.to_vec();
        sorted.sort_unstable();
        let distribution = Distribution {
            count: sorted.len() as u64,
            min_ns: sorted[0],
            typical_ns: sorted[(sorted.len() - 1) / 2],
            mean_ns: 0.0,
            p99_ns: sorted[(sorted.len() - 1) * 99 / 100],
            p999_ns: sorted[sorted.len() - 1],
            max_ns: sorted[sorted.len() - 1],
            stddev_ns: 0.0,
            hdr: String::new(),
            buckets: Vec::new(),
        };
        histogram(&Histogram { distribution: &distribution, samples_ns, id: "h" }).into_string()
    }

    /// An attribute of every element of a class.
    fn attributes(html: &str, class: &str, name: &str) -> Vec<f64> {
        let elements =
            html.split('<').filter(|element| element.contains(&format!("class=\"{class}\"")) && !element.starts_with("text"));
        elements
            .map(|element| element.split_once(&format!(" {name}=\"")).unwrap().1.split('"').next().unwrap().parse().unwrap())
            .collect()
    }

    #[test]
    fn constant_samples_put_their_bar_under_the_median() {
        let html = drawn(&[8_000; 100]);
        let (left, width) = (attributes(&html, "bar", "x"), attributes(&html, "bar", "width"));
        let middles: Vec<f64> = left.iter().zip(&width).map(|(left, width)| left + width / 2.0).collect();
        assert_eq!(middles.len(), 1);
        for mark in attributes(&html, "mark", "x1") {
            assert!((mark - middles[0]).abs() < 0.2, "the mark at {mark}, the bar at {}", middles[0]);
        }
    }

    #[test]
    fn bars_touch_unless_a_bar_between_them_is_empty() {
        let html = drawn(&(0..4000).map(|at| 6_400 + at * 1259 % 200).collect::<Vec<u64>>());
        let (left, width) = (attributes(&html, "bar", "x"), attributes(&html, "bar", "width"));
        assert!(left.len() >= 10);
        for (position, next) in left.iter().enumerate().skip(1) {
            assert!(next - (left[position - 1] + width[position - 1]) < 1.0);
        }
    }

    #[test]
    fn every_mark_lies_on_a_halo_of_its_own_and_the_axes_say_what_they_count() {
        let html = drawn(&(0..4000).map(|at| 6_400 + at % 200).collect::<Vec<u64>>());
        assert_eq!(attributes(&html, "halo", "x1"), attributes(&html, "mark", "x1"));
        assert_eq!(attributes(&html, "mark", "x1").len(), 2);
        assert!(html.contains(">round trips per bar<") && html.contains(">round trip, µs<"));
    }

    #[test]
    fn counts_are_marked_at_powers_of_ten() {
        assert_eq!(decades(4_291), [1, 10, 100, 1_000]);
        assert_eq!(decades(7), [1, 2, 5]);
        assert_eq!([1, 100, 10_000, 1_000_000].map(short), ["1", "100", "10k", "1M"]);
        assert_eq!(decades(u64::MAX).len(), 20);
    }

    #[test]
    fn labels_that_would_touch_are_left_out_and_their_ticks_stay() {
        let shown = room([(40.0, "1,000".to_owned()), (60.0, "2,000".to_owned()), (318.0, "5,000".to_owned())].into_iter());
        assert_eq!(shown.iter().map(|(_, label)| label.is_some()).collect::<Vec<_>>(), [true, false, true]);
        assert!(shown[2].1.as_ref().unwrap().0 <= WIDTH - 2.5 * LETTER);
    }
}
