//! Recognizes statically linked TLS libraries by their strings.

use std::io;
use std::ops::Range;

use memchr::memmem;

use super::Library;
use super::elf::Image;
use super::signatures::{FunctionName, SourceFile};
use super::source::Part;

/// Maximum length of the path of a source file.
const MAX_PATH: usize = 512;
/// Maximum number of source file names. Each usually occurs once, or twice in a program with
/// two copies of the library.
const MAX_STRINGS: usize = 16;

/// The name of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileName {
    file: SourceFile,
    /// Addresses at which it can start. There are several if no NUL is before it, as in the first
    /// string after other data.
    start: Range<u64>,
    /// True for a file in C++, which only BoringSSL and its descendants have.
    cpp: bool,
    /// True if the path names AWS-LC.
    aws_lc: bool,
}

/// The strings of TLS libraries in a file.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// Names of source files.
    files: Vec<FileName>,
    /// Names of functions, with their addresses.
    functions: Vec<(FunctionName, u64)>,
    /// True if there is a version string of OpenSSL.
    pub(super) openssl: bool,
    /// The first two numbers of that version.
    pub(super) openssl_version: Option<(u8, u8)>,
    /// True if there is a version string of BoringSSL.
    pub(super) boringssl: bool,
    /// True if there is a version string of AWS-LC, or one of its paths.
    pub(super) aws_lc: bool,
    /// True if there are paths of rustls's source files, or names of its modules.
    pub(super) rustls: bool,
    /// True if there are names of Conscrypt's classes.
    pub(super) conscrypt: bool,
}

impl Strings {
    /// Returns the addresses of the names of a source file; those in C++, or the others.
    pub(super) fn names(&self, file: SourceFile, cpp: Option<bool>) -> Vec<Range<u64>> {
        let same = |name: &&FileName| name.file == file && cpp.is_none_or(|cpp| name.cpp == cpp);
        self.files.iter().filter(same).map(|name| name.start.clone()).collect()
    }

    /// Returns the addresses of the name of a function.
    pub(super) fn function(&self, function: FunctionName) -> Vec<Range<u64>> {
        let same = self.functions.iter().filter(|(name, _)| *name == function);
        same.map(|(_, address)| *address..address.saturating_add(1)).collect()
    }

    /// Returns the descendant of OpenSSL that the strings name. Its functions have the same names
    /// as OpenSSL's.
    pub(super) fn descendant(&self) -> Option<Library> {
        let in_cpp = self.files.iter().any(|name| name.cpp);
        match (self.aws_lc, self.boringssl || in_cpp) {
            (true, _) => Some(Library::AwsLc),
            (false, true) => Some(Library::BoringSsl),
            (false, false) => None,
        }
    }

    /// Returns the addresses of all names of use. Many programs have a `record.c`.
    pub(super) fn all(&self) -> Vec<Range<u64>> {
        let gnutls = |name: &FunctionName| name.source_file() == SourceFile::GnutlsRecord;
        let has_gnutls = self.functions.iter().any(|(name, _)| gnutls(name));
        let of_use = |name: &&FileName| has_gnutls || name.file != SourceFile::GnutlsRecord;
        let files = self.files.iter().filter(of_use).map(|name| name.start.clone());
        let functions = self.functions.iter().map(|(_, at)| *at..at.saturating_add(1));
        files.chain(functions).collect()
    }

    /// Searches all mapped segments.
    pub(super) fn find(image: &Image<'_>) -> io::Result<Self> {
        let mut strings = Self::default();
        for segment in &image.segments {
            let offsets = segment.offset..segment.offset.saturating_add(segment.size());
            strings.search(image.file, offsets, segment.addresses.start)?;
        }
        strings.find_functions(image)?;
        Ok(strings)
    }

    /// Returns the libraries that the strings in `file` name.
    pub(super) fn libraries(file: Part<'_>) -> io::Result<Vec<Library>> {
        let mut strings = Self::default();
        strings.search(file, 0..file.size(), 0)?;
        let has_ssl_lib = strings.files.iter().any(|name| name.file == SourceFile::SslLib);
        let openssl = (strings.openssl && has_ssl_lib).then_some(Library::OpenSsl);
        let libraries = [
            strings.descendant().or(openssl),
            strings.rustls.then_some(Library::Rustls),
            strings.conscrypt.then_some(Library::Conscrypt),
        ];
        Ok(libraries.into_iter().flatten().collect())
    }

    /// Searches the bytes at `offsets`, the first of which is at `address`.
    fn search(&mut self, file: Part<'_>, offsets: Range<u64>, address: u64) -> io::Result<()> {
        let version = memmem::Finder::new(b"OpenSSL ");
        let rustls = memmem::Finder::new(b"rustls");
        let conscrypt = memmem::Finder::new(b"org/conscrypt/");
        let files = SourceFile::ALL.map(|file| (file, memmem::Finder::new(file.stem())));
        let size = offsets.end.saturating_sub(offsets.start);
        file.windows(offsets.start, size, MAX_PATH, |offset, window| {
            let at_start = offset == offsets.start;
            let address = address + (offset - offsets.start);
            for (file, finder) in &files {
                for hit in finder.find_iter(window) {
                    self.add_file(*file, window, hit, address, at_start);
                }
            }
            for hit in version.find_iter(window) {
                let rest = window.get(hit + 8..).unwrap_or_default();
                self.note_version(rest.get(..48).unwrap_or(rest));
            }
            self.rustls |= rustls.find_iter(window).any(|hit| is_of_rustls(window.get(hit + 6..)));
            self.conscrypt |= conscrypt.find(window).is_some();
        })
    }

    /// Adds the file name in `window` that contains its stem at `hit`.
    fn add_file(
        &mut self,
        file: SourceFile,
        window: &[u8],
        hit: usize,
        address: u64,
        at_start: bool,
    ) {
        let ends = window.get(hit + file.stem().len()..).unwrap_or_default();
        let before = hit.checked_sub(1).and_then(|at| window.get(at));
        if !file.is_end(ends) || before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            return;
        }
        let Some(start) = string_start(window, hit, at_start) else {
            return;
        };
        let path = window.get(start.start..hit).unwrap_or_default();
        let name = FileName {
            file,
            start: address + start.start as u64..address + start.end as u64,
            cpp: ends.starts_with(b"c"),
            aws_lc: memmem::find(path, b"aws-lc").is_some(),
        };
        self.aws_lc |= name.aws_lc;
        if self.files.len() < MAX_STRINGS && !self.files.contains(&name) {
            self.files.push(name);
        }
    }

    /// Searches the names of functions, which are only of use together with those of their source
    /// files.
    fn find_functions(&mut self, image: &Image<'_>) -> io::Result<()> {
        // Errors of BoringSSL, which is in C++, do not name functions.
        let wanted = FunctionName::ALL.into_iter().filter(|function| {
            let source = function.source_file();
            self.files.iter().any(|name| name.file == source && !name.cpp)
        });
        let wanted: Vec<_> = wanted
            .map(|function| (function, [function.name().as_bytes(), b"\0"].concat()))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let finders: Vec<_> =
            wanted.iter().map(|(function, name)| (function, memmem::Finder::new(name))).collect();
        for segment in &image.segments {
            image.file.windows(segment.offset, segment.size(), MAX_PATH, |offset, window| {
                let address = segment.addresses.start + (offset - segment.offset);
                for (function, finder) in &finders {
                    for hit in finder.find_iter(window) {
                        let string = (**function, address + hit as u64);
                        if self.functions.len() < MAX_STRINGS && !self.functions.contains(&string) {
                            self.functions.push(string);
                        }
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Parses the string after `OpenSSL `: `1.1.1 (compatible; BoringSSL)`,
    /// `1.1.1 (compatible; AWS-LC 1.40.0)` or `3.0.17 1 Jul 2025`.
    fn note_version(&mut self, rest: &[u8]) {
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        let version = rest.get(..end).unwrap_or_default();
        if memmem::find(version, b"BoringSSL").is_some() {
            self.boringssl = true;
        } else if memmem::find(version, b"AWS-LC").is_some() {
            self.aws_lc = true;
        } else if let [major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', b'.', b'0'..=b'9', ..] =
            version
            && version.ends_with_year()
        {
            self.openssl = true;
            self.openssl_version = Some((major - b'0', minor - b'0'));
        }
    }
}

/// Reports whether what follows `rustls` makes it the folder of its source files or the path of a
/// module: `-0.23.46/src/`, `/src/`, `::client`.
fn is_of_rustls(rest: Option<&[u8]>) -> bool {
    match rest {
        Some([b':', b':', b'a'..=b'z', ..]) => true,
        Some([b'-', version @ ..]) => {
            let is_version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
            let end = version.iter().position(|byte| !is_version(byte)).unwrap_or(version.len());
            end > 0 && version.get(end..).is_some_and(|rest| rest.starts_with(b"/src/"))
        }
        Some(rest) => rest.starts_with(b"/src/"),
        None => false,
    }
}

trait EndsWithYear {
    fn ends_with_year(&self) -> bool;
}

impl EndsWithYear for [u8] {
    /// Reports whether a release date is at the end, which distinguishes a version string
    /// from other text about OpenSSL.
    fn ends_with_year(&self) -> bool {
        matches!(self, [.., b' ', b'1' | b'2', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'])
    }
}

/// Returns the positions at which the string that contains `hit` can start: one, after the NUL
/// before it, or, if other data is there, the bytes of paths before `hit`. Returns `None` if the
/// previous window contains the string.
fn string_start(window: &[u8], hit: usize, at_start: bool) -> Option<Range<usize>> {
    let from = hit.saturating_sub(MAX_PATH);
    let before = window.get(from..hit)?;
    let nul = memchr::memrchr(0, before);
    let is_whole = nul.is_some() || at_start && from == 0;
    let text = nul.map_or(0, |nul| nul + 1);
    let is_text = str::from_utf8(before.get(text..)?)
        .is_ok_and(|text| !text.chars().any(|c| c.is_ascii_control()));
    if is_whole && is_text {
        return Some(from + text..from + text + 1);
    }
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+~@".contains(byte);
    let other = before.iter().rposition(|byte| !is_path(byte))?;
    Some(from + other + 1..hit + 1)
}
