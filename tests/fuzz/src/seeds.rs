//! Valid inputs, most of them made of the project's recordings.

mod content;
mod files;
mod protocols;

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::Value;

pub(crate) use self::{content::*, files::*, protocols::*};

/// Inputs of a target.
type Inputs = Vec<Vec<u8>>;

/// Returns a path in the repository.
fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
}

/// Returns the contents of the files in a folder whose names end like this, in the order of their
/// names.
fn all(folder: &str, end: &str) -> Inputs {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.to_str().is_some_and(|name| name.ends_with(end)));
    files.sort();
    assert!(!files.is_empty(), "no seeds in {folder}");
    files.iter().map(|file| fs::read(file).expect("a file")).collect()
}

fn unhex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    HEXLOWER_PERMISSIVE.decode(&digits).expect("hexadecimal digits")
}

/// Returns the JSON files in a folder.
fn stories(folder: &str) -> impl Iterator<Item = Value> {
    all(folder, ".json").into_iter().map(|json| serde_json::from_slice(&json).expect("JSON"))
}

fn hex_field(case: &Value, name: &str) -> Vec<u8> {
    unhex(case[name].as_str().unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::targets;

    #[test]
    fn every_target_has_seeds_within_its_length() {
        for target in targets::ALL {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            let fit = seeds.iter().filter(|seed| seed.len() <= target.max_len).count();
            assert!(fit > 0, "no seed of {} is short enough", target.name);
        }
    }
}
