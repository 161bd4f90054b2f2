//! Candidates: values that say nothing in one request and can in several.

use super::{MAX_CANDIDATES, identifier::ends_in_id, shape::bits};
use crate::content::{Step, Value};
use crate::finding::{Candidate, CandidateKind};

/// Half of the room for each kind: neither takes the other's.
const MAX_OF_KIND: usize = MAX_CANDIDATES / 2;

/// Identifiers that no name or form shows are this long: fewer characters do
/// not hold the bits, more are content.
const IDENTIFIER_LEN: std::ops::RangeInclusive<usize> = 16..=128;

/// With this many bits, two installations do not share one by chance.
const IDENTIFIER_BITS: f64 = 64.0;

/// The longest text that is looked at as typed, in characters.
const MAX_TYPED: usize = 128;

/// One request's candidates.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    identifiers: usize,
    typed: usize,
}

impl Candidates {
    /// Takes a value that is no finding.
    pub(super) fn add(&mut self, value: &Value<'_>) {
        if value.truncated || !is_field(value) {
            return;
        }
        if IDENTIFIER_LEN.contains(&value.text.len())
            && bits(value.text).is_some_and(|bits| bits >= IDENTIFIER_BITS)
        {
            if self.identifiers < MAX_OF_KIND {
                self.identifiers += 1;
                self.keep(CandidateKind::Identifier, value);
            }
        } else {
            self.typed(value);
        }
    }

    /// Takes a value that could be typed, and may be a finding as well.
    pub(super) fn typed(&mut self, value: &Value<'_>) {
        let may_be_typed = !value.truncated
            && is_field(value)
            && !matches!(value.chain.root(), Step::Header(_) | Step::Cookie(_))
            && !value.key.is_some_and(ends_in_id)
            && is_text(value.text);
        if may_be_typed && self.typed < MAX_OF_KIND {
            self.typed += 1;
            self.keep(CandidateKind::TypedText, value);
        }
    }

    fn keep(&mut self, kind: CandidateKind, value: &Value<'_>) {
        let (value, chain) = (value.text.to_owned(), value.chain.to_string());
        self.list.push(Candidate { kind, value, chain });
    }

    pub(super) fn into_list(self) -> Vec<Candidate> {
        self.list
    }
}

/// Whether a value stands in a field: resources have random names in paths,
/// and runs of text in binary data have no beginning and end.
fn is_field(value: &Value<'_>) -> bool {
    value.key.is_some() && !matches!(value.chain.last(), Step::Path | Step::Text | Step::Fragment)
}

/// Whether a text can be typed by somebody: no number, no boolean, no JSON.
fn is_text(text: &str) -> bool {
    text.len() <= MAX_TYPED * 4
        && text.chars().any(char::is_alphabetic)
        && !matches!(text, "true" | "false" | "null")
        && !text.starts_with(['{', '['])
        && text.chars().count() <= MAX_TYPED
}
