//! The number of probes, which costs descriptors, and their end.
//!
//! A process can map as many files as it likes that look like TLS libraries. Without a bound, their
//! probes would use up the descriptors of the run. aya has no links for several functions at once
//! (`uprobe.multi`), so each probe has a link of its own.

use std::{collections::HashMap, path::PathBuf, thread};

use rustix::process::{Resource, getrlimit};

use super::proc;

/// Number of descriptors that a run needs apart from its probes.
const RESERVE: u64 = 256;

/// Number of descriptors of a link: its own, and that of the perf event.
const PER_LINK: u64 = 2;

/// Maximum number of links for the files of one application: 32 copies of OpenSSL. A browser has
/// one to three libraries.
const MAX_PER_OWNER: u64 = 128;

/// Number of links that are closed at the same time. For each one, the kernel waits until no
/// processor uses it.
const CLOSING: usize = 32;

/// The application that mapped a file first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Owner {
    uid: Option<u32>,
    executable: Option<PathBuf>,
}

impl Owner {
    /// Returns the application of a process.
    pub(super) fn of(tgid: u32) -> Self {
        Self { uid: proc::uid(tgid), executable: proc::executable(tgid) }
    }
}

/// The links that may still be made.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    used: u64,
    owners: HashMap<Owner, Used>,
}

#[derive(Debug, Default)]
struct Used {
    links: u64,
    /// Set once the application was reported to have too many.
    is_reported: bool,
}

impl Budget {
    /// Returns the budget of this process.
    pub(super) fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(descriptors.saturating_sub(RESERVE) / PER_LINK)
    }

    fn of(max: u64) -> Self {
        Self { max, used: 0, owners: HashMap::new() }
    }

    /// Returns the reason for which an application gets no more links. `None` if it does.
    pub(super) fn refusal(&self, owner: &Owner) -> Option<String> {
        let links = self.owners.get(owner).map_or(0, |used| used.links);
        if links >= MAX_PER_OWNER {
            return Some(format!(
                "the application has {links} probes already; its further libraries are not read"
            ));
        }
        (self.used >= self.max).then(|| {
            format!(
                "{} probes use up the files that may be open; its libraries are not read (raise \
                 the limit with `ulimit -n`)",
                self.used
            )
        })
    }

    /// Reports whether a refusal has not been reported yet, and notes that it is now.
    pub(super) fn is_news(&mut self, owner: &Owner) -> bool {
        let used = self.owners.entry(owner.clone()).or_default();
        !std::mem::replace(&mut used.is_reported, true)
    }

    /// Notes new links of an application.
    pub(super) fn add(&mut self, owner: &Owner, links: usize) {
        self.used += links as u64;
        self.owners.entry(owner.clone()).or_default().links += links as u64;
    }

    /// Notes that links of an application were detached.
    pub(super) fn remove(&mut self, owner: &Owner, links: usize) {
        self.used = self.used.saturating_sub(links as u64);
        if let Some(used) = self.owners.get_mut(owner) {
            used.links = used.links.saturating_sub(links as u64);
            if used.links == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// Closes links, many at a time.
pub(super) fn close<L: Send>(links: Vec<L>) {
    let per_thread = links.len().div_ceil(CLOSING).max(1);
    let mut links = links.into_iter();
    thread::scope(|scope| {
        loop {
            let some: Vec<L> = links.by_ref().take(per_thread).collect();
            if some.is_empty() {
                return;
            }
            // Dropped here if there is no thread for them.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(some));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn owner(uid: u32) -> Owner {
        Owner { uid: Some(uid), executable: None }
    }

    #[test]
    fn an_application_cannot_use_up_the_links_of_others() {
        let mut budget = Budget::of(1000);
        while budget.refusal(&owner(1)).is_none() {
            budget.add(&owner(1), 4);
        }
        assert!(budget.refusal(&owner(1)).unwrap().contains("128 probes already"));
        assert!(budget.is_news(&owner(1)) && !budget.is_news(&owner(1)));
        assert_eq!(budget.refusal(&owner(2)), None);
        budget.remove(&owner(1), 4);
        assert_eq!(budget.refusal(&owner(1)), None);
    }

    #[test]
    fn the_descriptors_of_the_run_are_kept() {
        let mut budget = Budget::of(8);
        budget.add(&owner(1), 8);
        assert!(budget.refusal(&owner(2)).unwrap().contains("ulimit"));
        budget.remove(&owner(1), 8);
        assert_eq!(budget.refusal(&owner(2)), None);
    }

    #[test]
    fn all_links_are_closed() {
        static CLOSED: AtomicUsize = AtomicUsize::new(0);
        struct Link;
        impl Drop for Link {
            fn drop(&mut self) {
                CLOSED.fetch_add(1, Ordering::Relaxed);
            }
        }
        for count in [0, 1, 31, 100] {
            let before = CLOSED.load(Ordering::Relaxed);
            close((0..count).map(|_| Link).collect());
            assert_eq!(CLOSED.load(Ordering::Relaxed) - before, count);
        }
    }
}
