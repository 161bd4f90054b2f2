//! The share of each user in the table of connections, so that a flood of connections displaces
//! only those of its own user.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::Slot;

/// The connections of all users.
#[derive(Debug, Default)]
pub(super) struct Shares {
    users: HashMap<u32, Share>,
}

#[derive(Debug, Default)]
struct Share {
    /// In order of their last send.
    turns: BTreeMap<u64, Slot>,
    buffered: usize,
}

impl Shares {
    /// Adds a connection of a user.
    pub(super) fn add(&mut self, user: u32, turn: u64, slot: Slot) {
        self.users.entry(user).or_default().turns.insert(turn, slot);
    }

    /// Gives a connection that sent a new turn.
    pub(super) fn renew(&mut self, user: u32, old: u64, new: u64) {
        if let Some(share) = self.users.get_mut(&user)
            && let Some(slot) = share.turns.remove(&old)
        {
            share.turns.insert(new, slot);
        }
    }

    /// Removes a connection, for which `buffered` bytes were noted.
    pub(super) fn remove(&mut self, user: u32, turn: u64, buffered: usize) {
        if let Some(share) = self.users.get_mut(&user) {
            share.turns.remove(&turn);
            share.buffered = share.buffered.saturating_sub(buffered);
            if share.turns.is_empty() {
                self.users.remove(&user);
            }
        }
    }

    /// Notes that the bytes of a connection changed.
    pub(super) fn recount(&mut self, user: u32, before: usize, after: usize) {
        if let Some(share) = self.users.get_mut(&user) {
            share.buffered = share.buffered.saturating_sub(before) + after;
        }
    }

    /// Returns the least recently used connection of the user that has most connections.
    pub(super) fn of_most_connections(&self) -> Option<Slot> {
        self.users.values().max_by_key(|share| share.turns.len())?.oldest()
    }

    /// Returns the least recently used connection of the user that has most bytes.
    pub(super) fn of_most_bytes(&self) -> Option<Slot> {
        self.users.values().max_by_key(|share| share.buffered)?.oldest()
    }
}

impl Share {
    fn oldest(&self) -> Option<Slot> {
        self.turns.first_key_value().map(|(_, slot)| *slot)
    }
}
