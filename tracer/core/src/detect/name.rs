//! Names of fields, made comparable.
//!
//! `$device_id`, `deviceId` and `Device-ID` are one name: case and separators
//! do not count. A name is kept as a hash of what remains, so that looking one
//! up costs one pass over it and no memory. Who chooses the names in a request
//! can make two collide, and gains nothing that choosing a name does not give.

/// Longer names are in no table.
const MAX_NAME: usize = 64;

/// FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

impl Name {
    /// The name of what has none: no key has it.
    pub(super) const NONE: Self = Self(0);

    /// The name a key has; `None` where nothing of it counts, or too much.
    pub(super) fn of(key: &str) -> Option<Self> {
        Self(OFFSET).and(key)
    }

    /// This name with another behind it: `user` and `id` are `user_id`.
    pub(super) fn and(self, key: &str) -> Option<Self> {
        if key.len() > MAX_NAME {
            return None;
        }
        let mut hash = self.0;
        for byte in key.bytes().filter(u8::is_ascii_alphanumeric) {
            hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(PRIME);
        }
        (hash != self.0).then_some(Self(hash))
    }
}

/// The last part of a key that is made of several, and the part before it:
/// `user[device][id]` and `context.device.id` end in `id` behind `device`.
pub(super) fn last_parts(key: &str) -> Option<(&str, Option<&str>)> {
    let is_separator = |c| matches!(c, '.' | '[' | ']' | '/' | ':');
    let mut parts = key.rsplit(is_separator).filter(|part| !part.is_empty());
    let last = parts.next()?;
    (last.len() < key.len()).then(|| (last, parts.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_separators_do_not_count() {
        let name = Name::of("deviceid");
        assert!(name.is_some());
        for key in ["$device_id", "deviceId", "Device-ID", "device.id"] {
            assert_eq!(Name::of(key), name, "{key}");
        }
        assert_eq!(Name::of("device").and_then(|name| name.and("ID")), name);
        assert_ne!(Name::of("devicesid"), name);
        assert_eq!(Name::of("$_-"), None);
        assert_eq!(Name::of(&"a".repeat(65)), None);
    }

    #[test]
    fn keys_have_parts() {
        assert_eq!(last_parts("user[device][id]"), Some(("id", Some("device"))));
        assert_eq!(last_parts("ep.client_id"), Some(("client_id", Some("ep"))));
        assert_eq!(last_parts("[id]"), Some(("id", None)));
        assert_eq!(last_parts("id"), None);
        assert_eq!(last_parts(".."), None);
    }
}
