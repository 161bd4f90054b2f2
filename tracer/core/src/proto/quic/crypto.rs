//! The stream of CRYPTO frames, put together: browsers cut the ClientHello
//! into pieces and send them in any order, so that nobody comes to rely on one.

use std::ops::Range;

use crate::proto::wire::{Reader, Short};

/// The most bytes kept of a handshake. A ClientHello has some 2 KiB.
pub(super) const MAX_CRYPTO: usize = 64 << 10;

/// The most separate pieces of it kept at one time. Chrome sends some ten.
pub(super) const MAX_PIECES: usize = 256;

/// What is known of the stream so far.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    bytes: Vec<u8>,
    /// Which of the bytes are known, in order; no two of them touch.
    known: Vec<Range<usize>>,
}

impl Crypto {
    /// Takes the frames of an Initial packet's payload.
    pub(super) fn frames(&mut self, payload: &[u8]) {
        // What makes no sense ends the packet: nothing more can be found in it.
        let _ = self.read(Reader::whole(payload));
    }

    /// The bytes known from the beginning of the stream on.
    pub(super) fn prefix(&self) -> &[u8] {
        let end = self.known.first().filter(|piece| piece.start == 0).map_or(0, |piece| piece.end);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// How many bytes of memory are held.
    pub(super) fn buffered(&self) -> usize {
        self.bytes.len() + self.known.len() * size_of::<Range<usize>>()
    }

    /// The frames that Initial packets can hold (RFC 9000, section 12.4).
    fn read(&mut self, mut frames: Reader<'_>) -> Result<(), Short> {
        const PADDING: u64 = 0x00;
        const PING: u64 = 0x01;
        const ACK: u64 = 0x02;
        const ACK_ECN: u64 = 0x03;
        const CRYPTO: u64 = 0x06;
        while !frames.is_empty() {
            match frames.varint()? {
                PADDING | PING => {}
                kind @ (ACK | ACK_ECN) => {
                    // Largest, delay, count, first; then a gap and a length each.
                    frames.varint()?;
                    frames.varint()?;
                    let ranges = frames.varint()?;
                    frames.varint()?;
                    for _ in 0..ranges {
                        frames.varint()?;
                        frames.varint()?;
                    }
                    for _ in 0..if kind == ACK_ECN { 3 } else { 0 } {
                        frames.varint()?;
                    }
                }
                CRYPTO => {
                    let offset = frames.varint()?;
                    let bytes = frames.varvector()?.rest()?;
                    self.insert(offset, bytes);
                }
                _ => return Err(Short::Malformed),
            }
        }
        Ok(())
    }

    /// Adds a piece. Of bytes that come twice, the first stand.
    fn insert(&mut self, offset: u64, piece: &[u8]) {
        let Ok(start) = usize::try_from(offset) else {
            return;
        };
        let end = start.saturating_add(piece.len());
        if piece.is_empty() || end > MAX_CRYPTO {
            return;
        }
        // The known pieces that this one touches become one with it.
        let first = self.known.partition_point(|known| known.end < start);
        let touched = self.known.partition_point(|known| known.start <= end);
        let joins = self.known.get(first..touched).unwrap_or_default();
        if joins.is_empty() && self.known.len() >= MAX_PIECES {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // What is new of it: before each known piece, and behind the last.
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
    fn what_is_far_off_costs_nothing() {
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
        fn pieces_in_any_order_are_put_together(
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
