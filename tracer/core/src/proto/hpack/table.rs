//! The tables that HPACK indexes refer to (RFC 7541 section 2.3).
//!
//! ```text
//! index  1 … 61   the static table (appendix A)
//!       62 …      the dynamic table, newest entry first:
//!                 │ entries inserted since joining │ unknown prefix │
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use super::Invalid;
use crate::proto::{Field, Text};

/// Maximum size of the dynamic table kept. Most servers request 4 KiB, and in
/// practice none more than 64 KiB. If one allows more, references to entries
/// that were not kept are unknown.
pub(super) const MAX_TABLE: u32 = 1 << 16;

/// Default limit of the table of a new connection (RFC 9113 section 6.5.2).
const DEFAULT_LIMIT: u32 = 4096;

/// Overhead of an entry in addition to its strings (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Returns the size of a field as defined in RFC 7541 section 4.1, or a lower
/// bound if the field is not completely known.
pub(in crate::proto) fn size(field: &Field) -> usize {
    field.name.known().len() + field.value.known().len() + ENTRY_OVERHEAD
}

/// The dynamic table, as far as it is known.
///
/// **Why indexes stay valid without knowing the peer's limit.** Index 62 + *i*
/// refers to the *i*-th newest entry, and eviction removes the oldest. An entry
/// that the encoder has evicted and this table has not is one that the encoder
/// no longer refers to, and it does not shift the others. The same holds for an
/// entry that was too large to be added: it emptied the table, so no older
/// entry is referred to. Only the *number* of insertions after an entry has to
/// be right, and a decoder that saw every header block since then knows it.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// Newest first; at least the entries that the encoder still has.
    entries: VecDeque<Field>,
    size: usize,
    /// The limit of the table; `None` after joining late, until the stream sets
    /// it.
    limit: Option<u32>,
    /// Set if the encoder has no entry that is not in `entries`.
    whole: bool,
}

impl Dynamic {
    /// Creates the table of a new connection, which is empty.
    pub(super) fn new() -> Dynamic {
        let limit = Some(DEFAULT_LIMIT);
        Dynamic { entries: VecDeque::new(), size: 0, limit, whole: true }
    }

    /// Creates a completely unknown table, for a connection joined late or
    /// after insertions that were lost.
    pub(super) fn unknown() -> Dynamic {
        Dynamic { entries: VecDeque::new(), size: 0, limit: None, whole: false }
    }

    /// Returns the field at `index`, counted from the newest entry; `None` if
    /// it is in the unknown part.
    pub(super) fn field(&self, index: usize) -> Result<Option<&Field>, Invalid> {
        match self.entries.get(index) {
            None if self.whole => Err(Invalid::Index),
            entry => Ok(entry),
        }
    }

    /// Adds an entry (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, mut field: Field) {
        if self.limit.is_some_and(|limit| size(&field) > limit as usize) {
            // This is not an error: the table is emptied and the field is not
            // added.
            self.fit(0);
            self.whole = true;
            return;
        }
        if size(&field) > self.kept() {
            // The encoder may have room for the entry, so it is kept as
            // unknown.
            field = Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
        }
        self.fit(self.kept().saturating_sub(size(&field)));
        self.size += size(&field);
        self.entries.push_front(field);
    }

    /// Sets the limit (RFC 7541 section 6.3).
    pub(super) fn resize(&mut self, limit: u32) {
        self.limit = Some(limit);
        self.fit(self.kept());
        // No entry fits, so the encoder has none, and the table is known again.
        self.whole |= (limit as usize) < ENTRY_OVERHEAD;
    }

    /// Returns the size of the entries kept.
    fn kept(&self) -> usize {
        self.limit.unwrap_or(MAX_TABLE).min(MAX_TABLE) as usize
    }

    /// Evicts the oldest entries until at most `size` bytes are left.
    fn fit(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size -= self::size(&oldest);
            // Everything older was evicted before this entry, unless only this
            // table ran out of room. Sizes are lower bounds, so this errs
            // towards "not evicted yet".
            self.whole = self.limit.is_some_and(|limit| limit <= MAX_TABLE);
        }
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = &Field> {
        self.entries.iter()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

/// Returns the field of the static table at `index`, which counts from 1.
pub(super) fn fixed(index: usize) -> Option<Field> {
    let (name, value) = *STATIC.get(index.checked_sub(1)?)?;
    let text = |s: &'static str| Text::Whole(Bytes::from_static(s.as_bytes()));
    Some(Field { name: text(name), value: text(value) })
}

/// Number of entries in the static table.
pub(super) const STATIC_LEN: usize = STATIC.len();

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
