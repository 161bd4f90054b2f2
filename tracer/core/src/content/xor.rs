//! Recovers data that was masked with a short repeating key by exclusive or.
//!
//! ```text
//! plain    { " u r l " : " h t t p s : / / …
//! key      k0k1k2k3k0k1k2k3k0k1k2k3k0k1k2k3…
//! ```
//!
//! Such a mask does not protect data of which eight consecutive bytes are
//! known, as long as the key is not longer than that. The known bytes are the
//! scheme of a URL, at any position, or a gzip header. Each position and each
//! key length yields one candidate, and decoding the rest with it shows whether
//! it is right.

use memchr::memmem;

use super::{
    form, json, text,
    xor_key::{MAX_KNOWN_LEN, MAX_LEN, XorKey, repeating_mask},
};

/// The start of nearly every reported URL.
const SCHEME: &[u8; 8] = b"https://";

/// The start of gzip data without time and name (RFC 1952): magic number,
/// deflate, no flags, no time.
const GZIP: &[u8; 8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0];

/// Number of leading bytes of [`GZIP`] that are the same in every stream.
const GZIP_MAGIC: usize = 3;

/// The start of zlib data (RFC 1950) with a window of 32 KiB. One of four
/// levels follows.
const ZLIB: u8 = 0x78;

/// Number of bytes searched for the first URL.
const WINDOW: usize = 2048;

/// Maximum key length that the scheme confirms by itself, with its remaining
/// five bytes.
const MAX_LEN_CONFIRMED: u8 = 3;

/// Maximum length of a host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Maximum number of keys that yield a host and are then tried on all bytes.
const MAX_TRIES: usize = 16;

/// Minimum input length for longer keys, which need more confirmation.
const MIN_LEN: usize = 40;

/// Minimum input length. No URL of a page is much shorter.
const MIN_TEXT: usize = 20;

/// Returns the cost of a search in `len` bytes, in bytes inspected. Every
/// position is tried with every key length; most candidates fail at once.
pub(super) fn cost(len: usize) -> usize {
    len.min(WINDOW) * usize::from(MAX_LEN)
}

/// Returns the key of length `len` that yields the scheme at `at` and a host
/// after it: a name with a dot, followed by a character that can end it.
fn address_key(bytes: &[u8], at: usize, len: u8) -> Option<XorKey> {
    let (masked, rest) = bytes.get(at..)?.split_first_chunk()?;
    let known = repeating_mask(SCHEME, masked, len)?;
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
    (dots > 0 && count > 3 && ends).then(|| XorKey::from_known(SCHEME, masked, at, len)).flatten()
}

/// Returns the shortest key that yields text with a URL.
pub(super) fn text_key(bytes: &[u8], truncated: bool) -> Option<XorKey> {
    let window = bytes.get(..bytes.len().min(WINDOW)).filter(|bytes| bytes.len() >= MIN_TEXT)?;
    let max_len = if bytes.len() < MIN_LEN { MAX_LEN_CONFIRMED } else { MAX_LEN };
    let keys = (1..=max_len).flat_map(|len| {
        (0..window.len()).filter_map(move |at| Some((address_key(window, at, len)?, at)))
    });
    let is_plausible = |(key, at): &(XorKey, usize)| {
        let plain = key.apply(bytes);
        // The longer the key, the less of the scheme is left to confirm it.
        let is_known = key.bytes().len() <= usize::from(MAX_LEN_CONFIRMED)
            || *at == 0
            || json::start(&plain).is_some()
            || plain.iter().all(u8::is_ascii_graphic) && form::is_document(&plain);
        is_known && text::as_text(&plain, truncated).is_some()
    };
    keys.take(MAX_TRIES).find(is_plausible).map(|(key, _)| key)
}

/// Number of bytes of known URLs that confirm a key, besides those that yield it.
const CONFIRMED: usize = 8;

/// Returns the cost of [`known_key`], in bytes inspected.
pub(super) fn known_cost(len: usize, urls: usize) -> usize {
    len.min(WINDOW) * urls * MAX_KNOWN_LEN / 4
}

/// Returns the key under which a known URL, or its host alone, is part of the bytes. Text that is
/// longer than the key confirms it by repeating it.
///
/// Two masked bytes at the distance of the key differ as the plain ones do, so the differences are
/// searched for those of the URL.
pub(super) fn known_key(bytes: &[u8], urls: &[&str]) -> Option<XorKey> {
    let window = bytes.get(..bytes.len().min(WINDOW))?;
    let hosts = urls.iter().map(|url| url.split('/').next().unwrap_or(url));
    let mut texts: Vec<&[u8]> = Vec::with_capacity(2 * urls.len());
    for text in urls.iter().copied().chain(hosts).map(str::as_bytes) {
        // Pages share their hosts.
        if text.len() <= window.len() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    let longest = texts.iter().map(|text| text.len()).max()?.saturating_sub(CONFIRMED);
    let differences = |text: &[u8], len: usize, out: &mut Vec<u8>| {
        out.clear();
        let after = text.get(len..).unwrap_or_default();
        out.extend(text.iter().zip(after).map(|(one, other)| one ^ other));
    };
    let (mut masked, mut plain) = (Vec::new(), Vec::new());
    (1..=longest.min(MAX_KNOWN_LEN)).find_map(|len| {
        differences(window, len, &mut masked);
        texts.iter().filter(|text| text.len() >= len + CONFIRMED).find_map(|text| {
            differences(text, len, &mut plain);
            let at = memmem::find(&masked, &plain)?;
            let mask =
                window.get(at..)?.iter().zip(*text).take(len).map(|(one, other)| one ^ other);
            XorKey::from_mask(&mask.collect::<Vec<u8>>(), at)
        })
    })
}

/// Returns the one-byte key that yields text with a URL from bytes that are
/// text as well. Longer keys do not yield text from text.
pub(super) fn text_key_of_text(masked: &str) -> Option<XorKey> {
    let bytes = masked.as_bytes();
    if bytes.len() < MIN_TEXT || !may_have_scheme(bytes) {
        return None;
    }
    let keys = bytes.windows(SCHEME.len()).enumerate().filter_map(|(at, masked)| {
        may_have_scheme(masked.get(..3)?).then_some(())?;
        address_key(bytes, at, 1)
    });
    let is_text = |key: &XorKey| text::as_text(&key.apply(bytes), false).is_some();
    keys.take(MAX_TRIES).find(is_text)
}

/// Reports whether any three bytes differ from each other as those of `htt` do,
/// which a one-byte key preserves. This is a fast filter, run on every text.
fn may_have_scheme(bytes: &[u8]) -> bool {
    let (Some(second), Some(third)) = (bytes.get(1..), bytes.get(2..)) else {
        return false;
    };
    let threes = bytes.iter().zip(second).zip(third);
    // Without an early exit, so that the compiler vectorises the loop.
    threes.fold(false, |seen, ((h, t), u)| seen | ((h ^ t == b'h' ^ b't') & (t == u)))
}

/// Returns candidate keys for masked compressed data. Decompression shows
/// whether one is right.
pub(super) fn compressed_keys(bytes: &[u8]) -> impl Iterator<Item = XorKey> {
    let masked = bytes.first_chunk::<8>();
    let gzip = (1..=MAX_LEN).filter_map(move |len| {
        // A one-byte key shows in the magic number alone.
        let mut header = *masked?;
        if len == 1 {
            let rest = header.iter_mut().zip(GZIP).skip(GZIP_MAGIC);
            let key = masked?[0] ^ GZIP[0];
            rest.for_each(|(byte, plain)| *byte = plain ^ key);
        }
        let key = XorKey::from_known(GZIP, &header, 0, len)?;
        // Compression level and operating system.
        let after = [8, 9].map(|at| bytes.get(at).map(|byte| byte ^ key.byte_at(at)));
        matches!(after, [Some(0 | 2 | 4), Some(0..=13 | 0xff)]).then_some(key)
    });
    let zlib = masked.and_then(|masked| {
        let byte = masked[0] ^ ZLIB;
        let key = XorKey::from_byte(byte)?;
        matches!(masked[1] ^ byte, 0x01 | 0x5e | 0x9c | 0xda).then_some(key)
    });
    gzip.chain(zlib)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::Noise;

    const PLAIN: &[u8] =
        b"{\"t\":\"Nachrichten \xc3\xbcber\",\"u\":\"https://news.example.org/a?b=c\",\"n\":[1,2]}";

    fn key(bytes: &[u8]) -> XorKey {
        XorKey::parse(&data_encoding::HEXLOWER.encode(bytes)).unwrap()
    }

    #[test]
    fn keys_of_every_length_are_recovered() {
        for len in 1..=8 {
            let key = key(&b"\x9dK\xe3\x07z\x1fq\xc2"[..len]);
            let masked = key.apply(PLAIN);
            assert_eq!(text_key(&masked, false), Some(key), "{len}");
            assert_eq!(key.apply(&masked), PLAIN);
            assert_eq!(XorKey::parse(&key.to_string()), Some(key));
            // A truncated input works too, as long as it contains the host of
            // the URL.
            assert_eq!(text_key(&masked[..56], true), Some(key), "{len}");
        }
    }

    #[test]
    fn a_known_url_yields_long_keys() {
        let url = "https://news.example.org/politics/story-42?q=private";
        let plain = format!("some words, {url}, and others");
        let others = ["https://other.example/politics/story-42?q=private", url];
        for len in 1..=32 {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 37 + 91) as u8 | 1).collect();
            let key = key(&bytes);
            let masked = key.apply(plain.as_bytes());
            let found = known_key(&masked, &others).unwrap();
            assert_eq!(found.apply(&masked), plain.as_bytes(), "{len}");
            assert_eq!(known_key(&masked, &others[..1]), None, "{len}");
        }
        let host = key(b"k3").apply(b"news.example.org");
        assert_eq!(known_key(&host, &["news.example.org/a"]), Some(key(b"k3")));
        assert_eq!(known_key(plain.as_bytes(), &others), None);
        assert_eq!(known_key(b"short", &others), None);
    }

    #[test]
    fn random_and_plain_bytes_have_no_key() {
        assert_eq!(XorKey::parse(&"01".repeat(33)), None);
        assert_eq!(text_key(PLAIN, false), None);
        let mut noise = Noise::new(7);
        for len in (40..2000).step_by(7) {
            let random = noise.bytes(len);
            assert_eq!(text_key(&random, len % 2 == 0), None, "{len}");
            let repeated = random[..5].repeat(len / 5);
            assert_eq!(text_key(&repeated, false), None, "{len}");
            assert_eq!(text_key(&vec![random[0]; len], false), None, "{len}");
        }
    }
}
