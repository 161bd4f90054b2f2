//! Finds `(*Conn).writeRecordLocked` of `crypto/tls` in Go programs, stripped or not.
//!
//! Every write of application data passes through it, once the handshake is complete, with
//! the type of its records. Copies of the package that change the handshake (uTLS) have the
//! same function.
//!
//! Go keeps the names of functions for stack traces, in a table that stripping does not remove:
//!
//! ```text
//! u32 magic, u16 0, u8 instruction size, u8 pointer size
//! words: number of functions, …, offsets of the parts
//! functions: (address, offset of the description)[count], end
//! description: address, i32 offset of the name, …
//! ```
//!
//! | since | magic | words | an address is | offset of names, of functions |
//! |---|---|---|---|---|
//! | 1.2 | `fb` | 8 bytes | absolute | 0, 16 |
//! | 1.16 | `fa` | 8 bytes | absolute | words 2, 6 |
//! | 1.18, 1.20 | `f0`, `f1` | 4 bytes | relative to the code (word 2) | words 3, 7 |
//!
//! A function begins with a check of its stack, which decides between the two ways in which
//! Go passes arguments ([`prologue`]). Addresses count only if most functions of the table
//! begin with one.
//!
//! Source: src/internal/abi/symtab.go and src/debug/gosym/pclntab.go of Go 1.16 to 1.26.

use std::collections::BTreeSet;
use std::io;

use memchr::memmem;

use super::elf::Image;
use super::prologue::Probes;
use super::prologue::golang::{self as prologue, StackCheck};
use super::source::{Fields as _, Part};
use super::{Arch, pointers};

/// The end of the function's name.
const WRITE: &[u8] = b".(*Conn).writeRecordLocked\0";

/// Maximum length of the path of a package.
const MAX_PACKAGE: usize = 256;

/// Maximum number of names and tables of a program that are examined.
const MAX_FOUND: usize = 8;

/// Length of the longest header.
const HEADER: usize = 72;

/// Maximum number of bytes of the table that are read. Large programs have 60 MB.
const MAX_TABLE: usize = 128 << 20;

/// Number of functions that are examined to confirm the addresses of a table.
const SAMPLES: usize = 64;

/// Maximum number of bytes of a check of the stack.
const MAX_CHECK: usize = 32;

/// `crypto/tls` in a program: each of its functions, or the addresses of those that do not
/// begin as expected (`None` if the addresses are unknown).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CryptoTls(pub(super) Vec<Result<WriteRecord, Option<u64>>>);

/// A function that writes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteRecord {
    pub(super) address: u64,
    pub(super) convention: Convention,
    pub(super) probes: Probes,
}

/// A way in which Go passes arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    /// `ABIInternal` since 1.17: in registers.
    Registers,
    /// `ABI0`: on the stack.
    Stack,
}

/// The versions of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1_2,
    V1_16,
    V1_18,
}

impl Version {
    const MAGICS: [(u8, Self); 4] =
        [(0xfb, Self::V1_2), (0xfa, Self::V1_16), (0xf0, Self::V1_18), (0xf1, Self::V1_18)];

    /// Returns the way in which a function that begins with this check gets its arguments. They
    /// are in registers since 1.17 on x86_64, with the table of 1.16, and since 1.18 on arm64.
    fn convention(self, arch: Arch, check: StackCheck) -> Option<Convention> {
        match (self, arch, check.is_new) {
            (Self::V1_18, _, true) | (Self::V1_16, Arch::X86_64, true) => {
                Some(Convention::Registers)
            }
            (Self::V1_2 | Self::V1_16, Arch::X86_64, false) => Some(Convention::Stack),
            (Self::V1_2 | Self::V1_16, Arch::Arm64, _) => Some(Convention::Stack),
            (Self::V1_2, Arch::X86_64, true) | (Self::V1_18, _, false) => None,
        }
    }
}

/// Searches for `crypto/tls` in the table of functions; returns `None` if it is not in the program.
pub(super) fn find(image: &Image<'_>) -> io::Result<Option<CryptoTls>> {
    let names = names(image)?;
    if names.is_empty() {
        return Ok(None);
    }
    let mut has_table = false;
    let mut found = Vec::new();
    for (offset, version) in tables(image)? {
        let size = image.file.size().saturating_sub(offset);
        let Some(table) = image.file.sub(offset, size) else {
            continue;
        };
        let Some(table) = Table::read(image, table, offset, version)? else {
            continue;
        };
        has_table = true;
        found.extend(table.find(image, &names)?);
    }
    if !has_table {
        return Ok(None);
    }
    if found.is_empty() {
        found.push(Err(None));
    }
    Ok(Some(CryptoTls(found)))
}

/// Returns the offsets of the names of the functions.
fn names(image: &Image<'_>) -> io::Result<BTreeSet<u64>> {
    let finder = memmem::Finder::new(WRITE);
    let mut names = BTreeSet::new();
    each_window(image, MAX_PACKAGE + WRITE.len(), |offset, window| {
        for hit in finder.find_iter(window) {
            let before = window.get(hit.saturating_sub(MAX_PACKAGE)..hit).unwrap_or_default();
            let start = before.iter().rposition(|byte| *byte == 0).map(|nul| nul + 1);
            let package = start.and_then(|start| before.get(start..)).unwrap_or_default();
            if names.len() < MAX_FOUND && is_tls(package) {
                names.insert(offset + (hit - package.len()) as u64);
            }
        }
    })?;
    Ok(names)
}

/// Reports whether a package is `crypto/tls` or a copy of it, such as
/// `github.com/refraction-networking/utls`. The path of a module can end with its version.
fn is_tls(package: &[u8]) -> bool {
    let mut elements = package.rsplit(|byte| *byte == b'/');
    let is_version = |element: &&[u8]| {
        matches!(element, [b'v', digits @ ..] if !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit))
    };
    let name = elements.find(|element| !is_version(element)).unwrap_or_default();
    let has = |part: &[u8]| memmem::find(name, part).is_some();
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-~%+@".contains(byte);
    package.iter().all(is_path) && has(b"tls") && !has(b"dtls")
}

/// Returns the offsets of what may be tables of functions.
fn tables(image: &Image<'_>) -> io::Result<Vec<(u64, Version)>> {
    let mut tables = Vec::new();
    for (magic, version) in Version::MAGICS {
        let start = [magic, 0xff, 0xff, 0xff, 0, 0];
        let finder = memmem::Finder::new(&start);
        each_window(image, HEADER, |offset, window| {
            for hit in finder.find_iter(window) {
                let table = (offset + hit as u64, version);
                // Instructions have 1 or 4 bytes, and pointers 8.
                if matches!(window.get(hit + 6..hit + 8), Some([1 | 4, 8]))
                    && tables.len() < MAX_FOUND
                    && !tables.contains(&table)
                {
                    tables.push(table);
                }
            }
        })?;
    }
    Ok(tables)
}

/// Calls `visit` with the segments that are not code, in overlapping windows with their offsets.
fn each_window(
    image: &Image<'_>,
    overlap: usize,
    mut visit: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    for segment in image.segments.iter().filter(|segment| !segment.executable) {
        image.file.windows(segment.offset, segment.size(), overlap, &mut visit)?;
    }
    Ok(())
}

/// A table of functions.
struct Table {
    version: Version,
    /// Offset of the names in the file.
    names_at: u64,
    /// The list of functions, to which the offsets of descriptions are relative, and what
    /// follows it.
    bytes: Vec<u8>,
    /// Position of the list in it.
    list: usize,
    count: usize,
    /// Addresses to which those of functions may be relative.
    bases: Vec<u64>,
}

impl Table {
    /// Reads the table at `offset` in the file; returns `None` if its header is invalid.
    fn read(
        image: &Image<'_>,
        table: Part<'_>,
        offset: u64,
        version: Version,
    ) -> io::Result<Option<Self>> {
        let header = table.read(0, HEADER)?;
        let field = |index: usize| header.u64(8 + 8 * index);
        let (names_at, functions_at, list) = match version {
            Version::V1_2 => (Some(0), Some(0), 16),
            Version::V1_16 => (field(2), field(6), 0),
            Version::V1_18 => (field(3), field(7), 0),
        };
        let (Some(count), Some(names_at), Some(functions_at)) = (field(0), names_at, functions_at)
        else {
            return Ok(None);
        };
        let bases = match version {
            Version::V1_2 | Version::V1_16 => vec![0],
            Version::V1_18 => Self::bases(image, offset, field(2).unwrap_or(0))?,
        };
        let bytes = table.read(functions_at, MAX_TABLE)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len() / 8);
        let names_at = offset.saturating_add(names_at);
        Ok((count > 0).then_some(Self { version, names_at, bytes, list, count, bases }))
    }

    /// Returns the addresses at which the code may begin: that in the header or, if it is not
    /// there, that of its relocation or of the section. Since 1.26 no program has it.
    fn bases(image: &Image<'_>, table: u64, text: u64) -> io::Result<Vec<u64>> {
        if text != 0 {
            return Ok(vec![text]);
        }
        let mut bases = Vec::new();
        if let Some(address) = image.address_of(table) {
            bases.extend(pointers::relocated(image, address.saturating_add(24))?);
        }
        let section = image.section(".text")?;
        bases.extend(section.and_then(|range| image.address_of(range.start)));
        Ok(bases)
    }

    /// Returns the address of a function, before the base is added, and the offset of its name.
    fn function(&self, index: usize) -> Option<(u64, u64)> {
        let is_short = self.version == Version::V1_18;
        let word = |at: usize| match is_short {
            true => self.bytes.u32(at).map(u64::from),
            false => self.bytes.u64(at),
        };
        let size = if is_short { 4 } else { 8 };
        let entry = self.list.checked_add(index.checked_mul(2 * size)?)?;
        let description = usize::try_from(word(entry.checked_add(size)?)?).ok()?;
        let address = word(entry)?;
        // The address is there twice.
        let name = self.bytes.u32(description.checked_add(size)?)?;
        (word(description)? == address).then_some((address, u64::from(name)))
    }

    /// Returns the functions whose names are at `names` in the file.
    fn find(
        &self,
        image: &Image<'_>,
        names: &BTreeSet<u64>,
    ) -> io::Result<Vec<Result<WriteRecord, Option<u64>>>> {
        let all = (0..self.count).filter_map(|index| self.function(index));
        let wanted = all.map(|(address, name)| (self.names_at.saturating_add(name), address));
        let wanted = wanted.filter(|(name, _)| names.contains(name)).take(MAX_FOUND);
        let wanted: Vec<(u64, u64)> = wanted.collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let distinct: BTreeSet<u64> = wanted.iter().map(|(name, _)| *name).collect();
        if distinct.len() < wanted.len() {
            return Ok(vec![Err(None)]);
        }
        let mut base = None;
        for candidate in &self.bases {
            if base.is_none() && self.is_confirmed(image, *candidate)? {
                base = Some(*candidate);
            }
        }
        let Some(base) = base else {
            return Ok(vec![Err(None)]);
        };
        let mut found = Vec::new();
        for (_, address) in wanted {
            let address = base.wrapping_add(address);
            found.push(self.write_record(image, address)?.ok_or(Some(address)));
        }
        Ok(found)
    }

    /// Reports whether most functions begin with a check of the stack if the code is at `base`.
    fn is_confirmed(&self, image: &Image<'_>, base: u64) -> io::Result<bool> {
        let step = self.count.div_ceil(SAMPLES).max(1);
        let (mut all, mut checks) = (0usize, 0usize);
        for index in (0..self.count).step_by(step) {
            if let Some((address, _)) = self.function(index) {
                all += 1;
                let function = self.write_record(image, base.wrapping_add(address))?;
                checks += usize::from(function.is_some());
            }
        }
        // Small functions need no stack.
        Ok(checks > 0 && checks * 3 >= all)
    }

    /// Returns the function at `address`, if it begins with a check of the stack.
    fn write_record(&self, image: &Image<'_>, address: u64) -> io::Result<Option<WriteRecord>> {
        if image.code_at(address).is_none() {
            return Ok(None);
        }
        let code = image.read_address(address, MAX_CHECK)?;
        Ok(prologue::stack_check(image.arch, &code).and_then(|check| {
            let convention = self.version.convention(image.arch, check)?;
            Some(WriteRecord { address, convention, probes: check.probes(image.arch) })
        }))
    }
}
