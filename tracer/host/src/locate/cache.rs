//! Findings remembered by what the file is, not by where it is.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Findings;
use super::source::Part;

/// Raised whenever the search changes, so that what an older version found, or
/// did not find, is searched again.
const VERSION: u32 = 1;

/// Files remembered. A desktop has a few hundred that map TLS libraries.
const MAX_ENTRIES: usize = 4096;

/// What identifies a file's content.
///
/// A build id is chosen by whoever links the file, and stays the same when it
/// is stripped. The size beside it tells those copies apart; a program that
/// forges another's build id and size only hides itself or draws a probe on a
/// function of its own, which it could as well by other means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Key(String);

impl Key {
    /// The key of `file`; `None` where `cache` keeps nothing. A file without a
    /// build id is read whole.
    pub(super) fn of(
        file: Part<'_>,
        build_id: Option<&str>,
        cache: &Cache,
    ) -> io::Result<Option<Self>> {
        if !cache.enabled {
            return Ok(None);
        }
        if let Some(id) = build_id {
            return Ok(Some(Self(format!("build-id:{id}:{}", file.size()))));
        }
        let mut hash = Sha256::new();
        file.windows(0, file.size(), 0, |_, window| hash.update(window))?;
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Self(format!("sha256:{hex}"))))
    }
}

/// Findings by content, for a process's lifetime or, as JSON, for longer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cache {
    version: u32,
    #[serde(skip)]
    enabled: bool,
    entries: BTreeMap<Key, Findings>,
}

impl Cache {
    /// A cache that keeps nothing.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// An empty cache.
    pub fn new() -> Self {
        Self { version: VERSION, enabled: true, entries: BTreeMap::new() }
    }

    /// What [`Cache::to_json`] wrote. What was written by another version, or
    /// is no such JSON, gives an empty cache.
    ///
    /// The file decides where probes go: it has to be the caller's own.
    pub fn from_json(json: &[u8]) -> Self {
        let read = serde_json::from_slice::<Self>(json).ok();
        match read.filter(|cache| cache.version == VERSION && cache.entries.len() <= MAX_ENTRIES) {
            Some(cache) => Self { enabled: true, ..cache },
            None => Self::new(),
        }
    }

    /// The cache as JSON.
    pub fn to_json(&self) -> String {
        // Strings and numbers only: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many files are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn findings(&self, key: &Key) -> Option<&Findings> {
        self.entries.get(key)
    }

    pub(super) fn insert(&mut self, key: Key, findings: Findings) {
        if self.entries.len() >= MAX_ENTRIES {
            // Any one will do: what is lost is found again.
            self.entries.pop_first();
        }
        self.entries.insert(key, findings);
    }
}
