//! Bytes collected with their gaps: what is known of a thing sent in pieces.

use bytes::Bytes;

use super::{Body, Gap};

/// How many gaps one collection tells apart. Each costs a small record, and a
/// thing with more holes than this is past reading: the rest becomes one gap.
const MAX_GAPS: usize = 256;

/// A growing run of bytes with gaps, bounded.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    data: Vec<u8>,
    gaps: Vec<Gap>,
    /// How many bytes the gaps count, those beside an uncountable one included.
    unread: u64,
}

impl Pieces {
    /// Appends `bytes`, keeping no more than `limit` in all; what does not fit
    /// becomes a gap, and so does everything after it.
    pub(super) fn push(&mut self, bytes: &[u8], limit: usize) {
        let room = if self.full(limit) { 0 } else { limit - self.data.len() };
        let (kept, over) = bytes.split_at(bytes.len().min(room));
        self.data.extend_from_slice(kept);
        if !over.is_empty() {
            self.skip(Some(over.len() as u64));
        }
    }

    /// Appends a gap of `len` bytes, `None` where nobody can tell how many.
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

    /// No further byte is kept: the limit is reached, or there are too many
    /// gaps to put one more between the bytes.
    fn full(&self, limit: usize) -> bool {
        self.data.len() >= limit || self.gaps.len() >= MAX_GAPS
    }

    /// The known bytes, joined.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where bytes are missing.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// How many bytes are missing, as far as they can be counted.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// The collection as a message body.
    pub(super) fn into_body(self) -> Body {
        Body { data: Bytes::from(self.data), gaps: self.gaps, chunked: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_join_and_keep_their_places() {
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
    fn a_sieve_ends_in_one_gap() {
        let mut pieces = Pieces::default();
        for _ in 0..10_000 {
            pieces.push(b"x", usize::MAX);
            pieces.skip(Some(1));
        }
        assert_eq!(pieces.gaps().len(), MAX_GAPS);
        assert_eq!(pieces.data().len() as u64 + pieces.unread(), 20_000);
    }
}
