//! A kernel's output against what it must be.

use std::sync::atomic::Ordering;

use crate::hsa::Buffer;
use crate::report::OutputEvidence;

/// What every element of an output holds before the kernel runs. No kernel's result is this.
pub const CANARY: u32 = 0xeeee_eeee;
/// The same for 64-bit elements.
pub const CANARY_64: u64 = 0xeeee_eeee_eeee_eeee;

/// No output.
#[must_use]
pub fn no_output() -> OutputEvidence {
    OutputEvidence::default()
}

/// What became of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// It is what it must be.
    Right,
    /// It is what it was.
    Untouched,
    /// It is made of bytes of what it was and of what it must be.
    Torn,
    /// It shows that its work was done more than once.
    Repeated,
    /// It is something else.
    Wrong,
}

impl Element {
    /// A 32-bit element that held the canary.
    #[must_use]
    pub fn of_word(found: u32, wanted: u32) -> Self {
        if found == wanted {
            return Self::Right;
        }
        if found == CANARY {
            return Self::Untouched;
        }
        let (found, wanted, canary) = (found.to_le_bytes(), wanted.to_le_bytes(), CANARY.to_le_bytes());
        let patched = (0..4).all(|byte| found[byte] == wanted[byte] || found[byte] == canary[byte]);
        if patched { Self::Torn } else { Self::Wrong }
    }

    /// A cell that counts from 0 how often its packet ran.
    #[must_use]
    pub const fn of_mark(found: u32) -> Self {
        match found {
            0 => Self::Untouched,
            1 => Self::Right,
            2..=16 => Self::Repeated,
            _ => Self::Wrong,
        }
    }
}

/// Compares the first `count` 32-bit elements of a buffer with what they must be.
#[must_use]
pub fn compare_words(buffer: &Buffer, count: usize, wanted: impl Fn(usize) -> u32) -> OutputEvidence {
    tally(count, |position| Element::of_word(buffer.u32s()[position].load(Ordering::Relaxed), wanted(position)))
}

/// Marks of as many packets, each of which must have been made exactly once; they start at 0.
#[must_use]
pub fn compare_marks(cells: &Buffer, count: usize) -> OutputEvidence {
    let marks = tally(count, |position| Element::of_mark(cells.u32s()[position].load(Ordering::Acquire)));
    OutputEvidence { packets: count as u64, ..marks }
}

/// Counts elements by what became of them.
#[must_use]
pub fn tally(count: usize, look: impl Fn(usize) -> Element) -> OutputEvidence {
    let mut output = OutputEvidence { elements: count as u64, ..OutputEvidence::default() };
    for position in 0..count {
        match look(position) {
            Element::Right => output.right += 1,
            Element::Untouched => output.untouched += 1,
            Element::Torn => (output.wrong, output.torn) = (output.wrong + 1, output.torn + 1),
            Element::Repeated => (output.wrong, output.repeated) = (output.wrong + 1, output.repeated + 1),
            Element::Wrong => output.wrong += 1,
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_right_untouched_torn_or_wrong() {
        let cells = [1_u32, 2, CANARY, 9, 0xeeee_0005];
        let found = tally(5, |position| Element::of_word(cells[position], position as u32 + 1));
        assert_eq!(found, OutputEvidence { elements: 5, right: 2, untouched: 1, wrong: 2, torn: 1, ..OutputEvidence::default() });
        assert!(tally(0, |_| Element::Wrong).is_complete());
    }

    #[test]
    fn a_mark_made_twice_is_told_from_one_that_makes_no_sense() {
        let cells = [0, 1, 2, 3, 0xdead_beef];
        let found = tally(5, |position| Element::of_mark(cells[position]));
        assert_eq!(
            found,
            OutputEvidence { elements: 5, right: 1, untouched: 1, wrong: 3, repeated: 2, ..OutputEvidence::default() }
        );
    }
}
