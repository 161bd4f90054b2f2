//! Text whose bytes were all changed in the same way: a number added to each, or its bits rotated
//! or reversed.
//!
//! As for [masks](super::xor), the scheme of a URL reveals how.

use std::fmt;

use memchr::memmem;

use super::text;

/// A change of each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteMap {
    /// This number was added.
    Added(u8),
    /// The bits were rotated to the left by this number of places.
    Rotated(u8),
    /// The bits are in the reverse order.
    BitsReversed,
}

impl fmt::Display for ByteMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(number) => write!(f, "bytes+{number}"),
            Self::Rotated(places) => write!(f, "bits<<{places}"),
            Self::BitsReversed => f.write_str("bits-reversed"),
        }
    }
}

/// The start of an address.
const SCHEME: &[u8; 4] = b"http";

/// Number of bytes searched for the first address.
const WINDOW: usize = 2048;

/// Minimum input length.
const MIN: usize = 20;

impl ByteMap {
    /// Returns the change after which bytes hold text with a URL.
    pub(super) fn find(bytes: &[u8], truncated: bool) -> Option<Self> {
        let window = bytes.get(..bytes.len().min(WINDOW)).filter(|bytes| bytes.len() >= MIN)?;
        let fits = |map: &Self| {
            let plain = map.undo(bytes);
            text::holds_address(&plain) && text::as_text(&plain, truncated).is_some()
        };
        let rotated = (1..8).map(Self::Rotated).chain([Self::BitsReversed]);
        let mut fixed = rotated.filter(|map| {
            let scheme = SCHEME.map(|byte| map.apply(byte));
            memmem::find(window, &scheme).is_some()
        });
        // The distances between characters stay the same.
        let added = || {
            let start = window.array_windows().find(|[h, t, u, p]| {
                t.wrapping_sub(*h) == b't' - b'h' && t == u && t.wrapping_sub(*p) == b't' - b'p'
            })?;
            Some(Self::Added(start[0].wrapping_sub(b'h'))).filter(|map| *map != Self::Added(0))
        };
        added().filter(fits).or_else(|| fixed.find(fits))
    }

    fn apply(self, byte: u8) -> u8 {
        match self {
            Self::Added(number) => byte.wrapping_add(number),
            Self::Rotated(places) => byte.rotate_left(places.into()),
            Self::BitsReversed => byte.reverse_bits(),
        }
    }

    /// Returns the original bytes.
    pub(super) fn undo(self, bytes: &[u8]) -> Vec<u8> {
        let undone = |byte: &u8| match self {
            Self::Added(number) => byte.wrapping_sub(number),
            Self::Rotated(places) => byte.rotate_right(places.into()),
            Self::BitsReversed => byte.reverse_bits(),
        };
        bytes.iter().map(undone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::Noise;

    const TEXT: &[u8] = b"{\"t\":\"Gr\xc3\xbc\xc3\x9fe\",\"u\":\"https://news.example.org/a?b=c\"}";

    #[test]
    fn the_scheme_reveals_every_map() {
        let added = (1..=255).map(ByteMap::Added);
        for map in added.chain((1..8).map(ByteMap::Rotated)).chain([ByteMap::BitsReversed]) {
            let bytes: Vec<u8> = TEXT.iter().map(|byte| map.apply(*byte)).collect();
            let found = ByteMap::find(&bytes, false).unwrap();
            assert_eq!(found.undo(&bytes), TEXT, "{map}");
            assert_eq!(ByteMap::find(&bytes[..20], true), None, "{map}");
        }
        assert_eq!(ByteMap::find(TEXT, false), None);
        let mut noise = Noise::new(7);
        for len in (20..2000).step_by(7) {
            let random = noise.bytes(len);
            assert_eq!(ByteMap::find(&random, len % 2 == 0), None, "{len}");
        }
    }
}
