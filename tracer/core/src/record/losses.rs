//! Sends in scope that are missing from the records, or incomplete in them.

use serde::Serialize;
use tracer_ebpf::Counter;

use crate::wording::counted;

/// The reason for a loss, as named in the alert stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Loss {
    /// The ring buffer was full because the daemon did not keep up.
    RingFull = Counter::RingFull as u32,
    /// The sender's memory could not be read, or only in part.
    Unreadable = Counter::Unreadable as u32,
    /// A message consists of more buffers than are read, so its end is missing.
    TooManyIovecs = Counter::TooManyIovecs as u32,
    /// A `sendmmsg` contained more messages than are read.
    TooManyMessages = Counter::TooManyMessages as u32,
    /// The data came from memory of an unsupported kind, so only its length is
    /// known.
    UnknownIterator = Counter::UnknownIterator as u32,
    /// The sender is a 32-bit process.
    Compat = Counter::Compat as u32,
    /// The programs reached an internal limit.
    Internal = Counter::Internal as u32,
    /// A process could not be followed across fork or exec.
    Unfollowed = Counter::Unfollowed as u32,
    /// The kernel skipped a program because another task was running it.
    Missed = Counter::Missed as u32,
    /// The application sent more than there was time to decode, or the run was ended by force.
    Undecoded = Counter::Undecoded as u32,
    /// The process that reads the profiles of browsers has ended.
    ProfilesUnread = Counter::ProfilesUnread as u32,
}

impl Loss {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::Unreadable,
        Self::TooManyIovecs,
        Self::TooManyMessages,
        Self::UnknownIterator,
        Self::Compat,
        Self::Internal,
        Self::Unfollowed,
        Self::Missed,
        Self::Undecoded,
        Self::ProfilesUnread,
    ];

    /// Describes a number of losses and, if possible, a remedy.
    pub fn explain(self, count: u64) -> String {
        let (what, why) = match self {
            Self::RingFull => (
                "send",
                "lost: the ring buffer was full; try a smaller --head-bytes or a larger --ring-mib",
            ),
            Self::Unreadable => ("send", "cut or lost: the sender's memory could not be read"),
            Self::TooManyIovecs => ("send", "cut: more pieces than are read"),
            Self::TooManyMessages => ("message", "lost: more than 128 in one system call"),
            Self::UnknownIterator => (
                "send",
                "of which only the length is known: data from a file's pages (sendfile, splice), \
                 datagrams by io_uring, or the like",
            ),
            Self::Compat => ("send", "lost: 32-bit processes are not read yet"),
            Self::Internal => ("send", "lost to a limit inside tracer; please report this"),
            Self::Missed => {
                ("event", "not seen: the kernel skipped a program that another task was within")
            }
            Self::Undecoded => (
                "send",
                "captured and not decoded: an application sent more than there was time for, or \
                 the run was ended by force",
            ),
            Self::ProfilesUnread => {
                ("process", "ended that reads the profiles of browsers: extension names unknown")
            }
            Self::Unfollowed => ("process", "not followed: the id is beyond kernel.pid_max"),
        };
        format!("{} {why}", counted(count, what))
    }
}

/// The counters of the eBPF programs, summed over all CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses([u64; Counter::COUNT as usize]);

impl Losses {
    /// Sets a counter.
    pub fn set(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] = count;
    }

    /// Returns the number of records delivered to the ring buffer.
    pub fn delivered(&self) -> u64 {
        self.0[Counter::Delivered as usize]
    }

    /// Returns the number of losses with this reason.
    pub fn count(&self, loss: Loss) -> u64 {
        self.0[loss as usize]
    }

    /// Returns the losses since `earlier`, each with its increase and its
    /// total.
    pub fn since(&self, earlier: &Self) -> impl Iterator<Item = (Loss, u64, u64)> {
        Loss::ALL.into_iter().filter_map(|loss| {
            let (before, now) = (earlier.count(loss), self.count(loss));
            (now > before).then(|| (loss, now - before, now))
        })
    }

    /// Returns the raw counters, in the order of [`Counter::ALL`].
    pub(super) fn counters(&self) -> &[u64; Counter::COUNT as usize] {
        &self.0
    }

    /// Creates the value from raw counters.
    pub(super) fn from_counters(counters: [u64; Counter::COUNT as usize]) -> Self {
        Self(counters)
    }
}
