//! `tracer locate` on installed libraries, browsers and programs from registries.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tracer_tests::{
    browser::CHROMIUM,
    skip, tracer_bin,
    watched::lines,
    web::{self, fixture},
};

/// Returns the output of `tracer locate --json` for a file.
fn locate(file: &str) -> Value {
    let ended = tracer_bin::run(&mut tracer_bin::command(["locate", "--json", file]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut all = lines(&ended.stdout);
    assert_eq!(all.len(), 1, "{}", ended.stdout);
    all.remove(0)
}

fn function<'a>(located: &'a Value, name: &str) -> &'a Value {
    let functions = located["functions"].as_array().expect("functions");
    let mut found = functions.iter().filter(|function| function["name"] == name);
    let function = found.next().unwrap_or_else(|| panic!("{name} in {located:#}"));
    assert!(found.next().is_none(), "{name} twice in {located:#}");
    // The probe is in the prologue, before the argument registers are overwritten.
    let place = |field: &str| function[field].as_u64().expect("an offset");
    let into =
        place("probe_offset").checked_sub(place("file_offset")).expect("a probe after the start");
    assert!(into < 32, "{function:#}");
    function
}

/// Returns the first bytes of a function.
fn code(file: &str, function: &Value) -> [u8; 4] {
    let offset = function["file_offset"].as_u64().expect("an offset");
    let file = File::open(file).expect("the file exists");
    let mut code = [0; 4];
    file.read_exact_at(&mut code, offset).expect("an offset in the file");
    code
}

/// The dynamic loader serves as the reference for exported functions.
#[test]
fn exported_functions_match_the_dynamic_loader() {
    const LIBRARIES: [(&str, &[&str]); 3] = [
        ("libssl.so.3", &["SSL_write", "SSL_write_ex"]),
        ("libgnutls.so.30", &["gnutls_record_send"]),
        ("libnspr4.so", &["PR_Write"]),
    ];
    let Some(python) = web::python() else {
        return;
    };
    for (library, names) in LIBRARIES {
        let output = Command::new(&python)
            .arg(fixture("exported.py"))
            .arg(library)
            .args(names)
            .output()
            .expect("Python");
        if !skip::met(output.status.success(), &format!("{library} (`cargo xtask setup --tests`)"))
        {
            continue;
        }
        let text = String::from_utf8(output.stdout).expect("a path in UTF-8");
        let (path, offsets) = text.split_once('\n').expect("lines");
        let located = locate(path);
        assert_eq!(located["file"], path);
        for (name, offset) in names.iter().zip(offsets.lines()) {
            let function = function(&located, name);
            assert_eq!(function["method"], "export", "{function:#}");
            assert_eq!(function["file_offset"].to_string(), offset, "{function:#}");
        }
    }
}

/// There is no reference for this location. The tests of browsers prove that it is
/// right.
#[test]
fn boringssl_is_located_in_chromium() {
    if !skip::met(Path::new(CHROMIUM).is_file(), "chromium (`cargo xtask setup --tests`)") {
        return;
    }
    let located = locate(CHROMIUM);
    let function = function(&located, "SSL_write");
    assert_eq!(function["method"], "string-xref", "{function:#}");
    let code = code(CHROMIUM, function);
    match located["arch"].as_str() {
        // push rbp; mov rbp, rsp
        Some("x86_64") => assert_eq!(code, [0x55, 0x48, 0x89, 0xe5], "{function:#}"),
        Some("arm64") => {}
        arch => panic!("{arch:?}"),
    }
}

/// This machine cannot run the program. The test expects exactly one location, at
/// which a function begins.
#[test]
fn boringssl_is_located_in_arm64_chromium() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/arm64/chromium");
    let there = Path::new(file).is_file();
    if !skip::met(there, "Debian's chromium for arm64 (`cargo xtask setup --tests`)") {
        return;
    }
    let located = locate(file);
    assert_eq!(located["arch"], "arm64", "{located:#}");
    let build_id = located["build_id"].as_str().expect("a build id");
    assert_eq!(build_id.len(), 40, "{located:#}");
    assert_eq!(located["libraries"], json!(["boringssl"]), "{located:#}");
    let function = function(&located, "SSL_write");
    assert_eq!(function["method"], "string-xref", "{function:#}");
    // On arm64, no instruction of a prologue is emulated, and the return address
    // must be replaced before it is signed, so both probes are at the function's
    // entry.
    assert_eq!(function["probe_offset"], function["file_offset"], "{function:#}");
    assert_eq!(function["return_probe_offset"], function["file_offset"], "{function:#}");
    let code = code(file, function);
    // paciasp or, in a build without pointer authentication, `sub sp, sp, #…` or
    // `stp …, […, #…]!`: instructions that compilers only put at the beginning of a
    // function.
    let begins = matches!(code, [0x3f, 0x23, 0x03, 0xd5] | [0xff, _, _, 0xd1] | [_, _, _, 0xa9]);
    assert!(begins, "{code:x?}");
}

/// A program of `fixtures/builds/builds.tsv`.
struct Build {
    name: &'static str,
    package: &'static str,
    file: PathBuf,
    arch: &'static str,
    library: &'static str,
    function: &'static str,
    offset: u64,
    proof: &'static str,
}

/// Returns the programs that are here, and marks the test as skipped for the others.
fn builds() -> Vec<Build> {
    let list = include_str!("../fixtures/builds/builds.tsv");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let all = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _, package, _, _, _, arch, library, function, offset, proof, _] = fields[..]
        else {
            panic!("{line}");
        };
        let offset = offset.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Build {
            name,
            package,
            file: Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/builds")).join(name),
            arch,
            library,
            function,
            offset: offset.expect("an offset"),
            proof,
        }
    });
    all.filter(|build| {
        let need = format!("{} (`cargo xtask setup --tests`)", build.package);
        skip::met(build.file.is_file(), &need)
    })
    .collect()
}

impl Build {
    /// Checks what was located in a copy of the program.
    fn check(&self, file: &Path, method: &str) {
        let located = locate(file.to_str().expect("a path in UTF-8"));
        assert_eq!(located["arch"], self.arch, "{}", self.name);
        assert_eq!(located["libraries"], json!([self.library]), "{}", self.name);
        let function = function(&located, self.function);
        assert_eq!(function["file_offset"], self.offset, "{}: {function:#}", self.name);
        assert_eq!(function["method"], method, "{}: {function:#}", self.name);
    }
}

/// Link-time and profile-guided optimization, code for size, calls through tables, static
/// OpenSSL and GnuTLS, and Go: each hides the functions in its own way.
#[test]
fn functions_are_located_in_one_program_of_each_kind() {
    for build in builds() {
        let method = match build.proof {
            "symbols" => "symtab",
            "search" => "string-xref",
            method => method,
        };
        build.check(&build.file, method);
    }
}

/// The search finds what the symbols named, once these are gone.
#[test]
fn search_agrees_with_symbols_that_are_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    for build in builds().iter().filter(|build| build.proof == "symbols") {
        let mut program = fs::read(&build.file).expect("the file is readable");
        remove_symbols(&mut program);
        let copy = folder.path().join(build.name);
        fs::write(&copy, program).expect("the folder is writable");
        build.check(&copy, "string-xref");
    }
}

/// Makes the section headers of an ELF file unreadable, through which alone `.symtab` is found.
fn remove_symbols(program: &mut [u8]) {
    // e_shentsize, e_shnum, e_shstrndx
    program[58..64].fill(0);
}
