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
//! BLAKE, RIPEMD-160, SM3,   of the most usual of these
//! SHAKE, hashes of hashes
//! MD5, SHA-1, SHA-256       of less usual spellings
//! ```
//!
//! Values may be in hexadecimal, base64 or base32, complete or truncated to at least 64
//! bits. 32-bit hashes match only in fields whose name says that they hold a hash
//! of an address.

use std::sync::Arc;

use foldhash::HashMap;
use serde::Serialize;

use super::{
    algorithm::Algorithm,
    digests::{Breadth, SHORT, TextHashes, without_prefix},
    spellings::{Spelling, spellings},
};
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
    /// The address that it is a spelling of, if it is not one itself.
    of: Option<Arc<str>>,
    breadth: Breadth,
    /// Number of visits that contain it.
    visits: u32,
}

impl Hashes {
    pub(super) fn insert(&mut self, url: &str) {
        let (host, forms) = forms(url);
        let host: Arc<str> = host.into();
        for Form { form, text, of, breadth } in forms {
            let text: Arc<str> = text.into();
            if let Some(known) = self.texts.get_mut(&text) {
                known.visits += 1;
                if breadth > known.breadth {
                    self.strong.insert(&text, breadth);
                    (known.breadth, known.form, known.of) = (breadth, form, of.map(Into::into));
                }
                continue;
            }
            self.strong.insert(&text, breadth);
            for algorithm in SHORT {
                self.short.insert(algorithm.short(&text), (algorithm, text.clone()));
            }
            let (host, of) = (host.clone(), of.map(Into::into));
            self.texts.insert(text, Known { form, host, of, breadth, visits: 1 });
        }
    }

    pub(super) fn remove(&mut self, url: &str) {
        for Form { text, .. } in forms(url).1 {
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

    /// Looks up parts of bytes that are written in hexadecimal. Returns the digits of the hash, too.
    pub(super) fn find_within<'d>(&self, digits: &'d str) -> Option<(HashMatch, &'d str)> {
        let (algorithm, text, hash) = self.strong.find_within(digits)?;
        Some((self.found(algorithm, text)?, hash))
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
        self.found(algorithm, text)
    }

    fn found(&self, algorithm: Algorithm, text: &Arc<str>) -> Option<HashMatch> {
        let Known { form, host, of, .. } = self.texts.get(text)?;
        let text = of.as_ref().unwrap_or(text).to_string();
        Some(HashMatch { algorithm, form: *form, text, host: host.to_string() })
    }
}

/// A text of a visit that is hashed.
struct Form {
    form: HashedForm,
    text: String,
    /// As in [`Known`].
    of: Option<String>,
    breadth: Breadth,
}

/// Returns the host of a visit, and its texts that are hashed.
fn forms(url: &str) -> (String, Vec<Form>) {
    let (host, texts) = texts(url);
    let whole = url.split('#').next().unwrap_or(url);
    let bare = whole.split_once("://").map_or(whole, |(_, rest)| rest);
    let without_query = |text: &str| text.split('?').next().unwrap_or(text).to_owned();
    let urls = ["https", "http"].map(|scheme| format!("{scheme}://{bare}"));
    let site = Site::from_host(&host);
    let domain = site.as_ref().map_or("", Site::as_str);
    let mut first = vec![bare.to_owned(), without_query(bare), host.clone(), domain.to_owned()];
    first.extend(urls.iter().map(|url| without_query(url)));
    first.extend(urls.iter().cloned());
    let breadth = |text: &String| {
        if first.contains(text) { Breadth::Every } else { Breadth::Usual }
    };
    let spelled = urls.iter().flat_map(|url| spellings(url, &host));
    let mut forms: Vec<Form> = texts
        .into_iter()
        .map(|(form, text)| Form { form, breadth: breadth(&text), text, of: None })
        .collect();
    for Spelling { form, text, of } in spelled {
        if forms.iter().all(|known| known.text != text) {
            forms.push(Form { form, text, of: Some(of), breadth: Breadth::Few });
        }
    }
    (host, forms)
}

/// Returns the host of a visit, and its texts that are hashed most.
fn texts(url: &str) -> (String, Vec<(HashedForm, String)>) {
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
