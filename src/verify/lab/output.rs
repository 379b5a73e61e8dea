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

/// Compares the first `count` 32-bit elements of a buffer with what they must be.
#[must_use]
pub fn compare_words(buffer: &Buffer, count: usize, wanted: impl Fn(usize) -> u32) -> OutputEvidence {
    tally(count, |position| {
        let found = buffer.u32s()[position].load(Ordering::Relaxed);
        (found == wanted(position), found == CANARY)
    })
}

/// Counts elements by `look`, which says whether one is right and whether it is untouched.
#[must_use]
pub fn tally(count: usize, look: impl Fn(usize) -> (bool, bool)) -> OutputEvidence {
    let mut output = OutputEvidence { elements: count as u64, ..OutputEvidence::default() };
    for position in 0..count {
        match look(position) {
            (true, _) => output.right += 1,
            (false, true) => output.untouched += 1,
            (false, false) => output.wrong += 1,
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_right_untouched_or_wrong() {
        let cells = [1_u32, 2, CANARY, 9];
        let found = tally(4, |position| (cells[position] == position as u32 + 1, cells[position] == CANARY));
        assert_eq!(found, OutputEvidence { elements: 4, right: 2, untouched: 1, wrong: 1 });
        assert!(tally(0, |_| (false, false)).is_complete());
    }
}
