//! The pages of an experiment, and the order of its visits.
//!
//! The pages have few different hosts, paths, queries and titles, and each of them occurs with
//! several of the others. A value that is equal for the pages of one host, and different for other
//! hosts, therefore depends on the host alone:
//!
//! ```text
//! page   host  path  query  title        Two paths and two queries with each host,
//!   1     h0    p0    q0     t0          and two hosts with each path and each query.
//!   2     h1    p0    q2     t1          Paths, queries and titles have different lengths.
//!   3     h2    p2    q0     t0
//!   …
//! ```

use super::statistics::Random;
use crate::canary::{Canary, Hosting, word};

/// Maximum number of pages.
pub const MAX_PAGES: u32 = 16;

/// Maximum number of visits.
pub const MAX_VISITS: u32 = 64;

/// Maximum number of windows without a visit.
pub const MAX_IDLE: u32 = 64;

/// Lengths of the paths, in characters.
const PATHS: [usize; 4] = [20, 150, 60, 350];

/// Lengths of the queries. The longest URL has fewer than 2,000 characters, which every browser and
/// server accepts.
const QUERIES: [usize; 4] = [20, 900, 400, 1500];

/// Lengths of the titles.
const TITLES: [usize; 4] = [20, 60, 120, 200];

/// A window of an experiment: a page is opened, or nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The page with this index is opened.
    Visit(usize),
    /// The browser is left alone.
    Idle,
}

/// The indices of a page's host, path, query and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels {
    host: usize,
    path: usize,
    query: usize,
    title: usize,
}

impl Levels {
    /// Returns the levels of a page. The first 4 and the first 8 pages are balanced too.
    fn from_number(page: usize, one_host: bool) -> Self {
        if one_host {
            let (path, query) = (page & 3, page >> 2 & 3);
            return Self { host: 0, path, query, title: path ^ query };
        }
        let (host, path) = (page & 3, page >> 2 & 1);
        let turned = page >> 3 & 1;
        Self {
            host,
            path: path | host & 2,
            query: (path ^ turned) | (host & 1) << 1,
            title: turned << 1 | (host ^ path) & 1,
        }
    }
}

/// Makes up `count` pages, which have the numbers from `first` on.
pub fn pages(first: u64, hosting: &Hosting, count: u32, seed: u64) -> Vec<Canary> {
    let mut random = Random::new(seed);
    let mut words = |length: usize| {
        let mut text = String::new();
        while text.len() < length {
            if !text.is_empty() {
                text.push('-');
            }
            let [a, b, c, ..] = random.next().to_be_bytes();
            text.push_str(&word(&[a, b, c]));
        }
        text
    };
    let hosts: [String; 4] = std::array::from_fn(|_| words(6).replace('-', "") + &words(4));
    let paths = PATHS.map(&mut words);
    let queries = QUERIES.map(&mut words);
    let titles = TITLES.map(&mut words);
    let one_host = matches!(hosting, Hosting::Below(_));
    (0..count.min(MAX_PAGES))
        .map(|page| {
            let levels = Levels::from_number(page as usize, one_host);
            Canary::from_words(
                first + u64::from(page),
                hosting,
                &hosts[levels.host],
                &paths[levels.path],
                &queries[levels.query],
                &titles[levels.title],
            )
        })
        .collect()
}

/// Returns the windows of an experiment in random order.
pub fn schedule(pages: usize, visits: u32, idle: u32, seed: u64) -> Vec<Step> {
    let visits = (visits as usize).min((MAX_VISITS as usize).checked_div(pages).unwrap_or(0));
    let mut steps: Vec<Step> = (0..pages)
        .flat_map(|page| std::iter::repeat_n(Step::Visit(page), visits))
        .chain(std::iter::repeat_n(Step::Idle, idle.min(MAX_IDLE) as usize))
        .collect();
    Random::new(seed).shuffle(&mut steps);
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn wildcard() -> Hosting {
        Hosting::Wildcard { domain: "audit.test".into(), port: 8443 }
    }

    #[test]
    fn every_level_has_the_same_number_of_pages() {
        for (hosting, hosts) in [(wildcard(), 4), (Hosting::Below("http://127.0.0.1".into()), 1)] {
            for count in [4, 8, 16] {
                let pages = pages(1, &hosting, count, 5);
                let urls: BTreeSet<&str> = pages.iter().map(|page| &page.url[..]).collect();
                assert_eq!(urls.len(), count as usize, "{hosting:?} {count}");
                let parts: [fn(&Canary) -> &str; 4] =
                    [Canary::host, |it| &it.path_word, |it| &it.query_word, |it| &it.title];
                for (i, part) in parts.into_iter().enumerate() {
                    let mut each: BTreeMap<&str, usize> = BTreeMap::new();
                    pages.iter().for_each(|page| *each.entry(part(page)).or_default() += 1);
                    let least = each.values().min().unwrap();
                    assert!(each.values().all(|pages| pages == least), "{count} {i}: {each:?}");
                    assert!(i > 0 || each.len() == hosts, "{each:?}");
                    assert!(count < 16 || i == 0 || each.len() == 4, "{each:?}");
                }
            }
        }
    }

    #[test]
    fn lengths_are_spread() {
        let pages = pages(1, &wildcard(), 16, 9);
        let lengths: BTreeSet<usize> = pages.iter().map(|page| page.url.len()).collect();
        assert_eq!(lengths.len(), 16, "{lengths:?}");
        assert!(*lengths.first().unwrap() < 120 && *lengths.last().unwrap() > 1800);
        assert!(*lengths.last().unwrap() < 2000, "{lengths:?}");
        assert_eq!(self::pages(1, &wildcard(), 99, 9).len(), 16);
        assert!(self::pages(1, &wildcard(), 0, 9).is_empty());
    }

    #[test]
    fn a_schedule_has_each_window_once() {
        let steps = schedule(16, 2, 10, 3);
        assert_eq!(steps.len(), 42);
        assert_ne!(steps, schedule(16, 2, 10, 4));
        for page in 0..16 {
            assert_eq!(steps.iter().filter(|step| **step == Step::Visit(page)).count(), 2);
        }
        assert_eq!(schedule(16, 1000, 0, 3).len(), 64);
        assert_eq!(schedule(0, 2, 1, 3), [Step::Idle]);
    }
}
