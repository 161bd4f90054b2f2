//! QPACK, the header compression of HTTP/3 (RFC 9204), with a decoder that marks
//! values it cannot know.
//!
//! ```text
//! encoder stream   001 capacity(5+)                   the table's capacity
//! (one per         1 T name index(6+) value           an insertion, name by reference
//! connection)      01 H name length(5+) name value    an insertion
//!                  000 index(5+)                      an entry, inserted again
//!
//! field section    required insert count(8+) │ S delta base(7+) │ field lines:
//! (one per head)   1 T index(6+)                      a field of a table
//!                  01 N T name index(4+) value        a literal, name by reference
//!                  001 N H name length(3+) name value a literal
//!                  0001 index(4+)                     a field, after the base
//!                  0000 N name index(3+) value        a literal, name after the base
//! ```
//!
//! Unlike HPACK, a lost head does not affect the table: only the encoder stream
//! changes it, and a section states how many insertions it depends on. A section
//! that depends on insertions that have not arrived must wait. Once bytes of the
//! encoder stream are known to be lost, every entry is unknown.

mod encoder;
mod table;
#[cfg(test)]
mod tests;

use self::encoder::EncoderStream;
use self::table::{Dynamic, Required};
use super::hpack::reader::{BlockReader, Interrupt};
use super::hpack::{End, Fields, Invalid, Section, partial_field};
use super::{Field, Gap, Text};

/// The decoder of a connection's header compression.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Dynamic,
    encoder: EncoderStream,
}

/// The result of decoding a field section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The fields.
    Section(Section),
    /// The section depends on insertions that have not arrived.
    Blocked,
}

impl Decoder {
    /// Creates a decoder for a connection seen from its start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes the next bytes of the encoder stream.
    pub fn encoder_data(&mut self, bytes: &[u8]) {
        self.encoder.data(bytes, &mut self.table);
    }

    /// Processes a gap in the encoder stream; `None` if the length is unknown. A gap
    /// within a string costs only the rest of that string. Any other makes the
    /// whole table unknown, for good: nothing in the rest of the stream shows
    /// where an instruction starts.
    pub fn encoder_gap(&mut self, len: Option<u64>) {
        self.encoder.gap(len, &mut self.table);
    }

    /// Notes whether later bytes of the encoder stream have arrived before earlier
    /// ones. The number of insertions, and so the meaning of every index, is
    /// uncertain until the earlier ones arrive.
    pub fn set_waiting(&mut self, waiting: bool) {
        self.table.set_waiting(waiting);
    }

    /// Treats the table as unknown.
    pub fn forget(&mut self) {
        self.table.lose();
    }

    /// Returns the number of insertions so far.
    pub fn inserted(&self) -> u64 {
        self.table.inserted()
    }

    /// Returns the number of bytes buffered.
    pub fn buffered(&self) -> usize {
        self.encoder.buffered() + self.table.size()
    }

    /// Decodes a field section: `data` with `gaps` in it. A gap at the end of `data`
    /// means that the section was truncated there.
    ///
    /// If the section depends on insertions that have not arrived, the result is
    /// [`Decoded::Blocked`] if `may_wait` is set. Otherwise, the fields that refer
    /// to the dynamic table are unknown.
    pub fn decode(&mut self, data: &[u8], gaps: &[Gap], may_wait: bool) -> Decoded {
        let mut reader = BlockReader::new(data, gaps);
        let mut fields = Fields::default();
        let mut end = End::Complete;
        match self.prefix(&mut reader) {
            Ok(Base::Blocked) if may_wait => return Decoded::Blocked,
            Ok(base) => {
                while !reader.at_end() {
                    match self.line(&mut reader, &base) {
                        Ok(field) => fields.extend([field]),
                        Err((field, interrupt)) => {
                            fields.extend(field);
                            end = interrupt.into();
                            break;
                        }
                    }
                }
            }
            Err(interrupt) => end = interrupt.into(),
        }
        Decoded::Section(Section { fields: fields.kept, dropped: fields.dropped, end })
    }

    /// Reads the prefix of a section (section 4.5.1).
    fn prefix(&mut self, reader: &mut BlockReader<'_>) -> Result<Base, Interrupt> {
        let first = reader.byte()?;
        let encoded = reader.integer(first, 8)?;
        let first = reader.byte()?;
        let delta = u64::from(reader.integer(first, 7)?);
        Ok(match self.table.required(encoded.into()) {
            Required::None => Base::At { base: delta, required: 0 },
            Required::Blocked => Base::Blocked,
            Required::Unknown => Base::Unknown,
            Required::Count(required) => {
                let base = match first & 0x80 {
                    0 => required.checked_add(delta),
                    _ => required.checked_sub(delta).and_then(|base| base.checked_sub(1)),
                };
                Base::At { base: base.ok_or(Invalid::Index)?, required }
            }
        })
    }

    /// Decodes a field line (sections 4.5.2 to 4.5.6). On failure, returns as much of
    /// the field as is known.
    fn line(
        &self,
        reader: &mut BlockReader<'_>,
        base: &Base,
    ) -> Result<Field, (Option<Field>, Interrupt)> {
        let fail = |interrupt| (None, interrupt);
        let invalid = |invalid: Invalid| (None, Interrupt::from(invalid));
        let first = reader.byte().map_err(fail)?;
        let index = |reader: &mut BlockReader<'_>, bits| {
            reader.integer(first, bits).map(u64::from).map_err(fail)
        };
        let name = match first {
            0x80.. => {
                let at = index(reader, 6)?;
                return self.field(first & 0x40 != 0, at, base).map_err(invalid);
            }
            0x10..=0x1f => {
                let at = index(reader, 4)?;
                return self.dynamic(base.after(at), base).map_err(invalid);
            }
            0x40..=0x7f => {
                let at = index(reader, 4)?;
                self.field(first & 0x10 != 0, at, base).map_err(invalid)?.name
            }
            0x00..=0x0f => {
                let at = index(reader, 3)?;
                self.dynamic(base.after(at), base).map_err(invalid)?.name
            }
            0x20..=0x3f => reader.string_after(first, 3).map_err(|interrupt| {
                let named = |start| Field { name: start, value: Text::UNKNOWN };
                (partial_field(&interrupt, named), interrupt)
            })?,
        };
        match reader.string() {
            Ok(value) => Ok(Field { name, value }),
            Err(interrupt) => {
                Err((partial_field(&interrupt, |start| Field { name, value: start }), interrupt))
            }
        }
    }

    /// Returns a field by its index in the static table, or relative to the base.
    fn field(&self, is_static: bool, index: u64, base: &Base) -> Result<Field, Invalid> {
        if is_static {
            return table::fixed(index).ok_or(Invalid::Index);
        }
        self.dynamic(base.before(index), base)
    }

    /// Returns the dynamic entry with this absolute index, if it is known which one
    /// that is. A section that refers to an entry beyond its required insert count
    /// is invalid (section 2.2.3).
    fn dynamic(&self, absolute: Option<u64>, base: &Base) -> Result<Field, Invalid> {
        let Base::At { required, .. } = *base else {
            return Ok(Field { name: Text::UNKNOWN, value: Text::UNKNOWN });
        };
        let absolute = absolute.filter(|&at| at < required).ok_or(Invalid::Index)?;
        Ok(self.table.field(absolute))
    }
}

/// The position in the dynamic table that the indexes of a section count from.
#[derive(Debug)]
enum Base {
    At {
        base: u64,
        required: u64,
    },
    /// The insertions before it have not arrived.
    Blocked,
    /// It depends on insertions that are lost.
    Unknown,
}

impl Base {
    /// Returns the absolute index of a relative one (section 3.2.5).
    fn before(&self, index: u64) -> Option<u64> {
        match self {
            Self::At { base, .. } => base.checked_sub(index)?.checked_sub(1),
            Self::Blocked | Self::Unknown => None,
        }
    }

    /// Returns the absolute index of a post-base one (section 3.2.6).
    fn after(&self, index: u64) -> Option<u64> {
        match self {
            Self::At { base, .. } => base.checked_add(index),
            Self::Blocked | Self::Unknown => None,
        }
    }
}
