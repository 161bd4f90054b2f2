//! The tables that QPACK indexes refer to (RFC 9204 section 3).
//!
//! ```text
//! static    0 … 98                          (appendix A)
//! dynamic   0 … dropped … inserted          by the number of earlier insertions
//!               evicted │ kept
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::hpack::{Invalid, size};
use crate::proto::{Field, Text};

/// Maximum size of the dynamic table kept. Servers allow 64 KiB at most in
/// practice. If one allows more, entries that were not kept are unknown.
pub(super) const MAX_TABLE: u32 = 1 << 16;

/// Minimum size of an entry (section 3.2.1).
const MIN_ENTRY: u64 = 32;

/// The dynamic table.
///
/// A section states the number of insertions it requires modulo twice the maximum
/// number of entries (section 4.5.1.1). That maximum is the server's choice, which
/// clients never repeat. What they state is the capacity that they use, a lower
/// bound, which is the maximum itself unless the client's own limit is lower. The
/// required count must refer to an entry that the encoder still has, so it lies
/// among the last insertions:
///
/// - If the encoded count does, it is the count, whatever the maximum.
/// - Otherwise, it has wrapped around at the stated capacity.
/// - If a count has exceeded what that capacity allows, or no entry explains the
///   count, the table is unknown from then on.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    /// Oldest first.
    entries: VecDeque<Field>,
    size: usize,
    capacity: u32,
    /// The largest capacity so far.
    largest: u32,
    /// Number of insertions, and of evicted entries.
    inserted: u64,
    dropped: u64,
    /// The largest encoded count so far.
    largest_encoded: u64,
    /// Set while the number of insertions is uncertain.
    waiting: bool,
    /// Set once insertions were lost, which makes every index uncertain.
    lost: bool,
}

/// The number of insertions that a section requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    /// None: the section does not refer to the dynamic table.
    None,
    /// This many, all of which arrived.
    Count(u64),
    /// More than have arrived.
    Blocked,
    /// The number cannot be determined.
    Unknown,
}

impl Dynamic {
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// Makes every entry unknown.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        (self.entries, self.size) = (VecDeque::new(), 0);
    }

    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the entry with this absolute index, which is completely unknown if
    /// it was not kept.
    pub(super) fn field(&self, absolute: u64) -> Field {
        let at = absolute.checked_sub(self.dropped).and_then(|at| usize::try_from(at).ok());
        let entry = at.and_then(|at| self.entries.get(at)).cloned();
        entry.unwrap_or(Field { name: Text::UNKNOWN, value: Text::UNKNOWN })
    }

    /// Returns the entry at an index of the encoder stream, which counts back from
    /// the newest entry.
    pub(super) fn newest(&self, index: u64) -> Result<Field, Invalid> {
        let back = index.checked_add(1).ok_or(Invalid::Index)?;
        Ok(self.field(self.inserted.checked_sub(back).ok_or(Invalid::Index)?))
    }

    /// Sets the capacity (section 4.3.1).
    pub(super) fn resize(&mut self, capacity: u32) {
        self.capacity = capacity;
        self.largest = self.largest.max(capacity);
        self.fit(capacity.min(MAX_TABLE) as usize);
    }

    /// Adds an entry (section 3.2.2).
    ///
    /// # Errors
    ///
    /// Fails if the entry exceeds the capacity, which QPACK forbids.
    pub(super) fn insert(&mut self, mut field: Field) -> Result<(), Invalid> {
        if size(&field) > self.capacity as usize {
            return Err(Invalid::Index);
        }
        let kept = self.capacity.min(MAX_TABLE) as usize;
        if size(&field) > kept {
            field = Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
        }
        // An entry that is known in part is larger than its known part, so the
        // encoder may have evicted more. It does not refer to these.
        self.fit(kept.saturating_sub(size(&field)));
        self.size += size(&field);
        self.entries.push_back(field);
        self.inserted += 1;
        Ok(())
    }

    /// Evicts the oldest entries until at most `size` bytes are left.
    fn fit(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= self::size(&oldest);
            self.dropped += 1;
        }
    }

    /// Returns the number of insertions that a section requires.
    pub(super) fn required(&mut self, encoded: u64) -> Required {
        let Some(encoded) = encoded.checked_sub(1) else {
            return Required::None;
        };
        if self.lost {
            return Required::Unknown;
        }
        if self.waiting {
            return Required::Blocked;
        }
        self.largest_encoded = self.largest_encoded.max(encoded);
        let max_entries = u64::from(self.largest) / MIN_ENTRY;
        let newest = self.inserted;
        let oldest = self.dropped.max(newest.saturating_sub(max_entries));
        if (oldest + 1..=newest).contains(&encoded) {
            return Required::Count(encoded);
        }
        if max_entries == 0 || encoded > newest {
            return Required::Blocked;
        }
        // Encoded counts are smaller than the modulus.
        let modulus = 2 * max_entries;
        if self.largest_encoded < modulus {
            let wraps = (newest + max_entries - encoded) / modulus;
            let required = encoded + wraps * modulus;
            if (oldest + 1..=newest).contains(&required) {
                return Required::Count(required);
            }
            if required > newest {
                return Required::Blocked;
            }
        }
        self.lose();
        Required::Unknown
    }
}

/// Returns the field of the static table at `index`.
pub(super) fn fixed(index: u64) -> Option<Field> {
    let (name, value) = *STATIC.get(usize::try_from(index).ok()?)?;
    let text = |s: &'static str| Text::Whole(Bytes::from_static(s.as_bytes()));
    Some(Field { name: text(name), value: text(value) })
}

/// RFC 9204 appendix A.
const STATIC: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];
