//! Analyzes an ELF file with every method of finding functions, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::cache::{Cache, Key};
use super::code::{MAX_FUNCTION, Targets};
use super::elf::{Dynamic, ElfError, Image, SymbolTable};
use super::errors::FileArgument;
use super::golang::{Convention, WriteRecord};
use super::internal::{self, Wrappers};
use super::minidebuginfo::{self, MAX_PACKED};
use super::prologue::{self, Probes};
use super::search::{self, Users};
use super::signatures::SourceFile;
use super::source::Part;
use super::strings::Strings;
use super::symbols::{self, Symbol};
use super::{Arch, Findings, Function, Library, Method, Missing, Name, Reason, Unread};
use super::{boringssl, freebl, gnutls, golang, narrow, openssl};

/// Number of bytes of a function of unknown length that are searched for branches into its
/// prologue.
const UNSIZED_FUNCTION: u64 = 512;

/// Functions that every BoringSSL has and no OpenSSL has. Both have `SSL_write`.
const BORINGSSL_ONLY: [&str; 3] =
    ["SSL_CTX_set_custom_verify", "SSL_CTX_set_grease_enabled", "BORINGSSL_self_test"];

/// A function of OpenSSL since 3.3 through which others write.
const WRITE_EX2: &str = "SSL_write_ex2";

/// Analyzes the ELF file in `file`, unless `cache` has its findings. Offsets in the result
/// are relative to the whole source of which `file` is a part.
pub(super) fn analyze(file: Part<'_>, cache: &mut Cache) -> io::Result<Findings> {
    let image = match Image::read(file) {
        Ok(image) => image,
        Err(ElfError::Io(error)) => return Err(error),
        Err(ElfError::Reason(reason)) => {
            let mut findings = Findings::unread(&reason);
            if matches!(reason, Reason::Unsupported(_)) {
                let mut libraries = narrow::libraries(file)?;
                let named = Strings::libraries(file)?;
                // BoringSSL and AWS-LC have functions of the same names.
                if named.iter().any(|it| matches!(it, Library::BoringSsl | Library::AwsLc)) {
                    libraries.remove(&Library::OpenSsl);
                }
                libraries.extend(named);
                findings.libraries = libraries.into_iter().collect();
            }
            return Ok(findings);
        }
    };
    let build_id = image.build_id()?;
    let key = Key::new(file, build_id.as_deref(), cache)?;
    let mut findings = match key.as_ref().and_then(|key| cache.findings(key)) {
        Some(findings) => findings.clone(),
        None => {
            let findings = Analysis::run(&image, build_id)?;
            if let Some(key) = key {
                cache.insert(key, findings.clone());
            }
            findings
        }
    };
    for function in &mut findings.functions {
        function.file_offset = function.file_offset.saturating_add(file.start());
    }
    Ok(findings)
}

struct Analysis<'a> {
    image: &'a Image<'a>,
    libraries: BTreeSet<Library>,
    functions: Vec<Function>,
    missing: Vec<Missing>,
    unread: Vec<Unread>,
    /// Addresses of the functions whose length is known.
    extents: BTreeMap<Name, Range<u64>>,
    /// Addresses of [`WRITE_EX2`].
    write_ex2: Option<Range<u64>>,
}

impl<'a> Analysis<'a> {
    fn run(image: &'a Image<'a>, build_id: Option<String>) -> io::Result<Findings> {
        let mut analysis = Self {
            image,
            libraries: BTreeSet::new(),
            functions: Vec::new(),
            missing: Vec::new(),
            unread: Vec::new(),
            extents: BTreeMap::new(),
            write_ex2: None,
        };
        let dynamic = image.dynamic()?;
        let imported = analysis.by_symbols(&dynamic)?;
        let strings = Strings::find(image)?;
        analysis.correct_labels(&strings);
        if !analysis.is_settled(Name::SslWrite) {
            analysis.by_strings(&strings)?;
        }
        analysis.unread(&strings)?;
        analysis.freebl(&dynamic)?;
        analysis.golang()?;
        analysis.ssl_write_internal(&dynamic)?;
        analysis.explain(&imported, &dynamic);
        analysis.functions.sort_by_key(|function| function.name);
        analysis.missing.sort_by_key(|missing| missing.name);
        Ok(Findings {
            arch: Some(image.arch),
            build_id,
            libraries: analysis.libraries.into_iter().collect(),
            functions: analysis.functions,
            missing: analysis.missing,
            unread: analysis.unread,
        })
    }

    /// Reports whether the function was found or is already known to be missing.
    fn is_settled(&self, name: Name) -> bool {
        self.functions.iter().any(|function| function.name == name)
            || self.missing.iter().any(|missing| missing.name == name)
    }

    /// Looks up the functions in the symbol tables, starting with the one that the loader
    /// uses. Returns the imported functions.
    fn by_symbols(&mut self, dynamic: &Dynamic) -> io::Result<BTreeSet<Name>> {
        let mut imported = BTreeSet::new();
        if let Some(table) = &dynamic.symbols {
            let symbols = Symbols::read(self.image.file, table)?;
            imported = symbols.imported();
            self.add_symbols(&symbols, Method::Export)?;
        }
        if let Some(table) = self.image.symtab() {
            self.add_symbols(&Symbols::read(self.image.file, &table)?, Method::Symtab)?;
        }
        if let Some(symbols) = self.minidebuginfo()? {
            self.add_symbols(&symbols, Method::MiniDebugInfo)?;
        }
        Ok(imported)
    }

    /// Reads the symbols of the compressed ELF file in `.gnu_debugdata`.
    fn minidebuginfo(&self) -> io::Result<Option<Symbols>> {
        let Some(range) = self.image.section(".gnu_debugdata")? else {
            return Ok(None);
        };
        if range.end - range.start > MAX_PACKED as u64 {
            return Ok(None);
        }
        let packed = self.image.file.read(range.start, MAX_PACKED)?;
        let packed = packed.get(..usize::try_from(range.end - range.start).unwrap_or(0));
        let Some(elf) = packed.and_then(minidebuginfo::unpack) else {
            return Ok(None);
        };
        let Ok(image) = Image::read(Part::whole(&elf)) else {
            return Ok(None);
        };
        image.symtab().map(|table| Symbols::read(image.file, &table)).transpose()
    }

    /// Adds the functions in `symbols` that no earlier table has.
    fn add_symbols(&mut self, symbols: &Symbols, method: Method) -> io::Result<()> {
        for name in Name::ALL.into_iter().filter(|name| name.has_probed_symbol()) {
            let found = symbols.defined(name);
            let Some((first, rest)) = found.split_first() else {
                continue;
            };
            if self.is_settled(name) {
                continue;
            }
            let library = symbols.library_of(name);
            self.libraries.insert(library);
            // Several versions of a symbol can have the same address.
            if rest.iter().any(|other| other.address != first.address) {
                self.missing.push(Missing { name, reason: Reason::NotUnique(found.len()) });
                continue;
            }
            let address = first.address.unwrap_or(0);
            self.add(name, library, method, address, first.size)?;
        }
        self.write_ex2 = self.write_ex2.take().or_else(|| symbols.write_ex2());
        Ok(())
    }

    /// Corrects the library of functions that OpenSSL and its descendants have, by their strings.
    fn correct_labels(&mut self, strings: &Strings) {
        let Some(descendant) = strings.descendant() else {
            return;
        };
        // A program can contain both; only OpenSSL has SSL_write_ex.
        let has_openssl = strings.openssl
            || self.functions.iter().any(|function| function.name == Name::SslWriteEx);
        let correct = |library: Library| match library {
            Library::BoringSsl => descendant,
            Library::OpenSsl if !has_openssl => descendant,
            other => other,
        };
        for function in &mut self.functions {
            function.library = correct(function.library);
        }
        self.libraries = self.libraries.iter().copied().map(correct).collect();
    }

    /// Adds the libraries that are not read.
    fn unread(&mut self, strings: &Strings) -> io::Result<()> {
        let conscrypt = strings.conscrypt && !self.is_settled(Name::SslWrite);
        let all = [
            strings.rustls.then_some((Library::Rustls, Reason::Rustls)),
            conscrypt.then_some((Library::Conscrypt, Reason::Conscrypt)),
        ];
        for (library, reason) in all.into_iter().flatten() {
            self.libraries.insert(library);
            self.unread.push(Unread { library, reason });
        }
        Ok(())
    }

    /// Searches for libraries without symbols, by the strings and constants that their code uses.
    fn by_strings(&mut self, strings: &Strings) -> io::Result<()> {
        let targets = strings.all();
        if targets.is_empty() && !strings.boringssl && !strings.aws_lc {
            return Ok(());
        }
        let users = match search::users(self.image, &Targets::new(targets))? {
            Ok(users) => users,
            Err(reason) => {
                let name = if strings.names(SourceFile::SslLib, None).is_empty() {
                    Name::GnutlsRecordSend
                } else {
                    Name::SslWrite
                };
                self.missing.push(Missing { name, reason });
                return Ok(());
            }
        };
        self.openssl(&users, strings)?;
        self.boringssl(&users, strings)?;
        if !self.is_settled(Name::GnutlsRecordSend)
            && let Some((name, found)) = gnutls::find(&users, strings)
        {
            self.libraries.insert(Library::GnuTls);
            self.add_found(name, Library::GnuTls, found)?;
        }
        Ok(())
    }

    /// Looks up the functions in NSS's table.
    fn freebl(&mut self, dynamic: &Dynamic) -> io::Result<()> {
        let Some(found) = freebl::find(self.image, dynamic)? else {
            return Ok(());
        };
        self.libraries.insert(Library::Nss);
        let names: Vec<Name> = freebl::FUNCTIONS.iter().map(|(name, _)| *name).collect();
        match found {
            Ok(found) => {
                for (name, address) in found {
                    if !self.is_settled(name) {
                        self.add(name, Library::Nss, Method::Table, address, 0)?;
                    }
                }
            }
            Err(reason) => {
                let missing = names.into_iter().filter(|name| !self.is_settled(*name));
                let missing = missing.map(|name| Missing { name, reason: reason.clone() });
                let missing: Vec<Missing> = missing.collect();
                self.missing.extend(missing);
            }
        }
        Ok(())
    }

    /// Looks up the functions of Go's package in the table of functions.
    fn golang(&mut self) -> io::Result<()> {
        let library = Library::GoCryptoTls;
        for found in golang::find(self.image)?.into_iter().flat_map(|found| found.0) {
            self.libraries.insert(library);
            let WriteRecord { address, convention, probes } = match found {
                Ok(found) => found,
                Err(address) => {
                    self.unread.push(Unread { library, reason: Reason::Go(address) });
                    continue;
                }
            };
            let name = match convention {
                Convention::Registers => Name::GoWriteRecord,
                Convention::Stack => Name::GoWriteRecordStack,
            };
            self.add_probed(name, library, Method::Pclntab, address, probes);
        }
        Ok(())
    }

    /// Searches for OpenSSL, which is in C.
    fn openssl(&mut self, users: &Users, strings: &Strings) -> io::Result<()> {
        let files = strings.names(SourceFile::SslLib, Some(false));
        let Some(argument) = openssl_argument(users, strings, &files) else {
            return Ok(());
        };
        self.libraries.insert(Library::OpenSsl);
        let write = openssl::find(users, strings, &files, argument);
        let start = write.as_ref().ok().map(|addresses| addresses.start);
        self.add_found(Name::SslWrite, Library::OpenSsl, write)?;
        let write_ex = openssl::find_ex(self.image, users, strings, &files, argument, start)?;
        self.add_found(Name::SslWriteEx, Library::OpenSsl, write_ex)
    }

    /// Searches for BoringSSL and its descendants.
    fn boringssl(&mut self, users: &Users, strings: &Strings) -> io::Result<()> {
        let in_c = strings.names(SourceFile::SslLib, Some(false));
        let files = match openssl_argument(users, strings, &in_c) {
            Some(_) => strings.names(SourceFile::SslLib, Some(true)),
            None => strings.names(SourceFile::SslLib, None),
        };
        let aead = strings.names(SourceFile::Aead, None);
        if !(strings.boringssl || strings.aws_lc || users.any(&files) || users.any(&aead)) {
            return Ok(());
        }
        let library = if strings.aws_lc { Library::AwsLc } else { Library::BoringSsl };
        self.libraries.insert(library);
        let outcome = boringssl::find(users, strings, &files);
        for found in outcome.found {
            self.add_found(found.name, library, Ok(found.addresses))?;
        }
        for missing in outcome.missing {
            if missing.name.is_expected_in(library) {
                self.add_found(missing.name, library, Err(missing.reason))?;
            }
        }
        Ok(())
    }

    /// Searches for the function that OpenSSL's two functions call, and keeps it if probes on it
    /// cost less than theirs.
    fn ssl_write_internal(&mut self, dynamic: &Dynamic) -> io::Result<()> {
        let extent = |name| self.extents.get(&name).cloned();
        let (Some(write), Some(write_ex)) = (extent(Name::SslWrite), extent(Name::SslWriteEx))
        else {
            return Ok(());
        };
        let wrappers = Wrappers { write, write_ex, write_ex2: self.write_ex2.clone() };
        let Some(address) = internal::find(self.image, dynamic, &wrappers)? else {
            return Ok(());
        };
        let outer = self.functions.iter().filter(|f| f.name.calls(Name::SslWriteInternal));
        let dearest = outer.map(|function| function.probes.dearest()).max();
        self.add(Name::SslWriteInternal, Library::OpenSsl, Method::Call, address, 0)?;
        let found = self.functions.pop_if(|function| function.name == Name::SslWriteInternal);
        let cheaper = |function: &Function| Some(function.probes.dearest()) < dearest;
        self.functions.extend(found.filter(cheaper));
        // It is only searched to save time.
        self.missing.retain(|missing| missing.name != Name::SslWriteInternal);
        Ok(())
    }

    /// Adds a function that was found by the strings that its code uses, or the reason for which
    /// it was not.
    fn add_found(
        &mut self,
        name: Name,
        library: Library,
        found: Result<Range<u64>, Reason>,
    ) -> io::Result<()> {
        match found {
            _ if self.is_settled(name) => Ok(()),
            Ok(Range { start, end }) => {
                self.add(name, library, Method::StringXref, start, end - start)
            }
            Err(reason) => {
                self.missing.push(Missing { name, reason });
                Ok(())
            }
        }
    }

    /// Adds the function at `address`, with a size of `size` bytes (0 if unknown).
    fn add(
        &mut self,
        name: Name,
        library: Library,
        method: Method,
        address: u64,
        size: u64,
    ) -> io::Result<()> {
        let probes = match self.image.arch {
            // Too long to search for branches. A probe at the entry is always correct.
            _ if size > MAX_FUNCTION => Probes::entry(),
            Arch::Arm64 => Probes::entry(),
            Arch::X86_64 => {
                let size = if size == 0 { UNSIZED_FUNCTION } else { size };
                let len = usize::try_from(size).unwrap_or(0);
                let code = self.image.read_address(address, len)?;
                prologue::choose(&code, name.arguments())
            }
        };
        if size > 0 {
            self.extents.insert(name, address..address.saturating_add(size));
        }
        self.add_probed(name, library, method, address, probes);
        Ok(())
    }

    /// Adds the function at `address`, whose probes are known.
    fn add_probed(
        &mut self,
        name: Name,
        library: Library,
        method: Method,
        virtual_address: u64,
        probes: Probes,
    ) {
        let aligned = self.image.arch == Arch::X86_64 || virtual_address.is_multiple_of(4);
        let offset = self.image.offset_of(virtual_address).filter(|_| aligned);
        let (Some(file_offset), Some(_)) = (offset, self.image.code_at(virtual_address)) else {
            self.missing.push(Missing { name, reason: Reason::NotCode });
            return;
        };
        let function = Function { name, library, method, virtual_address, file_offset, probes };
        self.functions.push(function);
    }

    /// Adds the reason for every expected function that was not found.
    fn explain(&mut self, imported: &BTreeSet<Name>, dynamic: &Dynamic) {
        for name in Name::ALL {
            let expected = self.libraries.iter().any(|library| name.is_expected_in(*library));
            let imported = imported.contains(&name);
            let reason = match (imported, expected, self.libraries.is_empty()) {
                _ if self.is_settled(name) => continue,
                // One sees the plaintext of the other.
                _ if name == Name::GnutlsRecordSend && self.is_settled(Name::GnutlsRecordSend2) => {
                    continue;
                }
                (true, ..) => Reason::Imported(origins(name, dynamic)),
                (false, true, _) => Reason::NoSymbol,
                (false, false, true) if name.is_typical() => Reason::NoLibrary,
                _ => continue,
            };
            self.missing.push(Missing { name, reason });
        }
    }
}

/// Returns how errors are reported by the functions that refer to `files`, if they are OpenSSL's.
fn openssl_argument(
    users: &Users,
    strings: &Strings,
    files: &[Range<u64>],
) -> Option<FileArgument> {
    let argument = FileArgument::of(users, files)?;
    let is_openssl = strings.openssl && !strings.boringssl && !strings.aws_lc
        || openssl::is_reported_by(users, files, argument);
    is_openssl.then_some(argument)
}

/// Returns the needed libraries that may export `name`, judging by their file names.
fn origins(name: Name, dynamic: &Dynamic) -> Vec<String> {
    let hints: &[&str] = match name {
        Name::GnutlsRecordSend | Name::GnutlsRecordSend2 => &["gnutls"],
        Name::PrWrite => &["nspr", "nss3"],
        _ => &["ssl", "crypto"],
    };
    let hinted = |library: &&String| hints.iter().any(|hint| library.contains(hint));
    dynamic.needed.iter().filter(hinted).cloned().collect()
}

/// The symbols of the functions in [`Name`], of [`BORINGSSL_ONLY`], and of [`WRITE_EX2`].
struct Symbols(Vec<Symbol>);

impl Symbols {
    fn read(file: Part<'_>, table: &SymbolTable) -> io::Result<Self> {
        let mut names = Name::ALL.map(Name::symbol).to_vec();
        names.extend(BORINGSSL_ONLY);
        names.push(WRITE_EX2);
        Ok(Self(symbols::find(file, table, &names)?))
    }

    /// Returns the addresses of [`WRITE_EX2`], if it has one definition.
    fn write_ex2(&self) -> Option<Range<u64>> {
        let index = Name::ALL.len() + BORINGSSL_ONLY.len();
        let all = self.0.iter().filter(|symbol| symbol.name == index);
        let mut extents = all.filter_map(|symbol| {
            symbol.address.map(|start| start..start.saturating_add(symbol.size))
        });
        let first = extents.next()?;
        extents.all(|other| other == first).then_some(first)
    }

    fn named(&self, name: Name) -> impl Iterator<Item = &Symbol> {
        let index = Name::ALL.iter().position(|other| *other == name);
        self.0.iter().filter(move |symbol| Some(symbol.name) == index)
    }

    /// Returns the symbols of `name` that have an address.
    fn defined(&self, name: Name) -> Vec<&Symbol> {
        self.named(name).filter(|symbol| symbol.address.is_some()).collect()
    }

    /// Returns the functions that are referenced but not defined.
    fn imported(&self) -> BTreeSet<Name> {
        let imported =
            |name: &Name| self.defined(*name).is_empty() && self.named(*name).count() > 0;
        Name::ALL.into_iter().filter(imported).collect()
    }

    /// Returns the library that defines `name` in a file with these symbols.
    fn library_of(&self, name: Name) -> Library {
        match name {
            Name::GnutlsRecordSend | Name::GnutlsRecordSend2 => Library::GnuTls,
            Name::PrWrite => Library::Nspr,
            Name::SslWriteEx | Name::SslWriteInternal => Library::OpenSsl,
            Name::AeadSealScatter | Name::AeadSeal | Name::AeadSealv => Library::BoringSsl,
            Name::AesAead | Name::ChaCha20Encrypt => Library::Nss,
            Name::GoWriteRecord | Name::GoWriteRecordStack => Library::GoCryptoTls,
            Name::SslWrite => {
                let only = Name::ALL.len()..Name::ALL.len() + BORINGSSL_ONLY.len();
                let boringssl = |s: &Symbol| only.contains(&s.name) && s.address.is_some();
                if self.0.iter().any(boringssl) { Library::BoringSsl } else { Library::OpenSsl }
            }
        }
    }
}
