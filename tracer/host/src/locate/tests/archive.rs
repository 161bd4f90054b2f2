//! Tests with APKs.

use super::elf_file::{CODE, ElfFile};
use super::{findings, located};
use crate::locate::{Arch, Cache, Error, Name, Reason, locate};

/// A file in an archive.
struct Entry {
    name: &'static str,
    method: u16,
    data: Vec<u8>,
}

/// Builds an archive, with 64-bit sizes and offsets if `wide` is set.
fn archive(entries: &[Entry], wide: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let header = file.len() as u64;
        let size = entry.data.len() as u64;
        file.extend(b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend((entry.name.len() as u16).to_le_bytes());
        // Only the local header has an extra field, as a means of alignment.
        file.extend(5u16.to_le_bytes());
        file.extend(entry.name.as_bytes());
        file.extend([0; 5]);
        file.extend(&entry.data);

        let mut extra = Vec::new();
        let mut narrow = |value: u64| {
            if wide {
                extra.extend(value.to_le_bytes());
                u32::MAX
            } else {
                value as u32
            }
        };
        let (unpacked, packed, at) = (narrow(size), narrow(size), narrow(header));
        if wide {
            let len = extra.len() as u16;
            extra.splice(0..0, [1u16.to_le_bytes(), len.to_le_bytes()].concat());
        }
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        directory.extend(entry.method.to_le_bytes());
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
    assert!(matches!(error(b"#!/bin/sh\n"), Error::UnknownFormat));
    let text = archive(&[Entry { name: "a.txt", method: 0, data: vec![1] }], false);
    assert!(matches!(error(&text), Error::NoLibraries));
    let bundle = [Entry { name: "splits/base-x86_64.apk", method: 0, data: vec![1] }];
    let told = error(&archive(&bundle, false)).to_string();
    assert!(told.contains("unpack it first") && told.contains("base-x86_64.apk"), "{told}");
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
