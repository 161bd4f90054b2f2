//! Extensions of Firefox.
//!
//! `extensions.json` in a profile lists the add-ons, with their names. The origin of an extension
//! has another ID, which Firefox chooses at random in each profile. The preference
//! `extensions.webextensions.uuids` maps one to the other.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{Found, MAX_EXTENSIONS, files::Files};

/// The part of the list that is used here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    addons: Vec<Value>,
}

/// Finds the extensions of a profile.
pub(super) fn profile(files: &impl Files, folder: &Path, found: &mut Found) {
    let Some(List { addons }) = files.json(&folder.join("extensions.json")) else {
        return;
    };
    let preferences = files.read(&folder.join("prefs.js")).unwrap_or_default();
    let ids = ids(&String::from_utf8_lossy(&preferences));
    for addon in addons.iter().take(MAX_EXTENSIONS) {
        if let Some(key) = addon["id"].as_str()
            && let Some(id) = ids.get(key)
            && let Some(name) = addon["defaultLocale"]["name"].as_str()
        {
            found.add(id, name, Some(key));
        }
    }
}

/// Returns the IDs in origins by those of the add-ons, from the lines of `prefs.js`.
fn ids(preferences: &str) -> HashMap<String, String> {
    const START: &str = r#"user_pref("extensions.webextensions.uuids", "#;
    let value = preferences
        .lines()
        .find_map(|line| line.trim().strip_prefix(START)?.strip_suffix(");").map(str::trim));
    // A string of JavaScript with JSON in it. What Firefox escapes is escaped alike in JSON.
    let json: Option<String> = value.and_then(|value| serde_json::from_str(value).ok());
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{
        super::files::tests::{Folder, own},
        *,
    };

    #[test]
    fn an_addon_is_known_by_the_id_of_its_origin() {
        let folder = Folder::new("firefox");
        folder.write(
            "extensions.json",
            r#"{"schemaVersion": 37, "addons": [
                {"id": "leaker@tracer.test", "defaultLocale": {"name": "Leaker"}},
                {"id": "unused@tracer.test", "defaultLocale": {"name": "Unused"}},
                {"id": 7}, {}, "x"]}"#,
        );
        folder.write(
            "prefs.js",
            "// Mozilla User Preferences\n\
             user_pref(\"extensions.webextensions.uuids\", \"{\\\"leaker@tracer.test\\\":\\\"910a3f67-eca5-44aa-b631-ad78714ed299\\\"}\");\n",
        );
        let mut found = Found::default();
        profile(&own(), &folder.0, &mut found);
        assert_eq!(found.list.len(), 1, "{:?}", found.list);
        let one = &found.list[0];
        assert_eq!(one.id, "910a3f67-eca5-44aa-b631-ad78714ed299");
        assert_eq!((&*one.name, one.addon.as_deref()), ("Leaker", Some("leaker@tracer.test")));
    }

    #[test]
    fn hostile_preferences_have_no_ids() {
        for line in ["x", "{", r#""{\"a\": 7}""#, r#""[]""#, "7", "\"\\\""] {
            let text = format!("user_pref(\"extensions.webextensions.uuids\", {line});");
            assert!(ids(&text).is_empty(), "{line}");
        }
    }
}
