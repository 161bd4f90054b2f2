//! Tests of functions that are found by name.

use super::elf_file::{CODE, ElfFile, Symbol};
use super::findings;
use crate::locate::prologue::Cost;
use crate::locate::{Arch, Cache, Library, Method, Name, Reason, locate};

/// `sub rsp, 8; test edx, edx; js; …; ret`
const STEPPED_ENTRY: &[u8] =
    &[0x48, 0x83, 0xec, 8, 0x85, 0xd2, 0x78, 4, 0x31, 0xc0, 0x31, 0xc0, 0xc3];

fn program() -> ElfFile {
    let mut file = ElfFile::new(Arch::X86_64);
    file.code = STEPPED_ENTRY.repeat(4);
    file
}

const SSL_WRITE: Symbol = ("SSL_write", CODE, STEPPED_ENTRY.len() as u64);
const SSL_WRITE_EX: Symbol = ("SSL_write_ex", CODE + STEPPED_ENTRY.len() as u64, 0);

#[test]
fn finds_exports_and_their_probes() {
    for sysv_hash in [false, true] {
        let mut file = program();
        file.sysv_hash = sysv_hash;
        file.exports = vec![("memcpy", 0, 0), SSL_WRITE, SSL_WRITE_EX, ("SSL_read", CODE, 1)];
        let findings = findings(&file.build());
        assert_eq!(findings.libraries, [Library::OpenSsl]);
        assert_eq!(findings.build_id.as_deref(), Some("ab".repeat(20).as_str()));
        let write = findings.function(Name::SslWrite);
        assert_eq!(write.method, Method::Export);
        assert_eq!((write.virtual_address, write.file_offset), (CODE, CODE - 0x1000));
        assert_eq!((write.probes.arguments.delta, write.probes.arguments.sp_adjust), (6, 8));
        assert_eq!(write.probes.arguments.cost, Cost::Emulated);
        assert_eq!(write.probe_offset(), CODE - 0x1000 + 6);
        assert_eq!(write.return_probe_offset(), CODE - 0x1000);
        assert_eq!(findings.function(Name::SslWriteEx).virtual_address, SSL_WRITE_EX.1);
        assert_eq!(findings.missing, []);
    }
}

#[test]
fn recognizes_libraries_by_their_functions() {
    let cases: [(&[Symbol], Library, Name); 3] = [
        (
            &[("gnutls_record_send", CODE, 9), ("gnutls_record_send2", CODE + 13, 9)],
            Library::GnuTls,
            Name::GnutlsRecordSend,
        ),
        (&[("PR_Write", CODE, 9), ("PR_Send", CODE + 13, 9)], Library::Nspr, Name::PrWrite),
        (
            &[("SSL_CTX_set_custom_verify", CODE + 13, 9), SSL_WRITE],
            Library::BoringSsl,
            Name::SslWrite,
        ),
    ];
    for (exports, library, name) in cases {
        let mut file = program();
        file.exports = exports.to_vec();
        let findings = findings(&file.build());
        assert_eq!(findings.libraries, [library]);
        assert_eq!(findings.function(name).virtual_address, CODE);
        assert_eq!(findings.functions.len(), 1);
        assert_eq!(findings.missing, []);
    }
}

#[test]
fn finds_symbols_in_symtab_and_minidebuginfo() {
    let mut file = program();
    file.symbols = vec![SSL_WRITE, SSL_WRITE_EX];
    assert_eq!(findings(&file.build()).function(Name::SslWrite).method, Method::Symtab);

    let mut packed = Vec::new();
    lzma_rs::xz_compress(&mut file.build().as_slice(), &mut packed).unwrap();
    file.symbols.clear();
    assert_eq!(findings(&file.build()).functions, []);
    file.debugdata = packed;
    let found = findings(&file.build());
    assert_eq!(found.function(Name::SslWrite).method, Method::MiniDebugInfo);
    assert_eq!(found.function(Name::SslWrite).probes.arguments.delta, 6);

    // Exports take precedence.
    file.exports = vec![SSL_WRITE];
    let found = findings(&file.build());
    assert_eq!(found.function(Name::SslWrite).method, Method::Export);
    assert_eq!(found.function(Name::SslWriteEx).method, Method::MiniDebugInfo);
}

#[test]
fn name_with_two_addresses_is_ambiguous() {
    let mut file = program();
    file.exports = vec![SSL_WRITE, ("SSL_write", CODE + 13, 13)];
    assert_eq!(findings(&file.build()).reason(Name::SslWrite), Some(&Reason::NotUnique(2)));
    // Two versions with the same address are one function.
    file.exports = vec![SSL_WRITE, SSL_WRITE, SSL_WRITE_EX];
    assert_eq!(findings(&file.build()).functions.len(), 2);
}

#[test]
fn symbol_outside_the_code_is_rejected() {
    for address in [0x400, CODE + 0x10_0000, u64::MAX] {
        let mut file = program();
        file.exports = vec![("SSL_write", address, 8)];
        assert_eq!(findings(&file.build()).reason(Name::SslWrite), Some(&Reason::NotCode));
    }
    let mut file = program();
    file.arch = Arch::Arm64;
    file.exports = vec![("SSL_write", CODE + 2, 8)];
    assert_eq!(findings(&file.build()).reason(Name::SslWrite), Some(&Reason::NotCode));
}

#[test]
fn imported_function_is_reported_as_missing() {
    let mut file = program();
    file.needed = vec!["libc.so.6", "libssl.so.3"];
    file.exports = vec![("SSL_write", 0, 0)];
    let found = findings(&file.build());
    assert_eq!(found.libraries, []);
    let from = Reason::Imported(vec!["libssl.so.3".into()]);
    assert_eq!(found.reason(Name::SslWrite), Some(&from));
    assert_eq!(from.to_string(), "imported from libssl.so.3");
    assert_eq!(found.reason(Name::PrWrite), Some(&Reason::NoLibrary));
    assert_eq!(found.reason(Name::SslWriteEx), None);
}

#[test]
fn json_and_text_forms() {
    let mut file = program();
    file.exports = vec![SSL_WRITE];
    let all = locate(&file.build(), "/lib/libssl.so.3", &mut Cache::disabled()).unwrap();
    let json: serde_json::Value = serde_json::to_value(&all[0]).unwrap();
    let expected = serde_json::json!({
        "file": "/lib/libssl.so.3",
        "arch": "x86_64",
        "build_id": "ab".repeat(20),
        "libraries": ["openssl"],
        "functions": [{
            "name": "SSL_write",
            "library": "openssl",
            "file_offset": 0x10000,
            "virtual_address": 0x11000,
            "probe_offset": 0x10006,
            "probe_instruction": "js",
            "probe_cost": "emulated",
            "sp_adjust": 8,
            "return_probe_offset": 0x10000,
            "return_probe_cost": "stepped",
            "method": "export",
        }],
        "missing": [{
            "name": "SSL_write_ex",
            "reason": "the library has no symbol with this name",
        }],
        "unread": [],
    });
    assert_eq!(json, expected);
    let text = format!(
        "/lib/libssl.so.3: OpenSSL, x86_64, build id {}\n  \
         SSL_write     export         at 0x10000, probed at +0x6 (js: emulated), its \
         return single-stepped\n  \
         SSL_write_ex  not found: the library has no symbol with this name",
        "ab".repeat(20)
    );
    assert_eq!(all[0].to_string(), text);
}

#[test]
fn libraries_that_are_not_read_are_named() {
    let named = |text: &str| {
        let mut file = program();
        file.strings = [b"\0", text.as_bytes(), b"\0"].concat();
        let all = locate(&file.build(), "file", &mut Cache::disabled()).unwrap();
        let unread = all[0].findings.unread.iter().map(|unread| unread.library).collect::<Vec<_>>();
        assert_eq!(all[0].findings.libraries, unread);
        assert_eq!(all[0].to_string().contains("not read: "), !unread.is_empty());
        unread
    };
    for path in
        ["/registry/rustls-0.23.46/src/client/tls13.rs", "rustls::conn", "rustls/src/lib.rs"]
    {
        assert_eq!(named(path), [Library::Rustls], "{path}");
    }
    for text in ["uses rustls", "rustls-0.23", "rustls-webpki/src/lib.rs", "rustls:: "] {
        assert_eq!(named(text), [], "{text}");
    }
    assert_eq!(named("()Lorg/conscrypt/NativeSsl;"), [Library::Conscrypt]);
    // The name of the function alone is not Go.
    assert_eq!(named("crypto/tls.(*Conn).writeRecordLocked"), []);
}

#[test]
fn cache_identifies_files_by_content() {
    let mut cache = Cache::new();
    let mut file = program();
    for build_id in [vec![1; 20], Vec::new()] {
        file.build_id = build_id;
        file.exports = vec![SSL_WRITE];
        let before = cache.len();
        let first = locate(&file.build(), "a", &mut cache).unwrap();
        assert_eq!(cache.len(), before + 1);
        let again = locate(&file.build(), "b", &mut cache).unwrap();
        assert_eq!(cache.len(), before + 1);
        assert_eq!(first[0].findings, again[0].findings);
        assert_eq!(again[0].file, "b");
    }
    // A file without a build id differs by any byte, and one with a build id by its size.
    file.code.push(0x90);
    locate(&file.build(), "c", &mut cache).unwrap();
    file.build_id = vec![1; 20];
    locate(&file.build(), "d", &mut cache).unwrap();
    assert_eq!(cache.len(), 4);

    let mut restored = Cache::from_json(cache.to_json().as_bytes());
    assert_eq!(restored.len(), 4);
    let hit = locate(&file.build(), "d", &mut restored).unwrap();
    assert_eq!(hit, locate(&file.build(), "d", &mut Cache::disabled()).unwrap());
    assert_eq!(restored.len(), 4);

    let json = cache.to_json();
    let other = json.replacen("\"version\":", "\"version\":9", 1);
    assert_ne!(json, other);
    assert!(Cache::from_json(other.as_bytes()).is_empty());
    assert!(Cache::from_json(b"{").is_empty());
    let mut disabled = Cache::disabled();
    locate(&file.build(), "e", &mut disabled).unwrap();
    assert!(disabled.is_empty());
}
