//! What a file's strings tell of the TLS library inside.

use std::io;

use memchr::memmem;

use super::elf::Image;
use super::rules::SourceFile;

/// The longest path of a source file that is recognised.
const MAX_PATH: usize = 512;
/// Occurrences of the file names followed: one is normal, two where a program
/// holds two copies.
const MAX_STRINGS: usize = 16;

/// What a file's strings tell of the TLS library inside.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// Where BoringSSL's source file names are.
    files: Vec<(SourceFile, u64)>,
    /// The version string of an OpenSSL.
    openssl: bool,
    /// The version string of a BoringSSL.
    pub(super) boringssl: bool,
}

impl Strings {
    /// Where that source file's names are.
    pub(super) fn addresses(&self, file: SourceFile) -> impl Iterator<Item = u64> + '_ {
        self.files.iter().filter(move |(f, _)| *f == file).map(|(_, address)| *address)
    }

    /// Where all source files' names are.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.files.iter().map(|(_, address)| *address)
    }

    /// Whether a BoringSSL can be there. OpenSSL has a file of the same name.
    pub(super) fn is_boringssl(&self) -> bool {
        self.boringssl || !self.files.is_empty() && !self.openssl
    }

    /// Whether OpenSSL's libssl (its libcrypto alone has the version too) is
    /// there.
    pub(super) fn is_static_openssl(&self) -> bool {
        self.openssl && !self.boringssl && self.addresses(SourceFile::SslLib).next().is_some()
    }

    /// Looks through all mapped segments.
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

    /// Reads what follows `OpenSSL `: `1.1.1 (compatible; BoringSSL)`, or
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
    /// A release date at the end makes a version string out of what could
    /// also be a mention of OpenSSL.
    fn ends_with_year(&self) -> bool {
        matches!(self, [.., b' ', b'1' | b'2', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'])
    }
}

/// Where the NUL-terminated string that goes on at `hit` begins. Without a NUL
/// before it in the window there is none, but at the segment's start: the
/// window before held it whole.
fn string_start(window: &[u8], hit: usize, at_start: bool) -> Option<usize> {
    let from = hit.saturating_sub(MAX_PATH);
    match memchr::memrchr(0, window.get(from..hit)?) {
        Some(nul) => Some(from + nul + 1),
        None => (at_start && from == 0).then_some(0),
    }
}
