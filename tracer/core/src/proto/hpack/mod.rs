//! HPACK, the header compression of HTTP/2 (RFC 7541), with a decoder that
//! marks values it cannot know.
//!
//! A header block is a sequence of field representations, distinguished by the
//! first bits of their first byte (section 6):
//!
//! ```text
//! 1 index(7+)                       a field of a table
//! 01 name index(6+) [name] value    a literal, inserted into the dynamic table
//! 001 limit(5+)                     the dynamic table's new limit
//! 0000 name index(4+) [name] value  a literal
//! 0001 name index(4+) [name] value  a literal, never to be indexed
//! ```
//!
//! References to the dynamic table are meaningful only to a peer that saw every
//! insertion. A [`Decoder`] tracks which part of the table it saw; a field that
//! refers to the other part is unknown and never guessed.

mod huffman;
pub(super) mod reader;
mod table;
#[cfg(test)]
mod tests;

use self::reader::{BlockReader, Interrupt};
use self::table::Dynamic;
pub(super) use self::table::size;
use super::{Field, Gap, Text};

/// Maximum size of the fields kept per block, computed as in RFC 9113 section
/// 10.5.1. A block can refer to a long table entry with every byte; real heads
/// stay far below this limit, including those with long URLs.
pub const MAX_FIELDS: usize = 1 << 20;

/// The rule that a header block violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The block ends within a field.
    EndsEarly,
    /// An index that is in neither table.
    Index,
    /// An integer of more than 32 bits.
    Integer,
    /// End-of-string within a Huffman-coded string, or invalid padding.
    Huffman,
    /// A new table limit after a field (section 4.2).
    LateLimit,
}

/// The way in which decoding a header block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of the block, with all fields decoded.
    Complete,
    /// At missing bytes.
    Cut,
    /// At a violation of the rules.
    Invalid(Invalid),
}

impl From<Interrupt> for End {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cut(_) => Self::Cut,
            Interrupt::Invalid(invalid) => Self::Invalid(invalid),
        }
    }
}

/// The content of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The fields in order. If the block is truncated, the last one may be a
    /// prefix.
    pub fields: Vec<Field>,
    /// Number of further fields that were not kept ([`MAX_FIELDS`]).
    pub dropped: u64,
    /// The way in which decoding ended.
    pub end: End,
}

/// The decoder of a connection's header compression.
#[derive(Debug)]
pub struct Decoder {
    table: Dynamic,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// Creates a decoder for a connection seen from its start.
    pub fn new() -> Decoder {
        Decoder { table: Dynamic::new() }
    }

    /// Creates a decoder for a connection joined late.
    pub fn joined() -> Decoder {
        Decoder { table: Dynamic::unknown() }
    }

    /// Records that header blocks may have been lost. Each may have inserted
    /// any number of entries, so the index of every known entry becomes
    /// uncertain.
    pub fn forget(&mut self) {
        self.table = Dynamic::unknown();
    }

    /// Decodes one header block: `data` with `gaps` in it. A gap at the end of
    /// `data` means that the block was truncated there.
    ///
    /// A gap within a string only costs the rest of that string, since its
    /// length is known. After any other gap, and after a violation of the
    /// rules, the rest of the block is not read, and the whole table becomes
    /// unknown.
    pub fn decode(&mut self, data: &[u8], gaps: &[Gap]) -> Section {
        let mut reader = BlockReader::new(data, gaps);
        let mut fields = Fields::default();
        let mut limits_over = false;
        let end = loop {
            if reader.at_end() {
                break End::Complete;
            }
            match self.representation(&mut reader, &mut limits_over) {
                Ok(field) => fields.extend(field),
                Err((field, interrupt)) => {
                    fields.extend(field);
                    self.forget();
                    break interrupt.into();
                }
            }
        };
        Section { fields: fields.kept, dropped: fields.dropped, end }
    }

    /// Decodes one representation (section 6). Returns a field, or `None` for a
    /// new table limit. On failure, returns as much of the field as is known.
    fn representation(
        &mut self,
        reader: &mut BlockReader<'_>,
        limits_over: &mut bool,
    ) -> Result<Option<Field>, (Option<Field>, Interrupt)> {
        let fail = |interrupt| (None, interrupt);
        let first = reader.byte().map_err(fail)?;
        if first & 0xe0 == 0x20 {
            let limit = reader.integer(first, 5).map_err(fail)?;
            if *limits_over {
                return Err(fail(Invalid::LateLimit.into()));
            }
            self.table.resize(limit);
            return Ok(None);
        }
        *limits_over = true;
        if first & 0x80 != 0 {
            let index = reader.integer(first, 7).map_err(fail)?;
            return self.field(index).map(Some).map_err(|invalid| fail(invalid.into()));
        }
        let insert = first & 0x40 != 0;
        let field = self.literal(reader, first, if insert { 6 } else { 4 })?;
        if insert {
            self.table.insert(field.clone());
        }
        Ok(Some(field))
    }

    /// Decodes a literal whose name index has a prefix of `bits` bits.
    fn literal(
        &self,
        reader: &mut BlockReader<'_>,
        first: u8,
        bits: u32,
    ) -> Result<Field, (Option<Field>, Interrupt)> {
        let fail = |interrupt| (None, interrupt);
        let name = match reader.integer(first, bits).map_err(fail)? {
            0 => reader.string().map_err(|interrupt| {
                (
                    partial_field(&interrupt, |start| Field { name: start, value: Text::UNKNOWN }),
                    interrupt,
                )
            })?,
            index => self.field(index).map_err(|invalid| fail(invalid.into()))?.name,
        };
        match reader.string() {
            Ok(value) => Ok(Field { name, value }),
            Err(interrupt) => {
                Err((partial_field(&interrupt, |start| Field { name, value: start }), interrupt))
            }
        }
    }

    /// Returns the field at an index of the combined tables (section 2.3.3).
    fn field(&self, index: u32) -> Result<Field, Invalid> {
        let index = index as usize;
        if index > table::STATIC_LEN {
            let entry = self.table.field(index - table::STATIC_LEN - 1)?;
            let unknown = || Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
            return Ok(entry.cloned().unwrap_or_else(unknown));
        }
        table::fixed(index).ok_or(Invalid::Index)
    }
}

/// Returns the field whose string was cut off, if any of it is known.
pub(super) fn partial_field(
    interrupt: &Interrupt,
    field: impl FnOnce(Text) -> Field,
) -> Option<Field> {
    match interrupt {
        Interrupt::Cut(start) => Some(field(Text::Start(start.clone()))),
        Interrupt::Invalid(_) => None,
    }
}

/// Collects fields up to [`MAX_FIELDS`].
#[derive(Default)]
pub(super) struct Fields {
    pub(super) kept: Vec<Field>,
    size: usize,
    pub(super) dropped: u64,
}

impl Extend<Field> for Fields {
    fn extend<I: IntoIterator<Item = Field>>(&mut self, fields: I) {
        for field in fields {
            self.size = self.size.saturating_add(size(&field));
            if self.size <= MAX_FIELDS {
                self.kept.push(field);
            } else {
                self.dropped += 1;
            }
        }
    }
}
