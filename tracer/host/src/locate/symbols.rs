//! Finds functions by name in a symbol table.

use std::collections::BTreeMap;
use std::io;

use memchr::memmem;

use object::LittleEndian as LE;
use object::elf::{SHN_UNDEF, STT_FUNC};

use super::elf::{RawSymbol, SymbolTable, entries};
use super::source::{Part, WINDOW};

/// Maximum number of occurrences of the names in the string table. A name usually occurs
/// once; suffix sharing adds a few.
const MAX_NAME_POSITIONS: usize = 256;

/// Maximum number of symbols found. A name has one address, or a few if it has versions.
const MAX_SYMBOLS: usize = 256;

/// A function symbol with one of the requested names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Index of the name.
    pub(super) name: usize,
    /// Address of the function; `None` if it is imported.
    pub(super) address: Option<u64>,
    /// Size of the function in bytes; 0 if the table does not have it.
    pub(super) size: u64,
}

/// Finds the function symbols in `table` that have one of `names`.
///
/// An unstripped browser has millions of symbols. The string table is searched first, so that
/// each symbol only has to be compared with a few string offsets.
pub(super) fn find(file: Part<'_>, table: &SymbolTable, names: &[&str]) -> io::Result<Vec<Symbol>> {
    let positions = name_positions(file, table, names)?;
    let mut found = Vec::new();
    if positions.is_empty() {
        return Ok(found);
    }
    // With this overlap, every window starts at the beginning of an entry.
    let overlap = WINDOW % size_of::<RawSymbol>();
    let size = table.symbols.end.saturating_sub(table.symbols.start);
    file.windows(table.symbols.start, size, overlap, |_, window| {
        for entry in entries::<RawSymbol>(window) {
            if let Some(name) = positions.get(&u64::from(entry.st_name.get(LE)))
                && found.len() < MAX_SYMBOLS
            {
                found.extend(function(entry, *name));
            }
        }
    })?;
    Ok(found)
}

/// Returns the offsets of `names` in the string table. Linkers share suffixes, so the byte
/// before a name can be anything.
fn name_positions(
    file: Part<'_>,
    table: &SymbolTable,
    names: &[&str],
) -> io::Result<BTreeMap<u64, usize>> {
    let needles: Vec<Vec<u8>> =
        names.iter().map(|name| [name.as_bytes(), b"\0"].concat()).collect();
    let finders: Vec<_> = needles.iter().map(memmem::Finder::new).collect();
    let overlap = needles.iter().map(Vec::len).max().unwrap_or(0);
    let size = table.strings.end.saturating_sub(table.strings.start);
    let mut positions = BTreeMap::new();
    file.windows(table.strings.start, size, overlap, |at, window| {
        for (name, finder) in finders.iter().enumerate() {
            for hit in finder.find_iter(window) {
                if positions.len() < MAX_NAME_POSITIONS {
                    positions.insert(at - table.strings.start + hit as u64, name);
                }
            }
        }
    })?;
    Ok(positions)
}

/// Converts the symbol of a function; returns `None` for other symbols.
fn function(entry: &RawSymbol, name: usize) -> Option<Symbol> {
    let imported = entry.st_shndx.get(LE) == SHN_UNDEF;
    // An import can have no type; the definition of a function is STT_FUNC.
    (imported || entry.st_type() == STT_FUNC).then(|| Symbol {
        name,
        address: (!imported).then(|| entry.st_value.get(LE)),
        size: entry.st_size.get(LE),
    })
}
