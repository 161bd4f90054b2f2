//! Functions by name in a symbol table.

use std::collections::BTreeMap;
use std::io;

use memchr::memmem;

use super::elf::{SYM_SIZE, SymbolTable};
use super::source::{Fields, Part, WINDOW};

const STT_FUNC: u8 = object::elf::STT_FUNC;

/// Positions in the string table at which a wanted name is looked for. A name
/// stands there once; suffix sharing adds few.
const MAX_NAME_POSITIONS: usize = 256;

/// Hits kept. One name has one address, a few where it has versions.
const MAX_SYMBOLS: usize = 256;

/// A function symbol with one of the names asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Which of the names, by position.
    pub(super) name: usize,
    /// The address; `None` where the table imports the function.
    pub(super) address: Option<u64>,
    /// How many bytes the function has; 0 where the table does not say.
    pub(super) size: u64,
}

/// Finds the function symbols of `table` that bear one of `names`.
///
/// The string table is searched first, which leaves a few positions to
/// compare each symbol with: an unstripped browser has millions of symbols,
/// and their names need not be read one by one.
pub(super) fn find(file: Part<'_>, table: &SymbolTable, names: &[&str]) -> io::Result<Vec<Symbol>> {
    let positions = name_positions(file, table, names)?;
    let mut found = Vec::new();
    if positions.is_empty() {
        return Ok(found);
    }
    // Whole entries to a window: the step is the window less the overlap.
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

/// Where in the string table a symbol name can point to for each of `names`.
/// Linkers share suffixes, so the byte before the name can be anything.
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
    // An import can be untyped; a definition of a function is STT_FUNC.
    (imported || kind == STT_FUNC).then_some(Symbol {
        name,
        address: if imported { None } else { Some(entry.u64(8)?) },
        size: entry.u64(16)?,
    })
}
