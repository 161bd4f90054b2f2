//! Tests with APKs.

use std::io::Read as _;

use super::elf_file::{CODE, ElfFile};
use super::{findings, located};
use crate::locate::{Arch, Cache, Error, Library, Name, Reason, locate, locate_mapped};

/// A file in an archive.
struct Entry {
    name: &'static str,
    method: u16,
    data: Vec<u8>,
}

/// An entry that is compressed with deflate. Its size is that of the packed data in the directory;
/// [`archive`] sets the size of the data of `.so` and `.apk` files.
fn deflated(name: &'static str, data: &[u8]) -> Entry {
    let mut packed = (data.len() as u64).to_le_bytes().to_vec();
    let level = flate2::Compression::fast();
    flate2::read::DeflateEncoder::new(data, level).read_to_end(&mut packed).unwrap();
    Entry { name, method: DEFLATED, data: packed }
}

/// The method of entries whose data begins with its size before compression.
const DEFLATED: u16 = 0xff;

/// Builds an archive, with 64-bit sizes and offsets if `wide` is set.
fn archive(entries: &[Entry], wide: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let header = file.len() as u64;
        let (method, size, data) = match entry.method {
            DEFLATED => {
                let (size, data) = entry.data.split_first_chunk().unwrap();
                (8, u64::from_le_bytes(*size), data)
            }
            method => (method, entry.data.len() as u64, &entry.data[..]),
        };
        file.extend(b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend((entry.name.len() as u16).to_le_bytes());
        // Only the local header has an extra field, as a means of alignment.
        file.extend(5u16.to_le_bytes());
        file.extend(entry.name.as_bytes());
        file.extend([0; 5]);
        file.extend(data);

        let mut extra = Vec::new();
        let mut narrow = |value: u64| {
            if wide {
                extra.extend(value.to_le_bytes());
                u32::MAX
            } else {
                value as u32
            }
        };
        let (unpacked, packed, at) = (narrow(size), narrow(data.len() as u64), narrow(header));
        if wide {
            let len = extra.len() as u16;
            extra.splice(0..0, [1u16.to_le_bytes(), len.to_le_bytes()].concat());
        }
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        directory.extend(method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend(packed.to_le_bytes());
        directory.extend(unpacked.to_le_bytes());
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend((extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(entry.name.as_bytes());
        directory.extend(extra);
    }
    let (start, size) = (file.len() as u64, directory.len() as u64);
    file.extend(directory);
    if wide {
        let end64 = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend([0; 36]);
        file.extend(size.to_le_bytes());
        file.extend(start.to_le_bytes());
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(end64.to_le_bytes());
        file.extend([1, 0, 0, 0]);
    }
    file.extend(b"PK\x05\x06");
    file.extend([0; 8]);
    file.extend(if wide { u32::MAX } else { size as u32 }.to_le_bytes());
    file.extend(if wide { u32::MAX } else { start as u32 }.to_le_bytes());
    file.extend([7, 0]);
    file.extend(b"comment");
    file
}

fn library(arch: Arch) -> Vec<u8> {
    let mut file = ElfFile::new(arch);
    file.code = vec![0x90; 64];
    file.exports = vec![("SSL_write", CODE + 16, 16)];
    file.build()
}

#[test]
fn finds_functions_in_stored_libraries() {
    for wide in [false, true] {
        let elf = library(Arch::Arm64);
        let file = archive(
            &[
                Entry { name: "classes.dex", method: 8, data: vec![7; 1000] },
                Entry { name: "lib/arm64-v8a/libchrome.so", method: 0, data: elf.clone() },
                Entry { name: "lib/x86_64/libchrome.so", method: 0, data: library(Arch::X86_64) },
                Entry { name: "lib/armeabi-v7a/libpacked.so", method: 8, data: vec![7; 100] },
            ],
            wide,
        );
        let all = located(&file);
        let names: Vec<_> = all.iter().map(|located| located.entry.as_deref().unwrap()).collect();
        assert_eq!(
            names,
            [
                "lib/arm64-v8a/libchrome.so",
                "lib/x86_64/libchrome.so",
                "lib/armeabi-v7a/libpacked.so"
            ]
        );
        let arm64 = all[0].findings.function(Name::SslWrite);
        let start = memchr::memmem::find(&file, b"\x7fELF").unwrap() as u64;
        assert_eq!(arm64.file_offset, start + CODE - 0x1000 + 16);
        assert_eq!(arm64.virtual_address, CODE + 16);
        assert_eq!(findings(&elf).function(Name::SslWrite).file_offset, CODE - 0x1000 + 16);
        let offset = all[1].findings.function(Name::SslWrite).file_offset as usize;
        assert_eq!(file[offset], 0x90);
        assert_eq!(all[2].findings.reason(Name::SslWrite), Some(&Reason::Compressed));
        let json = serde_json::to_value(&all[0]).unwrap();
        assert_eq!(json["entry"], "lib/arm64-v8a/libchrome.so");
    }
}

#[test]
fn unreadable_library_does_not_hide_the_others() {
    let mut other = library(Arch::X86_64);
    other[4] = 1;
    let file = archive(
        &[
            Entry { name: "lib/armeabi-v7a/a.so", method: 0, data: other },
            Entry { name: "lib/x86_64/empty.so", method: 0, data: Vec::new() },
            Entry { name: "lib/x86_64/a.so", method: 0, data: library(Arch::X86_64) },
        ],
        false,
    );
    let all = located(&file);
    assert!(matches!(all[0].findings.reason(Name::SslWrite), Some(Reason::Unsupported(_))));
    assert!(matches!(all[1].findings.reason(Name::SslWrite), Some(Reason::Malformed(_))));
    assert_eq!(all[2].findings.functions.len(), 1);
}

#[test]
fn reports_unreadable_parts_of_an_archive() {
    let whole = archive(
        &[
            Entry { name: "lib/x86_64/a.so", method: 0, data: library(Arch::X86_64) },
            Entry { name: "lib/x86_64/b.so", method: 0, data: library(Arch::X86_64) },
        ],
        false,
    );
    // Damage the magic number of the second directory entry.
    let mut damaged = whole.clone();
    let second = memchr::memmem::rfind(&damaged, b"PK\x01\x02").unwrap();
    damaged[second] = 0;
    let all = located(&damaged);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].findings.functions.len(), 1);
    assert_eq!(all[1].entry, None);
    assert!(matches!(all[1].findings.reason(Name::SslWrite), Some(Reason::Malformed(_))));

    // A prefix either is not an archive, or has the same libraries.
    for len in (0..whole.len()).step_by(331).chain(whole.len() - 40..whole.len()) {
        let prefix = whole[..len].to_vec();
        match locate(&prefix, "prefix", &mut Cache::disabled()) {
            Ok(mut all) => {
                all.iter_mut().for_each(|located| located.file = "file".into());
                assert_eq!(all, located(&whole), "{len}");
            }
            Err(error) => assert!(matches!(error, Error::UnknownFormat), "{len}: {error}"),
        }
    }
}

#[test]
fn rejects_other_files() {
    let error = |file: &[u8]| locate(&file.to_vec(), "f", &mut Cache::disabled()).unwrap_err();
    assert!(matches!(error(b""), Error::UnknownFormat));
    let text = archive(&[Entry { name: "a.txt", method: 0, data: vec![1] }], false);
    assert!(matches!(error(&text), Error::NoLibraries));
    let empty = [Entry { name: "splits/base-x86_64.apk", method: 0, data: vec![1] }];
    assert!(matches!(error(&archive(&empty, false)), Error::NoLibraries));
    let windows = archive(&[Entry { name: "a.dll", method: 0, data: vec![1] }], false);
    assert!(matches!(error(&windows), Error::OtherSystem(_)));
    for (head, named) in [
        (&b"\xcf\xfa\xed\xfe\x0c"[..], "Mach-O"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", "Mach-O"),
        (b"MZ\x90\0", "PE"),
        (b"dex\n035\0", "bytecode"),
        (b"#!/bin/sh\n", "script"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"!<arch>\ndebian", "unpack"),
    ] {
        let text = error(head).to_string();
        assert!(text.contains(named), "{text}");
    }
    // A Java class
    assert!(matches!(error(b"\xca\xfe\xba\xbe\0\0\0\x41"), Error::UnknownFormat));
}

#[test]
fn compressed_libraries_are_analyzed_but_not_where_they_are_mapped() {
    let elf = library(Arch::Arm64);
    let file = archive(
        &[
            deflated("lib/arm64-v8a/liba.so", &elf),
            Entry { name: "lib/arm64-v8a/libb.so", method: 0, data: elf.clone() },
            // It would grow beyond every library.
            deflated("lib/arm64-v8a/libbomb.so", &vec![0; 8 << 20]),
        ],
        false,
    );
    let all = located(&file);
    let alone = findings(&elf);
    assert_eq!(all[0].findings, alone);
    assert_eq!(all[0].offsets_in.as_deref(), Some("lib/arm64-v8a/liba.so"));
    assert_eq!(all[1].offsets_in, None);
    assert_ne!(all[1].findings, alone);
    assert_eq!(all[2].findings.reason(Name::SslWrite), Some(&Reason::Compressed));
    let json = serde_json::to_value(&all[0]).unwrap();
    assert_eq!(json["offsets_in"], "lib/arm64-v8a/liba.so");

    // A process can map the second one only.
    let mapped = locate_mapped(&file, "file", &mut Cache::disabled()).unwrap();
    assert_eq!(mapped[0].findings.reason(Name::SslWrite), Some(&Reason::Compressed));
    assert_eq!(mapped[1].findings, all[1].findings);
}

#[test]
fn bundles_are_looked_into() {
    let elf = library(Arch::X86_64);
    let part = archive(
        &[
            Entry { name: "classes.dex", method: 0, data: vec![7; 33] },
            Entry { name: "lib/x86_64/liba.so", method: 0, data: elf.clone() },
        ],
        false,
    );
    let alone = located(&part).remove(0).findings;
    let file = archive(
        &[
            Entry { name: "toc.pb", method: 0, data: vec![7; 9] },
            Entry { name: "splits/base-x86_64.apk", method: 0, data: part.clone() },
            deflated("splits/other.apk", &part),
        ],
        false,
    );
    let all = located(&file);
    assert_eq!(all.len(), 2);
    for (located, apk) in all.iter().zip(["splits/base-x86_64.apk", "splits/other.apk"]) {
        assert_eq!(located.entry.as_deref(), Some(&*format!("{apk}!lib/x86_64/liba.so")));
        assert_eq!(located.offsets_in.as_deref(), Some(apk));
        assert_eq!(located.findings, alone, "{apk}");
    }
    // Nothing of it is mapped, and bundles in bundles do not exist.
    let mapped = locate_mapped(&file, "file", &mut Cache::disabled());
    assert!(matches!(mapped, Err(Error::NoLibraries)));
    let outer = archive(&[Entry { name: "a.apk", method: 0, data: file }], false);
    assert!(matches!(locate(&outer, "file", &mut Cache::disabled()), Err(Error::NoLibraries)));

    let app_bundle = archive(
        &[
            Entry { name: "BundleConfig.pb", method: 0, data: vec![7; 9] },
            Entry { name: "base/lib/x86_64/liba.so", method: 0, data: elf.clone() },
        ],
        false,
    );
    let all = located(&app_bundle);
    assert_eq!(all[0].offsets_in.as_deref(), Some("base/lib/x86_64/liba.so"));
    assert_eq!(all[0].findings, findings(&elf));
}

#[test]
fn libraries_of_32_bit_programs_are_named() {
    for (machine, named) in [(3u8, "x86"), (40, "Arm")] {
        let mut elf = library(Arch::X86_64);
        (elf[4], elf[18]) = (1, machine);
        let strings = b"\0../../third_party/boringssl/src/ssl/ssl_lib.cc\0";
        elf[0x400..0x400 + strings.len()].copy_from_slice(strings);
        let found = findings(&elf);
        assert_eq!(found.libraries, [Library::BoringSsl]);
        let reason = found.reason(Name::SslWrite).unwrap().to_string();
        assert!(reason.contains(&format!("32-bit {named}")), "{reason}");
    }
}

/// Builds a 32-bit library with the function in its table of dynamic symbols: in this section, or
/// imported (0).
fn narrow(machine: u16, function: &str, section: u16) -> Vec<u8> {
    const SYMBOLS: usize = 52 + 3 * 40;
    const NAMES: usize = SYMBOLS + 2 * 16;
    let mut elf = vec![0; NAMES];
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x01\x01\x01");
    put(16, &[3u16, machine].map(u16::to_le_bytes).concat());
    put(20, &1u32.to_le_bytes());
    put(32, &52u32.to_le_bytes());
    put(40, &[52u16, 32, 0, 40, 3, 2].map(u16::to_le_bytes).concat());
    let names = [b"\0", function.as_bytes(), b"\0"].concat();
    let tables = [(11u32, SYMBOLS, 32, 2u32, 16u32), (3, NAMES, names.len(), 0, 0)];
    for (index, (kind, offset, size, link, entry)) in tables.into_iter().enumerate() {
        let fields =
            [0, kind, 0, 0, offset as u32, size as u32, link, 1, 4, entry].map(u32::to_le_bytes);
        put(52 + 40 * (index + 1), &fields.concat());
    }
    put(SYMBOLS + 16, &[1u32, 0x1000, 9].map(u32::to_le_bytes).concat());
    put(SYMBOLS + 28, &[0x12, 0, section as u8, 0]);
    [elf, names].concat()
}

#[test]
fn exports_of_32_bit_libraries_name_them() {
    for (machine, named) in [(3, "x86"), (40, "Arm")] {
        for (function, library) in [
            ("SSL_write", Library::OpenSsl),
            ("gnutls_record_send", Library::GnuTls),
            ("PR_Write", Library::Nspr),
        ] {
            let elf = narrow(machine, function, 1);
            let found = findings(&elf);
            assert_eq!(found.libraries, [library]);
            let reason = found.reason(Name::SslWrite).unwrap().to_string();
            assert!(reason.contains(&format!("32-bit {named}")), "{reason}");
            assert_eq!(findings(&narrow(machine, function, 0)).libraries, [], "imported");
            for len in 52..elf.len() {
                let found = findings(&elf[..len]);
                assert!(found.libraries.is_empty() || found.libraries == [library], "{len}");
            }
        }
    }
    let mut boringssl = narrow(3, "SSL_write", 1);
    boringssl.extend(b"\0../../third_party/boringssl/src/ssl/ssl_lib.cc\0");
    assert_eq!(findings(&boringssl).libraries, [Library::BoringSsl]);
}

#[test]
fn overlapping_entries_are_not_all_read() {
    let mut file = archive(
        &[
            Entry { name: "a.so", method: 0, data: library(Arch::X86_64) },
            Entry { name: "b.so", method: 0, data: library(Arch::X86_64) },
            Entry { name: "c.so", method: 0, data: vec![0; 40] },
        ],
        false,
    );
    // Make each of the three almost as long as the archive.
    let size = (file.len() as u32 - 1000).to_le_bytes();
    let entries: Vec<usize> = memchr::memmem::find_iter(&file, b"PK\x01\x02").collect();
    for at in entries {
        file[at + 20..at + 24].copy_from_slice(&size);
        file[at + 24..at + 28].copy_from_slice(&size);
        file[at + 42..at + 46].copy_from_slice(&[0; 4]);
    }
    let all = located(&file);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].findings.functions.len(), 1);
    assert_eq!(all[1].entry, None);
}
