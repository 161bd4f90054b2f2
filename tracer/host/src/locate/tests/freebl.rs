//! Tests with generated libraries that export NSS's table of functions.

use super::elf_file::{CODE, DATA, ElfFile};
use super::findings;
use crate::locate::{Arch, Library, Method, Name, Reason};

const VERSION: u64 = 0x0332;
/// Number of functions in a current table, and addresses of two of them.
const COUNT: u64 = 305;
const CHACHA20: u64 = CODE + 0x40;
const AES: u64 = CODE + 0x60;

/// The start of a table: its length and version.
fn head(count: u64, version: u64) -> u64 {
    (8 + 8 * count) | version << 16
}

fn table() -> Vec<u64> {
    let mut table = vec![0; 1 + COUNT as usize];
    table[0] = head(COUNT, VERSION);
    for (place, address) in table.iter_mut().skip(1).zip(CODE + 0x80..) {
        *place = address;
    }
    table[1 + 234] = CHACHA20;
    table[1 + 236] = AES;
    table
}

/// A library whose exported function returns these addresses, one after the other.
fn library(arch: Arch, data: Vec<u64>, returned: &[u64]) -> ElfFile {
    let mut file = ElfFile::new(arch);
    for address in returned {
        let here = CODE + file.code.len() as u64;
        match arch {
            Arch::X86_64 => {
                file.code.extend([0x48, 0x8d, 0x05]);
                file.code.extend((address.wrapping_sub(here + 7) as i32).to_le_bytes());
            }
            Arch::Arm64 => {
                let pages = (address >> 12).wrapping_sub(here >> 12) as u32;
                let adrp = 0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5;
                let add = 0x9100_0000 | (*address as u32 & 0xfff) << 10;
                file.code.extend([adrp, add].iter().flat_map(|word: &u32| word.to_le_bytes()));
            }
        }
    }
    let size = file.code.len() as u64;
    file.code.resize(0x400, 0x90);
    file.data = data;
    file.exports = vec![("FREEBL_GetVector", CODE, size)];
    file
}

#[test]
fn functions_are_found_at_their_places_in_the_table() {
    for arch in [Arch::X86_64, Arch::Arm64] {
        // Another address in the segment, as that of a version string.
        let found = findings(&library(arch, table(), &[DATA + 0x200, DATA]).build());
        assert_eq!(found.libraries, [Library::Nss]);
        for (name, address) in [(Name::AesAead, AES), (Name::ChaCha20Encrypt, CHACHA20)] {
            let function = found.function(name);
            assert_eq!((function.virtual_address, function.method), (address, Method::Table));
        }
        assert_eq!(found.missing, []);
    }
}

#[test]
fn a_table_that_is_not_certain_has_no_functions() {
    let with = |change: fn(&mut Vec<u64>)| {
        let mut data = table();
        change(&mut data);
        data
    };
    let too_old = with(|data| data[0] = head(COUNT, 0x0316));
    let too_short = with(|data| data[0] = head(236, VERSION));
    let uneven = with(|data| data[0] = (8 + 8 * COUNT + 2) | VERSION << 16);
    let no_code = with(|data| data[1 + 236] = DATA);
    let no_pointer = with(|data| data[1 + 234] = 0);
    let two = with(|data| data[40] = head(COUNT, VERSION));
    let cases = [
        (too_old, &[DATA][..], Reason::NotUnique(0)),
        (too_short, &[DATA], Reason::NotUnique(0)),
        (uneven, &[DATA], Reason::NotUnique(0)),
        (no_code, &[DATA], Reason::NotCode),
        (no_pointer, &[DATA], Reason::NotCode),
        (two, &[DATA, DATA + 40 * 8], Reason::NotUnique(2)),
        (table(), &[], Reason::NotUnique(0)),
    ];
    for (data, returned, reason) in cases {
        for arch in [Arch::X86_64, Arch::Arm64] {
            let found = findings(&library(arch, data.clone(), returned).build());
            assert_eq!(found.reason(Name::AesAead), Some(&reason));
            assert_eq!(found.reason(Name::ChaCha20Encrypt), Some(&reason));
        }
    }
}

#[test]
fn a_symbol_alone_is_not_believed() {
    let mut file = ElfFile::new(Arch::X86_64);
    file.code.resize(0x100, 0x90);
    file.exports = vec![("AES_AEAD", CODE, 9)];
    assert_eq!(findings(&file.build()).functions, []);
}

#[test]
fn every_prefix_of_a_library_is_harmless() {
    let whole = library(Arch::X86_64, table(), &[DATA]).build();
    for len in (0..whole.len()).step_by(97) {
        let _ = crate::locate::locate(
            &whole[..len].to_vec(),
            "file",
            &mut crate::locate::Cache::disabled(),
        );
    }
}
