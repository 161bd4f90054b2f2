//! Finds functions of NSS that encrypt, in the table that its cryptographic library exports.
//!
//! `libfreeblpriv3.so` and its variants export `FREEBL_GetVector`, which returns a table: its
//! length and its version (16 bits each), and pointers to all functions. NSS only appends to it
//! (lib/freebl/ldvector.c), so each function has a fixed position.
//!
//! ```text
//! FREEBL_GetVector:  … lea rax, [rip+vector] … ret      adrp x0, … ; add x0, x0, …
//! vector:            2448, 0x332, 0, RSA_NewKey, …      0: padding
//! ```

use std::collections::BTreeSet;
use std::io;

use super::code::{self, Targets};
use super::elf::{Dynamic, Image};
use super::pointers;
use super::source::Fields;
use super::symbols;
use super::{Name, Reason};

const GET_VECTOR: &str = "FREEBL_GetVector";

/// Number of bytes of that function that are searched. It has 50 to 100.
const GET_VECTOR_LEN: u64 = 128;

/// Size of a pointer, and of what precedes the pointers.
const POINTER: u64 = 8;

/// The version that added the functions, 3.023. The first byte never changed.
const VERSIONS: std::ops::RangeInclusive<u16> = 0x0317..=0x03ff;

/// The positions of the functions.
pub(super) const FUNCTIONS: [(Name, u64); 2] = [(Name::ChaCha20Encrypt, 234), (Name::AesAead, 236)];

/// The addresses of the functions, or the reason for which there is none.
pub(super) type Found = Result<[(Name, u64); FUNCTIONS.len()], Reason>;

/// Searches the table. Returns `None` if the file does not export it.
pub(super) fn find(image: &Image<'_>, dynamic: &Dynamic) -> io::Result<Option<Found>> {
    let Some(table) = &dynamic.symbols else {
        return Ok(None);
    };
    let exported = symbols::find(image.file, table, &[GET_VECTOR])?;
    let Some((address, size)) = exported.iter().find_map(|it| Some((it.address?, it.size))) else {
        return Ok(None);
    };
    let vectors = vectors(image, address, size)?;
    let (Some(vector), 1) = (vectors.first(), vectors.len()) else {
        return Ok(Some(Err(Reason::NotUnique(vectors.len()))));
    };
    let mut found = FUNCTIONS;
    for (_, place) in &mut found {
        let pointer = vector.saturating_add(POINTER * (1 + *place));
        match function(image, pointer)? {
            Some(address) => *place = address,
            None => return Ok(Some(Err(Reason::NotCode))),
        }
    }
    Ok(Some(Ok(found)))
}

/// Returns the addresses of the tables to which the function at `address` refers.
fn vectors(image: &Image<'_>, address: u64, size: u64) -> io::Result<BTreeSet<u64>> {
    let len = if size == 0 { GET_VECTOR_LEN } else { size.min(GET_VECTOR_LEN) };
    let code = image.read_address(address, usize::try_from(len).unwrap_or(0))?;
    let writable = image.segments.iter().filter(|segment| segment.writable);
    let targets = Targets::new(writable.map(|segment| segment.addresses.clone()));
    let mut candidates = BTreeSet::new();
    code::references(image.arch, image.fixed, &code, address, &targets, |reference| {
        candidates.insert(reference.target);
    });
    let mut vectors = BTreeSet::new();
    for candidate in candidates {
        let head = image.read_address(candidate, 4)?;
        let (Some(len), Some(version)) = (head.u16(0), head.u16(2)) else {
            continue;
        };
        let last = FUNCTIONS.iter().map(|(_, place)| *place).max().unwrap_or(0);
        let is_long = u64::from(len) >= POINTER * (2 + last) && u64::from(len) % POINTER == 0;
        if is_long && VERSIONS.contains(&version) {
            vectors.insert(candidate);
        }
    }
    Ok(vectors)
}

/// Returns the address of the function to which the pointer at `pointer` refers once the file is
/// loaded.
fn function(image: &Image<'_>, pointer: u64) -> io::Result<Option<u64>> {
    let values = pointers::relocated(image, pointer)?;
    let function = values.first().filter(|_| values.len() == 1);
    Ok(function.copied().filter(|address| image.code_at(*address).is_some()))
}
