//! Android's list of packages and their UIDs: `/data/system/packages.list`.
//!
//! Each line is a package, with fields separated by spaces. Releases of Android appended
//! fields, but none changed the existing ones (`Settings.writePackageListLPr` in
//! `PackageManagerService`):
//!
//! ```text
//! com.example.app 10123 0 /data/user/0/com.example.app default:targetSdkVersion=34 3003 0 42 1 @system
//! name            id    │ folder                       seinfo                       │    │ │  │ installer
//!                       debuggable                                               gids    │ │  profileable
//!                                                                  profileable by shell  version
//! ```
//!
//! A UID is the user's number times 100 000, plus the package's id:
//!
//! | id | owner |
//! |---|---|
//! | below 10 000 | the system; many packages share an id |
//! | 10 000–19 999 | an application, or several that share the id |
//! | 20 000–29 999 | the SDK sandbox of the application whose id is 10 000 lower |
//! | 90 000–99 999 | isolated processes, which the list does not contain |
//!
//! Isolated processes (a browser's renderers) are not allowed to open sockets.

use std::collections::{BTreeMap, HashMap};

pub use tracer_ebpf::UIDS_PER_USER;

/// Maximum number of packages read of a list. There are 10 000 ids for applications.
const MAX_PACKAGES: usize = 16_384;

/// Maximum length of a package name, which is also the name of the package's folder.
const MAX_NAME: usize = 255;

/// Difference between the ids of an SDK sandbox and its application
/// (`Process.FIRST_SDK_SANDBOX_UID`).
const SANDBOX: u32 = 10_000;

/// The ids of applications.
const APPS: std::ops::RangeInclusive<u32> = 10_000..=19_999;

/// Ids that the list does not contain: those of app zygotes and isolated processes.
const ISOLATED: std::ops::RangeInclusive<u32> = 90_000..=99_999;

/// The installed packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList {
    ids: HashMap<String, u32>,
    names: BTreeMap<u32, Vec<String>>,
    malformed: usize,
    left_out: usize,
}

impl PackageList {
    /// Parses a list. Malformed lines are skipped and counted.
    pub fn parse(text: &[u8]) -> Self {
        let mut list = Self::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let Some((name, id)) = parse_entry(line) else {
                list.malformed += 1;
                continue;
            };
            if list.ids.len() >= MAX_PACKAGES {
                list.left_out += 1;
                continue;
            }
            if list.ids.contains_key(name) {
                // A package occurs only once in a valid list.
                list.malformed += 1;
                continue;
            }
            list.ids.insert(name.to_owned(), id);
            list.names.entry(id).or_default().push(name.to_owned());
        }
        list
    }

    /// Returns the id of a package.
    pub fn id(&self, package: &str) -> Option<u32> {
        self.ids.get(package).copied()
    }

    /// Returns the packages with an id, in the order of the list.
    pub fn names(&self, id: u32) -> &[String] {
        self.names.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of packages.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Reports whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the number of malformed lines.
    pub fn malformed(&self) -> usize {
        self.malformed
    }

    /// Returns the number of packages beyond the limit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Parses the package and the id in a line.
fn parse_entry(line: &[u8]) -> Option<(&str, u32)> {
    let mut fields = std::str::from_utf8(line).ok()?.split(' ');
    let name = fields.next().filter(|name| is_name(name))?;
    let uid: u32 = fields.next()?.parse().ok()?;
    let debuggable = fields.next()?;
    let _folder = fields.next().filter(|folder| !folder.is_empty())?;
    let id = uid % UIDS_PER_USER;
    // Packages are not installed with the ids of isolated processes.
    (matches!(debuggable, "0" | "1") && !ISOLATED.contains(&id)).then_some((name, id))
}

/// Reports whether a text is a valid package name (`android` has no dot).
pub fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.len() <= MAX_NAME && text.split('.').all(is_part)
}

/// Returns the id of the package that a UID belongs to; for an SDK sandbox, that of its
/// application. Returns `None` for isolated processes, which the list does not contain.
pub fn id_of(uid: u32) -> Option<u32> {
    let id = uid % UIDS_PER_USER;
    match id.checked_sub(SANDBOX) {
        Some(app) if APPS.contains(&app) => Some(app),
        _ => (!ISOLATED.contains(&id)).then_some(id),
    }
}

/// Returns all ids of a package's processes: its own, and that of its SDK sandbox.
pub fn ids_of(id: u32) -> impl Iterator<Item = u32> {
    std::iter::once(id).chain(APPS.contains(&id).then_some(id + SANDBOX))
}

/// Returns the package in the name of a process on Android, such as
/// `com.android.chrome:privileged_process0`. A process can change its name.
pub fn of_process_name(name: &str) -> Option<&str> {
    let package = name.split(':').next().unwrap_or(name);
    (package.contains('.') && is_name(package)).then_some(package)
}

#[cfg(test)]
mod tests;
