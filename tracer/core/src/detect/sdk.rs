//! Which telemetry SDK made a request, by the request's form alone: no host
//! list is needed, and a collector under any name is recognised.
//!
//! The signs that the rules name are numbered. While values go by, the numbers
//! of those that are met are collected; in the end, a form whose signs are all
//! among them fits.

use std::collections::HashMap;

use super::lexicon::{Entry, parent};
use crate::{
    content::{Step, Value},
    rules::{Pattern, RulesError, Sdks, Sign},
};

/// The most signs that rules can name.
const MAX_SIGNS: usize = 512;

/// The fields whose text Sensors Analytics takes the checksum of.
const CHECKED: [&str; 2] = ["data", "data_list"];

/// The field of the checksum.
const CHECKSUM: &str = "crc";

/// A set of signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks([u64; MAX_SIGNS / 64]);

impl Marks {
    fn set(&mut self, sign: u16) {
        let sign = usize::from(sign);
        if let Some(word) = self.0.get_mut(sign / 64) {
            *word |= 1 << (sign % 64);
        }
    }

    fn holds(&self, all: &Self) -> bool {
        self.0.iter().zip(all.0).all(|(met, needed)| met & needed == needed)
    }
}

/// A sign that a field meets, beside the field's name in the lexicon.
#[derive(Debug, Clone)]
pub(super) struct MarkSpec {
    number: u16,
    place: Place,
    /// As it is spelt: the lexicon's names are not.
    name: String,
    text: Pattern,
}

#[derive(Debug, Clone)]
enum Place {
    Header,
    Anywhere,
    In(String),
}

impl MarkSpec {
    fn is_met(&self, value: &Value<'_>) -> bool {
        let Some(key) = value.key else {
            return false;
        };
        // A cookie is what an SDK keeps on the page's own site.
        let root = value.chain.root();
        let is_content = !matches!(root, Step::Header(_) | Step::Cookie(_));
        let here = match &self.place {
            Place::Header => {
                matches!(root, Step::Header(_)) && key.eq_ignore_ascii_case(&self.name)
            }
            Place::Anywhere => is_content && key == self.name,
            Place::In(object) => {
                is_content && key == self.name && parent(value.chain) == Some(object)
            }
        };
        here && self.text.matches(value.text, value.truncated)
    }
}

/// The forms of all SDKs.
#[derive(Debug, Clone, Default)]
pub(super) struct Fingerprints {
    /// Signs, and the number of whose they are.
    forms: Vec<(Marks, usize)>,
    names: Vec<String>,
    paths: Vec<(Pattern, u16)>,
    java_hash: Option<u16>,
}

impl Fingerprints {
    /// Numbers the signs. Gives those of fields with the fields' names.
    pub(super) fn new(sdks: &Sdks) -> Result<(Self, Vec<(String, MarkSpec)>), RulesError> {
        let mut new = Self::default();
        let mut numbers: HashMap<&Sign, u16> = HashMap::new();
        let mut marks = Vec::new();
        for located in &sdks.0 {
            let sdk = new.names.len();
            new.names.push(located.entry.name.as_str().to_owned());
            for form in &located.entry.forms {
                let mut needed = Marks::default();
                for sign in form {
                    let next = numbers.len();
                    if next >= MAX_SIGNS && !numbers.contains_key(sign) {
                        return Err(located.place.error(format!(
                            "the rules name more than {MAX_SIGNS} signs: take some out"
                        )));
                    }
                    let number = *numbers.entry(sign).or_insert_with(|| {
                        let number = u16::try_from(next).unwrap_or(u16::MAX);
                        marks.extend(new.mark(sign, number));
                        number
                    });
                    needed.set(number);
                }
                new.forms.push((needed, sdk));
            }
        }
        Ok((new, marks))
    }

    fn mark(&mut self, sign: &Sign, number: u16) -> Option<(String, MarkSpec)> {
        let (place, name, text) = match sign {
            Sign::Field { parent, name, text } => {
                (parent.clone().map_or(Place::Anywhere, Place::In), name, text)
            }
            Sign::Header { name, text } => (Place::Header, name, text),
            Sign::Path(pattern) => {
                self.paths.push((pattern.clone(), number));
                return None;
            }
            Sign::JavaHash => {
                self.java_hash = Some(number);
                return None;
            }
        };
        let (name, text) = (name.clone(), text.clone());
        Some((name.clone(), MarkSpec { number, place, name, text }))
    }
}

/// The signs that one request has met.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    met: Marks,
    any: bool,
    /// The hash of the last field that is checked.
    hash: Option<i32>,
    checksum: Option<i32>,
}

impl Evidence {
    /// Takes the path, without its query.
    pub(super) fn path(&mut self, sdks: &Fingerprints, value: &Value<'_>) {
        for (pattern, number) in &sdks.paths {
            if pattern.matches(value.text, value.truncated) {
                self.meet(*number);
            }
        }
    }

    /// Takes a value in a field; `entry` is what is known of the field's name.
    pub(super) fn field(&mut self, sdks: &Fingerprints, value: &Value<'_>, entry: Option<&Entry>) {
        for mark in entry.iter().flat_map(|entry| &entry.marks) {
            if mark.is_met(value) {
                self.meet(mark.number);
            }
        }
        if let (Some(number), Some(key)) = (sdks.java_hash, value.key)
            && matches!(value.chain.last(), Step::Form(_) | Step::Query(_))
            && !value.truncated
        {
            if key == CHECKSUM {
                self.checksum = value.text.parse().ok();
            } else if CHECKED.contains(&key) {
                self.hash = Some(java_hash(value.text));
            } else {
                return;
            }
            if self.hash.is_some() && self.hash == self.checksum {
                self.meet(number);
            }
        }
    }

    fn meet(&mut self, number: u16) {
        self.met.set(number);
        self.any = true;
    }

    /// The first SDK of which there are all signs.
    pub(super) fn sdk(&self, sdks: &Fingerprints) -> Option<String> {
        let (_, sdk) =
            sdks.forms.iter().filter(|_| self.any).find(|(needed, _)| self.met.holds(needed))?;
        sdks.names.get(*sdk).cloned()
    }
}

/// `java.lang.String.hashCode`: of the UTF-16 code units, times powers of 31.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        // The first two are of the documentation of java.lang.String's method
        // applied by hand; the third overflows.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("ab"), 97 * 31 + 98);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }
}
