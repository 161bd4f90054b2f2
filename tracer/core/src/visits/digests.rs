//! Hashes of texts, in hexadecimal, base64 or base32, whole or truncated, alone or among other
//! words.

use std::sync::Arc;

use foldhash::HashMap;

use md4::Md4;
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Keccak256, Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use super::notation::{self, MIN_DIGITS};

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
    /// SHA-512/224 (FIPS 180-4).
    #[serde(rename = "sha512_224")]
    Sha512Of224,
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
    /// MD5 in the form of a UUID, as Java's `UUID.nameUUIDFromBytes` returns it.
    UuidOfMd5,
    /// A UUID of version 3 (RFC 9562): MD5 in a namespace, that of URLs or of host names.
    Uuid3,
    /// A UUID of version 5: the same with SHA-1.
    Uuid5,
    /// FNV-1a of 64 bits.
    #[serde(rename = "fnv1a_64")]
    Fnv1aOf64,
    /// FNV-1a of 32 bits.
    #[serde(rename = "fnv1a_32")]
    Fnv1aOf32,
    /// Bernstein's hash `djb2`, of 32 bits.
    Djb2,
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

/// The algorithms whose hashes are long enough to match in any field.
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
pub(super) const SHORT: [Algorithm; 4] =
    [Algorithm::Crc32, Algorithm::JavaHash, Algorithm::Fnv1aOf32, Algorithm::Djb2];

impl TextHashes {
    /// Adds a text.
    pub fn insert(&mut self, text: &Arc<str>) {
        for algorithm in STRONG {
            self.index.insert(first(&algorithm.digest(text)), (algorithm, text.clone()));
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
        notation::words(value).find_map(|word| self.find_word(word))
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
            Self::Sha512Of224 => "sha512_224",
            Self::Sha512Of256 => "sha512_256",
            Self::Sha3Of224 => "sha3_224",
            Self::Sha3Of256 => "sha3_256",
            Self::Sha3Of384 => "sha3_384",
            Self::Sha3Of512 => "sha3_512",
            Self::Keccak256 => "keccak256",
            Self::UuidOfMd5 => "uuid_of_md5",
            Self::Uuid3 => "uuid3",
            Self::Uuid5 => "uuid5",
            Self::Fnv1aOf64 => "fnv1a_64",
            Self::Fnv1aOf32 => "fnv1a_32",
            Self::Djb2 => "djb2",
            Self::Crc32 => "crc32",
            Self::JavaHash => "java_hash",
        }
    }

    /// Returns the hash of 32 bits; that of others is their first 32 bits.
    pub(super) fn short(self, text: &str) -> u32 {
        match self {
            Self::Crc32 => crc32fast::hash(text.as_bytes()),
            // Over the units of UTF-16.
            Self::JavaHash => text
                .encode_utf16()
                .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into())),
            Self::Fnv1aOf32 => text
                .bytes()
                .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)),
            Self::Djb2 => text
                .bytes()
                .fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(byte.into())),
            strong => {
                strong.digest(text).first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
            }
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
            Self::Sha512Of224 => Sha512_224::digest(text).to_vec(),
            Self::Sha512Of256 => Sha512_256::digest(text).to_vec(),
            Self::Sha3Of224 => Sha3_224::digest(text).to_vec(),
            Self::Sha3Of256 => Sha3_256::digest(text).to_vec(),
            Self::Sha3Of384 => Sha3_384::digest(text).to_vec(),
            Self::Sha3Of512 => Sha3_512::digest(text).to_vec(),
            Self::Keccak256 => Keccak256::digest(text).to_vec(),
            Self::UuidOfMd5 => uuid(&Md5::digest(text), 3).to_vec(),
            Self::Uuid3 => {
                let digest = Md5::new().chain_update(namespace(text)).chain_update(text);
                uuid(&digest.finalize(), 3).to_vec()
            }
            Self::Uuid5 => {
                let digest = Sha1::new().chain_update(namespace(text)).chain_update(text);
                uuid(&digest.finalize(), 5).to_vec()
            }
            Self::Fnv1aOf64 => {
                let byte =
                    |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                text.bytes().fold(0xcbf2_9ce4_8422_2325, byte).to_be_bytes().to_vec()
            }
            Self::Fnv1aOf32 | Self::Djb2 | Self::Crc32 | Self::JavaHash => {
                self.short(text).to_be_bytes().to_vec()
            }
        }
    }
}

fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Returns the namespace of a text in UUIDs (RFC 9562 section 6.6): that of URLs, or that of
/// host names.
fn namespace(text: &str) -> [u8; 16] {
    let mut namespace = *b"\x6b\xa7\xb8\x10\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8";
    namespace[3] += u8::from(text.contains("://"));
    namespace
}

/// Makes a UUID of a version from the first bytes of a digest.
fn uuid(digest: &[u8], version: u8) -> [u8; 16] {
    let mut bytes: [u8; 16] = digest.first_chunk().copied().unwrap_or_default();
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
