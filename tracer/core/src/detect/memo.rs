//! Memory of requests that are sent again and again, and of values in which nothing is encoded.
//!
//! A program that polls, or reports that it is alive, sends the same bytes each time. What they
//! disclose depends on nothing but the bytes, the recipient's site and the visited pages, so it need
//! not be searched for again.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use foldhash::{HashMap, fast::RandomState};

use super::{Context, Findings};
use crate::{
    address::Site,
    content,
    finding::{Candidate, Finding, UrlPart},
    proto::{Body, Initiator, Request},
};

/// The memory of detection: requests and values that were sent before. It changes no result.
#[derive(Debug, Default)]
pub struct Memo {
    pub(super) values: content::Memo,
    pub(super) requests: Requests,
}

/// Number of requests of which only the hash is kept, until one is repeated.
const SEEN: usize = 1024;

/// Maximum number of requests that are remembered.
const MAX_REQUESTS: usize = 128;

/// Maximum size of a request that is remembered.
const MAX_SIZE: usize = 32 << 10;

/// Maximum size of all requests that are remembered, with their findings.
const MAX_BYTES: usize = 1 << 20;

/// The findings of requests that were sent more than once.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Hashes of requests. A request has one possible slot.
    seen: Vec<u64>,
    known: HashMap<u64, Known>,
    /// Approximate size of `known`.
    bytes: usize,
    /// Its key is random, so that a sender cannot choose requests with equal hashes. Requests are
    /// compared as a whole, so that a collision changes no result.
    hasher: RandomState,
}

#[derive(Debug)]
struct Known {
    request: Request,
    initiator: Initiator,
    site: Option<Site>,
    visits: u64,
    is_browser: bool,
    findings: Findings,
}

/// The hash of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

impl Requests {
    /// Returns the key of a request. `None` if it is too large to be remembered.
    pub(super) fn key(&self, request: &Request) -> Option<Key> {
        let headers = request.headers.iter().map(|it| it.name.len() + it.value.len());
        let size = request.target().len() + request.body.data.len() + headers.sum::<usize>();
        (size <= MAX_SIZE).then(|| {
            let mut hasher = self.hasher.build_hasher();
            (&request.authority, &request.path, &*request.body.data).hash(&mut hasher);
            for header in &request.headers {
                (&*header.name, &*header.value).hash(&mut hasher);
            }
            Key(hasher.finish())
        })
    }

    /// Returns the findings of an equal request in an equal context.
    pub(super) fn get(
        &self,
        Key(key): Key,
        request: &Request,
        context: &Context<'_>,
    ) -> Option<&Findings> {
        let known = self.known.get(&key)?;
        let is_same = known.visits == context.visits.stamp()
            && known.site.as_ref() == context.site
            && known.initiator == context.initiator
            && known.is_browser == context.is_browser
            && is_same(&known.request, request);
        is_same.then_some(&known.findings)
    }

    /// Remembers the findings of a request, if its hash was seen before.
    pub(super) fn insert(
        &mut self,
        Key(key): Key,
        request: &Request,
        context: &Context<'_>,
        findings: &Findings,
    ) {
        self.seen.resize(SEEN, 0);
        let slot = usize::try_from(key % SEEN as u64).unwrap_or(0);
        if self.seen.get_mut(slot).is_none_or(|seen| std::mem::replace(seen, key) != key) {
            return;
        }
        let size = size_of_request(request) + size_of_findings(findings);
        if size > MAX_BYTES / 4 {
            return;
        }
        if self.known.len() >= MAX_REQUESTS || self.bytes + size > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        let known = Known {
            request: request.clone(),
            initiator: context.initiator,
            site: context.site.cloned(),
            visits: context.visits.stamp(),
            is_browser: context.is_browser,
            findings: findings.clone(),
        };
        // The size of one that is replaced still counts, until all are forgotten.
        self.known.insert(key, known);
    }
}

#[cfg(test)]
impl Requests {
    /// Reports whether the memory holds something, and no more than it may.
    pub(super) fn is_bounded(&self) -> bool {
        let sizes = self.known.values();
        let bytes: usize =
            sizes.map(|it| size_of_request(&it.request) + size_of_findings(&it.findings)).sum();
        (1..=MAX_REQUESTS).contains(&self.known.len()) && bytes <= MAX_BYTES
    }
}

/// Reports whether two requests are the same apart from their times.
fn is_same(one: &Request, other: &Request) -> bool {
    // Taken apart, so that no new field is forgotten.
    let Request {
        time: _,
        protocol,
        method,
        authority,
        path,
        headers,
        partial,
        head_cut,
        body,
        complete,
        unread_bytes,
        update,
        never_sent,
    } = one;
    *body == other.body
        && *path == other.path
        && *headers == other.headers
        && *authority == other.authority
        && *method == other.method
        && *partial == other.partial
        && (protocol, head_cut, complete) == (&other.protocol, &other.head_cut, &other.complete)
        && (unread_bytes, update, never_sent)
            == (&other.unread_bytes, &other.update, &other.never_sent)
}

/// Returns the approximate size of a request in memory.
fn size_of_request(request: &Request) -> usize {
    let Request { authority, path, headers, partial, body: Body { data, gaps, .. }, .. } = request;
    let texts = [authority, path].into_iter().flatten().map(String::len).sum::<usize>();
    let fields = headers.iter().map(|it| size_of_val(it) + it.name.len() + it.value.len());
    let partial = partial
        .iter()
        .map(|it| size_of_val(it) + it.name.known().len() + it.value.known().len())
        .sum::<usize>();
    size_of::<Known>() + texts + fields.sum::<usize>() + partial + data.len() + size_of_val(&**gaps)
}

/// Returns the approximate size of findings in memory.
fn size_of_findings(findings: &Findings) -> usize {
    let Findings { list, candidates, parts, .. } = findings;
    let list = list.iter().map(|it| size_of::<Finding>() + 128 + it.value.len() + it.chain.len());
    let candidates =
        candidates.iter().map(|it| size_of::<Candidate>() + it.value.len() + it.chain.len());
    let parts = parts.iter().map(|it| size_of::<UrlPart>() + it.url.len() + it.chain.len());
    list.sum::<usize>() + candidates.sum::<usize>() + parts.sum::<usize>()
}
