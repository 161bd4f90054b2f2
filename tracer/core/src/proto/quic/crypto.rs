//! Reassembles the stream of CRYPTO frames. Browsers split the ClientHello and
//! send the pieces in any order, to keep middleboxes from relying on one.

use std::ops::Range;

use super::frame::{Frame, Frames};

/// Maximum number of bytes kept of a handshake. A ClientHello has about 2 KiB.
pub(super) const MAX_CRYPTO: usize = 64 << 10;

/// Maximum number of separate pieces. Chrome sends about ten.
pub(super) const MAX_PIECES: usize = 256;

/// The known part of the stream.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    bytes: Vec<u8>,
    /// The known ranges, in order and not adjacent.
    known: Vec<Range<usize>>,
}

impl Crypto {
    /// Reads the frames in the payload of an Initial packet.
    pub(super) fn frames(&mut self, payload: &[u8]) {
        let mut frames = Frames::new(payload, payload.len());
        // A malformed frame, or one that is not allowed in Initial packets (RFC 9000
        // section 12.4), ends the packet, since nothing can be trusted after it.
        while let Some(Ok(frame)) = frames.next() {
            match frame {
                Frame::Common => {}
                Frame::Crypto(piece) => self.insert(piece.offset, piece.known),
                _ => return,
            }
        }
    }

    /// Returns the known bytes at the start of the stream.
    pub(super) fn prefix(&self) -> &[u8] {
        let end = self.known.first().filter(|piece| piece.start == 0).map_or(0, |piece| piece.end);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        self.bytes.len() + self.known.len() * size_of::<Range<usize>>()
    }

    /// Inserts a piece. If bytes are repeated, the first copy is kept.
    fn insert(&mut self, offset: u64, piece: &[u8]) {
        let Ok(start) = usize::try_from(offset) else {
            return;
        };
        let end = start.saturating_add(piece.len());
        if piece.is_empty() || end > MAX_CRYPTO {
            return;
        }
        // All known ranges that the piece touches are merged with it.
        let first = self.known.partition_point(|known| known.end < start);
        let touched = self.known.partition_point(|known| known.start <= end);
        let joins = self.known.get(first..touched).unwrap_or_default();
        if joins.is_empty() && self.known.len() >= MAX_PIECES {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // Copies only new bytes: those before each known range, and after the
        // last.
        let mut at = start;
        for (known, next) in joins.iter().map(|known| (known.start, known.end)).chain([(end, end)])
        {
            if at < known
                && let Some(to) = self.bytes.get_mut(at..known)
                && let Some(from) = piece.get(at - start..known - start)
            {
                to.copy_from_slice(from);
            }
            at = at.max(next);
        }
        let whole = joins.first().map_or(start, |known| known.start.min(start))
            ..joins.last().map_or(end, |known| known.end.max(end));
        self.known.splice(first..touched, [whole]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distant_pieces_allocate_nothing() {
        let mut crypto = Crypto::default();
        crypto.insert(u64::MAX, b"x");
        crypto.insert(MAX_CRYPTO as u64, b"x");
        assert_eq!(crypto.buffered(), 0);
        for at in 0..10_000 {
            crypto.insert(2 * at, b"x");
        }
        assert_eq!(crypto.known.len(), MAX_PIECES);
        assert!(crypto.buffered() <= MAX_CRYPTO + MAX_PIECES * 16);
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_are_joined(
            bytes: [u8; 64],
            cuts in proptest::collection::vec((0usize..64, 1usize..20), 0..12),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 20),
        ) {
            let mut pieces: Vec<(usize, usize)> = cuts;
            pieces.extend((0..8).map(|i| (8 * i, 8)));
            let mut crypto = Crypto::default();
            for pick in order {
                if !pieces.is_empty() {
                    let (at, len) = pieces.swap_remove(pick.index(pieces.len()));
                    crypto.insert(at as u64, &bytes[at..(at + len).min(64)]);
                    prop_assert!(bytes.starts_with(crypto.prefix()));
                }
            }
            prop_assert_eq!(crypto.prefix(), &bytes[..]);
            prop_assert_eq!(crypto.known.len(), 1);
        }
    }
}
