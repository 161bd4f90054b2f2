//! A bounded reader for binary formats with length prefixes.
//!
//! ```text
//! |<------------- len: announced ------------->|
//! |<---- known: captured ---->|   not known    |
//! ```
//!
//! It distinguishes data that continues in bytes not captured
//! ([`ReadError::Cut`]) from data that contradicts its own lengths
//! ([`ReadError::Malformed`]).

/// The reason why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The value continues in unknown bytes.
    Cut,
    /// The value exceeds the structure that contains it.
    Malformed,
}

/// Reads a structure of `len` bytes, of which a prefix is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    known: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// Creates a reader for a structure of `len` bytes, of which at most
    /// `bytes` are known. Bytes beyond `len` are ignored.
    pub(super) fn new(bytes: &'a [u8], len: usize) -> Self {
        Self { known: bytes.get(..len).unwrap_or(bytes), len }
    }

    /// Creates a reader for bytes that are completely known.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self::new(bytes, bytes.len())
    }

    /// Reports whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Splits off a reader for the next `len` bytes, known or not.
    pub(super) fn sub(&mut self, len: usize) -> Result<Reader<'a>, ReadError> {
        self.len = self.len.checked_sub(len).ok_or(ReadError::Malformed)?;
        let sub = Reader::new(self.known, len);
        self.known = self.known.get(len..).unwrap_or_default();
        Ok(sub)
    }

    /// Reads the next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        self.sub(len)?.rest()
    }

    /// Reads all remaining bytes.
    pub(super) fn rest(self) -> Result<&'a [u8], ReadError> {
        if self.known.len() == self.len { Ok(self.known) } else { Err(ReadError::Cut) }
    }

    /// Returns the known bytes.
    pub(super) fn known(self) -> &'a [u8] {
        self.known
    }

    /// Reads a byte.
    pub(super) fn u8(&mut self) -> Result<u8, ReadError> {
        self.number(1).map(|number| number as u8)
    }

    /// Reads two bytes in network order.
    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        self.number(2).map(|number| number as u16)
    }

    /// Reads a number of `len` bytes (at most 8) in network order.
    pub(super) fn number(&mut self, len: usize) -> Result<u64, ReadError> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads a length of `bytes` bytes, and splits off a reader for as much
    /// data.
    pub(super) fn vector(&mut self, bytes: usize) -> Result<Reader<'a>, ReadError> {
        let len = self.number(bytes)?;
        self.sub(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Reads a variable-length integer (RFC 9000 section 16).
    pub(super) fn varint(&mut self) -> Result<u64, ReadError> {
        let first = self.u8()?;
        let more = (1 << (first >> 6)) - 1;
        Ok(u64::from(first & 0x3f) << (8 * more) | self.number(more)?)
    }

    /// Reads a variable-length integer, and splits off a reader for as much
    /// data.
    pub(super) fn varvector(&mut self) -> Result<Reader<'a>, ReadError> {
        let len = self.varint()?;
        self.sub(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Returns the number of unread bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Parses a hex dump.
    pub(in crate::proto) fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
    }

    #[test]
    fn truncated_input_is_not_malformed() {
        let mut reader = Reader::new(b"\x02ab\x03c", 7);
        assert_eq!(reader.vector(1).unwrap().rest(), Ok(&b"ab"[..]));
        let cut = reader.vector(1).unwrap();
        assert_eq!((cut.len(), cut.rest()), (3, Err(ReadError::Cut)));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), Err(ReadError::Malformed));
        assert_eq!(Reader::new(b"\x03c", 3).vector(1).err(), Some(ReadError::Malformed));
        assert_eq!(Reader::new(b"", 1).u8(), Err(ReadError::Cut));
    }

    #[test]
    fn rfc_9000_examples() {
        // Appendix A.1.
        for (bytes, number) in [
            (&b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..], 151_288_809_941_952_652),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
            (b"\x40\x25", 37),
        ] {
            assert_eq!(Reader::whole(bytes).varint(), Ok(number));
            let cut = Reader::new(&bytes[..bytes.len() - 1], bytes.len()).varint();
            assert_eq!(cut, Err(ReadError::Cut));
        }
    }
}
