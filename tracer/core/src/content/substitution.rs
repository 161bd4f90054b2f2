//! Text in an alphabet of its own: every character of a URL is always replaced by the same other
//! one, or by the same number or word.
//!
//! ```text
//! plain    n e w s . e x a m p l e . o r g
//! masked   f q ! 7 K q 0 z e & 3 q K 9 c 5      equal where the plain ones are
//! ```
//!
//! A replacement does not change which characters of a text are equal. A visited URL is recognised
//! by that, whatever the alphabet is, also beneath hexadecimal, base32 or base64 in a secret order.

use std::{collections::HashMap, sync::Arc};

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, HEXLOWER};

/// Number of equal characters that prove a URL. Text repeats a character at a given distance in one
/// case of fifteen.
const MIN_REPEATS: usize = 10;

/// The same for encoded text, in which the characters are more even.
const MIN_REPEATS_ENCODED: usize = 14;

/// Number of units that are searched.
const WINDOW: usize = 4096;

/// Number of the last visits whose URLs are looked for beneath an encoding.
const ENCODED_VISITS: usize = 3;

/// A URL as its equal characters show it.
#[derive(Debug)]
struct Pattern {
    /// The address, without its scheme.
    address: Arc<str>,
    /// The text that is looked for, and how much of it has to be there.
    text: Vec<u8>,
    least: usize,
    /// For each character, the position of the one before it that is equal.
    earlier: Vec<Option<usize>>,
}

impl Pattern {
    /// Returns the pattern of a text, of which at least `least` characters have to be there, and as
    /// many more as it takes to prove it.
    fn new(address: &Arc<str>, text: Vec<u8>, least: usize, min_repeats: usize) -> Option<Self> {
        let mut last = [None; 256];
        let earlier: Vec<Option<usize>> =
            (0..).zip(&text).map(|(at, byte)| last[usize::from(*byte)].replace(at)).collect();
        let mut repeats = earlier.iter().enumerate().filter(|(_, earlier)| earlier.is_some());
        let (proof, _) = repeats.nth(min_repeats - 1)?;
        let least = least.max(proof + 1).min(text.len());
        Some(Self { address: address.clone(), text, least, earlier })
    }

    fn of_address(address: &Arc<str>) -> Option<Self> {
        let host = address.find(['/', '?']).unwrap_or(address.len());
        Self::new(address, address.as_bytes().to_vec(), host, MIN_REPEATS)
    }

    /// Returns the patterns of an address in encodings with an alphabet. The text before the
    /// address decides which of its bits are in one digit.
    fn encoded(address: &Arc<str>) -> impl Iterator<Item = Self> {
        let bytes = address.as_bytes();
        let hex = Some(HEXLOWER.encode(bytes));
        let base32 = (0..5).map(move |skip| {
            let rest = bytes.get(skip..)?;
            Some(BASE32_NOPAD.encode(&rest[..rest.len() / 5 * 5]))
        });
        let base64 = (0..3).map(move |skip| {
            let rest = bytes.get(skip..)?;
            Some(BASE64_NOPAD.encode(&rest[..rest.len() / 3 * 3]))
        });
        let texts = std::iter::once(hex).chain(base32).chain(base64).flatten();
        texts.filter_map(move |text| {
            let len = text.len();
            Self::new(address, text.into_bytes(), len, MIN_REPEATS_ENCODED)
        })
    }

    /// Returns the first position from which the units are a replacement of the text, and how many.
    fn find<U: Copy + PartialEq + Into<u32>>(&self, units: &[U]) -> Option<(usize, usize)> {
        /// Positions that are tried at once, without an exit, so that the compiler vectorises the
        /// loop.
        const BLOCK: usize = 128;
        let last = units.len().checked_sub(self.least)?;
        let mut pairs = (0..self.least).filter_map(|at| Some((self.earlier[at]?, at)));
        let (first, second) = (pairs.next()?, pairs.next()?);
        (0..=last).step_by(BLOCK).find_map(|start| {
            let count = BLOCK.min(last + 1 - start);
            let from = |at: usize| &units[start + at..start + at + count];
            let equal = from(first.0).iter().zip(from(first.1));
            let equal = equal.zip(from(second.0).iter().zip(from(second.1)));
            let is_equal = |((a, b), (c, d)): ((&U, &U), (&U, &U))| (a == b) & (c == d);
            if !equal.clone().fold(false, |any, four| any | is_equal(four)) {
                return None;
            }
            let found = equal.enumerate().filter(|(_, four)| is_equal(*four));
            found.map(|(at, _)| start + at).find_map(|at| {
                let len = self.matches(&units[at..]);
                (len >= self.least && self.is_replaced(&units[at..at + len])).then_some((at, len))
            })
        })
    }

    /// Returns the number of units from the first one on that are a replacement of the text.
    fn matches<U: Copy + PartialEq>(&self, units: &[U]) -> usize {
        let mut different: Vec<U> = Vec::new();
        let is_replacement = |(earlier, unit): &(&Option<usize>, &U)| match earlier {
            Some(earlier) => units[*earlier] == **unit,
            None if different.contains(unit) => false,
            None => {
                different.push(**unit);
                true
            }
        };
        self.earlier.iter().zip(units).take_while(is_replacement).count()
    }

    /// Reports whether most letters are other ones than in the text. Of another address on the
    /// same host, few are.
    fn is_replaced<U: Copy + Into<u32>>(&self, units: &[U]) -> bool {
        let pairs = self.text.iter().zip(units).zip(&self.earlier);
        let new =
            pairs.filter(|((byte, _), earlier)| earlier.is_none() && byte.is_ascii_alphabetic());
        let (all, same) = new.fold((0, 0), |(all, same), ((byte, unit), _)| {
            (all + 1, same + usize::from(u32::from(*byte) == (*unit).into()))
        });
        same * 4 <= all
    }
}

/// The URLs that are looked for.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// The addresses, without their scheme, the last visit first.
    known: Vec<Arc<str>>,
    plain: Vec<Pattern>,
    /// Made when they are needed first.
    encoded: Option<Vec<Pattern>>,
}

impl Patterns {
    /// Prepares the search for addresses without their scheme, the last visit first.
    pub(super) fn set(&mut self, known: &[&str]) {
        if self.known.iter().map(|address| &**address).eq(known.iter().copied()) {
            return;
        }
        self.known = known.iter().map(|address| Arc::from(*address)).collect();
        self.plain = self.known.iter().filter_map(Pattern::of_address).collect();
        self.encoded = None;
    }

    /// Returns the cost of a search for URLs as they are, in bytes inspected.
    pub(super) fn cost(&self, len: usize) -> usize {
        len.min(WINDOW) * self.plain.len() / 4
    }

    /// Returns the URL of which units are a replacement.
    pub(super) fn find<U: Copy + PartialEq + Into<u32>>(&self, units: &[U]) -> Option<String> {
        let window = &units[..units.len().min(WINDOW)];
        self.plain.iter().find_map(|pattern| {
            let (at, len) = pattern.find(window)?;
            let address = pattern.address.get(..len)?;
            let with_scheme = ["https://", "http://"].into_iter().find_map(|scheme| {
                let before = at.checked_sub(scheme.len())?;
                let url = format!("{scheme}{address}");
                let whole = Pattern::new(&pattern.address, url.clone().into_bytes(), 0, 1)?;
                (whole.matches(&window[before..at + len]) == url.len()).then_some(url)
            });
            Some(with_scheme.unwrap_or_else(|| address.to_owned()))
        })
    }

    /// Returns the address of which encoded text is a replacement.
    pub(super) fn find_encoded(&mut self, text: &str) -> Option<String> {
        let known = &self.known;
        let patterns = self.encoded.get_or_insert_with(|| {
            known.iter().take(ENCODED_VISITS).flat_map(Pattern::encoded).collect()
        });
        let window = &text.as_bytes()[..text.len().min(WINDOW)];
        let mut found = patterns.iter().filter(|pattern| pattern.find(window).is_some());
        found.next().map(|pattern| pattern.address.to_string())
    }

    /// Returns the cost of a search in encoded text, in bytes inspected.
    pub(super) fn cost_encoded(&self, len: usize) -> usize {
        /// Hexadecimal, and base32 and base64 from every position.
        const ENCODINGS: usize = 9;
        len.min(WINDOW) * self.known.len().min(ENCODED_VISITS) * ENCODINGS / 4
    }
}

/// Returns the words of a list as units, numbered as they occur. `None` if a text is not a list.
pub(super) fn words(text: &str) -> Option<Vec<u32>> {
    /// Number of words of the shortest URL that can be proved.
    const MIN: usize = 20;
    /// Length of the name of a character.
    const MAX_WORD: usize = 12;
    let separator = *b" ,;|\n\t-_/.".iter().find(|separator| {
        memchr::memchr_iter(**separator, text.as_bytes()).nth(MIN - 2).is_some()
    })?;
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let words = text.split(char::from(separator)).map(str::trim).filter(|it| !it.is_empty());
    let units: Option<Vec<u32>> = words
        .take(WINDOW)
        .map(|word| {
            // Other numbers than those of characters, so that none is the same.
            let next = 0x11_0000 + numbers.len() as u32;
            (word.len() <= MAX_WORD).then(|| *numbers.entry(word).or_insert(next))
        })
        .collect();
    units.filter(|units| units.len() >= MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::Noise;

    const KNOWN: [&str; 2] = ["other.example/x", "news.example.org/politics/story-42?q=private"];
    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    fn patterns(known: &[&str]) -> Patterns {
        let mut patterns = Patterns::default();
        patterns.set(known);
        patterns
    }

    fn units(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    /// Replaces every byte by another one.
    fn replaced(text: &str, seed: u64) -> Vec<u32> {
        let mut noise = Noise::new(seed);
        let mut alphabet: Vec<u32> = (0..256).map(|code| code * 7 + 1000).collect();
        for at in (1..alphabet.len()).rev() {
            alphabet.swap(at, usize::from(noise.bytes(1)[0]) % (at + 1));
        }
        text.bytes().map(|byte| alphabet[usize::from(byte)]).collect()
    }

    #[test]
    fn a_visited_url_is_found_in_any_alphabet() {
        let patterns = patterns(&KNOWN);
        for seed in 0..20 {
            let text = format!("{{\"n\":1,\"u\":\"{URL}\",\"t\":\"something else\"}}");
            assert_eq!(patterns.find(&replaced(&text, seed)).as_deref(), Some(URL), "{seed}");
            // Without its query, and without its scheme.
            let part = "news.example.org/politics/story-42";
            assert_eq!(patterns.find(&replaced(part, seed)).as_deref(), Some(part));
            // Too short to prove anything, and another page.
            for text in ["news.example.org", "https://news.example.org/politics/history-43"] {
                let found = patterns.find(&replaced(text, seed));
                assert!(
                    found.is_none_or(|it| it == "https://news.example.org/politics/"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_visited_url_is_found_beneath_encodings() {
        let mut patterns = patterns(&KNOWN);
        for before in 0..6 {
            let text = format!("{}{URL}&", &"abcdef"[..before]);
            for encoded in [
                HEXLOWER.encode(text.as_bytes()),
                BASE32_NOPAD.encode(text.as_bytes()),
                BASE64_NOPAD.encode(text.as_bytes()),
            ] {
                // In the order of the digits' code backwards.
                let masked: String = encoded.bytes().map(|b| char::from(0xa0 - b)).collect();
                assert_eq!(patterns.find_encoded(&masked).as_deref(), Some(KNOWN[1]), "{encoded}");
                assert_eq!(patterns.find(&units(&masked)), None, "{encoded}");
            }
        }
    }

    #[test]
    fn other_text_is_no_replacement() {
        let mut patterns = patterns(&KNOWN);
        // The page itself, and one beside it, are not replaced.
        for text in [
            URL,
            "https://news.example.org/politics/story-43?q=private",
            "https://news.example.org/politics/story-42?q=privates",
            "It is a truth universally acknowledged, that a single man in possession of a good fortune",
        ] {
            assert_eq!(patterns.find(&units(text)), None, "{text}");
            assert_eq!(patterns.find_encoded(text), None, "{text}");
        }
        let mut noise = Noise::new(5);
        for alphabet in [2, 4, 10, 16, 26, 32, 64, 94, 256] {
            let units: Vec<u32> =
                noise.bytes(WINDOW).iter().map(|byte| u32::from(*byte) % alphabet).collect();
            assert_eq!(patterns.find(&units), None, "{alphabet}");
            let text: String = units.iter().map(|it| char::from((it % 94) as u8 + 33)).collect();
            assert_eq!(patterns.find_encoded(&text), None, "{alphabet}");
        }
        for period in 1..60 {
            let units: Vec<u32> = (0..600).map(|at| at % period).collect();
            assert_eq!(patterns.find(&units), None, "{period}");
        }
        assert!(Patterns::default().find(&units(URL)).is_none());
    }

    #[test]
    fn lists_have_words() {
        let list: String = URL.bytes().map(|byte| format!("w{} ", byte)).collect();
        let units = words(&list).unwrap();
        assert_eq!(patterns(&KNOWN).find(&units).as_deref(), Some(URL));
        assert_eq!(words("a few words, and no more"), None);
    }
}
