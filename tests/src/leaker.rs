//! The extension that leaks pages over any of many channels, for Chromium and for Firefox.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{apk::Archive, web::fixture};

/// Name of the extension, as its messages for English give it.
pub const NAME: &str = "Leaker of the tests";

/// ID of the extension in Firefox.
pub const FIREFOX_ID: &str = "leaker@tracer.test";

/// Name of the packed extension in a profile of Firefox.
pub const FIREFOX_FILE: &str = "leaker@tracer.test.xpi";

/// Preferences with which Firefox runs an extension that lies in its profile.
pub const FIREFOX_PREFERENCES: &str = "user_pref(\"xpinstall.signatures.required\", false);\n\
                                       user_pref(\"extensions.autoDisableScopes\", 0);\n\
                                       user_pref(\"datareporting.policy.firstRunURL\", \"\");\n";

/// Time after which the extension reports a page, in milliseconds. By then the profile of a browser
/// that has just started is complete.
const DELAY: u32 = 2500;

/// The domain below which each channel has a recipient of its own, as names below `.test` cannot be
/// registered.
const COLLECTORS: &str = "test";

/// The site whose names cannot be resolved.
pub const UNRESOLVED: &str = "lookup.test";

/// The parts of the extension.
const FILES: [&str; 7] = [
    "_locales/en/messages.json",
    "channels.js",
    "content.js",
    "document.html",
    "document.js",
    "encodings.js",
    "worker.js",
];

/// A channel over which the extension leaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Name of the channel, which is the first part of its requests' paths.
    pub name: String,
    /// The part of the extension that sends: `worker`, `document` or `content`.
    pub from: &'static str,
    /// The kind of request.
    pub by: String,
    /// The encoding.
    pub encoding: String,
    /// The recipient.
    pub host: String,
    /// What is sent, in words.
    pub says: String,
}

impl Channel {
    /// Returns the channel that sends a URL as it is.
    pub fn plain(from: &'static str, by: &'static str, host: &str) -> Self {
        Self {
            name: format!("{from}-{by}"),
            from,
            by: by.into(),
            encoding: "plain".into(),
            host: host.into(),
            says: String::new(),
        }
    }

    /// Returns the channels of `leaker/channels.json`, each to a site of its own, which
    /// [`Channel::site`] names.
    ///
    /// # Panics
    /// Panics if the file has another form.
    pub fn all() -> Vec<Self> {
        let list = fs::read(fixture("leaker").join("channels.json")).expect("a fixture");
        let list: Vec<Value> = serde_json::from_slice(&list).expect("a list");
        let channel = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
            let name = text("name");
            Self {
                from: "document",
                by: text("by"),
                encoding: text("as"),
                host: format!("to.{name}.{COLLECTORS}"),
                says: text("says"),
                name,
            }
        };
        list.iter().map(channel).collect()
    }

    /// Returns the registrable domain of the recipient.
    pub fn site(&self) -> &str {
        self.host.strip_prefix("to.").unwrap_or(&self.host)
    }

    fn json(&self) -> Value {
        let Self { name, from, by, encoding, host, .. } = self;
        json!({"name": name, "from": from, "by": by, "as": encoding, "host": host})
    }
}

/// The extension in a temporary folder.
pub struct Leaker {
    folder: TempDir,
}

impl Leaker {
    /// Creates the extension. It sends to recipients on this port.
    ///
    /// # Panics
    /// Panics if a file cannot be written.
    pub fn new(channels: &[Channel], port: u16) -> Self {
        Self::delayed(channels, port, DELAY)
    }

    /// Creates the extension. It sends to recipients on this port, this many milliseconds after a
    /// page was opened.
    ///
    /// # Panics
    /// Panics if a file cannot be written.
    pub fn delayed(channels: &[Channel], port: u16, delay: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("tracer-leaker-").tempdir().expect("a folder");
        let unpacked = folder.path().join("chromium");
        fs::create_dir_all(unpacked.join("_locales/en")).expect("a folder");
        let channels: Vec<Value> = channels.iter().map(Channel::json).collect();
        let config = json!({"port": port, "channels": channels, "delay": delay});
        let config = format!("globalThis.CONFIG = {config};\n");
        let mut packed = Archive::default();
        let mut add = |name: &str, for_chromium: &[u8], for_firefox: &[u8]| {
            fs::write(unpacked.join(name), for_chromium).expect("a file");
            packed.store(name, for_firefox);
        };
        let read = |name: &str| fs::read(fixture("leaker").join(name)).expect("a fixture");
        for name in FILES {
            let content = read(name);
            add(name, &content, &content);
        }
        add("config.js", config.as_bytes(), config.as_bytes());
        add("manifest.json", &read("manifest.chromium.json"), &read("manifest.firefox.json"));
        packed.write(&folder.path().join(FIREFOX_FILE));
        Self { folder }
    }

    /// Returns the extension for Chromium, a folder.
    pub fn unpacked(&self) -> PathBuf {
        self.folder.path().join("chromium")
    }

    /// Returns the extension for Firefox, a file.
    pub fn packed(&self) -> PathBuf {
        self.folder.path().join(FIREFOX_FILE)
    }

    /// Returns the folder of both.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
