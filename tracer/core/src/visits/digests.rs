//! Hashes of texts, in hexadecimal, base64 or base32, whole or truncated, alone or among other
//! words.

use std::sync::Arc;

use foldhash::HashMap;

use data_encoding::HEXLOWER;
use memchr::memmem;

use super::{
    algorithm::{Algorithm, Common},
    notation::{self, MIN_DIGITS},
};

/// Texts that are looked up by their hashes.
#[derive(Debug, Clone, Default)]
pub struct TextHashes {
    /// The texts, by 64 bits of their hash: mostly the first ones.
    index: HashMap<u64, (Algorithm, Arc<str>)>,
}

/// The algorithms with which a text is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breadth {
    /// Those of most hashes, for a text that is rarely hashed.
    Few,
    /// Those of libraries for general use.
    Usual,
    /// All.
    Every,
}

/// The algorithms of most hashes.
const FEW: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256];

/// The algorithms that few libraries have, besides hashes of hashes.
const RARE: [Algorithm; 12] = [
    Algorithm::Shake128,
    Algorithm::Shake256,
    Algorithm::Blake2bOf512,
    Algorithm::Blake2bOf256,
    Algorithm::Blake2bOf160,
    Algorithm::Blake2bOf128,
    Algorithm::Blake2sOf256,
    Algorithm::Blake3,
    Algorithm::Ripemd160,
    Algorithm::Sm3,
    Algorithm::Sha256OfBytes,
    Algorithm::Ripemd160OfBytes,
];

/// The algorithms whose hashes are long enough to match in any field, without [`RARE`].
const STRONG: [Algorithm; 18] = [
    Algorithm::Md4,
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::Sha224,
    Algorithm::Sha256,
    Algorithm::Sha384,
    Algorithm::Sha512,
    Algorithm::Sha512Of224,
    Algorithm::Sha512Of256,
    Algorithm::Sha3Of224,
    Algorithm::Sha3Of256,
    Algorithm::Sha3Of384,
    Algorithm::Sha3Of512,
    Algorithm::Keccak256,
    Algorithm::UuidOfMd5,
    Algorithm::Uuid3,
    Algorithm::Uuid5,
    Algorithm::Fnv1aOf64,
];

/// The algorithms whose hashes of 32 bits match only in fields named accordingly.
pub(super) const SHORT: [Algorithm; 7] = [
    Algorithm::Crc32,
    Algorithm::JavaHash,
    Algorithm::Fnv1aOf32,
    Algorithm::Fnv1Of32,
    Algorithm::Djb2,
    Algorithm::Sdbm,
    Algorithm::Adler32,
];

impl TextHashes {
    /// Adds a text.
    pub fn insert(&mut self, text: &Arc<str>, breadth: Breadth) {
        for algorithm in algorithms(breadth) {
            for key in keys(algorithm, &algorithm.digest(text)) {
                self.index.insert(key, (algorithm, text.clone()));
            }
        }
    }

    /// Keeps only these texts.
    pub fn retain(&mut self, is_kept: impl Fn(&Arc<str>) -> bool) {
        self.index.retain(|_, (_, text)| is_kept(text));
    }

    /// Reports whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the text that a value is a hash of, or that a word in it is a hash of.
    pub fn find(&self, value: &str) -> Option<(Algorithm, &Arc<str>)> {
        /// Longer texts are content.
        const MAX_TEXT: usize = 1024;
        if self.index.is_empty() {
            return None;
        }
        let found = self.find_word(without_prefix(value));
        if found.is_some() || !(MIN_DIGITS..=MAX_TEXT).contains(&value.len()) {
            return found;
        }
        if let Some(digits) = notation::without_separators(value) {
            return self.find_word(&digits);
        }
        let found = notation::words(value).find_map(|word| self.find_word(word));
        found.or_else(|| self.find_word(&notation::in_folders(value)?))
    }

    /// Returns the text of which a hash is among other bytes, which are written in hexadecimal,
    /// and the digits of the hash.
    pub fn find_within<'d>(&self, digits: &'d str) -> Option<(Algorithm, &Arc<str>, &'d str)> {
        /// Number of digits that have to match: 128 bits.
        const MIN: usize = 32;
        if self.index.is_empty() || !digits.is_ascii() {
            return None;
        }
        (0..digits.len()).step_by(2).find_map(|at| {
            let rest = &digits[at..];
            let (algorithm, text) = self.index.get(&notation::first_of_hex(rest)?)?;
            let digest = HEXLOWER.encode(&algorithm.digest(text));
            let hash = rest.get(..digest.len()).unwrap_or(rest);
            let is_whole = hash.len() >= MIN && digest.starts_with(hash);
            is_whole.then_some((*algorithm, text, hash))
        })
    }

    /// Returns the text that a word is a hash of.
    fn find_word(&self, word: &str) -> Option<(Algorithm, &Arc<str>)> {
        // Hardly any value is a hash, so decode only those with a known prefix.
        let is_known = |first: &Option<u64>| first.is_some_and(|it| self.index.contains_key(&it));
        if notation::first_bits(word).iter().all(|first| !is_known(first)) {
            return None;
        }
        notation::decode(word).into_iter().flatten().find_map(|bytes| {
            let (algorithm, text) = self.index.get(&first(&bytes))?;
            memmem::find(&algorithm.digest(text), &bytes).map(|_| (*algorithm, text))
        })
    }
}

/// Removes the prefix of `sha256:…`.
pub(super) fn without_prefix(value: &str) -> &str {
    value.rsplit_once(':').map_or(value, |(_, digest)| digest)
}

/// Returns the algorithms for a text.
fn algorithms(breadth: Breadth) -> impl Iterator<Item = Algorithm> {
    let usual: &[_] = if breadth == Breadth::Few { &FEW } else { &STRONG };
    let every = (breadth == Breadth::Every).then(|| {
        let nested = Common::ALL.into_iter().flat_map(|outer| {
            let nested = Common::ALL.map(|inner| Algorithm::Nested(outer, inner));
            nested.into_iter().chain([Algorithm::OfUtf16(outer)])
        });
        RARE.into_iter().chain(nested)
    });
    usual.iter().copied().chain(every.into_iter().flatten())
}

/// Returns the bits by which a hash is looked up: the first ones, and the last ones of hashes of
/// which a part is in use. Of MD5, that may also be the middle.
fn keys(algorithm: Algorithm, digest: &[u8]) -> impl Iterator<Item = u64> {
    let last = digest.last_chunk().filter(|_| FEW.contains(&algorithm));
    let middle = digest.get(4..).and_then(|rest| rest.first_chunk());
    let middle = middle.filter(|_| algorithm == Algorithm::Md5);
    let parts = last.into_iter().chain(middle).map(|part| u64::from_be_bytes(*part));
    std::iter::once(first(digest)).chain(parts)
}

fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
