//! The rules' field names, as one table: what a field's name says of its value.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    name::{Name, last_parts},
    sdk::{Fingerprints, MarkSpec},
};
use crate::finding::{Kind, Lifetime};
use crate::{
    content::{Chain, Segment, Step, Value},
    rules::{
        FieldText, Fields, IdentifierForm, Identifiers, Located, Named, PersonalForm, RulesError,
        Sdks, Text,
    },
};

/// Names that say "identifier" and not whose: the field around them does.
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

/// Names of fields that hold the name of the value beside them, as attributes
/// do: `{"key": "user.id", "value": {"stringValue": "…"}}`.
const LABELS: [&str; 5] = ["key", "name", "k", "n", "attribute"];

/// Names of the value beside it.
const LABELLED: [&str; 5] = ["value", "stringvalue", "v", "val", "string"];

/// The most words of paths that rules can ask for: bits of [`PathWords`].
const MAX_PATH_WORDS: usize = 32;

/// What rules say of fields and of requests, ready to be looked up.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: HashMap<Name, Entry, BuildHasherDefault<NameHasher>>,
    path_words: HashMap<Name, PathWords>,
    interface: HashSet<Name>,
    no_interface: HashSet<Name>,
    pub(super) sdks: Fingerprints,
}

/// What a name says.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// What a field of this name alone holds.
    pub(super) meaning: Option<Meaning>,
    /// It says more with its parent's name before it.
    generic: bool,
    /// Its value is the name of the next one.
    label: bool,
    /// Its value may have been named by the one before.
    labelled: bool,
    /// Signs of SDKs.
    pub(super) marks: Vec<MarkSpec>,
}

/// What a field holds.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    Identifier {
        class: String,
        lifetime: Lifetime,
        form: IdentifierForm,
    },
    /// The same for everybody, whatever it looks like.
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

/// A set of words that stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PathWords(u32);

impl PathWords {
    /// Whether it holds one of these, or these are none.
    pub(super) fn allow(self, needed: Self) -> bool {
        needed.0 == 0 || self.0 & needed.0 != 0
    }
}

impl Lexicon {
    /// Compiles the lexicon. A name with two meanings is an error.
    pub fn new(
        identifiers: &Identifiers,
        fields: &Fields,
        sdks: &Sdks,
    ) -> Result<Self, RulesError> {
        let mut lexicon = Self {
            entries: HashMap::default(),
            path_words: HashMap::new(),
            interface: HashSet::new(),
            no_interface: HashSet::new(),
            sdks: Fingerprints::default(),
        };
        for located in &identifiers.identifiers {
            let entry = &located.entry;
            let meaning = Meaning::Identifier {
                class: entry.class.as_str().to_owned(),
                lifetime: entry.lifetime,
                form: entry.form,
            };
            lexicon.mean(located, &entry.names, &meaning)?;
        }
        for located in &identifiers.shared {
            lexicon.mean(located, &located.entry.names, &Meaning::Shared)?;
        }
        for located in &identifiers.personal {
            let entry = &located.entry;
            let class = entry.class.as_str().to_owned();
            lexicon.mean(located, &entry.names, &Meaning::Personal { class, form: entry.form })?;
        }
        for located in &fields.fields {
            let entry = &located.entry;
            let path = lexicon.words_of_paths(located, &entry.path)?;
            let meaning = Meaning::Field { kind: entry.kind.into(), text: entry.text, path };
            lexicon.mean(located, &entry.names, &meaning)?;
        }
        for words in &fields.interface {
            let words = &words.entry;
            lexicon.interface.extend(words.words.iter().filter_map(|word| Name::of(word.as_str())));
            let but = words.but_not_with.iter().filter_map(|word| Name::of(word.as_str()));
            lexicon.no_interface.extend(but);
        }
        let (fingerprints, marks) = Fingerprints::new(sdks)?;
        lexicon.sdks = fingerprints;
        for (name, mark) in marks {
            lexicon.entry(&name).marks.push(mark);
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

    /// The entry of a name; that of no name, which nothing asks for, where
    /// nothing in it counts.
    fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.entry(Name::of(name).unwrap_or(Name::NONE)).or_default()
    }

    fn mean<T: Named>(
        &mut self,
        located: &Located<T>,
        names: &[Text],
        meaning: &Meaning,
    ) -> Result<(), RulesError> {
        for text in names {
            let Some(name) = Name::of(text.as_str()) else {
                return Err(located.place.error(format!(
                    "`{text}` has no letter or digit, or too many: names are told apart by these"
                )));
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

    fn words_of_paths<T>(
        &mut self,
        located: &Located<T>,
        words: &[Text],
    ) -> Result<PathWords, RulesError> {
        let mut set = PathWords::default();
        for word in words.iter().filter_map(|word| Name::of(word.as_str())) {
            let next = self.path_words.len();
            if next >= MAX_PATH_WORDS && !self.path_words.contains_key(&word) {
                return Err(located.place.error(format!(
                    "the rules ask for more than {MAX_PATH_WORDS} words in paths: take some out"
                )));
            }
            set.0 |= self.path_words.entry(word).or_insert(PathWords(1 << next)).0;
        }
        Ok(set)
    }

    /// The words in a path that rules ask for.
    pub(super) fn in_path(&self, path: &str) -> PathWords {
        let words = words(path).filter_map(Name::of);
        let known = words.filter_map(|word| self.path_words.get(&word));
        PathWords(known.fold(0, |set, word| set | word.0))
    }

    /// Whether the name of an event says that something was done in the
    /// interface.
    pub(super) fn is_interface(&self, event: &str) -> bool {
        let has = |set: &HashSet<Name>| {
            camel_words(event).filter_map(Name::of).any(|word| set.contains(&word))
        };
        has(&self.interface) && !has(&self.no_interface)
    }

    /// What is known of a field of that name.
    pub(super) fn look_up(&self, key: &str) -> Option<&Entry> {
        self.entries.get(&Name::of(key)?)
    }

    fn meaning(&self, name: Name) -> Option<&Meaning> {
        self.entries.get(&name)?.meaning.as_ref()
    }
}

/// What a value's name says, from one value to the next: one of them may hold
/// the name of the other.
#[derive(Debug, Default)]
pub(super) struct Namer {
    /// The name that the last value was, if it was one.
    label: Option<Name>,
}

impl Namer {
    /// What the field that `value` stands in says of it; `own` is what is
    /// known of its innermost name.
    pub(super) fn meaning<'l>(
        &mut self,
        lexicon: &'l Lexicon,
        value: &Value<'_>,
        own: Option<&'l Entry>,
    ) -> Option<&'l Meaning> {
        let label = self.label.take();
        let step = value.chain.last();
        let is_label = own.is_some_and(|entry| entry.label) || step == Step::Protobuf(1);
        if is_label && !value.truncated {
            self.label = Name::of(value.text);
        }
        let is_labelled = match own {
            Some(entry) => entry.labelled,
            // OTLP's KeyValue { key = 1, value = 2 { string_value = 1 } }.
            None => value.chain.steps().take(2).eq([Step::Protobuf(1), Step::Protobuf(2)]),
        };
        if is_labelled && let Some(meaning) = label.and_then(|label| lexicon.meaning(label)) {
            return Some(meaning);
        }
        let key = value.key?;
        match own {
            Some(entry) if entry.generic => parent(value.chain)
                .and_then(Name::of)
                .and_then(|parent| parent.and(key))
                .and_then(|name| lexicon.meaning(name))
                .or(entry.meaning.as_ref()),
            Some(entry) if entry.meaning.is_some() => entry.meaning.as_ref(),
            _ => compound(lexicon, value.chain, key),
        }
    }
}

/// A key that is made of several names, or a header field's with its `X-`.
fn compound<'l>(lexicon: &'l Lexicon, chain: &Chain<'_>, key: &str) -> Option<&'l Meaning> {
    let meaning = |key| lexicon.look_up(key).and_then(|entry| entry.meaning.as_ref());
    if let Step::Header(_) = chain.last() {
        let prefix = key.get(..2)?;
        return prefix.eq_ignore_ascii_case("x-").then(|| meaning(&key[2..])).flatten();
    }
    let (last, before) = last_parts(key)?;
    let whole = before.and_then(Name::of).and_then(|before| before.and(last));
    whole.and_then(|name| lexicon.meaning(name)).or_else(|| meaning(last))
}

/// The name of the field that holds the object that holds the value.
pub(super) fn parent<'a>(chain: &'a Chain<'a>) -> Option<&'a str> {
    let (Step::Json(path) | Step::JsonLine(_, path) | Step::MessagePack(path) | Step::Cbor(path)) =
        chain.last()
    else {
        return None;
    };
    let mut keys = path.segments().iter().rev().filter_map(|segment| match segment {
        Segment::Key(key) => Some(&**key),
        Segment::Index(_) => None,
    });
    keys.nth(1)
}

/// The words of a text, whatever stands between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// The same, with `folderOpen` two words.
fn camel_words(text: &str) -> impl Iterator<Item = &str> {
    words(text).flat_map(|word| {
        let mut rest = Some(word);
        std::iter::from_fn(move || {
            let word = rest?;
            let bytes = word.as_bytes();
            let cut = (1..bytes.len())
                .find(|&at| bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase());
            let (first, behind) = match cut {
                Some(at) => (&word[..at], Some(&word[at..])),
                None => (word, None),
            };
            rest = behind;
            Some(first)
        })
    })
}

/// Names are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `Name`s are hashed, which write one number.
        self.0 = bytes.iter().fold(self.0, |hash, &b| hash.rotate_left(8) ^ u64::from(b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
