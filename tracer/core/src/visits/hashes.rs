//! Hashes of visited addresses.
//!
//! A recipient with a list of addresses can reverse a hash. Each visit is
//! therefore hashed in the common forms, and values are looked up among these
//! hashes:
//!
//! ```text
//! MD4, MD5, SHA-1, SHA-2,   of the URL, of it without its scheme, query or "www.", of
//! SHA-3, Keccak             host and path, of the origin, of the host (with and
//! CRC-32, Java's            without "www."), of the registrable domain
//! String.hashCode
//! ```
//!
//! Values may be in hexadecimal or base64, complete or truncated to at least 64
//! bits. 32-bit hashes match only in fields whose name says that they hold a hash
//! of an address.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use data_encoding::{Encoding, HEXLOWER_PERMISSIVE, Specification};
use md4::Md4;
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_256};
use sha3::{Keccak256, Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use crate::address::{Site, host_of_authority};

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

/// The part of an address that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashedForm {
    /// The URL without its fragment.
    Url,
    /// The URL without its scheme and fragment.
    UrlWithoutScheme,
    /// Host and path.
    HostPath,
    /// The host.
    Host,
    /// The registrable domain.
    Domain,
}

impl HashedForm {
    /// Reports whether the form identifies a host rather than a page.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Host | Self::Domain)
    }

    /// Returns the name in findings and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::UrlWithoutScheme => "url_without_scheme",
            Self::HostPath => "host_path",
            Self::Host => "host",
            Self::Domain => "domain",
        }
    }
}

/// A hash that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashMatch {
    /// Algorithm of the hash.
    pub algorithm: Algorithm,
    /// Form of the text.
    pub form: HashedForm,
    /// The text that was hashed.
    pub text: String,
}

impl HashMatch {
    /// Returns the host in the text.
    pub fn host(&self) -> &str {
        let text = self.text.split_once("://").map_or(self.text.as_str(), |(_, rest)| rest);
        host_of_authority(text.split(['/', '?']).next().unwrap_or(text))
    }
}

/// The hashes of one application's visits.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes {
    /// The hashed texts, by the first 64 bits of their hash.
    index: HashMap<u64, (Algorithm, Arc<str>)>,
    /// The hashed texts, by their 32-bit hash.
    short: HashMap<u32, (Algorithm, Arc<str>)>,
    /// Each text once, with the number of visits that contain it: visits share
    /// their hosts.
    texts: HashMap<Arc<str>, (HashedForm, u32)>,
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

impl Hashes {
    pub(super) fn insert(&mut self, url: &str) {
        for (form, text) in forms(url) {
            if let Some((_, visits)) = self.texts.get_mut(text.as_str()) {
                *visits += 1;
                continue;
            }
            let text: Arc<str> = text.into();
            for algorithm in STRONG {
                self.index.insert(first(&algorithm.digest(&text)), (algorithm, text.clone()));
            }
            self.short.insert(crc32fast::hash(text.as_bytes()), (Algorithm::Crc32, text.clone()));
            self.short.insert(java_hash(&text), (Algorithm::JavaHash, text.clone()));
            self.texts.insert(text, (form, 1));
        }
    }

    pub(super) fn remove(&mut self, url: &str) {
        for (_, text) in forms(url) {
            let Some((_, visits)) = self.texts.get_mut(text.as_str()) else {
                continue;
            };
            *visits -= 1;
            if *visits > 0 {
                continue;
            }
            for algorithm in STRONG {
                self.index.remove(&first(&algorithm.digest(&text)));
            }
            self.short.remove(&crc32fast::hash(text.as_bytes()));
            self.short.remove(&java_hash(&text));
            self.texts.remove(text.as_str());
        }
    }

    /// Looks up a value. `named` reports whether the name of its field says that it holds
    /// a hash of an address.
    pub(super) fn find(&self, value: &str, named: impl FnOnce() -> bool) -> Option<HashMatch> {
        if self.index.is_empty() {
            return None;
        }
        // Skip the prefix of `sha256:…`.
        let value = value.rsplit_once(':').map_or(value, |(_, digest)| digest);
        // Hardly any value is a hash, so decode only those with a known prefix.
        let is_known =
            |first: Option<u64>| first.is_some_and(|first| self.index.contains_key(&first));
        let strong = if is_known(first_of_hex(value)) || is_known(first_of_base64(value)) {
            decode(value).into_iter().flatten().find_map(|bytes| {
                let (algorithm, text) = self.index.get(&first(&bytes))?;
                algorithm.digest(text).starts_with(&bytes).then_some((*algorithm, text))
            })
        } else {
            None
        };
        let (algorithm, text) = match strong {
            Some(strong) => strong,
            None => {
                let (algorithm, text) = self.short.get(&parse_short(value).filter(|_| named())?)?;
                (*algorithm, text)
            }
        };
        let (form, _) = self.texts.get(text)?;
        Some(HashMatch { algorithm, form: *form, text: text.to_string() })
    }
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

/// Returns the texts of a visit that are hashed.
fn forms(url: &str) -> Vec<(HashedForm, String)> {
    let whole = url.split('#').next().unwrap_or(url);
    let bare = whole.split_once("://").map_or(whole, |(_, rest)| rest);
    let authority = bare.split(['/', '?']).next().unwrap_or(bare);
    let host = host_of_authority(authority).to_lowercase();
    let mut forms = vec![(HashedForm::Url, whole.to_owned())];
    let mut add = |form, text: &str| {
        if !text.is_empty() && forms.iter().all(|(_, known)| known != text) {
            forms.push((form, text.to_owned()));
        }
    };
    // A report may use another scheme than the visit, and the scheme of a recorded
    // request is a guess.
    let other = if whole.starts_with("https://") { "http://" } else { "https://" };
    add(HashedForm::Url, &format!("{other}{bare}"));
    // The URL of a host's front page may lack the slash.
    if let Some(front) = whole.strip_suffix('/').filter(|_| bare.len() == authority.len() + 1) {
        add(HashedForm::Url, front);
    }
    add(HashedForm::Host, &host);
    for scheme in ["https", "http"] {
        add(HashedForm::Host, &format!("{scheme}://{host}"));
        add(HashedForm::Host, &format!("{scheme}://{host}/"));
    }
    add(HashedForm::Host, host.strip_prefix("www.").unwrap_or(&host));
    if let Some(site) = Site::from_host(&host) {
        add(HashedForm::Domain, site.as_str());
    }
    let without_query = |text: &'_ str| text.split('?').next().unwrap_or(text).to_owned();
    add(HashedForm::UrlWithoutScheme, bare);
    add(HashedForm::HostPath, &without_query(bare));
    add(HashedForm::HostPath, &without_query(whole));
    add(HashedForm::HostPath, &format!("{other}{}", without_query(bare)));
    if let Some(bare) = bare.strip_prefix("www.") {
        add(HashedForm::Url, &format!("https://{bare}"));
        add(HashedForm::Url, &format!("http://{bare}"));
        add(HashedForm::UrlWithoutScheme, bare);
        add(HashedForm::HostPath, &without_query(bare));
        add(HashedForm::HostPath, &format!("https://{}", without_query(bare)));
    }
    forms
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

/// Parses a 32-bit number: decimal, signed or unsigned, or eight hexadecimal
/// digits.
fn parse_short(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<i64>() {
        return u32::try_from(number).ok().or(i32::try_from(number).ok().map(i32::cast_unsigned));
    }
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok())?
}

fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Computes Java's `String.hashCode`, over UTF-16 code units.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}
