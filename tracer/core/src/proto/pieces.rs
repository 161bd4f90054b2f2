//! Collects data that arrives in pieces, with gaps between them.

use bytes::Bytes;

use super::{Body, Gap};

/// Maximum number of separate gaps. Each costs memory, and data with more gaps
/// is unreadable anyway: the rest becomes one gap.
const MAX_GAPS: usize = 256;

/// A growing, bounded sequence of bytes with gaps.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    data: Vec<u8>,
    gaps: Vec<Gap>,
    /// Number of bytes counted in gaps, including those next to a gap of
    /// unknown length.
    unread: u64,
}

impl Pieces {
    /// Appends `bytes`, up to a total of `limit`. Bytes beyond the limit become
    /// a gap, as does everything after them.
    pub(super) fn push(&mut self, bytes: &[u8], limit: usize) {
        let room = if self.full(limit) { 0 } else { limit - self.data.len() };
        let (kept, over) = bytes.split_at(bytes.len().min(room));
        self.data.extend_from_slice(kept);
        if !over.is_empty() {
            self.skip(Some(over.len() as u64));
        }
    }

    /// Appends a gap of `len` bytes; `None` if the length is unknown.
    pub(super) fn skip(&mut self, len: Option<u64>) {
        if len == Some(0) {
            return;
        }
        self.unread = self.unread.saturating_add(len.unwrap_or(0));
        let at = self.data.len();
        match self.gaps.last_mut() {
            Some(last) if last.at == at => {
                last.len = last.len.zip(len).map(|(a, b)| a.saturating_add(b));
            }
            _ => self.gaps.push(Gap { at, len }),
        }
    }

    /// Reports whether no further byte can be kept, because the limit is
    /// reached or because there are too many gaps to add another one.
    fn full(&self, limit: usize) -> bool {
        self.data.len() >= limit || self.gaps.len() >= MAX_GAPS
    }

    /// Returns the known bytes, concatenated.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the gaps.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Returns the number of missing bytes, as far as they can be counted.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// Converts the collected data to a message body.
    pub(super) fn into_body(self) -> Body {
        Body { data: Bytes::from(self.data), gaps: self.gaps, ..Body::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_gaps_are_joined() {
        let mut pieces = Pieces::default();
        pieces.push(b"ab", 10);
        pieces.skip(Some(3));
        pieces.skip(Some(4));
        pieces.push(b"c", 10);
        pieces.skip(None);
        pieces.skip(Some(9));
        assert_eq!(pieces.unread(), 16);
        let body = pieces.into_body();
        assert_eq!(&body.data[..], b"abc");
        assert_eq!(body.gaps, [Gap { at: 2, len: Some(7) }, Gap { at: 3, len: None }]);
    }

    #[test]
    fn nothing_is_kept_beyond_the_limit() {
        let mut pieces = Pieces::default();
        pieces.push(b"abcd", 3);
        pieces.push(b"e", 3);
        assert_eq!(pieces.data(), b"abc");
        assert_eq!(pieces.gaps(), [Gap { at: 3, len: Some(2) }]);
    }

    #[test]
    fn the_number_of_gaps_is_bounded() {
        let mut pieces = Pieces::default();
        for _ in 0..10_000 {
            pieces.push(b"x", usize::MAX);
            pieces.skip(Some(1));
        }
        assert_eq!(pieces.gaps().len(), MAX_GAPS);
        assert_eq!(pieces.data().len() as u64 + pieces.unread(), 20_000);
    }
}
