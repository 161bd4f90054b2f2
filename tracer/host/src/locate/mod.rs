//! Locates the functions of TLS libraries that receive plaintext in ELF files and APKs.
//!
//! ```text
//! file ─┬─ ELF ────────────────────┐
//!       └─ APK ── stored libraries ┤
//!                                  ├─ .dynsym          export
//!                                  ├─ .symtab          symtab
//!                                  ├─ .gnu_debugdata   minidebuginfo
//!                                  ├─ Go's table of    pclntab
//!                                  │  functions
//!                                  └─ strings and      string-xref
//!                                     the code that
//!                                     uses them
//! ```
//!
//! The first source that has exactly one address for a function decides. If it has two
//! addresses, or if no source has any, the function is reported as missing, with the
//! reason. A probe on the wrong function would read memory that is not plaintext, so
//! tracer never guesses.
//!
//! Each function has three offsets: its entry; the instruction at which a probe reads the
//! arguments at the lowest cost; and the instruction at which a return probe can be placed
//! ([`prologue`]).
//!
//! Everything here is pure except [`FileSource`]. Files are hostile: a watched program
//! controls their content. The work and the memory are bounded, and a file's own claims are
//! only trusted where a wrong one leads to nothing worse than a wrong answer.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

mod analysis;
mod archive;
mod boringssl;
mod cache;
mod code;
mod elf;
mod errors;
mod freebl;
mod functions;
mod gnutls;
mod golang;
mod internal;
mod minidebuginfo;
mod narrow;
mod openssl;
mod pointers;
mod process;
pub mod prologue;
mod report;
mod search;
mod signatures;
mod source;
mod strings;
mod symbols;
mod unwind;
mod zip;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use functions::{Library, Name};
pub use process::{Locator, serve, supervise};
pub use source::{FileSource, Source};

use archive::Depth;
use prologue::Probes;

/// A supported machine architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm, little-endian.
    #[serde(rename = "arm64")]
    Arm64,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}

/// The method by which a function was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The dynamic symbol table.
    Export,
    /// The full symbol table.
    Symtab,
    /// The compressed symbol table that some distributions keep in stripped files.
    MiniDebugInfo,
    /// The strings and the constants that its code uses.
    #[serde(rename = "string-xref")]
    StringXref,
    /// The table of functions that NSS's library exports.
    Table,
    /// The table of functions in Go programs.
    Pclntab,
    /// The calls of functions that were found.
    Call,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Export => "export",
            Self::Symtab => "symtab",
            Self::MiniDebugInfo => "minidebuginfo",
            Self::StringXref => "string-xref",
            Self::Table => "table",
            Self::Pclntab => "pclntab",
            Self::Call => "call",
        })
    }
}

/// A located function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Name of the function.
    pub name: Name,
    /// Library that the function belongs to.
    pub library: Library,
    /// Method by which it was found.
    pub method: Method,
    /// Address of the entry before relocation.
    pub virtual_address: u64,
    /// Offset of the entry in the file (for a library in an APK, in the APK).
    pub file_offset: u64,
    /// Positions for probes, relative to the entry.
    pub probes: Probes,
}

impl Function {
    /// Returns the file offset at which a probe sees the arguments.
    pub fn probe_offset(&self) -> u64 {
        self.file_offset.saturating_add(self.probes.arguments.delta)
    }

    /// Returns the file offset at which a return probe can be placed.
    pub fn return_probe_offset(&self) -> u64 {
        self.file_offset.saturating_add(self.probes.returns.delta)
    }
}

/// A function that was not found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Name of the function.
    pub name: Name,
    /// Reason for which it was not found.
    pub reason: Reason,
}

/// A reason for which a function was not found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The file contains no library that has the function.
    NoLibrary,
    /// The file imports the function. Contains the needed libraries that may export it.
    Imported(Vec<String>),
    /// The library is present, but not the symbol.
    NoSymbol,
    /// The symbol's address is not in a code segment.
    NotCode,
    /// There is more than one candidate, or one of several expected; contains their number.
    NotUnique(usize),
    /// A library without symbols and without the name of the function's source file: either that
    /// part of the library or the names are not in the file.
    NoStrings,
    /// No function with a certain start refers to the name of the source file.
    NoReferences,
    /// None of the functions that refer to it, of which this is the number, has a known
    /// signature.
    NoMatch(usize),
    /// The file exceeds a limit that no real file reaches.
    TooComplex,
    /// The library is compressed in the archive, so it is never mapped from there, and it was not
    /// decompressed.
    Compressed,
    /// rustls has no functions with a known interface.
    Rustls,
    /// The function of Go's `crypto/tls` does not begin as its compiler begins functions; contains
    /// its address, if known.
    Go(Option<u64>),
    /// Conscrypt's code for Java calls BoringSSL in another file.
    Conscrypt,
    /// The architecture is not supported.
    Unsupported(String),
    /// The file violates its format.
    Malformed(String),
}

impl Reason {
    /// Reports whether the library is one that the search should understand: a report of the file
    /// helps to improve it. Other reasons are limits, or those of files without the function.
    pub(crate) fn is_unexpected(&self) -> bool {
        matches!(
            self,
            Self::NotUnique(_)
                | Self::NoReferences
                | Self::NoMatch(_)
                | Self::Go(_)
                | Self::TooComplex
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary => f.write_str("the file contains no TLS library with this function"),
            Self::Imported(from) if from.is_empty() => f.write_str("imported from another file"),
            Self::Imported(from) => write!(f, "imported from {}", from.join(" or ")),
            Self::NoSymbol => f.write_str("the library has no symbol with this name"),
            Self::NotCode => f.write_str("its symbol does not point to code"),
            Self::NotUnique(count) => write!(f, "ambiguous: {count} candidates"),
            Self::NoStrings => {
                f.write_str("the library lacks its TLS part or the names of its source files")
            }
            Self::NoReferences => {
                f.write_str("no function refers to the names of the library's source files")
            }
            Self::NoMatch(count) => {
                write!(f, "none of {count} functions of the library reports the known errors")
            }
            Self::TooComplex => f.write_str("the file exceeds the limits of the search"),
            Self::Compressed => {
                f.write_str("compressed in the archive; extract the library and locate it there")
            }
            Self::Rustls => f.write_str(
                "rustls is compiled into the program without functions that are the same in all \
                 programs",
            ),
            Self::Go(None) => f.write_str(
                "Go's crypto/tls is in the program, but its table of functions has an unknown form",
            ),
            Self::Go(Some(address)) => write!(
                f,
                "crypto/tls.(*Conn).writeRecordLocked is at {address:#x}, but does not begin as \
                 Go's compiler begins functions"
            ),
            Self::Conscrypt => f.write_str(
                "it calls SSL_write of a BoringSSL in another file, such as libssl.so; locate the \
                 functions there",
            ),
            Self::Unsupported(what) => write!(f, "unsupported: {what}"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

/// A TLS library that is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The library.
    pub library: Library,
    /// The reason for which its plaintext is not read.
    pub reason: Reason,
}

/// The TLS libraries and functions in an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Architecture of the file; `None` if its header could not be read.
    pub arch: Option<Arch>,
    /// Build id in hexadecimal.
    pub build_id: Option<String>,
    /// TLS libraries in the file.
    pub libraries: Vec<Library>,
    /// Functions that were found.
    pub functions: Vec<Function>,
    /// Functions that were expected but not found.
    pub missing: Vec<Missing>,
    /// Libraries without functions that can be probed.
    #[serde(default)]
    pub unread: Vec<Unread>,
}

impl Findings {
    /// Returns the function that is probed in place of `name`, because all of its calls reach it.
    pub fn probed_instead_of(&self, name: Name) -> Option<Name> {
        let mut inner = self.functions.iter().map(|function| function.name);
        inner.find(|inner| name.calls(*inner))
    }

    /// Makes offsets count from `start` in the bytes that were read.
    fn move_back(&mut self, start: u64) {
        for function in &mut self.functions {
            function.file_offset = function.file_offset.saturating_sub(start);
        }
    }

    /// Creates the findings of a file that cannot be read.
    fn unread(reason: &Reason) -> Self {
        let names = Name::ALL.into_iter().filter(|name| name.is_typical());
        Self {
            arch: None,
            build_id: None,
            libraries: Vec::new(),
            functions: Vec::new(),
            missing: names.map(|name| Missing { name, reason: reason.clone() }).collect(),
            unread: Vec::new(),
        }
    }
}

/// The findings in a file, or in a library in an APK.
///
/// Serializes as the object that `tracer locate --json` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Name of the file, as given by the caller.
    pub file: String,
    /// Path of the library in the APK, after that of the APK in a bundle and `!`; `None` for an
    /// ELF file.
    pub entry: Option<String>,
    /// Path in the archive of the APK or library from whose beginning offsets count, because it
    /// becomes a file of its own when it is installed; `None` if that is `file`.
    pub offsets_in: Option<String>,
    /// The findings.
    pub findings: Findings,
}

/// An error that prevents analyzing a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// The file has an unknown format.
    #[error("neither an ELF file nor a zip archive")]
    UnknownFormat,
    /// The file has a known format that has no functions to probe; contains its name and the next
    /// step.
    #[error("{0}")]
    Foreign(&'static str),
    /// The archive contains libraries of another system.
    #[error("the archive has libraries for {0} only; tracer reads programs of Linux and Android")]
    OtherSystem(&'static str),
    /// The file is a zip archive that contains no library.
    #[error(
        "no library was found in the archive; an application that is installed in parts keeps \
         them in a split APK, such as split_config.arm64_v8a.apk"
    )]
    NoLibraries,
}

/// Locates the functions in `source`, an ELF file, an APK or a bundle. `file` is its name in the
/// result.
///
/// The result has one element for an ELF file, and one for each library in an archive.
///
/// # Errors
/// Returns an error if the file cannot be read or has an unknown format. If a file has a
/// known format, its defects are reported in [`Findings::missing`].
pub fn locate(source: &dyn Source, file: &str, cache: &mut Cache) -> Result<Vec<Located>, Error> {
    archive::locate(source, file, cache, Depth::Everything)
}

/// Locates the functions in `source`, an ELF file or an APK that a process maps: libraries that
/// cannot be mapped from it are not analyzed.
///
/// # Errors
/// As for [`locate`].
pub fn locate_mapped(
    source: &dyn Source,
    file: &str,
    cache: &mut Cache,
) -> Result<Vec<Located>, Error> {
    archive::locate(source, file, cache, Depth::Mapped)
}
