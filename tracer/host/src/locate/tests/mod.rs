//! Tests with whole files: real and generated ones.

mod archive;
mod boringssl;
mod elf_file;
mod freebl;
mod golang;
mod hostile;
mod internal;
mod named;
mod real;
mod symbols;

use super::{Cache, Findings, Function, Located, Name, Reason, Source, locate};

/// Returns the findings in an ELF file.
fn findings(file: &[u8]) -> Findings {
    let mut all = located(file);
    assert_eq!(all.len(), 1);
    all.remove(0).findings
}

/// Locates the functions in a file of a known format.
fn located(file: &[u8]) -> Vec<Located> {
    locate(&file.to_vec(), "file", &mut Cache::disabled()).expect("a known format")
}

impl Findings {
    /// Returns the function with this name; panics if it was not found.
    fn function(&self, name: Name) -> &Function {
        self.functions.iter().find(|function| function.name == name).expect("found")
    }

    /// Returns the reason for which the function with this name is missing; panics if it was
    /// found.
    fn reason(&self, name: Name) -> Option<&Reason> {
        assert!(self.functions.iter().all(|function| function.name != name));
        self.missing.iter().find(|missing| missing.name == name).map(|missing| &missing.reason)
    }
}
