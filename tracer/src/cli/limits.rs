//! Limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files that may be open, because each probe needs two.
pub(super) fn raise_open_files() {
    /// Enough for the probes of some hundred applications.
    const WANTED: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= WANTED) {
        return;
    }
    let maximum = limit.maximum.map(|most| most.max(WANTED));
    let raised = Rlimit { current: Some(WANTED), maximum };
    let within = Rlimit { current: limit.maximum.map(|most| most.min(WANTED)), ..limit };
    // Raising the maximum needs CAP_SYS_RESOURCE.
    let _ = setrlimit(Resource::Nofile, raised).or_else(|_| setrlimit(Resource::Nofile, within));
}
