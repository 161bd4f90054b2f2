//! The TLS libraries that this system provides for all programs.
//!
//! They are probed before any process in scope maps them: a program that writes as soon as it
//! has loaded its library would be faster than a probe.

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
};

/// Maximum number of libraries. A system has four or five.
const MAX: usize = 16;

/// Beginnings of the names of libraries whose functions are exported: other libraries with such
/// names call these.
const NAMES: [&str; 5] =
    ["libssl.so", "libgnutls.so", "libnspr4.so", "libfreeblpriv3.so", "libssl3.so"];

/// Folders of the system's libraries. Android's Conscrypt is in a module of its own.
const FOLDERS: [&str; 6] = [
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/system/lib64",
    "/apex/com.android.conscrypt/lib64",
    "/usr/lib/nss",
];

/// Returns the paths of the libraries, each file once.
pub(super) fn libraries() -> Vec<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/{ARCH}-linux-gnu"));
    let folders = FOLDERS.iter().map(PathBuf::from).chain([debian.join("nss"), debian]);
    find(folders)
}

fn find(folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let files: BTreeSet<PathBuf> = folders.flat_map(|folder| in_folder(&folder)).collect();
    files.into_iter().take(MAX).collect()
}

/// Returns the files that the names of libraries in a folder refer to.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let named = entries.flatten().filter(|entry| is_named(&entry.file_name().to_string_lossy()));
    let files = named.filter_map(|entry| entry.path().canonicalize().ok());
    files.filter(|file| file.is_file()).collect()
}

/// Reports whether a library has one of the names, with or without a version.
fn is_named(file: &str) -> bool {
    let rest = NAMES.iter().find_map(|name| file.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_with_versions_are_found_once() {
        let folder = std::env::temp_dir().join(format!("tracer-installed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for file in ["libssl.so.3", "libgnutls.so.30.34.3", "libssl.a", "libcurl-gnutls.so.4"] {
            fs::write(folder.join(file), "").unwrap();
        }
        for (link, file) in [("libssl.so", "libssl.so.3"), ("libnspr4.so", "missing")] {
            std::os::unix::fs::symlink(folder.join(file), folder.join(link)).unwrap();
        }
        let missing = folder.join("missing");
        let found = find([folder.clone(), missing, folder.clone()].into_iter());
        let folder = folder.canonicalize().unwrap();
        assert_eq!(found, ["libgnutls.so.30.34.3", "libssl.so.3"].map(|file| folder.join(file)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn names_that_only_begin_alike_are_others() {
        assert!(is_named("libssl.so") && is_named("libssl.so.1.1"));
        assert!(!is_named("libssl.sox") && !is_named("libssl") && !is_named("notlibssl.so"));
    }
}
