//! The common properties of rule files: strict parsing, errors that name the line, and
//! entries that state their reason and source.
//!
//! A file is TOML and contains one or more lists of entries:
//!
//! ```toml
//! [[thing]]
//! name = "Unique in its list"
//! # properties of the thing …
//! reason = "Reason for the entry"
//! source = "Source of that reason"
//! ```
//!
//! A table's module declares the entries as plain structs with
//! `#[serde(deny_unknown_fields)]`, uses [`Text`] for values that must not be empty, and
//! implements [`Named`]. Report mistakes inside a value from its type's `Deserialize`
//! ([`checked`]), because the parser knows the line there.

use std::{collections::HashMap, fmt, marker::PhantomData, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, Visitor},
};
use thiserror::Error;
use toml::Spanned;

/// A mistake in a rule file: its position, the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct RulesError {
    /// Name of the file, as given by the caller.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Cause and remedy.
    pub what: String,
}

/// A rule file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulesFile<'a> {
    /// Name used in errors: a path or a file name.
    pub name: &'a str,
    /// Contents of the file.
    pub text: &'a str,
}

impl RulesFile<'_> {
    /// Parses the file as `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, RulesError> {
        toml::from_str(self.text).map_err(|err: toml::de::Error| {
            self.error(&err.span().unwrap_or_default(), one_line(err.message()))
        })
    }

    /// Adds its position to each entry. Fails if two entries have the same name.
    pub fn entries<T: Named>(
        &self,
        entries: Vec<Spanned<T>>,
    ) -> Result<Vec<Located<T>>, RulesError> {
        let starts = LineStarts::new(self.text);
        let mut lines = HashMap::new();
        let mut located = Vec::with_capacity(entries.len());
        for entry in entries {
            let place = self.place_at(entry.span().start, &starts);
            let entry = entry.into_inner();
            if let Some(line) = lines.insert(entry.name().to_owned(), place.line) {
                return Err(place.error(format!(
                    "`{}` already has an entry in line {line}; rename this one, or merge the two",
                    entry.name()
                )));
            }
            located.push(Located { entry, place });
        }
        Ok(located)
    }

    /// Creates an error at these bytes of the text.
    pub fn error(&self, at: &Range<usize>, what: impl Into<String>) -> RulesError {
        self.place_at(at.start, &LineStarts::new(self.text)).error(what)
    }

    fn place_at(&self, at: usize, starts: &LineStarts) -> Place {
        let (line, start) = starts.line_of(at);
        let before = self.text.get(start..at).unwrap_or_default();
        Place { file: self.name.to_owned(), line, column: before.chars().count() + 1 }
    }
}

/// The positions at which the lines of a text start.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn new(text: &str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes());
        Self(std::iter::once(0).chain(breaks.map(|at| at + 1)).collect())
    }

    /// Returns the number of the line that contains a position, counted from 1, and its start.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let line = self.0.partition_point(|&start| start <= at);
        (line, line.checked_sub(1).and_then(|before| self.0.get(before)).copied().unwrap_or(0))
    }
}

/// Joins the lines of the parser's message, since errors are printed on one line.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// The position of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as given by the caller.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

impl Place {
    /// Creates an error at this position.
    pub fn error(&self, what: impl Into<String>) -> RulesError {
        let Self { file, line, column } = self.clone();
        RulesError { file, line, column, what: what.into() }
    }
}

/// An entry with its position, so that errors that are found only after all files were
/// read can still name the line.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The entry.
    pub entry: T,
    /// Position of the entry.
    pub place: Place,
}

/// An entry with a name that is unique in its list.
pub trait Named {
    /// Returns the name.
    fn name(&self) -> &str;
}

/// Adds the entries of `over` to `base`. An entry replaces the one with the same name.
pub fn overlay<T: Named>(base: &mut Vec<Located<T>>, over: Vec<Located<T>>) {
    let names = base.iter().enumerate().map(|(at, located)| (located.entry.name().to_owned(), at));
    let places: HashMap<_, _> = names.collect();
    for located in over {
        match places.get(located.entry.name()).and_then(|&at| base.get_mut(at)) {
            Some(replaced) => *replaced = located,
            None => base.push(located),
        }
    }
}

/// Deserialises a text that `T` validates. The validation runs while the parser knows the
/// position of the text, also inside lists; with serde's `try_from` the parser would only
/// know the start of the list.
pub fn checked<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error: fmt::Display>,
{
    struct Check<T>(PhantomData<T>);

    impl<T: TryFrom<String, Error: fmt::Display>> Visitor<'_> for Check<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::try_from(text.to_owned()).map_err(E::custom)
        }
    }

    from.deserialize_str(Check(PhantomData))
}

/// A text that is not blank and has no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Text(String);

impl Text {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The reason why a text is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    /// The text is blank.
    #[error("the text is empty; every entry needs a name, a reason and a source")]
    Empty,
    /// The text has a control character. Texts are printed to terminals and logs.
    #[error("the text contains a control character; write it on one line of plain text")]
    Control,
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        if text.trim().is_empty() {
            return Err(TextError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(TextError::Control);
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        checked(from)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Things {
        thing: Vec<Spanned<Thing>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: Text,
        size: u8,
        reason: Text,
        #[expect(dead_code, reason = "the test only requires that it is present")]
        source: Text,
    }

    impl Named for Thing {
        fn name(&self) -> &str {
            self.name.as_str()
        }
    }

    fn read(text: &str) -> Result<Vec<Located<Thing>>, RulesError> {
        let file = RulesFile { name: "things.toml", text };
        let things: Things = file.parse()?;
        file.entries(things.thing)
    }

    fn thing(name: &str, size: u8) -> String {
        format!("[[thing]]\nname = '{name}'\nsize = {size}\nreason = 'r'\nsource = 's'\n")
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        let good = thing("a", 1);
        for (bad, place, what) in [
            ("[[thing]\n".to_owned(), "things.toml:6:9: ", "expected `]`"),
            ("\n[[thing]]\nname = ''\n".to_owned(), "things.toml:8:8: ", "the text is empty"),
            (thing("b", 1).replace("'r'", "\"\\u001b\""), "things.toml:9:10: ", "control"),
            (thing("b", 1).replace("reason = 'r'\n", ""), "things.toml:6:1: ", "`reason`"),
            (thing("b", 1).replace("source = 's'\n", ""), "things.toml:6:1: ", "`source`"),
            (thing("b", 1).replace("size", "sise"), "things.toml:8:1: ", "`size`"),
            (thing("b", 1).replace("= 1", "= '1'"), "things.toml:8:8: ", "expected u8"),
            (thing("b", 1).replace("= 1", "= 256"), "things.toml:8:8: ", "u8"),
            (
                thing("b", 1) + &thing("a", 2),
                "things.toml:11:1: ",
                "already has an entry in line 1",
            ),
        ] {
            let text = good.clone() + &bad;
            let err = read(&text).unwrap_err().to_string();
            assert!(err.starts_with(place) && err.contains(what), "{err}\n{text}");
            assert!(!err.contains('\n'), "{err}");
        }
    }

    #[test]
    fn errors_in_a_list_name_the_position_of_the_element() {
        #[derive(Debug, Deserialize)]
        struct List {
            #[expect(dead_code, reason = "only its parsing is tested")]
            list: Vec<Text>,
        }
        let file = RulesFile { name: "list.toml", text: "list = [\n  'a',\n  '',\n]\n" };
        let err = file.parse::<List>().unwrap_err();
        assert_eq!((err.line, err.column), (3, 3), "{err}");
        let file = RulesFile { name: "list.toml", text: "list = ['a', 1]" };
        let err = file.parse::<List>().unwrap_err();
        assert_eq!((err.line, err.column), (1, 14), "{err}");
        assert!(err.what.contains("expected a text"), "{err}");
    }

    #[test]
    fn columns_count_characters() {
        let err = read("thing = [{ name = 'äöü', size = 1, reason = '' }]").unwrap_err();
        assert_eq!((err.line, err.column), (1, 45));
    }

    #[test]
    fn an_entry_replaces_the_one_with_the_same_name() {
        let mut base = read(&(thing("a", 1) + &thing("b", 2))).unwrap();
        overlay(&mut base, read(&(thing("c", 3) + &thing("a", 4))).unwrap());
        let sizes: Vec<_> =
            base.iter().map(|located| (located.entry.name(), located.entry.size)).collect();
        assert_eq!(sizes, [("a", 4), ("b", 2), ("c", 3)]);
        assert_eq!(base[0].place.line, 6);
        assert_eq!(base[0].entry.reason.as_str(), "r");
    }
}
