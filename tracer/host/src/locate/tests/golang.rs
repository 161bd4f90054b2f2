//! Tests with generated Go programs.

use super::elf_file::{CODE, ElfFile, STRINGS};
use super::findings;
use crate::locate::prologue::Cost;
use crate::locate::{Arch, Findings, Library, Method, Name, Reason};

/// The versions of the table.
const MAGICS: [u8; 4] = [0xfb, 0xfa, 0xf0, 0xf1];

/// Distance between functions.
const STEP: u64 = 32;

/// cmp rsp, [r14+16]; jbe; push rbp
const REGISTERS: &[u8] = &[0x49, 0x3b, 0x66, 0x10, 0x76, 0x10, 0x55];
/// lea r12, [rsp-0xa0]; cmp r12, [r14+16]; jbe; push rbp
const LARGE: &[u8] = &[
    0x4c, 0x8d, 0xa4, 0x24, 0x60, 0xff, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0, 1, 0, 0,
    0x55,
];
/// mov rcx, fs:[-8]; lea rax, [rsp-32]; cmp rax, [rcx+16]; jbe
const STACK: &[u8] = &[
    0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x8d, 0x44, 0x24, 0xe0, 0x48, 0x3b,
    0x41, 0x10, 0x0f, 0x86, 0, 1, 0, 0, 0x48,
];
/// ldr x16, [x28, #16]; sub x17, sp, #96; cmp x17, x16; b.ls
const ARM_NEW: [u32; 4] = [0xf940_0b90, 0xd101_83f1, 0xeb10_023f, 0x5400_2869];
/// ldr x1, [x28, #16]; sub x2, sp, #32; cmp x2, x1; b.ls
const ARM_OLD: [u32; 4] = [0xf940_0b81, 0xd100_83e2, 0xeb01_005f, 0x5400_1e49];

/// A Go program whose functions all begin with `start`.
struct Program {
    arch: Arch,
    magic: u8,
    names: Vec<&'static str>,
    start: Vec<u8>,
    /// Address of the code in the table.
    text: u64,
}

impl Program {
    fn new(magic: u8, start: &[u8]) -> Self {
        let names = vec!["main.main", "crypto/tls.(*Conn).writeRecordLocked", "runtime.goexit"];
        let start = start.to_vec();
        Self { arch: Arch::X86_64, magic, names, start, text: CODE }
    }

    fn arm64(magic: u8, start: [u32; 4]) -> Self {
        let start: Vec<u8> = start.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self { arch: Arch::Arm64, ..Self::new(magic, &start) }
    }

    fn build(&self) -> Vec<u8> {
        let mut file = ElfFile::new(self.arch);
        file.strings = self.table();
        for _ in 0..self.names.len() {
            let mut function = self.start.clone();
            function.resize(STEP as usize, 0xcc);
            file.code.extend(function);
        }
        file.code.resize(0x1000, 0xcc);
        file.build()
    }

    fn table(&self) -> Vec<u8> {
        const NAMES: usize = 72;
        const FUNCTIONS: usize = 0x400;
        let count = self.names.len();
        let mut table = vec![0; 0x800];
        table[..8].copy_from_slice(&[self.magic, 0xff, 0xff, 0xff, 0, 0, self.quantum(), 8]);
        let mut names = Vec::new();
        let mut offsets = Vec::new();
        for name in &self.names {
            offsets.push(names.len() as u32);
            names.extend(name.as_bytes());
            names.push(0);
        }
        let (names_at, functions_at) =
            if self.magic == 0xfb { (0x200, 16) } else { (NAMES, FUNCTIONS) };
        table[names_at..names_at + names.len()].copy_from_slice(&names);
        let words: Vec<u64> = match self.magic {
            0xfb => vec![count as u64],
            0xfa => vec![count as u64, 1, NAMES as u64, 0, 0, 0, FUNCTIONS as u64],
            _ => vec![count as u64, 1, self.text, NAMES as u64, 0, 0, 0, FUNCTIONS as u64],
        };
        for (index, word) in words.iter().enumerate() {
            table[8 + 8 * index..][..8].copy_from_slice(&word.to_le_bytes());
        }
        let is_short = self.magic >= 0xf0 && self.magic < 0xfa;
        let size = if is_short { 4 } else { 8 };
        let mut put = |at: usize, value: u64| {
            table[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        let mut descriptions = Vec::new();
        for index in 0..count {
            let base = if is_short { 0 } else { CODE };
            let address = base + STEP * index as u64;
            let description = functions_at + 2 * size * (count + 1) + 32 * index;
            put(functions_at + 2 * size * index, address);
            let relative =
                if self.magic == 0xfb { description } else { description - functions_at };
            put(functions_at + 2 * size * index + size, relative as u64);
            put(description, address);
            descriptions.push(description + size);
        }
        for (at, offset) in descriptions.iter().zip(offsets) {
            let offset = if self.magic == 0xfb { offset + names_at as u32 } else { offset };
            table[*at..*at + 4].copy_from_slice(&offset.to_le_bytes());
        }
        table
    }

    fn quantum(&self) -> u8 {
        if self.arch == Arch::Arm64 { 4 } else { 1 }
    }
}

fn expect(program: &Program, name: Name, branch: u64) {
    let found = findings(&program.build());
    assert_eq!(found.libraries, [Library::GoCryptoTls], "{:x}", program.magic);
    assert_eq!((&found.missing[..], &found.unread[..]), (&[][..], &[][..]));
    let function = found.function(name);
    assert_eq!(function.virtual_address, CODE + STEP);
    assert_eq!(function.method, Method::Pclntab);
    assert_eq!(function.probes.arguments.delta, branch);
    assert_eq!(function.probes.arguments.cost, Cost::Emulated);
    assert_eq!(function.probes.arguments, function.probes.returns);
}

fn expect_unread(found: &Findings, address: Option<u64>) {
    assert_eq!(found.functions, []);
    assert_eq!(found.libraries, [Library::GoCryptoTls]);
    let reasons: Vec<_> = found.unread.iter().map(|unread| &unread.reason).collect();
    assert_eq!(reasons, [&Reason::Go(address)]);
}

#[test]
fn the_function_is_found_in_every_version_of_the_table() {
    for magic in [0xfb, 0xfa] {
        expect(&Program::new(magic, STACK), Name::GoWriteRecordStack, 18);
        expect(&Program::arm64(magic, ARM_OLD), Name::GoWriteRecordStack, 12);
    }
    // Go 1.17 has the table of 1.16.
    for magic in [0xfa, 0xf0, 0xf1] {
        expect(&Program::new(magic, REGISTERS), Name::GoWriteRecord, 4);
        expect(&Program::new(magic, LARGE), Name::GoWriteRecord, 12);
    }
    for magic in [0xf0, 0xf1] {
        expect(&Program::arm64(magic, ARM_NEW), Name::GoWriteRecord, 12);
    }
}

#[test]
fn copies_of_the_package_are_found_as_well() {
    for (package, expected) in [
        ("github.com/refraction-networking/utls.(*Conn).writeRecordLocked", 2),
        ("gitlab.com/yawning/utls%2egit.(*Conn).writeRecordLocked", 2),
        ("example.com/fork/utls/v2.(*Conn).writeRecordLocked", 2),
        ("vendor/crypto/tls.(*Conn).writeRecordLocked", 2),
        ("github.com/pion/dtls/v2.(*Conn).writeRecordLocked", 1),
        ("example.com/records.(*Conn).writeRecordLocked", 1),
        ("crypto/tls.(*Conn).writeRecordLocked.func1", 1),
    ] {
        let mut program = Program::new(0xf1, REGISTERS);
        program.names[2] = package;
        let found = findings(&program.build());
        assert_eq!(found.functions.len(), expected, "{package}");
        assert!(found.functions.iter().all(|function| function.name == Name::GoWriteRecord));
        assert_eq!(found.unread, [], "{package}");
    }
}

/// Since 1.26, and in position-independent programs.
#[test]
fn the_address_of_the_code_can_be_in_a_relocation_only() {
    let mut program = Program::new(0xf1, REGISTERS);
    program.text = 0;
    expect_unread(&findings(&program.build()), None);
    let mut file = ElfFile::new(Arch::X86_64);
    file.strings = program.table();
    file.code = [REGISTERS, &[0xcc; 25][..]].concat().repeat(4);
    file.relocations_at = vec![(STRINGS + 24, CODE)];
    let found = findings(&file.build());
    assert_eq!(found.function(Name::GoWriteRecord).virtual_address, CODE + STEP);
    // At another address, functions do not begin there.
    file.relocations_at = vec![(STRINGS + 24, CODE + 8)];
    expect_unread(&findings(&file.build()), None);
}

#[test]
fn a_function_that_begins_otherwise_is_not_probed() {
    // push rbp; mov rbp, rsp
    let c = [0x55, 0x48, 0x89, 0xe5];
    for (magic, start) in
        [(0xf1, &c[..]), (0xf1, STACK), (0xfb, REGISTERS), (0xf1, &REGISTERS[..4])]
    {
        expect_unread(&findings(&Program::new(magic, start).build()), None);
    }
    for (magic, start) in [(0xf1, ARM_OLD), (0xf1, [ARM_NEW[0], ARM_NEW[1], ARM_NEW[2], 0])] {
        expect_unread(&findings(&Program::arm64(magic, start).build()), None);
    }
    // The other functions begin as expected.
    let mut program = Program::new(0xf1, REGISTERS).build();
    let code = program.windows(4).position(|window| window == &REGISTERS[..4]).unwrap();
    program[code + STEP as usize..][..4].copy_from_slice(&c);
    expect_unread(&findings(&program), Some(CODE + STEP));
}

#[test]
fn damaged_tables_give_no_address() {
    for magic in MAGICS {
        let start = if magic >= 0xfa { STACK } else { REGISTERS };
        let program = Program::new(magic, start).build();
        let whole = findings(&program);
        assert_eq!(whole.functions.len(), 1);
        // Every byte of the header, and of the list and its descriptions.
        let table = STRINGS as usize;
        for at in (table..table + 0x80).chain(table + 0x400..table + 0x500) {
            for value in [0, 0xff, program[at] ^ 1] {
                let mut damaged = program.clone();
                damaged[at] = value;
                for function in findings(&damaged).functions {
                    assert_eq!(function.virtual_address, CODE + STEP, "{magic:x} {at:x} {value:x}");
                }
            }
        }
    }
}
