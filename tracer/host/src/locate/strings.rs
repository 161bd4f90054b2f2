//! Recognizes statically linked TLS libraries by their strings.

use std::io;

use memchr::memmem;

use super::elf::Image;
use super::signatures::SourceFile;

/// Maximum length of the path of a source file.
const MAX_PATH: usize = 512;
/// Maximum number of source file names. Each usually occurs once, or twice in a program with
/// two copies of the library.
const MAX_STRINGS: usize = 16;

/// The strings of TLS libraries in a file.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// Names of BoringSSL's source files, with their addresses.
    files: Vec<(SourceFile, u64)>,
    /// True if there is a version string of OpenSSL.
    openssl: bool,
    /// True if there is a version string of BoringSSL.
    pub(super) boringssl: bool,
}

impl Strings {
    /// Returns the addresses of the names of a source file.
    pub(super) fn addresses(&self, file: SourceFile) -> impl Iterator<Item = u64> + '_ {
        self.files.iter().filter(move |(f, _)| *f == file).map(|(_, address)| *address)
    }

    /// Returns the addresses of the names of all source files.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.files.iter().map(|(_, address)| *address)
    }

    /// Reports whether the file may contain BoringSSL. OpenSSL has a source file with the
    /// same name.
    pub(super) fn is_boringssl(&self) -> bool {
        self.boringssl || !self.files.is_empty() && !self.openssl
    }

    /// Reports whether the file contains OpenSSL's libssl. (libcrypto alone has the version
    /// string too.)
    pub(super) fn is_static_openssl(&self) -> bool {
        self.openssl && !self.boringssl && self.addresses(SourceFile::SslLib).next().is_some()
    }

    /// Searches all mapped segments.
    pub(super) fn find(image: &Image<'_>) -> io::Result<Self> {
        let mut strings = Self::default();
        let version = memmem::Finder::new(b"OpenSSL ");
        let files = SourceFile::ALL.map(|file| (file, memmem::Finder::new(file.stem())));
        for segment in &image.segments {
            image.file.windows(segment.offset, segment.size(), MAX_PATH, |offset, window| {
                let at_start = offset == segment.offset;
                for (file, finder) in &files {
                    for hit in finder.find_iter(window) {
                        let ends = window.get(hit + file.stem().len()..).unwrap_or_default();
                        let Some(start) = string_start(window, hit, at_start) else {
                            continue;
                        };
                        let address = segment.addresses.start + (offset - segment.offset);
                        let string = (*file, address + start as u64);
                        if file.is_end(ends)
                            && strings.files.len() < MAX_STRINGS
                            && !strings.files.contains(&string)
                        {
                            strings.files.push(string);
                        }
                    }
                }
                for hit in version.find_iter(window) {
                    let rest = window.get(hit + 8..).unwrap_or_default();
                    strings.note_version(rest.get(..48).unwrap_or(rest));
                }
            })?;
        }
        Ok(strings)
    }

    /// Parses the string after `OpenSSL `: `1.1.1 (compatible; BoringSSL)` or
    /// `3.0.17 1 Jul 2025`.
    fn note_version(&mut self, rest: &[u8]) {
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        let version = rest.get(..end).unwrap_or_default();
        if memmem::find(version, b"BoringSSL").is_some() {
            self.boringssl = true;
        } else if matches!(version, [b'0'..=b'9', b'.', b'0'..=b'9', b'.', b'0'..=b'9', ..])
            && version.ends_with_year()
        {
            self.openssl = true;
        }
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

/// Returns the start of the NUL-terminated string that contains `hit`. If there is no NUL
/// before `hit`, the string either starts at the beginning of the segment, or the previous
/// window contains it.
fn string_start(window: &[u8], hit: usize, at_start: bool) -> Option<usize> {
    let from = hit.saturating_sub(MAX_PATH);
    match memchr::memrchr(0, window.get(from..hit)?) {
        Some(nul) => Some(from + nul + 1),
        None => (at_start && from == 0).then_some(0),
    }
}
