//! Numbers in the byte order of a capture, and the options of pcapng blocks.
//!
//! ```text
//! code u16 │ length u16 │ value │ padding to 4 bytes      … code 0 ends them
//! ```

use super::super::format::option;

/// Byte order of a capture, which is that of the machine that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// Reads the number in the `N` bytes at `at`.
    pub(super) fn number<const N: usize>(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(N)?)?;
        let join = |number, &byte: &u8| number << 8 | u64::from(byte);
        Some(match self {
            Self::Big => bytes.iter().fold(0, join),
            Self::Little => bytes.iter().rev().fold(0, join),
        })
    }

    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        self.number::<2>(bytes, at).map(|number| number as u16)
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        self.number::<4>(bytes, at).map(|number| number as u32)
    }
}

/// Iterator over the options of a block, up to the first that is cut.
pub(super) struct Options<'a> {
    rest: &'a [u8],
    endian: Endian,
}

impl<'a> Options<'a> {
    pub(super) fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { rest: bytes, endian }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.endian.u16(self.rest, 0)?;
        let len = usize::from(self.endian.u16(self.rest, 2)?);
        let value = self.rest.get(4..4 + len)?;
        self.rest = self.rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        (code != option::END).then_some((code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_the_end_marker_or_a_cut() {
        let bytes = b"\x01\0\x03\0abc\0\x09\0\x01\0\x06\0\0\0\0\0\0\0\x01\0\x01\0x\0\0\0";
        let all: Vec<_> = Options::new(bytes, Endian::Little).collect();
        assert_eq!(all, [(1, &b"abc"[..]), (9, b"\x06")]);
        for len in 0..bytes.len() {
            let some: Vec<_> = Options::new(&bytes[..len], Endian::Little).collect();
            assert!(all.starts_with(&some), "{len}");
        }
    }

    #[test]
    fn numbers_are_read_in_both_byte_orders() {
        assert_eq!(Endian::Little.u32(b"\x01\x02\x03\x04", 0), Some(0x0403_0201));
        assert_eq!(Endian::Big.u16(b"\0\x01\x02", 1), Some(0x0102));
        assert_eq!(Endian::Big.u16(b"\0\x01", 1), None);
        assert_eq!(Endian::Big.u16(b"", usize::MAX), None);
    }
}
