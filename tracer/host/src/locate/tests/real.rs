//! Libraries that are installed on this machine.

use std::fs::File;
use std::path::Path;

use crate::locate::prologue::Cost;
use crate::locate::{Cache, FileSource, Library, Method, Name, locate};

/// Paths of libraries in distributions, with one of their functions.
const INSTALLED: [(&str, Library, Name); 6] = [
    ("x86_64-linux-gnu/libssl.so.3", Library::OpenSsl, Name::SslWriteEx),
    ("aarch64-linux-gnu/libssl.so.3", Library::OpenSsl, Name::SslWriteEx),
    ("x86_64-linux-gnu/libgnutls.so.30", Library::GnuTls, Name::GnutlsRecordSend),
    ("aarch64-linux-gnu/libgnutls.so.30", Library::GnuTls, Name::GnutlsRecordSend),
    ("x86_64-linux-gnu/libnspr4.so", Library::Nspr, Name::PrWrite),
    ("aarch64-linux-gnu/libnspr4.so", Library::Nspr, Name::PrWrite),
];

#[test]
fn finds_functions_of_installed_libraries() {
    for (path, library, name) in INSTALLED {
        let path = Path::new("/usr/lib").join(path);
        let Ok(file) = File::open(&path) else {
            println!("skipped: {} is not installed", path.display());
            continue;
        };
        let source = FileSource::new(file).unwrap();
        let all = locate(&source, "file", &mut Cache::disabled()).unwrap();
        let findings = &all[0].findings;
        assert_eq!(findings.libraries, [library]);
        assert_eq!(findings.function(name).method, Method::Export);
        assert_eq!(findings.missing, []);
        assert!(findings.build_id.is_some());
    }
}

#[test]
fn finds_functions_in_the_table_of_installed_libraries() {
    for path in ["/usr/lib/firefox-esr", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
    {
        let path = Path::new(path).join("libfreeblpriv3.so");
        let Ok(file) = File::open(&path) else {
            println!("skipped: {} is not installed", path.display());
            continue;
        };
        let source = FileSource::new(file).unwrap();
        let all = locate(&source, "file", &mut Cache::disabled()).unwrap();
        let findings = &all[0].findings;
        assert_eq!(findings.libraries, [Library::Nss]);
        assert_eq!(findings.missing, []);
        let names: Vec<Name> = findings.functions.iter().map(|one| one.name).collect();
        assert_eq!(names, [Name::AesAead, Name::ChaCha20Encrypt]);
        assert!(findings.functions.iter().all(|one| one.method == Method::Table));
    }
}

#[test]
fn probes_of_installed_openssl_are_emulated() {
    let path = Path::new("/usr/lib/x86_64-linux-gnu/libssl.so.3");
    let Ok(file) = File::open(path) else {
        println!("skipped: {} is not installed", path.display());
        return;
    };
    let source = FileSource::new(file).unwrap();
    let all = locate(&source, "file", &mut Cache::disabled()).unwrap();
    let findings = &all[0].findings;
    for function in &findings.functions {
        let probes = &function.probes;
        let is_cheap =
            (probes.arguments.cost, probes.returns.cost) == (Cost::Emulated, Cost::Emulated);
        assert!(is_cheap || findings.probed_instead_of(function.name).is_some(), "{function:?}");
    }
}
