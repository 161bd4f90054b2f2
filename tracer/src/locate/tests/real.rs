//! Real files: this machine's own, and whatever a folder holds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::locate::elf::Image;
use crate::locate::source::Part;
use crate::locate::strings::Strings;
use crate::locate::{Cache, FileSource, Library, Method, Name, boringssl, locate};

/// Libraries by the names that distributions give them, and a function each.
const OF_THIS_MACHINE: [(&str, Library, Name); 6] = [
    ("x86_64-linux-gnu/libssl.so.3", Library::OpenSsl, Name::SslWriteEx),
    ("aarch64-linux-gnu/libssl.so.3", Library::OpenSsl, Name::SslWriteEx),
    ("x86_64-linux-gnu/libgnutls.so.30", Library::GnuTls, Name::GnutlsRecordSend),
    ("aarch64-linux-gnu/libgnutls.so.30", Library::GnuTls, Name::GnutlsRecordSend),
    ("x86_64-linux-gnu/libnspr4.so", Library::Nspr, Name::PrWrite),
    ("aarch64-linux-gnu/libnspr4.so", Library::Nspr, Name::PrWrite),
];

#[test]
fn libraries_of_this_machine() {
    for (path, library, name) in OF_THIS_MACHINE {
        let path = Path::new("/usr/lib").join(path);
        let Ok(file) = File::open(&path) else {
            println!("skipped: no {}", path.display());
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

/// Prints what is found in every file under `TRACER_LOCATE_FILES`, and how
/// long it took. Where BoringSSL's functions have symbols, the search without
/// them has to come to the same addresses.
#[test]
#[ignore = "needs TRACER_LOCATE_FILES, a folder of programs to look into"]
fn survey() {
    let folder = std::env::var_os("TRACER_LOCATE_FILES").expect("TRACER_LOCATE_FILES");
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                look_into(&entry.path());
            }
        }
    }
}

fn look_into(path: &Path) {
    let source = FileSource::new(File::open(path).unwrap()).unwrap();
    let start = Instant::now();
    let Ok(all) = locate(&source, &path.to_string_lossy(), &mut Cache::disabled()) else {
        return;
    };
    let elapsed = start.elapsed();
    for located in all {
        if located.findings.libraries.is_empty() && elapsed.as_millis() < 50 {
            continue;
        }
        println!("{located}\n  {elapsed:?}");
        let symbols = located.findings.functions.iter().filter(|function| {
            function.library == Library::BoringSsl && function.method != Method::StringXref
        });
        for function in symbols {
            let image = Image::read(Part::whole(&source)).expect("an ELF file");
            let strings = Strings::find(&image).unwrap();
            let outcome = boringssl::find(&image, &strings).unwrap();
            // Since there is sealv, the other two give no errors themselves.
            let Some(found) = outcome.found.iter().find(|found| found.name == function.name) else {
                assert_ne!(function.name, Name::SslWrite);
                continue;
            };
            assert_eq!(found.addresses.start, function.virtual_address, "{}", function.name);
            println!("  {}: the same without symbols", function.name);
        }
    }
}
