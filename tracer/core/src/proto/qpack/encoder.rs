//! The encoder stream: the instructions that change the dynamic table (RFC 9204
//! section 4.3).

use super::table::{self, Dynamic};
use crate::proto::hpack::Invalid;
use crate::proto::hpack::reader::{BlockReader, Interrupt};
use crate::proto::{Field, Gap};

/// Maximum number of bytes kept of an incomplete instruction. An entry must fit into
/// the table, and Huffman coding lengthens a string at most fourfold.
const MAX_INSTRUCTION: usize = 8 * table::MAX_TABLE as usize;

/// Reads the instructions.
#[derive(Debug, Default)]
pub(super) struct EncoderStream {
    /// The start of an incomplete instruction, and the gaps in it.
    pending: Vec<u8>,
    gaps: Vec<Gap>,
}

impl EncoderStream {
    /// Processes the next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], table: &mut Dynamic) {
        if table.is_lost() {
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.run(table);
    }

    /// Processes a gap.
    pub(super) fn gap(&mut self, len: Option<u64>, table: &mut Dynamic) {
        if table.is_lost() || len == Some(0) {
            return;
        }
        let at = self.pending.len();
        match self.gaps.last_mut() {
            Some(last) if last.at == at => {
                last.len = last.len.zip(len).map(|(a, b)| a.saturating_add(b));
            }
            _ => self.gaps.push(Gap { at, len }),
        }
        self.run(table);
    }

    pub(super) fn buffered(&self) -> usize {
        self.pending.len()
    }

    /// Executes all complete instructions.
    fn run(&mut self, table: &mut Dynamic) {
        let mut reader = BlockReader::new(&self.pending, &self.gaps);
        let mut done = reader.clone();
        while !reader.at_end() {
            match instruction(&mut reader, table) {
                Ok(()) => done = reader.clone(),
                // The rest has not arrived yet.
                Err(Interrupt::Invalid(Invalid::EndsEarly)) => break,
                Err(Interrupt::Cut(_) | Interrupt::Invalid(_)) => {
                    table.lose();
                    break;
                }
            }
        }
        let (used, gaps) = done.rest();
        self.gaps = gaps;
        self.pending.drain(..used);
        if self.pending.len() > MAX_INSTRUCTION {
            table.lose();
        }
        if table.is_lost() {
            *self = Self::default();
        }
    }
}

/// Executes an instruction (sections 4.3.1 to 4.3.4).
fn instruction(reader: &mut BlockReader<'_>, table: &mut Dynamic) -> Result<(), Interrupt> {
    let first = reader.byte()?;
    match first {
        0x80.. => {
            let index = reader.integer(first, 6)?.into();
            let name = match first & 0x40 {
                0 => table.newest(index)?.name,
                _ => table::fixed(index).ok_or(Invalid::Index)?.name,
            };
            let value = reader.string()?;
            table.insert(Field { name, value })?;
        }
        0x40..=0x7f => {
            let name = reader.string_after(first, 5)?;
            let value = reader.string()?;
            table.insert(Field { name, value })?;
        }
        0x20..=0x3f => table.resize(reader.integer(first, 5)?),
        0x00..=0x1f => {
            let index = reader.integer(first, 5)?.into();
            table.insert(table.newest(index)?)?;
        }
    }
    Ok(())
}
