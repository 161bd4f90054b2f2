//! Analyzes files of every format: ELF files, and the libraries in APKs and bundles.
//!
//! ```text
//! APK      lib/arm64-v8a/libx.so, stored       offsets in the APK
//!          lib/arm64-v8a/libx.so, compressed   offsets in the library: it is extracted
//! bundle   splits/base-arm64_v8a.apk           offsets in that APK: it is installed by itself
//! .aab     base/lib/arm64-v8a/libx.so          offsets in the library: APKs are built from it
//! ```

use super::source::{Part, Source};
use super::{Cache, Error, Findings, Located, Reason, analysis, elf, zip};

/// Number of archives within one another that are looked into: a bundle and its APKs.
const MAX_DEPTH: u8 = 2;

/// Maximum growth of all that is decompressed of a file, beyond a small size. Libraries shrink to
/// a third.
const MAX_RATIO: u64 = 8;
const SMALL: u64 = 1 << 20;

/// The libraries of an archive that are analyzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Libraries that can be mapped from the file.
    Mapped,
    /// Also libraries that become files when the archive is installed.
    Everything,
}

pub(super) fn locate(
    source: &dyn Source,
    file: &str,
    cache: &mut Cache,
    depth: Depth,
) -> Result<Vec<Located>, Error> {
    let whole = Part::whole(source);
    let head = whole.read(0, 512)?;
    if elf::is_elf(&head) {
        let findings = analysis::analyze(whole, cache)?;
        return Ok(vec![Located { file: file.into(), entry: None, offsets_in: None, findings }]);
    }
    if !zip::is_zip(&head) {
        return Err(foreign(&head));
    }
    let budget = whole.size().saturating_mul(MAX_RATIO).saturating_add(SMALL);
    let mut search = Search { file, cache, depth, budget, located: Vec::new(), other_system: None };
    if !search.archive(whole, &Place::default(), MAX_DEPTH)? {
        return Err(Error::UnknownFormat);
    }
    match (search.located.is_empty(), search.other_system) {
        (false, _) => Ok(search.located),
        (true, Some(system)) => Err(Error::OtherSystem(system)),
        (true, None) => Err(Error::NoLibraries),
    }
}

/// Returns the error for a file that is neither an ELF file nor an archive, by its first bytes.
fn foreign(head: &[u8]) -> Error {
    let known = match head {
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xcf | 0xce, ..] => {
            "a Mach-O program of macOS or iOS; tracer reads programs of Linux and Android"
        }
        // A Java class has a version there, which is greater than the number of architectures.
        [0xca, 0xfe, 0xba, 0xbe | 0xbf, 0, 0, 0, 1..=20, ..] => {
            "a Mach-O program of macOS or iOS for several architectures; tracer reads programs of \
             Linux and Android"
        }
        [b'M', b'Z', ..] => "a PE program of Windows; tracer reads programs of Linux and Android",
        [b'd', b'e', b'x', b'\n', ..] => {
            "Android bytecode, which encrypts through a library such as Conscrypt's libssl.so; locate \
             that library"
        }
        [b'#', b'!', ..] => "a script, whose program was not found; locate the program it starts",
        [0x1f, 0x8b, ..] => "compressed with gzip; decompress it first",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "compressed with xz; decompress it first",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with Zstandard; decompress it first",
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => "compressed with bzip2; decompress it first",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => {
            "a Debian package or a static library; unpack it first"
        }
        [b'h', b's', b'q', b's', ..] => "a SquashFS image, such as a snap; unpack it first",
        _ if head.get(257..262) == Some(b"ustar") => "a tar archive; unpack it first",
        _ => return Error::UnknownFormat,
    };
    Error::Foreign(known)
}

/// The position of an archive in the file.
#[derive(Default)]
struct Place {
    /// The path of the archive and `!`; empty for the file itself.
    prefix: String,
    /// The path of the archive, if it is not the file itself.
    archive: Option<String>,
    /// The offset of the archive in the bytes that are read.
    start: u64,
}

/// The search of the libraries in a file.
struct Search<'a> {
    file: &'a str,
    cache: &'a mut Cache,
    depth: Depth,
    /// Number of bytes that may still be decompressed.
    budget: u64,
    located: Vec<Located>,
    other_system: Option<&'static str>,
}

impl Search<'_> {
    /// Analyzes the libraries in an archive; returns false if it is not one.
    fn archive(&mut self, archive: Part<'_>, place: &Place, depth: u8) -> Result<bool, Error> {
        let Some(found) = zip::libraries(archive)? else {
            return Ok(false);
        };
        self.other_system = self.other_system.or(found.other_system);
        for library in &found.entries {
            let stored = match &library.data {
                zip::Data::Stored(data) if !found.is_app_bundle => Some(*data),
                _ => None,
            };
            self.library(library, stored, place)?;
        }
        for nested in &found.nested {
            self.nested(nested, depth)?;
        }
        if found.incomplete {
            let reason = Reason::Malformed("part of the archive cannot be read".into());
            self.add(None, place.archive.clone(), Findings::unread(&reason));
        }
        Ok(true)
    }

    /// Analyzes a library: `stored` if it is mapped from the archive, otherwise after extraction.
    fn library(
        &mut self,
        library: &zip::Member<'_>,
        stored: Option<Part<'_>>,
        place: &Place,
    ) -> Result<(), Error> {
        let entry = format!("{}{}", place.prefix, library.name);
        if let Some(data) = stored {
            let mut findings = analysis::analyze(data, self.cache)?;
            findings.move_back(place.start);
            self.add(Some(entry), place.archive.clone(), findings);
            return Ok(());
        }
        let findings = match &library.data {
            _ if self.depth == Depth::Mapped => None,
            zip::Data::Stored(data) => {
                let mut findings = analysis::analyze(*data, self.cache)?;
                findings.move_back(data.start());
                Some(findings)
            }
            packed => match packed.unpack(&mut self.budget)? {
                Some(unpacked) => Some(analysis::analyze(Part::whole(&unpacked), self.cache)?),
                None => None,
            },
        };
        match findings {
            Some(findings) => self.add(Some(entry.clone()), Some(entry), findings),
            None => self.add(Some(entry), None, Findings::unread(&Reason::Compressed)),
        }
        Ok(())
    }

    /// Analyzes the libraries of an APK in a bundle.
    fn nested(&mut self, apk: &zip::Member<'_>, depth: u8) -> Result<(), Error> {
        if self.depth == Depth::Mapped || depth <= 1 {
            return Ok(());
        }
        let unpacked;
        let (archive, start) = match &apk.data {
            zip::Data::Stored(data) => (*data, data.start()),
            packed => match packed.unpack(&mut self.budget)? {
                Some(bytes) => {
                    unpacked = bytes;
                    (Part::whole(&unpacked), 0)
                }
                None => {
                    let findings = Findings::unread(&Reason::Compressed);
                    self.add(Some(apk.name.clone()), None, findings);
                    return Ok(());
                }
            },
        };
        let archive_path = Some(apk.name.clone());
        let place = Place { prefix: format!("{}!", apk.name), archive: archive_path, start };
        self.archive(archive, &place, depth - 1)?;
        Ok(())
    }

    fn add(&mut self, entry: Option<String>, offsets_in: Option<String>, findings: Findings) {
        self.located.push(Located { file: self.file.into(), entry, offsets_in, findings });
    }
}
