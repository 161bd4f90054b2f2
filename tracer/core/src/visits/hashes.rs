//! Hashes of what was visited.
//!
//! A hash says nothing to a reader, and everything to a recipient who keeps a
//! list of addresses. From a known visit it can be made again, so that each
//! visit is hashed in the forms that are in use, and values are looked up:
//!
//! ```text
//! MD5, SHA-1, SHA-256   of the URL, of it without its scheme, of host and
//! CRC-32, Java's        path, of the host (with and without "www."), of the
//! String.hashCode       registrable domain
//! ```
//!
//! Written in hexadecimal or base64, whole or cut to 64 bits or more. 32 bits
//! are believed only in a field that says it holds a hash of an address.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use data_encoding::{Encoding, HEXLOWER_PERMISSIVE, Specification};
use md5::Md5;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::address::{Site, host_of_authority};

/// How something was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// MD5 (RFC 1321).
    Md5,
    /// SHA-1 (FIPS 180-4).
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// CRC-32 as in zip and PNG.
    Crc32,
    /// Java's `String.hashCode`.
    JavaHash,
}

/// What was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashedForm {
    /// The URL without its fragment.
    Url,
    /// The same without the scheme.
    UrlWithoutScheme,
    /// Host and path.
    HostPath,
    /// The host.
    Host,
    /// The registrable domain.
    Domain,
}

impl HashedForm {
    /// It tells no page.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Host | Self::Domain)
    }

    /// Its name.
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
    /// How it was made.
    pub algorithm: Algorithm,
    /// Of what.
    pub form: HashedForm,
    /// The text that was hashed.
    pub text: String,
}

impl HashMatch {
    /// The host in what was hashed.
    pub fn host(&self) -> &str {
        let text = self.text.split_once("://").map_or(self.text.as_str(), |(_, rest)| rest);
        host_of_authority(text.split(['/', '?']).next().unwrap_or(text))
    }
}

/// The hashes of one application's visits.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes {
    /// By its first 64 bits, what a hash is of. A host is in many visits, so
    /// that what is hashed is kept once, with the number of visits it is in.
    index: HashMap<u64, (Algorithm, Arc<str>)>,
    short: HashMap<u32, (Algorithm, Arc<str>)>,
    texts: HashMap<Arc<str>, (HashedForm, u32)>,
}

/// Bytes that have to agree.
const MIN: usize = 8;

const STRONG: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256];

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

    pub(super) fn find(&self, value: &str, named: bool) -> Option<HashMatch> {
        if self.index.is_empty() {
            return None;
        }
        // `sha256:…`, as some write it.
        let value = value.rsplit_once(':').map_or(value, |(_, digest)| digest);
        // Nearly every value is none: only what begins like one is read whole.
        let begins =
            |first: Option<u64>| first.is_some_and(|first| self.index.contains_key(&first));
        let strong = if begins(first_of_hex(value)) || begins(first_of_base64(value)) {
            readings(value).into_iter().flatten().find_map(|bytes| {
                let (algorithm, text) = self.index.get(&first(&bytes))?;
                algorithm.digest(text).starts_with(&bytes).then_some((*algorithm, text))
            })
        } else {
            None
        };
        let (algorithm, text) = match strong {
            Some(strong) => strong,
            None => {
                let (algorithm, text) = self.short.get(&short(value).filter(|_| named)?)?;
                (*algorithm, text)
            }
        };
        let (form, _) = self.texts.get(text)?;
        Some(HashMatch { algorithm, form: *form, text: text.to_string() })
    }
}

impl Algorithm {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Crc32 => "crc32",
            Self::JavaHash => "java_hash",
        }
    }

    fn digest(self, text: &str) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Crc32 => crc32fast::hash(text.as_bytes()).to_be_bytes().to_vec(),
            Self::JavaHash => java_hash(text).to_be_bytes().to_vec(),
        }
    }
}

/// What of a visit is hashed.
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
    // The scheme that was visited need not be the one that is told, and of
    // recorded requests it is a guess.
    let other = if whole.starts_with("https://") { "http://" } else { "https://" };
    add(HashedForm::Url, &format!("{other}{bare}"));
    // A host's front page is written with a slash and without.
    if let Some(front) = whole.strip_suffix('/').filter(|_| bare.len() == authority.len() + 1) {
        add(HashedForm::Url, front);
    }
    add(HashedForm::Host, &host);
    add(HashedForm::Host, host.strip_prefix("www.").unwrap_or(&host));
    if let Some(site) = Site::of_host(&host) {
        add(HashedForm::Domain, site.as_str());
    }
    add(HashedForm::UrlWithoutScheme, bare);
    add(HashedForm::HostPath, bare.split('?').next().unwrap_or(bare));
    add(HashedForm::HostPath, whole.split('?').next().unwrap_or(whole));
    forms
}

/// The bytes that a text writes, at least [`MIN`] of them. A text that was cut
/// writes as many as are whole.
fn readings(text: &str) -> [Option<Vec<u8>>; 2] {
    let digits = text.trim_end_matches('=').as_bytes();
    // SHA-256 in hexadecimal is the longest, 64 bits in base64 the shortest.
    if !(11..=64).contains(&digits.len()) {
        return [None, None];
    }
    let hex = HEXLOWER_PERMISSIVE.decode(&digits[..digits.len() / 2 * 2]).ok();
    // One digit beyond a group of four says less than a byte.
    let whole = digits.len() - usize::from(digits.len() % 4 == 1);
    let base64 = BASE64.decode(&digits[..whole]).ok();
    [hex, base64].map(|bytes| bytes.filter(|bytes| bytes.len() >= MIN))
}

/// The first 64 bits of what hexadecimal digits write.
fn first_of_hex(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<16>()?;
    digits
        .iter()
        .try_fold(0, |bits, &digit| Some(bits << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

/// The first 64 bits of what base64 digits write: ten digits, and four bits of
/// the eleventh.
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

/// Base64 in both alphabets (RFC 4648, 4 and 5), cut anywhere.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut base64 = Specification::new();
    base64.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    base64.translate.from.push_str("-_");
    base64.translate.to.push_str("+/");
    base64.check_trailing_bits = false;
    base64.encoding().expect("a specification without contradictions")
});

/// A number of 32 bits: decimal, signed or not, or eight hexadecimal digits.
fn short(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<i64>() {
        return u32::try_from(number).ok().or(i32::try_from(number).ok().map(i32::cast_unsigned));
    }
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok())?
}

fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Java's `String.hashCode`, over UTF-16 units.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}
