//! Bytes that were combined with a short key by exclusive or, the key repeated
//! as often as it takes.
//!
//! ```text
//! plain    { " u r l " : " h t t p s : / / …
//! key      k0k1k2k3k0k1k2k3k0k1k2k3k0k1k2k3…
//! ```
//!
//! Whoever does this hides nothing from a reader who knows eight bytes of the
//! plaintext in a row, as long as the key is no longer than that: a URL's
//! scheme, wherever it stands, or a gzip header. Each place and each length give
//! one key; what it makes of all the rest shows whether it is the one.

use std::fmt;

use super::{form, json, text};

/// How a URL begins, in nearly all that is reported.
const SCHEME: &[u8; 8] = b"https://";

/// How gzip begins where no time and no name were given (RFC 1952): its magic
/// number, deflate, no flags, no time.
const GZIP: &[u8; 8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0];

/// How much of that is always so.
const GZIP_MAGIC: usize = 3;

/// How zlib begins (RFC 1950): a window of 32 KiB, and one of four levels.
const ZLIB: u8 = 0x78;

/// The longest key that eight bytes tell. A shorter one is tried first: twice
/// the same is no other key.
const MAX_LEN: u8 = 8;

/// Where the first URL is looked for.
const WINDOW: usize = 2048;

/// The longest key that the scheme confirms by itself: with five bytes.
const MAX_LEN_CONFIRMED: u8 = 3;

/// The longest name of a host (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Keys that give a host and are tried on everything.
const MAX_TRIES: usize = 16;

/// Longer keys need more to be confirmed by.
const MIN_LEN: usize = 40;

/// No URL of a page is much shorter.
const MIN_TEXT: usize = 20;

/// What a search in so many bytes costs, in bytes looked at: each place is tried
/// with each length, and most keys fail at once.
pub(super) fn cost(len: usize) -> usize {
    len.min(WINDOW) * usize::from(MAX_LEN)
}

/// A key that is repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 8],
    len: u8,
}

impl Key {
    /// The key of this length that made `masked` of `plain`, which stands at
    /// `at`.
    fn of(plain: &[u8; 8], masked: &[u8; 8], at: usize, len: u8) -> Option<Self> {
        let known = repeated(plain, masked, len)?;
        let mut key = Self { bytes: [0; 8], len };
        for (i, byte) in known.into_iter().enumerate().take(len.into()) {
            key.bytes[key.index(at + i)] = byte;
        }
        // A key of zeros is none.
        key.bytes().iter().any(|&byte| byte != 0).then_some(key)
    }

    /// Reads what its `Display` writes.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        let all = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
        let mut bytes = [0; 8];
        bytes.get_mut(..all.len())?.copy_from_slice(&all);
        Some(Self { bytes, len: u8::try_from(all.len()).ok()? })
    }

    fn index(&self, at: usize) -> usize {
        at % usize::from(self.len.max(1))
    }

    fn at(&self, at: usize) -> u8 {
        self.bytes.get(self.index(at)).copied().unwrap_or_default()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    /// Combines bytes with it.
    pub(super) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().zip(self.bytes().iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }
}

/// Its bytes in hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes with which eight known ones were combined, if they come again after
/// this length.
fn repeated(plain: &[u8; 8], masked: &[u8; 8], len: u8) -> Option<[u8; 8]> {
    // The first is the lowest.
    let known = u64::from_le_bytes(*plain) ^ u64::from_le_bytes(*masked);
    let bits = 8 * u32::from(len);
    let again = known.checked_shr(bits).unwrap_or(0);
    let first = known & u64::MAX.checked_shr(bits).unwrap_or(0);
    (again == first).then(|| known.to_le_bytes())
}

/// The key of this length that makes the scheme of what stands at `at`, and a
/// host of what follows: a name with a dot, and what can stand behind one.
fn address_key(bytes: &[u8], at: usize, len: u8) -> Option<Key> {
    let (masked, rest) = bytes.get(at..)?.split_first_chunk()?;
    let known = repeated(SCHEME, masked, len)?;
    let key = known.get(..len.into())?.iter().cycle().skip(SCHEME.len() % usize::from(len.max(1)));
    let (mut count, mut dots, mut end) = (0, 0, None);
    for byte in rest.iter().take(MAX_HOST).zip(key).map(|(byte, key)| byte ^ key) {
        match byte {
            b'.' => dots += 1,
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {}
            other => {
                end = Some(other);
                break;
            }
        }
        count += 1;
    }
    let ends = end.is_none_or(|byte| b"/:?#\"'\\& ,;|<>\t\r\n".contains(&byte));
    (dots > 0 && count > 3 && ends).then(|| Key::of(SCHEME, masked, at, len)).flatten()
}

/// The key that makes text with a URL of these bytes, the shortest there is.
pub(super) fn text_key(bytes: &[u8], truncated: bool) -> Option<Key> {
    let window = bytes.get(..bytes.len().min(WINDOW)).filter(|bytes| bytes.len() >= MIN_TEXT)?;
    let max_len = if bytes.len() < MIN_LEN { MAX_LEN_CONFIRMED } else { MAX_LEN };
    let keys = (1..=max_len).flat_map(|len| {
        (0..window.len()).filter_map(move |at| Some((address_key(window, at, len)?, at)))
    });
    let is_meant = |(key, at): &(Key, usize)| {
        let plain = key.apply(bytes);
        // The longer a key is, the less of the scheme is left to confirm it.
        let is_known = key.len <= MAX_LEN_CONFIRMED
            || *at == 0
            || json::start(&plain).is_some()
            || form::is_document(&plain);
        is_known && text::printable(&plain, truncated).is_some()
    };
    keys.take(MAX_TRIES).find(is_meant).map(|(key, _)| key)
}

/// The key of one byte that makes text with a URL of what is text as well: a
/// longer key leaves no text.
pub(super) fn text_key_of_text(masked: &str) -> Option<Key> {
    let bytes = masked.as_bytes();
    if bytes.len() < MIN_TEXT || !may_have_scheme(bytes) {
        return None;
    }
    let keys = bytes.windows(SCHEME.len()).enumerate().filter_map(|(at, masked)| {
        may_have_scheme(masked.get(..3)?).then_some(())?;
        address_key(bytes, at, 1)
    });
    let is_text = |key: &Key| text::printable(&key.apply(bytes), false).is_some();
    keys.take(MAX_TRIES).find(is_text)
}

/// Whether somewhere there are three bytes that differ as those of `htt` do,
/// which a key of one byte leaves so. It is asked of every text.
fn may_have_scheme(bytes: &[u8]) -> bool {
    let (Some(second), Some(third)) = (bytes.get(1..), bytes.get(2..)) else {
        return false;
    };
    let threes = bytes.iter().zip(second).zip(third);
    // No early exit: the compiler makes this a loop over vectors.
    threes.fold(false, |seen, ((h, t), u)| seen | ((h ^ t == b'h' ^ b't') & (t == u)))
}

/// The keys with which these bytes may be compressed ones. What they decompress
/// to shows whether they are.
pub(super) fn compressed_keys(bytes: &[u8]) -> impl Iterator<Item = Key> {
    let masked = bytes.first_chunk::<8>();
    let gzip = (1..=MAX_LEN).filter_map(move |len| {
        // A key of one byte shows in the magic number alone.
        let mut header = *masked?;
        if len == 1 {
            let rest = header.iter_mut().zip(GZIP).skip(GZIP_MAGIC);
            let key = masked?[0] ^ GZIP[0];
            rest.for_each(|(byte, plain)| *byte = plain ^ key);
        }
        let key = Key::of(GZIP, &header, 0, len)?;
        // Compression level and operating system.
        let behind = [8, 9].map(|at| bytes.get(at).map(|byte| byte ^ key.at(at)));
        matches!(behind, [Some(0 | 2 | 4), Some(0..=13 | 0xff)]).then_some(key)
    });
    let zlib = masked.and_then(|masked| {
        let byte = masked[0] ^ ZLIB;
        let key = Key { bytes: [byte; 8], len: 1 };
        (byte != 0 && matches!(masked[1] ^ byte, 0x01 | 0x5e | 0x9c | 0xda)).then_some(key)
    });
    gzip.chain(zlib)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"{\"t\":\"Nachrichten \xc3\xbcber\",\"u\":\"https://news.example.org/a?b=c\",\"n\":[1,2]}";

    fn key(bytes: &[u8]) -> Key {
        Key::parse(&data_encoding::HEXLOWER.encode(bytes)).unwrap()
    }

    #[test]
    fn keys_of_every_length_are_found() {
        for len in 1..=8 {
            let key = key(&b"\x9dK\xe3\x07z\x1fq\xc2"[..len]);
            let masked = key.apply(PLAIN);
            assert_eq!(text_key(&masked, false), Some(key), "{len}");
            assert_eq!(key.apply(&masked), PLAIN);
            assert_eq!(Key::parse(&key.to_string()), Some(key));
            // A cut one as well, as long as the URL's host is there.
            assert_eq!(text_key(&masked[..56], true), Some(key), "{len}");
        }
    }

    #[test]
    fn what_is_none_has_none() {
        assert_eq!(Key::parse("001122334455667788"), None);
        assert_eq!(text_key(PLAIN, false), None);
        let mut state = 7u64;
        for len in (40..2000).step_by(7) {
            let random: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            assert_eq!(text_key(&random, len % 2 == 0), None, "{len}");
            let repeated = random[..5].repeat(len / 5);
            assert_eq!(text_key(&repeated, false), None, "{len}");
            assert_eq!(text_key(&vec![random[0]; len], false), None, "{len}");
        }
    }
}
