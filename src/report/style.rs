//! How text is dressed: colour or none, and the width to keep.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// Whether escape sequences may be written. Who prints decides it (tty, `NO_COLOR`, `CLICOLOR_FORCE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text, the same everywhere.
    Never,
    /// ANSI sequences.
    Always,
}

/// The dress of a text report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Whether to colour.
    pub colour: Colour,
    /// Columns of the terminal; `None` when there is none, and then tables take the width they need.
    pub width: Option<u16>,
}

impl TextStyle {
    /// For files and pipes.
    pub const PLAIN: Self = Self { colour: Colour::Never, width: None };

    pub(crate) fn dress<T: fmt::Display>(self, tone: Tone, text: T) -> Dressed<T> {
        Dressed { style: if self.colour == Colour::Always { tone.style() } else { Style::new() }, text }
    }
}

/// What a piece of text means; the colour follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Expected,
    Bad,
    Quiet,
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Expected => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Quiet => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// Text between the sequences of its style; none when plain.
pub(crate) struct Dressed<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Dressed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}{:#}", self.style, self.text, self.style)
    }
}

/// Text that came from outside (names, paths, reasons) on one line and without control characters: a device name or a dump must
/// not be able to drive the reader's terminal, nor to turn the order of what stands beside it (Unicode's bidirectional controls).
pub(crate) fn tame(text: &str) -> String {
    let drives = |character: char| {
        let bidirectional =
            matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        character.is_control() || bidirectional
    };
    text.chars().map(|character| if drives(character) { ' ' } else { character }).collect()
}

/// A time at three digits, in the unit that suits it.
pub(crate) fn time(nanoseconds: f64) -> String {
    let scaled = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")].into_iter().find(|(unit, _)| nanoseconds.abs() >= *unit);
    let (value, unit) = scaled.map_or((nanoseconds, "ns"), |(size, unit)| (nanoseconds / size, unit));
    let digits = if unit == "ns" || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A round trip in microseconds, at the digits that a latency verdict gives it: so that one figure reads the same wherever it stands.
pub(super) fn microseconds(nanoseconds: f64) -> String {
    format!("{:.2} µs", nanoseconds / 1e3)
}

/// A count with thousands separators.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_048_576), "1,048,576");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn times_have_three_digits_and_their_unit() {
        let shown = [0.0, 850.0, 1_234.0, 56_700.0, 999_000.0, 1_500_000.0, 2e9].map(time);
        assert_eq!(shown, ["0 ns", "850 ns", "1.23 µs", "56.7 µs", "999 µs", "1.50 ms", "2.00 s"]);
    }

    #[test]
    fn foreign_text_cannot_carry_escape_sequences_or_line_breaks() {
        assert_eq!(tame("Fiji\u{1b}[2J\r\nPASS"), "Fiji [2J  PASS");
        assert_eq!(tame("Fiji\u{202e}SSAP\u{2066}x\u{200f}"), "Fiji SSAP x ");
    }

    #[test]
    fn plain_style_adds_nothing_and_colour_closes_what_it_opens() {
        assert_eq!(TextStyle::PLAIN.dress(Tone::Bad, "x").to_string(), "x");
        let coloured = TextStyle { colour: Colour::Always, width: None }.dress(Tone::Good, "x").to_string();
        assert_eq!(coloured, "\u{1b}[32mx\u{1b}[0m");
    }
}
