//! The work that one request may cause.

/// The part of [`Limits::work`](super::Limits::work) that is left for a request, shared by the
/// decoders and by the search in the values that they find.
#[derive(Debug)]
pub struct Work {
    spent: u64,
    limit: u64,
    skipped: usize,
}

impl Work {
    pub(super) fn new(spent: u64, limit: u64) -> Self {
        Self { spent, limit, skipped: 0 }
    }

    /// Returns work without a limit.
    pub fn unlimited() -> Self {
        Self::new(0, u64::MAX)
    }

    /// Charges the inspection of `len` bytes; returns `false` if the limit does not allow it. The
    /// caller then [skips](Work::skip) what it would have inspected.
    pub fn charge(&mut self, len: usize) -> bool {
        let spent = self.spent.saturating_add(len as u64);
        let allowed = spent <= self.limit;
        match allowed {
            true => self.spent = spent,
            // Something cheaper does not continue where this stopped.
            false => self.limit = self.spent,
        }
        allowed
    }

    /// Counts `len` bytes that are not inspected because of the limit.
    pub fn skip(&mut self, len: usize) {
        self.skipped = self.skipped.saturating_add(len);
    }

    /// Returns the number of bytes inspected so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Returns the number of skipped bytes.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}
