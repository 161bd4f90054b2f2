//! Which package has which UID on Android: `/data/system/packages.list`.
//!
//! One line a package, fields separated by spaces; each release of Android has
//! appended some, and none has changed those before
//! (`PackageManagerService`'s `Settings.writePackageListLPr`):
//!
//! ```text
//! com.example.app 10123 0 /data/user/0/com.example.app default:targetSdkVersion=34 3003 0 42 1 @system
//! name            id    │ folder                       seinfo                       │    │ │  │ installer
//!                       debuggable                                               gids    │ │  profileable
//!                                                                  profileable by shell  version
//! ```
//!
//! A UID is the user's number times 100 000 plus the package's id:
//!
//! | id | whose |
//! |---|---|
//! | below 10 000 | the system's; many packages share one |
//! | 10 000–19 999 | an application's, or several that share it |
//! | 20 000–29 999 | the SDK sandbox of the application 10 000 below |
//! | 90 000–99 999 | isolated processes: in no list, so they are nobody's here |
//!
//! Isolated processes (a browser's renderers) may not open sockets of their own.

use std::collections::{BTreeMap, HashMap};

pub use tracer_ebpf::UIDS_PER_USER;

/// The packages that are kept of a list. There are 10 000 ids for applications.
const MAX_PACKAGES: usize = 16_384;

/// The longest name of a package: of a file on Android's file systems, which its
/// folder is named by.
const MAX_NAME: usize = 255;

/// How far the id of an SDK sandbox lies above its application's
/// (`Process.FIRST_SDK_SANDBOX_UID`).
const SANDBOX: u32 = 10_000;

/// The ids of applications.
const APPS: std::ops::RangeInclusive<u32> = 10_000..=19_999;

/// Ids of processes that are in no list: those of app zygotes, and isolated
/// ones.
const ISOLATED: std::ops::RangeInclusive<u32> = 90_000..=99_999;

/// The packages that are installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList {
    ids: HashMap<String, u32>,
    names: BTreeMap<u32, Vec<String>>,
    malformed: usize,
    left_out: usize,
}

impl PackageList {
    /// Reads a list. What is no entry is skipped, and counted.
    pub fn parse(text: &[u8]) -> Self {
        let mut list = Self::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let Some((name, id)) = entry(line) else {
                list.malformed += 1;
                continue;
            };
            if list.ids.len() >= MAX_PACKAGES {
                list.left_out += 1;
                continue;
            }
            if list.ids.contains_key(name) {
                // The list names each package once.
                list.malformed += 1;
                continue;
            }
            list.ids.insert(name.to_owned(), id);
            list.names.entry(id).or_default().push(name.to_owned());
        }
        list
    }

    /// A package's id.
    pub fn id(&self, package: &str) -> Option<u32> {
        self.ids.get(package).copied()
    }

    /// The packages of an id, in the list's order.
    pub fn names(&self, id: u32) -> &[String] {
        self.names.get(&id).map_or(&[], Vec::as_slice)
    }

    /// How many packages it has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many lines could not be read.
    pub fn malformed(&self) -> usize {
        self.malformed
    }

    /// How many packages were too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// A line's package and id.
fn entry(line: &[u8]) -> Option<(&str, u32)> {
    let mut fields = std::str::from_utf8(line).ok()?.split(' ');
    let name = fields.next().filter(|name| is_name(name))?;
    let uid: u32 = fields.next()?.parse().ok()?;
    let debuggable = fields.next()?;
    let _folder = fields.next().filter(|folder| !folder.is_empty())?;
    let id = uid % UIDS_PER_USER;
    // No package is installed under an isolated process's id.
    (matches!(debuggable, "0" | "1") && !ISOLATED.contains(&id)).then_some((name, id))
}

/// Whether a text can be a package's name (`android` has no dot).
pub fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.len() <= MAX_NAME && text.split('.').all(is_part)
}

/// The id of the package that a UID belongs to: an SDK sandbox's is its
/// application's. `None` for isolated processes, which no list tells of.
pub fn id_of(uid: u32) -> Option<u32> {
    let id = uid % UIDS_PER_USER;
    match id.checked_sub(SANDBOX) {
        Some(app) if APPS.contains(&app) => Some(app),
        _ => (!ISOLATED.contains(&id)).then_some(id),
    }
}

/// All ids that a package's processes have: its own, and its SDK sandbox's.
pub fn ids_of(id: u32) -> impl Iterator<Item = u32> {
    std::iter::once(id).chain(APPS.contains(&id).then_some(id + SANDBOX))
}

/// The package that a process's name on Android says it is of:
/// `com.android.chrome:privileged_process0`. The process can change it.
pub fn of_process_name(name: &str) -> Option<&str> {
    let package = name.split(':').next().unwrap_or(name);
    (package.contains('.') && is_name(package)).then_some(package)
}

#[cfg(test)]
mod tests;
