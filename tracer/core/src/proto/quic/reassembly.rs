//! Reassembles a stream from pieces in any order.

use std::collections::BTreeMap;

/// Maximum distance of a piece from the next byte. No receiver allows as much.
const MAX_AHEAD: u64 = 1 << 32;

/// A stream whose bytes are taken in order.
#[derive(Debug, Default)]
pub(in crate::proto) struct Reassembly {
    /// Offset of the next byte to be taken.
    next: u64,
    /// The pieces from there on, by offset. They do not overlap.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// Offset of the end, once it is known.
    end: Option<u64>,
    buffered: usize,
}

impl Reassembly {
    /// Adds a piece. Bytes that are repeated are ignored. Returns the number of new
    /// bytes, or `None` if the piece cannot belong to the stream.
    pub(in crate::proto) fn insert(&mut self, offset: u64, piece: &[u8]) -> Option<usize> {
        let end = offset.checked_add(piece.len() as u64)?;
        if offset > self.next.saturating_add(MAX_AHEAD) || self.end.is_some_and(|last| end > last) {
            return None;
        }
        let mut new = 0;
        let mut at = offset.max(self.next);
        while at < end {
            let before = self.pieces.range(..=at).next_back();
            let covered = before.map_or(0, |(start, bytes)| start + bytes.len() as u64);
            if covered > at {
                at = covered;
                continue;
            }
            let following = self.pieces.range(at..).next().map_or(end, |(&start, _)| start);
            let until = following.min(end);
            let range = usize::try_from(at - offset).ok()?..usize::try_from(until - offset).ok()?;
            let bytes = piece.get(range).unwrap_or_default();
            new += bytes.len();
            self.add(at, covered, bytes);
            at = until;
        }
        self.buffered += new;
        Some(new)
    }

    /// Adds bytes that are not known yet. They extend the piece that ends at
    /// `covered` if it is adjacent.
    fn add(&mut self, at: u64, covered: u64, bytes: &[u8]) {
        if covered == at
            && let Some((_, last)) = self.pieces.range_mut(..at).next_back()
        {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.insert(at, bytes.to_vec());
        }
    }

    /// Sets the end of the stream, which cannot change.
    pub(in crate::proto) fn set_end(&mut self, end: u64) {
        let known = self.pieces.last_key_value().map_or(self.next, |(at, b)| at + b.len() as u64);
        if self.end.is_none() && end >= known && end <= self.next.saturating_add(MAX_AHEAD) {
            self.end = Some(end);
        }
    }

    /// Takes the next bytes, if they are known.
    pub(in crate::proto) fn take(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.first_entry().filter(|piece| *piece.key() == self.next)?.remove();
        self.next += piece.len() as u64;
        self.buffered -= piece.len();
        Some(piece)
    }

    /// Skips to the next known byte, or to the end. Returns the number of missing
    /// bytes, or `None` if nothing is known to follow.
    pub(in crate::proto) fn skip(&mut self) -> Option<u64> {
        let to = self.pieces.first_key_value().map(|(&at, _)| at).or(self.end)?;
        let missing = to.checked_sub(self.next).filter(|&missing| missing > 0)?;
        self.next = to;
        Some(missing)
    }

    /// Reports whether bytes are missing before some that are known, or before the
    /// end.
    pub(in crate::proto) fn is_waiting(&self) -> bool {
        match self.pieces.first_key_value() {
            Some((&at, _)) => at > self.next,
            None => self.end.is_some_and(|end| end > self.next),
        }
    }

    /// Reports whether everything up to the end was taken.
    pub(in crate::proto) fn is_finished(&self) -> bool {
        self.end == Some(self.next)
    }

    /// Reports whether nothing was taken yet.
    pub(in crate::proto) fn is_at_start(&self) -> bool {
        self.next == 0
    }

    /// Returns the number of bytes that were not taken.
    pub(in crate::proto) fn unread(&self) -> usize {
        self.buffered
    }

    /// Estimates the memory of the pieces.
    pub(in crate::proto) fn buffered(&self) -> usize {
        self.buffered + self.pieces.len() * PIECE_COST
    }
}

/// Estimated memory of a piece beside its bytes.
const PIECE_COST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_are_taken_in_order() {
        let mut stream = Reassembly::default();
        assert_eq!(stream.insert(3, b"def"), Some(3));
        assert!(stream.is_waiting() && stream.take().is_none());
        // Overlaps with the piece before and behind.
        assert_eq!(stream.insert(1, b"bcde"), Some(2));
        assert_eq!(stream.insert(0, b"a"), Some(1));
        assert_eq!(stream.insert(0, b"abcdef"), Some(0));
        let mut taken = Vec::new();
        while let Some(piece) = stream.take() {
            taken.extend(piece);
        }
        assert_eq!(taken, b"abcdef");
        assert_eq!((stream.insert(2, b"cd"), stream.buffered()), (Some(0), 0));
        stream.set_end(8);
        assert!(stream.is_waiting() && !stream.is_finished());
        assert_eq!(stream.insert(6, b"ghi"), None);
        assert_eq!(stream.skip(), Some(2));
        assert!(stream.is_finished() && !stream.is_waiting());
    }

    #[test]
    fn a_gap_is_skipped_once() {
        let mut stream = Reassembly::default();
        stream.insert(4, b"x");
        assert_eq!((stream.skip(), stream.skip()), (Some(4), None));
        assert_eq!(stream.take().as_deref(), Some(&b"x"[..]));
        // Too late.
        assert_eq!(stream.insert(0, b"abcd"), Some(0));
        assert_eq!((stream.skip(), stream.take()), (None, None));
    }

    #[test]
    fn distant_pieces_are_rejected() {
        let mut stream = Reassembly::default();
        assert_eq!(stream.insert(u64::MAX, b"xx"), None);
        assert_eq!(stream.insert(1 << 40, b"x"), None);
        stream.set_end(1 << 60);
        assert_eq!(stream.skip(), None);
        assert_eq!(stream.buffered(), 0);
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_are_joined(
            bytes: [u8; 64],
            cuts in proptest::collection::vec((0usize..64, 1usize..20), 0..12),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let mut pieces: Vec<(usize, usize)> = cuts;
            pieces.extend((0..8).map(|i| (8 * i, 8)));
            let mut stream = Reassembly::default();
            let (mut taken, mut new) = (Vec::new(), 0);
            for pick in order {
                if !pieces.is_empty() {
                    let (at, len) = pieces.swap_remove(pick.index(pieces.len()));
                    new += stream.insert(at as u64, &bytes[at..(at + len).min(64)]).unwrap();
                    while let Some(piece) = stream.take() {
                        taken.extend(piece);
                    }
                    prop_assert!(bytes.starts_with(&taken));
                }
            }
            prop_assert_eq!((&taken[..], new), (&bytes[..], 64));
            prop_assert_eq!(stream.buffered(), 0);
        }
    }
}
