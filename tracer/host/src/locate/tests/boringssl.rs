//! Tests with generated programs that contain BoringSSL.

use super::elf_file::{CODE, ElfFile, STRINGS};
use super::findings;
use crate::locate::source::WINDOW;
use crate::locate::{Arch, Library, Method, Name, Reason};

const SSL_LIB: &str = "../../third_party/boringssl/src/ssl/ssl_lib.cc";
const AEAD: &str = "../../third_party/boringssl/src/crypto/fipsmodule/cipher/aead.cc.inc";

/// Properties of the start of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It follows padding, has a frame, and is called.
    Usual,
    /// It follows padding and has a frame.
    NotCalled,
    /// It is only called (x86_64).
    NoFrame,
    /// It has none of these properties (x86_64).
    Bare,
}

/// A program with BoringSSL, built function by function.
struct Program {
    file: ElfFile,
    strings: [u64; 2],
    /// Address of the function that reports errors.
    error: u64,
    /// True if its second argument, which is always zero, was dropped (x86_64).
    lto: bool,
}

impl Program {
    fn new(arch: Arch) -> Self {
        let mut file = ElfFile::new(arch);
        file.strings = format!("other\0{SSL_LIB}\0{AEAD}\0").into_bytes();
        let strings = [STRINGS + 6, STRINGS + 7 + SSL_LIB.len() as u64];
        let mut program = Self { file, strings, error: CODE, lto: false };
        match arch {
            Arch::X86_64 => program.file.code.push(0xc3),
            Arch::Arm64 => program.words(&[0xd65f_03c0]),
        }
        program
    }

    fn build(&self) -> Vec<u8> {
        self.file.build()
    }

    fn here(&self) -> u64 {
        CODE + self.file.code.len() as u64
    }

    fn words(&mut self, words: &[u32]) {
        self.file.code.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn pad(&mut self, with: u8) {
        self.file.code.push(with);
        while !self.here().is_multiple_of(16) {
            self.file.code.push(with);
        }
    }

    /// Adds a function of ssl_lib.cc that reports `reasons`, on lines from `line`.
    fn ssl(&mut self, start: Start, reasons: &[u32], line: u32) -> u64 {
        self.function(start, self.strings[0], reasons, line)
    }

    fn aead(&mut self, reasons: &[u32]) -> u64 {
        self.function(Start::Usual, self.strings[1], reasons, 1)
    }

    fn function(&mut self, start: Start, path: u64, reasons: &[u32], line: u32) -> u64 {
        match self.file.arch {
            Arch::X86_64 => self.x86_function(start, path, reasons, line),
            Arch::Arm64 => self.arm64_function(start, path, reasons, line),
        }
    }

    fn x86_call(&mut self, target: u64) {
        let next = self.here() + 5;
        self.file.code.push(0xe8);
        self.file.code.extend((target.wrapping_sub(next) as i32).to_le_bytes());
    }

    /// Adds code that reports errors, and ends with a return.
    fn small_errors(&mut self, reasons: &[u32]) {
        for reason in reasons {
            let next = self.here() + 7;
            self.file.code.extend([0x48, 0x8d, 0x0d]);
            self.file.code.extend((self.strings[0].wrapping_sub(next) as i32).to_le_bytes());
            match i8::try_from(*reason) {
                Ok(small) => self.file.code.extend([0x6a, small as u8, 0x5a]),
                Err(_) => {
                    self.file.code.push(0xba);
                    self.file.code.extend(reason.to_le_bytes());
                }
            }
            self.x86_call(self.error);
        }
        self.file.code.extend([0x5b, 0x5d, 0xc3]);
    }

    fn x86_function(&mut self, start: Start, path: u64, reasons: &[u32], first: u32) -> u64 {
        let called = matches!(start, Start::Usual | Start::NoFrame);
        if called {
            let target = (self.here() + 5 + 1).next_multiple_of(16);
            self.x86_call(target);
        }
        self.pad(0xcc);
        let address = self.here();
        if matches!(start, Start::Usual | Start::NotCalled) {
            self.file.code.extend([0x55, 0x48, 0x89, 0xe5]);
        }
        // test edx, edx; js over the first error
        self.file.code.extend([0x85, 0xd2, 0x78, 0x18]);
        for (i, reason) in reasons.iter().enumerate() {
            if self.file.fixed {
                // mov ecx, path; 2-byte nop
                self.file.code.push(if self.lto { 0xba } else { 0xb9 });
                self.file.code.extend((path as u32).to_le_bytes());
                self.file.code.extend([0x66, 0x90]);
            } else {
                let next = self.here() + 7;
                self.file.code.extend([0x48, 0x8d, if self.lto { 0x15 } else { 0x0d }]);
                self.file.code.extend((path.wrapping_sub(next) as i32).to_le_bytes());
            }
            let line: &[u8] = if self.lto { &[0x90, 0xb9] } else { &[0x41, 0xb8] };
            self.file.code.push(if self.lto { 0xbe } else { 0xba });
            self.file.code.extend(reason.to_le_bytes());
            self.file.code.extend(line);
            self.file.code.extend((first + i as u32).to_le_bytes());
            self.x86_call(self.error);
            // nop, so that the js above targets the start of an instruction
            self.file.code.push(0x90);
        }
        if start == Start::NotCalled || start == Start::Usual {
            self.file.code.push(0x5d);
        }
        self.file.code.push(0xc3);
        address
    }

    fn bl(&mut self, target: u64) {
        let words = (target.wrapping_sub(self.here()) as i64 / 4) as u32 & 0x3ff_ffff;
        self.words(&[0x9400_0000 | words]);
    }

    fn arm64_function(&mut self, start: Start, path: u64, reasons: &[u32], line: u32) -> u64 {
        // The previous function ends with a call that does not return, without padding.
        if start == Start::Usual {
            self.bl(self.here() + 4);
        }
        let address = self.here();
        self.words(&[0xd503_233f, 0xa9bf_7bfd, 0x7100_005f, 0x5400_0064]);
        for (i, reason) in reasons.iter().enumerate() {
            let pages = (path >> 12).wrapping_sub(self.here() >> 12) as u32;
            let (low, high) = (pages & 3, (pages >> 2) & 0x7_ffff);
            let line = line + i as u32;
            self.words(&[
                0x9000_0003 | low << 29 | high << 5,
                0x5280_0200, // mov w0, #16
                0x9100_0063 | ((path & 0xfff) as u32) << 10,
                0x5280_0002 | reason << 5,
                0x5280_0004 | line << 5,
            ]);
            self.bl(self.error);
        }
        self.words(&[0xa8c1_7bfd, 0xd65f_03c0]);
        address
    }
}

const BOTH: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

#[test]
fn finds_ssl_write_among_similar_functions() {
    for arch in BOTH {
        let mut program = Program::new(arch);
        program.ssl(Start::Usual, &[226], 300);
        program.ssl(Start::Usual, &[66, 226, 215], 400);
        let write = program.ssl(Start::Usual, &[66, 226, 215, 111], 500);
        program.ssl(Start::Usual, &[226, 111], 600);
        program.aead(&[226, 215, 111]);
        let sealv = program.aead(&[117, 115, 104]);
        program.aead(&[117, 115, 104, 101]);
        let findings = findings(&program.build());

        assert_eq!(findings.arch, Some(arch));
        assert_eq!(findings.libraries, [Library::BoringSsl]);
        assert_eq!(findings.missing, []);
        assert_eq!(findings.functions.len(), 2);
        let function = findings.function(Name::SslWrite);
        assert_eq!(function.virtual_address, write, "{arch}");
        assert_eq!(function.file_offset, write - 0x1000);
        assert_eq!(function.method, Method::StringXref);
        assert_eq!(function.probe_offset(), function.file_offset);
        assert_eq!(findings.function(Name::AeadSealv).virtual_address, sealv);
    }
}

#[test]
fn finds_functions_of_older_versions() {
    for arch in BOTH {
        let mut program = Program::new(arch);
        program.ssl(Start::Usual, &[226, 215], 400);
        let write = program.ssl(Start::Usual, &[226, 215, 194], 500);
        let scatter = program.aead(&[115, 112]);
        let seal = program.aead(&[117, 103, 115]);
        let until_2021 = findings(&program.build());
        assert_eq!(until_2021.function(Name::SslWrite).virtual_address, write);
        assert_eq!(until_2021.function(Name::AeadSealScatter).virtual_address, scatter);
        assert_eq!(until_2021.function(Name::AeadSeal).virtual_address, seal);

        // The last of two in the source file, which the linker put first.
        let mut program = Program::new(arch);
        let write = program.ssl(Start::Usual, &[226, 215], 1000);
        program.ssl(Start::Usual, &[226, 215], 900);
        let in_between = findings(&program.build());
        assert_eq!(in_between.function(Name::SslWrite).virtual_address, write);
    }
}

#[test]
fn two_candidates_are_ambiguous() {
    for arch in BOTH {
        let mut program = Program::new(arch);
        program.ssl(Start::Usual, &[226, 215, 111], 500);
        program.ssl(Start::Usual, &[226, 215, 111, 66], 600);
        let findings = findings(&program.build());
        assert_eq!(findings.functions, []);
        assert_eq!(findings.reason(Name::SslWrite), Some(&Reason::NotUnique(2)));
        assert_eq!(findings.libraries, [Library::BoringSsl]);
    }
}

/// Compilers copy the part that SSL_read and SSL_peek share into both.
#[test]
fn last_needs_others_on_equal_lines() {
    let build = |arch, lines: &[u32]| {
        let mut program = Program::new(arch);
        let functions: Vec<u64> =
            lines.iter().map(|line| program.ssl(Start::Usual, &[226, 215], *line)).collect();
        (functions, findings(&program.build()))
    };
    for arch in BOTH {
        let (functions, shared) = build(arch, &[500, 500, 700, 500]);
        assert_eq!(shared.function(Name::SslWrite).virtual_address, functions[2], "{arch}");
        // Alone, each can be a copy of the part for reading. With a third place, it is not known
        // what the others are.
        for lines in [&[500][..], &[500, 500], &[500, 600, 700], &[500, 700, 700]] {
            let reason = Reason::NotUnique(lines.len());
            assert_eq!(build(arch, lines).1.reason(Name::SslWrite), Some(&reason), "{lines:?}");
        }
    }
}

/// If the function that is sought was not recognized, another one would be taken for it.
#[test]
fn last_needs_every_reference_and_no_third_reason() {
    let reading = |program: &mut Program| {
        program.ssl(Start::Usual, &[226, 215], 400);
        program.ssl(Start::Usual, &[226, 215], 500);
    };
    let mut program = Program::new(Arch::X86_64);
    reading(&mut program);
    assert_eq!(findings(&program.build()).functions.len(), 1);
    // A function whose start is not certain
    program.ssl(Start::Bare, &[226, 215, 111], 900);
    let stray = findings(&program.build());
    assert_eq!(stray.reason(Name::SslWrite), Some(&Reason::NotUnique(2)));
    // Half of a function
    let mut program = Program::new(Arch::X86_64);
    reading(&mut program);
    program.ssl(Start::Usual, &[111], 900);
    let half = findings(&program.build());
    assert_eq!(half.reason(Name::SslWrite), Some(&Reason::NotUnique(2)));
}

#[test]
fn finds_functions_whose_first_argument_was_dropped() {
    let mut program = Program::new(Arch::X86_64);
    program.lto = true;
    program.ssl(Start::Usual, &[226, 215], 400);
    let write = program.ssl(Start::Usual, &[226, 215, 111], 500);
    let sealv = program.aead(&[117, 115, 104]);
    for fixed in [false, true] {
        let mut program = Program { file: program.file.clone(), ..Program::new(Arch::X86_64) };
        if fixed {
            program = Program::new(Arch::X86_64);
            program.lto = true;
            program.file.fixed = true;
            program.ssl(Start::Usual, &[226, 215], 400);
            program.ssl(Start::Usual, &[226, 215, 111], 500);
            program.aead(&[117, 115, 104]);
        }
        let found = findings(&program.build());
        assert_eq!(found.function(Name::SslWrite).virtual_address, write);
        assert_eq!(found.function(Name::AeadSealv).virtual_address, sealv);
    }
    // What the third register holds are lines then, which are not reasons.
    let mut program = Program::new(Arch::X86_64);
    program.lto = true;
    for reason in [300, 301, 302] {
        program.ssl(Start::Usual, &[reason], 226);
    }
    program.ssl(Start::Usual, &[1, 2, 3], 111);
    let found = findings(&program.build());
    assert_eq!(found.reason(Name::SslWrite), Some(&Reason::NoMatch(4)));
}

#[test]
fn pointer_in_data_counts_as_a_call() {
    let build = |pointer: fn(&mut Program, u64)| {
        let mut program = Program::new(Arch::X86_64);
        let write = program.ssl(Start::Bare, &[226, 215, 111], 500);
        pointer(&mut program, write);
        (write, findings(&program.build()))
    };
    assert_eq!(build(|_, _| {}).1.functions, []);
    let (write, relocated) = build(|program, at| program.file.relocations = vec![at]);
    assert_eq!(relocated.function(Name::SslWrite).virtual_address, write);
    let (write, packed) = build(|program, at| program.file.data = vec![1, at]);
    assert_eq!(packed.function(Name::SslWrite).virtual_address, write);
    // A pointer into the function does not.
    assert_eq!(build(|program, at| program.file.relocations = vec![at + 4]).1.functions, []);
}

/// Code for size: push 111; pop rdx, and functions without alignment.
#[test]
fn finds_functions_of_code_for_size() {
    let build = |before: &[u8], after: &[u8]| {
        let mut program = Program::new(Arch::X86_64);
        let mut starts = Vec::new();
        for (i, reasons) in [[226, 215, 66], [226, 215, 111]].iter().enumerate() {
            program.file.code.extend([0x90, 0x90, 0x90].iter().skip(i));
            let call = program.here();
            program.x86_call(call + 5 + before.len() as u64);
            program.file.code.extend(before);
            starts.push(program.here());
            program.file.code.extend(after);
            program.small_errors(reasons);
        }
        (starts, findings(&program.build()))
    };
    let (starts, found) = build(&[0x5d, 0xc3], &[0x55, 0x53]);
    assert!(starts.iter().all(|start| start % 16 != 0), "{starts:x?}");
    assert_eq!(found.function(Name::SslWrite).virtual_address, starts[1]);
    // The target of what looks like a call, but in the middle of a function
    assert_eq!(build(&[0x5d], &[0x55, 0x53]).1.functions, []);
    assert_eq!(build(&[0x5d, 0xc3], &[0x31, 0xc0]).1.functions, []);
}

#[test]
fn finds_names_that_follow_other_data() {
    for before in [&b"\x05\x08\x06\x08"[..], b"\x81\x80", b"\xff/x", b"\x01 ab/"] {
        let mut program = Program::new(Arch::X86_64);
        program.file.strings = [&[1; 600], before, SSL_LIB.as_bytes(), b"\0"].concat();
        program.strings[0] = STRINGS + 600 + before.len() as u64;
        let write = program.ssl(Start::Usual, &[226, 215, 111], 500);
        let found = findings(&program.build());
        assert_eq!(found.function(Name::SslWrite).virtual_address, write, "{before:?}");
    }
}

#[test]
fn aws_lc_is_named() {
    let label = |strings: &str| {
        let mut program = Program::new(Arch::Arm64);
        program.ssl(Start::Usual, &[226, 215, 111], 500);
        program.file.strings.extend(strings.as_bytes());
        findings(&program.build()).libraries
    };
    assert_eq!(label(""), [Library::BoringSsl]);
    assert_eq!(label("OpenSSL 1.1.1 (compatible; BoringSSL)\0"), [Library::BoringSsl]);
    assert_eq!(label("OpenSSL 1.1.1 (compatible; AWS-LC 1.40.0)\0"), [Library::AwsLc]);
}

#[test]
fn similar_functions_do_not_match() {
    for arch in BOTH {
        let mut program = Program::new(arch);
        program.ssl(Start::Usual, &[226, 111], 500);
        program.ssl(Start::Usual, &[215, 111], 600);
        let findings = findings(&program.build());
        assert_eq!(findings.functions, []);
        assert_eq!(findings.reason(Name::SslWrite), Some(&Reason::NoMatch(2)));
    }
}

#[test]
fn reasons_of_adjacent_functions_are_separate() {
    for arch in BOTH {
        let mut program = Program::new(arch);
        program.ssl(Start::Usual, &[226, 215], 500);
        program.ssl(Start::Usual, &[111], 600);
        assert!(findings(&program.build()).functions.is_empty(), "{arch}");
    }
}

#[test]
fn file_name_alone_is_not_boringssl() {
    for arch in BOTH {
        let findings = findings(&Program::new(arch).build());
        assert_eq!(findings.libraries, []);
        assert_eq!(findings.reason(Name::SslWrite), Some(&Reason::NoLibrary));
    }
}

#[test]
fn start_needs_two_properties() {
    let found = |start| {
        let mut program = Program::new(Arch::X86_64);
        let write = program.ssl(start, &[226, 215, 111], 500);
        let findings = findings(&program.build());
        assert!(findings.functions.iter().all(|function| function.virtual_address == write));
        findings.functions.len()
    };
    assert_eq!(found(Start::Usual), 1);
    assert_eq!(found(Start::NotCalled), 1);
    assert_eq!(found(Start::NoFrame), 1);
    assert_eq!(found(Start::Bare), 0);
}

#[test]
fn unwind_entry_gives_the_start_except_of_a_cold_part() {
    let build = |start| {
        let mut program = Program::new(Arch::X86_64);
        let write = program.ssl(start, &[226, 215, 111], 500);
        let size = (program.here() - write) as u32;
        program.file.unwind = vec![(CODE, 1), (write, size), (program.here() + 64, 16)];
        (write, findings(&program.build()))
    };
    let (write, certain) = build(Start::NotCalled);
    assert_eq!(certain.function(Name::SslWrite).virtual_address, write);
    // `f.cold` has its own entry, but is not called and has no frame.
    let (_, cold) = build(Start::Bare);
    assert_eq!(cold.reason(Name::SslWrite), Some(&Reason::NoReferences));
}

#[test]
fn search_has_a_limit() {
    let mut program = Program::new(Arch::Arm64);
    let (path, here) = (program.strings[0], program.here());
    let pages = (path >> 12).wrapping_sub(here >> 12) as u32;
    let adrp = 0x9000_0003 | (pages & 3) << 29 | ((pages >> 2) & 0x7_ffff) << 5;
    // Within one page, the ADRP instruction is the same.
    for _ in 0..250 {
        program.words(&[adrp, 0x9100_0063 | ((path & 0xfff) as u32) << 10]);
    }
    assert_eq!(findings(&program.build()).reason(Name::SslWrite), Some(&Reason::NoReferences));
    let mut program = Program::new(Arch::X86_64);
    for _ in 0..3000 {
        program.ssl(Start::Bare, &[226], 1);
    }
    assert_eq!(findings(&program.build()).reason(Name::SslWrite), Some(&Reason::TooComplex));
}

#[test]
fn symbols_take_precedence_over_the_search() {
    let mut program = Program::new(Arch::X86_64);
    let sealv = program.aead(&[117, 115, 104]);
    let write = program.ssl(Start::Usual, &[226, 215, 111], 500);
    program.file.symbols = vec![("EVP_AEAD_CTX_sealv", sealv, 0)];
    let findings = findings(&program.build());
    assert_eq!(findings.functions.len(), 2);
    assert_eq!(findings.function(Name::AeadSealv).method, Method::Symtab);
    assert_eq!(findings.function(Name::SslWrite).virtual_address, write);
}

#[test]
fn absolute_addresses_count_in_fixed_programs_only() {
    for fixed in [true, false] {
        let mut program = Program::new(Arch::X86_64);
        program.file.fixed = true;
        let write = program.ssl(Start::Usual, &[226, 215, 111], 500);
        program.file.fixed = fixed;
        let findings = findings(&program.build());
        let found: Vec<_> = findings.functions.iter().map(|f| f.virtual_address).collect();
        // In a relocatable program, the same number is not an address.
        assert_eq!(found, if fixed { vec![write] } else { vec![] });
    }
}

/// One of two windows contains the whole string, reference or call, wherever the boundary is.
#[test]
fn finds_everything_across_window_boundaries() {
    for before_boundary in [1, 10, 45, 46, 60] {
        let mut program = Program::new(Arch::X86_64);
        program.file.strings.clear();
        let at = WINDOW - before_boundary;
        program.file.code.resize(at, 0xcc);
        program.file.code[at - 1] = 0;
        program.strings[0] = program.here();
        program.file.code.extend(SSL_LIB.as_bytes());
        program.file.code.push(0);
        let write = program.ssl(Start::Usual, &[226, 215, 111], 500);
        let string = findings(&program.build());
        assert_eq!(string.function(Name::SslWrite).virtual_address, write, "{before_boundary}");

        let mut program = Program::new(Arch::X86_64);
        program.file.code.resize(WINDOW - before_boundary - 32, 0xcc);
        let write = program.ssl(Start::NoFrame, &[226, 215, 111], 500);
        let code = findings(&program.build());
        assert_eq!(code.function(Name::SslWrite).virtual_address, write, "{before_boundary}");
    }
}
