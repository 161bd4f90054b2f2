//! Indexes of visited pages, which show in one step that a text has nothing to do with them.

use std::hash::BuildHasher as _;

use foldhash::{HashMap, fast::RandomState};

use super::{Visit, without_www};
use crate::address::host_of_authority;

/// Hashes of the names and paths of visited pages. A text whose hash is not among them is none of
/// them; otherwise the visits have to be searched.
///
/// The key of the hashes is random, so that neither pages nor senders can choose texts with equal
/// ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// The number of visits with each hash.
    counts: HashMap<u64, u32>,
    hasher: RandomState,
}

/// The part of a page that a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The host with its port, or the site.
    Host,
    /// The host without its port and `www.`.
    BareHost,
    /// The host with other characters in place of its dots.
    Label,
    /// The path.
    Path,
}

impl Index {
    pub(super) fn insert(&mut self, visit: &Visit) {
        each_name(visit, |part, name| {
            *self.counts.entry(self.hash(part, name)).or_default() += 1;
        });
    }

    pub(super) fn remove(&mut self, visit: &Visit) {
        each_name(visit, |part, name| {
            let hash = self.hash(part, name);
            if let Some(count) = self.counts.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&hash);
                }
            }
        });
    }

    /// Reports whether a page may have this part. The case of ASCII letters counts only in paths.
    pub(super) fn may_have(&self, part: Part, text: &str) -> bool {
        !self.counts.is_empty() && self.counts.contains_key(&self.hash(part, text))
    }

    /// Returns the number of a state that follows another one when a page is opened. The key of the
    /// hashes differs between indexes, and so do the numbers.
    pub(super) fn stamp(&self, before: u64, url: &str) -> u64 {
        self.hasher.hash_one((before, url))
    }

    /// Returns an index of nothing with the same key.
    #[cfg(test)]
    pub(super) fn emptied(&self) -> Self {
        Self { counts: HashMap::default(), hasher: self.hasher.clone() }
    }

    fn hash(&self, part: Part, text: &str) -> u64 {
        if part == Part::Path || !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.hasher.hash_one((part, text));
        }
        self.hasher.hash_one((part, &*text.to_ascii_lowercase()))
    }
}

/// Calls `each` with every text that is looked for.
fn each_name(visit: &Visit, mut each: impl FnMut(Part, &str)) {
    let host = visit.address.host();
    each(Part::Host, host);
    if let Some(site) = &visit.site {
        each(Part::Host, site.as_str());
    }
    let bare = host_of_authority(host);
    each(Part::BareHost, without_www(bare));
    // As `is_label_of` compares them.
    let short = without_www(bare);
    for host in [bare, short].iter().take(if short == bare { 1 } else { 2 }) {
        for dot in ["-", "_", "--"] {
            each(Part::Label, &host.replace('.', dot));
        }
        each(Part::Label, &host.replace('-', "--").replace('.', "-"));
    }
    each(Part::Path, visit.address.path());
}

/// Length of the pieces of text in [`Grams`].
const GRAM: usize = 4;

/// Number of bits in [`Grams`]: sixty times as many as a URL has pieces.
const BITS: usize = 1 << 15;

/// The pieces of four bytes that occur in some URLs. A longer text that is part of one of the URLs
/// begins and ends with such pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Grams {
    /// Empty if there is no URL.
    bits: Vec<u64>,
}

impl Grams {
    pub(super) fn new<'u>(urls: impl Iterator<Item = &'u str>) -> Self {
        let mut bits = vec![0; BITS / 64];
        for gram in urls.flat_map(|url| url.as_bytes().windows(GRAM)) {
            let bit = bit(gram);
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self { bits }
    }

    /// Reports whether a text may be part of a URL.
    pub(super) fn may_contain(&self, text: &str) -> bool {
        let has = |gram: &[u8]| {
            let bit = bit(gram);
            self.bits.get(bit / 64).is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
        };
        let bytes = text.as_bytes();
        let ends = bytes.first_chunk::<GRAM>().zip(bytes.last_chunk::<GRAM>());
        ends.is_none_or(|(first, last)| has(first) && has(last))
    }
}

fn bit(gram: &[u8]) -> usize {
    let gram = gram.first_chunk().map_or(0, |gram| u32::from_le_bytes(*gram));
    // Fibonacci hashing.
    (gram.wrapping_mul(0x9e37_79b1) >> 17) as usize
}

#[cfg(test)]
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
    }
}
