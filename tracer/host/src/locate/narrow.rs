//! Names the TLS libraries of 32-bit files, whose functions are not probed.

use std::collections::BTreeSet;
use std::io;

use object::LittleEndian as LE;
use object::elf::FileHeader32;
use object::read::elf::ElfFile;
use object::{Object as _, ObjectSymbol as _};

use super::source::Part;
use super::{Library, Name};

/// Maximum number of bytes that are read. A TLS library has one or two million.
const MAX_FILE: usize = 16 << 20;

/// Returns the libraries whose functions `file` exports.
pub(super) fn libraries(file: Part<'_>) -> io::Result<BTreeSet<Library>> {
    let bytes = file.read(0, MAX_FILE)?;
    let Ok(elf) = ElfFile::<FileHeader32<LE>>::parse(&bytes[..]) else {
        return Ok(BTreeSet::new());
    };
    let defined = elf.dynamic_symbols().filter(|symbol| symbol.is_definition());
    Ok(defined.filter_map(|symbol| library(symbol.name().ok()?)).collect())
}

/// Returns the library that has a function with this name.
fn library(symbol: &str) -> Option<Library> {
    match symbol {
        _ if symbol == Name::SslWrite.symbol() => Some(Library::OpenSsl),
        _ if symbol == Name::GnutlsRecordSend.symbol() => Some(Library::GnuTls),
        _ if symbol == Name::PrWrite.symbol() => Some(Library::Nspr),
        _ => None,
    }
}
