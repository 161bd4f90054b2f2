//! The recipients from which the pages of a site load, from visit to visit.
//!
//! A script of an extension in a page makes requests in the page's name. No field tells them
//! from the page's own, but a site that loads from the same recipients on every visit, and then
//! suddenly from another one, is noteworthy. Sites whose advertisements rotate never load from
//! the same recipients, and are not.

use std::collections::VecDeque;

use crate::address::Site;

/// Number of visits in a row on which a site loads from no new recipient, after which a new one
/// is unusual.
const STEADY: u32 = 3;

/// Sites that are remembered of one application; the least recently visited are forgotten first.
const MAX_SITES: usize = 64;

/// Recipients that are remembered of one site. A site with more is never steady.
const MAX_RECIPIENTS: usize = 64;

/// The loads of the sites that an application visited.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// The last visited site is the last.
    sites: VecDeque<SiteLoads>,
}

#[derive(Debug)]
struct SiteLoads {
    site: Site,
    recipients: Vec<Site>,
    /// Number of complete visits in a row with known recipients only.
    steady: u32,
    current: Visit,
}

/// Recipients of the current visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Nothing,
    FromKnown,
    FromNew,
}

impl Loads {
    /// Records that a page of a site was opened.
    pub(super) fn record_visit(&mut self, site: &Site) {
        let at = self.sites.iter().position(|known| known.site == *site);
        let mut known = at.and_then(|at| self.sites.remove(at)).unwrap_or_else(|| SiteLoads {
            site: site.clone(),
            recipients: Vec::new(),
            steady: 0,
            current: Visit::Nothing,
        });
        match known.current {
            // From a cache, or not seen.
            Visit::Nothing => {}
            Visit::FromKnown => known.steady += 1,
            Visit::FromNew => known.steady = 0,
        }
        known.current = Visit::Nothing;
        if self.sites.len() == MAX_SITES {
            self.sites.pop_front();
        }
        self.sites.push_back(known);
    }

    /// Records that a page of a site sent something to a recipient. Returns `true` if that is
    /// unusual.
    pub(super) fn record_load(&mut self, site: &Site, recipient: &Site) -> bool {
        let Some(known) = self.sites.iter_mut().find(|known| known.site == *site) else {
            return false;
        };
        if site == recipient || known.recipients.contains(recipient) {
            if known.current == Visit::Nothing {
                known.current = Visit::FromKnown;
            }
            return false;
        }
        if known.recipients.len() < MAX_RECIPIENTS {
            known.recipients.push(recipient.clone());
        }
        known.current = Visit::FromNew;
        known.steady >= STEADY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str) -> Site {
        Site::from_host(host).unwrap()
    }

    /// Visits a site, which loads from these recipients. Returns those that are unusual.
    fn visit(loads: &mut Loads, recipients: &[&str]) -> Vec<String> {
        let page = site("news.example.org");
        loads.record_visit(&page);
        let unusual =
            recipients.iter().filter(|host| loads.record_load(&page, &site(host))).copied();
        unusual.map(str::to_owned).collect()
    }

    #[test]
    fn a_new_recipient_of_a_steady_site_is_unusual() {
        let mut loads = Loads::default();
        for _ in 0..=STEADY {
            assert!(visit(&mut loads, &["cdn.test", "ads.test"]).is_empty());
        }
        // The last visit counts when the next one begins.
        assert_eq!(visit(&mut loads, &["cdn.test", "spy.test"]), ["spy.test"]);
        // Now it is known, and the site is not steady.
        assert!(visit(&mut loads, &["spy.test", "other.test"]).is_empty());
    }

    #[test]
    fn rotating_advertisements_are_not_unusual() {
        let mut loads = Loads::default();
        for number in 0..20 {
            let ads = format!("ads-{number}.test");
            assert!(visit(&mut loads, &["cdn.test", &ads]).is_empty(), "{number}");
        }
    }

    #[test]
    fn few_visits_and_empty_ones_show_nothing() {
        let mut loads = Loads::default();
        assert!(visit(&mut loads, &["cdn.test"]).is_empty());
        for _ in 0..10 {
            assert!(visit(&mut loads, &[]).is_empty());
        }
        assert!(visit(&mut loads, &["spy.test"]).is_empty());
        let unknown = loads.record_load(&site("other.example"), &site("spy.test"));
        assert!(!unknown);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut loads = Loads::default();
        for number in 0..1000 {
            let page = site(&format!("page-{number}.test"));
            loads.record_visit(&page);
            for recipient in 0..100 {
                loads.record_load(&page, &site(&format!("host-{recipient}.test")));
            }
        }
        assert_eq!(loads.sites.len(), MAX_SITES);
        assert!(loads.sites.iter().all(|known| known.recipients.len() == MAX_RECIPIENTS));
    }
}
