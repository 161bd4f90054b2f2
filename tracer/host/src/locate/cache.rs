//! A cache of findings, keyed by the content of files.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Findings;
use super::source::Part;

/// Version of the search. Incremented whenever the search changes, which invalidates the
/// findings of older versions.
const VERSION: u32 = 4;

/// Maximum number of files in a cache. The applications of a desktop map a few hundred files.
const MAX_ENTRIES: usize = 4096;

/// Identifies the content of a file.
///
/// The linker sets the build id, and stripping the file keeps it, so the size is needed to
/// distinguish the copies. A program that forges the build id and the size of another file
/// can only hide itself, or make tracer probe one of its own functions at a wrong place. It
/// could achieve both by other means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Key(String);

impl Key {
    /// Creates the key of `file`; returns `None` if `cache` is disabled. A file without a
    /// build id is hashed.
    pub(super) fn new(
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

/// Findings by content, for the lifetime of the process or, as JSON, for longer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cache {
    version: u32,
    #[serde(skip)]
    enabled: bool,
    entries: BTreeMap<Key, Findings>,
}

impl Cache {
    /// Creates a cache that stores nothing.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Creates an empty cache.
    pub fn new() -> Self {
        Self { version: VERSION, enabled: true, entries: BTreeMap::new() }
    }

    /// Restores a cache from [`Cache::to_json`]. Returns an empty cache if the JSON is
    /// invalid or from another version.
    ///
    /// The JSON determines the positions of probes, so it must come from a trusted file.
    pub fn from_json(json: &[u8]) -> Self {
        let read = serde_json::from_slice::<Self>(json).ok();
        match read.filter(|cache| cache.version == VERSION && cache.entries.len() <= MAX_ENTRIES) {
            Some(cache) => Self { enabled: true, ..cache },
            None => Self::new(),
        }
    }

    /// Serializes the cache.
    pub fn to_json(&self) -> String {
        // Strings and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the number of files in the cache.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reports whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn findings(&self, key: &Key) -> Option<&Findings> {
        self.entries.get(key)
    }

    pub(super) fn insert(&mut self, key: Key, findings: Findings) {
        if self.entries.len() >= MAX_ENTRIES {
            // Evict any entry: its file will be analyzed again if necessary.
            self.entries.pop_first();
        }
        self.entries.insert(key, findings);
    }
}
