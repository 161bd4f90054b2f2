//! Visits: the pages that an application opened, learnt from what it sent.
//!
//! A navigation request says the page; where requests cannot be read, the
//! server names in ClientHellos and DNS questions still say the host. Both are
//! bounded: the oldest go first.

mod hashes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::hashes::Hashes;
pub use self::hashes::{Algorithm, HashMatch, HashedForm};
use crate::{
    address::{Address, Site, host_of_authority},
    finding::{Scope, Visited},
    record::BootTime,
};

/// Pages remembered of one application. A day of heavy use opens some hundred;
/// what is reported is reported within minutes, or in the next batch.
const MAX_PAGES: usize = 256;

/// Hosts remembered of one application. A page asks for some dozen.
const MAX_HOSTS: usize = 1024;

/// The longest URL remembered: longer ones are cut, and compared as far.
const MAX_URL: usize = 2048;

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// As it was requested.
    pub url: String,
    /// When it was opened last.
    pub time: BootTime,
    address: Address,
    site: Option<Site>,
}

/// The visits of one application.
#[derive(Debug, Clone, Default)]
pub struct Visits {
    pages: VecDeque<Visit>,
    /// Hosts that were asked for, where nobody could read which page.
    hosts: VecDeque<(String, BootTime)>,
    hashes: Hashes,
}

impl Visits {
    /// A page was opened. Says whether that is news.
    pub fn opened(&mut self, url: &str, time: BootTime) -> bool {
        let url = &url[..url.floor_char_boundary(MAX_URL)];
        let Some(address) = Address::parse(url) else {
            return false;
        };
        if let Some(at) = self.pages.iter().position(|page| page.address == address) {
            // The last one is the newest.
            if let Some(mut page) = self.pages.remove(at) {
                page.time = page.time.max(time);
                self.pages.push_back(page);
            }
            return false;
        }
        if self.pages.len() == MAX_PAGES
            && let Some(oldest) = self.pages.pop_front()
        {
            self.hashes.remove(&oldest.url);
        }
        self.hashes.insert(url);
        let site = address.site();
        self.pages.push_back(Visit { url: url.to_owned(), time, address, site });
        true
    }

    /// A host was asked for.
    pub fn asked_for(&mut self, host: &str, time: BootTime) {
        let host = host.to_lowercase();
        self.hosts.retain(|(known, _)| *known != host);
        if self.hosts.len() == MAX_HOSTS {
            self.hosts.pop_front();
        }
        self.hosts.push_back((host, time));
    }

    /// Whether no page is known.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What a URL in a request that was sent at `now` is to these visits, and
    /// how much of the visit it tells. `truncated`: it may go on.
    pub fn find(&self, url: &str, truncated: bool, now: BootTime) -> (Visited, Scope) {
        let Some(address) = Address::parse(url) else {
            return (Visited::Unknown, Scope::Host);
        };
        let scope = match () {
            () if address.has_query() => Scope::Full,
            () if address.is_host() => Scope::Host,
            () => Scope::HostPath,
        };
        let newest = || self.pages.iter().rev();
        let is_page = |visit: &&Visit| {
            if truncated { address.begins(&visit.address) } else { address == visit.address }
        };
        // That somebody was at a host's front page, and that he was at the host,
        // look the same.
        if let Some(visit) = newest().find(is_page).filter(|_| !address.is_host()) {
            let scope = if truncated { scope } else { Scope::Full };
            return (visit.seen(now), scope);
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

    /// What a host, or a registrable domain, is to these visits.
    pub fn host(&self, host: &str, now: BootTime) -> Visited {
        let ago = |time| now.since(time);
        if let Some(visit) = self.page_on(host) {
            return Visited::Host { host: host.to_owned(), ago: ago(visit.time) };
        }
        let bare = host_of_authority(host);
        if let Some((host, time)) = self.hosts.iter().rev().find(|(known, _)| known == bare) {
            return Visited::Host { host: host.clone(), ago: ago(*time) };
        }
        if self.pages.is_empty() { Visited::Unknown } else { Visited::No }
    }

    /// The last page on a host, or on any host of a registrable domain.
    pub fn page_on(&self, host: &str) -> Option<&Visit> {
        self.pages.iter().rev().find(|visit| {
            visit.address.host().eq_ignore_ascii_case(host)
                || visit.site.as_ref().is_some_and(|site| site.as_str().eq_ignore_ascii_case(host))
        })
    }

    /// The page with this very URL.
    pub fn page(&self, url: &str) -> Option<&Visit> {
        let address = Address::parse(url)?;
        self.pages.iter().rev().find(|visit| visit.address == address)
    }

    /// Whether any page has this path, given with or without a query. A front
    /// page's says nothing.
    pub fn has_path(&self, path: &str) -> bool {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        path.len() > 1 && self.pages.iter().any(|visit| visit.address.path() == path)
    }

    /// The visit that a value is a hash of. `named`: its field's name says that
    /// it is one, so that 32 bits are enough.
    pub fn hashed(&self, value: &str, named: bool) -> Option<HashMatch> {
        self.hashes.find(value, named)
    }
}

impl Visit {
    /// Its site.
    pub fn site(&self) -> Option<&Site> {
        self.site.as_ref()
    }

    /// It was visited.
    pub fn seen(&self, now: BootTime) -> Visited {
        Visited::Page { url: self.url.clone(), ago: now.since(self.time) }
    }
}
