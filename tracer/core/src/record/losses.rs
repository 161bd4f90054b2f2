//! What was sent in scope and is not, or not wholly, in the records.

use serde::Serialize;
use tracer_ebpf::Counter;

/// A reason, in the words of the alert stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The ring buffer was full: the daemon did not keep up.
    RingFull,
    /// The sender's memory could not be read, or not all of it.
    Unreadable,
    /// A message of more buffers than are walked: its end is missing.
    TooManyIovecs,
    /// Messages of one `sendmmsg` beyond those that are walked.
    TooManyMessages,
    /// Sent from memory of a kind that is not read: only the length is known.
    UnknownIterator,
    /// Sent by a 32-bit process.
    Compat,
    /// An internal limit of the programs.
    Internal,
    /// A process could not be followed across fork or exec.
    Unfollowed,
    /// The kernel did not run a program: another task was within it.
    Missed,
}

impl Loss {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::RingFull,
        Self::Unreadable,
        Self::TooManyIovecs,
        Self::TooManyMessages,
        Self::UnknownIterator,
        Self::Compat,
        Self::Internal,
        Self::Unfollowed,
        Self::Missed,
    ];

    /// The programs' counter for it.
    fn counter(self) -> Counter {
        match self {
            Self::RingFull => Counter::RingFull,
            Self::Unreadable => Counter::Unreadable,
            Self::TooManyIovecs => Counter::TooManyIovecs,
            Self::TooManyMessages => Counter::TooManyMessages,
            Self::UnknownIterator => Counter::UnknownIterator,
            Self::Compat => Counter::Compat,
            Self::Internal => Counter::Internal,
            Self::Unfollowed => Counter::Unfollowed,
            Self::Missed => Counter::Missed,
        }
    }

    /// What it means, and what to do about it.
    pub fn explain(self) -> &'static str {
        match self {
            Self::RingFull => {
                "sends lost: the ring buffer was full; \
                 try a smaller --head-bytes or a larger --ring-mib"
            }
            Self::Unreadable => "sends cut or lost: the sender's memory could not be read",
            Self::TooManyIovecs => "sends cut: they came in more than 256 pieces",
            Self::TooManyMessages => "messages lost: more than 32 in one system call",
            Self::UnknownIterator => {
                "sends of which only the length is known: \
                 they came from a file's pages (sendfile, splice) or the like"
            }
            Self::Compat => "sends lost: 32-bit processes are not read yet",
            Self::Internal => "sends lost to a limit inside tracer; please report this",
            Self::Missed => {
                "events not seen: the kernel skipped a program that another task was within"
            }
            Self::Unfollowed => "processes not followed: their ids lie beyond kernel.pid_max",
        }
    }
}

/// The programs' counters, added up over the CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses([u64; Counter::COUNT as usize]);

impl Losses {
    /// Sets one of the programs' counters.
    pub fn set(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] = count;
    }

    /// Records delivered into the ring buffer.
    pub fn delivered(&self) -> u64 {
        self.0[Counter::Delivered as usize]
    }

    /// How often a loss happened.
    pub fn count(&self, loss: Loss) -> u64 {
        self.0[loss.counter() as usize]
    }

    /// Every loss that happened since `earlier`, how often since, and in all.
    pub fn since(&self, earlier: &Self) -> impl Iterator<Item = (Loss, u64, u64)> {
        Loss::ALL.into_iter().filter_map(|loss| {
            let (before, now) = (earlier.count(loss), self.count(loss));
            (now > before).then(|| (loss, now - before, now))
        })
    }

    /// The raw counters, in the order of [`Counter::ALL`].
    pub(super) fn counters(&self) -> &[u64; Counter::COUNT as usize] {
        &self.0
    }

    /// From raw counters.
    pub(super) fn from_counters(counters: [u64; Counter::COUNT as usize]) -> Self {
        Self(counters)
    }
}
