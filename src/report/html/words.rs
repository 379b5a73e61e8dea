//! Text from outside, marks that are told apart by shape, and dates.

use crate::report::outcome::Standing;
use crate::report::run::VerdictWord;

/// Text that came from outside, for the page: control characters and those that turn the direction of writing become spaces. The
/// templates escape what means something in HTML.
pub(super) fn foreign(text: &str) -> String {
    let turns = |character: char| matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let noncharacter =
        |character: char| matches!(u32::from(character) & 0xfffe, 0xfffe) || matches!(character, '\u{fdd0}'..='\u{fdef}');
    text.chars()
        .map(|character| if character.is_control() || turns(character) || noncharacter(character) { ' ' } else { character })
        .collect()
}

/// The same with its lines kept, for commands over several lines.
pub(super) fn foreign_lines(text: &str) -> String {
    text.lines().map(foreign).collect::<Vec<_>>().join("\n")
}

/// Class and shape of a verdict.
pub(super) const fn verdict_mark(word: VerdictWord) -> (&'static str, &'static str) {
    match word {
        VerdictWord::Pass => ("good", "✓"),
        VerdictWord::Fail => ("bad", "✗"),
        VerdictWord::Hang => ("bad", "■"),
        VerdictWord::Degraded => ("warn", "▲"),
        VerdictWord::NoGpuTested => ("warn", "○"),
    }
}

/// Class, shape and word of a standing.
pub(super) const fn standing_mark(standing: Standing) -> (&'static str, &'static str, &'static str) {
    match standing {
        Standing::Passed => ("good", "✓", ""),
        Standing::AsPredicted => ("warn", "◇", "predicted"),
        Standing::Failed => ("bad", "✗", "FAILED"),
        Standing::Skipped => ("quiet", "–", "skipped"),
        Standing::Known => ("quiet", "~", "known"),
    }
}

/// `2026-11-23 22:45 UTC`, by the civil calendar. `None` beyond the year 9999.
pub(super) fn utc(seconds: u64) -> Option<String> {
    const DAY: u64 = 86_400;
    let (mut days, rest) = (seconds / DAY, seconds % DAY);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
        if year > 9999 {
            return None;
        }
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    Some(format!("{year:04}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, rest / 3600, rest % 3600 / 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `date -u -d @SECONDS`.
    #[test]
    fn dates_follow_the_civil_calendar() {
        assert_eq!(utc(0).unwrap(), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400).unwrap(), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_700_000_000).unwrap(), "2023-11-14 22:13 UTC");
        assert_eq!(utc(1_735_689_599).unwrap(), "2024-12-31 23:59 UTC");
        assert_eq!(utc(u64::MAX), None);
    }

    #[test]
    fn foreign_text_cannot_turn_the_direction_of_the_page() {
        assert_eq!(foreign("a\u{202e}b\0c\nd"), "a b c d");
        assert_eq!(foreign_lines("a\nb\u{1b}"), "a\nb ");
    }
}
