//! Finds `crypto/tls.(*Conn).Write` in Go programs, stripped or not.
//!
//! Go keeps the names of functions for stack traces, in a table that stripping does not remove:
//!
//! ```text
//! u32 magic, u16 0, u8 instruction size, u8 pointer size
//! u64 functions, files; text; offsets of names, units, files, counters, functions
//! functions: (u32 offset in the code, u32 offset of the description)[count]
//! description: u32 offset in the code, i32 offset of the name, …
//! ```
//!
//! Source: src/internal/abi/symtab.go and src/debug/gosym/pclntab.go of Go 1.18 to 1.26.

use std::io;

use memchr::memmem;

use super::elf::Image;
use super::source::{Fields as _, Part};

/// The function, as its name is in the table.
const WRITE: &[u8] = b"crypto/tls.(*Conn).Write\0";

/// The beginnings of the table since 1.18 and since 1.20, before the sizes.
const MAGICS: [[u8; 6]; 2] = [[0xf0, 0xff, 0xff, 0xff, 0, 0], [0xf1, 0xff, 0xff, 0xff, 0, 0]];
const HEADER: usize = 72;

/// Maximum number of bytes of the table that are read. Large programs have 60 MB.
const MAX_TABLE: usize = 128 << 20;

/// `crypto/tls` in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CryptoTls {
    /// Address of `(*Conn).Write`; `None` in an unknown version of the table.
    pub(super) write: Option<u64>,
}

/// Searches for `crypto/tls` in the table of functions; returns `None` if it is not in the program.
pub(super) fn find(image: &Image<'_>) -> io::Result<Option<CryptoTls>> {
    let name = memmem::Finder::new(WRITE);
    let mut names = Vec::new();
    each_window(image, |offset, window| {
        names.extend(name.find_iter(window).take(8).map(|hit| offset + hit as u64));
    })?;
    if names.is_empty() {
        return Ok(None);
    }
    let mut tables = Vec::new();
    for magic in MAGICS {
        let magic = memmem::Finder::new(&magic);
        each_window(image, |offset, window| {
            for hit in magic.find_iter(window) {
                // Instructions have 1 or 4 bytes, and pointers 8.
                if matches!(window.get(hit + 6..hit + 8), Some([1 | 4, 8])) && tables.len() < 8 {
                    tables.push(offset + hit as u64);
                }
            }
        })?;
    }
    if tables.is_empty() {
        return Ok(None);
    }
    let mut write = None;
    for table in tables {
        let size = image.file.size().saturating_sub(table);
        if let Some(part) = image.file.sub(table, size) {
            let names = names.iter().filter_map(|name| name.checked_sub(table));
            write = write.or(function(image, part, &names.collect::<Vec<_>>())?);
        }
    }
    Ok(Some(CryptoTls { write }))
}

/// Calls `visit` with the segments that are not code, in overlapping windows with their offsets.
fn each_window(image: &Image<'_>, mut visit: impl FnMut(u64, &[u8])) -> io::Result<()> {
    for segment in image.segments.iter().filter(|segment| !segment.executable) {
        image.file.windows(segment.offset, segment.size(), HEADER, &mut visit)?;
    }
    Ok(())
}

/// Returns the address of the function with one of `names`, offsets in `table`.
fn function(image: &Image<'_>, table: Part<'_>, names: &[u64]) -> io::Result<Option<u64>> {
    let header = table.read(0, HEADER)?;
    let field = |index: usize| header.u64(8 + 8 * index);
    let (Some(count), Some(text), Some(names_at), Some(functions_at)) =
        (field(0), field(2), field(3), field(7))
    else {
        return Ok(None);
    };
    // Since 1.26, the header lacks the address of the code.
    let text = match text {
        0 => image.section(".text")?.and_then(|range| image.address_of(range.start)),
        text => Some(text),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let wanted: Vec<u64> = names.iter().filter_map(|name| name.checked_sub(names_at)).collect();
    let functions = table.read(functions_at, MAX_TABLE)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(functions.len() / 8);
    for index in 0..count {
        let Some(description) = functions.u32(8 * index + 4) else {
            break;
        };
        let description = description as usize;
        let (Some(entry), Some(name)) =
            (functions.u32(description), functions.u32(description.saturating_add(4)))
        else {
            continue;
        };
        if wanted.contains(&u64::from(name)) {
            return Ok(text.checked_add(u64::from(entry)));
        }
    }
    Ok(None)
}
