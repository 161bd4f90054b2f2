//! HPACK, the header compression of HTTP/2 (RFC 7541): a decoder that says
//! what it cannot know.
//!
//! A header block is a run of field representations, told apart by the first
//! bits of their first byte (section 6):
//!
//! ```text
//! 1 index(7+)                       a field of a table
//! 01 name index(6+) [name] value    a literal, inserted into the dynamic table
//! 001 limit(5+)                     the dynamic table's new limit
//! 0000 name index(4+) [name] value  a literal
//! 0001 name index(4+) [name] value  a literal, never to be indexed
//! ```
//!
//! Names and values that point into the dynamic table mean something only to
//! those who saw what was inserted. So a [`Decoder`] knows which part of the
//! table it saw, and a field that points elsewhere is unknown, never guessed.

mod huffman;
mod reader;
mod table;
#[cfg(test)]
mod tests;

use self::reader::{Reader, Stop};
use self::table::Dynamic;
use super::{Field, Gap, Text};

/// The most bytes of fields kept from one block, each counted as RFC 9113
/// section 10.5.1 counts it. A block can name one long table entry once a
/// byte; real heads stay far below, long URLs included.
pub const MAX_FIELDS: usize = 1 << 20;

/// How a header block breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The block ends within a field.
    EndsEarly,
    /// An index that no table has.
    Index,
    /// An integer of more than 32 bits.
    Integer,
    /// End-of-string within a Huffman-coded string, or bad padding.
    Huffman,
    /// A new table limit after a field (section 4.2).
    LateLimit,
}

/// How the reading of a header block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the block's end: the fields are all there.
    Complete,
    /// At bytes that are missing.
    Cut,
    /// At a breach of the rules.
    Invalid(Invalid),
}

/// What a header block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The fields, in order. Where the block is cut, the last one can be a
    /// beginning.
    pub fields: Vec<Field>,
    /// How many further fields were not kept ([`MAX_FIELDS`]).
    pub dropped: u64,
    /// How the reading ended.
    pub end: End,
}

/// The decoding side of one connection's header compression.
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
    /// A decoder for a connection seen from its beginning.
    pub fn new() -> Decoder {
        Decoder { table: Dynamic::new() }
    }

    /// A decoder for a connection joined late.
    pub fn joined() -> Decoder {
        Decoder { table: Dynamic::unknown() }
    }

    /// Header blocks may have been lost here. Each can have inserted any
    /// number of entries, so that no known entry's index is certain any more.
    pub fn forget(&mut self) {
        self.table = Dynamic::unknown();
    }

    /// Decodes one header block: `data` with `gaps` in it, a gap at the end of
    /// `data` meaning that the block was cut short there.
    ///
    /// A gap within a string costs that string's end and nothing more, as the
    /// string's length is known. After any other, and after a breach of the
    /// rules, the rest of the block is unread, and all the table is unknown.
    pub fn decode(&mut self, data: &[u8], gaps: &[Gap]) -> Section {
        let mut reader = Reader::new(data, gaps);
        let mut fields = Fields::default();
        let mut limits_over = false;
        let end = loop {
            if reader.at_end() {
                break End::Complete;
            }
            match self.representation(&mut reader, &mut limits_over) {
                Ok(field) => fields.extend(field),
                Err((field, stop)) => {
                    fields.extend(field);
                    self.forget();
                    break match stop {
                        Stop::Cut(_) => End::Cut,
                        Stop::Invalid(invalid) => End::Invalid(invalid),
                    };
                }
            }
        };
        Section { fields: fields.kept, dropped: fields.dropped, end }
    }

    /// Decodes one representation (section 6): a field, or none where it is a
    /// new table limit. Where that fails, as much of a field as there is.
    fn representation(
        &mut self,
        reader: &mut Reader<'_>,
        limits_over: &mut bool,
    ) -> Result<Option<Field>, (Option<Field>, Stop)> {
        let fail = |stop| (None, stop);
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
        reader: &mut Reader<'_>,
        first: u8,
        bits: u32,
    ) -> Result<Field, (Option<Field>, Stop)> {
        let fail = |stop| (None, stop);
        let name = match reader.integer(first, bits).map_err(fail)? {
            0 => reader.string().map_err(|stop| {
                (begun(&stop, |start| Field { name: start, value: Text::UNKNOWN }), stop)
            })?,
            index => self.field(index).map_err(|invalid| fail(invalid.into()))?.name,
        };
        match reader.string() {
            Ok(value) => Ok(Field { name, value }),
            Err(stop) => Err((begun(&stop, |start| Field { name, value: start }), stop)),
        }
    }

    /// The field at an index of both tables (section 2.3.3).
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

/// The field that a cut left with the beginning of a string.
fn begun(stop: &Stop, field: impl FnOnce(Text) -> Field) -> Option<Field> {
    match stop {
        Stop::Cut(start) => Some(field(Text::Start(start.clone()))),
        Stop::Invalid(_) => None,
    }
}

/// Fields, as many as [`MAX_FIELDS`] allows.
#[derive(Default)]
struct Fields {
    kept: Vec<Field>,
    size: usize,
    dropped: u64,
}

impl Extend<Field> for Fields {
    fn extend<I: IntoIterator<Item = Field>>(&mut self, fields: I) {
        for field in fields {
            self.size = self.size.saturating_add(table::size(&field));
            if self.size <= MAX_FIELDS {
                self.kept.push(field);
            } else {
                self.dropped += 1;
            }
        }
    }
}
