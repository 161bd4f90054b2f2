//! Visits: the pages that an application has opened, derived from its requests.
//!
//! A navigation request names the page. If requests cannot be read, the server
//! names in ClientHellos and DNS queries still reveal the host. The number of both
//! is bounded; the oldest are dropped first.

mod algorithm;
mod digests;
mod hashes;
mod index;
mod notation;
mod page;
mod spellings;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::VecDeque, ops::Range};

pub use self::{
    algorithm::{Algorithm, Common},
    digests::{Breadth, TextHashes},
    hashes::{HashMatch, HashedForm},
    page::Page,
};
use self::{
    hashes::Hashes,
    index::{Grams, Index, Part},
};
use crate::{
    address::{Address, Site, host_of_authority, normalize_host, without_scheme},
    finding::{Scope, Visited},
    record::BootTime,
};

/// Pages that are remembered of one application. A day of heavy use opens some
/// hundred, and reports of them follow within minutes, or in the next batch.
const MAX_PAGES: usize = 256;

/// Hosts that are remembered of one application. A page uses some dozen.
const MAX_HOSTS: usize = 1024;

/// A page that an application visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// URL of the page as it was requested.
    pub url: String,
    /// Time of the last visit.
    pub time: BootTime,
    address: Address,
    site: Option<Site>,
}

/// The visits of one application.
#[derive(Debug, Clone, Default)]
pub struct Visits {
    /// The most recent visit is the last.
    pages: VecDeque<Visit>,
    /// Hosts that were looked up, or named in a ClientHello.
    hosts: VecDeque<(String, BootTime)>,
    hashes: Hashes,
    index: Index,
    /// Pieces of the last [`RECENT`] URLs.
    recent: Grams,
    /// Changes with the pages and with their order.
    stamp: u64,
}

/// Visits whose parts are looked for. The parts of one report follow soon.
const RECENT: usize = 8;

impl Visits {
    /// Records a visit. Returns `true` if the page is new.
    pub fn record_page(&mut self, page: &Page<'_>, time: BootTime) -> bool {
        if let Some(at) = self.pages.iter().position(|known| known.address == page.address) {
            let is_newest = at + 1 == self.pages.len();
            if let Some(mut known) = self.pages.remove(at) {
                known.time = known.time.max(time);
                self.pages.push_back(known);
            }
            if !is_newest {
                self.changed(&page.url);
            }
            return false;
        }
        if self.pages.len() == MAX_PAGES
            && let Some(oldest) = self.pages.pop_front()
        {
            self.hashes.remove(&oldest.url);
            self.index.remove(&oldest);
        }
        self.hashes.insert(&page.url);
        let (address, site) = (page.address.clone(), page.address.site());
        let visit = Visit { url: page.url.clone().into_owned(), time, address, site };
        self.index.insert(&visit);
        self.pages.push_back(visit);
        self.changed(&page.url);
        true
    }

    /// Notes that a page is now the most recent one.
    fn changed(&mut self, url: &str) {
        self.recent = Grams::new(self.newest().take(RECENT).map(|visit| &*visit.url));
        self.stamp = self.index.stamp(self.stamp, url);
    }

    /// Returns a number that is the same as long as the pages and their order are. Those of visits
    /// to other pages differ. Times of visits and hosts that were looked up do not count.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Records that a host was looked up.
    pub fn record_lookup(&mut self, host: &str, time: BootTime) {
        let host = normalize_host(host);
        self.hosts.retain(|(known, _)| *known != host);
        if self.hosts.len() == MAX_HOSTS {
            self.hosts.pop_front();
        }
        self.hosts.push_back((host, time));
    }

    /// Reports whether no page is known.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Returns the visit that an address is about, in a request sent at `now`, and
    /// how much of the visit's URL it reveals. `truncated` is set if the address
    /// may continue.
    pub fn find(&self, address: &Address, truncated: bool, now: BootTime) -> (Visited, Scope) {
        let scope = match () {
            () if address.has_query() => Scope::Full,
            () if address.is_host() => Scope::Host,
            () => Scope::HostPath,
        };
        if !self.index.may_have(Part::Host, address.host()) {
            return (self.host(address.host(), now), scope);
        }
        let newest = || self.pages.iter().rev();
        let is_page = |visit: &&Visit| {
            if truncated { address.begins(&visit.address) } else { *address == visit.address }
        };
        // The address of a host's front page is also that of the host itself.
        if let Some(visit) = newest().find(is_page).filter(|_| !address.is_host()) {
            let scope = if truncated { scope } else { Scope::Full };
            return (visit.seen(now), scope);
        }
        // A report in capitals says the same.
        if !truncated
            && !address.is_host()
            && let Some(visit) = newest().find(|visit| address.eq_ignore_case(&visit.address))
        {
            return (visit.seen(now), Scope::Full);
        }
        if let Some(visit) = newest().find(|visit| address.goes_beyond(&visit.address)) {
            return (visit.seen(now), Scope::Full);
        }
        if let Some(visit) = newest().find(|visit| address.same_path(&visit.address))
            && !address.is_host()
        {
            return (visit.seen(now), Scope::HostPath);
        }
        (self.host(address.host(), now), scope)
    }

    /// Returns the visit to a host or a registrable domain, or to the host that a label names.
    pub fn host(&self, host: &str, now: BootTime) -> Visited {
        let ago = |time| now.since(time);
        if let Some(visit) = self.page_on(host) {
            return Visited::Host { host: host.to_owned(), ago: ago(visit.time) };
        }
        if !host.contains('.')
            && let Some(visit) = self.page_on_label(host)
        {
            let host = host_of_authority(visit.address.host()).to_owned();
            return Visited::Host { host, ago: ago(visit.time) };
        }
        let bare = host_of_authority(host);
        if let Some((host, time)) = self.hosts.iter().rev().find(|(known, _)| known == bare) {
            return Visited::Host { host: host.clone(), ago: ago(*time) };
        }
        if self.pages.is_empty() { Visited::Unknown } else { Visited::No }
    }

    /// Returns the last visited page on a host, or on any host of a registrable
    /// domain.
    pub fn page_on(&self, host: &str) -> Option<&Visit> {
        let host = &*normalize(host);
        if !self.index.may_have(Part::Host, host) {
            return None;
        }
        self.pages.iter().rev().find(|visit| {
            visit.address.host().eq_ignore_ascii_case(host)
                || visit.site.as_ref().is_some_and(|site| site.as_str().eq_ignore_ascii_case(host))
        })
    }

    /// Returns the URLs of the last visited pages, at most `count`, without their schemes: in
    /// recordings as text, a scheme is not known.
    pub fn last_addresses(&self, count: usize) -> Vec<&str> {
        let urls = self.newest().take(count).map(|visit| &*visit.url);
        urls.map(|url| url.split_once("://").map_or(url, |(_, address)| address)).collect()
    }

    /// Returns the last visited page on exactly this host, with or without `www.`.
    pub fn page_on_host(&self, host: &str) -> Option<&Visit> {
        let host = normalize(host);
        let bare = without_www(&host);
        if !self.index.may_have(Part::BareHost, bare) {
            return None;
        }
        self.newest().find(|visit| {
            without_www(host_of_authority(visit.address.host())).eq_ignore_ascii_case(bare)
        })
    }

    /// Returns the last visited page whose host is `name` with other characters in
    /// place of its dots, such as `news-example-org`.
    pub fn page_on_label(&self, name: &str) -> Option<&Visit> {
        if !self.index.may_have(Part::Label, name) {
            return None;
        }
        self.newest().find(|visit| {
            let host = host_of_authority(visit.address.host());
            is_label_of(name, host) || is_label_of(name, without_www(host))
        })
    }

    fn newest(&self) -> impl Iterator<Item = &Visit> {
        self.pages.iter().rev()
    }

    /// Returns the visited page with this URL.
    pub fn page(&self, url: &str) -> Option<&Visit> {
        let address = Address::parse(url)?;
        if !self.index.may_have(Part::Host, address.host()) {
            return None;
        }
        self.pages.iter().rev().find(|visit| visit.address == address)
    }

    /// Reports whether a visited page has this path, which may have a query. The path
    /// `/` never counts.
    pub fn has_path(&self, path: &str) -> bool {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        path.len() > 1
            && self.index.may_have(Part::Path, path)
            && self.pages.iter().any(|visit| visit.address.path() == path)
    }

    /// Reports whether a text was a parameter of a visited page on another site than `own`,
    /// as search terms are that were typed there.
    pub fn asked_elsewhere(&self, text: &str, own: Option<&Site>) -> bool {
        /// Shorter texts are settings.
        const MIN: usize = 4;
        let text = text.trim();
        text.len() >= MIN
            && self.newest().filter(|visit| visit.site() != own).any(|visit| {
                let query = visit.address.query().unwrap_or_default();
                query.split('&').filter_map(|pair| pair.split_once('=')).any(|(_, value)| {
                    value.len() == text.len()
                        && value.bytes().zip(text.bytes()).all(|(one, other)| {
                            one.eq_ignore_ascii_case(&other) || one == b'+' && other == b' '
                        })
                })
            })
    }

    /// Returns the part of a recently visited URL that a text is: its host, its origin, its
    /// path, or another piece that is too long to be there by chance.
    pub fn part(&self, text: &str) -> Option<(&Visit, Range<usize>)> {
        /// The shortest piece of a URL that is not by chance in it.
        const MIN_PIECE: usize = 8;
        /// The shortest path with the slash that begins it.
        const MIN_PATH: usize = 5;
        /// Longer texts are content.
        const MAX: usize = 512;
        if !(4..=MAX).contains(&text.len()) {
            return None;
        }
        let bare = without_scheme(text);
        let is_start = bare.len() < text.len();
        if !self.recent.may_contain(bare) {
            return None;
        }
        self.newest().take(RECENT).find_map(|visit| {
            let url = &*visit.url;
            let at = memchr::memmem::find(url.as_bytes(), bare.as_bytes())?;
            let end = at + bare.len();
            let host = visit.host_range();
            if is_start && at != host.start {
                return None;
            }
            let is_host = end == host.end && at == host.start;
            let is_path = at == host.end
                && text.len() >= MIN_PATH
                && matches!(url.as_bytes().get(end), None | Some(b'?' | b'#'));
            (is_host || is_path || text.len() >= MIN_PIECE).then_some((visit, at..end))
        })
    }

    /// Returns the visited address that a value is a hash of. `named` reports whether the
    /// name of its field says that it holds a hash of an address; 32 bits suffice then.
    pub fn hashed(&self, value: &str, named: impl FnOnce() -> bool) -> Option<HashMatch> {
        self.hashes.find(value, named)
    }

    /// Returns the visited address of which a hash is among other bytes, which are written in
    /// hexadecimal, and the digits of the hash.
    pub fn hashed_within<'d>(&self, digits: &'d str) -> Option<(HashMatch, &'d str)> {
        self.hashes.find_within(digits)
    }
}

/// Reports whether a label names a host: with `-`, `_` or `--` in place of its dots, or with
/// `-` and its own hyphens doubled.
fn is_label_of(label: &str, host: &str) -> bool {
    let is = |dot: &str, hyphen: &str| {
        let mut rest = label.as_bytes();
        host.bytes().all(|byte| {
            let written = match byte {
                b'.' => dot.as_bytes(),
                b'-' => hyphen.as_bytes(),
                _ => {
                    let found =
                        rest.split_off_first().is_some_and(|it| it.eq_ignore_ascii_case(&byte));
                    return found;
                }
            };
            rest.strip_prefix(written).is_some_and(|after| {
                rest = after;
                true
            })
        }) && rest.is_empty()
    };
    label.len() >= host.len()
        && [("-", "-"), ("_", "-"), ("--", "-"), ("-", "--")]
            .iter()
            .any(|(dot, hyphen)| is(dot, hyphen))
}

fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

/// Normalises a host, which is rarely necessary.
fn normalize(host: &str) -> Cow<'_, str> {
    if host.is_ascii() { Cow::Borrowed(host) } else { Cow::Owned(normalize_host(host)) }
}

impl Visit {
    /// Returns the site of the page.
    pub fn site(&self) -> Option<&Site> {
        self.site.as_ref()
    }

    /// Returns the position of the host, with its port, in the URL.
    pub fn host_range(&self) -> Range<usize> {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..].find(['/', '?', '#']).map_or(self.url.len(), |at| start + at);
        start..end
    }

    /// Describes the visit in relation to a request sent at `now`.
    pub fn seen(&self, now: BootTime) -> Visited {
        Visited::Page { url: self.url.clone(), ago: now.since(self.time) }
    }
}
