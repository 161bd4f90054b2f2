//! Reads folders of rules.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::files::open_regular;
use tracer_core::{
    knowledge::Knowledge,
    rules::{EMBEDDED, RulesError, RulesFile},
};

/// Maximum size of a file of rules: a hundred times the embedded ones.
const MAX_FILE: u64 = 4 << 20;

/// Error that makes a folder of rules unusable.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    /// A file or the folder cannot be read.
    #[error("cannot read the rules in {path}: {source}")]
    Read {
        /// Path of the folder or file.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// A file is too large.
    #[error("{0} is larger than {max} MiB, the maximum of a file of rules", max = MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// The folder contains no file of rules.
    #[error(
        "{0} contains no rules; put them into {known} (see docs/guides/rules.md)",
        known = EMBEDDED.map(|file| file.name).join(", ")
    )]
    Empty(PathBuf),
    /// A file has a mistake.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// Files of rules that were read and not parsed yet: their paths and texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RuleTexts(Vec<(String, String)>);

impl RuleTexts {
    /// Reads the files of a folder, if there is one.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, LoadError> {
        Ok(Self(folder.map(read).transpose()?.unwrap_or_default()))
    }

    /// Returns a form for [`RuleTexts::from_bytes`].
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("texts have a JSON form")
    }

    /// Parses what [`RuleTexts::to_bytes`] returned.
    pub(super) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        Ok(Self(serde_json::from_slice(bytes)?))
    }

    /// Returns the files.
    pub(super) fn files(&self) -> impl Iterator<Item = RulesFile<'_>> {
        self.0.iter().map(|(name, text)| RulesFile { name, text })
    }

    /// Adds the rules to the embedded ones.
    pub(super) fn parse(&self) -> Result<Knowledge, LoadError> {
        Ok(Knowledge::with_overrides(&self.files().collect::<Vec<_>>())?)
    }
}

/// Loads the embedded rules, with those of a folder added.
#[cfg(test)]
fn load(folder: Option<&Path>) -> Result<Knowledge, LoadError> {
    RuleTexts::read(folder)?.parse()
}

/// Reads the files of rules in a folder, sorted by path: each `*.toml` that is not hidden.
fn read(folder: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(LoadError::Empty(folder.to_owned()));
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let mut bytes = Vec::new();
            let file = open_regular(&path).map_err(failed(&path))?;
            file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed(&path))?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(LoadError::TooLarge(path));
            }
            let text = String::from_utf8(bytes)
                .map_err(|_| failed(&path)(io::Error::other("it is not UTF-8 text")))?;
            Ok((path.to_string_lossy().into_owned(), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn files_in_the_folder_override_the_embedded_ones() {
        let text = "[[service]]\nname = 'Acme Analytics'\ncategory = 'analytics'\ndomains = ['acme.example']\n\
                    reason = 'a test'\nsource = 'https://acme.example/'\n";
        let files: [(&str, &[u8]); 4] = [
            ("recipients.toml", text.as_bytes()),
            ("README.md", b"\xff"),
            (".recipients.toml", b"\xff"),
            ("recipients.toml~", b"\xff"),
        ];
        let rules = load(Some(folder(&files).path())).unwrap();
        assert!(
            rules
                .rules()
                .services()
                .iter()
                .any(|service| service.name.as_str() == "Acme Analytics")
        );
        assert_eq!(
            load(None).unwrap().rules().services().len() + 1,
            rules.rules().services().len()
        );
    }

    #[test]
    fn errors_name_the_file() {
        let error = |files| load(Some(folder(files).path())).unwrap_err().to_string();
        let none = load(Some(Path::new("/nonexistent/rules"))).unwrap_err().to_string();
        assert!(none.starts_with("cannot read the rules in /nonexistent/rules: "), "{none}");
        let empty = error(&[("browsers.tml", b"")]);
        assert!(empty.contains("contains no rules; put them into browsers.toml, "), "{empty}");
        let binary = error(&[("browsers.toml", b"\xff")]);
        assert!(binary.contains("/browsers.toml: ") && binary.contains("UTF-8"), "{binary}");
        let large = error(&[("browsers.toml", &[b'#'; (4 << 20) + 1])]);
        assert!(large.contains("/browsers.toml is larger than 4 MiB"), "{large}");
        let wrong = error(&[("browsers.toml", b"\n\nx = 1\n")]);
        assert!(wrong.contains("/browsers.toml:3:1: "), "{wrong}");
    }
}
