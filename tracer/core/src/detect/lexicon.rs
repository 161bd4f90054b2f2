//! The lexicon: one table of the field names in the rules, with the meaning of
//! their values.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    name::{Name, last_parts},
    role::RoleTable,
    sdk::{FieldSign, Fingerprints},
};
use crate::finding::{Kind, Lifetime};
use crate::{
    content::{Chain, Segment, Step, Value},
    rules::{
        FieldText, Fields, IdentifierForm, Identifiers, Located, Named, PersonalForm, Roles,
        RulesError, Sdks, Text,
    },
};

/// Names that get their meaning from the enclosing field: `id` in `user` is a
/// user's identifier.
const GENERIC: [&str; 14] = [
    "id",
    "uid",
    "uuid",
    "guid",
    "ids",
    "identifier",
    "value",
    "token",
    "key",
    "name",
    "number",
    "title",
    "type",
    "address",
];

/// Names of fields that hold the name of the adjacent value, as in lists of
/// attributes: `{"key": "user.id", "value": {"stringValue": "…"}}`.
const LABELS: [&str; 5] = ["key", "name", "k", "n", "attribute"];

/// Names of fields that hold the value in such a list.
const LABELLED: [&str; 5] = ["value", "stringvalue", "v", "val", "string"];

/// Maximum number of path words in the rules: the bits of [`PathWords`].
const MAX_PATH_WORDS: usize = 32;

/// The rules about fields and SDKs, compiled for lookup.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: HashMap<Name, Entry, BuildHasherDefault<NameHasher>>,
    path_words: HashMap<Name, PathWords>,
    interface: HashSet<Name>,
    not_interface: HashSet<Name>,
    pub(super) roles: RoleTable,
    pub(super) sdks: Fingerprints,
}

/// The entry of a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Meaning of a field of this name, without regard to the enclosing field.
    pub(super) meaning: Option<Meaning>,
    /// Set if the name of the enclosing field makes the meaning specific.
    generic: bool,
    /// Set if its value is the name of the next value.
    label: bool,
    /// Set if the previous value may be its name.
    labelled: bool,
    /// Signs of SDKs in a field of this name.
    pub(super) signs: Vec<FieldSign>,
}

/// The meaning of a field.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    Identifier {
        class: String,
        lifetime: Lifetime,
        form: IdentifierForm,
    },
    /// A value that all installations share, even if it looks like an identifier.
    Shared,
    Personal {
        class: String,
        form: PersonalForm,
    },
    Field {
        kind: Kind,
        text: FieldText,
        path: PathWords,
    },
}

/// The set of the rules' path words that occur in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PathWords(u32);

impl PathWords {
    /// Reports whether the path contains one of the `needed` words. Always true if
    /// none is needed.
    pub(super) fn satisfies(self, needed: Self) -> bool {
        needed.0 == 0 || self.0 & needed.0 != 0
    }
}

impl Lexicon {
    /// Compiles the lexicon.
    ///
    /// # Errors
    /// Fails if a name has two meanings, or if the rules exceed a limit.
    pub fn new(
        identifiers: &Identifiers,
        fields: &Fields,
        roles: &Roles,
        sdks: &Sdks,
    ) -> Result<Self, RulesError> {
        let mut lexicon = Self {
            entries: HashMap::default(),
            path_words: HashMap::new(),
            interface: HashSet::new(),
            not_interface: HashSet::new(),
            roles: RoleTable::new(roles),
            sdks: Fingerprints::default(),
        };
        for located in &identifiers.identifiers {
            let entry = &located.entry;
            let meaning = Meaning::Identifier {
                class: entry.class.as_str().to_owned(),
                lifetime: entry.lifetime,
                form: entry.form,
            };
            lexicon.register(located, &entry.names, &meaning)?;
        }
        for located in &identifiers.shared {
            lexicon.register(located, &located.entry.names, &Meaning::Shared)?;
        }
        for located in &identifiers.personal {
            let entry = &located.entry;
            let class = entry.class.as_str().to_owned();
            lexicon.register(
                located,
                &entry.names,
                &Meaning::Personal { class, form: entry.form },
            )?;
        }
        for located in &fields.fields {
            let entry = &located.entry;
            let path = lexicon.register_path_words(located, &entry.path)?;
            let meaning = Meaning::Field { kind: entry.kind.into(), text: entry.text, path };
            lexicon.register(located, &entry.names, &meaning)?;
        }
        for words in &fields.interface {
            let words = &words.entry;
            lexicon
                .interface
                .extend(words.words.iter().filter_map(|word| Name::new(word.as_str())));
            let excluded = words.but_not_with.iter().filter_map(|word| Name::new(word.as_str()));
            lexicon.not_interface.extend(excluded);
        }
        let (fingerprints, signs) = Fingerprints::new(sdks)?;
        lexicon.sdks = fingerprints;
        for (name, sign) in signs {
            lexicon.entry(&name).signs.push(sign);
        }
        for name in GENERIC {
            lexicon.entry(name).generic = true;
        }
        for name in LABELS {
            lexicon.entry(name).label = true;
        }
        for name in LABELLED {
            lexicon.entry(name).labelled = true;
        }
        Ok(lexicon)
    }

    /// Returns the entry of a name. Names without letters and digits share one
    /// entry, which is never looked up.
    fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.entry(Name::new(name).unwrap_or(Name::EMPTY)).or_default()
    }

    /// Registers the meaning of names.
    fn register<T: Named>(
        &mut self,
        located: &Located<T>,
        names: &[Text],
        meaning: &Meaning,
    ) -> Result<(), RulesError> {
        for text in names {
            let Some(name) = Name::new(text.as_str()) else {
                return Err(located
                    .place
                    .error(format!("`{text}` has no letter or digit, or is too long")));
            };
            let entry = self.entries.entry(name).or_default();
            if entry.meaning.is_some() {
                return Err(located.place.error(format!(
                    "`{text}` of `{}` is listed already (case and separators do not count): \
                     take it out of one of the lists",
                    located.entry.name()
                )));
            }
            entry.meaning = Some(meaning.clone());
        }
        Ok(())
    }

    /// Registers the words that a rule needs in a path.
    fn register_path_words<T>(
        &mut self,
        located: &Located<T>,
        words: &[Text],
    ) -> Result<PathWords, RulesError> {
        let mut set = PathWords::default();
        for word in words.iter().filter_map(|word| Name::new(word.as_str())) {
            let next = self.path_words.len();
            if next >= MAX_PATH_WORDS && !self.path_words.contains_key(&word) {
                return Err(located.place.error(format!(
                    "the rules use more than {MAX_PATH_WORDS} path words: remove some"
                )));
            }
            set.0 |= self.path_words.entry(word).or_insert(PathWords(1 << next)).0;
        }
        Ok(set)
    }

    /// Returns the rules' words that occur in a path.
    pub(super) fn path_words_in(&self, path: &str) -> PathWords {
        let words = words(path).filter_map(Name::new);
        let known = words.filter_map(|word| self.path_words.get(&word));
        PathWords(known.fold(0, |set, word| set | word.0))
    }

    /// Reports whether the name of an event describes an action in the user
    /// interface.
    pub(super) fn is_interface(&self, event: &str) -> bool {
        let has_word_of = |set: &HashSet<Name>| {
            camel_case_words(event).filter_map(Name::new).any(|word| set.contains(&word))
        };
        has_word_of(&self.interface) && !has_word_of(&self.not_interface)
    }

    /// Returns the entry of a field's name.
    pub(super) fn look_up(&self, key: &str) -> Option<&Entry> {
        self.entries.get(&Name::new(key)?)
    }

    fn meaning(&self, name: Name) -> Option<&Meaning> {
        self.entries.get(&name)?.meaning.as_ref()
    }
}

/// Resolves the names of consecutive values to their meaning. It keeps one value,
/// which may be the name of the next.
#[derive(Debug, Default)]
pub(super) struct NameResolver {
    /// The previous value, if it is the name of the next one.
    label: Option<Name>,
}

impl NameResolver {
    /// Returns the name of a value in a list of names and values, which the previous value
    /// is. `own` is the entry of the innermost name.
    pub(super) fn label(&self, value: &Value<'_>, own: Option<&Entry>) -> Option<Name> {
        let is_labelled = match own {
            Some(entry) => entry.labelled,
            // OTLP's KeyValue { key = 1, value = 2 { string_value = 1 } }.
            None => value.chain.steps().take(2).eq([Step::Protobuf(1), Step::Protobuf(2)]),
        };
        self.label.filter(|_| is_labelled)
    }

    /// Returns the meaning of a value by the names of its fields. `own` is the
    /// entry of the innermost name.
    pub(super) fn meaning<'l>(
        &mut self,
        lexicon: &'l Lexicon,
        value: &Value<'_>,
        own: Option<&'l Entry>,
    ) -> Option<&'l Meaning> {
        let label = self.label(value, own);
        self.label = None;
        let step = value.chain.last();
        let is_label = own.is_some_and(|entry| entry.label) || step == Step::Protobuf(1);
        if is_label && !value.truncated {
            self.label = Name::new(value.text);
        }
        if let Some(meaning) = label.and_then(|label| lexicon.meaning(label)) {
            return Some(meaning);
        }
        let key = value.key?;
        match own {
            Some(entry) if entry.generic => parent(value.chain)
                .and_then(Name::new)
                .and_then(|parent| parent.join(key))
                .and_then(|name| lexicon.meaning(name))
                .or(entry.meaning.as_ref()),
            Some(entry) if entry.meaning.is_some() => entry.meaning.as_ref(),
            _ => compound(lexicon, value.chain, key),
        }
    }
}

/// Returns the meaning of a key that consists of several names, or of a header
/// field's name after its `X-`.
fn compound<'l>(lexicon: &'l Lexicon, chain: &Chain<'_>, key: &str) -> Option<&'l Meaning> {
    let meaning = |key| lexicon.look_up(key).and_then(|entry| entry.meaning.as_ref());
    if let Step::Header(_) = chain.last() {
        let prefix = key.get(..2)?;
        return prefix.eq_ignore_ascii_case("x-").then(|| meaning(&key[2..])).flatten();
    }
    let (last, before) = last_parts(key)?;
    let whole = before.and_then(Name::new).and_then(|before| before.join(last));
    whole.and_then(|name| lexicon.meaning(name)).or_else(|| meaning(last))
}

/// Returns the name of the field whose object contains the value.
pub(super) fn parent<'a>(chain: &'a Chain<'a>) -> Option<&'a str> {
    let (Step::Json(path)
    | Step::JsonLine(_, path)
    | Step::MessagePack(path)
    | Step::Cbor(path)
    | Step::Xml(path)) = chain.last()
    else {
        return None;
    };
    let mut keys = path.segments().iter().rev().filter_map(|segment| match segment {
        Segment::Key(key) => Some(&**key),
        Segment::Index(_) => None,
    });
    keys.nth(1)
}

/// Splits a text into words at characters that are not alphanumeric.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Splits a text into words, also within camel case: `folderOpen` is two words.
fn camel_case_words(text: &str) -> impl Iterator<Item = &str> {
    words(text).flat_map(|word| {
        let mut rest = Some(word);
        std::iter::from_fn(move || {
            let word = rest?;
            let bytes = word.as_bytes();
            let cut = (1..bytes.len())
                .find(|&at| bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase());
            let (first, tail) = match cut {
                Some(at) => (&word[..at], Some(&word[at..])),
                None => (word, None),
            };
            rest = tail;
            Some(first)
        })
    })
}

/// A hasher that passes on [`Name`]s unchanged, which are hashes.
#[derive(Debug, Clone, Copy, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached by `Name`, which writes one `u64`.
        self.0 = bytes.iter().fold(self.0, |hash, &b| hash.rotate_left(8) ^ u64::from(b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
