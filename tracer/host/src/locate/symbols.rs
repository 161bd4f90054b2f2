//! Finds functions by name in a symbol table.

use std::collections::BTreeMap;
use std::io;

use memchr::memmem;

use super::elf::{SYM_SIZE, SymbolTable};
use super::source::{Fields, Part, WINDOW};

const STT_FUNC: u8 = object::elf::STT_FUNC;

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
    let overlap = WINDOW % SYM_SIZE;
    let size = table.symbols.end.saturating_sub(table.symbols.start);
    file.windows(table.symbols.start, size, overlap, |_, window| {
        for entry in window.chunks_exact(SYM_SIZE) {
            let Some(name) = entry.u32(0).and_then(|at| positions.get(&u64::from(at))) else {
                continue;
            };
            if found.len() < MAX_SYMBOLS {
                found.extend(symbol(entry, *name));
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

/// Reads an `Elf64_Sym`: `u32 name, u8 info, u8 other, u16 section,
/// u64 value, u64 size`.
fn symbol(entry: &[u8], name: usize) -> Option<Symbol> {
    let kind = entry.get(4)? & 0xf;
    let section = entry.u16(6)?;
    let imported = section == object::elf::SHN_UNDEF;
    // An import can have no type; the definition of a function is STT_FUNC.
    (imported || kind == STT_FUNC).then_some(Symbol {
        name,
        address: if imported { None } else { Some(entry.u64(8)?) },
        size: entry.u64(16)?,
    })
}
