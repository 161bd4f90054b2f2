//! Finding the functions that carry a program's plaintext, in the file that
//! holds them.
//!
//! ```text
//! file ─┬─ ELF ────────────────────┐
//!       └─ APK ── stored libraries ┤
//!                                  ├─ .dynsym          export
//!                                  ├─ .symtab          symtab
//!                                  ├─ .gnu_debugdata   minidebuginfo
//!                                  └─ BoringSSL's      string-xref
//!                                     strings and code
//! ```
//!
//! The first of these that knows a function by exactly one address gives it;
//! with two addresses none is given, and with none the report says why. A
//! probe on the wrong function would read memory that is no plaintext, so
//! there is no guess.
//!
//! For each function there are three places: its entry; the instruction at
//! which a probe reads the arguments cheapest; and the one at which a return
//! probe may stand ([`prologue`]).
//!
//! Everything here is pure but [`FileSource`]: positions and bytes in, values
//! out. Files are hostile: a watched program chooses what is in them. What is
//! read, remembered and followed is bounded, and the file's own claims are
//! believed only where a wrong one costs nothing but the answer.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

mod analysis;
mod boringssl;
mod cache;
mod code;
mod elf;
mod minidebuginfo;
pub mod prologue;
mod report;
mod rules;
mod source;
mod strings;
mod symbols;
mod unwind;
mod wanted;
mod zip;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use source::{FileSource, Source};
pub use wanted::{Library, Name};

use prologue::Probes;
use source::Part;

/// A machine whose code can be read.
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

/// How a function was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// It is in the dynamic symbol table.
    Export,
    /// It is in the full symbol table.
    Symtab,
    /// It is in the compressed symbol table that some distributions leave.
    MiniDebugInfo,
    /// By the strings its code refers to and the constants it uses.
    #[serde(rename = "string-xref")]
    StringXref,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Export => "export",
            Self::Symtab => "symtab",
            Self::MiniDebugInfo => "minidebuginfo",
            Self::StringXref => "string-xref",
        })
    }
}

/// A function and where to probe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Which function it is.
    pub name: Name,
    /// Whose it is.
    pub library: Library,
    /// How it was found.
    pub method: Method,
    /// The entry's address, before the loader moves the file.
    pub virtual_address: u64,
    /// The entry's position in the file; in an APK, in the APK.
    pub file_offset: u64,
    /// Where to probe it, relative to the entry.
    pub probes: Probes,
}

impl Function {
    /// The position in the file at which a probe sees the arguments.
    pub fn probe_offset(&self) -> u64 {
        self.file_offset.saturating_add(self.probes.arguments.delta)
    }

    /// The position in the file at which a return probe may stand.
    pub fn return_probe_offset(&self) -> u64 {
        self.file_offset.saturating_add(self.probes.returns.delta)
    }
}

/// A function that was not found, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The function.
    pub name: Name,
    /// Why there is no address for it.
    pub reason: Reason,
}

/// Why a function was not found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing in the file belongs to a library that has it.
    NoLibrary,
    /// The file calls it and has it loaded from another; the libraries it
    /// needs that can be meant.
    Imported(Vec<String>),
    /// The library is there, its symbol is not.
    NoSymbol,
    /// A symbol names it that does not lead to code.
    NotCode,
    /// So many addresses are equally good.
    NotUnique(usize),
    /// OpenSSL without symbols: there is no method for it.
    StaticOpenSsl,
    /// A BoringSSL without the name of the source file that has the function:
    /// that part is left out, or the names are.
    NoStrings,
    /// No function of a certain beginning refers to those names.
    NoReferences,
    /// None of so many functions that do has the known reasons.
    NoMatch(usize),
    /// The file would take more work than any real one.
    TooComplex,
    /// The entry of the archive is compressed, so it is never mapped from
    /// there.
    Compressed,
    /// The file is for a machine that is not supported.
    Unsupported(String),
    /// The file breaks its format's rules.
    Malformed(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary => f.write_str("no TLS library in this file has it"),
            Self::Imported(from) if from.is_empty() => f.write_str("imported from another file"),
            Self::Imported(from) => write!(f, "imported from {}", from.join(" or ")),
            Self::NoSymbol => f.write_str("the library has no symbol of that name"),
            Self::NotCode => f.write_str("its symbol does not lead to code"),
            Self::NotUnique(count) => write!(f, "{count} candidates, so none is certain"),
            Self::StaticOpenSsl => f.write_str("OpenSSL is linked in without symbols"),
            Self::NoStrings => f.write_str(
                "BoringSSL without its TLS part, or without the names of its source files",
            ),
            Self::NoReferences => {
                f.write_str("no function refers to the names of BoringSSL's source files")
            }
            Self::NoMatch(count) => {
                write!(f, "none of {count} functions of BoringSSL's gives the known errors")
            }
            Self::TooComplex => f.write_str("the file takes more work than any real one"),
            Self::Compressed => {
                f.write_str("compressed in the archive: look at the extracted library")
            }
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

/// What an ELF file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The machine; `None` where the file was not read that far.
    pub arch: Option<Arch>,
    /// The build id, in hexadecimal.
    pub build_id: Option<String>,
    /// The TLS libraries in it.
    pub libraries: Vec<Library>,
    /// The functions found.
    pub functions: Vec<Function>,
    /// The functions that could have been expected, and were not found.
    pub missing: Vec<Missing>,
}

impl Findings {
    /// Nothing, of a file that is not read.
    fn unread(reason: &Reason) -> Self {
        let names = Name::ALL.into_iter().filter(|name| name.is_typical());
        Self {
            arch: None,
            build_id: None,
            libraries: Vec::new(),
            functions: Vec::new(),
            missing: names.map(|name| Missing { name, reason: reason.clone() }).collect(),
        }
    }
}

/// What a file, or a library in an APK, holds.
///
/// It is serialised as the object that `tracer locate --json` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file, as the caller named it.
    pub file: String,
    /// The library's path in the APK; `None` where the file is one itself.
    pub entry: Option<String>,
    /// What is there. Positions count from the beginning of `file`.
    pub findings: Findings,
}

/// Why a file was not looked into.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// It is neither of the formats.
    #[error("neither an ELF file nor a zip archive")]
    Unrecognised,
    /// It is a zip archive without a library.
    #[error("an archive without libraries")]
    NoLibraries,
}

/// Finds the functions in `source`, an ELF file or an APK. `file` names it in
/// the answer, and `cache` is asked first.
///
/// An ELF file gives one answer, an APK one for each library.
///
/// # Errors
/// Where the file cannot be read or is of another format. A file of the right
/// format always gives an answer: what is wrong with it stands in
/// [`Findings::missing`].
pub fn locate(source: &dyn Source, file: &str, cache: &mut Cache) -> Result<Vec<Located>, Error> {
    let whole = Part::whole(source);
    let head = whole.read(0, 4)?;
    if elf::is_elf(&head) {
        let findings = analysis::examine(whole, cache)?;
        return Ok(vec![Located { file: file.into(), entry: None, findings }]);
    }
    let archive = if zip::is_zip(&head) { zip::libraries(whole)? } else { None };
    let archive = archive.ok_or(Error::Unrecognised)?;
    let mut located = Vec::new();
    for library in archive.entries {
        let findings = match library.data {
            Some(data) => analysis::examine(data, cache)?,
            None => Findings::unread(&Reason::Compressed),
        };
        located.push(Located { file: file.into(), entry: Some(library.name), findings });
    }
    if archive.incomplete {
        let reason = Reason::Malformed("parts of the archive cannot be read".into());
        let findings = Findings::unread(&reason);
        located.push(Located { file: file.into(), entry: None, findings });
    }
    if located.is_empty() { Err(Error::NoLibraries) } else { Ok(located) }
}
