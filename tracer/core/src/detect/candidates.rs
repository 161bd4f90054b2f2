//! Candidates: values that are inconclusive in a single request, but may be
//! conclusive across several.

use super::{MAX_CANDIDATES, identifier::ends_in_id, shape::bits};
use crate::content::{Step, Value};
use crate::finding::{Candidate, CandidateKind};

/// Limit for each kind, so that neither kind crowds out the other.
const MAX_OF_KIND: usize = MAX_CANDIDATES / 2;

/// Length of a candidate identifier. Shorter values do not hold enough bits,
/// longer ones are content.
const IDENTIFIER_LEN: std::ops::RangeInclusive<usize> = 16..=128;

/// Minimum number of bits of a candidate identifier. Two installations do not
/// share such a value by chance.
const IDENTIFIER_BITS: f64 = 64.0;

/// Maximum length of a typed text, in characters.
const MAX_TYPED_CHARS: usize = 128;

/// The candidates of one request.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    identifier_count: usize,
    typed_count: usize,
}

impl Candidates {
    /// Adds a value that has produced no finding.
    pub(super) fn add(&mut self, value: &Value<'_>) {
        if value.truncated || !is_whole_field(value) {
            return;
        }
        if IDENTIFIER_LEN.contains(&value.text.len())
            && bits(value.text).is_some_and(|bits| bits >= IDENTIFIER_BITS)
        {
            if self.identifier_count < MAX_OF_KIND {
                self.identifier_count += 1;
                self.push(CandidateKind::Identifier, value);
            }
        } else {
            self.add_typed(value);
        }
    }

    /// Adds a value that the user may have typed. It may be a finding as well.
    pub(super) fn add_typed(&mut self, value: &Value<'_>) {
        let is_candidate = !value.truncated
            && is_whole_field(value)
            && !matches!(value.chain.root(), Step::Header(_) | Step::Cookie(_))
            && !value.key.is_some_and(ends_in_id)
            && may_be_typed(value.text);
        if is_candidate && self.typed_count < MAX_OF_KIND {
            self.typed_count += 1;
            self.push(CandidateKind::TypedText, value);
        }
    }

    fn push(&mut self, kind: CandidateKind, value: &Value<'_>) {
        let (value, chain) = (value.text.to_owned(), value.chain.to_string());
        self.list.push(Candidate { kind, value, chain });
    }

    pub(super) fn into_list(self) -> Vec<Candidate> {
        self.list
    }
}

/// Reports whether a value is the whole content of a named field. Path segments
/// are excluded because resources have random names, and text found in binary
/// data because its boundaries are arbitrary.
fn is_whole_field(value: &Value<'_>) -> bool {
    value.key.is_some() && !matches!(value.chain.last(), Step::Path | Step::Text | Step::Fragment)
}

/// Reports whether the user may have typed a text, as opposed to a number, a
/// boolean or JSON.
fn may_be_typed(text: &str) -> bool {
    text.len() <= MAX_TYPED_CHARS * 4
        && text.chars().any(char::is_alphabetic)
        && !matches!(text, "true" | "false" | "null")
        && !text.starts_with(['{', '['])
        && text.chars().count() <= MAX_TYPED_CHARS
}
