//! Tests that take whole files, real or made.

mod archive;
mod boringssl;
mod elf_file;
mod hostile;
mod real;
mod symbols;

use super::{Cache, Findings, Function, Located, Name, Reason, Source, locate};

/// What is in an ELF file.
fn findings(file: &[u8]) -> Findings {
    let mut all = located(file);
    assert_eq!(all.len(), 1);
    all.remove(0).findings
}

/// What is in a file.
fn located(file: &[u8]) -> Vec<Located> {
    locate(&file.to_vec(), "file", &mut Cache::disabled()).expect("a known format")
}

impl Findings {
    /// The function of that name, which has to be there.
    fn function(&self, name: Name) -> &Function {
        self.functions.iter().find(|function| function.name == name).expect("found")
    }

    /// Why the function of that name is missing.
    fn reason(&self, name: Name) -> Option<&Reason> {
        assert!(self.functions.iter().all(|function| function.name != name));
        self.missing.iter().find(|missing| missing.name == name).map(|missing| &missing.reason)
    }
}
