//! Normalised names of fields.
//!
//! Names are compared without case and separators: `$device_id`, `deviceId` and
//! `Device-ID` are equal. A name is stored as a hash, so that a lookup takes one
//! pass over the key and does not allocate. A sender can construct two names that
//! collide, but gains nothing: it could as well choose another name.

/// Maximum length of a name. The rules list no longer ones.
const MAX_NAME: usize = 64;

/// FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A normalised name of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

impl Name {
    /// Placeholder for a key without letters and digits. No valid key has it.
    pub(super) const EMPTY: Self = Self(0);

    /// The name to which the first word is joined.
    pub(super) const START: Self = Self(OFFSET);

    /// Creates the name of a key. Returns `None` if the key has no letter or digit,
    /// or is too long.
    pub(super) fn new(key: &str) -> Option<Self> {
        Self::START.join(key)
    }

    /// Creates the names of words in lower case, without separators.
    pub(super) const fn from_words<const N: usize>(words: [&str; N]) -> [Self; N] {
        let mut names = [Self::START; N];
        let mut at = 0;
        while at < N {
            let word = words[at].as_bytes();
            let mut next = 0;
            while next < word.len() {
                assert!(word[next].is_ascii_lowercase());
                names[at].0 = (names[at].0 ^ word[next] as u64).wrapping_mul(PRIME);
                next += 1;
            }
            at += 1;
        }
        names
    }

    /// Appends a key: `user` and `id` become `user_id`.
    pub(super) fn join(self, key: &str) -> Option<Self> {
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

/// Returns the last part of a key that has several, and the part before it: `id`
/// and `device` for `user[device][id]` and for `context.device.id`.
pub(super) fn last_parts(key: &str) -> Option<(&str, Option<&str>)> {
    let is_separator = |c| matches!(c, '.' | '[' | ']' | '/' | ':');
    let mut parts = key.rsplit(is_separator).filter(|part| !part.is_empty());
    let last = parts.next()?;
    (last.len() < key.len()).then(|| (last, parts.next()))
}

/// Splits a text into words at characters that are not alphanumeric.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Splits a text into words, also within camel case: `folderOpen` is two words.
pub(super) fn camel_case_words(text: &str) -> impl Iterator<Item = &str> {
    words(text).flat_map(|word| {
        let mut rest = Some(word);
        std::iter::from_fn(move || {
            let word = rest?;
            let bytes = word.as_bytes();
            let cut = (1..bytes.len())
                .find(|&at| bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase());
            let (first, tail) = match cut {
                Some(at) => (&word[..at], Some(&word[at..])),
                None => (word, None),
            };
            rest = tail;
            Some(first)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_case_and_separators() {
        let name = Name::new("deviceid");
        assert!(name.is_some());
        for key in ["$device_id", "deviceId", "Device-ID", "device.id"] {
            assert_eq!(Name::new(key), name, "{key}");
        }
        assert_eq!(Name::new("device").and_then(|name| name.join("ID")), name);
        assert_ne!(Name::new("devicesid"), name);
        assert_eq!(Name::new("$_-"), None);
        assert_eq!(Name::from_words(["deviceid", "x"])[0], name.unwrap());
        assert_eq!(Name::new(&"a".repeat(65)), None);
    }

    #[test]
    fn splits_keys_with_several_parts() {
        assert_eq!(last_parts("user[device][id]"), Some(("id", Some("device"))));
        assert_eq!(last_parts("ep.client_id"), Some(("client_id", Some("ep"))));
        assert_eq!(last_parts("[id]"), Some(("id", None)));
        assert_eq!(last_parts("id"), None);
        assert_eq!(last_parts(".."), None);
    }
}
