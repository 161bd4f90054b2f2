//! Which bytes of the browser's own requests have a meaning that is known.
//!
//! Read is not understood: a random-looking value can be read and still hide a page. A value is
//! understood if it is short, consists of words and numbers, or is sent again unchanged. Everything
//! else is counted, by recipient and place.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::place::without_indices;
use tracer_core::{
    content::{self, Limits},
    proto::Request,
};

/// Shortest text that can hide a page: a random number for the cipher and a part of a host.
const MIN_HIDDEN: usize = 16;

/// Number of places. A browser sends to a few hundred.
const MAX_PLACES: usize = 4096;

/// Number of different values that are remembered for one place.
const MAX_VALUES: usize = 512;

/// Number of values of one request that are examined.
const MAX_LEAVES: usize = 8192;

/// Values that are not understood, by recipient and place.
#[derive(Debug, Default)]
pub(super) struct Understanding {
    places: BTreeMap<(String, String), Values>,
    /// Bytes of values at further places.
    uncounted: u64,
    /// Requests that were examined. A request that is judged again keeps its number.
    known: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Values {
    /// Number of uses and bytes of each value, by digest.
    values: HashMap<u64, (u32, u64)>,
    /// Bytes of values beyond the limit.
    uncounted: u64,
}

/// A place with values that are not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opaque {
    pub(super) recipient: String,
    pub(super) place: String,
    /// Number of such values, and their bytes.
    pub(super) values: u64,
    pub(super) bytes: u64,
}

impl Understanding {
    /// Adds a request of the browser's own.
    pub(super) fn add(&mut self, request: &Request, number: u64, recipient: &str, key: &str) {
        if !self.known.insert(number) {
            return;
        }
        let mut leaves: Vec<(String, u64, u64)> = Vec::new();
        let mut outer: HashSet<String> = HashSet::new();
        let mut all = 0;
        content::unwrap(request, &Limits::default(), |value| {
            if leaves.len() >= MAX_LEAVES {
                return;
            }
            let chain = value.chain.to_string();
            if let Some((before, _)) = chain.rsplit_once(" > ") {
                let ends = chain.match_indices(" > ").map(|(at, _)| at);
                if !outer.contains(before) {
                    outer.extend(ends.map(|end| chain[..end].to_owned()));
                }
            }
            all += value.text.len() as u64;
            let mut hasher = DefaultHasher::new();
            (key, value.text).hash(&mut hasher);
            leaves.push((chain, hidden(value.text), hasher.finish()));
        });
        // What was decompressed cannot hide more than the bytes that were sent.
        let sent = request.target().len()
            + request.headers.iter().map(|header| header.value.len()).sum::<usize>()
            + request.body.data.len();
        for (chain, hidden, digest) in leaves {
            if hidden == 0 || outer.contains(&chain) {
                continue;
            }
            let on_wire = (u128::from(hidden) * sent as u128).checked_div(all.into());
            let bytes = on_wire.map_or(0, |it| it as u64).clamp(1, hidden);
            self.add_value(recipient, without_indices(&chain), digest, bytes);
        }
    }

    fn add_value(&mut self, recipient: &str, place: String, digest: u64, bytes: u64) {
        let place = (recipient.to_owned(), place);
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&place) {
            self.uncounted += bytes;
            return;
        }
        let values = self.places.entry(place).or_default();
        if values.values.len() >= MAX_VALUES && !values.values.contains_key(&digest) {
            values.uncounted += bytes;
            return;
        }
        let (uses, total) = values.values.entry(digest).or_default();
        *uses += 1;
        *total += bytes;
    }

    /// Returns the places with values that are not understood, those with most bytes first. At the
    /// places for which `depends` holds, values are equal whenever the page is, so repetition
    /// explains nothing there.
    pub(super) fn opaque(&self, depends: impl Fn(&str, &str) -> bool) -> Vec<Opaque> {
        let mut list: Vec<Opaque> = Vec::new();
        for ((recipient, place), values) in &self.places {
            let repeats = !depends(recipient, place);
            let fresh = values.values.values().filter(|(uses, _)| *uses == 1 || !repeats);
            let (count, bytes) = fresh
                .fold((0, values.uncounted), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
            if bytes > 0 {
                let (recipient, place) = (recipient.clone(), place.clone());
                list.push(Opaque { recipient, place, values: count, bytes });
            }
        }
        if self.uncounted > 0 {
            let (recipient, place) = ("others".to_owned(), "others".to_owned());
            list.push(Opaque { recipient, place, values: 0, bytes: self.uncounted });
        }
        list.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        list
    }
}

/// Returns the number of bytes of a text that are neither words nor numbers, if they are enough to
/// hide a page.
fn hidden(text: &str) -> u64 {
    if text.len() < MIN_HIDDEN {
        return 0;
    }
    let is_end = |c: char| !c.is_alphanumeric();
    let tokens = || text.split(is_end).filter(|token| !token.is_empty());
    let mut unknown: usize = tokens().filter(|token| !is_known(token)).map(str::len).sum();
    // Bytes as numbers or as pairs of digits with separators.
    let short = tokens().filter(|token| is_byte(token)).count();
    if short >= MIN_HIDDEN {
        unknown +=
            tokens().filter(|token| is_byte(token) && is_known(token)).map(str::len).sum::<usize>();
    }
    if unknown >= MIN_HIDDEN { unknown as u64 } else { 0 }
}

/// Reports whether a token can be a byte that was written as a number.
fn is_byte(token: &str) -> bool {
    (token.len() == 2 && token.bytes().all(|b| b.is_ascii_hexdigit()))
        || (token.len() <= 3 && token.bytes().all(|b| b.is_ascii_digit()))
}

/// Reports whether a token is a number or looks like a word.
fn is_known(token: &str) -> bool {
    /// Numbers of nanoseconds since 1970 have 19 digits.
    const MAX_DIGITS: usize = 19;
    /// Longest word, and run of words without separator.
    const MAX_WORD: usize = 40;
    if token.bytes().all(|b| b.is_ascii_digit()) {
        return token.len() <= MAX_DIGITS;
    }
    // A word may end in a number, such as a version.
    let word = token.trim_end_matches(|c: char| c.is_ascii_digit());
    if token.len() - word.len() > 4 || word.chars().count() > MAX_WORD {
        return false;
    }
    if word.chars().count() <= 2 {
        return true;
    }
    if word.chars().any(|c| c.is_ascii_digit()) {
        return false;
    }
    if !word.is_ascii() {
        return word.chars().all(char::is_alphabetic);
    }
    // In `accountSettings` a new part begins at each capital; abbreviations have few letters.
    let changes = word
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
        .count();
    let lower = word.to_ascii_lowercase();
    let vowels = lower.bytes().filter(|b| b"aeiouy".contains(b)).count();
    let longest = lower.split(|c| "aeiouy".contains(c)).map(str::len).max().unwrap_or_default();
    changes * 4 <= word.len() && (word.len() <= 5 || vowels * 6 >= word.len()) && longest <= 5
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::proto::parse_http1;

    fn request(target: &str, body: &[u8]) -> Request {
        let mut text = format!(
            "POST {target} HTTP/1.1\r\nHost: c.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
             AppleWebKit/537.36 (KHTML, like Gecko)\r\nAccept-Language: en-US,en;q=0.9\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(body);
        parse_http1(&text).0.pop().expect("a request")
    }

    fn opaque(requests: &[Request]) -> Vec<Opaque> {
        let mut understanding = Understanding::default();
        for (number, request) in (0..).zip(requests) {
            understanding.add(request, number, "c.example", "run");
        }
        understanding.opaque(|_, _| false)
    }

    #[test]
    fn words_and_numbers_are_understood() {
        for text in [
            "",
            "accountSettings.lastUpdated",
            "1795341600000000000",
            "https://www.example.org/politics/story-42?lang=en-US",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
            "2026-11-30T10:55:01.123Z",
            "сведения о странице",
        ] {
            assert_eq!(hidden(text), 0, "{text}");
        }
    }

    #[test]
    fn values_that_can_hide_a_page_are_not() {
        for text in [
            "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
            "q7Rk2Lw9Zt4XbVnHs8PcMd",
            "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=",
            "DA:7F:33:19:AB:C0:11:9F:EE:01:17:BB:CA:FE:10:20:33:41",
            "[218,127,51,25,171,192,17,159,238,1,23,187,202,254,16,32,51,65]",
            "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U",
            "xkcdqwrtzpsdfghjklmnbvcx",
        ] {
            assert!(hidden(text) >= 16, "{text}: {}", hidden(text));
        }
    }

    #[test]
    fn repeated_values_are_understood_unless_they_depend_on_the_page() {
        let body = |id: &str| format!(r#"{{"id":"{id}","event":"page opened"}}"#).into_bytes();
        let constant = body("7f3c2a109b1e4c578f7e5d0a2b6c9e11");
        let fresh = body("0badcafe9b1e4c578f7e5d0a2b6c0000");
        assert_eq!(opaque(&[]), []);
        assert_eq!(opaque(&[request("/a", &constant), request("/a", &constant)]), []);
        let found =
            opaque(&[request("/a", &constant), request("/a", &constant), request("/a", &fresh)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0].place[..], found[0].values), ("body > json.id", 1));
        assert!((1..=32).contains(&found[0].bytes), "{found:?}");

        let mut understanding = Understanding::default();
        for number in 0..2 {
            understanding.add(&request("/a", &constant), number, "c.example", "run");
        }
        assert_eq!(understanding.opaque(|_, place| place == "body > json.id").len(), 1);
        // A request that is judged again counts once.
        understanding.add(&request("/a", &fresh), 0, "c.example", "run");
        assert_eq!(understanding.opaque(|_, _| false), []);
    }

    #[test]
    fn decoded_bytes_count_as_they_were_sent() {
        use std::io::Write as _;
        let id = "0badcafe9b1e4c578f7e5d0a2b6c0000".repeat(50);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(format!(r#"{{"id":"{id}"}}"#).as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        let request = request("/a", &packed);
        let found = opaque(std::slice::from_ref(&request));
        let sent = request.body.data.len() as u64 + 400;
        assert!(!found.is_empty() && found.iter().all(|one| one.bytes <= sent), "{found:?}");
    }
}
