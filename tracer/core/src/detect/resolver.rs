//! The meaning of a value by the names of its fields.

use super::{
    lexicon::{Entry, Labelling, Lexicon, Meaning},
    name::{Name, camel_case_words, last_parts},
    owner::{Noun, Owners, ValueOwner, names_around},
};
use crate::content::{Chain, Path, Segment, Step, Value};
use crate::finding::Lifetime;

/// Minimum length of a known name of one word behind the prefix of a vendor, as in
/// `mp_idfa`. Shorter ones are ambiguous.
const MIN_SINGLE_WORD: usize = 4;

/// No known name has more words than this. Decoded text can be a name of thousands.
const MAX_WORDS: usize = 8;

/// Resolves the names of consecutive values to their meaning. It keeps what a value
/// says about its neighbours: their name, or the kind of the object that holds them.
#[derive(Debug, Default)]
pub(super) struct NameResolver<'l> {
    label: Option<Label<'l>>,
    kind: Option<Kind>,
}

/// A value that is the name of another one: `{"key": "user.id", "value": …}`.
#[derive(Debug, Clone, Copy)]
struct Label<'l> {
    name: Option<Name>,
    meaning: Option<&'l Meaning>,
    labelling: Labelling,
    container: u32,
    /// Number of steps and names that lead to it.
    depth: usize,
    /// Set until the next value.
    is_last: bool,
}

impl Label<'_> {
    /// Reports whether a value is beside the label, or in an object that follows it.
    fn is_beside(&self, value: &Value<'_>) -> bool {
        self.container == value.container || self.is_last && depth(value.chain) > self.depth
    }
}

/// The owner that an object names itself: `{"kind": "user", "key": …}`.
#[derive(Debug, Clone, Copy)]
struct Kind {
    owner: Name,
    container: u32,
}

impl<'l> NameResolver<'l> {
    /// Returns the name of a value in a list of names and values. `own` is the entry of the
    /// innermost name.
    pub(super) fn label(&self, value: &Value<'_>, own: Option<&Entry>) -> Option<Name> {
        let label = self.label.filter(|label| label.is_beside(value))?;
        let labelling = labelled(value, own).min(label.labelling);
        label.name.filter(|_| labelling == Labelling::All)
    }

    /// Returns the meaning of a value by the names of its fields. `own` is the
    /// entry of the innermost name.
    pub(super) fn meaning(
        &mut self,
        lexicon: &'l Lexicon,
        value: &Value<'_>,
        own: Option<&'l Entry>,
    ) -> Option<&'l Meaning> {
        let label = self.label.filter(|label| label.is_beside(value));
        self.label = label.map(|label| Label { is_last: false, ..label });
        if let Some(label) = label
            && let Some(meaning) = label.meaning
        {
            let labelling = labelled(value, own).min(label.labelling);
            let is_field = matches!(meaning, Meaning::Field { .. });
            if labelling >= if is_field { Labelling::All } else { Labelling::Identifiers } {
                return Some(meaning);
            }
        }
        let is_name = value.chain.last() == Step::Protobuf(1);
        let labelling =
            if is_name { Labelling::All } else { own.map_or(Labelling::No, |own| own.label) };
        if labelling > Labelling::No && !value.truncated {
            self.remember(lexicon, value, own, labelling);
        }
        let key = value.key?;
        if let Some(meaning) = lexicon.spelled(key, value.chain) {
            return Some(meaning);
        }
        let is_generic = own.is_some_and(|entry| entry.generic);
        let joined = parent(value.chain)
            .and_then(Name::new)
            .and_then(|parent| parent.join(key))
            .and_then(|name| lexicon.meaning(name))
            .filter(|meaning| is_generic || !matches!(meaning, Meaning::Field { .. }));
        if joined.is_some() {
            return joined;
        }
        match own {
            Some(entry) if is_generic => {
                self.of_owner(lexicon, value, key).or(entry.meaning.as_ref())
            }
            Some(entry) if entry.meaning.is_some() => entry.meaning.as_ref(),
            _ => compound(lexicon, value.chain, key),
        }
    }

    /// Remembers what a value says about its neighbours.
    fn remember(
        &mut self,
        lexicon: &'l Lexicon,
        value: &Value<'_>,
        own: Option<&Entry>,
        labelling: Labelling,
    ) {
        let meaning = by_text(lexicon, value.text);
        let container = value.container;
        // Between a name and its value, its type may be given.
        let is_kept = self.label.is_some_and(|label| {
            label.container == container
                && meaning.is_none()
                && (label.meaning.is_some() || labelling < label.labelling)
        });
        if !is_kept {
            self.label = Some(Label {
                name: Name::new(value.text),
                meaning,
                labelling,
                container,
                depth: depth(value.chain),
                is_last: true,
            });
        }
        if own.is_some_and(|entry| entry.kind)
            && let Some(ValueOwner::Owner(owner)) = lexicon.owners.of(value.text)
        {
            self.kind = Some(Kind { owner, container });
        }
    }

    /// Returns the meaning of a generic name by its owner.
    fn of_owner(&self, lexicon: &'l Lexicon, value: &Value<'_>, key: &str) -> Option<&'l Meaning> {
        let noun = Noun::new(key)?;
        let kind = self.kind.filter(|kind| kind.container == value.container);
        let name = match kind {
            Some(kind) => noun.of(kind.owner),
            None => {
                let mut around = names_around(value.chain).peekable();
                if around.peek() == Some(&key) {
                    around.next();
                }
                // An object may be named for the identifier that it holds.
                let named = around.peek().and_then(|name| by_text(lexicon, name));
                if let Some(meaning @ Meaning::Identifier { .. }) = named {
                    return Some(meaning);
                }
                lexicon.owners.qualify(around, noun)
            }
        };
        lexicon.meaning(name?)
    }
}

/// Returns the number of steps and names that lead to a value.
fn depth(chain: &Chain<'_>) -> usize {
    let names = path(chain).map_or(0, |path| path.segments().len());
    chain.len() + names
}

/// Returns the path to a value in the innermost document.
fn path<'a>(chain: &'a Chain<'a>) -> Option<&'a Path<'a>> {
    match chain.last() {
        Step::Json(path)
        | Step::JsonLine(_, path)
        | Step::MessagePack(path)
        | Step::Cbor(path)
        | Step::Plist(path)
        | Step::Xml(path) => Some(path),
        _ => None,
    }
}

/// Returns the labelling of a value: what the value before it may be the name of.
fn labelled(value: &Value<'_>, own: Option<&Entry>) -> Labelling {
    if let Some(entry) = own {
        return entry.labelled;
    }
    let mut steps = value.chain.steps();
    match (steps.next(), steps.next()) {
        // OTLP's KeyValue { key = 1, value = 2 { string_value = 1 } }.
        (Some(Step::Protobuf(_)), Some(Step::Protobuf(2))) => Labelling::All,
        // An entry of a map: { key = 1, value = 2 }. The beginning of a message may be text.
        (Some(Step::Protobuf(2)), _) if !value.truncated => Labelling::All,
        _ => Labelling::No,
    }
}

/// Returns the meaning of a name that stands in a value.
fn by_text<'l>(lexicon: &'l Lexicon, name: &str) -> Option<&'l Meaning> {
    let own = lexicon.look_up(name);
    match own {
        Some(entry) if entry.meaning.is_some() => entry.meaning.as_ref(),
        _ => in_parts(lexicon, name),
    }
}

/// Returns the meaning of a key that consists of several names or words, or of a
/// header field's name after its `X-`.
fn compound<'l>(lexicon: &'l Lexicon, chain: &Chain<'_>, key: &str) -> Option<&'l Meaning> {
    let meaning = |key| lexicon.look_up(key).and_then(|entry| entry.meaning.as_ref());
    match chain.last() {
        Step::Header(_) => {
            let rest = key.get(..2).filter(|prefix| prefix.eq_ignore_ascii_case("x-"));
            let rest = rest.map_or(key, |_| &key[2..]);
            // Other fields of HTTP have names like these.
            meaning(rest).or_else(|| with_prefix(lexicon, rest).filter(|it| it.is_identifier()))
        }
        // Cookies carry the number of a site behind their name: `_pk_id.1.1fff`.
        Step::Cookie(_) => in_parts(lexicon, key)
            .or_else(|| key.split_once('.').and_then(|(name, _)| meaning(name)))
            .or_else(|| key.rsplit_once('_').and_then(|(name, _)| meaning(name))),
        _ => in_parts(lexicon, key).or_else(|| of_words(lexicon, chain, key)),
    }
}

/// Returns the meaning of a key by its last parts, or behind a prefix.
fn in_parts<'l>(lexicon: &'l Lexicon, key: &str) -> Option<&'l Meaning> {
    let Some((last, before)) = last_parts(key) else {
        return with_prefix(lexicon, key);
    };
    let whole = before.and_then(Name::new).and_then(|before| before.join(last));
    whole
        .and_then(|name| lexicon.meaning(name))
        .or_else(|| {
            let noun = Noun::new(last)?;
            lexicon.meaning(lexicon.owners.qualify(before.into_iter(), noun)?)
        })
        .or_else(|| lexicon.look_up(last).and_then(|entry| entry.meaning.as_ref()))
        .or_else(|| with_prefix(lexicon, last))
}

/// Returns the meaning of a known name behind the prefix of a vendor:
/// `td_client_id`, `named_user_id`.
fn with_prefix<'l>(lexicon: &'l Lexicon, key: &str) -> Option<&'l Meaning> {
    let words: Vec<&str> = camel_case_words(key).collect();
    let longest = words.len().saturating_sub(MAX_WORDS).max(1);
    let at = (longest..words.len()).find_map(|at| {
        let (_, name) = words.split_at(at);
        let joined = name.iter().try_fold(Name::START, |joined, word| joined.join(word))?;
        let meaning = lexicon.meaning(joined)?;
        let is_specific = match meaning {
            Meaning::Identifier { .. } => {
                name.len() > 1 || name.first().is_some_and(|word| word.len() >= MIN_SINGLE_WORD)
            }
            Meaning::Shared => name.len() > 1,
            Meaning::Personal { .. } | Meaning::Field { .. } => false,
        };
        is_specific.then_some((at, meaning))
    });
    if let Some((at, meaning)) = at {
        let lasts = matches!(meaning, Meaning::Identifier { lifetime: Lifetime::Lasting, .. });
        return (!lasts || !lexicon.owners.has_other(&words[..at])).then_some(meaning);
    }
    let (owner, noun) = Owners::split_noun(&words)?;
    let name = lexicon.owners.qualify_words(owner, std::iter::empty(), noun)?;
    lexicon.meaning(name)
}

/// Returns the meaning of a noun of two words by its owner: `serial_number`.
fn of_words<'l>(lexicon: &'l Lexicon, chain: &Chain<'_>, key: &str) -> Option<&'l Meaning> {
    let words: Vec<&str> = camel_case_words(key).collect();
    let (owner, noun) = Owners::split_noun(&words)?;
    let around = names_around(chain).skip(1);
    lexicon.meaning(lexicon.owners.qualify_words(owner, around, noun)?)
}

/// Returns the name of the field whose object contains the value.
pub(super) fn parent<'a>(chain: &'a Chain<'a>) -> Option<&'a str> {
    let path = path(chain)?;
    let mut keys = path.segments().iter().rev().filter_map(|segment| match segment {
        Segment::Key(key) => Some(&**key),
        Segment::Index(_) => None,
    });
    keys.nth(1)
}
