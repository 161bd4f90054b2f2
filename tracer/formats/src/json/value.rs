//! A value as a tree.

use memchr::memchr;
use tracer_core::content::{End, Leaf, Segment, read_json};

/// Maximum memory of a value. A request has some hundred fields.
const MAX_COST: usize = 16 << 20;

/// A string. Not necessarily UTF-8, see [`Value`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// Set if the text ends within the string.
    pub(crate) cut: bool,
}

/// A value.
///
/// Objects and arrays without values, and `null`, are left out. Strings are
/// bytes: Python writes bytes that are not UTF-8 as lone surrogates from U+DC80
/// to U+DCFF (PEP 383), and these are converted back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Value {
    /// `null`, an empty object or array, or a value behind the text's end.
    #[default]
    Null,
    /// A number or boolean, as written.
    Scalar(String),
    Text(Text),
    List(Vec<Value>),
    /// The members in the order of the text.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads the value at the start of `text`. `truncated` means that the value
    /// may continue after it. A value that exceeds the limit of memory is
    /// truncated as well.
    pub(super) fn parse(text: &[u8], truncated: bool) -> (Self, End) {
        let text = restore_bytes(text);
        let mut root = Self::Null;
        let mut budget = MAX_COST;
        let end = read_json(&text, truncated, |path, leaf| {
            // A number that may continue says nothing.
            if budget > 0 && !(leaf.scalar && leaf.truncated) {
                budget = root.insert(path.segments(), leaf, budget).unwrap_or(0);
            }
        });
        (root, if budget == 0 { End::Truncated } else { end })
    }

    /// Adds a leaf of the document, in the order of the document. Returns the
    /// rest of the budget, or `None` if it is exceeded.
    fn insert(&mut self, path: &[Segment<'_>], leaf: Leaf<'_>, budget: usize) -> Option<usize> {
        const NODE: usize = size_of::<(String, Value)>();
        let mut rest = budget.checked_sub(leaf.value.len())?;
        let mut node = self;
        for segment in path {
            match segment {
                Segment::Key(name) => {
                    if *node == Self::Null {
                        *node = Self::Object(Vec::new());
                    }
                    let Self::Object(members) = node else { return Some(rest) };
                    if members.last().is_none_or(|(last, _)| *last != **name) {
                        rest = rest.checked_sub(NODE + name.len())?;
                        members.push((name.clone().into_owned(), Self::Null));
                    }
                    node = members.last_mut().map(|(_, value)| value)?;
                }
                Segment::Index(index) => {
                    if *node == Self::Null {
                        *node = Self::List(Vec::new());
                    }
                    let Self::List(elements) = node else { return Some(rest) };
                    let missing = (index + 1).saturating_sub(elements.len());
                    rest = rest.checked_sub(NODE.saturating_mul(missing))?;
                    elements.resize(elements.len() + missing, Self::Null);
                    node = elements.get_mut(*index)?;
                }
            }
        }
        if *node == Self::Null {
            let bytes = leaf.value.into_owned();
            *node = if leaf.scalar {
                Self::Scalar(String::from_utf8_lossy(&bytes).into_owned())
            } else {
                Self::Text(Text { bytes, cut: leaf.truncated })
            };
        }
        Some(rest)
    }

    /// Returns the first member of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Returns the member of that name if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&Text> {
        match self.member(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the member of that name if it is a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.member(name) {
            Some(Self::Scalar(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Returns the elements of the array of that name.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        match self.member(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }
}

/// Replaces the escapes of lone surrogates that stand for bytes by these bytes.
fn restore_bytes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut after_high = false;
    while let Some(at) = memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        let unit = escape.get(1..6).and_then(|escape| {
            let digits = std::str::from_utf8(escape.strip_prefix(b"u")?).ok()?;
            u16::from_str_radix(digits, 16).ok()
        });
        let is_lone = !(after_high && at == 0);
        after_high = is_lone && matches!(unit, Some(0xd800..0xdc00));
        let len = if unit.is_some() { 6 } else { 2 };
        let (escape, behind) = escape.split_at_checked(len).unwrap_or((escape, &[]));
        match unit {
            Some(unit @ 0xdc80..=0xdcff) if is_lone => out.push(unit as u8),
            _ => out.extend_from_slice(escape),
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}
