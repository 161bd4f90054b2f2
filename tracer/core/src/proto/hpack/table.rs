//! The tables an HPACK index points into (RFC 7541 section 2.3).
//!
//! ```text
//! index  1 … 61   the static table (appendix A)
//!       62 …      the dynamic table, newest entry first:
//!                 │ entries inserted since we listen │ unknown prefix │
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use super::Invalid;
use crate::proto::{Field, Text};

/// The most bytes of dynamic table that are kept. Servers ask for 4 KiB mostly
/// and for no more than 64 KiB in practice; where one allows more, references
/// to what we no longer keep are unknown.
pub(super) const MAX_TABLE: u32 = 1 << 16;

/// The limit of a new connection's table (RFC 9113 section 6.5.2).
const DEFAULT_LIMIT: u32 = 4096;

/// What an entry counts beside its strings (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The size of a field as RFC 7541 section 4.1 counts it. Of a field not wholly
/// known, it is the least it can be.
pub(super) fn size(field: &Field) -> usize {
    field.name.known().len() + field.value.known().len() + ENTRY_OVERHEAD
}

/// The dynamic table, as far as it is known.
///
/// **Why an index keeps its meaning without the peer's limit.** Index 62 + *i*
/// is the *i*-th newest entry; eviction takes the oldest. So an entry that the
/// encoder has evicted and we have not is one that it no longer refers to, and
/// it never moves those it refers to. The same holds for an entry that was too
/// large to be added: it emptied the table, so nothing behind it is referred to
/// either. What has to be right is the *number* of insertions since an entry's
/// own, and a decoder that saw every header block since knows it.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// Newest first; at least what the encoder still has of them.
    entries: VecDeque<Field>,
    size: usize,
    /// The table's limit; `None` after joining late, until the stream says.
    limit: Option<u32>,
    /// The encoder has no entry that is not in `entries`.
    whole: bool,
}

impl Dynamic {
    /// The table at the beginning of a connection: empty.
    pub(super) fn new() -> Dynamic {
        let limit = Some(DEFAULT_LIMIT);
        Dynamic { entries: VecDeque::new(), size: 0, limit, whole: true }
    }

    /// A table of which nothing is known: of a connection joined late, or
    /// after insertions that nobody saw.
    pub(super) fn unknown() -> Dynamic {
        Dynamic { entries: VecDeque::new(), size: 0, limit: None, whole: false }
    }

    /// The field at `index`, counted from the newest entry: `None` where it is
    /// in the unknown prefix.
    pub(super) fn field(&self, index: usize) -> Result<Option<&Field>, Invalid> {
        match self.entries.get(index) {
            None if self.whole => Err(Invalid::Index),
            entry => Ok(entry),
        }
    }

    /// Adds an entry (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, mut field: Field) {
        if self.limit.is_some_and(|limit| size(&field) > limit as usize) {
            // Not an error: it empties the table and is not added.
            self.fit(0);
            self.whole = true;
            return;
        }
        if size(&field) > self.kept() {
            // The encoder may have room for it. It holds its place unread.
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
        // No entry fits, so the encoder has none: all is known again.
        self.whole |= (limit as usize) < ENTRY_OVERHEAD;
    }

    /// How many bytes are kept.
    fn kept(&self) -> usize {
        self.limit.unwrap_or(MAX_TABLE).min(MAX_TABLE) as usize
    }

    /// Evicts the oldest entries until no more than `size` bytes are left.
    fn fit(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size -= self::size(&oldest);
            // Whatever is older was evicted before it, unless only we are
            // short of room. Sizes are lower bounds, so this errs to "not
            // evicted yet".
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

/// The field of the static table at `index`, which counts from 1.
pub(super) fn fixed(index: usize) -> Option<Field> {
    let (name, value) = *STATIC.get(index.checked_sub(1)?)?;
    let text = |s: &'static str| Text::Whole(Bytes::from_static(s.as_bytes()));
    Some(Field { name: text(name), value: text(value) })
}

/// How many entries the static table has.
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
