//! Joins the parts of a visited URL that an application sends to one recipient: its origin
//! in one request, its path in the next, or any other pieces.
//!
//! ```text
//! https://news.example.org/politics/story-42?q=private
//!         └── request 7 ─┘└── request 8 ───┘
//! ```
//!
//! Only the parts of visited URLs are joined, so the pieces cannot be of different pages
//! by chance.

use std::{collections::VecDeque, ops::Range, time::Duration};

use crate::{
    address::Address,
    finding::{Finding, Kind, UrlPart, UrlRole},
    record::BootTime,
};

/// Maximum number of parts of one application.
const MAX_PARTS: usize = 64;

/// Longest time between the first and the last part of a URL.
const WINDOW: Duration = Duration::from_secs(60);

/// The parts that an application has sent.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<Known>);

#[derive(Debug)]
struct Known {
    recipient: String,
    request: u64,
    time: BootTime,
    part: UrlPart,
}

impl Parts {
    /// Adds the parts in a request. Returns the URLs that they complete, except those in
    /// `found`.
    pub(super) fn join(
        &mut self,
        recipient: &str,
        parts: Vec<UrlPart>,
        found: &[Finding],
        request: u64,
        now: BootTime,
    ) -> Vec<Finding> {
        self.0.retain(|known| now.since(known.time) <= WINDOW);
        let mut joined = Vec::new();
        for part in parts {
            let url = part.url.clone();
            if self.0.len() == MAX_PARTS {
                self.0.pop_front();
            }
            let recipient = recipient.to_owned();
            let known = Known { recipient, request, time: now, part };
            let is_new = !self.0.iter().any(|it| {
                it.recipient == known.recipient && it.request == request && it.part == known.part
            });
            let recipient = known.recipient.clone();
            if is_new {
                self.0.push_back(known);
            }
            let is_found = |finding: &&Finding| {
                finding.kind == Kind::Url
                    && Address::parse(&finding.value)
                        .zip(Address::parse(&url))
                        .is_some_and(|(one, other)| one.same_path(&other))
            };
            let Some(finding) = self.whole(&recipient, &url) else { continue };
            // The parts have served.
            self.0.retain(|it| it.part.url != url || it.recipient != recipient);
            if !found.iter().any(|it| is_found(&it)) {
                joined.push(finding);
            }
        }
        joined
    }

    /// Returns a URL whose host and path are known from several parts.
    fn whole(&self, recipient: &str, url: &str) -> Option<Finding> {
        let (host, path_end) = spots(url);
        let mut parts: Vec<&UrlPart> = self
            .0
            .iter()
            .filter(|it| it.recipient == recipient && it.part.url == url)
            .map(|it| &it.part)
            .collect();
        let is_whole = |range: &Range<usize>| range.start <= host.start && range.end >= path_end;
        if parts.iter().any(|part| is_whole(&part.range)) {
            return None;
        }
        parts.sort_by_key(|part| (part.range.start, std::cmp::Reverse(part.range.end)));
        let mut end = host.start;
        let mut chains: Vec<&str> = Vec::new();
        let sent = parts.iter().find_map(|part| part.scheme.as_deref());
        let scheme = sent.or_else(|| url.split_once("://").map(|(scheme, _)| scheme));
        for part in parts {
            let Range { start, end: to } = part.range;
            // A slash between two parts may have been left out.
            let is_next =
                start <= end || url.get(end..start).is_some_and(|gap| gap == "/" || gap == "?");
            if is_next && to > end {
                end = to;
                chains.push(&part.chain);
            }
        }
        let known = if end == url.len() { end } else { path_end };
        (end >= path_end && chains.len() > 1).then(|| Finding {
            kind: Kind::Url,
            class: None,
            value: format!("{}://{}", scheme.unwrap_or("http"), &url[host.start..known]),
            chain: chains.join(" + "),
            truncated: false,
            lifetime: None,
            role: Some(UrlRole::Unknown),
            lifetime_reason: None,
        })
    }
}

/// Returns the position of the host in a URL, and the end of its path.
fn spots(url: &str) -> (Range<usize>, usize) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end =
        |from: usize, marks: &[char]| url[from..].find(marks).map_or(url.len(), |at| from + at);
    let host = start..end(start, &['/', '?', '#']);
    let path_end = end(host.end, &['?', '#']);
    (host, path_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    fn part(text: &str) -> UrlPart {
        let at = URL.find(text).expect("a part");
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_owned());
        let start = at + scheme.as_ref().map_or(0, |it| it.len() + 3);
        let range = start..at + text.len();
        UrlPart { url: URL.into(), range, scheme, chain: format!("query:{at}") }
    }

    /// Sends parts in requests of their own, a second apart. Returns what is found.
    fn send(texts: &[&str]) -> Vec<(usize, String, String)> {
        let mut parts = Parts::default();
        let send = |(at, text): (usize, &&str)| {
            let time = BootTime(at as u64 * 1_000_000_000);
            let found = parts.join("collector.example", vec![part(text)], &[], at as u64, time);
            found.into_iter().map(move |it| (at, it.value, it.chain)).collect::<Vec<_>>()
        };
        texts.iter().enumerate().flat_map(send).collect()
    }

    #[test]
    fn parts_in_any_order_are_joined_once() {
        let page = "https://news.example.org/politics/story-42";
        for texts in [
            &["https://news.example.org", "/politics/story-42"][..],
            &["/politics/story-42", "news.example.org"],
            &["news.example.org", "politics/story-42", "/politics/story-42"],
            &["https://news.exam", "ple.org/politics", "/story-42"],
        ] {
            let found = send(texts);
            let [(_, url, chain)] = &found[..] else { panic!("{texts:?}: {found:?}") };
            assert_eq!(url, page);
            assert!(chain.contains(" + "), "{chain}");
        }
        let found = send(&["news.example.org", "politics/story-42?q=private"]);
        assert_eq!(found[0].1, URL);
    }

    #[test]
    fn parts_that_do_not_meet_are_not_joined() {
        for texts in [
            &["https://news.example.org", "story-42"][..],
            &["/politics/story-42", "?q=private"],
            &["news.example.org", "news.example.org"],
            &["https://news.example.org/politics/story-42"],
        ] {
            assert_eq!(send(texts), [], "{texts:?}");
        }
    }

    #[test]
    fn parts_for_different_recipients_or_too_late_are_not_joined() {
        let mut parts = Parts::default();
        let host = || vec![part("news.example.org")];
        let path = || vec![part("/politics/story-42")];
        let second = |n: u64| BootTime(n * 1_000_000_000);
        assert_eq!(parts.join("a.example", host(), &[], 0, second(0)), []);
        assert_eq!(parts.join("b.example", path(), &[], 1, second(1)), []);
        assert_eq!(parts.join("b.example", host(), &[], 2, second(10)).len(), 1);
        assert_eq!(parts.join("a.example", path(), &[], 3, second(100)), []);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut parts = Parts::default();
        for n in 0..10 * MAX_PARTS as u64 {
            parts.join(
                &format!("{n}.example"),
                vec![part("news.example.org")],
                &[],
                n,
                BootTime(n),
            );
        }
        assert!(parts.0.len() <= MAX_PARTS);
    }
}
