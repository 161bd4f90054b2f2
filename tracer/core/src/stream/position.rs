//! Determines the position of a record in the byte stream of its connection.
//!
//! ```text
//!            send            next              send + len
//!              |               |                    |
//!  ... already |  delivered    |  tail: announced,  |  not announced yet
//!      sent    |  to the parser|  not captured      |
//! ```
//!
//! The tail remains open until the next record, which shows what became of it.
//! That record may hold a later piece of the same send, start before the end of
//! the tail (the kernel accepted only a part), or start after it (records were
//! lost in between).

use crate::record::Record;

/// Maximum distance ahead; beyond it, the record belongs to another connection
/// with the same key. Half the range of positions modulo 2³², and more than a
/// socket sends between two of its records.
const MAX_AHEAD: i64 = 1 << 30;

/// Maximum distance behind the latest send at which a record still belongs to
/// the same connection. `write_seq` never decreases, so these are only records
/// that overtook each other between processors.
const MAX_LATE: i64 = 1 << 20;

/// The end of the known byte stream of a connection.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Position of the first byte not yet delivered.
    next: u32,
    /// Position of the first byte of the latest send.
    send: u32,
    /// Number of bytes of the latest send after `next`; `None` if unknown.
    tail: Option<u32>,
    /// True once a record had a position. Data that is sent with a SYN has none.
    is_placed: bool,
}

/// The placement of a record's payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// The payload follows the last delivered byte after `gap`, without its
    /// first `skip` bytes, which were already delivered.
    Here { gap: Gap, skip: usize },
    /// The record belongs to another connection with the same key.
    Elsewhere,
}

/// The bytes between the last delivered byte and the first byte of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// `cut` bytes that records announced without containing them, and `lost`
    /// bytes whose records are missing. Both are 0 if the record follows
    /// directly.
    Counted { cut: u64, lost: u64 },
    /// An unknown number of bytes.
    Unknown,
}

impl Gap {
    pub(super) const NONE: Self = Self::Counted { cut: 0, lost: 0 };
}

impl Cursor {
    /// Creates the cursor of a stream whose first delivered bytes are in this
    /// record.
    pub(super) fn joined_at(record: &Record) -> Self {
        let send = record.position.unwrap_or(0);
        let next = send.wrapping_add(record.offset);
        let is_placed = record.position.is_some();
        let mut cursor = Self { next, send, tail: Some(0), is_placed };
        cursor.end_with(record, send);
        cursor
    }

    /// Determines the placement of a record and moves to its end.
    pub(super) fn place(&mut self, record: &Record) -> Placement {
        let announced = self.tail.unwrap_or(0);
        // Without positions, sends are assumed to be consecutive.
        let is_next = record.offset == 0 && (record.position.is_none() || !self.is_placed);
        if let (true, Some(position)) = (is_next, record.position) {
            let moved = position.wrapping_sub(self.next.wrapping_add(announced));
            self.next = self.next.wrapping_add(moved);
            self.send = self.send.wrapping_add(moved);
            self.is_placed = true;
        }
        let send = match (record.position, record.offset) {
            (Some(position), _) => position,
            (None, 0) => self.next.wrapping_add(announced),
            (None, _) => self.send,
        };
        let first = send.wrapping_add(record.offset);
        let ahead = signed(first, self.next.wrapping_add(announced));
        let late = signed(self.send, send);
        if ahead > MAX_AHEAD || late > MAX_LATE {
            return Placement::Elsewhere;
        }

        let payload = u32::try_from(record.payload.len()).unwrap_or(u32::MAX);
        let distance = i64::from(announced) + ahead;
        let gap = match self.tail {
            None if is_next => Gap::Unknown,
            tail => {
                let missing = u64::try_from(distance).unwrap_or(0);
                let cut = tail.map_or(missing, |tail| missing.min(tail.into()));
                Gap::Counted { cut, lost: missing - cut }
            }
        };
        let repeated = u32::try_from(-distance).unwrap_or(0).min(payload);

        if distance >= 0 {
            self.next = first;
        }
        // A late record without new bytes reveals nothing about the tail.
        if late <= 0 || repeated < payload {
            self.end_with(record, send);
        }
        Placement::Here { gap, skip: repeated as usize }
    }

    /// Moves to the end of a record that follows or overlaps the known bytes.
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

    /// Treats the tail as sent but unknown, whatever follows. Returns its
    /// length, or `None` if there is no tail or its length is unknown.
    pub(super) fn settle(&mut self) -> Option<u64> {
        let tail = self.tail.filter(|&tail| tail > 0)?;
        self.next = self.next.wrapping_add(tail);
        self.tail = Some(0);
        Some(tail.into())
    }

    /// Reports whether the latest send continued for an unknown number of
    /// bytes.
    pub(super) fn is_open(&self) -> bool {
        self.tail.is_none()
    }
}

/// `a - b` in serial number arithmetic (RFC 1982).
fn signed(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b).cast_signed())
}
