//! Names of browser extensions, as the profiles of browsers give them.
//!
//! Requests name an extension by an ID that means nothing to most readers. The part of
//! tracer that reads files finds the names, and passes them on as events.

use std::collections::HashMap;

use crate::record::Extension;

/// Extensions that are remembered. A profile has some dozen, and a machine a few browsers.
const MAX_EXTENSIONS: usize = 8192;

/// The extensions of all users.
#[derive(Debug, Clone, Default)]
pub struct Extensions {
    /// By UID and ID.
    known: HashMap<(u32, String), Extension>,
}

impl Extensions {
    /// Records extensions of a user. Later names replace earlier ones.
    pub fn record(&mut self, uid: u32, list: Vec<Extension>) {
        for extension in list {
            let key = (uid, extension.id.clone());
            if self.known.len() < MAX_EXTENSIONS || self.known.contains_key(&key) {
                self.known.insert(key, extension);
            }
        }
    }

    /// Returns the extension with this ID in the browsers of a user.
    pub fn get(&self, uid: u32, id: &str) -> Option<&Extension> {
        // Nothing is looked up until some extension is known.
        (!self.known.is_empty()).then(|| self.known.get(&(uid, id.to_owned())))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(id: &str, name: &str) -> Extension {
        Extension { id: id.into(), name: name.into(), addon: None }
    }

    #[test]
    fn names_belong_to_one_user() {
        let mut known = Extensions::default();
        known.record(1000, vec![extension("a", "First"), extension("b", "Other")]);
        known.record(1000, vec![extension("a", "Second")]);
        assert_eq!(known.get(1000, "a").unwrap().name, "Second");
        assert_eq!(known.get(1000, "b").unwrap().name, "Other");
        assert_eq!(known.get(1001, "a"), None);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut known = Extensions::default();
        let many = (0..MAX_EXTENSIONS + 10).map(|i| extension(&i.to_string(), "x"));
        known.record(1, many.collect());
        assert_eq!(known.known.len(), MAX_EXTENSIONS);
        known.record(1, vec![extension("0", "y")]);
        assert_eq!(known.get(1, "0").unwrap().name, "y");
    }
}
