//! The streams that ended, whose retransmissions are ignored.

use std::ops::Range;

/// Maximum number of separate ranges of one kind of stream. Streams are opened in
/// order, so only long-lived ones separate ranges.
const MAX_RANGES: usize = 512;

/// Number of kinds of streams: by either side, in one direction or both.
const KINDS: usize = 4;

/// A set of stream identifiers.
#[derive(Debug, Default)]
pub(super) struct Closed([Vec<Range<u64>>; KINDS]);

impl Closed {
    /// Adds a stream.
    pub(super) fn insert(&mut self, id: u64) {
        let Some(ranges) = self.0.get_mut(id as usize % KINDS) else {
            return;
        };
        let number = id / KINDS as u64;
        let at = ranges.partition_point(|range| range.end < number);
        match ranges.get_mut(at) {
            Some(range) if range.contains(&number) => return,
            Some(range) if range.end == number => range.end += 1,
            Some(range) if range.start == number + 1 => range.start = number,
            _ => ranges.insert(at, number..number + 1),
        }
        if let [Range { end, .. }, next] = ranges.get(at..at + 2).unwrap_or_default()
            && *end == next.start
        {
            let joined = next.end;
            ranges.remove(at + 1);
            ranges[at].end = joined;
        }
        if ranges.len() > MAX_RANGES {
            // Streams in between were opened long ago.
            let second = ranges.remove(1);
            ranges[0].end = second.end;
        }
    }

    /// Reports whether the stream is in the set.
    pub(super) fn contains(&self, id: u64) -> bool {
        let number = id / KINDS as u64;
        let ranges = self.0.get(id as usize % KINDS).map_or(&[][..], Vec::as_slice);
        let at = ranges.partition_point(|range| range.end <= number);
        ranges.get(at).is_some_and(|range| range.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_bounded() {
        let mut closed = Closed::default();
        for id in (0..100_000).step_by(8) {
            closed.insert(id);
            assert!(closed.contains(id));
        }
        assert_eq!(closed.0[0].len(), MAX_RANGES);
        assert!(!closed.contains(1) && !closed.contains(100_004));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_inserted(ids in proptest::collection::vec(0u64..80, 0..80)) {
            let mut closed = Closed::default();
            ids.iter().for_each(|&id| closed.insert(id));
            for id in 0..84 {
                prop_assert_eq!(closed.contains(id), ids.contains(&id), "{}", id);
            }
            for ranges in &closed.0 {
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
