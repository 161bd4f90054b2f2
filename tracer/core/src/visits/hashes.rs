//! Hashes of visited addresses.
//!
//! A recipient with a list of addresses can reverse a hash. Each visit is
//! therefore hashed in the common forms, and values are looked up among these
//! hashes:
//!
//! ```text
//! MD4, MD5, SHA-1, SHA-2,   of the URL, of it without its scheme, query or "www.", of
//! SHA-3, Keccak, FNV-1a,    host and path, of the path, of the origin, of the host (with
//! UUIDs of names, CRC-32,   and without "www.", also in Unicode), of the registrable
//! Java's hashCode, djb2     domain
//! ```
//!
//! Values may be in hexadecimal, base64 or base32, complete or truncated to at least 64
//! bits. 32-bit hashes match only in fields whose name says that they hold a hash
//! of an address.

use std::sync::Arc;

use foldhash::HashMap;
use serde::Serialize;

use super::digests::{Algorithm, SHORT, TextHashes, without_prefix};
use crate::address::{Site, host_of_authority};

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
    /// The path, with or without the query.
    Path,
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
            Self::Path => "path",
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
    /// The host of the visited page.
    pub host: String,
}

impl HashMatch {
    /// Returns the address that the text is, or is part of.
    pub fn address(&self) -> String {
        match self.form {
            HashedForm::Path => format!("{}{}", self.host, self.text),
            _ => self.text.clone(),
        }
    }
}

/// The hashes of one application's visits.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes {
    strong: TextHashes,
    /// The hashed texts, by their 32-bit hash.
    short: HashMap<u32, (Algorithm, Arc<str>)>,
    /// Each text once: visits share their hosts.
    texts: HashMap<Arc<str>, Known>,
    /// Number of texts that were removed from [`Hashes::texts`] only.
    removed: usize,
}

/// A text whose digests are recognised.
#[derive(Debug, Clone)]
struct Known {
    form: HashedForm,
    /// The host of a page that contains it.
    host: Arc<str>,
    /// Number of visits that contain it.
    visits: u32,
}

impl Hashes {
    pub(super) fn insert(&mut self, url: &str) {
        let (host, forms) = forms(url);
        let host: Arc<str> = host.into();
        for (form, text) in forms {
            if let Some(known) = self.texts.get_mut(text.as_str()) {
                known.visits += 1;
                continue;
            }
            let text: Arc<str> = text.into();
            self.strong.insert(&text);
            for algorithm in SHORT {
                self.short.insert(algorithm.short(&text), (algorithm, text.clone()));
            }
            self.texts.insert(text, Known { form, host: host.clone(), visits: 1 });
        }
    }

    pub(super) fn remove(&mut self, url: &str) {
        for (_, text) in forms(url).1 {
            let Some(known) = self.texts.get_mut(text.as_str()) else {
                continue;
            };
            known.visits -= 1;
            if known.visits > 0 {
                continue;
            }
            self.texts.remove(text.as_str());
            self.removed += 1;
        }
        // To look through all hashes now and then costs less than to compute those of a text again.
        if self.removed * 4 > self.texts.len() {
            self.strong.retain(|text| self.texts.contains_key(text));
            self.short.retain(|_, (_, text)| self.texts.contains_key(text));
            self.removed = 0;
        }
    }

    /// Looks up a value. `named` reports whether the name of its field says that it holds
    /// a hash of an address.
    pub(super) fn find(&self, value: &str, named: impl FnOnce() -> bool) -> Option<HashMatch> {
        if self.strong.is_empty() {
            return None;
        }
        let (algorithm, text) = match self.strong.find(value) {
            Some(strong) => strong,
            None => {
                let short = parse_short(without_prefix(value)).filter(|_| named())?;
                let (algorithm, text) = self.short.get(&short)?;
                (*algorithm, text)
            }
        };
        let Known { form, host, .. } = self.texts.get(text)?;
        Some(HashMatch { algorithm, form: *form, text: text.to_string(), host: host.to_string() })
    }
}

/// Returns the host of a visit, and its texts that are hashed.
fn forms(url: &str) -> (String, Vec<(HashedForm, String)>) {
    /// Shorter paths are those of many pages.
    const MIN_PATH: usize = 12;
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
    match host.strip_prefix("www.") {
        Some(bare) => add(HashedForm::Host, bare),
        None => add(HashedForm::Host, &format!("www.{host}")),
    }
    add(HashedForm::Host, &format!("{host}/"));
    let (unicode, _) = idna::domain_to_unicode(&host);
    add(HashedForm::Host, &unicode);
    if unicode != host {
        add(HashedForm::Url, &whole.replacen(authority, &unicode, 1));
    }
    let path = &bare[authority.len()..];
    let is_page = path.find('?').unwrap_or(path.len()) >= MIN_PATH;
    if is_page {
        add(HashedForm::Path, path);
        add(HashedForm::Path, path.split('?').next().unwrap_or(path));
    }
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
    (host, forms)
}

/// Parses a 32-bit number: decimal, signed or unsigned, or eight hexadecimal
/// digits.
fn parse_short(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<i64>() {
        return u32::try_from(number).ok().or(i32::try_from(number).ok().map(i32::cast_unsigned));
    }
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok())?
}
