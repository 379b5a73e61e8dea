//! Which parts of a stretch of addresses are free.

use std::collections::BTreeMap;

/// Free ranges, by their start; neighbours are joined.
#[derive(Debug, Default)]
pub struct Ranges {
    free: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Takes `bytes` from the first range that has as many.
    pub fn take(&mut self, bytes: u64) -> Option<u64> {
        let (start, length) = self.free.iter().map(|(start, length)| (*start, *length)).find(|(_, length)| *length >= bytes)?;
        self.free.remove(&start);
        if length > bytes {
            self.free.insert(start + bytes, length - bytes);
        }
        Some(start)
    }

    /// Gives a range back, or a new one. It must not meet one that is free.
    pub fn give(&mut self, start: u64, bytes: u64) {
        let (mut start, mut bytes) = (start, bytes);
        if let Some((before, length)) = self.free.range(..start).next_back().map(|(before, length)| (*before, *length))
            && before + length == start
        {
            self.free.remove(&before);
            (start, bytes) = (before, length + bytes);
        }
        if let Some(length) = self.free.remove(&(start + bytes)) {
            bytes += length;
        }
        self.free.insert(start, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: u64 = 1 << 20;

    #[test]
    fn a_range_that_was_given_back_joins_its_neighbours() {
        let mut ranges = Ranges::default();
        ranges.give(0, WHOLE);
        let [first, second, third] = [0; 3].map(|_| ranges.take(WHOLE / 4).unwrap());
        ranges.give(first, WHOLE / 4);
        ranges.give(third, WHOLE / 4);
        assert_eq!(ranges.take(WHOLE), None);
        ranges.give(second, WHOLE / 4);
        assert_eq!(ranges.take(WHOLE), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_taken_never_overlaps_and_all_of_it_comes_back(
            steps in prop::collection::vec((1_u64..64, any::<prop::sample::Index>(), any::<bool>()), 1..200)
        ) {
            let mut ranges = Ranges::default();
            ranges.give(0, WHOLE);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pages, which, gives) in steps {
                if gives && !taken.is_empty() {
                    let (start, bytes) = taken.swap_remove(which.index(taken.len()));
                    ranges.give(start, bytes);
                } else if let Some(start) = ranges.take(pages * 4096) {
                    let end = start + pages * 4096;
                    prop_assert!(end <= WHOLE);
                    prop_assert!(taken.iter().all(|(other, bytes)| end <= *other || other + bytes <= start));
                    taken.push((start, pages * 4096));
                }
            }
            for (start, bytes) in taken {
                ranges.give(start, bytes);
            }
            prop_assert_eq!(ranges.take(WHOLE), Some(0));
        }
    }
}
