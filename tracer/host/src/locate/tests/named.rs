//! Tests with generated programs that contain OpenSSL or GnuTLS, whose errors name functions.

use super::elf_file::{CODE, ElfFile, STRINGS};
use super::findings;
use crate::locate::{Arch, Library, Name, Reason};

const STRINGS_OF_ALL: &[&str] = &[
    "first",
    "ssl/ssl_lib.c",
    "SSL_write",
    "ssl_write_internal",
    "SSL_read",
    "../../lib/record.c",
    "gnutls_record_send2",
    "gnutls_record_send",
];

/// A program for x86_64, built function by function.
struct Program(ElfFile);

impl Program {
    fn new(strings: &[&str]) -> Self {
        let mut file = ElfFile::new(Arch::X86_64);
        file.strings = strings.iter().flat_map(|s| [s.as_bytes(), b"\0"].concat()).collect();
        file.code.push(0xc3);
        Self(file)
    }

    fn here(&self) -> u64 {
        CODE + self.0.code.len() as u64
    }

    /// Starts a function that is called, and has a frame.
    fn begin(&mut self) -> u64 {
        let target = (self.here() + 6).next_multiple_of(16);
        self.call(target);
        while self.here() < target {
            self.0.code.push(0xcc);
        }
        self.0.code.extend([0x55, 0x48, 0x89, 0xe5]);
        self.here() - 4
    }

    fn call(&mut self, target: u64) {
        let next = self.here() + 5;
        self.0.code.push(0xe8);
        self.0.code.extend((target.wrapping_sub(next) as i32).to_le_bytes());
    }

    fn end(&mut self) {
        self.0.code.extend([0x5d, 0xc3]);
    }

    /// `lea register, [rip+…]` of a string
    fn lea(&mut self, modrm: u8, string: &str) {
        let needle = [string.as_bytes(), b"\0"].concat();
        let at = self.0.strings.windows(needle.len()).position(|window| window == needle);
        let address = STRINGS + at.expect("a string of the program") as u64;
        let next = self.here() + 7;
        self.0.code.extend([0x48, 0x8d, modrm]);
        self.0.code.extend((address.wrapping_sub(next) as i32).to_le_bytes());
    }

    fn mov(&mut self, opcode: &[u8], value: u32) {
        self.0.code.extend(opcode);
        self.0.code.extend(value.to_le_bytes());
    }

    /// A function that reports an error as OpenSSL 3 does.
    fn version_3(&mut self, name: &str, reason: u32) -> u64 {
        let start = self.begin();
        self.lea(0x3d, "ssl/ssl_lib.c"); // rdi
        self.lea(0x15, name); // rdx
        self.mov(&[0xbe], 2000); // esi
        self.call(CODE);
        self.mov(&[0xbe], reason);
        self.mov(&[0xbf], 20); // edi
        self.call(CODE);
        self.end();
        start
    }

    /// `SSL_write` of OpenSSL 3, which calls `ssl_write_internal`: since 3.3 with a zero more.
    fn write(&mut self, internal: u64, is_new: bool) -> u64 {
        let start = self.version_3("SSL_write", 271);
        self.0.code.truncate(self.0.code.len() - 2);
        if is_new {
            self.0.code.extend([0x49, 0x89, 0xe0, 0x31, 0xc9]); // mov r8, rsp; xor ecx, ecx
        } else {
            self.0.code.extend([0x48, 0x89, 0xe1]); // mov rcx, rsp
        }
        self.call(internal);
        self.end();
        start
    }

    /// A function that calls another one with its arguments, after `code`.
    fn forward(&mut self, code: &[u8], to: u64) -> u64 {
        let start = self.begin();
        self.0.code.extend(code);
        self.call(to);
        self.end();
        start
    }

    /// A function that reports errors as OpenSSL 1 does.
    fn version_1(&mut self, number: u32, reasons: &[u32]) -> u64 {
        let start = self.begin();
        for reason in reasons {
            self.lea(0x0d, "ssl/ssl_lib.c"); // rcx
            self.mov(&[0xba], *reason); // edx
            self.mov(&[0xbe], number); // esi
            self.mov(&[0x41, 0xb8], 2000); // r8d
            self.call(CODE);
        }
        self.end();
        start
    }

    /// A function that reports errors as GnuTLS does.
    fn gnutls(&mut self, file: &str, name: &str) -> u64 {
        let start = self.begin();
        self.lea(0x15, file); // rdx
        self.lea(0x0d, name); // rcx
        self.call(CODE);
        self.end();
        start
    }
}

#[test]
fn finds_ssl_write_of_openssl_3() {
    for version in ["OpenSSL 3.5.9 29 Sep 2026", "no version"] {
        let mut program = Program::new(&[STRINGS_OF_ALL, &[version]].concat());
        program.version_3("ssl_write_internal", 276);
        program.version_3("SSL_read", 271);
        let write = program.version_3("SSL_write", 271);
        let found = findings(&program.0.build());
        assert_eq!(found.libraries, [Library::OpenSsl], "{version}");
        assert_eq!(found.function(Name::SslWrite).virtual_address, write, "{version}");
        assert_eq!(found.function(Name::SslWrite).library, Library::OpenSsl);
        assert_eq!(found.reason(Name::SslWriteEx), Some(&Reason::NoMatch(3)));
    }
}

/// A program that calls `SSL_write` has messages with its name.
#[test]
fn name_counts_only_with_the_source_file_and_the_reason() {
    let mut program = Program::new(STRINGS_OF_ALL);
    program.version_3("SSL_read", 271);
    program.version_3("SSL_write", 300);
    let caller = program.begin();
    program.lea(0x15, "SSL_write");
    program.mov(&[0xbe], 271);
    program.call(caller);
    program.end();
    assert_eq!(findings(&program.0.build()).reason(Name::SslWrite), Some(&Reason::NoMatch(2)));
    program.version_3("SSL_write", 271);
    program.version_3("SSL_write", 271);
    assert_eq!(findings(&program.0.build()).reason(Name::SslWrite), Some(&Reason::NotUnique(2)));
}

#[test]
fn finds_ssl_write_of_openssl_1_and_libressl() {
    let mut program = Program::new(STRINGS_OF_ALL);
    program.version_1(223, &[271, 276]);
    program.version_1(524, &[276, 207]);
    let write = program.version_1(208, &[271]);
    let found = findings(&program.0.build());
    assert_eq!(found.libraries, [Library::OpenSsl]);
    assert_eq!(found.function(Name::SslWrite).virtual_address, write);

    let mut program =
        Program::new(&[STRINGS_OF_ALL, &["OpenSSL 1.1.1 compat 1 Jul 2020"]].concat());
    program.version_1(0, &[271, 276]);
    let write = program.version_1(0, &[271, 276, 207]);
    let found = findings(&program.0.build());
    assert_eq!(found.libraries, [Library::OpenSsl]);
    assert_eq!(found.function(Name::SslWrite).virtual_address, write);
}

#[test]
fn finds_both_of_two_libraries() {
    let mut program = Program::new(STRINGS_OF_ALL);
    program.version_3("SSL_read", 271);
    let write = program.version_3("SSL_write", 271);
    let send = program.gnutls("../../lib/record.c", "gnutls_record_send2");
    let found = findings(&program.0.build());
    assert_eq!(found.libraries, [Library::OpenSsl, Library::GnuTls]);
    assert_eq!(found.function(Name::SslWrite).virtual_address, write);
    assert_eq!(found.function(Name::GnutlsRecordSend2).virtual_address, send);
}

#[test]
fn finds_the_function_of_gnutls_that_sends() {
    let mut program = Program::new(STRINGS_OF_ALL);
    program.gnutls("../../lib/record.c", "SSL_read");
    let send = program.gnutls("../../lib/record.c", "gnutls_record_send2");
    let found = findings(&program.0.build());
    assert_eq!(found.libraries, [Library::GnuTls]);
    assert_eq!(found.missing, []);
    let function = found.function(Name::GnutlsRecordSend2);
    assert_eq!((function.virtual_address, function.library), (send, Library::GnuTls));

    // Until 3.6.3
    let old: Vec<&str> =
        STRINGS_OF_ALL.iter().copied().filter(|name| !name.ends_with('2')).collect();
    let mut program = Program::new(&old);
    let send = program.gnutls("../../lib/record.c", "gnutls_record_send");
    let found = findings(&program.0.build());
    assert_eq!(found.function(Name::GnutlsRecordSend).virtual_address, send);

    // Other programs have a record.c too, and names of functions they import.
    let mut program = Program::new(STRINGS_OF_ALL);
    program.gnutls("../../lib/record.c", "first");
    program.gnutls("first", "gnutls_record_send2");
    let found = findings(&program.0.build());
    assert_eq!(found.functions, []);
}

/// mov r8, rcx; xor ecx, ecx
const WITH_ZERO: [u8; 5] = [0x49, 0x89, 0xc8, 0x31, 0xc9];

#[test]
fn finds_ssl_write_ex_by_the_arguments_that_it_passes_on() {
    let build = |is_new, version: &str, functions: fn(&mut Program, u64) -> u64| {
        let mut program = Program::new(&[STRINGS_OF_ALL, &[version]].concat());
        let internal = program.version_3("ssl_write_internal", 276);
        program.write(internal, is_new);
        // SSL_sendfile and others pass other arguments.
        program.forward(&[0x31, 0xf6], internal);
        let write_ex = functions(&mut program, internal);
        (write_ex, findings(&program.0.build()))
    };
    let unknown = "no version";
    type Case = (bool, &'static str, fn(&mut Program, u64) -> u64);
    let cases: [Case; 5] = [
        // Until 3.2 with four arguments
        (false, unknown, |program, internal| program.forward(&[], internal)),
        (false, "OpenSSL 3.0.17 1 Jul 2025", |program, internal| program.forward(&[], internal)),
        // Since 3.3 with a zero more, directly or through SSL_write_ex2
        (true, unknown, |program, internal| program.forward(&WITH_ZERO, internal)),
        (true, unknown, |program, internal| {
            program.forward(&[], internal);
            program.forward(&WITH_ZERO, internal)
        }),
        (true, "OpenSSL 3.6.3 9 Jun 2026", |program, internal| {
            let write_ex2 = program.forward(&[], internal);
            program.forward(&WITH_ZERO, write_ex2)
        }),
    ];
    for (is_new, version, functions) in cases {
        let (write_ex, found) = build(is_new, version, functions);
        assert_eq!(found.missing, [], "{is_new} {version}");
        assert_eq!(found.function(Name::SslWriteEx).virtual_address, write_ex, "{version}");
    }
    // Since 3.3 the function with the same arguments is another one.
    let (_, other) = build(true, unknown, |program, internal| program.forward(&[], internal));
    assert_eq!(other.reason(Name::SslWriteEx), Some(&Reason::NotUnique(1)));
    let (_, two) = build(false, unknown, |program, internal| {
        program.forward(&[], internal);
        program.forward(&[], internal)
    });
    assert_eq!(two.reason(Name::SslWriteEx), Some(&Reason::NotUnique(2)));
}
