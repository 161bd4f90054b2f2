//! A bounded reader for binary formats whose lengths announce what follows.
//!
//! ```text
//! |<------------- len: announced ------------->|
//! |<---- known: captured ---->|   not known    |
//! ```
//!
//! It tells a thing that goes on in bytes nobody captured ([`Short::Cut`])
//! from one that contradicts its own lengths ([`Short::Malformed`]).

/// Why something cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// It goes on in bytes that are not known.
    Cut,
    /// It goes on beyond the end of what holds it.
    Malformed,
}

/// Reads something of `len` bytes, of which the first are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    known: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A reader of something of `len` bytes that begins with `bytes`, and may
    /// go on behind it within them.
    pub(super) fn new(bytes: &'a [u8], len: usize) -> Self {
        Self { known: bytes.get(..len).unwrap_or(bytes), len }
    }

    /// A reader of bytes that are all known.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self::new(bytes, bytes.len())
    }

    /// Everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next `len` bytes, to be read by themselves, known or not.
    pub(super) fn sub(&mut self, len: usize) -> Result<Reader<'a>, Short> {
        self.len = self.len.checked_sub(len).ok_or(Short::Malformed)?;
        let sub = Reader::new(self.known, len);
        self.known = self.known.get(len..).unwrap_or_default();
        Ok(sub)
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        self.sub(len)?.rest()
    }

    /// All that was not read yet.
    pub(super) fn rest(self) -> Result<&'a [u8], Short> {
        if self.known.len() == self.len { Ok(self.known) } else { Err(Short::Cut) }
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        self.number(1).map(|number| number as u8)
    }

    /// The next two bytes, in network order.
    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        self.number(2).map(|number| number as u16)
    }

    /// The next `len` bytes (at most 8) as a number in network order.
    pub(super) fn number(&mut self, len: usize) -> Result<u64, Short> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// A length in `bytes` bytes, and so much of what follows.
    pub(super) fn vector(&mut self, bytes: usize) -> Result<Reader<'a>, Short> {
        let len = self.number(bytes)?;
        self.sub(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// A number of variable length (RFC 9000, section 16).
    pub(super) fn varint(&mut self) -> Result<u64, Short> {
        let first = self.u8()?;
        let more = (1 << (first >> 6)) - 1;
        Ok(u64::from(first & 0x3f) << (8 * more) | self.number(more)?)
    }

    /// A length of variable length, and so much of what follows.
    pub(super) fn varvector(&mut self) -> Result<Reader<'a>, Short> {
        let len = self.varint()?;
        self.sub(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// How many bytes were not read yet.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bytes of a hex dump.
    pub(in crate::proto) fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
    }

    #[test]
    fn a_cut_is_no_contradiction() {
        let mut reader = Reader::new(b"\x02ab\x03c", 7);
        assert_eq!(reader.vector(1).unwrap().rest(), Ok(&b"ab"[..]));
        let cut = reader.vector(1).unwrap();
        assert_eq!((cut.len(), cut.rest()), (3, Err(Short::Cut)));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), Err(Short::Malformed));
        assert_eq!(Reader::new(b"\x03c", 3).vector(1).err(), Some(Short::Malformed));
        assert_eq!(Reader::new(b"", 1).u8(), Err(Short::Cut));
    }

    #[test]
    fn the_examples_of_rfc_9000() {
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
            assert_eq!(cut, Err(Short::Cut));
        }
    }
}
