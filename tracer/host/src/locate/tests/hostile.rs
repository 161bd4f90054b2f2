//! Damaged and hostile files must not cause panics or unbounded work.

use std::cell::Cell;
use std::io;

use proptest::prelude::*;

use super::elf_file::{CODE, ElfFile};
use super::{Cache, Source, findings, locate};
use crate::locate::{Arch, Name};

/// A source that counts the bytes that are read.
struct CountingSource {
    bytes: Vec<u8>,
    read: Cell<usize>,
}

impl Source for CountingSource {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.set(self.read.get() + buf.len());
        self.bytes.read_exact_at(offset, buf)
    }
}

fn sample(arch: Arch) -> Vec<u8> {
    let mut file = ElfFile::new(arch);
    file.strings = b"a\0third_party/boringssl/src/ssl/ssl_lib.cc\0".to_vec();
    file.code =
        vec![0x48, 0x8d, 0x0d, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xc3, 0xcc, 0xcc, 0xcc].repeat(64);
    file.exports = vec![("memcpy", 0, 0), ("SSL_write_ex", CODE + 16, 32)];
    file.symbols = vec![("PR_Write", CODE + 32, 0)];
    file.unwind = vec![(CODE, 16), (CODE + 16, 64)];
    let mut packed = Vec::new();
    lzma_rs::xz_compress(&mut file.build().as_slice(), &mut packed).unwrap();
    file.debugdata = packed;
    file.build()
}

/// Ranges of a generated file that refer to other parts of it.
const METADATA: [std::ops::Range<usize>; 4] =
    [0..0x240, 0x4000..0x4100, 0x5000..0x5080, 0x6800..0x7040];

/// Returns the number of bytes that are read to locate functions in a file.
fn bytes_read(file: Vec<u8>) -> Option<usize> {
    let source = CountingSource { bytes: file, read: Cell::new(0) };
    locate(&source, "hostile", &mut Cache::new()).ok()?;
    Some(source.read.get())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn work_on_mutated_files_is_bounded(
        arm64: bool,
        changes in prop::collection::vec((0usize..4, any::<prop::sample::Index>(), any::<u64>(), 1usize..=8), 1..8),
        cut in prop::option::of(0usize..0x12000),
    ) {
        let mut file = sample(if arm64 { Arch::Arm64 } else { Arch::X86_64 });
        let len = file.len();
        for (part, at, value, width) in changes {
            // The section headers are at the end.
            let range = if part == 0 && value & 1 == 0 { len - 320..len } else { METADATA[part].clone() };
            let at = (range.start + at.index(range.len())).min(len - width);
            file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        if let Some(cut) = cut {
            file.truncate(cut);
        }
        // Segments cover at most twice the file and are scanned three times; the rest are
        // small reads.
        let max = file.len() * 16 + (8 << 20);
        if let Some(read) = bytes_read(file) {
            prop_assert!(read <= max, "{read}");
        }
    }

    #[test]
    fn noise_after_the_magic_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..4096), zip: bool) {
        let magic: &[u8] = if zip { b"PK\x05\x06" } else { b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0" };
        bytes_read([magic, &noise].concat());
    }
}

#[test]
fn prefix_has_no_other_functions() {
    for arch in [Arch::X86_64, Arch::Arm64] {
        let whole = sample(arch);
        let found = findings(&whole);
        assert_eq!(found.function(Name::SslWriteEx).virtual_address, CODE + 16);
        for len in (64..whole.len()).step_by(97) {
            for function in findings(&whole[..len]).functions {
                let same = found.functions.iter().find(|other| other.name == function.name);
                let address = same.map(|other| other.virtual_address);
                assert_eq!(address, Some(function.virtual_address), "{len}");
            }
        }
    }
}

#[test]
fn rejects_overlapping_segments() {
    let mut file = sample(Arch::X86_64);
    let size = file.len() as u64;
    let mut segment = file[64..120].to_vec();
    segment[4] = 5;
    segment[32..40].copy_from_slice(&size.to_le_bytes());
    for i in 0..6 {
        file[64 + 56 * i..120 + 56 * i].copy_from_slice(&segment);
    }
    file[56] = 6;
    let read = bytes_read(file).unwrap();
    assert!(read < 4096, "{read}");
}
