//! Real files: this machine's own, and whatever a folder holds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::locate::{Cache, FileSource, locate};

/// Prints what is found in every file under `TRACER_LOCATE_FILES`, and how
/// long it took.
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
                print(&entry.path());
            }
        }
    }
}

fn print(path: &Path) {
    let source = FileSource::new(File::open(path).unwrap()).unwrap();
    let start = Instant::now();
    let Ok(all) = locate(&source, &path.to_string_lossy(), &mut Cache::disabled()) else {
        return;
    };
    let elapsed = start.elapsed();
    for located in all {
        if !located.findings.libraries.is_empty() || elapsed.as_millis() > 50 {
            println!("{located}\n  {elapsed:?}");
        }
    }
}
