//! Memory of values in which no encoding was found.
//!
//! Most values of a connection repeat: header fields, versions, settings, identifiers. A
//! decoder that has tried everything on a value need not try it again on the same bytes.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::{
    chain::Chain,
    engine::{in_head, may_hold_pairs},
    substitution::Patterns,
};

/// Number of values that are remembered: several connections have fewer.
const SLOTS: usize = 2048;

/// Maximum length of a value. Longer ones are content and do not repeat.
const MAX_LEN: usize = 512;

/// Values in which no encoding was found, with what it cost to find that out. Takes at most
/// a megabyte and a half.
#[derive(Debug, Default)]
pub struct Memo {
    /// Empty until the first value is remembered. A value has one possible slot.
    slots: Vec<Option<Box<Slot>>>,
    /// Its key is random, so that a sender cannot choose values for one slot. Values are compared
    /// as a whole, so that a collision costs time and changes no result.
    hasher: RandomState,
    /// Visited URLs, prepared for the search of texts.
    patterns: Patterns,
}

/// The properties of a place that decide how a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Place {
    /// Set if it may be a list of names and values.
    may_hold_pairs: bool,
    /// Set if it belongs to the head of the request.
    in_head: bool,
}

impl Place {
    /// Returns the place at the end of a chain.
    pub(super) fn of(chain: &Chain<'_>) -> Self {
        Self { may_hold_pairs: may_hold_pairs(chain), in_head: in_head(chain) }
    }
}

/// The cost of reading a value, in the units of [`Report`](super::Report).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    /// Work before the value was reported.
    pub(super) before: u64,
    /// Work after that.
    pub(super) after: u64,
    pub(super) opaque: u64,
    /// Number of attempts to decompress unmarked bytes.
    pub(super) guesses: u32,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    value: Vec<u8>,
    place: Place,
    /// The hash of the known URLs, if they were looked for in the value.
    known: Option<u64>,
    cost: Cost,
}

/// The slot of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(usize);

impl Memo {
    /// Returns the patterns of known URLs.
    pub(super) fn patterns(&mut self, known: &[&str]) -> &mut Patterns {
        self.patterns.set(known);
        &mut self.patterns
    }

    /// Returns the key of a value in a place. `None` if it is too long to be remembered.
    pub(super) fn key(&self, value: &[u8], place: Place) -> Option<Key> {
        let hash = || self.hasher.hash_one((value, place));
        (value.len() <= MAX_LEN).then(|| Key(usize::try_from(hash() % SLOTS as u64).unwrap_or(0)))
    }

    /// Returns the hash of known URLs.
    pub(super) fn hash_known(&self, urls: &[&str]) -> u64 {
        self.hasher.hash_one(urls)
    }

    /// Returns the cost of a value that is remembered for this place.
    pub(super) fn get(
        &self,
        key: Key,
        value: &[u8],
        place: Place,
        known: impl FnOnce() -> u64,
    ) -> Option<Cost> {
        let slot = self.slots.get(key.0)?.as_deref()?;
        let is_same = slot.value == value
            && slot.place == place
            && slot.known.is_none_or(|needed| needed == known());
        is_same.then_some(slot.cost)
    }

    /// Remembers a value in place of another one.
    pub(super) fn insert(
        &mut self,
        key: Key,
        value: &[u8],
        place: Place,
        known: Option<u64>,
        cost: Cost,
    ) {
        if self.slots.is_empty() {
            self.slots = vec![None; SLOTS];
        }
        let Some(slot) = self.slots.get_mut(key.0) else { return };
        let slot = slot.get_or_insert_default();
        slot.value.clear();
        slot.value.extend_from_slice(value);
        **slot = Slot { value: std::mem::take(&mut slot.value), place, known, cost };
    }
}
