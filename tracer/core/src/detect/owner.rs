//! The owner of a field's value, by the words in its name and the names of the objects
//! around it.
//!
//! A field `id` says nothing by itself. In `user` it is a user's, in `rum_events` an
//! event's, and in `device_info.data` a device's, since `info` and `data` say nothing
//! either.

use foldhash::HashMap;

use super::name::{Name, camel_case_words};
use crate::content::{Chain, Path, Segment, Step};
use crate::rules::{Identifiers, Located, Owner, OwnerRole, RulesError};

/// Names that only mean "identifier". Their owner makes them specific.
const IDENTIFIERS: [Name; 7] =
    Name::from_words(["id", "ids", "uid", "uuid", "guid", "identifier", "ident"]);

/// Names that only mean "serial number".
const SERIALS: [Name; 5] =
    Name::from_words(["serial", "serialno", "serialnumber", "serialnum", "sn"]);

/// The name that means an identifier only if its owner is known.
const KEY: [Name; 1] = Name::from_words(["key"]);

/// Maximum number of names that are considered, from the innermost outwards. Wrappers
/// are hardly nested more deeply.
const MAX_NAMES: usize = 6;

/// The owner of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueOwner {
    /// The owner with this name in the rules.
    Owner(Name),
    /// The words say nothing about the owner.
    Wrapper,
    /// Another person or thing than the sending user or device.
    Other,
}

/// The rules about owners, compiled for lookup.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(HashMap<Name, ValueOwner>);

impl Owners {
    /// Compiles the rules. Fails if a word has two meanings.
    pub(super) fn new(identifiers: &Identifiers) -> Result<Self, RulesError> {
        let mut owners = Self::default();
        for Located { entry, place } in &identifiers.owners {
            let Owner { name, words, role, .. } = entry;
            for word in words {
                let whose = match role {
                    OwnerRole::Owner => Name::new(name.as_str()).map(ValueOwner::Owner),
                    OwnerRole::Wrapper => Some(ValueOwner::Wrapper),
                    OwnerRole::Other => Some(ValueOwner::Other),
                };
                let (Some(word_name), Some(whose)) = (Name::new(word.as_str()), whose) else {
                    return Err(
                        place.error(format!("`{word}` has no letter or digit, or is too long"))
                    );
                };
                if owners.0.insert(word_name, whose).is_some() {
                    return Err(place.error(format!(
                        "`{word}` of `{name}` is listed already (case and separators do not \
                         count): take it out of one of the lists"
                    )));
                }
            }
        }
        Ok(owners)
    }

    /// Returns the owner that the name of an object names. Its last word decides, or
    /// its last two; words that say nothing are skipped.
    pub(super) fn of(&self, name: &str) -> Option<ValueOwner> {
        let words: Vec<&str> = camel_case_words(name).collect();
        self.of_words(&words)
    }

    /// Does the same for the words of a name.
    fn of_words(&self, words: &[&str]) -> Option<ValueOwner> {
        let mut words = words;
        loop {
            let Some((last, before)) = words.split_last() else {
                return Some(ValueOwner::Wrapper);
            };
            let pair = before.last().and_then(|first| Name::new(first)?.join(last));
            let pair = pair.and_then(|pair| self.0.get(&pair));
            let whose = match pair {
                Some(whose) => *whose,
                None if last.bytes().all(|b| b.is_ascii_digit()) => ValueOwner::Wrapper,
                None => self.word(last)?,
            };
            match whose {
                ValueOwner::Wrapper => words = before,
                ValueOwner::Owner(_) if self.has_other(before) => return Some(ValueOwner::Other),
                _ => return Some(whose),
            }
        }
    }

    /// Looks up a word, in the singular or in the plural.
    fn word(&self, word: &str) -> Option<ValueOwner> {
        let singular = || {
            let stem = word.strip_suffix(['s', 'S'])?;
            let y = || self.0.get(&Name::new(stem.strip_suffix("ie")?)?.join("y")?);
            self.0.get(&Name::new(stem)?).or_else(y)
        };
        self.0.get(&Name::new(word)?).or_else(singular).copied()
    }

    /// Reports whether one of the words names another owner.
    pub(super) fn has_other(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.word(word) == Some(ValueOwner::Other))
    }

    /// Splits the words of a field's name into its noun and the words of its owner
    /// before it: `phone_serial_number` is the serial number of `phone`.
    pub(super) fn split_noun<'w, 'k>(words: &'w [&'k str]) -> Option<(&'w [&'k str], Noun<'k>)> {
        let (last, before) = words.split_last()?;
        if let Some((first, owner)) = before.split_last()
            && let Some(joined) = Name::new(first).and_then(|name| name.join(last))
            && SERIALS.contains(&joined)
        {
            return Some((owner, Noun::Serial));
        }
        Some((before, Noun::new(last)?))
    }

    /// Returns the name that a noun has for an owner, if the names, from the innermost
    /// outwards, say whose it is.
    pub(super) fn qualify<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        noun: Noun<'_>,
    ) -> Option<Name> {
        for name in names.take(MAX_NAMES) {
            match self.of(name)? {
                ValueOwner::Owner(owner) => return noun.of(owner),
                ValueOwner::Wrapper => {}
                ValueOwner::Other => return None,
            }
        }
        None
    }

    /// Does the same for the words of one name, and the names around it if the words
    /// say nothing.
    pub(super) fn qualify_words<'n>(
        &self,
        words: &[&str],
        around: impl Iterator<Item = &'n str>,
        noun: Noun<'_>,
    ) -> Option<Name> {
        match self.of_words(words)? {
            ValueOwner::Owner(owner) => noun.of(owner),
            ValueOwner::Wrapper => self.qualify(around, noun),
            ValueOwner::Other => None,
        }
    }
}

/// The noun of a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun<'k> {
    /// One of [`IDENTIFIERS`].
    Identifier,
    /// One of [`SERIALS`].
    Serial,
    /// `key`, which has other meanings without an owner.
    Key(&'k str),
}

impl<'k> Noun<'k> {
    /// Recognises a noun.
    pub(super) fn new(word: &'k str) -> Option<Self> {
        let name = Name::new(word)?;
        if IDENTIFIERS.contains(&name) {
            Some(Self::Identifier)
        } else if SERIALS.contains(&name) {
            Some(Self::Serial)
        } else {
            KEY.contains(&name).then_some(Self::Key(word))
        }
    }

    /// Returns the name that the noun has for an owner.
    pub(super) fn of(self, owner: Name) -> Option<Name> {
        match self {
            Self::Identifier => owner.join("id"),
            Self::Serial => owner.join("serial_number"),
            Self::Key(word) => owner.join(word),
        }
    }
}

/// Returns the names on the way to a value, from the innermost outwards.
pub(super) fn names_around<'a>(chain: &'a Chain<'a>) -> impl Iterator<Item = &'a str> {
    chain.steps().flat_map(|step| {
        let (path, name): (Option<&'a Path<'a>>, Option<&'a str>) = match step {
            Step::Json(path)
            | Step::JsonLine(_, path)
            | Step::MessagePack(path)
            | Step::Cbor(path)
            | Step::Plist(path)
            | Step::Xml(path) => (Some(path), None),
            Step::Query(name)
            | Step::Form(name)
            | Step::Multipart(name)
            | Step::Cookie(name)
            | Step::Pair(name) => (None, Some(name)),
            _ => (None, None),
        };
        let keys = path.map(|path| path.segments().iter().rev()).into_iter().flatten();
        let keys = keys.filter_map(|segment| match segment {
            Segment::Key(key) => Some(&**key),
            Segment::Index(_) => None,
        });
        keys.chain(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Knowledge;

    #[test]
    fn the_last_word_that_says_something_decides() {
        let knowledge = Knowledge::default();
        let owners = &knowledge.lexicon().owners;
        let is =
            |name: &str, owner: &str| owners.of(name) == Name::new(owner).map(ValueOwner::Owner);
        for (name, owner) in [
            ("usr", "user"),
            ("Users", "user"),
            ("UserDetails", "user"),
            ("account_holder", "user"),
            ("people", "user"),
            ("deviceInfo", "device"),
            ("RumEvents", "event"),
            ("user_events", "event"),
            ("visitors", "visitor"),
            ("AppMonitorDetails", "app"),
        ] {
            assert!(is(name, owner), "{name}: {:?}", owners.of(name));
        }
        for name in ["data", "user_data_", "0"] {
            assert!(
                name.starts_with("user") || owners.of(name) == Some(ValueOwner::Wrapper),
                "{name}"
            );
        }
        for name in ["author", "other_user", "target_user", "message_author"] {
            assert_eq!(owners.of(name), Some(ValueOwner::Other), "{name}");
        }
        for name in ["userPost", "thing", "usersettingspanel"] {
            assert_eq!(owners.of(name), None, "{name}");
        }
    }

    #[test]
    fn splits_nouns_from_owners() {
        let split = |name: &'static str| {
            let words: Vec<_> = camel_case_words(name).collect();
            Owners::split_noun(&words).map(|(owner, noun)| (owner.join(" "), noun))
        };
        assert_eq!(split("usr_id"), Some(("usr".into(), Noun::Identifier)));
        assert_eq!(split("phoneSerialNumber"), Some(("phone".into(), Noun::Serial)));
        assert_eq!(split("device_sn"), Some(("device".into(), Noun::Serial)));
        assert_eq!(split("userKey"), Some(("user".into(), Noun::Key("Key"))));
        assert_eq!(split("id"), Some((String::new(), Noun::Identifier)));
        assert_eq!(split("name"), None);
    }
}
