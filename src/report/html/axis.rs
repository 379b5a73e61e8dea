//! Axes of the page's figures: where a time lies on them, and marks that can be read.

use crate::report::style::thousands;

/// A logarithmic axis of times in nanoseconds.
pub(super) struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// From one time to another with a little room at both ends; at least a factor of 1.05, so that equal samples have a place.
    pub(super) fn over(from_ns: f64, to_ns: f64) -> Self {
        let (low, high) = (from_ns.max(0.5), to_ns.max(from_ns).max(0.5));
        let (middle, reach) = ((low * high).sqrt(), (high / low).sqrt().max(1.025).powf(1.04));
        Self { low: middle / reach, high: middle * reach }
    }

    /// From 0 to 1.
    pub(super) fn share(&self, nanoseconds: f64) -> f64 {
        ((nanoseconds.max(self.low) / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// Times to mark, and how each is written in microseconds: even steps on a short axis, 1, 2 and 5 or powers of ten on a long one.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.high / self.low < 8.0 {
            return even_ticks(self.low, self.high, 5);
        }
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let steps = |steps: &[f64]| {
            let all = powers.clone().flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
            all.filter(|tick| *tick >= self.low && *tick <= self.high).collect::<Vec<f64>>()
        };
        let fine = steps(&[1.0, 2.0, 5.0]);
        let chosen = if fine.len() > 6 { steps(&[1.0]) } else { fine };
        chosen.into_iter().map(|tick| (tick, label(tick, tick))).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten between two times, so far apart that they leave at most `most` spaces.
pub(super) fn even_ticks(low: f64, high: f64, most: u32) -> Vec<(f64, String)> {
    let rough = (high - low).max(f64::MIN_POSITIVE) / f64::from(most);
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let positions = (0..=most).map(|position| (first + f64::from(position)) * step);
    positions.filter(|tick| *tick >= low && *tick <= high).map(|tick| (tick, label(tick, step))).collect()
}

/// A time in microseconds with the digits that a step of the axis needs.
fn label(nanoseconds: f64, step: f64) -> String {
    // Without the sign of a negative zero.
    if nanoseconds == 0.0 {
        return "0".to_owned();
    }
    let microseconds = nanoseconds / 1e3;
    let digits = (-((step / 1e3).log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
    if digits == 0 && microseconds >= 1_000.0 { thousands(microseconds.round() as u64) } else { format!("{microseconds:.digits$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_value_on_its_own_stands_in_the_middle() {
        assert!((LogAxis::over(7_999.5, 8_000.5).share(8_000.0) - 0.5).abs() < 1e-4);
    }

    #[test]
    fn marks_of_a_narrow_axis_have_the_digits_that_tell_them_apart() {
        assert_eq!(labels(&even_ticks(6_410.0, 6_640.0, 5)), ["6.45", "6.50", "6.55", "6.60"]);
        assert_eq!(labels(&even_ticks(0.0, 9.9, 5)), ["0", "0.002", "0.004", "0.006", "0.008"]);
        assert_eq!(labels(&even_ticks(-40_000.0, 210_000.0, 5)), ["0", "50", "100", "150", "200"]);
    }

    #[test]
    fn marks_of_a_wide_axis_are_steps_of_1_2_and_5_or_powers_of_ten() {
        assert_eq!(labels(&LogAxis { low: 4_000.0, high: 60_000.0 }.ticks()), ["5", "10", "20", "50"]);
        assert_eq!(
            labels(&LogAxis { low: 400.0, high: 3e9 }.ticks()),
            ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]
        );
    }
}
