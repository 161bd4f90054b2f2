//! Where a record's bytes belong in the byte stream of its connection.
//!
//! ```text
//!            send           next              send + len
//!              |              |                    |
//!  ... already |  delivered   |  tail: announced,  |  not announced yet
//!      sent    |  to the state|  not captured      |
//! ```
//!
//! The tail stays open until the next record, since that one says what became
//! of it: it can hold a later piece of the same send, begin before the tail's
//! end (the kernel had accepted only a part) or begin after it (records were
//! lost in between).

use crate::record::Record;

/// A jump forward beyond this is another connection with the same key. Half
/// the range that positions modulo 2³² can express; more than a socket sends
/// between two records of it.
const MAX_AHEAD: i64 = 1 << 30;

/// How far before the latest send a record may begin and still be a late one
/// of the same connection. `write_seq` never goes back, so only records that
/// overtook each other between processors are met here.
const MAX_LATE: i64 = 1 << 20;

/// The end of what is known of a connection's byte stream.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The position of the first byte that was not delivered.
    next: u32,
    /// The position of the latest send's first byte.
    send: u32,
    /// How many bytes of the latest send follow `next`; `None`: unknown.
    tail: Option<u32>,
}

/// Where a record's payload goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `gap` bytes after the last delivered byte, without its first `skip`
    /// bytes, which were delivered before.
    Here { gap: Gap, skip: usize },
    /// Nowhere in this stream: the record is of another connection that was
    /// given the same key.
    Elsewhere,
}

/// The bytes between the last delivered one and a record's first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// `cut` bytes that records announced without holding them, `lost` bytes
    /// whose records never came; both 0 where the record follows directly.
    Counted { cut: u64, lost: u64 },
    /// Nobody can tell how many.
    Unknown,
}

impl Gap {
    pub(super) const NONE: Self = Self::Counted { cut: 0, lost: 0 };
}

impl Cursor {
    /// A stream joined at this record, whose bytes are the first delivered.
    pub(super) fn joined_at(record: &Record) -> Self {
        let send = record.position.unwrap_or(0);
        let next = send.wrapping_add(record.offset);
        let mut cursor = Self { next, send, tail: Some(0) };
        cursor.end_with(record, send);
        cursor
    }

    /// Finds the place of a record and moves to its end.
    pub(super) fn place(&mut self, record: &Record) -> Place {
        let announced = self.tail.unwrap_or(0);
        let send = match (record.position, record.offset) {
            (Some(position), _) => position,
            // Where the hook cannot know, sends are taken to follow each other.
            (None, 0) => self.next.wrapping_add(announced),
            (None, _) => self.send,
        };
        let first = send.wrapping_add(record.offset);
        let ahead = signed(first, self.next.wrapping_add(announced));
        let late = signed(self.send, send);
        if ahead > MAX_AHEAD || late > MAX_LATE {
            return Place::Elsewhere;
        }

        let payload = u32::try_from(record.payload.len()).unwrap_or(u32::MAX);
        let distance = i64::from(announced) + ahead;
        let gap = match (self.tail, record.position) {
            (None, None) if record.offset == 0 => Gap::Unknown,
            (tail, _) => {
                let missing = u64::try_from(distance).unwrap_or(0);
                let cut = tail.map_or(missing, |tail| missing.min(tail.into()));
                Gap::Counted { cut, lost: missing - cut }
            }
        };
        let repeated = u32::try_from(-distance).unwrap_or(0).min(payload);

        if distance >= 0 {
            self.next = first;
        }
        // A late record that says nothing new says nothing about the tail.
        if late <= 0 || repeated < payload {
            self.end_with(record, send);
        }
        Place::Here { gap, skip: repeated as usize }
    }

    /// Moves to the end of a record that follows, or overlaps, what is known.
    fn end_with(&mut self, record: &Record, send: u32) {
        let payload = u32::try_from(record.payload.len()).unwrap_or(u32::MAX);
        let end = send.wrapping_add(record.offset).wrapping_add(payload);
        if signed(end, self.next) > 0 {
            self.next = end;
        }
        self.send = send;
        let delivered = self.next.wrapping_sub(send);
        self.tail = record.len.map(|len| len.saturating_sub(delivered));
    }

    /// Takes the tail to be sent and not known, whatever comes next. Returns
    /// its length; `None` where it has none or nobody can tell.
    pub(super) fn settle(&mut self) -> Option<u64> {
        let tail = self.tail.filter(|&tail| tail > 0)?;
        self.next = self.next.wrapping_add(tail);
        self.tail = Some(0);
        Some(tail.into())
    }

    /// The latest send went on for an unknown number of bytes.
    pub(super) fn is_open(&self) -> bool {
        self.tail.is_none()
    }
}

/// `a - b` in serial number arithmetic (RFC 1982).
fn signed(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b).cast_signed())
}
