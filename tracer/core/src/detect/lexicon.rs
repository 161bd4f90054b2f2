//! The lexicon: one table of the field names in the rules, with the meaning of
//! their values.

use foldhash::{HashMap, HashSet};

use super::{
    name::{Name, camel_case_words, words},
    owner::Owners,
    role::RoleTable,
    sdk::{FieldSign, Fingerprints},
};
use crate::finding::{Kind, Lifetime};
use crate::{
    content::{Chain, Step},
    rules::{
        FieldText, Fields, IdentifierForm, Identifiers, Located, Named, PersonalForm, Roles,
        RulesError, Sdks, Text,
    },
};

/// Names that get their meaning from the enclosing field: `id` in `user` is a
/// user's identifier.
const GENERIC: [&str; 20] = [
    "id",
    "uid",
    "uuid",
    "guid",
    "ids",
    "identifier",
    "ident",
    "serial",
    "serialno",
    "serialnumber",
    "serialnum",
    "sn",
    "value",
    "token",
    "key",
    "name",
    "number",
    "title",
    "type",
    "address",
];

/// Names of fields that hold the name of an adjacent value, as in lists of
/// attributes: `{"key": "user.id", "value": {"stringValue": "…"}}`.
const LABELS: [&str; 5] = ["key", "name", "k", "n", "attribute"];

/// Names of fields that hold the value in such a list.
const LABELLED: [&str; 5] = ["value", "stringvalue", "v", "val", "string"];

/// The same, of names that are used for much else, so that they count for identifiers
/// and personal details only: `{"type": "idfa", "id": …}`.
const IDENTIFIER_LABELS: [&str; 12] = [
    "attr",
    "field",
    "label",
    "property",
    "param",
    "parameter",
    "type",
    "kind",
    "idtype",
    "idname",
    "identitytype",
    "namespace",
];
const IDENTIFIER_LABELLED: [&str; 8] =
    ["str", "vstr", "sval", "stringval", "text", "content", "id", "identity"];

/// Names of fields that hold the kind of their object: `{"kind": "user", "key": …}`.
const KINDS: [&str; 6] = ["kind", "type", "entitytype", "objecttype", "contextkind", "subjecttype"];

/// Maximum number of path words in the rules: the bits of [`PathWords`].
const MAX_PATH_WORDS: usize = 32;

/// The rules about fields and SDKs, compiled for lookup.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: HashMap<Name, Entry>,
    path_words: HashMap<Name, PathWords>,
    /// The words by which a path says that the recipient searches.
    search_path: PathWords,
    interface: HashSet<Name>,
    not_interface: HashSet<Name>,
    pub(super) roles: RoleTable,
    /// Names that count in one spelling only.
    spelled: HashMap<String, Spelled>,
    pub(super) owners: Owners,
    pub(super) sdks: Fingerprints,
}

/// The entry of a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Meaning of a field of this name, without regard to the enclosing field.
    pub(super) meaning: Option<Meaning>,
    /// Set if the name of the enclosing field makes the meaning specific.
    pub(super) generic: bool,
    /// The values that its value may be the name of.
    pub(super) label: Labelling,
    /// The values that it may hold under the name in a neighbouring value.
    pub(super) labelled: Labelling,
    /// Set if its value may be the kind of the object that holds it.
    pub(super) kind: bool,
    /// Signs of SDKs in a field of this name.
    pub(super) signs: Vec<FieldSign>,
}

/// The values for which a field takes part in a list of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Labelling {
    /// None.
    #[default]
    No,
    /// Identifiers and personal details.
    Identifiers,
    /// Values of every kind.
    All,
}

/// The meaning of a field.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    Identifier {
        class: String,
        lifetime: Lifetime,
        /// Reason for the lifetime.
        reason: String,
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

impl Meaning {
    pub(super) fn is_identifier(&self) -> bool {
        matches!(self, Self::Identifier { .. })
    }
}

/// The meaning of a name that counts in one spelling only.
#[derive(Debug, Clone)]
struct Spelled {
    meaning: Meaning,
    /// Set if only parameters of a query or form have it.
    is_parameter: bool,
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
            path_words: HashMap::default(),
            search_path: PathWords::default(),
            interface: HashSet::default(),
            not_interface: HashSet::default(),
            roles: RoleTable::new(roles),
            spelled: HashMap::default(),
            owners: Owners::new(identifiers)?,
            sdks: Fingerprints::default(),
        };
        for located in &identifiers.identifiers {
            let entry = &located.entry;
            let meaning = Meaning::Identifier {
                class: entry.class.as_str().to_owned(),
                lifetime: entry.lifetime,
                reason: first_sentence(entry.reason.as_str()).to_owned(),
                form: entry.form,
            };
            lexicon.register(located, &entry.names, &meaning)?;
            lexicon.register_spelled(located, &entry.parameters, &meaning, true)?;
        }
        for located in &identifiers.shared {
            lexicon.register(located, &located.entry.names, &Meaning::Shared)?;
        }
        for located in &identifiers.personal {
            let entry = &located.entry;
            let class = entry.class.as_str().to_owned();
            let meaning = Meaning::Personal { class, form: entry.form };
            lexicon.register(located, &entry.names, &meaning)?;
            lexicon.register_spelled(located, &entry.spelled, &meaning, false)?;
        }
        for located in &fields.fields {
            let entry = &located.entry;
            let path = lexicon.register_path_words(located, &entry.path)?;
            if Kind::from(entry.kind) == Kind::SearchTerms {
                lexicon.search_path.0 |= path.0;
            }
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
        for (labels, labelled, labelling) in [
            (&LABELS[..], &LABELLED[..], Labelling::All),
            (&IDENTIFIER_LABELS, &IDENTIFIER_LABELLED, Labelling::Identifiers),
        ] {
            for name in labels {
                lexicon.entry(name).label = labelling;
            }
            for name in labelled {
                lexicon.entry(name).labelled = labelling;
            }
        }
        for name in KINDS {
            lexicon.entry(name).kind = true;
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

    /// Registers the meaning of names that count in one spelling only.
    fn register_spelled<T: Named>(
        &mut self,
        located: &Located<T>,
        names: &[Text],
        meaning: &Meaning,
        is_parameter: bool,
    ) -> Result<(), RulesError> {
        for text in names {
            let spelled = Spelled { meaning: meaning.clone(), is_parameter };
            if self.spelled.insert(text.as_str().to_owned(), spelled).is_some() {
                return Err(located.place.error(format!(
                    "`{text}` of `{}` is listed already: take it out of one of the lists",
                    located.entry.name()
                )));
            }
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

    /// Reports whether a path, of which these are the words, says that the recipient
    /// searches.
    pub(super) fn is_search(&self, path: PathWords) -> bool {
        path.0 & self.search_path.0 != 0
    }

    /// Returns the rules' words that occur in a path.
    pub(super) fn path_words_in(&self, path: &str) -> PathWords {
        let words = words(path).chain(camel_case_words(path)).filter_map(Name::new);
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

    pub(super) fn meaning(&self, name: Name) -> Option<&Meaning> {
        self.entries.get(&name)?.meaning.as_ref()
    }

    /// Returns the meaning of a key in exactly this spelling, at the end of a chain.
    pub(super) fn spelled(&self, key: &str, chain: &Chain<'_>) -> Option<&Meaning> {
        // Only names that begin with a separator need to be distinguished by it.
        if key.as_bytes().first().is_none_or(u8::is_ascii_alphanumeric) {
            return None;
        }
        let Spelled { meaning, is_parameter } = self.spelled.get(key)?;
        let fits = !is_parameter || matches!(chain.last(), Step::Query(_) | Step::Form(_));
        fits.then_some(meaning)
    }
}

/// Returns the first sentence of a reason. The others explain the entry.
fn first_sentence(reason: &str) -> &str {
    reason.split_once(". ").map_or(reason, |(first, _)| first)
}

#[cfg(test)]
mod tests;
