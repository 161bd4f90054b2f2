//! What a browser tried to send during an audit and what did not arrive.
//!
//! A "no" says that nothing was sent. If no server could be reached, that is true and
//! proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    gather::Observations,
    phase::Phase,
    report::{NotArrived, UnfinishedReport, UnreachedReport},
};
use tracer_core::{
    account::{Account, Attempt, UnreachedHost},
    alert::rfc3339,
    record::BootTime,
};

/// Maximum number of hosts, and of requests, in a report.
const MAX_LISTED: usize = 200;

impl NotArrived {
    /// Lists what did not arrive, without the hosts of the audit's own pages.
    pub(super) fn new(observations: &Observations) -> Self {
        let time = |time: BootTime| rfc3339(observations.journal().clock.unix(time));
        let hosts = unreached(observations);
        let mut unlisted = accounts(observations).map(|account| account.arrivals.uncounted()).sum();
        unlisted += hosts.len().saturating_sub(MAX_LISTED) as u64;
        let hosts = hosts.into_iter().take(MAX_LISTED).map(|host| UnreachedReport {
            phases: phases(observations, &host),
            host: host.host,
            attempt: host.attempt,
            lookups: host.lookups,
            connections: host.connections,
            first: time(host.first),
            last: time(host.last),
        });
        let requests = accounts(observations).flat_map(|it| it.arrivals.unfinished_requests());
        let mut requests: Vec<_> = requests.collect();
        requests.sort_by_key(|request| request.time);
        unlisted += requests.len().saturating_sub(MAX_LISTED) as u64;
        let requests = requests.into_iter().take(MAX_LISTED).map(|request| UnfinishedReport {
            time: time(request.time),
            phase: observations.phase_at(request.time),
            host: request.host.clone(),
            method: request.method.clone(),
        });
        Self {
            outside_connections: outside_connections(observations),
            hosts: hosts.collect(),
            requests: requests.collect(),
            unlisted,
        }
    }
}

/// Returns the reason why a "no" would prove nothing: the browser tried to reach other
/// machines, and reached none.
pub(super) fn nothing_arrived(observations: &Observations) -> Option<String> {
    if outside_connections(observations) > 0 {
        return None;
    }
    let hosts = unreached(observations);
    let first = hosts.first()?;
    let more = match hosts.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "no other machine was reached, although the browser tried to ({}{more}), so what it would \
         have sent is not known",
        first.host
    ))
}

fn accounts(observations: &Observations) -> impl Iterator<Item = &Account> {
    let known = observations.accounts.applications().into_iter().map(|(_, account)| account);
    known.chain([observations.accounts.others()])
}

fn outside_connections(observations: &Observations) -> u64 {
    accounts(observations).map(|account| account.arrivals.connections().outside).sum()
}

/// Returns the hosts that no application reached, without those of the audit's pages.
fn unreached(observations: &Observations) -> Vec<UnreachedHost> {
    let mut hosts: BTreeMap<String, UnreachedHost> = BTreeMap::new();
    let mut reached = BTreeSet::new();
    for account in accounts(observations) {
        reached.extend(account.arrivals.reached());
        for host in account.arrivals.unreached() {
            match hosts.get_mut(&host.host) {
                None => {
                    hosts.insert(host.host.clone(), host);
                }
                Some(known) => {
                    known.attempt = known.attempt.max(host.attempt);
                    known.lookups += host.lookups;
                    known.connections += host.connections;
                    known.first = known.first.min(host.first);
                    known.last = known.last.max(host.last);
                }
            }
        }
    }
    let own = |host: &str| observations.canaries.iter().any(|page| belongs_to(host, page.host()));
    let mut list: Vec<_> = hosts.into_values().collect();
    list.retain(|host| !reached.contains(&host.host[..]) && !own(&host.host));
    list.sort_by_key(|host| (std::cmp::Reverse(host.attempt != Attempt::LookedUp), host.first));
    list
}

/// Reports whether a host is that of a page, or its sibling.
fn belongs_to(host: &str, page: &str) -> bool {
    let parent = page.split_once('.').map_or(page, |(_, parent)| parent);
    host == page
        || parent.contains('.') && host.strip_suffix(parent).is_some_and(|it| it.ends_with('.'))
}

/// Returns the phases of the first and the last attempt.
fn phases(observations: &Observations, host: &UnreachedHost) -> Vec<Phase> {
    let mut phases: Vec<_> =
        [host.first, host.last].into_iter().filter_map(|at| observations.phase_at(at)).collect();
    phases.dedup();
    phases
}

#[cfg(test)]
mod tests {
    use super::belongs_to;

    #[test]
    fn siblings_of_a_page_belong_to_the_audit() {
        assert!(belongs_to("news-a.audit.test", "news-a.audit.test"));
        assert!(belongs_to("accept.audit.test", "news-a.audit.test"));
        assert!(!belongs_to("collector.test", "news-a.audit.test"));
        assert!(!belongs_to("notaudit.test", "news-a.audit.test"));
        // Other sites of a top-level domain do not.
        assert!(!belongs_to("other.test", "news.test"));
    }
}
