//! Extensions of Chromium and of browsers made from it.
//!
//! A profile lists its extensions in `Preferences` or `Secure Preferences`, each with its folder:
//! a path below `Extensions/`, or an absolute one if it was loaded unpacked. The folder has the
//! manifest, and translations of the texts in it
//! (developer.chrome.com/docs/extensions/reference/manifest, .../api/i18n).

use std::{
    collections::HashMap,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Found, MAX_EXTENSIONS, files::Files};

/// The part of a manifest that is used here. All of it may be missing, or have another type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    name: Value,
    default_locale: Value,
    key: Value,
}

/// The part of the preferences that is used here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Preferences {
    extensions: Extensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extensions {
    settings: HashMap<String, Value>,
}

/// Finds the extensions of a profile.
pub(super) fn profile(files: &impl Files, folder: &Path, found: &mut Found) {
    for name in ["Secure Preferences", "Preferences"] {
        let Some(Preferences { extensions }) = files.json(&folder.join(name)) else {
            continue;
        };
        for (id, settings) in extensions.settings.iter().take(MAX_EXTENSIONS) {
            let place = settings["path"].as_str().and_then(|path| place(folder, path));
            let manifest: Option<Manifest> =
                place.as_deref().and_then(|place| files.json(&place.join("manifest.json")));
            let name = match (manifest, &place) {
                (Some(manifest), Some(place)) => manifest.name(files, place),
                // Some browsers keep a copy of the manifest in the preferences.
                _ => settings["manifest"]["name"].as_str().map(str::to_owned),
            };
            // A text without its translation is not a name.
            if let Some(name) = name.filter(|name| message(name).is_none()) {
                found.add(id, &name, None);
            }
        }
    }
}

/// Returns the folder of an extension.
fn place(profile: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Some(path.to_owned());
    }
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    is_below.then(|| profile.join("Extensions").join(path))
}

/// Adds the extension in a folder that the browser was told to load.
pub(super) fn unpacked(files: &impl Files, folder: &Path, found: &mut Found) {
    let manifest: Option<Manifest> = files.json(&folder.join("manifest.json"));
    if let Some(manifest) = manifest
        && let Some(name) = manifest.name(files, folder)
    {
        found.add(&manifest.id(folder), &name, None);
    }
}

impl Manifest {
    /// Returns the name, translated to the extension's own language.
    fn name(&self, files: &impl Files, folder: &Path) -> Option<String> {
        /// A file of translations: each text by its key, in any case.
        type Messages = HashMap<String, Value>;

        let name = self.name.as_str()?;
        let Some(key) = message(name) else {
            return Some(name.to_owned());
        };
        let locale = self.default_locale.as_str()?;
        let is_locale = locale.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let path = folder.join("_locales").join(locale).join("messages.json");
        let messages: Messages = is_locale.then(|| files.json(&path))??;
        let text = messages.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        text.and_then(|(_, text)| text["message"].as_str()).map(str::to_owned)
    }

    /// Returns the ID: a hash of the public key in the manifest or, without one, of the path.
    fn id(&self, folder: &Path) -> String {
        let key = self.key.as_str().and_then(key);
        let hash = match &key {
            Some(key) => Sha256::digest(key),
            None => Sha256::digest(folder.as_os_str().as_bytes()),
        };
        let mut id = String::new();
        for byte in &hash[..16] {
            for half in [byte >> 4, byte & 15] {
                // Writing to a string cannot fail.
                let _ = write!(id, "{}", char::from(b'a' + half));
            }
        }
        id
    }
}

/// Decodes a public key: base64, which may stand between lines of a PEM file.
fn key(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let text: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

/// Returns the key of a text that stands for its translation: `__MSG_key__`.
fn message(text: &str) -> Option<&str> {
    text.strip_prefix("__MSG_")?.strip_suffix("__")
}

#[cfg(test)]
mod tests {
    use super::{
        super::files::tests::{Folder, own},
        *,
    };

    fn names(found: &Found) -> Vec<(&str, &str)> {
        found.list.iter().map(|one| (&*one.id, &*one.name)).collect()
    }

    #[test]
    fn an_unpacked_extension_is_known_by_its_key() {
        const KEY: &str =
            include_str!("../../../../tests/fixtures/browsers/reporter/manifest.json");
        let folder = Folder::new("unpacked");
        folder.write("manifest.json", KEY);
        let mut found = Found::default();
        unpacked(&own(), &folder.0, &mut found);
        assert_eq!(names(&found), [("afnpnmgmjdiifkegmgobgjajjbamchmn", "Reporter")]);
    }

    #[test]
    fn an_unpacked_extension_without_key_is_known_by_its_path() {
        // The ID that Chromium 156 gives to an extension in this folder.
        let id = Manifest::default().id(Path::new("/tmp/ch/nokey"));
        assert_eq!(id, "emjdajfdhpobnlmdpcpcckbnjaiifnin");
    }

    #[test]
    fn extensions_of_a_profile_are_found_with_translated_names() {
        let folder = Folder::new("profile");
        let (a, b, c) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
        let manifest = r#"{"name": "__MSG_appName__", "default_locale": "de"}"#;
        folder.write(&format!("Extensions/{a}/1.0_0/manifest.json"), manifest);
        let messages = r#"{"other": 1, "APPNAME": {"message": "Übersetzer"}}"#;
        folder.write(&format!("Extensions/{a}/1.0_0/_locales/de/messages.json"), messages);
        let other = folder.write("elsewhere/manifest.json", r#"{"name": "Unpacked"}"#);
        let settings = serde_json::json!({"extensions": {"settings": {
            &a: {"path": format!("{a}/1.0_0")},
            &b: {"path": other.parent().unwrap()},
            &c: {"path": format!("{c}/1.0_0"), "manifest": {"name": "A copy"}},
        }}});
        folder.write("Secure Preferences", &settings.to_string());
        let mut found = Found::default();
        profile(&own(), &folder.0, &mut found);
        let mut names = names(&found);
        names.sort_unstable();
        assert_eq!(names, [(&*a, "Übersetzer"), (&*b, "Unpacked"), (&*c, "A copy")]);
    }

    #[test]
    fn hostile_profiles_are_read_without_harm() {
        let folder = Folder::new("hostile");
        let deep = "[".repeat(100_000);
        let climbing = r#"{"extensions": {"settings": {"aa": {"path": "../../x"}, "bb": 7, "cc": {
            "path": "cc"}, "dd": {"path": "/etc"}, "ee": {"path": ""}}}}"#;
        folder.write(
            "Extensions/cc/manifest.json",
            r#"{"name": "__MSG_x__", "default_locale": "../.."}"#,
        );
        folder.write("messages.json", r#"{"x": {"message": "climbed"}}"#);
        for content in [climbing, &deep, "{}", "[]", "\0", "", r#"{"extensions": []}"#] {
            folder.write("Preferences", content);
            let mut found = Found::default();
            profile(&own(), &folder.0, &mut found);
            assert_eq!(names(&found), []);
        }
        for manifest in [r#"{"name": 7}"#, r#"{"name": "__MSG_x__"}"#, "{", &deep] {
            folder.write("manifest.json", manifest);
            let mut found = Found::default();
            unpacked(&own(), &folder.0, &mut found);
            assert_eq!(names(&found), [], "{manifest:.40}");
        }
    }
}
