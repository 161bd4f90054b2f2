//! The key of the step [`Step::Xor`](super::Step::Xor).

use std::fmt;

/// Maximum length of a key without a known URL. Eight bytes of plaintext are known, so
/// longer keys cannot be recovered.
pub(super) const MAX_LEN: u8 = 8;

/// Maximum length of a key that masks a known URL.
pub(super) const MAX_KNOWN_LEN: usize = 32;

/// A short key, repeated over the data that it masks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct XorKey {
    bytes: [u8; MAX_KNOWN_LEN],
    len: u8,
}

impl XorKey {
    /// Derives the key of length `len` that maps `plain`, at position `at`, to
    /// `masked`.
    pub(super) fn from_known(
        plain: &[u8; 8],
        masked: &[u8; 8],
        at: usize,
        len: u8,
    ) -> Option<Self> {
        let known = repeating_mask(plain, masked, len)?;
        let mut key = Self { bytes: [0; MAX_KNOWN_LEN], len };
        for (i, byte) in known.into_iter().enumerate().take(len.into()) {
            key.bytes[key.index(at + i)] = byte;
        }
        // An all-zero key masks nothing.
        key.bytes().iter().any(|&byte| byte != 0).then_some(key)
    }

    /// Creates the key whose bytes, from position `at` on, are `mask`.
    pub(super) fn from_mask(mask: &[u8], at: usize) -> Option<Self> {
        let mut key = Self { bytes: [0; MAX_KNOWN_LEN], len: u8::try_from(mask.len()).ok()? };
        for (i, &byte) in mask.iter().enumerate() {
            let index = key.index(at + i);
            *key.bytes.get_mut(index)? = byte;
        }
        // An all-zero key masks nothing.
        key.bytes().iter().any(|&byte| byte != 0).then_some(key)
    }

    /// Creates a key of one byte, which must not be zero.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        (byte != 0).then_some(Self { bytes: [byte; MAX_KNOWN_LEN], len: 1 })
    }

    /// Parses the output of `Display`.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        let all = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
        let mut bytes = [0; MAX_KNOWN_LEN];
        bytes.get_mut(..all.len())?.copy_from_slice(&all);
        Some(Self { bytes, len: u8::try_from(all.len()).ok()? })
    }

    fn index(&self, at: usize) -> usize {
        at % usize::from(self.len.max(1))
    }

    /// Returns the byte of the key that masks the byte at `at`.
    pub(super) fn byte_at(&self, at: usize) -> u8 {
        self.bytes.get(self.index(at)).copied().unwrap_or_default()
    }

    /// Returns the bytes of the key.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    /// Masks or unmasks bytes.
    pub(super) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().zip(self.bytes().iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }
}

/// Writes the key in hexadecimal.
impl fmt::Display for XorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for XorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the mask applied to eight known bytes, if it repeats after `len`
/// bytes.
pub(super) fn repeating_mask(plain: &[u8; 8], masked: &[u8; 8], len: u8) -> Option<[u8; 8]> {
    // Little-endian, so the first byte is the lowest.
    let known = u64::from_le_bytes(*plain) ^ u64::from_le_bytes(*masked);
    let bits = 8 * u32::from(len);
    let again = known.checked_shr(bits).unwrap_or(0);
    let first = known & u64::MAX.checked_shr(bits).unwrap_or(0);
    (again == first).then(|| known.to_le_bytes())
}
