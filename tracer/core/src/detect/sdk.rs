//! Recognition of the telemetry SDK that made a request, by the form of the
//! request. It needs no list of hosts, so a collector is recognised on any host.
//!
//! The signs in the rules are numbered. The numbers of the signs that the values
//! of a request match are collected in a set. An SDK is recognised if the set
//! contains all signs of one of its forms.

use std::collections::HashMap;

use super::lexicon::Entry;
use super::resolver::parent;
use crate::{
    content::{Step, Value},
    rules::{Pattern, RulesError, Sdks, Sign},
};

/// Maximum number of different signs in the rules.
const MAX_SIGNS: usize = 512;

/// The fields that Sensors Analytics sends with a checksum.
const CHECKSUMMED_FIELDS: [&str; 2] = ["data", "data_list"];

/// The field that holds the checksum.
const CHECKSUM_FIELD: &str = "crc";

/// A set of signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SignSet([u64; MAX_SIGNS / 64]);

impl SignSet {
    fn set(&mut self, sign: u16) {
        let sign = usize::from(sign);
        if let Some(word) = self.0.get_mut(sign / 64) {
            *word |= 1 << (sign % 64);
        }
    }

    fn contains_all(&self, needed: &Self) -> bool {
        self.0.iter().zip(needed.0).all(|(own, needed)| own & needed == needed)
    }
}

/// A sign in a field. The lexicon stores it in the entry of the field's name.
#[derive(Debug, Clone)]
pub(super) struct FieldSign {
    number: u16,
    location: Location,
    /// The exact name; the lexicon's names are normalised.
    name: String,
    text: Pattern,
}

#[derive(Debug, Clone)]
enum Location {
    Header,
    Anywhere,
    In(String),
}

impl FieldSign {
    fn matches(&self, value: &Value<'_>) -> bool {
        let Some(key) = value.key else {
            return false;
        };
        // Cookies do not count: an SDK in a page stores them for the page's own site,
        // so any request to the site carries them.
        let root = value.chain.root();
        let is_content = !matches!(root, Step::Header(_) | Step::Cookie(_));
        let is_here = match &self.location {
            Location::Header => {
                matches!(root, Step::Header(_)) && key.eq_ignore_ascii_case(&self.name)
            }
            Location::Anywhere => is_content && key == self.name,
            Location::In(object) => {
                is_content && key == self.name && parent(value.chain) == Some(object)
            }
        };
        is_here && self.text.matches(value.text, value.truncated)
    }
}

/// The forms of all SDKs.
#[derive(Debug, Clone, Default)]
pub(super) struct Fingerprints {
    /// The signs of each form, and the index of its SDK in `names`.
    forms: Vec<(SignSet, usize)>,
    names: Vec<String>,
    paths: Vec<(Pattern, u16)>,
    java_hash: Option<u16>,
}

impl Fingerprints {
    /// Numbers the signs. Returns the signs in fields apart, with the names of their
    /// fields.
    ///
    /// # Errors
    /// Fails if the rules have more than [`MAX_SIGNS`] signs.
    pub(super) fn new(sdks: &Sdks) -> Result<(Self, Vec<(String, FieldSign)>), RulesError> {
        let mut new = Self::default();
        let mut numbers: HashMap<&Sign, u16> = HashMap::new();
        let mut field_signs = Vec::new();
        for located in &sdks.0 {
            let sdk = new.names.len();
            new.names.push(located.entry.name.as_str().to_owned());
            for form in &located.entry.forms {
                let mut needed = SignSet::default();
                for sign in form {
                    let next = numbers.len();
                    if next >= MAX_SIGNS && !numbers.contains_key(sign) {
                        return Err(located.place.error(format!(
                            "the rules have more than {MAX_SIGNS} signs: remove some"
                        )));
                    }
                    let number = *numbers.entry(sign).or_insert_with(|| {
                        let number = u16::try_from(next).unwrap_or(u16::MAX);
                        field_signs.extend(new.add_sign(sign, number));
                        number
                    });
                    needed.set(number);
                }
                new.forms.push((needed, sdk));
            }
        }
        Ok((new, field_signs))
    }

    /// Adds a sign. Returns it with the field's name if it is one in a field.
    fn add_sign(&mut self, sign: &Sign, number: u16) -> Option<(String, FieldSign)> {
        let (location, name, text) = match sign {
            Sign::Field { parent, name, text } => {
                (parent.clone().map_or(Location::Anywhere, Location::In), name, text)
            }
            Sign::Header { name, text } => (Location::Header, name, text),
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
        Some((name.clone(), FieldSign { number, location, name, text }))
    }
}

/// The signs that were found in one request.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    found: SignSet,
    any: bool,
    /// Hash of the last field in [`CHECKSUMMED_FIELDS`].
    hash: Option<i32>,
    checksum: Option<i32>,
}

impl Evidence {
    /// Collects the signs in the path, which has no query.
    pub(super) fn path(&mut self, sdks: &Fingerprints, value: &Value<'_>) {
        for (pattern, number) in &sdks.paths {
            if pattern.matches(value.text, value.truncated) {
                self.add(*number);
            }
        }
    }

    /// Collects the signs in a field. `entry` is the entry of the field's name.
    pub(super) fn field(&mut self, sdks: &Fingerprints, value: &Value<'_>, entry: Option<&Entry>) {
        for sign in entry.iter().flat_map(|entry| &entry.signs) {
            if sign.matches(value) {
                self.add(sign.number);
            }
        }
        if let (Some(number), Some(key)) = (sdks.java_hash, value.key)
            && matches!(value.chain.last(), Step::Form(_) | Step::Query(_))
            && !value.truncated
        {
            if key == CHECKSUM_FIELD {
                self.checksum = value.text.parse().ok();
            } else if CHECKSUMMED_FIELDS.contains(&key) {
                self.hash = Some(java_hash(value.text));
            } else {
                return;
            }
            if self.hash.is_some() && self.hash == self.checksum {
                self.add(number);
            }
        }
    }

    fn add(&mut self, number: u16) {
        self.found.set(number);
        self.any = true;
    }

    /// Returns the first SDK with a form whose signs were all found.
    pub(super) fn sdk(&self, sdks: &Fingerprints) -> Option<String> {
        let (_, sdk) = sdks
            .forms
            .iter()
            .filter(|_| self.any)
            .find(|(needed, _)| self.found.contains_all(needed))?;
        sdks.names.get(*sdk).cloned()
    }
}

/// Computes `java.lang.String.hashCode`: a polynomial in 31 over the UTF-16 code
/// units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_java_string_hashes() {
        // The first two were computed by hand from the documentation of
        // `java.lang.String`; the third overflows.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("ab"), 97 * 31 + 98);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }
}
