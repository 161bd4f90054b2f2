//! Hashes of texts, in hexadecimal or base64, whole or truncated.

use std::sync::{Arc, LazyLock};

use foldhash::HashMap;

use data_encoding::{Encoding, HEXLOWER_PERMISSIVE, Specification};
use md4::Md4;
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_256};
use sha3::{Keccak256, Sha3_224, Sha3_256, Sha3_384, Sha3_512};

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// MD4 (RFC 1320).
    Md4,
    /// MD5 (RFC 1321).
    Md5,
    /// SHA-1 (FIPS 180-4).
    Sha1,
    /// SHA-224 (FIPS 180-4).
    Sha224,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// SHA-512/256 (FIPS 180-4).
    #[serde(rename = "sha512_256")]
    Sha512Of256,
    /// SHA3-224 (FIPS 202).
    #[serde(rename = "sha3_224")]
    Sha3Of224,
    /// SHA3-256 (FIPS 202).
    #[serde(rename = "sha3_256")]
    Sha3Of256,
    /// SHA3-384 (FIPS 202).
    #[serde(rename = "sha3_384")]
    Sha3Of384,
    /// SHA3-512 (FIPS 202).
    #[serde(rename = "sha3_512")]
    Sha3Of512,
    /// Keccak-256, as Ethereum uses it.
    Keccak256,
    /// CRC-32 as in zip and PNG.
    Crc32,
    /// Java's `String.hashCode`.
    JavaHash,
}

/// Texts that are looked up by their hashes.
#[derive(Debug, Clone, Default)]
pub struct TextHashes {
    /// The texts, by the first 64 bits of their hash.
    index: HashMap<u64, (Algorithm, Arc<str>)>,
}

/// Minimum number of bytes that have to match.
const MIN_LEN: usize = 8;

/// The algorithms whose hashes are long enough to match in any field.
const STRONG: [Algorithm; 13] = [
    Algorithm::Md4,
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::Sha224,
    Algorithm::Sha256,
    Algorithm::Sha384,
    Algorithm::Sha512,
    Algorithm::Sha512Of256,
    Algorithm::Sha3Of224,
    Algorithm::Sha3Of256,
    Algorithm::Sha3Of384,
    Algorithm::Sha3Of512,
    Algorithm::Keccak256,
];

impl TextHashes {
    /// Adds a text.
    pub fn insert(&mut self, text: &Arc<str>) {
        for algorithm in STRONG {
            self.index.insert(first(&algorithm.digest(text)), (algorithm, text.clone()));
        }
    }

    /// Removes a text.
    pub fn remove(&mut self, text: &str) {
        for algorithm in STRONG {
            self.index.remove(&first(&algorithm.digest(text)));
        }
    }

    /// Reports whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the text that a value is a hash of.
    pub fn find(&self, value: &str) -> Option<(Algorithm, &Arc<str>)> {
        if self.index.is_empty() {
            return None;
        }
        // Hardly any value is a hash, so decode only those with a known prefix.
        let value = without_prefix(value);
        let is_known =
            |first: Option<u64>| first.is_some_and(|first| self.index.contains_key(&first));
        if !is_known(first_of_hex(value)) && !is_known(first_of_base64(value)) {
            return None;
        }
        decode(value).into_iter().flatten().find_map(|bytes| {
            let (algorithm, text) = self.index.get(&first(&bytes))?;
            algorithm.digest(text).starts_with(&bytes).then_some((*algorithm, text))
        })
    }
}

/// Removes the prefix of `sha256:…`.
pub(super) fn without_prefix(value: &str) -> &str {
    value.rsplit_once(':').map_or(value, |(_, digest)| digest)
}

impl Algorithm {
    /// Returns the name in findings and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md4 => "md4",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha512Of256 => "sha512_256",
            Self::Sha3Of224 => "sha3_224",
            Self::Sha3Of256 => "sha3_256",
            Self::Sha3Of384 => "sha3_384",
            Self::Sha3Of512 => "sha3_512",
            Self::Keccak256 => "keccak256",
            Self::Crc32 => "crc32",
            Self::JavaHash => "java_hash",
        }
    }

    fn digest(self, text: &str) -> Vec<u8> {
        match self {
            Self::Md4 => Md4::digest(text).to_vec(),
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha224 => Sha224::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha384 => Sha384::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
            Self::Sha512Of256 => Sha512_256::digest(text).to_vec(),
            Self::Sha3Of224 => Sha3_224::digest(text).to_vec(),
            Self::Sha3Of256 => Sha3_256::digest(text).to_vec(),
            Self::Sha3Of384 => Sha3_384::digest(text).to_vec(),
            Self::Sha3Of512 => Sha3_512::digest(text).to_vec(),
            Self::Keccak256 => Keccak256::digest(text).to_vec(),
            Self::Crc32 => crc32fast::hash(text.as_bytes()).to_be_bytes().to_vec(),
            Self::JavaHash => java_hash(text).to_be_bytes().to_vec(),
        }
    }
}

/// Decodes a text from hexadecimal and from base64, to at least [`MIN_LEN`] bytes.
/// An incomplete last byte is dropped.
fn decode(text: &str) -> [Option<Vec<u8>>; 2] {
    let digits = text.trim_end_matches('=').as_bytes();
    // From 64 bits in base64 to SHA-512 in hexadecimal.
    if !(11..=128).contains(&digits.len()) {
        return [None, None];
    }
    let hex = HEXLOWER_PERMISSIVE.decode(&digits[..digits.len() / 2 * 2]).ok();
    // A single digit after a group of four holds less than a byte.
    let whole = digits.len() - usize::from(digits.len() % 4 == 1);
    let base64 = BASE64.decode(&digits[..whole]).ok();
    [hex, base64].map(|bytes| bytes.filter(|bytes| bytes.len() >= MIN_LEN))
}

/// Decodes the first 64 bits of a text in hexadecimal.
fn first_of_hex(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<16>()?;
    digits
        .iter()
        .try_fold(0, |bits, &digit| Some(bits << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

/// Decodes the first 64 bits of a text in base64: ten digits, and four bits of the
/// eleventh.
fn first_of_base64(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<11>()?;
    let bits = digits.iter().try_fold(0u128, |bits, &digit| {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        Some(bits << 6 | u128::from(value))
    })?;
    u64::try_from(bits >> 2).ok()
}

/// Base64 in both alphabets (RFC 4648, sections 4 and 5), truncated at any digit.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut base64 = Specification::new();
    base64.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    base64.translate.from.push_str("-_");
    base64.translate.to.push_str("+/");
    base64.check_trailing_bits = false;
    base64.encoding().expect("a specification without contradictions")
});

fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Computes Java's `String.hashCode`, over UTF-16 code units.
pub(super) fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}
